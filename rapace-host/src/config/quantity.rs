//! Durations, sizes, versions and sums as a file writes them.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use rapace_registry::Version;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

/// A value that a file writes as a text, and some as a number too.
pub(crate) trait Quantity: Sized {
    /// What is expected.
    const EXPECTED: &'static str;

    /// From a text.
    fn from_text(text: &str) -> Option<Self>;

    /// From a number.
    fn from_number(_: u64) -> Option<Self> {
        None
    }

    /// The JSON schema.
    fn schema() -> Schema;
}

/// In the place of a `T` in a file.
pub(crate) struct Written<T>(pub(crate) T);

impl<'de, T: Quantity> Deserialize<'de> for Written<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WrittenVisitor(PhantomData)).map(Self)
    }
}

impl<T: Quantity> JsonSchema for Written<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::EXPECTED.into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        T::schema()
    }
}

struct WrittenVisitor<T>(PhantomData<T>);

impl<T: Quantity> Visitor<'_> for WrittenVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        T::from_number(number).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
    }
}

/// For `deserialize_with`.
pub(crate) fn quantity<'de, D: Deserializer<'de>, T: Quantity>(deserializer: D) -> Result<T, D::Error> {
    Written::deserialize(deserializer).map(|Written(value)| value)
}

/// The same for what may be absent.
pub(crate) fn optional<'de, D: Deserializer<'de>, T: Quantity>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer).map(|written| written.map(|Written(value)| value))
}

impl Quantity for Duration {
    const EXPECTED: &'static str = "a duration such as 250ms, 5m or 1h30m";

    fn from_text(text: &str) -> Option<Self> {
        // Longer ones overflow an Instant on the way.
        humantime::parse_duration(text).ok().filter(|duration| *duration <= Self::from_secs(100 * 365 * 24 * 3600))
    }

    fn schema() -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^\\s*(0|(\\d+\\s*[A-Za-zµ]+\\s*)+)$",
            "description": "A duration such as 250ms, 5m or 1h30m.",
        })
    }
}

/// Bytes: a number, or a text with a unit.
impl Quantity for u64 {
    const EXPECTED: &'static str = "a size such as 4096, 64KiB, 4MiB or 1GiB";

    fn from_text(text: &str) -> Option<Self> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit: Self = match text.get(digits.len()..)?.trim_start() {
            "B" | "" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        };
        let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<Self>().ok().filter(|_| is_plain)?.checked_mul(unit)
    }

    fn from_number(number: Self) -> Option<Self> {
        Some(number)
    }

    fn schema() -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": "^\\d+\\s*(B|KiB|MiB|GiB)?$" },
            ],
            "description": "Bytes, as a number or as a size such as 64KiB, 4MiB or 1GiB.",
        })
    }
}

impl Quantity for usize {
    const EXPECTED: &'static str = u64::EXPECTED;

    fn from_text(text: &str) -> Option<Self> {
        u64::from_text(text)?.try_into().ok()
    }

    fn from_number(number: u64) -> Option<Self> {
        number.try_into().ok()
    }

    fn schema() -> Schema {
        u64::schema()
    }
}

impl Quantity for u32 {
    const EXPECTED: &'static str = "a size below 4GiB such as 4096, 64KiB or 4MiB";

    fn from_text(text: &str) -> Option<Self> {
        u64::from_text(text)?.try_into().ok()
    }

    fn from_number(number: u64) -> Option<Self> {
        number.try_into().ok()
    }

    fn schema() -> Schema {
        u64::schema()
    }
}

impl Quantity for Version {
    const EXPECTED: &'static str = "a version of two numbers as a text, such as \"1.0\"";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^(0|[1-9]\\d*)\\.(0|[1-9]\\d*)$", "description": "A version such as 1.0." })
    }
}

/// A SHA-256.
impl Quantity for [u8; 32] {
    const EXPECTED: &'static str = "64 hexadecimal digits";

    fn from_text(text: &str) -> Option<Self> {
        let mut sum = [0; 32];
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
        if pairs.len() != sum.len() {
            return None;
        }
        for (byte, pair) in sum.iter_mut().zip(pairs) {
            let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
            *byte = u8::try_from(high? * 16 + low?).ok()?;
        }
        Some(sum)
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9A-Fa-f]{64}$", "description": "64 hexadecimal digits." })
    }
}
