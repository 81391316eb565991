//! What serde and postcard make of a type's values is what its schema makes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use postcard_schema::Schema;
use postcard_schema::schema::owned::{OwnedDataModelType as Type, OwnedNamedType};
use rapace_registry::json;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Holds both ways against serde.
#[track_caller]
fn check<T: Schema + Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, json: Value) {
    let schema = T::SCHEMA.into();
    let bytes = postcard::to_stdvec(value).unwrap();
    assert_eq!(json::decode(&schema, &bytes).unwrap(), json);
    assert_eq!(json::encode(&schema, &json).unwrap(), bytes);
    assert_eq!(&postcard::from_bytes::<T>(&bytes).unwrap(), value);
}

/// The same, and the JSON is serde's.
#[track_caller]
fn check_as_serde<T: Schema + Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    check(value, serde_json::to_value(value).unwrap());
}

#[derive(Debug, PartialEq, Serialize, serde::Deserialize, Schema)]
enum Command {
    Stop,
    Wait(u32),
    Move(i8, i16),
    Say { text: String, loud: bool },
    Nothing(),
}

#[derive(Debug, PartialEq, Serialize, serde::Deserialize, Schema)]
struct Meters(f64);

#[derive(Debug, PartialEq, Serialize, serde::Deserialize, Schema)]
struct Pair(u8, Meters);

#[derive(Debug, PartialEq, Serialize, serde::Deserialize, Schema)]
struct Marker;

#[derive(Debug, PartialEq, Serialize, serde::Deserialize, Schema)]
struct Everything {
    flag: bool,
    letter: char,
    name: String,
    bytes: Vec<u8>,
    array: [u16; 3],
    tuple: (i8, i16, (u8,)),
    pair: Pair,
    nothing: (),
    marker: Marker,
    commands: Vec<Command>,
    by_name: BTreeMap<String, Option<i32>>,
    set: BTreeSet<u64>,
    outcome: Result<u32, String>,
    single: f32,
}

fn everything() -> Everything {
    Everything {
        flag: true,
        letter: '€',
        name: "Ada \"L\"\n".into(),
        bytes: vec![0, 127, 128, 255],
        array: [0, 300, u16::MAX],
        tuple: (i8::MIN, i16::MIN, (7,)),
        pair: Pair(3, Meters(-0.5)),
        nothing: (),
        marker: Marker,
        commands: vec![
            Command::Stop,
            Command::Wait(u32::MAX),
            Command::Move(-1, 1),
            Command::Say { text: String::new(), loud: false },
            Command::Nothing(),
        ],
        by_name: [("one".into(), Some(i32::MIN)), ("".into(), None)].into(),
        set: [0, 1 << 53, (1 << 53) + 1, u64::MAX].into(),
        outcome: Err("no".into()),
        single: 0.1,
    }
}

#[test]
fn a_value_is_what_serde_makes_of_it() {
    check_as_serde(&everything());
    check_as_serde(&Everything { outcome: Ok(1), set: [].into(), commands: Vec::new(), ..everything() });
    check_as_serde(&(i64::MIN, i64::MAX, u64::MAX, i32::MIN, u16::MAX));
    check_as_serde(&Option::<Vec<Option<Meters>>>::None);
    check_as_serde(&(f64::MIN_POSITIVE, f64::MAX, -0.0, 1e300, f32::MAX));
}

#[test]
fn numbers_of_128_bits_are_strings() {
    let numbers = (i128::MIN, i128::MAX, u128::MAX, 0_i128);
    let json = json!([i128::MIN.to_string(), i128::MAX.to_string(), u128::MAX.to_string(), "0"]);
    check(&numbers, json);
    let bytes = postcard::to_stdvec(&(-5_i128, 5_u128)).unwrap();
    let schema = <(i128, u128)>::SCHEMA.into();
    assert_eq!(json::encode(&schema, &json!([-5, 5])).unwrap(), bytes);
}

#[test]
fn floats_that_are_no_numbers_are_words() {
    check(&(f64::INFINITY, f64::NEG_INFINITY, f32::INFINITY), json!(["inf", "-inf", "inf"]));
    for (schema, bytes) in
        [(f32::SCHEMA.into(), f32::NAN.to_le_bytes().to_vec()), (f64::SCHEMA.into(), f64::NAN.to_le_bytes().to_vec())]
    {
        assert_eq!(json::decode(&schema, &bytes).unwrap(), json!("NaN"));
        assert_eq!(json::encode(&schema, &json!("NaN")).unwrap(), bytes);
    }
}

#[test]
fn some_of_nothing_is_not_nothing() {
    check(&Some(Option::<u8>::None), json!({ "Some": null }));
    check(&Some(Some(7_u8)), json!({ "Some": 7 }));
    check(&Option::<Option<u8>>::None, json!(null));
    check(&Some(()), json!({ "Some": null }));
    check(&Some(Marker), json!({ "Some": null }));
}

/// No Rust type is described like these, but a peer may send them.
#[test]
fn forms_that_stand_for_what_is_in_them() {
    let named = |ty| OwnedNamedType { name: "T".into(), ty };
    let some_unit = named(Type::Option(Box::new(named(Type::TupleStruct(vec![<()>::SCHEMA.into()])))));
    assert_eq!(json::decode(&some_unit, &[1]).unwrap(), json!({ "Some": null }));
    assert_eq!(json::encode(&some_unit, &json!({ "Some": null })).unwrap(), [1]);
    let key = Box::new(named(Type::NewtypeStruct(Box::new(String::SCHEMA.into()))));
    let map = named(Type::Map { key, val: Box::new(u8::SCHEMA.into()) });
    assert_eq!(json::decode(&map, &[1, 1, b'k', 7]).unwrap(), json!({ "k": 7 }));
    assert_eq!(json::encode(&map, &json!({ "k": 7 })).unwrap(), [1, 1, b'k', 7]);
}

#[test]
fn a_map_without_strings_for_keys_is_a_list_of_pairs() {
    check(&BTreeMap::from([(1_u8, 'a'), (2, 'b')]), json!([[1, "a"], [2, "b"]]));
    check(&BTreeMap::from([('x', ())]), json!([["x", null]]));
}

#[test]
fn a_field_that_is_an_option_may_be_left_out() {
    #[derive(Schema)]
    #[allow(dead_code, reason = "only its schema is looked at")]
    struct Request {
        a: Option<u8>,
        b: u8,
        c: Option<()>,
    }
    assert_eq!(json::encode(&Request::SCHEMA.into(), &json!({ "b": 5 })).unwrap(), [0, 5, 0]);
}

#[test]
fn the_order_of_fields_in_the_json_does_not_matter() {
    let schema = Everything::SCHEMA.into();
    let text = serde_json::to_string(&everything()).unwrap();
    let backwards: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json::encode(&schema, &backwards).unwrap(), postcard::to_stdvec(&everything()).unwrap());
}

#[test]
fn a_variant_without_content_may_be_an_object() {
    let schema = Command::SCHEMA.into();
    assert_eq!(json::encode(&schema, &json!({ "Stop": null })).unwrap(), [0]);
}
