//! Files.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use rapace_host::{Permissions, SyscallProfile};

use crate::{Directory, EACCES, ENOENT, EPERM, confined, does, host, reading, report, trusted, writing};

const EXDEV: i32 = 18;

#[test]
fn what_is_not_granted_is_neither_read_nor_written_and_is_without_the_sandbox() {
    let directory = Directory::new();
    let host = host();
    let actions = [
        (directory.action("read", &["other/file"]), "other"),
        (directory.action("list", &["other"]), "3"),
        (directory.action("write", &["other/file"]), ""),
        (directory.action("create", &["other/created"]), ""),
        (directory.action("rename", &["other/new", "other/renamed"]), ""),
        (directory.action("hard-link", &["other/file", "other/linked"]), ""),
        (directory.action("link", &["other/file", "other/link"]), ""),
        (directory.action("truncate", &["other/file"]), ""),
        (directory.action("remove", &["other/old"]), ""),
    ];
    let prepare = || {
        fs::remove_dir_all(directory.at("other")).unwrap();
        fs::create_dir(directory.at("other")).unwrap();
        for name in ["file", "new", "old"] {
            fs::write(directory.at("other").join(name), "other").unwrap();
        }
    };
    prepare();
    let plugin = host.load(trusted()).unwrap();
    for (action, expected) in &actions {
        assert_eq!(does(&plugin, action).as_deref(), Ok(*expected), "{action}");
    }
    assert_eq!(plugin.instances()[0].sandbox, None);
    host.unload("actor");
    prepare();
    let plugin = host.load(confined(reading([&directory.at("granted")]))).unwrap();
    for (action, _) in &actions {
        assert_eq!(does(&plugin, action), Err(EACCES), "{action}");
    }
    // That a file is there, and how large it is, is no secret.
    assert_eq!(does(&plugin, directory.action("stat", &["other/new"])).as_deref(), Ok("5"));
}

#[test]
fn granted_trees_are_read_and_only_those_granted_for_writing_are_written() {
    let directory = Directory::new();
    let host = host();
    let plugin = host.load(confined(reading([&directory.at("granted")]))).unwrap();
    let action = |action: &str, path: &str| does(&plugin, directory.action(action, &[path]));
    assert_eq!(action("read", "granted/file").as_deref(), Ok("granted"));
    assert_eq!(action("list", "granted").as_deref(), Ok("1"));
    for (name, path) in [("write", "file"), ("truncate", "file"), ("remove", "file"), ("create", "new")] {
        assert_eq!(action(name, &format!("granted/{path}")), Err(EACCES), "{name}");
    }
    assert_eq!(fs::read_to_string(directory.at("granted/file")).unwrap(), "granted");
    host.unload("actor");

    let plugin = host.load(confined(writing([&directory.at("granted")]))).unwrap();
    let action = |action: &str, paths: &[&str]| does(&plugin, directory.action(action, paths));
    assert_eq!(action("write", &["granted/file"]).as_deref(), Ok(""));
    assert_eq!(action("read", &["granted/file"]).as_deref(), Ok("written"));
    assert_eq!(action("create", &["granted/new"]).as_deref(), Ok(""));
    assert_eq!(action("rename", &["granted/new", "granted/newer"]).as_deref(), Ok(""));
    assert_eq!(action("remove", &["granted/newer"]).as_deref(), Ok(""));
    assert_eq!(action("create", &["other/new"]), Err(EACCES));
}

#[test]
fn links_out_of_a_granted_tree_lead_nowhere() {
    let directory = Directory::new();
    symlink(directory.at("other/file"), directory.at("granted/link")).unwrap();
    symlink("../other", directory.at("granted/tree")).unwrap();
    let host = host();
    let plugin = host.load(confined(writing([&directory.at("granted")]))).unwrap();
    let action = |action: &str, paths: &[&str]| does(&plugin, directory.action(action, paths));
    for path in ["granted/link", "granted/tree/file", "granted/../other/file"] {
        assert_eq!(action("read", &[path]), Err(EACCES), "{path}");
        assert_eq!(action("write", &[path]), Err(EACCES), "{path}");
    }
    // It makes links as it likes, which help it as little.
    assert_eq!(action("link", &["other/file", "granted/own"]).as_deref(), Ok(""));
    assert_eq!(action("read", &["granted/own"]), Err(EACCES));
    for name in ["hard-link", "rename"] {
        let error = action(name, &["other/file", "granted/taken"]).unwrap_err();
        assert!(error == EXDEV || error == EACCES, "{name}: {error}");
    }
}

