//! Bytes, without types: `Session::call`, and its form in place.

use std::collections::VecDeque;

use race_library::sum;
use rapace::{AsCaller, CallOptions, IncomingCall, PeerA, PendingCall, Session};

use super::service::SESSION;
use crate::Error;
use crate::peer::Client;
use crate::work::Work;

const ECHO: u32 = 1;
const ECHO_IN_PLACE: u32 = 2;
const SUM: u32 = 3;
/// Asks for a payload of a length and a mark.
const FETCH: u32 = 4;
const BELLS_AND_SLEEPS: u32 = 5;

/// How many payloads one way are under way at a time.
const ONE_WAY_DEPTH: usize = 4;

pub(super) fn handle(mut call: IncomingCall) {
    let body = call.take_body();
    let sum = std::hint::black_box(sum(&body));
    match call.method() {
        ECHO => call.reply(&body),
        ECHO_IN_PLACE => call.reply_in_place(body.len(), |reply| reply.copy_from_slice(&body)),
        SUM => call.reply(&sum.to_le_bytes()),
        FETCH => match wanted(&body) {
            Some((bytes, mark)) => call.reply_in_place(bytes, |reply| reply.fill(mark)),
            None => call.unimplemented(),
        },
        BELLS_AND_SLEEPS => call.reply(&SESSION.get().map_or(0, super::bells_and_sleeps).to_le_bytes()),
        _ => call.unimplemented(),
    }
}

fn wanted(body: &[u8]) -> Option<(usize, u8)> {
    let (bytes, rest) = body.split_first_chunk()?;
    Some((u64::from_le_bytes(*bytes).try_into().ok()?, *rest.first()?))
}

/// Of both sides.
fn bells_and_sleeps(session: &Session<PeerA>) -> Result<Option<u64>, Error> {
    let theirs = number(&session.call(BELLS_AND_SLEEPS, &[], &CallOptions::new())?.body)?;
    Ok(Some(theirs + super::bells_and_sleeps(session)))
}

fn number(reply: &[u8]) -> Result<u64, Error> {
    Ok(u64::from_le_bytes(reply.try_into()?))
}

pub(super) struct Raw {
    pub(super) session: Session<PeerA>,
}

impl Client for Raw {
    fn server_id(&self) -> Option<u32> {
        self.session.process_id()
    }

    fn bells_and_sleeps(&mut self) -> Result<Option<u64>, Error> {
        bells_and_sleeps(&self.session)
    }

    fn sequential(&mut self, work: &mut Work) -> Result<(), Error> {
        let options = CallOptions::new();
        let mut body = vec![0; work.bytes()];
        while let Some(mark) = work.begin() {
            body.fill(mark);
            let reply = self.session.call(ECHO, &body, &options)?;
            work.end(&reply.body)?;
        }
        Ok(())
    }

    fn in_flight(&mut self, work: &mut Work) -> Result<bool, Error> {
        let mut body = vec![0; work.bytes()];
        pipelined(
            &self.session,
            work,
            work.depth(),
            |session, mark| {
                body.fill(mark);
                Ok(session.start(ECHO, &body, &CallOptions::new())?)
            },
            |work, reply| work.end(reply),
        )?;
        Ok(true)
    }

    fn one_way(&mut self, work: &mut Work) -> Result<bool, Error> {
        let mut body = vec![0; work.bytes()];
        let mut total = 0u64;
        pipelined(
            &self.session,
            work,
            ONE_WAY_DEPTH,
            |session, mark| {
                body.fill(mark);
                Ok(session.start(SUM, &body, &CallOptions::new())?)
            },
            |_, reply| {
                total = total.wrapping_add(number(reply)?);
                Ok(())
            },
        )?;
        work.settle(total)?;
        Ok(true)
    }
}

pub(super) struct InPlace {
    pub(super) session: Session<PeerA>,
}

impl Client for InPlace {
    fn server_id(&self) -> Option<u32> {
        self.session.process_id()
    }

    fn bells_and_sleeps(&mut self) -> Result<Option<u64>, Error> {
        bells_and_sleeps(&self.session)
    }

    fn sequential(&mut self, work: &mut Work) -> Result<(), Error> {
        let (caller, options) = (self.session.as_caller(), CallOptions::new());
        while let Some(mark) = work.begin() {
            let reply = caller.call_in_place(ECHO_IN_PLACE, work.bytes(), |body| body.fill(mark), &options)?;
            work.end(&reply.body)?;
        }
        Ok(())
    }

    /// From the server, which builds them in replies that this side reads where they lie: calls in place have no way to be
    /// under way together.
    fn one_way(&mut self, work: &mut Work) -> Result<bool, Error> {
        let bytes = u64::try_from(work.bytes())?.to_le_bytes();
        let mut total = 0u64;
        pipelined(
            &self.session,
            work,
            ONE_WAY_DEPTH,
            |session, mark| Ok(session.start(FETCH, &[bytes.as_slice(), &[mark]].concat(), &CallOptions::new())?),
            |_, payload| {
                total = total.wrapping_add(sum(payload));
                Ok(())
            },
        )?;
        work.settle(total)?;
        Ok(true)
    }
}

/// So many calls at a time, the oldest awaited first.
fn pipelined(
    session: &Session<PeerA>,
    work: &mut Work,
    depth: usize,
    mut start: impl FnMut(&Session<PeerA>, u8) -> Result<PendingCall, Error>,
    mut end: impl FnMut(&mut Work, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut open = VecDeque::with_capacity(depth);
    loop {
        while open.len() < depth {
            let Some(mark) = work.begin() else { break };
            open.push_back(start(session, mark)?);
        }
        let Some(oldest) = open.pop_front() else { return Ok(()) };
        end(work, &oldest.wait()?.body)?;
    }
}
