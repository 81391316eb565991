//! A plugin that breaks the rules of an open session, one at a time and when it is asked to.

use std::thread;

use rapace_core::ChannelId;
use rapace_core::channel::{CHANNELS_MAX, ChannelGeneration};
use rapace_core::descriptor::{BODY_WORDS, Flags, FrameHeader, Inline, Kind, Payload, Run, Verb, encode};
use rapace_core::layout::header;
use rapace_core::side::Side;
use rapace_tests::lie::Lie;
use rapace_tests::method;
use rapace_tests::service::REST;

use crate::Failure;
use crate::raw::{Raw, Received, answer_header, hello, split};

/// Bells beyond any number of sleeps.
const MANY_BELLS: usize = 100;

/// Answers every call, those of [`method::LIE`] behind some lies.
pub(crate) fn serve() -> Result<(), Failure> {
    let mut raw = Raw::open()?;
    let mut progress = None;
    loop {
        let Ok(request) = raw.receive() else { return Ok(()) };
        if let Some(progress) = progress {
            raw.fake.announce(progress);
        }
        // An answer to each piece of a request would be another lie.
        if request.kind != Kind::Request.raw() || request.more {
            continue;
        }
        if request.method == method::HANG_UP {
            raw.fake.socket.shutdown();
            // A process that ends in order may take as long.
            thread::sleep(10 * REST);
            std::process::exit(i32::try_from(request.inline[0]).unwrap_or(1));
        }
        if request.method == method::LIE {
            let [lie, count, _] = request.inline;
            let lie = Lie::from_number(lie).ok_or("no such lie")?;
            if lie == Lie::R4 && count > 0 {
                progress = Some(u64::MAX);
            }
            for _ in 0..count {
                tell(&mut raw, lie, &request)?;
            }
            if lie == Lie::D1 && count > 0 {
                // A further frame would take the place of the lie.
                raw.linger();
                return Ok(());
            }
        }
        raw.send(&answer_header(&request, Kind::Reply), b"");
    }
}

fn tell(raw: &mut Raw, lie: Lie, request: &Received) -> Result<(), Failure> {
    let ping = FrameHeader::control(Verb::Ping);
    let reply = answer_header(request, Kind::Reply);
    let slots = raw.geometry().slot_count();
    match lie {
        Lie::D1 => raw.store_sequence(u64::MAX),
        Lie::D2 => {
            let mut words = inline(&ping, 8);
            words[3] |= 1 << 10;
            raw.publish(words);
        }
        Lie::D3 => raw.publish(inline(&FrameHeader { method: 77, ..ping }, 8)),
        Lie::D4 => raw.publish(inline(&call_of(Side::A, 0), 0)),
        Lie::D5 => raw.publish(inline(&reply, 25)),
        Lie::D6 => raw.publish(in_slots(&reply, slots, 1)),
        Lie::D8 => raw.publish(in_slots(&reply, 9, 0)),
        Lie::D9 => raw.publish(inline(&FrameHeader { credit: 5, ..reply }, 0)),
        Lie::C1 => {
            let channel = ChannelId::from_raw(call_of(Side::B, 3).channel.raw() & 0x1fff);
            raw.publish(inline(&FrameHeader { channel, ..call_of(Side::B, 3) }, 0));
        }
        Lie::C2 => {
            let channel = call_of(Side::A, CHANNELS_MAX - 1).channel;
            raw.publish(inline(&FrameHeader { channel, ..reply }, 0));
        }
        Lie::C12 => raw.publish(inline(&FrameHeader { kind: Kind::Item, depth: 0, ..call_of(Side::B, 4) }, 3)),
        Lie::M2 => {
            let first = FrameHeader { flags: Flags::MORE, ..call_of(Side::B, 5) };
            raw.publish(inline(&first, 3));
            raw.publish(inline(&FrameHeader { method: method::MARK, ..first }, 3));
        }
        Lie::X1 => raw.publish(inline(&ping, 3)),
        Lie::X2 => raw.send(&FrameHeader::control(Verb::Hello), &hello().encode()?),
        Lie::R4 => raw.fake.announce(u64::MAX),
        // A lap that is far from due.
        Lie::S6 => raw.fake.store_return(0, 77 << 24),
        // A return of a slot that was never sent.
        Lie::S7 => raw.fake.store_return(0, 1 << 32 | 1 << 24),
        Lie::L6 => raw.fake.store(header::STATE, 9),
        Lie::K6 => {
            use std::os::fd::AsRawFd;
            let flags = nix::sys::socket::MsgFlags::MSG_NOSIGNAL;
            nix::sys::socket::send(raw.fake.socket.as_raw_fd(), &[1, 1], flags)?;
        }
        Lie::K7 => (0..MANY_BELLS).for_each(|_| raw.ring()),
    }
    Ok(())
}

/// A request of method `ECHO` on the first channel of an index.
fn call_of(opener: Side, index: u32) -> FrameHeader {
    let channel = ChannelId::new(opener, index, ChannelGeneration::FIRST);
    FrameHeader { channel, method: method::ECHO, kind: Kind::Request, flags: Flags::NONE, depth: 1, credit: 0 }
}

/// A descriptor that says to have so many inline bytes.
fn inline(header: &FrameHeader, bytes: u32) -> [u64; BODY_WORDS] {
    let mut words = encode(header, &Payload::Inline(Inline::EMPTY));
    let [offset, _] = split(words[2]);
    words[2] = u64::from(bytes) << 32 | u64::from(offset);
    words
}

/// A descriptor that says to have one byte in a slot.
fn in_slots(header: &FrameHeader, slot: u32, generation: u32) -> [u64; BODY_WORDS] {
    encode(header, &Payload::Slots(Run { slot, generation, offset: 0, payload_bytes: 1, slots: 1 }))
}
