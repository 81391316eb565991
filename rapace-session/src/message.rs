//! A message on its way in: one frame or many, within what may be kept (SPEC section 12).

use rapace_core::descriptor::{Flags, Frame, FrameHeader, Kind};
use rapace_core::link::Link;

use crate::body::Body;
use crate::fault::Fault;
use crate::prefix::{self, Parsed};
use crate::status::{Code, Status};

/// What a receiver takes of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Largest body.
    pub(crate) message_bytes: usize,
    /// Largest metadata.
    pub(crate) metadata_bytes: usize,
    /// Bytes of all messages together that may be kept.
    pub(crate) kept_bytes: usize,
}

/// A message of which the first frame has come.
#[derive(Debug)]
pub(crate) struct Inbound {
    header: FrameHeader,
    body: Body,
    /// Why the body is not kept.
    dropped: Option<Status>,
}

impl Inbound {
    /// Whether a frame is a whole message with nothing before its body, which may be kept: most are, and need no table.
    pub(crate) fn is_plain(frame: &Frame, room: Room, kept: usize) -> bool {
        let bytes = frame.payload.bytes();
        let flags = Flags::MORE.with(Flags::DEADLINE).with(Flags::METADATA);
        !frame.header.flags.has_any(flags) && bytes <= room.message_bytes && kept + bytes <= room.kept_bytes
    }

    /// Takes the next frame of the message in `begun`, which becomes one with the first.
    ///
    /// The payload has been taken or discarded, whatever comes back. An `unwanted` message is followed, not kept. What is
    /// kept is added to `kept`.
    ///
    /// # Errors
    ///
    /// M1 or M2 when the frame is not the next one.
    pub(crate) fn take_frame(
        begun: &mut Option<Box<Self>>,
        frame: Frame,
        link: &mut Link,
        room: Room,
        unwanted: bool,
        kept: &mut usize,
    ) -> Result<(), Fault> {
        let (header, bytes) = (frame.header, frame.payload.bytes());
        if let Err(fault) = check(&frame.header, begun.as_deref(), bytes) {
            link.discard(frame.payload);
            return Err(fault);
        }
        let message =
            begun.get_or_insert_with(|| Box::new(Self { header: frame.header, body: Body::default(), dropped: None }));
        if message.dropped.is_none()
            && let Some(refused) = room.refuse(message.body.len(), bytes, &frame.header, *kept)
        {
            message.drop_body(Some(refused), kept);
        }
        if unwanted || message.dropped.is_some() {
            if header.flags.has(Flags::MORE) {
                link.ignore(frame.payload);
            } else {
                // There are as many of these as there are calls.
                link.discard(frame.payload);
            }
            return Ok(());
        }
        let before = message.body.heap_bytes();
        if message.body.is_empty() {
            message.body = Body::of(&frame, link);
        } else {
            message.body.append(frame.payload, link);
        }
        if !header.flags.has(Flags::MORE) {
            // Pieces leave room for more of them.
            message.body.fit();
        }
        *kept = *kept + message.body.heap_bytes() - before;
        Ok(())
    }

    /// Lets the body go, and takes it off `kept`.
    pub(crate) fn drop_body(&mut self, why: Option<Status>, kept: &mut usize) {
        *kept -= self.body.heap_bytes();
        self.body = Body::default();
        if why.is_some() {
            self.dropped = why;
        }
    }

    /// Its kind.
    pub(crate) fn kind(&self) -> Kind {
        self.header.kind
    }

    /// Bytes of it that have come.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.body.len()
    }

    /// Bytes that are allocated for it.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.body.heap_bytes()
    }

    /// The body behind its prefix, and what the prefix says; or why the message is not taken.
    pub(crate) fn complete(self, room: Room, link: &mut Link) -> Result<(Body, Parsed), Status> {
        if let Some(status) = self.dropped {
            return Err(status);
        }
        let mut body = self.body;
        let parsed = prefix::parse(self.header.flags, &mut body, room.metadata_bytes).and_then(|parsed| {
            if body.len() <= room.message_bytes {
                return Ok(parsed);
            }
            let message = format!("body has {} bytes, but at most {} are taken", body.len(), room.message_bytes);
            Err(Status::new(Code::ResourceExhausted, message))
        });
        match parsed {
            Ok(parsed) => Ok((body, parsed)),
            Err(status) => {
                body.discard(link);
                Err(status)
            }
        }
    }
}

