//! A body while it is written: first in a buffer, and once it is large, where it will be sent from.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use rapace_core::slots::Class;

use crate::caller::Caller;
use crate::handler::IncomingCall;
use crate::in_place::{Place, Placed};
use crate::prefix::Prefix;
use crate::scratch::Scratch;
use crate::session::CallOptions;

/// A piece of so many bytes takes the body into slots: it costs more to copy than they to be lent.
const PLACED_BYTES_MIN: usize = 16 << 10;
/// Room for what follows the piece for which slots are taken.
const TAIL_BYTES: usize = 256;

/// The body of a request or a reply, written and not yet sent.
pub struct Draft(Bytes);

enum Bytes {
    Buffer(Scratch),
    Placed(Box<Placed>),
}

/// Writes a [`Draft`].
pub struct DraftWriter<'a> {
    /// None if there is no point in asking for slots (any more).
    home: Option<Home<'a>>,
    draft: Draft,
}

/// What the body is for.
#[derive(Clone, Copy)]
enum Home<'a> {
    Request(&'a Caller, &'a CallOptions),
    Reply(&'a IncomingCall),
}

impl<'a> DraftWriter<'a> {
    #[inline]
    pub(crate) fn of_request(caller: &'a Caller, options: &'a CallOptions) -> Self {
        // What may be sent twice is not given away.
        let home = (!options.idempotent).then_some(Home::Request(caller, options));
        Self { home, draft: Draft(Bytes::Buffer(Scratch::take())) }
    }

    #[inline]
    pub(crate) fn of_reply(call: &'a IncomingCall) -> Self {
        Self { home: Some(Home::Reply(call)), draft: Draft(Bytes::Buffer(Scratch::take())) }
    }

    /// Appends a byte.
    #[inline]
    pub fn push(&mut self, byte: u8) {
        match &mut self.draft.0 {
            Bytes::Buffer(scratch) => scratch.push(byte),
            Bytes::Placed(_) => self.append(&[byte]),
        }
    }

    /// Appends bytes.
    #[inline]
    pub fn extend(&mut self, piece: &[u8]) {
        match &mut self.draft.0 {
            Bytes::Buffer(scratch) if piece.len() < PLACED_BYTES_MIN => scratch.extend(piece),
            _ => self.append(piece),
        }
    }

    /// Appends a large piece, or to a body in slots.
    #[cold]
    fn append(&mut self, piece: &[u8]) {
        if let Bytes::Buffer(written) = &mut self.draft.0 {
            match self.home.take().and_then(|home| home.place(written.len() + piece.len())) {
                None => return written.extend(piece),
                Some(mut placed) => {
                    placed.append(written);
                    self.draft.0 = Bytes::Placed(Box::new(placed));
                }
            }
        }
        if let Bytes::Placed(placed) = &mut self.draft.0
            && !placed.append(piece)
        {
            // Rather than to wait for more slots.
            let mut buffer = Scratch::with_room(placed.bytes + piece.len());
            buffer.extend(placed);
            buffer.extend(piece);
            self.draft.0 = Bytes::Buffer(buffer);
        }
    }

    /// The body.
    #[inline]
    pub fn finish(self) -> Draft {
        self.draft
    }
}

impl Home<'_> {
    /// Slots for so many bytes and some more, if there are any.
    fn place(self, bytes: usize) -> Option<Placed> {
        let (shared, begin) = match self {
            Self::Request(caller, options) => {
                (caller.peek()?, Prefix::new(options.deadline, &options.metadata).bytes().len())
            }
            Self::Reply(call) => (Arc::clone(call.shared()), 0),
        };
        let place = Place::new(&shared, Class::Request, begin + bytes + TAIL_BYTES)?;
        Some(Placed { place, begin, bytes: 0 })
    }
}

impl Placed {
    /// Says whether there was room.
    fn append(&mut self, piece: &[u8]) -> bool {
        let end = self.begin + self.bytes;
        let room = self.place.bytes().get_mut(end..end + piece.len());
        let found = room.is_some();
        if let Some(room) = room {
            room.copy_from_slice(piece);
            self.bytes += piece.len();
        }
        found
    }
}

impl Draft {
    /// The body in slots; or in a buffer.
    #[inline]
    pub(crate) fn into_placed(self) -> Result<Box<Placed>, Scratch> {
        match self.0 {
            Bytes::Placed(placed) => Ok(placed),
            Bytes::Buffer(scratch) => Err(scratch),
        }
    }
}

impl From<Scratch> for Draft {
    fn from(scratch: Scratch) -> Self {
        Self(Bytes::Buffer(scratch))
    }
}

impl Deref for Draft {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Buffer(scratch) => scratch,
            Bytes::Placed(placed) => placed,
        }
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Draft({} bytes)", self.len())
    }
}

impl fmt::Debug for DraftWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.draft.fmt(f)
    }
}
