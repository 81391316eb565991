//! A link: everything that one peer of a session needs to move frames.
//!
//! It has no thread, no clock and no lock, never blocks, and is used by one thread at a time. Sending takes room in the
//! ring and in the slots, or says which of them is missing; receiving gives checked frames; [`Link::flush`] makes
//! the one fence that serves all that was published since the last, and rings the peer if it sleeps.

use std::sync::Arc;

use crate::crash::{Point, crash_point, is_armed};
use crate::descriptor::{AllegedDescriptor, Frame, FrameHeader, Inline, PAYLOAD_WORDS, Payload, Run, encode_words};
use crate::fault::PeerFault;
use crate::held::HeldSlots;
use crate::layout::{Geometry, header};
use crate::memory::{OwnHalf, PeerHalf, Trust};
use crate::returns::{ReturnReader, ReturnWriter};
use crate::ring::{Consumer, Producer};
use crate::segment::{IDENTITY_WORDS, Segment, identity};
use crate::side::Side;
use crate::sleep::{Bell, News, Sleeper};
use crate::slots::{Class, OwnRun, SlotPool};
use crate::socket::{Refusal, Socket};
use crate::sync::{Ordering, fence};

mod loan;
mod view;
mod waking;
mod watch;

pub use loan::Loan;
pub use view::PayloadView;
pub use watch::{PeerView, Watch};

/// Slots are taken so many times between two looks at the return ring: one line of it. So payloads keep to a few pages, and
/// yet are not written where the peer has only just read.
const RECLAIM_EVERY: u32 = 8;
/// From so many bytes on, the look comes each time, as it does when few slots seem free: the lower ones are where a peer reads
/// in place.
const EAGER_BYTES_MIN: usize = 128 << 10;

/// Why a frame was not sent. Nothing has been changed by the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendRefusal {
    /// The peer has not taken enough descriptors yet.
    RingFull,
    /// There are not enough neighbouring free slots at present.
    SlotsExhausted,
    /// It will never fit one frame: [`Link::frame_bytes_max`].
    TooLarge,
    /// The peer broke a rule in what it says about its progress.
    Fault(PeerFault),
}

impl From<PeerFault> for SendRefusal {
    fn from(fault: PeerFault) -> Self {
        Self::Fault(fault)
    }
}

/// What a peer says of itself (SPEC section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    /// The handshake is not complete.
    Starting,
    /// A thread attends to the session.
    Active,
    /// Nobody does, or it sleeps with nothing to do.
    Dormant,
    /// It has said its last.
    Closed,
}

const PULSE_LAST: u64 = 3;

impl Pulse {
    fn raw(self) -> u64 {
        match self {
            Self::Starting => 0,
            Self::Active => 1,
            Self::Dormant => 2,
            Self::Closed => 3,
        }
    }
}

/// Counters of a link, from its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Frames published.
    pub frames_sent: u64,
    /// Frames taken and found good.
    pub frames_received: u64,
    /// Bells sent: each is a system call.
    pub bells_sent: u64,
    /// Bells received.
    pub bells_received: u64,
    /// Publications that needed no bell, because the peer was awake or had been rung.
    pub bells_saved: u64,
    /// Sleeps announced: each ends in a system call.
    pub sleeps: u64,
    /// Times that there was no room for a frame.
    pub refusals: u64,
}

/// What the socket said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketNews {
    /// The other end is closed: the peer is gone.
    pub ended: bool,
    /// The peer refused the offer.
    pub refusal: Option<Refusal>,
    /// There may be more to read.
    pub more: bool,
}

/// One peer's end of a session's memory and socket.
#[derive(Debug)]
pub struct Link {
    side: Side,
    geometry: Geometry,
    nonce: u64,
    minor: u16,
    own: OwnHalf,
    peer: Arc<PeerHalf>,
    socket: Arc<Socket>,
    producer: Producer,
    consumer: Consumer,
    pool: SlotPool,
    /// Runs that were taken.
    allocations: u32,
    held: HeldSlots,
    return_writer: ReturnWriter,
    return_reader: ReturnReader,
    sleeper: Sleeper,
    bell: Bell,
    news: News,
    heartbeat: u64,
    /// News for a peer that slept, whether a bell was due or had been rung.
    news_to_sleeper: u64,
    /// The peer's heartbeat before the last of them.
    peer_heartbeat: u64,
    pulse: Pulse,
    identified: bool,
    /// Frames that nobody had use for.
    ignored: u64,
    /// Whether payloads of the peer may be read in place.
    trust: Option<Trust>,
    stats: LinkStats,
}

