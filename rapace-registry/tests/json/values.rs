//! Whatever value a type has, it comes back from its bytes; and any other JSON is refused.

use proptest::collection::vec;
use proptest::prelude::*;
use rapace_registry::json;
use serde_json::{Value, json};

use crate::schemas::{Choices, good_schema, schema};

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u8>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[ab0-9]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("a0|a1|b0|b1|a|b|Some", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

/// Puts another value into the place to which these steps lead.
fn change(value: &mut Value, way: &[usize], to: Value) {
    match (value, way) {
        (Value::Array(items), [step, way @ ..]) if !items.is_empty() => {
            let index = step % items.len();
            change(&mut items[index], way, to);
        }
        (Value::Object(map), [step, way @ ..]) if !map.is_empty() => {
            let index = step % map.len();
            change(map.values_mut().nth(index).unwrap(), way, to);
        }
        (value, _) => *value = to,
    }
}

proptest! {
    #[test]
    fn a_value_comes_back_from_its_bytes(schema in good_schema(), numbers in vec(any::<u64>(), 1..50)) {
        let value = Choices { numbers: numbers.iter().cycle() }.value(&schema);
        let bytes = json::encode(&schema, &value).map_err(|error| TestCaseError::fail(format!("{error} {value}")))?;
        prop_assert_eq!(json::decode(&schema, &bytes), Ok(value));
    }

    #[test]
    fn any_json_is_encoded_or_refused(schema in schema(), value in json()) {
        match json::encode(&schema, &value) {
            Ok(bytes) => prop_assert!(json::decode(&schema, &bytes).is_ok()),
            Err(error) => prop_assert!(error.to_string().starts_with('$')),
        }
    }

    /// Changes one value somewhere, so that most of it still fits.
    #[test]
    fn a_value_with_one_change_is_encoded_or_refused(
        schema in good_schema(),
        numbers in vec(any::<u64>(), 1..50),
        to in json(),
        way in vec(any::<usize>(), 0..6),
    ) {
        let mut value = Choices { numbers: numbers.iter().cycle() }.value(&schema);
        change(&mut value, &way, to);
        if let Ok(bytes) = json::encode(&schema, &value) {
            prop_assert!(json::decode(&schema, &bytes).is_ok());
        }
    }
}
