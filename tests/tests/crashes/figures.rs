//! How long it takes until a death is known, and what that is compared with.

use std::fmt;
use std::os::fd::AsFd;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use rapace_core::socket::pidfd_open;

/// Times, of which some are looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// The time that so many of a hundred do not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let mut times = self.0.clone();
        times.sort_unstable();
        let index = (times.len() * percent).div_ceil(100).saturating_sub(1);
        times.get(index).copied().unwrap_or_default()
    }
}

/// A death is known within this time.
const PROMISED: Duration = Duration::from_millis(20);
/// The kernel tells of a death when the dead one and one that waits for it have had their turn. Here one that waits for the
/// socket, for the exit code and for the lock comes between, and one that waits for the call behind.
const TURNS: u32 = 8;

/// How long it took until deaths were known here, and until the kernel told of them.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) known: Times,
    pub(crate) told: Times,
}

impl Figures {
    pub(crate) fn append(&mut self, other: Self) {
        self.known.append(other.known);
        self.told.append(other.told);
    }

    /// Deaths were known within what is promised or, on a machine that has other things to do, within that and some times what
    /// the kernel took to tell of them.
    #[track_caller]
    pub(crate) fn check(&self, what: &str) {
        let Self { known, told } = self;
        println!("{what}: known after {known}; told after {told}");
        let within = |percent, of| known.percentile(percent) <= PROMISED + TURNS * told.percentile(of);
        // The longest of few is a matter of chance.
        assert!(within(50, 50) && within(99, 100), "{what}: known after {known}; told after {told}");
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [half, most, all] = [50, 99, 100].map(|percent| self.percentile(percent));
        write!(f, "p50 {half:?}, p99 {most:?}, most {all:?} of {}", self.0.len())
    }
}

/// Waits on a thread of its own until the kernel says that a process has ended; gives when that was.
pub(crate) struct Control(JoinHandle<Instant>);

impl Control {
    /// Waits for a process that is there.
    pub(crate) fn begin(pid: Pid) -> Self {
        let pidfd = pidfd_open(pid.as_raw().cast_unsigned()).unwrap();
        Self(thread::spawn(move || {
            let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
            assert_eq!(poll(&mut fds, PollTimeout::NONE), Ok(1));
            Instant::now()
        }))
    }

    /// When it has ended.
    pub(crate) fn end(self) -> Instant {
        self.0.join().unwrap()
    }
}

#[test]
fn percentiles_are_of_the_times_in_their_order() {
    let times = Times((1..=200).rev().map(Duration::from_millis).collect());
    let found = [0, 50, 99, 100].map(|percent| times.percentile(percent).as_millis());
    assert_eq!(found, [1, 100, 198, 200]);
    assert_eq!(Times::default().percentile(99), Duration::ZERO);
}
