//! Two registries side by side: what is told of their differences, and that both sides are told the
//! same.

use postcard_schema::Schema;
use postcard_schema::schema::owned::OwnedNamedType;
use rapace_registry::{MethodKind, Provider, Registry, Service, ServiceBuilder, Version, compare};

use crate::example;
use crate::mirroring::mirrored;

pub(crate) fn registry(services: impl IntoIterator<Item = ServiceBuilder>) -> Registry {
    let builder = services.into_iter().fold(Registry::builder(), |builder, service| builder.service(service));
    builder.build().unwrap()
}

pub(crate) fn service(name: &str) -> ServiceBuilder {
    Service::builder(name, Version::new(1, 0), Provider::Either)
}

/// Compares the services both ways and checks what is told of them this way.
fn check(ours: &[ServiceBuilder], theirs: &[ServiceBuilder], lines: &[&str]) {
    let (ours, theirs) = (registry(ours.to_vec()), registry(theirs.to_vec()));
    let comparison = compare(&ours, &theirs);
    assert_eq!(comparison.to_string(), lines.join("\n"));
    let compatible = |line: &&str| line.ends_with("(compatible)") || *line == "no difference";
    assert_eq!(comparison.is_compatible(), lines.iter().all(compatible));
    assert_eq!(mirrored(&comparison), compare(&theirs, &ours).differences());
}

