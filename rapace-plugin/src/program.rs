//! A plugin's program, by a builder.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

use rapace_core::socket::Socket;
use rapace_service::intercept::Interceptor;
use rapace_service::{Described, Later, Service, Services};
use rapace_session::{Config, Status};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::arguments::Arguments;
use crate::background::block_on;
use crate::capabilities::{Capabilities, services};
use crate::configuration::Reader;
use crate::context::PluginContext;
use crate::lifecycle::{OWN_METHODS, Stateful};
use crate::run::{STARTED_BY_HAND, run};
use crate::runtime::Wanted;
use crate::serving::{MainError, serve_over, serve_process};
use crate::setup::{Made, SetupError, Step};

/// The `main` of a plugin. See the [crate's documentation](crate).
///
/// What is given to it as a closure over a [`PluginContext`] runs when the host calls `initialize`, in this order, on the
/// thread that serves. It may call the host. `C` is the type of the configuration.
#[must_use = "it does nothing until it is run"]
pub struct PluginMain<C = ()> {
    pub(crate) config: Config,
    hint: Option<String>,
    pub(crate) services: Services,
    pub(crate) stateful: Stateful,
    pub(crate) steps: Vec<Step<C>>,
    contracts: BTreeMap<String, Vec<String>>,
    pub(crate) reader: Reader<C>,
    pub(crate) times: Times,
    pub(crate) threads: NonZeroUsize,
    pub(crate) runtime: Wanted,
}

/// How long things may take.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    pub(crate) idle: Option<Duration>,
    pub(crate) stop: Duration,
    pub(crate) grace: Duration,
}

impl PluginMain {
    /// A plugin of this name and version, which serves nothing yet.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            config: Config::new(name, version),
            hint: None,
            services: Services::new(),
            stateful: Stateful::default(),
            steps: Vec::new(),
            contracts: BTreeMap::new(),
            reader: Reader::nothing(),
            times: Times { idle: None, stop: Duration::from_secs(2), grace: Duration::from_millis(500) },
            threads: NonZeroUsize::MIN,
            runtime: Wanted::default(),
        }
    }

    /// Takes a configuration of this type as JSON: from `--config`, or else from the body of `initialize`. One that cannot
    /// be read fails `initialize` with `InvalidArgument` and the field, line and column. None at all is `{}`.
    ///
    /// What was added before sees no configuration.
    pub fn config<T>(self) -> PluginMain<T>
    where
        T: DeserializeOwned + JsonSchema + Send + Sync + 'static,
    {
        self.read_by(Reader::json())
    }

    /// Takes a configuration of any bytes, as they come.
    pub fn raw_config(self) -> PluginMain<Vec<u8>> {
        self.read_by(Reader::bytes())
    }

    fn read_by<T: Send + Sync + 'static>(self, reader: Reader<T>) -> PluginMain<T> {
        let Self { config, hint, services, stateful, steps, contracts, reader: _, times, threads, runtime } = self;
        let blind = |step: Step<()>| -> Step<T> { Box::new(move |ctx, made| step(&ctx.without_config(), made)) };
        let steps = steps.into_iter().map(blind).collect();
        PluginMain { config, hint, services, stateful, steps, contracts, reader, times, threads, runtime }
    }
}

