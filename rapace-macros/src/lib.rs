//! Turns a trait into client, server and description.
//!
//! Users find [`macro@service`] and [`macro@message`] in the crate `rapace`. What they generate calls the crate
//! `rapace-service`, always by its full path, and nothing else.
//!
//! ```text
//!   options.rs                   what stands in the brackets of the attribute
//!   service.rs, method.rs        the trait, read and checked
//!     shape.rs                   what a type looks like
//!   interface.rs                 the trait again, as the compiler wants it
//!   client.rs, server.rs, direct.rs, description.rs
//!     wire.rs                    how a value of a type is encoded
//!   message.rs, serde_options.rs derives for arguments and results
//! ```

#![forbid(unsafe_code)]

mod message;
mod serde_options;

mod client;
mod description;
mod direct;
mod id;
mod interface;
mod method;
mod options;
mod problems;
mod server;
mod service;
mod shape;
mod wire;

#[cfg(test)]
mod snapshot;

use proc_macro::TokenStream;
use syn::parse_macro_input;

/// Makes a service of a trait: a client, a blocking client, a server and a description.
///
/// ```
/// use rapace::{Context, Incoming, Stream};
///
/// #[rapace::message]
/// pub struct DivisionByZero;
///
/// #[rapace::service(name = "demo.Calculator", version = "1.0")]
/// pub trait Calculator {
///     /// Adds two numbers.
///     async fn add(&self, a: i64, b: i64) -> i64;
///     /// Divides; the reply is the result, the error included.
///     #[method(id = 3000, name = "divide")]
///     async fn div(&self, ctx: &Context, a: i64, b: i64) -> Result<i64, DivisionByZero>;
///     /// Adds a stream of numbers.
///     async fn sum(&self, numbers: Incoming<f64>) -> f64;
///     /// Counts.
///     fn count(&self, to: u64) -> impl Stream<Item = u64>;
/// }
/// # fn main() {}
/// ```
///
/// It takes `name` and `version`, and if need be `provider = "host"`, `"plugin"` or `"either"` (the default) and
/// `crate = "path"`, where this crate's user finds rapace.
///
/// The trait is implemented with plain `async fn`s. Beside it stand `CalculatorClient`, `CalculatorBlockingClient` and
/// `CalculatorServer`; and, hidden, `CalculatorDirect`, by which clients call an implementation in their own process.
///
/// - Arguments are owned values, `&str` or `&[u8]`. Those two borrow from the request in the handler.
/// - A method may take `ctx: &Context` first; callers do not give it.
/// - One `Incoming<T>`, the last argument, is a stream of the caller's. A result `impl Stream<Item = T>` is one of the
///   callee's. A client has it when the request is on its way: that the handler has begun, only the first item says.
/// - `Result<T, E>` is a result like any other; the client gets `Result<T, Error<E>>`.
/// - `#[method(id = .., name = "..")]`: both may be left out. The name is that of the function, and the id is derived from
///   the names of the service and of the method.
#[proc_macro_attribute]
pub fn service(options: TokenStream, item: TokenStream) -> TokenStream {
    service::expand(options.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a struct or an enum fit to be an argument or a result.
///
/// It derives `Serialize`, `Deserialize`, `Schema`, `Clone`, `Debug` and `PartialEq`, as far as a `#[derive(..)]` below it does
/// not. Fields of type `Vec<u8>` and `Option<Vec<u8>>` are encoded in one piece rather than byte by byte, in the same form.
/// It stands above the derives.
///
/// Options of serde that change the form are refused: the description would say something else than what is sent.
#[proc_macro_attribute]
pub fn message(options: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as syn::DeriveInput);
    message::expand(options.into(), item).unwrap_or_else(syn::Error::into_compile_error).into()
}