/// Checks what is told of two argument types.
fn check_types<A: Schema, B: Schema>(lines: &[&str]) {
    let one = |ty: OwnedNamedType| service("s").method_with("m", Some(1), MethodKind::Unary, ty, <()>::SCHEMA.into());
    let lines: Vec<String> = lines.iter().map(|line| format!("s.m (1): argument{line}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    check(&[one(A::SCHEMA.into())], &[one(B::SCHEMA.into())], &lines);
}

#[test]
fn a_registry_does_not_differ_from_itself() {
    let both = [example::host_services(), example::plugin()];
    check(&both, &both, &["no difference"]);
}

#[test]
fn what_one_side_alone_has_is_compatible() {
    let both = [example::host_services(), example::plugin()];
    let one = [example::plugin()];
    let more = [example::plugin().unary::<u8, u8>("reload", 2003)];
    let service = "service rapace.HostServices v1.0";
    check(&both, &one, &[&format!("{service}: only here (compatible)")]);
    check(&one, &both, &[&format!("{service}: only there (compatible)")]);
    check(&one, &more, &["rapace.Plugin.reload (2003): only there (compatible)"]);
}

#[test]
fn a_minor_version_is_a_note_and_a_major_one_a_break() {
    let version = |major, minor| [Service::builder("s", Version::new(major, minor), Provider::Host)];
    check(&version(1, 0), &version(1, 2), &["service s: version 1.0 here, 1.2 there (compatible)"]);
    check(&version(1, 0), &version(2, 0), &["service s: version 1.0 here, 2.0 there"]);
}

#[test]
fn provider_kind_and_id_must_be_the_same() {
    let ours = Service::builder("s", Version::new(1, 0), Provider::Host).unary::<u8, u8>("m", 1);
    let theirs = Service::builder("s", Version::new(1, 0), Provider::Plugin).server_streaming::<u8, u16>("m", 2);
    check(
        &[ours],
        &[theirs],
        &[
            "service s: served by host here, plugin there",
            "s.m: id 1 here, 2 there",
            "s.m (1 here, 2 there): Unary here, ServerStreaming there",
            "s.m (1 here, 2 there): result: u8 here, u16 there",
        ],
    );
}

#[test]
fn an_id_that_means_two_methods_is_a_break() {
    check(
        &[service("a").unary::<u8, u8>("m", 7)],
        &[service("b").unary::<u8, u8>("n", 7)],
        &[
            "service a v1.0: only here (compatible)",
            "service b v1.0: only there (compatible)",
            "id 7: m of a here, n of b there",
        ],
    );
}

#[test]
fn methods_of_one_name_in_two_services_are_two_methods() {
    check(
        &[service("a").unary::<u8, u8>("m", 7), service("b")],
        &[service("a"), service("b").unary::<u8, u8>("m", 7)],
        &["a.m (7): only here (compatible)", "b.m (7): only there (compatible)", "id 7: m of a here, m of b there"],
    );
}

/// The types of the other side.
mod other {
    #![allow(dead_code, reason = "only the schemas of these types are looked at")]

    use postcard_schema::Schema;

    #[derive(Schema)]
    pub(crate) struct ProcessResponse {
        request_id: u64,
        success: u32,
        result: Vec<u8>,
    }

    #[derive(Schema)]
    pub(crate) struct Shape {
        b: u8,
        renamed: String,
        a: Vec<Option<Inner>>,
        added: (u8, u16),
    }

    #[derive(Schema)]
    pub(crate) struct Named {
        size: u8,
    }

    #[derive(Schema)]
    pub(crate) struct Inner(pub(crate) [u8; 4]);

    #[derive(Schema)]
    pub(crate) enum Command {
        Wait(u32),
        Halt,
        Move { x: i8 },
        Say(String, u8),
    }

    #[derive(Schema)]
    pub(crate) enum Point {
        At,
    }

    #[derive(Schema)]
    pub(crate) struct Pair(u8, u8, u8);
}

#[derive(Schema)]
#[allow(dead_code, reason = "only its schema is looked at")]
struct Shape {
    a: Vec<Option<Inner>>,
    name: String,
    b: u8,
}

#[derive(Schema)]
#[allow(dead_code, reason = "only its schema is looked at")]
struct Named {
    name: String,
}

#[derive(Schema)]
struct Inner(#[allow(dead_code, reason = "only its schema is looked at")] [u16; 4]);

#[derive(Schema)]
#[allow(dead_code, reason = "only its schema is looked at")]
enum Command {
    Wait(u16),
    Stop,
    Move { x: i8, y: i8 },
    Say(String),
}

#[derive(Schema)]
struct Point;

#[derive(Schema)]
#[allow(dead_code, reason = "only its schema is looked at")]
struct Pair2(u8, u8);

#[test]
fn a_type_difference_names_the_method_and_the_path() {
    let theirs = Service::builder("rapace.Plugin", Version::new(1, 0), Provider::Plugin)
        .unary::<example::PluginConfig, ()>("initialize", 2000)
        .unary::<example::ProcessRequest, other::ProcessResponse>("process", 2001)
        .unary::<(), ()>("shutdown", 2002);
    check(&[example::plugin()], &[theirs], &["rapace.Plugin.process (2001): result.success: bool here, u32 there"]);
}

#[test]
fn fields_are_told_by_name() {
    check_types::<Shape, other::Shape>(&[
        ".a[]?.0[]: u16 here, u8 there",
        ": named name here, renamed there",
        ".added: (u8, u16) only there",
        ": another order: first a here, b there",
    ]);
}

#[test]
fn a_field_with_another_name_and_another_type_is_another_field() {
    check_types::<Named, other::Named>(&[".name: String only here", ".size: u8 only there"]);
}

#[test]
fn variants_are_told_by_name() {
    check_types::<Command, other::Command>(&[
        ".Wait.0: u16 here, u32 there",
        ": named Stop here, Halt there",
        ".Move.y: i8 only here",
        ".Say: variant Say(String) here, variant Say(String, u8) there",
    ]);
    check_types::<Command, Option<Command>>(&[": Command here, Option<Command> there"]);
}

#[test]
fn types_that_read_the_same_are_told_apart() {
    check_types::<Point, other::Point>(&[": Point (unit struct of 0) here, Point (enum of 1) there"]);
    check_types::<[u8; 32], [u8; 16]>(&[": [u8; 32] here, [u8; 16] there"]);
    check_types::<[u8; 32], [u16; 32]>(&["[]: u8 here, u16 there"]);
    check_types::<(u8, u8), (u8, u16)>(&[".1: u8 here, u16 there"]);
    check_types::<(u8, u8), [u8; 2]>(&[": (u8, u8) here, [u8; 2] there"]);
    check_types::<Vec<u8>, std::collections::BTreeSet<u8>>(&[": Vec<u8> here, BTreeSet<u8> there"]);
    check_types::<std::path::PathBuf, String>(&[": PathBuf here, String there"]);
    check_types::<Pair2, other::Pair>(&[": Pair2 here, Pair there"]);
}

#[test]
fn only_the_first_16_changes_of_a_type_are_listed() {
    let tuple = |ty: OwnedNamedType| {
        let name = "t".into();
        let ty = postcard_schema::schema::owned::OwnedDataModelType::Tuple(vec![ty; 20]);
        service("s").method_with("m", Some(1), MethodKind::Unary, OwnedNamedType { name, ty }, <()>::SCHEMA.into())
    };
    let (ours, theirs) = (registry([tuple(u8::SCHEMA.into())]), registry([tuple(i8::SCHEMA.into())]));
    let shown = compare(&ours, &theirs).to_string();
    assert_eq!(shown.lines().count(), 17, "{shown}");
    assert!(shown.ends_with("\ns.m (1): argument: and 4 more"), "{shown}");
}

#[test]
fn a_change_of_a_huge_type_is_told_in_one_line() {
    type Huge = (Many, Many, Many, Many, Many, Many);
    type Many = ([u8; 2], [u16; 2], [u32; 2], [u64; 2], [i8; 2], [i16; 2]);
    let one = |ty: OwnedNamedType| service("s").method_with("m", Some(1), MethodKind::Unary, ty, <()>::SCHEMA.into());
    let (ours, theirs) = (registry([one(Huge::SCHEMA.into())]), registry([one(u8::SCHEMA.into())]));
    let shown = compare(&ours, &theirs).to_string();
    let (head, tail) = ("s.m (1): argument: ", "… here, u8 there");
    assert!(shown.starts_with(&format!("{head}(([u8; 2], ")), "{shown}");
    assert!(shown.ends_with(tail), "{shown}");
    assert_eq!(shown.chars().count(), head.len() + 200 + tail.chars().count());
}
