//! Values as JSON: encoded and decoded by a schema, without the Rust type.
//!
//! | schema | JSON |
//! |---|---|
//! | `bool`, integers of up to 64 bits, floats | boolean, number |
//! | `i128`, `u128` | a string of digits; a number is taken too |
//! | a float that is no number | `"NaN"`, `"inf"`, `"-inf"` |
//! | string, `char` | string |
//! | sequence, array, tuple, byte array | array |
//! | option | `null` or the value; `{"Some": value}` where the value itself may be `null` |
//! | unit, unit struct | `null` |
//! | newtype struct | what is in it |
//! | struct | object; an option may be left out |
//! | map with string keys | object |
//! | any other map | array of `[key, value]` |
//! | enum, `Result` | `"Unit"`, `{"New": value}`, `{"Tuple": [..]}`, `{"Struct": {..}}` |
//!
//! That is serde's form, except for options that it cannot tell apart, and for maps.
//!
//! Schema, bytes and JSON may all come from a peer that lies. Schemas are nested 64 deep at most, what is made of bytes or
//! of JSON takes at most [`BYTES_MAX`], and whatever does not fit is an error that names the place.
//!
//! The values are converted while schema and bytes are walked. The crate `postcard-dyn` does the same for most types, but
//! panics on some and takes a peer's counts as they are; behind a walk that checks all that, nothing would be left for it
//! to do. The property tests hold this module against it.

mod decode;
mod encode;
mod error;
mod input;
mod kind;
mod names;
mod output;
mod path;
mod suggestion;

use postcard_schema::schema::owned::OwnedNamedType;
use serde_json::Value;

pub use error::{ValueError, ValueProblem};

/// The memory that a decoded value may take, roughly, and the bytes of an encoded one: 256 MiB. A schema can make much of
/// little: an object of a single byte, or units of none at all.
pub const BYTES_MAX: usize = 256 << 20;

/// A JSON value in postcard's encoding.
///
/// ```
/// use postcard_schema::Schema;
/// use rapace_registry::json;
/// use serde_json::json;
///
/// #[derive(Schema)]
/// # #[allow(dead_code)]
/// struct Request {
///     retries: u32,
///     name: Option<String>,
/// }
///
/// let schema = Request::SCHEMA.into();
/// assert_eq!(json::encode(&schema, &json!({ "retries": 300 }))?, [0xac, 2, 0]);
/// let error = json::encode(&schema, &json!({ "retrys": 300 })).unwrap_err();
/// assert_eq!(error.to_string(), "$: unknown field `retrys`, did you mean `retries`?");
/// let error = json::encode(&schema, &json!({ "retries": "many" })).unwrap_err();
/// assert_eq!(error.to_string(), "$.retries: expected u32, found string");
/// # Ok::<(), json::ValueError>(())
/// ```
///
/// # Errors
///
/// When the value is not of the schema's type.
pub fn encode(schema: &OwnedNamedType, value: &Value) -> Result<Vec<u8>, ValueError> {
    encode::encode(schema, value)
}

/// The JSON value that postcard-encoded bytes stand for.
///
/// # Errors
///
/// When the bytes are anything but one whole value of the schema's type.
pub fn decode(schema: &OwnedNamedType, bytes: &[u8]) -> Result<Value, ValueError> {
    decode::decode(schema, bytes)
}
