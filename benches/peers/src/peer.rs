//! What a system does to take part.

use std::path::Path;

use crate::Error;
use crate::work::Work;

/// A system that takes part in the race.
pub trait Peer {
    /// Its name, as in `--only` and in the results.
    fn name(&self) -> &'static str;

    /// The ways in which it is used: a row each.
    fn modes(&self) -> &'static [&'static str];

    /// The crates whose versions the header shows.
    fn crates(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether the idle process of this mode takes a core, so that there cannot be 32 of them.
    fn polls(&self, _mode: &str) -> bool {
        false
    }

    /// How many servers of this mode one client has at most.
    fn servers_max(&self, mode: &str) -> usize {
        if self.polls(mode) { 1 } else { 32 }
    }

    /// Whether it is measured if calls of this mode cost more with time.
    fn grows(&self, _mode: &str) -> bool {
        false
    }

    /// Starts a server, and connects to it. `place` is an empty folder of theirs.
    fn start(&self, mode: &str, place: &Path) -> Result<Box<dyn Client>, Error>;

    /// The server's process. Returns when its client is gone, or is killed.
    fn serve(&self, mode: &str, place: &Path) -> Result<(), Error>;
}

/// The client of a system, with its server. Dropped, it ends both.
pub trait Client {
    /// The process of the server, if there is one.
    fn server_id(&self) -> Option<u32>;

    /// Whether payloads of this size can be sent.
    fn takes(&self, _bytes: usize) -> bool {
        true
    }

    /// One call after the other: each payload is filled, sent, summed by the server, sent back, and summed.
    fn sequential(&mut self, work: &mut Work) -> Result<(), Error>;

    /// The same with so many calls in flight as the work says. `false` if the system has no way to do so.
    fn in_flight(&mut self, _work: &mut Work) -> Result<bool, Error> {
        Ok(false)
    }

    /// Payloads one way: each is filled, sent and summed by the server, whose sums are settled at the end. `false` if the
    /// system has no way to do so.
    fn one_way(&mut self, _work: &mut Work) -> Result<bool, Error> {
        Ok(false)
    }

    /// Each of these on a thread of its own, all with the same server. `false` if this is not for it.
    fn threads(&mut self, _works: &mut [Work]) -> Result<bool, Error> {
        Ok(false)
    }

    /// How often either side has woken the other or gone to sleep, if it counts that: system calls, all of them.
    fn bells_and_sleeps(&mut self) -> Result<Option<u64>, Error> {
        Ok(None)
    }

    /// Whether the figures of a server at rest mean anything.
    fn rests(&self) -> bool {
        self.server_id().is_some()
    }
}

/// All that take part, in the order of the tables.
pub fn all() -> Vec<Box<dyn Peer>> {
    let mut all = crate::limits::all();
    all.extend(crate::peers::all());
    all
}
