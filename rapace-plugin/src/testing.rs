//! A plugin in the process of its test, against a host that is not there.
//!
//! ```
//! # use rapace_macros::service;
//! # #[service(name = "demo.Shout", version = "1.0", provider = "plugin", crate = "rapace_service")]
//! # trait Shout { async fn shout(&self, text: &str) -> String; }
//! # struct Loud;
//! # impl Shout for Loud { async fn shout(&self, text: &str) -> String { text.to_uppercase() } }
//! use rapace_plugin::PluginMain;
//! use rapace_plugin::testing::FakeHost;
//!
//! let plugin = FakeHost::new().start(PluginMain::new("shout", "1.0.0").serve(ShoutServer::new(Loud)));
//! assert_eq!(plugin.initialized(), Ok(()));
//! assert_eq!(ShoutClient::new(&plugin).blocking().shout("hello").unwrap(), "HELLO");
//! ```
//!
//! The session is a real one, over shared memory. What is of a process, such as signals and the end behind a host that is
//! killed, is left out.

use std::fmt;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rapace_core::socket::Socket;
use rapace_session::{
    AsCaller, CallError, CallOptions, Caller, Code, Config, Handler, Handshake, HandshakeError, LIFECYCLE_METHODS,
    NoService, PeerA, PeerB, Session, Status,
};
use serde::Serialize;

use crate::program::PluginMain;
use crate::serving::MainError;

/// A host that runs one plugin, in a test.
#[derive(Debug)]
#[must_use = "it does nothing until it starts a plugin"]
pub struct FakeHost<H = NoService> {
    services: H,
    config: Config,
    initialize: Vec<u8>,
}

/// How long a plugin may take for each of `initialize`, `shutdown` and its end, by default: machines may be under load.
const PATIENCE: Duration = Duration::from_secs(60);

/// A plugin that runs on a thread of its test.
///
/// Dropped, it is shut down; a plugin that does not end well then, or in time, is a panic.
pub struct TestPlugin {
    session: Session<PeerA>,
    initialized: Result<(), CallError>,
    patience: Duration,
    /// None once it is told of.
    outcome: Option<Receiver<Result<(), MainError>>>,
    threads: Vec<JoinHandle<()>>,
}

impl FakeHost {
    /// A host without services, which gives no configuration.
    pub fn new() -> Self {
        let config = Config::new("a test's host", env!("CARGO_PKG_VERSION"));
        Self { services: NoService, config, initialize: Vec::new() }
    }
}

impl Default for FakeHost {
    fn default() -> Self {
        Self::new()
    }
}

impl<H: Handler> FakeHost<H> {
    /// Serves the plugin's calls.
    pub fn services<T: Handler>(self, services: T) -> FakeHost<T> {
        let Self { services: _, config, initialize } = self;
        FakeHost { services, config, initialize }
    }

    /// Gives the plugin this configuration, as JSON.
    ///
    /// # Panics
    ///
    /// When it has no form in JSON.
    pub fn config(self, config: &impl Serialize) -> Self {
        match serde_json::to_vec(config) {
            Ok(json) => self.raw_config(json),
            Err(error) => panic!("the configuration has no form in JSON: {error}"),
        }
    }

    /// Gives the plugin these bytes as its configuration.
    pub fn raw_config(mut self, config: impl Into<Vec<u8>>) -> Self {
        self.initialize = config.into();
        self
    }

    /// Changes the configuration of the host's session.
    pub fn session_config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Runs a plugin, and calls its `initialize`.
    ///
    /// # Panics
    ///
    /// When there is no session.
    pub fn start<C: Send + Sync + 'static>(self, plugin: PluginMain<C>) -> TestPlugin {
        match self.try_start(plugin) {
            Ok(plugin) => plugin,
            Err(error) => panic!("the plugin has no session: {error}"),
        }
    }

    /// Runs a plugin, and calls its `initialize`.
    ///
    /// # Errors
    ///
    /// When there is no session.
    pub fn try_start<C: Send + Sync + 'static>(self, plugin: PluginMain<C>) -> Result<TestPlugin, HandshakeError> {
        let Self { services, config, initialize } = self;
        let (ours, theirs) = Socket::pair()?;
        let (tell, outcome) = channel();
        let mut threads = vec![spawn("plugin", move || {
            // A test that has failed does not listen.
            let _ = tell.send(plugin.run_on(theirs));
        })?];
        let session = Handshake::<PeerA>::offer(ours, None, config)?.finish(services)?;
        let attendant = session.clone();
        threads.push(spawn("host", move || drop(attendant.serve()))?);
        let options = CallOptions::new().deadline(PATIENCE);
        let initialized = session.call_lifecycle(LIFECYCLE_METHODS[0], &initialize, &options).map(drop);
        Ok(TestPlugin { session, initialized, patience: PATIENCE, outcome: Some(outcome), threads })
    }
}

