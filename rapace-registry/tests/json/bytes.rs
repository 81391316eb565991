//! Any bytes under any schema are a value or an error, and where `postcard-dyn` knows the type, it says the same.

use postcard_schema::schema::owned::{OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType};
use proptest::collection::vec;
use proptest::prelude::*;
use rapace_registry::json::{self, ValueProblem};

use crate::schemas::{Choices, good_schema, may_be_null, schema};

/// Whether `postcard-dyn` has values of this type, in the same form.
fn is_known(schema: &OwnedNamedType) -> bool {
    match &schema.ty {
        Type::Char | Type::Schema | Type::I128 | Type::U128 => false,
        Type::Option(inner) => is_known(inner) && !may_be_null(inner),
        Type::NewtypeStruct(inner) | Type::Seq(inner) => is_known(inner),
        Type::Tuple(items) => items.len() > 1 && items.iter().all(is_known),
        Type::TupleStruct(items) => !items.is_empty() && items.iter().all(is_known),
        Type::Map { key, val } => key.ty == Type::String && is_known(val),
        Type::Struct(fields) => fields.iter().all(|field| is_known(&field.ty)),
        Type::Enum(variants) => variants.iter().all(|variant| match &variant.ty {
            Variant::UnitVariant => true,
            Variant::NewtypeVariant(inner) => is_known(inner),
            Variant::TupleVariant(items) => !items.is_empty() && items.iter().all(is_known),
            Variant::StructVariant(fields) => fields.iter().all(|field| is_known(&field.ty)),
        }),
        _ => true,
    }
}

/// Floats that are no numbers, which it does not know.
fn has_words(value: &serde_json::Value) -> bool {
    let text = value.to_string();
    text.contains("\"NaN\"") || text.contains("inf\"")
}

/// Bytes that are small numbers more often than not.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![0..4_u8, 0..4_u8, any::<u8>()], 0..64)
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(schema in schema(), bytes in bytes()) {
        match json::decode(&schema, &bytes) {
            Ok(value) => {
                // Longer forms of numbers and other NaNs have become the usual ones.
                let again = json::encode(&schema, &value).unwrap();
                prop_assert!(again.len() <= bytes.len());
                prop_assert_eq!(json::decode(&schema, &again), Ok(value));
            }
            Err(error) => prop_assert!(error.to_string().len() <= 4096, "{}", error),
        }
    }

    #[test]
    fn a_value_cut_short_or_changed_is_decoded_or_refused(
        schema in good_schema(),
        numbers in vec(any::<u64>(), 1..50),
        (cut, place, byte) in any::<(usize, usize, u8)>(),
    ) {
        let value = Choices { numbers: numbers.iter().cycle() }.value(&schema);
        let mut bytes = json::encode(&schema, &value).unwrap();
        let Some(last) = bytes.len().checked_sub(1) else { return Ok(()) };
        let error = json::decode(&schema, &bytes[..cut % bytes.len()]).unwrap_err();
        let is_truncated = matches!(error.problem, ValueProblem::Truncated { .. });
        prop_assert!(is_truncated, "{}", error);
        bytes[place % (last + 1)] = byte;
        if let Ok(value) = json::decode(&schema, &bytes) {
            prop_assert!(json::encode(&schema, &value).is_ok());
        }
    }

    #[test]
    fn postcard_dyn_says_the_same_of_any_bytes(
        schema in good_schema().prop_filter("unknown to it", is_known),
        bytes in bytes(),
    ) {
        match json::decode(&schema, &bytes) {
            Ok(value) if has_words(&value) => {}
            Ok(value) => prop_assert_eq!(postcard_dyn::from_slice_dyn(&schema, &bytes), Ok(value)),
            Err(error) => match error.problem {
                // It does not look for the first two, and would take the memory for the third.
                ValueProblem::Trailing { .. } | ValueProblem::Twice { .. } | ValueProblem::TooLarge { .. } => {}
                _ => prop_assert!(postcard_dyn::from_slice_dyn(&schema, &bytes).is_err(), "{}", error),
            },
        }
    }

    #[test]
    fn postcard_dyn_says_the_same_of_any_value(
        schema in good_schema().prop_filter("unknown to it", is_known),
        numbers in vec(any::<u64>(), 1..50),
    ) {
        let value = Choices { numbers: numbers.iter().cycle() }.value(&schema);
        if !has_words(&value) {
            let bytes = json::encode(&schema, &value).unwrap();
            prop_assert_eq!(postcard_dyn::to_stdvec_dyn(&schema, &value), Ok(bytes));
        }
    }
}