impl Link {
    /// A link over a fresh segment.
    pub fn new(segment: Segment, socket: Socket) -> Self {
        let geometry = segment.geometry;
        Self {
            side: segment.side,
            geometry,
            nonce: segment.nonce,
            minor: segment.minor,
            own: segment.own,
            peer: segment.peer,
            socket: Arc::new(socket),
            producer: Producer::new(geometry.ring_capacity()),
            consumer: Consumer::new(geometry.ring_capacity()),
            pool: SlotPool::new(geometry.slot_count()),
            allocations: 0,
            held: HeldSlots::new(geometry.slot_count()),
            return_writer: ReturnWriter::new(geometry.return_capacity()),
            return_reader: ReturnReader::new(geometry.return_capacity()),
            sleeper: Sleeper::default(),
            bell: Bell::default(),
            news: News::default(),
            heartbeat: 0,
            news_to_sleeper: 0,
            peer_heartbeat: 0,
            pulse: Pulse::Starting,
            identified: false,
            ignored: 0,
            trust: None,
            stats: LinkStats::default(),
        }
    }

    /// Which side this is.
    pub fn side(&self) -> Side {
        self.side
    }

    /// The layout of both halves.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The session's nonce.
    pub fn nonce(&self) -> u64 {
        self.nonce
    }

    /// The socket, to sleep on.
    pub fn socket(&self) -> &Arc<Socket> {
        &self.socket
    }

    /// The longest payload of one frame of this class.
    pub fn frame_bytes_max(&self, class: Class) -> usize {
        self.pool.run_slots_max(class) as usize * self.geometry.slot_bytes() as usize
    }

    /// The longest payload for which a frame of this class is sure to find slots, once those that are out have come back.
    pub fn chunk_bytes(&self, class: Class) -> usize {
        let slots = match class {
            // Several at a time, so that one is written while another is read.
            Class::Item | Class::Request => self.pool.run_slots_max(class) / 4,
            Class::Reply | Class::Control => self.pool.reserve(),
        };
        slots as usize * self.geometry.slot_bytes() as usize
    }

    /// Publishes a frame whose payload is the parts in a row. Call [`Link::flush`] after the last of a batch.
    ///
    /// # Errors
    ///
    /// Says what there is no room in, or that the peer broke a rule.
    pub fn try_send(&mut self, class: Class, header: &FrameHeader, parts: &[&[u8]]) -> Result<(), SendRefusal> {
        self.place(class, header, parts).inspect_err(|_| self.stats.refusals += 1)
    }

    fn place(&mut self, class: Class, header: &FrameHeader, parts: &[&[u8]]) -> Result<(), SendRefusal> {
        if !self.producer.has_room(self.ring_reserve(class), self.peer.words(header::CONSUMED, 1))? {
            return Err(SendRefusal::RingFull);
        }
        let payload = match Inline::concat(parts) {
            Some(inline) => Payload::Inline(inline).to_words(),
            None => {
                let bytes = parts.iter().map(|part| part.len()).sum();
                // A whole run beside an error would go through memory, in pieces that it cannot be read back in at once.
                let (slot, slots) = (self.take_slots(class, bytes)?, self.slots_of(bytes));
                let run = self.pool.taken(slot, slots);
                self.write_parts(self.slot_offset(slot), parts);
                crash_point(Point::PayloadWritten);
                self.hand_over(run, 0, bytes).to_words()
            }
        };
        self.publish(header, payload);
        Ok(())
    }

    /// Publishes a frame for which there is room, and whose payload is in place.
    #[inline]
    fn publish(&mut self, header: &FrameHeader, payload: [u64; PAYLOAD_WORDS]) {
        let ring = self.own.words(self.geometry.ring_offset(), self.geometry.ring_words());
        self.producer.publish(ring, &encode_words(header, payload));
        self.news.frames = true;
        self.stats.frames_sent += 1;
    }