impl<C: Send + Sync + 'static> PluginMain<C> {
    /// Serves this service, from the beginning of the session.
    pub fn serve(mut self, service: impl Service) -> Self {
        self.services = self.services.add(service);
        self
    }

    /// Serves the service that `make` gives. Its calls are refused with `FailedPrecondition` until `initialize` is done.
    pub fn serve_with<S: Service>(
        mut self,
        make: impl FnOnce(&PluginContext<C>) -> Result<S, SetupError> + Send + 'static,
    ) -> Self {
        let later = Later::new();
        self.services = self.services.add_later(&later);
        self.step(move |ctx, made| {
            let service = make(ctx)?;
            // Nobody else sets it.
            made.ready.push(Box::new(move || drop(later.set(service))));
            Ok(())
        })
    }

    /// Expects the host to serve the service of this client: both sides then compare its types.
    pub fn calls<T: Described>(mut self) -> Self {
        self.services = self.services.calls::<T>();
        self
    }

    /// Puts one more interceptor around the calls of all services.
    pub fn intercept(mut self, interceptor: impl Interceptor) -> Self {
        self.services = self.services.intercept(interceptor);
        self
    }

    /// Fulfils a contract of the host, as one of its types: e.g. `dataProcessor` as `json-processor`.
    pub fn contract(mut self, contract: impl Into<String>, kind: impl Into<String>) -> Self {
        self.contracts.entry(contract.into()).or_default().push(kind.into());
        self
    }

    /// Does this as part of `initialize`.
    pub fn setup(self, setup: impl FnOnce(&PluginContext<C>) -> Result<(), SetupError> + Send + 'static) -> Self {
        self.step(move |ctx, _| setup(ctx))
    }

    /// Runs a task beside the calls of the host, from `initialize` on, on a thread of its own: it may block. It is to end
    /// soon when the plugin is to stop. If it panics, the plugin ends, and not well.
    pub fn background<F, Fut>(self, task: F) -> Self
    where
        F: FnOnce(PluginContext<C>) -> Fut + Send + 'static,
        Fut: Future<Output = ()>,
    {
        self.step(move |ctx, made| {
            let ctx = ctx.clone();
            made.tasks.push(Box::new(move || block_on(task(ctx))));
            Ok(())
        })
    }

    /// Does this when the plugin is to stop, once, whoever ends it; behind it tasks and calls in flight are waited for.
    pub fn on_shutdown(self, deed: impl FnOnce(&PluginContext<C>) + Send + 'static) -> Self {
        self.step(move |ctx, made| {
            let ctx = ctx.clone();
            made.last_deeds.push(Box::new(move || deed(&ctx)));
            Ok(())
        })
    }

    /// Gives the state that is handed over to a successor, when the host asks for it.
    pub fn export_state(mut self, export: impl Fn(&PluginContext<C>) -> Vec<u8> + Send + Sync + 'static) -> Self {
        self.stateful.exports = true;
        self.step(move |ctx, made| {
            let ctx = ctx.clone();
            made.hand_over.export = Some(Box::new(move || export(&ctx)));
            Ok(())
        })
    }

    /// Takes the state of a predecessor, which may be of another version.
    pub fn import_state(
        mut self,
        import: impl Fn(&PluginContext<C>, &[u8]) -> Result<(), Status> + Send + Sync + 'static,
    ) -> Self {
        self.stateful.imports = true;
        self.step(move |ctx, made| {
            let ctx = ctx.clone();
            made.hand_over.import = Some(Box::new(move |state| import(&ctx, state)));
            Ok(())
        })
    }

    fn step(
        mut self,
        step: impl FnOnce(&PluginContext<C>, &mut Made) -> Result<(), SetupError> + Send + 'static,
    ) -> Self {
        self.steps.push(Box::new(step));
        self
    }

    /// Ends the plugin, in good order, when it has served no call and held no [`Work`](crate::Work) for so long since it was
    /// initialized. The host starts it again when it is needed.
    pub fn idle_timeout(mut self, time: Duration) -> Self {
        self.times.idle = Some(time);
        self
    }

    /// How long calls, work and background tasks may go on when the plugin is to stop. Default 2 s.
    pub fn stop_limit(mut self, time: Duration) -> Self {
        self.times.stop = time;
        self
    }

    /// How long the process may go on when its host is gone; then it is killed. Default 500 ms.
    pub fn grace(mut self, time: Duration) -> Self {
        self.times.grace = time;
        self
    }

    /// Serves with so many threads, for handlers that block. By default it is the one that calls [`run`](Self::run), and
    /// each more costs every call a wake-up.
    pub fn threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = threads;
        self
    }

    /// Runs the program's code within a tokio runtime, with two threads for tasks: handlers, `initialize` and the shutdown,
    /// and background tasks find tokio's timers, sockets and files there. A handler that is not ready at once becomes a task
    /// of the runtime; the calls themselves are served as they are without it.
    ///
    /// The runtime lasts until the session has ended and what was in progress is done, as [`stop_limit`](Self::stop_limit)
    /// says. Tasks that the program has left to it are dropped then; what blocks it has half of the [`grace`](Self::grace).
    ///
    /// ```no_run
    /// # use rapace_macros::service;
    /// # #[service(name = "demo.Nap", version = "1.0", provider = "plugin", crate = "rapace_service")]
    /// # trait Nap { async fn nap(&self, seconds: u64); }
    /// use std::time::Duration;
    ///
    /// use rapace_plugin::PluginMain;
    ///
    /// struct Sleeper;
    ///
    /// impl Nap for Sleeper {
    ///     async fn nap(&self, seconds: u64) {
    ///         tokio::time::sleep(Duration::from_secs(seconds)).await;
    ///     }
    /// }
    ///
    /// fn main() -> std::process::ExitCode {
    ///     PluginMain::new("sleeper", "1.0.0").serve(NapServer::new(Sleeper)).tokio().run()
    /// }
    /// ```
    #[cfg(feature = "tokio")]
    pub fn tokio(mut self) -> Self {
        self.runtime = Wanted::small();
        self
    }

    /// As [`tokio`](Self::tokio), with the runtime that `make` gives: of a builder, or one that is there. It is asked when the
    /// plugin begins to serve, and the plugin ends the runtime. One without threads of its own is driven by a thread of the
    /// plugin.
    #[cfg(feature = "tokio")]
    pub fn tokio_runtime(
        mut self,
        make: impl FnOnce() -> std::io::Result<tokio::runtime::Runtime> + Send + 'static,
    ) -> Self {
        self.runtime = Wanted::new(make);
        self
    }

    /// Changes the session's configuration: its limits, times and the like.
    pub fn session_config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// The command that runs a host with this plugin: people who start the plugin by hand are told it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Does what the program's arguments say: it serves the host that has started it, or with `--attach PATH` (or
    /// `RAPACE_ATTACH`) one that listens there, until the session ends; or says what it is to whoever asks by
    /// `capabilities`, and how it is used by `--help`. `--config` takes the place of what the host would give.
    ///
    /// To be called before anything else reads standard input or handles signals.
    #[must_use]
    pub fn run(self) -> ExitCode {
        self.run_with(std::env::args_os().skip(1))
    }

    /// The same with these arguments, for programs that have some of their own.
    #[must_use]
    pub fn run_with(self, arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
        match Arguments::parse(arguments) {
            Ok(Arguments::Serve { config, attach }) => {
                let hint = self.hint_or_default();
                run(|| {
                    serve_process(self, config, attach, &hint).map_err(|error| match error {
                        // Its exit code may be another.
                        MainError::Attach(error) => error.into(),
                        other => other.into(),
                    })
                })
            }
            Ok(Arguments::Capabilities) => run(|| {
                let mut line = serde_json::to_string(&self.capabilities()?)?;
                line.push('\n');
                Ok(std::io::stdout().write_all(line.as_bytes())?)
            }),
            Ok(Arguments::Help) => run(|| Ok(std::io::stdout().write_all(self.usage().as_bytes())?)),
            Err(error) => {
                let Config { name, version, .. } = &self.config;
                // Nobody may read it.
                let _ = writeln!(std::io::stderr(), "{name} {version}: {error}; see {} --help", program());
                ExitCode::from(STARTED_BY_HAND)
            }
        }
    }

    /// Serves a host over this socket on this thread until the session ends. It touches nothing of the process: not its
    /// signals, its arguments or its life.
    ///
    /// # Errors
    ///
    /// See [`MainError`].
    pub fn run_on(self, socket: Socket) -> Result<(), MainError> {
        serve_over(self, socket)
    }

    fn capabilities(&self) -> Result<serde_json::Value, Box<dyn Error>> {
        self.check()?;
        let registry = self.stateful.described(&self.services)?;
        let served: BTreeSet<&str> = self.services.methods().map(|method| method.service).collect();
        let capabilities = Capabilities {
            name: &self.config.name,
            version: &self.config.version,
            protocol: Capabilities::PROTOCOL,
            services: services(&registry, &served),
            contracts: &self.contracts,
            config_schema: (self.reader.schema)(),
        };
        Ok(serde_json::to_value(capabilities)?)
    }

    /// Whether the services leave alone what is the host's to call.
    pub(crate) fn check(&self) -> Result<(), MainError> {
        let own = |id| OWN_METHODS.contains(&id);
        match self.services.methods().find(|method| own(method.id)) {
            Some(method) => Err(MainError::OwnMethod { method: method.full_name().to_string(), id: method.id }),
            None => Ok(()),
        }
    }

    fn hint_or_default(&self) -> String {
        self.hint.clone().unwrap_or_else(|| format!("{} --help", program()))
    }

    fn usage(&self) -> String {
        let Config { name, version, .. } = &self.config;
        let (program, hint) = (program(), self.hint.as_ref().map(|hint| format!(", e.g. {hint}")));
        format!(
            "{name} {version} is a rapace plugin: a host program starts it{}. By hand:\n\
             \x20 {program} --attach SOCKET [--config JSON]   joins a host that listens there, e.g. from a debugger\n\
             \x20 {program} capabilities   says what it serves and how it is configured, as JSON\n",
            hint.unwrap_or_default()
        )
    }
}

/// As which this program was started.
fn program() -> String {
    std::env::args_os().next().map_or_else(|| "PROGRAM".to_owned(), |name| name.to_string_lossy().into_owned())
}

impl<C> fmt::Debug for PluginMain<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginMain")
            .field("name", &self.config.name)
            .field("version", &self.config.version)
            .field("services", &self.services)
            .finish_non_exhaustive()
    }
}
