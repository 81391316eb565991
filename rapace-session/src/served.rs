//! The calls that the peer has in flight to this side (SPEC C1, C2, C6, C7).

mod items;
mod listed;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::task::Waker;
use std::time::{Duration, Instant};

use rapace_core::channel::ChannelId;
use rapace_core::descriptor::{Flags, Frame, FrameHeader, Kind};
use rapace_core::link::Link;

use crate::body::Body;
use crate::fault::Fault;
use crate::flow::{Flows, Inflow, Outflow, Streams};
use crate::message::{Inbound, Room};
use crate::metadata::Metadata;
use crate::observe::MethodCounts;
use crate::status::{Code, Status};
use crate::tally::{End, Ended, Tally};

/// Names a call of the peer until its final message has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServedKey {
    /// That of the call table.
    place: u32,
    channel: ChannelId,
}

impl ServedKey {
    fn new(index: usize, channel: ChannelId) -> Self {
        // A table has no more places than there are channels.
        Self { place: u32::try_from(index).unwrap_or(u32::MAX), channel }
    }

    #[cfg(test)]
    pub(crate) fn at(channel: ChannelId) -> Self {
        Self::new(channel.index(), channel)
    }

    #[inline]
    fn index(self) -> usize {
        self.place as usize
    }

    /// Its channel.
    pub(crate) fn channel(self) -> ChannelId {
        self.channel
    }
}

/// A call of the peer that is complete and waits for its handler.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) key: ServedKey,
    pub(crate) method: u32,
    pub(crate) depth: u8,
    pub(crate) body: Body,
    pub(crate) metadata: Metadata,
    pub(crate) deadline: Option<Instant>,
    pub(crate) streams: Streams,
}

#[derive(Debug)]
struct Served {
    channel: ChannelId,
    method: u32,
    stage: Stage,
    cancelled: bool,
    timed: bool,
    /// Who is to be woken when it is cancelled, by the number that it has among them.
    wakers: Vec<(u64, Waker)>,
    /// Whether its handler wants to hear of a cancel itself.
    asks: bool,
    /// Its items, if it streams any.
    flows: Option<Box<Flows>>,
    /// Bytes that are kept for it.
    bytes: usize,
    /// Bytes of its request: a message has at most 2^31.
    request_bytes: u32,
}

#[derive(Debug)]
enum Stage {
    /// Some of its frames have come.
    Arriving(Option<Box<Inbound>>),
    /// It waits for a handler.
    Waiting,
    /// It is with a handler.
    Running,
    /// Its final message is on its way out.
    Ending,
}

/// The place of the executor among those who hear of a cancel.
const EXECUTOR: u64 = u64::MAX;

/// What is to become of a handler that is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It goes on. One that asks whether it is cancelled decides itself when to end.
    Wanted { asks: bool },
    /// Its call is cancelled, and it does not ask.
    Unwanted,
    /// Its call has been answered, or the session has ended.
    Gone,
}

/// What a frame of a request, or a cancel, did.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// Nothing to do.
    None,
    /// A call waits for a handler.
    Arrived(ServedKey),
    /// A call is to be answered with an error at once.
    Answer(ServedKey, Status),
}

/// The table of calls that the peer has in flight.
#[derive(Debug)]
pub(crate) struct ServedTable {
    /// Indices below `calls_max` are those of channels; the one behind them is the lifecycle call on channel 0.
    entries: Vec<Option<Served>>,
    waiting: VecDeque<Arrived>,
    in_flight: usize,
    /// Calls with items on their way in.
    receiving: usize,
    /// What is counted of calls, if anything is.
    tally: Option<Box<Tally>>,
}

/// The lifecycle calls: `initialize` and `shutdown` of a plugin.
pub const LIFECYCLE_METHODS: [u32; 2] = [2000, 2002];

impl ServedTable {
    /// What is kept for a call beside its bytes and its streams. Lists that have grown may be half empty.
    pub(crate) const BYTES_EACH: usize = size_of::<Option<Served>>() + 2 * size_of::<Arrived>();

