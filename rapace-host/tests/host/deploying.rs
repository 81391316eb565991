//! A host that runs what its configuration says.

use std::fs;
use std::iter;
use std::path::Path;
use std::process::{Command, Stdio};

use rapace_host::{Binding, Contract, Deployment, Health, HostConfig, PluginHandle, PluginHost, PluginState};
use rapace_registry::Version;
use rapace_session::{CallOptions, Config};

use crate::directory::{Directory, hash};
use crate::plugin::{CONFIGURATION, ECHO, INSTANCE_ROLE, JOIN, PID, ROLE};
use crate::{PATIENCE, config, eventually, is_there, spec, watched};

/// A program that is the plugin of this role.
fn program(role: &str) -> String {
    let test = std::env::current_exe().unwrap();
    format!("#!/bin/sh\nexport {ROLE}='{role}'\nexec '{}' --exact plugin::plugin_process --nocapture\n", test.display())
}

/// Puts a plugin in its place, the manifest last.
fn put(directory: &Directory, elsewhere: &Directory, name: &str, program: &str, manifest: &str) {
    // The script executes this test program.
    let test = std::env::current_exe().unwrap();
    let permissions = format!("permissions.read = ['{}']", test.display());
    let manifest = format!("sha256 = \"{}\"\n{permissions}\n{manifest}", hash(program.as_bytes()));
    let manifest_name = format!("{name}.plugin.toml");
    elsewhere.put(name, 0o755, program);
    elsewhere.put(&manifest_name, 0o644, manifest);
    fs::rename(elsewhere.at(name), directory.at(name)).unwrap();
    fs::rename(elsewhere.at(&manifest_name), directory.at(&manifest_name)).unwrap();
}

fn deploy(directory: &Directory, more: &str) -> Deployment {
    let text = format!(
        "name = 'test-host'\nversion = '1.0.0'\n{more}\n[discovery]\ndirectories = ['{}']\nwatch = true\n",
        directory.path().display()
    );
    let file = HostConfig::from_toml(&text, Path::new("host.toml"), |_| None).unwrap();
    let registry = config().registry;
    PluginHost::builder(Config { registry, ..file.session() }).deploy(file).unwrap()
}

fn role(plugin: &PluginHandle) -> Option<String> {
    let reply = plugin.call(INSTANCE_ROLE, b"", &CallOptions::new()).ok()?;
    String::from_utf8(reply.body.to_vec()).ok()
}

#[test]
fn a_directory_is_followed_while_the_host_runs() {
    let [directory, elsewhere] = [Directory::new(), Directory::new()];
    put(&directory, &elsewhere, "first", &program("plain"), "version = '1.0.0'");
    // What is broken keeps nobody else from coming.
    directory.put("broken.plugin.toml", 0o644, "version = 1");
    let host = deploy(&directory, "");
    assert_eq!(host.refused().len(), 1, "{:?}", host.refused());
    let first = host.plugin("first").unwrap();
    assert_eq!(role(&first).as_deref(), Some("plain"));
    put(&directory, &elsewhere, "second", &program("polite"), "version = '1.0.0'");
    eventually("the second is loaded", || host.plugin("second").is_some_and(|second| role(&second).is_some()));
    // Another version takes the place of the first, by a hot reload.
    let pid = first.process_id().unwrap();
    put(&directory, &elsewhere, "first", &program("polite"), "version = '2.0.0'");
    eventually("the new version answers", || role(&first).as_deref() == Some("polite"));
    eventually("the old version is gone", || !is_there(pid));
    // A binary that is replaced, and its manifest not, is refused; what runs goes on.
    directory.put("first", 0o755, program("plain"));
    first.restart().unwrap_err();
    assert_eq!(first.state(), PluginState::Crashed);
    let pid = host.plugin("second").unwrap().process_id().unwrap();
    fs::remove_file(directory.at("second.plugin.toml")).unwrap();
    fs::remove_file(directory.at("second")).unwrap();
    eventually("the second is unloaded", || host.plugin("second").is_none() && !is_there(pid));
    host.shutdown();
}

#[test]
fn what_is_refused_is_told_until_it_is_mended() {
    let [directory, elsewhere] = [Directory::new(), Directory::new()];
    put(&directory, &elsewhere, "first", &program("plain"), "version = '1.0.0'");
    let host = deploy(&directory, "");
    let refused = || directory.relative(&host.refused());
    let because =
        |words: &str| refused().iter().any(|(path, reason)| path == "first.plugin.toml" && reason.contains(words));
    assert_eq!(refused(), []);
    directory.put("first", 0o755, program("polite"));
    eventually("the program is not what its manifest says", || because("SHA-256"));
    directory.put("broken.plugin.toml", 0o644, "version = 1");
    eventually("so is a manifest that is wrong", || refused().len() == 2);
    directory.put("first", 0o755, program("plain"));
    eventually("the program is", || !because(""));
    fs::remove_file(directory.at("broken.plugin.toml")).unwrap();
    eventually("nothing is refused", || refused().is_empty());
    assert_eq!(role(&host.plugin("first").unwrap()).as_deref(), Some("plain"));
    host.shutdown();
}

