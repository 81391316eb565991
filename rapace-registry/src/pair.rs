//! What two registries say about the same thing.

use std::fmt;

/// Our side and theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair<T> {
    /// What our registry says.
    pub ours: T,
    /// What the other registry says.
    pub theirs: T,
}

/// The registry that alone has something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Our registry.
    Ours,
    /// The other registry.
    Theirs,
}

impl<T: fmt::Display> fmt::Display for Pair<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} here, {} there", self.ours, self.theirs)
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ours => "only here",
            Self::Theirs => "only there",
        })
    }
}
