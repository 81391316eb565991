//! Target `config`: files that a host reads, its own configuration in both formats and manifests.

use std::path::Path;

use rapace_host::{ConfigError, HostConfig, Manifest, Problem};

/// The longest text of a problem: a path of 32 steps and what was found, each cut, and all names that are known.
const PROBLEM_BYTES_MAX: usize = 32 << 10;

/// Reads the bytes as a file of a format that the first of them chooses.
///
/// A file is read, or refused with 1 to 32 problems, each of bounded length, in their order, and each at a line that the
/// file has. What is read is read again as the same.
pub fn config(data: &[u8]) {
    let Some((format, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let environment = |name: &str| (name == "HOME").then(|| "/home/ann".to_owned());
    match format % 3 {
        0 => twice(text, |text| HostConfig::from_toml(text, Path::new("host.toml"), environment).map_err(problems)),
        1 => twice(text, |text| HostConfig::from_yaml(text, Path::new("host.yaml"), environment).map_err(problems)),
        _ => twice(text, |text| Manifest::from_toml(text, Path::new("p.plugin.toml")).map_err(|error| error.problems)),
    }
}

fn problems(error: ConfigError) -> Vec<Problem> {
    match error {
        ConfigError::Invalid { problems } => problems,
        other => panic!("a text is no file: {other}"),
    }
}

fn twice<T: PartialEq + std::fmt::Debug>(text: &str, read: impl Fn(&str) -> Result<T, Vec<Problem>>) {
    let first = read(text);
    assert_eq!(first, read(text));
    let Err(problems) = first else { return };
    assert!((1..=32).contains(&problems.len()), "{} problems", problems.len());
    assert!(problems.is_sorted_by_key(|problem| (problem.line, problem.column)), "{problems:?}");
    // A line may end in a carriage return alone.
    let lines = text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count();
    for problem in problems {
        assert!((1..=lines).contains(&problem.line) && problem.column >= 1, "{problem}");
        assert!(problem.to_string().len() <= PROBLEM_BYTES_MAX, "{problem:.1000}");
    }
}
