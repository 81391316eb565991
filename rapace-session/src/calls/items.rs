//! What streams of items do with the calls of this side.

use std::task::Waker;

use rapace_core::channel::ChannelId;
use rapace_core::descriptor::{Frame, Kind};
use rapace_core::link::Link;

use super::{CallKey, CallTable, InFlight, Ticket, Wait};
use crate::fault::Fault;
#[cfg(test)]
use crate::flow::Flows;
use crate::flow::{Granted, Outflow, Taken};
use crate::message::Room;
use crate::status::Status;

impl CallTable {
    /// Calls with items on their way in.
    pub(crate) fn receiving(&self) -> usize {
        self.receiving
    }

    /// Takes a frame of an item of the callee; `wakes` gets who is to be woken. Gives a call that has failed over it,
    /// and whose peer is to be told, beside what is wrong with the frame.
    ///
    /// The payload has been taken or discarded, whatever comes back.
    pub(crate) fn item(
        &mut self,
        frame: Frame,
        link: &mut Link,
        room: Room,
        kept: &mut usize,
        wakes: &mut Vec<Waker>,
    ) -> (Option<CallKey>, Result<(), Fault>) {
        let header = frame.header;
        let (kind, channel) = (header.kind.raw(), header.channel.raw());
        let place = match self.call(header.channel) {
            Some(call) if header.method != call.method => {
                Err(Fault::FinalMethod { channel, found: header.method, expected: call.method })
            }
            Some(InFlight { begun: Some(begun), .. }) => {
                Err(Fault::BrokenMessage { channel, field: "kind", found: kind, expected: begun.kind().raw() })
            }
            Some(call) if call.streams.receives && header.kind == Kind::Item => Ok(call.ticket),
            _ => Err(Fault::NoStream { kind, channel }),
        };
        let place = match place {
            Ok(place) => place,
            Err(fault) => {
                link.discard(frame.payload);
                return (None, Err(fault));
            }
        };
        let ticket = place.map(|place| (place, &mut self.tickets[place]));
        let Some((place, Ticket { serial, flows: Some(flows), .. })) = ticket else {
            // The call was given up.
            link.ignore(frame.payload);
            return (None, Ok(()));
        };
        let (key, Some(inflow)) = (CallKey { ticket: place, serial: *serial }, &mut flows.inflow) else {
            link.ignore(frame.payload);
            return (None, Ok(()));
        };
        let taken = inflow.take_frame(frame, link, room, kept, wakes);
        (inflow.failure().map(|_| key), taken)
    }

    /// Why a call cannot go on, after an item that could not be kept.
    pub(crate) fn failure(&self, key: CallKey) -> Option<&Status> {
        let ticket = self.tickets.get(key.ticket).filter(|ticket| ticket.serial == key.serial)?;
        ticket.flows.as_ref()?.inflow.as_ref()?.failure()
    }

    /// Takes the next item of a call, or notes who is to be woken for it; and what is to be granted on which channel.
    pub(crate) fn take_item(
        &mut self,
        key: CallKey,
        waker: &Waker,
        kept: &mut usize,
        spent: &mut Vec<Waker>,
    ) -> (Taken, Option<(ChannelId, u32)>) {
        let Some(ticket) = self.tickets.get_mut(key.ticket).filter(|ticket| ticket.serial == key.serial) else {
            return (Taken::End, None);
        };
        let Some(inflow) = ticket.flows.as_mut().and_then(|flows| flows.inflow.as_mut()) else {
            return (Taken::End, None);
        };
        match (inflow.take(waker, kept, spent), &ticket.state) {
            // The final says how the stream has ended.
            (Taken::Pending | Taken::Failed(_), Wait::Done(..)) => (Taken::End, None),
            (taken, Wait::Waiting(index, _)) => {
                let channel = self.channels[*index].call.as_ref().map(|call| call.channel);
                (taken, channel.and_then(|channel| Some((channel, inflow.grant()?))))
            }
            (taken, _) => (taken, None),
        }
    }

    /// Where items of this side go, while the call is in flight: the channel, its method and the credit.
    pub(crate) fn outflow(&mut self, key: CallKey) -> Option<(ChannelId, u32, &mut Outflow)> {
        let ticket = self.tickets.get_mut(key.ticket).filter(|ticket| ticket.serial == key.serial)?;
        let Wait::Waiting(index, _) = ticket.state else { return None };
        let call = self.channels[index].call.as_ref()?;
        Some((call.channel, call.method, ticket.flows.as_mut()?.outflow.as_mut()?))
    }

    /// The streams of a call that is in flight.
    #[cfg(test)]
    pub(crate) fn flows(&self, key: CallKey) -> Option<&Flows> {
        let ticket = self.tickets.get(key.ticket).filter(|ticket| ticket.serial == key.serial)?;
        ticket.flows.as_deref().filter(|_| matches!(ticket.state, Wait::Waiting(..)))
    }

    /// The callee takes more items. A call that is not in flight has crossed it.
    pub(crate) fn grant(&mut self, channel: ChannelId, more: u32) -> Result<Granted, Fault> {
        let Some(call) = self.call(channel) else { return Ok(Granted::default()) };
        if !call.streams.sends {
            return Err(Fault::NoStream { kind: Kind::Control.raw(), channel: channel.raw() });
        }
        let Some(place) = call.ticket else { return Ok(Granted::default()) };
        let outflow = self.tickets[place].flows.as_mut().and_then(|flows| flows.outflow.as_mut());
        outflow.map_or(Ok(Granted::default()), |outflow| outflow.grant(channel.raw(), more))
    }
}
