//! Descriptors by chance: sound ones, of which up to two things are then spoiled, mostly by little.

use arbitrary::Arbitrary;
use rapace_core::{Geometry, Side};

use crate::fields::{
    CONTROL, CREDIT, DEADLINE, END, ERROR, Fields, INLINE, ITEMS, METADATA, MORE, REPLY, REQUEST, parity,
};

/// A number, from where bounds are.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Near {
    Low(u8),
    Below(u8),
    Above(u8),
    Top(u8),
    Any(u32),
}

impl Near {
    fn to(self, bound: u32) -> u32 {
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
    kind: u8,
    bits: u8,
    depth: u8,
    method: u8,
    index: u8,
    generation: u8,
    place: Place,
    inline: u64,
    spoils: [Option<Spoil>; 2],
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Place {
    Inline(u8),
    Slots {
        slot: u8,
        offset: u8,
        length: u16,
    },
    /// All that is left behind the offset.
    ToTheEnd {
        slot: u8,
        offset: u8,
    },
}

/// What is no longer sound, or perhaps still is.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Spoil {
    Flag(u8),
    Kind(u8),
    Depth(u8),
    Channel(u32),
    Parity,
    ControlChannel,
    Method(Near),
    Credit(u8),
    Inline,
    Slot(Near),
    Generation(i8),
    AnyGeneration(Near),
    Offset(Near),
    Length(i8),
    AnyLength(Near),
}

impl Shape {
    /// The descriptor, when `sender` sends it; `next` gives a fresh generation for a slot.
    pub(crate) fn fields(self, sender: Side, geometry: &Geometry, next: impl FnOnce(u32) -> u32) -> Fields {
        let mut fields = self.header(sender);
        self.place(&mut fields, geometry, next);
        for spoil in self.spoils.into_iter().flatten() {
            spoil.spoil(&mut fields, geometry);
        }
        fields
    }

    fn header(self, sender: Side) -> Fields {
        let kind = u32::from(self.kind) % 6;
        let allowed = match kind {
            REQUEST => MORE | DEADLINE | METADATA | CREDIT | ITEMS,
            REPLY | ERROR => MORE | METADATA,
            END => 0,
            CONTROL => MORE | CREDIT,
            _ => MORE,
        };
        let opener = if kind == REQUEST { sender } else { sender.peer() };
        // Few indices and generations, so that some are in flight.
        let generation = (u32::from(self.generation) % 4).max(u32::from(self.index == 0));
        let number = generation << 13 | (u32::from(self.index) % 6) << 1 | parity(opener);
        let (channel, method) = match kind {
            CONTROL => (0, 1 + u32::from(self.method) % 9),
            REQUEST => (number, self.method.into()),
            // The one method that a session's user calls, mostly.
            _ => (number, u32::from(self.method).min(1)),
        };
        let bits = u32::from(self.bits) << 3 & allowed;
        let depth = if kind == REQUEST { u32::from(self.depth).max(1) } else { 0 };
        let credit = if bits & CREDIT != 0 { self.depth.into() } else { 0 };
        Fields { credit, inline: [self.inline; 3], ..Fields::header(kind | bits | depth << 24, channel, method) }
    }

    fn place(self, fields: &mut Fields, geometry: &Geometry, next: impl FnOnce(u32) -> u32) {
        let (slot_count, slot_bytes) = (geometry.slot_count(), geometry.slot_bytes());
        let (slot, offset, length) = match self.place {
            Place::Inline(length) => return fields.length = u32::from(length) % 25,
            Place::Slots { slot, offset, length } => (slot, offset, Some(length)),
            Place::ToTheEnd { slot, offset } => (slot, offset, None),
        };
        fields.slot = u32::from(slot) % slot_count;
        fields.generation = next(fields.slot);
        fields.offset = u32::from(offset) * 8 % slot_bytes;
        let left = (slot_count - fields.slot) * slot_bytes - fields.offset;
        fields.length = length.map_or(left, |length| 1 + u32::from(length) % (3 * slot_bytes).min(left));
    }
}

impl Spoil {
    fn spoil(self, fields: &mut Fields, geometry: &Geometry) {
        match self {
            Self::Flag(bit) => fields.flags ^= 1 << (bit % 24),
            Self::Kind(kind) => fields.flags = fields.flags & !7 | u32::from(kind) & 7,
            Self::Depth(depth) => fields.flags = fields.flags & 0x00FF_FFFF | u32::from(depth % 3) << 24,
            Self::Channel(channel) => fields.channel = channel,
            Self::Parity => fields.channel ^= 1,
            Self::ControlChannel => fields.channel = 0,
            // Below those that the harness's own calls use.
            Self::Method(method) => fields.method = method.to(10) % 512,
            Self::Credit(credit) => fields.credit = credit.into(),
            Self::Inline => fields.slot = INLINE,
            Self::Slot(slot) => fields.slot = slot.to(geometry.slot_count()),
            Self::Generation(by) => fields.generation = fields.generation.wrapping_add_signed(by.into()),
            Self::AnyGeneration(generation) => fields.generation = generation.to(1 << 31),
            Self::Offset(offset) => fields.offset = offset.to(geometry.slot_bytes()),
            Self::Length(by) => fields.length = fields.length.wrapping_add_signed(by.into()),
            Self::AnyLength(length) => fields.length = length.to(geometry.slot_bytes()),
        }
    }
}
