//! A call with a stream each way: payloads there, the same payloads back.

use futures::channel::mpsc;
use rapace::{PeerA, Session};

use super::service::RaceClient;
use super::{bells_and_sleeps, typed};
use crate::Error;
use crate::peer::Client;
use crate::work::Work;

pub(super) struct Streaming {
    pub(super) session: Session<PeerA>,
}

/// So many payloads are between us and the server.
async fn echoes(client: RaceClient, work: &mut Work) -> Result<(), Error> {
    let (sender, payloads) = mpsc::unbounded();
    let mut incoming = client.echoes(payloads).await?;
    let mut open = 0;
    loop {
        while open < work.depth() {
            let Some(body) = work.begin_owned() else { break };
            sender.unbounded_send(body)?;
            open += 1;
        }
        if open == 0 {
            sender.close_channel();
            return match incoming.next().await {
                None => Ok(()),
                Some(_) => Err("more came back than was sent".into()),
            };
        }
        let payload = incoming.next().await.ok_or("the stream ended")??;
        work.end(&payload)?;
        open -= 1;
    }
}

impl Client for Streaming {
    fn server_id(&self) -> Option<u32> {
        self.session.process_id()
    }

    fn sequential(&mut self, work: &mut Work) -> Result<(), Error> {
        self.session.block_on(echoes(RaceClient::new(&self.session), work))
    }

    fn bells_and_sleeps(&mut self) -> Result<Option<u64>, Error> {
        let theirs = RaceClient::new(&self.session).blocking().bells_and_sleeps()?;
        Ok(Some(theirs + bells_and_sleeps(&self.session)))
    }

    fn in_flight(&mut self, work: &mut Work) -> Result<bool, Error> {
        self.sequential(work)?;
        Ok(true)
    }

    fn one_way(&mut self, work: &mut Work) -> Result<bool, Error> {
        typed::one_way(&RaceClient::new(&self.session).blocking(), work)
    }
}
