//! What one writes by hand: postcard messages over a Unix socket, each behind its length.
//!
//! Both sides send all that is ready in one write, and handle all that has come in one read.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use race_library::sum;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::peer::{Client, Peer};
use crate::server::{Server, ready};
use crate::work::Work;

pub(super) struct UnixSocket;

const NAME: &str = "unix-socket";
const POLLING: &str = "polling";

#[derive(Debug, Serialize, Deserialize)]
enum Message<'a> {
    /// A request, or its reply.
    Call {
        id: u64,
        #[serde(with = "serde_bytes")]
        body: &'a [u8],
    },
    /// A payload one way.
    Item(#[serde(with = "serde_bytes")] &'a [u8]),
    /// The sum is wanted, or it is this.
    Sum(u64),
}

impl Peer for UnixSocket {
    fn name(&self) -> &'static str {
        NAME
    }

    fn modes(&self) -> &'static [&'static str] {
        &["blocking", POLLING]
    }

    fn crates(&self) -> &'static [&'static str] {
        &["postcard"]
    }

    fn polls(&self, mode: &str) -> bool {
        mode == POLLING
    }

    fn start(&self, mode: &str, place: &Path) -> Result<Box<dyn Client>, Error> {
        let server = Server::start(NAME, mode, place)?;
        let connection = Connection::new(UnixStream::connect(place.join("socket"))?, mode == POLLING)?;
        Ok(Box::new(Connected { connection, server }))
    }

    fn serve(&self, mode: &str, place: &Path) -> Result<(), Error> {
        let listener = UnixListener::bind(place.join("socket"))?;
        ready()?;
        let mut connection = Connection::new(listener.accept()?.0, mode == POLLING)?;
        let mut total = 0u64;
        while connection.receive()? {
            while let Some(message) = connection.inbox.next()? {
                match message {
                    Message::Call { id, body } => {
                        std::hint::black_box(sum(body));
                        put(&mut connection.outbox, &Message::Call { id, body })?;
                    }
                    Message::Item(body) => total = total.wrapping_add(sum(body)),
                    Message::Sum(_) => put(&mut connection.outbox, &Message::Sum(std::mem::take(&mut total)))?,
                }
            }
            connection.flush()?;
        }
        Ok(())
    }
}

struct Connection {
    stream: UnixStream,
    inbox: Inbox,
    outbox: Vec<u8>,
}

#[derive(Default)]
struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

/// What one read may bring at least.
const ROOM: usize = 64 << 10;

impl Connection {
    fn new(stream: UnixStream, polls: bool) -> Result<Self, Error> {
        stream.set_nonblocking(polls)?;
        Ok(Self { stream, inbox: Inbox::default(), outbox: Vec::new() })
    }

    /// Waits for more bytes. `false` at the end.
    fn receive(&mut self) -> Result<bool, Error> {
        let room = self.inbox.room();
        let count = loop {
            match self.stream.read(room) {
                Ok(count) => break count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
                Err(error) => return Err(error.into()),
            }
        };
        self.inbox.end += count;
        Ok(count > 0)
    }

    fn flush(&mut self) -> Result<(), Error> {
        let mut rest = self.outbox.as_slice();
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
                Err(error) => return Err(error.into()),
            }
        }
        self.outbox.clear();
        Ok(())
    }
}

/// Behind its length.
fn put(outbox: &mut Vec<u8>, message: &Message<'_>) -> Result<(), Error> {
    let start = outbox.len();
    outbox.extend_from_slice(&[0; 4]);
    *outbox = postcard::to_extend(message, std::mem::take(outbox))?;
    let bytes = u32::try_from(outbox.len() - start - 4)?;
    outbox[start..start + 4].copy_from_slice(&bytes.to_le_bytes());
    Ok(())
}

