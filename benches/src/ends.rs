//! Both ends of a session in one thread, which take turns: no thread waits for another, so that what a call costs can be
//! counted exactly.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::stream;
use rapace_core::socket::Socket;
use rapace_macros::service;
use rapace_service::{Incoming, Services, Stream};
use rapace_session::{
    Config, Handler, Handshake, IncomingCall, NoService, Observe, PeerA, PeerB, Session, WaitStrategy,
};

use crate::Error;

/// Told of each turn, to count what it takes.
pub trait Meter {
    /// The caller has its turn.
    fn caller<T>(&mut self, turn: impl FnOnce() -> T) -> T;
    /// The callee has its turn.
    fn callee<T>(&mut self, turn: impl FnOnce() -> T) -> T;
}

/// Numbers, one by one and as streams.
#[service(name = "bench.Numbers", version = "1.0", crate = "rapace_service")]
pub trait Numbers {
    /// The next number.
    async fn next(&self, number: u64) -> u64;
    /// So many numbers, from 0.
    fn count(&self, items: u64) -> impl Stream<Item = u64>;
    /// The sum of the numbers.
    async fn sum(&self, items: Incoming<u64>) -> u64;
}

/// Serves [`Numbers`].
#[derive(Clone, Copy, Debug)]
struct Counting;

impl Numbers for Counting {
    async fn next(&self, number: u64) -> u64 {
        number.wrapping_add(1)
    }

    fn count(&self, items: u64) -> impl Stream<Item = u64> {
        stream::iter(0..items)
    }

    async fn sum(&self, mut items: Incoming<u64>) -> u64 {
        let mut sum = 0u64;
        while let Some(Ok(item)) = items.next().await {
            sum = sum.wrapping_add(item);
        }
        sum
    }
}

/// A session's ends.
#[derive(Debug)]
pub struct Ends {
    /// Who calls.
    pub caller: Session<PeerA>,
    /// Who serves.
    pub callee: Session<PeerB>,
}

impl Ends {
    /// A callee that answers each call with the same bytes; and what the caller and the callee count.
    ///
    /// # Errors
    ///
    /// When there is no session.
    pub fn raw(observe: [Observe; 2]) -> Result<Self, Error> {
        Self::new(observe, |mut call: IncomingCall| {
            let body = call.take_body();
            call.reply(&body);
        })
    }

    /// A callee that serves [`Numbers`]; and what the caller and the callee count.
    ///
    /// # Errors
    ///
    /// When there is no session.
    pub fn typed(observe: [Observe; 2]) -> Result<Self, Error> {
        Self::new(observe, Services::new().add(NumbersServer::new(Counting)))
    }

    fn new([observe, there_observe]: [Observe; 2], handler: impl Handler) -> Result<Self, Error> {
        let (here, there) = Socket::pair()?;
        // Who never looks at the ring for a while costs nothing while it does, and needs no budget to be measured.
        let config = Config { wait: WaitStrategy::Park, observe, ..Config::new("ends", env!("CARGO_PKG_VERSION")) };
        let other = Config { observe: there_observe, ..config.clone() };
        std::thread::scope(|scope| {
            let callee =
                scope.spawn(move || -> Result<_, Error> { Ok(Handshake::accept(there, other)?.finish(handler)?) });
            let caller = Handshake::<PeerA>::offer(here, None, config)?.finish(NoService)?;
            let callee = callee.join().map_err(|_| "the callee's handshake panicked")??;
            Ok(Self { caller, callee })
        })
    }

    /// The callee serves what has come.
    pub(crate) fn serve(&self) -> Result<(), Error> {
        match self.callee.serve_for(Duration::ZERO) {
            Some(end) => Err(format!("the session ended: {end}").into()),
            None => Ok(()),
        }
    }
}

/// Polls once, with nobody to be woken.
pub(crate) fn poll_once<T>(poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    poll(&mut Context::from_waker(Waker::noop()))
}
