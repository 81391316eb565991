//! What a host keeps, and who may have what.

use std::process::Command;
use std::thread;

use rapace_host::{Health, PluginHost, PluginState, RestartLimit, RestartPolicy, Supervision};
use rapace_session::CallOptions;

use crate::plugin::ECHO;
use crate::{census, config, eventually, is_there, spec};

#[test]
fn a_type_of_a_contract_has_one_plugin() {
    let host = PluginHost::builder(config()).build().unwrap();
    let json = host.load(spec("json").contract("dataProcessor", "json-processor")).unwrap();
    let xml = spec("xml").contract("dataProcessor", "xml-processor").contract("formatter", "xml");
    host.load(xml).unwrap();
    let found = |contract, of_type| host.get(contract, of_type).map(|plugin| plugin.name().to_owned());
    assert_eq!(found("dataProcessor", "json-processor").as_deref(), Some("json"));
    assert_eq!(found("dataProcessor", "xml-processor").as_deref(), Some("xml"));
    assert_eq!(found("formatter", "json-processor"), None);
    let all = host.of_contract("dataProcessor");
    let all: Vec<_> = all.iter().map(|(of_type, plugin)| (of_type.as_str(), plugin.name())).collect();
    assert_eq!(all, [("json-processor", "json"), ("xml-processor", "xml")]);
    let error = host.load(spec("other").contract("dataProcessor", "json-processor")).unwrap_err();
    assert_eq!(error.cause.to_string(), "plugin json is the json-processor of the contract dataProcessor");
    let error = host.load(spec("twice").contract("a", "b").contract("a", "b")).unwrap_err();
    assert_eq!(error.cause.to_string(), "plugin twice is the b of the contract a");
    // Who has failed has claimed nothing; who is unloaded gives up what it had.
    host.load(spec("twice").contract("a", "b")).unwrap();
    let pid = json.process_id().unwrap();
    assert_eq!(host.unload("json").unwrap().state(), PluginState::Stopped);
    assert!(!is_there(pid) && host.plugin("json").is_none() && host.unload("json").is_none());
    host.load(spec("other").contract("dataProcessor", "json-processor")).unwrap();
    assert_eq!(host.serving("test.Plugin").len(), 3);
    assert!(host.serving("test.Other").is_empty());
}

#[test]
fn names_and_contracts_are_looked_up_while_plugins_come_and_go() {
    let host = PluginHost::builder(config()).build().unwrap();
    host.load(spec("stays").contract("c", "stays")).unwrap();
    thread::scope(|scope| {
        let looks = scope.spawn(|| {
            for _ in 0..2000 {
                assert_eq!(host.get("c", "stays").unwrap().name(), "stays");
                if let Some(plugin) = host.get("c", "goes") {
                    assert_eq!(plugin.name(), "goes");
                }
            }
        });
        while !looks.is_finished() {
            host.load(spec("goes").contract("c", "goes")).unwrap();
            host.unload("goes").unwrap();
        }
    });
}

#[test]
fn a_host_that_shuts_down_takes_no_more_plugins() {
    let host = PluginHost::builder(config()).build().unwrap();
    host.load(spec("plain")).unwrap();
    assert_eq!(host.health(), Health::Healthy);
    assert_eq!(host.shutdown().len(), 1);
    assert_eq!(host.load(spec("late")).unwrap_err().cause.to_string(), "the host shuts down");
}

/// Descriptors, threads, children and mappings are counted; memory, with room for what an allocator keeps.
#[test]
fn a_thousand_restarts_leave_nothing() {
    const ALONE: &str = "RAPACE_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        // The other tests of this program are not to be counted.
        let mut alone = Command::new(std::env::current_exe().unwrap());
        alone.args(["--exact", "keeping::a_thousand_restarts_leave_nothing", "--nocapture"]).env(ALONE, "1");
        assert!(alone.status().unwrap().success());
        return;
    }
    let host = PluginHost::builder(config()).build().unwrap();
    let limit = RestartLimit { restarts: u32::MAX, ..RestartLimit::default() };
    let mut supervision = Supervision { restart: RestartPolicy::OnFailure, limit, ..Supervision::default() };
    (supervision.backoff.first, supervision.backoff.most) = Default::default();
    let plugin = host.load(spec("plain").supervision(supervision)).unwrap();
    let echo = || plugin.call(ECHO, b"", &CallOptions::new()).is_ok();
    let again = |round: u32| {
        if round.is_multiple_of(2) {
            plugin.restart().unwrap();
            assert!(echo());
        } else {
            let pid = plugin.process_id();
            plugin.kill();
            eventually("it is started again", || plugin.process_id() != pid && echo());
        }
    };
    // Threads and buffers that are made once are there by now.
    (0..50).for_each(again);
    let before = census::count();
    (0..1000).for_each(again);
    eventually("what is counted is as before", || census::count().is_no_more_than(&before));
}

#[test]
fn the_architecture_shows_the_states_as_they_are() {
    let diagram = rapace_host::state_diagram();
    assert!(
        include_str!("../../../ARCHITECTURE.md").contains(&format!("```mermaid\n{diagram}```\n")),
        "ARCHITECTURE.md is to have this diagram:\n{diagram}"
    );
}
