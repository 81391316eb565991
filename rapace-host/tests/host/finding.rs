//! What is found in a directory of plugins, in which order, and what is executed for it.

use std::time::{Duration, Instant};

use rapace_host::{AskError, Description, Discovery, Rejection};

use crate::directory::{Directory, answer, hash, names};
use crate::{PATIENCE, eventually, is_there};

#[test]
fn a_plugin_is_a_program_with_a_manifest_or_one_that_says_what_it_is() {
    let directory = Directory::new();
    directory.program("manifested", "whatever");
    directory.manifest("manifested.plugin.toml", "manifested");
    directory.program("bare.sh", "bare");
    directory.put("README.md", 0o644, "no plugin");
    directory.put("libbare.so", 0o755, "no program");
    directory.program(".bare.tmp", "hidden");
    directory.directory("below");
    directory.program("below/more", "more");
    let scan = directory.scan();
    assert_eq!(directory.refusals(&scan), []);
    assert_eq!(names(&scan), ["bare", "manifested"]);
    assert_eq!(directory.runs(), 1);
    let [bare, manifested] = &scan.found[..] else { panic!("{scan:?}") };
    assert_eq!((&bare.path, bare.program.path()), (&directory.at("bare.sh"), &*directory.at("bare.sh")));
    let Description::Capabilities(capabilities) = &bare.description else { panic!("{bare:?}") };
    assert_eq!((capabilities.protocol, bare.version(), manifested.version()), (1, "1.0.0", "1.0.0"));
    assert_eq!(manifested.path, directory.at("manifested.plugin.toml"));
    assert!(matches!(&manifested.description, Description::Manifest(manifest) if manifest.sha256.is_some()));
    let content = std::fs::read(directory.at("manifested")).unwrap();
    let digits: String = manifested.program.sha256().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digits, hash(&content));
}

#[test]
fn directories_below_are_looked_at_in_order_and_links_within_are_followed_once() {
    let directory = Directory::new();
    for path in ["b", "b/c", "b/c/d", "bin"] {
        directory.directory(path);
    }
    for (path, name) in [("z", "z"), ("b/c/x", "x"), ("b/c/d/y", "y"), ("bin/tool", "tool"), ("a.x", "a")] {
        directory.program(path, name);
    }
    directory.manifest("b/c/x.plugin.toml", "x");
    // A manifest may name what is below it, and that has no second plugin in it.
    directory.put("t.plugin.toml", 0o644, "version = \"1.0.0\"\nprogram = \"bin/tool\"\n");
    directory.link("b/loop", "../b");
    directory.link("b/c/again", "../../b/c/d");
    directory.link("current", "z");
    let mut discovery = directory.discovery();
    discovery.recursive = true;
    let scan = discovery.scan();
    assert_eq!(names(&scan), ["a", "y", "x", "t", "z"]);
    let refused = directory.refusals(&scan);
    let reason = "its `capabilities` call it \"z\", expected \"current\" as its file is called";
    assert_eq!(refused, [("current".to_owned(), reason.to_owned())]);
    assert_eq!(discovery.scan().found, scan.found);
    // The same again, by another name.
    discovery.directories.push(directory.at("b"));
    assert_eq!(names(&discovery.scan()), names(&scan));
}

#[test]
fn depth_and_numbers_are_bounded() {
    let directory = Directory::new();
    let mut deep = String::new();
    for _ in 0..10 {
        deep += "d";
        directory.directory(&deep);
        deep += "/";
    }
    directory.program("a", "a");
    let mut discovery = directory.discovery();
    discovery.recursive = true;
    let scan = discovery.scan();
    assert_eq!(names(&scan), ["a"]);
    let reason = "it is more than 8 directories deep, expected at most 8";
    assert_eq!(directory.refusals(&scan), [("d/d/d/d/d/d/d/d/d".to_owned(), reason.to_owned())]);
    for number in 0..=256 {
        std::fs::hard_link(directory.at("a"), directory.at(&format!("a{number}"))).unwrap();
    }
    let ran = directory.runs();
    let scan = directory.scan();
    assert_eq!(names(&scan), [""; 0]);
    let reason = "it has 258 programs without a manifest, expected at most 256: none of them is executed";
    assert_eq!(directory.refusals(&scan), [(".".to_owned(), reason.to_owned())]);
    assert_eq!(directory.runs(), ran);
    for number in 0..10_000 {
        std::fs::File::create(directory.at(&format!("f{number}"))).unwrap();
    }
    let reason = "it has more than 10000 entries, expected at most 10000: those beyond are not looked at";
    assert!(directory.refusals(&directory.scan()).contains(&(".".to_owned(), reason.to_owned())));
}

