//! Schemas of methods, and what is checked of them when a program is compiled.

use postcard_schema::schema::owned::{OwnedDataModelType, OwnedNamedType, OwnedNamedValue};
use postcard_schema::schema::{DataModelType, DataModelVariant, NamedType, NamedValue};
use rapace_registry::Method;

/// The schema of a method's arguments: nothing, the one, or a struct that is named after the method and has the arguments as
/// its fields. All three are encoded as a tuple of the arguments is.
///
/// The item of a caller's stream stands behind the arguments, see [`split_arguments`].
pub fn arguments(method: &str, fields: &[(&str, &'static NamedType)]) -> OwnedNamedType {
    match fields {
        [] => <() as postcard_schema::Schema>::SCHEMA.into(),
        [(_, ty)] => (*ty).into(),
        fields => {
            let fields = fields.iter().map(|(name, ty)| OwnedNamedValue { name: (*name).to_owned(), ty: (*ty).into() });
            OwnedNamedType { name: method.to_owned(), ty: OwnedDataModelType::Struct(fields.collect()) }
        }
    }
}

/// The schemas of what a method's request holds, with the names of the arguments, and of the items of the caller's stream.
///
/// A registry has one schema for both. With arguments beside the stream it is a struct that is named after the method, whose
/// last field is the item; without, it is the item, and the request is empty.
#[must_use]
pub fn split_arguments(method: &Method) -> (Vec<(Option<&str>, &OwnedNamedType)>, Option<&OwnedNamedType>) {
    let argument = method.argument();
    let fields = match &argument.ty {
        OwnedDataModelType::Struct(fields) if argument.name == method.name() && fields.len() > 1 => {
            fields.iter().map(|field| (Some(field.name.as_str()), &field.ty)).collect()
        }
        OwnedDataModelType::Unit => Vec::new(),
        _ => vec![(None, argument)],
    };
    if !method.kind().streams_arguments() {
        return (fields, None);
    }
    match fields.split_last() {
        Some(((_, item), rest)) => (rest.to_vec(), Some(item)),
        None => (Vec::new(), Some(argument)),
    }
}

/// Fails to compile for a type with a sequence of values that have no bytes: a peer could say that there are 2^60 of them.
pub const fn assert_bounded(ty: &NamedType) {
    match ty.ty {
        DataModelType::Option(inner) | DataModelType::NewtypeStruct(inner) => assert_bounded(inner),
        DataModelType::Seq(item) => {
            assert!(
                !is_empty(item),
                "this type has a sequence of values that have no bytes: send their number instead"
            );
            assert_bounded(item);
        }
        DataModelType::Map { key, val } => {
            let has_bytes = !(is_empty(key) && is_empty(val));
            assert!(has_bytes, "this type has a map of values that have no bytes: send their number instead");
            assert_bounded(key);
            assert_bounded(val);
        }
        DataModelType::Tuple(items) | DataModelType::TupleStruct(items) => assert_all_bounded(items),
        DataModelType::Struct(fields) => assert_fields_bounded(fields),
        DataModelType::Enum(variants) => {
            let mut index = 0;
            while index < variants.len() {
                match variants[index].ty {
                    DataModelVariant::UnitVariant => {}
                    DataModelVariant::NewtypeVariant(inner) => assert_bounded(inner),
                    DataModelVariant::TupleVariant(items) => assert_all_bounded(items),
                    DataModelVariant::StructVariant(fields) => assert_fields_bounded(fields),
                }
                index += 1;
            }
        }
        _ => {}
    }
}

const fn assert_all_bounded(items: &[&NamedType]) {
    let mut index = 0;
    while index < items.len() {
        assert_bounded(items[index]);
        index += 1;
    }
}

const fn assert_fields_bounded(fields: &[&NamedValue]) {
    let mut index = 0;
    while index < fields.len() {
        assert_bounded(fields[index].ty);
        index += 1;
    }
}

/// Whether the values of a type have no bytes.
const fn is_empty(ty: &NamedType) -> bool {
    match ty.ty {
        DataModelType::Unit | DataModelType::UnitStruct => true,
        DataModelType::NewtypeStruct(inner) => is_empty(inner),
        DataModelType::Tuple(items) | DataModelType::TupleStruct(items) => {
            let mut index = 0;
            while index < items.len() {
                if !is_empty(items[index]) {
                    return false;
                }
                index += 1;
            }
            true
        }
        DataModelType::Struct(fields) => {
            let mut index = 0;
            while index < fields.len() {
                if !is_empty(fields[index].ty) {
                    return false;
                }
                index += 1;
            }
            true
        }
        _ => false,
    }
}

/// Fails to compile for a streamed type that [`split_arguments`] would take for the arguments of its method.
pub const fn assert_not_named(ty: &NamedType, method: &str) {
    let is_struct = matches!(ty.ty, DataModelType::Struct(_));
    assert!(
        !(is_struct && equal(ty.name, method)),
        "an item's type may not have the name of its method: rename either"
    );
}

const fn equal(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut index = 0;
    while index < one.len() {
        if one[index] != other[index] {
            return false;
        }
        index += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use postcard_schema::Schema;
    use rapace_registry::{MethodKind, Provider, Registry, Service, Version};

    use super::*;

    #[derive(Schema)]
    struct Nothing {
        _a: (),
        _b: [(); 2],
    }

    #[derive(Schema)]
    enum Hidden {
        _Plain,
        _Deep { _list: Option<Vec<(Nothing, ())>> },
    }

    #[test]
    fn a_sequence_of_nothing_is_refused_wherever_it_hides() {
        for schema in [<Vec<()>>::SCHEMA, <Vec<Nothing>>::SCHEMA, Hidden::SCHEMA, <(u8, Vec<[u8; 0]>)>::SCHEMA] {
            assert!(catch_unwind(|| assert_bounded(schema)).is_err(), "{schema:?}");
        }
        for schema in [<()>::SCHEMA, Nothing::SCHEMA, <Vec<Option<()>>>::SCHEMA, <Vec<((), u8)>>::SCHEMA] {
            assert_bounded(schema);
        }
    }

    #[test]
    fn a_streamed_struct_is_not_named_like_its_method() {
        assert!(catch_unwind(|| assert_not_named(Nothing::SCHEMA, "Nothing")).is_err());
        assert_not_named(Nothing::SCHEMA, "nothing");
        assert_not_named(u8::SCHEMA, "u8");
    }

    /// The names and types of the arguments, and the type of the items.
    #[track_caller]
    fn check_split(kind: MethodKind, fields: &[(&str, &'static NamedType)], expected: &str) {
        let service = Service::builder("s", Version::new(1, 0), Provider::Either).method_with(
            "m",
            None,
            kind,
            arguments("m", fields),
            <()>::SCHEMA.into(),
        );
        let registry = Registry::builder().service(service).build().unwrap();
        let (found, item) = split_arguments(registry.method_by_name("s", "m").unwrap());
        let found: Vec<_> = found.iter().map(|(name, ty)| format!("{}: {}", name.unwrap_or("_"), ty.name)).collect();
        assert_eq!(format!("({}) {}", found.join(", "), item.map_or("", |item| &item.name)), expected);
    }

    #[test]
    fn arguments_come_back_from_their_schema() {
        let (a, b) = (("a", u8::SCHEMA), ("b", String::SCHEMA));
        check_split(MethodKind::Unary, &[], "() ");
        check_split(MethodKind::Unary, &[a], "(_: u8) ");
        check_split(MethodKind::Unary, &[a, b], "(a: u8, b: String) ");
        check_split(MethodKind::ClientStreaming, &[a], "() u8");
        check_split(MethodKind::ClientStreaming, &[a, b], "(a: u8) String");
        check_split(MethodKind::ClientStreaming, &[("unit", <()>::SCHEMA)], "() ()");
    }
}
