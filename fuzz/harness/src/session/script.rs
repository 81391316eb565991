//! What happens in a session, operation by operation, as the bytes say.

use arbitrary::{Arbitrary, Unstructured};

use super::THEIR_MESSAGE_BYTES;
use super::ours::{OurOp, PlacedOp};
use super::theirs::{Guess, TheirOp};
use crate::lie::Lie;

/// What either end does.
#[derive(Debug)]
pub(super) enum Op {
    Ours(OurOp),
    Placed(PlacedOp),
    Theirs(TheirOp),
    Stream(StreamOp),
    Guess(Guess),
    Lie(Lie),
}

impl<'a> Arbitrary<'a> for Op {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let choice = u.arbitrary::<u8>()?;
        Ok(match choice % 32 {
            _ if choice >= 128 => Self::Stream(u.arbitrary()?),
            _ if matches!(choice, 64..=70 | 106..=112) => Self::Placed(u.arbitrary()?),
            0..=13 => Self::Ours(u.arbitrary()?),
            14..=28 => Self::Theirs(u.arbitrary()?),
            29 => Self::Guess(u.arbitrary()?),
            _ => Self::Lie(u.arbitrary()?),
        })
    }
}

/// What calls with streams do beside the rest: ours, those that a handler of ours holds, and the peer's end of both.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum StreamOp {
    Open {
        streams: u8,
        size: Size,
        deadline: bool,
    },
    Send(u8, Size),
    Take(u8),
    Finish(u8),
    Drop(u8),
    Reply(u8),
    HandlerSends(u8, Size),
    HandlerTakes(u8),
    Ask {
        action: u8,
        streams: u8,
        size: Size,
        credit: u16,
        pieces: u8,
    },
    PeerSends {
        which: u8,
        size: Size,
        pieces: u8,
    },
    PeerEnds(u8),
    PeerGrants(u8, u16),
    /// The peer breaks a rule of streams, and nothing else.
    Break {
        way: u8,
        which: u8,
    },
}

/// The size of a body, from where bounds are.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) struct Size(u8);

impl Size {
    pub(super) const SMALL: Self = Self(1);

    pub(super) fn bytes(self) -> usize {
        const SIZES: [usize; 16] =
            [0, 1, 8, 24, 25, 64, 100, 511, 512, 513, 4000, 4096, 4097, 9000, 16_000, THEIR_MESSAGE_BYTES + 1];
        /// From where bodies are written to slots at once.
        const LARGE: [usize; 8] = [
            (16 << 10) - 1,
            16 << 10,
            (16 << 10) + 1,
            20_000,
            33_000,
            THEIR_MESSAGE_BYTES - 1,
            THEIR_MESSAGE_BYTES,
            THEIR_MESSAGE_BYTES + 1,
        ];
        match self.0 {
            248.. => LARGE[usize::from(self.0) - 248],
            size => SIZES[usize::from(size) % SIZES.len()],
        }
    }
}
