//! What a directory of plugins may not contain, each with the words in which it is refused.

use std::os::unix::fs::chown;
use std::process::Command;

use rapace_host::Discovery;

use crate::directory::{Directory, hash, names};

const NOBODY: u32 = 65534;

#[test]
fn a_name_out_of_bounds_is_refused() {
    let directory = Directory::new();
    let long = "a".repeat(65);
    let bad = ["-a", "_a", "a b", "a\nb", "\u{e9}", &long];
    for name in bad {
        directory.program(name, name);
        directory.put(&format!("{name}.plugin.toml"), 0o644, "");
    }
    let scan = directory.scan();
    assert_eq!(names(&scan), [""; 0]);
    let refusals = directory.refusals(&scan);
    for name in bad {
        let reason = format!(
            "a plugin cannot be called {name:?}: expected 1 to 64 letters, digits, dots, dashes and underscores, the \
             first a letter or digit"
        );
        assert!(refusals.contains(&(format!("{name}.plugin.toml"), reason)), "{name:?} in {refusals:?}");
    }
    assert_eq!((scan.rejected.len(), directory.runs()), (bad.len(), 0));
    let other = Directory::new();
    other.program("a b", "a b");
    other.refuses(
        "a b",
        "a plugin cannot be called \"a b\": expected 1 to 64 letters, digits, dots, dashes and underscores, the first a letter or digit",
    );
}

#[test]
fn a_link_that_leaves_the_directory_is_refused() {
    let (directory, outside) = (Directory::new(), Directory::new());
    outside.program("tool", "tool");
    let away = format!("../{}/tool", outside.path().file_name().unwrap().display());
    let reason = "a symbolic link leads out of the directory .: it may only lead to what is in it, by a relative path";
    for target in [&*away, &*outside.at("tool").display().to_string(), "/proc/self/exe"] {
        directory.link("tool", target);
        directory.refuses("tool", reason);
        std::fs::remove_file(directory.at("tool")).unwrap();
    }
    directory.program("tool", "tool");
    std::fs::copy(outside.at("tool"), outside.at("tool.plugin.toml")).unwrap();
    directory.link("tool.plugin.toml", outside.at("tool.plugin.toml"));
    directory.refuses("tool.plugin.toml", reason);
    assert_eq!(outside.runs(), 0);
}

#[test]
fn a_manifest_of_a_program_elsewhere_is_refused() {
    let (directory, outside) = (Directory::new(), Directory::new());
    outside.program("tool", "tool");
    let path = outside.at("tool").display().to_string();
    for program in [&*path, "../tool", "bin/../../tool"] {
        directory.put("a.plugin.toml", 0o644, format!("version = \"1.0.0\"\nprogram = \"{program}\"\n"));
        directory
            .refuses("a.plugin.toml", "a.plugin.toml:2:11: program: expected a path below the manifest's directory");
    }
    directory.link("tool", outside.at("tool"));
    directory.put("a.plugin.toml", 0o644, "version = \"1.0.0\"\nprogram = \"tool\"\n");
    let scan = directory.scan();
    assert_eq!(names(&scan), [""; 0]);
    let links_out =
        "a symbolic link leads out of the directory .: it may only lead to what is in it, by a relative path";
    let expected = [("a.plugin.toml", format!("its program tool: {links_out}")), ("tool", links_out.to_owned())];
    assert_eq!(directory.refusals(&scan), expected.map(|(path, reason)| (path.to_owned(), reason)));
    assert_eq!(outside.runs(), 0);
}

#[test]
fn a_program_that_anybody_may_write_to_is_refused() {
    let directory = Directory::new();
    directory.program("a", "a");
    directory.mode("a", 0o757);
    directory.refuses("a", "anybody may write to it: its mode is 0757, expected none with 0002");
    directory.manifest("a.plugin.toml", "a");
    directory
        .refuses("a.plugin.toml", "its program a: anybody may write to it: its mode is 0757, expected none with 0002");
}

#[test]
fn a_manifest_that_anybody_may_write_to_is_refused_with_its_program() {
    let directory = Directory::new();
    directory.program("a", "a");
    directory.manifest("a.plugin.toml", "a");
    directory.mode("a.plugin.toml", 0o646);
    directory.refuses("a.plugin.toml", "anybody may write to it: its mode is 0646, expected none with 0002");
}

