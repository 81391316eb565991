//! Every way in which a plugin does not start has an error of its own, and leaves no process.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rapace_core::socket::Socket;
use rapace_host::{
    Connection, INHERITED_VARIABLES, NewLife, PluginHost, PluginKind, PluginLimits, PluginSpec, StartCause, StartError,
};
use rapace_session::{CallError, CallOptions, Config, Handshake, NoService, PeerB};

use crate::plugin::{ECHO, PRINT};
use crate::{config, in_words, script, spec, watched, with_patience};

/// Long enough for a process to start and end; short enough to wait for.
const SHORT: Duration = Duration::from_secs(1);

fn fails(spec: PluginSpec) -> StartError {
    fails_at(PluginHost::builder(config()).build().unwrap(), spec)
}

fn fails_in_time(spec: PluginSpec) -> StartError {
    let start = Instant::now();
    let error = fails_at(with_patience(SHORT).build().unwrap(), spec);
    assert!(start.elapsed() < SHORT * 10, "{:?}", start.elapsed());
    error
}

fn fails_at(host: PluginHost, spec: PluginSpec) -> StartError {
    let error = host.load(spec).unwrap_err();
    assert!(host.plugins().is_empty());
    error
}

/// A file of this content and mode, removed with it.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str, mode: u32, content: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rapace-host-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        Self(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

#[test]
fn one_that_may_use_nothing_of_what_each_process_needs() {
    let nothing = PluginLimits { cpu_seconds: Some(0), calls: Some(0), ..PluginLimits::default() };
    let error = fails(spec("echo").limits(nothing));
    assert!(matches!(*error.cause, StartCause::NothingAllowed("cpu_seconds")), "{error}");
    assert!(error.to_string().ends_with("did not start: its limit cpu_seconds is 0, which no plugin can run with"));
}

#[test]
fn a_program_that_does_not_exist() {
    let error = fails(PluginSpec::new("ghost", "/no/such/program"));
    assert_eq!(error.to_string(), "plugin ghost (/no/such/program) did not start: there is no such program");
    // As a `main` that returns it prints it.
    assert_eq!(format!("{error:?}"), error.to_string());
    assert!(matches!(*error.cause, StartCause::NotFound));
    let error = fails(PluginSpec::new("ghost", "no-such-program-in-the-path"));
    assert!(matches!(*error.cause, StartCause::NotFound), "{error}");
}

#[test]
fn the_thread_that_attaches_a_plugin_has_its_name() {
    let host = PluginHost::builder(config()).build().unwrap();
    let plugin = host.load(spec("plain")).unwrap();
    // That of a test is not the first one of its process; that of a plugin's program is, and so names the process.
    let threads = std::fs::read_dir(format!("/proc/{}/task", plugin.process_id().unwrap())).unwrap();
    let name = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("comm"));
    let names: Vec<_> = threads.map(|thread| name(thread.unwrap()).unwrap()).collect();
    assert!(names.iter().any(|name| name == "plain\n"), "{names:?}");
}

/// A plugin in this process, and when it was there.
struct Brought(Arc<Mutex<Option<Instant>>>);

impl PluginKind for Brought {
    fn describe(&self) -> String {
        "brought".to_owned()
    }

    fn connect(&self, _: &NewLife<'_>) -> Result<Connection, StartCause> {
        let (ours, theirs) = Socket::pair().unwrap();
        thread::spawn(|| {
            let handshake = Handshake::<PeerB>::accept(theirs, Config::new("brought", "1.0.0")).unwrap();
            handshake.finish(NoService).unwrap().serve();
        });
        *self.0.lock().unwrap() = Some(Instant::now());
        Ok(Connection::new(ours))
    }
}

#[test]
fn the_time_that_a_verification_takes_is_not_the_plugins() {
    let host = PluginHost::builder(config()).build().unwrap();
    let is_there = Arc::default();
    let plugin = host.load(PluginSpec::of_kind("brought", Brought(Arc::clone(&is_there)))).unwrap();
    let uptime = plugin.instances()[0].uptime;
    assert!(uptime <= is_there.lock().unwrap().unwrap().elapsed());
}

#[test]
fn a_file_that_is_not_executable() {
    let file = TempFile::new("plain", 0o644, "#!/bin/sh\n");
    let error = fails(PluginSpec::new("plain", &file.0));
    let expected = format!(
        "plugin plain ({}) did not start: it cannot be executed: Permission denied (os error 13)",
        file.0.display()
    );
    assert_eq!(error.to_string(), expected);
    assert!(matches!(*fails(PluginSpec::new("directory", std::env::temp_dir())).cause, StartCause::NotExecutable(_)));
}

