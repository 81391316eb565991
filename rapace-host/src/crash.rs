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
use crate::scope::Limit;

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
    /// Of what it may use, what it would have used more of, if it ended by that.
    pub limit: Option<Limit>,
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
        write!(f, "it {} {:.1?} after its start", in_words(self.exit), self.uptime)?;
        match &*self.end {
            SessionEnd::PeerGone(_) => Ok(()),
            end => write!(f, "; {end}"),
        }?;
        if let Some(limit) = self.limit {
            write!(f, "; it would have used more than it may: {limit}")?;
        }
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
