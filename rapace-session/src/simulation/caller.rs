//! A side's users that call the other one.

use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::ledger::{Ledger, Part, bytes_of};
use super::peer::{Flag, Peer};
use crate::calls::CallKey;
use crate::clock;
use crate::error::CallError;
use crate::flow::Streams;
use crate::machine::{Sent, StreamKey};
use crate::state::State;
use crate::status::Code;

/// A call that was sent.
#[derive(Debug)]
pub(super) struct Ours {
    pub(super) id: usize,
    pub(super) key: CallKey,
    pub(super) streams: Streams,
    /// It waits for the outcome.
    pub(super) outcome: Arc<Flag>,
    /// It waits for an item.
    pub(super) item: Arc<Flag>,
    /// It waits with an item of so many bytes.
    pub(super) send: Arc<Flag>,
    pub(super) to_send: Option<usize>,
    pub(super) ended: bool,
    /// There are no more items.
    pub(super) drained: bool,
    pub(super) until: Option<Instant>,
}

impl Peer {
    /// A caller with streams looks, as all of its parts do: its call fails when its time is over.
    fn looked<T>(&mut self, at: usize, look: impl FnOnce(&mut State, &Ours) -> T) -> T {
        let ours = self.ours.swap_remove(at);
        let looked = self.with(|state| {
            if let Some(until) = ours.until {
                if until <= clock::now() {
                    let State { machine, link, .. } = state;
                    let error = CallError::DeadlineExceeded { waited: Duration::ZERO };
                    machine.fail_call(ours.key, error, link);
                } else {
                    state.machine.set_deadline(ours.key, until);
                    state.note_deadline(until);
                }
            }
            look(state, &ours)
        });
        self.ours.push(ours);
        let last = self.ours.len() - 1;
        self.ours.swap(at, last);
        looked
    }

    /// A caller looks whether its call has ended; says whether it has, and is forgotten then.
    pub(super) fn caller_looks(&mut self, at: usize, ledger: &mut Ledger) -> bool {
        self.ours[at].outcome.take();
        let waker = Waker::from(Arc::clone(&self.ours[at].outcome));
        let outcome = if self.ours[at].streams.any() {
            self.looked(at, |state, ours| {
                let outcome = state.machine.take(ours.key);
                if outcome.is_none() {
                    state.machine.set_waker(ours.key, &waker);
                }
                outcome
            })
        } else {
            let Ours { key, until, .. } = self.ours[at];
            let outcome = self.with(|state| {
                let outcome = state.machine.take(key);
                if outcome.is_none() {
                    state.machine.set_waker(key, &waker);
                    if let Some(until) = until {
                        state.machine.set_deadline(key, until);
                        state.note_deadline(until);
                    }
                }
                outcome
            });
            if outcome.is_none() && until.is_some_and(|until| until <= clock::now()) {
                self.give_up(at, ledger);
                return true;
            }
            outcome
        };
        let Some(outcome) = outcome else { return false };
        let ours = self.ours.swap_remove(at);
        assert!(self.with(|state| state.machine.take(ours.key)).is_none(), "call {} ended twice", ours.id);
        let ended = matches!(outcome, Err(CallError::SessionEnded { .. }));
        assert!(!ended || self.is_over(), "call {} ended with a session that goes on", ours.id);
        ledger.ended(ours.id, &outcome, ours.drained, self.bound_here());
        self.seen.ended(&outcome);
        if let Ok(reply) = outcome {
            self.bodies.push(reply.body);
        }
        true
    }

    /// A caller does not want its call any more.
    pub(super) fn give_up(&mut self, at: usize, ledger: &mut Ledger) {
        let ours = self.ours.swap_remove(at);
        self.with(|state| {
            let State { machine, link, .. } = state;
            machine.abandon(ours.key, Code::Cancelled, link);
            // A second time does nothing.
            machine.abandon(ours.key, Code::Cancelled, link);
        });
        self.seen.given_up();
        let call = &mut ledger.calls[ours.id];
        call.given_up = true;
        call.ended = true;
    }

    /// A caller takes an item; says whether there was one, or the end.
    pub(super) fn caller_takes(&mut self, at: usize, ledger: &mut Ledger) -> bool {
        if self.ours[at].drained {
            return false;
        }
        self.ours[at].item.take();
        let waker = Waker::from(Arc::clone(&self.ours[at].item));
        let item = self.looked(at, |state, ours| {
            let State { machine, link, .. } = state;
            machine.take_item(StreamKey::Ours(ours.key), &waker, link)
        });
        let ours = &mut self.ours[at];
        match item {
            None => return false,
            Some(Ok(Some(body))) => {
                ours.item.set();
                self.seen.item_taken(body.len());
                ledger.took(ours.id, true, &body);
            }
            Some(Ok(None)) => ours.drained = true,
            Some(Err(error)) => panic!("call {}: the reply says how the items end, not {error}", ours.id),
        }
        true
    }

    /// A caller sends the item that it waits with, or one of so many bytes; says whether that is done.
    pub(super) fn caller_sends(&mut self, at: usize, bytes: usize, ledger: &mut Ledger) -> bool {
        let ours = &mut self.ours[at];
        if ours.ended {
            return false;
        }
        ours.send.take();
        let bytes = ours.to_send.take().unwrap_or(bytes);
        let (id, waker) = (ours.id, Waker::from(Arc::clone(&ours.send)));
        let item = bytes_of(id, Part::Up(ledger.calls[id].up.sent), bytes);
        let sent = self.looked(at, |state, ours| {
            let State { machine, link, .. } = state;
            machine.send_item(StreamKey::Ours(ours.key), item, &waker, link)
        });
        let ours = &mut self.ours[at];
        match sent {
            Sent::Done => {
                ours.send.set();
                self.seen.item_sent(bytes);
                ledger.calls[id].up.accepted(bytes);
            }
            Sent::Pending => {
                ours.to_send = Some(bytes);
                return false;
            }
            Sent::Failed(CallError::TooLarge { .. }) if bytes > self.bound => {}
            // The call has ended: the reply says how.
            Sent::Failed(_) => ours.ended = true,
        }
        true
    }

    /// A caller has no more items.
    pub(super) fn caller_ends(&mut self, at: usize, ledger: &mut Ledger) -> bool {
        if self.ours[at].ended || self.ours[at].to_send.is_some() {
            return false;
        }
        self.looked(at, |state, ours| {
            let State { machine, link, .. } = state;
            machine.end_items(StreamKey::Ours(ours.key), link);
            machine.end_items(StreamKey::Ours(ours.key), link);
        });
        self.ours[at].ended = true;
        ledger.calls[self.ours[at].id].up.ended = true;
        true
    }
}
