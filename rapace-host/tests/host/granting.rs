//! What a plugin may call of its host, and how much of it at once.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use rapace_host::{Limit, Permissions, PluginHandle, PluginHost, PluginLimits, PluginSpec};
use rapace_macros::service;
use rapace_service::{Context, Services};
use rapace_session::{CallOptions, IncomingCall, Router};

use crate::plugin::ASK_MANY;
use crate::{PATIENCE, eventually, spec};
use rapace_session::Config;

const ANSWER: u32 = 3000;
const NAME: u32 = 3001;
const HOLD: u32 = 3002;

#[service(name = "test.Oracle", version = "1.0", provider = "host", crate = "rapace_service")]
trait Oracle {
    #[method(id = 3000)]
    async fn answer(&self) -> u8;
}

/// The method of another service.
#[service(name = "test.Prophet", version = "1.0", provider = "host", crate = "rapace_service")]
trait Prophet {
    #[method(id = 3000)]
    async fn foretell(&self) -> u8;
}

#[service(name = "test.Names", version = "1.0", provider = "host", crate = "rapace_service")]
trait Names {
    #[method(id = 3001)]
    async fn name(&self, ctx: &Context) -> String;
}

struct Answers(u8);

impl Oracle for Answers {
    async fn answer(&self) -> u8 {
        self.0
    }
}

impl Prophet for Answers {
    async fn foretell(&self) -> u8 {
        self.0
    }
}

/// The name of the plugin that is served.
struct Named(String);

impl Names for Named {
    async fn name(&self, _: &Context) -> String {
        self.0.clone()
    }
}

fn asking(plugin: &PluginHandle, method: u32, times: u8, body: &[u8]) -> Vec<String> {
    let request = [&method.to_le_bytes()[..], &[times], body].concat();
    let reply = plugin.call(ASK_MANY, &request, &CallOptions::new().deadline(PATIENCE)).unwrap();
    String::from_utf8(reply.body.to_vec()).unwrap().lines().map(str::to_owned).collect()
}

fn length(call: IncomingCall) {
    let bytes = call.body().len().to_le_bytes();
    call.reply(&bytes[..2]);
}

fn offering() -> PluginHost {
    let builder = PluginHost::builder(Config::new("test-host", "1.0.0"));
    let builder = builder.offer(|_| OracleServer::new(Answers(42)));
    builder.offer(|scope| NamesServer::new(Named(scope.name().to_owned()))).build().unwrap()
}

fn permitted(role: &str, services: &[&str]) -> PluginSpec {
    let services = services.iter().map(|service| (*service).to_owned()).collect();
    spec(role).permissions(Permissions { services, ..Permissions::default() })
}

#[test]
fn a_plugin_calls_the_services_that_its_permissions_name_and_no_others() {
    let host = offering();
    let trusted = host.load(spec("trusted")).unwrap();
    assert_eq!(asking(&trusted, ANSWER, 1, b""), ["[42]"]);
    assert_eq!(asking(&trusted, NAME, 1, b""), [format!("{:?}", b"\x07trusted")]);
    assert_eq!(asking(&trusted, 77, 1, b""), ["Unimplemented: method 77 is not served here"]);

    let granted = host.load(permitted("granted", &["Oracle"])).unwrap();
    assert_eq!(asking(&granted, ANSWER, 1, b""), ["[42]"]);
    let refused = ["PermissionDenied: test.Names.name is not among what this plugin may call"];
    assert_eq!(asking(&granted, NAME, 1, b""), refused);
    let unknown = ["PermissionDenied: no service that this plugin may call has a method 77"];
    assert_eq!(asking(&granted, 77, 1, b""), unknown);

    let bare = host.load(permitted("bare", &[])).unwrap();
    assert_eq!(asking(&bare, NAME, 1, b""), refused);
    assert_eq!(granted.scope().permissions().unwrap().services, ["Oracle"]);
    host.shutdown();
}

