//! What plugins print: one thread reads it for all of them.
//!
//! Standard output and standard error are no part of the protocol. Each line goes to the log and to the host's listener,
//! the last bytes of each stream are kept for reports, and the last lines
//! with what the plugin logs. Each pipe has its turn, however much the others print: a plugin
//! that floods is held up by its own full pipe, and what it prints beyond its limit is dropped.

mod floods;
mod pipe;

use std::fmt;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{ChildStderr, ChildStdout};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rapace_host_api::admin::LogSource;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio, read, write};

use crate::escaped::Escaped;
use crate::plugin_log::{LogEntry, LogListener};
use crate::scope::PluginScope;
use floods::Floods;
use pipe::{Pipe, READ_BYTES};

/// The name of the thread.
const THREAD_NAME: &str = "rapace-output";
/// Lines of a pipe that are told before it is another's turn.
const LINES_PER_TURN: usize = 64;

/// Which of a plugin's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    pub(crate) fn source(self) -> LogSource {
        match self {
            Self::Stdout => LogSource::Stdout,
            Self::Stderr => LogSource::Stderr,
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        })
    }
}

/// A line that a plugin printed. Beyond 4 KiB it is cut, and says so.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct OutputLine<'a> {
    /// The plugin's name.
    pub plugin: &'a str,
    /// Where it printed.
    pub stream: Stream,
    /// The line, without its end, and otherwise as it was printed.
    pub text: &'a str,
}

/// Whom a host gives every line.
pub(crate) type Listener = dyn Fn(&OutputLine<'_>) + Send + Sync;

/// The thread, which ends when this is dropped.
pub(crate) struct OutputThread {
    reader: Arc<Reader>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread shares with those who start and end plugins, and with those who serve their log.
pub(crate) struct Reader {
    listener: Box<Listener>,
    log_listener: Box<LogListener>,
    inbox: Mutex<Inbox>,
    /// A byte in it wakes the thread.
    bell: PipeWriter,
}

#[derive(Default)]
struct Inbox {
    pipes: Vec<Arc<Pipe>>,
    /// Plugins of which a line was dropped, the first since it was last told.
    dropped: Vec<PluginScope>,
    stop: bool,
}

/// The outputs of one process. Dropped, they are read no more.
pub(crate) struct Output {
    reader: Arc<Reader>,
    stdout: Arc<Pipe>,
    stderr: Arc<Pipe>,
}

impl OutputThread {
    /// Starts the thread.
    pub(crate) fn start(listener: Box<Listener>, log_listener: Box<LogListener>) -> io::Result<Self> {
        let (bell, ringer) = io::pipe()?;
        ioctl_fionbio(&bell, true)?;
        ioctl_fionbio(&ringer, true)?;
        let reader = Arc::new(Reader { listener, log_listener, inbox: Mutex::default(), bell: ringer });
        let shared = Arc::clone(&reader);
        let thread = std::thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(move || shared.run(&bell))?;
        Ok(Self { reader, thread: Some(thread) })
    }

    /// What this plugin says is told here from now on.
    pub(crate) fn hear(&self, scope: &PluginScope) {
        scope.log.belongs_to(Arc::downgrade(&self.reader));
    }

    /// Reads the outputs of a process from now on.
    pub(crate) fn read(&self, scope: &PluginScope, stdout: ChildStdout, stderr: ChildStderr) -> io::Result<Output> {
        let pipe = |stream, fd: OwnedFd| {
            ioctl_fionbio(&fd, true)?;
            Ok::<_, io::Error>(Arc::new(Pipe::new(scope.clone(), stream, fd)))
        };
        let stdout = pipe(Stream::Stdout, stdout.into())?;
        let stderr = pipe(Stream::Stderr, stderr.into())?;
        self.reader.inbox.lock().pipes.extend([Arc::clone(&stdout), Arc::clone(&stderr)]);
        self.reader.ring();
        Ok(Output { reader: Arc::clone(&self.reader), stdout, stderr })
    }
}

impl Drop for OutputThread {
    fn drop(&mut self) {
        self.reader.inbox.lock().stop = true;
        self.reader.ring();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            // It cannot have panicked: the listener's panics are caught.
            let _ = thread.join();
        }
    }
}

impl Output {
    /// The end of what the process has printed to this stream up to now.
    pub(crate) fn tail(&self, stream: Stream) -> String {
        self.read(stream, Pipe::tail)
    }

    /// How many lines it has printed to this stream up to now.
    pub(crate) fn lines(&self, stream: Stream) -> u64 {
        self.read(stream, Pipe::lines)
    }

    fn read<T>(&self, stream: Stream, look: impl FnOnce(&Pipe) -> T) -> T {
        let pipe = match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        };
        let seen = look(pipe);
        // Whoever only looks wakes nobody.
        if pipe.is_behind() || pipe.is_over() {
            self.reader.ring();
        }
        seen
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.stdout.end();
        self.stderr.end();
        self.reader.ring();
    }
}

