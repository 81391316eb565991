//! What a peer can do wrong, by rule and with both numbers.

use thiserror::Error;

/// A breach of a SPEC rule by the peer.
///
/// Every number found in the peer's memory that a rule bounds is reported with its bound. [`PeerFault::rule`] names the
/// rule, [`PeerFault::leaves_cursors_sound`] says whether a tolerant receiver may go on (SPEC F2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PeerFault {
    /// D1: the entry holds neither the message that is due nor the one of the lap before.
    #[error("D1: descriptor sequence is {found}, but {due} is due")]
    Sequence {
        /// The sequence word.
        found: u64,
        /// The message that is due.
        due: u64,
    },
    /// D2: reserved flag bits are set.
    #[error("D2: flags {found:#010x} have bits outside {known:#010x}")]
    UnknownFlags {
        /// The flags.
        found: u32,
        /// All bits that have a meaning.
        known: u32,
    },
    /// D2: no such kind of frame.
    #[error("D2: frame kind is {found}, but the last is {last}")]
    UnknownKind {
        /// The kind.
        found: u32,
        /// The last kind there is.
        last: u32,
    },
    /// D2: flags that do not belong to this kind of frame.
    #[error("D2: flags {found:#010x} on a frame of kind {kind}, which may have {allowed:#010x}")]
    MisplacedFlags {
        /// The flags.
        found: u32,
        /// The kind.
        kind: u32,
        /// The flags that belong to it.
        allowed: u32,
    },
    /// D2: a request says how deep it is, from 1, and nothing else does.
    #[error("D2: depth is {found} on a frame of kind {kind}, where {least} to {most} are allowed")]
    Depth {
        /// The depth.
        found: u32,
        /// The kind.
        kind: u32,
        /// The least depth of this kind.
        least: u32,
        /// The greatest.
        most: u32,
    },
    /// D3: this kind of frame does not belong on this channel.
    #[error("D3: frame of kind {kind} on channel {channel}")]
    KindOnChannel {
        /// The kind.
        kind: u32,
        /// The channel.
        channel: u32,
    },
    /// D3: no such control verb.
    #[error("D3: control verb is {found}, but the last is {last}")]
    UnknownVerb {
        /// The verb.
        found: u32,
        /// The last verb there is.
        last: u32,
    },
    /// D4: the channel belongs to the other side.
    #[error("D4: frame of kind {kind} on channel {channel}, whose parity should be {parity}")]
    ChannelParity {
        /// The kind.
        kind: u32,
        /// The channel.
        channel: u32,
        /// The parity that it should have.
        parity: u32,
    },
    /// D5: an inline payload is too long.
    #[error("D5: inline payload has {found} bytes, but {bound} fit")]
    InlineLength {
        /// Its length.
        found: u32,
        /// What fits.
        bound: usize,
    },
    /// D5: an inline payload has a generation or an offset.
    #[error("D5: inline payload has generation {generation} and offset {offset}, but both must be 0")]
    InlineFields {
        /// Its generation.
        generation: u32,
        /// Its offset.
        offset: u32,
    },
    /// D6: no such slot.
    #[error("D6: payload slot is {found}, but there are {bound}")]
    Slot {
        /// The slot.
        found: u32,
        /// How many there are.
        bound: u32,
    },
    /// D6: the offset is not in the first slot, or not aligned.
    #[error("D6: payload offset is {found}, but must be a multiple of 8 below {bound}")]
    Offset {
        /// The offset.
        found: u32,
        /// Bytes of a slot.
        bound: u32,
    },
    /// D6: a payload in slots is empty, or runs past the last slot.
    #[error("D6: payload has {found} bytes, but must have 1 to {bound} from there")]
    Length {
        /// Its length.
        found: u32,
        /// Bytes from its beginning to the end of the last slot.
        bound: u64,
    },
    /// D7: the payload lies in slots that the receiver holds.
    #[error("D7: payload run of {count} slots from {first} meets slot {held}, which is held")]
    Overlap {
        /// First slot of the run.
        first: u32,
        /// Slots in the run.
        count: u32,
        /// The held slot.
        held: u32,
    },
    /// D8: the generation is not newer than the last one.
    #[error("D8: generation of slot {slot} is {found}, but {last} was accepted before")]
    Generation {
        /// The slot.
        slot: u32,
        /// The generation.
        found: u32,
        /// The last one accepted.
        last: u32,
    },
    /// D9: credit without its flag.
    #[error("D9: credit of {found} without its flag")]
    Credit {
        /// The credit.
        found: u32,
    },
    /// R4: the announced progress goes backwards, or beyond what was published.
    #[error("R4: consumed count is {found}, but must be from {least} to {most}")]
    Consumed {
        /// The announced count.
        found: u64,
        /// The last one seen.
        least: u64,
        /// Messages published.
        most: u64,
    },
    /// S6: the entry holds neither the return that is due nor one of the lap before.
    #[error("S6: return word is {found:#018x}, but lap {due_lap} is due")]
    ReturnSequence {
        /// The word.
        found: u64,
        /// The low 8 bits of the lap that is due.
        due_lap: u8,
    },
    /// S7: a return names a slot that does not exist.
    #[error("S7: returned slot is {found}, but there are {bound}")]
    ReturnedSlot {
        /// The slot.
        found: u32,
        /// How many there are.
        bound: u32,
    },
    /// S7: a return names a run that is not with the receiver.
    #[error("S7: slot {slot} was returned with generation {found}, but no run that begins there is out")]
    ReturnedTwice {
        /// The slot.
        slot: u32,
        /// The generation of the return.
        found: u32,
    },
    /// S7: a return names another generation than that of the run.
    #[error("S7: slot {slot} was returned with generation {found}, but {expected} is out")]
    ReturnedGeneration {
        /// The slot.
        slot: u32,
        /// The generation of the return.
        found: u32,
        /// The run's generation.
        expected: u32,
    },
    /// H3: the identity line differs from the offer.
    #[error("H3: word {word} of the half's first line is {found:#018x}, but the offer says {expected:#018x}")]
    Identity {
        /// Which word of the line.
        word: usize,
        /// What it holds.
        found: u64,
        /// What it should hold.
        expected: u64,
    },
    /// L6: no such state.
    #[error("L6: peer state is {found}, but the last is {last}")]
    State {
        /// The state word.
        found: u64,
        /// The last state there is.
        last: u64,
    },
    /// K6: an unknown or malformed datagram on the socket.
    #[error("K6: datagram of {bytes} bytes and kind {kind:#04x} on the socket")]
    Datagram {
        /// Its first byte, 0 if it was empty.
        kind: u8,
        /// Its length, cut at the size of the buffer.
        bytes: usize,
    },
    /// K6: a message of the plugin brought descriptors.
    #[error("K6: a message on the socket brought descriptors, but only the offer may")]
    Descriptors,
    /// K7: more bells than sleeps.
    #[error("K7: {found} bells were rung, but there were {bound} sleeps")]
    Bells {
        /// Bells received.
        found: u64,
        /// Sleeps.
        bound: u64,
    },
}

