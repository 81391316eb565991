//! A side's handlers of the other one's calls.

use std::sync::Arc;
use std::task::Waker;

use rapace_core::slots::Class;

use super::ledger::{Answer, Ledger, Part, bytes_of, index};
use super::opening::TAIL_BYTES;
use super::peer::{Flag, Peer};
use super::plan::Plan;
use super::random::Random;
use crate::error::CallError;
use crate::machine::{Sent, StreamKey};
use crate::metadata::Metadata;
use crate::served::ServedKey;
use crate::state::State;
use crate::status::{Code, Status};

/// A call that is with a handler.
#[derive(Debug)]
pub(super) struct Theirs {
    pub(super) id: usize,
    pub(super) key: ServedKey,
    pub(super) item: Arc<Flag>,
    pub(super) send: Arc<Flag>,
    pub(super) to_send: Option<usize>,
    /// Nobody wants more items.
    pub(super) ended: bool,
    pub(super) drained: bool,
    /// It waits to hear of a cancel.
    pub(super) cancel: Arc<Flag>,
    pub(super) waits_for_cancel: bool,
    asked: Option<u64>,
}

impl Peer {
    /// A handler begins, if a call waits for one; says whether it did.
    pub(super) fn accept(&mut self, below: u8, ledger: &mut Ledger) -> bool {
        let Some(arrived) = self.with(|state| state.next_arrived(below)) else { return false };
        assert!(arrived.depth > below, "a call of depth {} within a handler of depth {below}", arrived.depth);
        assert!(!self.state().machine.is_cancelled(arrived.key), "a cancelled call is begun");
        let id = ledger.arrived(&arrived, self.side);
        self.seen.accepted();
        // SPEC X3: what came before was taken then.
        assert!(!ledger.going_away[index(self.side)], "call {id} is begun, though no more are taken");
        // SPEC C1.
        let channel = arrived.key.channel();
        let before = self.channels.insert(channel.index(), channel).filter(|_| !channel.is_control());
        assert_ne!(before, Some(channel), "call {id} has the channel of the one before it");
        self.bodies.push(arrived.body);
        let streams = arrived.streams;
        let (item, send, cancel) = (Flag::new(), Flag::new(), Flag::new());
        let (ended, drained) = (!streams.receives, !streams.sends);
        let theirs = Theirs {
            id,
            key: arrived.key,
            item,
            send,
            to_send: None,
            ended,
            drained,
            cancel,
            waits_for_cancel: false,
            asked: None,
        };
        self.theirs.push(theirs);
        true
    }

    /// A handler takes an item; says whether there was one, or the end.
    pub(super) fn callee_takes(&mut self, at: usize, ledger: &mut Ledger) -> bool {
        let theirs = &self.theirs[at];
        if theirs.drained {
            return false;
        }
        theirs.item.take();
        let (key, waker) = (theirs.key, Waker::from(Arc::clone(&theirs.item)));
        let item = self.with(|state| {
            let State { machine, link, .. } = state;
            machine.take_item(StreamKey::Theirs(key), &waker, link)
        });
        let over = self.is_over();
        let theirs = &mut self.theirs[at];
        match item {
            None => return false,
            Some(Ok(Some(body))) => {
                theirs.item.set();
                ledger.took(theirs.id, false, &body);
            }
            Some(Ok(None)) => {
                let call = &ledger.calls[theirs.id];
                assert!(call.up.ended && call.up.is_empty(), "the items of call {} end early", theirs.id);
                theirs.drained = true;
            }
            Some(Err(error)) => {
                let too_many = matches!(&error, CallError::Status(status) if status.code == Code::ResourceExhausted);
                let ok = over || ledger.may_be_cancelled(theirs.id) || ledger.tight && too_many;
                assert!(ok, "the items of call {} end with {error}", theirs.id);
                theirs.drained = true;
            }
        }
        true
    }

