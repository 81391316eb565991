//! The hash of a method: what changes it, what does not, and that it never changes by itself.

use postcard_schema::Schema;
use proptest::prelude::*;
use rapace_registry::{MethodHash, MethodKind, Provider, Registry, Service, ServiceBuilder, Version};

use crate::example::{self, ProcessResponse};
use crate::strategies;

fn only_hash(service: ServiceBuilder) -> MethodHash {
    let registry = Registry::builder().service(service).build().unwrap();
    registry.services()[0].methods()[0].hash()
}

fn service() -> ServiceBuilder {
    Service::builder("a", Version::new(1, 0), Provider::Host)
}

#[test]
fn the_hash_of_a_known_method_stays_what_it_is() {
    let registry = example::registry();
    let hash = registry.method_by_name("rapace.Plugin", "process").unwrap().hash();
    // Worked out from the crate's documentation alone, by another program.
    assert_eq!(hash.to_string(), "4d5cfd89570e7a48");
    assert_eq!(hash.get(), 0x4d5c_fd89_570e_7a48);
}

#[test]
fn the_names_and_the_id_of_a_method_are_not_in_its_hash() {
    let hash = only_hash(service().unary::<u8, bool>("m", 1));
    assert_eq!(only_hash(service().unary::<u8, bool>("m", 2)), hash);
    assert_eq!(only_hash(service().unary::<u8, bool>("n", 1)), hash);
    assert_eq!(only_hash(service().method_derived::<u8, bool>("m", MethodKind::Unary)), hash);
    let other = Service::builder("b", Version::new(2, 1), Provider::Plugin);
    assert_eq!(only_hash(other.unary::<u8, bool>("m", 1)), hash);
}

mod other {
    #![allow(dead_code, reason = "only the schemas of these types are looked at")]

    use postcard_schema::Schema;

    pub(crate) mod field_name {
        #[derive(super::Schema)]
        pub(crate) struct ProcessRequest {
            request_id: u64,
            operation: String,
            payload: Vec<u8>,
        }
    }

    pub(crate) mod field_type {
        #[derive(super::Schema)]
        pub(crate) struct ProcessRequest {
            request_id: u64,
            operation: String,
            data: Vec<u16>,
        }
    }

    pub(crate) mod field_order {
        #[derive(super::Schema)]
        pub(crate) struct ProcessRequest {
            operation: String,
            request_id: u64,
            data: Vec<u8>,
        }
    }

    pub(crate) mod type_name {
        #[derive(super::Schema)]
        pub(crate) struct Request {
            request_id: u64,
            operation: String,
            data: Vec<u8>,
        }
    }
}

#[test]
fn kind_types_and_all_names_in_them_are_in_the_hash() {
    fn argument<A: Schema>() -> MethodHash {
        only_hash(service().unary::<A, ProcessResponse>("m", 1))
    }
    type Request = example::ProcessRequest;
    let hashes = [
        argument::<Request>(),
        argument::<other::field_name::ProcessRequest>(),
        argument::<other::field_type::ProcessRequest>(),
        argument::<other::field_order::ProcessRequest>(),
        argument::<other::type_name::Request>(),
        only_hash(service().client_streaming::<Request, ProcessResponse>("m", 1)),
        only_hash(service().server_streaming::<Request, ProcessResponse>("m", 1)),
        only_hash(service().bidirectional_streaming::<Request, ProcessResponse>("m", 1)),
        only_hash(service().unary::<ProcessResponse, Request>("m", 1)),
        only_hash(service().unary::<Request, ()>("m", 1)),
    ];
    for (index, hash) in hashes.iter().enumerate() {
        assert!(!hashes[..index].contains(hash), "the hash at {index} stands before");
    }
}

proptest! {
    #[test]
    fn methods_have_one_hash_exactly_when_kind_and_types_are_equal(
        kinds in (strategies::kind(), strategies::kind()),
        schema in strategies::schema(),
        steps in proptest::collection::vec(any::<u8>(), 0..4),
    ) {
        let mut edited = schema.clone();
        strategies::edit(&mut edited, &steps);
        let equal = kinds.0 == kinds.1 && schema == edited;
        let hash = |kind, result| {
            only_hash(service().method_with("m", None, kind, schema.clone(), result))
        };
        prop_assert_eq!(hash(kinds.0, schema.clone()) == hash(kinds.1, edited), equal);
    }
}
