//! What must be true of both sides together when all that was under way has arrived.

use super::callee::Theirs;
use super::caller::Ours;
use super::ledger::index;
use super::plan::Ending;
use super::world::World;
use crate::error::SessionEnd;
use crate::machine::StreamKey;

impl World {
    /// Nobody was forgotten: whoever waits, and was not woken, would have to wait again.
    pub(super) fn check_wakes(&mut self) {
        let Self { peers, ledger, .. } = self;
        for peer in peers {
            for at in 0..peer.ours.len() {
                let Ours { id, to_send, .. } = peer.ours[at];
                let sent = to_send.is_some() && peer.caller_sends(at, 0, ledger);
                assert!(!sent && !peer.caller_takes(at, ledger), "the caller of call {id} was not woken");
            }
            for at in 0..peer.theirs.len() {
                let Theirs { id, to_send, .. } = peer.theirs[at];
                let sent = to_send.is_some() && peer.callee_sends(at, 0, ledger);
                assert!(!sent && !peer.callee_takes(at, ledger), "the callee of call {id} was not woken");
            }
            for _ in 0..peer.openings.len() {
                let (opening, waiting) = (peer.openings.remove(0), peer.openings.len());
                let id = opening.id;
                peer.try_open(opening, ledger);
                assert!(peer.openings.len() > waiting, "whoever waits to open call {id} was not woken");
            }
        }
    }

    /// Everybody has done all that they could: nobody waits beyond their time.
    pub(super) fn check_deadlines(&self) {
        let waiting = self.peers.iter().flat_map(|peer| {
            peer.ours.iter().map(|ours| ours.id).chain(peer.openings.iter().map(|opening| opening.id))
        });
        for id in waiting {
            let until = self.ledger.calls[id].until;
            assert!(until.is_none_or(|until| until > self.now), "call {id} goes on beyond its time");
        }
    }

    /// What was sent has arrived: each sender has the credit that its receiver thinks it has.
    pub(super) fn check_credit(&self) {
        for caller in &self.peers {
            let callee = &self.peers[1 - index(caller.side)];
            for ours in &caller.ours {
                let Some(here) = caller.state().machine.flows(StreamKey::Ours(ours.key)) else { continue };
                let theirs = callee.theirs.iter().find(|theirs| theirs.id == ours.id);
                let Some(theirs) = theirs else { continue };
                let there = callee.state().machine.flows(StreamKey::Theirs(theirs.key));
                let there = there.unwrap_or_else(|| panic!("call {} is not known to its callee", ours.id));
                for (from, to) in [(&here.outflow, &there.inflow), (&there.outflow, &here.inflow)] {
                    let (Some(from), Some(to)) = (from, to) else {
                        assert_eq!(from.is_none(), to.is_none(), "the streams of call {}", ours.id);
                        continue;
                    };
                    if to.failure().is_some() {
                        // What comes behind an item that was not kept is dropped, and not counted.
                        continue;
                    }
                    let (credit, not_granted) = to.account();
                    assert_eq!(from.credit(), credit, "the sender's credit on call {}", ours.id);
                    assert_eq!(credit + not_granted, i64::from(to.window()), "the credit on call {}", ours.id);
                    // All that was sent has been taken, and was granted anew.
                    let late = i64::from(to.window() / 2).max(1);
                    assert!(not_granted < late || to.has_ended(), "{not_granted} are not granted on call {}", ours.id);
                }
            }
            // A handler that waits to hear of a cancel has heard of it.
            for theirs in &callee.theirs {
                let call = &self.ledger.calls[theirs.id];
                let cancelled = callee.state().machine.is_cancelled(theirs.key);
                if call.given_up {
                    assert!(cancelled, "the callee has not heard that call {} is cancelled", theirs.id);
                    assert!(
                        !theirs.waits_for_cancel || theirs.cancel.is_set(),
                        "call {} was cancelled in silence",
                        theirs.id
                    );
                }
            }
        }
    }

    /// Every call has ended, once, and nothing is left of any.
    pub(super) fn check_end(&mut self, lost: usize) {
        if matches!(self.plan.ending, Ending::Quiet | Ending::GoAway) {
            self.check_start();
        }
        for peer in self.peers.iter().filter(|peer| peer.is_alive()) {
            assert!(peer.ours.is_empty() && peer.openings.is_empty(), "calls that nobody ends: {:#?}", peer);
            assert_eq!(peer.state().machine.bytes(), (0, 0), "bytes are kept for nobody, side {}", peer.side);
            assert_eq!(peer.state().machine.in_flight(), (0, 0), "calls in flight of side {}", peer.side);
            assert_eq!(peer.state().machine.receiving(), (0, 0), "streams that side {} receives", peer.side);
        }
        let alive = [self.peers[0].is_alive(), self.peers[1].is_alive()];
        for (id, call) in self.ledger.calls.iter().enumerate() {
            assert!(call.ended || !alive[index(call.opener)], "call {id} has not ended");
        }
        self.check_counts();
        self.check_ends(lost);
    }

    /// What a side has published before it is lost counts.
    pub(super) fn note_finals(&mut self, lost: usize) {
        for id in self.peers[lost].finals() {
            self.ledger.calls[id].final_published = true;
        }
    }

    /// Everything is where it was in the beginning.
    fn check_start(&mut self) {
        for at in 0..2 {
            let link = self.peers[at].link();
            let slots = link.geometry().slot_count();
            assert_eq!(link.free_slots().unwrap(), slots, "slots of side {} are lost", link.side());
            assert_eq!((link.held_runs(), link.held_slots()), (0, 0), "slots that side {} holds", link.side());
            let sent = link.stats().frames_sent;
            assert_eq!(link.room().unwrap().0, sent, "frames of side {} that nobody took", link.side());
        }
    }

    fn check_ends(&self, lost: usize) {
        let other = self.peers[1 - lost].end().flatten();
        match (self.plan.ending, other) {
            (Ending::Quiet | Ending::GoAway, None) => {}
            (Ending::Close, Some(SessionEnd::PeerClosed(_) | SessionEnd::PeerGone(None))) => {}
            (Ending::Kill, Some(SessionEnd::PeerGone(None))) => {}
            (ending, end) => panic!("behind {ending:?} the session has ended with {end:?}"),
        }
    }
}
