//! What was acknowledged is there after a power failure at any time, whatever the disk had got to.

use proptest::prelude::*;
use rapace_host_api::storage::{Space, Storage as _};

use super::{Medium, on, wait};
use crate::scope::PluginScope;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_power_failure_loses_nothing_that_was_acknowledged(
        values in prop::collection::vec((0..20_u8, 0..9000_usize), 1..40),
        seed in any::<u64>(),
    ) {
        let medium = Medium::default();
        let plugin = on(&medium).of(&PluginScope::new("p"));
        let mut chance = fastrand::Rng::with_seed(seed);
        let mut acknowledged = std::collections::BTreeMap::new();
        for (key, length) in values {
            let key = format!("{key}");
            // The next one is under way when the power fails.
            medium.set_stuck(true);
            let (before, value) = (acknowledged.clone(), vec![chance.u8(..); length]);
            let failed = std::thread::scope(|scope| {
                let write = scope.spawn(|| plugin.put(&key, &value).unwrap());
                medium.wait_stuck();
                let failed = medium.after_power_failure(|| chance.bool());
                medium.set_stuck(false);
                acknowledged.insert(key.clone(), (write.join().unwrap(), value.clone()));
                failed
            });
            let found = on(&failed).of(&PluginScope::new("p"));
            let keys = wait(found.list("", None, 1000, Space::Own)).unwrap().keys;
            prop_assert!(keys.len() == before.len() || keys.len() == acknowledged.len());
            let mut bytes = 0;
            for listed in keys {
                let entry = wait(found.get(&listed.key, Space::Own)).unwrap().unwrap();
                bytes += (listed.key.len() + entry.value.len()) as u64;
                let entry = (entry.version, entry.value);
                // Of the one under way, either.
                let is_new = listed.key == key && acknowledged[&key] == entry;
                prop_assert!(is_new || before.get(&listed.key) == Some(&entry), "{}", listed.key);
            }
            prop_assert_eq!(found.used().bytes, bytes);
        }
    }
}
