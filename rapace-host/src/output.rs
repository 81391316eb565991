//! What plugins print: one thread reads it for all of them.
//!
//! Standard output and standard error are no part of the protocol. Each line goes to the log and to the host's listener,
//! and the last bytes of each stream are kept for reports. A plugin that floods is held up by its own full pipe.

use std::fmt;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{ChildStderr, ChildStdout};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, ioctl_fionbio, read, retry_on_intr, write};

use crate::tail::{Lines, Tail};

/// The name of the thread.
const THREAD_NAME: &str = "rapace-output";
/// Bytes that are read at once.
const READ_BYTES: usize = 8 << 10;
/// Reads that empty a pipe: the most that Linux lets a pipe hold without privileges is 1 MiB.
const READS_MAX: usize = (1 << 20) / READ_BYTES;

/// Which of a plugin's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
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
    /// The line, without its end.
    pub text: &'a str,
}

/// Whom a host gives every line.
pub(crate) type Listener = dyn Fn(&OutputLine<'_>) + Send + Sync;

/// The thread, which ends when this is dropped.
pub(crate) struct OutputThread {
    reader: Arc<Reader>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread shares with those who start and end plugins.
struct Reader {
    listener: Box<Listener>,
    inbox: Mutex<Inbox>,
    /// A byte in it wakes the thread.
    bell: PipeWriter,
}

#[derive(Default)]
struct Inbox {
    pipes: Vec<Arc<Pipe>>,
    stop: bool,
}

/// One output of one plugin.
struct Pipe {
    plugin: Arc<str>,
    stream: Stream,
    fd: OwnedFd,
    text: Mutex<Text>,
}

#[derive(Default)]
struct Text {
    tail: Tail,
    lines: Lines,
    /// Lines that the thread has yet to tell.
    untold: Vec<String>,
    ended: bool,
}

/// The outputs of one process. Dropped, they are read no more.
pub(crate) struct Output {
    reader: Arc<Reader>,
    stdout: Arc<Pipe>,
    stderr: Arc<Pipe>,
}

impl OutputThread {
    /// Starts the thread.
    pub(crate) fn start(listener: Box<Listener>) -> io::Result<Self> {
        let (bell, ringer) = io::pipe()?;
        ioctl_fionbio(&bell, true)?;
        ioctl_fionbio(&ringer, true)?;
        let reader = Arc::new(Reader { listener, inbox: Mutex::default(), bell: ringer });
        let shared = Arc::clone(&reader);
        let thread = std::thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(move || shared.run(&bell))?;
        Ok(Self { reader, thread: Some(thread) })
    }

    /// Reads the outputs of a process from now on.
    pub(crate) fn read(&self, plugin: &Arc<str>, stdout: ChildStdout, stderr: ChildStderr) -> io::Result<Output> {
        let pipe = |stream, fd| {
            ioctl_fionbio(&fd, true)?;
            let text = Mutex::default();
            Ok::<_, io::Error>(Arc::new(Pipe { plugin: Arc::clone(plugin), stream, fd, text }))
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
        let pipe = match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        };
        let mut text = pipe.text.lock();
        text.read_all(&pipe.fd);
        self.reader.ring();
        text.tail.text()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        for pipe in [&self.stdout, &self.stderr] {
            let mut text = pipe.text.lock();
            text.read_all(&pipe.fd);
            text.end();
        }
        self.reader.ring();
    }
}

impl Reader {
    fn ring(&self) {
        // A pipe that is full wakes the thread as well.
        let _ = write(&self.bell, &[0]);
    }

    fn run(&self, bell: &PipeReader) {
        let mut pipes: Vec<Arc<Pipe>> = Vec::new();
        let mut buffer = [0; READ_BYTES];
        loop {
            let stop = self.collect(&mut pipes);
            pipes.retain(|pipe| self.tell_lines(pipe));
            if stop {
                return;
            }
            let fds = std::iter::once(bell.as_fd()).chain(pipes.iter().map(|pipe| pipe.fd.as_fd()));
            let mut fds: Vec<_> = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
            if let Err(error) = retry_on_intr(|| poll(&mut fds, None)) {
                tracing::error!(%error, "cannot wait for the output of plugins: it is read no more");
                return;
            }
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            if ready[0] {
                // What rang is looked for in any case.
                let _ = read(bell, &mut buffer[..]);
            }
            for (pipe, _) in pipes.iter().zip(&ready[1..]).filter(|(_, ready)| **ready) {
                pipe.text.lock().read(&pipe.fd, &mut buffer);
            }
        }
    }

    /// Takes up new pipes; says whether it is time to stop.
    fn collect(&self, pipes: &mut Vec<Arc<Pipe>>) -> bool {
        let mut inbox = self.inbox.lock();
        pipes.append(&mut inbox.pipes);
        inbox.stop
    }

    /// Tells the lines of a pipe, without its lock, which the listener may need; says whether there may be more.
    fn tell_lines(&self, pipe: &Pipe) -> bool {
        let mut text = pipe.text.lock();
        let (lines, ended) = (std::mem::take(&mut text.untold), text.ended);
        drop(text);
        lines.iter().for_each(|line| self.tell(pipe, line));
        !ended
    }

    fn tell(&self, pipe: &Pipe, text: &str) {
        let Pipe { plugin, stream, .. } = pipe;
        tracing::info!(%plugin, %stream, "{text}");
        let line = OutputLine { plugin, stream: *stream, text };
        if catch_unwind(AssertUnwindSafe(|| (self.listener)(&line))).is_err() {
            tracing::error!(%plugin, "the listener for the output of plugins panicked");
        }
    }
}

impl Text {
    /// Reads once, without waiting; says whether there may be more.
    fn read(&mut self, fd: &OwnedFd, buffer: &mut [u8]) -> bool {
        if self.ended {
            return false;
        }
        match retry_on_intr(|| read(fd, &mut *buffer)) {
            Err(Errno::AGAIN) => false,
            // An error ends a pipe too.
            Ok(0) | Err(_) => {
                self.end();
                false
            }
            Ok(bytes) => {
                self.tail.push(&buffer[..bytes]);
                self.untold.extend(self.lines.push(&buffer[..bytes]));
                true
            }
        }
    }
    /// Reads what is there by now: the thread may not have come to it yet.
    fn read_all(&mut self, fd: &OwnedFd) {
        let mut buffer = [0; READ_BYTES];
        for _ in 0..READS_MAX {
            if !self.read(fd, &mut buffer) {
                return;
            }
        }
    }

    fn end(&mut self) {
        self.ended = true;
        self.untold.extend(self.lines.finish());
    }
}