impl Reader {
    /// A line of this plugin was dropped, the first since it was last told.
    pub(crate) fn has_dropped(&self, scope: &PluginScope) {
        self.inbox.lock().dropped.push(scope.clone());
        self.ring();
    }

    /// Gives a record to the listener, on this thread.
    pub(crate) fn tell_record(&self, entry: &LogEntry<'_>) {
        if catch_unwind(AssertUnwindSafe(|| (self.log_listener)(entry))).is_err() {
            tracing::error!(plugin = entry.plugin, "the listener for the log of plugins panicked");
        }
    }

    fn ring(&self) {
        // A pipe that is full wakes the thread as well.
        let _ = write(&self.bell, &[0]);
    }

    fn run(&self, bell: &PipeReader) {
        let (mut pipes, mut floods) = (Vec::<Arc<Pipe>>::new(), Floods::default());
        let mut buffer = [0; READ_BYTES];
        loop {
            let stop = self.collect(&mut pipes, &mut floods);
            let lines_max = if stop { usize::MAX } else { LINES_PER_TURN };
            for pipe in &pipes {
                pipe.take_lines(lines_max).iter().for_each(|line| self.tell(pipe, line));
            }
            if stop {
                floods.take_all().iter().for_each(PluginScope::tell_dropped);
                return;
            }
            floods.take_quiet(Instant::now()).iter().for_each(PluginScope::tell_dropped);
            pipes.retain(|pipe| !pipe.is_over());
            // One whose lines are still to be told is not read meanwhile.
            let waiting: Vec<_> = pipes.iter().filter(|pipe| !pipe.is_behind()).collect();
            let is_behind = waiting.len() < pipes.len();
            let pause = if is_behind { Some(Duration::ZERO) } else { floods.pause(Instant::now()) };
            let fds = std::iter::once(bell.as_fd()).chain(waiting.iter().map(|pipe| pipe.fd.as_fd()));
            let mut fds: Vec<_> = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
            // A pause that is no time to the kernel is far longer than those here.
            let pause = pause.and_then(|pause| Timespec::try_from(pause).ok());
            match poll(&mut fds, pause.as_ref()) {
                // It is looked again.
                Ok(0) | Err(Errno::INTR) => continue,
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(%error, "cannot wait for the output of plugins: it is read no more");
                    return;
                }
            }
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            if ready[0] {
                // What rang is looked for in any case.
                let _ = read(bell, &mut buffer[..]);
            }
            for (pipe, _) in waiting.iter().zip(&ready[1..]).filter(|(_, ready)| **ready) {
                pipe.read(&mut buffer);
            }
        }
    }

    /// Takes up what is new; says whether it is time to stop.
    fn collect(&self, pipes: &mut Vec<Arc<Pipe>>, floods: &mut Floods) -> bool {
        let mut inbox = self.inbox.lock();
        pipes.append(&mut inbox.pipes);
        inbox.dropped.drain(..).for_each(|scope| floods.add(scope, Instant::now()));
        inbox.stop
    }

    /// Tells a line, without the pipe's lock, which the listener may need.
    fn tell(&self, pipe: &Pipe, text: &str) {
        let (plugin, stream) = (pipe.scope.name(), pipe.stream);
        tracing::info!(plugin, %stream, "{}", Escaped(text));
        let line = OutputLine { plugin, stream, text };
        if catch_unwind(AssertUnwindSafe(|| (self.listener)(&line))).is_err() {
            tracing::error!(plugin, "the listener for the output of plugins panicked");
        }
    }
}
