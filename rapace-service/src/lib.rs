//! Turns calls into typed methods.
//!
//! `#[rapace::service]` writes clients and servers that call what is here. A user meets [`Services`], which serves several
//! of them on one session, [`Context`] in a handler, [`Incoming`] streams and [`Error`].
//!
//! ```text
//!   CalculatorClient                       Calculator, the user's
//!     Client      client.rs                  ^
//!       Watch     watch.rs: interceptors     |  Context    context.rs
//!       Pump      pump.rs: items           CalculatorServer
//!       encode    codec.rs                   ^  Call       call.rs: interceptors
//!         |                                  |  Services   services.rs
//!         v                                  |
//!   rapace_session::Caller   ------->   rapace_session::Handler
//! ```
//!
//! Where the plugin is a [`BuiltIn`], the client calls the server's implementation itself: `direct.rs`.

#![forbid(unsafe_code)]

mod blocking;
mod built_in;
mod client;
mod direct;
mod error;
mod incoming;

mod call;
mod context;
mod later;
mod method_info;
mod service;
mod services;

#[cfg(feature = "json")]
pub mod dynamic;
pub mod intercept;
pub mod schema;
pub mod trace;

mod codec;
mod items;
mod pump;
mod watch;

pub use blocking::BlockingIncoming;
pub use built_in::BuiltIn;
pub use client::{Client, Unary};
pub use codec::{DecodeError, EncodeError};
pub use context::Context;
pub use error::Error;
#[doc(no_inline)]
pub use futures_core::Stream;
pub use incoming::Incoming;
pub use later::Later;
pub use method_info::{FullName, MethodInfo};
pub use service::{Described, Service};
pub use services::Services;

/// What generated code calls, by this path. It may change with any release.
#[doc(hidden)]
pub mod __private {
    pub use futures_core::Stream;
    pub use postcard_schema::{self, Schema};
    pub use rapace_registry::{MethodKind, Provider, Service as ServiceDescription, ServiceBuilder, Version};
    pub use rapace_session::{AsCaller, CallError, CallOptions};
    pub use serde_bytes::{self, ByteBuf, Bytes};
    pub use {serde, std::time::Duration};

    pub use crate::blocking::BlockingIncoming;
    pub use crate::call::Call;
    pub use crate::client::Client;
    pub use crate::codec::{Decoder, Encoder, decode_owned, encode};
    pub use crate::context::Context;
    pub use crate::direct::{Answer, Direct, DirectCall, DirectItems, DirectService};
    pub use crate::error::{Error, flatten};
    pub use crate::incoming::Incoming;
    pub use crate::intercept::Interceptor;
    pub use crate::method_info::MethodInfo;
    pub use crate::schema::{arguments, assert_bounded, assert_not_named};
    pub use crate::service::{Described, Service};
    pub use rapace_session::Metadata;
}
