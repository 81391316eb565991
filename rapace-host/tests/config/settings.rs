//! What a configuration comes to for a session and for a plugin.

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rapace_host::{
    Backoff, Breaker, HostConfig, Manifest, Permissions, PluginLimits, RestartLimit, RestartPolicy, SharedStorage,
    Supervision, SyscallProfile, Unresponsive,
};
use rapace_session::Prefault;

use super::{Format, example, read};

fn manifest(text: &str) -> Manifest {
    Manifest::from_toml(text, Path::new("shout.plugin.toml")).unwrap()
}

fn paths<const N: usize>(paths: [&str; N]) -> Vec<PathBuf> {
    paths.map(PathBuf::from).to_vec()
}

fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).to_vec()
}

#[test]
fn a_session_is_made_with_what_the_file_says() {
    let text = "name = 'h'\nversion = '1'\nmemory = {segment_bytes = '64KiB', ring_capacity = 16, slot_bytes = 64, prefault = true}\n\
        limits = {calls_max = 7, depth_max = 3}\ntimeouts.call = '1h30m'\n";
    let session = read(Format::Toml, text).unwrap().session();
    assert_eq!((&*session.name, &*session.version, session.prefault), ("h", "1", Prefault::Now));
    assert_eq!((session.geometry.segment_bytes, session.geometry.slot_bytes), (64 << 10, 64));
    assert_eq!((session.limits.calls_max, session.limits.depth_max), (7, 3));
    assert_eq!(session.timeouts.call, Duration::from_secs(5400));
}

#[test]
fn supervision_is_the_hosts_then_the_manifests_then_the_hosts_for_that_plugin() {
    let config = read(Format::Toml, example::TOML).unwrap();
    let plain = config.plugin("other", None, |_| None).unwrap();
    let of_all = Supervision {
        restart: RestartPolicy::OnFailure,
        backoff: Backoff::default(),
        limit: RestartLimit::default(),
        breaker: Some(Breaker::default()),
        unresponsive: Unresponsive::Kill,
        ..Supervision::default()
    };
    assert_eq!(plain.supervision, of_all);

    let manifest = manifest(
        "version = '1'\n[supervision]\nrestart = 'always'\nidle_timeout = '1m'\ncritical = true\nbreaker.open = '2s'\nbackoff.first = '1s'",
    );
    let by_manifest = config.plugin("other", Some(&manifest), |_| None).unwrap();
    let expected = Supervision {
        restart: RestartPolicy::Always,
        backoff: Backoff { first: Duration::from_secs(1), ..Backoff::default() },
        breaker: Some(Breaker { open: Duration::from_secs(2), ..Breaker::default() }),
        idle_timeout: Some(Duration::from_secs(60)),
        critical: true,
        ..of_all
    };
    assert_eq!(by_manifest.supervision, expected);

    let by_all = config.plugin("shout", Some(&manifest), |_| None).unwrap();
    let expected = Supervision {
        breaker: None,
        idle_timeout: Some(Duration::from_secs(300)),
        instances: NonZeroU16::new(2).unwrap(),
        ..expected
    };
    assert_eq!(by_all.supervision, expected);
}

#[test]
fn the_hosts_word_stands_before_the_manifests() {
    let config = read(Format::Toml, example::TOML).unwrap();
    let manifest = manifest(
        "version = '1'\nargs = ['a']\nconfig = 1\nenv = {MODE = 'slow', HOME_OF = '${HOME}', IN = '${LC_ALL:-C}'}\nlimits = {calls = 5, open_files = 99}",
    );
    let home = |name: &str| (name == "HOME").then(|| "/h".to_owned());
    let settings = config.plugin("shout", Some(&manifest), home).unwrap();
    assert_eq!((settings.args, settings.enabled), (vec!["--loud".to_owned()], true));
    assert_eq!(settings.config.unwrap()["volume"], 11);
    let env: Vec<_> = settings.env.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(env, [("HOME_OF", "/h"), ("IN", "C"), ("MODE", "fast")]);
    assert_eq!((settings.limits.calls, settings.limits.open_files), (Some(5), Some(64)));
    // It asks for nothing, and its host is strict.
    let nothing = Permissions { syscalls: SyscallProfile::Strict, ..Permissions::default() };
    assert_eq!(settings.permissions, Some(nothing));

    let settings = config.plugin("other", Some(&manifest), home).unwrap();
    assert_eq!((settings.args, settings.config), (vec!["a".to_owned()], Some(serde_json::json!(1))));
    let error = config.plugin("other", Some(&manifest), |_| None).unwrap_err().to_string();
    assert_eq!(
        error,
        "the manifest of other: env.HOME_OF: the environment has no HOME; ${HOME:-DEFAULT} would do without"
    );
    assert!(!config.plugin("whisper", None, |_| None).unwrap().enabled);
    assert_eq!(HostConfig::new("h", "1").plugin("other", None, |_| None).unwrap().permissions, None);
}

