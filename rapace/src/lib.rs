//! Calls plugins in other processes as if they were libraries, over shared memory.
//!
//! A host starts each plugin as a process with a shared-memory segment of its own. A call is one 64-byte descriptor each
//! way. A plugin that crashes, hangs or lies costs its host one error value.
//!
//! A service is a trait that both sides know. Arguments and results are plain types; those of one's own are
//! [messages](macro@message):
//!
//! ```
//! use rapace::prelude::*;
//!
//! #[rapace::message]
//! pub struct Shouted {
//!     text: String,
//!     letters: u32,
//! }
//!
//! #[rapace::service(name = "demo.Shout", version = "1.0", provider = "plugin")]
//! pub trait Shout {
//!     /// Says it louder.
//!     async fn shout(&self, text: &str, marks: u8) -> Shouted;
//! }
//! # fn main() {
//! #     let registry = Services::new().calls::<ShoutClient>().registry().unwrap();
//! #     assert_eq!(registry.service("demo.Shout").unwrap().methods().len(), 1);
//! # }
//! ```
//!
//! [`service`](macro@service) writes clients and a server for it. The plugin serves an implementation:
//!
//! ```no_run
//! # use rapace::prelude::*;
//! # #[rapace::message] pub struct Shouted { text: String, letters: u32 }
//! # #[rapace::service(name = "demo.Shout", version = "1.0", provider = "plugin")]
//! # pub trait Shout { async fn shout(&self, text: &str, marks: u8) -> Shouted; }
//! struct Loud;
//!
//! impl Shout for Loud {
//!     async fn shout(&self, text: &str, marks: u8) -> Shouted {
//!         let text = text.to_uppercase() + &"!".repeat(marks.into());
//!         Shouted { letters: text.chars().map(|_| 1).sum(), text }
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     PluginMain::new("shout", "1.0.0").serve(ShoutServer::new(Loud)).run()
//! }
//! ```
//!
//! The host calls it:
//!
//! ```no_run
//! # use rapace::prelude::*;
//! # #[rapace::message] pub struct Shouted { text: String, letters: u32 }
//! # #[rapace::service(name = "demo.Shout", version = "1.0", provider = "plugin")]
//! # pub trait Shout { async fn shout(&self, text: &str, marks: u8) -> Shouted; }
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let registry = Services::new().calls::<ShoutClient>().registry()?;
//!     let host = PluginHost::builder(Config { registry, ..Config::new("my-host", "1.0.0") }).build()?;
//!     let plugin = host.load(PluginSpec::new("shout", "target/debug/shout"))?;
//!     let shout = ShoutClient::new(&plugin).blocking();
//!     println!("{}", shout.shout("hello", 3)?.text);
//!     host.shutdown();
//!     Ok(())
//! }
//! ```
//!
//! Below that are [`Router`] and [`Session::call`], which move bytes.
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
#[cfg(any(feature = "host", feature = "plugin"))]
#[doc(inline)]
pub use rapace_host_api as host_api;
#[doc(inline)]
pub use rapace_macros::{message, service};
#[cfg(feature = "plugin")]
#[doc(inline)]
pub use rapace_plugin as plugin;
#[doc(inline)]
pub use rapace_registry as registry;
#[doc(hidden)]
pub use rapace_service::__private;
#[cfg(feature = "json")]
#[doc(inline)]
pub use rapace_service::dynamic;
#[doc(inline)]
pub use rapace_service::{
    BlockingIncoming, BuiltIn, Client, Context, DecodeError, Described, EncodeError, Error, FullName, Incoming, Later,
    MethodInfo, Services, Stream, intercept, schema, trace,
};
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
    pub use crate::host::{PluginHandle, PluginHost, PluginScope, PluginSpec, PluginState};
    #[cfg(feature = "plugin")]
    #[doc(no_inline)]
    pub use crate::plugin::{HostHandle, Plugin, PluginContext, PluginMain};
    #[doc(no_inline)]
    pub use crate::registry::{Provider, Registry, Service, Version};
    #[doc(no_inline)]
    pub use crate::{
        AsCaller, BlockingIncoming, BuiltIn, CallError, CallOptions, Code, Config, Context, Described, Error, Handler,
        Handshake, Incoming, IncomingCall, NoService, PeerA, PeerB, PeerState, Reply, Router, Services, Session,
        SessionEnd, Status, Stream,
    };
}

/// The examples of the README, as tests.
#[cfg(all(doctest, feature = "host", feature = "plugin"))]
#[doc = include_str!("../../README.md")]
struct Readme;
