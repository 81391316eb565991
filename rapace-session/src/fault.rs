//! What a peer can do wrong in the protocol above frames.

use rapace_core::PeerFault;
use thiserror::Error;

/// A breach of a SPEC rule by the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// In its memory or on its socket.
    #[error(transparent)]
    Link(#[from] PeerFault),
    /// C1: a request on an index that the receiver does not offer, or with generation 0.
    #[error(
        "C1: request on channel {channel} with index {found} and generation {generation}, but the index must be below {bound} and the generation not 0"
    )]
    Channel {
        /// The channel.
        channel: u32,
        /// Its index.
        found: usize,
        /// Its generation.
        generation: u32,
        /// How many calls are offered.
        bound: u32,
    },
    /// C1: a request on an index that is in flight.
    #[error("C1: request on channel {found}, but channel {in_flight} of the same index is in flight")]
    ChannelInUse {
        /// The channel.
        found: u32,
        /// The channel in flight.
        in_flight: u32,
    },
    /// C2: a final message for no call.
    #[error("C2: reply or error on channel {channel}, where no call is in flight")]
    NoSuchCall {
        /// The channel.
        channel: u32,
    },
    /// C2: a final message for a request that has not been sent to its end.
    #[error("C2: reply or error on channel {channel}, whose request goes on")]
    EarlyFinal {
        /// The channel.
        channel: u32,
    },
    /// C2: a frame of a call with another method.
    #[error("C2: frame on channel {channel} with method {found}, but the call's is {expected}")]
    FinalMethod {
        /// The channel.
        channel: u32,
        /// Its method.
        found: u32,
        /// The call's method.
        expected: u32,
    },
    /// C3: a request on channel 0 that is no lifecycle call.
    #[error("C3: request on channel 0 with method {found}, but only 2000 and 2002 belong there")]
    NotLifecycle {
        /// The method.
        found: u32,
    },
    /// C12: a frame of a stream, where streams are not in use.
    #[error("C12: frame of kind {kind} on channel {channel}, but streams are not in use")]
    Stream {
        /// The kind.
        kind: u32,
        /// The channel.
        channel: u32,
    },
    /// C13: a frame of a stream, on a channel that has none, or none any more.
    #[error("C13: frame of kind {kind} on channel {channel}, which has no such stream, or has ended it")]
    NoStream {
        /// The kind.
        kind: u32,
        /// The channel.
        channel: u32,
    },
    /// C14: an item without credit.
    #[error("C14: item of cost {found} on channel {channel}, whose credit is {credit}")]
    NoCredit {
        /// The channel.
        channel: u32,
        /// What the item costs.
        found: u64,
        /// What credit there is.
        credit: i64,
    },
    /// C15: more credit than anybody may have.
    #[error("C15: credit of channel {channel} becomes {found}, but may be at most {bound}")]
    CreditOverflow {
        /// The channel.
        channel: u32,
        /// The credit.
        found: i64,
        /// The bound.
        bound: u32,
    },
    /// M1, M2: a message goes on as another one.
    #[error("M2: {field} of a frame on channel {channel} is {found}, but the message began with {expected}")]
    BrokenMessage {
        /// The channel.
        channel: u32,
        /// What differs.
        field: &'static str,
        /// What was found.
        found: u32,
        /// What the message began with.
        expected: u32,
    },
    /// M1: a piece of a message without any bytes.
    #[error("M1: an empty piece of a message on channel {channel}, but each has at least 1 byte")]
    EmptyPiece {
        /// The channel.
        channel: u32,
    },
    /// X1: a control body of the wrong size, or in pieces.
    #[error("X1: body of control verb {verb} has {found} bytes, but must have {expected}")]
    ControlBody {
        /// The verb.
        verb: u32,
        /// Its size.
        found: usize,
        /// What it must have.
        expected: usize,
    },
    /// X1: `CREDIT` on another verb than `GRANT`, or a `GRANT` without it.
    #[error("X1: flags of control verb {verb} are {found:#x}, but CREDIT belongs to verb 6, and to no other")]
    ControlFlags {
        /// The verb.
        verb: u32,
        /// The flags.
        found: u32,
    },
    /// X2: a frame out of the order of the handshake.
    #[error("X2: frame of kind {kind} and method {method}, but {expected} was due")]
    Order {
        /// The kind.
        kind: u32,
        /// The method or verb.
        method: u32,
        /// What was due.
        expected: &'static str,
    },
    /// X6: a hello that is too large.
    #[error("X6: hello has {found} bytes, but at most {bound} are taken")]
    HelloSize {
        /// Its size so far.
        found: usize,
        /// The bound.
        bound: usize,
    },
}

impl Fault {
    /// The SPEC rule that was broken.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Link(fault) => fault.rule(),
            Self::Channel { .. } | Self::ChannelInUse { .. } => "C1",
            Self::NoSuchCall { .. } | Self::EarlyFinal { .. } | Self::FinalMethod { .. } => "C2",
            Self::NotLifecycle { .. } => "C3",
            Self::Stream { .. } => "C12",
            Self::NoStream { .. } => "C13",
            Self::NoCredit { .. } => "C14",
            Self::CreditOverflow { .. } => "C15",
            Self::BrokenMessage { .. } => "M2",
            Self::EmptyPiece { .. } => "M1",
            Self::ControlBody { .. } | Self::ControlFlags { .. } => "X1",
            Self::Order { .. } => "X2",
            Self::HelloSize { .. } => "X6",
        }
    }

    /// Whether a tolerant receiver may drop the frame and go on (SPEC F2).
    pub fn is_tolerable(&self) -> bool {
        match self {
            Self::Link(fault) => fault.leaves_cursors_sound(),
            Self::Order { .. } | Self::HelloSize { .. } => false,
            _ => true,
        }
    }
}

/// What a session does about its peer's faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultPolicy {
    /// The first one ends the session.
    #[default]
    End,
    /// So many are logged and their frames dropped, if the cursors are sound; the next one ends the session.
    Tolerate(u32),
}