#[test]
fn whether_a_sandbox_is_required_is_the_plugins_word_then_the_hosts_and_not_the_manifests() {
    let text = "name = 'h'\nversion = '1'\nrequire_sandbox = true\n\
        [plugins]\na = {program = 'a'}\nb = {program = 'b', require_sandbox = false}";
    let config = read(Format::Toml, text).unwrap();
    let required = |config: &HostConfig, name: &str| config.plugin(name, None, |_| None).unwrap().require_sandbox;
    assert_eq!(["a", "b", "found"].map(|name| required(&config, name)), [true, false, true]);
    let config = read(Format::Toml, "name = 'h'\nversion = '1'\nplugins.a = {program = 'a', require_sandbox = true}");
    let config = config.unwrap();
    assert_eq!(["a", "found"].map(|name| required(&config, name)), [true, false]);
    let manifest = Manifest::from_toml("version = '1'\nrequire_sandbox = false", Path::new("shout.plugin.toml"));
    assert!(manifest.unwrap_err().to_string().contains("require_sandbox"));
}

#[test]
fn of_two_permissions_the_stricter_holds() {
    let asked = Permissions {
        read: paths(["/usr/share", "/etc/shout", "/var"]),
        write: paths(["/var/lib/shout", "/tmp"]),
        network: true,
        services: names(["Storage", "Logger", "a.Store"]),
        shared_storage: SharedStorage::Write,
        publish: names(["price.*", "alert"]),
        subscribe: names(["*"]),
        syscalls: SyscallProfile::Unrestricted,
    };
    let allowed = Permissions {
        read: paths(["/usr/share/dict", "/etc", "/tmp/shout", "/home"]),
        write: paths(["/var/lib"]),
        network: false,
        services: names(["rapace.Logger", "Events", "a.Storage"]),
        shared_storage: SharedStorage::Read,
        publish: names(["price.*.day", "price.oil", "alert", "al"]),
        subscribe: names(["price.*", "alert"]),
        syscalls: SyscallProfile::Strict,
    };
    let both = Permissions {
        // What may be written in one is read in the other.
        read: paths(["/etc/shout", "/tmp/shout", "/usr/share/dict", "/var/lib"]),
        write: paths(["/var/lib/shout"]),
        network: false,
        services: names(["a.Storage", "rapace.Logger"]),
        shared_storage: SharedStorage::Read,
        publish: names(["alert", "price.*.day", "price.oil"]),
        subscribe: names(["alert", "price.*"]),
        syscalls: SyscallProfile::Strict,
    };
    assert_eq!(asked.stricter(&allowed), both);
    assert_eq!(allowed.stricter(&asked), both);
    assert_eq!(both.stricter(&both), both);
    assert_eq!(asked.stricter(&Permissions::default()), Permissions::default());
    // Who says nothing of system calls does not open what is closed by default.
    assert_eq!(asked.stricter(&Permissions::default()).syscalls, SyscallProfile::Default);
    // A name that begins alike is another.
    let other = Permissions { read: paths(["/usr/shareware"]), ..Permissions::default() };
    assert_eq!(asked.stricter(&other), Permissions::default());
}

#[test]
fn a_permission_names_a_service_or_the_end_of_its_name_and_topics_by_their_beginnings() {
    let permissions = Permissions {
        services: names(["Storage", "rapace.Logger"]),
        publish: names(["price.*"]),
        subscribe: names(["alert"]),
        ..Permissions::default()
    };
    for (service, is_allowed) in [
        ("rapace.Storage", true),
        ("Storage", true),
        ("NoStorage", false),
        ("rapace.Logger", true),
        ("Logger", false),
        ("my.rapace.Logger", false),
    ] {
        assert_eq!(permissions.allows_service(service), is_allowed, "{service}");
    }
    for (topic, is_allowed) in [("price.oil", true), ("price.", true), ("price", false), ("*", false)] {
        assert_eq!(permissions.allows_publishing(topic), is_allowed, "{topic}");
    }
    for (topic, is_allowed) in [("alert", true), ("alert*", false), ("alerts", false)] {
        assert_eq!(permissions.allows_subscribing(topic), is_allowed, "{topic}");
    }
}

#[test]
fn a_manifest_is_given_no_more_than_its_host_allows() {
    let config = read(Format::Toml, example::TOML).unwrap();
    let greedy = manifest(
        "version = '1'\n[permissions]\nread = ['/']\nwrite = ['/']\nnetwork = true\nservices = ['Storage', 'Events']\n\
         shared_storage = 'write'\npublish = ['*']\nsubscribe = ['*']",
    );
    // In no order.
    let sorted = |permissions: Option<Permissions>| {
        let mut permissions = permissions.unwrap();
        permissions.services.sort();
        Some(permissions)
    };
    let allowed = sorted(config.plugin("shout", None, |_| None).unwrap().permissions);
    assert_eq!(sorted(config.plugin("shout", Some(&greedy), |_| None).unwrap().permissions), allowed);
    assert_ne!(Some(greedy.permissions), allowed);
}

