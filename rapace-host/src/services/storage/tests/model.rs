//! Whatever is done, it is what a map does.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rapace_host_api::storage::{Entry, Listed, Space, Storage as _, StorageError, Usage};

use super::{Medium, PluginStorage, bounded, on, wait};

const BOUND: u64 = 40;
const SHARED_BOUND: u64 = 60;

#[derive(Clone, Debug)]
enum Op {
    Set(String, Vec<u8>),
    Delete(String),
    /// The version is that many before the newest of the space; none is absence.
    Swap(String, Option<u64>, Option<Vec<u8>>),
    List(String, Option<String>, u32),
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let key = || prop::sample::select(vec!["a", "ab", "abc", "b", "ba", "\u{e4}"]).prop_map(str::to_owned);
    let value = || prop::collection::vec(any::<u8>(), 0..20);
    prop_oneof![
        4 => (key(), value()).prop_map(|(key, value)| Op::Set(key, value)),
        2 => key().prop_map(Op::Delete),
        3 => (key(), prop::option::of(0..3_u64), prop::option::of(value()))
            .prop_map(|(key, back, value)| Op::Swap(key, back, value)),
        2 => (prop::sample::select(vec!["", "a", "ab", "b", "c"]), prop::option::of(key()), 0..4_u32)
            .prop_map(|(prefix, after, limit)| Op::List(prefix.to_owned(), after, limit)),
        1 => Just(Op::Reopen),
    ]
}

#[derive(Default)]
struct Model {
    entries: BTreeMap<String, (u64, Vec<u8>)>,
    version: u64,
}

impl Model {
    fn bytes(&self) -> u64 {
        self.entries.iter().map(|(key, (_, value))| (key.len() + value.len()) as u64).sum()
    }

    fn set(&mut self, key: &str, value: Vec<u8>, bound: u64) -> Result<u64, StorageError> {
        let before = self.entries.get(key).map_or(0, |(_, value)| key.len() + value.len()) as u64;
        let after = (key.len() + value.len()) as u64;
        let found = self.bytes() - before + after;
        if found > bound && after > before {
            return Err(StorageError::Full { found, bound });
        }
        self.version += 1;
        self.entries.insert(key.to_owned(), (self.version, value));
        Ok(self.version)
    }
}

/// Does it to both, and compares the answers.
fn step(op: &Op, plugin: &PluginStorage, space: Space, model: &mut Model) {
    let bound = if space == Space::Own { BOUND } else { SHARED_BOUND };
    match op.clone() {
        Op::Set(key, value) => {
            assert_eq!(wait(plugin.set(&key, &value, space)), model.set(&key, value, bound));
        }
        Op::Delete(key) => {
            assert_eq!(wait(plugin.delete(&key, space)), Ok(model.entries.remove(&key).is_some()));
        }
        Op::Swap(key, back, value) => {
            let expected = back.map(|back| model.version.saturating_sub(back));
            let found = model.entries.get(&key).map(|(version, _)| *version);
            let outcome = match value.clone() {
                _ if found != expected => Err(StorageError::Version { found, expected }),
                Some(value) => model.set(&key, value, bound).map(Some),
                None => {
                    model.entries.remove(&key);
                    Ok(None)
                }
            };
            assert_eq!(wait(plugin.compare_and_set(&key, expected, value, space)), outcome);
        }
        Op::List(prefix, after, limit) => {
            let listed = |(key, (version, value)): (&String, &(u64, Vec<u8>))| Listed {
                key: key.clone(),
                version: *version,
                value_bytes: value.len() as u64,
            };
            let all = model.entries.iter().filter(|(key, _)| key.starts_with(&prefix));
            let all = all.filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after));
            let mut keys: Vec<Listed> = all.map(listed).collect();
            let limit_or_one = limit.max(1) as usize;
            let next = (keys.len() > limit_or_one).then(|| keys[limit_or_one - 1].key.clone());
            keys.truncate(limit_or_one);
            let page = wait(plugin.list(&prefix, after, limit, space)).unwrap();
            assert_eq!((page.keys, page.next), (keys, next));
        }
        Op::Reopen => {}
    }
    for key in ["a", "ab", "b"] {
        let entry = model.entries.get(key).map(|(version, value)| Entry { value: value.clone(), version: *version });
        assert_eq!(wait(plugin.get(key, space)), Ok(entry));
    }
    let usage = Usage { keys: model.entries.len() as u64, bytes: model.bytes(), bound: Some(bound) };
    assert_eq!(wait(plugin.usage(space)), Ok(usage));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_storage_is_a_map_for_each_space_over_all_restarts(ops in prop::collection::vec((op(), 0..3_usize), 1..50)) {
        let medium = Medium::default();
        let plugins = || {
            let storage = on(&medium).shared_bytes(SHARED_BOUND);
            ["p", "q"].map(|name| storage.of(&bounded(name, BOUND)))
        };
        let (mut open, mut models) = (plugins(), [Model::default(), Model::default(), Model::default()]);
        for (op, index) in &ops {
            if let Op::Reopen = op {
                drop(open);
                open = plugins();
            }
            // Both plugins use the shared one.
            let plugin = &open[index % 2];
            step(op, plugin, if *index < 2 { Space::Own } else { Space::Shared }, &mut models[*index]);
        }
    }
}
