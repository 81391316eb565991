//! Attaching, serving and ending, with the plugin in a process of its own: this test program again, told by a variable.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rapace_core::socket::Socket;
use rapace_plugin::{HostHandle, Plugin, run};
use rapace_registry::{Provider, Registry, Service, Version};
use rapace_session::{
    CallOptions, Code, Config, Handshake, HandshakeError, IncomingCall, NoService, PeerA, Process, RefusalReason,
    Router, Session, Status,
};
use rustix::process::{Pid, Signal, kill_process};

const ROLE: &str = "RAPACE_TEST_ROLE";
/// The role of the plugin that a host in a process of its own starts.
const PLUGIN: &str = "RAPACE_TEST_PLUGIN";
/// How long a condition may take that is sure to come.
const PATIENCE: Duration = Duration::from_secs(60);
const KILLED: &str = "tester: the session has ended, but the plugin has not within 500ms: it is killed\n";
const ECHO: u32 = 1;
const REGISTRY_OF_HOST: u32 = 2;
const CALL_HOST: u32 = 3;
const SPIN: u32 = 4;

fn park() -> ! {
    loop {
        std::thread::park();
    }
}

/// The plugin itself, in the processes that the tests start; nothing in the test program.
#[test]
fn plugin_process() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let code = run(|| {
        let config = Config { registry: registry(), ..Config::new("tester", "1.0.0") };
        let role = std::env::var(ROLE)?;
        if role == "host" {
            return host();
        }
        let plugin = Plugin::attach_with(config, "host tester", services)?;
        let plugin = if role == "unguarded" { plugin.unguarded() } else { plugin };
        let end = plugin.serve();
        if role == "slow to end" {
            park();
        }
        Ok(end?)
    });
    let known = [0, 1, 2].into_iter().find(|known| ExitCode::from(*known) == code);
    std::process::exit(known.unwrap_or(100).into());
}

fn services(host: HostHandle) -> Router {
    assert!(host.session().is_none(), "there is a session before the handshake");
    let looker = host.clone();
    Router::new()
        .method(ECHO, |mut call: IncomingCall| {
            let body = call.take_body();
            call.reply(&body);
        })
        .method(SPIN, |_: IncomingCall| {
            eprintln!("{}", std::process::id());
            park()
        })
        .method(REGISTRY_OF_HOST, move |call: IncomingCall| {
            let digest = looker.session().map(|session| session.peer().registry.digest());
            call.reply(digest.unwrap().as_bytes());
        })
        .method(CALL_HOST, move |call: IncomingCall| {
            // Not nested in this call, so from a thread that is in none.
            let host = host.clone();
            std::thread::spawn(move || match host.call(ECHO, call.body(), &CallOptions::new()) {
                Ok(reply) => call.reply(&reply.body),
                Err(error) => call.fail(Status::new(error.code(), error.to_string())),
            });
        })
}

fn registry() -> Registry {
    let echo = Service::builder("test.Echo", Version::new(1, 0), Provider::Plugin).unary::<u32, u32>("echo", ECHO);
    Registry::builder().service(echo).build().unwrap()
}

fn host_config() -> Config {
    Config { registry: registry(), ..Config::new("host", "1") }
}

/// Starts the plugin with this standard input and this word of the host's version.
fn plugin(role: &str, stdin: impl Into<Stdio>, protocol: Option<&str>) -> Child {
    command(role, protocol).stdin(stdin).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// This program in a role.
fn command(role: &str, protocol: Option<&str>) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "plugin_process", "--nocapture"]).env(ROLE, role).env_remove("RAPACE_PROTOCOL");
    command.envs(protocol.map(|protocol| ("RAPACE_PROTOCOL", protocol)));
    command
}

fn attached() -> (Session<PeerA>, std::process::ChildStderr) {
    let (socket, theirs) = Socket::pair().unwrap();
    let mut child = plugin("tester", theirs.into_fd(), Some("1"));
    let stderr = child.stderr.take().unwrap();
    let process = Process::new(child).unwrap();
    let session = Handshake::<PeerA>::offer(socket, Some(process), host_config()).unwrap();
    let echo = |mut call: IncomingCall| {
        let body = call.take_body();
        call.reply(&body);
    };
    (session.finish(echo).unwrap(), stderr)
}

