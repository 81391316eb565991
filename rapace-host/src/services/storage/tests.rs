//! The storage, on a disk in memory and in files.

mod crashes;
mod flood;
mod medium;
mod model;
mod opening;
mod reads;
mod stored;
mod trouble;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rapace_host_api::storage::{
    Access, Entry, KEY_BYTES_MAX, Listed, PAGE_BYTES_MAX, Page, Space, Storage as _, StorageError, Usage,
    VALUE_BYTES_MAX,
};

use super::{PluginStorage, Storage};
use crate::permissions::{Permissions, PluginLimits, SharedStorage};
use crate::scope::{Limit, PluginScope};
use medium::Medium;

/// How long a condition may take that is sure to come.
const PATIENCE: Duration = Duration::from_secs(60);

fn on(medium: &Medium) -> Storage {
    Storage::at(medium.clone()).ok().unwrap()
}

/// A scope with a quota.
fn bounded(name: &str, bytes: u64) -> PluginScope {
    PluginScope::new(name).with_limits(PluginLimits { storage_bytes: Some(bytes), ..PluginLimits::default() })
}

/// Runs a future. All that it joins is polled before any is polled again.
fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(tokio::task::unconstrained(future))
}

/// Waits for what is sure to come.
#[track_caller]
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        thread::yield_now();
    }
}

/// The methods, in the plugin's own space.
impl PluginStorage {
    fn put(&self, key: &str, value: &[u8]) -> Result<u64, StorageError> {
        wait(self.set(key, value, Space::Own))
    }

    fn value(&self, key: &str) -> Option<Vec<u8>> {
        wait(self.get(key, Space::Own)).unwrap().map(|entry| entry.value)
    }

    fn used(&self) -> Usage {
        wait(self.usage(Space::Own)).unwrap()
    }

    fn swap(&self, key: &str, expected: Option<u64>, value: Option<&[u8]>) -> Result<Option<u64>, StorageError> {
        wait(self.compare_and_set(key, expected, value.map(<[u8]>::to_vec), Space::Own))
    }
}

#[test]
fn what_is_set_is_there_until_it_is_deleted() {
    let storage = on(&Medium::default()).of(&PluginScope::new("p"));
    assert_eq!(storage.value("k"), None);
    assert_eq!(storage.put("k", b"one"), Ok(1));
    assert_eq!(wait(storage.get("k", Space::Own)), Ok(Some(Entry { value: b"one".to_vec(), version: 1 })));
    assert_eq!(storage.put("k", b""), Ok(2));
    assert_eq!(storage.value("k"), Some(vec![]));
    assert_eq!(wait(storage.delete("k", Space::Own)), Ok(true));
    assert_eq!(wait(storage.delete("k", Space::Own)), Ok(false));
    assert_eq!((storage.value("k"), storage.used()), (None, Usage::default()));
}

#[test]
fn no_plugin_sees_the_keys_of_another_whatever_its_name() {
    let storage = on(&Medium::default());
    let names = ["a", "ab", "", "shared", "plugin/a", "a\0b", "a/b"];
    let plugins = names.map(|name| storage.of(&PluginScope::new(name)));
    for (name, plugin) in names.iter().zip(&plugins) {
        plugin.put("key", name.as_bytes()).unwrap();
        plugin.put("b\0key", b"of a plugin").unwrap();
    }
    wait(plugins[0].set("key", b"of all", Space::Shared)).unwrap();
    for (name, plugin) in names.iter().zip(&plugins) {
        assert_eq!(plugin.value("key").as_deref(), Some(name.as_bytes()));
        let page = wait(plugin.list("", None, 10, Space::Own)).unwrap();
        assert_eq!((page.keys.len(), page.next), (2, None), "{name:?}");
        let shared = wait(plugin.get("key", Space::Shared)).unwrap().unwrap();
        assert_eq!(shared.value, b"of all");
    }
}

