//! What was acknowledged to a plugin is there when its host was killed.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use rapace_host::PluginScope;
use rapace_host_api::storage::{Space, Storage as _};

use crate::process::{FILE, ROLE, ROUND, TEST, value_of};
use crate::{Directory, open, wait};

const ACKNOWLEDGED: usize = 10_000;
const ROUNDS: usize = 10;

/// Keys with their versions.
type Versions = HashMap<String, u64>;

/// Runs a host and kills it after so many acknowledged writes; those, and the others that were acknowledged until then.
fn killed_after(count: usize, round: usize, file: &Path) -> Versions {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", TEST, "--nocapture"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut host = command.env(ROLE, "host").env(FILE, file).env(ROUND, round.to_string()).spawn().unwrap();
    let (mut acknowledged, mut said) = (Versions::new(), Vec::new());
    // It ends when both have ended: the host, and the plugin, which writes to it past its host.
    for line in BufReader::new(host.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        let told = line.split_once(' ').and_then(|(key, version)| Some((key, version.parse().ok()?)));
        match told {
            Some((key, version)) => drop(acknowledged.insert(key.to_owned(), version)),
            None => said.push(line),
        }
        if acknowledged.len() == count {
            host.kill().unwrap();
        }
    }
    host.wait().unwrap();
    assert!(acknowledged.len() >= count, "the host or the plugin ended by itself: {said:#?}");
    acknowledged
}

#[test]
fn a_host_that_is_killed_has_lost_nothing_that_it_acknowledged() {
    let directory = Directory::new();
    let (mut acknowledged, mut rounds) = (Versions::new(), 0);
    while acknowledged.len() < ACKNOWLEDGED || rounds < ROUNDS {
        let count = fastrand::usize(1..2 * ACKNOWLEDGED / ROUNDS);
        acknowledged.extend(killed_after(count, rounds, &directory.storage()));
        rounds += 1;
        let plugin = open(&directory.storage()).of(&PluginScope::new("writer"));
        for (key, version) in &acknowledged {
            let entry = wait(plugin.get(key, Space::Own)).unwrap();
            let entry = entry.unwrap_or_else(|| panic!("round {rounds}: {key} is lost"));
            assert_eq!((entry.version, entry.value), (*version, value_of(key)), "{key}");
        }
        let (mut after, mut keys, mut bytes) = (None, 0, 0);
        loop {
            let page = wait(plugin.list("", after, 1000, Space::Own)).unwrap();
            keys += page.keys.len() as u64;
            bytes += page.keys.iter().map(|listed| listed.key.len() as u64 + listed.value_bytes).sum::<u64>();
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let usage = wait(plugin.usage(Space::Own)).unwrap();
        assert_eq!((usage.keys, usage.bytes), (keys, bytes));
        assert!(keys >= acknowledged.len() as u64);
    }
    println!("{} acknowledged writes, {rounds} kills", acknowledged.len());
}