#[test]
fn a_directory_that_anybody_may_write_to_is_refused_unless_it_is_sticky() {
    let directory = Directory::new();
    directory.program("a", "a");
    directory.mode("", 0o777);
    directory.refuses(
        ".",
        "anybody may replace what is in it: its mode is 0777, expected none with 0002, or one with 1000 too",
    );
    directory.mode("", 0o1777);
    assert_eq!(names(&directory.scan()), ["a"]);
    directory.mode("", 0o755);
    directory.directory("below");
    directory.program("below/b", "b");
    directory.mode("below", 0o777);
    let mut below = directory.discovery();
    below.recursive = true;
    let scan = below.scan();
    assert_eq!(names(&scan), ["a"]);
    assert_eq!(directory.refusals(&scan)[0].0, "below");
}

/// A file of another user can only be made by root; for anybody else there are those of root, which are trusted.
#[test]
fn a_file_of_another_user_is_refused() {
    let directory = Directory::new();
    directory.program("a", "a");
    if chown(directory.at("a"), Some(NOBODY), None).is_ok() {
        let reason = "it belongs to user 65534, expected 0 or 0, whom the host runs as";
        directory.refuses("a", reason);
        directory.manifest("a.plugin.toml", "a");
        directory.refuses("a.plugin.toml", &format!("its program a: {reason}"));
        chown(directory.at("a"), Some(0), None).unwrap();
        chown(directory.at("a.plugin.toml"), Some(NOBODY), None).unwrap();
        directory.refuses("a.plugin.toml", reason);
        chown(directory.path(), Some(NOBODY), None).unwrap();
        directory.refuses(".", reason);
    }
}

#[test]
fn what_is_no_regular_file_is_refused_and_not_opened() {
    let directory = Directory::new();
    for (kind, words) in [("p", "a FIFO"), ("d", "a directory"), ("s", "a socket")] {
        let path = directory.at("a");
        match kind {
            "p" => assert!(Command::new("mkfifo").arg(&path).status().unwrap().success()),
            "d" => directory.directory("a"),
            _ => drop(std::os::unix::net::UnixListener::bind(&path).unwrap()),
        }
        directory.mode("a", 0o755);
        directory.put("a.plugin.toml", 0o644, "version = \"1.0.0\"\nprogram = \"a\"\n");
        directory.refuses("a.plugin.toml", &format!("its program a: it is {words}, expected a regular file"));
        std::fs::remove_file(directory.at("a.plugin.toml")).unwrap();
        std::fs::rename(&path, directory.at("a.plugin.toml")).unwrap();
        directory.refuses("a.plugin.toml", &format!("it is {words}, expected a regular file"));
        std::fs::remove_dir(directory.at("a.plugin.toml"))
            .or_else(|_| std::fs::remove_file(directory.at("a.plugin.toml")))
            .unwrap();
    }
}

#[test]
fn a_program_that_is_not_executable_is_refused() {
    let directory = Directory::new();
    directory.program("a", "a");
    directory.mode("a", 0o644);
    // Without a manifest it is any file.
    assert!(directory.scan().rejected.is_empty());
    directory.manifest("a.plugin.toml", "a");
    directory.refuses("a.plugin.toml", "its program a: it is not executable: its mode is 0644, expected one with 0111");
}

#[test]
fn a_program_that_is_not_there_is_refused() {
    let directory = Directory::new();
    directory.put("a.plugin.toml", 0o644, "version = \"1.0.0\"\nprogram = \"bin/a\"\n");
    directory.refuses("a.plugin.toml", "its program bin/a: there is no such file");
}

