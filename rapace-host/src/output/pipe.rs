//! One output of one process of a plugin.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use parking_lot::Mutex;
use rustix::io::{Errno, read, retry_on_intr};

use super::Stream;
use crate::scope::PluginScope;
use crate::tail::{Lines, Tail};

/// Bytes that are read at once.
pub(super) const READ_BYTES: usize = 8 << 10;
/// Reads that empty a pipe: the most that Linux lets a pipe hold without privileges is 1 MiB.
const READS_MAX: usize = (1 << 20) / READ_BYTES;

pub(super) struct Pipe {
    pub(super) scope: PluginScope,
    pub(super) stream: Stream,
    pub(super) fd: OwnedFd,
    text: Mutex<Text>,
}

#[derive(Default)]
struct Text {
    tail: Tail,
    lines: Lines,
    /// Lines that the thread has yet to tell.
    untold: VecDeque<String>,
    /// Lines from the beginning, those that were dropped among them.
    count: u64,
    ended: bool,
}

impl Pipe {
    pub(super) fn new(scope: PluginScope, stream: Stream, fd: OwnedFd) -> Self {
        Self { scope, stream, fd, text: Mutex::default() }
    }

    /// Reads once, without waiting.
    pub(super) fn read(&self, buffer: &mut [u8]) {
        self.text.lock().read(self, buffer);
    }

    /// The end of what was printed by now: the thread may not have come to it yet.
    pub(super) fn tail(&self) -> String {
        let mut text = self.text.lock();
        text.read_all(self);
        text.tail.text()
    }

    /// How many lines were printed by now.
    pub(super) fn lines(&self) -> u64 {
        let mut text = self.text.lock();
        text.read_all(self);
        text.count
    }

    /// Reads what is there by now, and nothing more.
    pub(super) fn end(&self) {
        let mut text = self.text.lock();
        text.read_all(self);
        text.end(self);
    }

    /// The next of its lines to be told, at most so many.
    pub(super) fn take_lines(&self, most: usize) -> Vec<String> {
        let mut text = self.text.lock();
        let most = most.min(text.untold.len());
        text.untold.drain(..most).collect()
    }

    /// Whether there are lines to be told.
    pub(super) fn is_behind(&self) -> bool {
        !self.text.lock().untold.is_empty()
    }

    /// Whether nothing more will come of it.
    pub(super) fn is_over(&self) -> bool {
        let text = self.text.lock();
        text.ended && text.untold.is_empty()
    }
}

impl Text {
    /// Says whether there may be more.
    fn read(&mut self, pipe: &Pipe, buffer: &mut [u8]) -> bool {
        if self.ended {
            return false;
        }
        match retry_on_intr(|| read(&pipe.fd, &mut *buffer)) {
            Err(Errno::AGAIN) => false,
            // An error ends a pipe too.
            Ok(0) | Err(_) => {
                self.end(pipe);
                false
            }
            Ok(bytes) => {
                self.tail.push(&buffer[..bytes]);
                let count = &mut self.count;
                let lines = self.lines.push(&buffer[..bytes], || taken(pipe, count));
                self.has_come(pipe, lines);
                true
            }
        }
    }

    fn read_all(&mut self, pipe: &Pipe) {
        let mut buffer = [0; READ_BYTES];
        for _ in 0..READS_MAX {
            if !self.read(pipe, &mut buffer) {
                return;
            }
        }
    }

    fn end(&mut self, pipe: &Pipe) {
        self.ended = true;
        let count = &mut self.count;
        let line = self.lines.finish(|| taken(pipe, count));
        self.has_come(pipe, line);
    }

    /// Keeps lines, and has them told.
    fn has_come(&mut self, pipe: &Pipe, lines: impl IntoIterator<Item = String>) {
        for line in lines {
            pipe.scope.keep_line(pipe.stream.source(), &line, &[]);
            self.untold.push_back(line);
        }
    }
}

/// Counts a line; says whether the plugin may log it.
fn taken(pipe: &Pipe, count: &mut u64) -> bool {
    *count += 1;
    pipe.scope.take_line().is_ok()
}