#[test]
fn a_service_of_the_users_takes_the_place_of_the_hosts_own() {
    let builder = PluginHost::builder(Config::new("test-host", "1.0.0"));
    let own = |_: &rapace_host::PluginScope| Services::new().add(OracleServer::new(Answers(7)));
    let builder = builder.services(own).offer(|_| OracleServer::new(Answers(42)));
    let builder = builder.offer(|scope| NamesServer::new(Named(scope.name().to_owned())));
    let host = builder.build().unwrap();
    let plugin = host.load(spec("p").requires("test.Names", rapace_registry::Version::new(1, 0))).unwrap();
    assert_eq!(asking(&plugin, ANSWER, 1, b""), ["[7]"]);
    assert_eq!(asking(&plugin, NAME, 1, b""), [format!("{:?}", b"\x01p")]);
    host.shutdown();
}

#[test]
fn a_method_of_the_users_or_one_that_was_offered_before_takes_the_place_of_a_service() {
    let prophet = |_: &rapace_host::PluginScope| Services::new().add(ProphetServer::new(Answers(7)));
    for (users, expected) in [(true, "[7]"), (false, "[8]")] {
        let builder = PluginHost::builder(Config::new("test-host", "1.0.0"));
        let builder = if users { builder.services(prophet) } else { builder };
        let builder = builder.offer(|_| OracleServer::new(Answers(8))).offer(|_| OracleServer::new(Answers(9)));
        let builder = builder.offer(|scope| NamesServer::new(Named(scope.name().to_owned())));
        let host = builder.build().unwrap();
        let plugin = host.load(spec("p")).unwrap();
        assert_eq!(asking(&plugin, ANSWER, 1, b""), [expected]);
        assert_eq!(asking(&plugin, NAME, 1, b""), [format!("{:?}", b"\x01p")]);
        host.shutdown();
    }
}

#[test]
fn calls_in_flight_beyond_the_limit_are_refused_and_those_of_another_plugin_are_served() {
    let held: Arc<Mutex<Vec<IncomingCall>>> = Arc::default();
    let holds = Arc::clone(&held);
    let services = move |_: &rapace_host::PluginScope| {
        let holds = Arc::clone(&holds);
        let router = Router::new().method(HOLD, move |call: IncomingCall| holds.lock().unwrap().push(call));
        router.method(ANSWER, |call: IncomingCall| call.reply(&[1]))
    };
    let host = PluginHost::builder(Config::new("test-host", "1.0.0")).services(services).build().unwrap();
    let limits = PluginLimits { calls: Some(2), ..PluginLimits::default() };
    let greedy = host.load(spec("greedy").limits(limits)).unwrap();
    let other = host.load(spec("other")).unwrap();
    let (sender, answers) = mpsc::channel();
    let asks = greedy.clone();
    let thread = std::thread::spawn(move || sender.send(asking(&asks, HOLD, 5, b"")).unwrap());
    eventually("three are refused", || greedy.scope().overruns(Limit::Calls) == 3);
    assert_eq!(asking(&other, ANSWER, 5, b""), ["[1]"; 5]);
    held.lock().unwrap().drain(..).for_each(|call| call.reply(&[2]));
    let mut answers = answers.recv().unwrap();
    thread.join().unwrap();
    answers.sort();
    assert_eq!(answers[3..], ["[2]"; 2]);
    for refused in &answers[..3] {
        assert!(refused.starts_with("ResourceExhausted: "), "{refused}");
        assert!(refused.ends_with(" calls are in flight, but at most 2 are served"), "{refused}");
    }
    assert_eq!((greedy.scope().overruns(Limit::Calls), other.scope().overruns(Limit::Calls)), (3, 0));
    host.shutdown();
}

#[test]
fn a_message_beyond_the_plugins_limit_is_refused_by_the_limits_name() {
    let services = |_: &rapace_host::PluginScope| Router::new().method(ANSWER, |call: IncomingCall| length(call));
    let host = PluginHost::builder(Config::new("test-host", "1.0.0")).services(services).build().unwrap();
    let limits = PluginLimits { message_bytes: Some(1000), ..PluginLimits::default() };
    let small = host.load(spec("small").limits(limits)).unwrap();
    let large = host.load(spec("large")).unwrap();
    assert_eq!(asking(&small, ANSWER, 1, &[0; 1000]), ["[232, 3]"]);
    assert_eq!(asking(&small, ANSWER, 1, &[0; 1001]), ["TooLarge { what: \"body\", found: 1001, bound: 1000 }"]);
    assert_eq!(asking(&large, ANSWER, 1, &[0; 1001]), ["[233, 3]"]);
    host.shutdown();
}
