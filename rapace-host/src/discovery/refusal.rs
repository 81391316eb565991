//! Why what was found is no plugin of this host.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rapace_core::layout::PROTOCOL_MAJOR;
use thiserror::Error;

use crate::discovery::folder::FileError;
use crate::discovery::question::AskError;
use crate::escaped::escaped;
use crate::manifest::{ManifestError, NAME_RULE};
use crate::program::ProgramError;

/// What was found and is not taken.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rejected {
    /// A manifest, a program or a directory.
    pub path: PathBuf,
    /// Why.
    pub reason: Arc<Rejection>,
}

/// Why something that was found is not taken.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The directory, or a file in it, is not trusted.
    #[error(transparent)]
    File(#[from] FileError),
    /// No plugin is called so.
    #[error("a plugin cannot be called {found:?}: expected {NAME_RULE}")]
    Name {
        /// The name.
        found: String,
    },
    /// Too many directories within one another.
    #[error("it is more than {most} directories deep, expected at most {most}")]
    TooDeep {
        /// How many there may be.
        most: usize,
    },
    /// The directory has too many entries: those beyond are not looked at.
    #[error("it has more than {most} entries, expected at most {most}: those beyond are not looked at")]
    TooManyEntries {
        /// How many there may be.
        most: usize,
    },
    /// The directory has too many programs without a manifest: none of them is asked what it is.
    #[error("it has {found} programs without a manifest, expected at most {most}: none of them is executed")]
    TooManyPrograms {
        /// How many there are.
        found: usize,
        /// How many there may be.
        most: usize,
    },
    /// The manifest is wrong.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The program that the manifest names is not trusted, or not there.
    #[error("its program {}: {error}", shown(.program))]
    Program {
        /// The program.
        program: PathBuf,
        /// Why not.
        error: ProgramError,
    },
    /// A program without a manifest is not trusted.
    #[error(transparent)]
    BareProgram(#[from] ProgramError),
    /// A manifest that cannot be read may be of this program: it is not executed.
    #[error("it is not executed: it may belong to the manifest {}, which is refused", shown(.manifest))]
    Claimed {
        /// The manifest.
        manifest: PathBuf,
    },
    /// The program does not say what it is.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The program calls itself otherwise than its file is called.
    #[error("its `capabilities` call it {found:?}, expected {expected:?} as its file is called")]
    NameDiffers {
        /// What it says.
        found: String,
        /// The name of the file.
        expected: String,
    },
    /// The program speaks another protocol.
    #[error("it speaks version {found} of the protocol, expected {PROTOCOL_MAJOR}")]
    Protocol {
        /// What it speaks.
        found: u16,
    },
    /// There is a plugin of this name already.
    #[error("there is a plugin {name} already, {}", shown(.first))]
    Duplicate {
        /// The name.
        name: String,
        /// The manifest or program of the one that is taken.
        first: PathBuf,
    },
}

impl Rejected {
    pub(crate) fn new(path: PathBuf, reason: impl Into<Rejection>) -> Self {
        Self { path, reason: Arc::new(reason.into()) }
    }

    pub(crate) fn log(&self) {
        tracing::warn!(path = %shown(&self.path), reason = %self.reason, "no plugin");
    }
}

impl Rejection {
    /// Whether there is nothing any more: what was there was removed.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(
            self,
            Self::File(FileError::NotThere)
                | Self::BareProgram(ProgramError::File(FileError::NotThere))
                | Self::Program { error: ProgramError::File(FileError::NotThere), .. }
        )
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", shown(&self.path), self.reason)
    }
}

/// A path, which may be called anything.
fn shown(path: &Path) -> String {
    escaped(&path.display().to_string())
}
