//! What happens in the host, as a plugin hears of it.

use rapace_host::PluginState;

use crate::{PATIENCE, builder, followed, spec};

#[test]
fn a_plugin_hears_of_loads_crashes_configurations_unloads_and_of_the_shutdown() {
    let (builder, events) = builder();
    let host = builder.build().unwrap();
    let watcher = host.load(spec("watcher")).unwrap();
    let words = followed(&watcher, &["host.*"]);
    let next = || words.recv_timeout(PATIENCE).unwrap();
    let plugin = host.load(spec("plugin")).unwrap();
    assert_eq!(next(), "plugin is loaded");
    plugin.kill();
    assert_eq!((next(), plugin.state()), ("plugin has crashed".to_owned(), PluginState::Crashed));
    plugin.restart().unwrap();
    assert_eq!(next(), "plugin is loaded");
    for (config, is_other) in [(b"one", true), (b"one", false), (b"two", true)] {
        plugin.reload(spec("plugin").config_data(config.to_vec())).unwrap();
        // The new one is there before the old one leaves.
        assert_eq!([next(), next()], ["plugin is loaded", "plugin is unloaded"]);
        if is_other {
            assert_eq!(next(), "plugin is configured anew");
        }
    }
    host.unload("plugin").unwrap();
    assert_eq!(next(), "plugin is unloaded");
    host.shutdown();
    assert_eq!([next(), next()], ["the host shuts down", "the end"]);
    assert!(words.recv().is_err());
    assert_eq!(events.subscriptions(), 0);
}
