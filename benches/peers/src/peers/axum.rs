//! HTTP/1.1 with JSON, as most would write it: axum, and a hyper client that keeps its connection, over a Unix socket.

use std::path::Path;

use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use axum::{Json, Router};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use race_library::sum;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;

use crate::Error;
use crate::asynchronous::runtime;
use crate::peer::{Client, Peer};
use crate::server::{Server, ready};
use crate::work::Work;

pub(super) struct Axum;

const NAME: &str = "axum";

/// JSON has no bytes: a list of numbers.
#[derive(Serialize, Deserialize)]
struct Payload {
    body: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Sum {
    sum: u64,
}

async fn echo(Json(payload): Json<Payload>) -> Json<Payload> {
    std::hint::black_box(sum(&payload.body));
    Json(payload)
}

async fn total(Json(payload): Json<Payload>) -> Json<Sum> {
    Json(Sum { sum: sum(&payload.body) })
}

impl Peer for Axum {
    fn name(&self) -> &'static str {
        NAME
    }

    fn modes(&self) -> &'static [&'static str] {
        &["http-json"]
    }

    fn crates(&self) -> &'static [&'static str] {
        &["axum", "hyper", "serde_json"]
    }

    fn start(&self, mode: &str, place: &Path) -> Result<Box<dyn Client>, Error> {
        let server = Server::start(NAME, mode, place)?;
        let runtime = runtime()?;
        let requests = runtime.block_on(async {
            let stream = UnixStream::connect(place.join("socket")).await?;
            let (requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            Ok::<_, Error>(requests)
        })?;
        Ok(Box::new(Connected { requests, runtime, server }))
    }

    fn serve(&self, _mode: &str, place: &Path) -> Result<(), Error> {
        runtime()?.block_on(async {
            let listener = UnixListener::bind(place.join("socket"))?;
            ready()?;
            let router = Router::new().route("/echo", post(echo)).route("/total", post(total));
            Ok(axum::serve(listener, router.layer(DefaultBodyLimit::disable())).await?)
        })
    }
}

struct Connected {
    requests: SendRequest<Full<Bytes>>,
    runtime: Runtime,
    server: Server,
}

async fn call<R: DeserializeOwned>(
    requests: &mut SendRequest<Full<Bytes>>,
    path: &str,
    body: Vec<u8>,
) -> Result<R, Error> {
    let body = Full::new(Bytes::from(serde_json::to_vec(&Payload { body })?));
    let request = Request::post(path).header(HOST, "race").header(CONTENT_TYPE, "application/json").body(body)?;
    requests.ready().await?;
    let response = requests.send_request(request).await?;
    if response.status() != StatusCode::OK {
        return Err(format!("{path}: {}", response.status()).into());
    }
    let reply = response.into_body().collect().await?.to_bytes();
    Ok(serde_json::from_slice(&reply)?)
}

impl Client for Connected {
    fn server_id(&self) -> Option<u32> {
        Some(self.server.id())
    }

    fn sequential(&mut self, work: &mut Work) -> Result<(), Error> {
        self.runtime.block_on(async {
            while let Some(body) = work.begin_owned() {
                let reply: Payload = call(&mut self.requests, "/echo", body).await?;
                work.end(&reply.body)?;
            }
            Ok(())
        })
    }

    fn one_way(&mut self, work: &mut Work) -> Result<bool, Error> {
        let total = self.runtime.block_on(async {
            let mut total = 0u64;
            while let Some(body) = work.begin_owned() {
                let reply: Sum = call(&mut self.requests, "/total", body).await?;
                total = total.wrapping_add(reply.sum);
            }
            Ok::<_, Error>(total)
        })?;
        work.settle(total)?;
        Ok(true)
    }
}
