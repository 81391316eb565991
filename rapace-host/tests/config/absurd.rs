//! Files that nobody would write: they end soon, in an error or not, and take no more than they are worth.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::example::{TOML, YAML};
use super::{Format, problems, read};

const BOTH: [Format; 2] = [Format::Toml, Format::Yaml];

/// The only thing that is wrong with a text begins so.
fn is_refused(format: Format, text: &str, told: &str) {
    let problems = problems(format, text);
    assert!(problems.len() == 1 && problems[0].contains(told) && problems[0].len() < 300, "{told}: {problems:.300?}");
}

#[test]
fn a_file_of_ten_mebibytes_is_too_large() {
    for format in BOTH {
        is_refused(format, &"#".repeat(10 << 20), ":1:1: has more than 1048576 bytes");
    }
}

#[test]
fn deep_nesting_is_bounded() {
    let lists = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    for depth in [1000, 100_000] {
        is_refused(Format::Toml, &format!("name = {}", lists(depth)), "max recursion depth met");
        is_refused(Format::Yaml, &format!("name: {}", lists(depth)), ":1:39: recursion limit exceeded");
        is_refused(Format::Yaml, &"- ".repeat(depth), "nested deeper than 32 levels");
        is_refused(Format::Toml, &format!("{}b = 1", "a.".repeat(depth)), "recursion limit");
        is_refused(Format::Toml, &format!("[{}b]", "a.".repeat(depth)), "recursion limit");
    }
    // Less than the parser's limit each, but more than ours together.
    let text = format!(
        "name = 'h'\nversion = '1'\n[plugins.p]\nprogram = 'p'\n[plugins.p.config.{}b]\nx = {}",
        "a.".repeat(25),
        lists(25)
    );
    is_refused(Format::Toml, &text, "nested deeper than 32 levels");
    let text = format!("name = 'h'\nversion = '1'\n[plugins.p]\nprogram = 'p'\nconfig = {}", lists(25));
    assert!(read(Format::Toml, &text).is_ok());
}

#[test]
fn what_a_parser_says_again_and_again_is_told_once() {
    let told = super::problems(Format::Toml, &format!("name = {}", "[".repeat(5000)));
    let mut once = told.clone();
    once.dedup();
    assert_eq!(told, once);
}

#[test]
fn nesting_within_the_bound_is_read_on_a_small_stack() {
    let text = format!(
        "name: h\nversion: '1'\nplugins: {{p: {{program: p, config: {}1{}}}}}",
        "{a: ".repeat(29),
        "}".repeat(29)
    );
    let read_all = move || (read(Format::Yaml, &text), read(Format::Toml, &format!("name = {}", "{a=".repeat(79))));
    let small = std::thread::Builder::new().stack_size(512 << 10).spawn(read_all).unwrap();
    let (yaml, toml) = small.join().unwrap();
    assert!(yaml.is_ok() && toml.is_err(), "{yaml:?} {toml:?}");
}

#[test]
fn a_billion_laughs_are_not_heard() {
    let mut text = "a: &a [ha, ha, ha]\n".to_owned();
    for (of, name) in ('a'..='y').zip('b'..='z') {
        writeln!(text, "{name}: &{name} [{}]", vec![format!("*{of}"); 9].join(", ")).unwrap();
    }
    is_refused(Format::Yaml, &text, ":1:7: anchors and aliases are not taken");
}

#[test]
fn huge_numbers_are_refused() {
    let digits = "9".repeat(10_000);
    for (number, told) in [
        (&*digits, "is a number of more than 64 bits"),
        ("18446744073709551616", "is a number of more than 64 bits"),
        ("1e999", "found 1e999, expected a finite number"),
        ("-inf", "found -inf, expected a finite number"),
        ("nan", "found nan, expected a finite number"),
    ] {
        let text = format!("name = 'h'\nversion = '1'\n[plugins.p]\nprogram = 'p'\nconfig.x = {number}");
        is_refused(Format::Toml, &text, &format!(":5:12: plugins.p.config.x: {told}"));
    }
    for (number, told) in [
        (&*digits, "value `999999"),
        ("1e999", "value `1e999` is not a finite number"),
        ("-.inf", "value `-.inf` is not a finite number"),
        (".nan", "value `.nan` is not a finite number"),
    ] {
        let text = format!("name: h\nversion: '1'\nplugins: {{p: {{program: p, config: {{x: {number}}}}}}}");
        is_refused(Format::Yaml, &text, &format!(":3:39: {told}"));
    }
    for duration in ["99999999999999999999s", "9999999999years", "101years"] {
        is_refused(
            Format::Toml,
            &format!("name = 'h'\nversion = '1'\ntimeouts.call = '{duration}'"),
            "expected a duration",
        );
    }
    for size in ["99999999999GiB", "18446744073709551616", "+1", "-1", "1.5KiB", "KiB", "1 2KiB"] {
        let text = format!("name = 'h'\nversion = '1'\nlimits.message_bytes_max = '{size}'");
        is_refused(Format::Toml, &text, "expected a size");
    }
}

