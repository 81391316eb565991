//! The plugin's side: attach, serve, shut down.
//!
//! A plugin is a program that a host starts. [`Plugin::attach`] takes the socket that the host left in standard input,
//! shakes hands and gives the session; [`Plugin::serve`] answers the host's calls until the host is done. [`run`] makes the
//! outcome an exit code, and explains itself to whoever starts the program by hand.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use rapace_plugin::{Plugin, run};
//! use rapace_session::{Config, IncomingCall, Router};
//!
//! fn main() -> ExitCode {
//!     run(|| {
//!         let services = Router::new().method(1, |call: IncomingCall| {
//!             let loud = call.body().to_ascii_uppercase();
//!             call.reply(&loud);
//!         });
//!         let plugin = Plugin::attach(Config::new("shout", "1.0.0"), "my-host --plugin shout", services)?;
//!         Ok(plugin.serve()?)
//!     })
//! }
//! ```
//!
//! The host's lifecycle calls `initialize` (2000) and `shutdown` (2002) come to the handler like any other. A plugin that
//! has nothing to do for them need not serve them.

#![forbid(unsafe_code)]

mod attach;
mod host;
mod run;

pub use attach::{AttachError, Plugin, ServeError};
pub use host::HostHandle;
pub use run::run;
