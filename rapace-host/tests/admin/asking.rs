//! What an operator is told.

use rapace_host::{Permissions, PluginHost, PluginLimits};
use rapace_host_api::admin::{AdminError, HealthState};
use rapace_registry::{MethodId, Registry};
use rapace_service::Error;
use rapace_session::Config;

use crate::{Directory, Operator, Stand, eventually, spec};

#[test]
fn plugins_are_listed_with_their_processes() {
    let stand = Stand::new();
    let operator = stand.operator();
    let admin = operator.admin();
    let [found] = admin.list().unwrap().try_into().unwrap();
    assert_eq!((&*found.name, &*found.state, found.health), ("desk", "Running", HealthState::Healthy));
    assert_eq!((found.restarts, found.crashes), (0, 0));
    let [instance] = found.instances.try_into().unwrap();
    assert_eq!((instance.number, &*instance.state), (0, "Running"));
    assert_eq!((instance.process_id, instance.calls_in_flight), (stand.plugin.process_id(), 0));
    let pending = stand.plugin.session().unwrap().start(wait_id(), b"", &Default::default()).unwrap();
    assert_eq!(admin.list().unwrap()[0].instances[0].calls_in_flight, 1);
    drop(pending);
    stand.plugin.kill();
    let found = &admin.list().unwrap()[0];
    assert_eq!((&*found.state, found.health, found.crashes), ("Crashed", HealthState::Unhealthy, 1));
    assert_eq!(found.instances[0].process_id, None);
    stand.plugin.restart().unwrap();
    let found = &admin.list().unwrap()[0];
    assert_eq!((&*found.state, found.restarts), ("Running", 1));
}

fn wait_id() -> u32 {
    MethodId::derived("test.Desk", "wait").get()
}

#[test]
fn a_plugin_is_described_in_text_and_as_data() {
    let permissions = Permissions { read: vec!["/usr/share".into()], network: true, ..Permissions::default() };
    let limits = PluginLimits { calls: Some(7), ..PluginLimits::default() };
    let stand = Stand::with(spec("desk").permissions(permissions.clone()).limits(limits.clone()));
    let operator = stand.operator();
    let admin = operator.admin();
    let found = admin.about("desk").unwrap();
    assert_eq!(found.program, std::env::current_exe().unwrap().display().to_string());
    assert_eq!(serde_json::from_str::<Permissions>(&found.permissions.unwrap()).unwrap(), permissions);
    assert_eq!(serde_json::from_str::<PluginLimits>(&found.limits).unwrap(), limits);
    assert!(found.supervision.contains("restart: Never"), "{}", found.supervision);
    assert_eq!((found.breaker, found.crashes), (None, Vec::new()));
    let desk = found.services.iter().find(|service| service.name == "test.Desk").unwrap();
    let divide = desk.methods.iter().find(|method| method.name == "divide").unwrap();
    assert_eq!(divide.signature, "divide(dividend: i64, divisor: i64) -> Result<i64, String>");
    let registry = Registry::from_bytes(&found.registry).unwrap();
    let (_, by_id) = registry.method(MethodId::new(divide.id).unwrap()).unwrap();
    assert_eq!(by_id.name(), "divide");

    let unknown = admin.about("desks").unwrap_err().into_service().unwrap();
    assert_eq!(unknown, AdminError::UnknownPlugin { name: "desks".to_owned() });
    stand.plugin.shutdown();
    let found = admin.about("desk").unwrap();
    assert_eq!((&*found.summary.state, found.services.len(), found.registry.len()), ("Stopped", 0, 0));
}

#[test]
fn what_is_counted_is_told() {
    let stand = Stand::new();
    let operator = stand.operator();
    let admin = operator.admin();
    let frames = || {
        let [found] = admin.stats(Some("desk".to_owned())).unwrap().try_into().unwrap();
        let [session] = found.sessions.try_into().unwrap();
        assert_eq!((session.instance, session.ring_capacity, session.faults), (0, 64, 0));
        assert!(session.slots_free > 0 && session.slots_free <= session.slot_count, "{session:?}");
        session.frames_received
    };
    let before = frames();
    let desk = stand.desk().blocking();
    (0..10).for_each(|_| drop(desk.echo("hello").unwrap()));
    assert!(frames() >= before + 10);
    assert_eq!(admin.stats(None).unwrap().len(), 1);
    let unknown = admin.stats(Some(String::new())).unwrap_err();
    assert!(matches!(unknown, Error::Service(AdminError::UnknownPlugin { .. })));
    stand.plugin.kill();
    let found = &admin.stats(None).unwrap()[0];
    assert_eq!((found.sessions.len(), found.crashes, found.restarts, found.starts), (0, 1, 0, 1));
    assert_eq!((found.usage, found.cpu_ms.is_some()), (None, true));
    stand.plugin.scope().overrun(rapace_host::Limit::Calls, "a test");
    assert_eq!(admin.stats(None).unwrap()[0].overruns, [("calls".to_owned(), 1)]);
}

