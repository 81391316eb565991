//! Schemas and values by chance.

use postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType, OwnedNamedValue, OwnedNamedVariant,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

/// A schema of any form. Names may stand twice.
pub(crate) fn schema() -> impl Strategy<Value = OwnedNamedType> {
    let leaf = select(vec![
        Type::Bool,
        Type::I8,
        Type::U8,
        Type::I16,
        Type::I32,
        Type::I64,
        Type::I128,
        Type::U16,
        Type::U32,
        Type::U64,
        Type::U128,
        Type::Usize,
        Type::Isize,
        Type::F32,
        Type::F64,
        Type::Char,
        Type::String,
        Type::ByteArray,
        Type::Unit,
        Type::UnitStruct,
        Type::Schema,
    ]);
    let named = |ty: Type| OwnedNamedType { name: "T".into(), ty };
    leaf.prop_map(named).prop_recursive(4, 24, 4, move |inner| {
        let boxed = inner.clone().prop_map(Box::new).boxed();
        let items = vec(inner.clone(), 0..4).boxed();
        let field = (label(), inner).prop_map(|(name, ty)| OwnedNamedValue { name, ty });
        let fields = vec(field, 0..4).boxed();
        let variant = prop_oneof![
            Just(Variant::UnitVariant),
            boxed.clone().prop_map(Variant::NewtypeVariant),
            items.clone().prop_map(Variant::TupleVariant),
            fields.clone().prop_map(Variant::StructVariant),
        ];
        let variant = (label(), variant).prop_map(|(name, ty)| OwnedNamedVariant { name, ty }).boxed();
        let string = Box::new(OwnedNamedType { name: "String".into(), ty: Type::String });
        let ty = prop_oneof![
            boxed.clone().prop_map(Type::Option),
            boxed.clone().prop_map(Type::NewtypeStruct),
            boxed.clone().prop_map(Type::Seq),
            items.clone().prop_map(Type::Tuple),
            items.prop_map(Type::TupleStruct),
            (boxed.clone(), boxed.clone()).prop_map(|(key, val)| Type::Map { key, val }),
            boxed.prop_map(move |val| Type::Map { key: string.clone(), val }),
            fields.prop_map(Type::Struct),
            vec(variant.clone(), 1..4).prop_map(Type::Enum),
            vec(variant, 17..20).prop_map(Type::Enum),
        ];
        ty.prop_map(named)
    })
}

/// A schema whose types all have values, and whose names stand once.
pub(crate) fn good_schema() -> impl Strategy<Value = OwnedNamedType> {
    schema().prop_map(|mut schema| {
        mend(&mut schema);
        schema
    })
}

fn mend(schema: &mut OwnedNamedType) {
    match &mut schema.ty {
        Type::Option(inner) | Type::NewtypeStruct(inner) | Type::Seq(inner) => mend(inner),
        Type::Tuple(items) | Type::TupleStruct(items) => items.iter_mut().for_each(mend),
        Type::Map { key, val } => {
            mend(key);
            mend(val);
        }
        Type::Struct(fields) => mend_fields(fields),
        Type::Enum(variants) => {
            for (index, variant) in variants.iter_mut().enumerate() {
                variant.name += &index.to_string();
                match &mut variant.ty {
                    Variant::UnitVariant => {}
                    Variant::NewtypeVariant(inner) => mend(inner),
                    Variant::TupleVariant(items) => items.iter_mut().for_each(mend),
                    Variant::StructVariant(fields) => mend_fields(fields),
                }
            }
        }
        ty => {
            if *ty == Type::Schema {
                *ty = Type::Unit;
            }
        }
    }
}

fn mend_fields(fields: &mut [OwnedNamedValue]) {
    for (index, field) in fields.iter_mut().enumerate() {
        field.name += &index.to_string();
        mend(&mut field.ty);
    }
}

fn label() -> impl Strategy<Value = String> {
    select(vec!["a", "b", "é \u{1b}", "Some"]).prop_map(str::to_owned)
}

/// Numbers that choose among the values of a type.
pub(crate) struct Choices<'a> {
    pub(crate) numbers: std::iter::Cycle<std::slice::Iter<'a, u64>>,
}

