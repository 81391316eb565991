//! Files, TCP, signals: what Landlock keeps a plugin from.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::{fs, io};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::{Errno, retry_on_intr};

use super::executable::Executable;
use super::report::{Mechanism, Protection, SandboxReport};
use crate::permissions::Permissions;

/// Libraries, the loader's cache, what the C library and runtimes look up: of no secret, and the same for all.
const READABLE: [&str; 13] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/usr/share/locale",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu",
];
/// The loaders of dynamic programs, which the kernel executes before them.
const LOADERS: [&str; 4] = [
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-linux-aarch64.so.1",
    "/lib/ld-musl-x86_64.so.1",
    "/lib/ld-musl-aarch64.so.1",
];
/// Devices that are nobody's.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/urandom", "/dev/random"];
/// What names and certificates are looked up in.
const OF_NETWORK: [&str; 11] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust",
];
/// Where the programs are that a script calls, and what those read.
const OF_SCRIPTS: [&str; 3] = ["/bin", "/usr/bin", "/usr/local/bin"];
const READ_BY_SCRIPTS: [&str; 1] = ["/usr/share"];

/// The newest ABI whose rights are known here: a right that is not known is not taken.
const ABI_KNOWN: ABI = ABI::V6;

/// Takes this thread, and what it will start, all rights but these.
pub(super) fn restrict(permissions: &Permissions, executable: Option<&Executable>, report: &mut SandboxReport) {
    let status = enforce(permissions, executable, report);
    let mut note = |mechanism, since: i32| report.note(mechanism, protection(&status, since));
    note(Mechanism::Files, 1);
    note(Mechanism::Truncation, 3);
    if !permissions.network {
        note(Mechanism::Tcp, 4);
    }
    note(Mechanism::Devices, 5);
    note(Mechanism::AbstractSockets, 6);
    note(Mechanism::Signals, 6);
    if permissions.network {
        report.note(Mechanism::Tcp, Protection::NotAsked);
    }
}

fn enforce(
    permissions: &Permissions,
    executable: Option<&Executable>,
    report: &mut SandboxReport,
) -> Result<LandlockStatus, RulesetError> {
    let ruleset = Ruleset::default().handle_access(AccessFs::from_all(ABI_KNOWN))?.scope(Scope::from_all(ABI_KNOWN))?;
    let ruleset = if permissions.network { ruleset } else { ruleset.handle_access(AccessNet::from_all(ABI_KNOWN))? };
    let mut rules = Rules { ruleset: ruleset.create()?, report };
    rules.allow_system(permissions.network)?;
    if let Some(executable) = executable {
        rules.allow_execution(executable)?;
    }
    for path in &permissions.read {
        // What it executes has no more rights than it has.
        rules.allow_granted(path, reading() | executing())?;
    }
    for path in &permissions.write {
        rules.allow_granted(path, reading() | writing())?;
    }
    Ok(rules.ruleset.restrict_self()?.landlock)
}

/// What is allowed so far.
struct Rules<'a> {
    ruleset: RulesetCreated,
    report: &'a mut SandboxReport,
}

impl Rules<'_> {
    /// What every plugin needs.
    fn allow_system(&mut self, network: bool) -> Result<(), RulesetError> {
        READABLE.iter().try_for_each(|path| self.allow_if_there(path, reading()))?;
        LOADERS.iter().try_for_each(|path| self.allow_if_there(path, executing()))?;
        let device = AccessFs::ReadFile | AccessFs::WriteFile;
        DEVICES.iter().try_for_each(|path| self.allow_if_there(path, device))?;
        let of_network = if network { &OF_NETWORK[..] } else { &[] };
        of_network.iter().try_for_each(|path| self.allow_if_there(path, reading()))
    }

    /// The program itself; for a script its interpreter, and what scripts are made of.
    fn allow_execution(&mut self, executable: &Executable) -> Result<(), RulesetError> {
        self.allow(&executable.file, executing())?;
        let Some(interpreter) = &executable.interpreter else { return Ok(()) };
        self.allow_if_there(interpreter, executing())?;
        OF_SCRIPTS.iter().try_for_each(|path| self.allow_if_there(path, executing() | reading()))?;
        READ_BY_SCRIPTS.iter().try_for_each(|path| self.allow_if_there(path, reading()))
    }

    /// A path that leads over a symbolic link is not granted: a plugin that writes there, or whoever has packed it, would choose
    /// what is.
    fn allow_granted(&mut self, path: &Path, access: BitFlags<AccessFs>) -> Result<(), RulesetError> {
        let reason = match open_plainly(&below_the_root(path)) {
            Ok(place) => return self.allow(place, access),
            Err(Errno::LOOP) => "a symbolic link is on the way: what it leads to has to be granted itself".to_owned(),
            Err(error) => io::Error::from(error).to_string(),
        };
        self.report.note_unreachable(path.to_owned(), reason);
        Ok(())
    }

    fn allow_if_there(&mut self, path: impl AsRef<Path>, access: BitFlags<AccessFs>) -> Result<(), RulesetError> {
        PathFd::new(path).map_or(Ok(()), |place| self.allow(place, access))
    }

    fn allow(&mut self, place: impl AsFd, access: BitFlags<AccessFs>) -> Result<(), RulesetError> {
        (&mut self.ruleset).add_rule(PathBeneath::new(place, access)).map(drop)
    }
}