#[test]
fn a_script_whose_interpreter_is_missing() {
    let file = TempFile::new("lost", 0o755, "#!/no/such/interpreter\n");
    let error = fails(PluginSpec::new("lost", &file.0));
    let path = file.0.display();
    let expected = format!("plugin lost ({path}) did not start: the interpreter that it names is not there");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_program_that_exits_at_once() {
    let error = fails(script("echo 'no licence' >&2; exit 3"));
    assert_eq!(
        error.to_string(),
        "plugin script (sh) did not start: it exited with code 3 before the handshake was complete; \
         its stderr ends with\n  | no licence"
    );
    assert_eq!(error.exit.unwrap().code(), Some(3));
    assert_eq!(error.stderr, "no licence");
}

#[test]
fn a_program_is_given_its_own_environment_alone() {
    let error = fails(script("env >&2; exit 1").env("MODE", "fast"));
    let variables: Vec<_> = error.stderr.lines().filter_map(|line| line.split_once('=')).collect();
    assert!(variables.contains(&("MODE", "fast")) && variables.contains(&("RAPACE_PROTOCOL", "1")), "{error}");
    // The last two are of the shell's making.
    let expected = |name: &str| {
        INHERITED_VARIABLES.contains(&name)
            || name.starts_with("LC_")
            || ["MODE", "RAPACE_PROTOCOL", "PWD", "_"].contains(&name)
    };
    let other: Vec<_> = variables.iter().filter(|(name, _)| !expected(name)).collect();
    assert!(other.is_empty(), "{other:?}");
}

#[test]
fn a_program_is_given_its_three_descriptors_alone() {
    let host = PluginHost::builder(config()).build().unwrap();
    let neighbour = host.load(spec("neighbour")).unwrap();
    let error = host.load(script("ls -l /proc/self/fd >&2; exit 1")).unwrap_err();
    // A pipe may be of whoever started this test.
    let is_ours = |line: &str| ["socket:", "memfd:", "anon_inode:"].iter().any(|kind| line.contains(kind));
    let given = error.stderr.lines().filter(|line| is_ours(line)).filter_map(|line| line.split(" -> ").next());
    let given: Vec<&str> = given.filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!(given, ["0"], "{error}");
    drop(neighbour);
}

#[test]
fn a_program_that_is_killed_at_once() {
    let error = fails(script("kill -SEGV $$"));
    assert_eq!(
        error.to_string(),
        "plugin script (sh) did not start: it was killed by signal 11 (SIGSEGV) before the handshake was complete"
    );
}

#[test]
fn a_program_that_never_says_hello() {
    let error = fails_in_time(script("echo $$ >&2; exec sleep 1000"));
    let pid: u32 = error.stderr.parse().unwrap();
    assert_eq!(
        error.to_string(),
        format!("plugin script (sh) did not start: no hello from it within 1s; its stderr ends with\n  | {pid}")
    );
    assert!(!crate::is_there(pid), "process {pid} is left");
}

#[test]
fn a_program_that_closes_its_socket() {
    let error = fails_in_time(script("exec sleep 1000 </dev/null"));
    assert_eq!(
        error.to_string(),
        "plugin script (sh) did not start: it closed its socket before the handshake was complete, and had not ended a moment later"
    );
}

#[test]
fn a_program_that_prints_to_stdout() {
    let error = fails(script("echo 'usage: tool FILE'; echo bad usage >&2; exit 64"));
    assert_eq!(
        error.to_string(),
        "plugin script (sh) did not start: not a rapace plugin: it printed `usage: tool FILE` to stdout and exited \
         with code 64; its stderr ends with\n  | bad usage"
    );
    let error = fails_in_time(script("printf 'tool> \\033[0m'; exec sleep 1000"));
    assert_eq!(
        error.to_string(),
        "plugin script (sh) did not start: not a rapace plugin: it printed `tool> \\u{1b}[0m` to stdout and never \
         said hello"
    );
}

#[test]
fn a_plugin_of_another_version() {
    let refusal = "printf '\\003\\011\\000\\000\\000offer is of protocol 1.0, but this peer speaks 2.0' >&0";
    let error = fails(script(refusal));
    assert_eq!(
        error.to_string(),
        "plugin script (sh) did not start: it speaks another version of the protocol: \
         offer is of protocol 1.0, but this peer speaks 2.0"
    );
    assert!(matches!(*error.cause, StartCause::OtherVersion(_)));
}

#[test]
fn a_plugin_that_refuses_for_another_reason() {
    let error = fails(script("printf '\\003\\007\\000\\000\\000not for you' >&0; exec sleep 1000"));
    assert_eq!(
        error.to_string(),
        "plugin script (sh) did not start: no session was agreed on: PermissionDenied: not for you"
    );
}

#[test]
fn a_plugin_that_breaks_the_protocol() {
    let error = fails(script("printf garbage >&0; exec sleep 1000"));
    let expected = "plugin script (sh) did not start: it broke a rule of the protocol in the handshake: K6: ";
    assert!(error.to_string().starts_with(expected), "{error}");
    assert!(matches!(*error.cause, StartCause::Fault(_)));
}

#[test]
fn a_plugin_with_another_type_in_a_method_starts_all_the_same() {
    let host = PluginHost::builder(config()).build().unwrap();
    let plugin = host.load(spec("stranger")).unwrap();
    assert_eq!(plugin.session().unwrap().peer().refused.keys().collect::<Vec<_>>(), [&ECHO]);
    let error = plugin.call(ECHO, &[1], &CallOptions::new()).unwrap_err();
    let difference = "test.Plugin.echo (1): argument: u32 here, u64 there".into();
    assert_eq!(error, CallError::Incompatible { difference });
    assert!(plugin.call(PRINT, b"as ever", &CallOptions::new()).is_ok());
}

#[test]
fn a_plugin_that_does_not_take_its_configuration() {
    let (host, changes) = watched(PluginHost::builder(config()));
    let error = host.load(spec("picky").config_data(b"nonsense".to_vec())).unwrap_err();
    let program = std::env::current_exe().unwrap();
    let expected = format!(
        "plugin picky ({}) did not start: initialize failed: InvalidArgument: \"nonsense\" is no configuration; \
         its stderr ends with\n  | cannot work like this",
        program.display()
    );
    assert_eq!(error.to_string(), expected);
    let expected = [
        "Discovered",
        "Discovered -> Verified",
        "Verified -> Connected",
        "Connected -> Initializing",
        "Initializing -> Crashed",
    ];
    assert_eq!(in_words(&changes, expected.len()), expected);
    assert!(host.plugins().is_empty());
    host.load(spec("picky")).unwrap_err();
}

#[test]
fn a_plugin_that_answers_initialize_with_an_error_of_its_own() {
    let host = PluginHost::builder(config()).build().unwrap();
    let error = host.load(spec("typed").config_data(b"nonsense".to_vec())).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("did not start: initialize failed: FailedPrecondition: no window"), "{text}");
    assert!(host.plugins().is_empty());
    host.load(spec("typed")).unwrap();
}

