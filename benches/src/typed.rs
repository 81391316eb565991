//! The typed service that is called.

use futures_util::stream;
use rapace_core::socket::Socket;
use rapace_macros::service;
use rapace_service::{BuiltIn, Context, Incoming, Services, Stream};
use rapace_session::{Config, Handshake, PeerB};

use crate::Error;

/// A method of each kind.
#[service(name = "bench.Typed", version = "1.0", crate = "rapace_service")]
pub trait Typed {
    /// The next number.
    async fn next(&self, number: u64) -> u64;
    /// The same bytes.
    async fn echo(&self, bytes: &[u8]) -> Vec<u8>;
    /// So many items of so many bytes.
    fn count(&self, items: u64, bytes: u32) -> impl Stream<Item = Vec<u8>>;
    /// The sum of the items.
    async fn sum(&self, items: Incoming<u64>) -> u64;
    /// How deep the call is.
    async fn depth(&self, ctx: &Context) -> u8;
}

/// The implementation.
#[derive(Clone, Copy, Debug)]
pub struct Plugin;

impl Typed for Plugin {
    async fn next(&self, number: u64) -> u64 {
        number.wrapping_add(1)
    }

    async fn echo(&self, bytes: &[u8]) -> Vec<u8> {
        bytes.to_vec()
    }

    fn count(&self, items: u64, bytes: u32) -> impl Stream<Item = Vec<u8>> {
        stream::iter((0..items).map(move |_| vec![7; bytes as usize]))
    }

    async fn sum(&self, mut items: Incoming<u64>) -> u64 {
        let mut sum = 0u64;
        while let Some(Ok(item)) = items.next().await {
            sum = sum.wrapping_add(item);
        }
        sum
    }

    async fn depth(&self, ctx: &Context) -> u8 {
        ctx.depth()
    }
}

/// The same, built in.
///
/// # Errors
///
/// None: its services do not contradict each other.
pub fn built_in() -> Result<BuiltIn, Error> {
    Ok(BuiltIn::new("plugin", "1", Services::new().add(TypedServer::new(Plugin)))?)
}

/// Serves it until the session ends.
///
/// # Errors
///
/// When there is no session.
pub fn serve(socket: Socket, config: Config) -> Result<(), Error> {
    let services = Services::new().add(TypedServer::new(Plugin));
    Handshake::<PeerB>::accept(socket, config)?.finish(services)?.serve();
    Ok(())
}