impl Inbox {
    fn room(&mut self) -> &mut [u8] {
        let missing = self.missing();
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.bytes.len() - self.end < missing.max(4096) {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.bytes.len() - self.end < missing.max(ROOM) {
            self.bytes.resize(self.end + missing.max(ROOM), 0);
        }
        &mut self.bytes[self.end..]
    }

    /// How many bytes of the message at the start have not come, as far as is known.
    fn missing(&self) -> usize {
        match self.bytes[self.start..self.end].first_chunk() {
            Some(length) => (4 + u32::from_le_bytes(*length) as usize).saturating_sub(self.end - self.start),
            None => 4,
        }
    }

    fn next(&mut self) -> Result<Option<Message<'_>>, Error> {
        if self.missing() > 0 {
            return Ok(None);
        }
        let start = self.start + 4;
        let Some(length) = self.bytes[self.start..].first_chunk() else { return Ok(None) };
        self.start = start + u32::from_le_bytes(*length) as usize;
        Ok(Some(postcard::from_bytes(&self.bytes[start..self.start])?))
    }
}

struct Connected {
    connection: Connection,
    server: Server,
}

impl Client for Connected {
    fn server_id(&self) -> Option<u32> {
        Some(self.server.id())
    }

    fn sequential(&mut self, work: &mut Work) -> Result<(), Error> {
        let connection = &mut self.connection;
        let mut body = vec![0; work.bytes()];
        let mut id = 0;
        while let Some(mark) = work.begin() {
            body.fill(mark);
            id += 1;
            put(&mut connection.outbox, &Message::Call { id, body: &body })?;
            connection.flush()?;
            loop {
                if !connection.receive()? {
                    return Err("the server is gone".into());
                }
                match connection.inbox.next()? {
                    Some(Message::Call { id: found, body }) if found == id => break work.end(body)?,
                    Some(other) => return Err(format!("{other:?} in answer to call {id}").into()),
                    None => {}
                }
            }
        }
        Ok(())
    }

    fn in_flight(&mut self, work: &mut Work) -> Result<bool, Error> {
        let connection = &mut self.connection;
        let mut body = vec![0; work.bytes()];
        let (mut open, mut id) = (0, 0);
        loop {
            while open < work.depth() {
                let Some(mark) = work.begin() else { break };
                body.fill(mark);
                id += 1;
                put(&mut connection.outbox, &Message::Call { id, body: &body })?;
                open += 1;
            }
            if open == 0 {
                return Ok(true);
            }
            connection.flush()?;
            if !connection.receive()? {
                return Err("the server is gone".into());
            }
            while let Some(message) = connection.inbox.next()? {
                let Message::Call { body, .. } = message else { return Err("no reply".into()) };
                work.end(body)?;
                open -= 1;
            }
        }
    }

    fn one_way(&mut self, work: &mut Work) -> Result<bool, Error> {
        let connection = &mut self.connection;
        let mut body = vec![0; work.bytes()];
        while let Some(mark) = work.begin() {
            body.fill(mark);
            put(&mut connection.outbox, &Message::Item(&body))?;
            connection.flush()?;
        }
        put(&mut connection.outbox, &Message::Sum(0))?;
        connection.flush()?;
        while connection.receive()? {
            if let Some(Message::Sum(sum)) = connection.inbox.next()? {
                work.settle(sum)?;
                return Ok(true);
            }
        }
        Err("the server is gone".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_wherever_reads_end() {
        let mut sent = Vec::new();
        for bytes in [0, 1, 300, 70_000] {
            put(&mut sent, &Message::Item(&vec![7; bytes])).unwrap();
        }
        for step in [1, 5, 4096, ROOM] {
            let (mut inbox, mut found) = (Inbox::default(), Vec::new());
            for part in sent.chunks(step) {
                inbox.room()[..part.len()].copy_from_slice(part);
                inbox.end += part.len();
                while let Some(Message::Item(body)) = inbox.next().unwrap() {
                    found.push(body.len());
                }
            }
            assert_eq!(found, [0, 1, 300, 70_000]);
        }
    }
}
