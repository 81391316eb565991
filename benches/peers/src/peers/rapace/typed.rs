//! What `#[rapace::service]` makes, on a thread that blocks and on tokio.

use futures::StreamExt;
use futures::stream::{self, FuturesUnordered};
use rapace::tokio::AsyncSession;
use rapace::{CallError, PeerA, Session};
use tokio::runtime::{Builder, Runtime};

use super::service::{RaceBlockingClient, RaceClient};
use crate::Error;
use crate::peer::Client;
use crate::work::Work;

pub(super) struct Blocking {
    client: RaceBlockingClient,
    session: Session<PeerA>,
}

impl Blocking {
    pub(super) fn new(session: Session<PeerA>) -> Self {
        Self { client: RaceClient::new(&session).blocking(), session }
    }
}

/// One call after the other, on this thread.
pub(super) fn sequential(client: &RaceBlockingClient, work: &mut Work) -> Result<(), Error> {
    let mut body = vec![0; work.bytes()];
    while let Some(mark) = work.begin() {
        body.fill(mark);
        work.end(&client.echo(&body)?)?;
    }
    Ok(())
}

/// A stream to the server, from this thread.
pub(super) fn one_way(client: &RaceBlockingClient, work: &mut Work) -> Result<bool, Error> {
    let total = client.total(std::iter::from_fn(|| work.begin_owned()))?;
    work.settle(total)?;
    Ok(true)
}

async fn in_flight(client: &RaceClient, work: &mut Work) -> Result<(), Error> {
    let mut calls = FuturesUnordered::new();
    loop {
        while calls.len() < work.depth() {
            let Some(body) = work.begin_owned() else { break };
            calls.push(async move { client.echo(&body).await });
        }
        match calls.next().await {
            Some(reply) => work.end(&reply?)?,
            None => return Ok(()),
        }
    }
}

impl Client for Blocking {
    fn server_id(&self) -> Option<u32> {
        self.session.process_id()
    }

    fn sequential(&mut self, work: &mut Work) -> Result<(), Error> {
        sequential(&self.client, work)
    }

    fn in_flight(&mut self, work: &mut Work) -> Result<bool, Error> {
        let client = RaceClient::new(&self.session);
        self.session.block_on(in_flight(&client, work))?;
        Ok(true)
    }

    fn one_way(&mut self, work: &mut Work) -> Result<bool, Error> {
        one_way(&self.client, work)
    }
}

pub(super) struct Tokio {
    client: RaceClient,
    session: AsyncSession<PeerA>,
    runtime: Runtime,
}

impl Tokio {
    pub(super) fn new(session: Session<PeerA>) -> Result<Self, Error> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let session = {
            let _inside = runtime.enter();
            AsyncSession::new(session)?
        };
        Ok(Self { client: RaceClient::new(&session), session, runtime })
    }
}

impl Client for Tokio {
    fn server_id(&self) -> Option<u32> {
        self.session.session().process_id()
    }

    fn sequential(&mut self, work: &mut Work) -> Result<(), Error> {
        self.runtime.block_on(async {
            let mut body = vec![0; work.bytes()];
            while let Some(mark) = work.begin() {
                body.fill(mark);
                work.end(&self.client.echo(&body).await?)?;
            }
            Ok(())
        })
    }

    fn in_flight(&mut self, work: &mut Work) -> Result<bool, Error> {
        self.runtime.block_on(in_flight(&self.client, work))?;
        Ok(true)
    }

    fn one_way(&mut self, work: &mut Work) -> Result<bool, Error> {
        let payloads = stream::iter(std::iter::from_fn(|| work.begin_owned()));
        let total: Result<u64, CallError> = self.runtime.block_on(self.client.total(payloads));
        work.settle(total?)?;
        Ok(true)
    }
}
