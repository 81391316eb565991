//! What the JSON of a schema looks like.

use postcard_schema::schema::owned::{OwnedDataModelType as Type, OwnedNamedType};
use serde_json::Value;

use super::path::shown;
use crate::shape::Node;

/// The part of an option that tells `Some` of nothing from nothing.
pub(super) const SOME: &str = "Some";

/// The JSON that the schema asks for, in words.
pub(super) fn expected(schema: &OwnedNamedType) -> String {
    let article = match schema.ty {
        Type::Unit | Type::UnitStruct => "null",
        Type::Struct(_) => "an object",
        Type::Map { .. } if has_string_keys(schema) => "an object",
        Type::Map { .. } | Type::Seq(_) | Type::Tuple(_) | Type::TupleStruct(_) => "an array",
        Type::Enum(_) => "a variant",
        _ => return Node::Type(schema).form().to_owned(),
    };
    format!("{article} ({})", Node::Type(schema).brief())
}

/// What is there, in a word.
pub(super) fn found(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "boolean".to_owned(),
        Value::Number(number) => shown(&number.to_string()),
        Value::String(_) => "string".to_owned(),
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::Object(_) => "object".to_owned(),
    }
}

/// Whether values of the type may be `null`.
pub(super) fn may_be_null(schema: &OwnedNamedType) -> bool {
    match &schema.ty {
        Type::Option(_) | Type::Unit | Type::UnitStruct => true,
        Type::NewtypeStruct(inner) => may_be_null(inner),
        Type::TupleStruct(items) => matches!(&items[..], [item] if may_be_null(item)),
        _ => false,
    }
}

/// Whether a map is an object.
pub(super) fn has_string_keys(schema: &OwnedNamedType) -> bool {
    matches!(&schema.ty, Type::Map { key, .. } if is_string(key))
}

fn is_string(schema: &OwnedNamedType) -> bool {
    match &schema.ty {
        Type::String => true,
        Type::NewtypeStruct(inner) => is_string(inner),
        _ => false,
    }
}
