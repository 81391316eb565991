//! How a plugin's process ended that was told to, and how an end is told.

use std::fmt;
use std::process::ExitStatus;

use rapace_session::{CallError, describe_exit};

/// How a plugin was shut down.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Whether it answered the `shutdown` call.
    pub acknowledged: Result<(), CallError>,
    /// What it took to end its process.
    pub ending: Ending,
    /// How its process ended.
    pub exit: Option<ExitStatus>,
}

/// What it took to end a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// It ended by itself.
    Exited,
    /// SIGTERM.
    Terminated,
    /// SIGKILL.
    Killed,
}

pub(crate) fn in_words(exit: Option<ExitStatus>) -> String {
    exit.map_or_else(|| "ended in an unknown way".to_owned(), describe_exit)
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.acknowledged {
            Ok(()) => f.write_str("shutdown acknowledged")?,
            Err(error) => write!(f, "shutdown not acknowledged ({error})")?,
        }
        f.write_str(match self.ending {
            Ending::Exited => ", ",
            Ending::Terminated => ", did not end until SIGTERM, ",
            Ending::Killed => ", did not end until SIGKILL, ",
        })?;
        f.write_str(&in_words(self.exit))
    }
}

/// Lines of a tail that a message shows; the field has all of it.
const LINES_SHOWN: usize = 10;
/// Characters of such a line that it shows.
const CHARS_SHOWN: usize = 200;

/// Ends a message with the last lines of what was printed to standard error.
pub(crate) fn write_tail(f: &mut fmt::Formatter<'_>, stderr: &str) -> fmt::Result {
    let lines: Vec<&str> = stderr.lines().collect();
    if lines.is_empty() {
        return Ok(());
    }
    f.write_str("; its stderr ends with")?;
    let shown = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
    shown.iter().try_for_each(|line| write!(f, "\n  | {}", beginning(line, CHARS_SHOWN)))
}

/// The first characters of a line, with dots if there are more.
pub(crate) fn beginning(line: &str, chars: usize) -> String {
    match line.char_indices().nth(chars) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_shows_the_last_lines_and_the_beginnings_of_long_ones() {
        struct Tail(String);
        impl fmt::Display for Tail {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_tail(f, &self.0)
            }
        }
        assert_eq!(Tail(String::new()).to_string(), "");
        let lines: Vec<String> = (1..=11).map(|line| line.to_string()).collect();
        let expected = format!("; its stderr ends with\n  | {}", lines[1..].join("\n  | "));
        assert_eq!(Tail(lines.join("\n")).to_string(), expected);
        let expected = format!("; its stderr ends with\n  | {}...", "\u{20ac}".repeat(CHARS_SHOWN));
        assert_eq!(Tail("\u{20ac}".repeat(8000)).to_string(), expected);
    }
}
