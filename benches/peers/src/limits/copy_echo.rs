//! A payload is copied into shared memory, one flag is set, it is copied out, and the same way back: what a call that copies
//! may cost.

use std::path::Path;

use race_library::sum;

use super::shared::Shared;
use crate::Error;
use crate::peer::Client;
use crate::server::{Server, ready};
use crate::work::Work;

struct CopyEcho {
    shared: Shared,
    server: Server,
    calls: u64,
}

pub(super) fn start(place: &Path) -> Result<impl Client + use<>, Error> {
    let (shared, server) = Shared::start("copy-echo", place)?;
    Ok(CopyEcho { shared, server, calls: 0 })
}

/// A flag says which call it is, and how long its payload.
const LENGTH_BITS: u32 = 24;

pub(super) fn serve() -> Result<(), Error> {
    let mut shared = Shared::inherited()?;
    ready()?;
    let mut body = Vec::with_capacity(1 << 20);
    let mut last = 0;
    loop {
        let word = shared.published();
        if word == last {
            std::hint::spin_loop();
            continue;
        }
        last = word;
        shared.read(usize::try_from(word & ((1 << LENGTH_BITS) - 1))?, &mut body);
        std::hint::black_box(sum(&body));
        shared.write(&body);
        shared.publish(word);
    }
}

impl Client for CopyEcho {
    fn server_id(&self) -> Option<u32> {
        Some(self.server.id())
    }

    fn sequential(&mut self, work: &mut Work) -> Result<(), Error> {
        let mut body = vec![0; work.bytes()];
        while let Some(mark) = work.begin() {
            body.fill(mark);
            self.calls += 1;
            let word = self.calls << LENGTH_BITS | body.len() as u64;
            self.shared.write(&body);
            self.shared.publish(word);
            while self.shared.published() != word {
                std::hint::spin_loop();
            }
            self.shared.read(work.bytes(), &mut body);
            work.end(&body)?;
        }
        Ok(())
    }

    fn rests(&self) -> bool {
        false
    }
}
