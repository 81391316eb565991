//! A plugin's end of a session without its manners: frames go out as they are told.

use std::error::Error;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use rapace::{Features, Hello};
use rapace_core::ChannelId;
use rapace_core::descriptor::{BODY_WORDS, Flags, FrameHeader, INLINE_BYTES, Inline, Kind, Payload, Run, Verb, encode};
use rapace_core::fake::FakePeer;
use rapace_core::layout::{LINE_BYTES, PAGE_BYTES, header};
use rapace_core::segment::Segment;
use rapace_core::socket::{Ring, Socket};

use crate::contract::registry;

/// How long it waits for its host.
const PATIENCE: Duration = Duration::from_secs(30);
const ASLEEP: u64 = 1;
const EPOCH_SHIFT: u32 = 2;
const KIND_MASK: u32 = 0b111;

pub(super) struct Raw {
    pub(super) fake: FakePeer,
    published: u64,
    /// The last sleep of the host for which it was rung.
    rung: u64,
}

/// A frame of the host, unchecked.
pub(super) struct Received {
    pub(super) channel: ChannelId,
    pub(super) method: u32,
    pub(super) kind: u32,
    /// Whether its message goes on in another frame.
    pub(super) more: bool,
    pub(super) inline: [u8; INLINE_BYTES],
}

impl Raw {
    /// Takes the offer, and exchanges hellos as a good peer does.
    pub(super) fn open() -> Result<Self, Box<dyn Error>> {
        let socket = Socket::from_stdin()?;
        let (offer, fds) = socket.recv_offer(Instant::now() + PATIENCE)?;
        let segment = Segment::accept(&offer, fds.ok_or("the offer is of a named segment")?)?;
        let mut raw = Self { fake: FakePeer::new(segment, socket), published: 0, rung: 0 };
        raw.send(&FrameHeader::control(Verb::Hello), &hello()?.encode()?);
        raw.send(&FrameHeader::control(Verb::Accept), b"");
        Ok(raw)
    }

    /// Sends a frame, and wakes the host if it sleeps. More than 24 bytes go into the first slots, which one message may
    /// do.
    pub(super) fn send(&mut self, header: &FrameHeader, bytes: &[u8]) {
        let payload = Inline::new(bytes).map(Payload::Inline).unwrap_or_else(|| {
            let payload_bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let slots = payload_bytes.div_ceil(self.fake.geometry().slot_bytes());
            self.fake.write_slot(0, bytes);
            Payload::Slots(Run { slot: 0, generation: 1, offset: 0, payload_bytes, slots })
        });
        self.publish(encode(header, &payload));
    }

    /// Publishes any words as the next descriptor, and wakes the host if it sleeps.
    pub(super) fn publish(&mut self, words: [u64; BODY_WORDS]) {
        self.fake.publish(words);
        self.published += 1;
        self.wake();
    }

    /// Stores any sequence in the entry of the next descriptor, and wakes the host.
    pub(super) fn store_sequence(&mut self, sequence: u64) {
        let entry = self.published % u64::from(self.fake.geometry().ring_capacity());
        self.fake.store(PAGE_BYTES + LINE_BYTES * usize::try_from(entry).unwrap_or(0), sequence);
        self.wake();
    }

    /// Rings the host if it sleeps and has not been rung (SPEC W3, W4).
    pub(super) fn wake(&mut self) {
        // What was published comes before the look at the sleep word; pairs with the fence of the sleeper.
        fence(Ordering::SeqCst);
        let word = self.fake.load(header::SLEEP);
        if word & ASLEEP != 0 && word >> EPOCH_SHIFT != self.rung {
            self.rung = word >> EPOCH_SHIFT;
            self.ring();
        }
    }

    /// Rings the host, asleep or not; says whether there was room for that. A host that has gone is noticed by the next wait.
    pub(super) fn ring(&self) -> bool {
        matches!(self.fake.socket.ring(), Ok(Ring::Rung))
    }

    /// The next frame of the host, if there is one.
    pub(super) fn take(&mut self) -> Option<Received> {
        let words = self.fake.take()?;
        let [channel, method] = split(words[0]);
        let [flags, _] = split(words[3]);
        let mut inline = [0; INLINE_BYTES];
        for (bytes, word) in inline.chunks_mut(8).zip(&words[4..]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        let more = flags & Flags::MORE.raw() != 0;
        Some(Received { channel: ChannelId::from_raw(channel), method, kind: flags & KIND_MASK, more, inline })
    }

    /// Waits for so long; says whether the host is gone. It never says that it sleeps, and so is never rung.
    pub(super) fn host_is_gone(&mut self, time: Duration) -> Result<bool, Box<dyn Error>> {
        self.fake.socket.wait(None, Some(time))?;
        Ok(self.fake.socket.drain(64)?.ended)
    }
}

/// A reply, or another kind of frame, on the channel and with the method of a request.
pub(super) fn answer_header(request: &Received, kind: Kind) -> FrameHeader {
    FrameHeader { channel: request.channel, method: request.method, kind, flags: Flags::NONE, depth: 0, credit: 0 }
}

/// The hello of a good peer.
fn hello() -> Result<Hello, Box<dyn Error>> {
    Ok(Hello {
        major: 1,
        minor: 0,
        role: 1,
        features: Features::SUPPORTED,
        max_message_bytes: 1 << 26,
        max_metadata_bytes: 1 << 14,
        max_calls: 1024,
        max_depth: 16,
        name: "lying".to_owned(),
        version: "1".to_owned(),
        registry: registry()?.to_bytes(),
    })
}

/// The two halves of a word, the lower one first.
fn split(word: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = word.to_le_bytes();
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}
