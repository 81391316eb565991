//! A process that keeps a core busy, as other programs of a user's do.

use std::hint::black_box;

use rapace_core::socket::Socket;
use rapace_session::Process;

use crate::{Error, spawn};

pub(crate) const ROLE: &str = "neighbour";

/// Keeps one core busy until it is dropped.
#[derive(Debug)]
pub struct Neighbour {
    _socket: Socket,
    _process: Process,
}

impl Neighbour {
    /// Starts the process.
    ///
    /// # Errors
    ///
    /// When there is no process.
    pub fn new() -> Result<Self, Error> {
        let (socket, process) = spawn(ROLE)?;
        Ok(Self { _socket: socket, _process: process })
    }
}

/// It ends when it is killed, or with the process that has started it.
pub(crate) fn keep_busy(ended: impl Fn() -> bool) {
    while !ended() {
        for number in 0..1_000_000u64 {
            black_box(number);
        }
    }
}
