//! Plugins come, change and go while their directories are watched.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, UNIX_EPOCH};

use rapace_host::{Discovery, PluginChange, Watcher};

use crate::directory::{Directory, answer, names};
use crate::{PATIENCE, eventually};

/// A watcher, and what it tells: a word and a name, or the file name of what is refused.
fn watch(discovery: Discovery) -> (Watcher, Vec<String>, Receiver<String>) {
    let (sender, changes) = channel();
    let told = move |change| {
        let words = match change {
            PluginChange::Added(found) => format!("added {}", found.name),
            PluginChange::Changed(found) => format!("changed {}", found.name),
            PluginChange::Removed(found) => format!("removed {}", found.name),
            PluginChange::Rejected(refused) => format!("refused {}", refused.path.file_name().unwrap().display()),
            other => panic!("{other:?}"),
        };
        let _ = sender.send(words);
    };
    let (watcher, scan) = Watcher::start(discovery, told).unwrap();
    (watcher, names(&scan).into_iter().map(str::to_owned).collect(), changes)
}

#[track_caller]
fn next(changes: &Receiver<String>) -> String {
    changes.recv_timeout(PATIENCE).unwrap()
}

/// Puts a program in its place in one step, as it should be done.
fn replace(directory: &Directory, elsewhere: &Directory, name: &str, content: &str) {
    elsewhere.put(name, 0o755, content);
    fs::rename(elsewhere.at(name), directory.at(name)).unwrap();
}

#[test]
fn what_comes_changes_and_goes_is_told() {
    let [directory, elsewhere] = [Directory::new(), Directory::new()];
    directory.program("old", "old");
    let (_watcher, known, changes) = watch(directory.discovery());
    assert_eq!(known, ["old"]);
    replace(&directory, &elsewhere, "new", &directory.saying(&answer("new")));
    assert_eq!(next(&changes), "added new");
    replace(&directory, &elsewhere, "new", &directory.saying(&answer("new").replace("1.0.0", "2.0.0")));
    assert_eq!(next(&changes), "changed new");
    fs::remove_file(directory.at("old")).unwrap();
    assert_eq!(next(&changes), "removed old");
    // A manifest beside it is another word on the same plugin.
    let manifest = "version = \"3.0.0\"\n";
    replace(&directory, &elsewhere, "new.plugin.toml", manifest);
    assert_eq!(next(&changes), "changed new");
    fs::remove_file(directory.at("new")).unwrap();
    assert_eq!(next(&changes), "removed new");
    assert_eq!(next(&changes), "refused new.plugin.toml");
    assert_eq!(changes.try_iter().count(), 0);
}

#[test]
fn a_file_that_is_written_in_place_is_looked_at_until_it_is_whole() {
    let directory = Directory::new();
    directory.program("a", "a");
    directory.manifest("a.plugin.toml", "a");
    let (_watcher, known, changes) = watch(directory.discovery());
    assert_eq!(known, ["a"]);
    let manifest = fs::read_to_string(directory.at("a.plugin.toml")).unwrap();
    // While it is wrong, the plugin stays what it was.
    directory.put("a.plugin.toml", 0o644, "vers");
    assert_eq!(next(&changes), "refused a.plugin.toml");
    directory.put("a.plugin.toml", 0o644, &manifest);
    directory.put("b", 0o755, "#!/bin/sh\nexit 1\n");
    assert_eq!(next(&changes), "refused b");
    directory.program("b", "b");
    assert_eq!(next(&changes), "added b");
    directory.put("a.plugin.toml", 0o644, manifest.replace("1.0.0", "1.1.0"));
    assert_eq!(next(&changes), "changed a");
    directory.mode("a", 0o757);
    assert_eq!(next(&changes), "refused a.plugin.toml");
    directory.mode("a", 0o755);
    fs::remove_file(directory.at("b")).unwrap();
    assert_eq!(next(&changes), "removed b");
}

#[test]
fn what_has_not_changed_is_not_executed_again() {
    let directory = Directory::new();
    directory.program("a", "a");
    // A file that is fresh could be changed once more at the same time, and is not remembered. Its mode was changed last.
    let status = fs::metadata(directory.at("a")).unwrap();
    let changed = Duration::new(status.ctime().try_into().unwrap(), status.ctime_nsec().try_into().unwrap());
    eventually("the file is not fresh", || {
        (UNIX_EPOCH + changed).elapsed().is_ok_and(|age| age > Duration::from_millis(100))
    });
    let (_watcher, _, changes) = watch(directory.discovery());
    let ran = directory.runs();
    for name in ["b", "c"] {
        directory.put(name, 0o644, "no program");
        directory.put(name, 0o755, "#!/bin/sh\nexit 1\n");
        assert_eq!(next(&changes), format!("refused {name}"));
    }
    assert_eq!(directory.runs(), ran);
}

