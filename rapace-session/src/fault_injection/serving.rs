//! Faults of calls of the peer.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use parking_lot::Mutex;

use super::action::FaultAction;
use super::armed::kill_plugin;
use super::calling::status;
use super::chance::corrupt;
use super::fate::Fate;
use super::plan::FaultSide;
use super::timer::{Delay, Timer};
use crate::body::Body;
use crate::handler::IncomingCall;
use crate::shared::Shared;
use crate::status::Code;

/// What a call has yet to meet when its handler runs.
pub(crate) enum Coming {
    /// Its reply is corrupt.
    Corrupt(u64),
    /// The plugin does not live to send the answer.
    Kill,
    /// Something before an item.
    AtItem(Mutex<Item>),
}

/// What comes before an item.
pub(crate) struct Item {
    /// Items that go before that.
    left: u64,
    stage: Stage,
}

enum Stage {
    Kill,
    Delay(Duration),
    Waiting(Timer),
    Over,
}

/// Gives the call back if a handler is to have it now.
pub(crate) fn meet(mut call: IncomingCall) -> Option<IncomingCall> {
    let shared = Arc::clone(call.shared());
    let Some(fate) = shared.armed().and_then(|armed| armed.decide(FaultSide::Serving, call.method())) else {
        return Some(call);
    };
    match fate.action {
        FaultAction::Delay(time) => call.run_async(move |call| async move {
            Delay::new(&shared, time).await;
            call.begin(shared.handler());
        }),
        // Until it is cancelled, or the session ends.
        FaultAction::Drop => call.run_async(|call| async move {
            let _call = call;
            std::future::pending::<()>().await;
        }),
        FaultAction::Exhaust => call.fail(status(Code::ResourceExhausted, &fate)),
        FaultAction::Error(code) => call.fail(status(code, &fate)),
        FaultAction::Kill => {
            kill_plugin(&shared);
            // A host that has killed its plugin answers nobody.
            drop(call);
        }
        FaultAction::CorruptRequest => {
            let body = Body::from(corrupt(call.body(), fate.number));
            drop(call.replace_body(body));
            return Some(call);
        }
        FaultAction::Corrupt | FaultAction::KillAfter | FaultAction::KillAtItem(_) | FaultAction::DelayAtItem(..) => {
            call.set_coming(Coming::of(&fate));
            return Some(call);
        }
    }
    None
}

impl Coming {
    fn of(fate: &Fate) -> Option<Self> {
        let at_item = |item: u64, stage| Some(Self::AtItem(Mutex::new(Item { left: item.saturating_sub(1), stage })));
        match fate.action {
            FaultAction::Corrupt => Some(Self::Corrupt(fate.number)),
            FaultAction::KillAfter => Some(Self::Kill),
            FaultAction::KillAtItem(item) => at_item(item, Stage::Kill),
            FaultAction::DelayAtItem(item, time) => at_item(item, Stage::Delay(time)),
            _ => None,
        }
    }

    /// The call is to be answered: with these bytes, if it is with others than the handler's.
    pub(crate) fn answer(self, shared: &Shared, reply: Option<&[u8]>) -> Option<Vec<u8>> {
        match self {
            Self::Corrupt(number) => reply.map(|reply| corrupt(reply, number)),
            Self::Kill => {
                kill_plugin(shared);
                None
            }
            Self::AtItem(_) => {
                self.give_up(shared);
                None
            }
        }
    }

    /// An item is to be sent: now, or later.
    pub(crate) fn poll_item(&self, shared: &Shared, cx: &Context<'_>) -> Poll<()> {
        let Self::AtItem(item) = self else { return Poll::Ready(()) };
        let mut item = item.lock();
        if item.left > 0 {
            return Poll::Ready(());
        }
        if let Stage::Delay(time) = item.stage {
            item.stage = Stage::Waiting(Timer::after(time));
        }
        match &mut item.stage {
            Stage::Kill => kill_plugin(shared),
            Stage::Waiting(timer) => ready!(timer.poll(shared, cx)),
            Stage::Delay(_) | Stage::Over => {}
        }
        item.stage = Stage::Over;
        Poll::Ready(())
    }

    /// An item was sent.
    pub(crate) fn item_sent(&self) {
        if let Self::AtItem(item) = self {
            let mut item = item.lock();
            item.left = item.left.saturating_sub(1);
        }
    }

    /// Nobody sends items any more.
    pub(crate) fn give_up(&self, shared: &Shared) {
        if let Self::AtItem(item) = self
            && let Stage::Waiting(timer) = &mut item.lock().stage
        {
            timer.give_up(shared);
        }
    }
}
