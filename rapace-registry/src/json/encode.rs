//! From JSON to bytes.

use std::collections::HashSet;

use postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType, OwnedNamedValue, OwnedNamedVariant,
};
use serde_json::{Map, Value};

use super::BYTES_MAX;
use super::error::{ValueError, ValueProblem};
use super::kind::{SOME, expected, found, has_string_keys, may_be_null};
use super::names::Names;
use super::output::Output;
use super::path::{Step, shown};
use super::suggestion::closest;

/// Variants that are listed where none of them was meant.
const LISTED_MAX: usize = 16;

pub(super) fn encode(schema: &OwnedNamedType, value: &Value) -> Result<Vec<u8>, ValueError> {
    encode_within(BYTES_MAX, schema, value)
}

fn encode_within(bound: usize, schema: &OwnedNamedType, value: &Value) -> Result<Vec<u8>, ValueError> {
    let mut encoder = Encoder { names: Names::check(schema)?, output: Output::new(bound) };
    encoder.value(schema, value)?;
    Ok(encoder.output.into_bytes())
}

struct Encoder<'a> {
    names: Names<'a>,
    output: Output<'a>,
}

impl<'a> Encoder<'a> {
    /// Recurses as deeply as the schema. What has no parts is elsewhere, which keeps the stack small.
    fn value(&mut self, schema: &'a OwnedNamedType, value: &'a Value) -> Result<(), ValueError> {
        match &schema.ty {
            Type::Option(inner) => self.option(inner, value),
            Type::NewtypeStruct(inner) => self.value(inner, value),
            Type::Seq(item) => self.sequence(schema, item, value),
            Type::TupleStruct(items) => self.tuple_of_type(items, value, || expected(schema)),
            Type::Tuple(items) => self.tuple(items, value, || expected(schema)),
            Type::Map { val, .. } if has_string_keys(schema) => self.object(schema, val, value),
            Type::Map { key, val } => self.pairs(schema, key, val, value),
            Type::Struct(fields) => self.fields(fields, value, || expected(schema)),
            Type::Enum(variants) => self.variant(schema, variants, value),
            _ => self.plain(schema, value),
        }
    }

    /// A value of a type without parts.
    fn plain(&mut self, schema: &'a OwnedNamedType, value: &'a Value) -> Result<(), ValueError> {
        match (&schema.ty, value) {
            (Type::Bool, Value::Bool(flag)) => self.output.put(&[u8::from(*flag)]),
            (Type::I8, _) => {
                let [byte, ..] = self.output.signed(schema, value, 8)?.to_le_bytes();
                self.output.put(&[byte])
            }
            (Type::U8, _) => {
                let [byte, ..] = self.output.unsigned(schema, value, 8)?.to_le_bytes();
                self.output.put(&[byte])
            }
            (Type::I16, _) => self.output.put_signed(schema, value, 16),
            (Type::I32, _) => self.output.put_signed(schema, value, 32),
            (Type::I64 | Type::Isize, _) => self.output.put_signed(schema, value, 64),
            (Type::I128, _) => self.output.put_signed(schema, value, 128),
            (Type::U16, _) => self.output.put_unsigned(schema, value, 16),
            (Type::U32, _) => self.output.put_unsigned(schema, value, 32),
            (Type::U64 | Type::Usize, _) => self.output.put_unsigned(schema, value, 64),
            (Type::U128, _) => self.output.put_unsigned(schema, value, 128),
            (Type::F32, _) => match float(value).map(|number| (number, narrow(number))) {
                Some((number, narrow)) if narrow.is_finite() || !number.is_finite() => {
                    self.output.put(&narrow.to_le_bytes())
                }
                _ => Err(self.output.no(schema, value)),
            },
            (Type::F64, _) => match float(value) {
                Some(number) => self.output.put(&number.to_le_bytes()),
                None => Err(self.output.no(schema, value)),
            },
            (Type::Char, Value::String(text)) => self.character(text),
            (Type::String, Value::String(text)) => self.output.text(text),
            (Type::ByteArray, Value::Array(items)) => self.byte_array(items),
            (Type::Unit | Type::UnitStruct, Value::Null) => Ok(()),
            (Type::Schema, _) => Err(self.output.path.other("a type that has values in JSON", expected(schema))),
            _ => Err(self.output.no(schema, value)),
        }
    }