fn ended(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_plugin_started_by_hand_says_how_to_run_it() {
    let line = "tester is a rapace plugin: a host program starts it; try `host tester`\n";
    let (a_stream, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let check = |stdin: Stdio, protocol| {
        let output = plugin("tester", stdin, protocol).wait_with_output().unwrap();
        assert_eq!(ended(&output), (Some(2), line.to_owned()));
    };
    check(Stdio::null(), None);
    check(Stdio::null(), Some("1"));
    check(Stdio::from(std::os::fd::OwnedFd::from(a_stream)), Some("1"));
    let (_host, theirs) = Socket::pair().unwrap();
    check(Stdio::from(theirs.into_fd()), None);
}

#[test]
fn the_exit_code_is_the_same_when_nobody_reads_why() {
    let mut child = plugin("tester", Stdio::null(), None);
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(2));
}

#[test]
fn a_host_of_another_version_is_told_both() {
    let (socket, theirs) = Socket::pair().unwrap();
    let child = plugin("tester", theirs.into_fd(), Some("2"));
    let handshake = Handshake::<PeerA>::offer(socket, None, host_config());
    let error = handshake.and_then(|handshake| handshake.finish(NoService)).unwrap_err();
    let HandshakeError::RefusedByPeer(status) = error else { panic!("{error}") };
    let text = "RAPACE_PROTOCOL is \"2\", but this plugin speaks 1";
    assert_eq!((status.code, status.message.as_str()), (Code::FailedPrecondition, text));
    assert_eq!(RefusalReason::of(&status), Some(RefusalReason::Version));
    assert_eq!(ended(&child.wait_with_output().unwrap()), (Some(1), format!("{text}\n")));
}

#[test]
fn a_refused_session_is_one_line_and_a_failure() {
    let (socket, theirs) = Socket::pair().unwrap();
    let copy = std::os::fd::AsFd::as_fd(&socket).try_clone_to_owned().unwrap();
    let child = plugin("tester", theirs.into_fd(), Some("1"));
    let _handshake = Handshake::<PeerA>::offer(socket, None, host_config()).unwrap();
    let refusal = [&[3, 7, 0, 0, 0], "not on the list\nof friends".as_bytes()].concat();
    std::os::unix::net::UnixDatagram::from(copy).send(&refusal).unwrap();
    let (code, stderr) = ended(&child.wait_with_output().unwrap());
    let line =
        "no session with the host: the peer refuses the session: PermissionDenied: not on the list; of friends\n";
    assert_eq!((code, stderr.as_str()), (Some(1), line));
}

#[test]
fn a_closed_session_is_an_orderly_end() {
    let (session, _stderr) = attached();
    assert_eq!(session.peer().name, "tester");
    assert!(session.call(ECHO, b"hello", &CallOptions::new()).unwrap().body == b"hello"[..]);
    session.close(&Status::new(Code::Unavailable, "done"));
    assert_eq!(session.reap(Duration::from_secs(60)).unwrap().code(), Some(0));
}

#[test]
fn a_host_that_is_gone_is_a_failure() {
    let (socket, theirs) = Socket::pair().unwrap();
    let copy = std::os::fd::AsFd::as_fd(&socket).try_clone_to_owned().unwrap();
    let mut child = plugin("tester", theirs.into_fd(), Some("1"));
    let mut stderr = child.stderr.take().unwrap();
    let session = Handshake::<PeerA>::offer(socket, None, host_config()).unwrap().finish(NoService).unwrap();
    assert!(session.call(ECHO, b"", &CallOptions::new()).is_ok());
    // As the kernel does when a host is killed: no last word, the socket just ends.
    Socket::from_fd(copy).unwrap().shutdown();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let mut text = String::new();
    stderr.read_to_string(&mut text).unwrap();
    assert_eq!(text, "the session with the host ended: the peer is gone: it closed its socket\n");
}

#[test]
fn a_handler_reaches_its_host() {
    let (session, _stderr) = attached();
    let digest = session.call(REGISTRY_OF_HOST, b"", &CallOptions::new()).unwrap();
    assert!(digest.body == registry().digest().as_bytes()[..]);
    let reply = session.call(CALL_HOST, b"there and back", &CallOptions::new()).unwrap();
    assert!(reply.body == b"there and back"[..]);
}

#[test]
fn a_handle_without_a_session_says_so() {
    let error = HostHandle::default().call(ECHO, b"", &CallOptions::new()).unwrap_err();
    let text = "the call was not run: Unavailable: the plugin is not attached to its host";
    assert_eq!(error.to_string(), text);
}

/// A host that is in a call of its plugin until it is killed.
fn host() -> Result<(), Box<dyn std::error::Error>> {
    let (socket, theirs) = Socket::pair()?;
    let role = std::env::var(PLUGIN)?;
    let mut child = command(&role, Some("1"));
    let child = child.stdin(theirs.into_fd()).stdout(Stdio::null()).spawn()?;
    let session = Handshake::<PeerA>::offer(socket, Some(Process::new(child)?), host_config())?.finish(NoService)?;
    session.call(SPIN, b"", &CallOptions::new().deadline(PATIENCE))?;
    Ok(())
}

/// Kills the host of a plugin whose handler is busy. Gives the plugin's process, and what it has yet to say.
fn orphan(role: &str) -> (Pid, mpsc::Receiver<String>) {
    let mut host =
        command("host", None).env(PLUGIN, role).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    // The plugin has the same standard error: it ends when both are gone.
    let mut stderr = BufReader::new(host.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    host.kill().unwrap();
    host.wait().unwrap();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        tell.send(text)
    });
    (Pid::from_raw(line.trim().parse().unwrap()).unwrap(), told)
}

