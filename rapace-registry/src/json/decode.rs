//! From bytes to JSON.

use postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType, OwnedNamedValue, OwnedNamedVariant,
};
use serde_json::{Map, Number, Value};

use super::BYTES_MAX;
use super::error::{ValueError, ValueProblem};
use super::input::Input;
use super::kind::{SOME, expected, has_string_keys, may_be_null};
use super::names::Names;
use super::path::{Step, shown};

/// What a list takes at first; what an object takes beside its entries, and an entry beside what is in it: a node of a
/// tree, half full.
const LIST_BYTES: usize = 4 * size_of::<Value>();
const OBJECT_BYTES: usize = 640;
const ENTRY_BYTES: usize = 2 * (size_of::<String>() + size_of::<Value>());

pub(super) fn decode(schema: &OwnedNamedType, bytes: &[u8]) -> Result<Value, ValueError> {
    Names::check(schema)?;
    let mut decoder = Decoder { input: Input::new(bytes, BYTES_MAX) };
    let value = decoder.value(schema)?;
    decoder.input.end()?;
    Ok(value)
}

struct Decoder<'a> {
    input: Input<'a>,
}

impl<'a> Decoder<'a> {
    /// Recurses as deeply as the schema. What has no parts is elsewhere, which keeps the stack small.
    fn value(&mut self, schema: &'a OwnedNamedType) -> Result<Value, ValueError> {
        self.input.charge(size_of::<Value>())?;
        match &schema.ty {
            Type::Option(inner) => self.option(inner),
            Type::NewtypeStruct(inner) => self.value(inner),
            Type::Seq(item) => self.sequence(item),
            Type::TupleStruct(items) => self.tuple_of_type(items),
            Type::Tuple(items) => self.items(items.iter()),
            Type::Map { val, .. } if has_string_keys(schema) => self.object(val),
            Type::Map { key, val } => self.pairs(key, val),
            Type::Struct(fields) => self.fields(fields),
            Type::Enum(variants) => self.variant(variants),
            _ => self.plain(schema),
        }
    }

    /// A value of a type without parts.
    fn plain(&mut self, schema: &'a OwnedNamedType) -> Result<Value, ValueError> {
        Ok(match &schema.ty {
            Type::Bool => Value::Bool(self.input.flag("bool")?),
            Type::I8 => i8::from_le_bytes(self.input.array()?).into(),
            Type::U8 => u8::from_le_bytes(self.input.array()?).into(),
            Type::I16 => self.signed(16)?,
            Type::I32 => self.signed(32)?,
            Type::I64 | Type::Isize => self.signed(64)?,
            Type::U16 => self.unsigned(16)?,
            Type::U32 => self.unsigned(32)?,
            Type::U64 | Type::Usize => self.unsigned(64)?,
            Type::I128 => {
                let number = unzigzag(self.input.varint(128)?);
                self.string(&number.to_string())?
            }
            Type::U128 => {
                let number = self.input.varint(128)?;
                self.string(&number.to_string())?
            }
            Type::F32 => float(f32::from_le_bytes(self.input.array()?).into()),
            Type::F64 => float(f64::from_le_bytes(self.input.array()?)),
            Type::Char => self.character()?,
            Type::String => {
                let text = self.input.text()?;
                self.string(text)?
            }
            Type::ByteArray => self.byte_array()?,
            Type::Unit | Type::UnitStruct => Value::Null,
            _ => return Err(self.input.path.other("a type that has values in JSON", expected(schema))),
        })
    }

    fn character(&mut self) -> Result<Value, ValueError> {
        let text = self.input.text()?;
        if text.chars().count() != 1 {
            return Err(self.input.path.other("char", format!("the string \"{}\"", shown(text))));
        }
        self.string(text)
    }

    fn byte_array(&mut self) -> Result<Value, ValueError> {
        let bytes = self.input.counted_bytes()?;
        self.input.charge(bytes.len().saturating_mul(size_of::<Value>()))?;
        Ok(Value::Array(bytes.iter().map(|byte| (*byte).into()).collect()))
    }

    fn option(&mut self, inner: &'a OwnedNamedType) -> Result<Value, ValueError> {
        match self.input.flag("option")? {
            false => Ok(Value::Null),
            true if may_be_null(inner) => self.object_of(SOME, |this| this.value(inner)),
            true => self.value(inner),
        }
    }

    fn sequence(&mut self, item: &'a OwnedNamedType) -> Result<Value, ValueError> {
        let count = self.input.count()?;
        self.items((0..count).map(|_| item))
    }