    fn character(&mut self, text: &str) -> Result<(), ValueError> {
        if text.chars().count() != 1 {
            let found = format!("the string \"{}\"", shown(text));
            return Err(self.output.path.other("char (a string of one character)", found));
        }
        self.output.text(text)
    }

    fn byte_array(&mut self, items: &'a [Value]) -> Result<(), ValueError> {
        self.output.count(items.len())?;
        for (index, item) in items.iter().enumerate() {
            let byte = item.as_u64().and_then(|number| u8::try_from(number).ok());
            let Some(byte) = byte else {
                self.output.path.enter(Step::Index(index));
                return Err(self.output.path.other("u8", found(item)));
            };
            self.output.put(&[byte])?;
        }
        Ok(())
    }

    fn option(&mut self, inner: &'a OwnedNamedType, value: &'a Value) -> Result<(), ValueError> {
        if value.is_null() {
            return self.output.put(&[0]);
        }
        self.output.put(&[1])?;
        if !may_be_null(inner) {
            return self.value(inner, value);
        }
        match sole_entry(value) {
            Some((SOME, value)) => self.at(Step::Name(SOME), |this| this.value(inner, value)),
            _ => Err(self.output.path.other("null or {\"Some\": value}", found(value))),
        }
    }

    fn sequence(
        &mut self,
        schema: &OwnedNamedType,
        item: &'a OwnedNamedType,
        value: &'a Value,
    ) -> Result<(), ValueError> {
        let Value::Array(values) = value else { return Err(self.output.no(schema, value)) };
        self.output.count(values.len())?;
        self.items(values.iter().map(|value| (item, value)))
    }

    /// A map whose keys are strings.
    fn object(&mut self, schema: &OwnedNamedType, val: &'a OwnedNamedType, value: &'a Value) -> Result<(), ValueError> {
        let Value::Object(entries) = value else { return Err(self.output.no(schema, value)) };
        self.output.count(entries.len())?;
        for (key, value) in entries {
            self.output.text(key)?;
            self.at(Step::Key(key), |this| this.value(val, value))?;
        }
        Ok(())
    }

    fn pairs(
        &mut self,
        schema: &OwnedNamedType,
        key: &'a OwnedNamedType,
        val: &'a OwnedNamedType,
        value: &'a Value,
    ) -> Result<(), ValueError> {
        let Value::Array(pairs) = value else { return Err(self.output.no(schema, value)) };
        self.output.count(pairs.len())?;
        for (index, pair) in pairs.iter().enumerate() {
            self.at(Step::Index(index), |this| match pair.as_array().map(Vec::as_slice) {
                Some([a, b]) => this.items([(key, a), (val, b)].into_iter()),
                _ => Err(this.output.path.other("[key, value]", found(pair))),
            })?;
        }
        Ok(())
    }

    fn variant(
        &mut self,
        schema: &'a OwnedNamedType,
        variants: &'a [OwnedNamedVariant],
        value: &'a Value,
    ) -> Result<(), ValueError> {
        let (name, content) = match (value, sole_entry(value)) {
            (Value::String(name), _) => (name.as_str(), None),
            (_, Some((name, content))) => (name, Some(content)),
            _ => return Err(self.output.path.other(expected(schema), found(value))),
        };
        let Some(index) = self.names.variant(variants, name) else {
            return Err(self
                .output
                .path
                .error(ValueProblem::UnknownVariant { name: shown(name), known: listed(variants) }));
        };
        self.output.count(index)?;
        let variant = &variants[index];
        let Some(content) = content.or(matches!(variant.ty, Variant::UnitVariant).then_some(&Value::Null)) else {
            let expected = format!("{{\"{}\": ...}}", shown(name));
            return Err(self.output.path.other(expected, format!("the string \"{}\"", shown(name))));
        };
        self.at(Step::Name(name), |this| match &variant.ty {
            Variant::UnitVariant if content.is_null() => Ok(()),
            Variant::UnitVariant => Err(this.output.path.other("null", found(content))),
            Variant::NewtypeVariant(inner) => this.value(inner, content),
            Variant::TupleVariant(items) => {
                this.tuple_of_type(items, content, || format!("an array of {}", items.len()))
            }
            Variant::StructVariant(fields) => this.fields(fields, content, || "an object".to_owned()),
        })
    }

