//! How a plugin's program is started.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use rapace_core::socket::Listener;
use rapace_session::{CallOptions, Code, NoService, Status};
use serde_json::{Value, json};

use crate::PATIENCE;
use crate::contract::WorkerClient;
use crate::process::{ARGUMENTS, Started, test_program};

/// Ends it as a host does.
fn close(plugin: Started) {
    assert_eq!(said_at_the_end(plugin), "");
}

fn said_at_the_end(plugin: Started) -> String {
    plugin.session.close(&Status::new(Code::Unavailable, "done"));
    let (exit, stderr) = plugin.end();
    assert_eq!(exit.code(), Some(0));
    stderr
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
    let by_hand = "polite is a rapace plugin: a host program starts it; try `host polite`\n";
    check("", 2, |line| line == by_hand);
    for (arguments, found) in [("serve", "the argument \"serve\""), ("--config", "--config without a value")] {
        check(arguments, 2, |line| line.starts_with(&format!("polite 1.0.0: found {found}, expected ")));
    }
    for arguments in ["--help", "-h"] {
        let output = test_program("polite").env(ARGUMENTS, arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.code() == Some(0) && output.stderr.is_empty(), "{:?}", output.status);
        let usage = "polite 1.0.0 is a rapace plugin: a host program starts it, e.g. host polite. By hand:\n";
        assert!(text.contains(usage) && text.contains("--attach SOCKET") && text.contains("capabilities"), "{text}");
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
    let text = "--config: EOF while parsing an object at line 1 column 1";
    assert_eq!((error.code(), error.to_string()), (Code::InvalidArgument, format!("InvalidArgument: {text}")));
    close(plugin);
}

/// What a program says that joins this test, which listens, until its session ends.
fn joins(path: &Path, command: &mut Command, meanwhile: impl Fn(&Started)) -> String {
    let listener = Listener::bind(path).unwrap();
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let socket = listener.accept(Instant::now() + PATIENCE).unwrap();
    let plugin = Started::with(socket, child, NoService);
    meanwhile(&plugin);
    said_at_the_end(plugin)
}

#[test]
fn a_program_joins_a_host_that_runs_and_says_what_becomes_of_that() {
    let path = std::env::temp_dir().join(format!("rapace-join-{}", std::process::id()));
    let joined = format!("polite: joined the host host at {}\n", path.display());
    let ended = "polite: the session has ended: the peer closed the session: Unavailable: done\n";
    let greeted = |plugin: &Started| {
        plugin.initialize();
        assert_eq!(WorkerClient::new(&plugin.session).blocking().greet("host").unwrap(), "Hello, host!");
    };
    let arguments = format!("--attach\n{}", path.display());
    let said = joins(&path, test_program("polite").env(ARGUMENTS, &arguments), greeted);
    assert_eq!(said, format!("{joined}{ended}"));
    let said = joins(&path, test_program("polite").env("RAPACE_ATTACH", &path), greeted);
    assert_eq!(said, format!("{joined}{ended}"));
    let wrong = format!("{arguments}\n--config\n");
    let said = joins(&path, test_program("polite").env(ARGUMENTS, wrong + "{\"marks\": 1}"), |plugin| {
        assert!(plugin.session.call_lifecycle(2000, b"", &CallOptions::new()).is_err());
    });
    let error = "--config: missing field `greeting` at line 1 column 12";
    assert_eq!(said, format!("{joined}polite: initialize failed: InvalidArgument: {error}\n{ended}"));
    assert!(!path.exists());
}

#[test]
fn who_was_started_by_a_host_keeps_to_it() {
    let plugin = Started::new(test_program("polite").env("RAPACE_ATTACH", "/nonexistent/socket"), NoService);
    plugin.initialize();
    close(plugin);
}