    pub(crate) fn new(calls_max: u32) -> Self {
        let entries = (0..=calls_max).map(|_| None).collect();
        Self { entries, waiting: VecDeque::new(), in_flight: 0, receiving: 0, tally: None }
    }

    /// Calls are counted from now on.
    pub(crate) fn observe(&mut self, tally: Tally) {
        self.tally = Some(Box::new(tally));
    }

    /// Takes a frame of a request.
    ///
    /// The payload has been taken or discarded, whatever comes back.
    pub(crate) fn handle(
        &mut self,
        frame: Frame,
        link: &mut Link,
        room: Room,
        kept: &mut usize,
        window: u32,
        now: impl FnOnce() -> Instant,
    ) -> Result<Step, Fault> {
        let header = frame.header;
        let index = match self.place(&frame) {
            Ok(index) => index,
            Err(fault) => {
                link.discard(frame.payload);
                return Err(fault);
            }
        };
        let key = ServedKey::new(index, header.channel);
        if self.entries[index].is_none() {
            let plain = Inbound::is_plain(&frame, room, *kept);
            self.enter(index, &header, window, plain);
            if plain {
                let request_bytes = length(frame.payload.bytes());
                let body = Body::of(&frame, link);
                let bytes = body.heap_bytes();
                *kept += bytes;
                if let Some(served) = &mut self.entries[index] {
                    (served.bytes, served.request_bytes) = (bytes, request_bytes);
                    if let Some(tally) = &mut self.tally {
                        served.timed = tally.begin(index);
                    }
                }
                self.waiting.push_back(Arrived {
                    key,
                    method: header.method,
                    depth: header.depth,
                    body,
                    metadata: Metadata::new(),
                    deadline: None,
                    streams: streams(&header),
                });
                return Ok(Step::Arrived(key));
            }
        }
        let Some(served) = &mut self.entries[index] else { return Ok(Step::None) };
        let Stage::Arriving(begun) = &mut served.stage else {
            link.discard(frame.payload);
            return Err(Fault::ChannelInUse { found: header.channel.raw(), in_flight: served.channel.raw() });
        };
        let fresh = begun.is_none();
        if let Err(fault) = Inbound::take_frame(begun, frame, link, room, false, kept) {
            if fresh {
                // Nobody waits for what has never arrived.
                self.remove(key, kept, &mut Vec::new());
            }
            return Err(fault);
        }
        if header.flags.has(Flags::MORE) {
            return Ok(Step::None);
        }
        let Some(message) = begun.take() else { return Ok(Step::None) };
        served.bytes = message.heap_bytes();
        served.stage = Stage::Waiting;
        if let Some(tally) = &mut self.tally {
            served.timed = tally.begin(index);
        }
        match message.complete(room, link) {
            Err(status) => Ok(Step::Answer(key, status)),
            Ok((body, parsed)) => {
                served.request_bytes = length(body.len());
                served.bytes += parsed.metadata.heap_bytes();
                *kept += parsed.metadata.heap_bytes();
                let deadline = parsed.time_left.map(|left| now() + left.min(LONGEST_DEADLINE));
                self.waiting.push_back(Arrived {
                    key,
                    method: header.method,
                    depth: header.depth,
                    body,
                    metadata: parsed.metadata,
                    deadline,
                    streams: streams(&header),
                });
                Ok(Step::Arrived(key))
            }
        }
    }

    /// A call takes its entry.
    fn enter(&mut self, index: usize, header: &FrameHeader, window: u32, arrived: bool) {
        self.in_flight += 1;
        self.receiving += usize::from(header.flags.has(Flags::ITEMS));
        self.entries[index] = Some(Served {
            channel: header.channel,
            method: header.method,
            stage: if arrived { Stage::Waiting } else { Stage::Arriving(None) },
            cancelled: false,
            timed: false,
            wakers: Vec::new(),
            asks: false,
            flows: flows(header, window),
            bytes: 0,
            request_bytes: 0,
        });
    }

