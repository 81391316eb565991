//! A plugin's program while it serves.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use rapace_core::socket::Socket;
use rapace_session::SessionEnd;
use thiserror::Error;

use crate::attach::{AttachError, PROTOCOL_VARIABLE, Plugin, ServeError, inherited_socket, joined_socket, outcome};
use crate::ending::Ending;
use crate::guardian::{Guardian, OwnProcess, Ward};
use crate::life::Life;
use crate::lifecycle::Lifecycle;
use crate::program::PluginMain;
use crate::setup::initializer;

/// Names the socket of a host to join, as `--attach` does.
const ATTACH_VARIABLE: &str = "RAPACE_ATTACH";

/// How a plugin's program ended badly.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MainError {
    /// It has no session.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// Its session ended, and the host did not close it.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A service has a method that hosts call for other ends.
    #[error("{method} has the id {id}, which is of the life of plugins")]
    OwnMethod {
        /// The method.
        method: String,
        /// Its id.
        id: u32,
    },
    /// A background task panicked.
    #[error("a background task panicked")]
    Background,
    /// The operating system refused.
    #[error("cannot {operation}: {error}")]
    Os {
        /// What was tried.
        operation: &'static str,
        /// Why not.
        error: std::io::Error,
    },
}

/// Serves as the program of this process.
pub(crate) fn serve_process<C: Send + Sync + 'static>(
    main: PluginMain<C>,
    config: Option<String>,
    attach: Option<PathBuf>,
    hint: &str,
) -> Result<(), MainError> {
    main.check()?;
    // Who was started by a host keeps to it: the variable may be meant for the host.
    let by_variable = || std::env::var_os(ATTACH_VARIABLE).filter(|_| std::env::var_os(PROTOCOL_VARIABLE).is_none());
    let path = attach.or_else(|| by_variable().map(PathBuf::from));
    let socket = match &path {
        Some(path) => joined_socket(path)?,
        None => inherited_socket(&main.config.name, hint)?,
    };
    let process = OwnProcess::new(socket.as_fd(), main.times.grace).map_err(os("watch the socket"))?;
    serve(main, socket, config, Some(process), path)
}

/// Serves over a socket, in a process that has other things to do.
pub(crate) fn serve_over<C: Send + Sync + 'static>(main: PluginMain<C>, socket: Socket) -> Result<(), MainError> {
    main.check()?;
    serve(main, socket, None, None, None)
}

fn serve<C: Send + Sync + 'static>(
    main: PluginMain<C>,
    socket: Socket,
    given: Option<String>,
    process: Option<OwnProcess>,
    joined: Option<PathBuf>,
) -> Result<(), MainError> {
    let PluginMain { config, services, stateful, steps, reader, times, threads, runtime, .. } = main;
    let name = config.name.clone();
    // Half of what the guardian gives: it is to end before that.
    let keeper = runtime.start(&name, times.grace / 2)?;
    let context = keeper.context().clone();
    // What the program has made is dropped within it, too.
    let _within = context.enter();
    let life = Arc::new(Life::new(context.clone(), joined.is_some()));
    let ending = Arc::new(Ending::new(&name, &life, times.stop));
    let initialize = initializer(steps, reader, given, Arc::clone(&life), Arc::clone(&ending));
    let lifecycle = Lifecycle::new(&life, &ending, services, stateful, initialize);
    let plugin = Plugin::open(socket, config, &life.host, lifecycle)?;
    context.take_handlers(plugin.session());
    if let Some(path) = &joined {
        ending.say(&format!("joined the host {} at {}", plugin.session().peer().name, path.display()));
    }
    let ward = Ward { name, life: Arc::clone(&life), ending: Arc::clone(&ending), idle: times.idle, process };
    let guardian = Guardian::start(ward).map_err(os("start the guardian"))?;
    let end = serve_with(&plugin, threads.get());
    ending.wind_down(0);
    ending.join();
    life.close_log();
    let failure = ending.failure();
    if joined.is_some() {
        ending.say(&format!("the session has ended: {end}"));
    }
    drop(plugin);
    keeper.end();
    drop(guardian);
    match failure {
        Some(_) => Err(MainError::Background),
        None => Ok(outcome(end)?),
    }
}

/// Serves on so many threads, of which this is one.
fn serve_with(plugin: &Plugin, threads: usize) -> Arc<SessionEnd> {
    thread::scope(|scope| {
        for _ in 1..threads {
            // Without it there are fewer.
            let _ =
                thread::Builder::new().name("rapace-serve".to_owned()).spawn_scoped(scope, || plugin.session().serve());
        }
        plugin.session().serve()
    })
}

fn os(operation: &'static str) -> impl FnOnce(std::io::Error) -> MainError {
    move |error| MainError::Os { operation, error }
}