#[test]
fn a_thousand_mistakes_are_told_in_part() {
    let mut toml = "name = 'h'\nversion = '1'\n".to_owned();
    let mut yaml = "name: h\nversion: '1'\n".to_owned();
    for number in 0..1000 {
        writeln!(toml, "x{number} = 1").unwrap();
        writeln!(yaml, "x{number}: 1").unwrap();
    }
    assert_eq!(problems(Format::Toml, &toml).len(), 32);
    assert_eq!(problems(Format::Yaml, &yaml).len(), 32);
}

#[test]
fn as_many_plugins_as_a_file_holds_are_read() {
    let mut toml = "name = 'h'\nversion = '1'\n".to_owned();
    for number in 0..10_000 {
        writeln!(toml, "[plugins.p{number}]\nprogram = 'p'").unwrap();
    }
    assert_eq!(read(Format::Toml, &toml).unwrap().plugins.len(), 10_000);
}

#[test]
fn a_long_text_is_told_in_part() {
    for format in BOTH {
        let long = "\u{1b}[31m\u{fc}".repeat(10_000);
        let text = match format {
            Format::Toml => format!("{:?} = 1", "\u{fc}".repeat(100_000)),
            Format::Yaml => format!("supervision: {{restart: \"{}\"}}", long.replace('\u{1b}', "\\e")),
        };
        for problem in problems(format, &text) {
            assert!(problem.len() < 700 && !problem.contains('\u{1b}'), "{problem}");
        }
    }
}

/// A text with bytes put in, taken out and changed.
fn damaged(text: &'static str) -> impl Strategy<Value = String> {
    let damage = prop::collection::vec(
        (any::<prop::sample::Index>(), 0..3_u8, "[\\x00-\\x7f\u{fc}]|\\$\\{|\\[\\[|: |- |&a |\\*a|'''"),
        1..8,
    );
    damage.prop_map(move |damage| {
        let mut text: Vec<char> = text.chars().collect();
        for (at, kind, with) in damage {
            let at = at.index(text.len());
            let until = if kind == 0 { at } else { (at + usize::from(kind) * 3).min(text.len()) };
            text.splice(at..until, with.chars());
        }
        text.into_iter().collect()
    })
}

/// What is read or refused, and where.
fn check_places(format: Format, text: &str) -> Result<(), TestCaseError> {
    let Err(rapace_host::ConfigError::Invalid { problems }) = read(format, text) else { return Ok(()) };
    prop_assert!((1..=32).contains(&problems.len()));
    // A carriage return of its own is an error of TOML, and ends a line of YAML.
    let text = if format == Format::Yaml { text.replace("\r\n", "\n").replace('\r', "\n") } else { text.to_owned() };
    let lines = text.split('\n').count();
    for problem in problems {
        prop_assert!((1..=lines).contains(&problem.line) && problem.column >= 1, "{problem}");
    }
    Ok(())
}

#[test]
fn a_carriage_return_is_counted_as_its_format_does() {
    let text = "name: h\rversion: '1'\r\nx: 1";
    assert_eq!(problems(Format::Yaml, text).len(), 1);
    assert!(problems(Format::Yaml, text)[0].starts_with("conf/host.yaml:3:1: x: is not a known field"));
    assert!(problems(Format::Toml, "name = 'h'\rx = 1")[0].starts_with("conf/host.toml:1:12: carriage return"));
    for text in [text, "name: h\r\r\rx", "name: h\rx: ["] {
        check_places(Format::Yaml, text).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_damaged_file_is_read_or_refused_with_its_places(toml in damaged(TOML), yaml in damaged(YAML)) {
        check_places(Format::Toml, &toml)?;
        check_places(Format::Yaml, &yaml)?;
    }
}
