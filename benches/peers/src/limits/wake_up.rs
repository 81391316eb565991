//! A process is woken by the kernel, and wakes us: no call between processes that sleep can be faster.

use std::os::fd::OwnedFd;
use std::path::Path;

use rapace_core::segment::HalfFds;
use rustix::event::{EventfdFlags, eventfd};

use super::shared::{inherited, start_with};
use crate::Error;
use crate::peer::Client;
use crate::server::{Server, ready};
use crate::work::Work;

struct WakeUp {
    events: HalfFds,
    server: Server,
}

pub(super) fn start(mode: &str, place: &Path) -> Result<impl Client + use<>, Error> {
    let events = HalfFds { a: eventfd(0, EventfdFlags::CLOEXEC)?, b: eventfd(0, EventfdFlags::CLOEXEC)? };
    let server = start_with(mode, place, &events)?;
    Ok(WakeUp { events, server })
}

pub(super) fn serve() -> Result<(), Error> {
    let (_, events) = inherited()?;
    ready()?;
    loop {
        let number = sleep(&events.a)?;
        wake(&events.b, number)?;
    }
}

fn sleep(event: &OwnedFd) -> Result<u64, Error> {
    let mut number = [0; 8];
    rustix::io::read(event, &mut number)?;
    Ok(u64::from_ne_bytes(number))
}

fn wake(event: &OwnedFd, number: u64) -> Result<(), Error> {
    rustix::io::write(event, &number.to_ne_bytes())?;
    Ok(())
}

impl Client for WakeUp {
    fn server_id(&self) -> Option<u32> {
        Some(self.server.id())
    }

    fn takes(&self, bytes: usize) -> bool {
        bytes == 8
    }

    fn sequential(&mut self, work: &mut Work) -> Result<(), Error> {
        while let Some(mark) = work.begin() {
            // The greatest number that an eventfd takes is one less than all bits: a mark of 255 is sent as half of it.
            let number = u64::from_ne_bytes([mark; 8]) >> 1;
            wake(&self.events.a, number)?;
            if sleep(&self.events.b)? != number {
                return Err("another number came back".into());
            }
            work.end(&[mark; 8])?;
        }
        Ok(())
    }
}
