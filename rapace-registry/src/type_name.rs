//! A schema as the name of a Rust type.
//!
//! postcard-schema names a generic type by its declaration (`Vec<T>`); a reader wants `Vec<u8>`.
//! Names may come from a peer and are on their way to a terminal or a log, so whatever is not
//! printable is escaped.

use std::fmt::Display;

use postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType, OwnedNamedVariant,
};

/// The type as a Rust program would name it: `Vec<Option<u8>>`, `[u8; 32]`, `ProcessRequest`.
#[must_use]
pub fn type_name(schema: &OwnedNamedType) -> String {
    match &schema.ty {
        Type::Option(inner) => format!("Option<{}>", type_name(inner)),
        Type::Seq(inner) if schema.name == "[T]" => format!("[{}]", type_name(inner)),
        Type::Seq(inner) => format!("{}<{}>", generic(schema), type_name(inner)),
        Type::Map { key, val } => format!("{}<{}, {}>", generic(schema), type_name(key), type_name(val)),
        Type::Tuple(items) => match array_item(schema) {
            Some(item) => format!("[{}; {}]", type_name(item), items.len()),
            None => tuple(items),
        },
        Type::Enum(variants) if schema.name == "Result<T, E>" => match outcomes(variants) {
            Some((ok, err)) => format!("Result<{}, {}>", type_name(ok), type_name(err)),
            None => escaped(&schema.name).to_string(),
        },
        _ => escaped(&schema.name).to_string(),
    }
}

/// The type of an array's items. An array is a tuple to postcard, and so is one that only claims to
/// be an array.
pub(crate) fn array_item(schema: &OwnedNamedType) -> Option<&OwnedNamedType> {
    let Type::Tuple(items) = &schema.ty else {
        return None;
    };
    let first = items.first().filter(|_| schema.name == "[T; N]")?;
    items.iter().all(|item| item == first).then_some(first)
}

/// A name from a schema, fit to be shown.
pub(crate) fn escaped(name: &str) -> impl Display + '_ {
    name.escape_debug()
}

fn generic(schema: &OwnedNamedType) -> impl Display + '_ {
    let end = schema.name.find('<').unwrap_or(schema.name.len());
    escaped(&schema.name[..end])
}

fn tuple(items: &[OwnedNamedType]) -> String {
    match items {
        [item] => format!("({},)", type_name(item)),
        items => format!("({})", items.iter().map(type_name).collect::<Vec<_>>().join(", ")),
    }
}

fn outcomes(variants: &[OwnedNamedVariant]) -> Option<(&OwnedNamedType, &OwnedNamedType)> {
    let [ok, err] = variants else { return None };
    match (&ok.ty, &err.ty) {
        (Variant::TupleVariant(ok), Variant::TupleVariant(err)) => Some((ok.first()?, err.first()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};
    use std::num::NonZeroU8;

    use postcard_schema::Schema;

    use super::*;

    #[derive(Schema)]
    struct Point;

    fn name<T: Schema + ?Sized>() -> String {
        type_name(&T::SCHEMA.into())
    }

    #[test]
    fn a_type_shows_as_rust_writes_it() {
        assert_eq!(name::<()>(), "()");
        assert_eq!(name::<NonZeroU8>(), "NonZeroU8");
        assert_eq!(name::<[String]>(), "[String]");
        assert_eq!(name::<Vec<Option<Point>>>(), "Vec<Option<Point>>");
        assert_eq!(name::<BTreeSet<char>>(), "BTreeSet<char>");
        assert_eq!(name::<HashMap<String, Vec<u8>>>(), "HashMap<String, Vec<u8>>");
        assert_eq!(name::<[u8; 4]>(), "[u8; 4]");
        assert_eq!(name::<(u8,)>(), "(u8,)");
        assert_eq!(name::<(u8, u8)>(), "(u8, u8)");
        assert_eq!(name::<Result<Vec<u8>, Point>>(), "Result<Vec<u8>, Point>");
    }

    #[test]
    fn a_tuple_that_claims_to_be_an_array_shows_what_it_is() {
        let (name, ty) = ("[T; N]".into(), Type::Tuple(vec![u8::SCHEMA.into(), bool::SCHEMA.into()]));
        assert_eq!(type_name(&OwnedNamedType { name, ty }), "(u8, bool)");
    }

    #[test]
    fn a_name_from_a_peer_cannot_reach_the_terminal_raw() {
        let name = "\u{1b}[2Ja\nb\u{202e}c".into();
        let shown = type_name(&OwnedNamedType { name, ty: Type::U8 });
        assert_eq!(shown, "\\u{1b}[2Ja\\nb\\u{202e}c");
    }
}