/// What a program is refused for, of which this is the text.
fn asked(text: &str, patience: Duration) -> Rejection {
    let directory = Directory::new();
    directory.put("p", 0o755, format!("#!/bin/sh\n{text}\n"));
    let mut discovery = directory.discovery();
    discovery.answer_timeout = patience;
    let mut scan = discovery.scan();
    assert_eq!((scan.found.len(), scan.rejected.len()), (0, 1), "{scan:?}");
    let rejected = scan.rejected.remove(0);
    drop(scan);
    std::sync::Arc::into_inner(rejected.reason).unwrap()
}

#[test]
fn a_program_that_does_not_say_what_it_is_is_refused_with_what_it_printed() {
    for (text, expected) in [
        ("exit 3", "asked for `capabilities`, it exited with code 3, expected exit code 0; it printed nothing"),
        (
            "echo usage: p FILE; echo \"no $1\" >&2; exit 64",
            "asked for `capabilities`, it exited with code 64, expected exit code 0; it printed `usage: p FILE`, and \
             `no capabilities` to stderr",
        ),
        (
            "kill -SEGV $$",
            "asked for `capabilities`, it was killed by signal 11 (SIGSEGV), expected exit code 0; it printed nothing",
        ),
        (
            "printf '\\033[2Jhello\\nmore'",
            "its `capabilities` are wrong: expected value at line 1 column 1; it printed `\\u{1b}[2Jhello`",
        ),
        (
            "echo '{\"name\": \"p\", \"version\": 2}'",
            "its `capabilities` are wrong: version: invalid type: integer `2`, expected a string at line 1 column 26; it \
             printed `{\\\"name\\\": \\\"p\\\", \\\"version\\\": 2}`",
        ),
        (
            "echo '{\"name\": \"q\", \"version\": \"\", \"protocol\": 1}'",
            "its `capabilities` call it \"q\", expected \"p\" as its file is called",
        ),
        (
            "echo '{\"name\": \"p\", \"version\": \"\", \"protocol\": 2}'",
            "it speaks version 2 of the protocol, expected 1",
        ),
        (
            "while :; do echo 0123456789; done",
            "asked for `capabilities`, it printed more than 65536 bytes: `0123456789`",
        ),
    ] {
        assert_eq!(asked(text, PATIENCE).to_string(), expected);
    }
}

#[test]
fn a_program_that_does_not_end_is_killed_with_what_it_started() {
    let text = "sleep 1000 & echo $$ $!; while :; do echo flood >&2; done";
    let mut patience = Duration::from_millis(300);
    let both = loop {
        let reason = asked(text, patience);
        let Rejection::Ask(AskError::TimedOut { printed, .. }) = &reason else { panic!("{reason}") };
        // On a busy machine it may not have come so far.
        if printed.ends_with("`, and `flood` to stderr") {
            break printed.clone();
        }
        patience *= 3;
        assert!(patience < PATIENCE, "{reason}");
    };
    // One that ends, and leaves something behind that keeps its output.
    let start = Instant::now();
    let reason = asked("sleep 1000 & echo $!; exit 1", PATIENCE);
    let Rejection::Ask(AskError::Failed { printed: one, .. }) = &reason else { panic!("{reason}") };
    assert!(start.elapsed() < PATIENCE / 2);
    let pids = format!("{both} {one}");
    let pids: Vec<u32> = pids.split(|c: char| !c.is_ascii_digit()).filter_map(|pid| pid.parse().ok()).collect();
    assert_eq!(pids.len(), 3);
    for pid in pids {
        // What it started is reaped by another process, when that likes.
        eventually("the process is gone", || !is_there(pid) || state_of(pid) == Some('Z'));
    }
}

fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

