//! Two sides, and an adversary that decides who does what next.

use std::time::{Duration, Instant};

use super::ledger::Ledger;
use super::peer::Peer;
use super::plan::{ACTS, Act, Ending, Plan};
use super::random::Random;
use crate::clock;
use crate::status::{Code, Status};

/// So many rounds are enough for whatever is under way; one that goes on without end is a fault too.
const ROUNDS_MAX: usize = 100_000;

#[derive(Debug)]
pub(super) struct World {
    random: Random,
    pub(super) plan: Plan,
    pub(super) peers: [Peer; 2],
    pub(super) ledger: Ledger,
    pub(super) now: Instant,
    trace: bool,
    /// A side that neither takes frames nor sleeps before so many steps.
    stalled: (usize, u64),
    pub(super) steps: u64,
}

impl World {
    pub(super) fn new(seed: u64, trace: bool) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::new(&mut random);
        let now = Instant::now();
        clock::simulate(now);
        if trace {
            println!("{plan:#?}");
        }
        let ledger = Ledger::new(plan.tight);
        Self { peers: Peer::pair(&plan), random, plan, ledger, now, trace, stalled: (0, 0), steps: 0 }
    }

    /// Everything that the seed chooses, to the end.
    pub(super) fn run(&mut self) {
        for _ in 0..self.plan.steps {
            self.step();
            // Now and then all that is under way arrives, though calls stay open.
            if self.random.below_u32(self.plan.rest_every) == 0 {
                self.rest_and_check();
            }
        }
        self.end();
    }

    /// One of the two sides does something.
    fn step(&mut self) {
        if self.random.chance(1) {
            self.stalled = (self.random.below(2), self.steps + self.random.next() % self.plan.stall_max);
        }
        // Most have nothing to do for some acts.
        for _ in 0..8 {
            let at = self.random.below(2);
            let weights = &self.plan.weights[at];
            let mut left = self.random.below_u32(weights.iter().sum());
            let chosen = weights.iter().position(|weight| {
                let found = left < *weight;
                left = left.saturating_sub(*weight);
                found
            });
            let act = ACTS[chosen.unwrap_or(0)];
            let stalled = self.stalled.0 == at && self.steps < self.stalled.1;
            if !(stalled && matches!(act, Act::Look | Act::Sleep)) && self.act(at, act) {
                break;
            }
        }
        self.steps += 1;
    }

    /// Says whether there was anything to do.
    fn act(&mut self, at: usize, act: Act) -> bool {
        let Self { random, plan, peers, ledger, now, .. } = self;
        let peer = &mut peers[at];
        let streams = matches!(act, Act::CallerSends | Act::CallerTakes | Act::CallerEnds);
        let ours: Vec<usize> = (0..peer.ours.len()).filter(|at| !streams || peer.ours[*at].streams.any()).collect();
        let (ours, theirs) = (ours.get(random.below(ours.len())).copied(), random.below(peer.theirs.len()));
        let theirs = (theirs < peer.theirs.len()).then_some(theirs);
        if self.trace {
            let (ours, theirs) = (ours.map(|at| peer.ours[at].id), theirs.map(|at| peer.theirs[at].id));
            println!("{} {at} {act:?} {ours:?} {theirs:?}", self.steps);
        }
        let size = plan.size(peer.bound, random);
        match (act, ours, theirs) {
            (Act::Look, ..) => return peer.look(1 + random.below_u32(4)),
            (Act::Sleep, ..) if !peer.asleep() => return peer.fall_asleep(),
            (Act::Open, ..) if peer.openings.len() < 3 => peer.open(ledger, plan, random),
            (Act::OpenAgain, ..) if !peer.openings.is_empty() => {
                let opening = peer.openings.swap_remove(random.below(peer.openings.len()));
                peer.try_open(opening, ledger);
            }
            (Act::CallerSends, Some(ours), _) => return many(random, || peer.caller_sends(ours, size, ledger)),
            (Act::CallerTakes, Some(ours), _) => return many(random, || peer.caller_takes(ours, ledger)),
            (Act::CallerEnds, Some(ours), _) => return peer.caller_ends(ours, ledger),
            (Act::CallerLooks, Some(ours), _) => return peer.caller_looks(ours, ledger) || random.chance(30),
            (Act::CallerGivesUp, Some(ours), _) => peer.give_up(ours, ledger),
            (Act::Accept, ..) => return peer.accept(u8::from(random.chance(20)), ledger),
            (Act::CalleeSends, _, Some(theirs)) => return many(random, || peer.callee_sends(theirs, size, ledger)),
            (Act::CalleeTakes, _, Some(theirs)) => return many(random, || peer.callee_takes(theirs, ledger)),
            (Act::CalleeAsks, _, Some(theirs)) => drop(peer.callee_asks(theirs, ledger)),
            (Act::CalleeAnswers, _, Some(theirs)) => peer.callee_answers(theirs, ledger, plan, random),
            (Act::Release, ..) if !peer.bodies.is_empty() => {
                let body = peer.bodies.swap_remove(random.below(peer.bodies.len()));
                peer.release(body);
            }
            (Act::TimePasses, ..) => {
                *now += Duration::from_millis(random.next() % 20);
                clock::simulate(*now);
            }
            _ => return false,
        }
        true
    }

    /// Everybody does what they were woken for, until nobody has anything to do. With `finish` all calls come to their end.
    fn come_to_rest(&mut self, finish: bool) {
        for _ in 0..ROUNDS_MAX {
            let busy = [self.turn(0, finish), self.turn(1, finish)];
            if busy == [false, false] && self.peers.iter().all(Peer::is_quiet) {
                return;
            }
        }
        panic!("they never come to rest: {:#?}", self.peers);
    }

    /// A side does all that it has to do now; says whether there was anything.
    fn turn(&mut self, at: usize, finish: bool) -> bool {
        let Self { random, plan, peers, ledger, .. } = self;
        let peer = &mut peers[at];
        if !peer.is_alive() {
            return false;
        }
        self.steps += 1;
        let mut busy = peer.look(u32::MAX);
        busy |= !peer.bodies.is_empty();
        peer.release_all();
        while peer.accept(0, ledger) {
            busy = true;
        }
        for _ in 0..peer.openings.len() {
            let opening = peer.openings.remove(0);
            if opening.flag.is_set() {
                busy = true;
                peer.try_open(opening, ledger);
            } else {
                peer.openings.push(opening);
            }
        }
        for at in (0..peer.theirs.len()).rev() {
            busy |= theirs_turn(peer, at, finish, ledger, plan, random);
        }
        for at in (0..peer.ours.len()).rev() {
            busy |= ours_turn(peer, at, finish, ledger);
        }
        let asleep = peer.fall_asleep();
        busy || !asleep
    }

    /// All that is under way arrives; whoever still waits does so for a reason.
    fn rest_and_check(&mut self) {
        self.come_to_rest(false);
        self.check_deadlines();
        self.check_credit();
        self.check_wakes();
    }

    fn end(&mut self) {
        let lost = self.random.below(2);
        let reason = Status::new(Code::Unavailable, "it is over");
        match self.plan.ending {
            Ending::Quiet => {}
            Ending::GoAway => {
                while self.peers[lost].accept(0, &mut self.ledger) {}
                self.ledger.going_away[lost] = true;
                self.peers[lost].with(|state| state.machine.go_away(&reason, &mut state.link));
                self.rest_and_check();
                for _ in 0..self.plan.steps / 4 {
                    self.step();
                }
            }
            Ending::Close => {
                self.note_finals(lost);
                self.peers[lost].with(|state| state.machine.close(&reason, &mut state.link));
            }
            Ending::Kill => {
                self.note_finals(lost);
                self.peers[lost].kill();
            }
        }
        self.come_to_rest(true);
        self.check_end(lost);
    }
}

