//! Target `json`: values of a peer's types, as bytes and as JSON, by schemas that the peer made up.

mod sample;
mod schema;

use arbitrary::Unstructured;
use postcard_schema::Schema;
use postcard_schema::schema::owned::OwnedNamedType;
use rapace_registry::json::{self, ValueError};
use rapace_service::__private::{decode_owned, encode};
use serde_json::Value;

use self::sample::Sample;

/// The longest text of an error: a path of 64 steps, each shown in at most 64 characters, and what is wrong there.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// Converts the bytes both ways: by a schema that they begin with, and as a Rust type by its own.
///
/// What becomes JSON becomes bytes again and the same JSON; what becomes bytes becomes JSON again and the same bytes. Of the
/// Rust type, the typed decoder and the schema accept the same bytes and find the same value in them. What is refused is
/// refused with a text of bounded length.
pub fn json(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else { return };
    match mode % 4 {
        0 => agree(rest),
        1 => from_json(&Sample::SCHEMA.into(), rest),
        mode => {
            let mut u = Unstructured::new(rest);
            let Ok(schema) = schema::schema(&mut u) else { return };
            let rest = u.take_rest();
            if mode == 2 { from_bytes(&schema, rest) } else { from_json(&schema, rest) }
        }
    }
}

fn from_bytes(schema: &OwnedNamedType, bytes: &[u8]) {
    let Some(value) = taken(json::decode(schema, bytes)) else { return };
    let again = json::encode(schema, &value).expect("what was decoded is a value of the type");
    // Numbers may be written longer than they need to be.
    assert!(again.len() <= bytes.len(), "{} bytes became {}", bytes.len(), again.len());
    assert_eq!(json::decode(schema, &again).as_ref(), Ok(&value));
    from_value(schema, &value);
}

fn from_json(schema: &OwnedNamedType, text: &[u8]) {
    if let Ok(value) = serde_json::from_slice(text) {
        from_value(schema, &value);
    }
}

fn from_value(schema: &OwnedNamedType, value: &Value) {
    let Some(bytes) = taken(json::encode(schema, value)) else { return };
    let again = json::decode(schema, &bytes).expect("what was encoded is of the type");
    assert_eq!(json::encode(schema, &again), Ok(bytes), "{value} became {again}");
}

/// Two readers of the same bytes.
fn agree(bytes: &[u8]) {
    let schema = Sample::SCHEMA.into();
    let by_schema = json::decode(&schema, bytes);
    let typed = decode_owned::<Sample>(bytes);
    // Of several characters where one belongs, postcard takes the first.
    let is_lax = typed.is_ok() && by_schema.as_ref().is_err_and(|error| error.path == "$.letter");
    assert!(typed.is_ok() == by_schema.is_ok() || is_lax, "{typed:?} typed, {by_schema:?} by the schema");
    let (Ok(typed), Some(value)) = (typed, taken(by_schema)) else { return };
    let again = encode(&typed).expect("a sample has an encoding");
    assert_eq!(json::encode(&schema, &value).as_deref(), Ok(&*again));
    assert_eq!(decode_owned::<Sample>(&again).as_ref(), Ok(&typed));
    from_bytes(&schema, &again);
}

fn taken<T>(outcome: Result<T, ValueError>) -> Option<T> {
    if let Err(error) = &outcome {
        let text = error.to_string();
        assert!(error.path.starts_with('$') && text.len() <= ERROR_BYTES_MAX, "{} bytes: {text}", text.len());
        assert!(!text.contains('\n'), "{text}");
    }
    outcome.ok()
}
