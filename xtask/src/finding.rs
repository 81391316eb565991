//! One breach of a check, and where it is.

use std::fmt;

/// A breach. It prints as `path:line: what`, which editors take you to.
#[derive(Debug)]
pub(crate) struct Finding {
    /// The file, relative to the root of the tree.
    pub(crate) path: String,
    /// The line, from 1; none when the breach is something that the file lacks.
    pub(crate) line: Option<usize>,
    /// What is wrong, and what to change.
    pub(crate) what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.what),
            None => write!(f, "{}: {}", self.path, self.what),
        }
    }
}
