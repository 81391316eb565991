//! What an operator has done.

use std::thread;

use rapace_host::{PluginSpec, PluginState};
use rapace_host_api::admin::AdminError;
use rapace_service::Error;

use crate::{Stand, eventually, plugin, spec};

#[test]
fn a_plugin_is_stopped_started_and_restarted() {
    let stand = Stand::new();
    let operator = stand.operator();
    let admin = operator.admin();
    let first = stand.plugin.process_id();
    let told = admin.stop("desk").unwrap();
    assert_eq!(told, "shutdown acknowledged, exited with code 0");
    assert_eq!((stand.plugin.state(), stand.plugin.process_id()), (PluginState::Stopped, None));
    assert_eq!(admin.stop("desk").unwrap(), "it did not run");
    admin.start("desk").unwrap();
    let second = stand.plugin.process_id();
    assert!(second.is_some() && second != first && stand.plugin.state() == PluginState::Running);
    // One that runs is left alone.
    admin.start("desk").unwrap();
    assert_eq!(stand.plugin.process_id(), second);
    admin.restart("desk").unwrap();
    let third = stand.plugin.process_id();
    assert!(third.is_some() && third != second && stand.plugin.state() == PluginState::Running);
    assert_eq!(stand.plugin.restarts(), 2);
    let unknown = AdminError::UnknownPlugin { name: "dusk".to_owned() };
    assert_eq!(admin.restart("dusk"), Err(Error::Service(unknown)));
}

#[test]
fn a_plugin_that_does_not_start_is_told_of() {
    let directory = crate::Directory::new();
    let program = directory.0.join("desk");
    std::os::unix::fs::symlink(std::env::current_exe().unwrap(), &program).unwrap();
    let spec = PluginSpec::new("desk", &program).arg("--exact").arg("plugin::plugin_process").arg("--nocapture");
    let stand = Stand::with(spec.env(plugin::ROLE, "desk"));
    let operator = stand.operator();
    let admin = operator.admin();
    let first = stand.plugin.process_id();
    std::fs::remove_file(&program).unwrap();
    let error = admin.reload("desk").unwrap_err().into_service().unwrap();
    assert!(
        matches!(&error, AdminError::NotReloaded { problem } if problem.ends_with("there is no such program")),
        "{error}"
    );
    assert_eq!(stand.plugin.process_id(), first);
    let error = admin.restart("desk").unwrap_err().into_service().unwrap();
    assert!(
        matches!(&error, AdminError::NotStarted { problem } if problem.ends_with("there is no such program")),
        "{error}"
    );
    assert_eq!(stand.plugin.state(), PluginState::Crashed);
}

#[test]
fn a_plugin_is_reloaded_and_no_call_is_lost() {
    let stand = Stand::with(spec("desk").env(plugin::VERSION, "one"));
    let operator = stand.operator();
    let first = stand.plugin.process_id();
    thread::scope(|scope| {
        let calls = scope.spawn(|| {
            let desk = stand.desk().blocking();
            (0..200).for_each(|_| assert_eq!(desk.version().unwrap(), "one"));
        });
        operator.admin().reload("desk").unwrap();
        calls.join().unwrap();
    });
    assert!(stand.plugin.process_id() != first);
    assert_eq!((stand.plugin.state(), stand.plugin.restarts()), (PluginState::Running, 0));
}

#[test]
fn an_action_is_done_though_nobody_waits_for_it() {
    let stand = Stand::new();
    let operator = stand.operator();
    let begun = || stand.plugin.state() != PluginState::Running;
    operator.session.block_on(async {
        let mut stopping = std::pin::pin!(operator.client.stop("desk"));
        std::future::poll_fn(|cx| {
            if begun() {
                return std::task::Poll::Ready(());
            }
            let _ = stopping.as_mut().poll(cx);
            cx.waker().wake_by_ref();
            std::task::Poll::Pending
        })
        .await;
    });
    drop(operator);
    eventually("it is stopped", || stand.plugin.state() == PluginState::Stopped);
}

#[test]
fn who_asks_for_much_at_once_is_served_in_turn() {
    let stand = Stand::new();
    thread::scope(|scope| {
        for _ in 0..6 {
            let operator = stand.operator();
            scope.spawn(move || (0..3).for_each(|_| operator.admin().restart("desk").unwrap()));
        }
    });
    assert_eq!((stand.plugin.state(), stand.plugin.restarts()), (PluginState::Running, 18));
}
