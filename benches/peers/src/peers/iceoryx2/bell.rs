//! How one side waits for the other.

use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::prelude::*;

use super::IpcNode;
use crate::Error;

/// Which side of a pair.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Client,
    Server,
}

/// Rings at the other side and is rung by it; or polls, and has no ports.
pub(super) struct Bell(Option<Ports>);

struct Ports {
    ours: Listener<ipc::Service>,
    theirs: Notifier<ipc::Service>,
}

impl Bell {
    pub(super) fn new(node: &IpcNode, name: &str, polls: bool, side: Side) -> Result<Self, Error> {
        if polls {
            return Ok(Self(None));
        }
        let event = |direction: &str| -> Result<_, Error> {
            Ok(node.service_builder(&format!("{name}-{direction}").as_str().try_into()?).event().open_or_create()?)
        };
        let (to_server, to_client) = (event("to-server")?, event("to-client")?);
        let (ours, theirs) = match side {
            Side::Client => (to_client, to_server),
            Side::Server => (to_server, to_client),
        };
        Ok(Self(Some(Ports { ours: ours.listener_builder().create()?, theirs: theirs.notifier_builder().create()? })))
    }

    /// The other side has something to look at.
    pub(super) fn ring(&self) -> Result<(), Error> {
        if let Some(ports) = &self.0 {
            ports.theirs.notify()?;
        }
        Ok(())
    }

    /// Until there may be something.
    pub(super) fn wait(&self) -> Result<(), Error> {
        match &self.0 {
            None => std::hint::spin_loop(),
            Some(ports) => {
                ports.ours.blocking_wait(|_| {})?;
            }
        }
        Ok(())
    }
}
