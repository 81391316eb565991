//! What a configuration puts around calls.

use std::path::Path;
use std::time::Duration;

use rapace_host::{
    CallRate, CallRules, CallerSide, CallsConfig, HostConfig, Limit, PluginHandle, PluginSpec, Switch, Token,
};
use rapace_service::dynamic::DynamicClient;
use rapace_service::intercept::{CallSide, MetricsSnapshot};
use rapace_service::{BuiltIn, Services};
use rapace_session::{AsCaller, CallOptions, Code};
use tracing::Level;

use crate::plugin::{FrontClient, FrontServer, HOST_TOKEN, NAME, Plugged, TOKEN};
use crate::{builder, log, spec};

/// The answers of one who has asked its host so many times.
fn ask(plugin: &PluginHandle, times: u32) -> (u32, Vec<String>) {
    FrontClient::new(plugin).with_deadline(crate::PATIENCE).blocking().ask(times).unwrap()
}

/// Calls per day, so that a test that takes its time finds no more.
fn daily(calls: u32) -> CallRate {
    CallRate::new(calls, Duration::from_secs(24 * 3600)).unwrap()
}

fn incoming(incoming: CallRules) -> CallsConfig {
    CallsConfig { incoming, ..CallsConfig::default() }
}

#[test]
fn a_plugin_over_its_rate_is_refused_while_another_is_served() {
    let host = builder().calls(incoming(CallRules { metrics: Some(true), ..CallRules::default() })).build().unwrap();
    let version = |calls| {
        let rules = CallRules { rate: Some(Switch::On(daily(calls))), ..CallRules::default() };
        spec("chatty").calls(incoming(rules))
    };
    let chatty = host.load(version(5)).unwrap();
    let other = host.load(spec("not-chatty")).unwrap();
    let (went_well, refusals) = ask(&chatty, 8);
    assert_eq!((went_well, refusals.len()), (5, 3));
    let reason = "ResourceExhausted: test.Back.double is called too often: all methods together may be called 5 times per \
                  86400s, 5 at once; retry in ";
    assert!(refusals.iter().all(|refusal| refusal.starts_with(reason)), "{refusals:?}");
    assert_eq!(chatty.scope().overruns(Limit::CallRate), 3);
    assert_eq!((ask(&other, 8), other.scope().overruns(Limit::CallRate)), ((8, vec![]), 0));
    // A new process has no more.
    chatty.restart().unwrap();
    assert_eq!(ask(&chatty, 1).0, 0);
    // What was counted agrees, over both processes.
    let row = |plugin: &PluginHandle| {
        let MetricsSnapshot { methods } = plugin.call_metrics().unwrap();
        let [row] = &methods[..] else { panic!("{methods:?}") };
        assert_eq!((row.service, row.method, row.side, row.in_flight), ("test.Back", "double", CallSide::Callee, 0));
        (row.ok, row.errors.clone())
    };
    assert_eq!(row(&chatty), (5, vec![(Code::ResourceExhausted, 4)]));
    assert_eq!(row(&other), (8, vec![]));
    // Another version has a rate of its own, and what it does is added.
    host.reload(&chatty, version(1)).unwrap();
    assert_eq!(ask(&chatty, 2).0, 1);
    assert_eq!(row(&chatty), (6, vec![(Code::ResourceExhausted, 5)]));
    host.shutdown();
}

#[test]
fn a_method_has_a_rate_of_its_own_for_calls_in_either_direction() {
    let methods = |name: &str| CallRules { methods: [(name.to_owned(), daily(2))].into(), ..CallRules::default() };
    let rules = CallsConfig { incoming: methods("test.Back.double"), outgoing: methods("test.Front.ask") };
    let host = builder().calls(rules).build().unwrap();
    let plugin = host.load(spec("two-methods")).unwrap();
    let client = FrontClient::new(&plugin);
    assert_eq!(client.blocking().ask(3).unwrap().0, 2);
    assert_eq!(client.blocking().ask(0).unwrap().0, 0);
    assert_eq!(client.blocking().ask(0).unwrap_err().code(), Code::ResourceExhausted);
    // By bytes, too, and by a client that was made later.
    let by_bytes = plugin.call(1, &[0], &CallOptions::new());
    assert_eq!(by_bytes.unwrap_err().code(), Code::ResourceExhausted);
    assert!(FrontClient::new(&plugin).blocking().ask(0).is_err());
    // The host's own haste is not the plugin's.
    assert_eq!(plugin.scope().overruns(Limit::CallRate), 1);
    host.shutdown();
}

