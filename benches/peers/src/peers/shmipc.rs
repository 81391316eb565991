//! shmipc: streams of bytes in shared memory, whose peers wake each other through a Unix socket. Behind its length and its
//! purpose, each payload lies in one slice of the memory, where it is written and read.

use std::cell::{Cell, RefCell};
use std::os::unix::net::SocketAddr;
use std::path::Path;

use futures::future::try_join_all;
use race_library::sum;
use shmipc::Listener;
use shmipc::buffer::BufferReader;
use shmipc::config::{Config, SizePercentPair};
use shmipc::consts::MemMapType;
use shmipc::session::{SessionManager, SessionManagerConfig};
use shmipc::stream::Stream;
use shmipc::transport::{DefaultUnixConnect, DefaultUnixListen};
use tokio::runtime::Runtime;

use crate::Error;
use crate::asynchronous::runtime;
use crate::peer::{Client, Peer};
use crate::server::{Server, ready};
use crate::work::Work;

pub(super) struct Shmipc;

const NAME: &str = "shmipc";

/// Length and purpose, before each payload.
const PREFIX: usize = 8;
const ECHO: u32 = 0;
const SUM: u32 = 1;

/// How many payloads one way are under way at a time: more than the memory holds would end in the socket, for good.
const ONE_WAY_DEPTH: usize = 8;

/// As in its own benchmarks: slices that fit the payloads.
fn config(place: &Path) -> Result<Config, Error> {
    let slice = |bytes: u32, percent| SizePercentPair { size: bytes + 256, percent };
    let mut config = SessionManagerConfig::new();
    let found = config.config_mut();
    found.mem_map_type = MemMapType::MemMapTypeMemFd;
    found.queue_cap = 65536;
    found.share_memory_buffer_cap = 256 << 20;
    found.buffer_slice_sizes = vec![slice(1 << 20, 70), slice(64 << 10, 20), slice(4 << 10, 10)];
    found.share_memory_path_prefix = place.join("buffer").to_str().ok_or("a path that is no text")?.to_owned();
    Ok(config.config().clone())
}

fn address(place: &Path) -> Result<SocketAddr, Error> {
    Ok(SocketAddr::from_pathname(place.join("socket"))?)
}

impl Peer for Shmipc {
    fn name(&self) -> &'static str {
        NAME
    }

    fn modes(&self) -> &'static [&'static str] {
        &["stream"]
    }

    fn crates(&self) -> &'static [&'static str] {
        &["shmipc"]
    }

    fn start(&self, mode: &str, place: &Path) -> Result<Box<dyn Client>, Error> {
        let server = Server::start(NAME, mode, place)?;
        let runtime = runtime()?;
        let config = SessionManagerConfig::new().with_config(config(place)?).with_session_num(1);
        let sessions = runtime.block_on(SessionManager::new(config, DefaultUnixConnect, address(place)?))?;
        let stream = runtime.block_on(async { sessions.get_stream() })?;
        Ok(Box::new(Connected { stream, sessions, runtime, server }))
    }

    fn serve(&self, _mode: &str, place: &Path) -> Result<(), Error> {
        runtime()?.block_on(async {
            let mut listener = Listener::new(DefaultUnixListen, address(place)?, config(place)?).await?;
            ready()?;
            loop {
                let stream = listener.accept().await?;
                // A stream ends with an error.
                tokio::spawn(async move { serve(stream).await.is_ok() });
            }
        })
    }
}

async fn serve(mut stream: Stream) -> Result<(), Error> {
    loop {
        let (bytes, purpose) = prefix(&stream.read_exact_bytes(PREFIX).await?)?;
        let body = stream.read_exact_bytes(bytes).await?.into_bytes();
        let sum = sum(&body).to_le_bytes();
        match purpose {
            ECHO => write(&mut stream, ECHO, bytes, |reply| reply.copy_from_slice(&body))?,
            _ => write(&mut stream, SUM, sum.len(), |reply| reply.copy_from_slice(&sum))?,
        }
        drop(body);
        stream.recv_buf().release_previous_read();
        stream.flush(false).await?;
    }
}

fn prefix(bytes: &[u8]) -> Result<(usize, u32), Error> {
    let (length, purpose) = bytes.split_first_chunk().ok_or("no length")?;
    Ok((u32::from_le_bytes(*length) as usize, u32::from_le_bytes(purpose.try_into()?)))
}

/// Writes a payload where the other side will read it.
fn write(stream: &mut Stream, purpose: u32, bytes: usize, fill: impl FnOnce(&mut [u8])) -> Result<(), Error> {
    let place = stream.reserve(PREFIX + bytes)?;
    let (prefix, body) = place.split_at_mut(PREFIX);
    prefix[..4].copy_from_slice(&u32::try_from(bytes)?.to_le_bytes());
    prefix[4..].copy_from_slice(&purpose.to_le_bytes());
    fill(body);
    Ok(())
}

struct Connected {
    stream: Stream,
    sessions: SessionManager<DefaultUnixConnect>,
    runtime: Runtime,
    server: Server,
}

/// One call after the other, on this stream; others may do the same work on theirs.
async fn calls(
    stream: &mut Stream,
    purpose: u32,
    work: &RefCell<&mut Work>,
    end: impl Fn(&mut Work, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let bytes = work.borrow().bytes();
    loop {
        let Some(mark) = work.borrow_mut().begin() else { return Ok(()) };
        write(stream, purpose, bytes, |body| body.fill(mark))?;
        stream.flush(false).await?;
        let (found, _) = prefix(&stream.read_exact_bytes(PREFIX).await?)?;
        let reply = stream.read_exact_bytes(found).await?;
        end(&mut work.borrow_mut(), &reply)?;
        drop(reply);
        stream.release_read_and_reuse();
    }
}

impl Connected {
    /// Calls on so many streams at a time.
    fn at_a_time(
        &self,
        depth: usize,
        purpose: u32,
        work: &mut Work,
        end: impl Fn(&mut Work, &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let work = RefCell::new(work);
        self.runtime.block_on(async {
            let mut streams = (0..depth).map(|_| self.sessions.get_stream()).collect::<Result<Vec<_>, _>>()?;
            try_join_all(streams.iter_mut().map(|stream| calls(stream, purpose, &work, &end))).await?;
            for stream in &mut streams {
                stream.close().await?;
            }
            Ok(())
        })
    }
}

impl Client for Connected {
    fn server_id(&self) -> Option<u32> {
        Some(self.server.id())
    }

    fn sequential(&mut self, work: &mut Work) -> Result<(), Error> {
        let work = RefCell::new(work);
        self.runtime.block_on(calls(&mut self.stream, ECHO, &work, |work, reply| work.end(reply)))
    }

    fn in_flight(&mut self, work: &mut Work) -> Result<bool, Error> {
        self.at_a_time(work.depth(), ECHO, work, |work, reply| work.end(reply))?;
        Ok(true)
    }

    fn one_way(&mut self, work: &mut Work) -> Result<bool, Error> {
        let total = Cell::new(0u64);
        self.at_a_time(ONE_WAY_DEPTH, SUM, work, |_, reply| {
            total.set(total.get().wrapping_add(u64::from_le_bytes(reply.try_into()?)));
            Ok(())
        })?;
        work.settle(total.get())?;
        Ok(true)
    }
}
