//! tonic: gRPC, protobuf in HTTP/2, over a Unix socket. Bodies are `Bytes`, which are not copied where they are decoded.

#[allow(clippy::all)]
mod race {
    tonic::include_proto!("race");
}

use std::path::Path;

use bytes::Bytes;
use futures::stream;
use hyper_util::rt::TokioIo;
use race_library::sum;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{self, Channel, Endpoint, Uri};
use tonic::{Request, Response, Status, Streaming};
use tower::service_fn;

use self::race::race_client::RaceClient;
use self::race::race_server::{Race, RaceServer};
use self::race::{Payload, Sum};
use crate::Error;
use crate::asynchronous::{self, runtime};
use crate::peer::{Client, Peer};
use crate::server::{Server, ready};
use crate::work::Work;

pub(super) struct Tonic;

const NAME: &str = "tonic";

struct Service;

#[tonic::async_trait]
impl Race for Service {
    async fn echo(&self, request: Request<Payload>) -> Result<Response<Payload>, Status> {
        let payload = request.into_inner();
        std::hint::black_box(sum(&payload.body));
        Ok(Response::new(payload))
    }

    async fn total(&self, request: Request<Streaming<Payload>>) -> Result<Response<Sum>, Status> {
        let mut payloads = request.into_inner();
        let mut total = 0u64;
        while let Some(payload) = payloads.message().await? {
            total = total.wrapping_add(sum(&payload.body));
        }
        Ok(Response::new(Sum { sum: total }))
    }
}

impl Peer for Tonic {
    fn name(&self) -> &'static str {
        NAME
    }

    fn modes(&self) -> &'static [&'static str] {
        &["grpc"]
    }

    fn crates(&self) -> &'static [&'static str] {
        &["tonic", "prost"]
    }

    fn start(&self, mode: &str, place: &Path) -> Result<Box<dyn Client>, Error> {
        let server = Server::start(NAME, mode, place)?;
        let runtime = runtime()?;
        let path = place.join("socket");
        let client = runtime.block_on(async {
            let connect = service_fn(move |_: Uri| {
                let path = path.clone();
                async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
            });
            // The address is nobody's: the connector knows the socket.
            let channel = Endpoint::from_static("http://race").connect_with_connector(connect).await?;
            Ok::<_, Error>(RaceClient::new(channel))
        })?;
        Ok(Box::new(Connected { client, runtime, server }))
    }

    fn serve(&self, _mode: &str, place: &Path) -> Result<(), Error> {
        runtime()?.block_on(async {
            let listener = UnixListener::bind(place.join("socket"))?;
            ready()?;
            let server = transport::Server::builder().add_service(RaceServer::new(Service));
            Ok(server.serve_with_incoming(UnixListenerStream::new(listener)).await?)
        })
    }
}

struct Connected {
    client: RaceClient<Channel>,
    runtime: Runtime,
    server: Server,
}

async fn echo(mut client: RaceClient<Channel>, body: Vec<u8>) -> Result<Bytes, Error> {
    Ok(client.echo(Payload { body: body.into() }).await?.into_inner().body)
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
        let mut client = self.client.clone();
        // The request owns its stream, which gives the work back when it has ended.
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let nothing = work.nothing();
        let taken = std::mem::replace(work, nothing);
        let payloads = stream::unfold((taken, Some(sender)), |(mut work, mut sender)| async move {
            match work.begin_owned() {
                Some(body) => Some((Payload { body: body.into() }, (work, sender))),
                None => {
                    // Nobody takes it back if the call has failed.
                    let _ = sender.take()?.send(work);
                    None
                }
            }
        });
        let total = self.runtime.block_on(async {
            let total = client.total(payloads).await?.into_inner().sum;
            *work = receiver.await?;
            Ok::<_, Error>(total)
        })?;
        work.settle(total)?;
        Ok(true)
    }
}
