//! One of the two sides: its session's state, whoever attends to it, and its users.
//!
//! It does by hand what a driver does: takes frames while it is awake, sleeps when nothing has come, and is awake again when
//! the peer has rung, when a waker of its own process says so, or when it is time. Users act again only when they were
//! woken, or, before the end, when they please.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use rapace_core::memory::Trust;
use rapace_core::offer::{Backing, Offer};
use rapace_core::segment::{Prefault, Segment};
use rapace_core::socket::Socket;
use rapace_core::wait::WaitStrategy;
use rapace_core::{ChannelId, Geometry, GeometryConfig, Link, Side};
use rapace_registry::Registry;

use super::callee::Theirs;
use super::caller::Ours;
use super::counted::Seen;
use super::ledger::index;
use super::opening::Opening;
use super::plan::Plan;
use crate::body::Body;
use crate::clock;
use crate::error::SessionEnd;
use crate::fault::FaultPolicy;
use crate::hello::{Features, PeerInfo};
use crate::limits::Limits;
use crate::liveness::Liveness;
use crate::machine::Machine;
use crate::served::ServedKey;
use crate::state::{Settled, SocketRead, State};
use crate::wakes;

/// A waker that notes that it was woken.
#[derive(Debug)]
pub(super) struct Flag(AtomicBool);

impl Flag {
    /// One that is set: whoever has it looks for the first time.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(true)))
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.set();
    }
}

/// A side.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) side: Side,
    limits: Limits,
    /// Largest body that the other side takes.
    pub(super) bound: usize,
    /// None once it was killed.
    state: Option<State>,
    /// Wakes whoever attends to the session.
    attendant: Arc<Flag>,
    asleep: bool,
    pub(super) ours: Vec<Ours>,
    pub(super) openings: Vec<Opening>,
    pub(super) theirs: Vec<Theirs>,
    /// Calls that have been answered here.
    pub(super) answered: Vec<(usize, ServedKey)>,
    /// The last channel of each index on which a call has come.
    pub(super) channels: BTreeMap<usize, ChannelId>,
    /// Bodies that may lie in the peer's memory.
    pub(super) bodies: Vec<Body>,
    /// What its users have seen, beside what it counts.
    pub(super) seen: Seen,
}

/// Both ends of a fresh segment, A's first.
pub(crate) fn links(geometry: GeometryConfig) -> [Link; 2] {
    let geometry = Geometry::new(geometry).unwrap();
    let (a, fds) = Segment::create(geometry, 1, Prefault::Lazy).unwrap();
    let b = Segment::accept(&Offer::new(Backing::Sealed, 1, geometry), fds).unwrap();
    let (here, there) = Socket::pair().unwrap();
    [Link::new(a, here), Link::new(b, there)]
}

/// What is known of a peer that takes so much.
pub(crate) fn peer_info(limits: &Limits, features: Features) -> PeerInfo {
    PeerInfo {
        name: "peer".to_owned(),
        version: "1".to_owned(),
        protocol: (1, 0),
        features,
        message_bytes_max: limits.message_bytes_max,
        metadata_bytes_max: limits.metadata_bytes_max,
        calls_max: limits.calls_max,
        depth_max: limits.depth_max,
        registry: Registry::default(),
        refused: BTreeMap::new(),
    }
}

impl Peer {
    pub(super) fn pair(plan: &Plan) -> [Self; 2] {
        links(plan.geometry).map(|link| Self::new(plan, link))
    }

    fn new(plan: &Plan, mut link: Link) -> Self {
        let side = link.side();
        let (limits, other) = (plan.limits[index(side)], plan.limits[index(side.peer())]);
        let features = if plan.streams { Features::SUPPORTED } else { Features::NONE };
        let peer = peer_info(&other, features);
        if plan.in_place[index(side)] {
            link.trust_peer(Trust::peer_leaves_payloads_alone());
        }
        let mut machine = Machine::new(side, limits, Arc::new(peer), FaultPolicy::End);
        machine.observe(&Registry::default(), 1, clock::now);
        let attendant = Flag::new();
        let liveness = Liveness::new(Duration::from_secs(1), clock::now());
        let mut state = State::new(link, machine, WaitStrategy::Park, liveness);
        state.attendant = Some(Waker::from(Arc::clone(&attendant)));
        Self {
            side,
            limits,
            bound: other.message_bytes_max,
            state: Some(state),
            attendant,
            asleep: false,
            ours: Vec::new(),
            openings: Vec::new(),
            theirs: Vec::new(),
            answered: Vec::new(),
            channels: BTreeMap::new(),
            bodies: Vec::new(),
            seen: Seen::default(),
        }
    }

    /// Its process is gone, and all that was in it.
    pub(super) fn kill(&mut self) {
        self.bodies.clear();
        self.state = None;
    }

