//! A tree as a type of serde's.
//!
//! serde stops at the first error. So what is wrong is noted and set aside, and the rest is tried again without it, until
//! nothing more is wrong: fields that are set aside count as absent.

use std::fmt::{self, Display};

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, Expected, IntoDeserializer as _,
    MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::wording::{expected, found, instead, quoted};
use super::{Document, Entry, Node, PROBLEMS_MAX, Position, Step, Value};

impl Document {
    /// What the file says, as far as it can be made out beside what is wrong with it.
    pub(crate) fn decode<T: DeserializeOwned>(&mut self) -> Option<T> {
        // Each turn sets something aside; what follows from that is not told, so there may be more turns than problems.
        for _ in 0..2 * PROBLEMS_MAX {
            if self.root.set_aside.get() || self.problems.len() >= PROBLEMS_MAX {
                return None;
            }
            let error = match T::deserialize(&self.root) {
                Ok(made) => return Some(made),
                Err(error) => error.at(&self.root, self.root.at, None),
            };
            let place = error.place?;
            if let Some(message) = place.message {
                let path: Vec<_> = place.path.into_iter().rev().collect();
                self.problem(place.at, &path, message);
            }
        }
        None
    }
}

/// Something is wrong, and where once that is known.
#[derive(Debug)]
pub(crate) struct DecodeError {
    what: What,
    place: Option<Box<Place>>,
}

#[derive(Debug)]
enum What {
    Expected(String),
    UnknownName { name: String, instead: String },
    UnknownField { instead: String },
    Missing(&'static str),
    Other(String),
}

#[derive(Debug)]
struct Place {
    at: Position,
    /// From within to without.
    path: Vec<Step>,
    /// None where it follows from what is told already.
    message: Option<String>,
}

impl DecodeError {
    /// It concerns this value, unless it is one within. `step` led to it.
    fn at(self, node: &Node, at: Position, step: Option<Step>) -> Self {
        let Self { what, place } = self;
        let mut place = place.unwrap_or_else(|| {
            node.set_aside.set(true);
            let mut path = Vec::new();
            let message = match &what {
                What::Expected(expected) => Some(format!("found {}, expected {expected}", found(node))),
                What::UnknownName { name, instead } => Some(format!("found {}, {instead}", quoted(name))),
                What::UnknownField { instead } => Some(format!("is not a known field; {instead}")),
                What::Other(message) => Some(message.clone()),
                What::Missing(name) => {
                    path.push(Step::from(*name));
                    let is_told = node.entries().iter().any(|entry| entry.key == *name);
                    (!is_told).then(|| "is missing".to_owned())
                }
            };
            Box::new(Place { at, path, message })
        });
        place.path.extend(step);
        Self { what, place: Some(place) }
    }
}

impl Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.what)
    }
}

impl std::error::Error for DecodeError {}

impl From<What> for DecodeError {
    fn from(what: What) -> Self {
        Self { what, place: None }
    }
}

impl serde::de::Error for DecodeError {
    fn custom<T: Display>(message: T) -> Self {
        What::Other(message.to_string()).into()
    }

    fn invalid_type(_: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        What::Expected(expected(&wanted.to_string())).into()
    }

    fn invalid_value(_: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        What::Expected(expected(&wanted.to_string())).into()
    }

    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Self {
        What::UnknownName { name: name.to_owned(), instead: instead(name, known) }.into()
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        What::UnknownField { instead: instead(name, known) }.into()
    }

    fn missing_field(name: &'static str) -> Self {
        What::Missing(name).into()
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Integer(value) => match (u64::try_from(*value), i64::try_from(*value)) {
                (Ok(value), _) => visitor.visit_u64(value),
                (_, Ok(value)) => visitor.visit_i64(value),
                _ => Err(DecodeError::invalid_type(Unexpected::Other("number"), &visitor)),
            },
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text { text, .. } => visitor.visit_borrowed_str(text),
            Value::List(nodes) => visitor.visit_seq(Elements { nodes: nodes.iter().enumerate() }),
            Value::Table(entries) => visitor.visit_map(Entries { entries: entries.iter(), value: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if matches!(self.value, Value::Null) { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    // A YAML section with nothing below its name is an empty table.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.value {
            Value::Null => visitor.visit_map(Entries { entries: [].iter(), value: None }),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match &self.value {
            Value::Text { text, .. } => visitor.visit_enum(UnitVariant(text)),
            _ => Err(What::Expected(super::wording::one_of(known)).into()),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct identifier ignored_any
    }
}

struct UnitVariant<'de>(&'de str);

impl<'de> EnumAccess<'de> for UnitVariant<'de> {
    type Error = DecodeError;
    type Variant = <StrDeserializer<'de, DecodeError> as EnumAccess<'de>>::Variant;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self::Variant), DecodeError> {
        let text: StrDeserializer<'de, DecodeError> = self.0.into_deserializer();
        text.variant_seed(seed)
    }
}

struct Elements<'de> {
    nodes: std::iter::Enumerate<std::slice::Iter<'de, Node>>,
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DecodeError> {
        let Some((index, node)) = self.nodes.find(|(_, node)| !node.set_aside.get()) else { return Ok(None) };
        seed.deserialize(node).map(Some).map_err(|error| error.at(node, node.at, Some(Step::Index(index))))
    }
}

struct Entries<'de> {
    entries: std::slice::Iter<'de, Entry>,
    value: Option<&'de Entry>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        self.value = self.entries.find(|entry| !entry.node.set_aside.get());
        let Some(entry) = self.value else { return Ok(None) };
        let key: StrDeserializer<'_, DecodeError> = entry.key.as_str().into_deserializer();
        seed.deserialize(key)
            .map(Some)
            .map_err(|error| error.at(&entry.node, entry.key_at, Some(Step::from(&*entry.key))))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        let Some(Entry { key, node, .. }) = self.value.take() else {
            return Err(DecodeError::custom("a value is asked for before its name"));
        };
        seed.deserialize(node).map_err(|error| error.at(node, node.at, Some(Step::from(&**key))))
    }
}
