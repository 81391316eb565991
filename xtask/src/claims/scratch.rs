//! A copy of the tree, to change.
//!
//! Files that are as they were keep their times, so that what was built from them stays built.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use super::ClaimsError;
use super::check::occurrences;
use super::list::Mutation;

/// The copy.
pub(crate) struct Scratch {
    folder: PathBuf,
}

/// A file that has been changed.
pub(crate) struct Mutated {
    path: PathBuf,
    before: String,
}

impl Scratch {
    /// Makes the copy of what git knows or would add below `root`, or brings it up to date.
    pub(crate) fn of(root: &Path, folder: PathBuf) -> Result<Self, ClaimsError> {
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()
            .map_err(|source| ClaimsError::File { path: "git".into(), source })?;
        let names = String::from_utf8_lossy(&listed.stdout).into_owned();
        let names: HashSet<&str> = names.split_terminator('\0').filter(|name| root.join(name).is_file()).collect();
        if names.is_empty() {
            return Err(ClaimsError::NoTree { root: root.to_owned() });
        }
        let this = Self { folder };
        fs::create_dir_all(&this.folder).map_err(|source| file_error(&this.folder, source))?;
        this.remove_others(&this.folder, "", &names)?;
        for name in names {
            this.copy(&root.join(name), &this.folder.join(name))?;
        }
        Ok(this)
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a change.
    pub(crate) fn mutate(&self, mutation: &Mutation) -> Result<Mutated, ClaimsError> {
        let path = self.folder.join(&mutation.file);
        let before = fs::read_to_string(&path).map_err(|source| file_error(&path, source))?;
        occurrences(&before, &mutation.find).map_err(|what| ClaimsError::Text { file: mutation.file.clone(), what })?;
        let after = before.replace(&mutation.find, &mutation.replace);
        fs::write(&path, after).map_err(|source| file_error(&path, source))?;
        Ok(Mutated { path, before })
    }

    fn copy(&self, from: &Path, to: &Path) -> Result<(), ClaimsError> {
        let bytes = fs::read(from).map_err(|source| file_error(from, source))?;
        if fs::read(to).is_ok_and(|old| old == bytes) {
            return Ok(());
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(|source| file_error(folder, source))?;
        }
        fs::write(to, bytes).map_err(|source| file_error(to, source))
    }

    /// Removes what the tree no longer has.
    fn remove_others(&self, folder: &Path, prefix: &str, names: &HashSet<&str>) -> Result<(), ClaimsError> {
        for entry in fs::read_dir(folder).map_err(|source| file_error(folder, source))? {
            let path = entry.map_err(|source| file_error(folder, source))?.path();
            let name = format!("{prefix}{}", path.file_name().unwrap_or_default().to_string_lossy());
            if path.is_dir() {
                self.remove_others(&path, &format!("{name}/"), names)?;
            } else if !names.contains(name.as_str()) {
                fs::remove_file(&path).map_err(|source| file_error(&path, source))?;
            }
        }
        Ok(())
    }
}

impl Mutated {
    /// Takes the change back.
    pub(crate) fn restore(self) -> Result<(), ClaimsError> {
        fs::write(&self.path, &self.before).map_err(|source| file_error(&self.path, source))
    }
}

fn file_error(path: &Path, source: io::Error) -> ClaimsError {
    ClaimsError::File { path: path.to_owned(), source }
}
