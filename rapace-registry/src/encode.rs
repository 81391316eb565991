//! A registry as bytes: the one form that the parser accepts.
//!
//! postcard writes a tuple as its members one after the other, so the fields are written as tuples
//! in the order of the crate documentation. What a method's hash covers is the end of its entry, as
//! it stands.

use postcard_schema::schema::owned::OwnedNamedType;
use serde::Serialize;

use crate::method::MethodKind;
use crate::service::Service;

/// What every serialised registry starts with.
pub(crate) const MAGIC: [u8; 4] = *b"RPRG";

/// The version of the form that follows the magic.
pub(crate) const FORMAT_VERSION: u16 = 1;

/// The services in their wire form.
pub(crate) fn registry(services: &[Service]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend(FORMAT_VERSION.to_le_bytes());
    out = put(out, &services.len());
    for service in services {
        let version = service.version();
        let head = (service.name(), version.major, version.minor, service.provider().code());
        out = put(out, &(head, service.methods().len()));
        for method in service.methods() {
            out = put(out, &(method.name(), method.id().get()));
            out = put(out, &(method.kind().code(), method.argument(), method.result()));
        }
    }
    out
}

/// The end of a method's entry, which its hash covers.
pub(crate) fn types(kind: MethodKind, argument: &OwnedNamedType, result: &OwnedNamedType) -> Vec<u8> {
    put(Vec::new(), &(kind.code(), argument, result))
}

fn put(out: Vec<u8>, value: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(value, out).expect("a vector takes every value of a known length")
}