#[test]
fn a_manifest_that_is_too_large_is_refused_with_what_is_beside_it() {
    let directory = Directory::new();
    directory.program("a", "a");
    directory.program("b", "b");
    directory.put("a.plugin.toml", 0o644, vec![b'#'; (64 << 10) + 1]);
    let scan = directory.scan();
    assert_eq!(names(&scan), [""; 0]);
    let expected = [
        ("a.plugin.toml", "it has 65537 bytes, expected at most 65536"),
        ("b", "it is not executed: it may belong to the manifest a.plugin.toml, which is refused"),
    ];
    assert_eq!(directory.refusals(&scan), expected.map(|(path, reason)| (path.to_owned(), reason.to_owned())));
    assert_eq!(directory.runs(), 0);
}

#[test]
fn a_manifest_that_is_no_text_is_refused() {
    let directory = Directory::new();
    directory.program("a", "a");
    directory.put("a.plugin.toml", 0o644, b"# \xff");
    directory.refuses("a.plugin.toml", "it is no UTF-8: byte 2 is the first that is wrong");
}

#[test]
fn a_broken_manifest_keeps_its_program_and_what_it_mentions_from_being_executed() {
    let directory = Directory::new();
    for name in ["a", "tool", "c"] {
        directory.program(name, name);
    }
    directory.put("a.plugin.toml", 0o644, "version = \"1.0.0\"\nprogram = \"tool\"\nnonsense");
    let scan = directory.scan();
    assert_eq!(names(&scan), ["c"]);
    assert_eq!(directory.runs(), 1);
    let refusals = directory.refusals(&scan);
    assert!(refusals[0].0 == "a.plugin.toml" && refusals[0].1.contains("a.plugin.toml:3"), "{refusals:?}");
    let reason = "it is not executed: it may belong to the manifest a.plugin.toml, which is refused";
    assert_eq!(refusals[1..], [("tool".to_owned(), reason.to_owned())]);
}

#[test]
fn a_program_with_another_hash_is_refused_with_both() {
    let directory = Directory::new();
    directory.program("a", "a");
    directory.manifest("a.plugin.toml", "a");
    let before = std::fs::read(directory.at("a")).unwrap();
    directory.program("a", "other");
    let after = std::fs::read(directory.at("a")).unwrap();
    let reason = format!("its program a: its SHA-256 is {}, expected {}", hash(&after), hash(&before));
    directory.refuses("a.plugin.toml", &reason);
}

#[test]
fn a_file_that_cannot_be_read_is_refused() {
    let directory = Directory::new();
    directory.program("a", "a");
    directory.manifest("a.plugin.toml", "a");
    directory.mode("a", 0o111);
    // Root reads everything.
    if std::fs::read(directory.at("a")).is_err() {
        let reason = "its program a: cannot read it: Permission denied (os error 13)";
        directory.refuses("a.plugin.toml", reason);
        directory.mode("a.plugin.toml", 0);
        directory.refuses("a.plugin.toml", "cannot read it: Permission denied (os error 13)");
    }
}

#[test]
fn a_directory_that_is_not_there_is_refused_and_the_others_go_on() {
    let directory = Directory::new();
    directory.program("a", "a");
    directory.put("file", 0o644, "");
    let scan = Discovery::new([directory.at("none"), directory.at("file"), directory.at("")]).scan();
    assert_eq!(names(&scan), ["a"]);
    let expected = [("none", "there is no such file"), ("file", "it is no directory, expected a directory")];
    assert_eq!(directory.refusals(&scan), expected.map(|(path, reason)| (path.to_owned(), reason.to_owned())));
}

#[test]
fn two_plugins_of_one_name_are_the_first_and_a_refusal() {
    let [first, second] = [Directory::new(), Directory::new()];
    first.program("a", "a");
    second.program("tool", "a");
    second.manifest("a.plugin.toml", "tool");
    for (directories, taken, refused) in
        [([&first, &second], "a", "a.plugin.toml"), ([&second, &first], "a.plugin.toml", "a")]
    {
        let scan = Discovery::new(directories.map(Directory::path)).scan();
        assert_eq!(names(&scan), ["a"]);
        let (taken, refused) = (directories[0].at(taken), directories[1].at(refused));
        assert_eq!((&scan.found[0].path, &scan.rejected[0].path), (&taken, &refused));
        let reason = format!("there is a plugin a already, {}", taken.display());
        assert_eq!((scan.rejected.len(), scan.rejected[0].reason.to_string()), (1, reason));
    }
}