#[test]
fn a_plugin_that_does_not_answer_initialize() {
    let error = fails_in_time(spec("slow to start"));
    let text = error.to_string();
    // All of the time for a start, of which its handshake has taken some.
    assert!(text.contains("did not start: initialize failed: no reply within 1s"), "{text}");
    assert!(matches!(*error.cause, StartCause::Initialize(_)));
}

#[test]
fn a_plugin_that_dies_in_initialize() {
    let error = fails(spec("dies at start"));
    let text = error.to_string();
    let cause = "initialize failed: the peer is gone: its process was killed by signal 6 (SIGABRT)";
    assert!(text.contains(cause), "{text}");
    assert!(error.exit.is_some());
}

#[test]
fn two_plugins_of_one_name() {
    let host = PluginHost::builder(config()).build().unwrap();
    host.load(spec("plain")).unwrap();
    let error = host.load(spec("plain")).unwrap_err();
    assert!(error.to_string().ends_with("did not start: there is a plugin of this name"), "{error}");
    assert_eq!(host.plugins().len(), 1);
}

#[test]
fn a_configuration_out_of_bounds_makes_no_host() {
    let mut config = Config::new("host", "1");
    config.geometry.ring_capacity = 63;
    let error = PluginHost::builder(config).build().unwrap_err();
    let expected = "configuration: ring_capacity is 63, but must be a power of two from 16 to 4096";
    assert_eq!(error.to_string(), expected);
    let mut config = Config::new("host", "1");
    config.limits.calls_max = 0;
    let error = PluginHost::builder(config).build().unwrap_err();
    assert_eq!(error.to_string(), "configuration: calls_max is 0, but must be 1 to 4096");
}