fn outgoing(calls: u32) -> CallsConfig {
    let rules = CallRules { rate: Some(Switch::On(daily(calls))), ..CallRules::default() };
    CallsConfig { outgoing: rules, ..CallsConfig::default() }
}

#[test]
fn rules_hold_for_clients_of_every_kind_and_way() {
    let host = builder().build().unwrap();
    let plugin = host.load(spec("every-way").calls(outgoing(3))).unwrap();
    let session = plugin.session().unwrap();
    FrontClient::new(&plugin.as_caller()).blocking().ask(0).unwrap();
    FrontClient::new(&session).blocking().ask(0).unwrap();
    let dynamic = DynamicClient::new(&plugin, session.peer().registry.clone());
    dynamic.call_blocking("test.Front.ask", &0.into()).unwrap();
    // That was all.
    let refused = dynamic.call_blocking("test.Front.ask", &0.into()).unwrap_err();
    assert!(refused.to_string().contains("test.Front.ask is called too often"), "{refused}");
    for refused in [FrontClient::new(&session), FrontClient::new(&plugin.as_caller()), FrontClient::new(&plugin)] {
        assert_eq!(refused.blocking().ask(0).unwrap_err().code(), Code::ResourceExhausted);
    }
    host.shutdown();
}

#[test]
fn rules_hold_for_direct_calls_of_a_built_in_plugin() {
    let host = builder().build().unwrap();
    let built_in = BuiltIn::new("built-in", "1.0.0", Services::new().add(FrontServer::new(Plugged))).unwrap();
    let rules = CallRules { metrics: Some(true), ..outgoing(2).outgoing };
    let rules = CallsConfig { outgoing: rules, ..CallsConfig::default() };
    let plugin = host.load(PluginSpec::built_in(&built_in).calls(rules)).unwrap();
    let client = FrontClient::new(&plugin).blocking();
    assert_eq!((client.ask(0).unwrap().0, client.ask(0).unwrap().0), (0, 0));
    assert_eq!(client.ask(0).unwrap_err().code(), Code::ResourceExhausted);
    let MetricsSnapshot { methods } = plugin.call_metrics().unwrap();
    assert_eq!((methods[0].method, methods[0].ok, methods[0].failed()), ("ask", 2, 1));
    // Elsewhere direct calls are not counted, and that is said; calls by bytes are.
    plugin.as_caller().call_blocking(1, &[0], &CallOptions::new()).unwrap();
    let stats = plugin.stats();
    let counted = stats.method(CallerSide::Host, "test.Front.ask").map(|method| method.calls());
    assert_eq!((stats.is_built_in, counted), (true, Some(1)));
    assert!(stats.to_string().contains("  built in: direct calls are not counted here\n"), "{stats}");
    assert!(!host.load(spec("in-a-process")).unwrap().stats().is_built_in);
    host.shutdown();
}

#[test]
fn the_rules_of_a_new_version_hold_for_clients_that_were_there_before() {
    let host = builder().build().unwrap();
    let version = |rules| spec("renewed").calls(rules);
    let plugin = host.load(version(CallsConfig::default())).unwrap();
    let before = FrontClient::new(&plugin).blocking();
    before.ask(0).unwrap();
    host.reload(&plugin, version(outgoing(1))).unwrap();
    before.ask(0).unwrap();
    assert_eq!(before.ask(0).unwrap_err().code(), Code::ResourceExhausted);
    host.reload(&plugin, version(CallsConfig::default())).unwrap();
    before.ask(0).unwrap();
    host.shutdown();
}

