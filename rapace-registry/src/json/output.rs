//! The bytes of a value in the making, within a bound.

use postcard_schema::schema::owned::OwnedNamedType;
use serde_json::Value;

use super::error::{ValueError, ValueProblem};
use super::kind::{expected, found};
use super::path::{Path, shown};

pub(super) struct Output<'a> {
    /// Where in the value the next bytes belong.
    pub(super) path: Path<'a>,
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl<'a> Output<'a> {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { path: Path::default(), bytes: Vec::new(), bytes_max }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Says that this is no value of the type.
    pub(super) fn no(&self, schema: &OwnedNamedType, value: &Value) -> ValueError {
        self.path.other(expected(schema), found(value))
    }

    pub(super) fn put_signed(&mut self, schema: &OwnedNamedType, value: &Value, bits: u32) -> Result<(), ValueError> {
        let number = self.signed(schema, value, bits)?;
        self.varint(((number << 1) ^ (number >> 127)).cast_unsigned())
    }

    pub(super) fn put_unsigned(&mut self, schema: &OwnedNamedType, value: &Value, bits: u32) -> Result<(), ValueError> {
        let number = self.unsigned(schema, value, bits)?;
        self.varint(number)
    }

    pub(super) fn signed(&self, schema: &OwnedNamedType, value: &Value, bits: u32) -> Result<i128, ValueError> {
        let number = match value {
            Value::Number(number) => number.as_i64().map(i128::from).or(number.as_u64().map(i128::from)),
            Value::String(digits) if bits == 128 => digits.parse().ok(),
            _ => None,
        };
        let fits = |number: &i128| number >> (bits - 1) == 0 || number >> (bits - 1) == -1;
        number.filter(fits).ok_or_else(|| self.no_number(schema, value, bits))
    }

    pub(super) fn unsigned(&self, schema: &OwnedNamedType, value: &Value, bits: u32) -> Result<u128, ValueError> {
        let number = match value {
            Value::Number(number) => number.as_u64().map(u128::from),
            Value::String(digits) if bits == 128 => digits.parse().ok(),
            _ => None,
        };
        let fits = |number: &u128| bits == 128 || number >> bits == 0;
        number.filter(fits).ok_or_else(|| self.no_number(schema, value, bits))
    }

    fn no_number(&self, schema: &OwnedNamedType, value: &Value, bits: u32) -> ValueError {
        match value {
            Value::String(text) if bits == 128 => {
                let expected = format!("{} (a string of digits)", expected(schema));
                self.path.other(expected, format!("the string \"{}\"", shown(text)))
            }
            value => self.path.other(expected(schema), found(value)),
        }
    }

    pub(super) fn text(&mut self, text: &str) -> Result<(), ValueError> {
        self.count(text.len())?;
        self.put(text.as_bytes())
    }

    pub(super) fn count(&mut self, count: usize) -> Result<(), ValueError> {
        self.varint(count as u128)
    }

    fn varint(&mut self, mut number: u128) -> Result<(), ValueError> {
        loop {
            let [low, ..] = number.to_le_bytes();
            number >>= 7;
            if number == 0 {
                return self.put(&[low]);
            }
            self.put(&[low | 0x80])?;
        }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        if bytes.len() > self.bytes_max - self.bytes.len() {
            return Err(self.path.error(ValueProblem::TooLarge { bound: self.bytes_max }));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}