#[test]
fn a_file_that_hangs_in_its_start_holds_up_no_other() {
    let [directory, elsewhere] = [Directory::new(), Directory::new()];
    let host = deploy(&directory, "timeouts.start = '10m'");
    put(&directory, &elsewhere, "hangs", &program("slow to start"), "version = '1.0.0'");
    let state = || host.plugin("hangs").map(|plugin| plugin.state());
    eventually("it hangs", || state() == Some(PluginState::Initializing));
    for role_of_other in ["plain", "polite"] {
        put(&directory, &elsewhere, "other", &program(role_of_other), "version = '1.0.0'");
        let answers = || host.plugin("other").and_then(|other| role(&other));
        eventually("the other one answers", || answers().as_deref() == Some(role_of_other));
    }
    assert_eq!(state(), Some(PluginState::Initializing));
    host.plugin("hangs").unwrap().kill();
    host.shutdown();
}

#[test]
fn what_is_found_runs_under_the_ceiling() {
    // It needs the test program, which its manifest asks for and the ceiling grants or not.
    let test = std::env::current_exe().unwrap();
    for (read, runs) in [(format!("read = ['{}']", test.display()), true), (String::new(), false)] {
        let [directory, elsewhere] = [Directory::new(), Directory::new()];
        put(&directory, &elsewhere, "found", &program("plain"), "version = '1.0.0'");
        let host = deploy(&directory, &format!("[ceiling.permissions]\n{read}\n"));
        assert_eq!(role(&host.plugin("found").unwrap()).is_some(), runs);
        host.shutdown();
    }
}

#[test]
fn a_manifest_says_what_is_served_and_what_is_needed() {
    let [directory, elsewhere] = [Directory::new(), Directory::new()];
    let serves = "version = '1'\nprovides = { 'test.Plugin' = '1.0' }\nrequires = { 'test.Plugin' = '1.0' }";
    put(&directory, &elsewhere, "good", &program("plain"), serves);
    put(&directory, &elsewhere, "newer", &program("plain"), "version = '1'\nprovides = { 'test.Plugin' = '1.1' }");
    put(&directory, &elsewhere, "other", &program("plain"), "version = '1'\nprovides = { 'test.Other' = '1.0' }");
    put(&directory, &elsewhere, "needy", &program("plain"), "version = '1'\nrequires = { 'test.Plugin' = '2.0' }");
    let host = deploy(&directory, "");
    let states: Vec<_> = host.plugins().iter().map(|plugin| (plugin.name().to_owned(), plugin.state())).collect();
    let state = |name: &str| states.iter().find(|(of, _)| of == name).unwrap().1;
    assert_eq!(state("good"), PluginState::Running);
    assert_eq!(["newer", "other", "needy"].map(state), [PluginState::Crashed; 3]);
    assert_eq!(host.health(), Health::Degraded);
    let [one, two] = [1, 2].map(|minor| Version::new(minor, 0));
    let why = |spec| host.load(spec).unwrap_err().cause.to_string();
    assert_eq!(why(spec("a").provides("test.Plugin", two)), "it is said to serve test.Plugin 2.0, but serves 1.0");
    assert_eq!(why(spec("b").provides("x", one)), "it is said to serve x 1.0, but does not");
    assert_eq!(why(spec("c").requires("test.Plugin", two)), "it needs test.Plugin 2.0, but the host serves 1.0");
    assert_eq!(why(spec("d").requires("x", one)), "it needs x 1.0, but the host does not serve it");
}

fn members(contract: &Contract) -> Vec<(&str, &str)> {
    contract.members().iter().map(|member| (member.of_type.as_str(), member.plugin.name())).collect()
}