#[test]
fn a_directory_that_goes_and_comes_again_takes_its_plugins_along() {
    let [directory, elsewhere] = [Directory::new(), Directory::new()];
    directory.directory("plugins");
    directory.program("plugins/a", "a");
    let (_watcher, known, changes) = watch(Discovery::new([directory.at("plugins")]));
    assert_eq!(known, ["a"]);
    fs::rename(directory.at("plugins"), elsewhere.at("plugins")).unwrap();
    assert_eq!([next(&changes), next(&changes)], ["removed a", "refused plugins"]);
    fs::rename(elsewhere.at("plugins"), directory.at("plugins")).unwrap();
    assert_eq!(next(&changes), "added a");
    fs::remove_dir_all(directory.at("plugins")).unwrap();
    assert_eq!([next(&changes), next(&changes)], ["removed a", "refused plugins"]);
    directory.directory("plugins");
    directory.program("plugins/b", "b");
    assert_eq!(next(&changes), "added b");
    // Not only the first time.
    directory.program("plugins/c", "c");
    assert_eq!(next(&changes), "added c");
}

#[test]
fn a_directory_that_is_not_there_yet_is_waited_for() {
    let directory = Directory::new();
    let (_watcher, known, changes) = watch(Discovery::new([directory.at("some/plugins")]));
    assert_eq!(known, [""; 0]);
    directory.directory("some");
    directory.directory("some/plugins");
    directory.program("some/plugins/a", "a");
    assert_eq!(next(&changes), "added a");
}

#[test]
fn directories_below_are_watched_as_they_come() {
    let directory = Directory::new();
    let mut discovery = directory.discovery();
    discovery.recursive = true;
    let (_watcher, _, changes) = watch(discovery);
    directory.directory("below");
    directory.directory("below/deeper");
    directory.program("below/deeper/a", "a");
    assert_eq!(next(&changes), "added a");
    directory.program("below/deeper/b", "b");
    assert_eq!(next(&changes), "added b");
    fs::remove_dir_all(directory.at("below")).unwrap();
    let mut removed = [next(&changes), next(&changes)];
    removed.sort();
    assert_eq!(removed, ["removed a", "removed b"]);
}

#[test]
fn a_link_that_is_made_to_lead_elsewhere_is_noticed() {
    let directory = Directory::new();
    for version in ["1", "2"] {
        directory.directory(version);
        directory.put(&format!("{version}/a"), 0o755, directory.saying(&answer("a").replace("1.0.0", version)));
    }
    directory.link("current", "1");
    let (_watcher, known, changes) = watch(Discovery::new([directory.at("current")]));
    assert_eq!(known, ["a"]);
    directory.link("next", "2");
    fs::rename(directory.at("next"), directory.at("current")).unwrap();
    assert_eq!(next(&changes), "changed a");
    directory.program("2/b", "b");
    assert_eq!(next(&changes), "added b");
    directory.link("next", "1");
    fs::rename(directory.at("next"), directory.at("current")).unwrap();
    assert_eq!([next(&changes), next(&changes)], ["changed a", "removed b"]);
}

#[test]
fn a_watcher_that_is_dropped_ends_what_it_asks_and_its_threads() {
    let directory = Directory::new();
    let mut discovery = directory.discovery();
    discovery.answer_timeout = PATIENCE * 10;
    let (watcher, _, changes) = watch(discovery);
    let mark = directory.path().display();
    directory.put("a", 0o755, format!("#!/bin/sh\nexec tail -f -n0 {mark}/a\n"));
    let command = format!("tail\0-f\0-n0\0{mark}/a\0");
    let pid = || {
        let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut pids = processes.filter_map(|name| name.parse().ok());
        pids.find(|pid: &u32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == command.as_bytes()))
    };
    eventually("it is asked", || pid().is_some());
    let asked = pid().unwrap();
    let dropped = std::thread::spawn(|| drop(watcher));
    // The thread had the sender.
    assert_eq!(changes.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
    assert!(!crate::is_there(asked));
    dropped.join().unwrap();
}
