//! What is known of a plugin that ended without being told to.

mod calls;
mod segment;

use std::fmt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rapace_host_api::admin::LogLine;
use rapace_session::SessionEnd;

use crate::ending::{beginning, in_words};
use crate::limits::Overrun;

pub(crate) use calls::{Ages, Names};
pub use calls::{CallAtEnd, CallsAtEnd};
pub use segment::SegmentAtEnd;

/// Lines of a log that a report keeps.
pub(crate) const LINES_KEPT: usize = 50;
/// Of them, how many a message shows.
const LINES_SHOWN: usize = 10;
/// Characters of a line that it shows.
const CHARS_SHOWN: usize = 200;

/// A plugin that ended without being told to. It holds nothing that calls have carried.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CrashReport {
    /// When that was noticed.
    pub time: SystemTime,
    /// Its process, if it had one of its own.
    pub process_id: Option<u32>,
    /// How its process ended. One that broke a rule, or went on without its session, was killed.
    pub exit: Option<ExitStatus>,
    /// How its session ended.
    pub end: Arc<SessionEnd>,
    /// How long it had run.
    pub uptime: Duration,
    /// How often a process of the plugin had been started in the place of another by then.
    pub restarts: u64,
    /// The limits of the operating system that it had met.
    pub overruns: Vec<Overrun>,
    /// The host's calls that were in flight.
    pub calls: CallsAtEnd,
    /// The plugin's own.
    pub served: CallsAtEnd,
    /// What the memory between the two said.
    pub segment: SegmentAtEnd,
    /// The end of what it printed to standard error.
    pub stderr: String,
    /// The last lines that it printed and logged: at most 50.
    pub log: Vec<Arc<LogLine>>,
}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.overruns.iter().find(|overrun| overrun.killed) {
            Some(overrun) => write!(f, "it was killed for using {overrun}")?,
            None => write!(f, "it {}", in_words(self.exit))?,
        }
        write!(f, " {:.1?} after its start", self.uptime)?;
        let others = self.overruns.iter().filter(|overrun| !overrun.killed);
        others.into_iter().try_for_each(|overrun| write!(f, "; it would have used {overrun}"))?;
        match &*self.end {
            SessionEnd::PeerGone(_) => Ok(()),
            end => write!(f, "; {end}"),
        }?;
        if let Some(process_id) = self.process_id {
            write!(f, "\n  process: {process_id}, restarts before: {}", self.restarts)?;
        }
        write!(f, "\n  calls of the host in flight: {}", self.calls)?;
        write!(f, "\n  calls of the plugin in flight: {}", self.served)?;
        write!(f, "\n  segment: {}", self.segment)?;
        if self.log.is_empty() {
            return f.write_str("\n  it has printed and logged nothing");
        }
        f.write_str("\n  its log ends with")?;
        let shown = &self.log[self.log.len().saturating_sub(LINES_SHOWN)..];
        shown.iter().try_for_each(|line| {
            let time = SystemTime::UNIX_EPOCH + Duration::from_millis(line.unix_ms);
            let time = humantime::format_rfc3339_millis(time);
            write!(f, "\n  | {time} {}", beginning(&line.to_string(), CHARS_SHOWN))
        })
    }
}