    /// The items of a tuple struct or of a tuple variant; one item stands for itself.
    fn tuple_of_type(
        &mut self,
        items: &'a [OwnedNamedType],
        value: &'a Value,
        expected: impl FnOnce() -> String,
    ) -> Result<(), ValueError> {
        match items {
            [item] => self.value(item, value),
            items => self.tuple(items, value, expected),
        }
    }

    fn tuple(
        &mut self,
        items: &'a [OwnedNamedType],
        value: &'a Value,
        expected: impl FnOnce() -> String,
    ) -> Result<(), ValueError> {
        match value {
            Value::Array(values) if values.len() == items.len() => self.items(items.iter().zip(values)),
            Value::Array(_) => Err(self.output.path.other(format!("an array of {}", items.len()), found(value))),
            _ => Err(self.output.path.other(expected(), found(value))),
        }
    }

    fn items(&mut self, items: impl Iterator<Item = (&'a OwnedNamedType, &'a Value)>) -> Result<(), ValueError> {
        for (index, (schema, value)) in items.enumerate() {
            self.at(Step::Index(index), |this| this.value(schema, value))?;
        }
        Ok(())
    }

    fn fields(
        &mut self,
        fields: &'a [OwnedNamedValue],
        value: &'a Value,
        expected: impl FnOnce() -> String,
    ) -> Result<(), ValueError> {
        let Value::Object(object) = value else {
            return Err(self.output.path.other(expected(), found(value)));
        };
        // Names are unique on both sides, so a key is left over exactly where the numbers differ.
        let present = fields.iter().filter(|field| object.contains_key(&field.name)).count();
        if present < object.len() {
            return Err(self.unknown_field(fields, object));
        }
        for field in fields {
            match (object.get(&field.name), &field.ty.ty) {
                (Some(value), _) => self.at(Step::Name(&field.name), |this| this.value(&field.ty, value))?,
                (None, Type::Option(_)) => self.output.put(&[0])?,
                (None, _) => {
                    return Err(self.output.path.error(ValueProblem::MissingField { name: shown(&field.name) }));
                }
            }
        }
        Ok(())
    }

    /// A key of the object is the name of no field. A field that is there already was not meant by it.
    fn unknown_field(&self, fields: &[OwnedNamedValue], object: &Map<String, Value>) -> ValueError {
        let known: HashSet<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        let name = object.keys().map(String::as_str).find(|name| !known.contains(name)).unwrap_or_default();
        let missing = fields.iter().map(|field| field.name.as_str()).filter(|name| !object.contains_key(*name));
        let closest = closest(name, missing).map(shown);
        self.output.path.error(ValueProblem::UnknownField { name: shown(name), closest })
    }

    fn at(
        &mut self,
        step: Step<'a>,
        write: impl FnOnce(&mut Self) -> Result<(), ValueError>,
    ) -> Result<(), ValueError> {
        self.output.path.enter(step);
        write(self)?;
        self.output.path.leave();
        Ok(())
    }
}

/// The name and the value of an object that has one of each.
fn sole_entry(value: &Value) -> Option<(&str, &Value)> {
    let object = value.as_object().filter(|object| object.len() == 1)?;
    object.iter().next().map(|(name, value)| (name.as_str(), value))
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(word) => match word.as_str() {
            "NaN" => Some(f64::NAN),
            "inf" => Some(f64::INFINITY),
            "-inf" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the nearest float is what is asked for")]
fn narrow(number: f64) -> f32 {
    number as f32
}

fn listed(variants: &[OwnedNamedVariant]) -> String {
    let names: Vec<String> = variants.iter().take(LISTED_MAX).map(|variant| shown(&variant.name)).collect();
    match variants.len().saturating_sub(LISTED_MAX) {
        _ if names.is_empty() => "none".to_owned(),
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use postcard_schema::Schema;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_left_out_is_paid_for() {
        #[derive(Schema)]
        #[allow(dead_code, reason = "only its schema is looked at")]
        struct Row {
            a: Option<u8>,
            b: Option<u8>,
        }
        let (schema, rows) = (Vec::<Row>::SCHEMA.into(), json!([{}, {}]));
        assert_eq!(encode_within(5, &schema, &rows).unwrap(), [2, 0, 0, 0, 0]);
        let error = encode_within(4, &schema, &rows).unwrap_err();
        assert_eq!(error.to_string(), "$[1]: the value takes more than 4 bytes");
        assert_eq!(encode_within(3, &String::SCHEMA.into(), &json!("abc")).unwrap_err().path, "$");
    }
}
