//! What is in a directory of plugins, by name and kind. Nothing is read or executed here.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::discovery::folder::{Entry, FileError, Folder};
use crate::discovery::{Rejected, Rejection};

/// How a manifest's name ends.
pub(crate) const MANIFEST_SUFFIX: &[u8] = b".plugin.toml";
/// Directories within one another.
pub(crate) const DEPTH_MAX: usize = 8;
/// Entries of a directory of plugins, with all that is below.
pub(crate) const ENTRIES_MAX: usize = 10_000;

/// A file that may be a plugin's.
pub(crate) struct Item {
    /// Its path in the folder.
    pub(crate) relative: PathBuf,
    /// The name of its plugin, which nobody has looked at.
    pub(crate) name: String,
}

/// What is in a folder.
pub(crate) struct Walk<'a> {
    folder: &'a Folder,
    recursive: bool,
    /// Directories that were seen, here or in another folder: each is looked at once.
    seen: &'a mut HashSet<(u64, u64)>,
    entries: usize,
    pub(crate) manifests: Vec<Item>,
    /// Files that may be executed.
    pub(crate) programs: Vec<Item>,
    /// The directories that were looked at.
    pub(crate) directories: Vec<PathBuf>,
    pub(crate) rejected: Vec<Rejected>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(folder: &'a Folder, recursive: bool, seen: &'a mut HashSet<(u64, u64)>) -> Self {
        let (manifests, programs, directories, rejected) = Default::default();
        let mut walk = Self { folder, recursive, seen, entries: 0, manifests, programs, directories, rejected };
        match folder.find(Path::new(".")) {
            Ok(entry) => walk.directory(Path::new(""), &entry, 0),
            Err(error) => walk.reject(Path::new(""), error),
        }
        walk
    }

    fn directory(&mut self, relative: &Path, entry: &Entry, depth: usize) {
        // The same by another way, or a loop.
        if !self.seen.insert(entry.stamp().identity()) {
            return;
        }
        if depth > DEPTH_MAX {
            return self.reject(relative, Rejection::TooDeep { most: DEPTH_MAX });
        }
        self.directories.push(self.folder.at(relative));
        match self.names(entry) {
            Ok(names) => names.iter().for_each(|name| self.entry(&relative.join(name), depth)),
            Err(error) => self.reject(relative, error),
        }
    }

    /// The names in a directory, in order; those that begin with a dot are hidden.
    fn names(&mut self, entry: &Entry) -> Result<Vec<OsString>, FileError> {
        let mut names = Vec::new();
        for listed in entry.list()? {
            let listed = listed.map_err(|errno| FileError::Os { operation: "list it", error: errno.into() })?;
            let name = listed.file_name().to_bytes();
            if name.starts_with(b".") {
                continue;
            }
            self.entries += 1;
            if self.entries > ENTRIES_MAX {
                if self.entries == ENTRIES_MAX + 1 {
                    self.reject(Path::new(""), Rejection::TooManyEntries { most: ENTRIES_MAX });
                }
                break;
            }
            names.push(OsString::from_vec(name.to_vec()));
        }
        names.sort();
        Ok(names)
    }

    fn entry(&mut self, relative: &Path, depth: usize) {
        let file_name = relative.file_name().unwrap_or_default();
        let item = |name: &OsStr| Item { relative: relative.to_owned(), name: name.to_string_lossy().into_owned() };
        // Also one that cannot be opened says that the program beside it has a manifest.
        if let Some(name) = file_name.as_bytes().strip_suffix(MANIFEST_SUFFIX) {
            return self.manifests.push(item(OsStr::from_bytes(name)));
        }
        match self.folder.find(relative) {
            Err(error) => self.reject(relative, error),
            Ok(entry) if entry.is_directory() && self.recursive => self.directory(relative, &entry, depth + 1),
            Ok(entry) if entry.is_program() && !is_library(&file_name.to_string_lossy()) => {
                self.programs.push(item(Path::new(file_name).file_stem().unwrap_or_default()));
            }
            Ok(_) => {}
        }
    }

    fn reject(&mut self, relative: &Path, reason: impl Into<Rejection>) {
        self.rejected.push(Rejected::new(self.folder.at(relative), reason));
    }
}

/// A dynamic library is often executable, and no program.
fn is_library(file_name: &str) -> bool {
    file_name.ends_with(".so") || file_name.contains(".so.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_no_program() {
        for (name, is) in [("a.so", true), ("a.so.1.2", true), ("a.sort", false), ("so", false), ("a", false)] {
            assert_eq!(is_library(name), is, "{name}");
        }
    }
}
