//! A program that was verified is started as it was read, or not at all.

use std::os::unix::fs::MetadataExt;

use rapace_host::{PluginHost, PluginSpec, Program, ProgramError, StartCause};
use rapace_session::CallOptions;

use crate::directory::{Directory, hash};
use crate::plugin::{ECHO, ROLE};
use crate::{config, eventually, gate};

/// This test program as a plugin in this directory.
fn plugin_in(directory: &Directory) -> Program {
    let own = std::env::current_exe().unwrap();
    // By another process: see `Directory::put`.
    let copied = std::process::Command::new("cp").arg(own).arg(directory.at("plain")).status().unwrap();
    assert!(copied.success());
    directory.mode("plain", 0o755);
    Program::verify(directory.at("plain"), None).unwrap()
}

fn spec_of(program: Program) -> PluginSpec {
    let arguments = ["--exact", "plugin::plugin_process", "--nocapture"];
    let spec = PluginSpec::verified("plain", program).env(ROLE, "plain");
    arguments.into_iter().fold(spec, PluginSpec::arg)
}

#[test]
fn a_verified_plugin_runs_from_the_file_that_was_hashed() {
    let directory = Directory::new();
    let host = PluginHost::builder(config()).build().unwrap();
    let plugin = host.load(spec_of(plugin_in(&directory))).unwrap();
    assert!(plugin.call(ECHO, b"hello", &CallOptions::new()).is_ok());
    let process = format!("/proc/{}", plugin.process_id().unwrap());
    let running = std::fs::metadata(format!("{process}/exe")).unwrap();
    let found = std::fs::metadata(directory.at("plain")).unwrap();
    assert_eq!((running.dev(), running.ino()), (found.dev(), found.ino()));
    // It sees its real path, and not the host's descriptor.
    let arguments = std::fs::read(format!("{process}/cmdline")).unwrap();
    let expected = directory.at("plain").display().to_string();
    assert_eq!(arguments.split(|byte| *byte == 0).next(), Some(expected.as_bytes()));
    for fd in std::fs::read_dir(format!("{process}/fd")).unwrap() {
        assert_ne!(std::fs::read_link(fd.unwrap().path()).ok(), Some(directory.at("plain")));
    }
    // Nor does the host keep it open.
    for fd in std::fs::read_dir("/proc/self/fd").unwrap() {
        assert_ne!(std::fs::read_link(fd.unwrap().path()).ok(), Some(directory.at("plain")));
    }
}

#[test]
fn a_program_that_was_replaced_is_not_started_again_until_it_is_verified() {
    let directory = Directory::new();
    let host = PluginHost::builder(config()).build().unwrap();
    let plugin = host.load(spec_of(plugin_in(&directory))).unwrap();
    let hash_of_it = hash(&std::fs::read(directory.at("plain")).unwrap());
    directory.program("new", "plain");
    std::fs::rename(directory.at("new"), directory.at("plain")).unwrap();
    let error = plugin.restart().unwrap_err();
    let hash_of_other = hash(&std::fs::read(directory.at("plain")).unwrap());
    let expected = format!(
        "plugin plain ({}) did not start: it is not executed: its SHA-256 is {hash_of_other}, expected {hash_of_it}",
        directory.at("plain").display()
    );
    assert_eq!(error.to_string(), expected);
    assert!(matches!(*error.cause, StartCause::NotVerified(ProgramError::HashDiffers { .. })));
    assert_eq!(directory.runs(), 0);
    std::fs::remove_file(directory.at("plain")).unwrap();
    let error = plugin.restart().unwrap_err();
    assert!(matches!(*error.cause, StartCause::NotFound), "{error}");
    plugin_in(&directory);
    plugin.restart().unwrap();
    assert!(plugin.call(ECHO, b"hello", &CallOptions::new()).is_ok());
}

#[test]
fn a_program_that_is_not_trusted_any_more_is_not_started() {
    let directory = Directory::new();
    let host = PluginHost::builder(config()).build().unwrap();
    let spec = spec_of(plugin_in(&directory));
    directory.mode("plain", 0o757);
    let error = host.load(spec).unwrap_err().to_string();
    let reason = "it is not executed: anybody may write to it: its mode is 0757, expected none with 0002";
    assert!(error.ends_with(reason), "{error}");
}

#[test]
fn a_verified_script_runs_as_it_was_read() {
    let directory = Directory::new();
    let (_reader, writer, gate) = gate();
    let log = directory.at(".ran").display().to_string();
    let began = || std::fs::read_to_string(directory.at(".ran")).unwrap_or_default();
    // An interpreter may read the script while it runs it, and again.
    directory.put(
        "script",
        0o755,
        format!("#!/bin/sh\necho begun >> {log}\ncat {gate}\ntail -n 1 \"$0\" >&2\nexit 3\n"),
    );
    let spec = PluginSpec::verified("script", Program::verify(directory.at("script"), None).unwrap());
    let host = PluginHost::builder(config()).build().unwrap();
    let error = std::thread::scope(|scope| {
        let load = scope.spawn(|| host.load(spec).unwrap_err());
        eventually("the script runs", || began() == "begun\n");
        directory.program("other", "other");
        std::fs::rename(directory.at("other"), directory.at("script")).unwrap();
        drop(writer);
        load.join().unwrap()
    });
    assert_eq!((error.exit.unwrap().code(), &*error.stderr), (Some(3), "exit 3"));
    assert_eq!(began(), "begun\n");
}

#[test]
fn a_verified_script_can_be_read_while_its_plugin_runs() {
    let directory = Directory::new();
    let own = std::env::current_exe().unwrap();
    let copy = directory.at("copy").display().to_string();
    let text = format!("#!/bin/sh\n{} \"$@\"\ncp \"$0\" {copy}\n", own.display());
    directory.put("plain", 0o755, &text);
    let host = PluginHost::builder(config()).build().unwrap();
    let plugin = host.load(spec_of(Program::verify(directory.at("plain"), None).unwrap())).unwrap();
    assert!(plugin.call(ECHO, b"hello", &CallOptions::new()).is_ok());
    // What takes the place of a descriptor that is closed is another file.
    let _others: Vec<_> = (0..64).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
    plugin.shutdown().unwrap();
    assert_eq!(std::fs::read_to_string(&copy).unwrap(), text);
}
