//! Samples there and samples back: a pair of topics, as one uses it for speed where a reply is wanted, too.

use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;
use race_library::sum;

use super::bell::{Bell, Side};
use super::{DEPTH, ECHO, END, ITEM, IpcNode, ONE_WAY_DEPTH, PAYLOAD_MAX, SUM, alignment, node};
use crate::Error;
use crate::peer::Client;
use crate::server::{Server, ready};
use crate::work::Work;

fn topic(
    node: &IpcNode,
    name: &str,
    direction: &str,
    depth: usize,
) -> Result<PortFactory<ipc::Service, [u8], u64>, Error> {
    let builder = node.service_builder(&format!("{name}-{direction}").as_str().try_into()?).publish_subscribe::<[u8]>();
    Ok(builder
        .user_header::<u64>()
        .payload_alignment(alignment()?)
        .enable_safe_overflow(false)
        .subscriber_max_buffer_size(depth)
        .history_size(0)
        .max_publishers(1)
        .max_subscribers(1)
        .open_or_create()?)
}

fn publisher(topic: &PortFactory<ipc::Service, [u8], u64>) -> Result<Publisher<ipc::Service, [u8], u64>, Error> {
    let builder = topic.publisher_builder().initial_max_slice_len(PAYLOAD_MAX);
    Ok(builder.backpressure_strategy(BackpressureStrategy::RetryUntilDelivered).create()?)
}

struct Ports {
    publisher: Publisher<ipc::Service, [u8], u64>,
    subscriber: Subscriber<ipc::Service, [u8], u64>,
    items: Items,
    bell: Bell,
}

/// Payloads one way have a topic of their own, with room for a few: what is written is still in the cache when it is read.
enum Items {
    Client(Publisher<ipc::Service, [u8], u64>),
    Server(Subscriber<ipc::Service, [u8], u64>),
}

impl Ports {
    fn new(name: &str, polls: bool, side: Side) -> Result<Self, Error> {
        let node = node()?;
        let (there, back) = (topic(&node, name, "there", DEPTH)?, topic(&node, name, "back", DEPTH)?);
        let items = topic(&node, name, "items", ONE_WAY_DEPTH)?;
        let (ours, theirs) = match side {
            Side::Client => (there, back),
            Side::Server => (back, there),
        };
        let items = match side {
            Side::Client => Items::Client(publisher(&items)?),
            Side::Server => Items::Server(items.subscriber_builder().buffer_size(ONE_WAY_DEPTH).create()?),
        };
        Ok(Self {
            publisher: publisher(&ours)?,
            subscriber: theirs.subscriber_builder().buffer_size(DEPTH).create()?,
            items,
            bell: Bell::new(&node, name, polls, side)?,
        })
    }

    /// Sends a payload, and does not ring.
    fn send(&self, bytes: usize, mark: u8, purpose: u64) -> Result<(), Error> {
        send(&self.publisher, bytes, mark, purpose)
    }

    fn answer(&self, body: &[u8]) -> Result<(), Error> {
        self.publisher.loan_slice_uninit(body.len())?.write_from_slice(body).send()?;
        Ok(())
    }

    /// The sum of payloads one way, up to the last of them.
    fn total(&self) -> Result<u64, Error> {
        let Items::Server(subscriber) = &self.items else { return Err("items are the server's to read".into()) };
        let mut total = 0u64;
        loop {
            while let Some(sample) = subscriber.receive()? {
                if *sample.user_header() == SUM {
                    return Ok(total);
                }
                total = total.wrapping_add(sum(sample.payload()));
            }
            self.bell.wait()?;
        }
    }

    /// A sample, given to `read` where it lies.
    fn receive<R>(&self, read: impl FnOnce(&[u8]) -> Result<R, Error>) -> Result<R, Error> {
        loop {
            if let Some(sample) = self.subscriber.receive()? {
                return read(sample.payload());
            }
            self.bell.wait()?;
        }
    }
}

fn send(publisher: &Publisher<ipc::Service, [u8], u64>, bytes: usize, mark: u8, purpose: u64) -> Result<(), Error> {
    // One that nobody has received is lost: a receiver that has taken a sample and not yet given it back keeps its place, which
    // the strategy does not wait for.
    loop {
        let mut sample = publisher.loan_slice_uninit(bytes)?.write_from_fn(|_| mark);
        *sample.user_header_mut() = purpose;
        if sample.send()? > 0 {
            return Ok(());
        }
    }
}

pub(super) fn serve(name: &str, polls: bool) -> Result<(), Error> {
    let ports = Ports::new(name, polls, Side::Server)?;
    ready()?;
    loop {
        let mut answered = false;
        while let Some(sample) = ports.subscriber.receive()? {
            let body = sample.payload();
            std::hint::black_box(sum(body));
            match *sample.user_header() {
                ECHO => ports.answer(body)?,
                ITEM => ports.answer(&ports.total()?.to_le_bytes())?,
                _ => return Ok(()),
            }
            answered = true;
        }
        if answered {
            ports.bell.ring()?;
        }
        ports.bell.wait()?;
    }
}

pub(super) struct Samples {
    ports: Ports,
    server: Server,
}

impl Samples {
    pub(super) fn new(name: &str, polls: bool, server: Server) -> Result<Self, Error> {
        Ok(Self { ports: Ports::new(name, polls, Side::Client)?, server })
    }
}

impl Client for Samples {
    fn server_id(&self) -> Option<u32> {
        Some(self.server.id())
    }

    fn sequential(&mut self, work: &mut Work) -> Result<(), Error> {
        while let Some(mark) = work.begin() {
            self.ports.send(work.bytes(), mark, ECHO)?;
            self.ports.bell.ring()?;
            self.ports.receive(|body| work.end(body))?;
        }
        Ok(())
    }

    fn in_flight(&mut self, work: &mut Work) -> Result<bool, Error> {
        let mut open = 0;
        loop {
            let before = open;
            while open < work.depth() {
                let Some(mark) = work.begin() else { break };
                self.ports.send(work.bytes(), mark, ECHO)?;
                open += 1;
            }
            if open > before {
                self.ports.bell.ring()?;
            }
            if open == 0 {
                return Ok(true);
            }
            self.ports.receive(|body| work.end(body))?;
            open -= 1;
        }
    }

    fn one_way(&mut self, work: &mut Work) -> Result<bool, Error> {
        let Items::Client(items) = &self.ports.items else { return Ok(false) };
        self.ports.send(8, 0, ITEM)?;
        while let Some(mark) = work.begin() {
            send(items, work.bytes(), mark, ITEM)?;
            self.ports.bell.ring()?;
        }
        send(items, 8, 0, SUM)?;
        self.ports.bell.ring()?;
        let total = self.ports.receive(|body| Ok(u64::from_le_bytes(body.try_into()?)))?;
        work.settle(total)?;
        Ok(true)
    }
}

impl Drop for Samples {
    fn drop(&mut self) {
        // One that does not hear it is killed.
        if self.ports.send(8, 0, END).and_then(|()| self.ports.bell.ring()).is_ok() {
            self.server.wait();
        }
    }
}
