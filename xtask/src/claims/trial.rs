//! Builds and runs tests in the copy of the tree.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::{Errno, Result as SystemResult, retry_on_intr};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::ClaimsError;
use super::list::Test;

/// A build beyond this hangs.
const BUILD_TIME_MAX: Duration = Duration::from_secs(1800);
/// How often it is looked whether a program has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Characters of an output that are shown.
const SHOWN_MAX: usize = 4000;
/// The program that is built with another memory model.
const LOOM: &str = "loom";

/// Where tests are built and run.
pub(crate) struct Trials {
    folder: PathBuf,
    target: PathBuf,
    output: PathBuf,
}

/// What became of a program.
pub(crate) enum Ending {
    /// It ended well.
    Good,
    /// It failed.
    Bad,
    /// It did not end in its time, and was killed.
    Hung,
}

impl Trials {
    /// Those of the tree in `folder`, built and noted in `beside`.
    pub(crate) fn new(folder: &Path, beside: &Path) -> Self {
        Self { folder: folder.to_owned(), target: beside.join("target"), output: beside.join("output") }
    }

    /// Builds the program of a test; says whether that went well.
    pub(crate) fn build(&self, test: &Test) -> Result<bool, ClaimsError> {
        let mut cargo = self.cargo(test);
        let ending = self.run_command(cargo.arg("--no-run"), BUILD_TIME_MAX)?;
        Ok(matches!(ending, Ending::Good))
    }

    /// Runs tests of one program, which has been built, for at most so long.
    pub(crate) fn run(&self, tests: &[&Test], time_max: Duration) -> Result<Ending, ClaimsError> {
        let Some(first) = tests.first() else { return Ok(Ending::Good) };
        let mut cargo = self.cargo(first);
        cargo.args(["--", "--exact"]).args(tests.iter().map(|test| test.name.as_str()));
        self.run_command(&mut cargo, time_max)
    }

    /// Whether the last output says that this test has passed.
    pub(crate) fn has_passed(&self, test: &Test) -> bool {
        let (plain, panics) =
            (format!("test {} ... ok", test.name), format!("test {} - should panic ... ok", test.name));
        self.text().lines().any(|line| line == plain || line == panics)
    }

    /// The end of the last output.
    pub(crate) fn last_output(&self) -> String {
        let text = self.text();
        text[text.ceil_char_boundary(text.len().saturating_sub(SHOWN_MAX))..].to_owned()
    }

    fn text(&self) -> String {
        fs::read(&self.output).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    fn cargo(&self, test: &Test) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.folder).args(["test", "-p", &test.package, "--target-dir"]);
        if test.program == LOOM {
            let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
            cargo.arg(self.target.join(LOOM)).env("RUSTFLAGS", format!("{flags} --cfg loom"));
            cargo.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_DEBUG", "0").arg("--release");
        } else {
            cargo.arg(&self.target).arg("--all-features");
        }
        match test.program.as_str() {
            "lib" => cargo.arg("--lib"),
            program => cargo.args(["--test", program]),
        };
        // What is only run needs no debug information.
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_INCREMENTAL", "1").env_remove("CARGO_TARGET_DIR");
        cargo
    }

    /// Runs a command and notes its output; what it has started goes with it if it takes too long.
    fn run_command(&self, command: &mut Command, time_max: Duration) -> Result<Ending, ClaimsError> {
        let fail = |source| ClaimsError::File { path: self.output.clone(), source };
        let output = File::create(&self.output).map_err(fail)?;
        command.stdout(output.try_clone().map_err(fail)?).stderr(output).process_group(0);
        let mut child =
            command.spawn().map_err(|source| ClaimsError::File { path: command.get_program().into(), source })?;
        let ended = wait(&mut child, time_max).map_err(fail)?;
        Ok(match ended {
            Some(status) if status.success() => Ending::Good,
            Some(_) => Ending::Bad,
            None => Ending::Hung,
        })
    }
}

/// Waits for a child, for at most so long, and kills what is left of its group: a test that fails may leave processes.
fn wait(child: &mut Child, time_max: Duration) -> std::io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    let mut ended = false;
    while !ended && start.elapsed() <= time_max {
        ended = has_ended(group)?;
        if !ended {
            thread::sleep(LOOK_EVERY);
        }
    }
    // The child is not reaped yet, so the number is still that of its group.
    kill_process_group(group, Signal::KILL)?;
    let status = child.wait()?;
    Ok(ended.then_some(status))
}

/// Whether a child has ended, which is left to be reaped.
fn has_ended(child: Pid) -> SystemResult<bool> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(retry_on_intr(|| waitid(WaitId::Pid(child), options))?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, time_max: Duration) -> (Ending, String) {
        let beside = std::env::temp_dir().join(format!("xtask-{}-{script}", std::process::id()).replace('/', "_"));
        fs::create_dir_all(&beside).unwrap();
        let trials = Trials::new(&beside, &beside);
        let ending = trials.run_command(Command::new("sh").args(["-c", script]), time_max).unwrap();
        let text = trials.last_output();
        fs::remove_dir_all(&beside).unwrap();
        (ending, text)
    }

    #[test]
    fn a_program_ends_well_or_badly_and_its_output_is_kept() {
        let minute = Duration::from_secs(60);
        assert!(matches!(run("echo one; echo two >&2", minute), (Ending::Good, text) if text == "one\ntwo\n"));
        assert!(matches!(run("exit 3", minute), (Ending::Bad, _)));
    }

    /// Starts a process in the background of a program, which ends then or does not.
    fn check_killed(then: &str, time_max: Duration) -> Ending {
        let (ending, text) = run(&format!("sleep 1000 & echo $!; {then}"), time_max);
        let start = Instant::now();
        // It is dead when nobody but its parent has still to hear of it.
        let is_there = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", text.trim())).unwrap_or_default();
            !(stat.is_empty() || stat.contains(") Z ") || stat.contains(") X "))
        };
        while is_there() {
            assert!(start.elapsed() < Duration::from_secs(60), "{text} goes on");
            thread::yield_now();
        }
        ending
    }

    #[test]
    fn what_a_program_has_started_is_killed_with_it() {
        assert!(matches!(check_killed("wait", Duration::from_millis(200)), Ending::Hung));
        assert!(matches!(check_killed("exit 1", Duration::from_secs(60)), Ending::Bad));
    }
}
