//! What plugins print is logged line by line, kept within bounds, and read by one thread.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use rapace_host::{OutputLine, PluginHandle, PluginHost, StartCause, Stream};
use rapace_session::CallOptions;

use crate::plugin::PRINT;
use crate::{PATIENCE, config, gate, script, spec, with_patience};

#[test]
fn output_of_all_plugins_is_read_by_one_thread_and_harmless() {
    let (sender, lines) = mpsc::channel();
    let listener = move |line: &OutputLine<'_>| {
        let thread = thread::current();
        let line = (line.plugin.to_owned(), line.stream, line.text.to_owned());
        drop(sender.send((line, thread.name().map(str::to_owned), thread.id())));
    };
    let host = PluginHost::builder(config()).on_output(listener).build().unwrap();
    let names = ["one", "two", "three"];
    for name in names {
        let plugin = host.load(spec(name)).unwrap();
        plugin.call(PRINT, format!("here is {name}").as_bytes(), &CallOptions::new()).unwrap();
    }
    let mut due: HashSet<_> = names
        .into_iter()
        .flat_map(|name| {
            [Stream::Stdout, Stream::Stderr].map(|stream| (name.to_owned(), stream, format!("here is {name}")))
        })
        .collect();
    let mut threads = HashSet::new();
    while !due.is_empty() {
        let (line, name, id) = lines.recv_timeout(PATIENCE).unwrap();
        due.remove(&line);
        assert_eq!(name.as_deref(), Some("rapace-output"));
        threads.insert(id);
    }
    assert_eq!(threads.len(), 1);
}

#[test]
fn a_flood_is_cut_and_its_end_is_kept() {
    let flood = "head -c 3000000 /dev/zero | tr '\\0' x >&2; seq 100000 >&2; echo the last words >&2; exit 1";
    let host = with_patience(PATIENCE).build().unwrap();
    let error = host.load(script(flood)).unwrap_err();
    assert!(matches!(*error.cause, StartCause::Exited { .. }), "{error}");
    assert!(error.stderr.len() <= 8 << 10, "{} bytes", error.stderr.len());
    assert!(error.stderr.ends_with("\n99999\n100000\nthe last words"), "{error}");
    let shown = error.to_string();
    assert!(shown.contains("with\n  | 99992\n") && shown.ends_with("\n  | the last words"), "{shown}");
}

#[test]
fn the_last_words_of_a_plugin_are_heard() {
    let (sender, lines) = mpsc::channel();
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let listener = move |line: &OutputLine<'_>| {
        if line.stream == Stream::Stderr {
            drop(sender.send(line.text.to_owned()));
            // The thread hears nothing more until the plugin is gone.
            let _ = held.lock().unwrap().recv();
        }
    };
    let host = PluginHost::builder(config()).on_output(listener).build().unwrap();
    let plugin = host.load(spec("polite")).unwrap();
    plugin.call(PRINT, b"at work", &CallOptions::new()).unwrap();
    assert_eq!(lines.recv_timeout(PATIENCE).unwrap(), "at work");
    plugin.shutdown().unwrap();
    drop((plugin, release, host));
    assert_eq!(lines.into_iter().collect::<Vec<_>>(), ["thank you, and", "goodbye"]);
}

#[test]
fn a_listener_that_panics_does_not_stop_the_reading() {
    let (sender, lines) = mpsc::channel();
    let listener = move |line: &OutputLine<'_>| {
        drop(sender.send(line.text.to_owned()));
        assert!(!line.text.contains("panic"), "as it was told");
    };
    let host = PluginHost::builder(config()).on_output(listener).build().unwrap();
    let plugin = host.load(spec("plain")).unwrap();
    for text in ["panic now", "go on"] {
        plugin.call(PRINT, text.as_bytes(), &CallOptions::new()).unwrap();
        while lines.recv_timeout(PATIENCE).unwrap() != text {}
    }
}

#[test]
fn a_listener_may_kill_the_plugin_that_printed() {
    let slot: Arc<Mutex<Option<PluginHandle>>> = Arc::default();
    let (sender, crashes) = mpsc::channel();
    let to_kill = Arc::clone(&slot);
    let listener = move |line: &OutputLine<'_>| {
        if (line.stream, line.text) == (Stream::Stderr, "fatal") {
            let plugin = to_kill.lock().unwrap().take().unwrap();
            plugin.kill();
            drop(sender.send(plugin.crash()));
        }
    };
    let host = PluginHost::builder(config()).on_output(listener).build().unwrap();
    let plugin = host.load(spec("plain")).unwrap();
    *slot.lock().unwrap() = Some(plugin.clone());
    // It may be killed before it answers.
    let _ = plugin.call(PRINT, b"fatal", &CallOptions::new());
    let crash = crashes.recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!(crash.stderr, "fatal");
}

#[test]
fn a_descendant_that_keeps_the_pipes_does_not_hold_up_the_host() {
    // The descendant lives until the gate opens. Its shell has opened the file: later, the path may be that of another.
    let (_reader, writer, gate) = gate();
    let host = PluginHost::builder(config()).build().unwrap();
    let error = host.load(script(&format!("exec 9<{gate}; cat <&9 >/dev/null & echo gone >&2; exit 4"))).unwrap_err();
    assert_eq!(error.stderr, "gone");
    drop(writer);
}
