//! Where a host can hold its plugins by cgroups: found when it first starts one that is to be held.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::hierarchy::{Controllers, Hierarchy};
use super::place::{Version, places};

/// A host's cgroups.
#[derive(Debug)]
pub(crate) struct Cgroups {
    /// This process's directory of `/proc`; none where cgroups are not to be used.
    process: Option<PathBuf>,
    hosted: OnceLock<Arc<Hosted>>,
    lives: AtomicU64,
}

/// Those that could be had.
#[derive(Debug)]
pub(super) struct Hosted {
    pub(super) hierarchies: Vec<Hierarchy>,
    /// Why there are no others.
    pub(super) lacking: String,
}

impl Cgroups {
    /// Those of this process.
    pub(crate) fn own() -> Self {
        Self::of(Some(PathBuf::from("/proc/self")))
    }

    /// None.
    pub(crate) fn none() -> Self {
        Self::of(None)
    }

    pub(super) fn of(process: Option<PathBuf>) -> Self {
        Self { process, hosted: OnceLock::new(), lives: AtomicU64::new(0) }
    }

    pub(super) fn hosted(&self) -> &Arc<Hosted> {
        self.hosted.get_or_init(|| {
            let hosted = match &self.process {
                Some(process) => Hosted::find(process),
                None => Hosted { hierarchies: Vec::new(), lacking: "the host does without cgroups".to_owned() },
            };
            tracing::debug!(hierarchies = hosted.hierarchies.len(), lacking = hosted.lacking, "cgroups of this host");
            Arc::new(hosted)
        })
    }

    /// Whether they limit how many processes there are.
    pub(crate) fn count_processes(&self) -> bool {
        self.hosted().hierarchies.iter().any(|hierarchy| hierarchy.controllers.pids)
    }

    /// Which life it is.
    pub(super) fn next_life(&self) -> u64 {
        self.lives.fetch_add(1, Ordering::Relaxed)
    }
}

impl Hosted {
    fn find(process: &Path) -> Self {
        let read = |file: &str| fs::read(process.join(file)).unwrap_or_default();
        let mut places = places(&read("cgroup"), &read("mountinfo"));
        // Version 2 counts processors' time in any cgroup.
        places.sort_by_key(|place| place.version == Version::One);
        let (mut hierarchies, mut has, mut lacking) = (Vec::new(), Controllers::default(), Vec::new());
        for place in places {
            let offers = |name: &str| place.controllers.iter().any(|controller| controller == name);
            let is_of_use = place.version == Version::Two
                || offers("memory") && !has.memory
                || offers("pids") && !has.pids
                || offers("cpuacct") && !has.cpu;
            if !is_of_use {
                continue;
            }
            match Hierarchy::at(&place) {
                Ok(hierarchy) => {
                    let Controllers { memory, pids, cpu } = hierarchy.controllers;
                    has = Controllers { memory: has.memory || memory, pids: has.pids || pids, cpu: has.cpu || cpu };
                    hierarchies.push(hierarchy);
                }
                Err(error) => lacking.push(format!("{}: {error}", place.directory.display())),
            }
        }
        let nothing = || "no cgroup with that controller is this host's to divide".to_owned();
        let lacking = if lacking.is_empty() { nothing() } else { lacking.join("; ") };
        Self { hierarchies, lacking }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;
    use std::time::Duration;

    use rapace_core::child::ChildSetup;
    use rapace_session::Process;
    use rustix::event::{PollFd, PollFlags};

    use super::super::group::Group;
    use super::super::{Enclosure, Means};
    use super::*;
    use crate::permissions::PluginLimits;
    use crate::scope::{Limit, PluginScope};

    /// Directories in the place of a kernel's, with hierarchies at these names.
    struct Machine(PathBuf);

    impl Machine {
        fn new(test: &str, hierarchies: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("rapace-cgroups-{}-{test}", std::process::id()));
            let (mut cgroup, mut mountinfo) = (String::new(), String::new());
            for (controllers, own) in hierarchies {
                let mount = root.join(if controllers.is_empty() { "unified" } else { controllers });
                fs::create_dir_all(mount.join(own)).unwrap();
                cgroup.push_str(&format!("1:{controllers}:/{own}\n"));
                let kind = if controllers.is_empty() { "cgroup2" } else { "cgroup" };
                mountinfo.push_str(&format!("1 1 0:1 / {} rw - {kind} {kind} rw,{controllers}\n", mount.display()));
            }
            fs::create_dir_all(&root).unwrap();
            fs::write(root.join("cgroup"), cgroup).unwrap();
            fs::write(root.join("mountinfo"), mountinfo).unwrap();
            Self(root)
        }

        fn cgroups(&self) -> Cgroups {
            Cgroups::of(Some(self.0.clone()))
        }

        /// The one directory of a plugin there.
        fn only(&self, path: &str) -> PathBuf {
            let only = |path: &Path| super::super::ending::children(path).next().unwrap();
            only(&only(&self.0.join(path)))
        }
    }

