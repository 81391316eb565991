//! Faults of calls that this side makes.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::action::FaultAction;
use super::armed::{kill_plugin, send_kill};
use super::chance::corrupt;
use super::fate::Fate;
use super::plan::FaultSide;
use super::timer::Timer;
use crate::body::Body;
use crate::calls::{CallKey, Outcome};
use crate::error::{CallError, SessionEnd};
use crate::lock::Guard;
use crate::machine::{Request, Unsent};
use crate::patience::Patience;
use crate::shared::{Purpose, Shared};
use crate::state::State;
use crate::status::{Code, Status};

/// What a call meets before it is sent, and has to.
#[derive(Debug, Default)]
pub(crate) struct Meeting {
    /// Whether the plan was asked.
    asked: bool,
    hold: Option<Hold>,
    timer: Option<Timer>,
    /// What is sent in place of the body.
    body: Option<Arc<[u8]>>,
    /// What becomes of its reply.
    reply: Option<Fate>,
}

/// What holds a call back.
#[derive(Clone, Copy, Debug)]
enum Hold {
    /// It goes behind this time.
    For(Duration),
    /// It is lost.
    Lost,
    /// There is never room for it.
    NoRoom,
}

impl Meeting {
    /// Asks the plan, once.
    fn ask(&mut self, shared: &Shared, request: &Request<'_>) -> Result<(), CallError> {
        if std::mem::replace(&mut self.asked, true) {
            return Ok(());
        }
        let fate = shared.armed().and_then(|armed| armed.decide(FaultSide::Calling, request.method));
        let Some(fate) = fate else { return Ok(()) };
        match fate.action {
            FaultAction::Delay(time) => self.hold = Some(Hold::For(time)),
            FaultAction::Drop => self.hold = Some(Hold::Lost),
            FaultAction::Exhaust => self.hold = Some(Hold::NoRoom),
            FaultAction::Error(code) => return Err(CallError::Status(status(code, &fate))),
            // The call meets what is left of the session.
            FaultAction::Kill => kill_plugin(shared),
            FaultAction::CorruptRequest => self.body = Some(corrupt(request.body, fate.number).into()),
            FaultAction::Corrupt | FaultAction::KillAfter => self.reply = Some(fate),
            // No rule for items hits a call on this side.
            FaultAction::KillAtItem(_) | FaultAction::DelayAtItem(..) => {}
        }
        Ok(())
    }

    /// Waits on this thread until the request may go.
    fn wait(
        &mut self,
        shared: &Arc<Shared>,
        request: &mut Request<'_>,
        patience: &mut Patience,
    ) -> Result<(), CallError> {
        self.ask(shared, request)?;
        let Some(hold) = self.hold.take() else { return Ok(()) };
        let held = match (hold, patience.left()) {
            (Hold::For(time), Some(left)) => Patience::new(time.min(left)),
            (Hold::For(time), None) => Patience::new(time),
            (Hold::Lost | Hold::NoRoom, Some(left)) => Patience::new(left),
            (Hold::Lost | Hold::NoRoom, None) => Patience::endless(),
        };
        let end = shared.wait(Purpose::Future, &mut held.started(), |state| state.machine.end().cloned());
        match end {
            Some(end) => Err(CallError::SessionEnded { end, sent: false }),
            None => released(hold, patience),
        }?;
        if request.time_left.is_some() {
            // One without an end stays so.
            request.time_left = patience.left().or(request.time_left);
        }
        Ok(())
    }

    /// The same in a task.
    pub(crate) fn poll(
        &mut self,
        shared: &Shared,
        cx: &Context<'_>,
        request: &Request<'_>,
        patience: &mut Patience,
    ) -> Poll<Result<(), CallError>> {
        self.ask(shared, request)?;
        let Some(hold) = self.hold else { return Poll::Ready(Ok(())) };
        let timer = self.timer.get_or_insert_with(|| match (hold, patience.until()) {
            (Hold::For(time), Some(until)) => Timer::after(time).or_at(until),
            (Hold::For(time), None) => Timer::after(time),
            (Hold::Lost | Hold::NoRoom, until) => Timer::until(until),
        });
        ready!(timer.poll(shared, cx));
        (self.hold, self.timer) = (None, None);
        let end = shared.state().machine.end().cloned();
        Poll::Ready(match end {
            Some(end) => Err(CallError::SessionEnded { end, sent: false }),
            None => released(hold, patience),
        })
    }

    /// The same for who does not wait.
    fn pass(&mut self, shared: &Shared, request: &Request<'_>) -> Result<(), CallError> {
        self.ask(shared, request)?;
        if self.hold.is_some() { Err(CallError::WouldBlock) } else { Ok(()) }
    }

