//! From `initialize` to `shutdown`, in the test's process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rapace_macros::service;
use rapace_plugin::testing::{FakeHost, TestPlugin};
use rapace_plugin::{MainError, PluginMain};
use rapace_registry::Service;
use rapace_service::Services;
use rapace_session::{AsCaller, CallError, CallOptions, Code, Status};

use crate::contract::{Log, Manners, Polite, WorkerClient, WorkerServer, echo, manners, note, polite};

const EXPORT_STATE: u32 = 2003;
const IMPORT_STATE: u32 = 2004;
const IS_IDLE: u32 = 2005;
const PING: u32 = 2006;

/// A service by the name of that which all plugins have.
#[service(name = "rapace.Plugin", version = "1.0", provider = "plugin", crate = "rapace_service")]
trait Processor {
    #[method(id = 2001)]
    async fn process(&self, number: u32) -> u32;
}

struct Doubler;

impl Processor for Doubler {
    async fn process(&self, number: u32) -> u32 {
        number * 2
    }
}

fn call(plugin: &TestPlugin, method: u32, body: &[u8]) -> Result<Vec<u8>, Status> {
    match plugin.as_caller().call_blocking(method, body, &CallOptions::new()) {
        Ok(reply) => Ok(reply.body.into_vec()),
        Err(CallError::Status(status)) => Err(status),
        Err(error) => panic!("{error}"),
    }
}

fn refused(code: Code, message: &str) -> Result<(), CallError> {
    Err(CallError::Status(Status::new(code, message)))
}

#[test]
fn services_are_made_of_the_configuration() {
    let plugin = FakeHost::new().config(&manners("Good day")).start(polite());
    assert_eq!(plugin.initialized(), Ok(()));
    assert_eq!(WorkerClient::new(&plugin).blocking().greet("host").unwrap(), "Good day, host!");
    assert!(plugin.shut_down().is_ok());
}

#[test]
fn a_configuration_that_is_wrong_is_refused_by_field_line_and_column() {
    let plugin = FakeHost::new().raw_config("{\n  \"greeting\": 7\n}").start(polite());
    let message = "configuration: greeting: invalid type: integer `7`, expected a string at line 2 column 15";
    assert_eq!(plugin.initialized(), refused(Code::InvalidArgument, message));
    let error = WorkerClient::new(&plugin).blocking().greet("host").unwrap_err();
    assert_eq!(
        error.to_string(),
        "FailedPrecondition: test.Worker is not ready: what makes it, as initialize does, has not come, or has failed"
    );
    let again = plugin.session().call_lifecycle(2000, b"{}", &CallOptions::new()).map(drop);
    assert_eq!(again, refused(Code::FailedPrecondition, "initialize comes once"));
    assert_eq!(call(&plugin, EXPORT_STATE, b"").unwrap_err().code, Code::FailedPrecondition);
}

#[test]
fn bytes_may_be_the_configuration() {
    let main = PluginMain::new("raw", "1").raw_config().setup(|ctx| match &ctx.config()[..] {
        [1, 2] => Ok(()),
        other => Err(format!("{other:?} is no configuration").into()),
    });
    let plugin = FakeHost::new().raw_config([1, 2, 3]).start(main);
    assert_eq!(plugin.initialized(), refused(Code::FailedPrecondition, "[1, 2, 3] is no configuration"));
}

#[test]
fn a_part_of_the_setup_that_fails_leaves_nothing_to_call() {
    let log = Log::default();
    let told = Arc::clone(&log);
    let main = polite()
        .background(move |_| async move { note(&told, "a task has begun") })
        .setup(|_| Err(Status::new(Code::NotFound, "no window").into()));
    let plugin = FakeHost::new().config(&manners("Hello")).start(main);
    assert_eq!(plugin.initialized(), refused(Code::NotFound, "no window"));
    let error = WorkerClient::new(&plugin).blocking().greet("host").unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(plugin.shut_down().is_ok());
    assert!(log.lock().unwrap().is_empty());
}

#[test]
fn a_setup_may_call_the_host() {
    let (oracle, asked) = echo();
    let main = polite().setup(|ctx| {
        let answer = crate::contract::OracleClient::new(ctx).blocking().answer("who")?;
        if answer == "who?" { Ok(()) } else { Err(answer.into()) }
    });
    let host = FakeHost::new().config(&manners("Hello")).services(Services::new().add(oracle));
    let plugin = host.start(main);
    assert_eq!(plugin.initialized(), Ok(()));
    assert_eq!(WorkerClient::new(&plugin).blocking().ask("what").unwrap(), "what?");
    assert_eq!(asked.try_iter().collect::<Vec<_>>(), ["who", "what"]);
}

#[test]
fn a_ping_is_answered_and_an_idle_plugin_says_so() {
    let plugin = FakeHost::new().config(&manners("Hello")).start(polite());
    assert_eq!(call(&plugin, PING, b""), Ok(Vec::new()));
    assert_eq!(call(&plugin, IS_IDLE, b""), Ok(vec![1]));
}

