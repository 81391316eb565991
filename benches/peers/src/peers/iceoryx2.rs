//! iceoryx2: payloads are built in shared memory and read where they lie.
//!
//! `polling` looks again and again, which takes a core on each side; `event` sleeps on a listener, which the other side
//! notifies.

mod bell;
mod publish_subscribe;
mod request_response;

use std::path::Path;

use iceoryx2::prelude::*;

use crate::Error;
use crate::peer::{Client, Peer};
use crate::server::Server;

pub(super) struct Iceoryx2;

const NAME: &str = "iceoryx2";
/// The largest payload.
const PAYLOAD_MAX: usize = 1 << 20;
/// How many payloads are under way at most.
const DEPTH: usize = 64;

/// What a payload is for: its user header.
const ECHO: u64 = 0;
const ITEM: u64 = 1;
const SUM: u64 = 2;
const END: u64 = 3;

/// How many payloads one way are under way at a time.
const ONE_WAY_DEPTH: usize = 4;

impl Peer for Iceoryx2 {
    fn name(&self) -> &'static str {
        NAME
    }

    fn modes(&self) -> &'static [&'static str] {
        &["request-polling", "request-event", "pubsub-polling", "pubsub-event"]
    }

    fn crates(&self) -> &'static [&'static str] {
        &["iceoryx2"]
    }

    fn polls(&self, mode: &str) -> bool {
        mode.ends_with("polling")
    }

    fn start(&self, mode: &str, place: &Path) -> Result<Box<dyn Client>, Error> {
        set_log_level(LogLevel::Error);
        let server = Server::start(NAME, mode, place)?;
        let (name, polls) = (service_name(place), self.polls(mode));
        Ok(if mode.starts_with("request") {
            Box::new(request_response::Requests::new(&name, polls, server)?)
        } else {
            Box::new(publish_subscribe::Samples::new(&name, polls, server)?)
        })
    }

    fn serve(&self, mode: &str, place: &Path) -> Result<(), Error> {
        set_log_level(LogLevel::Error);
        let (name, polls) = (service_name(place), self.polls(mode));
        if mode.starts_with("request") {
            request_response::serve(&name, polls)
        } else {
            publish_subscribe::serve(&name, polls)
        }
    }
}

/// Services are known all over the machine: the folder's name makes it unique.
fn service_name(place: &Path) -> String {
    place.to_string_lossy().replace('/', "-")
}

type IpcNode = Node<ipc::Service>;

fn node() -> Result<IpcNode, Error> {
    // Servers end by a request of their client's, which is what a signal is to do here.
    Ok(NodeBuilder::new().signal_handling_mode(SignalHandlingMode::Disabled).create::<ipc::Service>()?)
}

/// What suits copies and sums.
fn alignment() -> Result<Alignment, Error> {
    Ok(Alignment::new(64).ok_or("no alignment")?)
}