    /// The index where a frame of a request belongs.
    fn place(&self, frame: &Frame) -> Result<usize, Fault> {
        let header = &frame.header;
        debug_assert_eq!(header.kind, Kind::Request);
        let lifecycle = self.entries.len() - 1;
        let index = if header.channel.is_control() {
            if !LIFECYCLE_METHODS.contains(&header.method) {
                return Err(Fault::NotLifecycle { found: header.method });
            }
            lifecycle
        } else {
            let (index, generation) = (header.channel.index(), header.channel.generation_bits());
            if index >= lifecycle || generation == 0 {
                #[expect(clippy::cast_possible_truncation, reason = "at most 4096")]
                let bound = lifecycle as u32;
                return Err(Fault::Channel { channel: header.channel.raw(), found: index, generation, bound });
            }
            index
        };
        match &self.entries[index] {
            Some(served) if served.channel != header.channel => {
                Err(Fault::ChannelInUse { found: header.channel.raw(), in_flight: served.channel.raw() })
            }
            _ => Ok(index),
        }
    }

    /// The caller no longer wants a call. One that is not in flight has crossed its final.
    ///
    /// `wakes` gets who is to be woken.
    pub(crate) fn cancel(&mut self, channel: ChannelId, kept: &mut usize, wakes: &mut Vec<Waker>) -> Step {
        let index = if channel.is_control() { self.entries.len() - 1 } else { channel.index() };
        let Some(Some(served)) = self.entries.get_mut(index) else { return Step::None };
        if served.channel != channel || served.cancelled {
            return Step::None;
        }
        served.cancelled = true;
        served.wake(wakes);
        match &mut served.stage {
            Stage::Running | Stage::Ending => return Step::None,
            Stage::Arriving(begun) => {
                if let Some(begun) = begun {
                    begun.drop_body(None, kept);
                }
                served.stage = Stage::Waiting;
            }
            Stage::Waiting => {}
        }
        Step::Answer(
            ServedKey::new(index, channel),
            Status::new(Code::Cancelled, "the caller cancelled the call before it began"),
        )
    }

    /// Whether a call is in flight on this channel, and not cancelled.
    pub(crate) fn is_wanted(&self, channel: ChannelId) -> bool {
        let index = if channel.is_control() { self.entries.len() - 1 } else { channel.index() };
        let served = self.entries.get(index).and_then(Option::as_ref);
        served.is_some_and(|served| served.channel == channel && !served.cancelled)
    }

    /// The next call that a thread may run which already runs a handler of depth `below`: see SPEC C6.
    pub(crate) fn next(&mut self, below: u8) -> Option<Arrived> {
        let key = self.peek(below)?.key;
        if let Some(Some(served)) = self.entries.get_mut(key.index()) {
            served.stage = Stage::Running;
        }
        match self.waiting.front() {
            Some(arrived) if arrived.key == key => self.waiting.pop_front(),
            _ => self.waiting.remove(self.waiting.iter().position(|arrived| arrived.key == key)?),
        }
    }

    /// The same, left in its place.
    pub(crate) fn peek(&self, below: u8) -> Option<&Arrived> {
        self.waiting.iter().find(|arrived| arrived.depth > below)
    }

    /// Calls that wait for a handler.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a call waits that a thread may run which runs a handler of depth `below`.
    pub(crate) fn has_next(&self, below: u8) -> bool {
        self.peek(below).is_some()
    }

    /// Takes a call out of those that wait for a handler.
    pub(crate) fn withdraw(&mut self, key: ServedKey, link: &mut Link) {
        if let Some(at) = self.waiting.iter().position(|arrived| arrived.key == key)
            && let Some(arrived) = self.waiting.remove(at)
        {
            arrived.body.discard(link);
        }
    }

    /// The method of a call, if it still wants its final message.
    pub(crate) fn method(&self, key: ServedKey) -> Option<u32> {
        self.get(key).filter(|served| !matches!(served.stage, Stage::Ending)).map(|served| served.method)
    }

    /// Whether the caller has cancelled it, or is gone.
    pub(crate) fn is_cancelled(&self, key: ServedKey) -> bool {
        self.get(key).is_none_or(|served| served.cancelled)
    }

