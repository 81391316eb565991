//! A plugin that stores as much as it can.

use rapace_host::{Limit, PluginLimits};
use rapace_host_api::storage::{Space, Storage as _};

use crate::process::KeeperClient;
use crate::{Directory, eventually, host, open, spec, wait};

const QUOTA: u64 = 1 << 20;

#[test]
fn a_storage_hog_is_held_by_its_quota_while_another_writes() {
    let directory = Directory::new();
    let storage = open(&directory.storage());
    let host = host(&storage);
    let limits = PluginLimits { storage_bytes: Some(QUOTA), ..PluginLimits::default() };
    let hog = host.load(spec("hog", "hog").limits(limits)).unwrap();
    let other = KeeperClient::new(&host.load(spec("other", "keeper")).unwrap()).blocking();
    eventually("the hog is at its bound", || hog.scope().overruns(Limit::StorageBytes) > 0);
    // It goes on, and the other does too.
    let overruns = hog.scope().overruns(Limit::StorageBytes);
    for n in 0..100_u64 {
        assert_eq!(other.set(&format!("{n}"), &[7; 10_000], Space::Own).unwrap(), n + 1);
    }
    eventually("the hog goes on", || hog.scope().overruns(Limit::StorageBytes) > overruns);
    assert_eq!(other.keys(Space::Own).unwrap().len(), 100);
    let usage = wait(storage.of(&hog.scope()).usage(Space::Own)).unwrap();
    assert!(usage.bytes <= QUOTA && usage.bytes > QUOTA - 11_000, "{usage:?}");
    assert_eq!(usage.bound, Some(QUOTA));
    host.shutdown();
}
