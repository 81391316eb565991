//! Which methods are refused, and what is told of them.

use postcard_schema::Schema;
use postcard_schema::schema::owned::{OwnedDataModelType, OwnedNamedType, OwnedNamedValue};
use rapace_registry::{MethodKind, Provider, Registry, RegistryLimits, Service, ServiceBuilder, Version, compare};

use crate::comparing::{registry, service};

fn check(ours: &[ServiceBuilder], theirs: &[ServiceBuilder], refused: &[(u32, &str)]) {
    let (ours, theirs) = (registry(ours.to_vec()), registry(theirs.to_vec()));
    assert_eq!(texts(&ours, &theirs), refused.iter().map(|(id, text)| (*id, (*text).to_owned())).collect::<Vec<_>>());
}

fn texts(ours: &Registry, theirs: &Registry) -> Vec<(u32, String)> {
    compare(ours, theirs).refusals().iter().map(|(id, text)| (id.get(), text.clone())).collect()
}

#[test]
fn a_method_that_differs_is_refused_by_itself() {
    let ours = service("s").unary::<u8, u8>("same", 1).unary::<u8, u8>("other", 2).unary::<u8, u8>("ours", 3);
    let theirs = service("s").unary::<u8, u8>("same", 1).server_streaming::<u16, u8>("other", 2);
    let text = "s.other (2): Unary here, ServerStreaming there\ns.other (2): argument: u8 here, u16 there";
    check(&[ours], &[theirs], &[(2, text)]);
}

#[test]
fn a_service_of_another_major_version_or_provider_is_refused_whole() {
    let version = |major| Service::builder("s", Version::new(major, 7), Provider::Host);
    let (ours, theirs) = (version(1).unary::<u8, u8>("m", 1), version(2).unary::<u8, u8>("n", 2));
    check(
        &[ours, service("t").unary::<u8, u8>("m", 3)],
        &[theirs, service("t").unary::<u8, u8>("m", 3)],
        &[
            (1, "s.m (1): service s: version 1.7 here, 2.7 there"),
            (2, "s.n (2): service s: version 1.7 here, 2.7 there"),
        ],
    );
    let plugin = Service::builder("s", Version::new(1, 9), Provider::Plugin);
    check(
        &[version(1).unary::<u8, u8>("m", 1)],
        &[plugin.unary::<u8, u8>("m", 1)],
        &[(1, "s.m (1): service s: served by host here, plugin there")],
    );
}

#[test]
fn a_method_with_two_ids_is_refused_by_both() {
    let (text, one) = ("s.m: id 1 here, 2 there", |id| service("s").unary::<u8, u8>("m", id));
    check(&[one(1)], &[one(2)], &[(1, text), (2, text)]);
}

#[test]
fn an_id_that_means_two_methods_is_refused_under_our_name() {
    check(
        &[service("a").unary::<u8, u8>("m", 7).unary::<u8, u8>("other", 8)],
        &[service("a").unary::<u8, u8>("m", 8)],
        &[
            (7, "a.m: id 7 here, 8 there"),
            (8, "a.other (8): id 8: other of a here, m of a there\na.m: id 7 here, 8 there"),
        ],
    );
}

#[test]
fn an_id_that_means_two_methods_of_a_service_is_refused_under_our_name() {
    let version = |major| Service::builder("s", Version::new(major, 0), Provider::Host);
    check(
        &[version(1).unary::<u8, u8>("m", 1)],
        &[version(2).unary::<u8, u8>("n", 1)],
        &[(1, "s.m (1): id 1: m of s here, n of s there\ns.m (1): service s: version 1.0 here, 2.0 there")],
    );
}

#[test]
fn a_text_is_cut_at_4096_bytes() {
    let wide = |field: fn(String) -> OwnedNamedValue| {
        let fields = (0..16).map(|index| field(format!("{index:02}{}", "é".repeat(60)))).collect();
        let inner = OwnedNamedType { name: "Inner".into(), ty: OwnedDataModelType::Struct(fields) };
        let field = OwnedNamedValue { name: "é".repeat(64), ty: inner };
        let ty = OwnedNamedType { name: "T".into(), ty: OwnedDataModelType::Struct(vec![field]) };
        registry([service("s").method_with("m", Some(1), MethodKind::Unary, ty.clone(), ty)])
    };
    let ours = wide(|name| OwnedNamedValue { name, ty: u8::SCHEMA.into() });
    let theirs = wide(|name| OwnedNamedValue { name, ty: u16::SCHEMA.into() });
    let (_, text) = texts(&ours, &theirs).pop().unwrap();
    assert!((RegistryLimits::REFUSAL_BYTES_MAX - 1..=RegistryLimits::REFUSAL_BYTES_MAX).contains(&text.len()));
    assert!(text.starts_with("s.m (1): argument.") && text.ends_with('…'), "{text}");
}
