//! A plan at work: it counts calls, decides over them, and remembers what they met.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write as _};
use std::sync::Arc;

use parking_lot::Mutex;

use super::chance::mix;
use super::fate::Fate;
use super::parse::PlanError;
use super::plan::{Asked, FaultPlan, FaultSide};

/// Methods that are counted each on its own: a peer could name any number of them. Those beyond share a count.
const METHODS_MAX: usize = 4096;
/// Fates that are remembered; those beyond are counted.
const FATES_MAX: usize = 16_384;

/// Makes the faults of a plan. Clones share counts and memory, so one may serve many sessions, one after the other or at once.
#[derive(Clone)]
pub struct FaultInjector(Arc<Inner>);

struct Inner {
    plan: FaultPlan,
    /// Whether each fate is a line on standard error.
    tells: bool,
    record: Mutex<Record>,
}

#[derive(Default)]
struct Record {
    counts: HashMap<Counted, Count>,
    fates: Vec<Fate>,
    more: u64,
}

/// What is counted: calls of a method with a peer on a side, or of all methods that are too many.
type Counted = Option<(FaultSide, Arc<str>, u32)>;

#[derive(Default)]
struct Count {
    calls: u64,
    /// Hits of each rule.
    hits: Vec<u64>,
}

impl FaultInjector {
    /// Sets a plan to work.
    #[must_use]
    pub fn new(plan: FaultPlan) -> Self {
        Self(Arc::new(Inner { plan, tells: false, record: Mutex::default() }))
    }

    /// The same for the plan in the variable [`FaultPlan::VARIABLE`], if there is one. It tells each fate on standard error,
    /// where a plugin's host reads it.
    ///
    /// # Errors
    ///
    /// When there is something else.
    pub fn from_env() -> Result<Option<Self>, PlanError> {
        let Some(text) = std::env::var_os(FaultPlan::VARIABLE) else { return Ok(None) };
        let plan = text.to_string_lossy().parse()?;
        Ok(Some(Self(Arc::new(Inner { plan, tells: true, record: Mutex::default() }))))
    }

    /// Its plan.
    #[must_use]
    pub fn plan(&self) -> &FaultPlan {
        &self.0.plan
    }

    /// What calls have met, in the order in which they did: the first 16384 fates. Which call of a method meets what is the
    /// same in each run; how the calls of several methods, or peers, follow each other need not be.
    #[must_use]
    pub fn fates(&self) -> Vec<Fate> {
        self.0.record.lock().fates.clone()
    }

    /// How many fates there were, also of those that are not remembered.
    #[must_use]
    pub fn count(&self) -> u64 {
        let record = self.0.record.lock();
        record.fates.len() as u64 + record.more
    }

    /// Says something of the plan that is no fate.
    pub(super) fn warn(&self, text: fmt::Arguments<'_>) {
        tracing::warn!(target: super::TARGET, "{text}");
        self.tell(text);
    }

    /// Decides over a call.
    pub(super) fn decide(&self, call: Asked<'_>) -> Option<Fate> {
        let fate = self.0.record.lock().decide(&self.0.plan, call)?;
        tracing::warn!(target: super::TARGET, seed = self.0.plan.seed, "injected fault: {fate}");
        self.tell(format_args!("injected fault: {fate}"));
        Some(fate)
    }

    fn tell(&self, text: fmt::Arguments<'_>) {
        if self.0.tells {
            // Whoever reads it may be gone, which is no reason to panic.
            let _ = writeln!(io::stderr(), "rapace: {text}");
        }
    }
}

impl Record {
    fn decide(&mut self, plan: &FaultPlan, call: Asked<'_>) -> Option<Fate> {
        let peer: Arc<str> = call.peer.into();
        let counted = Some((call.side, Arc::clone(&peer), call.method));
        let known = self.counts.len() < METHODS_MAX || self.counts.contains_key(&counted);
        let count = self.counts.entry(if known { counted } else { None }).or_default();
        count.calls += 1;
        count.hits.resize(plan.rules.len(), 0);
        let number = count.calls;
        let mut rules = plan.rules.iter().zip(&mut count.hits).enumerate();
        let (place, (rule, hits)) =
            rules.find(|(place, (rule, hits))| rule.hits(&call, number, **hits, plan.seed, *place))?;
        *hits += 1;
        let Asked { side, method, name, .. } = call;
        let bytes = mix(&[plan.seed, side as u64, method.into(), number]);
        let (rule, action) = (place + 1, rule.action);
        let fate = Fate { side, peer, method, name: name.map(Into::into), call: number, rule, action, number: bytes };
        if self.fates.len() < FATES_MAX {
            self.fates.push(fate.clone());
        } else {
            self.more += 1;
        }
        Some(fate)
    }
}

impl fmt::Debug for FaultInjector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultInjector({}; {} so far)", self.plan(), self.count())
    }
}

