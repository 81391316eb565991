//! Target `frames`: a link against a peer that keeps the rules, until it lies.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::ops::Range;

use arbitrary::{Arbitrary, Unstructured};
use rapace_core::descriptor::{Flags, FrameHeader, Kind, Payload};
use rapace_core::fake::FakePeer;
use rapace_core::link::{Loan, Pulse, SendRefusal};
use rapace_core::sleep::Interest;
use rapace_core::slots::Class;
use rapace_core::{ChannelId, Link, PeerFault, Side};

use crate::fields::{CONTROL, Fields, INLINE, ITEM, REQUEST, parity};
use crate::lie::Lie;
use crate::peer::Peer;

#[derive(Debug)]
enum Op {
    Peer(PeerOp),
    Link(LinkOp),
    Lie(Lie),
}

impl<'a> Arbitrary<'a> for Op {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(match u.int_in_range(0..=15)? {
            0..=5 => Self::Peer(u.arbitrary()?),
            6..=14 => Self::Link(u.arbitrary()?),
            _ => Self::Lie(u.arbitrary()?),
        })
    }
}

#[derive(Arbitrary, Debug)]
enum PeerOp {
    /// A frame, or some in a row: a power of two of them.
    Send {
        kind: u8,
        channel: u8,
        bytes: u16,
        times: u8,
    },
    Take(u8),
    GiveBack(u8),
    Ring,
}

#[derive(Arbitrary, Debug)]
enum LinkOp {
    Send { class: u8, bytes: u16, times: u8 },
    Receive(u8),
    Take(u8),
    Discard(u8),
    Flush,
    Arm(bool),
    Disarm,
    Look(bool),
    ReadSocket,
    Room,
    Pulse(u8),
    Lend { class: u8, bytes: u16 },
    SendLoan { which: u8, words: u8, bytes: u16 },
    ReturnLoan(u8),
}

/// Runs a link against a peer, operation by operation.
///
/// Whatever the peer does, the link does not panic, blames the peer for what it reports, publishes only what keeps the
/// rules, and holds just the runs that its user has not given back. Until the peer lies, everything arrives as it was
/// sent, the room that the link sees is the room that there is, and nobody is blamed.
pub fn frames(data: &[u8]) {
    // An error says that the bytes are used up, or that the system gives no memory: neither is the link's.
    let _ = run(&mut Unstructured::new(data));
}

fn run(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let geometry = crate::geometry(u.arbitrary()?);
    let side = if u.arbitrary()? { Side::A } else { Side::B };
    let may_lie = u.arbitrary()?;
    let (link, fake) = FakePeer::pair(geometry, NonZeroU64::MIN, side).expect("a segment and a socket pair");
    let mut wire = Wire {
        link,
        peer: Peer::new(fake, side.peer()),
        held: Vec::new(),
        loans: Vec::new(),
        to_link: VecDeque::new(),
        to_peer: VecDeque::new(),
        slots_out: 0,
        at_peer: Vec::new(),
    };
    while !u.is_empty() {
        let op = u.arbitrary::<Op>();
        match op {
            Ok(Op::Peer(op)) => wire.peer_op(op),
            Ok(Op::Link(op)) => wire.link_op(op),
            Ok(Op::Lie(lie)) if may_lie => lie.tell(&mut wire.peer),
            Ok(Op::Lie(_)) => {}
            Err(_) => break,
        }
        wire.check();
    }
    wire.conclude();
    Ok(())
}

struct Wire {
    link: Link,
    peer: Peer,
    /// Payloads that the link's user has not given back, with what they should hold.
    held: Vec<(Payload, Option<Vec<u8>>)>,
    /// Slots that the link's user is filling, and the kind of frame they are for.
    loans: Vec<(Loan, Kind)>,
    /// Frames on their way.
    to_link: VecDeque<(Fields, Vec<u8>)>,
    to_peer: VecDeque<(Fields, Vec<u8>)>,
    /// Slots of the link that are with the peer or on their way to it.
    slots_out: usize,
    /// Slots of each of the peer's held runs, in the order in which it holds them.
    at_peer: Vec<usize>,
}

