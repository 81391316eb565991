//! The calls that the peer has in flight to this side (SPEC C1, C2, C6, C7).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rapace_core::channel::ChannelId;
use rapace_core::descriptor::{Flags, Frame, Kind};
use rapace_core::link::Link;

use crate::body::Body;
use crate::fault::Fault;
use crate::message::{Inbound, Room};
use crate::metadata::Metadata;
use crate::status::{Code, Status};

/// Names a call of the peer until its final message has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServedKey {
    index: usize,
    channel: ChannelId,
}

impl ServedKey {
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
}

#[derive(Debug)]
struct Served {
    channel: ChannelId,
    method: u32,
    stage: Stage,
    cancelled: bool,
    /// Bytes that are kept for it.
    bytes: usize,
}

#[derive(Debug)]
enum Stage {
    /// Some of its frames have come.
    Arriving(Option<Inbound>),
    /// It waits for a handler.
    Waiting,
    /// It is with a handler.
    Running,
    /// Its final message is on its way out.
    Ending,
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
}

/// The lifecycle calls: `initialize` and `shutdown` of a plugin.
pub const LIFECYCLE_METHODS: [u32; 2] = [2000, 2002];

impl ServedTable {
    pub(crate) fn new(calls_max: u32) -> Self {
        Self { entries: (0..=calls_max).map(|_| None).collect(), waiting: VecDeque::new(), in_flight: 0 }
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
        let key = ServedKey { index, channel: header.channel };
        if self.entries[index].is_none() {
            self.in_flight += 1;
        }
        let served = self.entries[index].get_or_insert(Served {
            channel: header.channel,
            method: header.method,
            stage: Stage::Arriving(None),
            cancelled: false,
            bytes: 0,
        });
        let Stage::Arriving(begun) = &mut served.stage else {
            link.discard(frame.payload);
            return Err(Fault::ChannelInUse { found: header.channel.raw(), in_flight: served.channel.raw() });
        };
        let fresh = begun.is_none();
        if let Err(fault) = Inbound::take_frame(begun, frame, link, room, false, kept) {
            if fresh {
                self.remove(key, kept);
            }
            return Err(fault);
        }
        if header.flags.has(Flags::MORE) {
            return Ok(Step::None);
        }
        let Some(message) = begun.take() else { return Ok(Step::None) };
        served.bytes = message.heap_bytes();
        served.stage = Stage::Waiting;
        match message.complete(room) {
            Err(status) => Ok(Step::Answer(key, status)),
            Ok((body, parsed)) => {
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
                });
                Ok(Step::Arrived(key))
            }
        }
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
    pub(crate) fn cancel(&mut self, channel: ChannelId, kept: &mut usize) -> Step {
        let index = if channel.is_control() { self.entries.len() - 1 } else { channel.index() };
        let Some(Some(served)) = self.entries.get_mut(index) else { return Step::None };
        if served.channel != channel || served.cancelled {
            return Step::None;
        }
        served.cancelled = true;
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
            ServedKey { index, channel },
            Status::new(Code::Cancelled, "the caller cancelled the call before it began"),
        )
    }

    /// The next call that a thread may run which already runs a handler of depth `below`: see SPEC C6.
    pub(crate) fn next(&mut self, below: u8) -> Option<Arrived> {
        let at = self.waiting.iter().position(|arrived| arrived.depth > below)?;
        let arrived = self.waiting.remove(at)?;
        if let Some(Some(served)) = self.entries.get_mut(arrived.key.index) {
            served.stage = Stage::Running;
        }
        Some(arrived)
    }

    /// Calls that wait for a handler.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a call waits that a thread may run which runs a handler of depth `below`.
    pub(crate) fn has_next(&self, below: u8) -> bool {
        self.waiting.iter().any(|arrived| arrived.depth > below)
    }

    /// Takes a call out of those that wait for a handler.
    pub(crate) fn withdraw(&mut self, key: ServedKey) {
        self.waiting.retain(|arrived| arrived.key != key);
    }

    /// The method of a call, if it still wants its final message.
    pub(crate) fn method(&self, key: ServedKey) -> Option<u32> {
        self.get(key).filter(|served| !matches!(served.stage, Stage::Ending)).map(|served| served.method)
    }

    /// Whether the caller has cancelled it, or is gone.
    pub(crate) fn is_cancelled(&self, key: ServedKey) -> bool {
        self.get(key).is_none_or(|served| served.cancelled)
    }

    /// The handler is done, and the final message waits for room.
    pub(crate) fn ending(&mut self, key: ServedKey, kept: &mut usize) {
        if let Some(served) = self.entries.get_mut(key.index).and_then(Option::as_mut)
            && served.channel == key.channel
        {
            *kept -= std::mem::take(&mut served.bytes);
            served.stage = Stage::Ending;
        }
    }

    /// The final message has been sent.
    pub(crate) fn remove(&mut self, key: ServedKey, kept: &mut usize) {
        if self.get(key).is_some()
            && let Some(served) = self.entries[key.index].take()
        {
            *kept -= served.bytes;
            self.in_flight -= 1;
        }
    }

    /// Forgets all of them: the session has ended.
    pub(crate) fn clear(&mut self, kept: &mut usize) {
        self.waiting.clear();
        for served in self.entries.iter_mut().filter_map(Option::take) {
            *kept -= served.bytes;
            if let Stage::Arriving(Some(begun)) = served.stage {
                *kept -= begun.heap_bytes();
            }
        }
        self.in_flight = 0;
    }

    /// Calls of the peer that are in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn get(&self, key: ServedKey) -> Option<&Served> {
        self.entries.get(key.index)?.as_ref().filter(|served| served.channel == key.channel)
    }
}

/// A peer may say any number of nanoseconds; later than this is as good as never.
const LONGEST_DEADLINE: Duration = Duration::from_secs(365 * 24 * 3600);