#[test]
fn calls_without_the_token_are_unauthenticated() {
    let token = |text: &str| Some(Switch::On(Token::new(text).unwrap()));
    let rules = CallsConfig {
        incoming: CallRules { token: token("from-plugins"), ..CallRules::default() },
        outgoing: CallRules { token: token("from-the-host"), ..CallRules::default() },
    };
    let host = builder().calls(rules).build().unwrap();
    let known = host.load(spec("known").env(TOKEN, "from-plugins").env(HOST_TOKEN, "from-the-host")).unwrap();
    assert_eq!(ask(&known, 2), (2, vec![]));
    assert!(known.call(1, &[0], &CallOptions::new()).is_ok());
    for (name, token, what) in [("silent", None, "the metadata have no"), ("wrong", Some("x"), "this one is not known")]
    {
        let spec = token.into_iter().fold(spec(name), |spec, token| spec.env(TOKEN, token));
        let (went_well, refusals) = ask(&host.load(spec).unwrap(), 1);
        assert_eq!(went_well, 0);
        let expected = format!("Unauthenticated: test.Back.double wants a bearer token: {what}");
        assert!(refusals[0].starts_with(&expected), "{refusals:?}");
    }
    // One that wants another is not called; one that the host trusts by name needs none.
    let picky = host.load(spec("picky").env(HOST_TOKEN, "another")).unwrap();
    assert_eq!(FrontClient::new(&picky).blocking().ask(0).unwrap_err().code(), Code::Unauthenticated);
    let off = incoming(CallRules { token: Some(Switch::Off), ..CallRules::default() });
    assert_eq!(ask(&host.load(spec("trusted").calls(off)).unwrap(), 1).0, 1);
    host.shutdown();
}

/// Level, side, method and code of the calls of a plugin that were logged.
fn calls_logged(plugin: &str) -> Vec<(Level, String, String, String)> {
    let lines = log::of_plugin(plugin).into_iter().filter(|line| line.target == "rapace::call");
    let words = |line: log::Line| {
        line.field("elapsed_us").parse::<u64>().unwrap();
        let [side, method, code] = ["side", "method", "code"].map(|name| line.field(name).to_owned());
        (line.level, side, method, code)
    };
    lines.map(words).collect()
}

#[test]
fn a_file_says_which_calls_are_logged_and_no_others_are() {
    log::listen();
    let program = std::env::current_exe().unwrap();
    let plugin = |name: &str, more: &str| {
        format!(
            "[plugins.{name}]\nprogram = '{}'\nargs = ['--exact', 'plugin::plugin_process', '--nocapture']\n\
             env = {{ {NAME} = '{name}' }}\n{more}\n",
            program.display()
        )
    };
    let text = [
        "name = 'test-host'\nversion = '1'\n[calls.incoming]\nlog = 'errors'\nmethods = { 'test.Back.double' = '2/24h' }\n",
        &plugin("terse", ""),
        &plugin("verbose", "calls.incoming.log = 'all'\ncalls.outgoing.log = 'all'"),
        &plugin("mute", "calls.incoming.log = 'none'"),
    ]
    .concat();
    let config = HostConfig::from_toml(&text, Path::new("host.toml"), |_| None).unwrap();
    let host = builder().deploy(config).unwrap();
    for name in ["terse", "verbose", "mute"] {
        assert_eq!(ask(&host.plugin(name).unwrap(), 3).0, 2, "{name}");
    }
    let verbose = host.plugin("verbose").unwrap();
    assert!(FrontClient::new(&verbose).blocking().fail().is_err());
    let line =
        |level, side: &str, method: &str, code: &str| (level, side.to_owned(), method.to_owned(), code.to_owned());
    let refused = || line(Level::WARN, "callee", "test.Back.double", "ResourceExhausted");
    let served = || line(Level::INFO, "callee", "test.Back.double", "Ok");
    assert_eq!(calls_logged("terse"), [refused()]);
    assert_eq!(calls_logged("mute"), []);
    let asked = line(Level::INFO, "caller", "test.Front.ask", "Ok");
    let failed = line(Level::WARN, "caller", "test.Front.fail", "Internal");
    assert_eq!(calls_logged("verbose"), [served(), served(), refused(), asked, failed]);
    host.shutdown();
}