/// The plan, and each fate on a line of its own: what a test that has failed prints.
impl fmt::Display for FaultInjector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (fates, more) = {
            let record = self.0.record.lock();
            (record.fates.clone(), record.more)
        };
        write!(f, "{}={:?}", FaultPlan::VARIABLE, self.plan().to_string())?;
        fates.iter().try_for_each(|fate| write!(f, "\n  {fate}"))?;
        if more > 0 {
            write!(f, "\n  and {more} more")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn asked(side: FaultSide, method: u32) -> Asked<'static> {
        let name = (method < 10).then(|| format!("test.Service.m{method}"));
        Asked { side, peer: "peer", method, name }
    }

    fn injector(plan: &str) -> FaultInjector {
        FaultInjector::new(plan.parse().unwrap())
    }

    /// What so many calls of a method meet, as the numbers of the rules.
    fn rules(injector: &FaultInjector, side: FaultSide, method: u32, calls: usize) -> Vec<usize> {
        (0..calls).map(|_| injector.decide(asked(side, method)).map_or(0, |fate| fate.rule)).collect()
    }

    const PLAN: &str = "seed=7; drop@0.1; error=Internal@0.2 of test.Service.m1; corrupt@0.5 of 2 times 3; kill nth 5";

    #[test]
    fn a_seed_gives_the_same_fates_however_threads_take_turns() {
        let alone = injector(PLAN);
        for method in 1..=4 {
            rules(&alone, FaultSide::Serving, method, 500);
        }
        let together = injector(PLAN);
        thread::scope(|scope| {
            for thread in 0..8 {
                let together = &together;
                scope.spawn(move || {
                    for call in 0..250 {
                        together.decide(asked(FaultSide::Serving, (thread + call) % 4 + 1));
                    }
                });
            }
        });
        let sorted = |injector: &FaultInjector| {
            let mut fates = injector.fates();
            fates.sort_by_key(|fate| (fate.method, fate.call));
            fates
        };
        assert_eq!(sorted(&together), sorted(&alone), "{together}");
        let other = injector(&PLAN.replace("seed=7", "seed=8"));
        for method in 1..=4 {
            rules(&other, FaultSide::Serving, method, 500);
        }
        let hit = |fates: Vec<Fate>| fates.iter().map(|fate| (fate.method, fate.call, fate.rule)).collect::<Vec<_>>();
        assert_ne!(hit(sorted(&other)), hit(sorted(&alone)));
    }

    #[test]
    fn a_rule_hits_the_calls_that_it_names() {
        for (plan, side, method, expected) in [
            ("drop nth 2", FaultSide::Serving, 1, [0, 1, 0]),
            ("drop times 2", FaultSide::Calling, 1, [1, 1, 0]),
            ("drop of 2; kill of 1", FaultSide::Calling, 1, [2, 2, 2]),
            ("drop of test.Service.m2; kill of test.Service.m1 nth 3", FaultSide::Calling, 1, [0, 0, 2]),
            ("drop serving; kill calling", FaultSide::Calling, 1, [2, 2, 2]),
            ("kill item 1; drop nth 1", FaultSide::Calling, 1, [2, 0, 0]),
            ("kill item 1; drop", FaultSide::Serving, 1, [1, 1, 1]),
            ("drop@0", FaultSide::Serving, 1, [0, 0, 0]),
            ("drop", FaultSide::Serving, 2000, [0, 0, 0]),
            ("drop of 2002", FaultSide::Calling, 2002, [1, 1, 1]),
        ] {
            assert_eq!(rules(&injector(plan), side, method, 3), expected, "{plan}");
        }
    }

    #[test]
    fn calls_are_counted_for_each_method_side_and_peer() {
        let injector = injector("drop nth 1");
        for side in [FaultSide::Calling, FaultSide::Serving] {
            for method in [1, 2] {
                assert_eq!(rules(&injector, side, method, 2), [1, 0]);
            }
        }
        let other = Asked { peer: "other", ..asked(FaultSide::Calling, 1) };
        assert!(injector.decide(other).is_some());
    }

    #[test]
    fn what_is_counted_and_remembered_is_bounded() {
        let injector = injector("drop");
        for method in 10_000..40_000 {
            injector.decide(asked(FaultSide::Serving, method));
        }
        let record = injector.0.record.lock();
        assert_eq!(
            (record.counts.len(), record.fates.len(), record.more),
            (METHODS_MAX + 1, FATES_MAX, 30_000 - 16_384)
        );
        drop(record);
        assert_eq!(injector.count(), 30_000);
    }

    #[test]
    fn a_failed_test_prints_a_plan_that_replays_and_the_fates() {
        let injector = injector("seed=7; delay=1ms of 1; kill nth 1 item 2");
        injector.decide(asked(FaultSide::Calling, 1));
        injector.decide(asked(FaultSide::Serving, 77));
        let expected = "RAPACE_FAULTS=\"seed=7; delay=1ms of 1; kill nth 1 item 2\"\
                        \n  delay=1ms by rule 1: call 1 of test.Service.m1 to peer\
                        \n  kill item 2 by rule 2: call 1 of method 77 from peer";
        assert_eq!(injector.to_string(), expected);
    }
}
