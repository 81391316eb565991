//! A plugin's end of a session without its manners: frames go out as they are told.

use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use rapace_core::descriptor::{BODY_WORDS, Flags, FrameHeader, INLINE_BYTES, Inline, Kind, Payload, Run, Verb, encode};
use rapace_core::fake::FakePeer;
use rapace_core::layout::{LINE_BYTES, PAGE_BYTES, header};
use rapace_core::segment::Segment;
use rapace_core::socket::Socket;
use rapace_core::{ChannelId, Geometry};
use rapace_session::{Features, Hello};

use crate::Failure;

/// How long a raw peer waits for anything.
const PATIENCE: Duration = Duration::from_secs(60);
const ASLEEP: u64 = 1;
const EPOCH_SHIFT: u32 = 2;
const KIND_MASK: u32 = 0b111;

/// The end of plugin B.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) fake: FakePeer,
    published: u64,
    /// The next slot that has not been used.
    slot: u32,
    epoch: u64,
    rung: u64,
}

/// A frame of the host, unchecked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    pub(crate) channel: ChannelId,
    pub(crate) method: u32,
    pub(crate) kind: u32,
    /// Whether its message goes on in another frame.
    pub(crate) more: bool,
    pub(crate) inline: [u64; INLINE_BYTES / 8],
}

impl Raw {
    /// Takes the offer.
    pub(crate) fn accept() -> Result<Self, Failure> {
        let socket = Socket::from_stdin()?;
        let (offer, fds) = socket.recv_offer(Instant::now() + PATIENCE)?;
        let segment = Segment::accept(&offer, fds.ok_or("the offer is of a named segment")?)?;
        Ok(Self { fake: FakePeer::new(segment, socket), published: 0, slot: 0, epoch: 0, rung: 0 })
    }

    /// Takes the offer, and exchanges hellos as a good peer does.
    pub(crate) fn open() -> Result<Self, Failure> {
        let mut raw = Self::accept()?;
        raw.send(&FrameHeader::control(Verb::Hello), &hello().encode()?);
        raw.send(&FrameHeader::control(Verb::Accept), b"");
        raw.receive_verb(Verb::Hello)?;
        raw.receive_verb(Verb::Accept)?;
        Ok(raw)
    }

    /// Sends a frame, and wakes the host if it sleeps. Whatever is longer than 24 bytes takes slots that were never used.
    pub(crate) fn send(&mut self, header: &FrameHeader, bytes: &[u8]) {
        let payload = self.payload(bytes);
        self.publish(encode(header, &payload));
    }

    /// A payload with these bytes.
    pub(crate) fn payload(&mut self, bytes: &[u8]) -> Payload {
        if let Some(inline) = Inline::new(bytes) {
            return Payload::Inline(inline);
        }
        let payload_bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let slots = payload_bytes.div_ceil(self.geometry().slot_bytes());
        let run = Run { slot: self.slot, generation: 1, offset: 0, payload_bytes, slots };
        self.fake.write_slot(run.slot, bytes);
        self.slot += slots;
        Payload::Slots(run)
    }

    /// Publishes any words as the next descriptor, and wakes the host if it sleeps.
    pub(crate) fn publish(&mut self, words: [u64; BODY_WORDS]) {
        self.fake.publish(words);
        self.published += 1;
        self.wake();
    }

    /// Stores any sequence in the entry of the next descriptor, and wakes the host.
    pub(crate) fn store_sequence(&mut self, sequence: u64) {
        let entry = self.published % u64::from(self.geometry().ring_capacity());
        self.fake.store(PAGE_BYTES + LINE_BYTES * usize::try_from(entry).unwrap_or(0), sequence);
        self.wake();
    }

    pub(crate) fn geometry(&self) -> Geometry {
        *self.fake.geometry()
    }

    /// Rings the host if it sleeps and has not been rung (SPEC W3, W4).
    pub(crate) fn wake(&mut self) {
        // What was published comes before the look at the sleep word; pairs with the fence of the sleeper.
        fence(Ordering::SeqCst);
        let word = self.fake.load(header::SLEEP);
        let epoch = word >> EPOCH_SHIFT;
        if word & ASLEEP != 0 && epoch != self.rung {
            self.rung = epoch;
            self.ring();
        }
    }

    /// Rings the host, asleep or not.
    pub(crate) fn ring(&self) {
        // A host that has gone is noticed by the next wait.
        let _ = self.fake.socket.ring();
    }

    /// Waits for the next frame of the host.
    pub(crate) fn receive(&mut self) -> Result<Received, Failure> {
        let words = loop {
            if let Some(words) = self.fake.take() {
                break words;
            }
            self.epoch += 1;
            self.fake.store(header::SLEEP, self.epoch << EPOCH_SHIFT | ASLEEP);
            // The sleep is announced before the second look at the ring; pairs with the fence of the ringer.
            fence(Ordering::SeqCst);
            let words = self.fake.take();
            if words.is_none() {
                self.fake.socket.wait(None, Some(PATIENCE))?;
            }
            self.fake.store(header::SLEEP, self.epoch << EPOCH_SHIFT);
            if let Some(words) = words {
                break words;
            }
            if self.fake.socket.drain(64)?.ended {
                return Err("the host is gone".into());
            }
        };
        let [channel, method] = split(words[0]);
        let [flags, _] = split(words[3]);
        let (kind, more) = (flags & KIND_MASK, flags & Flags::MORE.raw() != 0);
        let inline = [words[4], words[5], words[6]];
        Ok(Received { channel: ChannelId::from_raw(channel), method, kind, more, inline })
    }

    /// Takes whatever the host sends, until it goes.
    pub(crate) fn linger(&mut self) {
        while self.receive().is_ok() {}
    }

    fn receive_verb(&mut self, verb: Verb) -> Result<(), Failure> {
        let frame = self.receive()?;
        if frame.kind == Kind::Control.raw() && frame.method == verb.raw() {
            Ok(())
        } else {
            Err(format!("{verb:?} was due, but the host sent {frame:?}").into())
        }
    }
}

/// The hello of a good peer.
pub(crate) fn hello() -> Hello {
    Hello {
        major: 1,
        minor: 0,
        role: 1,
        features: Features::NONE,
        max_message_bytes: 1 << 26,
        max_metadata_bytes: 1 << 14,
        max_calls: 1024,
        max_depth: 16,
        name: "raw".to_owned(),
        version: "1".to_owned(),
        registry: Vec::new(),
    }
}

/// A reply, or another kind of frame, on the channel and with the method of a request.
pub(crate) fn answer_header(request: &Received, kind: Kind) -> FrameHeader {
    FrameHeader { channel: request.channel, method: request.method, kind, flags: Flags::NONE, depth: 0, credit: 0 }
}

/// The two halves of a word, the lower one first.
pub(crate) fn split(word: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = word.to_le_bytes();
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}
