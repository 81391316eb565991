//! Schemas, bytes and values made up by a peer: little of them asks for much.

use postcard_schema::Schema;
use postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType, OwnedNamedValue, OwnedNamedVariant,
};
use rapace_registry::json::{self, BYTES_MAX, ValueProblem};
use serde_json::{Value, json};

/// 2^60 as a varint.
const HUGE: [u8; 9] = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10];

fn named(ty: Type) -> OwnedNamedType {
    OwnedNamedType { name: "T".into(), ty }
}

fn field(name: &str, ty: OwnedNamedType) -> OwnedNamedValue {
    OwnedNamedValue { name: name.into(), ty }
}

fn sequence(item: OwnedNamedType) -> OwnedNamedType {
    named(Type::Seq(Box::new(item)))
}

/// Types that hold the type before them, so deep.
fn nested(depth: usize, innermost: Type, outer: impl Fn(OwnedNamedType) -> Type) -> OwnedNamedType {
    (1..depth).fold(named(innermost), |inner, _| named(outer(inner)))
}

fn is_too_large(problem: &ValueProblem) -> bool {
    *problem == ValueProblem::TooLarge { bound: BYTES_MAX }
}

#[test]
fn a_count_is_only_a_claim() {
    for item in [Type::U8, Type::String, Type::F64, Type::Enum(Vec::new())] {
        let error = json::decode(&sequence(named(item.clone())), &HUGE).unwrap_err();
        let problem = ValueProblem::Truncated { needed: if item == Type::F64 { 8 } else { 1 }, left: 0 };
        assert_eq!((error.path.as_str(), &error.problem), ("$[0]", &problem));
    }
    for whole in [Type::String, Type::ByteArray] {
        let error = json::decode(&named(whole), &HUGE).unwrap_err();
        assert_eq!(error.problem, ValueProblem::Truncated { needed: 1 << 60, left: 0 });
    }
}

#[test]
fn items_without_bytes_end_where_memory_does() {
    let unit = || named(Type::Unit);
    let map = |key: OwnedNamedType| Type::Map { key: Box::new(key), val: Box::new(unit()) };
    for ty in [Type::Seq(Box::new(unit())), Type::Seq(Box::new(named(Type::Tuple(Vec::new())))), map(unit())] {
        let error = json::decode(&named(ty), &HUGE).unwrap_err();
        assert!(is_too_large(&error.problem), "{error}");
    }
}

#[test]
fn a_byte_that_makes_many_objects_is_paid_for() {
    let name = "n".repeat(128);
    let objects = sequence(nested(63, Type::U8, |inner| Type::Struct(vec![field(&name, inner)])));
    let bytes = [[0x80, 0x80, 0x40].as_slice(), &[0; 1 << 20]].concat();
    let error = json::decode(&objects, &bytes).unwrap_err();
    assert!(is_too_large(&error.problem), "{error}");
}

#[test]
fn many_variants_are_looked_up_quickly() {
    let variant = |index: u32| OwnedNamedVariant { name: index.to_string(), ty: Variant::UnitVariant };
    let variants = (0..65_000).map(variant).collect();
    let schema = sequence(named(Type::Enum(variants)));
    let value = Value::from(vec![json!("64999"); 100_000]);
    let bytes = json::encode(&schema, &value).unwrap();
    assert_eq!(json::decode(&schema, &bytes).unwrap(), value);
}

#[test]
fn names_that_stand_twice_are_refused() {
    let twice = Type::Struct(vec![field("a", named(Type::U8)), field("a", named(Type::U8))]);
    let error = json::decode(&sequence(named(twice)), &[0]).unwrap_err();
    assert_eq!(error.to_string(), "$: `a` is there twice");
    let variant = || OwnedNamedVariant { name: "V".into(), ty: Variant::UnitVariant };
    let error = json::encode(&named(Type::Enum(vec![variant(), variant()])), &json!("V")).unwrap_err();
    assert_eq!(error.to_string(), "$: `V` is there twice");
}

#[test]
fn a_name_from_a_peer_is_shown_on_one_line_and_cut() {
    let check = |name: &str, path: &str| {
        let schema = named(Type::Struct(vec![field(name, named(Type::Bool))]));
        assert_eq!(json::decode(&schema, &[2]).unwrap_err().path, path);
    };
    check("a_b1", "$.a_b1");
    check("", "$[\"\"]");
    check("a b", "$[\"a b\"]");
    check("a\n\u{1b}", "$[\"a\\n\\u{1b}\"]");
    check(&"n".repeat(65), &format!("$.{}…", "n".repeat(64)));
}

#[test]
fn schemas_of_schemas_have_no_json() {
    let error = json::decode(&named(Type::Schema), &[0]).unwrap_err();
    assert_eq!(error.to_string(), "$: expected a type that has values in JSON, found schema");
    assert!(json::encode(&named(Type::Schema), &json!(null)).is_err());
}

#[test]
fn the_deepest_schemas_take_little_stack_and_deeper_ones_are_refused() {
    type Nesting = fn(OwnedNamedType) -> Type;
    let nestings: [Nesting; 9] = [
        |inner| Type::Option(Box::new(inner)),
        |inner| Type::NewtypeStruct(Box::new(inner)),
        |inner| Type::Seq(Box::new(inner)),
        |inner| Type::Tuple(vec![inner]),
        |inner| Type::TupleStruct(vec![inner, u8::SCHEMA.into()]),
        |inner| Type::Map { key: Box::new(String::SCHEMA.into()), val: Box::new(inner) },
        |inner| Type::Map { key: Box::new(inner), val: Box::new(u8::SCHEMA.into()) },
        |inner| Type::Struct(vec![field("f", inner)]),
        |inner| {
            let ty = Variant::StructVariant(vec![field("f", inner)]);
            Type::Enum(vec![OwnedNamedVariant { name: "V".into(), ty }])
        },
    ];
    let work = move || {
        for nesting in nestings {
            let schema = nested(64, Type::Bool, nesting);
            // One item, or one byte, on each level.
            let error = json::decode(&schema, &[1; 4096]).unwrap_err();
            assert!(!error.path.is_empty());
            let zeros = json::decode(&schema, &[0; 4096]).unwrap_err();
            assert!(matches!(zeros.problem, ValueProblem::Trailing { .. }), "{zeros}");
            assert!(json::encode(&schema, &json!(1)).is_err());
            let deeper = named(nesting(schema));
            let error = json::decode(&deeper, &[0]).unwrap_err();
            assert!(error.to_string().ends_with("nested 65 deep or deeper, allowed are 64"), "{error}");
        }
    };
    std::thread::Builder::new().stack_size(512 << 10).spawn(work).unwrap().join().unwrap();
}
