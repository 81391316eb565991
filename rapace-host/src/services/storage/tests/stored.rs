//! Who has stored how much, and its removal.

use futures_util::future::join_all;

use super::*;
use crate::services::storage::{RemoveError, Stored, WhileRunning};

/// Puts this value under so many keys of three digits, all at once.
fn fill(plugin: &PluginStorage, count: usize, value: &[u8]) {
    let keys: Vec<_> = (0..count).map(|number| format!("{number:03}")).collect();
    for outcome in wait(join_all(keys.iter().map(|key| plugin.set(key, value, Space::Own)))) {
        outcome.unwrap();
    }
}

fn stored(plugin: &str, keys: u64, bytes: u64) -> Stored {
    Stored { plugin: plugin.to_owned(), keys, bytes }
}

#[test]
fn whoever_has_stored_something_is_listed_with_how_much() {
    let medium = Medium::default();
    let storage = on(&medium);
    assert_eq!(storage.stored(), Ok(vec![]));
    for name in ["b", "a", "empty", "shared"] {
        storage.of(&PluginScope::new(name)).put("k", b"value").unwrap();
    }
    let empty = storage.of(&PluginScope::new("empty"));
    assert_eq!(wait(empty.delete("k", Space::Own)), Ok(true));
    assert_eq!(wait(empty.set("k", b"of all", Space::Shared)), Ok(1));
    let expected = ["a", "b", "shared"].map(|name| stored(name, 1, 6));
    assert_eq!(storage.stored().unwrap(), expected);
    // Another host finds it so.
    drop((storage, empty));
    assert_eq!(on(&medium).stored().unwrap(), expected);
}

#[test]
fn what_is_removed_is_all_of_one_plugin_and_nothing_of_another() {
    let medium = Medium::default();
    let storage = on(&medium);
    let [gone, stays] = ["gone", "gone.not"].map(|name| storage.of(&PluginScope::new(name)));
    assert_eq!(storage.remove("gone"), Ok(None));
    // More than one transaction has.
    fill(&gone, 600, b"value");
    stays.put("k", b"value").unwrap();
    wait(gone.set("news", b"for all", Space::Shared)).unwrap();
    assert_eq!(storage.remove("gone"), Ok(Some(stored("gone", 600, 600 * 8))));
    assert_eq!((gone.used().keys, gone.used().bytes, gone.value("000"), gone.value("599")), (0, 0, None, None));
    assert_eq!(storage.stored().unwrap(), [stored("gone.not", 1, 6)]);
    assert_eq!(wait(stays.get("news", Space::Shared)).unwrap().unwrap().value, b"for all");
    assert_eq!(storage.remove("gone"), Ok(None));
    for unknown in ["", "other", "../gone.not", "gone.no"] {
        assert_eq!(storage.remove(unknown), Ok(None));
    }
    // No version comes again, so nobody takes a new value for an old one.
    assert_eq!(gone.put("k", b"anew"), Ok(601));
    drop((storage, gone, stays));
    assert_eq!(on(&medium).stored().unwrap(), [stored("gone", 1, 5), stored("gone.not", 1, 6)]);
}

#[test]
fn large_values_are_removed_a_few_at_a_time() {
    let storage = on(&Medium::default());
    let plugin = storage.of(&PluginScope::new("p"));
    let value = vec![7; VALUE_BYTES_MAX];
    fill(&plugin, 9, &value);
    let bytes = u64::try_from(value.len() + 3).unwrap() * 9;
    assert_eq!(storage.remove("p"), Ok(Some(stored("p", 9, bytes))));
    assert_eq!(plugin.used().bytes, 0);
}

#[test]
fn what_is_written_during_a_removal_stays() {
    let storage = on(&Medium::default());
    let plugin = storage.of(&PluginScope::new("p"));
    fill(&plugin, 600, b"old");
    let mut removal = storage.removal("p").unwrap().unwrap();
    assert_eq!(storage.go_on(&mut removal), Ok(false));
    // Where it has been, where it will be, and behind all.
    for key in ["000", "599", "600"] {
        plugin.put(key, b"new").unwrap();
    }
    while !storage.go_on(&mut removal).unwrap() {}
    let keys = wait(plugin.list("", None, 1000, Space::Own)).unwrap().keys;
    assert_eq!(keys.iter().map(|listed| &*listed.key).collect::<Vec<_>>(), ["000", "599", "600"]);
    assert_eq!((plugin.used().keys, plugin.used().bytes), (3, 18));
}

#[test]
fn a_host_without_a_storage_says_so() {
    let host = crate::PluginHost::builder(rapace_session::Config::new("h", "1")).build().unwrap();
    assert_eq!(host.stored(), Err(RemoveError::NoStorage));
    assert_eq!(host.remove_stored("p", WhileRunning::Remove), Err(RemoveError::NoStorage));
}
