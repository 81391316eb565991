//! A plugin's end of a session without its manners: frames go out as they are told.

use std::hint;
use std::os::fd::AsFd;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use rapace_core::channel::ChannelGeneration;
use rapace_core::descriptor::{
    BODY_WORDS, Flags, FrameHeader, INLINE_BYTES, INLINE_SLOT, Inline, Kind, Payload, Run, Verb, encode,
};
use rapace_core::fake::FakePeer;
use rapace_core::layout::{LINE_BYTES, PAGE_BYTES, header};
use rapace_core::offer::Offer;
use rapace_core::segment::{HalfFds, Segment};
use rapace_core::side::Side;
use rapace_core::socket::Socket;
use rapace_core::{ChannelId, Geometry};
use rapace_session::{Features, Hello};

use crate::Failure;

/// How long a raw peer waits for anything.
const PATIENCE: Duration = Duration::from_secs(60);
/// Looks at a full ring between two at the socket.
const LOOKS_AT_SOCKET: u32 = 1024;
const ASLEEP: u64 = 1;
const EPOCH_SHIFT: u32 = 2;
const KIND_MASK: u32 = 0b111;

/// The end of plugin B.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) fake: FakePeer,
    /// The descriptors of the memory.
    pub(crate) halves: HalfFds,
    /// Whether slots of the host are returned.
    pub(crate) returns_slots: bool,
    returned: u64,
    offer: Offer,
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
    pub(crate) depth: u8,
    pub(crate) credit: u32,
    /// The first slot and the generation of its run, unless it is inline.
    pub(crate) run: Option<(u32, u32)>,
    /// Whether its message goes on in another frame.
    pub(crate) more: bool,
    pub(crate) inline: [u64; INLINE_BYTES / 8],
}

impl Raw {
    /// Takes the offer.
    pub(crate) fn accept() -> Result<Self, Failure> {
        let socket = Socket::from_stdin()?;
        let (offer, fds) = socket.recv_offer(Instant::now() + PATIENCE)?;
        let halves = fds.ok_or("the offer is of a named segment")?;
        let segment = Segment::accept(&offer, duplicate(&halves)?)?;
        let fake = FakePeer::new(segment, socket);
        let (returns_slots, returned, published, slot, epoch, rung) = Default::default();
        Ok(Self { fake, halves, returns_slots, returned, offer, published, slot, epoch, rung })
    }

    /// Takes the offer, and exchanges hellos as a good peer does.
    pub(crate) fn open() -> Result<Self, Failure> {
        Self::open_with(&hello())
    }

    /// The same with another hello.
    pub(crate) fn open_with(hello: &Hello) -> Result<Self, Failure> {
        let mut raw = Self::accept()?;
        raw.send(&FrameHeader::control(Verb::Hello), &hello.encode()?);
        raw.send(&FrameHeader::control(Verb::Accept), b"");
        raw.receive_verb(Verb::Hello)?;
        raw.receive_verb(Verb::Accept)?;
        Ok(raw)
    }

    /// The same memory and socket, for another thread.
    pub(crate) fn twin(&self) -> Result<FakePeer, Failure> {
        let segment = Segment::accept(&self.offer, duplicate(&self.halves)?)?;
        Ok(FakePeer::new(segment, Socket::from_fd(self.fake.socket.as_fd().try_clone_to_owned()?)?))
    }

    /// Sends a frame once there is room for it. What the host has sent is dropped meanwhile.
    pub(crate) fn post(&mut self, header: &FrameHeader, bytes: &[u8]) -> Result<(), Failure> {
        let payload = self.payload(bytes);
        self.post_words(encode(header, &payload))
    }

    /// The same for any words.
    pub(crate) fn post_words(&mut self, words: [u64; BODY_WORDS]) -> Result<(), Failure> {
        while self.fake.take().is_some() {}
        self.wait_for_room()?;
        self.publish(words);
        Ok(())
    }

    /// Waits until the host has taken enough.
    pub(crate) fn wait_for_room(&mut self) -> Result<(), Failure> {
        let mut looks = 0_u32;
        while self.published >= self.fake.load(header::CONSUMED) + u64::from(self.geometry().ring_capacity()) {
            while self.fake.take().is_some() {}
            looks += 1;
            if looks.is_multiple_of(LOOKS_AT_SOCKET) {
                self.check_host()?;
            }
            hint::spin_loop();
        }
        Ok(())
    }

    /// An error if the host is gone.
    pub(crate) fn check_host(&self) -> Result<(), Failure> {
        let gone = self.fake.socket.wait(None, Some(Duration::ZERO))?.hangup;
        if gone { Err("the host is gone".into()) } else { Ok(()) }
    }

    /// Waits for the next request of the host that is complete.
    pub(crate) fn receive_request(&mut self) -> Result<Received, Failure> {
        loop {
            let frame = self.receive()?;
            if frame.kind == Kind::Request.raw() && !frame.more {
                return Ok(frame);
            }
        }
    }

    /// Returns a run, or what is none, in the place that is due.
    pub(crate) fn give_back(&mut self, slot: u32, generation: u32) {
        let returns = u64::from(self.geometry().return_capacity());
        let lap = (self.returned / returns + 1) & 0xff;
        self.store_return(u64::from(generation) << 32 | lap << 24 | u64::from(slot));
    }

    /// Stores any word in the place of the next return.
    pub(crate) fn store_return(&mut self, word: u64) {
        let index = self.returned % u64::from(self.geometry().return_capacity());
        self.fake.store_return(u32::try_from(index).unwrap_or(0), word);
        self.returned += 1;
        self.wake();
    }

    /// How many messages were published.
    pub(crate) fn published(&self) -> u64 {
        self.published
    }

    /// Where the entry of a message begins, in this half.
    pub(crate) fn entry(&self, message: u64) -> usize {
        let index = (message - 1) % u64::from(self.geometry().ring_capacity());
        PAGE_BYTES + LINE_BYTES * usize::try_from(index).unwrap_or(0)
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
        self.fake.store(self.entry(self.published + 1), sequence);
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
        let [flags, credit] = split(words[3]);
        let (kind, more) = (flags & KIND_MASK, flags & Flags::MORE.raw() != 0);
        let [.., depth] = flags.to_le_bytes();
        let [slot, generation] = split(words[1]);
        let run = (slot != INLINE_SLOT).then_some((slot, generation));
        if let Some((slot, generation)) = run.filter(|_| self.returns_slots) {
            self.give_back(slot, generation);
        }
        let inline = [words[4], words[5], words[6]];
        Ok(Received { channel: ChannelId::from_raw(channel), method, kind, depth, credit, run, more, inline })
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

fn duplicate(halves: &HalfFds) -> Result<HalfFds, Failure> {
    Ok(HalfFds { a: halves.a.try_clone()?, b: halves.b.try_clone()? })
}

/// A request of the plugin, of depth 1, on the channel of an index that is used for the first time.
pub(crate) fn request_header(index: u32, method: u32) -> FrameHeader {
    let channel = ChannelId::new(Side::B, index, ChannelGeneration::FIRST);
    FrameHeader { channel, method, kind: Kind::Request, flags: Flags::NONE, depth: 1, credit: 0 }
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