impl Room {
    /// Why a message is not kept to which `new` bytes are added.
    fn refuse(&self, so_far: usize, new: usize, header: &FrameHeader, kept: usize) -> Option<Status> {
        // A prefix is told apart from the body only when all has come.
        let deadline = if header.flags.has(Flags::DEADLINE) { 8 } else { 0 };
        let metadata = if header.flags.has(Flags::METADATA) { 4 + self.metadata_bytes } else { 0 };
        let message = if so_far + new > self.message_bytes + deadline + metadata {
            format!("message has at least {} bytes, but at most {} are taken", so_far + new, self.message_bytes)
        } else if kept + new > self.kept_bytes {
            format!("{kept} bytes of messages are kept and {new} would be added, but the bound is {}", self.kept_bytes)
        } else {
            return None;
        };
        Some(Status::new(Code::ResourceExhausted, message))
    }
}

/// Whether a frame is the next one of its message.
fn check(header: &FrameHeader, begun: Option<&Inbound>, bytes: usize) -> Result<(), Fault> {
    let channel = header.channel.raw();
    if bytes == 0 && (begun.is_some() || header.flags.has(Flags::MORE)) {
        return Err(Fault::EmptyPiece { channel });
    }
    let Some(first) = begun.map(|begun| &begun.header) else { return Ok(()) };
    let flags = |header: &FrameHeader| header.flags.without(Flags::MORE).raw();
    for (field, found, expected) in [
        ("kind", header.kind.raw(), first.kind.raw()),
        ("method", header.method, first.method),
        ("flags", flags(header), flags(first)),
        ("depth", header.depth.into(), first.depth.into()),
    ] {
        if found != expected {
            return Err(Fault::BrokenMessage { channel, field, found, expected });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rapace_core::descriptor::{Inline, Payload, Verb};

    use super::*;

    const ROOM: Room = Room { message_bytes: 100, metadata_bytes: 10, kept_bytes: 500 };

    fn flagged(flags: Flags) -> FrameHeader {
        FrameHeader { flags, ..FrameHeader::control(Verb::Ping) }
    }

    #[test]
    fn a_message_has_room_for_its_largest_body_and_prefix() {
        let (deadline, metadata) = (Flags::DEADLINE, Flags::METADATA);
        for (flags, most) in [(Flags::NONE, 100), (deadline, 108), (metadata, 114), (deadline.with(metadata), 122)] {
            for so_far in [0, 1, 70, most] {
                let refused = |bytes| ROOM.refuse(so_far, bytes, &flagged(flags), 0).map(|status| status.code);
                assert_eq!(refused(most - so_far), None);
                assert_eq!(refused(most + 1 - so_far), Some(Code::ResourceExhausted));
            }
        }
    }

    #[test]
    fn messages_have_room_for_so_many_bytes_together() {
        let refused = |bytes, kept| ROOM.refuse(0, bytes, &flagged(Flags::NONE), kept).map(|status| status.code);
        assert_eq!([refused(50, 450), refused(100, 400), refused(0, 500)], [None; 3]);
        assert_eq!([refused(51, 450), refused(1, 500)], [Some(Code::ResourceExhausted); 2]);
    }

    #[test]
    fn a_frame_is_plain_if_it_is_whole_has_no_prefix_and_there_is_room() {
        let is_plain = |flags, message_bytes, kept_bytes, kept| {
            let frame = Frame { header: flagged(flags), payload: Payload::Inline(Inline::new(&[0; 10]).unwrap()) };
            Inbound::is_plain(&frame, Room { message_bytes, metadata_bytes: 0, kept_bytes }, kept)
        };
        assert!(is_plain(Flags::ITEMS, 10, 10, 0) && is_plain(Flags::CREDIT, 10, 20, 10));
        assert!(!is_plain(Flags::NONE, 9, 20, 0) && !is_plain(Flags::NONE, 10, 10, 1));
        for flags in [Flags::MORE, Flags::DEADLINE, Flags::METADATA] {
            assert!(!is_plain(flags, 10, 10, 0));
        }
    }
}
