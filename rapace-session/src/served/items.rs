//! What streams of items do with the calls of the peer.

use std::task::Waker;

use rapace_core::channel::ChannelId;
use rapace_core::descriptor::{Frame, Kind};
use rapace_core::link::Link;

use super::{ServedKey, ServedTable, Stage};
use crate::fault::Fault;
use crate::flow::{Granted, Outflow, Taken};
use crate::message::Room;

impl ServedTable {
    /// Calls with items on their way in.
    pub(crate) fn receiving(&self) -> usize {
        self.receiving
    }

    /// The first credit of a call that streams items to this side.
    pub(crate) fn first_credit(&self, key: ServedKey) -> Option<u32> {
        Some(self.get(key)?.flows.as_ref()?.inflow.as_ref()?.window())
    }

    /// Takes a frame of an item of the caller, or its end; `wakes` gets who is to be woken. One for a call that is not in
    /// flight has crossed the final.
    ///
    /// The payload has been taken or discarded, whatever comes back.
    pub(crate) fn item(
        &mut self,
        frame: Frame,
        link: &mut Link,
        room: Room,
        kept: &mut usize,
        wakes: &mut Vec<Waker>,
    ) -> Result<(), Fault> {
        let header = frame.header;
        let (kind, channel) = (header.kind.raw(), header.channel.raw());
        let served = self.entries.get_mut(header.channel.index()).and_then(Option::as_mut);
        let Some(served) = served.filter(|served| served.channel == header.channel) else {
            link.ignore(frame.payload);
            return Ok(());
        };
        let inflow = served.flows.as_mut().and_then(|flows| flows.inflow.as_mut());
        let fault = match (&served.stage, &inflow) {
            _ if header.method != served.method => {
                Some(Fault::FinalMethod { channel, found: header.method, expected: served.method })
            }
            // SPEC C13: items come behind the request. (Once it is cancelled, the rest of it need not come.)
            (Stage::Arriving(_), _) | (_, None) => Some(Fault::NoStream { kind, channel }),
            _ => None,
        };
        match (fault, inflow) {
            // Nobody will take it.
            (None, Some(_)) if served.cancelled || matches!(served.stage, Stage::Ending) => {
                link.ignore(frame.payload);
                Ok(())
            }
            (None, Some(inflow)) if header.kind == Kind::End => {
                link.discard(frame.payload);
                inflow.end(&frame, wakes)
            }
            (None, Some(inflow)) => inflow.take_frame(frame, link, room, kept, wakes),
            (fault, _) => {
                link.discard(frame.payload);
                fault.map_or(Ok(()), Err)
            }
        }
    }

    /// Takes the next item of the caller, or notes who is to be woken for it; and what is to be granted. `None` when the
    /// call is cancelled or has ended.
    pub(crate) fn take_item(
        &mut self,
        key: ServedKey,
        waker: &Waker,
        kept: &mut usize,
        spent: &mut Vec<Waker>,
    ) -> Option<(Taken, Option<u32>)> {
        let served = self.get_mut(key).filter(|served| !served.cancelled)?;
        let inflow = served.flows.as_mut()?.inflow.as_mut()?;
        let taken = inflow.take(waker, kept, spent);
        Some((taken, inflow.grant()))
    }

    /// Where items of this side go, while the caller wants them: the method and the credit.
    pub(crate) fn outflow(&mut self, key: ServedKey) -> Option<(u32, &mut Outflow)> {
        let served = self.get_mut(key).filter(|served| !served.cancelled && !matches!(served.stage, Stage::Ending))?;
        Some((served.method, served.flows.as_mut()?.outflow.as_mut()?))
    }

    /// The caller takes more items. A call that is not in flight has crossed it.
    pub(crate) fn grant(&mut self, channel: ChannelId, more: u32) -> Result<Granted, Fault> {
        let Some(served) = self.entries.get_mut(channel.index()).and_then(Option::as_mut) else {
            return Ok(Granted::default());
        };
        if served.channel != channel {
            return Ok(Granted::default());
        }
        match served.flows.as_mut().and_then(|flows| flows.outflow.as_mut()) {
            Some(outflow) => outflow.grant(channel.raw(), more),
            None => Err(Fault::NoStream { kind: Kind::Control.raw(), channel: channel.raw() }),
        }
    }
}
