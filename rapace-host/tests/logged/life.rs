//! What is logged of a plugin's life.

use std::time::Duration;

use rapace_host::{
    Backoff, Breaker, Permissions, PluginSpec, PluginState, RestartLimit, RestartPolicy, Supervision, Unresponsive,
};
use rapace_session::{Config, Timeouts};

use crate::log::{Line, of_plugin};
use crate::plugin::FrontClient;
use crate::{PATIENCE, builder, eventually, log, serving, spec};

/// The documentation.
const TABLE: &str = include_str!("../../src/log.md");

/// A row's levels, messages and fields.
fn rows() -> Vec<[Vec<&'static str>; 3]> {
    let quoted = |cell: &'static str| cell.split('`').skip(1).step_by(2).collect::<Vec<_>>();
    let row = |line: &'static str| {
        let cells: Vec<_> = line.split('|').collect();
        let [_, levels, messages, fields, ..] = &cells[..] else { return None };
        Some([levels.trim().split(", ").collect(), quoted(messages), quoted(fields)])
    };
    TABLE.lines().filter_map(row).skip(2).collect()
}

/// Each line has a row in the documentation, with its level and all its fields.
#[track_caller]
fn is_documented(line: &Line) {
    let message = line.field("message");
    let is_output = line.target == "rapace_host::output";
    let means =
        |known: &str| known == message || known.strip_suffix("...").is_some_and(|start| message.starts_with(start));
    let row = rows().into_iter().find(|[_, messages, fields]| match is_output {
        true => messages.is_empty() && fields.contains(&"stream"),
        false => messages.iter().any(|known| means(known)),
    });
    let [levels, _, fields] = row.unwrap_or_else(|| panic!("{message:?} is not in src/log.md"));
    let level = line.level.as_str().to_ascii_lowercase();
    assert!(levels.contains(&&*level), "{message:?} is logged at level {level}, but documented at {levels:?}");
    for field in line.fields.keys().filter(|field| **field != "message") {
        assert!(fields.contains(field), "{message:?} has an undocumented field {field}");
    }
}

/// What the host has said of a plugin, without what it has printed: a letter for the level, and the message; of a state that.
pub(crate) fn said(plugin: &str) -> Vec<String> {
    let lines = of_plugin(plugin);
    lines.iter().for_each(is_documented);
    let own = lines.iter().filter(|line| line.target != "rapace_host::output");
    let words = |line: &Line| match line.field("message") {
        "state" => line.field("state").to_owned(),
        message => format!("{} {message}", &line.level.as_str()[..1]),
    };
    own.map(words).collect()
}

/// Waits until it has all been said, in this order, and nothing else.
#[track_caller]
fn check(plugin: &str, expected: &[&str]) {
    let start = std::time::Instant::now();
    while said(plugin).len() < expected.len() && start.elapsed() < PATIENCE {
        std::thread::yield_now();
    }
    assert_eq!(said(plugin), expected);
}

fn restarts(restarts: u32) -> Supervision {
    let short = Duration::from_millis(1);
    Supervision {
        restart: RestartPolicy::OnFailure,
        backoff: Backoff { first: short, most: short, ..Backoff::default() },
        limit: RestartLimit { restarts, window: Duration::from_secs(3600) },
        ..Supervision::default()
    }
}

const LOADED: [&str; 2] = ["Discovered", "Verified"];
const STARTS: [&str; 4] = ["I started", "Connected", "Initializing", "Running"];
const STOPS: [&str; 5] = ["Draining", "ShuttingDown", "I is told to shut down", "I shut down", "Stopped"];

#[test]
fn a_life_is_told_from_its_begin_to_its_end() {
    log::listen();
    let host = builder().build().unwrap();
    let plugin = host.load(spec("living").supervision(restarts(1))).unwrap();
    let mut expected = [&LOADED[..], &STARTS].concat();
    check("living", &expected);
    // A crash, and a restart.
    let pid = plugin.process_id();
    let client = FrontClient::new(&plugin);
    assert!(client.blocking().exit(3).is_err());
    expected.extend(["Crashed", "W crashed", "Backoff", "I will be started again"]);
    expected.extend(STARTS);
    check("living", &expected);
    // What is said of it names the process and why it ended.
    let crashed = of_plugin("living").into_iter().find(|line| line.field("message") == "crashed").unwrap();
    assert_eq!(crashed.field("pid"), pid.unwrap().to_string());
    assert!(crashed.field("report").contains("exited with code 3"), "{crashed:?}");
    // Another one is too many.
    eventually("it was started again", || plugin.state() == PluginState::Running);
    assert!(client.blocking().exit(4).is_err());
    let quarantine = "E has crashed too often: it is in quarantine, and started by hand only";
    expected.extend(["Crashed", "W crashed", "Quarantined", quarantine]);
    check("living", &expected);
    // By hand, into another version, to its end.
    plugin.restart().unwrap();
    expected.extend(STARTS);
    host.reload(&plugin, spec("living")).unwrap();
    expected.push("I is being reloaded");
    expected.extend(LOADED.iter().chain(&STARTS).chain(&STOPS));
    expected.push("I is reloaded");
    host.unload("living").unwrap();
    expected.extend(STOPS);
    expected.push("I is unloaded");
    check("living", &expected);
    host.shutdown();
    check("living", &expected);
}

#[test]
fn what_does_not_start_is_told_once() {
    log::listen();
    let host = builder().build().unwrap();
    assert!(host.load(PluginSpec::new("absent", "/nowhere/at/all")).is_err());
    check("absent", &["Discovered", "Verified", "W did not start", "Crashed"]);
    assert!(host.load(spec("never-ready")).is_err());
    let started = ["Discovered", "Verified", "I started", "Connected", "Initializing"];
    check("never-ready", &[&started[..], &["W did not start", "Crashed"]].concat());
    // A version that does not start leaves the old one where it is.
    let plugin = host.load(spec("kept")).unwrap();
    host.reload(&plugin, PluginSpec::new("kept", "/nowhere/at/all")).unwrap_err();
    let reloads = ["I is being reloaded", "Discovered", "Verified", "W did not start", "Crashed"];
    let refused = ["W is not reloaded: the old version goes on"];
    check("kept", &[&LOADED[..], &STARTS, &reloads, &refused].concat());
    host.shutdown();
}

#[test]
fn hangs_kills_and_what_is_refused_are_told() {
    log::listen();
    let timeouts = Timeouts { liveness: Duration::from_millis(50), ..Timeouts::default() };
    let config = Config { timeouts, ..Config::new("test-host", "1.0.0") };
    let host = serving(config).build().unwrap();
    let supervision = Supervision { unresponsive: Unresponsive::Kill, ..Supervision::default() };
    let hanging = host.load(spec("hanging").supervision(supervision)).unwrap();
    assert!(FrontClient::new(&hanging).with_deadline(PATIENCE).blocking().hang().is_err());
    let killed = ["W is unresponsive", "W is killed, because it is unresponsive", "Crashed", "W crashed"];
    // A machine that is slow may have it late more often, before it hangs.
    eventually("it is killed", || said("hanging").ends_with(&killed.map(str::to_owned)));

    let spec = spec("restricted").permissions(Permissions::default());
    let breaker = Breaker { failures: 2, open: Duration::from_secs(3600) };
    let plugin = host.load(spec.supervision(Supervision { breaker: Some(breaker), ..Supervision::default() })).unwrap();
    let client = FrontClient::new(&plugin).with_deadline(PATIENCE);
    // The third is no news; the fourth is, as twice as many are.
    assert_eq!(client.blocking().ask(4).unwrap().0, 0);
    let is_refused = |line: &Line| line.field("message") == "a call is refused";
    let refusals: Vec<_> = of_plugin("restricted").into_iter().filter(is_refused).collect();
    assert_eq!(refusals.iter().map(|line| line.field("times")).collect::<Vec<_>>(), ["1", "2", "4"]);
    assert!(refusals[0].field("reason").starts_with("test.Back.double is not among"), "{refusals:?}");
    assert!(client.blocking().fail().is_err() && client.blocking().fail().is_err());
    plugin.kill();
    let lines = said("restricted");
    for line in ["W too many calls have failed: the breaker opens", "W is killed, because somebody asked for it"] {
        assert!(lines.iter().any(|said| said == line), "{lines:?}");
    }
    host.shutdown();
}
