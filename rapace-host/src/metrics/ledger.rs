//! Keeps what was counted in a plugin's lives when they end, so that counts never go back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rapace_registry::{MethodId, Registry};
use rapace_session::{MethodCounts, SessionStats};

use super::stats::{CallerSide, MethodStats, OTHER_METHODS, Room, Traffic};
use crate::instance::Instance;
use crate::output::Stream;

/// Methods without a description that have rows of their own in each direction, over all lives.
const UNKNOWN_MAX: usize = 64;

/// What is counted of a plugin over its lives.
#[derive(Default)]
pub(crate) struct Ledger {
    lives: Mutex<Lives>,
}

/// One lock for both, so that no life is counted twice or not at all.
#[derive(Default)]
struct Lives {
    past: Totals,
    named: Named,
    present: Vec<Arc<Instance>>,
}

/// The sums of some lives.
#[derive(Clone, Default)]
pub(crate) struct Totals {
    /// By what they are called, which is what a count belongs to: ids may have other methods in other versions.
    methods: BTreeMap<(CallerSide, String), MethodStats>,
    pub(crate) traffic: Traffic,
    /// Of those that go on.
    pub(crate) room: Room,
    pub(crate) lines: [u64; 2],
    /// None where no life had a process of its own.
    pub(crate) cpu: Option<Duration>,
}

/// Methods without a description that have rows of their own. One that has a row keeps it, and one that has none never gets
/// one: no call is counted now in one place and then in another, in whatever order lives are summed up.
#[derive(Default)]
struct Named(BTreeSet<(CallerSide, u32)>);

impl Ledger {
    /// A life has begun.
    pub(crate) fn begun(&self, life: &Arc<Instance>) {
        self.lives.lock().present.push(Arc::clone(life));
    }

    /// It has ended.
    pub(crate) fn ended(&self, life: &Arc<Instance>) {
        // What it would have used too much of at the last.
        life.settle();
        let mut lives = self.lives.lock();
        let Lives { past, named, present } = &mut *lives;
        let Some(at) = present.iter().position(|present| Arc::ptr_eq(present, life)) else { return };
        let life = present.swap_remove(at);
        past.add(&life, named);
        past.room = Room::default();
        for method in past.methods.values_mut() {
            method.in_flight = 0;
        }
        drop(lives);
    }

    /// The lives that go on, with those that end to make room for others.
    pub(crate) fn present(&self) -> Vec<Arc<Instance>> {
        self.lives.lock().present.clone()
    }

    /// The sums of all lives.
    pub(crate) fn totals(&self) -> Totals {
        let mut lives = self.lives.lock();
        let Lives { past, named, present } = &mut *lives;
        let mut totals = past.clone();
        present.iter().for_each(|life| totals.add(life, named));
        totals
    }
}

impl Totals {
    /// The methods that were called.
    pub(crate) fn methods(self) -> Vec<MethodStats> {
        let mut methods: Vec<_> = self.methods.into_values().collect();
        methods.sort_by_key(|method| (method.side, method.id.is_none(), method.id));
        methods
    }

    fn add(&mut self, life: &Instance, named: &mut Named) {
        let (session, counts) = (&life.session, life.session.call_counts());
        for (side, registry, counts) in [
            (CallerSide::Host, &session.peer().registry, counts.made),
            (CallerSide::Plugin, &*life.offered, counts.served),
        ] {
            self.count(named, side, registry, &counts);
        }
        self.traffic.add(&session.stats());
        self.room.add(&session.stats());
        for (stream, lines) in [Stream::Stdout, Stream::Stderr].into_iter().zip(&mut self.lines) {
            *lines += life.lines(stream);
        }
        if let Some(cpu) = life.cpu_seen() {
            self.cpu = Some(self.cpu.unwrap_or_default().saturating_add(cpu));
        }
    }

    fn count(&mut self, named: &mut Named, side: CallerSide, registry: &Registry, counts: &[MethodCounts]) {
        for counts in counts {
            let (name, id) = named.name(side, registry, counts.method);
            let new = || MethodStats::new(side, name.clone(), id);
            self.methods.entry((side, name.clone())).or_insert_with(new).add(counts);
        }
    }
}

impl Named {
    /// What a method is called in one life, and its id if it has a row of its own.
    fn name(&mut self, side: CallerSide, registry: &Registry, id: Option<u32>) -> (String, Option<u32>) {
        let described = id.and_then(MethodId::new).and_then(|id| registry.method(id));
        if let Some((service, method)) = described {
            return (format!("{}.{}", service.name(), method.name()), id);
        }
        let has_row = |id: &u32| {
            let Self(named) = self;
            if named.range((side, 0)..=(side, u32::MAX)).count() < UNKNOWN_MAX {
                named.insert((side, *id));
            }
            named.contains(&(side, *id))
        };
        match id.filter(has_row) {
            Some(id) => (id.to_string(), Some(id)),
            None => (OTHER_METHODS.to_owned(), None),
        }
    }
}

