//! Reads of a slow disk: nobody who serves plugins waits for one, and each plugin has its share.

use std::sync::mpsc;
use std::thread;

use futures_util::future::join_all;
use rapace_host_api::storage::{PAGE_VALUE_BYTES_MAX, Space, Storage as _};

use super::{Medium, PATIENCE, PluginStorage, on, wait};
use crate::scope::PluginScope;

/// Two plugins with a value each, of which nothing is in memory.
fn uncached(medium: &Medium) -> [PluginStorage; 2] {
    medium.set_uncached();
    let storage = on(medium);
    let plugins = ["hog", "other"].map(|name| storage.of(&PluginScope::new(name)));
    for plugin in &plugins {
        plugin.put("k", b"value").unwrap();
    }
    plugins
}

#[test]
fn a_read_of_a_stuck_disk_holds_up_nobody_who_serves_plugins() {
    let medium = Medium::default();
    let [hog, _] = uncached(&medium);
    medium.set_read_stuck(true);
    let (sender, served) = mpsc::channel();
    thread::scope(|scope| {
        // This thread serves another plugin as well.
        scope.spawn(|| {
            wait(async {
                let reads = (0..10).map(async |_| {
                    hog.get("k", Space::Own).await.unwrap();
                    hog.usage(Space::Own).await.unwrap();
                    hog.list("", None, 10, Space::Own).await.unwrap().keys.len()
                });
                let other = async { sender.send(()).unwrap() };
                futures_util::join!(join_all(reads), other).0
            })
        });
        let served = served.recv_timeout(PATIENCE);
        medium.set_read_stuck(false);
        assert_eq!(served, Ok(()));
    });
}

#[test]
fn a_flood_of_one_plugins_reads_does_not_keep_another_from_its_turn() {
    let medium = Medium::default();
    let [hog, other] = uncached(&medium);
    medium.set_read_stuck(true);
    let done = std::cell::Cell::new(0);
    wait(async {
        let flood = join_all((0..500).map(async |_| {
            hog.get("k", Space::Own).await.unwrap();
            done.set(done.get() + 1);
        }));
        let own = async {
            other.get("k", Space::Own).await.unwrap();
            done.get()
        };
        // All of the flood has been polled before the other reads.
        let (_, before, ()) = futures_util::join!(flood, own, async { medium.set_read_stuck(false) });
        assert!(before < 250, "{before} were read before");
    });
}

#[test]
fn a_read_that_nobody_waits_for_gives_its_turn_back() {
    let medium = Medium::default();
    let [plugin, _] = uncached(&medium);
    medium.set_read_stuck(true);
    wait(async {
        let mut reads: Vec<_> = (0..3).map(|_| Box::pin(plugin.get("k", Space::Own))).collect();
        for read in &mut reads {
            assert!(futures_util::poll!(read.as_mut()).is_pending());
        }
    });
    medium.set_read_stuck(false);
    assert_eq!(plugin.value("k"), Some(b"value".to_vec()));
}

#[test]
fn a_page_ends_behind_the_bytes_of_values_that_it_may_read() {
    let plugin = on(&Medium::default()).of(&PluginScope::new("p"));
    let value = vec![7; PAGE_VALUE_BYTES_MAX / 2];
    for key in ["a", "b", "c", "d", "e"] {
        plugin.put(key, &value).unwrap();
    }
    let (mut sizes, mut after) = (Vec::new(), None);
    loop {
        let page = wait(plugin.list("", after, 1000, Space::Own)).unwrap();
        sizes.push(page.keys.len());
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [2, 2, 1]);
}