/// Does it once or more, as long as there is something to do; says whether there was.
fn many(random: &mut Random, mut act: impl FnMut() -> bool) -> bool {
    let any = act();
    while any && random.chance(60) && act() {}
    any
}

/// A handler does what it was woken for.
fn theirs_turn(
    peer: &mut Peer,
    at: usize,
    finish: bool,
    ledger: &mut Ledger,
    plan: &Plan,
    random: &mut Random,
) -> bool {
    let mut busy = false;
    while !peer.theirs[at].drained && peer.theirs[at].item.is_set() {
        busy = true;
        peer.callee_takes(at, ledger);
    }
    while peer.theirs[at].to_send.is_some() && peer.theirs[at].send.is_set() {
        busy = true;
        peer.callee_sends(at, 0, ledger);
    }
    let theirs = &peer.theirs[at];
    // One that streams has seen and said it all.
    if finish && theirs.drained && (theirs.to_send.is_none() || theirs.ended) {
        peer.callee_answers(at, ledger, plan, random);
        return true;
    }
    busy
}

/// A caller does what it was woken for.
fn ours_turn(peer: &mut Peer, at: usize, finish: bool, ledger: &mut Ledger) -> bool {
    let mut busy = false;
    while !peer.ours[at].drained && peer.ours[at].item.is_set() {
        busy = true;
        peer.caller_takes(at, ledger);
    }
    while peer.ours[at].to_send.is_some() && peer.ours[at].send.is_set() {
        busy = true;
        peer.caller_sends(at, 0, ledger);
    }
    if finish && !peer.ours[at].ended && peer.ours[at].to_send.is_none() {
        busy = true;
        peer.caller_ends(at, ledger);
    }
    if peer.ours[at].drained && peer.ours[at].outcome.is_set() {
        return peer.caller_looks(at, ledger) || busy;
    }
    busy
}