    /// A handler sends the item that it waits with, or one of so many bytes; says whether that is done.
    pub(super) fn callee_sends(&mut self, at: usize, bytes: usize, ledger: &mut Ledger) -> bool {
        let theirs = &mut self.theirs[at];
        if theirs.ended {
            return false;
        }
        theirs.send.take();
        let bytes = theirs.to_send.take().unwrap_or(bytes);
        let (id, key, waker) = (theirs.id, theirs.key, Waker::from(Arc::clone(&theirs.send)));
        let item = bytes_of(id, Part::Down(ledger.calls[id].down.sent), bytes);
        let sent = self.with(|state| {
            let State { machine, link, .. } = state;
            machine.send_item(StreamKey::Theirs(key), item, &waker, link)
        });
        let over = self.is_over();
        let theirs = &mut self.theirs[at];
        match sent {
            Sent::Done => {
                theirs.send.set();
                ledger.calls[id].down.accepted(bytes);
            }
            Sent::Pending => {
                theirs.to_send = Some(bytes);
                return false;
            }
            Sent::Failed(CallError::TooLarge { .. }) if bytes > self.bound => {}
            Sent::Failed(error) => {
                theirs.ended = true;
                assert!(over || ledger.may_be_cancelled(id), "an item of call {id} was refused: {error}");
            }
        }
        true
    }

    /// A handler looks whether its call is cancelled, and waits to hear of it.
    pub(super) fn callee_asks(&mut self, at: usize, ledger: &Ledger) -> bool {
        let theirs = &mut self.theirs[at];
        theirs.cancel.take();
        let (id, key, waker, number) = (theirs.id, theirs.key, Waker::from(Arc::clone(&theirs.cancel)), theirs.asked);
        let (number, cancelled) = self.with(|state| {
            let number = number.unwrap_or_else(|| state.machine.cancel_number());
            let cancelled = state.machine.set_cancel_waker(key, number, &waker);
            assert_eq!(cancelled, state.machine.is_cancelled(key));
            (number, cancelled)
        });
        self.theirs[at].asked = Some(number);
        self.theirs[at].waits_for_cancel = !cancelled;
        let ok = !cancelled || ledger.may_be_cancelled(id) || self.is_over();
        assert!(ok, "call {id} was cancelled by nobody");
        cancelled
    }

    /// A handler answers.
    pub(super) fn callee_answers(&mut self, at: usize, ledger: &mut Ledger, plan: &Plan, random: &mut Random) {
        let Theirs { id, key, .. } = self.theirs.swap_remove(at);
        let fails = random.chance(15);
        let bytes = plan.size(self.bound, random);
        let mut metadata = Metadata::new();
        let answer = if fails {
            Answer::Error(Status {
                details: vec![1; random.below(60)],
                ..Status::new(Code::Aborted, format!("call {id}"))
            })
        } else {
            if random.chance(10) {
                metadata.insert("reply", vec![9; random.below(280)]).unwrap();
            }
            Answer::Reply(bytes, metadata.clone())
        };
        // Before it is sent: it may be all that the other side hears.
        ledger.calls[id].answer = Some(answer.clone());
        self.answered.push((id, key));
        if !fails && metadata.is_empty() && random.chance(25) && self.answers_in_place(id, key, bytes) {
            return;
        }
        self.with(|state| {
            let State { machine, link, .. } = state;
            match &answer {
                Answer::Reply(bytes, metadata) => {
                    machine.finish(key, Ok(bytes_of(id, Part::Reply, *bytes)), metadata, link);
                }
                Answer::Error(status) => machine.finish(key, Err(status), &metadata, link),
            }
            // A second time does nothing.
            machine.finish(key, Ok(&[]), &Metadata::new(), link);
        });
    }

    /// Answers with a body that is built in slots; says whether it went out.
    fn answers_in_place(&mut self, id: usize, key: ServedKey, bytes: usize) -> bool {
        self.with(|state| {
            let State { machine, link, .. } = state;
            let Ok(mut loan) = link.try_loan(Class::Request, bytes + TAIL_BYTES) else { return false };
            loan[..bytes].copy_from_slice(bytes_of(id, Part::Reply, bytes));
            let left = machine.finish_in_place(key, loan, bytes, link);
            let sent = left.is_none();
            if let Some(loan) = left {
                link.return_loan(loan);
                state.room_was_made();
            }
            sent
        })
    }
}
