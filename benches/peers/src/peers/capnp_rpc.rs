//! Cap'n Proto RPC over a Unix socket.

#[allow(clippy::all)]
mod race_capnp {
    include!(concat!(env!("OUT_DIR"), "/race_capnp.rs"));
}

use std::path::Path;
use std::rc::Rc;

use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::twoparty::VatNetwork;
use capnp_rpc::{RpcSystem, new_client};
use race_library::sum;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use self::race_capnp::race;
use crate::Error;
use crate::asynchronous::{self, runtime};
use crate::peer::{Client, Peer};
use crate::server::{Server, ready};
use crate::work::Work;

pub(super) struct CapnpRpc;

const NAME: &str = "capnp-rpc";

struct Service;

impl race::Server for Service {
    async fn echo(
        self: Rc<Self>,
        params: race::EchoParams,
        mut results: race::EchoResults,
    ) -> Result<(), capnp::Error> {
        let body = params.get()?.get_body()?;
        std::hint::black_box(sum(body));
        results.get().set_body(body);
        Ok(())
    }

    async fn sum(self: Rc<Self>, params: race::SumParams, mut results: race::SumResults) -> Result<(), capnp::Error> {
        results.get().set_sum(sum(params.get()?.get_body()?));
        Ok(())
    }
}

impl Peer for CapnpRpc {
    fn name(&self) -> &'static str {
        NAME
    }

    fn modes(&self) -> &'static [&'static str] {
        &["two-party"]
    }

    fn crates(&self) -> &'static [&'static str] {
        &["capnp-rpc", "capnp"]
    }

    fn start(&self, mode: &str, place: &Path) -> Result<Box<dyn Client>, Error> {
        let server = Server::start(NAME, mode, place)?;
        let (runtime, tasks) = (runtime()?, LocalSet::new());
        let client = tasks.block_on(&runtime, async {
            let network = network(UnixStream::connect(place.join("socket")).await?, Side::Client);
            let mut system = RpcSystem::new(Box::new(network), None);
            let client: race::Client = system.bootstrap(Side::Server);
            tokio::task::spawn_local(system);
            Ok::<_, Error>(client)
        })?;
        Ok(Box::new(Connected { client, tasks, runtime, server }))
    }

    fn serve(&self, _mode: &str, place: &Path) -> Result<(), Error> {
        LocalSet::new().block_on(&runtime()?, async {
            let listener = UnixListener::bind(place.join("socket"))?;
            ready()?;
            let network = network(listener.accept().await?.0, Side::Server);
            let service: race::Client = new_client(Service);
            Ok(RpcSystem::new(Box::new(network), Some(service.client)).await?)
        })
    }
}

fn network(stream: UnixStream, side: Side) -> VatNetwork<impl futures::AsyncRead + Unpin + 'static> {
    let (reader, writer) = stream.into_split();
    VatNetwork::new(reader.compat(), writer.compat_write(), side, capnp::message::ReaderOptions::default())
}

struct Connected {
    client: race::Client,
    tasks: LocalSet,
    runtime: Runtime,
    server: Server,
}

/// A reply whose body is read where it was received.
struct Reply(capnp::capability::Response<race::echo_results::Owned>);

async fn echo(client: &race::Client, bytes: usize, mark: u8) -> Result<Reply, Error> {
    let mut request = client.echo_request();
    request.get().init_body(u32::try_from(bytes)?).fill(mark);
    Ok(Reply(request.send().promise.await?))
}

impl Reply {
    fn body(&self) -> Result<&[u8], Error> {
        Ok(self.0.get()?.get_body()?)
    }
}

async fn total(client: &race::Client, body: Vec<u8>) -> Result<u64, Error> {
    let mut request = client.sum_request();
    request.get().set_body(&body);
    Ok(request.send().promise.await?.get()?.get_sum())
}

impl Client for Connected {
    fn server_id(&self) -> Option<u32> {
        Some(self.server.id())
    }

    fn sequential(&mut self, work: &mut Work) -> Result<(), Error> {
        self.tasks.block_on(&self.runtime, async {
            while let Some(mark) = work.begin() {
                work.end(echo(&self.client, work.bytes(), mark).await?.body()?)?;
            }
            Ok(())
        })
    }

    fn in_flight(&mut self, work: &mut Work) -> Result<bool, Error> {
        let client = &self.client;
        let call = |body: Vec<u8>| async move {
            let mark = body.first().copied().unwrap_or_default();
            Ok(echo(client, body.len(), mark).await?.body()?.to_vec())
        };
        self.tasks.block_on(&self.runtime, asynchronous::in_flight(work, call))?;
        Ok(true)
    }

    fn one_way(&mut self, work: &mut Work) -> Result<bool, Error> {
        self.tasks.block_on(&self.runtime, asynchronous::one_way(work, |body| total(&self.client, body)))?;
        Ok(true)
    }
}
