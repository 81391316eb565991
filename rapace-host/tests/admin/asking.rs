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
    assert_eq!((found.sessions.len(), found.crashes, found.restarts), (0, 1, 0));
    stand.plugin.scope().overrun(rapace_host::Limit::Calls, "a test");
    assert_eq!(admin.stats(None).unwrap()[0].overruns, [("calls".to_owned(), 1)]);
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
