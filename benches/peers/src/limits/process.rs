//! A process is started and says one byte: no plugin can answer sooner.

use std::path::Path;

use super::{NAME, PROCESS};
use crate::Error;
use crate::peer::Client;
use crate::server::{Server, ready};
use crate::work::Work;

struct Process(Server);

pub(super) fn start(place: &Path) -> Result<impl Client + use<>, Error> {
    Ok(Process(Server::start(NAME, PROCESS, place)?))
}

pub(super) fn serve() -> Result<(), Error> {
    ready()?;
    loop {
        std::thread::park();
    }
}

impl Client for Process {
    fn server_id(&self) -> Option<u32> {
        Some(self.0.id())
    }

    fn takes(&self, _bytes: usize) -> bool {
        false
    }

    /// Its first byte is its reply.
    fn sequential(&mut self, work: &mut Work) -> Result<(), Error> {
        while work.begin().is_some() {
            work.end_unread();
        }
        Ok(())
    }

    fn rests(&self) -> bool {
        false
    }
}