    /// A call is answered, once, with a reply of so many bytes.
    #[inline(always)]
    pub(crate) fn answered(&mut self, key: ServedKey, end: End, reply_bytes: usize) {
        if self.tally.is_some() {
            self.count(key, end, reply_bytes);
        }
    }

    fn count(&mut self, key: ServedKey, end: End, reply_bytes: usize) {
        if let Some(tally) = &mut self.tally
            && let Some(Some(served)) = self.entries.get_mut(key.index())
            && served.channel == key.channel
        {
            served.count(tally, key.index(), end, reply_bytes);
        }
    }

    /// A call is answered with a reply of so many bytes, which has been sent; `wakes` gets who still waits for something of the
    /// call.
    #[inline(always)]
    pub(crate) fn done(
        &mut self,
        key: ServedKey,
        end: End,
        reply_bytes: usize,
        kept: &mut usize,
        wakes: &mut Vec<Waker>,
    ) {
        self.answered(key, end, reply_bytes);
        self.remove(key, kept, wakes);
    }

    /// What has been counted.
    pub(crate) fn counts(&mut self) -> Vec<MethodCounts> {
        let in_flight = self.entries.iter().flatten().filter(|served| served.is_in_flight()).map(|served| {
            let (request_bytes, reply_bytes) = served.transferred();
            (served.method, request_bytes, reply_bytes)
        });
        self.tally.as_mut().map_or_else(Vec::new, |tally| tally.counts(in_flight))
    }

    /// The handler is done, and the final message waits for room.
    pub(crate) fn ending(&mut self, key: ServedKey, kept: &mut usize) {
        if let Some(served) = self.entries.get_mut(key.index()).and_then(Option::as_mut)
            && served.channel == key.channel
        {
            *kept -= std::mem::take(&mut served.bytes);
            served.stage = Stage::Ending;
        }
    }

    /// The final message has been sent; `wakes` gets who still waits for something of the call.
    pub(crate) fn remove(&mut self, key: ServedKey, kept: &mut usize, wakes: &mut Vec<Waker>) {
        if self.get(key).is_some()
            && let Some(mut served) = self.entries[key.index()].take()
        {
            served.wake(wakes);
            *kept -= served.kept_bytes();
            self.in_flight -= 1;
            self.receiving -= usize::from(served.receives());
        }
    }

    /// Forgets all of them: the session has ended.
    pub(crate) fn clear(&mut self, kept: &mut usize, wakes: &mut Vec<Waker>) {
        self.waiting.clear();
        let entries = self.entries.iter_mut().enumerate();
        for (index, mut served) in entries.filter_map(|(index, entry)| Some((index, entry.take()?))) {
            *kept -= served.kept_bytes();
            served.wake(wakes);
            if let Some(tally) = &mut self.tally
                && served.is_in_flight()
            {
                served.count(tally, index, End::of(Code::Unavailable), 0);
            }
            if let Stage::Arriving(Some(begun)) = served.stage {
                *kept -= begun.heap_bytes();
            }
        }
        (self.in_flight, self.receiving) = (0, 0);
    }

    /// Who is to be woken when a call is cancelled, in the place of this number; whether it is, or has ended.
    pub(crate) fn set_cancel_waker(
        &mut self,
        key: ServedKey,
        number: u64,
        waker: &Waker,
        spent: &mut Vec<Waker>,
    ) -> bool {
        let Some(served) = self.get_mut(key) else { return true };
        served.asks |= number != EXECUTOR;
        if served.cancelled {
            return true;
        }
        match served.wakers.iter_mut().find(|(taken, _)| *taken == number) {
            Some((_, old)) if old.will_wake(waker) => {}
            Some((_, old)) => spent.push(std::mem::replace(old, waker.clone())),
            None => served.wakers.push((number, waker.clone())),
        }
        false
    }

    /// Whether the caller has cancelled a call, for its handler.
    pub(crate) fn ask_whether_cancelled(&mut self, key: ServedKey) -> bool {
        self.get_mut(key).is_none_or(|served| {
            served.asks = true;
            served.cancelled
        })
    }

