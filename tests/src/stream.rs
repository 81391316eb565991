//! Calls with items as both sides make them, and what is to come of them.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use rapace_session::{Body, CallError, CallOptions, Caller, Code, Reply, Status, StreamingCall, Streams};

use crate::join::Job;
use crate::method;
use crate::pattern::{pattern, word, words};

/// The caller sends items.
pub const SENDS: Streams = Streams { sends: true, receives: false };
/// The caller receives items.
pub const RECEIVES: Streams = Streams { sends: false, receives: true };
/// It does both.
pub const BOTH: Streams = Streams { sends: true, receives: true };

/// What goes beside a request and its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The callee sends items.
    Server,
    /// The caller sends items.
    Client,
    /// The caller sends items and gets them back.
    Both,
    /// Nothing does: the request has the bytes.
    Unary,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Server, Self::Client, Self::Both, Self::Unary];
}

/// A call, and how much goes through it.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// What goes beside it.
    pub kind: Kind,
    /// How many items there are.
    pub count: u64,
    /// Bytes of each of them.
    pub bytes: usize,
    /// What they are made of.
    pub seed: u64,
}

impl Load {
    /// So many calls of all kinds, with items of various sizes up to this one.
    pub fn mixed(calls: usize, count: u64, bytes: usize) -> Vec<Self> {
        let load = |index: usize| {
            let bytes = if index.is_multiple_of(3) { bytes / 100 } else { bytes };
            Self { kind: Kind::ALL[index % 4], count, bytes, seed: (index as u64) << 32 }
        };
        (0..calls).map(load).collect()
    }

    /// What the callee is told.
    pub fn body(&self) -> Vec<u8> {
        words(&[self.count, self.bytes as u64, self.seed])
    }

    /// The same for a callee.
    pub fn of(body: &[u8], kind: Kind) -> Self {
        let bytes = usize::try_from(word(body, 1)).unwrap_or(0);
        Self { kind, count: word(body, 0), bytes, seed: word(body, 2) }
    }

    /// The item of this number.
    pub fn item(&self, number: u64) -> Vec<u8> {
        pattern(self.bytes, self.seed.wrapping_add(number))
    }

    /// Whether this is the item of this number.
    ///
    /// # Errors
    ///
    /// Data loss.
    pub fn check(&self, number: u64, item: &[u8]) -> Result<(), CallError> {
        check(item == self.item(number), || format!("item {number} is not as it was, or not in its place"))
    }

    /// Makes the call, and checks what comes.
    ///
    /// # Errors
    ///
    /// The call's, or data loss.
    pub async fn run(self, caller: Caller) -> Result<(), CallError> {
        match self.kind {
            Kind::Server => self.receive(&caller).await,
            Kind::Client => self.send(&caller).await,
            Kind::Both => self.exchange(&caller).await,
            Kind::Unary => {
                let body = self.item(0);
                let reply = caller.call(method::ECHO, &body, &CallOptions::new()).await?;
                check(*reply.body == body[..], || "the reply is not the request".to_owned())
            }
        }
    }

    /// The same, boxed.
    pub fn job(self, caller: Caller) -> Job<'static, Result<(), CallError>> {
        Box::pin(self.run(caller))
    }

    async fn receive(&self, caller: &Caller) -> Result<(), CallError> {
        let call = caller.open(method::SEND_ITEMS, &self.body(), RECEIVES, &patient()).await?;
        let mut number = 0;
        while let Some(item) = next(&call).await {
            self.check(number, &item)?;
            number += 1;
        }
        self.check_count(number, &reply(&call).await?)
    }

    async fn send(&self, caller: &Caller) -> Result<(), CallError> {
        let call = caller.open(method::TAKE_ITEMS, &self.body(), SENDS, &patient()).await?;
        for number in 0..self.count {
            send(&call, &self.item(number)).await?;
        }
        call.finish();
        self.check_count(self.count, &reply(&call).await?)
    }

    async fn exchange(&self, caller: &Caller) -> Result<(), CallError> {
        let call = caller.open(method::ECHO_ITEMS, &self.body(), BOTH, &patient()).await?;
        let (mut sent, mut taken, mut finished) = (0, 0, false);
        poll_fn(|cx| {
            loop {
                while sent < self.count && call.poll_send(cx, &self.item(sent))?.is_ready() {
                    sent += 1;
                }
                if sent == self.count && !std::mem::replace(&mut finished, true) {
                    call.finish();
                }
                match call.poll_item(cx) {
                    Poll::Ready(Some(item)) => self.check(taken, &item)?,
                    Poll::Ready(None) => return Poll::Ready(Ok::<_, CallError>(())),
                    Poll::Pending => return Poll::Pending,
                }
                taken += 1;
            }
        })
        .await?;
        self.check_count(taken, &reply(&call).await?)
    }

    fn check_count(&self, found: u64, reply: &Reply) -> Result<(), CallError> {
        let said = word(&reply.body, 0);
        check(found == self.count && said == found, || format!("{found} items of {}, says {said}", self.count))
    }
}

/// Streams have no end of their own: one that is stuck fails its test by this.
fn patient() -> CallOptions {
    CallOptions::new().deadline(Duration::from_secs(60))
}

/// Data loss, unless all is well.
///
/// # Errors
///
/// With what is wrong.
pub fn check(well: bool, what: impl FnOnce() -> String) -> Result<(), CallError> {
    if well { Ok(()) } else { Err(CallError::Status(Status::new(Code::DataLoss, what()))) }
}

/// Sends an item.
///
/// # Errors
///
/// As [`StreamingCall::poll_send`].
pub async fn send(call: &StreamingCall, item: &[u8]) -> Result<(), CallError> {
    poll_fn(|cx| call.poll_send(cx, item)).await
}

/// The next item.
pub async fn next(call: &StreamingCall) -> Option<Body> {
    poll_fn(|cx| call.poll_item(cx)).await
}

/// How the call has ended.
///
/// # Errors
///
/// As [`StreamingCall::poll_reply`].
pub async fn reply(call: &StreamingCall) -> Result<Reply, CallError> {
    poll_fn(|cx| call.poll_reply(cx)).await
}

/// Lets others have their turn.
pub async fn rest() {
    let mut rested = false;
    poll_fn(|cx: &mut Context<'_>| {
        if std::mem::replace(&mut rested, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