    /// Largest body that this side takes.
    pub(super) fn bound_here(&self) -> usize {
        self.limits.message_bytes_max
    }

    pub(super) fn is_alive(&self) -> bool {
        self.state.is_some()
    }

    pub(super) fn asleep(&self) -> bool {
        self.asleep
    }

    /// Whether its session has ended.
    pub(super) fn is_over(&self) -> bool {
        self.end().is_some_and(|end| end.is_some())
    }

    /// Why its session has ended, if it has.
    pub(super) fn end(&self) -> Option<Option<&SessionEnd>> {
        Some(self.state.as_ref()?.machine.end().map(|end| &**end))
    }

    pub(super) fn state(&self) -> &State {
        self.state.as_ref().expect("it was killed")
    }

    pub(super) fn link(&mut self) -> &mut Link {
        &mut self.state.as_mut().expect("it was killed").link
    }

    /// Does something with the session, and what is due behind that.
    pub(super) fn with<T>(&mut self, act: impl FnOnce(&mut State) -> T) -> T {
        let state = self.state.as_mut().expect("it was killed");
        let done = act(state);
        state.flush();
        if !state.is_settled()
            && let Some(Settled { wakes, mut spent, alarm, .. }) = state.settle()
        {
            wakes.into_iter().for_each(Waker::wake);
            spent.clear();
            wakes::keep(spent);
            assert!(!alarm, "nobody leads here");
        }
        self.check_bounds();
        done
    }

    /// What must be true at all times.
    fn check_bounds(&self) {
        let (state, limits) = (self.state(), &self.limits);
        if let Some(SessionEnd::Fault(fault)) = state.machine.end().map(|end| &**end) {
            panic!("side {}: an honest peer broke a rule: {fault}", self.side);
        }
        assert_eq!(state.machine.faults(), 0, "side {}", self.side);
        // SPEC C7, C13.
        assert!(!state.machine.has_orphans(), "side {}: items wait for a call that is over", self.side);
        let (kept, waiting) = state.machine.bytes();
        // One message may exceed what is kept by the room that its growth leaves, and what waits as a whole.
        let kept_max = limits.inbound_bytes_max + limits.message_bytes_max + limits.metadata_bytes_max;
        assert!(kept <= kept_max, "side {}: {kept} bytes are kept, but at most {kept_max} may be", self.side);
        let waiting_max = limits.outbound_bytes_max + self.bound + 1000;
        assert!(waiting <= waiting_max, "side {}: {waiting} bytes wait, but at most {waiting_max} may", self.side);
    }

    /// Takes so many frames, if it is awake or has been woken; says whether there were any.
    pub(super) fn look(&mut self, frames: u32) -> bool {
        if self.is_over() {
            return false;
        }
        if self.asleep {
            let state = self.state();
            let is_time = state.soonest().is_some_and(|soonest| soonest <= clock::now());
            let rung = state.link.socket().wait(None, Some(Duration::ZERO)).unwrap();
            if !(self.attendant.take() || is_time || rung.socket || rung.hangup) {
                return false;
            }
            self.asleep = false;
        }
        self.attendant.take();
        self.with(|state| {
            let before = state.link.stats().frames_received;
            state.attend();
            if state.read_socket() == SocketRead::Ended {
                state.peer_gone(None);
            }
            state.pump_frames(frames);
            state.expire_deadlines();
            state.link.stats().frames_received > before
        })
    }

    /// Goes to sleep, unless something has come; says whether it sleeps.
    pub(super) fn fall_asleep(&mut self) -> bool {
        if self.is_over() || self.asleep {
            return true;
        }
        let asleep = self.with(|state| {
            state.attendant_looks = state.soonest();
            let is_time = state.soonest().is_some_and(|soonest| soonest <= clock::now());
            if is_time || state.has_work(0) || state.arm() {
                return false;
            }
            state.rest();
            true
        });
        self.asleep = asleep;
        asleep
    }

    /// Whether nobody here has anything to do.
    pub(super) fn is_quiet(&self) -> bool {
        if !self.is_alive() {
            return true;
        }
        let rung = || {
            let rung = self.state().link.socket().wait(None, Some(Duration::ZERO)).unwrap();
            rung.socket || rung.hangup
        };
        self.is_over() || self.asleep && !self.attendant.is_set() && !rung()
    }

    /// The calls whose finals have been sent from here to their ends.
    pub(super) fn finals(&self) -> impl Iterator<Item = usize> {
        self.answered.iter().filter(|(_, key)| self.state().machine.is_over(*key)).map(|(id, _)| *id)
    }

    /// Lets a body go that may lie in the peer's memory.
    pub(super) fn release(&mut self, body: Body) {
        self.with(|state| body.discard(&mut state.link));
    }

    pub(super) fn release_all(&mut self) {
        while let Some(body) = self.bodies.pop() {
            self.release(body);
        }
    }
}
