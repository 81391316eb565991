//! What the operating system holds plugins to, with plugins in processes of their own: this test program again, told its role by
//! a variable.
//!
//! What a machine does not enforce, the host says; the tests expect of each limit what the host says of it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod asked;
mod ends;
mod hogs;
mod plugin;
mod sweeping;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rapace_host::{Enforcement, PluginHandle, PluginHost, PluginLimits, PluginSpec};
use rapace_session::{CallError, CallOptions, Config, Timeouts};

/// How long a condition may take that is sure to come.
const PATIENCE: Duration = Duration::from_secs(60);

fn config() -> Config {
    let timeouts = Timeouts { start: PATIENCE, ..Timeouts::default() };
    Config { timeouts, ..Config::new("test-host", "1.0.0") }
}

/// A host with a plugin that nothing is wrong with.
fn host() -> PluginHost {
    with_neighbour(PluginHost::builder(config()).build().unwrap())
}

fn with_neighbour(host: PluginHost) -> PluginHost {
    host.load(spec("neighbour", PluginLimits::default())).unwrap();
    host
}

/// A plugin with these limits.
fn spec(name: &str, limits: PluginLimits) -> PluginSpec {
    of_program(PluginSpec::new(name, std::env::current_exe().unwrap()), limits)
}

fn of_program(spec: PluginSpec, limits: PluginLimits) -> PluginSpec {
    let spec = spec.arg("--exact").arg("plugin::plugin_process").arg("--nocapture");
    spec.env(plugin::ROLE, "plugin").limits(limits)
}

/// Limits that all plugins here keep to, but for what they are about.
fn wide() -> PluginLimits {
    PluginLimits { memory_bytes: Some(1 << 30), processes: Some(100), ..PluginLimits::default() }
}

fn enforcement(plugin: &PluginHandle) -> Enforcement {
    plugin.instances()[0].enforcement.unwrap()
}

/// Calls it with a number, and gives the number that it answers.
fn ask(plugin: &PluginHandle, method: u32, number: u64) -> Result<u64, CallError> {
    let reply = plugin.call(method, &number.to_le_bytes(), &CallOptions::new().deadline(PATIENCE))?;
    Ok(u64::from_le_bytes(reply.body[..].try_into().unwrap()))
}

/// Has a plugin start what this script says, in the background; gives the number that the script prints first.
fn run(plugin: &PluginHandle, script: &str) -> u32 {
    let reply = plugin.call(plugin::RUN, script.as_bytes(), &CallOptions::new().deadline(PATIENCE)).unwrap();
    String::from_utf8_lossy(&reply.body).trim().parse().unwrap()
}

/// Has the neighbour called for as long as something else takes. Each of the calls is answered.
fn while_the_neighbour_answers<T>(host: &PluginHost, act: impl FnOnce() -> T) -> T {
    struct Done<'a>(&'a AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let neighbour = host.plugin("neighbour").unwrap();
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let calls = scope.spawn(|| {
            for number in 0.. {
                assert_eq!(ask(&neighbour, plugin::ECHO, number).unwrap(), number);
                if is_done.load(Ordering::SeqCst) {
                    return number;
                }
            }
            0
        });
        let given = {
            let _done = Done(&is_done);
            act()
        };
        calls.join().unwrap();
        given
    })
}

/// Waits for what is sure to come.
#[track_caller]
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        thread::yield_now();
    }
}

/// Whether a process runs: one that has ended may have to wait for somebody to reap it.
fn runs(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// The directories of a process's cgroups that a host of this process has made.
fn cgroups_of(process: u32, host: u32) -> BTreeSet<PathBuf> {
    let cgroups = std::fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap();
    let paths = cgroups.lines().filter_map(|line| line.splitn(3, ':').nth(2)).filter_map(|path| {
        let (_, below) = path.split_once(&format!("/rapace-{host}-"))?;
        Some(format!("rapace-{host}-{below}"))
    });
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts =
        || mountinfo.lines().filter(|line| line.contains(" - cgroup")).filter_map(|line| line.split(' ').nth(4));
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = || own.lines().filter_map(|line| line.splitn(3, ':').nth(2)).map(|path| path.trim_start_matches('/'));
    let found = paths.flat_map(|path| {
        mounts()
            .flat_map(|mount| own().map(|own| Path::new(mount).join(own).join(&path)).collect::<Vec<_>>())
            .collect::<Vec<_>>()
    });
    found.filter(|path| path.exists()).collect()
}
