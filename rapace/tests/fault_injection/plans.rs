//! Which calls of which plugins a plan is for, and what is told of it.

use super::*;

#[test]
fn a_method_has_its_name_from_either_side() {
    let host = PluginHost::builder(Config::new("stranger", "1.0.0")).build().unwrap();
    let plan = "error=Aborted of test.Store.get";
    let faults = FaultInjector::new(plan.parse().unwrap());
    for spec in [spec("calling").faults(&faults), spec("serving").env(FaultPlan::VARIABLE, plan)] {
        let plugin = host.load(spec).unwrap();
        let error = StoreClient::new(&plugin).blocking().get(text("a")).unwrap_err();
        assert_eq!(error.code(), Code::Aborted, "{error}");
    }
}

#[test]
fn a_plan_holds_for_the_calls_of_the_plugin_too() {
    // In the plugin, where it calls; in the host, where it serves.
    Pair::both("error=Unavailable of test.Back.increment nth 2", |pair| {
        let client = pair.client(LONG);
        assert_eq!(client.ask(1), Ok(2));
        let Err(Error::Service(error)) = client.ask(1) else { panic!("it has got an answer") };
        assert!(error.contains("Unavailable: injected fault"), "{error}");
        assert_eq!(client.ask(1), Ok(2));
    });
    let pair = Pair::calling("kill of test.Back.increment nth 2");
    assert_eq!(pair.client(LONG).ask(1), Ok(2));
    let Err(Error::Call(error)) = pair.client(LONG).ask(1) else { panic!("it has lived on") };
    pair.is_killed(&error);
    let fates = pair.faults.fates();
    assert_eq!((fates[0].side, fates[0].call, fates.len()), (FaultSide::Serving, 2, 1));
}

#[test]
fn a_seed_replays_what_real_processes_met() {
    let plan = "seed=11; error=Internal@0.3 of test.Store.get; drop@0.1 of test.Store.get; delay=1ms@0.2";
    let run = || {
        let pair = Pair::calling(plan);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        let _ = pair.client(SHORT).get(text("a"));
                    }
                });
            }
        });
        let mut fates = pair.faults.fates();
        fates.sort_by_key(|fate| (fate.method, fate.call));
        fates
    };
    let first = run();
    assert!(first.len() > 20, "{first:?}");
    assert_eq!(first, run());
}

#[test]
fn one_plugin_is_hit_and_the_other_is_not() {
    let host = host();
    let faults = FaultInjector::new(FaultPlan::new().rule(FaultRule::new(FaultAction::Error(Code::Aborted))));
    let bad = host.load(spec("bad").faults(&faults)).unwrap();
    let good = host.load(spec("good")).unwrap();
    let get = |plugin| StoreClient::new(plugin).blocking().get(text("a"));
    assert_eq!(get(&bad).unwrap_err().code(), Code::Aborted);
    assert_eq!(get(&good), Ok(vec![]));
    assert_eq!(faults.count(), 1);
}

#[test]
fn lifecycle_calls_are_hit_by_rules_that_name_them() {
    let faults = FaultInjector::new("error=Unavailable of 2000".parse().unwrap());
    let error = host().load(spec("store").faults(&faults)).unwrap_err();
    let StartCause::Initialize(CallError::Status(status)) = &*error.cause else { panic!("{error}") };
    assert_eq!(status.code, Code::Unavailable);
}

#[test]
fn a_plugin_whose_variable_holds_no_plan_says_what_is_wrong_with_it() {
    let error = host().load(spec("store").env(FaultPlan::VARIABLE, "drop; explode@0.1")).unwrap_err();
    let expected = "RAPACE_FAULTS: part 2 of the plan, `explode@0.1`: found `explode`, expected seed=N or one of";
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn a_name_that_nobody_knows_is_told() {
    let host = host();
    let plugin =
        host.load(spec("store").env(FaultPlan::VARIABLE, "kill of test.Store.gte; kill of test.Store.get")).unwrap();
    assert_eq!(StoreClient::new(&plugin).blocking().put(text("a"), vec![]), Ok(0));
    assert!(StoreClient::new(&plugin).blocking().get(text("a")).is_err());
    let pair = Pair { host, plugin, faults: FaultInjector::new(FaultPlan::new()) };
    let stderr = pair.crash_report().stderr;
    assert!(stderr.contains("no service that is shared with test-host has a method test.Store.gte\n"), "{stderr}");
}
