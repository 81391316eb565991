//! Calls with items that are given up, at each point of their life.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use rapace_session::{CallError, CallOptions, Caller, SessionStats, StreamingCall, Streams};

use crate::method;
use crate::pattern::words;
use crate::stream::{BOTH, RECEIVES, SENDS, check, next, rest, send};

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Some of its request waits for room.
    Unsent,
    /// Its handler may not have begun.
    Unbegun,
    /// The caller has sent a part of an item.
    HalfAnItemUp,
    /// A part of an item has come from the callee.
    HalfAnItemDown,
    /// The caller waits for credit.
    NoCreditUp,
    /// The callee waits for credit.
    NoCreditDown,
    /// All items have been taken, and the final has not.
    ItemsTaken,
    /// The caller has ended its items.
    Ended,
    /// The final has come, and neither it nor the items before it have been taken.
    FinalCame,
}

impl Point {
    /// All of them.
    pub const ALL: [Self; 9] = {
        use Point::*;
        [Unsent, Unbegun, HalfAnItemUp, HalfAnItemDown, NoCreditUp, NoCreditDown, ItemsTaken, Ended, FinalCame]
    };

    /// Makes a call and gives it up. Gives how many items there was credit for, where that is what was waited for.
    /// `stats` are those of this side of the session, where nothing else goes on.
    ///
    /// # Errors
    ///
    /// The call's, before it was given up.
    pub async fn cancel(self, caller: &Caller, stats: impl Fn() -> SessionStats) -> Result<u64, CallError> {
        let open =
            async |method, body: &[u8], streams: Streams| caller.open(method, body, streams, &CallOptions::new()).await;
        let mut credit = 0;
        match self {
            Self::Unsent => drop(open(method::HOLD_ITEMS, &vec![7; LARGE], BOTH).await?),
            Self::Unbegun => drop(open(method::HOLD_ITEMS, b"", BOTH).await?),
            Self::HalfAnItemUp => {
                let call = open(method::HOLD_ITEMS, b"", SENDS).await?;
                send(&call, b"credit has come").await?;
                send(&call, &vec![7; LARGE]).await?;
            }
            Self::HalfAnItemDown => {
                let _call = open(method::SEND_ITEMS, &words(&[u64::MAX, LARGE as u64, 0]), RECEIVES).await?;
                until("some of the item has come", || stats().inbound_bytes > 0).await?;
            }
            Self::NoCreditUp => {
                let call = open(method::HOLD_ITEMS, b"", SENDS).await?;
                credit = send_all(&call, caller, &stats).await?;
            }
            Self::NoCreditDown => {
                let _call = open(method::SEND_ITEMS, &words(&[u64::MAX, ITEM as u64, 0]), RECEIVES).await?;
                until("the window is full", || stats().inbound_bytes as u64 >= WINDOW_ITEMS * ITEM as u64).await?;
                for _ in 0..20 {
                    turn(caller).await?;
                }
                credit = stats().inbound_bytes as u64 / ITEM as u64;
            }
            Self::ItemsTaken => {
                let call = open(method::SEND_ITEMS, &words(&[3, 5000, 0]), RECEIVES).await?;
                for number in 0..3 {
                    check(next(&call).await.is_some(), || format!("there is no item {number}"))?;
                }
            }
            Self::Ended => {
                let call = open(method::HOLD_ITEMS, b"", SENDS).await?;
                send(&call, &[7; 5000]).await?;
                call.finish();
            }
            Self::FinalCame => {
                let _call = open(method::SEND_ITEMS, &words(&[3, 5000, 0]), RECEIVES).await?;
                until("the final has come", || stats().calls_in_flight == 0).await?;
            }
        }
        Ok(credit)
    }
}

/// More than fits the segment of either side.
const LARGE: usize = 3 << 20;
/// Bytes of an item where many are sent.
const ITEM: usize = 1000;
/// So many of them there is credit for at first, with the default window: each costs 64 more.
pub const WINDOW_ITEMS: u64 = (256u64 << 10).div_ceil(ITEM as u64 + 64);
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends items until there is no credit; says how many.
async fn send_all(call: &StreamingCall, caller: &Caller, stats: impl Fn() -> SessionStats) -> Result<u64, CallError> {
    let mut sent = 0;
    loop {
        let before = sent;
        // What had no room as a whole is on its way in pieces; then the callee has taken what was sent before, and its first
        // grant has come.
        until("nothing waits for room", || stats().outbound_bytes == 0).await?;
        turn(caller).await?;
        poll_fn(|cx| {
            while call.poll_send(cx, &[7; ITEM])?.is_ready() {
                sent += 1;
            }
            Poll::Ready(Ok::<_, CallError>(()))
        })
        .await?;
        if sent == before {
            return Ok(sent);
        }
    }
}

/// What was sent before has been taken by the peer when this is ready.
async fn turn(caller: &Caller) -> Result<(), CallError> {
    caller.call(method::ECHO, b"", &CallOptions::new()).await.map(|_| ())
}

/// Waits for a condition that nobody wakes for.
async fn until(what: &str, mut condition: impl FnMut() -> bool) -> Result<(), CallError> {
    let start = Instant::now();
    while !condition() {
        check(start.elapsed() < PATIENCE, || format!("not within {PATIENCE:?}: {what}"))?;
        rest().await;
    }
    Ok(())
}
