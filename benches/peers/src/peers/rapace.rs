//! rapace.
//!
//! `raw-blocking` is `Session::call`; `raw-in-place` writes and reads payloads where they lie, in both directions, which a
//! host may do with a plugin that it trusts; `typed-blocking` is what `#[rapace::service]` makes. In these, both sides spin
//! while they wait, as the limits and all that polls do, and the segment has room for large payloads. The others have rapace's defaults: `typed-default` is
//! `typed-blocking` otherwise, `typed-tokio` the same in a tokio program, `stream` a call with a stream each way, and `host`
//! `typed-default` with a `PluginHost` in front.

mod hosted;
mod raw;
mod service;
mod stream;
mod typed;

use std::path::Path;
use std::process::Stdio;

use rapace::registry::Registry;
use rapace::socket::Socket;
use rapace::{Config, Handshake, NoService, PeerA, PeerB, Process, ReadInPlace, Role, Services, Session, WaitStrategy};

use self::service::{RaceClient, RaceServer, Server};
use crate::Error;
use crate::peer::{Client, Peer};
use crate::server::command;

pub(super) struct Rapace;

const NAME: &str = "rapace";
const RAW: &str = "raw-blocking";
const IN_PLACE: &str = "raw-in-place";
const TYPED: &str = "typed-blocking";
const DEFAULT: &str = "typed-default";
const HOST: &str = "host";
/// Where payloads of 1 MiB can lie, several at a time, for as long as the other side reads them.
const SEGMENT_BYTES: usize = 32 << 20;

impl Peer for Rapace {
    fn name(&self) -> &'static str {
        NAME
    }

    fn modes(&self) -> &'static [&'static str] {
        &[RAW, TYPED, IN_PLACE, DEFAULT, "typed-tokio", "stream", HOST]
    }

    fn polls(&self, mode: &str) -> bool {
        matches!(mode, RAW | IN_PLACE | TYPED)
    }

    fn servers_max(&self, mode: &str) -> usize {
        match mode {
            HOST => 200,
            _ if self.polls(mode) => 1,
            _ => 32,
        }
    }

    fn grows(&self, mode: &str) -> bool {
        mode == TYPED
    }

    fn crates(&self) -> &'static [&'static str] {
        &["rapace"]
    }

    fn start(&self, mode: &str, place: &Path) -> Result<Box<dyn Client>, Error> {
        if mode == HOST {
            return Ok(Box::new(hosted::load(place)?));
        }
        let session = session(mode, place)?;
        Ok(match mode {
            RAW => Box::new(raw::Raw { session }),
            IN_PLACE => Box::new(raw::InPlace { session }),
            TYPED | DEFAULT => Box::new(typed::Blocking::new(session, mode == TYPED)),
            "typed-tokio" => Box::new(typed::Tokio::new(session)?),
            _ => Box::new(stream::Streaming { session }),
        })
    }

    fn serve(&self, mode: &str, _place: &Path) -> Result<(), Error> {
        let services = Services::new().add(RaceServer::new(Server));
        let config = config("race", services.registry()?, self.wait(mode));
        if mode == HOST {
            return Ok(rapace::plugin::Plugin::attach(config, "race", services)?.serve()?);
        }
        let handshake = Handshake::<PeerB>::accept(Socket::from_stdin()?, config)?;
        let session =
            if matches!(mode, RAW | IN_PLACE) { handshake.finish(raw::handle)? } else { handshake.finish(services)? };
        service::SESSION.get_or_init(|| session).serve();
        Ok(())
    }
}

impl Rapace {
    fn wait(&self, mode: &str) -> WaitStrategy {
        if self.polls(mode) { WaitStrategy::Spin } else { WaitStrategy::default() }
    }
}

fn config(name: &str, registry: Registry, wait: WaitStrategy) -> Config {
    let mut config = Config { registry, wait, ..Config::new(name, env!("CARGO_PKG_VERSION")) };
    if wait == WaitStrategy::Spin {
        config.geometry.segment_bytes = SEGMENT_BYTES;
    }
    config
}

/// A session with a server of its own. Dropped, it ends it.
fn session(mode: &str, place: &Path) -> Result<Session<PeerA>, Error> {
    let (here, there) = Socket::pair()?;
    let mut command = command(NAME, mode, place)?;
    let child = command.stdin(Stdio::from(there.into_fd())).stdout(Stdio::null()).spawn()?;
    drop(command);
    let read_in_place = if mode == IN_PLACE { ReadInPlace::OfAnyPeer } else { ReadInPlace::default() };
    let config = Config { read_in_place, ..client_config(Rapace.wait(mode))? };
    Ok(Handshake::<PeerA>::offer(here, Some(Process::new(child)?), config)?.finish(NoService)?)
}

fn client_config(wait: WaitStrategy) -> Result<Config, Error> {
    Ok(config("race-client", Services::new().calls::<RaceClient>().registry()?, wait))
}

/// How often this side of a session has woken the other or gone to sleep: a system call each.
fn bells_and_sleeps<R: Role>(session: &Session<R>) -> u64 {
    let link = session.stats().link;
    link.bells_sent + link.sleeps
}
