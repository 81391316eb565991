//! Calls of methods that the program learns of when it runs: by a registry, with JSON both ways.
//!
//! It is for tools and gateways. What goes out and what comes in is checked against the schemas of the registry, and an
//! error names the place: `demo.Kv.set: argument: $.value.retries: expected u32, found string`.
//!
//! | method | JSON of its arguments |
//! |---|---|
//! | none | `null` |
//! | one | the argument |
//! | several | an object with their names |
//! | beside a stream of the caller's | an object with their names, `null` if there are none |
//!
//! A result is given by its schema, too, so a method's own `Result` is `{"Ok": ..}` or `{"Err": ..}`. The interceptors that the
//! peer's clients are given and the spans around calls are those of typed clients; methods have the names of the registry.

mod call;
mod error;

use postcard_schema::schema::owned::{OwnedDataModelType, OwnedNamedType, OwnedNamedValue};
use rapace_registry::{Method, Registry, Service, json};
use rapace_session::{AsCaller, CallOptions, Streams};
use serde_json::Value;

pub use call::DynamicCall;
pub use error::{DynamicError, Part};

use crate::client::Client;
use crate::method_info::MethodInfo;
use crate::schema::split_arguments;

/// Calls the methods of a registry, such as the one that the peer sent when the session began.
#[derive(Clone, Debug)]
pub struct DynamicClient {
    client: Client,
    registry: Registry,
}

impl DynamicClient {
    /// Calls this peer, which is taken to serve what the registry says.
    #[must_use]
    pub fn new(peer: &impl AsCaller, registry: Registry) -> Self {
        Self { client: Client::new(peer), registry }
    }

    /// The same client with options for each call.
    #[must_use]
    pub fn with_options(self, options: CallOptions) -> Self {
        Self { client: self.client.with_options(options), ..self }
    }

    /// The services.
    #[must_use]
    pub fn services(&self) -> &[Service] {
        self.registry.services()
    }

    /// All methods, with their services. [`Method::signature`] shows one as a reader would write it.
    pub fn methods(&self) -> impl Iterator<Item = (&Service, &Method)> {
        self.services().iter().flat_map(|service| service.methods().iter().map(move |method| (service, method)))
    }

    /// A method by its full name, such as `demo.Kv.get`, or by its own, if only one service has it.
    ///
    /// # Errors
    ///
    /// When there is none, or when there are several.
    pub fn method(&self, name: &str) -> Result<(&Service, &Method), DynamicError> {
        let full = self.methods().find(|(service, method)| {
            name.strip_prefix(service.name()).and_then(|rest| rest.strip_prefix('.')) == Some(method.name())
        });
        if let Some(found) = full {
            return Ok(found);
        }
        let mut short = self.methods().filter(|(_, method)| method.name() == name);
        match (short.next(), short.next()) {
            (Some(found), None) => Ok(found),
            (None, _) => Err(DynamicError::UnknownMethod { name: name.to_owned() }),
            (Some(one), Some(other)) => {
                let candidates = [one, other].into_iter().chain(short).map(full_name).collect();
                Err(DynamicError::Ambiguous { name: name.to_owned(), candidates })
            }
        }
    }

    /// Calls a method that has no streams.
    ///
    /// # Errors
    ///
    /// When there is no such method, it has streams, the arguments are not what it takes, the call fails, or the reply is
    /// not what it gives.
    pub async fn call(&self, method: &str, arguments: &Value) -> Result<Value, DynamicError> {
        let (prepared, request) = self.unary(method, arguments)?;
        let reply = self.client.request(prepared.info, prepared.id, &request).await?;
        prepared.result(&reply.body)
    }

    /// The same, blocking this thread.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn call_blocking(&self, method: &str, arguments: &Value) -> Result<Value, DynamicError> {
        let (prepared, request) = self.unary(method, arguments)?;
        let reply = self.client.request_blocking(prepared.info, prepared.id, &request)?;
        prepared.result(&reply.body)
    }

    /// Opens a call of a method with streams.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call), as far as it can be known before anything has come back.
    pub async fn open(&self, method: &str, arguments: &Value) -> Result<DynamicCall, DynamicError> {
        let (prepared, request) = self.prepare(method, arguments)?;
        let streams = prepared.streams();
        if !streams.any() {
            return Err(DynamicError::Streams { method: prepared.name, streams: false });
        }
        let (call, watch) = self.client.open_bytes(prepared.info, prepared.id, &request, streams).await?;
        Ok(DynamicCall::new(call, watch, prepared))
    }

    /// The same, blocking this thread.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_blocking(&self, method: &str, arguments: &Value) -> Result<DynamicCall, DynamicError> {
        self.client.caller().block_on(self.open(method, arguments))?
    }

    fn unary(&self, method: &str, arguments: &Value) -> Result<(Prepared, Vec<u8>), DynamicError> {
        let (prepared, request) = self.prepare(method, arguments)?;
        if prepared.streams().any() {
            return Err(DynamicError::Streams { method: prepared.name, streams: true });
        }
        Ok((prepared, request))
    }

    fn prepare(&self, method: &str, arguments: &Value) -> Result<(Prepared, Vec<u8>), DynamicError> {
        let (service, method) = self.method(method)?;
        let prepared = Prepared::new(service, method);
        let request = json::encode(&request_schema(method), arguments);
        let request = request.map_err(|error| prepared.wrong(Part::Argument, error))?;
        Ok((prepared, request))
    }
}

/// What is needed of a method while it is called.
#[derive(Debug)]
struct Prepared {
    name: String,
    id: u32,
    /// For whoever watches the call.
    info: &'static MethodInfo,
    /// The caller's items, if it sends some.
    item: Option<OwnedNamedType>,
    result: OwnedNamedType,
    streams_results: bool,
}

impl Prepared {
    fn new(service: &Service, method: &Method) -> Self {
        Self {
            name: full_name((service, method)),
            id: method.id().get(),
            info: MethodInfo::of_registry(service, method),
            item: split_arguments(method).1.cloned(),
            result: method.result().clone(),
            streams_results: method.kind().streams_results(),
        }
    }

    fn streams(&self) -> Streams {
        Streams { sends: self.item.is_some(), receives: self.streams_results }
    }

    fn result(&self, bytes: &[u8]) -> Result<Value, DynamicError> {
        json::decode(&self.result, bytes).map_err(|error| self.wrong(Part::Result, error))
    }

    fn wrong(&self, part: Part, error: json::ValueError) -> DynamicError {
        DynamicError::Value { method: self.name.clone(), part, error }
    }
}

/// The schema of what stands in the request: the arguments without the item of the caller's stream.
fn request_schema(method: &Method) -> OwnedNamedType {
    if !method.kind().streams_arguments() {
        return method.argument().clone();
    }
    let fields: Vec<_> = split_arguments(method)
        .0
        .into_iter()
        .map(|(name, ty)| OwnedNamedValue { name: name.unwrap_or_default().to_owned(), ty: ty.clone() })
        .collect();
    let ty = if fields.is_empty() { OwnedDataModelType::Unit } else { OwnedDataModelType::Struct(fields) };
    OwnedNamedType { name: method.name().to_owned(), ty }
}

fn full_name((service, method): (&Service, &Method)) -> String {
    format!("{}.{}", service.name(), method.name())
}
