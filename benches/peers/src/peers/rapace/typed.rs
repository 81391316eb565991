//! What `#[rapace::service]` makes, on a thread that blocks and on tokio.

use futures::stream;
use rapace::tokio::AsyncSession;
use rapace::{CallError, PeerA, Session};
use tokio::runtime::{Builder, Runtime};

use super::bells_and_sleeps;
use super::service::{RaceBlockingClient, RaceClient};
use crate::peer::Client;
use crate::work::Work;
use crate::{Error, asynchronous};

pub(super) struct Blocking {
    client: RaceBlockingClient,
    session: Session<PeerA>,
    /// More threads that spin than there are processors would be in each other's way.
    spins: bool,
}

impl Blocking {
    pub(super) fn new(session: Session<PeerA>, spins: bool) -> Self {
        Self { client: RaceClient::new(&session).blocking(), session, spins }
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

/// A call of this client.
async fn echo(client: &RaceClient, body: Vec<u8>) -> Result<Vec<u8>, Error> {
    Ok(client.echo(&body).await?)
}

impl Client for Blocking {
    fn server_id(&self) -> Option<u32> {
        self.session.process_id()
    }

    fn threads(&mut self, works: &mut [Work]) -> Result<bool, Error> {
        if self.spins {
            return Ok(false);
        }
        let client = &self.client;
        std::thread::scope(|scope| {
            let threads: Vec<_> = works.iter_mut().map(|work| scope.spawn(|| sequential(client, work))).collect();
            threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
        })?;
        Ok(true)
    }

    fn bells_and_sleeps(&mut self) -> Result<Option<u64>, Error> {
        Ok(Some(self.client.bells_and_sleeps()? + bells_and_sleeps(&self.session)))
    }

    fn sequential(&mut self, work: &mut Work) -> Result<(), Error> {
        sequential(&self.client, work)
    }

    fn in_flight(&mut self, work: &mut Work) -> Result<bool, Error> {
        let client = RaceClient::new(&self.session);
        self.session.block_on(asynchronous::in_flight(work, |body| echo(&client, body)))?;
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
        self.runtime.block_on(asynchronous::in_flight(work, |body| echo(&self.client, body)))?;
        Ok(true)
    }

    fn bells_and_sleeps(&mut self) -> Result<Option<u64>, Error> {
        let theirs = self.runtime.block_on(self.client.bells_and_sleeps())?;
        Ok(Some(theirs + bells_and_sleeps(self.session.session())))
    }

    fn one_way(&mut self, work: &mut Work) -> Result<bool, Error> {
        let payloads = stream::iter(std::iter::from_fn(|| work.begin_owned()));
        let total: Result<u64, CallError> = self.runtime.block_on(self.client.total(payloads));
        work.settle(total?)?;
        Ok(true)
    }
}
