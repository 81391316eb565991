//! What the host tells of its plugins, and what it writes to its log.

use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rapace::host::StateChange;
use tracing_subscriber::fmt::MakeWriter;

/// How long what is expected may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Lines that come from the host's threads.
pub(crate) struct Events {
    lines: Receiver<String>,
    /// Is left out of paths.
    directory: String,
}

/// Where they come from.
#[derive(Clone)]
pub(crate) struct Log(Sender<String>);

impl Events {
    pub(crate) fn new(directory: &Path) -> (Self, Log) {
        let (sender, lines) = channel();
        (Self { lines, directory: format!("{}/", directory.display()) }, Log(sender))
    }

    /// Prints what comes, up to a line with this in it.
    pub(crate) fn print_until(&self, expected: &str) -> Result<(), String> {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).map_err(|_| format!("no {expected:?} within {PATIENCE:?}"))?;
            let shown = line.trim().replace(&self.directory, "");
            println!("  {}", shown.replace(" reason=", "\n    reason=").replace(", expected", ",\n    expected"));
            if line.contains(expected) {
                return Ok(());
            }
        }
    }
}

impl Log {
    /// A process of a plugin is in another state.
    pub(crate) fn changed(&self, change: &StateChange) {
        self.tell(format!("process {}: {change}", change.instance));
    }

    fn tell(&self, line: String) {
        // At the end nobody listens.
        let _ = self.0.send(line);
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl io::Write for Log {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        self.tell(String::from_utf8_lossy(record).into_owned());
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
