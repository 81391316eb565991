//! What a plugin's outcome is to the system: a line and an exit code.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use crate::attach::AttachError;

/// The exit code of a program that no host started (SPEC E2).
pub(crate) const STARTED_BY_HAND: u8 = 2;

/// Runs a plugin's `main`: exits with 0 when it comes to a good end, with 2 when no host started the program, and else
/// with 1. What went wrong is one line on standard error.
pub fn run(main: impl FnOnce() -> Result<(), Box<dyn Error>>) -> ExitCode {
    let Err(error) = main() else { return ExitCode::SUCCESS };
    // With a host that is gone, nobody may read it.
    let _ = writeln!(std::io::stderr(), "{}", one_line(&error.to_string()));
    match error.downcast_ref() {
        Some(AttachError::StartedByHand { .. }) => ExitCode::from(STARTED_BY_HAND),
        _ => ExitCode::FAILURE,
    }
}

/// A message of many lines, such as a list of differences, on one.
fn one_line(message: &str) -> String {
    message.replace('\n', "; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_many_lines_becomes_one() {
        assert_eq!(one_line("two differ\na is 1\nb is 2"), "two differ; a is 1; b is 2");
    }
}