impl PeerFault {
    /// The SPEC rule that was broken.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Sequence { .. } => "D1",
            Self::UnknownFlags { .. } | Self::UnknownKind { .. } | Self::MisplacedFlags { .. } | Self::Depth { .. } => {
                "D2"
            }
            Self::KindOnChannel { .. } | Self::UnknownVerb { .. } => "D3",
            Self::ChannelParity { .. } => "D4",
            Self::InlineLength { .. } | Self::InlineFields { .. } => "D5",
            Self::Slot { .. } | Self::Offset { .. } | Self::Length { .. } => "D6",
            Self::Overlap { .. } => "D7",
            Self::Generation { .. } => "D8",
            Self::Credit { .. } => "D9",
            Self::Consumed { .. } => "R4",
            Self::ReturnSequence { .. } => "S6",
            Self::ReturnedSlot { .. } | Self::ReturnedTwice { .. } | Self::ReturnedGeneration { .. } => "S7",
            Self::Identity { .. } => "H3",
            Self::State { .. } => "L6",
            Self::Datagram { .. } | Self::Descriptors => "K6",
            Self::Bells { .. } => "K7",
        }
    }

    /// Whether the frame can be dropped and the session go on: the ring's and the pool's cursors are as they were.
    pub fn leaves_cursors_sound(&self) -> bool {
        matches!(self.rule(), "D2" | "D3" | "D4" | "D5" | "D6" | "D7" | "D8" | "D9")
    }
}
