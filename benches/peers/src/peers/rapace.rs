//! rapace, with its defaults.
//!
//! `raw-blocking` is `Session::call`; `raw-in-place` writes and reads payloads where they lie, in both directions, which a
//! host may do with a plugin that it trusts; `typed-blocking` and `typed-tokio` are what `#[rapace::service]` makes; `stream`
//! is a call with a stream each way; `host` is `typed-blocking` with a `PluginHost` in front.

mod hosted;
mod raw;
mod service;
mod stream;
mod typed;

use std::path::Path;
use std::process::Stdio;

use rapace::socket::Socket;
use rapace::{Config, Handshake, NoService, PeerA, PeerB, Process, ReadInPlace, Services, Session};

use self::service::{RaceClient, RaceServer, Server};
use crate::Error;
use crate::peer::{Client, Peer};
use crate::server::command;

pub(super) struct Rapace;

const NAME: &str = "rapace";
const RAW: &str = "raw-blocking";
const IN_PLACE: &str = "raw-in-place";
const HOST: &str = "host";

impl Peer for Rapace {
    fn name(&self) -> &'static str {
        NAME
    }

    fn modes(&self) -> &'static [&'static str] {
        &[RAW, IN_PLACE, "typed-blocking", "typed-tokio", "stream", HOST]
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
            "typed-blocking" => Box::new(typed::Blocking::new(session)),
            "typed-tokio" => Box::new(typed::Tokio::new(session)?),
            _ => Box::new(stream::Streaming { session }),
        })
    }

    fn serve(&self, mode: &str, _place: &Path) -> Result<(), Error> {
        let services = Services::new().add(RaceServer::new(Server));
        let config = Config { registry: services.registry()?, ..Config::new("race", env!("CARGO_PKG_VERSION")) };
        match mode {
            HOST => rapace::plugin::Plugin::attach(config, "race", services)?.serve()?,
            RAW | IN_PLACE => {
                drop(Handshake::<PeerB>::accept(Socket::from_stdin()?, config)?.finish(raw::handle)?.serve())
            }
            _ => drop(Handshake::<PeerB>::accept(Socket::from_stdin()?, config)?.finish(services)?.serve()),
        }
        Ok(())
    }
}

/// A session with a server of its own. Dropped, it ends it.
fn session(mode: &str, place: &Path) -> Result<Session<PeerA>, Error> {
    let (here, there) = Socket::pair()?;
    let mut command = command(NAME, mode, place)?;
    let child = command.stdin(Stdio::from(there.into_fd())).stdout(Stdio::null()).spawn()?;
    drop(command);
    let read_in_place = if mode == IN_PLACE { ReadInPlace::OfAnyPeer } else { ReadInPlace::default() };
    let config = Config { read_in_place, ..client_config()? };
    Ok(Handshake::<PeerA>::offer(here, Some(Process::new(child)?), config)?.finish(NoService)?)
}

fn client_config() -> Result<Config, Error> {
    let registry = Services::new().calls::<RaceClient>().registry()?;
    Ok(Config { registry, ..Config::new("race-client", env!("CARGO_PKG_VERSION")) })
}
