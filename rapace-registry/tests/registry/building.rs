//! Building a registry and finding things in it.

use std::num::NonZeroU8;

use postcard_schema::Schema;
use postcard_schema::schema::owned::{OwnedDataModelType, OwnedNamedType};
use proptest::prelude::*;
use rapace_registry::{
    BuildError, Conflict, MethodId, MethodKind, NameError, Provider, Registry, SchemaError, Service, ServiceBuilder,
    Version,
};

use crate::{example, strategies};

fn service(name: &str) -> ServiceBuilder {
    Service::builder(name, Version::new(1, 0), Provider::Either)
}

fn error(services: impl IntoIterator<Item = ServiceBuilder>) -> BuildError {
    let builder = services.into_iter().fold(Registry::builder(), |builder, service| builder.service(service));
    builder.build().unwrap_err()
}

#[test]
fn a_registry_displays_its_services_and_methods() {
    let shown = "Service rapace.HostServices v1.0 (host)
  - Logger.log (1000): Unary
  - Storage.get (1001): Unary
  - Storage.set (1002): Unary
  - Events.subscribe (1003): ServerStreaming

Service rapace.Plugin v1.0 (plugin)
  - initialize (2000): Unary
  - process (2001): Unary
  - shutdown (2002): Unary";
    assert_eq!(example::registry().to_string(), shown);
}

#[test]
fn services_and_methods_are_found_by_name_and_by_id() {
    let registry = example::registry();
    let plugin = registry.service("rapace.Plugin").unwrap();
    assert_eq!((plugin.version(), plugin.provider()), (Version::new(1, 0), Provider::Plugin));
    assert_eq!(registry.services().len(), 2);
    assert_eq!(registry.service("rapace"), None);
    assert_eq!(registry.method_by_name("rapace.Plugin", "process "), None);
    assert_eq!(registry.method(MethodId::new(1004).unwrap()), None);
    let interleaved = Registry::builder()
        .service(service("a").unary::<(), ()>("x", 4).unary::<(), ()>("y", 2))
        .service(service("b").unary::<(), ()>("x", 3).unary::<(), ()>("y", 1));
    for registry in [registry, interleaved.build().unwrap()] {
        each_is_found(&registry);
    }
}

fn each_is_found(registry: &Registry) {
    for service in registry.services() {
        for method in service.methods() {
            assert_eq!(registry.method(method.id()), Some((service, method)));
            assert_eq!(registry.method_by_name(service.name(), method.name()), Some(method));
        }
    }
}

#[test]
fn a_method_shows_its_signature() {
    let registry = example::registry();
    let signature = |service, method| registry.method_by_name(service, method).unwrap().signature();
    assert_eq!(signature("rapace.Plugin", "process"), "process(ProcessRequest) -> ProcessResponse");
    assert_eq!(signature("rapace.HostServices", "Events.subscribe"), "Events.subscribe() -> stream HostEvent");
}

#[test]
fn every_kind_of_method_has_its_builder() {
    let service = service("a")
        .unary::<str, [u8]>("one", 1)
        .client_streaming::<u8, u8>("two", 2)
        .server_streaming::<u8, u8>("three", 3)
        .bidirectional_streaming::<u8, u8>("four", 4)
        .method_derived::<NonZeroU8, u8>("five", MethodKind::Unary);
    let registry = Registry::builder().service(service).build().unwrap();
    let methods = registry.services()[0].methods();
    let kinds: Vec<_> = methods.iter().map(|method| (method.id().get(), method.kind())).collect();
    assert_eq!(
        kinds,
        [
            (1, MethodKind::Unary),
            (2, MethodKind::ClientStreaming),
            (3, MethodKind::ServerStreaming),
            (4, MethodKind::BidirectionalStreaming),
            (MethodId::derived("a", "five").get(), MethodKind::Unary),
        ]
    );
}

#[test]
fn a_schema_at_hand_serves_as_well_as_a_type() {
    let (argument, result) = (u8::SCHEMA.into(), bool::SCHEMA.into());
    let with = service("a").method_with("m", Some(7), MethodKind::Unary, argument, result);
    let with = Registry::builder().service(with).build();
    let typed = Registry::builder().service(service("a").unary::<u8, bool>("m", 7)).build();
    assert_eq!(with, typed);
}

#[test]
fn two_services_of_one_name_are_refused() {
    let service_name = Conflict::ServiceName { service: "a".into() };
    assert_eq!(error([service("a"), service("a")]), service_name.into());
}

#[test]
fn two_methods_of_one_name_are_refused_in_a_service_only() {
    let twice = |service: ServiceBuilder| service.unary::<(), ()>("m", 1).unary::<(), ()>("m", 2);
    let conflict = Conflict::MethodName { service: "a".into(), method: "m".into() };
    assert_eq!(error([twice(service("a"))]), conflict.into());
    let apart =
        Registry::builder().service(service("a").unary::<(), ()>("m", 1)).service(service("b").unary::<(), ()>("m", 2));
    assert!(apart.build().is_ok());
}