#[test]
fn the_shared_space_is_for_those_who_may() {
    let storage = on(&Medium::default());
    let allowed = |shared_storage| Permissions { shared_storage, ..Permissions::default() };
    let plugin = |allowed| storage.of(&PluginScope::new("p").with_permissions(allowed));
    let [none, read, write] =
        [SharedStorage::None, SharedStorage::Read, SharedStorage::Write].map(|shared| plugin(allowed(shared)));
    let refused = |access| StorageError::NotPermitted { access };
    assert_eq!(wait(write.set("k", b"v", Space::Shared)), Ok(1));
    assert_eq!(wait(read.usage(Space::Shared)), Ok(Usage { keys: 1, bytes: 2, bound: Some(64 << 20) }));
    for plugin in [&none, &read] {
        assert_eq!(wait(plugin.set("k", b"x", Space::Shared)), Err(refused(Access::Write)));
        assert_eq!(wait(plugin.delete("k", Space::Shared)), Err(refused(Access::Write)));
        let swapped = wait(plugin.compare_and_set("k", Some(1), None, Space::Shared));
        assert_eq!(swapped, Err(refused(Access::Write)));
    }
    assert_eq!(wait(none.get("k", Space::Shared)), Err(refused(Access::Read)));
    assert_eq!(wait(none.list("", None, 1, Space::Shared)), Err(refused(Access::Read)));
    assert_eq!(wait(none.usage(Space::Shared)), Err(refused(Access::Read)));
    assert_eq!(wait(read.get("k", Space::Shared)).unwrap().unwrap().value, b"v");
    none.put("k", b"its own").unwrap();
}

#[test]
fn a_swap_wants_the_version_that_was_read() {
    let storage = on(&Medium::default()).of(&PluginScope::new("p"));
    let wrong = |found, expected| Err(StorageError::Version { found, expected });
    assert_eq!(storage.swap("k", Some(1), Some(b"x")), wrong(None, Some(1)));
    assert_eq!(storage.swap("k", None, Some(b"one")), Ok(Some(1)));
    assert_eq!(storage.swap("k", None, Some(b"x")), wrong(Some(1), None));
    assert_eq!(storage.swap("k", Some(1), Some(b"two")), Ok(Some(2)));
    assert_eq!(storage.swap("k", Some(1), None), wrong(Some(2), Some(1)));
    assert_eq!(storage.swap("k", Some(2), None), Ok(None));
    assert_eq!(storage.swap("k", None, None), Ok(None));
    // What was read before it was deleted and set again is not there any more, though it has the same value.
    assert_eq!(storage.put("k", b"two"), Ok(3));
    assert_eq!(storage.swap("k", Some(2), Some(b"x")), wrong(Some(3), Some(2)));
}

