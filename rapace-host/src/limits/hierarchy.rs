//! The directory that a host has in a hierarchy of cgroups, for those of its plugins.
//!
//! It is locked as long as the host lives, so that another host can tell whose host is dead and sweep what that has left:
//! by the kernel's word, in whichever container either of them is.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, FlockOperation, access, flock, getxattr};

use super::ending::{PATIENCE, children, end};
use super::place::{Place, Version};

/// How the directory of a host begins.
const PREFIX: &str = "rapace-";
/// Directories of hosts in one process.
const HOSTS_MAX: u32 = 1000;

/// What a hierarchy can do for its cgroups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Controllers {
    pub(super) memory: bool,
    pub(super) pids: bool,
    /// Count processors' time.
    pub(super) cpu: bool,
}

/// A hierarchy in which a host has a directory.
#[derive(Debug)]
pub(super) struct Hierarchy {
    pub(super) version: Version,
    pub(super) controllers: Controllers,
    pub(super) directory: PathBuf,
    /// The directory's name.
    pub(super) name: String,
    _lock: File,
}

impl Hierarchy {
    /// Makes a directory there, and sweeps what dead hosts have left.
    pub(super) fn at(place: &Place) -> io::Result<Self> {
        let has = |name: &str| place.controllers.iter().any(|controller| controller == name);
        let (parent, controllers) = match place.version {
            Version::One => {
                let (memory, pids, cpu) = (has("memory"), has("pids"), has("cpuacct"));
                (place.directory.clone(), Controllers { memory, pids, cpu })
            }
            Version::Two => with_controllers(place),
        };
        // The kernel asks for this of whoever moves a process there.
        let procs = parent.join("cgroup.procs");
        if procs.exists() {
            access(&procs, Access::WRITE_OK)?;
        }
        // What is made below one that is not a domain takes no processes.
        let kind = fs::read_to_string(parent.join("cgroup.type")).unwrap_or_default();
        if !matches!(kind.trim(), "" | "domain") {
            return Err(io::Error::other(format!("it is {}", kind.trim())));
        }
        sweep(&parent);
        let (directory, name, lock) = make(&parent)?;
        if place.version == Version::Two {
            enable(&directory);
        }
        Ok(Self { version: place.version, controllers, directory, name, _lock: lock })
    }
}

impl Drop for Hierarchy {
    fn drop(&mut self) {
        if !end(std::slice::from_ref(&self.directory), &format!("/{}", self.name), PATIENCE) {
            tracing::warn!(directory = %self.directory.display(), "a directory of cgroups is left behind");
        }
    }
}

/// Where in version 2 there can be cgroups with controllers: below the own one if that is the root, for all others that have
/// processes give their children none; or beside it if the one above has been delegated. Else the own one, without.
fn with_controllers(place: &Place) -> (PathBuf, Controllers) {
    let above = place.directory.parent().filter(|above| above.starts_with(&place.mount) && is_delegated(above));
    let candidates = [Some(&*place.directory), above].into_iter().flatten().filter(|candidate| may_give(candidate));
    let found = candidates.map(|parent| (parent, enable(parent))).find(|(_, has)| has.memory || has.pids);
    let (parent, controllers) = found.unwrap_or((&place.directory, Controllers::default()));
    (parent.to_owned(), Controllers { cpu: true, ..controllers })
}

/// Whether a cgroup of version 2 may give its children controllers: only the root has no type.
fn may_give(parent: &Path) -> bool {
    let has_no_processes = || fs::read_to_string(parent.join("cgroup.procs")).is_ok_and(|text| text.is_empty());
    !parent.join("cgroup.type").exists() || has_no_processes()
}

/// Gives the children of a cgroup of version 2 what it has, and says what they have.
fn enable(parent: &Path) -> Controllers {
    let path = parent.join("cgroup.subtree_control");
    // One that is not there is refused, and all else with it.
    if fs::write(&path, "+memory +pids").is_err() {
        ["+memory", "+pids"].iter().for_each(|one| drop(fs::write(&path, one)));
    }
    let text = fs::read_to_string(path).unwrap_or_default();
    let has = |wanted: &str| text.split_whitespace().any(|name| name.trim_start_matches('+') == wanted);
    Controllers { memory: has("memory"), pids: has("pids"), cpu: false }
}

/// Whether a cgroup is this user's to divide: systemd says so, or has given it to a user who is not root.
fn is_delegated(directory: &Path) -> bool {
    let says = |name: &str| {
        let mut value = [0; 2];
        getxattr(directory, name, &mut value).is_ok_and(|length| value[..length] == *b"1")
    };
    let is_given =
        || !rustix::process::geteuid().is_root() && access(directory.join("cgroup.procs"), Access::WRITE_OK).is_ok();
    says("trusted.delegate") || says("user.delegate") || is_given()
}

/// Makes a directory of a name that nobody has, and locks it.
fn make(parent: &Path) -> io::Result<(PathBuf, String, File)> {
    for number in 0..HOSTS_MAX {
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        let directory = parent.join(&name);
        match fs::create_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            made => made?,
        }
        // Somebody who sweeps may take it for a dead host's until it is locked.
        if let Ok(lock) = File::open(&directory)
            && is_locked(&lock)
            && fs::metadata(&directory).is_ok_and(|now| lock.metadata().is_ok_and(|then| now.ino() == then.ino()))
        {
            return Ok((directory, name, lock));
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Locks a directory, if nobody has.
fn is_locked(directory: &File) -> bool {
    flock(directory, FlockOperation::NonBlockingLockExclusive).is_ok()
}

/// Ends what hosts have left that are dead.
fn sweep(parent: &Path) {
    for directory in children(parent) {
        let name = directory.file_name().and_then(|name| name.to_str()).filter(|name| name.starts_with(PREFIX));
        let Some(name) = name else { continue };
        // Locked until it is gone, so that two do not sweep it at once.
        let Some(_lock) = File::open(&directory).ok().filter(is_locked) else { continue };
        let is_gone = end(std::slice::from_ref(&directory), &format!("/{name}"), PATIENCE);
        tracing::info!(directory = %directory.display(), is_gone, "swept what a dead host has left");
    }
}