#[test]
fn a_plugin_whose_host_is_killed_ends_though_its_handler_is_busy() {
    let (plugin, told) = orphan("tester");
    let text = told.recv_timeout(PATIENCE);
    if text.is_err() {
        kill_process(plugin, Signal::KILL).unwrap();
    }
    assert_eq!(text.unwrap(), KILLED);
}

#[test]
fn a_plugin_that_wants_no_guard_has_none() {
    let (plugin, told) = orphan("unguarded");
    // For longer than one with a guard has.
    assert!(told.recv_timeout(Duration::from_secs(1)).is_err());
    kill_process(plugin, Signal::KILL).unwrap();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "");
}

#[test]
fn behind_the_end_of_its_host_a_program_has_little_time_and_behind_a_closed_session_its_own() {
    for closes in [false, true] {
        let (socket, theirs) = Socket::pair().unwrap();
        let copy = std::os::fd::AsFd::as_fd(&socket).try_clone_to_owned().unwrap();
        let mut child = plugin("slow to end", theirs.into_fd(), Some("1"));
        let mut stderr = child.stderr.take().unwrap();
        let session = Handshake::<PeerA>::offer(socket, None, host_config()).unwrap().finish(NoService).unwrap();
        assert!(session.call(ECHO, b"", &CallOptions::new()).is_ok());
        match closes {
            true => session.close(&Status::new(Code::Unavailable, "done")),
            // As the kernel does when a host is killed.
            false => Socket::from_fd(copy).unwrap().shutdown(),
        }
        // A host that is killed has no last word to leave in the memory either.
        let session = (!closes).then_some(session);
        let mut process = Process::new(child).unwrap();
        let (patience, text) = if closes { (Duration::from_secs(1), "") } else { (PATIENCE, KILLED) };
        assert_eq!(process.wait(patience).is_some(), !closes);
        drop(session);
        process.kill();
        let mut said = String::new();
        stderr.read_to_string(&mut said).unwrap();
        assert_eq!(said, text);
    }
}
