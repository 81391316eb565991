//! Lines of logs, those that are there and those that follow.

use rapace_host::PluginHandle;
use rapace_host_api::admin::{AdminError, LogItem, LogQuery, LogSource};

use crate::{Stand, eventually, own, plugin, spec};

fn query(plugin: Option<&str>, last: u32, follow: bool) -> LogQuery {
    LogQuery { plugin: plugin.map(str::to_owned), last, follow }
}

fn lines(plugin: &PluginHandle) -> usize {
    plugin.log_tail(usize::MAX).iter().filter(|line| own(line)).count()
}

#[test]
fn the_last_lines_are_told_over_all_lives() {
    let stand = Stand::new();
    let first = stand.plugin.process_id();
    stand.desk().blocking().print("first", 2).unwrap();
    eventually("both lines have come", || lines(&stand.plugin) == 2);
    stand.plugin.restart().unwrap();
    stand.desk().blocking().print("second", 1).unwrap();
    eventually("all lines have come", || lines(&stand.plugin) == 3);
    let operator = stand.operator();
    let admin = operator.admin();
    let told = |last| -> Vec<_> {
        let items = admin.logs(query(Some("desk"), last, false)).unwrap().map(|item| item.unwrap().unwrap());
        let line = |item| if let LogItem::Line(line) = item { line } else { panic!("{item:?}") };
        items.map(line).collect()
    };
    let all = told(1000);
    let own: Vec<_> = all.iter().filter(|line| own(line)).collect();
    let shown: Vec<_> = own.iter().map(|line| (line.text.clone(), line.process_id, line.source.clone())).collect();
    let second = stand.plugin.process_id();
    let expected = [
        ("desk: first 0", first, LogSource::Stdout),
        ("desk: first 1", first, LogSource::Stderr),
        ("desk: second 0", second, LogSource::Stdout),
    ];
    assert_eq!(shown.len(), expected.len());
    // Two pipes: which of them is read first is chance.
    for (text, process, source) in expected {
        assert!(shown.contains(&(text.to_owned(), process, source)), "{text} in {shown:?}");
    }
    assert!(all.windows(2).all(|pair| pair[0].number + 1 == pair[1].number));
    assert_eq!(told(2), all[all.len() - 2..]);
    assert!(told(0).is_empty());
    let unknown = admin.logs(query(Some("dusk"), 10, true)).unwrap().next().unwrap();
    assert_eq!(unknown, Ok(Err(AdminError::UnknownPlugin { name: "dusk".to_owned() })));
}

#[test]
fn lines_that_follow_are_told_as_they_come_also_of_plugins_that_come_later() {
    let stand = Stand::new();
    let operator = stand.operator();
    let admin = operator.admin();
    // With those that are there, since what is printed next may come before the host has heard the question.
    let mut items = admin.logs(query(None, 1000, true)).unwrap();
    let mut next = || match items.next().unwrap().unwrap().unwrap() {
        LogItem::Line(line) => line,
        missed => panic!("{missed:?}"),
    };
    let mut next_own = || loop {
        let line = next();
        if own(&line) {
            return (line.plugin, line.text);
        }
    };
    for round in 0..3 {
        stand.desk().blocking().print(&format!("round {round}"), 1).unwrap();
        assert_eq!(next_own(), ("desk".to_owned(), format!("desk: round {round} 0")));
    }
    let second = stand.host.load(spec("second")).unwrap();
    plugin::DeskClient::new(&second).blocking().print("hello", 1).unwrap();
    assert_eq!(next_own(), ("second".to_owned(), "desk: hello 0".to_owned()));
    stand.host.unload("second");
    let second = stand.host.load(spec("second")).unwrap();
    plugin::DeskClient::new(&second).blocking().print("again", 1).unwrap();
    assert_eq!(next_own(), ("second".to_owned(), "desk: again 0".to_owned()));
    drop(items);
    assert!(operator.session.calls_ended(crate::PATIENCE), "the stream has not ended");
}

#[test]
fn who_reads_slowly_is_told_how_much_he_has_missed() {
    const LINES: u32 = 20_000;
    let stand = Stand::new();
    let operator = stand.operator();
    let admin = operator.admin();
    stand.desk().blocking().print("start", 1).unwrap();
    let tail = |lines| stand.plugin.log_tail(lines);
    eventually("it has begun", || tail(1).iter().any(|line| own(line)));
    let mut items = admin.logs(query(Some("desk"), 1, true)).unwrap();
    let LogItem::Line(start) = items.next().unwrap().unwrap().unwrap() else { panic!("no line") };
    assert_eq!(start.text, "desk: start 0");
    stand.desk().blocking().print(&"x".repeat(100), LINES).unwrap();
    let last = start.number + u64::from(LINES);
    eventually("all has been printed", || tail(1)[0].number == last);
    let (mut told, mut missed, mut number) = (0, 0, start.number);
    while number < last {
        match items.next().unwrap().unwrap().unwrap() {
            LogItem::Line(line) => {
                assert_eq!(line.number, number + 1);
                (told, number) = (told + 1, number + 1);
            }
            LogItem::Missed { plugin, lines } => {
                assert_eq!(plugin, "desk");
                (missed, number) = (missed + lines, number + lines);
            }
        }
    }
    assert_eq!((told + missed, number), (u64::from(LINES), last));
    assert!(missed > u64::from(LINES) / 4, "{missed} missed, {told} told");
}