#[test]
fn what_is_counted_of_calls_is_told_by_method() {
    let stand = Stand::new();
    let operator = stand.operator();
    let admin = operator.admin();
    let desk = stand.desk().blocking();
    (0..3).for_each(|_| drop(desk.echo("hello").unwrap()));
    let pending = stand.plugin.session().unwrap().start(wait_id(), b"", &Default::default()).unwrap();
    let late = rapace_session::CallOptions::new().deadline(std::time::Duration::from_millis(1));
    stand.plugin.call(wait_id(), b"", &late).unwrap_err();
    let [found] = admin.stats(None).unwrap().try_into().unwrap();
    let of = |name: &str| {
        let method = found.methods.iter().find(|method| (&*method.side, &*method.method) == ("host", name));
        method.unwrap_or_else(|| panic!("no {name} in {found:?}"))
    };
    let echo = of("test.Desk.echo");
    assert_eq!((echo.ok, echo.errors.len(), echo.in_flight), (3, 0, 0));
    assert_eq!((echo.request_bytes, echo.reply_bytes), (18, 18));
    let times = echo.latency.unwrap();
    assert!(times.p50_ns > 0 && times.p50_ns <= times.p90_ns && times.p99_ns <= times.max_ns, "{times:?}");
    let wait = of("test.Desk.wait");
    assert_eq!((wait.ok, wait.in_flight), (0, 1));
    assert_eq!(wait.errors, [("DeadlineExceeded".to_owned(), 1)]);
    let usage = found.usage.unwrap();
    assert!(usage.memory_bytes > 0 && usage.processes > 0, "{usage:?}");
    assert!(found.cpu_ms >= Some(usage.cpu_ms));
    drop(pending);
}

#[test]
fn what_a_process_is_held_by_is_told_in_words() {
    let limits = PluginLimits { open_files: Some(100), ..PluginLimits::default() };
    let stand = Stand::with(spec("desk").limits(limits));
    // Its program and what that needs to run may be read anywhere.
    let read = Permissions { read: vec!["/".into()], ..Permissions::default() };
    stand.host.load(spec("confined").permissions(read)).unwrap();
    let operator = stand.operator();
    let admin = operator.admin();
    let [trusted] = admin.about("desk").unwrap().bounds.try_into().unwrap();
    assert_eq!((trusted.number, trusted.sandbox), (0, None));
    assert_eq!(trusted.enforcement.as_deref(), Some("open_files by a limit of each process"));
    let [confined] = admin.about("confined").unwrap().bounds.try_into().unwrap();
    let report = stand.host.plugin("confined").unwrap().instances()[0].sandbox.clone().unwrap();
    assert_eq!((confined.sandbox, confined.enforcement), (Some(report.to_string()), None));
    stand.plugin.shutdown();
    assert_eq!(admin.about("desk").unwrap().bounds, []);
}

#[test]
fn health_is_that_of_the_host_and_of_each_plugin() {
    let stand = Stand::new();
    let second = stand.host.load(spec("second")).unwrap();
    let operator = stand.operator();
    let admin = operator.admin();
    let health = || {
        let found = admin.health().unwrap();
        let plugins = found.plugins.iter().map(|plugin| (plugin.plugin.clone(), plugin.health, plugin.is_ready));
        (found.host, plugins.collect::<Vec<_>>())
    };
    let (fine, ill) = (HealthState::Healthy, HealthState::Unhealthy);
    assert_eq!(health(), (fine, vec![("desk".to_owned(), fine, true), ("second".to_owned(), fine, true)]));
    second.kill();
    let found = health();
    assert_eq!(
        found,
        (HealthState::Degraded, vec![("desk".to_owned(), fine, true), ("second".to_owned(), ill, false)])
    );
}

#[test]
fn a_host_that_shuts_down_says_so_and_one_that_is_dropped_ends_the_session() {
    let directory = Directory::new();
    let host = PluginHost::builder(Config::new("test-host", "1.0.0")).build().unwrap();
    let point = host.admin_at(directory.0.join("admin.sock")).unwrap();
    let operator = Operator::at(&point);
    let admin = operator.admin();
    host.shutdown();
    assert_eq!(admin.about("desk").unwrap_err(), Error::Service(AdminError::ShuttingDown));
    assert_eq!(admin.stats(None).unwrap_err(), Error::Service(AdminError::ShuttingDown));
    drop(host);
    eventually("the session's end", || operator.session.serve_for(std::time::Duration::from_millis(1)).is_some());
    eventually("the socket is gone", || !point.path().exists());
}
