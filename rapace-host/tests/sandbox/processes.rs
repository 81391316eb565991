//! Other programs and processes, and the machine.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rapace_host::{Permissions, PluginHandle, SyscallProfile};

use crate::{Directory, EACCES, EPERM, confined, does, host, reading, trusted};

/// A process of the test's that waits until it is dropped.
struct Sleeper(Child);

impl Sleeper {
    fn new() -> Self {
        Self(Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn other_programs_are_executed_where_that_is_granted() {
    let host = host();
    let plugin = host.load(trusted()).unwrap();
    assert_eq!(does(&plugin, "execute /bin/true").as_deref(), Ok("0"));
    host.unload("actor");
    let plugin = host.load(confined(Permissions::default())).unwrap();
    assert_eq!(does(&plugin, "execute /bin/true"), Err(EACCES));
    host.unload("actor");
    let plugin = host.load(confined(reading([Path::new("/bin")]))).unwrap();
    assert_eq!(does(&plugin, "execute /bin/true").as_deref(), Ok("0"));
    // It reads what is granted, and nothing else.
    assert_eq!(does(&plugin, "execute /bin/cat /etc/passwd").as_deref(), Ok("1"));
}

#[test]
fn a_child_has_no_more_rights_than_its_plugin() {
    let directory = Directory::new();
    let host = host();
    let plugin = host.load(trusted()).unwrap();
    let child = |plugin: &PluginHandle, action: &str| does(plugin, format!("again {action}"));
    let other = directory.action("read", &["other/file"]);
    assert_eq!(child(&plugin, &other).as_deref(), Ok("other"));
    assert_eq!(child(&plugin, "udp").as_deref(), Ok(""));
    host.unload("actor");
    let plugin = host.load(confined(reading([&directory.at("granted")]))).unwrap();
    assert_eq!(child(&plugin, &directory.action("read", &["granted/file"])).as_deref(), Ok("granted"));
    assert_eq!(child(&plugin, &other), Err(EACCES));
    assert_eq!(child(&plugin, "udp"), Err(EPERM));
    assert_eq!(child(&plugin, "execute /bin/true"), Err(EACCES));
}

#[test]
fn the_machine_and_other_processes_are_out_of_reach() {
    let directory = Directory::new();
    let sleeper = Sleeper::new();
    let pid = sleeper.0.id();
    let actions = [
        directory.action("mount", &["other"]),
        "namespace".to_owned(),
        format!("trace {pid}"),
        format!("signal {pid}"),
        format!("limit {pid}"),
    ];
    let host = host();
    let plugin = host.load(trusted()).unwrap();
    // Not all tests run as root.
    let able: Vec<_> = actions.iter().map(|action| does(&plugin, action).is_ok()).collect();
    assert_eq!(able[3..], [true, true]);
    if rustix::process::geteuid().is_root() {
        assert!(able.iter().any(|able| *able));
    }
    host.unload("actor");
    let plugin = host.load(confined(Permissions::default())).unwrap();
    for action in &actions {
        assert_eq!(does(&plugin, action), Err(EPERM), "{action}");
    }
    // Itself it may limit.
    assert_eq!(does(&plugin, "limit 0").as_deref(), Ok(""));
    host.unload("actor");
    // Without the filter, what else there is refuses them still, but for limits.
    let unrestricted = Permissions { syscalls: SyscallProfile::Unrestricted, ..Permissions::default() };
    let plugin = host.load(confined(unrestricted)).unwrap();
    for action in &actions[..4] {
        assert_eq!(does(&plugin, action), Err(EPERM), "{action}");
    }
}

#[test]
fn a_strict_profile_refuses_what_few_need() {
    let host = host();
    let strict = Permissions { syscalls: SyscallProfile::Strict, ..Permissions::default() };
    for (permissions, expected) in [(Permissions::default(), Ok(String::new())), (strict, Err(EPERM))] {
        let plugin = host.load(confined(permissions)).unwrap();
        for action in ["anonymous", "watch"] {
            assert_eq!(does(&plugin, action), expected, "{action}");
        }
        for action in ["thread", "pair", "again thread"] {
            assert_eq!(does(&plugin, action).as_deref(), Ok(""), "{action}");
        }
        host.unload("actor");
    }
}

/// What the kernel says of a process or thread.
fn status(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.trim())).collect()
}

#[test]
fn a_plugin_has_no_privileges_and_its_host_keeps_all_and_no_thread_of_the_start() {
    let own = || std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let before = own();
    let host = host();
    let plugin = host.load(confined(reading([Path::new("/proc")]))).unwrap();
    let text = does(&plugin, "read /proc/self/status").unwrap();
    let plugins = status(&text);
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(plugins[set], "0000000000000000", "{set}");
    }
    assert_eq!((plugins["NoNewPrivs"], plugins["Seccomp"]), ("1", "2"));
    // And so has a child of it, though its user may be root.
    let text = does(&plugin, "again read /proc/self/status").unwrap();
    assert_eq!((status(&text)["CapEff"], status(&text)["NoNewPrivs"]), ("0000000000000000", "1"));
    let after = own();
    for property in ["CapPrm", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp"] {
        assert_eq!(status(&before)[property], status(&after)[property], "{property}");
    }
    assert!(std::fs::read("/etc/passwd").is_ok() && std::net::UdpSocket::bind("127.0.0.1:0").is_ok());
    // Other tests start plugins too, whose threads are soon gone.
    let threads = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
    };
    crate::life::eventually("no thread of a start is left", || !threads().any(|name| name.trim() == "rapace-confined"));
}
