//! What a peer can do that it must not: to its half, and on its socket.

use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;

use arbitrary::Arbitrary;
use rapace_core::layout::header;

use crate::peer::Peer;
use crate::shape::Shape;

/// Something that breaks a rule, or may.
#[derive(Arbitrary, Clone, Debug)]
pub(crate) enum Lie {
    /// A descriptor of any words, and what is in its first slot.
    Frame(Shape, [u8; 16]),
    /// The sequence number of the next descriptor, relative to the last one.
    Sequence(i8),
    AnySequence(u64),
    /// Progress in the link's ring, relative to what was announced.
    Consumed(i8),
    AnyConsumed(u64),
    /// A return of a run that is here (or of any), with a generation that is off by so much.
    Return {
        which: u8,
        ahead: u8,
        off: i8,
    },
    AnyReturn {
        ahead: u8,
        slot: u32,
        generation: u32,
    },
    /// Any word of the header page's first 256 bytes.
    Header {
        word: u8,
        value: u64,
    },
    /// Any word of the header page, or of either ring.
    Word {
        word: u16,
        value: u64,
    },
    /// Sleeps, so that it is rung.
    Asleep {
        epoch: u8,
        wants_room: bool,
    },
    /// Other bytes in a slot, perhaps behind the check.
    Slot {
        slot: u8,
        bytes: [u8; 16],
    },
    Bells(u8),
    Datagram(Vec<u8>),
    Refusal(u32, String),
    HangUp,
}

impl Lie {
    pub(crate) fn tell(self, peer: &mut Peer) {
        peer.lied = true;
        match self {
            Self::Frame(shape, seed) => {
                let (side, geometry) = (peer.side, peer.geometry);
                let fields = shape.fields(side, &geometry, |slot| peer.next_generation(slot));
                if fields.slot < geometry.slot_count() {
                    peer.fake.write_slot(fields.slot, &seed.repeat(geometry.slot_bytes() as usize / seed.len()));
                }
                peer.publish(fields);
            }
            Self::Sequence(ahead) => peer.store_sequence(i64::from(ahead).cast_unsigned()),
            Self::AnySequence(ahead) => peer.store_sequence(ahead),
            Self::Consumed(ahead) => peer.fake.announce(peer.taken.wrapping_add_signed(ahead.into())),
            Self::AnyConsumed(count) => peer.fake.announce(count),
            Self::Return { which, ahead, off } => {
                let (slot, generation) = peer.held(which).unwrap_or((which.into(), 1));
                peer.forge_return(ahead, slot, generation.wrapping_add_signed(off.into()));
            }
            Self::AnyReturn { ahead, slot, generation } => peer.forge_return(ahead, slot, generation),
            Self::Header { word, value } => peer.fake.store(8 * usize::from(word % 32), value),
            Self::Word { word, value } => peer.store_word(word, value),
            Self::Asleep { epoch, wants_room } => {
                peer.fake.store(header::SLEEP, u64::from(epoch) << 2 | u64::from(wants_room) << 1 | 1);
            }
            Self::Slot { slot, bytes } => {
                peer.fake.write_slot(u32::from(slot) % peer.geometry.slot_count(), &bytes);
            }
            Self::Bells(count) => (0..count).for_each(|_| drop(peer.fake.socket.ring())),
            Self::Datagram(bytes) => send(peer, &bytes),
            Self::Refusal(code, text) => drop(peer.fake.socket.send_refusal(code, &text)),
            Self::HangUp => peer.fake.socket.shutdown(),
        }
    }
}

/// Sends any datagram, unless the socket is full or closed.
fn send(peer: &Peer, bytes: &[u8]) {
    let socket = peer.fake.socket.as_fd().try_clone_to_owned().map(UnixDatagram::from);
    let socket = socket.expect("the process may open a few descriptors");
    if socket.set_nonblocking(true).is_ok() {
        // Whether it arrives is the lie's own affair.
        let _ = socket.send(bytes);
    }
}
