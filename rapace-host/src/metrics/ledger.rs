//! Keeps what was counted in a plugin's lives when they end, so that counts never go back.

use std::collections::BTreeMap;
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
    present: Vec<Arc<Instance>>,
}

/// The sums of some lives.
#[derive(Clone, Default)]
pub(crate) struct Totals {
    methods: BTreeMap<(CallerSide, Option<u32>), MethodStats>,
    /// Those without a description, by who calls them.
    unknown: BTreeMap<CallerSide, usize>,
    pub(crate) traffic: Traffic,
    /// Of those that go on.
    pub(crate) room: Room,
    pub(crate) lines: [u64; 2],
    /// None where no life had a process of its own.
    pub(crate) cpu: Option<Duration>,
}

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
        let Some(at) = lives.present.iter().position(|present| Arc::ptr_eq(present, life)) else { return };
        let life = lives.present.swap_remove(at);
        lives.past.add(&life);
        lives.past.room = Room::default();
        for method in lives.past.methods.values_mut() {
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
        let lives = self.lives.lock();
        let mut totals = lives.past.clone();
        lives.present.iter().for_each(|life| totals.add(life));
        totals
    }
}

impl Totals {
    /// The methods that were called.
    pub(crate) fn methods(self) -> Vec<MethodStats> {
        self.methods.into_values().collect()
    }

    fn add(&mut self, life: &Instance) {
        let (session, counts) = (&life.session, life.session.call_counts());
        for (side, registry, counts) in [
            (CallerSide::Host, &session.peer().registry, counts.made),
            (CallerSide::Plugin, &*life.offered, counts.served),
        ] {
            counts.iter().for_each(|counts| self.row(side, registry, counts.method).add(counts));
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

    fn row(&mut self, side: CallerSide, registry: &Registry, id: Option<u32>) -> &mut MethodStats {
        let described = id.and_then(MethodId::new).and_then(|id| registry.method(id));
        let is_new = !self.methods.contains_key(&(side, id));
        let mut id = id;
        if is_new && described.is_none() && id.is_some() {
            let unknown = self.unknown.entry(side).or_default();
            if *unknown == UNKNOWN_MAX {
                id = None;
            } else {
                *unknown += 1;
            }
        }
        let name = || match (described, id) {
            (_, None) => OTHER_METHODS.to_owned(),
            (Some((service, method)), _) => format!("{}.{}", service.name(), method.name()),
            (None, Some(id)) => id.to_string(),
        };
        self.methods.entry((side, id)).or_insert_with(|| MethodStats::new(side, name(), id))
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
