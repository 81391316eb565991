//! Control: the verbs of channel 0 in an open session (SPEC section 10).

use rapace_core::channel::ChannelId;
use rapace_core::crash::{Point, crash_point};
use rapace_core::descriptor::{Flags, Frame, FrameHeader, INLINE_BYTES, Inline, Payload, Verb};
use rapace_core::link::{Link, SendRefusal};
use rapace_core::slots::Class;

use super::Machine;
use crate::error::SessionEnd;
use crate::fault::Fault;
use crate::outbox::Ticket;
use crate::status::Status;

/// Pongs that may wait for room; further pings are ignored.
const PONGS_MAX: u32 = 16;

impl Machine {
    /// Takes a control frame of the peer.
    pub(super) fn control(&mut self, frame: Frame, link: &mut Link) -> Result<(), Fault> {
        let header = frame.header;
        let verb = header.verb();
        if header.flags.has(Flags::CREDIT) != (verb == Some(Verb::Grant)) {
            link.discard(frame.payload);
            return Err(Fault::ControlFlags { verb: header.method, found: header.flags.raw() });
        }
        let (Some(verb), Payload::Inline(inline), false) = (verb, frame.payload, header.flags.has(Flags::MORE)) else {
            return self.long_control(frame, link);
        };
        let body = &*inline;
        match verb {
            Verb::Hello | Verb::Accept | Verb::Refuse => Err(Fault::Order {
                kind: header.kind.raw(),
                method: header.method,
                expected: "an open session's frame",
            }),
            Verb::Ping => {
                let nonce: [u8; 8] = control_body(verb, body)?;
                link.ignore(frame.payload);
                self.pong(nonce, link);
                Ok(())
            }
            Verb::Pong => {
                link.ignore(frame.payload);
                control_body::<8>(verb, body).map(|_| ())
            }
            Verb::Grant => {
                let channel = ChannelId::from_raw(u32::from_le_bytes(control_body(verb, body)?));
                if !self.granted(channel, header.credit)? {
                    link.ignore(frame.payload);
                }
                Ok(())
            }
            Verb::Cancel => {
                let channel = ChannelId::from_raw(u32::from_le_bytes(control_body(verb, body)?));
                if !self.served.is_wanted(channel) {
                    link.ignore(frame.payload);
                }
                let step = self.served.cancel(channel, &mut self.kept, &mut self.wakes);
                crash_point(Point::CancelTaken);
                self.step(step, link);
                Ok(())
            }
            Verb::GoAway => {
                link.ignore(frame.payload);
                self.refused_by_peer(Status::decode(body));
                Ok(())
            }
            Verb::Close => {
                self.closed_by_peer(Status::decode(body));
                Ok(())
            }
        }
    }

    /// Control whose body does not fit a descriptor: only a status may be that long.
    fn long_control(&mut self, frame: Frame, link: &mut Link) -> Result<(), Fault> {
        let header = frame.header;
        let bytes = frame.payload.bytes();
        let fault = Fault::ControlBody { verb: header.method, found: bytes, expected: INLINE_BYTES };
        let verb = header.verb().filter(|verb| matches!(verb, Verb::GoAway | Verb::Close));
        let Some(verb) = verb.filter(|_| bytes <= STATUS_BYTES_MAX && !header.flags.has(Flags::MORE)) else {
            link.discard(frame.payload);
            return Err(fault);
        };
        let mut body = Vec::with_capacity(bytes);
        link.take_payload(frame.payload, &mut body);
        let status = Status::decode(&body);
        if verb == Verb::GoAway {
            link.ignore(Payload::Inline(Inline::EMPTY));
            self.refused_by_peer(status);
        } else {
            self.closed_by_peer(status);
        }
        Ok(())
    }

    fn pong(&mut self, nonce: [u8; 8], link: &mut Link) {
        if self.pongs < PONGS_MAX {
            self.pongs += 1;
            self.send_control(Verb::Pong, &nonce, link);
        }
    }

    fn refused_by_peer(&mut self, status: Status) {
        // Those that wait for room are to hear it.
        self.refusing.get_or_insert(status);
    }

    fn closed_by_peer(&mut self, status: Status) {
        self.end_with(SessionEnd::PeerClosed(status));
    }

    /// Whether no more calls may be opened.
    pub(crate) fn is_refusing(&self) -> bool {
        self.refusing.is_some()
    }

    /// Whether calls that another session may take are taken here.
    pub(crate) fn takes_calls(&self) -> bool {
        self.end.is_none() && self.refusing.is_none() && self.retired.is_none()
    }

    /// From now on calls that another session may take are refused here.
    pub(crate) fn retire(&mut self, reason: &Status) {
        self.retired.get_or_insert_with(|| reason.clone());
    }

    /// They are taken here again.
    pub(crate) fn reinstate(&mut self) {
        self.retired = None;
    }

    /// Asks the peer to open no more calls; those in flight go on.
    pub(crate) fn go_away(&mut self, status: &Status, link: &mut Link) {
        if self.going_away.is_none() && self.end.is_none() {
            let body = short_status(status, link);
            // What answers say is what the peer was told, so that it knows them by that.
            self.going_away = Some(Status::decode(&body));
            self.send_control(Verb::GoAway, &body, link);
        }
    }

    /// Sends the last frame. The session has ended then.
    pub(crate) fn close(&mut self, status: &Status, link: &mut Link) {
        if self.end.is_none() {
            let body = short_status(status, link);
            self.send_control(Verb::Close, &body, link);
            self.end_with(SessionEnd::Closed);
        }
    }

    pub(super) fn send_control(&mut self, verb: Verb, body: &[u8], link: &mut Link) {
        self.send_control_frame(FrameHeader::control(verb), body, link);
    }

    pub(super) fn send_control_frame(&mut self, header: FrameHeader, body: &[u8], link: &mut Link) {
        if !self.outbox.has_control() {
            match link.try_send(Class::Control, &header, &[body]) {
                Ok(()) => {
                    match header.verb() {
                        Some(Verb::Pong) => self.pongs -= 1,
                        Some(Verb::Grant) => crash_point(Point::GrantSent),
                        Some(Verb::Cancel) => crash_point(Point::CancelSent),
                        Some(Verb::Close) => crash_point(Point::CloseSent),
                        _ => {}
                    }
                    return;
                }
                Err(SendRefusal::Fault(fault)) => return self.fault(fault.into()),
                Err(_) => {}
            }
        }
        self.outbox.push(Ticket::Control, Class::Control, header, body.to_vec());
    }
}

/// The longest status in a control frame.
const STATUS_BYTES_MAX: usize = 1024;

/// A status for a control frame, which it must fit: its message is cut.
fn short_status(status: &Status, link: &Link) -> Vec<u8> {
    status.encode_within(link.chunk_bytes(Class::Control).min(STATUS_BYTES_MAX))
}

fn control_body<const N: usize>(verb: Verb, body: &[u8]) -> Result<[u8; N], Fault> {
    let fault = Fault::ControlBody { verb: verb.raw(), found: body.len(), expected: N };
    body.try_into().map_err(|_| fault)
}