    fn variant(&mut self, variants: &'a [OwnedNamedVariant]) -> Result<Value, ValueError> {
        let found = self.input.varint(32)?;
        let index = usize::try_from(found).unwrap_or(usize::MAX);
        let Some(variant) = variants.get(index) else {
            let index = u32::try_from(found).unwrap_or(u32::MAX);
            return Err(self.input.path.error(ValueProblem::VariantIndex { index, count: variants.len() }));
        };
        match &variant.ty {
            Variant::UnitVariant => self.string(&variant.name),
            Variant::NewtypeVariant(inner) => self.object_of(&variant.name, |this| this.value(inner)),
            Variant::TupleVariant(items) => self.object_of(&variant.name, |this| this.tuple_of_type(items)),
            Variant::StructVariant(fields) => self.object_of(&variant.name, |this| this.fields(fields)),
        }
    }

    /// The items of a tuple struct or of a tuple variant. One item stands for itself, as Rust has no such tuples:
    /// `Ok(value)` is described like this.
    fn tuple_of_type(&mut self, items: &'a [OwnedNamedType]) -> Result<Value, ValueError> {
        match items {
            [item] => self.value(item),
            items => self.items(items.iter()),
        }
    }

    /// A list grows as its items are read: a count is only a claim.
    fn items(&mut self, schemas: impl Iterator<Item = &'a OwnedNamedType>) -> Result<Value, ValueError> {
        self.input.charge(LIST_BYTES)?;
        let mut items = Vec::new();
        for (index, schema) in schemas.enumerate() {
            items.push(self.at(Step::Index(index), |this| this.value(schema))?);
        }
        Ok(Value::Array(items))
    }

    fn fields(&mut self, fields: &'a [OwnedNamedValue]) -> Result<Value, ValueError> {
        self.input.charge(OBJECT_BYTES)?;
        let mut object = Map::new();
        for field in fields {
            self.charge_entry(&field.name)?;
            let value = self.at(Step::Name(&field.name), |this| this.value(&field.ty))?;
            object.insert(field.name.clone(), value);
        }
        Ok(Value::Object(object))
    }

    /// A map whose keys are strings.
    fn object(&mut self, val: &'a OwnedNamedType) -> Result<Value, ValueError> {
        self.input.charge(OBJECT_BYTES)?;
        let mut object = Map::new();
        for _ in 0..self.input.count()? {
            let key = self.input.text()?;
            self.charge_entry(key)?;
            let value = self.at(Step::Key(key), |this| this.value(val))?;
            if object.insert(key.to_owned(), value).is_some() {
                return Err(self.input.path.error(ValueProblem::Twice { name: shown(key) }));
            }
        }
        Ok(Value::Object(object))
    }

    fn pairs(&mut self, key: &'a OwnedNamedType, val: &'a OwnedNamedType) -> Result<Value, ValueError> {
        self.input.charge(LIST_BYTES)?;
        let mut pairs = Vec::new();
        for index in 0..self.input.count()? {
            self.input.charge(size_of::<Value>())?;
            pairs.push(self.at(Step::Index(index), |this| this.items([key, val].into_iter()))?);
        }
        Ok(Value::Array(pairs))
    }

    fn object_of(
        &mut self,
        name: &'a str,
        value: impl FnOnce(&mut Self) -> Result<Value, ValueError>,
    ) -> Result<Value, ValueError> {
        self.input.charge(OBJECT_BYTES)?;
        self.charge_entry(name)?;
        let value = self.at(Step::Name(name), value)?;
        Ok(Value::Object(Map::from_iter([(name.to_owned(), value)])))
    }

    fn at<T>(
        &mut self,
        step: Step<'a>,
        read: impl FnOnce(&mut Self) -> Result<T, ValueError>,
    ) -> Result<T, ValueError> {
        self.input.path.enter(step);
        let value = read(self)?;
        self.input.path.leave();
        Ok(value)
    }

    fn charge_entry(&mut self, name: &str) -> Result<(), ValueError> {
        self.input.charge(name.len() + ENTRY_BYTES)
    }

    fn string(&mut self, text: &str) -> Result<Value, ValueError> {
        self.input.charge(text.len())?;
        Ok(text.into())
    }

    fn signed(&mut self, bits: u32) -> Result<Value, ValueError> {
        let number = unzigzag(self.input.varint(bits)?);
        Ok(i64::try_from(number).expect("64 bits at most were read").into())
    }

    fn unsigned(&mut self, bits: u32) -> Result<Value, ValueError> {
        Ok(u64::try_from(self.input.varint(bits)?).expect("64 bits at most were read").into())
    }
}

/// Small numbers of either sign have small codes: 0, -1, 1, -2.
fn unzigzag(code: u128) -> i128 {
    (code >> 1).cast_signed() ^ -(code & 1).cast_signed()
}

fn float(number: f64) -> Value {
    let word = if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "inf"
    } else {
        "-inf"
    };
    Number::from_f64(number).map_or_else(|| word.into(), Value::Number)
}
