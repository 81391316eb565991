//! What is logged of a configuration that is not wholly followed.

use std::fs;
use std::path::Path;

use rapace_host::{HostConfig, PluginHost, PluginState};

use crate::life::said;
use crate::{log, serving};

#[test]
fn a_section_for_a_plugin_that_was_not_found_is_told() {
    log::listen();
    let directory = std::env::temp_dir().join(format!("rapace-{}-sections", std::process::id()));
    fs::create_dir(&directory).unwrap();
    let text = format!(
        "name = 'test-host'\nversion = '1.0.0'\ndiscovery.directories = ['{}']\n\
         [plugins.misspelt.permissions]\nnetwork = false\n[plugins.off]\nenabled = false\n",
        directory.display()
    );
    let file = HostConfig::from_toml(&text, Path::new("host.toml"), |_| None).unwrap();
    drop(PluginHost::builder(file.session()).deploy(file).unwrap());
    assert_eq!(said("misspelt"), ["W the configuration has a section for it, but no such plugin was found"]);
    assert!(said("off").is_empty());
    fs::remove_dir(directory).unwrap();
}

#[test]
fn a_plugin_whose_socket_cannot_be_made_is_loaded_all_the_same() {
    log::listen();
    let directory = std::env::temp_dir().join(format!("rapace-{}-sockets", std::process::id()));
    // In the way of the socket.
    fs::create_dir_all(directory.join("unjoined.sock")).unwrap();
    let text = format!(
        "name = 'test-host'\nversion = '1.0.0'\nattach = '{}'\n[plugins.unjoined]\nprogram = '{}'\n\
         args = ['--exact', 'plugin::plugin_process', '--nocapture']\nenv = {{ {} = 'unjoined' }}\n",
        directory.display(),
        std::env::current_exe().unwrap().display(),
        crate::plugin::NAME
    );
    let file = HostConfig::from_toml(&text, Path::new("host.toml"), |_| None).unwrap();
    let host = serving(file.session()).deploy(file).unwrap();
    let plugin = host.plugin("unjoined").unwrap();
    assert_eq!(plugin.state(), PluginState::Running);
    let lines = said("unjoined");
    assert!(lines.iter().any(|line| line == "E nobody can join it"), "{lines:?}");
    assert!(!lines.iter().any(|line| line == "E is not loaded"), "{lines:?}");
    // The host's services of this test have the ids of its log.
    assert!(lines.iter().any(|line| line == "W a method is not offered: another one has its id"), "{lines:?}");
    host.shutdown();
    fs::remove_dir_all(directory).unwrap();
}
