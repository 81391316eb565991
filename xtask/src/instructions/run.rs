//! Builds the program that makes the calls and runs it under callgrind.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::{fs, io};

use thiserror::Error;

use super::profile::{Profile, ProfileError};

/// The calls, or items, of a run: a multiple of the calls that are in flight at once.
const CALLS: u64 = 4096;

/// Switches off what glibc would choose by the processor: the figures are those of the least of them on all machines.
const TUNABLES: &str = "glibc.cpu.hwcaps=-AVX_Fast_Unaligned_Load,-AVX2,-AVX512VL,-ERMS";

/// Whose instructions are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Who makes the call, or opens the stream.
    Caller,
    /// Who serves it.
    Callee,
}

impl Side {
    /// Both.
    pub(crate) const BOTH: [Self; 2] = [Self::Caller, Self::Callee];

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Callee => "callee",
        }
    }
}

/// Why nothing was counted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum RunError {
    /// A program is missing.
    #[error("{program} does not start: {source}{}", hint(.program))]
    Start {
        /// Which.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A program has failed.
    #[error("{program} has failed ({status}):\n{output}")]
    Failed {
        /// Which, with its arguments.
        program: String,
        /// How.
        status: std::process::ExitStatus,
        /// What it said.
        output: String,
    },
    /// There is no folder for what is built.
    #[error("cannot tell where this program was built: {0}")]
    Place(io::Error),
    /// A folder or file cannot be made or read.
    #[error("cannot use {}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What callgrind has written is not understood.
    #[error("{}: {source}", .path.display())]
    Profile {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: ProfileError,
    },
}

fn hint(program: &str) -> &'static str {
    if program == "valgrind" { " (Debian has it: apt-get install valgrind)" } else { "" }
}

/// The program that makes the calls.
pub(crate) struct Program {
    target: PathBuf,
}

impl Program {
    /// Builds it, where this program was built too.
    pub(crate) fn build() -> Result<Self, RunError> {
        let this = std::env::current_exe().map_err(RunError::Place)?;
        let target = this.ancestors().nth(2).ok_or_else(|| RunError::Place(io::ErrorKind::NotFound.into()))?.to_owned();
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--release", "--quiet", "-p", "rapace-benches", "--bin", "instructions", "--target-dir"]);
        output(build.arg(&target))?;
        Ok(Self { target })
    }

    fn path(&self) -> PathBuf {
        self.target.join("release/instructions")
    }

    /// The kinds that it knows.
    pub(crate) fn kinds(&self) -> Result<Vec<String>, RunError> {
        Ok(output(&mut Command::new(self.path()))?.lines().map(str::to_owned).collect())
    }

    /// What one side does in all calls of a run. The profile stays in `target/callgrind`, for other tools.
    pub(crate) fn profile(&self, kind: &str, side: Side) -> Result<Profile, RunError> {
        let folder = self.target.join("callgrind");
        fs::create_dir_all(&folder).map_err(|source| RunError::File { path: folder.clone(), source })?;
        let path = folder.join(format!("{kind}.{}", side.name()));
        let mut valgrind = Command::new("valgrind");
        valgrind.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", path.display()));
        valgrind.arg(format!("--toggle-collect=*turn_of_{}*", side.name()));
        output(valgrind.arg(self.path()).arg(kind).arg(CALLS.to_string()).env("GLIBC_TUNABLES", TUNABLES))?;
        let text = fs::read_to_string(&path).map_err(|source| RunError::File { path: path.clone(), source })?;
        Profile::parse(&text).map_err(|source| RunError::Profile { path, source })
    }
}

/// The share of one call in what all calls of a run take.
pub(crate) fn per_call(total: u64) -> u64 {
    total.saturating_add(CALLS / 2) / CALLS
}

/// The compiler, which has its part in the figures.
pub(crate) fn rustc() -> Result<String, RunError> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    Ok(output(Command::new(rustc).arg("--version"))?.trim().to_owned())
}

/// What a program prints, if all goes well.
fn output(command: &mut Command) -> Result<String, RunError> {
    let name = command.get_program().to_string_lossy().into_owned();
    let Output { status, stdout, stderr } =
        command.output().map_err(|source| RunError::Start { program: name, source })?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    let output = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    Err(RunError::Failed { program: format!("{command:?}"), status, output })
}
