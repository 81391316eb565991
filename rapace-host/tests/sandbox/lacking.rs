//! A kernel that lacks something: a thread that is itself under a filter, which it hands on to what it starts, sees one.

use std::collections::BTreeMap;
use std::thread;

use rapace_host::{Mechanism, Permissions, PluginHost, PluginSpec, Program, StartCause, Unconfined};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use crate::{Directory, EACCES, EPERM, confined, does, host, reading, report};

const ENOSYS: u32 = 38;
const EOPNOTSUPP: u32 = 95;
const LANDLOCK: [libc::c_long; 3] =
    [libc::SYS_landlock_create_ruleset, libc::SYS_landlock_add_rule, libc::SYS_landlock_restrict_self];
const SECCOMP: [libc::c_long; 1] = [libc::SYS_seccomp];

/// Does something where the kernel lacks these system calls.
fn without<T: Send>(calls: &[libc::c_long], errno: u32, work: impl FnOnce() -> T + Send) -> T {
    let rules: BTreeMap<i64, _> = calls.iter().map(|call| (*call, Vec::new())).collect();
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), architecture).unwrap();
    let filter: BpfProgram = filter.try_into().unwrap();
    let confined = || {
        apply_filter(&filter).unwrap();
        work()
    };
    thread::scope(|scope| scope.spawn(confined).join().unwrap())
}

fn refusal(host: &PluginHost, spec: PluginSpec) -> String {
    let error = host.load(spec).unwrap_err();
    assert!(matches!(*error.cause, StartCause::NotSandboxed(Unconfined::Lacking(_))), "{error}");
    error.to_string()
}

#[test]
fn without_landlock_a_plugin_is_refused_or_runs_with_what_is_left() {
    let directory = Directory::new();
    for (errno, reason) in [
        (ENOSYS, "files (the kernel has no Landlock), truncation (the kernel has no Landlock), TCP ("),
        (EOPNOTSUPP, "files (the kernel's Landlock was not enabled when it was started), truncation ("),
    ] {
        let host = host();
        let spec = confined(reading([&directory.at("granted")]));
        without(&LANDLOCK, errno, || {
            let words = refusal(&host, spec.clone());
            let expected = format!(
                "did not start: it would not be confined as is required: active: no new privileges, no capabilities, \
                 system calls; not active: {reason}"
            );
            assert!(words.contains(&expected), "{words}");
            host.load(spec.require_sandbox(false)).unwrap();
        });
        let plugin = host.plugin("actor").unwrap();
        let lacking: Vec<_> = report(&plugin).not_active().map(|(mechanism, _)| mechanism).collect();
        use Mechanism::{AbstractSockets, Devices, Files, Signals, Tcp, Truncation};
        assert_eq!(lacking, [Files, Truncation, Tcp, Devices, AbstractSockets, Signals]);
        // It can do what the report says, and no more.
        assert_eq!(does(&plugin, directory.action("read", &["other/file"])).as_deref(), Ok("other"));
        assert_eq!(does(&plugin, "udp"), Err(EPERM));
    }
}

#[test]
fn without_seccomp_a_plugin_is_refused_or_runs_with_what_is_left() {
    let directory = Directory::new();
    let host = host();
    let spec = confined(reading([&directory.at("granted")]));
    without(&SECCOMP, ENOSYS, || {
        let words = refusal(&host, spec.clone());
        assert!(
            words.contains("not active: system calls (Error calling `seccomp`: Function not implemented"),
            "{words}"
        );
        // Where no filter is asked for, none is missing.
        let unrestricted = rapace_host::SyscallProfile::Unrestricted;
        let permissions = Permissions { network: true, syscalls: unrestricted, ..Permissions::default() };
        host.load(confined(permissions)).unwrap();
        host.unload("actor");
        host.load(spec.require_sandbox(false)).unwrap();
    });
    let plugin = host.plugin("actor").unwrap();
    let report = report(&plugin);
    assert_eq!(report.not_active().map(|(mechanism, _)| mechanism).collect::<Vec<_>>(), [Mechanism::SystemCalls]);
    assert_eq!(does(&plugin, "udp").as_deref(), Ok(""));
    assert_eq!(does(&plugin, "listen"), Err(EACCES));
    assert_eq!(does(&plugin, directory.action("read", &["other/file"])), Err(EACCES));
}

#[test]
fn a_verified_script_runs_where_no_thread_has_descriptors_of_its_own() {
    let directory = Directory::new();
    let script = directory.script("script", "exec \"$PROGRAM\" \"$@\"");
    let own = std::env::current_exe().unwrap();
    let spec = PluginSpec::verified("actor", Program::verify(&script, None).unwrap()).env("PROGRAM", &own);
    let spec = spec.arg("--exact").arg("actions::actor").arg("--nocapture").env(crate::actions::ROLE, "plugin");
    let spec = spec.permissions(reading([&own])).require_sandbox(true);
    let host = host();
    without(&[libc::SYS_unshare], ENOSYS, || drop(host.load(spec).unwrap()));
    assert_eq!(does(&host.plugin("actor").unwrap(), "read /etc/passwd"), Err(EACCES));
}

#[test]
fn what_is_refused_was_not_executed() {
    let directory = Directory::new();
    let host = host();
    let mark = directory.at("granted/mark");
    let spec = PluginSpec::new("p", "sh").arg("-c").arg(format!("echo > {}", mark.display()));
    let permissions = crate::writing([&directory.at("granted")]);
    let spec = spec.permissions(permissions);
    without(&LANDLOCK, ENOSYS, || {
        refusal(&host, spec.clone().require_sandbox(true));
        assert!(!mark.exists());
        // Where it is not required, it is executed, and is no plugin.
        host.load(spec).unwrap_err();
    });
    assert!(mark.exists());
}
