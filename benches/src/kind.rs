//! The kinds of calls whose cost is counted.

use std::collections::VecDeque;
use std::fmt;
use std::pin::pin;
use std::str::FromStr;
use std::task::Poll;

use futures_util::stream;
use rapace_session::{CallError, CallOptions, Observe, PendingCall};

use crate::Error;
use crate::ends::{Ends, Meter, NumbersClient, poll_once};

/// What is counted. The unit is a call, or an item of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Bytes by method id, 8 each way, in the descriptors.
    Raw8,
    /// The same with 1 KiB, in slots.
    Raw1024,
    /// The same with 8 bytes and 64 calls in flight.
    RawFlight,
    /// A number to a generated client, and the next one back, 8 bytes each in their encoding.
    Typed8,
    /// The same with 64 calls in flight.
    TypedFlight,
    /// A number of a stream from the callee.
    ItemIn,
    /// A number of a stream to the callee.
    ItemOut,
    /// As `Raw8`, and both sides count their calls.
    Raw8Observed,
    /// As `Typed8`, and both sides count their calls.
    Typed8Observed,
}

/// Set in a number, it makes that 8 bytes long in the encoding.
const EIGHT_BYTES: u64 = 1 << 50;

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Raw8,
        Self::Raw1024,
        Self::RawFlight,
        Self::Typed8,
        Self::TypedFlight,
        Self::ItemIn,
        Self::ItemOut,
        Self::Raw8Observed,
        Self::Typed8Observed,
    ];

    /// Its name, without spaces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw8 => "raw-8",
            Self::Raw1024 => "raw-1024",
            Self::RawFlight => "raw-64-in-flight",
            Self::Typed8 => "typed-8",
            Self::TypedFlight => "typed-64-in-flight",
            Self::ItemIn => "item-in",
            Self::ItemOut => "item-out",
            Self::Raw8Observed => "raw-8-observed",
            Self::Typed8Observed => "typed-8-observed",
        }
    }

    /// Ends of a session for it.
    ///
    /// # Errors
    ///
    /// When there is no session.
    pub fn ends(self) -> Result<Ends, Error> {
        match self {
            Self::Raw8Observed | Self::Typed8Observed => self.ends_that([Observe::Calls; 2]),
            _ => self.ends_that([Observe::Nothing; 2]),
        }
    }

    /// The same; and what the caller and the callee count.
    ///
    /// # Errors
    ///
    /// When there is no session.
    pub fn ends_that(self, observe: [Observe; 2]) -> Result<Ends, Error> {
        match self {
            Self::Raw8 | Self::Raw1024 | Self::RawFlight | Self::Raw8Observed => Ends::raw(observe),
            Self::Typed8 | Self::TypedFlight | Self::ItemIn | Self::ItemOut | Self::Typed8Observed => {
                Ends::typed(observe)
            }
        }
    }

    /// Makes so many calls (typed and 64 in flight: rounded up to a multiple of 64), or moves so many items.
    ///
    /// # Errors
    ///
    /// When a call fails, does not end, or has a wrong outcome.
    pub fn run(self, ends: &Ends, count: u64, meter: &mut impl Meter) -> Result<(), Error> {
        match self {
            Self::Raw8 | Self::Raw8Observed => raw(ends, &[7; 8], 1, count, meter),
            Self::Raw1024 => raw(ends, &[7; 1024], 1, count, meter),
            Self::RawFlight => raw(ends, &[7; 8], 64, count, meter),
            Self::Typed8 | Self::Typed8Observed => typed(ends, 1, count, meter),
            Self::TypedFlight => typed(ends, 64, count, meter),
            Self::ItemIn => item_in(ends, count, meter),
            Self::ItemOut => item_out(ends, count, meter),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("no such kind: {name:?}; there are {names}").into()
        })
    }
}

