//! Handshakes that end in a session.

use std::io::Read;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rapace_core::Geometry;
use rapace_session::{CallError, Features, Limits, NoService};
use rapace_tests::{method, registries};

use crate::support::{FEW_DESCRIPTORS, FEW_SLOTS, Plugin, config, eventually, offer, peer, spawn};

#[test]
fn each_side_learns_who_the_other_is() {
    let arguments = ["serve", "calls=77", "depth=5", "message=5000", "metadata=600", "registry=ours"];
    let mut config = config();
    config.registry = registries::ours().unwrap();
    let plugin = Plugin::start_with(config, &arguments, NoService);
    let peer = plugin.peer();
    assert_eq!((peer.name.as_str(), peer.version.as_str(), peer.protocol), ("peer", "1.2.3", (1, 0)));
    assert_eq!((peer.calls_max, peer.depth_max), (77, 5));
    assert_eq!((peer.message_bytes_max, peer.metadata_bytes_max), (5000, 600));
    assert_eq!((peer.registry.clone(), peer.features), (registries::ours().unwrap(), Features::STREAMS));
    assert_eq!(plugin.ask(method::WHO, &[]), b"host");
    assert_eq!(plugin.close_and_reap().code(), Some(0));
}

#[test]
fn sessions_of_one_host_have_different_nonces() {
    let plugins = [Plugin::start(&["serve"]), Plugin::start(&["serve"])];
    assert_ne!(plugins[0].nonce(), plugins[1].nonce());
    plugins.iter().for_each(|plugin| plugin.check_clean());
}

#[test]
fn the_smallest_geometries_are_enough_for_a_session() {
    for (geometry, least) in [(FEW_SLOTS, (64, 16)), (FEW_DESCRIPTORS, (16, 32))] {
        let layout = Geometry::new(geometry).unwrap();
        assert_eq!((layout.ring_capacity(), layout.slot_count()), least);
        let mut config = config();
        config.geometry = geometry;
        let plugin = Plugin::start_with(config, &["serve"], NoService);
        assert_eq!(plugin.try_call(method::ECHO, &[7; 1000]).unwrap(), [7; 1000]);
        plugin.check_clean();
    }
}

#[test]
fn a_registry_that_only_one_side_has_is_no_obstacle() {
    let mut config = config();
    config.registry = registries::ours().unwrap();
    let plugin = Plugin::start_with(config, &["serve"], NoService);
    assert!(plugin.peer().registry.services().is_empty());
    Plugin::start(&["serve", "registry=theirs"]).check_clean();
}

#[test]
fn a_method_that_differs_is_refused_and_nothing_else() {
    let mut config = config();
    config.registry = registries::ours().unwrap();
    let plugin = Plugin::start_with(config, &["serve", "registry=theirs"], NoService);
    let refused: Vec<_> = plugin.peer().refused.iter().map(|(id, text)| (*id, &**text)).collect();
    let difference = "rapace.Plugin.process (2001): result.success: bool here, u32 there";
    assert_eq!(refused, [(2001, difference)]);
    let error = plugin.try_call(2001, b"1").unwrap_err();
    assert_eq!(error, CallError::Incompatible { difference: difference.into() });
    assert_eq!(plugin.try_call(method::ECHO, b"as ever").unwrap(), b"as ever");
    plugin.check_clean();
}

#[test]
fn limits_out_of_bounds_are_refused_before_anything_is_made() {
    let (socket, child) = spawn(&mut peer(&["serve"]));
    let mut config = config();
    config.limits = Limits { calls_max: 5000, ..config.limits };
    let error = offer(socket, child, config, NoService).unwrap_err();
    assert_eq!(error.to_string(), "configuration: calls_max is 5000, but must be 1 to 4096");
}

#[test]
fn what_a_plugin_prints_is_no_part_of_the_protocol() {
    const NOISE: usize = 1 << 20;
    let mut command = peer(&["serve", &format!("noise={NOISE}")]);
    let (socket, mut child) = spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let counted = Arc::new(AtomicUsize::new(0));
    let pipes: [Box<dyn Read + Send>; 2] =
        [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
    for mut pipe in pipes {
        let counted = Arc::clone(&counted);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(bytes @ 1..) = pipe.read(&mut buffer) {
                counted.fetch_add(bytes, Ordering::SeqCst);
            }
        });
    }
    let plugin = Plugin::of(offer(socket, child, config(), NoService).unwrap());
    eventually("all is printed", || {
        assert_eq!(plugin.try_call(method::ECHO, b"in between").unwrap(), b"in between");
        counted.load(Ordering::SeqCst) >= 2 * NOISE
    });
}
