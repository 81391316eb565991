//! The vectors of registries, put to this crate: `spec/vectors/README.md` says what each field means.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use rapace_registry::{Conflict, MethodKind, ParseError, Provider, Registry, compare};
use serde_json::{Value, json};

/// The list of this name in the file of vectors. It is not empty.
fn read(list: &str) -> Vec<Value> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR for tests");
    let path = Path::new(&package).join("../spec/vectors/registries.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let whole: Value = serde_json::from_str(&text).unwrap();
    let vectors = whole[list].as_array().unwrap().clone();
    assert!(!vectors.is_empty(), "{list}");
    vectors
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn services(registry: &Registry) -> Value {
    let services = registry.services().iter().map(|service| {
        let methods = service.methods().iter().map(|method| {
            let kind = match method.kind() {
                MethodKind::Unary => "unary",
                MethodKind::ClientStreaming => "client",
                MethodKind::ServerStreaming => "server",
                MethodKind::BidirectionalStreaming => "bidirectional",
            };
            let hash = method.hash().to_string();
            json!({ "name": method.name(), "id": method.id().get(), "kind": kind, "hash": hash })
        });
        let provider = match service.provider() {
            Provider::Host => "host",
            Provider::Plugin => "plugin",
            Provider::Either => "either",
        };
        json!({
            "name": service.name(),
            "version": service.version().to_string(),
            "provider": provider,
            "methods": methods.collect::<Vec<_>>(),
        })
    });
    Value::Array(services.collect())
}

/// The word by which the vectors call an error.
fn reason(error: &ParseError) -> &'static str {
    match error {
        ParseError::Magic { .. } => "magic",
        ParseError::FormatVersion { .. } => "format",
        ParseError::Truncated { .. } => "truncated",
        ParseError::Number { .. } => "number",
        ParseError::TooLong { .. } | ParseError::OverLimit { .. } => "limit",
        ParseError::NotUtf8 { .. } => "utf8",
        ParseError::Name { .. } => "name",
        ParseError::MethodIdZero { .. } => "id 0",
        ParseError::DerivedId { .. } => "derived id",
        ParseError::Order { .. } => "order",
        ParseError::Conflict(Conflict::MethodId { .. } | Conflict::MethodName { .. }) => "conflict",
        ParseError::Trailing { .. } => "trailing",
        other => panic!("the vectors have no word for {other}"),
    }
}

#[test]
fn registries_are_what_the_vectors_say() {
    for vector in &read("vectors") {
        let (name, bytes) = (&vector["name"], bytes(&vector["hex"]));
        match Registry::from_bytes(&bytes) {
            Ok(registry) => {
                assert_eq!(services(&registry), vector["services"], "{name}");
                assert_eq!(registry.digest().to_string(), vector["digest"], "{name}");
                assert_eq!(registry.to_bytes(), bytes, "{name}");
            }
            Err(error) => assert_eq!(Some(reason(&error)), vector["reason"].as_str(), "{name}: {error}"),
        }
    }
}

#[test]
fn pairs_agree_as_the_vectors_say() {
    for vector in &read("pairs") {
        let [ours, theirs] = ["ours", "theirs"].map(|key| Registry::from_bytes(&bytes(&vector[key])).unwrap());
        for (one, other) in [(&ours, &theirs), (&theirs, &ours)] {
            let comparison = compare(one, other);
            let refused: Vec<u32> = comparison.refusals().keys().map(|id| id.get()).collect();
            assert_eq!(json!(refused), vector["refused"], "{}: {comparison}", vector["name"]);
            assert_eq!(comparison.is_compatible(), refused.is_empty(), "{}", vector["name"]);
        }
    }
}
