//! Finds plugins in directories, verifies them, and says of each what it is.
//!
//! A plugin is a program with a manifest beside it, `NAME.plugin.toml`, or a program of that name alone, which is asked what
//! it is (`NAME capabilities`). Of what has a manifest nothing is executed here. What is not as it should be is
//! refused, each with its path and the reason, and the others go on.
//!
//! ```text
//!   Discovery::scan      directories -> plugins, refusals
//!     walk.rs            what is there, by name and kind
//!     folder.rs          opening it, and who may have written it
//!     scanner.rs         what has a manifest is verified, what has none is asked
//!     claim.rs           whether a program has a manifest
//!     question.rs        a program is asked
//!     capabilities.rs    what it answers
//!   Watcher              watch.rs: the same again when a file has changed
//!     news.rs            what is new in it
//! ```

mod capabilities;
mod claim;
pub(crate) mod folder;
mod news;
mod parallel;
mod question;
mod refusal;
mod scanner;
mod walk;
mod watch;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use capabilities::{Capabilities, CapabilitiesFault, MethodCapability, ServiceCapability, ServiceProvider};
pub use folder::FileError;
pub use news::PluginChange;
pub use question::AskError;
pub use refusal::{Rejected, Rejection};
pub use watch::{WatchError, Watcher};

use crate::discovery::scanner::Scanner;
use crate::manifest::Manifest;
use crate::program::Program;

/// Where plugins are looked for.
///
/// ```no_run
/// # use rapace_host::{Discovery, PluginHost, PluginSpec};
/// # fn load(host: &PluginHost) -> Result<(), Box<dyn std::error::Error>> {
/// for found in Discovery::new(["/usr/lib/my-host/plugins"]).scan().found {
///     host.load(PluginSpec::verified(&found.name, found.program))?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Discovery {
    /// The directories. Of two plugins of one name, the one in the first of them is taken.
    pub directories: Vec<PathBuf>,
    /// Whether also below them, at most 8 deep. Default: no.
    pub recursive: bool,
    /// How long a program may take to say what it is. Default 5 s.
    pub answer_timeout: Duration,
}

/// What was found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Scan {
    /// The plugins, no two of one name, in the order of the directories and then of their paths.
    pub found: Vec<Found>,
    /// What is refused, in the same order.
    pub rejected: Vec<Rejected>,
}

/// A plugin that was found and verified.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Its manifest; without one, its program.
    pub path: PathBuf,
    /// Its program.
    pub program: Program,
    /// What it is.
    pub description: Description,
}

/// What a plugin is, by whose word.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Description {
    /// By its manifest.
    Manifest(Box<Manifest>),
    /// By its program's.
    Capabilities(Box<Capabilities>),
}

impl Found {
    /// Its version.
    pub fn version(&self) -> &str {
        match &self.description {
            Description::Manifest(manifest) => &manifest.version,
            Description::Capabilities(capabilities) => &capabilities.version,
        }
    }
}

impl Discovery {
    /// Looks in these directories, and not below.
    pub fn new<P: Into<PathBuf>>(directories: impl IntoIterator<Item = P>) -> Self {
        let directories = directories.into_iter().map(Into::into).collect();
        Self { directories, recursive: false, answer_timeout: Duration::from_secs(5) }
    }

    /// Looks once. Refusals are logged too.
    pub fn scan(&self) -> Scan {
        let (scan, _) = Scanner::new(self.clone(), None).scan();
        scan.rejected.iter().for_each(Rejected::log);
        scan
    }
}

/// The path from the root; a path that cannot be made one stays as it is, and is refused when it is opened.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
