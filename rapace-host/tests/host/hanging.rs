//! Plugins that hang in their start are nobody else's affair.

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rapace_host::{Backoff, HostConfig, PluginHost, PluginSpec, PluginState, RestartPolicy, Supervision};
use rapace_session::CallOptions;

use crate::directory::Directory;
use crate::plugin::{ECHO, ROLE};
use crate::{PATIENCE, eventually, gate, spec, with_patience};

/// Ten times as long as a test waits: who waits for a start that hangs is not there in time.
const NEVER: Duration = Duration::from_secs(600);

/// A plugin that starts, as a script.
fn good() -> String {
    let test = std::env::current_exe().unwrap();
    format!("#!/bin/sh\nexport {ROLE}=plain\nexec '{}' --exact plugin::plugin_process --nocapture\n", test.display())
}

#[test]
fn plugins_start_beside_those_that_never_say_hello() {
    let directory = Directory::new();
    thread::scope(|scope| {
        // Those that hang end when the writer goes, also when this fails.
        let (_reader, writer, path) = gate();
        directory.put("hangs", 0o755, format!("#!/bin/sh\nexec cat {path}\n"));
        directory.put("good", 0o755, good());
        let mut text = "name = 'h'\nversion = '1'\ntimeouts.start = '10m'\n".to_owned();
        // In the order of their names, those that hang come first.
        for (count, name) in [(40, "hangs"), (10, "z-good")] {
            for number in 0..count {
                let program = directory.at(name.trim_start_matches("z-"));
                text += &format!("plugins.{name}-{number}.program = '{}'\n", program.display());
            }
        }
        let file = HostConfig::from_toml(&text, Path::new("host.toml"), |_| None).unwrap();
        assert_eq!(file.timeouts.start, NEVER);
        let (sender, changes) = mpsc::channel();
        let builder = PluginHost::builder(file.session()).on_state(move |change| drop(sender.send(change.clone())));
        let deployed = scope.spawn(move || builder.deploy(file).unwrap());
        let mut running = Vec::new();
        while running.len() < 10 {
            let change = changes.recv_timeout(PATIENCE).unwrap();
            assert!(change.to != PluginState::Crashed, "{change} of {}", change.plugin);
            if change.to == PluginState::Running {
                assert!(change.plugin.starts_with("z-good"), "{}", change.plugin);
                running.push(change.plugin);
            }
        }
        assert!(!deployed.is_finished());
        drop(writer);
        let host = deployed.join().unwrap();
        let crashed = host.plugins().iter().filter(|plugin| plugin.state() == PluginState::Crashed).count();
        assert_eq!((host.plugins().len(), crashed), (50, 40));
        host.shutdown();
    });
}

#[test]
fn restarts_that_hang_hold_up_no_other_restart() {
    let directory = Directory::new();
    let host = with_patience(NEVER).build().unwrap();
    let (_reader, writer, path) = gate();
    let tiny = Duration::from_millis(1);
    let backoff = Backoff { first: tiny, most: tiny, ..Backoff::default() };
    let supervision = Supervision { restart: RestartPolicy::OnFailure, backoff, ..Supervision::default() };
    let good = host.load(spec("good").supervision(supervision)).unwrap();
    for number in 0..40 {
        // The first start fails, and the second hangs.
        let mark = directory.at(&format!("{number}")).display().to_string();
        let text = format!("[ -e {mark} ] || {{ > {mark}; exit 1; }}; > {mark}.hangs; exec cat {path}");
        let hangs = PluginSpec::new(&format!("hangs {number}"), "sh").arg("-c").arg(text);
        host.keep(hangs.supervision(supervision)).unwrap();
    }
    let hanging = || (0..40).filter(|number| fs::exists(directory.at(&format!("{number}.hangs"))).unwrap()).count();
    eventually("all of them hang", || hanging() == 40);
    let pid = good.process_id();
    good.kill();
    let answers = || good.call(ECHO, b"", &CallOptions::new().deadline(PATIENCE)).is_ok();
    eventually("it is started again", || good.process_id() != pid && answers());
    drop(writer);
    host.shutdown();
}
