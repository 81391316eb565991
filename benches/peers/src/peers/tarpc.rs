//! tarpc: bincode over a Unix socket.

use std::path::Path;

use futures::{StreamExt, future};
use race_library::sum;
use serde_bytes::ByteBuf;
use tarpc::server::{BaseChannel, Channel};
use tarpc::{client, context, serde_transport};
use tokio::runtime::Runtime;
use tokio_serde::formats::Bincode;

use crate::Error;
use crate::asynchronous::{self, runtime};
use crate::peer::{Client, Peer};
use crate::server::{self, ready};
use crate::work::Work;

pub(super) struct Tarpc;

const NAME: &str = "tarpc";

#[tarpc::service]
trait Race {
    /// The same bytes.
    async fn echo(body: ByteBuf) -> ByteBuf;
    /// Their sum.
    async fn total(body: ByteBuf) -> u64;
}

#[derive(Clone)]
struct Server;

impl Race for Server {
    async fn echo(self, _: context::Context, body: ByteBuf) -> ByteBuf {
        std::hint::black_box(sum(&body));
        body
    }

    async fn total(self, _: context::Context, body: ByteBuf) -> u64 {
        sum(&body)
    }
}

impl Peer for Tarpc {
    fn name(&self) -> &'static str {
        NAME
    }

    fn modes(&self) -> &'static [&'static str] {
        &["bincode"]
    }

    fn crates(&self) -> &'static [&'static str] {
        &["tarpc", "tokio-serde"]
    }

    fn start(&self, mode: &str, place: &Path) -> Result<Box<dyn Client>, Error> {
        let server = server::Server::start(NAME, mode, place)?;
        let runtime = runtime()?;
        let client = runtime.block_on(async {
            let transport = serde_transport::unix::connect(place.join("socket"), Bincode::default).await?;
            Ok::<_, Error>(RaceClient::new(client::Config::default(), transport).spawn())
        })?;
        Ok(Box::new(Connected { client, runtime, server }))
    }

    fn serve(&self, _mode: &str, place: &Path) -> Result<(), Error> {
        runtime()?.block_on(async {
            let mut incoming = serde_transport::unix::listen(place.join("socket"), Bincode::default).await?;
            ready()?;
            let transport = incoming.next().await.ok_or("nobody connects")??;
            let requests = BaseChannel::with_defaults(transport).execute(Server.serve());
            requests
                .for_each(|response| {
                    tokio::spawn(response);
                    future::ready(())
                })
                .await;
            Ok(())
        })
    }
}

struct Connected {
    client: RaceClient,
    runtime: Runtime,
    server: server::Server,
}

/// A call of this client.
async fn echo(client: RaceClient, body: Vec<u8>) -> Result<ByteBuf, Error> {
    Ok(client.echo(context::current(), ByteBuf::from(body)).await?)
}

async fn total(client: RaceClient, body: Vec<u8>) -> Result<u64, Error> {
    Ok(client.total(context::current(), ByteBuf::from(body)).await?)
}

impl Client for Connected {
    fn server_id(&self) -> Option<u32> {
        Some(self.server.id())
    }

    fn sequential(&mut self, work: &mut Work) -> Result<(), Error> {
        self.runtime.block_on(asynchronous::sequential(work, |body| echo(self.client.clone(), body)))
    }

    fn in_flight(&mut self, work: &mut Work) -> Result<bool, Error> {
        self.runtime.block_on(asynchronous::in_flight(work, |body| echo(self.client.clone(), body)))?;
        Ok(true)
    }

    fn one_way(&mut self, work: &mut Work) -> Result<bool, Error> {
        self.runtime.block_on(asynchronous::one_way(work, |body| total(self.client.clone(), body)))?;
        Ok(true)
    }
}