    /// What is sent in place of the body.
    pub(crate) fn body(&self) -> Option<Arc<[u8]>> {
        self.body.clone()
    }

    /// The request was sent: from now on it is this call.
    pub(crate) fn sent(&mut self, state: &mut State, key: CallKey) {
        state.replies.0.extend(self.reply.take().map(|fate| (key, fate)));
    }

    /// Nobody waits any more. It is due before this goes, unless it was ready.
    pub(crate) fn give_up(&mut self, shared: &Shared) {
        if let Some(timer) = &mut self.timer {
            timer.give_up(shared);
        }
    }
}

impl Shared {
    /// Sends a request by way of `open`, with what it is to meet.
    pub(crate) fn open_with_faults<'a>(
        self: &'a Arc<Self>,
        mut request: Request<'_>,
        patience: &mut Patience,
        open: impl FnMut(&mut State, &Request<'_>) -> Result<CallKey, Unsent>,
    ) -> Result<(Guard<'a, State>, CallKey), CallError> {
        let mut meeting = Meeting::default();
        meeting.wait(self, &mut request, patience)?;
        let body = meeting.body();
        let request = Request { body: body.as_deref().unwrap_or(request.body), ..request };
        let (mut state, key) = self.open_now(request, patience, open)?;
        meeting.sent(&mut state, key);
        Ok((state, key))
    }

    /// The same for who does not wait.
    pub(crate) fn try_open_with_faults(&self, request: &Request<'_>) -> Result<CallKey, CallError> {
        let mut meeting = Meeting::default();
        meeting.pass(self, request)?;
        let body = meeting.body();
        let mut state = self.state();
        let opened = state.try_open(&Request { body: body.as_deref().unwrap_or(request.body), ..*request });
        if let Ok(key) = opened {
            meeting.sent(&mut state, key);
        }
        self.leave(state);
        opened
    }
}

/// A hold has ended with its time, or with that of the caller.
fn released(hold: Hold, patience: &mut Patience) -> Result<(), CallError> {
    let waited = patience.time();
    match hold {
        Hold::NoRoom => Err(CallError::NoRoom { waited }),
        Hold::Lost => Err(CallError::DeadlineExceeded { waited }),
        Hold::For(_) if patience.left().is_some_and(|left| left.is_zero()) => {
            Err(CallError::DeadlineExceeded { waited })
        }
        Hold::For(_) => Ok(()),
    }
}

/// What becomes of replies that have not come.
#[derive(Debug, Default)]
pub(crate) struct Replies(pub(super) Vec<(CallKey, Fate)>);

impl Replies {
    /// Nobody waits for the reply any more.
    pub(crate) fn forget(&mut self, key: CallKey) {
        self.0.retain(|(other, _)| *other != key);
    }
}

/// Whether the plugin is to die before a call has its outcome, and has not yet: it is killed then, and nobody waits for its
/// end with the session's lock. Whoever drains the ring hears of it, as of any death.
pub(crate) fn waits_for_death(shared: &Shared, state: &mut State, key: CallKey) -> bool {
    let dies = |(other, fate): &(CallKey, Fate)| *other == key && fate.action == FaultAction::KillAfter;
    if !state.replies.0.iter().any(dies) || !state.machine.has_answer(key) || state.machine.end().is_some() {
        return false;
    }
    if !send_kill(shared) {
        // A host that has started no process loses the session as if it had.
        state.peer_gone(None);
    }
    state.machine.end().is_none()
}

/// What a call's outcome has become.
pub(crate) fn meet_reply(state: &mut State, key: CallKey, outcome: Outcome) -> Outcome {
    let Some(at) = state.replies.0.iter().position(|(other, _)| *other == key) else { return outcome };
    let (_, fate) = state.replies.0.swap_remove(at);
    match (fate.action, outcome) {
        (FaultAction::Corrupt, Ok(mut reply)) => {
            let body = Body::from(corrupt(&reply.body, fate.number));
            std::mem::replace(&mut reply.body, body).discard(&mut state.link);
            return Ok(reply);
        }
        (FaultAction::KillAfter, Ok(reply)) => reply.body.discard(&mut state.link),
        (FaultAction::KillAfter, Err(CallError::Status(_))) => {}
        (_, outcome) => return outcome,
    }
    let end = state.machine.end().cloned().unwrap_or_else(|| Arc::new(SessionEnd::PeerGone(None)));
    Err(CallError::SessionEnded { end, sent: true })
}

/// The status of an injected error.
pub(super) fn status(code: Code, fate: &Fate) -> Status {
    Status::new(code, format!("injected fault: {fate}"))
}
