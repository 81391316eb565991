//! What of a sandbox holds: a kernel may lack some of it.

use std::fmt;
use std::path::PathBuf;

/// A part of a sandbox, each of which a kernel may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Mechanism {
    /// No program that it executes has more privileges than it has: no set-user-id, no capabilities of a file.
    NoNewPrivileges,
    /// It has no capability, though its user may be root.
    Capabilities,
    /// Files and directories: Landlock, ABI 1.
    Files,
    /// Files are not cut short by their path: Landlock, ABI 3.
    Truncation,
    /// TCP: Landlock, ABI 4. The system calls are refused too.
    Tcp,
    /// Commands to devices: Landlock, ABI 5.
    Devices,
    /// Unix sockets without a path, of others: Landlock, ABI 6.
    AbstractSockets,
    /// Signals to others: Landlock, ABI 6.
    Signals,
    /// System calls: seccomp.
    SystemCalls,
}

/// Whether a part of a sandbox holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protection {
    /// The kernel sees to it.
    Active,
    /// It does not, for this reason.
    NotActive(String),
    /// The plugin's permissions do without.
    NotAsked,
}

/// The sandbox of one life of a plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SandboxReport {
    parts: Vec<(Mechanism, Protection)>,
    unreachable: Vec<(PathBuf, String)>,
}

impl SandboxReport {
    /// Each part, and whether it holds.
    #[must_use]
    pub fn parts(&self) -> &[(Mechanism, Protection)] {
        &self.parts
    }

    /// The parts that do not hold though they should, and why.
    pub fn not_active(&self) -> impl Iterator<Item = (Mechanism, &str)> {
        self.parts.iter().filter_map(|(mechanism, protection)| match protection {
            Protection::NotActive(reason) => Some((*mechanism, &**reason)),
            _ => None,
        })
    }

    /// Whether all of it holds.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.not_active().next().is_none()
    }

    /// Paths of its permissions that it cannot use, and why: they did not exist at its start, for example.
    #[must_use]
    pub fn unreachable(&self) -> &[(PathBuf, String)] {
        &self.unreachable
    }

    pub(super) fn note(&mut self, mechanism: Mechanism, protection: Protection) {
        self.parts.push((mechanism, protection));
    }

    pub(super) fn note_unreachable(&mut self, path: PathBuf, reason: impl fmt::Display) {
        self.unreachable.push((path, reason.to_string()));
    }
}

impl Protection {
    pub(super) fn of<E: fmt::Display>(result: Result<(), E>) -> Self {
        result.map_or_else(|error| Self::NotActive(error.to_string()), |()| Self::Active)
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoNewPrivileges => "no new privileges",
            Self::Capabilities => "no capabilities",
            Self::Files => "files",
            Self::Truncation => "truncation",
            Self::Tcp => "TCP",
            Self::Devices => "devices",
            Self::AbstractSockets => "abstract sockets",
            Self::Signals => "signals",
            Self::SystemCalls => "system calls",
        })
    }
}

/// In a line: `active: files, signals; not active: system calls (...)`.
impl fmt::Display for SandboxReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |wanted: &Protection| {
            let named = self.parts.iter().filter(|(_, protection)| protection == wanted);
            named.map(|(mechanism, _)| mechanism.to_string()).collect::<Vec<_>>()
        };
        let lacking: Vec<_> = self.not_active().map(|(mechanism, reason)| format!("{mechanism} ({reason})")).collect();
        let unreachable = self.unreachable.iter().map(|(path, reason)| format!("{} ({reason})", path.display()));
        let groups = [
            ("active", names(&Protection::Active)),
            ("not asked for", names(&Protection::NotAsked)),
            ("not active", lacking),
            ("not reached", unreachable.collect()),
        ];
        let groups: Vec<_> = groups.iter().filter(|(_, names)| !names.is_empty()).collect();
        for (index, (group, names)) in groups.into_iter().enumerate() {
            write!(f, "{}{group}: {}", if index == 0 { "" } else { "; " }, names.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_in_a_line_what_holds_and_what_does_not() {
        let mut report = SandboxReport::default();
        report.note(Mechanism::Files, Protection::Active);
        report.note(Mechanism::Signals, Protection::Active);
        report.note(Mechanism::Tcp, Protection::NotAsked);
        assert!(report.is_complete());
        assert_eq!(report.to_string(), "active: files, signals; not asked for: TCP");
        report.note(Mechanism::SystemCalls, Protection::of(Err("no seccomp")));
        report.note_unreachable("/none".into(), "not there");
        assert!(!report.is_complete());
        assert_eq!(report.not_active().collect::<Vec<_>>(), [(Mechanism::SystemCalls, "no seccomp")]);
        let expected = "active: files, signals; not asked for: TCP; not active: system calls (no seccomp); \
            not reached: /none (not there)";
        assert_eq!(report.to_string(), expected);
    }
}
