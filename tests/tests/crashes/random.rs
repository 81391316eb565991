//! Processes that are killed at any moment, amid calls of all kinds.
//!
//! ```text
//! $ RAPACE_KILLS=1000 cargo test --release -p rapace-tests --test crashes random -- --nocapture --test-threads 1
//! ```

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rapace_registry::Registry;
use rapace_session::{CallOptions, Config, PeerA, Session, WaitStrategy};
use rapace_tests::exercise::{Ledger, exercise, have_exercised};
use rapace_tests::method;
use rapace_tests::service::Service;
use rapace_tests::snapshot::Snapshot;

use crate::case::{ARGUMENTS, config};
use crate::census::{alone, reap_orphans, resident_kib};
use crate::figures::{Control, Figures};
use crate::support::{PATIENCE, offer, peer, spawn};

/// Plugins that are killed in a run of all tests; ten times as many as hosts.
const KILLS: u64 = 100;
/// Plugins at a time.
const AT_ONCE: u64 = 3;
/// A process is killed within so many microseconds.
const LIFE: u64 = 20_000;
/// What this process may grow by, once it has warmed up: what an allocator keeps differs from time to time.
const GROWTH_KIB: u64 = 16 << 10;

fn kills() -> u64 {
    let kills = std::env::var("RAPACE_KILLS").ok();
    kills.map_or(KILLS, |kills| kills.parse().expect("RAPACE_KILLS is a number"))
}

/// Numbers of which the same seed gives the same.
struct Dice(u64);

impl Dice {
    fn new(what: &str) -> Self {
        const SEED: u64 = 0x5eed;
        let seed = std::env::var("RAPACE_SEED").map_or(SEED, |seed| seed.parse().expect("RAPACE_SEED is a number"));
        println!("{what}: RAPACE_SEED={seed}");
        Self(seed)
    }

    /// From 0 to below this.
    fn below(&mut self, bound: u64) -> u64 {
        // Marsaglia's xorshift.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }

    /// Waits for a moment: nobody knows how far the calls have come then.
    fn rest(&mut self) {
        let (start, time) = (Instant::now(), Duration::from_micros(self.below(LIFE)));
        while start.elapsed() < time {
            thread::park_timeout(time.saturating_sub(start.elapsed()));
        }
    }
}

/// A plugin that is killed amid calls both ways. Its death is known when it is to a thread that waits for a call.
fn kill_a_plugin(dice: &mut Dice, figures: &mut Figures) {
    let option = dice.one_of(&["wait=park", "wait=adaptive", "tokio=1", "threads=2"]);
    let wait = dice.one_of(&[WaitStrategy::Park, WaitStrategy::Adaptive]);
    let (socket, child) = spawn(&mut peer(&["serve", option]));
    let pid = Pid::from_raw(child.id().cast_signed());
    let config = Config { wait, registry: Registry::default(), ..config() };
    let session = offer(socket, child, config, Arc::new(Service::default()).router()).unwrap();
    let ledger = Ledger::default();
    thread::scope(|scope| {
        scope.spawn(|| have_exercised(&session, &ledger, u64::MAX));
        scope.spawn(|| exercise(&session, &ledger, u64::MAX));
        scope.spawn(|| exercise(&session, &ledger, u64::MAX));
        let waiter = scope.spawn(|| {
            ledger.note(|| session.call(method::HOLD, b"", &CallOptions::new().deadline(PATIENCE)));
            Instant::now()
        });
        let control = Control::begin(pid);
        dice.rest();
        let start = Instant::now();
        kill(pid, Signal::SIGKILL).unwrap();
        figures.known.add(waiter.join().unwrap() - start);
        figures.told.add(control.end() - start);
    });
    check_end(&session, &ledger);
}

#[track_caller]
fn check_end(session: &Session<PeerA>, ledger: &Ledger) {
    assert_eq!(session.reap(PATIENCE).unwrap().signal(), Some(9));
    assert_eq!((ledger.wrong(), ledger.begun()), (Vec::new(), ledger.done()));
    let end = session.end().unwrap().to_string();
    assert!(end.starts_with("the peer is gone"), "{end}");
    assert!(ledger.ends().iter().all(|other| *other == end), "{:?}", ledger.ends());
    assert_eq!(Snapshot::from(session.stats()).left_over(), 0);
}

/// Kills plugins until enough are dead, one after the other.
fn keep_killing(mut dice: Dice, kills: u64, killed: &AtomicU64, warm: &AtomicU64) -> Figures {
    let mut figures = Figures::default();
    loop {
        let number = killed.fetch_add(1, Ordering::SeqCst);
        if number >= kills {
            return figures;
        }
        if number == kills / 5 {
            warm.store(resident_kib(), Ordering::SeqCst);
        }
        kill_a_plugin(&mut dice, &mut figures);
    }
}

#[test]
fn plugins_that_are_killed_at_random_harm_nobody() {
    let alone = alone();
    let mut dice = Dice::new("plugins");
    let (kills, killed, warm) = (kills(), AtomicU64::new(0), AtomicU64::new(0));
    let mut figures = Figures::default();
    thread::scope(|scope| {
        let dice = (0..AT_ONCE).map(|_| Dice(1 + dice.below(u64::MAX - 1)));
        let keepers: Vec<_> = dice.map(|dice| scope.spawn(|| keep_killing(dice, kills, &killed, &warm))).collect();
        keepers.into_iter().for_each(|keeper| figures.append(keeper.join().unwrap()));
    });
    alone.before.check_nothing_is_left();
    let (warm, now) = (warm.into_inner(), resident_kib());
    println!("resident: {warm} KiB, then {now} KiB");
    assert!(now <= warm + GROWTH_KIB, "{warm} KiB, then {now} KiB");
    figures.check("plugins");
}

/// A host that is killed amid calls both ways. Its death is known when a plugin prints it.
fn kill_a_host(dice: &mut Dice, figures: &mut Figures) {
    let arguments = [&["exercising-host", "exercise=1000000"], &ARGUMENTS[..]].concat();
    let (_socket, mut host) = spawn(peer(&arguments).stdout(Stdio::piped()));
    let mut lines = BufReader::new(host.stdout.take().unwrap()).lines();
    let mut next = || lines.next().map(|line| line.unwrap());
    assert_eq!(next().as_deref(), Some("open"));
    let control = Control::begin(Pid::from_raw(host.id().cast_signed()));
    dice.rest();
    let start = Instant::now();
    host.kill().unwrap();
    while let Some(line) = next() {
        if let Some(counts) = line.strip_prefix("calls ") {
            let counts: Vec<u64> = counts.split(' ').map(|count| count.parse().unwrap()).collect();
            assert_eq!(counts, [counts[0], counts[0], 0, 0], "begun, done, wrong, left");
        } else {
            figures.known.add(start.elapsed());
            assert_eq!(line, "the peer is gone: it closed its socket");
        }
    }
    figures.told.add(control.end() - start);
    assert_eq!(host.wait().unwrap().signal(), Some(9));
    assert_eq!(reap_orphans(), [Some(3), Some(3)]);
}

#[test]
fn hosts_that_are_killed_at_random_leave_nobody() {
    let alone = alone();
    let mut dice = Dice::new("hosts");
    let mut figures = Figures::default();
    for _ in 0..kills() / 10 {
        kill_a_host(&mut dice, &mut figures);
        alone.before.check_nothing_is_left();
    }
    figures.check("hosts");
}