#[test]
fn a_call_or_work_in_progress_is_no_idleness() {
    let (give, work) = std::sync::mpsc::channel();
    let main = polite().setup(move |ctx| Ok(give.send(ctx.work())?));
    let plugin = FakeHost::new().config(&manners("Hello")).start(main);
    assert_eq!(call(&plugin, IS_IDLE, b""), Ok(vec![0]));
    drop(work.recv());
    assert_eq!(call(&plugin, IS_IDLE, b""), Ok(vec![1]));
    // The request is ahead of the question.
    let waits = plugin.session().start(11, b"", &CallOptions::new()).unwrap();
    assert_eq!(call(&plugin, IS_IDLE, b""), Ok(vec![0]));
    drop(waits);
}

#[test]
fn a_state_is_handed_over() {
    let main = || {
        let count = Arc::new(AtomicU64::new(7));
        let taken = Arc::clone(&count);
        PluginMain::new("counter", "1")
            .export_state(move |_| count.fetch_add(1, Ordering::Relaxed).to_le_bytes().to_vec())
            .import_state(move |_, state| {
                let state = state.try_into().map_err(|_| Status::new(Code::DataLoss, "another version's"))?;
                taken.store(u64::from_le_bytes(state), Ordering::Relaxed);
                Ok(())
            })
    };
    let [old, new] = [main(), main()].map(|main| FakeHost::new().start(main));
    call(&old, EXPORT_STATE, b"").unwrap();
    let state = call(&old, EXPORT_STATE, b"").unwrap();
    assert_eq!(postcard::from_bytes::<Vec<u8>>(&state).unwrap(), 8_u64.to_le_bytes());
    assert_eq!(call(&new, IMPORT_STATE, &state), Ok(Vec::new()));
    assert_eq!(call(&new, EXPORT_STATE, b""), Ok(state));
    for (body, code) in [(&[][..], Code::InvalidArgument), (&[2, 0], Code::InvalidArgument), (&[0], Code::DataLoss)] {
        assert_eq!(call(&new, IMPORT_STATE, body).unwrap_err().code, code, "{body:?}");
    }
    assert_eq!(call(&new, IMPORT_STATE, &[0, 0]).unwrap_err().code, Code::InvalidArgument);
}

/// The methods of the plugin's own life that its registry has.
fn described(plugin: &TestPlugin) -> Vec<String> {
    let registry = &plugin.session().peer().registry;
    let methods = registry.service("rapace.Plugin").into_iter().flat_map(Service::methods);
    methods.map(|method| format!("{} is {}", method.id(), method.signature())).collect()
}

#[test]
fn who_has_a_state_says_so_when_it_meets_its_host() {
    let exporter = || PluginMain::new("exporter", "1").export_state(|_| Vec::new());
    let importer = PluginMain::new("importer", "1").import_state(|_, _| Ok(()));
    let [both, exporter, importer] = [exporter().import_state(|_, _| Ok(())), exporter(), importer]
        .map(|main| described(&FakeHost::new().start(main)));
    assert_eq!(exporter, ["2003 is export_state() -> Vec<u8>"]);
    assert_eq!(importer, ["2004 is import_state(Vec<u8>) -> ()"]);
    assert_eq!(both, [exporter, importer].concat());
}

#[test]
fn a_service_of_the_program_by_the_name_of_its_life_is_described_with_it() {
    let main = PluginMain::new("processor", "1").serve(ProcessorServer::new(Doubler)).export_state(|_| Vec::new());
    let plugin = FakeHost::new().start(main);
    assert_eq!(described(&plugin).len(), 2);
    assert_eq!(ProcessorClient::new(&plugin).blocking().process(4).unwrap(), 8);
}

#[test]
fn who_has_no_state_says_so() {
    let plugin = FakeHost::new().start(PluginMain::new("stateless", "1"));
    assert!(described(&plugin).is_empty());
    for method in [EXPORT_STATE, IMPORT_STATE] {
        assert_eq!(call(&plugin, method, &[0]).unwrap_err().code, Code::Unimplemented);
    }
}

#[test]
fn several_services_share_a_plugin_and_none_has_a_method_of_its_life() {
    let (oracle, _asked) = echo();
    let main = PluginMain::new("both", "1").serve(oracle).config::<Manners>();
    let main = main.serve_with(|ctx| Ok(WorkerServer::new(Polite(ctx.clone()))));
    let plugin = FakeHost::new().config(&manners("Hello")).start(main);
    assert_eq!(crate::contract::OracleClient::new(&plugin).blocking().answer("why").unwrap(), "why?");
    assert_eq!(WorkerClient::new(&plugin).blocking().greet("you").unwrap(), "Hello, you!");
}

#[test]
fn a_service_with_a_method_of_the_life_is_refused() {
    #[rapace_macros::service(name = "test.Ping", version = "1.0", provider = "plugin", crate = "rapace_service")]
    trait Ping {
        #[method(id = 2006)]
        async fn ping(&self);
    }
    struct Impl;
    impl Ping for Impl {
        async fn ping(&self) {}
    }
    let (_host, socket) = rapace_core::socket::Socket::pair().unwrap();
    let error = PluginMain::new("clash", "1").serve(PingServer::new(Impl)).run_on(socket).unwrap_err();
    assert!(matches!(error, MainError::OwnMethod { id: 2006, .. }), "{error}");
    assert_eq!(error.to_string(), "test.Ping.ping has the id 2006, which is of the life of plugins");
}
