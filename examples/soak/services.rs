//! What the host does for its plugins.

use futures_util::stream;
use rapace::prelude::*;

use crate::contract::{Failure, Host, HostServer, Load, WorkerClient, size};

pub(crate) fn services() -> Services {
    Services::new().add(HostServer::new(Served))
}

struct Served;

impl Host for Served {
    async fn bounce(&self, ctx: &Context, depth: u32) -> Result<u32, Failure> {
        let Some(below) = depth.checked_sub(1) else { return Ok(0) };
        let inner = WorkerClient::new(ctx).nested(below).await;
        Ok(1 + inner.map_err(|error| Failure::Inner(error.to_string()))?)
    }

    fn stock(&self, seed: u64, items: u32, bytes: u32) -> impl Stream<Item = Load> {
        // A plugin may ask for as much as it likes; the host makes one at a time, and none that is huge.
        let bytes = size(bytes).min(1 << 20);
        stream::iter((0..items).map(move |index| Load::of_stream(seed, index, bytes)))
    }

    async fn echo(&self, load: Load) -> Result<Load, Failure> {
        load.answer()
    }
}
