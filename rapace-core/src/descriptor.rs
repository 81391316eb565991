//! The 64-byte descriptor, and the one way from an alleged to a checked one (SPEC section 5).
//!
//! ```text
//! word 0   msg_id u64                                 publication sequence
//! word 1   channel_id u32      | method_id u32
//! word 2   payload_slot u32    | payload_generation u32
//! word 3   payload_offset u32  | payload_len u32
//! word 4   flags u32           | credit_grant u32
//! word 5-7 inline payload, 24 bytes
//! ```

mod inline;
#[cfg(test)]
mod tests;

pub use inline::Inline;

use crate::channel::ChannelId;
use crate::fault::PeerFault;
use crate::held::HeldSlots;
use crate::layout::{Geometry, LINE_WORDS, WORD_BYTES};
use crate::side::Side;

/// Bytes of a descriptor: one cache line.
pub const DESCRIPTOR_BYTES: usize = 64;
/// Words of a descriptor behind its sequence word.
pub const BODY_WORDS: usize = LINE_WORDS - 1;
/// Bytes of payload that fit into a descriptor.
pub const INLINE_BYTES: usize = 24;
/// The `payload_slot` of an inline payload.
pub const INLINE_SLOT: u32 = u32::MAX;

const FIRST_INLINE_WORD: usize = 5;
const INLINE_WORDS: usize = LINE_WORDS - FIRST_INLINE_WORD;
/// Words of a descriptor that are the payload's: where it is, its extent, and those inline.
pub(crate) const PAYLOAD_WORDS: usize = 2 + INLINE_WORDS;
const _: () = assert!(DESCRIPTOR_BYTES == LINE_WORDS * WORD_BYTES);
const _: () = assert!(INLINE_WORDS * WORD_BYTES == INLINE_BYTES);

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A verb on channel 0.
    Control = 0,
    /// Opens a call.
    Request = 1,
    /// Ends a call well.
    Reply = 2,
    /// Ends a call with a status.
    Error = 3,
    /// An item of a stream.
    Item = 4,
    /// The end of the caller's stream.
    End = 5,
}

impl Kind {
    /// The number in the flags.
    pub fn raw(self) -> u32 {
        match self {
            Self::Control => 0,
            Self::Request => 1,
            Self::Reply => 2,
            Self::Error => 3,
            Self::Item => 4,
            Self::End => 5,
        }
    }

    fn from_raw(raw: u32) -> Option<Self> {
        Some(match raw {
            0 => Self::Control,
            1 => Self::Request,
            2 => Self::Reply,
            3 => Self::Error,
            4 => Self::Item,
            5 => Self::End,
            _ => return None,
        })
    }

    /// The flags that may stand on a frame of this kind.
    fn allowed(self) -> Flags {
        match self {
            Self::Control => Flags::MORE.with(Flags::CREDIT),
            Self::Request => Flags::ALL,
            Self::Reply | Self::Error => Flags::MORE.with(Flags::METADATA),
            Self::Item => Flags::MORE,
            Self::End => Flags::NONE,
        }
    }
}

/// The last kind there is.
const KIND_LAST: u32 = Kind::End as u32;
const KIND_MASK: u32 = 0b111;
const DEPTH_SHIFT: u32 = 24;

/// The bits of a frame beside its kind and depth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u32);

impl Flags {
    /// None.
    pub const NONE: Self = Self(0);
    /// The message goes on in another frame.
    pub const MORE: Self = Self(1 << 3);
    /// The body begins with the time left.
    pub const DEADLINE: Self = Self(1 << 4);
    /// Then come metadata.
    pub const METADATA: Self = Self(1 << 5);
    /// The credit counts.
    pub const CREDIT: Self = Self(1 << 6);
    /// Items of the caller follow on the channel, until its end.
    pub const ITEMS: Self = Self(1 << 7);

    const ALL: Self = Self(0b1_1111 << 3);

    /// These flags and `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These flags but for `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The bits.
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// Whether any of `other` is set.
    pub const fn has_any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether all of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A control verb: the method of a frame of kind control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Who I am.
    Hello = 1,
    /// Your hello is accepted.
    Accept = 2,
    /// Your hello is refused.
    Refuse = 3,
    /// Answer this.
    Ping = 4,
    /// The answer.
    Pong = 5,
    /// More may be sent on a channel.
    Grant = 6,
    /// A call is no longer wanted.
    Cancel = 7,
    /// Open no more calls.
    GoAway = 8,
    /// The last frame.
    Close = 9,
}

const VERB_LAST: u32 = Verb::Close as u32;

impl Verb {
    /// The number in a frame.
    pub fn raw(self) -> u32 {
        match self {
            Self::Hello => 1,
            Self::Accept => 2,
            Self::Refuse => 3,
            Self::Ping => 4,
            Self::Pong => 5,
            Self::Grant => 6,
            Self::Cancel => 7,
            Self::GoAway => 8,
            Self::Close => 9,
        }
    }

