//! Calls that were in flight when a plugin ended, and how old they were.
//!
//! A call reads no clock to begin. So whoever looks after a plugin while it is called notes what it sees in flight, and a
//! call's age lies between the look that was the first to see it and the one before that.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use rapace_registry::{MethodId, Registry};
use rapace_session::{CallInFlight, CallsInFlight, Condition};

/// Calls that a message shows; the field has more.
const SHOWN: usize = 8;

/// Calls of one side that were in flight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallsAtEnd {
    /// How many there were.
    pub count: usize,
    /// At most 64 of them, the oldest first.
    pub listed: Vec<CallAtEnd>,
}

/// A call that was in flight when a plugin ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallAtEnd {
    /// The number of its method.
    pub method_id: u32,
    /// The full name of its method, if a registry has it.
    pub method: Option<String>,
    /// It had been in flight for so long.
    pub at_least: Duration,
    /// It had not been in flight for longer than this.
    pub at_most: Duration,
    /// Nobody waited for its reply any more.
    pub is_given_up: bool,
}

/// When calls of a session were seen.
#[derive(Debug)]
pub(crate) struct Ages {
    /// By whether they are the plugin's, and their channel: when they were first seen, and when it was looked before that.
    seen: HashMap<(bool, u32), (Instant, Instant)>,
    looked: Instant,
}

/// Names of methods: those that the plugin serves, and those that it is offered.
pub(crate) struct Names<'a> {
    pub(crate) of_plugin: &'a Registry,
    pub(crate) of_host: &'a Registry,
}

impl Ages {
    /// Of a session that begins.
    pub(crate) fn new(now: Instant) -> Self {
        Self { seen: HashMap::new(), looked: now }
    }

    /// Somebody has looked.
    pub(crate) fn look(&mut self, (ours, theirs): &(CallsInFlight, CallsInFlight), now: Instant) {
        let before = std::mem::replace(&mut self.looked, now);
        let old = std::mem::take(&mut self.seen);
        let ours = ours.listed.iter().map(|call| (false, call.channel));
        let theirs = theirs.listed.iter().map(|call| (true, call.channel));
        let seen = |key| (key, old.get(&key).copied().unwrap_or((now, before)));
        self.seen = ours.chain(theirs).map(seen).collect();
    }

    /// The calls of a session that has ended: the host's, and the plugin's.
    pub(crate) fn at_end(&self, condition: &Condition, names: &Names<'_>) -> (CallsAtEnd, CallsAtEnd) {
        let now = condition.time;
        let calls = |calls: &CallsInFlight, are_plugins: bool, registry: &Registry| {
            let call = |call: &CallInFlight| {
                let (first, before) =
                    self.seen.get(&(are_plugins, call.channel)).copied().unwrap_or((now, self.looked));
                CallAtEnd {
                    method_id: call.method,
                    method: name(registry, call.method),
                    at_least: now.saturating_duration_since(first),
                    at_most: now.saturating_duration_since(before),
                    is_given_up: call.is_given_up,
                }
            };
            let mut listed: Vec<_> = calls.listed.iter().map(call).collect();
            listed.sort_by_key(|call| std::cmp::Reverse(call.at_least));
            CallsAtEnd { count: calls.count, listed }
        };
        (calls(&condition.calls, false, names.of_plugin), calls(&condition.served, true, names.of_host))
    }
}

fn name(registry: &Registry, method: u32) -> Option<String> {
    let (service, method) = registry.method(MethodId::new(method)?)?;
    Some(format!("{}.{}", service.name(), method.name()))
}

impl fmt::Display for CallsAtEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count == 0 {
            return f.write_str("none");
        }
        for (index, call) in self.listed.iter().take(SHOWN).enumerate() {
            write!(f, "{}{call}", if index == 0 { "" } else { ", " })?;
        }
        match self.count.saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

impl fmt::Display for CallAtEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.method {
            Some(name) => f.write_str(name),
            None => write!(f, "method {}", self.method_id),
        }?;
        match (self.at_least, self.at_most) {
            (Duration::ZERO, at_most) => write!(f, " for less than {at_most:.1?}"),
            (at_least, _) => write!(f, " for {at_least:.1?}"),
        }?;
        if self.is_given_up { f.write_str(" (given up)") } else { Ok(()) }
    }
}