    #[inline]
    fn write_parts(&mut self, mut at: usize, parts: &[&[u8]]) {
        for part in parts {
            if is_armed() {
                self.own.write(at, &part[..part.len() / 2]);
                crash_point(Point::PayloadHalfWritten);
            }
            self.own.write(at, part);
            at += part.len();
        }
    }

    /// Takes slots for `bytes` bytes, after taking back what the peer has returned if need be: the first of the run.
    #[inline]
    fn take_slots(&mut self, class: Class, bytes: usize) -> Result<u32, SendRefusal> {
        if bytes > self.frame_bytes_max(class) {
            return Err(SendRefusal::TooLarge);
        }
        let slots = self.slots_of(bytes);
        self.allocations = self.allocations.wrapping_add(1);
        let few = self.pool.free() < self.geometry.slot_count() / 2;
        if bytes >= EAGER_BYTES_MIN || few || self.allocations.is_multiple_of(RECLAIM_EVERY) {
            self.reclaim()?;
        }
        let slot = match self.pool.take(slots, class) {
            Some(slot) => slot,
            None => {
                self.reclaim()?;
                self.pool.take(slots, class).ok_or(SendRefusal::SlotsExhausted)?
            }
        };
        crash_point(Point::SlotsTaken);
        Ok(slot)
    }

    /// Leaves the slots of a payload within a run to the peer, and frees those behind it.
    #[inline]
    fn hand_over(&mut self, run: OwnRun, offset: usize, bytes: usize) -> Run {
        let slots = self.slots_of(offset + bytes);
        #[expect(clippy::cast_possible_truncation, reason = "both lie within a half, which has at most 2^30 bytes")]
        let (offset, payload_bytes) = (offset as u32, bytes as u32);
        let payload = Run { slot: run.slot, generation: run.generation, offset, payload_bytes, slots };
        self.pool.hand_over(run, slots);
        payload
    }

    /// Slots that so many bytes of a half take.
    #[inline]
    fn slots_of(&self, bytes: usize) -> u32 {
        let slot_bytes = self.geometry.slot_bytes() as usize;
        if (1..=slot_bytes).contains(&bytes) {
            return 1;
        }
        #[expect(clippy::cast_possible_truncation, reason = "a half has fewer than 2^24 slots")]
        let slots = bytes.div_ceil(slot_bytes) as u32;
        slots
    }

    /// Takes back the slots that the peer has returned; says whether there were any.
    fn reclaim(&mut self) -> Result<bool, PeerFault> {
        let ring = self.peer.words(self.geometry.returns_offset(), self.geometry.return_capacity() as usize);
        let mut any = false;
        while let Some(returned) = self.return_reader.take(ring)? {
            self.pool.take_back(returned.slot, returned.generation)?;
            crash_point(Point::SlotsReclaimed);
            any = true;
        }
        Ok(any)
    }

    /// What room the peer has made from the beginning: descriptors taken, runs returned. A change is news for whoever waits.
    ///
    /// # Errors
    ///
    /// A fault in what the peer says about its progress.
    pub fn room(&mut self) -> Result<(u64, u64), PeerFault> {
        self.producer.refresh(self.peer.words(header::CONSUMED, 1))?;
        self.reclaim()?;
        Ok((self.producer.consumed_seen(), self.return_reader.taken()))
    }

    /// Own descriptors that the peer has not taken, as far as it has said so.
    ///
    /// # Errors
    ///
    /// A false progress.
    pub fn ring_used(&mut self) -> Result<u32, PeerFault> {
        self.producer.refresh(self.peer.words(header::CONSUMED, 1))?;
        // No more than the ring has.
        let used = self.producer.published() - self.producer.consumed_seen();
        Ok(u32::try_from(used).unwrap_or(u32::MAX))
    }

    /// Whether the peer has published something that was not taken: [`Link::receive`] says what.
    #[inline]
    pub fn has_frame(&self) -> bool {
        self.consumer.has_next(self.peer.words(self.geometry.ring_offset(), self.geometry.ring_words()))
    }

