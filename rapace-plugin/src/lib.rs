//! The plugin's side: attach, serve, shut down.
//!
//! A plugin is a program that a host starts. [`PluginMain`] is its `main`:
//!
//! ```no_run
//! # use rapace_macros::service;
//! # #[service(name = "demo.Shout", version = "1.0", provider = "plugin", crate = "rapace_service")]
//! # trait Shout { async fn shout(&self, text: &str) -> String; }
//! # struct Loud;
//! # impl Shout for Loud { async fn shout(&self, text: &str) -> String { text.to_uppercase() } }
//! use rapace_plugin::PluginMain;
//!
//! fn main() -> std::process::ExitCode {
//!     PluginMain::new("shout", "1.0.0").serve(ShoutServer::new(Loud)).run()
//! }
//! ```
//!
//! It attaches, serves until the host is done, stops in good order on `shutdown`, SIGTERM or SIGINT, and ends with its host,
//! whatever its handlers are at. `PROGRAM capabilities` says what it serves; `PROGRAM --attach SOCKET` joins a host that
//! runs, as from a debugger. What needs a configuration, or the host, is made when the host calls `initialize`:
//!
//! ```no_run
//! # use rapace_macros::service;
//! # #[service(name = "demo.Greet", version = "1.0", provider = "plugin", crate = "rapace_service")]
//! # trait Greet { async fn greet(&self, name: &str) -> String; }
//! use std::time::Duration;
//!
//! use rapace_plugin::schemars::{self, JsonSchema};
//! use rapace_plugin::{PluginContext, PluginMain};
//! use serde::Deserialize;
//!
//! #[derive(Clone, Deserialize, JsonSchema)]
//! struct Manners {
//!     greeting: String,
//!     every_seconds: u64,
//! }
//!
//! struct Greeter(PluginContext<Manners>);
//!
//! impl Greet for Greeter {
//!     async fn greet(&self, name: &str) -> String {
//!         format!("{}, {name}", self.0.config().greeting)
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     PluginMain::new("greeter", "1.0.0")
//!         .config::<Manners>()
//!         .serve_with(|ctx| Ok(GreetServer::new(Greeter(ctx.clone()))))
//!         .background(|ctx| async move {
//!             let pause = Duration::from_secs(ctx.config().every_seconds);
//!             while !ctx.wait_stopped_for(pause) {
//!                 println!("{} to all", ctx.config().greeting);
//!             }
//!         })
//!         .run()
//! }
//! ```
//!
//! With the feature `tokio`, `PluginMain::tokio` runs all of that code within a tokio runtime. [`testing`] runs such a plugin in
//! a test's own process.
//!
//! Below it is [`Plugin`], for programs that serve a session by themselves: [`Plugin::attach`] takes the socket that the host
//! left in standard input, shakes hands and gives the session; [`Plugin::serve`] answers the host's calls until the host is
//! done. [`run`] makes the outcome an exit code, and explains itself to whoever starts the program by hand. The host's
//! lifecycle calls `initialize` (2000) and `shutdown` (2002) come to its handler like any other; one that has nothing to do
//! for them need not serve them.

#![forbid(unsafe_code)]

mod attach;
mod hangup;
mod host;
mod run;

mod context;
mod program;
#[cfg_attr(not(feature = "tokio"), path = "runtime/none.rs")]
mod runtime;
mod serving;
mod setup;
pub mod testing;

mod arguments;
mod background;
mod capabilities;
mod configuration;
mod ending;
mod guardian;
mod life;
mod lifecycle;
mod stop;

#[cfg(feature = "tracing")]
mod log;

pub use attach::{AttachError, Plugin, ServeError};
pub use context::{PluginContext, Work};
pub use host::HostHandle;
#[cfg(feature = "tracing")]
pub use log::LogLayer;
pub use program::PluginMain;
pub use run::run;
/// The derive macro for the types of configurations, of the version that this crate wants.
pub use schemars;
pub use serving::MainError;
pub use setup::SetupError;
pub use stop::Stopped;