/// Takes the replies that have come, then makes calls until so many are in flight.
fn raw(ends: &Ends, body: &[u8], flight: usize, count: u64, meter: &mut impl Meter) -> Result<(), Error> {
    let options = CallOptions::new();
    let mut calls: VecDeque<PendingCall> = VecDeque::with_capacity(flight);
    let mut turns = Turns::of(count);
    let mut left = count;
    loop {
        meter.caller(|| -> Result<(), Error> {
            while let Some(call) = calls.pop_front() {
                if let Err(call) = echoed(call, body)? {
                    calls.push_front(call);
                    break;
                }
            }
            while left > 0 && calls.len() < flight {
                match ends.caller.try_start(1, body, &options) {
                    Ok(call) => calls.push_back(call),
                    Err(CallError::WouldBlock) => break,
                    Err(error) => return Err(error.into()),
                }
                left -= 1;
            }
            Ok(())
        })?;
        if calls.is_empty() {
            return Ok(());
        }
        meter.callee(|| ends.serve())?;
        turns.spend()?;
    }
}

/// The call is given back if it has no reply yet.
fn echoed(call: PendingCall, body: &[u8]) -> Result<Result<(), PendingCall>, Error> {
    match call.try_wait() {
        Ok(reply) if reply.as_ref().is_ok_and(|reply| reply.body == *body) => Ok(Ok(())),
        Ok(reply) => Err(format!("found {reply:?}, expected an echo").into()),
        Err(call) => Ok(Err(call)),
    }
}

/// As many callers as there are to be calls in flight, each of which makes one call after the other.
fn typed(ends: &Ends, flight: u64, count: u64, meter: &mut impl Meter) -> Result<(), Error> {
    let client = NumbersClient::new(&ends.caller);
    let mut callers: Vec<_> = (0..flight).map(|_| Box::pin(calls(&client, count.div_ceil(flight)))).collect();
    let mut turns = Turns::of(count);
    loop {
        meter.caller(|| -> Result<(), Error> {
            let mut failed = Ok(());
            callers.retain_mut(|caller| match poll_once(|cx| caller.as_mut().poll(cx)) {
                Poll::Ready(Err(error)) => {
                    failed = Err(error);
                    false
                }
                ended => ended.is_pending(),
            });
            failed
        })?;
        if callers.is_empty() {
            return Ok(());
        }
        meter.callee(|| ends.serve())?;
        turns.spend()?;
    }
}

async fn calls(client: &NumbersClient, count: u64) -> Result<(), Error> {
    for number in (0..count).map(|number| EIGHT_BYTES | number) {
        expect(client.next(number).await?, number + 1)?;
    }
    Ok(())
}

fn item_in(ends: &Ends, count: u64, meter: &mut impl Meter) -> Result<(), Error> {
    let client = NumbersClient::new(&ends.caller);
    let all = async {
        let mut items = client.count(count).await?;
        let mut wanted = 0..count;
        while let Some(item) = items.next().await {
            expect(item?, wanted.next().unwrap_or(u64::MAX))?;
        }
        expect(wanted.start, count)
    };
    poll_in_turns(ends, count, all, meter)
}

fn item_out(ends: &Ends, count: u64, meter: &mut impl Meter) -> Result<(), Error> {
    let client = NumbersClient::new(&ends.caller);
    let all = async { expect(client.sum(stream::iter(0..count)).await?, (0..count).sum()) };
    poll_in_turns(ends, count, all, meter)
}

fn poll_in_turns(
    ends: &Ends,
    count: u64,
    future: impl Future<Output = Result<(), Error>>,
    meter: &mut impl Meter,
) -> Result<(), Error> {
    let mut future = pin!(future);
    let mut turns = Turns::of(count);
    loop {
        if let Poll::Ready(result) = meter.caller(|| poll_once(|cx| future.as_mut().poll(cx))) {
            return result;
        }
        meter.callee(|| ends.serve())?;
        turns.spend()?;
    }
}

fn expect(found: u64, expected: u64) -> Result<(), Error> {
    if found == expected { Ok(()) } else { Err(format!("found the number {found}, expected {expected}").into()) }
}

/// The turns that are left to the callee. A call or an item takes one or two at most; what needs more will never end.
struct Turns(u64);

impl Turns {
    fn of(count: u64) -> Self {
        Self(count.saturating_mul(4).saturating_add(64))
    }

    fn spend(&mut self) -> Result<(), Error> {
        self.0 = self.0.checked_sub(1).ok_or("both sides have had their turns, and calls have not ended")?;
        Ok(())
    }
}