impl Wire {
    fn honest(&self) -> bool {
        !self.peer.lied
    }

    fn blame(&self, fault: PeerFault) {
        assert!(self.peer.lied, "an honest peer is blamed: {fault}");
        assert!(fault.to_string().starts_with(fault.rule()), "{fault}");
    }

    fn peer_op(&mut self, op: PeerOp) {
        match op {
            PeerOp::Send { kind, channel, bytes, times } => {
                (0..1 << (times % 5)).for_each(|_| self.peer_sends(kind, channel, bytes));
            }
            PeerOp::Take(times) => (0..1 << (times % 5)).for_each(|_| self.peer_takes()),
            PeerOp::GiveBack(which) => {
                if self.peer.give_back(which) && self.honest() {
                    let slots = self.at_peer.swap_remove(usize::from(which) % self.at_peer.len());
                    self.slots_out -= slots;
                }
            }
            PeerOp::Ring => self.peer.ring(),
        }
    }

    fn peer_takes(&mut self) {
        let Some(taken) = self.peer.take() else {
            assert!(self.to_peer.is_empty() || !self.honest(), "a frame did not arrive");
            return;
        };
        if self.honest() {
            let (header, body) = self.to_peer.pop_front().expect("nothing arrives that was not sent");
            assert_same_header(&taken.fields, &header);
            assert!(taken.body == body, "another payload arrived");
            let end = taken.fields.offset as usize + body.len();
            self.at_peer.extend((!taken.fields.is_inline()).then(|| self.slots(end)));
        }
    }

    fn peer_sends(&mut self, kind: u8, channel: u8, bytes: u16) {
        let kind = u32::from(kind % 6);
        let number = (u32::from(channel) | 256) << 1;
        let frame = match kind {
            CONTROL => Fields::header(CONTROL, 0, 4),
            REQUEST => Fields::header(REQUEST | 1 << 24, number | parity(self.peer.side), 7),
            kind => Fields::header(kind, number | parity(self.peer.side.peer()), 7),
        };
        let body = crate::pattern(usize::from(bytes) % (self.peer.geometry.pool_bytes() + 1));
        if self.peer.send(frame, &body) {
            self.to_link.push_back((frame, body));
        }
    }

    fn link_op(&mut self, op: LinkOp) {
        match op {
            LinkOp::Send { class, bytes, times } => {
                (0..1 << (times % 5)).for_each(|_| self.link_sends(class, bytes.into()));
            }
            LinkOp::Receive(times) => (0..1 << (times % 5)).for_each(|_| self.receive()),
            LinkOp::Take(which) => {
                let Some((payload, expected)) = pick(&mut self.held, which) else { return };
                let mut body = vec![0xEE];
                self.link.take_payload(payload, &mut body);
                assert_eq!(body.len(), 1 + payload.bytes());
                assert!(!self.honest() || expected.is_none_or(|expected| body[1..] == expected), "another payload");
            }
            LinkOp::Discard(which) => {
                if let Some((payload, _)) = pick(&mut self.held, which) {
                    self.link.discard(payload);
                }
            }
            LinkOp::Flush => self.link.flush(),
            LinkOp::Arm(room) => self.link.arm(interest(room)),
            LinkOp::Disarm => self.link.disarm(),
            LinkOp::Look(room) => match self.link.watch(interest(room)) {
                Ok(watch) => {
                    let came = watch.came(&self.link.view());
                    assert!(!self.honest() || came || self.to_link.is_empty(), "a frame was overlooked");
                    assert!(!self.honest() || room || !came || !self.to_link.is_empty(), "a frame was imagined");
                }
                Err(fault) => self.blame(fault),
            },
            LinkOp::ReadSocket => match self.link.read_socket() {
                Ok(news) => {
                    let stats = self.link.stats();
                    assert!(stats.bells_received <= stats.sleeps, "K7: {stats:?}");
                    assert!(!self.honest() || !news.ended && news.refusal.is_none());
                }
                Err(fault) => self.blame(fault),
            },
            LinkOp::Room => match self.link.room() {
                Ok((consumed, _)) => assert!(!self.honest() || consumed == self.peer.taken),
                Err(fault) => self.blame(fault),
            },
            LinkOp::Pulse(pulse) => {
                let pulses = [Pulse::Starting, Pulse::Active, Pulse::Dormant, Pulse::Closed];
                self.link.set_pulse(pulses[usize::from(pulse) % 4]);
                self.link.beat();
                if let Err(fault) = self.link.peer_pulse() {
                    self.blame(fault);
                }
            }
            LinkOp::Lend { class, bytes } => self.link_lends(class, bytes.into()),
            LinkOp::SendLoan { which, words, bytes } => {
                let Some((loan, kind)) = pick(&mut self.loans, which) else { return };
                let offset = usize::from(words) * 8 % self.peer.geometry.slot_bytes() as usize;
                let bytes = usize::from(bytes) % (loan.len() - offset + 1);
                self.link_sends_loan(loan, kind, offset..offset + bytes);
            }
            LinkOp::ReturnLoan(which) => {
                if let Some((loan, _)) = pick(&mut self.loans, which) {
                    self.link.return_loan(loan);
                }
            }
        }
    }

