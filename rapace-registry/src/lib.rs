//! Describes services as data.
//!
//! A [`Registry`] lists the services of one peer: their names and versions, which peer serves them,
//! and for each method its id, its kind and the schemas of its argument and its result. Two peers
//! exchange their registries when they meet and [`compare`] them, tools print them, and a caller
//! that knows no Rust type finds here what to encode.
//!
//! With the feature `json`, the module `json` turns values into postcard's encoding and back by their schemas alone.
//!
//! The crate does no I/O. A registry that came from a peer is only as true as that peer, but it is
//! always well formed, and reading it takes bounded time, memory and stack.
//!
//! # Example
//!
//! The services between a plugin and its host:
//!
//! ```
//! use postcard_schema::Schema;
//! use rapace_registry::{MethodId, Provider, Registry, Service, Version, compare};
//! # #[derive(Schema)] enum LogLevel { Info, Error }
//! # #[derive(Schema)] struct LogRequest { level: LogLevel, message: String }
//! # #[derive(Schema)] struct GetRequest { key: String }
//! # #[derive(Schema)] struct GetResponse { value: Option<Vec<u8>> }
//! # #[derive(Schema)] struct SetRequest { key: String, value: Vec<u8> }
//! # #[derive(Schema)] struct HostEvent { topic: String, data: Vec<u8> }
//! # #[derive(Schema)] struct PluginConfig { plugin_id: u32, config_data: Vec<u8> }
//!
//! #[derive(Schema)]
//! struct ProcessRequest {
//!     request_id: u64,
//!     operation: String,
//!     data: Vec<u8>,
//! }
//!
//! #[derive(Schema)]
//! struct ProcessResponse {
//!     request_id: u64,
//!     success: bool,
//!     result: Vec<u8>,
//! }
//!
//! let host = Service::builder("rapace.HostServices", Version::new(1, 0), Provider::Host)
//!     .unary::<LogRequest, ()>("Logger.log", 1000)
//!     .unary::<GetRequest, GetResponse>("Storage.get", 1001)
//!     .unary::<SetRequest, ()>("Storage.set", 1002)
//!     .server_streaming::<(), HostEvent>("Events.subscribe", 1003);
//! let plugin = Service::builder("rapace.Plugin", Version::new(1, 0), Provider::Plugin)
//!     .unary::<PluginConfig, ()>("initialize", 2000)
//!     .unary::<ProcessRequest, ProcessResponse>("process", 2001)
//!     .unary::<(), ()>("shutdown", 2002);
//! let registry = Registry::builder().service(host).service(plugin).build()?;
//!
//! assert_eq!(
//!     registry.to_string(),
//!     "Service rapace.HostServices v1.0 (host)
//!   - Logger.log (1000): Unary
//!   - Storage.get (1001): Unary
//!   - Storage.set (1002): Unary
//!   - Events.subscribe (1003): ServerStreaming
//!
//! Service rapace.Plugin v1.0 (plugin)
//!   - initialize (2000): Unary
//!   - process (2001): Unary
//!   - shutdown (2002): Unary"
//! );
//!
//! let (service, method) = registry.method(MethodId::explicit(2001)?).expect("it was added above");
//! assert_eq!(service.name(), "rapace.Plugin");
//! assert_eq!(method.signature(), "process(ProcessRequest) -> ProcessResponse");
//!
//! let received = Registry::from_bytes(&registry.to_bytes())?;
//! assert!(compare(&registry, &received).is_compatible());
//!
//! // A plugin built against other types is told what differs, and where.
//! mod newer {
//! #   use postcard_schema::Schema;
//!     #[derive(Schema)]
//!     pub struct ProcessResponse {
//!         request_id: u64,
//!         success: u32,
//!         result: Vec<u8>,
//!     }
//! }
//! let plugin = Service::builder("rapace.Plugin", Version::new(1, 0), Provider::Plugin)
//!     .unary::<ProcessRequest, newer::ProcessResponse>("process", 2001);
//! let other = Registry::builder().service(plugin).build()?;
//! let comparison = compare(&registry, &other);
//! let process = MethodId::explicit(2001)?;
//! assert_eq!(comparison.refusals()[&process], "rapace.Plugin.process (2001): result.success: bool here, u32 there");
//! assert_eq!(comparison.refusals().len(), 1, "the other methods can be called");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What peers must agree on
//!
//! A method that both sides have must have one id, one kind and equal types; a service that both
//! have must have one major version and one provider; an id that both use must mean one method.
//! What one side alone has is no harm. Type names and the order of fields count: postcard encodes
//! fields by position.
//!
//! Peers that do not agree on a method can still call each other by all others:
//! [`Comparison::refusals`] lists those that cannot be called. A service of another major version or
//! provider takes all its methods with it.
//!
//! A frame names its method by the id alone, so ids are unique in a whole registry. An author
//! chooses ids below 2^31, or leaves them to be [derived](MethodId::derived) from the names, with
//! bit 31 set; the builder and the parser refuse two methods with one id.
//!
//! # The bytes of a registry
//!
//! The four bytes `RPRG`; the version of the form as a `u16`, low byte first, which is 1; then, in
//! [postcard's encoding](https://postcard.jamesmunns.com/wire-format), a sequence of services:
//!
//! | field of a service | encoding |
//! |---|---|
//! | name | string |
//! | major, minor version | two `u16` |
//! | provider | one byte: 0 host, 1 plugin, 2 either |
//! | methods | sequence |
//!
//! | field of a method | encoding |
//! |---|---|
//! | name | string |
//! | id | `u32` |
//! | kind | one byte: 0 unary, 1 client, 2 server, 3 bidirectional streaming |
//! | argument, result | two types |
//!
//! A type is its name (a string), a code (one byte) and its parts:
//!
//! | code | type | parts |
//! |---|---|---|
//! | 0 to 6 | `bool`, `i8`, `u8`, `i16`, `i32`, `i64`, `i128` | |
//! | 7 to 12 | `u16`, `u32`, `u64`, `u128`, `usize`, `isize` | |
//! | 13 to 17 | `f32`, `f64`, `char`, string, byte array | |
//! | 18 | option | a type |
//! | 19, 20 | unit, unit struct | |
//! | 21, 22 | newtype struct, sequence | a type |
//! | 23, 24 | tuple (arrays too), tuple struct | a sequence of types |
//! | 25 | map | two types: key, value |
//! | 26 | struct | a sequence of fields, each a name (a string) and a type |
//! | 27 | enum | a sequence of variants, each a name (a string), a code and its parts |
//! | 28 | a schema | |
//!
//! A variant's code is 0 without parts, 1 with a type, 2 with a sequence of types, 3 with a
//! sequence of fields.
//!
//! Strings and sequences start with their length. Services stand in the order of their names,
//! compared as bytes, and methods in the order of their ids, and every number is in its shortest
//! form; so a registry has one form, and its [`Digest`] is the SHA-256 of that.
//!
//! # The hash of a method
//!
//! [`MethodHash`] is the first eight bytes, low byte first, of the SHA-256 of the last three fields
//! of the method's entry as they stand above: kind, argument and result. Each of them shows where
//! it ends, so no two methods that differ in them have the same bytes. Names of types, fields and
//! variants are part of it; the name and id of the method and its service are not. For `process`
//! above it is `4d5cfd89570e7a48`.
//!
//! # Limits
//!
//! [`RegistryLimits`] bound what a registry may hold. A type that contains itself has no finite
//! schema, so postcard-schema cannot describe it, and neither can a registry.

#![forbid(unsafe_code)]

mod builder;
mod compare;
mod conflict;
mod difference;
mod encode;
#[cfg(feature = "json")]
pub mod json;
mod limits;
mod measure;
mod method;
mod method_id;
mod name;
mod pair;
mod parse;
mod reader;
mod refusals;
mod registry;
mod schema_reader;
mod service;
mod shape;
mod type_changes;
mod type_name;
mod version;

pub use builder::{BuildError, MethodError, RegistryBuilder, ServiceBuilder};
pub use compare::{Comparison, compare};
pub use conflict::Conflict;
pub use difference::{Difference, Role};
pub use limits::RegistryLimits;
pub use measure::SchemaError;
pub use method::{Method, MethodHash, MethodKind};
pub use method_id::{MethodId, MethodIdError};
pub use name::NameError;
pub use pair::{Pair, Side};
pub use parse::ParseError;
pub use registry::{Digest, Registry};
pub use service::{Provider, Service};
pub use type_changes::{Change, TypeChange, TypeChanges};
pub use type_name::type_name;
pub use version::{ParseVersionError, Version};