    /// The verb of a number, if there is one.
    pub fn from_raw(raw: u32) -> Option<Self> {
        Some(match raw {
            1 => Self::Hello,
            2 => Self::Accept,
            3 => Self::Refuse,
            4 => Self::Ping,
            5 => Self::Pong,
            6 => Self::Grant,
            7 => Self::Cancel,
            8 => Self::GoAway,
            9 => Self::Close,
            _ => return None,
        })
    }
}

/// All of a frame but its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// The channel.
    pub channel: ChannelId,
    /// The method, or the verb of a control frame.
    pub method: u32,
    /// What it is.
    pub kind: Kind,
    /// Its flags.
    pub flags: Flags,
    /// Of a request: how deep in a chain of nested calls, from 1. Of others: 0.
    pub depth: u8,
    /// Bytes that the receiver may send on the channel, with [`Flags::CREDIT`].
    pub credit: u32,
}

impl FrameHeader {
    /// A control frame.
    pub fn control(verb: Verb) -> Self {
        Self {
            channel: ChannelId::CONTROL,
            method: verb.raw(),
            kind: Kind::Control,
            flags: Flags::NONE,
            depth: 0,
            credit: 0,
        }
    }

    /// The verb, of a control frame.
    pub fn verb(&self) -> Option<Verb> {
        (self.kind == Kind::Control).then(|| Verb::from_raw(self.method)).flatten()
    }
}

/// A run of slots that holds a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its first slot.
    pub slot: u32,
    /// The generation of that slot.
    pub generation: u32,
    /// Bytes into the first slot where the payload begins.
    pub offset: u32,
    /// Bytes of the payload.
    pub payload_bytes: u32,
    /// Slots in the run.
    pub slots: u32,
}

impl Run {
    /// The words of a descriptor that say where its payload is, and an empty place for one inline.
    #[inline]
    pub(crate) fn to_words(self) -> [u64; PAYLOAD_WORDS] {
        [join(self.slot, self.generation), join(self.offset, self.payload_bytes), 0, 0, 0]
    }
}

/// Where a checked payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// In the descriptor.
    Inline(Inline),
    /// In slots of the peer's half, which are held until they are returned.
    Slots(Run),
}

impl Payload {
    /// The words of a descriptor that hold the payload, or say where it is.
    #[inline]
    pub(crate) fn to_words(self) -> [u64; PAYLOAD_WORDS] {
        match self {
            Self::Inline(inline) => {
                let [first, second, third] = inline.to_words();
                [join(INLINE_SLOT, 0), u64::from(inline.length()) << 32, first, second, third]
            }
            Self::Slots(run) => run.to_words(),
        }
    }

    /// Bytes of the payload.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Inline(inline) => inline.len(),
            Self::Slots(run) => run.payload_bytes as usize,
        }
    }
}

/// A checked frame: nothing in it is an allegation any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the slots of a frame must be returned"]
pub struct Frame {
    /// All but the payload.
    pub header: FrameHeader,
    /// The payload.
    pub payload: Payload,
}

/// The words of a descriptor behind its sequence word, as its sender builds them.
#[inline]
pub fn encode(header: &FrameHeader, payload: &Payload) -> [u64; BODY_WORDS] {
    encode_words(header, payload.to_words())
}

/// As [`encode`], of a payload's words.
#[inline]
pub(crate) fn encode_words(header: &FrameHeader, payload: [u64; PAYLOAD_WORDS]) -> [u64; BODY_WORDS] {
    let flags = header.kind.raw() | header.flags.0 | u32::from(header.depth) << DEPTH_SHIFT;
    let [place, extent, first, second, third] = payload;
    [join(header.channel.raw(), header.method), place, extent, join(flags, header.credit), first, second, third]
}

/// A copy of the words that a peer alleges to be a descriptor, sequence word left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllegedDescriptor([u64; BODY_WORDS]);

impl AllegedDescriptor {
    /// The words, as copied from the ring.
    pub fn new(words: [u64; BODY_WORDS]) -> Self {
        Self(words)
    }

    /// Checks the rules D2 to D9 for a descriptor that `sender` published.
    ///
    /// This is the only way to a [`Frame`] from the peer. A payload in slots is entered into `held`.
    ///
    /// # Errors
    ///
    /// The first rule that is broken. Nothing has been entered into `held` then.
    #[inline]
    pub fn check(self, sender: Side, geometry: &Geometry, held: &mut HeldSlots) -> Result<Frame, PeerFault> {
        let (channel, method) = split(self.0[0]);
        let (slot, generation) = split(self.0[1]);
        let (offset, bytes) = split(self.0[2]);
        let (flags, credit) = split(self.0[3]);
        let header = check_header(ChannelId::from_raw(channel), method, flags, credit, sender)?;
        let payload = if slot == INLINE_SLOT {
            self.check_inline(generation, offset, bytes)?
        } else {
            let run = check_run(slot, generation, offset, bytes, geometry)?;
            held.accept(&run)?;
            Payload::Slots(run)
        };
        Ok(Frame { header, payload })
    }