impl Choices<'_> {
    fn next(&mut self) -> u64 {
        *self.numbers.next().unwrap()
    }

    fn count(&mut self) -> usize {
        usize::try_from(self.next() % 4).unwrap()
    }

    fn wide(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }

    /// A value of a good schema.
    pub(crate) fn value(&mut self, schema: &OwnedNamedType) -> Value {
        match &schema.ty {
            Type::Bool => json!(self.next().is_multiple_of(2)),
            Type::I8 => json!(i8::from_le_bytes([self.next().to_le_bytes()[0]])),
            Type::U8 => json!(self.next().to_le_bytes()[0]),
            Type::I16 => json!(self.next().cast_signed() >> 48),
            Type::I32 => json!(self.next().cast_signed() >> 32),
            Type::I64 | Type::Isize => json!(self.next().cast_signed()),
            Type::I128 => json!(self.wide().cast_signed().to_string()),
            Type::U16 => json!(self.next() >> 48),
            Type::U32 => json!(self.next() >> 32),
            Type::U64 | Type::Usize => json!(self.next()),
            Type::U128 => json!(self.wide().to_string()),
            Type::F32 => {
                let [a, b, c, d, ..] = self.next().to_le_bytes();
                float(f32::from_le_bytes([a, b, c, d]).into())
            }
            Type::F64 => float(f64::from_le_bytes(self.next().to_le_bytes())),
            Type::Char => json!(["a", "é", "€", "🦀"][self.count()]),
            Type::String => json!("aé€🦀".chars().take(self.count()).collect::<String>()),
            Type::ByteArray => json!(self.next().to_le_bytes()[..self.count()]),
            Type::Option(inner) => match (self.next() % 2, self.value(inner)) {
                (0, _) => Value::Null,
                (_, value) if may_be_null(inner) => json!({ "Some": value }),
                (_, value) => value,
            },
            Type::Unit | Type::UnitStruct => Value::Null,
            Type::NewtypeStruct(inner) => self.value(inner),
            Type::Seq(item) => (0..self.count()).map(|_| self.value(item)).collect(),
            Type::Tuple(items) => self.tuple(items),
            Type::TupleStruct(items) => self.tuple_of_type(items),
            Type::Map { key, val } if is_string(key) => {
                let entries = (0..self.count()).map(|_| {
                    let key = self.value(key).as_str().unwrap().to_owned();
                    (key, self.value(val))
                });
                Value::Object(entries.collect())
            }
            Type::Map { key, val } => (0..self.count()).map(|_| json!([self.value(key), self.value(val)])).collect(),
            Type::Struct(fields) => self.fields(fields),
            Type::Enum(variants) => {
                let index = self.next() % u64::try_from(variants.len()).unwrap();
                let variant = &variants[usize::try_from(index).unwrap()];
                let content = match &variant.ty {
                    Variant::UnitVariant => return json!(variant.name),
                    Variant::NewtypeVariant(inner) => self.value(inner),
                    Variant::TupleVariant(items) => self.tuple_of_type(items),
                    Variant::StructVariant(fields) => self.fields(fields),
                };
                Value::Object(Map::from_iter([(variant.name.clone(), content)]))
            }
            Type::Schema => panic!("a good schema describes no schemas"),
        }
    }

    fn tuple(&mut self, items: &[OwnedNamedType]) -> Value {
        items.iter().map(|item| self.value(item)).collect()
    }

    fn tuple_of_type(&mut self, items: &[OwnedNamedType]) -> Value {
        match items {
            [item] => self.value(item),
            items => self.tuple(items),
        }
    }

    fn fields(&mut self, fields: &[OwnedNamedValue]) -> Value {
        Value::Object(fields.iter().map(|field| (field.name.clone(), self.value(&field.ty))).collect())
    }
}

fn float(number: f64) -> Value {
    match number {
        number if number.is_nan() => json!("NaN"),
        f64::INFINITY => json!("inf"),
        f64::NEG_INFINITY => json!("-inf"),
        number => json!(number),
    }
}

fn is_string(schema: &OwnedNamedType) -> bool {
    match &schema.ty {
        Type::NewtypeStruct(inner) => is_string(inner),
        ty => *ty == Type::String,
    }
}

pub(crate) fn may_be_null(schema: &OwnedNamedType) -> bool {
    match &schema.ty {
        Type::NewtypeStruct(inner) => may_be_null(inner),
        Type::TupleStruct(items) if items.len() == 1 => may_be_null(&items[0]),
        ty => matches!(ty, Type::Option(_) | Type::Unit | Type::UnitStruct),
    }
}