#[test]
fn a_program_is_asked_with_nothing_of_the_host() {
    let directory = Directory::new();
    // What it sees, it tells as if it were contracts. It cannot list its descriptors, but ask for each whether it is there.
    let text = "list() { printf '\"%s\":[' $1; shift; printf '\"%s\",' \"$@\"; printf '\"\"],'; }; \
        own() { readlink $(seq -f /proc/$$/fd/%.0f 0 9999); }; \
        told=$(list env $(env | cut -d= -f1); list fds $(own); list group $(kill -0 -$$ && echo own))";
    let told = answer("p").replace("\"contracts\":{}", "\"contracts\":{'\"${told%,}\"'}");
    directory.put("p", 0o755, format!("#!/bin/sh\n{text}\nprintf '%s\\n' '{told}'\n"));
    let scan = directory.scan();
    assert_eq!(directory.refusals(&scan), []);
    let Description::Capabilities(capabilities) = &scan.found[0].description else { panic!("{scan:?}") };
    let read = |what: &str| capabilities.contracts[what].iter().map(|text| &**text).collect::<Vec<_>>();
    let inherited = |name: &str| {
        let own = ["PWD", "_", "OLDPWD", "SHLVL"];
        rapace_host::INHERITED_VARIABLES.contains(&name)
            || name.starts_with("LC_")
            || own.contains(&name)
            || name.is_empty()
    };
    let variables = read("env");
    assert!(variables.contains(&"PATH") && variables.iter().all(|name| inherited(name)), "{variables:?}");
    let fds = read("fds");
    assert_eq!(fds[0], "/dev/null");
    assert!(!["socket:", "memfd:", "anon_inode:"].iter().any(|kind| fds.concat().contains(kind)), "{fds:?}");
    assert_eq!(read("group")[0], "own");
}

#[test]
fn a_program_that_is_asked_may_look_but_neither_write_nor_use_the_network() {
    let directory = Directory::new();
    let [secret, note] = ["secret", "note"].map(|name| directory.at(&format!(".{name}")).display().to_string());
    directory.put(".secret", 0o600, "seen");
    let elsewhere = Directory::new();
    elsewhere.put("other", 0o600, " elsewhere");
    let other = elsewhere.at("other").display().to_string();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let text = format!(
        "cat {secret}; cat {other} 2>/dev/null; (echo > {note}) 2>/dev/null && printf ' written'; (rm {secret}) 2>/dev/null && printf ' removed'\n\
         bash -c 'echo > /dev/tcp/127.0.0.1/{port}' 2>/dev/null && printf ' connected'; exit 1"
    );
    // By itself it does all of that.
    directory.put("p", 0o755, format!("#!/bin/sh\n{text}\n"));
    let alone = std::process::Command::new(directory.at("p")).output().unwrap();
    assert_eq!(String::from_utf8(alone.stdout).unwrap(), "seen elsewhere written removed connected");
    std::fs::remove_file(&note).unwrap();
    directory.put(".secret", 0o600, "seen");
    let scan = directory.scan();
    let [(_, reason)] = &directory.refusals(&scan)[..] else { panic!("{scan:?}") };
    assert!(reason.ends_with("; it printed `seen`"), "{reason}");
    assert!(!std::path::Path::new(&note).exists() && std::path::Path::new(&secret).exists());
}

#[test]
fn programs_are_asked_beside_one_another_on_as_many_threads_as_there_are_cores() {
    let directory = Directory::new();
    let cores = std::thread::available_parallelism().unwrap().get();
    for number in 0..20 {
        let (name, take) = (format!("p{number:02}"), directory.taking_a_letter());
        let told = answer(&name).replace("1.0.0", "'$begin$end'");
        let text = format!("begin=$({take}); sleep 0.1; end=$({take}); echo '{told}'");
        directory.put(&name, 0o755, format!("#!/bin/sh\n{text}\n"));
    }
    let scan = directory.scan();
    assert_eq!(scan.found.len(), 20, "{:?}", directory.refusals(&scan));
    assert!(names(&scan).is_sorted());
    // The letters in their order, of which each program has taken one at its beginning and one at its end.
    let mut letters: Vec<_> = scan.found.iter().flat_map(|found| found.version().char_indices()).collect();
    letters.sort_by_key(|(_, letter)| *letter);
    assert_eq!(letters.len(), 40);
    let (mut now, mut most) = (0, 0);
    for (index, _) in letters {
        now = if index == 0 { now + 1 } else { now - 1 };
        most = most.max(now);
    }
    assert!(now == 0 && most <= cores && (cores == 1 || most > 1), "{most} at once on {cores} cores");
}

#[test]
fn the_directory_of_a_found_plugin_may_be_relative() {
    let scan = Discovery::new(["."]).scan();
    assert!(scan.found.iter().all(|found| found.path.is_absolute()));
}