    /// What the executor is to do with the handler of a call; it is woken when that changes.
    pub(crate) fn stands(&mut self, key: ServedKey, waker: &Waker, spent: &mut Vec<Waker>) -> Standing {
        let over = self.set_cancel_waker(key, EXECUTOR, waker, spent);
        match self.get(key) {
            None => Standing::Gone,
            Some(served) if over && !served.asks => Standing::Unwanted,
            Some(served) => Standing::Wanted { asks: served.asks },
        }
    }

    /// Somebody does not want to hear of it any more.
    pub(crate) fn remove_cancel_waker(&mut self, key: ServedKey, number: u64) -> Option<Waker> {
        let served = self.get_mut(key)?;
        let at = served.wakers.iter().position(|(taken, _)| *taken == number)?;
        Some(served.wakers.swap_remove(at).1)
    }

    /// The streams of a call that wants its final.
    #[cfg(test)]
    pub(crate) fn flows(&self, key: ServedKey) -> Option<&Flows> {
        let served = self.get(key).filter(|served| !served.cancelled && !matches!(served.stage, Stage::Ending))?;
        served.flows.as_deref()
    }

    /// Whether nothing of a call is left here: its final has been sent to the end.
    #[cfg(test)]
    pub(crate) fn is_over(&self, key: ServedKey) -> bool {
        self.get(key).is_none()
    }

    /// Calls of the peer that are in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn get(&self, key: ServedKey) -> Option<&Served> {
        self.entries.get(key.index())?.as_ref().filter(|served| served.channel == key.channel)
    }

    fn get_mut(&mut self, key: ServedKey) -> Option<&mut Served> {
        self.entries.get_mut(key.index())?.as_mut().filter(|served| served.channel == key.channel)
    }
}

impl Served {
    fn receives(&self) -> bool {
        self.flows.as_ref().is_some_and(|flows| flows.inflow.is_some())
    }

    /// Whether it has arrived and was not answered.
    fn is_in_flight(&self) -> bool {
        matches!(self.stage, Stage::Waiting | Stage::Running)
    }

    /// Bytes of the request, and of the items each way.
    #[inline]
    fn transferred(&self) -> (u64, u64) {
        let request = self.request_bytes.into();
        self.flows.as_ref().map_or((request, 0), |flows| (request + flows.received(), flows.sent()))
    }

    #[inline]
    fn count(&self, tally: &mut Tally, index: usize, end: End, reply_bytes: usize) {
        let (request_bytes, items) = self.transferred();
        let (reply_bytes, timed) = (items + reply_bytes as u64, self.timed.then_some(index));
        tally.ended(self.method, Ended { end, request_bytes, reply_bytes, timed });
    }

    /// Bytes that are kept for it, but for its request while that arrives.
    fn kept_bytes(&self) -> usize {
        let inflow = self.flows.as_ref().and_then(|flows| flows.inflow.as_ref());
        self.bytes + inflow.map_or(0, Inflow::kept_bytes)
    }

    /// Takes out who waits for it in any way.
    fn wake(&mut self, wakes: &mut Vec<Waker>) {
        wakes.extend(self.wakers.drain(..).map(|(_, waker)| waker));
        if let Some(flows) = &mut self.flows {
            wakes.extend(flows.wakers());
        }
    }
}

#[inline]
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// What a request with this header streams.
fn streams(header: &FrameHeader) -> Streams {
    Streams { sends: header.flags.has(Flags::ITEMS), receives: header.flags.has(Flags::CREDIT) }
}

fn flows(header: &FrameHeader, window: u32) -> Option<Box<Flows>> {
    let streams = streams(header);
    streams.any().then(|| {
        let inflow = streams.sends.then(|| Inflow::new(window));
        let outflow = streams.receives.then(|| Outflow::new(header.credit));
        Box::new(Flows { inflow, outflow })
    })
}

/// A peer may say any number of nanoseconds; later than this is as good as never.
const LONGEST_DEADLINE: Duration = Duration::from_secs(365 * 24 * 3600);
