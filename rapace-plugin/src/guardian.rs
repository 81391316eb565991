//! The thread that sees to a plugin's end when nobody else does: behind the host's, on a signal, or because it is idle.
//!
//! It sleeps in one `poll`. Of the session's socket it asks for nothing but the hang-up, for which the kernel wakes it
//! alone: bells are the session's own.

use std::io::{PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rapace_session::SessionEnd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, getpid, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::ending::{Ending, Reason};
use crate::life::Life;

/// An idle plugin looks this often, in the time after which it ends, whether it is idle.
const LOOKS: u32 = 4;
/// The shortest time between two such looks.
const LOOK_MIN: Duration = Duration::from_millis(1);

/// A year.
pub(crate) const AGES: Duration = Duration::from_secs(365 * 24 * 3600);

/// Ends its thread when it is dropped.
pub(crate) struct Guardian {
    done: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

/// What is watched over.
pub(crate) struct Ward {
    pub(crate) name: String,
    pub(crate) life: Arc<Life>,
    pub(crate) ending: Arc<Ending>,
    /// The plugin ends when it was idle for so long.
    pub(crate) idle: Option<Duration>,
    /// The process, if it is the plugin's own.
    pub(crate) process: Option<OwnProcess>,
}

/// A process that is to end with its host.
pub(crate) struct OwnProcess {
    /// A duplicate of the session's socket.
    socket: OwnedFd,
    /// How long the plugin may go on behind the end of the socket.
    grace: Duration,
    signals: Vec<(i32, &'static str, UnixStream)>,
}

impl OwnProcess {
    pub(crate) fn new(socket: BorrowedFd<'_>, grace: Duration) -> std::io::Result<Self> {
        Ok(Self { socket: socket.try_clone_to_owned()?, grace, signals: Vec::new() })
    }

    /// Takes over what the signals do.
    fn take_signals(&mut self) -> std::io::Result<()> {
        let signals = [(SIGTERM, "SIGTERM"), (SIGINT, "SIGINT")].map(|(signal, name)| {
            let (reader, writer) = UnixStream::pair()?;
            reader.set_nonblocking(true)?;
            signal_hook::low_level::pipe::register(signal, writer)?;
            Ok((signal, name, reader))
        });
        self.signals = signals.into_iter().collect::<std::io::Result<_>>()?;
        Ok(())
    }
}

impl Guardian {
    /// Watches, if there is something to be watched.
    pub(crate) fn start(mut ward: Ward) -> std::io::Result<Self> {
        if ward.idle.is_none() && ward.process.is_none() {
            return Ok(Self { done: None, thread: None });
        }
        if let Some(process) = &mut ward.process {
            process.take_signals()?;
        }
        let (reader, writer) = std::io::pipe()?;
        let watch = Watch::new(ward, reader);
        let thread = std::thread::Builder::new().name("rapace-guardian".to_owned()).spawn(move || watch.run())?;
        Ok(Self { done: Some(writer), thread: Some(thread) })
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        self.done = None;
        if let Some(thread) = self.thread.take() {
            // A panic is the runtime's to print.
            let _ = thread.join();
        }
    }
}

struct Watch {
    ward: Ward,
    /// Its end is ours.
    done: PipeReader,
    /// Since when nothing is known to have been done; none before the host has called at all, who may take its time.
    quiet_since: Option<Instant>,
    /// When the process is killed.
    doom: Option<Instant>,
    /// A signal has come.
    warned: bool,
}

impl Watch {
    fn new(ward: Ward, done: PipeReader) -> Self {
        Self { ward, done, quiet_since: None, doom: None, warned: false }
    }

    fn run(mut self) {
        loop {
            let process = self.ward.process.as_ref();
            let mut fds = vec![PollFd::new(&self.done, PollFlags::IN)];
            if let Some(process) = process {
                fds.extend(process.signals.iter().map(|(_, _, reader)| PollFd::new(reader, PollFlags::IN)));
                // Once it was seen it would end every wait.
                fds.extend(self.doom.is_none().then(|| PollFd::new(&process.socket, PollFlags::empty())));
            }
            let timeout = self.timeout().and_then(|timeout| Timespec::try_from(timeout).ok());
            // Interrupted, it is looked again.
            let _ = poll(&mut fds, timeout.as_ref());
            let came: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(fds);
            if came[0] {
                return;
            }
            self.look(&came[1..]);
        }
    }

    /// How long nothing is to be looked at.
    fn timeout(&self) -> Option<Duration> {
        let doom = self.doom.map(|doom| doom.saturating_duration_since(Instant::now()));
        let idle = self.ward.idle.filter(|_| !self.ward.life.stop.is_said());
        [doom, idle.map(|idle| (idle / LOOKS).max(LOOK_MIN))].into_iter().flatten().min()
    }

    fn look(&mut self, came: &[bool]) {
        let signals = self.ward.process.as_ref().map_or(0, |process| process.signals.len());
        for (index, _) in came.iter().take(signals).enumerate().filter(|(_, came)| **came) {
            self.signal(index);
        }
        if came.get(signals).is_some_and(|hung_up| *hung_up) {
            self.hung_up();
        }
        if self.doom.is_some_and(|doom| doom <= Instant::now()) {
            let grace = self.ward.process.as_ref().map_or(Duration::ZERO, |process| process.grace);
            kill(&self.ward.name, grace);
        }
        self.look_whether_idle();
    }

    fn signal(&mut self, index: usize) {
        use std::io::Read;

        let Some(process) = &mut self.ward.process else { return };
        let (signal, name, reader) = &mut process.signals[index];
        // Several that came together may be one byte or more.
        let _ = reader.read(&mut [0; 16]);
        if std::mem::replace(&mut self.warned, true) {
            // It ends the process, as if nobody had taken it.
            let _ = signal_hook::low_level::emulate_default_handler(*signal);
        }
        self.ward.ending.begin(Reason::Signal(name));
    }

    /// The session is over, or the host is gone. Whoever is in a handler may not know.
    fn hung_up(&mut self) {
        let Some(process) = &self.ward.process else { return };
        let session = self.ward.life.host.session();
        let end = session.and_then(|session| {
            // Reads what the host has left, if nobody else does.
            session.peer_state();
            session.end()
        });
        let closed = matches!(end.as_deref(), Some(SessionEnd::PeerClosed(_)));
        // A host that has closed the session is still there, and gives what goes on some time.
        let patience =
            if closed && !self.ward.ending.is_wound_down() { self.ward.ending.limit() } else { Duration::ZERO };
        // A grace beyond what the clock can say is as good as a year; without a doom the hang-up would be seen for ever.
        self.doom = Some(Instant::now() + process.grace.saturating_add(patience).min(AGES));
    }

    fn look_whether_idle(&mut self) {
        let Some(idle) = self.ward.idle else { return };
        if self.ward.life.activity.take_noted() || self.ward.life.is_busy(0) {
            self.quiet_since = Some(Instant::now());
        } else if self.quiet_since.is_some_and(|since| since.elapsed() >= idle) && !self.ward.life.stop.is_said() {
            self.ward.life.stop.say();
            self.ward.ending.begin(Reason::Idle(idle));
        }
    }
}

/// Ends this process, whatever its threads are at: its session has ended, but it has not within `grace`.
pub(crate) fn kill(name: &str, grace: Duration) {
    let line = format!("{name}: the session has ended, but the plugin has not within {grace:?}: it is killed\n");
    // Not through the lock of standard error, which another thread may hold; and not if it would have to wait.
    let stderr = std::io::stderr();
    let mut room = [PollFd::from_borrowed_fd(stderr.as_fd(), PollFlags::OUT)];
    if poll(&mut room, Some(&Timespec::default())).is_ok_and(|ready| ready > 0) {
        let _ = rustix::io::write(stderr.as_fd(), line.as_bytes());
    }
    let _ = kill_process(getpid(), Signal::KILL);
}