#[test]
fn a_granted_path_that_leads_over_a_link_is_not_granted() {
    let directory = Directory::new();
    let host = host();
    // It takes a granted directory's place with a link, and ends.
    let grant = Permissions { read: vec![directory.at("granted/in")], ..writing([&directory.at("granted")]) };
    fs::create_dir(directory.at("granted/in")).unwrap();
    let plugin = host.load(confined(grant)).unwrap();
    let action = |action: &str, paths: &[&str]| does(&plugin, directory.action(action, paths));
    assert_eq!(action("rename", &["granted/in", "granted/was"]).as_deref(), Ok(""));
    assert_eq!(action("link", &["other", "granted/in"]).as_deref(), Ok(""));
    plugin.restart().unwrap();
    assert_eq!(action("read", &["other/file"]), Err(EACCES));
    assert_eq!(action("read", &["granted/file"]).as_deref(), Ok("granted"));
    let unreachable = report(&plugin).unreachable().to_vec();
    let [(path, reason)] = &unreachable[..] else { panic!("{unreachable:?}") };
    assert!(*path == directory.at("granted/in") && reason.contains("symbolic link"), "{reason}");
    host.unload("actor");
    // One that is in the middle of the path.
    let plugin = host.load(confined(reading([&directory.at("granted/in/file")]))).unwrap();
    assert_eq!(does(&plugin, directory.action("read", &["other/file"])), Err(EACCES));
}

#[test]
fn modes_and_times_stay_as_they_are_unless_system_calls_are_unrestricted() {
    let directory = Directory::new();
    let mode = || fs::metadata(directory.at("granted/file")).unwrap().permissions().mode() & 0o777;
    fs::set_permissions(directory.at("granted/file"), PermissionsExt::from_mode(0o644)).unwrap();
    let host = host();
    // Landlock does not see to it: without the filter, what may only be read is changed.
    let permissions = reading([&directory.at("granted")]);
    let plugin = host.load(confined(permissions.clone())).unwrap();
    for name in ["mode", "touch"] {
        assert_eq!(does(&plugin, directory.action(name, &["granted/file"])), Err(EPERM), "{name}");
    }
    assert_eq!(mode(), 0o644);
    host.unload("actor");
    let unrestricted = Permissions { syscalls: SyscallProfile::Unrestricted, ..permissions };
    let plugin = host.load(confined(unrestricted)).unwrap();
    for name in ["mode", "touch"] {
        assert_eq!(does(&plugin, directory.action(name, &["granted/file"])).as_deref(), Ok(""), "{name}");
    }
    assert_eq!(mode(), 0o600);
}

#[test]
fn a_path_that_is_not_there_is_told_and_no_reason_to_refuse() {
    let directory = Directory::new();
    let host = host();
    let plugin = host.load(confined(reading([&directory.at("none"), &directory.at("granted")]))).unwrap();
    let unreachable = report(&plugin).unreachable().to_vec();
    let [(path, reason)] = &unreachable[..] else { panic!("{unreachable:?}") };
    assert!(*path == directory.at("none") && reason.contains("No such file"), "{reason}");
    assert_eq!(does(&plugin, directory.action("read", &["granted/file"])).as_deref(), Ok("granted"));
    assert_eq!(does(&plugin, directory.action("read", &["none"])), Err(ENOENT));
    // What comes later at that path is not granted before the next start.
    fs::write(directory.at("none"), "some").unwrap();
    assert_eq!(does(&plugin, directory.action("read", &["none"])), Err(EACCES));
    plugin.restart().unwrap();
    assert_eq!(does(&plugin, directory.action("read", &["none"])).as_deref(), Ok("some"));
}

#[test]
fn what_every_program_needs_is_there() {
    let host = host();
    let plugin = host.load(confined(Permissions::default())).unwrap();
    for action in ["list /usr/lib", "write /dev/null", "read /dev/null", "read /proc/meminfo", "pair", "thread"] {
        assert!(does(&plugin, action).is_ok(), "{action}");
    }
    for action in ["list /", "list /tmp", "read /etc/passwd", "list /proc", "list /dev", "read /proc/self/status"] {
        assert_eq!(does(&plugin, action), Err(EACCES), "{action}");
    }
}
