//! How a plugin's program is started.

use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use rapace_core::socket::Listener;
use rapace_session::{CallOptions, Code, NoService, Status};
use serde_json::{Value, json};

use crate::PATIENCE;
use crate::contract::WorkerClient;
use crate::process::{ARGUMENTS, Started, test_program};

/// Ends it as a host does.
fn close(plugin: Started) {
    plugin.session.close(&Status::new(Code::Unavailable, "done"));
    let (exit, stderr) = plugin.end();
    assert_eq!((exit.code(), stderr.as_str()), (Some(0), ""));
}

#[track_caller]
fn check(arguments: &str, code: i32, stderr: impl Fn(&str) -> bool) {
    let output = test_program("polite").env(ARGUMENTS, arguments).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(code) && stderr(&text), "{arguments:?}: {:?}, {text:?}", output.status);
    assert!(text.is_empty() || text.lines().count() == 1, "{text:?}");
}

#[test]
fn a_program_says_what_it_is() {
    let output = test_program("polite").env(ARGUMENTS, "capabilities").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    // The test runner says something, too, before it.
    let begin = output.stdout.iter().position(|byte| *byte == b'{').unwrap();
    let said: Value = serde_json::from_slice(&output.stdout[begin..]).unwrap();
    assert_eq!((&said["name"], &said["version"], &said["protocol"]), (&json!("polite"), &json!("1.0.0"), &json!(1)));
    assert_eq!(said["contracts"], json!({"greeter": ["in-words"]}));
    let [oracle, worker] = [&said["services"][0], &said["services"][1]];
    assert_eq!((&oracle["name"], &oracle["provider"]), (&json!("test.Oracle"), &json!("host")));
    assert_eq!((&worker["name"], &worker["version"]), (&json!("test.Worker"), &json!("1.2")));
    assert_eq!(worker["provider"], json!("plugin"));
    assert_eq!(worker["methods"][0], json!({"name": "greet", "id": 10, "kind": "Unary"}));
    assert_eq!(said["config_schema"]["properties"]["greeting"]["type"], json!("string"));
    assert_eq!(said["config_schema"]["required"], json!(["greeting"]));
    assert_eq!(said.as_object().unwrap().len(), 6);
}

#[test]
fn a_program_without_a_host_says_how_it_is_run() {
    let by_hand = "polite is a rapace plugin: it is started by a host program, e.g. `host polite`\n";
    check("", 2, |line| line == by_hand);
    for arguments in ["--help", "-h", "serve", "--config", "capabilities\nnow"] {
        check(arguments, 2, |line| line.starts_with("polite 1.0.0 is a rapace plugin: ") && line.contains("--attach"));
    }
    check("--attach\n/nonexistent/socket", 1, |line| line.starts_with("cannot join a host at /nonexistent/socket: "));
}

#[test]
fn a_configuration_may_come_by_an_argument() {
    let mut command = test_program("polite");
    command.env(ARGUMENTS, "--config={\"greeting\": \"Ahoy\", \"marks\": 2}");
    let plugin = Started::new(&mut command, NoService);
    plugin.session.call_lifecycle(2000, b"what the host would give", &CallOptions::new()).unwrap();
    assert_eq!(WorkerClient::new(&plugin.session).blocking().greet("host").unwrap(), "Ahoy, host!!");
    close(plugin);
    command.env(ARGUMENTS, "--config\n{");
    let plugin = Started::new(&mut command, NoService);
    let error = plugin.session.call_lifecycle(2000, b"", &CallOptions::new()).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    close(plugin);
}

/// A program that joins this test, which listens.
fn joins(path: &Path, by_variable: bool) {
    let listener = Listener::bind(path).unwrap();
    let mut command = test_program("polite");
    match by_variable {
        true => command.env("RAPACE_ATTACH", path),
        false => command.env(ARGUMENTS, format!("--attach\n{}", path.display())),
    };
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let socket = listener.accept(Instant::now() + PATIENCE).unwrap();
    let plugin = Started::with(socket, child, NoService);
    plugin.initialize();
    assert_eq!(WorkerClient::new(&plugin.session).blocking().greet("host").unwrap(), "Hello, host!");
    close(plugin);
}

#[test]
fn a_program_joins_a_host_that_runs() {
    let path = std::env::temp_dir().join(format!("rapace-join-{}", std::process::id()));
    joins(&path, false);
    joins(&path, true);
    assert!(!path.exists());
}

#[test]
fn who_was_started_by_a_host_keeps_to_it() {
    let plugin = Started::new(test_program("polite").env("RAPACE_ATTACH", "/nonexistent/socket"), NoService);
    plugin.initialize();
    close(plugin);
}
