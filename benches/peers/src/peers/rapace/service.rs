//! The service of the typed rows.

use futures::stream;
use std::sync::OnceLock;

use race_library::sum;
use rapace::{Incoming, PeerB, Session, Stream};

use super::bells_and_sleeps;

/// The session of a server's process, once it is there.
pub(super) static SESSION: OnceLock<Session<PeerB>> = OnceLock::new();

#[rapace::service(name = "race.Race", version = "1.0", provider = "plugin")]
pub(super) trait Race {
    /// The same bytes.
    async fn echo(&self, bytes: &[u8]) -> Vec<u8>;
    /// The sum of all payloads.
    async fn total(&self, payloads: Incoming<Vec<u8>>) -> u64;
    /// The same payloads.
    fn echoes(&self, payloads: Incoming<Vec<u8>>) -> impl Stream<Item = Vec<u8>>;
    /// How often the server has woken its client or gone to sleep.
    async fn bells_and_sleeps(&self) -> u64;
}

pub(super) struct Server;

impl Race for Server {
    async fn echo(&self, bytes: &[u8]) -> Vec<u8> {
        std::hint::black_box(sum(bytes));
        bytes.to_vec()
    }

    async fn total(&self, mut payloads: Incoming<Vec<u8>>) -> u64 {
        let mut total = 0u64;
        while let Some(Ok(payload)) = payloads.next().await {
            total = total.wrapping_add(sum(&payload));
        }
        total
    }

    fn echoes(&self, payloads: Incoming<Vec<u8>>) -> impl Stream<Item = Vec<u8>> {
        stream::unfold(payloads, |mut payloads| async move {
            let payload = payloads.next().await?.ok()?;
            std::hint::black_box(sum(&payload));
            Some((payload, payloads))
        })
    }

    async fn bells_and_sleeps(&self) -> u64 {
        SESSION.get().map_or(0, bells_and_sleeps)
    }
}
