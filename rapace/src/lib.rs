//! Calls plugins in other processes as if they were libraries, over shared memory.
//!
//! A host starts each plugin as a process with a shared-memory segment of its own. A call is one 64-byte descriptor each
//! way. A plugin that crashes, hangs or lies costs its host one error value.
//!
//! The plugin:
//!
//! ```no_run
//! use rapace::prelude::*;
//!
//! fn main() -> std::process::ExitCode {
//!     rapace::plugin::run(|| {
//!         let services = Router::new().method(1, |call: IncomingCall| {
//!             let loud = call.body().to_ascii_uppercase();
//!             call.reply(&loud);
//!         });
//!         let plugin = Plugin::attach(Config::new("shout", "1.0.0"), "my-host", services)?;
//!         Ok(plugin.serve()?)
//!     })
//! }
//! ```
//!
//! The host:
//!
//! ```no_run
//! use rapace::prelude::*;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let host = PluginHost::builder(Config::new("my-host", "1.0.0")).build()?;
//!     let shout = host.load(PluginSpec::new("shout", "target/debug/shout"))?;
//!     let reply = shout.call(1, b"hello", &CallOptions::new())?;
//!     println!("{}", String::from_utf8_lossy(&reply.body));
//!     host.shutdown();
//!     Ok(())
//! }
//! ```
//!
//! Peers that did not start each other meet at a [`Listener`](socket::Listener), and go through a [`Handshake`] to a
//! [`Session`]. The services of both sides are described by a [`Registry`](registry::Registry), which peers compare when
//! they meet. The repository's `examples/` has whole programs.

#![forbid(unsafe_code)]

#[doc(inline)]
pub use rapace_core::{GeometryConfig, GeometryError};
#[cfg(feature = "host")]
#[doc(inline)]
pub use rapace_host as host;
#[cfg(feature = "plugin")]
#[doc(inline)]
pub use rapace_plugin as plugin;
#[doc(inline)]
pub use rapace_registry as registry;
#[doc(inline)]
pub use rapace_session::*;

/// Where peers meet.
pub mod socket {
    #[doc(inline)]
    pub use rapace_core::socket::{Listener, Socket, SocketError};
}

/// What most programs use.
pub mod prelude {
    #[cfg(feature = "host")]
    #[doc(no_inline)]
    pub use crate::host::{PluginHandle, PluginHost, PluginSpec, PluginState};
    #[cfg(feature = "plugin")]
    #[doc(no_inline)]
    pub use crate::plugin::{HostHandle, Plugin};
    #[doc(no_inline)]
    pub use crate::registry::{Provider, Registry, Service, Version};
    #[doc(no_inline)]
    pub use crate::{
        CallError, CallOptions, Code, Config, Handler, Handshake, IncomingCall, NoService, PeerA, PeerB, PeerState,
        Reply, Router, Session, SessionEnd, Status,
    };
}

/// The examples of the README, as tests.
#[cfg(all(doctest, feature = "host", feature = "plugin"))]
#[doc = include_str!("../../README.md")]
struct Readme;