/// What a path stands for, over no symbolic link.
fn open_plainly(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    retry_on_intr(|| openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS))
}

/// The path with the real name of its first directory. A link in the root itself, such as `/bin`, is nobody's to change but
/// theirs who may change everything.
fn below_the_root(path: &Path) -> PathBuf {
    let mut parts = path.components();
    let first: PathBuf = parts.by_ref().take(2).collect();
    fs::canonicalize(first).map_or_else(|_| path.to_owned(), |real| real.join(parts.as_path()))
}

fn reading() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::ReadDir
}

/// The kernel reads what it executes, and so do interpreters.
fn executing() -> BitFlags<AccessFs> {
    AccessFs::Execute | AccessFs::ReadFile
}

/// Everything with files, directories, links and FIFOs; devices are not made, and nothing of this is executed.
fn writing() -> BitFlags<AccessFs> {
    let devices = AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev;
    AccessFs::from_write(ABI_KNOWN) & !devices
}

/// Whether something holds that Landlock has since that ABI.
fn protection(status: &Result<LandlockStatus, RulesetError>, since: i32) -> Protection {
    Protection::NotActive(match status {
        Err(error) => in_words(error),
        Ok(LandlockStatus::NotImplemented) => "the kernel has no Landlock".to_owned(),
        Ok(LandlockStatus::NotEnabled) => "the kernel's Landlock was not enabled when it was started".to_owned(),
        Ok(LandlockStatus::Available { effective_abi, .. }) if *effective_abi >= ABI::from(since) => {
            return Protection::Active;
        }
        Ok(LandlockStatus::Available { effective_abi, .. }) => {
            format!("the kernel's Landlock has ABI {effective_abi}, and this came with {since}")
        }
    })
}

/// An error with what is behind it, which its own words leave out.
fn in_words(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| error.source()).fold(error.to_string(), |text, error| {
        let more = error.to_string();
        if text.ends_with(&more) { text } else { format!("{text}: {more}") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_older_kernel_lacks_is_told_with_its_abi() {
        let of = |abi: i32| Ok(LandlockStatus::Available { effective_abi: ABI::from(abi), kernel_abi: None });
        for (abi, since) in [(1, 1), (3, 3), (7, 1), (7, 6)] {
            assert_eq!(protection(&of(abi), since), Protection::Active, "{abi} {since}");
        }
        let expected = "the kernel's Landlock has ABI 3, and this came with 4";
        assert_eq!(protection(&of(3), 4), Protection::NotActive(expected.to_owned()));
        let not_there = Protection::NotActive("the kernel has no Landlock".to_owned());
        assert_eq!(protection(&Ok(LandlockStatus::NotImplemented), 1), not_there);
    }

    #[test]
    fn what_is_written_is_not_executed_and_no_device() {
        let granted = reading() | writing();
        for refused in [AccessFs::Execute, AccessFs::MakeChar, AccessFs::MakeBlock, AccessFs::IoctlDev] {
            assert!(!granted.contains(refused), "{refused:?}");
        }
        assert!(granted.contains(AccessFs::Truncate | AccessFs::Refer | AccessFs::MakeReg | AccessFs::RemoveDir));
        // A granted tree is not written unless it says so.
        assert!(!(reading() | executing()).intersects(writing()));
    }
}
