//! The thread that writes: an honest peer, until it stores what it likes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use arbitrary::{Arbitrary, Unstructured};
use rapace_core::Geometry;
use rapace_core::layout::header;

use crate::fields::{CONTROL, CREDIT, ERROR, Fields, ITEM, ITEMS, MORE, REPLY, REQUEST};
use crate::lie::Lie;
use crate::session::desk::Desk;
use crate::session::script::StreamOp;
use crate::session::theirs::{TheirOp, Theirs};

const GRANT: u32 = 6;

/// What the peer does.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Theirs(TheirOp),
    Stream(StreamOp),
    Lie(Lie),
    Store(Place, Word),
    /// Sends what is queued, and at once stores two words in turn, so many times.
    Flip(Place, [Word; 2], u8),
    /// Answers, takes and returns nothing for some rounds.
    Rest(u8),
}

impl<'a> Arbitrary<'a> for Act {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(match u.arbitrary::<u8>()? % 16 {
            0..=4 => Self::Theirs(u.arbitrary()?),
            5..=8 => Self::Stream(u.arbitrary()?),
            9 => Self::Lie(u.arbitrary()?),
            10..=12 => Self::Store(u.arbitrary()?, u.arbitrary()?),
            13 | 14 => Self::Flip(u.arbitrary()?, u.arbitrary()?, u.arbitrary()?),
            _ => Self::Rest(u.arbitrary()?),
        })
    }
}

/// A word of the half.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Place {
    State,
    Heartbeat,
    Consumed,
    Sleep,
    Header(u16),
    /// A word of the descriptor so far behind the last one.
    Descriptor(i8, u8),
    Ring(u16),
    Return(u8),
    Slot(u16),
    Any(u32),
}

/// What is stored there.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Word {
    /// What this side has stored there last, and so much more: for a sequence or a count one that is plausible.
    Published(i8),
    Taken(i8),
    Low(u8),
    Any(u64),
}

/// The peer, with its part of the script.
pub(super) struct Writer {
    pub(super) theirs: Theirs,
    pub(super) desk: Arc<Desk>,
    pub(super) acts: Vec<Act>,
}

impl Writer {
    /// Plays the script over and over until it is told to stop.
    pub(super) fn run(mut self, stop: &AtomicBool) -> Theirs {
        let acts = std::mem::take(&mut self.acts);
        let mut next = acts.iter().cycle().peekable();
        let mut rests: u8 = 0;
        while !stop.load(Ordering::Relaxed) {
            if rests > 0 {
                rests -= 1;
            } else {
                match next.next() {
                    Some(Act::Rest(rounds)) => rests = *rounds,
                    Some(act) => self.act(act.clone()),
                    None => {}
                }
                // What is queued is sent at the moment in which its words change.
                if !matches!(next.peek(), Some(Act::Flip(..))) {
                    self.attend();
                }
            }
            thread::yield_now();
        }
        self.theirs
    }

    fn act(&mut self, act: Act) {
        match act {
            // It takes all the time, in the one way or the other.
            Act::Theirs(TheirOp::Take) => {}
            Act::Theirs(op) => self.theirs.play(op),
            Act::Stream(op) => self.theirs.stream(op),
            Act::Lie(lie) => {
                self.lies();
                lie.tell(&mut self.theirs.peer);
            }
            Act::Store(place, word) => self.store(place, word),
            Act::Flip(place, words, times) => {
                self.lies();
                self.send();
                for word in words.into_iter().cycle().take(2 * usize::from(times)) {
                    self.store(place, word);
                }
            }
            Act::Rest(_) => {}
        }
    }

    /// The host is told first that nothing is to be relied on any more.
    fn lies(&mut self) {
        self.desk.note(true);
        (self.theirs.peer.lied, self.theirs.peer.forged) = (true, true);
    }

    fn store(&mut self, place: Place, word: Word) {
        self.lies();
        let peer = &self.theirs.peer;
        let value = match word {
            Word::Published(by) => peer.published().wrapping_add_signed(by.into()),
            Word::Taken(by) => peer.taken.wrapping_add_signed(by.into()),
            Word::Low(low) => low.into(),
            Word::Any(any) => any,
        };
        peer.fake.store(place.offset(&peer.geometry, peer.published()), value);
    }

    /// What a peer does that gets on: sends, takes, returns, answers and rings.
    fn attend(&mut self) {
        self.send();
        if self.theirs.peer.lied {
            while self.answer_unjudged() {}
        } else {
            while self.theirs.take() {}
            while self.theirs.peer.give_back(0) {}
            self.theirs.answer(0, false, false, 1);
        }
        self.theirs.peer.ring();
    }

    fn send(&mut self) {
        while self.theirs.send_next() {}
        self.theirs.peer.ring();
    }

    /// Takes a frame as it is, which may be half of one and half of another, and answers as if it were sound.
    fn answer_unjudged(&mut self) -> bool {
        let peer = &mut self.theirs.peer;
        let Some(fields) = peer.take_unjudged() else { return false };
        let Fields { channel, method, .. } = fields;
        if matches!(fields.kind(), REPLY | ERROR) && !fields.has(MORE) {
            self.theirs.forget(channel);
            return true;
        }
        if fields.kind() == REQUEST && !fields.has(MORE) {
            if fields.has(ITEMS) {
                let grant = Fields { credit: 200, ..Fields::header(CONTROL | CREDIT, 0, GRANT) };
                peer.send(grant, &channel.to_le_bytes());
            }
            if fields.has(CREDIT) {
                peer.send(Fields::header(ITEM, channel, method), &crate::pattern(40));
            }
            let bytes = (fields.length as usize).min(2000);
            peer.send(Fields::header(REPLY, channel, method), &crate::pattern(bytes));
        }
        true
    }
}

impl Place {
    fn offset(self, geometry: &Geometry, published: u64) -> usize {
        let word = |at: usize| 8 * at;
        let capacity = u64::from(geometry.ring_capacity());
        let at = match self {
            Self::State => header::STATE,
            Self::Heartbeat => header::HEARTBEAT,
            Self::Consumed => header::CONSUMED,
            Self::Sleep => header::SLEEP,
            Self::Header(at) => word(at.into()) % geometry.ring_offset(),
            Self::Descriptor(behind, at) => {
                let number = published.wrapping_sub(1).wrapping_add_signed(behind.into()) % capacity;
                geometry.ring_offset() + 64 * usize::try_from(number).unwrap_or(0) + word(usize::from(at) % 8)
            }
            Self::Ring(at) => {
                let ring = geometry.returns_offset() - geometry.ring_offset();
                geometry.ring_offset() + word(at.into()) % ring
            }
            Self::Return(at) => geometry.returns_offset() + word(usize::from(at) % geometry.return_capacity() as usize),
            Self::Slot(at) => geometry.slots_offset() + word(at.into()) % geometry.pool_bytes(),
            Self::Any(at) => word(at as usize) % geometry.half_bytes(),
        };
        at.min(geometry.half_bytes() - 8) / 8 * 8
    }
}