    #[inline]
    fn check_inline(self, generation: u32, offset: u32, bytes: u32) -> Result<Payload, PeerFault> {
        let length = bytes as usize;
        if length > INLINE_BYTES {
            return Err(PeerFault::InlineLength { found: bytes, bound: INLINE_BYTES });
        }
        if generation != 0 || offset != 0 {
            return Err(PeerFault::InlineFields { generation, offset });
        }
        let [.., first, second, third] = self.0;
        Ok(Payload::Inline(Inline::from_words([first, second, third], length)))
    }
}

#[inline]
fn check_header(
    channel: ChannelId,
    method: u32,
    flags: u32,
    credit: u32,
    sender: Side,
) -> Result<FrameHeader, PeerFault> {
    let known = KIND_MASK | Flags::ALL.0 | u32::from(u8::MAX) << DEPTH_SHIFT;
    if flags & !known != 0 {
        return Err(PeerFault::UnknownFlags { found: flags, known });
    }
    let raw_kind = flags & KIND_MASK;
    let kind = Kind::from_raw(raw_kind).ok_or(PeerFault::UnknownKind { found: raw_kind, last: KIND_LAST })?;
    let bits = Flags(flags & Flags::ALL.0);
    let allowed = kind.allowed();
    if !allowed.has(bits) {
        return Err(PeerFault::MisplacedFlags { found: bits.0, kind: raw_kind, allowed: allowed.0 });
    }
    let [.., depth] = flags.to_le_bytes();
    let (least, most) = if kind == Kind::Request { (1, u8::MAX) } else { (0, 0) };
    if !(least..=most).contains(&depth) {
        return Err(PeerFault::Depth { found: depth.into(), kind: raw_kind, least: least.into(), most: most.into() });
    }
    check_channel(channel, method, kind, sender)?;
    if credit != 0 && !bits.has(Flags::CREDIT) {
        return Err(PeerFault::Credit { found: credit });
    }
    Ok(FrameHeader { channel, method, kind, flags: bits, depth, credit })
}

#[inline]
fn check_channel(channel: ChannelId, method: u32, kind: Kind, sender: Side) -> Result<(), PeerFault> {
    let misplaced = PeerFault::KindOnChannel { kind: kind.raw(), channel: channel.raw() };
    match (kind, channel.is_control()) {
        (Kind::Control, true) => match Verb::from_raw(method) {
            Some(_) => Ok(()),
            None => Err(PeerFault::UnknownVerb { found: method, last: VERB_LAST }),
        },
        (Kind::Control, false) | (Kind::Item | Kind::End, true) => Err(misplaced),
        (Kind::Item | Kind::End, false) => Ok(()),
        // On channel 0, A calls and B answers.
        (Kind::Request, true) => (sender == Side::A).then_some(()).ok_or(misplaced),
        (Kind::Reply | Kind::Error, true) => (sender == Side::B).then_some(()).ok_or(misplaced),
        (Kind::Request, false) => check_parity(channel, kind, sender),
        (Kind::Reply | Kind::Error, false) => check_parity(channel, kind, sender.peer()),
    }
}

#[inline]
fn check_parity(channel: ChannelId, kind: Kind, opener: Side) -> Result<(), PeerFault> {
    if channel.parity() == opener.parity() {
        Ok(())
    } else {
        Err(PeerFault::ChannelParity { kind: kind.raw(), channel: channel.raw(), parity: opener.parity() })
    }
}

#[inline]
fn check_run(slot: u32, generation: u32, offset: u32, bytes: u32, geometry: &Geometry) -> Result<Run, PeerFault> {
    if slot >= geometry.slot_count() {
        return Err(PeerFault::Slot { found: slot, bound: geometry.slot_count() });
    }
    if !(offset as usize).is_multiple_of(WORD_BYTES) || offset >= geometry.slot_bytes() {
        return Err(PeerFault::Offset { found: offset, bound: geometry.slot_bytes() });
    }
    let left = u64::from(geometry.slot_count() - slot) * u64::from(geometry.slot_bytes()) - u64::from(offset);
    let out_of_bounds = PeerFault::Length { found: bytes, bound: left };
    if bytes == 0 || u64::from(bytes) > left {
        return Err(out_of_bounds);
    }
    let slots = u32::try_from(geometry.run_slots(offset, bytes)).map_err(|_| out_of_bounds)?;
    Ok(Run { slot, generation, offset, payload_bytes: bytes, slots })
}

#[inline]
fn join(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves of a word")]
#[inline]
fn split(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}
