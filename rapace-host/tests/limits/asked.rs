//! A program that is asked what it is, before anything of it is trusted, is held too.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use rapace_host::{Capabilities, Description, Discovery, Limit, Means, PluginHost, PluginLimits, Scan};

use crate::{config, enforcement, runs, spec, wide};

/// More processes than any program may have that is asked.
const TOO_MANY: u32 = 300;

/// A directory with this program, `p`, removed with it.
struct Directory(PathBuf);

impl Directory {
    fn with(test: &str, script: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rapace-asked-{}-{test}", std::process::id()));
        fs::create_dir(&path).unwrap();
        let directory = Self(path);
        directory.mode("", 0o755);
        // Written by another process: no child that another test has just forked keeps it open for writing.
        let mut writer = Command::new("sh");
        writer.args(["-c", "printf '%s\\n' '#!/bin/sh' \"$0\" > \"$1\"", script]);
        assert!(writer.arg(directory.0.join("p")).status().unwrap().success());
        directory.mode("p", 0o755);
        directory
    }

    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.0.join(name), PermissionsExt::from_mode(mode)).unwrap();
    }

    fn scan(&self) -> Scan {
        let mut discovery = Discovery::new([&self.0]);
        discovery.answer_timeout = crate::PATIENCE;
        discovery.scan()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What this host's cgroups do for the number of processes.
fn means() -> Means {
    let host = PluginHost::builder(config()).build().unwrap();
    let plugin = host.load(spec("plugin", PluginLimits { processes: Some(100), ..wide() })).unwrap();
    enforcement(&plugin).of(Limit::Processes).unwrap()
}

/// What the one plugin there says of itself, where the shell puts words for these names of contracts.
fn told(directory: &Directory) -> Box<Capabilities> {
    let mut scan = directory.scan();
    assert_eq!((scan.found.len(), scan.rejected.len()), (1, 0), "{:?}", scan.rejected);
    match scan.found.remove(0).description {
        Description::Capabilities(capabilities) => capabilities,
        other => panic!("{other:?}"),
    }
}

/// An answer with these words of the shell's.
fn answering(words: &str) -> String {
    format!(
        "cat <<END\n{{\"name\":\"p\",\"version\":\"1\",\"protocol\":1,\"services\":[],\"config_schema\":null,\
         \"contracts\":{{\"told\":[{words}]}}}}\nEND"
    )
}

#[test]
fn a_program_that_answers_leaves_nobody_behind_in_another_session_or_group() {
    let session = "one=$(setsid sh -c 'echo $$; exec sleep 1000 >/dev/null' 2>/dev/null &)";
    let group = "two=$(bash -c 'set -m; sleep 1000 >/dev/null 2>&1 & echo $!')";
    // Without a cgroup, whoever leaves the group is gone.
    let group = if means() == Means::Cgroup { group } else { "two=0" };
    let script = format!("{session}\n{group}\n{}", answering("\"${one:-0}\",\"$two\""));
    let directory = Directory::with("leaving", &script);
    let capabilities = told(&directory);
    let left = capabilities.contracts["told"].iter().map(|id| id.parse::<u32>().unwrap());
    let left: Vec<u32> = left.filter(|id| *id != 0 && runs(*id)).collect();
    for id in &left {
        let id = rustix::process::Pid::from_raw(i32::try_from(*id).unwrap()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
    }
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_program_that_is_asked_and_forks_without_end_is_held() {
    let script =
        format!("n=0; while [ $n -lt {TOO_MANY} ]; do sleep 1000 & n=$((n + 1)); done\n{}", answering("\"$n\""));
    if means() == Means::Nothing {
        return;
    }
    let directory = Directory::with("forking", &script);
    let scan = directory.scan();
    assert_eq!((scan.found.len(), scan.rejected.len()), (0, 1), "{:?}", scan.found);
    let reason = scan.rejected[0].reason.to_string();
    assert!(reason.to_lowercase().contains("fork"), "{reason}");
}

#[test]
fn a_program_that_is_asked_has_little_time_of_a_processor_few_files_and_no_session_of_its_own() {
    let session = "$(setsid true 2>/dev/null || echo none)";
    let words = format!("\"$(ulimit -n)\",\"$(ulimit -t)\",\"$(ulimit -c)\",\"{session}\"");
    let directory = Directory::with("limits", &answering(&words));
    assert_eq!(told(&directory).contracts["told"], ["64", "5", "0", "none"]);
}
