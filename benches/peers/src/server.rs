//! The process of a server, as its client sees it, and as it sees itself.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{CpuSet, gettid, sched_setaffinity};

use crate::Error;
use crate::args::SERVE;

/// A server's process. Dropped, it is killed.
#[derive(Debug)]
pub struct Server {
    child: Child,
}

/// The command that starts the server of a system.
pub fn command(system: &str, mode: &str, place: &Path) -> Result<Command, Error> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([SERVE, system, mode]).arg(place);
    Ok(command)
}

impl Server {
    /// Starts it and waits until it is [`ready`].
    pub fn start(system: &str, mode: &str, place: &Path) -> Result<Self, Error> {
        Self::start_with(command(system, mode, place)?.stdin(Stdio::null()))
    }

    /// The same with a command of one's own.
    pub fn start_with(command: &mut Command) -> Result<Self, Error> {
        let mut server = Self { child: command.stdout(Stdio::piped()).spawn()? };
        let mut output = server.child.stdout.take().ok_or("no standard output")?;
        output.read_exact(&mut [0])?;
        Ok(server)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Gives it a second to end by itself.
    pub fn wait(&mut self) {
        for _ in 0..1000 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keeps this process on the first or the last of the machine's processors: what a limit between two of them is, is not left
/// to the scheduler.
pub fn pin(to_last: bool) -> Result<(), Error> {
    let online = fs::read_to_string("/sys/devices/system/cpu/online")?;
    let processor = match online.trim().rsplit(['-', ',']).next() {
        Some(last) if to_last => last.parse()?,
        _ => 0,
    };
    let mut set = CpuSet::new();
    set.set(processor);
    // Where it is not allowed, the scheduler decides after all.
    let _ = sched_setaffinity(None, &set);
    Ok(())
}

/// This process is to end with its parent.
pub fn end_with_parent() -> Result<(), Error> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Called by a server that can be connected to. From then on it ends with its client.
pub fn ready() -> Result<(), Error> {
    end_with_parent()?;
    let mut output = std::io::stdout();
    output.write_all(b"+")?;
    Ok(output.flush()?)
}

/// Time on a processor, of all threads of a process.
pub fn processor_time(process: u32) -> Result<Duration, Error> {
    processor_time_without(process, None)
}

/// The same without the thread that asks, which may be of this process.
pub fn processor_time_of_others(process: u32) -> Result<Duration, Error> {
    processor_time_without(process, Some(gettid().as_raw_nonzero().to_string()))
}

fn processor_time_without(process: u32, thread: Option<String>) -> Result<Duration, Error> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let task = task?;
        if thread.as_ref().is_some_and(|thread| task.file_name().to_str() == Some(thread)) {
            continue;
        }
        // It may have ended just now.
        let Ok(schedule) = fs::read_to_string(task.path().join("schedstat")) else { continue };
        nanoseconds += schedule.split_whitespace().next().unwrap_or("0").parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// How often threads of a process have gone to sleep by themselves, and been woken. Without the thread that asks.
pub fn wake_ups(process: u32) -> Result<u64, Error> {
    let asking = gettid().as_raw_nonzero().to_string();
    let mut count = 0;
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let task = task?;
        if task.file_name().to_str() == Some(&asking) {
            continue;
        }
        // It may have ended just now.
        let Ok(status) = fs::read_to_string(task.path().join("status")) else { continue };
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        count += line.unwrap_or("0").trim().parse::<u64>()?;
    }
    Ok(count)
}

/// The bytes that a process keeps: private memory, and its share of what is shared, files (its program) apart.
pub fn memory(process: u32) -> Result<u64, Error> {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let mut kibibytes = 0;
    for line in rollup.lines().filter(|line| line.starts_with("Pss_Anon:") || line.starts_with("Pss_Shmem:")) {
        kibibytes += line.split_whitespace().nth(1).unwrap_or("0").parse::<u64>()?;
    }
    Ok(kibibytes * 1024)
}
