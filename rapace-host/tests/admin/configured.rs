//! An admin socket by the host's configuration.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rapace_host::{Deployment, HostConfig, PluginHost};
use rapace_host_api::admin::{AdminClient, CallRequest};
use rapace_session::{Config, NoService, Session};

use crate::{Directory, plugin};

/// Puts a program that is a plugin of this version in its place, by another process: this one's children would keep the file
/// open for writing.
fn put(directory: &Directory, version: &str) {
    let test = std::env::current_exe().unwrap();
    let (role, name) = (plugin::ROLE, plugin::VERSION);
    let script = format!(
        "#!/bin/sh\nexport {role}=desk {name}={version}\nexec '{}' --exact plugin::plugin_process --nocapture\n",
        test.display()
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", "cat > \"$0.new\" && chmod 755 \"$0.new\" && mv \"$0.new\" \"$0\""]);
    let mut shell = shell.arg(directory.0.join("plugins/desk")).stdin(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success());
}

fn deploy(directory: &Directory) -> Deployment {
    let text =
        "name = 'test-host'\nversion = '1.0.0'\nadmin.socket = 'run/admin.sock'\ndiscovery.directories = ['plugins']\n";
    let file = HostConfig::from_toml(text, &directory.0.join("host.toml"), |_| None).unwrap();
    PluginHost::builder(file.session()).deploy(file).unwrap()
}

fn operator(path: &Path) -> Session<rapace_session::PeerB> {
    Session::connect(path, Config::new("operator", "1.0.0"), NoService).unwrap()
}

#[test]
fn a_configured_host_has_its_socket_and_finds_a_plugins_program_again() {
    let directory = Directory::new();
    let plugins = directory.0.join("plugins");
    fs::create_dir(&plugins).unwrap();
    fs::set_permissions(&plugins, PermissionsExt::from_mode(0o755)).unwrap();
    put(&directory, "one");
    // It executes this test, from where that is.
    let test = std::env::current_exe().unwrap();
    let manifest = format!("version = '1.0.0'\npermissions.read = [{:?}]\n", test.parent().unwrap());
    fs::write(plugins.join("desk.plugin.toml"), manifest).unwrap();
    let host = deploy(&directory);
    assert!(host.refused().is_empty(), "{:?}", host.refused());
    let socket = directory.0.join("run/admin.sock");
    let session = operator(&socket);
    let admin = AdminClient::new(&session).blocking();
    let version = || admin.call(CallRequest::new("desk", "version", "null")).unwrap().result;
    assert_eq!(version(), "\"one\"");
    put(&directory, "two");
    // As it was verified, it cannot be started again.
    admin.restart("desk").unwrap_err();
    admin.reload("desk").unwrap();
    assert_eq!(version(), "\"two\"");
    // One that is refused takes nobody's place.
    fs::set_permissions(plugins.join("desk"), PermissionsExt::from_mode(0o777)).unwrap();
    admin.reload("desk").unwrap_err();
    assert_eq!(version(), "\"two\"");
    drop(host);
    assert!(!socket.exists());
}