impl MethodStats {
    fn add(&mut self, counts: &MethodCounts) {
        self.ok += counts.ok;
        for (code, count) in &counts.errors {
            *self.errors.entry(code.to_string()).or_default() += count;
        }
        self.in_flight += counts.in_flight;
        self.request_bytes += counts.request_bytes;
        self.reply_bytes += counts.reply_bytes;
        self.latency.merge(&counts.latency);
    }
}

impl Traffic {
    fn add(&mut self, stats: &SessionStats) {
        let link = stats.link;
        for (sum, count) in [
            (&mut self.frames_sent, link.frames_sent),
            (&mut self.frames_received, link.frames_received),
            (&mut self.no_room, link.refusals),
            (&mut self.wakeups_sent, link.bells_sent),
            (&mut self.wakeups_saved, link.bells_saved),
            (&mut self.wakeups_received, link.bells_received),
            (&mut self.sleeps, link.sleeps),
            (&mut self.faults, stats.faults.into()),
        ] {
            *sum += count;
        }
    }
}

impl Room {
    fn add(&mut self, stats: &SessionStats) {
        for (sum, count) in [
            (&mut self.ring_used, stats.ring_used.into()),
            (&mut self.ring_capacity, stats.ring_capacity.into()),
            (&mut self.slots_free, stats.slots_free.into()),
            (&mut self.slots, stats.slot_count.into()),
            (&mut self.runs_held, stats.runs_held.into()),
            (&mut self.inbound_bytes, stats.inbound_bytes as u64),
            (&mut self.outbound_bytes, stats.outbound_bytes as u64),
            (&mut self.handlers, stats.tasks as u64),
        ] {
            *sum += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use rapace_registry::{Provider, Service, Version};

    use super::*;

    /// What a life has counted that called each of these so often.
    fn life(methods: Range<u32>, times: u64) -> Vec<MethodCounts> {
        let counts = methods.map(|method| {
            let mut counts = MethodCounts::default();
            (counts.method, counts.ok) = (Some(method), times);
            counts
        });
        counts.collect()
    }

    fn described(name: &str, id: u32) -> Registry {
        let service = Service::builder("test.Host", Version::new(1, 0), Provider::Host).unary::<u32, u32>(name, id);
        Registry::builder().service(service).build().unwrap()
    }

    /// The sums of lives in this order, by the names of the methods.
    fn sums(named: &mut Named, lives: &[(&Registry, &[MethodCounts])]) -> BTreeMap<String, u64> {
        let mut totals = Totals::default();
        for (registry, counts) in lives {
            totals.count(named, CallerSide::Plugin, registry, counts);
        }
        totals.methods().into_iter().map(|method| (method.method, method.ok)).collect()
    }

    #[test]
    fn which_life_ends_first_changes_no_count() {
        let (mut named, registry) = (Named::default(), Registry::default());
        let (one, other) = (life(1..41, 1), life(101..141, 100));
        let both_run = sums(&mut named, &[(&registry, &one), (&registry, &other)]);
        assert_eq!((both_run.len(), both_run[OTHER_METHODS]), (65, 1600));
        // Those that have ended are summed up first.
        assert_eq!(sums(&mut named, &[(&registry, &other), (&registry, &one)]), both_run);
        // The other direction has its own.
        let (_, id) = named.name(CallerSide::Host, &registry, Some(1));
        assert_eq!(id, Some(1));
    }

    #[test]
    fn versions_with_other_names_and_ids_have_their_own_rows_and_one_name_has_one() {
        let versions = [described("one", 7), described("two", 7), described("one", 8), Registry::default()];
        let counts = [life(7..8, 1), life(7..8, 10), life(8..9, 100), life(7..8, 1000)];
        let mut lives: Vec<_> = versions.iter().zip(counts.iter().map(Vec::as_slice)).collect();
        let expected = [("7", 1000), ("test.Host.one", 101), ("test.Host.two", 10)];
        let expected: BTreeMap<_, _> = expected.map(|(name, calls)| (name.to_owned(), calls)).into();
        let mut named = Named::default();
        for _ in 0..lives.len() {
            assert_eq!(sums(&mut named, &lives), expected);
            lives.rotate_left(1);
        }
    }
}