    fn link_lends(&mut self, class: u8, bytes: usize) {
        let kind = [Kind::Control, Kind::Reply, Kind::Item, Kind::Request][usize::from(class) % 4];
        match self.link.try_loan(Class::of(kind), bytes) {
            Ok(mut loan) => {
                assert!(loan.len() >= bytes.max(1), "{} of {bytes} bytes", loan.len());
                let body = crate::pattern(loan.len());
                loan.copy_from_slice(&body);
                self.loans.push((loan, kind));
            }
            Err(SendRefusal::TooLarge) => assert!(bytes > self.link.frame_bytes_max(Class::of(kind))),
            Err(SendRefusal::RingFull) => panic!("a loan needs no room in the ring"),
            Err(SendRefusal::SlotsExhausted) => assert!(!self.honest() || self.slots_out > 0 || !self.loans.is_empty()),
            Err(SendRefusal::Fault(fault)) => self.blame(fault),
        }
    }

    fn link_sends_loan(&mut self, loan: Loan, kind: Kind, range: Range<usize>) {
        assert!(loan[..] == crate::pattern(loan.len()), "a loan was written to");
        let (header, body) = (self.link_header(kind), loan[range.clone()].to_vec());
        match self.link.send_loan(loan, range.clone(), &header) {
            Ok(()) => {
                if body.len() > 24 {
                    self.slots_out += self.slots(range.end);
                }
                self.to_peer.push_back((sent_fields(&header), body));
            }
            Err((loan, refusal)) => {
                self.loans.push((loan, kind));
                match refusal {
                    SendRefusal::Fault(fault) => self.blame(fault),
                    other => assert_eq!(other, SendRefusal::RingFull),
                }
            }
        }
    }

    fn link_header(&self, kind: Kind) -> FrameHeader {
        let opener = if kind == Kind::Request { self.peer.side.peer() } else { self.peer.side };
        let (channel, method) = if kind == Kind::Control { (0, 5) } else { (1 << 13 | parity(opener), 7) };
        let depth = u8::from(kind == Kind::Request);
        FrameHeader { channel: ChannelId::from_raw(channel), method, kind, flags: Flags::NONE, depth, credit: 0 }
    }

