//! Many writes at once: committed together, each plugin in its turn, and nobody reads the later for them.

use std::sync::mpsc;
use std::thread;

use futures_util::future::join_all;
use rapace_host_api::storage::{Space, Storage as _};

use super::{Medium, PATIENCE, eventually, on, wait};
use crate::scope::PluginScope;

#[test]
fn what_waits_is_committed_together() {
    let medium = Medium::default();
    let plugin = on(&medium).of(&PluginScope::new("p"));
    let before = medium.syncs();
    wait(join_all((0..500).map(async |n| plugin.set(&format!("{n}"), b"value", Space::Own).await.unwrap())));
    // Two phases each; the first is on its way when the others come.
    let syncs = medium.syncs() - before;
    assert!(syncs <= 20, "{syncs} syncs");
    assert_eq!(plugin.used().keys, 500);
}

#[test]
fn nobody_reads_later_for_the_writes_of_others() {
    let medium = Medium::default();
    let storage = on(&medium);
    let [writer, reader] = ["writer", "reader"].map(|name| storage.of(&PluginScope::new(name)));
    reader.put("k", b"v").unwrap();
    writer.put("k", b"old").unwrap();
    medium.set_stuck(true);
    thread::scope(|scope| {
        let write = scope.spawn(|| writer.put("k", b"new"));
        medium.wait_stuck();
        let (sender, read) = mpsc::channel();
        let (reader, writer) = (&reader, &writer);
        scope.spawn(move || {
            let keys = wait(reader.list("", None, 10, Space::Own)).unwrap().keys.len();
            sender.send((reader.value("k"), writer.value("k"), keys)).unwrap();
        });
        let read = read.recv_timeout(PATIENCE);
        medium.set_stuck(false);
        // What is not on the disk yet is not read either.
        assert_eq!(read, Ok((Some(b"v".to_vec()), Some(b"old".to_vec()), 1)));
        write.join().unwrap().unwrap();
    });
    assert_eq!(writer.value("k"), Some(b"new".to_vec()));
}

#[test]
fn a_flood_of_one_plugins_writes_does_not_keep_another_from_its_turn() {
    let medium = Medium::default();
    let storage = on(&medium);
    let [hog, other] = ["hog", "other"].map(|name| storage.of(&PluginScope::new(name)));
    medium.set_stuck(true);
    let first = thread::scope(|scope| {
        let first = scope.spawn(|| wait(hog.set("first", b"", Space::Shared)));
        medium.wait_stuck();
        let flood = join_all((0..3000).map(async |_| hog.set("k", b"flood", Space::Shared).await.unwrap()));
        let own = other.set("k", b"own", Space::Shared);
        // All of the flood has been polled before the last of these.
        let (versions, own, ()) = wait(async { futures_util::join!(flood, own, async { medium.set_stuck(false) }) });
        // Versions tell the order.
        assert!(own.unwrap() <= 3, "it had to wait for others");
        assert_eq!(versions.last(), Some(&3002));
        first.join().unwrap()
    });
    assert_eq!(first, Ok(1));
}

#[test]
fn a_plugins_writes_wait_for_room() {
    let medium = Medium::default();
    let plugin = on(&medium).of(&PluginScope::new("p"));
    let large = vec![0; 1 << 20];
    medium.set_stuck(true);
    wait(async {
        let writes = (0..20).map(async |n| plugin.set(&format!("{n}"), &large, Space::Own).await.unwrap());
        let look = async {
            let room = plugin.room.available_permits();
            medium.set_stuck(false);
            room
        };
        let (_, room) = futures_util::join!(join_all(writes), look);
        assert!(room < large.len(), "{room} bytes are left");
    });
    assert_eq!(plugin.used().keys, 20);
}

#[test]
fn who_does_not_wait_any_more_gives_its_room_back() {
    let medium = Medium::default();
    let plugin = on(&medium).of(&PluginScope::new("p"));
    let large = vec![0; 4 << 20];
    let room = plugin.room.available_permits();
    medium.set_stuck(true);
    wait(async {
        // One is in the queue, and two wait for room.
        let mut writes: Vec<_> = (0..3).map(|_| Box::pin(plugin.set("k", &large, Space::Own))).collect();
        for write in &mut writes {
            assert!(futures_util::poll!(write.as_mut()).is_pending());
        }
    });
    medium.set_stuck(false);
    plugin.put("k", &large).unwrap();
    plugin.put("k", b"small").unwrap();
    eventually("all room is free", || plugin.room.available_permits() == room);
}