    impl Drop for Machine {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn scope() -> PluginScope {
        let limits = PluginLimits {
            memory_bytes: Some(64 << 20),
            cpu_seconds: Some(9),
            processes: Some(20),
            ..PluginLimits::default()
        };
        PluginScope::new("a/b").with_limits(limits)
    }

    fn means(cgroups: &Cgroups) -> [Option<Means>; 4] {
        let enclosure = Enclosure::around(&mut Command::new("true"), &scope(), Some(cgroups));
        [Limit::Memory, Limit::CpuTime, Limit::Processes, Limit::OpenFiles]
            .map(|limit| enclosure.enforcement().of(limit))
    }

    /// What holds the number of processes where no cgroup does.
    fn without_cgroup() -> Means {
        if rustix::process::geteuid().is_root() { Means::Nothing } else { Means::User }
    }

    #[test]
    fn a_machine_without_cgroups_says_what_it_does_not_enforce() {
        let each = Some(Means::EachProcess);
        let expected = [each, each, Some(without_cgroup()), None];
        let none = Machine::new("none", &[]);
        assert_eq!(means(&none.cgroups()), expected);
        // Where nobody may make directories: there is a file in the place of its own.
        let closed = Machine::new("closed", &[("memory", ""), ("pids", "")]);
        for hierarchy in ["memory", "pids"] {
            fs::remove_dir(closed.0.join(hierarchy)).unwrap();
            fs::write(closed.0.join(hierarchy), "").unwrap();
        }
        let cgroups = closed.cgroups();
        assert_eq!(means(&cgroups), expected);
        assert!(cgroups.hosted().lacking.contains("pids: "), "{}", cgroups.hosted().lacking);
        assert_eq!(means(&Cgroups::none()), expected);
        let gone = Cgroups::of(Some(PathBuf::from("/nowhere")));
        assert_eq!(means(&gone), expected);
    }

