//! What is new in a look at the directories, compared with what was known.

use std::path::{Path, PathBuf};

use crate::discovery::walk::MANIFEST_SUFFIX;
use crate::discovery::{Found, Rejected, Scan};

/// Something that has changed in the directories.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PluginChange {
    /// There is a plugin of a name that there was none of.
    Added(Found),
    /// The plugin of this name has another program, another manifest, or is elsewhere.
    Changed(Found),
    /// The plugin is not there any more; this is what it was.
    Removed(Found),
    /// Something is refused that was not, or not for this reason. A plugin that was there before, and would be changed by it,
    /// stays as it was until it is either right again or gone.
    Rejected(Rejected),
}

/// What is known of the directories.
#[derive(Default)]
pub(crate) struct Known {
    found: Vec<Found>,
    rejected: Vec<(PathBuf, String)>,
}

impl Known {
    /// Takes a look for what is known from now on, and says what is new in it.
    pub(crate) fn update(&mut self, scan: Scan) -> Vec<PluginChange> {
        let Scan { found, rejected } = scan;
        let mut changes = Vec::new();
        let mut known = Vec::new();
        for old in self.found.drain(..) {
            match found.iter().find(|new| new.name == old.name) {
                Some(new) if *new == old => known.push(old),
                Some(new) => {
                    changes.push(PluginChange::Changed(new.clone()));
                    known.push(new.clone());
                }
                None if rejected.iter().any(|refused| is_of(refused, &old)) => known.push(old),
                None => changes.push(PluginChange::Removed(old)),
            }
        }
        for new in found {
            if !known.iter().any(|known| known.name == new.name) {
                changes.push(PluginChange::Added(new.clone()));
                known.push(new);
            }
        }
        self.found = known;
        let in_words = |refused: &Rejected| (refused.path.clone(), refused.reason.to_string());
        let now: Vec<_> = rejected.iter().map(in_words).collect();
        let fresh = rejected.into_iter().zip(&now).filter(|(_, words)| !self.rejected.contains(words));
        changes.extend(fresh.map(|(refused, _)| PluginChange::Rejected(refused)));
        self.rejected = now;
        changes
    }
}

/// Whether a plugin is not gone, but refused for the time being: its file, one of its name beside it, or a directory
/// that it is in.
fn is_of(refused: &Rejected, plugin: &Found) -> bool {
    let is_beside =
        || refused.path.parent() == plugin.path.parent() && name_of(&refused.path) == plugin.name.as_bytes();
    !refused.reason.is_absence() && (plugin.path.starts_with(&refused.path) || is_beside())
}

/// The name of the plugin that a file would be of.
fn name_of(path: &Path) -> &[u8] {
    let file_name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let stem = || path.file_stem().unwrap_or_default().as_encoded_bytes();
    file_name.strip_suffix(MANIFEST_SUFFIX).unwrap_or_else(stem)
}