#[test]
fn many_who_swap_lose_no_count() {
    let storage = on(&Medium::default());
    let counts: Vec<u64> = thread::scope(|scope| {
        let counters = (0..8).map(|_| {
            let plugin = storage.of(&PluginScope::new("p"));
            scope.spawn(move || {
                let (mut done, mut lost) = (0, 0);
                while done < 25 {
                    let there = wait(plugin.get("count", Space::Own)).unwrap();
                    let count = there.as_ref().map_or(0, |entry| entry.value[0]);
                    match plugin.swap("count", there.map(|entry| entry.version), Some(&[count + 1])) {
                        Ok(_) => done += 1,
                        Err(StorageError::Version { .. }) => lost += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
                lost
            })
        });
        counters.collect::<Vec<_>>().into_iter().map(|counter| counter.join().unwrap()).collect()
    });
    assert_eq!(storage.of(&PluginScope::new("p")).value("count"), Some(vec![200]));
    assert!(counts.iter().sum::<u64>() > 0, "nobody met anybody");
}

#[test]
fn keys_and_values_have_bounds() {
    let storage = on(&Medium::default()).of(&PluginScope::new("p"));
    let longest = "k".repeat(KEY_BYTES_MAX);
    let key = |found| StorageError::Key { found, bound: 1024 };
    storage.put(&longest, &vec![7; VALUE_BYTES_MAX]).unwrap();
    assert_eq!(storage.value(&longest).unwrap().len(), VALUE_BYTES_MAX);
    assert_eq!(storage.put("", b""), Err(key(0)));
    assert_eq!(storage.put(&format!("{longest}k"), b""), Err(key(1025)));
    assert_eq!(wait(storage.get("", Space::Own)), Err(key(0)));
    assert_eq!(wait(storage.delete("", Space::Own)), Err(key(0)));
    assert_eq!(storage.swap("", None, None), Err(key(0)));
    assert_eq!(wait(storage.list(&format!("{longest}k"), None, 1, Space::Own)), Err(key(1025)));
    assert_eq!(wait(storage.list("", Some(format!("{longest}k")), 1, Space::Own)), Err(key(1025)));
    let value = StorageError::Value { found: 4194305, bound: 4194304 };
    assert_eq!(storage.put("k", &vec![7; VALUE_BYTES_MAX + 1]), Err(value.clone()));
    assert_eq!(storage.swap("k", None, Some(&vec![7; VALUE_BYTES_MAX + 1])), Err(value));
}

#[test]
fn a_quota_is_exact_and_an_overrun_is_counted() {
    let (medium, scope) = (Medium::default(), bounded("p", 10));
    let storage = on(&medium);
    let plugin = storage.of(&scope);
    plugin.put("k", b"123456789").unwrap();
    assert_eq!(plugin.used(), Usage { keys: 1, bytes: 10, bound: Some(10) });
    let full = |found| Err(StorageError::Full { found, bound: 10 });
    assert_eq!(plugin.put("k", b"1234567890"), full(11));
    assert_eq!(plugin.put("l", b""), full(11));
    assert_eq!(plugin.swap("l", None, Some(b"")).map(|_| 0), full(11));
    assert_eq!(scope.overruns(Limit::StorageBytes), 3);
    assert_eq!(plugin.used().bytes, 10);
    plugin.put("k", b"12345678").unwrap();
    plugin.put("l", b"").unwrap();
    assert_eq!(plugin.put("l", b"1"), full(11));
    drop((plugin, storage));
    // It is remembered; and what is too much already may become less.
    let plugin = on(&medium).of(&bounded("p", 5));
    assert_eq!(plugin.used(), Usage { keys: 2, bytes: 10, bound: Some(5) });
    assert_eq!(plugin.put("k", b"12345678"), Ok(4));
    assert_eq!(plugin.put("k", b"1234567"), Ok(5));
    assert_eq!(plugin.put("m", b""), Err(StorageError::Full { found: 10, bound: 5 }));
    wait(plugin.delete("k", Space::Own)).unwrap();
    assert_eq!(plugin.put("m", b"123"), Ok(6));
    assert_eq!(plugin.used(), Usage { keys: 2, bytes: 5, bound: Some(5) });
}

#[test]
fn the_shared_space_has_a_quota_of_its_own() {
    let storage = on(&Medium::default()).shared_bytes(4);
    let plugin = storage.of(&bounded("p", 1));
    assert_eq!(wait(plugin.set("k", b"123", Space::Shared)), Ok(1));
    let full = wait(plugin.set("k", b"1234", Space::Shared));
    assert_eq!(full, Err(StorageError::Full { found: 5, bound: 4 }));
    assert_eq!(plugin.scope.overruns(Limit::StorageBytes), 1);
    assert_eq!(plugin.put("k", b""), Ok(1));
}

#[test]
fn a_refused_first_write_leaves_no_two_spaces_with_one_id() {
    let medium = Medium::default();
    let storage = on(&medium);
    let [first, new] = ["first", "new"].map(|name| storage.of(&PluginScope::new(name)));
    let full = storage.of(&bounded("a", 0));
    // The refused one and another new one are in one transaction.
    medium.set_stuck(true);
    let written = thread::scope(|scope| {
        let before = scope.spawn(|| first.put("k", b"first"));
        medium.wait_stuck();
        let (refused, written, ()) = wait(async {
            let (refused, written) = (full.set("k", b"", Space::Own), new.set("k", b"new", Space::Own));
            futures_util::join!(refused, written, async { medium.set_stuck(false) })
        });
        assert!(before.join().unwrap().is_ok() && refused.is_err());
        written
    });
    assert_eq!(written, Ok(1));
    for name in ["b", "c", "a"] {
        storage.of(&PluginScope::new(name)).put("k", name.as_bytes()).unwrap();
    }
    for name in ["a", "b", "c", "first", "new"] {
        assert_eq!(storage.of(&PluginScope::new(name)).value("k").as_deref(), Some(name.as_bytes()));
    }
}

#[test]
fn pages_are_bounded_by_count_and_bytes_and_are_complete() {
    let storage = on(&Medium::default());
    let plugin = storage.of(&PluginScope::new("p"));
    assert_eq!(wait(plugin.list("", None, 10, Space::Own)), Ok(Page::default()));
    // What is beside them: of other spaces, and of other prefixes.
    storage.of(&PluginScope::new("o")).put("k/0", b"").unwrap();
    storage.of(&PluginScope::new("q")).put("k/0", b"").unwrap();
    for key in ["k", "k.", "k0", "l"] {
        plugin.put(key, b"").unwrap();
    }
    let keys: Vec<String> = (0..100).map(|n| format!("k/{n:03}/{}", "x".repeat(KEY_BYTES_MAX - 6))).collect();
    for key in &keys {
        plugin.put(key, b"12").unwrap();
    }
    let all = |limit| {
        let (mut found, mut sizes, mut after) = (Vec::new(), Vec::new(), None);
        loop {
            let page = wait(plugin.list("k/", after, limit, Space::Own)).unwrap();
            sizes.push(page.keys.len());
            found.extend(page.keys);
            after = page.next;
            if after.is_none() {
                return (found, sizes);
            }
        }
    };
    let expected = |(n, key): (usize, &String)| Listed { key: key.clone(), version: 5 + n as u64, value_bytes: 2 };
    let expected: Vec<_> = keys.iter().enumerate().map(expected).collect();
    assert_eq!(all(40), (expected.clone(), vec![40, 40, 20]));
    assert_eq!(all(50), (expected.clone(), vec![50, 50]));
    let of_bytes = PAGE_BYTES_MAX / KEY_BYTES_MAX;
    assert_eq!(all(u32::MAX), (expected.clone(), vec![of_bytes, 100 - of_bytes]));
    assert_eq!(all(0).1, [1; 100]);
    // A cursor in front of the prefix does not lead out of it, and one behind it finds nothing.
    let from_before = wait(plugin.list("k/", Some("a".to_owned()), 1, Space::Own)).unwrap();
    assert_eq!(from_before.keys, expected[..1]);
    assert_eq!(wait(plugin.list("k/", Some("k0".to_owned()), 1, Space::Own)), Ok(Page::default()));
}

#[test]
fn a_list_has_what_stays_whatever_is_written_meanwhile() {
    let storage = on(&Medium::default());
    let plugin = storage.of(&PluginScope::new("p"));
    let staying: Vec<String> = (0..200).map(|n| format!("{n:03}")).collect();
    for key in &staying {
        plugin.put(key, b"").unwrap();
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (disturber, stop) = (storage.of(&PluginScope::new("p")), &stop);
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                for n in (0..200).step_by(7) {
                    disturber.put(&format!("{n:03}-"), b"new").unwrap();
                    disturber.put(&format!("{n:03}"), b"changed").unwrap();
                }
                for n in (0..200).step_by(7) {
                    wait(disturber.delete(&format!("{n:03}-"), Space::Own)).unwrap();
                }
            }
        });
        for _ in 0..20 {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = wait(plugin.list("", after, 9, Space::Own)).unwrap();
                found.extend(page.keys.into_iter().map(|listed| listed.key));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert!(found.is_sorted_by(|one, next| one < next));
            found.retain(|key| !key.ends_with('-'));
            assert_eq!(found, staying);
        }
        stop.store(true, Ordering::Relaxed);
    });
}