    #[test]
    fn version_one_limits_where_its_controllers_are() {
        let machine = Machine::new("one", &[("memory", "deep/own"), ("pids", ""), ("freezer", "")]);
        let cgroups = machine.cgroups();
        let (group, files) = Group::make(cgroups.hosted(), "a/b", 3).unwrap();
        assert_eq!((files.len(), group.limit_memory(64 << 20), group.limit_processes(20)), (2, true, true));
        let (memory, pids) = (machine.only("memory/deep/own"), machine.only("pids"));
        assert!(memory.ends_with("a_b-3") && pids.ends_with("a_b-3"), "{memory:?}");
        let read = |path: PathBuf| fs::read_to_string(path).unwrap();
        assert_eq!(read(memory.join("memory.limit_in_bytes")), (64 << 20).to_string());
        assert_eq!(read(memory.join("memory.memsw.limit_in_bytes")), (64 << 20).to_string());
        assert_eq!(read(pids.join("pids.max")), "20");
        assert_eq!((group.killed_for_memory(), group.refused_processes(), group.cpu()), (0, 0, None));
        fs::write(memory.join("memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n").unwrap();
        fs::write(pids.join("pids.events"), "max 7\n").unwrap();
        assert_eq!((group.killed_for_memory(), group.refused_processes()), (2, 7));
        assert_eq!(fs::read_dir(machine.0.join("freezer")).unwrap().count(), 0);
        fs::remove_dir_all(memory).unwrap();
        fs::remove_dir_all(pids).unwrap();
    }

    #[test]
    fn version_one_alone_ends_all_that_it_holds() {
        let machine = Machine::new("ends", &[]);
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let own: Vec<_> = own.lines().filter(|line| !line.starts_with("0::")).collect();
        fs::write(machine.0.join("cgroup"), own.join("\n")).unwrap();
        fs::copy("/proc/self/mountinfo", machine.0.join("mountinfo")).unwrap();
        let cgroups = machine.cgroups();
        // A machine without version 1 has nothing to show.
        let Some((group, files)) = Group::make(cgroups.hosted(), "p", 0) else { return };
        let mut setup = ChildSetup::default();
        files.into_iter().for_each(|file| setup.join(file));
        let mut command = Command::new("sh");
        command.args(["-c", "setsid sh -c 'sleep 1000 & echo; wait' & wait"]).stdout(std::process::Stdio::piped());
        command.stderr(std::process::Stdio::null());
        setup.apply(&mut command);
        let mut child = command.spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        assert_eq!(stdout.read(&mut [0]).unwrap(), 1);
        group.end(Duration::from_secs(20));
        let mut process = Process::new(child).unwrap();
        assert_eq!(process.wait(Duration::from_secs(20)).unwrap().signal(), Some(9));
        // It ends when the last process that has it is gone.
        let timeout = rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 };
        let ended = rustix::event::poll(&mut [PollFd::new(&stdout, PollFlags::IN)], Some(&timeout));
        assert_eq!(ended, Ok(1));
        let left = cgroups.hosted().hierarchies.iter().flat_map(|one| super::super::ending::children(&one.directory));
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn version_two_limits_and_counts_with_the_controllers_that_it_gives_on() {
        let machine = Machine::new("two", &[("", "own")]);
        let cgroups = machine.cgroups();
        let (group, files) = Group::make(cgroups.hosted(), "p", 0).unwrap();
        assert_eq!((files.len(), group.limit_memory(64 << 20), group.limit_processes(20)), (1, true, true));
        let directory = machine.only("unified/own");
        let read = |file: &str| fs::read_to_string(directory.join(file)).unwrap();
        assert_eq!(
            (read("memory.max"), read("memory.swap.max"), read("pids.max")),
            ((64 << 20).to_string(), "0".to_owned(), "20".to_owned())
        );
        let above = directory.parent().unwrap();
        assert_eq!(fs::read_to_string(above.join("cgroup.subtree_control")).unwrap(), "+memory +pids");
        for (file, text) in [
            ("memory.events", "low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 0\n"),
            ("memory.current", "4096\n"),
            ("pids.events", "max 7\n"),
            ("pids.current", "5\n"),
            ("cpu.stat", "usage_usec 2500000\nuser_usec 1\n"),
            ("cgroup.kill", ""),
        ] {
            fs::write(directory.join(file), text).unwrap();
        }
        assert_eq!((group.killed_for_memory(), group.refused_processes()), (2, 7));
        assert_eq!((group.memory_bytes(), group.processes()), (Some(4096), Some(5)));
        assert_eq!(group.cpu(), Some(Duration::from_millis(2500)));
        // Killed because the machine has no memory left, and not for its limit.
        fs::write(directory.join("memory.events"), "oom 0\noom_kill 2\n").unwrap();
        assert_eq!(group.killed_for_memory(), 0);
        group.end(Duration::from_secs(20));
        assert_eq!(read("cgroup.kill"), "1");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn beside_a_host_that_has_processes_only_a_delegated_cgroup_is_divided() {
        for (test, is_delegated) in [("beside", true), ("not-beside", false)] {
            let machine = Machine::new(test, &[("", "service/own")]);
            let (service, own) = (machine.0.join("unified/service"), machine.0.join("unified/service/own"));
            for (directory, processes) in [(&own, "7\n"), (&service, "")] {
                fs::write(directory.join("cgroup.type"), "domain\n").unwrap();
                fs::write(directory.join("cgroup.procs"), processes).unwrap();
            }
            if is_delegated {
                let set = |name| rustix::fs::setxattr(&service, name, b"1", rustix::fs::XattrFlags::empty()).is_ok();
                if !set("user.delegate") && !set("trusted.delegate") {
                    // A file system without attributes has nothing to show.
                    continue;
                }
            }
            let hosted = Arc::clone(machine.cgroups().hosted());
            let hierarchy = &hosted.hierarchies[0];
            let has = Controllers { memory: is_delegated, pids: is_delegated, cpu: true };
            assert_eq!(hierarchy.controllers, has);
            let parent = if is_delegated { service } else { own };
            assert_eq!(hierarchy.directory.parent(), Some(&*parent));
        }
    }

    #[test]
    fn a_threaded_cgroup_takes_no_processes_and_is_not_used() {
        let machine = Machine::new("threaded", &[("", "own")]);
        fs::write(machine.0.join("unified/own/cgroup.type"), "threaded\n").unwrap();
        let cgroups = machine.cgroups();
        assert_eq!(cgroups.hosted().hierarchies.len(), 0);
        assert!(cgroups.hosted().lacking.contains("threaded"), "{}", cgroups.hosted().lacking);
    }

    #[test]
    fn what_a_dead_host_has_left_is_swept_and_what_a_living_one_has_is_not() {
        let machine = Machine::new("sweep", &[("pids", "")]);
        let living = machine.cgroups();
        let (kept, _files) = Group::make(living.hosted(), "p", 0).unwrap();
        let nested = machine.0.join("pids/rapace-1-0/p-0/rapace-2-0/q-1");
        fs::create_dir_all(&nested).unwrap();
        fs::create_dir_all(machine.0.join("pids/other")).unwrap();
        let next = machine.cgroups();
        assert_eq!(next.hosted().hierarchies.len(), 1);
        let names = super::super::ending::children(&machine.0.join("pids"));
        let mut names: Vec<_> = names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        let own = |number| format!("rapace-{}-{number}", std::process::id());
        assert_eq!(names, ["other".to_owned(), own(0), own(1)]);
        drop(kept);
    }
}