#[test]
fn one_id_for_two_methods_is_refused_across_services() {
    let both = [service("a").unary::<(), ()>("x", 5), service("b").unary::<(), ()>("y", 5)];
    let error = error(both);
    let conflict =
        Conflict::MethodId { id: MethodId::new(5).unwrap(), first: "x of a".into(), second: "y of b".into() };
    assert_eq!(error, conflict.into());
    assert_eq!(error.to_string(), "method id 5 (explicit) names both x of a and y of b");
}

#[test]
fn derived_ids_that_collide_are_refused() {
    let derived = |service: ServiceBuilder, name: &str| service.method_derived::<(), ()>(name, MethodKind::Unary);
    let error = error([derived(service("a.b"), "c"), derived(service("a"), "b.c")]);
    let id = MethodId::derived("a", "b.c");
    assert_eq!(error.to_string(), format!("method id {id} (derived) names both b.c of a and c of a.b"));
}

#[test]
fn an_id_that_may_not_be_chosen_is_refused() {
    for id in [0, 1 << 31, u32::MAX] {
        let error = error([service("a").unary::<(), ()>("m", id)]);
        let message = format!("method \"m\" of a: method id {id} is not between 1 and 2147483647");
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn a_name_that_is_not_one_is_refused() {
    let reason = NameError::Start { found: '1' };
    let service_name = BuildError::ServiceName { service: "1".into(), reason };
    assert_eq!(error([service("1")]), service_name);
    let method_name = BuildError::Method { service: "a".into(), method: "1".into(), reason: reason.into() };
    assert_eq!(error([service("a").unary::<(), ()>("1", 1)]), method_name);
}

#[test]
fn a_schema_that_is_too_deep_or_too_long_in_a_name_is_refused() {
    let named = |name: &str, ty| OwnedNamedType { name: name.into(), ty };
    let schema = |schema| {
        let unit = <()>::SCHEMA.into();
        error([service("a").method_with("m", Some(1), MethodKind::Unary, schema, unit)])
    };
    let in_method =
        |reason: SchemaError| BuildError::Method { service: "a".into(), method: "m".into(), reason: reason.into() };
    let deep = (0..64).fold(named("u8", OwnedDataModelType::U8), |inner, _| {
        named("Vec<T>", OwnedDataModelType::Seq(Box::new(inner)))
    });
    assert_eq!(schema(deep), in_method(SchemaError::Depth { found: 65, limit: 64 }));
    let long = named(&"n".repeat(129), OwnedDataModelType::U8);
    assert_eq!(schema(long), in_method(SchemaError::Name { found: 129, limit: 128 }));
}

#[test]
fn a_registry_that_is_too_large_is_refused() {
    let too_many = |what, found, limit| BuildError::TooMany { what, found, limit };
    let services = (0..257).map(|index| service(&format!("s{index}")));
    assert_eq!(error(services), too_many("services", 257, 256));

    let methods = |count| (1..=count).fold(service("a"), |service, id| service.unary::<(), ()>(format!("m{id}"), id));
    assert!(Registry::builder().service(methods(4096)).build().is_ok());
    assert_eq!(error([methods(4097)]), too_many("methods", 4097, 4096));

    let nodes = service("a").unary::<[u8; 65_535], ()>("m", 1);
    assert_eq!(error([nodes]), too_many("schema nodes", 65_537, 65_536));

    let named = |length: usize| {
        let wide = OwnedNamedType { name: "n".repeat(length), ty: OwnedDataModelType::U8 };
        let all = OwnedDataModelType::Tuple(vec![wide; 10_000]);
        let name = "t".into();
        let unit = <()>::SCHEMA.into();
        service("a").method_with("m", Some(1), MethodKind::Unary, OwnedNamedType { name, ty: all }, unit)
    };
    let bytes = error([named(128)]).to_string();
    assert!(bytes.ends_with("bytes, allowed are 1048576"), "{bytes}");
    assert!(Registry::builder().service(named(100)).build().is_ok());
}

proptest! {
    #[test]
    fn a_service_that_is_described_again_is_the_same(drafts in strategies::drafts()) {
        let registry = strategies::build(&drafts);
        let services = registry.services().iter().map(Service::to_builder);
        prop_assert_eq!(services.fold(Registry::builder(), |all, service| all.service(service)).build().unwrap(), registry);
    }

    #[test]
    fn the_order_of_building_does_not_matter(
        (one, other) in strategies::drafts().prop_flat_map(|drafts| {
            (Just(drafts.clone()).prop_shuffle(), Just(drafts).prop_shuffle())
        }),
    ) {
        let (one, other) = (strategies::build(&one), strategies::build(&other));
        prop_assert_eq!(one.to_bytes(), other.to_bytes());
        prop_assert_eq!(one, other);
    }
}