impl TestPlugin {
    /// How `initialize` was answered.
    ///
    /// # Errors
    ///
    /// As it was.
    pub fn initialized(&self) -> Result<(), CallError> {
        self.initialized.clone()
    }

    /// Gives it so long for `shutdown`, and for its end. Default 60 s.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The host's session with it.
    #[must_use]
    pub fn session(&self) -> &Session<PeerA> {
        &self.session
    }

    /// Shuts it down: the `shutdown` call, then the end of the session. Says how it ended.
    ///
    /// # Errors
    ///
    /// As [`PluginMain::run_on`].
    ///
    /// # Panics
    ///
    /// When the plugin does not answer, or does not end.
    pub fn shut_down(mut self) -> Result<(), MainError> {
        let answer = self.call_shutdown();
        if let Err(error) = answer {
            panic!("shutdown was not answered: {error}");
        }
        self.end()
    }

    /// Waits for it to end by itself. Says how it ended.
    ///
    /// # Errors
    ///
    /// As [`PluginMain::run_on`].
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub fn wait(mut self) -> Result<(), MainError> {
        self.outcome()
    }

    fn call_shutdown(&self) -> Result<(), CallError> {
        let options = CallOptions::new().deadline(self.patience);
        match self.session.call_lifecycle(LIFECYCLE_METHODS[1], b"", &options) {
            // It has ended by itself, or is about to.
            Err(CallError::SessionEnded { .. } | CallError::Refused { .. }) => Ok(()),
            answer => answer.map(drop),
        }
    }

    fn end(&mut self) -> Result<(), MainError> {
        self.session.close(&Status::new(Code::Unavailable, "the test is over"));
        self.outcome()
    }

    fn outcome(&mut self) -> Result<(), MainError> {
        let Some(outcome) = self.outcome.take() else { return Ok(()) };
        let outcome = match outcome.recv_timeout(self.patience) {
            Ok(outcome) => outcome,
            Err(error) => panic!("the plugin has not ended within {:?}: {error}", self.patience),
        };
        self.session.close(&Status::new(Code::Unavailable, "the plugin has ended"));
        for thread in self.threads.drain(..) {
            assert!(thread.join().is_ok(), "a thread of the plugin's test panicked");
        }
        outcome
    }
}

impl AsCaller for TestPlugin {
    fn as_caller(&self) -> Caller {
        self.session.caller()
    }
}

impl Drop for TestPlugin {
    fn drop(&mut self) {
        if self.outcome.is_none() {
            return;
        }
        if thread::panicking() {
            // The plugin's thread ends by that, and nobody waits for it.
            return self.session.close(&Status::new(Code::Aborted, "the test has failed"));
        }
        if let Err(error) = self.call_shutdown() {
            panic!("shutdown was not answered: {error}");
        }
        if let Err(error) = self.end() {
            panic!("the plugin has not ended well: {error}");
        }
    }
}

impl fmt::Debug for TestPlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestPlugin").field("session", &self.session).field("initialized", &self.initialized).finish()
    }
}

/// Two ends of a session in this process. Nobody serves them yet.
///
/// # Errors
///
/// As a handshake's, on either side.
pub fn pair(
    (host, host_serves): (Config, impl Handler),
    (plugin, plugin_serves): (Config, impl Handler),
) -> Result<(Session<PeerA>, Session<PeerB>), HandshakeError> {
    let (ours, theirs) = Socket::pair()?;
    thread::scope(|scope| {
        let accept = || Handshake::<PeerB>::accept(theirs, plugin)?.finish(plugin_serves);
        let accepted = thread::Builder::new().name("plugin".to_owned()).spawn_scoped(scope, accept)?;
        let host = Handshake::<PeerA>::offer(ours, None, host)?.finish(host_serves);
        let plugin = accepted.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((host?, plugin?))
    })
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}