#[test]
fn contracts_are_bound_as_the_configuration_says() {
    let [directory, elsewhere] = [Directory::new(), Directory::new()];
    for (name, types) in [
        ("json", "contracts = { dataProcessor = ['json'], only = ['one'] }"),
        ("text", "contracts = { dataProcessor = ['text'] }"),
        ("xml", "contracts = { dataProcessor = ['xml'], only = ['another'] }"),
    ] {
        put(&directory, &elsewhere, name, &program(name), &format!("version = '1'\n{types}"));
    }
    let bindings = "[contracts.dataProcessor]\nbinding = 'chain'\norder = ['text', 'json']\n[contracts.only]";
    let host = deploy(&directory, bindings);
    // The directories are looked at in the order of their names, and `only` is exclusive.
    assert!(host.plugin("xml").is_none());
    let xml = host.load(spec("xml").contract("only", "another")).unwrap_err();
    assert_eq!(xml.cause.to_string(), "the contract only is exclusive, and plugin json has it");
    assert_eq!(host.contract("only").only().unwrap().name(), "json");
    host.load(spec("also").contract("dataProcessor", "yaml")).unwrap();
    let contract = host.contract("dataProcessor");
    assert_eq!(members(&contract), [("text", "text"), ("json", "json"), ("yaml", "also")]);
    assert_eq!(contract.binding(), Binding::Chain);
    let named = |plugin: &PluginHandle, path: String| {
        plugin.call(ECHO, path.as_bytes(), &CallOptions::new()).map(|_| path + "/" + plugin.name())
    };
    assert_eq!(contract.chain(String::new(), named).unwrap(), "/text/json/also");
    assert_eq!(
        contract.only().unwrap_err().to_string(),
        "the contract dataProcessor is to have one plugin, but has text, json, also"
    );
    assert_eq!(host.contract("none").only().unwrap_err().to_string(), "no plugin is of the contract none");
    // The first that answers; who fails is passed over.
    let mut asked = Vec::new();
    let mut first = |wanted: &str| {
        contract.first(|plugin| {
            asked.push(plugin.name().to_owned());
            plugin.call(ECHO, b"", &CallOptions::new()).map(|_| (plugin.name() == wanted).then(|| wanted.to_owned()))
        })
    };
    assert_eq!(first("json").unwrap().as_deref(), Some("json"));
    host.plugin("text").unwrap().shutdown();
    assert_eq!(first("also").unwrap().as_deref(), Some("also"));
    assert!(first("nobody").is_err(), "that the first has failed is told if nobody answers");
    assert_eq!(asked, ["text", "json", "text", "json", "also", "text", "json", "also"]);
}

#[test]
fn what_the_configuration_names_is_started_with_what_it_says() {
    let directory = Directory::new();
    directory.put("named", 0o755, program("configured"));
    let socket = std::env::temp_dir().join(format!("rapace-{}-attach", std::process::id()));
    let more = format!(
        "attach = '{}'\n[plugins.named]\nprogram = '{}'\nenv = {{ RAPACE_TEST_MORE = 'b' }}\n\
         [plugins.named.config]\nvolume = 11\n[plugins.off]\nprogram = '/nonexistent'\nenabled = false\n\
         [plugins.absent]\nprogram = '/nonexistent'",
        socket.display(),
        directory.at("named").display()
    );
    let empty = Directory::new();
    let host = deploy(&empty, &more);
    let named = host.plugin("named").unwrap();
    let told = named.call(CONFIGURATION, b"", &CallOptions::new()).unwrap();
    assert_eq!(String::from_utf8_lossy(&told.body), "{\"volume\":11} b");
    assert!(host.plugin("off").is_none());
    assert_eq!(host.plugin("absent").unwrap().state(), PluginState::Crashed);
    // A process that was started by hand joins at the socket of its name.
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "plugin::plugin_process", "--nocapture"]).env(ROLE, "by hand");
    command.env(JOIN, socket.join("named.sock")).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let pid = || named.call(PID, b"", &CallOptions::new()).map(|reply| reply.body.to_vec()).ok();
    eventually("it has joined", || pid() == Some(child.id().to_le_bytes().to_vec()));
    host.shutdown();
    assert!(child.wait().unwrap().success());
    drop(host);
    fs::remove_dir(socket).unwrap();
}

#[test]
fn a_reload_takes_contracts_along() {
    let (host, changes) = watched(PluginHost::builder(config()));
    let plugin = host.load(spec("plain").contract("c", "old")).unwrap();
    host.load(spec("other").contract("c", "other")).unwrap();
    let error = host.reload(&plugin, spec("plain").contract("c", "other")).unwrap_err();
    assert!(error.to_string().ends_with("plugin other is the other of the contract c"), "{error}");
    assert!(host.reload(&plugin, spec("plain").contract("c", "new").env(ROLE, "dies at start")).is_err());
    assert_eq!(host.get("c", "old").unwrap().name(), "plain");
    host.reload(&plugin, spec("plain").contract("c", "new")).unwrap();
    assert!(host.get("c", "old").is_none());
    assert_eq!(host.get("c", "new").unwrap().name(), "plain");
    let mut changes = iter::from_fn(|| changes.recv_timeout(PATIENCE).ok());
    assert!(changes.any(|change| change.to_string() == "Running -> Draining"));
}
