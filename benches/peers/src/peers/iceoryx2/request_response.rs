//! Requests and responses, each built in place.

use std::collections::VecDeque;

use iceoryx2::pending_response::PendingResponse;
use iceoryx2::port::client;
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::request_response::PortFactory;
use race_library::sum;

use super::bell::{Bell, Side};
use super::{DEPTH, ECHO, END, ITEM, IpcNode, ONE_WAY_DEPTH, PAYLOAD_MAX, alignment, node};
use crate::Error;
use crate::peer::Client;
use crate::server::{Server, ready};
use crate::work::Work;

type Factory = PortFactory<ipc::Service, [u8], u64, [u8], ()>;
type Port = client::Client<ipc::Service, [u8], u64, [u8], ()>;
type Pending = PendingResponse<ipc::Service, [u8], u64, [u8], ()>;

fn service(node: &IpcNode, name: &str) -> Result<Factory, Error> {
    let builder = node.service_builder(&name.try_into()?).request_response::<[u8], [u8]>();
    Ok(builder
        .request_user_header::<u64>()
        .request_payload_alignment(alignment()?)
        .response_payload_alignment(alignment()?)
        .max_active_requests_per_client(DEPTH)
        .max_clients(1)
        .max_servers(1)
        .open_or_create()?)
}

pub(super) fn serve(name: &str, polls: bool) -> Result<(), Error> {
    let node = node()?;
    let service = service(&node, name)?;
    let server = service.server_builder().initial_max_slice_len(PAYLOAD_MAX).create()?;
    let bell = Bell::new(&node, name, polls, Side::Server)?;
    ready()?;
    loop {
        let mut answered = false;
        while let Some(request) = server.receive()? {
            let body = request.payload();
            let sum = sum(body);
            match *request.user_header() {
                ECHO => request.loan_slice_uninit(body.len())?.write_from_slice(body).send()?,
                ITEM => request.loan_slice_uninit(8)?.write_from_slice(&sum.to_le_bytes()).send()?,
                _ => return Ok(()),
            }
            answered = true;
        }
        if answered {
            bell.ring()?;
        }
        bell.wait()?;
    }
}

pub(super) struct Requests {
    port: Port,
    bell: Bell,
    server: Server,
}

impl Requests {
    pub(super) fn new(name: &str, polls: bool, server: Server) -> Result<Self, Error> {
        let node = node()?;
        let port = service(&node, name)?.client_builder().initial_max_slice_len(PAYLOAD_MAX).create()?;
        Ok(Self { port, bell: Bell::new(&node, name, polls, Side::Client)?, server })
    }

    /// Sends a payload, and does not ring.
    fn send(&self, bytes: usize, mark: u8, purpose: u64) -> Result<Pending, Error> {
        let mut request = self.port.loan_slice_uninit(bytes)?.write_from_fn(|_| mark);
        *request.user_header_mut() = purpose;
        Ok(request.send()?)
    }

    /// The response, given to `read` where it lies.
    fn receive<R>(&self, pending: &Pending, read: impl FnOnce(&[u8]) -> Result<R, Error>) -> Result<R, Error> {
        loop {
            if let Some(response) = pending.receive()? {
                return read(response.payload());
            }
            self.bell.wait()?;
        }
    }

    fn at_a_time(
        &self,
        work: &mut Work,
        depth: usize,
        purpose: u64,
        mut end: impl FnMut(&mut Work, &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut open = VecDeque::with_capacity(depth);
        loop {
            let before = open.len();
            while open.len() < depth {
                let Some(mark) = work.begin() else { break };
                open.push_back(self.send(work.bytes(), mark, purpose)?);
            }
            if open.len() > before {
                self.bell.ring()?;
            }
            let Some(oldest) = open.pop_front() else { return Ok(()) };
            self.receive(&oldest, |response| end(work, response))?;
        }
    }
}

impl Client for Requests {
    fn server_id(&self) -> Option<u32> {
        Some(self.server.id())
    }

    fn sequential(&mut self, work: &mut Work) -> Result<(), Error> {
        while let Some(mark) = work.begin() {
            let pending = self.send(work.bytes(), mark, ECHO)?;
            self.bell.ring()?;
            self.receive(&pending, |response| work.end(response))?;
        }
        Ok(())
    }

    fn in_flight(&mut self, work: &mut Work) -> Result<bool, Error> {
        self.at_a_time(work, work.depth(), ECHO, |work, response| work.end(response))?;
        Ok(true)
    }

    fn one_way(&mut self, work: &mut Work) -> Result<bool, Error> {
        let mut total = 0u64;
        self.at_a_time(work, ONE_WAY_DEPTH, ITEM, |_, response| {
            total = total.wrapping_add(u64::from_le_bytes(response.try_into()?));
            Ok(())
        })?;
        work.settle(total)?;
        Ok(true)
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        // One that does not hear it is killed.
        if self.send(8, 0, END).and_then(|_| self.bell.ring()).is_ok() {
            self.server.wait();
        }
    }
}
