//! What plugins see of each other's values: nothing, but what is shared.

use rapace_host::{Permissions, SharedStorage};
use rapace_host_api::storage::Space::{Own, Shared};
use rapace_service::Error;

use crate::process::KeeperClient;
use crate::{Directory, host, open, spec};

#[test]
fn a_plugin_sees_its_own_values_and_the_shared_ones_if_it_may() {
    let directory = Directory::new();
    let host = host(&open(&directory.storage()));
    let load = |name: &str, services: &[&str], shared_storage| {
        let services = services.iter().map(|service| (*service).to_owned()).collect();
        let permissions = Permissions { services, shared_storage, ..Permissions::default() };
        KeeperClient::new(&host.load(spec(name, "keeper").permissions(permissions)).unwrap()).blocking()
    };
    let trusted = KeeperClient::new(&host.load(spec("trusted", "keeper")).unwrap()).blocking();
    let writer = load("writer", &["Storage"], SharedStorage::Write);
    let reader = load("reader", &["rapace.Storage"], SharedStorage::Read);
    let spy = load("spy", &["Storage"], SharedStorage::None);
    let stranger = load("stranger", &[], SharedStorage::Write);

    assert_eq!(trusted.set("secret", b"of the trusted", Own).unwrap(), 1);
    assert_eq!(writer.set("secret", b"of the writer", Own).unwrap(), 1);
    assert_eq!(writer.set("news", b"for all", Shared).unwrap(), 1);
    for guess in ["secret", "trusted/secret", "plugin/trusted/secret", "../trusted/secret", "trusted\0secret"] {
        assert_eq!(spy.get(guess, Own).unwrap(), None);
    }
    assert_eq!(spy.keys(Own).unwrap(), [""; 0]);
    assert_eq!(writer.get("secret", Own).unwrap().unwrap(), b"of the writer");

    let refusal = |outcome: Result<_, Error<String>>| match outcome {
        Err(Error::Service(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(refusal(spy.get("news", Shared)), "this plugin may not read the shared storage");
    assert_eq!(refusal(spy.set("news", b"", Shared).map(|_| None)), "this plugin may not write the shared storage");
    assert_eq!(refusal(reader.set("news", b"", Shared).map(|_| None)), "this plugin may not write the shared storage");
    for friend in [&trusted, &writer, &reader] {
        assert_eq!(friend.get("news", Shared).unwrap().unwrap(), b"for all");
        assert_eq!(friend.keys(Shared).unwrap(), ["news"]);
    }
    let all = refusal(stranger.get("news", Shared));
    assert!(all.contains("rapace.Storage.get is not among what this plugin may call"), "{all}");
    host.shutdown();
}

#[test]
fn values_outlast_a_crash_an_unload_and_a_host() {
    let directory = Directory::new();
    for round in 0..2_u8 {
        let storage = open(&directory.storage());
        let host = host(&storage);
        let plugin = host.load(spec("p", "keeper")).unwrap();
        let keeper = KeeperClient::new(&plugin).blocking();
        let key = format!("{round}");
        if round > 0 {
            assert_eq!(keeper.keys(Own).unwrap(), ["0"]);
        }
        keeper.set(&key, b"kept", Own).unwrap();
        plugin.kill();
        plugin.restart().unwrap();
        assert_eq!(keeper.get(&key, Own).unwrap().unwrap(), b"kept");
        host.unload("p");
        let keeper = KeeperClient::new(&host.load(spec("p", "keeper")).unwrap()).blocking();
        assert_eq!(keeper.get(&key, Own).unwrap().unwrap(), b"kept");
        host.shutdown();
        drop((keeper, plugin, host, storage));
    }
}
