//! A host from a configuration serves its log and its events to the plugins whose permissions name them.

use std::path::Path;

use rapace_host::{HostConfig, PluginHost};

use crate::{PATIENCE, actor, followed, plugin};

#[test]
fn a_host_from_a_configuration_serves_what_permissions_name() {
    let program = std::env::current_exe().unwrap();
    let of_plugin = |name: &str, more: &str| {
        format!(
            "[plugins.{name}]\nprogram = {program:?}\nargs = {:?}\nenv.{} = 'actor'\n{more}",
            plugin::ARGS,
            plugin::ROLE
        )
    };
    let text = [
        "name = 'h'\nversion = '1'\n[events]\npayload_bytes_max = 1\n".to_owned(),
        of_plugin("trusted", ""),
        of_plugin("reader", "permissions = { services = ['Events'], subscribe = ['host.*', 'a'] }\n"),
        of_plugin("logger", "permissions = { services = ['Logger'] }\n"),
    ];
    let config = HostConfig::from_toml(&text.concat(), Path::new("h.toml"), |_| None).unwrap();
    let host = PluginHost::builder(config.session()).deploy(config).unwrap();
    let [trusted, reader, logger] = ["trusted", "reader", "logger"].map(|name| host.plugin(name).unwrap());
    let words = followed(&reader, &["a", "host.shutdown"]);

    let outcomes = actor(&trusted).publish("a", 11).unwrap();
    assert_eq!((outcomes.done, outcomes.error.as_deref()), (10, Some("the payload has 2 bytes, and may have 1")));
    for number in 0..10 {
        assert_eq!(words.recv_timeout(PATIENCE).unwrap(), format!("a trusted {number}"));
    }
    assert_eq!(actor(&logger).say("hello", 2).unwrap().done, 2);
    let refused = |service| format!("PermissionDenied: rapace.{service} is not among what this plugin may call");
    assert_eq!(actor(&logger).publish("a", 1).unwrap().error, Some(refused("Events.publish")));
    assert_eq!(actor(&reader).say("hello", 1).unwrap().error, Some(refused("Logger.log")));
    host.events().publish("a", "!").unwrap();
    assert_eq!(words.recv_timeout(PATIENCE).unwrap(), "a host !");
    host.shutdown();
    assert_eq!([(); 2].map(|()| words.recv_timeout(PATIENCE).unwrap()), ["the host shuts down", "the end"]);
}