#[test]
fn permissions_with_nothing_in_them_allow_nothing() {
    let asking = manifest("version = '1'\npermissions.network = true");
    for (format, text) in [
        (Format::Toml, "name = 'h'\nversion = '1'\n[plugins.p]\nprogram = 'p'\n[plugins.p.permissions]\n"),
        (Format::Yaml, "name: h\nversion: '1'\nplugins:\n  p:\n    program: p\n    permissions:\n"),
    ] {
        let settings = read(format, text).unwrap().plugin("p", Some(&asking), |_| None).unwrap();
        assert_eq!(settings.permissions, Some(Permissions::default()), "{format:?}");
    }
}

/// A ceiling, and one plugin whose section wants more than that.
const CEILING: &str = "name = 'h'\nversion = '1'\n\
    [ceiling.permissions]\nread = ['/usr/share']\nwrite = ['/var/lib']\nservices = ['Storage', 'Logger']\npublish = ['a.*']\n\
    [ceiling.limits]\nmemory_bytes = '1MiB'\ncalls = 4\n\
    [plugins.named]\nprogram = 'p'\npermissions = {write = ['/'], network = true, services = ['Logger', 'Events']}\n\
    limits = {memory_bytes = '2MiB', calls = 3}\n";

#[test]
fn what_no_file_names_is_given_no_more_than_the_ceiling() {
    let config = read(Format::Toml, CEILING).unwrap();
    let greedy = manifest(
        "version = '1'\npermissions = {read = ['/'], write = ['/'], network = true, services = ['Storage', 'Events'], publish = ['*'], \
         syscalls = 'unrestricted', shared_storage = 'write'}\nlimits = {memory_bytes = '1GiB', open_files = 9}",
    );
    let found = config.plugin("found", Some(&greedy), |_| None).unwrap();
    let ceiling = config.ceiling.permissions.clone().unwrap();
    let within = Permissions { services: names(["Storage"]), ..ceiling.clone() };
    assert_eq!(found.permissions, Some(within));
    let limits = PluginLimits { memory_bytes: Some(1 << 20), calls: Some(4), ..PluginLimits::default() };
    assert_eq!(found.limits, PluginLimits { open_files: Some(9), ..limits.clone() });

    // One that asks for less gets that.
    let modest = manifest("version = '1'\npermissions.read = ['/usr/share/dict']\nlimits.calls = 1");
    let found = config.plugin("found", Some(&modest), |_| None).unwrap();
    let asked = Permissions { read: paths(["/usr/share/dict"]), ..Permissions::default() };
    assert_eq!((found.permissions, found.limits.calls), (Some(asked), Some(1)));

    // A program without a manifest is not trusted.
    let found = config.plugin("found", None, |_| None).unwrap();
    assert_eq!((found.permissions, found.limits), (Some(ceiling), limits));
}

#[test]
fn what_the_file_names_is_under_the_ceiling_too() {
    let config = read(Format::Toml, CEILING).unwrap();
    let named = config.plugin("named", None, |_| None).unwrap();
    let within = Permissions {
        read: paths(["/usr/share"]),
        write: paths(["/var/lib"]),
        services: names(["Logger"]),
        ..Permissions::default()
    };
    assert_eq!(named.permissions, Some(within));
    assert_eq!((named.limits.memory_bytes, named.limits.calls), (Some(1 << 20), Some(3)));
    // Of all three the strictest holds.
    let asking = manifest("version = '1'\npermissions.write = ['/var/lib/x', '/etc']\nlimits.memory_bytes = '64KiB'");
    let named = config.plugin("named", Some(&asking), |_| None).unwrap();
    let within = Permissions { write: paths(["/var/lib/x"]), ..Permissions::default() };
    assert_eq!((named.permissions, named.limits.memory_bytes), (Some(within), Some(64 << 10)));
}

#[test]
fn a_ceiling_of_limits_alone_takes_no_trust() {
    let text = "name = 'h'\nversion = '1'\n[ceiling.limits]\nprocesses = 3\n";
    let settings = read(Format::Toml, text).unwrap().plugin("found", None, |_| None).unwrap();
    assert_eq!((settings.permissions, settings.limits.processes), (None, Some(3)));
    // A ceiling that is named and empty allows nothing.
    for (format, text) in [
        (Format::Toml, "name = 'h'\nversion = '1'\n[ceiling.permissions]\n"),
        (Format::Yaml, "name: h\nversion: '1'\nceiling:\n  permissions:\n"),
    ] {
        let settings = read(format, text).unwrap().plugin("found", None, |_| None).unwrap();
        assert_eq!(settings.permissions, Some(Permissions::default()));
    }
}

#[test]
fn of_two_limits_the_lower_holds() {
    let one = PluginLimits { memory_bytes: Some(10), calls: Some(3), ..PluginLimits::default() };
    let other = PluginLimits { memory_bytes: Some(7), calls: Some(4), processes: Some(1), ..PluginLimits::default() };
    let both = PluginLimits { memory_bytes: Some(7), calls: Some(3), processes: Some(1), ..PluginLimits::default() };
    assert_eq!((one.stricter(&other), other.stricter(&one)), (both.clone(), both));
}