    fn link_sends(&mut self, class: u8, bytes: usize) {
        let geometry = self.peer.geometry;
        let (n, slot_count) = (geometry.ring_capacity() as usize, geometry.slot_count() as usize);
        let (class, kind, reserve, kept) = match class % 4 {
            0 => (Class::Control, Kind::Control, 0, 0),
            1 => (Class::Reply, Kind::Reply, n / 8, 0),
            2 => (Class::Item, Kind::Item, n / 2, 2 * (slot_count / 8).max(1)),
            _ => (Class::Request, Kind::Request, n / 8 + n / 4, (slot_count / 8).max(1)),
        };
        let header = self.link_header(kind);
        let body = crate::pattern(bytes % (geometry.pool_bytes() + 2));
        let (head, tail) = body.split_at(body.len() / 3);
        let fits = body.len() <= 24 || body.len() <= (slot_count - kept) * geometry.slot_bytes() as usize;
        match self.link.try_send(class, &header, &[head, tail]) {
            Ok(()) => {
                assert!(fits, "a frame of {} bytes was sent", body.len());
                assert!(!self.honest() || self.to_peer.len() + reserve < n, "R5: no room was left");
                if body.len() > 24 {
                    self.slots_out += self.slots(body.len());
                }
                self.to_peer.push_back((sent_fields(&header), body));
            }
            Err(SendRefusal::TooLarge) => assert!(!fits),
            Err(SendRefusal::RingFull) => assert!(!self.honest() || self.to_peer.len() + reserve >= n),
            // Neighbouring ones are wanted, so some may be free.
            Err(SendRefusal::SlotsExhausted) => assert!(!self.honest() || self.slots_out > 0 || !self.loans.is_empty()),
            Err(SendRefusal::Fault(fault)) => self.blame(fault),
        }
    }

    fn receive(&mut self) {
        match self.link.receive() {
            Ok(None) => assert!(self.to_link.is_empty() || !self.honest(), "a frame did not arrive"),
            Ok(Some(frame)) => {
                let mut expected = None;
                if self.honest() {
                    let (header, body) = self.to_link.pop_front().expect("nothing arrives that was not sent");
                    let flags =
                        frame.header.kind.raw() | frame.header.flags.raw() | u32::from(frame.header.depth) << 24;
                    let found = Fields::header(flags, frame.header.channel.raw(), frame.header.method);
                    assert_same_header(&found, &header);
                    expected = Some(body);
                }
                self.held.push((frame.payload, expected));
            }
            Err(fault) => self.blame(fault),
        }
    }

    fn slots(&self, bytes: usize) -> usize {
        bytes.div_ceil(self.peer.geometry.slot_bytes() as usize)
    }

    /// What holds behind every operation.
    fn check(&mut self) {
        let runs = self.held.iter().filter(|(payload, _)| matches!(payload, Payload::Slots(_))).count();
        assert_eq!(self.link.held_runs() as usize, runs);
        let slot_count = self.peer.geometry.slot_count();
        let is_false = std::mem::take(&mut self.peer.false_return) && self.link.stats().frames_sent == self.peer.taken;
        match self.link.free_slots() {
            Ok(free) => {
                assert!(!is_false, "S7: a false return was taken for a true one");
                assert!(free <= slot_count);
                let lent = self.loans.iter().map(|(loan, _)| self.slots(loan.len())).sum::<usize>();
                assert!(!self.honest() || free as usize + lent + self.slots_out == slot_count as usize);
            }
            Err(fault) => self.blame(fault),
        }
    }

    /// The user gives everything back.
    fn conclude(mut self) {
        while let Some((payload, _)) = pick(&mut self.held, 0) {
            self.link.discard(payload);
        }
        while let Some((loan, _)) = pick(&mut self.loans, 0) {
            self.link.return_loan(loan);
        }
        self.check();
        self.peer.read_returns();
        let on_their_way = self.to_link.iter().filter(|(_, body)| body.len() > 24).count();
        assert!(!self.honest() || self.peer.runs_out() == on_their_way, "a run was not returned");
    }
}

fn interest(room: bool) -> Interest {
    if room { Interest::FramesAndRoom } else { Interest::Frames }
}

fn pick<T>(list: &mut Vec<T>, which: u8) -> Option<T> {
    (!list.is_empty()).then(|| list.swap_remove(usize::from(which) % list.len()))
}

/// What the peer should find of a frame that the link sends.
fn sent_fields(header: &FrameHeader) -> Fields {
    Fields::header(header.kind.raw() | u32::from(header.depth) << 24, header.channel.raw(), header.method)
}

/// All but the payload is the same.
fn assert_same_header(found: &Fields, sent: &Fields) {
    let header =
        |fields: &Fields| Fields { slot: INLINE, generation: 0, offset: 0, length: 0, inline: [0; 3], ..*fields };
    assert_eq!(header(found), header(sent));
    assert!(found.kind() <= ITEM + 1);
}
