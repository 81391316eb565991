//! Descriptors by chance that are nearly right: each bound is met, missed by little, and missed by far.

use arbitrary::Arbitrary;
use rapace_core::{Geometry, Side};

use crate::fields::{CONTROL, CREDIT, DEADLINE, END, ERROR, Fields, INLINE, METADATA, MORE, REPLY, REQUEST, parity};

/// A number, from where bounds are.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Near {
    Low(u8),
    Below(u8),
    Above(u8),
    Top(u8),
    Any(u32),
}

impl Near {
    pub(crate) fn to(self, bound: u32) -> u32 {
        match self {
            Self::Low(by) => by.into(),
            Self::Below(by) => bound.saturating_sub(by.into()),
            Self::Above(by) => bound.saturating_add(by.into()),
            Self::Top(by) => u32::MAX - u32::from(by),
            Self::Any(number) => number,
        }
    }
}

/// A descriptor to be.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Whether the header is put right, so that the rules behind it are reached.
    tidy: bool,
    kind: u8,
    bits: u8,
    depth: u8,
    reserved: Option<u32>,
    channel: Channel,
    method: Near,
    place: Place,
    length: Near,
    credit: Option<u32>,
    inline: [u64; 3],
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Channel {
    Control,
    /// Opened by the sender: few indices and generations, so that some are in flight.
    OfSender(u8, u8),
    OfReceiver(u8, u8),
    Any(u32),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Place {
    Inline,
    /// Any slot, with the next generation.
    Next {
        slot: Near,
        offset: u8,
    },
    Raw {
        slot: Near,
        generation: Near,
        offset: Near,
    },
}

impl Shape {
    /// The descriptor, when `sender` sends it; `next` gives a fresh generation for a slot.
    pub(crate) fn fields(self, sender: Side, geometry: &Geometry, next: impl FnOnce(u32) -> u32) -> Fields {
        let (slot, generation, offset) = match self.place {
            Place::Inline => (INLINE, 0, 0),
            Place::Next { slot, offset } => {
                let slot = slot.to(geometry.slot_count());
                (slot, next(slot), u32::from(offset) % 16 * 8)
            }
            Place::Raw { slot, generation, offset } => {
                (slot.to(geometry.slot_count()), generation.to(1 << 31), offset.to(geometry.slot_bytes()))
            }
        };
        let bound = if slot == INLINE { 24 } else { geometry.slot_bytes() };
        let mut fields = Fields {
            channel: self.channel.id(sender),
            // Below what the harness's own calls use.
            method: self.method.to(9) % 512,
            slot,
            generation,
            offset,
            length: self.length.to(bound),
            flags: u32::from(self.kind & 7) | u32::from(self.bits & 15) << 3 | u32::from(self.depth) << 24,
            credit: self.credit.unwrap_or(0),
            inline: self.inline,
        };
        if self.tidy {
            tidy(&mut fields, sender);
        } else {
            fields.flags |= self.reserved.unwrap_or(0);
        }
        fields
    }
}

impl Channel {
    fn id(self, sender: Side) -> u32 {
        let id = |opener, index: u8, generation: u8| {
            u32::from(generation % 4) << 13 | u32::from(index % 6) << 1 | parity(opener)
        };
        match self {
            Self::Control => 0,
            Self::OfSender(index, generation) => id(sender, index, generation),
            Self::OfReceiver(index, generation) => id(sender.peer(), index, generation),
            Self::Any(number) => number,
        }
    }
}

/// Puts right what D2, D3, D4 and D9 ask for.
fn tidy(fields: &mut Fields, sender: Side) {
    let kind = fields.kind() % 6;
    let (allowed, depth) = match kind {
        REQUEST => (MORE | DEADLINE | METADATA | CREDIT, fields.depth().max(1)),
        REPLY | ERROR => (MORE | METADATA | CREDIT, 0),
        END => (CREDIT, 0),
        _ => (MORE | CREDIT, 0),
    };
    fields.flags = kind | fields.flags & allowed | depth << 24;
    if !fields.has(CREDIT) {
        fields.credit = 0;
    }
    let opener = match kind {
        CONTROL => {
            fields.channel = 0;
            fields.method = 1 + fields.method % 9;
            return;
        }
        REQUEST => sender,
        REPLY | ERROR => {
            // The one method that a session's user calls here, mostly.
            fields.method = fields.method.min(1);
            sender.peer()
        }
        _ => {
            fields.channel |= 1 << 13;
            return;
        }
    };
    if fields.channel == 0 && opener == Side::A {
        fields.method = if fields.method.is_multiple_of(2) { 2000 } else { 2002 };
    } else {
        fields.channel = fields.channel & !1 | parity(opener) | u32::from(fields.channel == 0) << 13;
    }
}