    /// Takes the next frame, if there is one. Its payload must be taken or discarded.
    ///
    /// # Errors
    ///
    /// The rule that the peer broke. The frame is dropped then, if the ring is still sound
    /// ([`PeerFault::leaves_cursors_sound`]).
    #[inline]
    pub fn receive(&mut self) -> Result<Option<Frame>, PeerFault> {
        let ring = self.peer.words(self.geometry.ring_offset(), self.geometry.ring_words());
        let Some(words) = self.consumer.take(ring)? else { return Ok(None) };
        if self.consumer.announcement_due() {
            self.announce();
        }
        if !self.identified {
            self.check_identity()?;
            self.identified = true;
        }
        let frame = AllegedDescriptor::new(words).check(self.side.peer(), &self.geometry, &mut self.held)?;
        self.stats.frames_received += 1;
        Ok(Some(frame))
    }

    /// Appends a payload to `into` and returns its slots.
    #[inline]
    pub fn take_payload(&mut self, payload: Payload, into: &mut Vec<u8>) {
        match payload {
            Payload::Inline(inline) => into.extend_from_slice(&inline),
            Payload::Slots(run) => self.take_run(&run, into),
        }
    }

    fn take_run(&mut self, run: &Run, into: &mut Vec<u8>) {
        let at = self.slot_offset(run.slot) + run.offset as usize;
        self.peer.copy_out(at, run.payload_bytes as usize, into);
        crash_point(Point::PayloadCopied);
        self.give_back(run);
    }

    /// Returns the slots of a payload that nobody wants.
    pub fn discard(&mut self, payload: Payload) {
        if let Payload::Slots(run) = payload {
            self.give_back(&run);
        }
    }

    /// Returns the slots of a payload that nobody has use for, whatever it says, and counts it.
    pub fn ignore(&mut self, payload: Payload) {
        self.ignored += 1;
        self.discard(payload);
    }

    /// How many frames were ignored.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    #[inline]
    fn give_back(&mut self, run: &Run) {
        self.held.release(run);
        let ring = self.own.words(self.geometry.returns_offset(), self.geometry.return_capacity() as usize);
        self.return_writer.give_back(ring, run.slot, run.generation);
        crash_point(Point::SlotsReturned);
        self.news.room = true;
    }

    fn announce(&mut self) {
        crash_point(Point::BeforeAnnounce);
        let word = &self.own.words(header::CONSUMED, 1)[0];
        if self.consumer.announce(word) {
            crash_point(Point::Announced);
            self.news.room = true;
        }
    }

    /// Counters from the beginning.
    pub fn stats(&self) -> LinkStats {
        LinkStats { bells_saved: self.bell.saved(), sleeps: self.sleeper.sleeps(), ..self.stats }
    }

    /// Own slots that are free, after taking back what the peer has returned.
    ///
    /// # Errors
    ///
    /// A false return.
    pub fn free_slots(&mut self) -> Result<u32, PeerFault> {
        self.reclaim()?;
        Ok(self.pool.free())
    }

    /// The peer's runs that this side holds.
    pub fn held_runs(&self) -> u32 {
        self.held.runs()
    }

    /// The peer's slots that this side holds, in those runs.
    pub fn held_slots(&self) -> u32 {
        self.held.slots()
    }

    #[inline]
    fn slot_offset(&self, slot: u32) -> usize {
        self.geometry.slots_offset() + slot as usize * self.geometry.slot_bytes() as usize
    }

    /// Entries of the ring that a frame of this class leaves free (SPEC R5).
    fn ring_reserve(&self, class: Class) -> u32 {
        let capacity = self.geometry.ring_capacity();
        match class {
            Class::Item => capacity / 2,
            Class::Request => capacity / 8 + capacity / 4,
            Class::Reply => capacity / 8,
            Class::Control => 0,
        }
    }

    fn check_identity(&self) -> Result<(), PeerFault> {
        let expected = identity(self.side.peer(), &self.geometry, self.nonce, self.minor);
        let line = self.peer.words(header::IDENTITY, IDENTITY_WORDS);
        for (word, expected) in expected.into_iter().enumerate() {
            let found = line.load(word);
            // Pairs with the Release store of the magic, which is word 0, by its writer.
            fence(Ordering::Acquire);
            if found != expected {
                return Err(PeerFault::Identity { word, found, expected });
            }
        }
        Ok(())
    }
}
