//! A disk that fails, is full, or is damaged.

use std::sync::mpsc;
use std::thread;

use proptest::prelude::*;
use rapace_host_api::storage::{Space, Storage as _, StorageError};

use super::{Medium, PATIENCE, eventually, on, wait};
use crate::scope::PluginScope;
use crate::services::storage::Storage;

fn disk_error<T: std::fmt::Debug>(outcome: Result<T, StorageError>) -> String {
    match outcome {
        Err(StorageError::Disk { error }) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_broken_disk_is_told_of_and_a_mended_one_is_used_again() {
    let medium = Medium::default();
    let storage = on(&medium);
    let plugin = storage.of(&PluginScope::new("p"));
    plugin.put("k", b"kept").unwrap();
    medium.set_broken(true);
    let error = disk_error(plugin.put("k", b"lost"));
    assert!(error.contains("the disk is broken"), "{error}");
    // It is tried again now and then, without being asked.
    let opened = medium.opened();
    eventually("it was opened again", || medium.opened() > opened);
    disk_error(plugin.put("k", b"lost"));
    medium.set_broken(false);
    eventually("it is read again", || wait(plugin.get("k", Space::Own)).is_ok());
    assert_eq!(plugin.value("k"), Some(b"kept".to_vec()));
    assert_eq!(plugin.put("k", b"new"), Ok(2));
    assert_eq!(plugin.value("k"), Some(b"new".to_vec()));
}

#[test]
fn a_full_disk_refuses_writes_and_goes_on_to_be_read() {
    let medium = Medium::default();
    let plugin = on(&medium).of(&PluginScope::new("p"));
    plugin.put("k", b"v").unwrap();
    medium.set_free_bytes(Some(1 << 20));
    for _ in 0..3 {
        let error = disk_error(plugin.put("k", b"more"));
        assert!(error.starts_with("the disk has 1048576 bytes free, but 10"), "{error}");
        assert_eq!(plugin.value("k"), Some(b"v".to_vec()));
    }
    assert_eq!(medium.opened(), 1);
    medium.set_free_bytes(Some(8 << 20));
    plugin.put("k", b"more").unwrap();
}

#[test]
fn whoever_reads_while_the_disk_is_opened_again_is_told_so() {
    let medium = Medium::default();
    let plugin = on(&medium).of(&PluginScope::new("p"));
    plugin.put("k", b"kept").unwrap();
    medium.set_broken(true);
    disk_error(plugin.put("k", b"lost"));
    eventually("it is closed", || wait(plugin.get("k", Space::Own)).is_err());
    medium.set_stuck(true);
    medium.set_broken(false);
    medium.wait_stuck();
    let (sender, read) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| sender.send(wait(plugin.get("k", Space::Own))));
        let read = read.recv_timeout(PATIENCE);
        medium.set_stuck(false);
        disk_error(read.unwrap());
    });
    eventually("it is read again", || wait(plugin.get("k", Space::Own)).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_damaged_file_is_refused_or_read_and_nobody_panics(
        hits in prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let medium = Medium::default();
        let storage = on(&medium);
        let plugin = storage.of(&PluginScope::new("p"));
        for n in 0..20_u8 {
            plugin.put(&format!("key {n}"), &vec![n; usize::from(n) * 300]).unwrap();
        }
        drop((plugin, storage));
        // The first pages are hit the most: there are the header and the roots.
        for (index, (at, by)) in hits.iter().enumerate() {
            medium.damage(at.index(if index % 2 == 0 { 8192 } else { medium.length() }), *by);
        }
        if let Some(cut) = cut {
            medium.cut(cut.index(medium.length()));
        }
        let Ok(storage) = Storage::at(medium.clone()) else { return Ok(()) };
        let plugin = storage.of(&PluginScope::new("p"));
        let page = wait(plugin.list("", None, 100, Space::Own));
        for listed in page.unwrap_or_default().keys {
            if let Ok(Some(entry)) = wait(plugin.get(&listed.key, Space::Own)) {
                let n: u8 = listed.key.trim_start_matches("key ").parse().unwrap();
                prop_assert_eq!(entry.value, vec![n; usize::from(n) * 300]);
            }
        }
        let _ = plugin.put("new", b"value");
    }
}
