//! How large a schema is, and whether a registry may hold it.

use postcard_schema::schema::owned::OwnedNamedType;

use crate::limits::RegistryLimits;
use crate::shape::{Label, Node};

/// A schema that no registry may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// Types are nested too deeply.
    #[error("types are nested {found} deep or deeper, allowed are {limit}")]
    Depth {
        /// The first depth that is too much.
        found: usize,
        /// The depth that is allowed.
        limit: usize,
    },
    /// The name of a type, of a field or of a variant is too long.
    #[error("a name has {found} bytes, allowed are {limit}")]
    Name {
        /// The bytes that the name has.
        found: usize,
        /// The bytes that are allowed.
        limit: usize,
    },
}

/// Counts the nodes of a schema within the limits on depth and names.
pub(crate) fn measure(schema: &OwnedNamedType) -> Result<usize, SchemaError> {
    let mut nodes = 0;
    let mut waiting = vec![(Node::Type(schema), 1)];
    while let Some((node, depth)) = waiting.pop() {
        if let Some(name) = node.name() {
            check_depth(depth)?;
            check_name(name)?;
        }
        nodes += 1;
        for (label, part) in node.parts() {
            if let Label::Field(name) | Label::Variant(name) = label {
                check_name(name)?;
            }
            let deeper = usize::from(matches!(part, Node::Type(_)));
            waiting.push((part, depth + deeper));
        }
    }
    Ok(nodes)
}

fn check_depth(found: usize) -> Result<(), SchemaError> {
    let limit = RegistryLimits::DEPTH_MAX;
    if found > limit {
        return Err(SchemaError::Depth { found, limit });
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), SchemaError> {
    let (found, limit) = (name.len(), RegistryLimits::NAME_BYTES_MAX);
    if found > limit {
        return Err(SchemaError::Name { found, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use postcard_schema::Schema;
    use postcard_schema::schema::owned::{
        OwnedDataModelType, OwnedDataModelVariant, OwnedNamedValue, OwnedNamedVariant,
    };

    use super::*;

    #[derive(Schema)]
    #[allow(dead_code, reason = "only its schema is looked at")]
    enum Command {
        Stop,
        Wait(u32),
        Move(i8, i8),
        Say { text: String },
    }

    fn nodes<T: Schema + ?Sized>() -> usize {
        measure(&T::SCHEMA.into()).unwrap()
    }

    fn named(name: &str, ty: OwnedDataModelType) -> OwnedNamedType {
        let name = name.into();
        OwnedNamedType { name, ty }
    }

    #[test]
    fn a_schema_counts_its_types_and_variants() {
        assert_eq!(nodes::<u8>(), 1);
        assert_eq!(nodes::<Vec<u8>>(), 2);
        assert_eq!(nodes::<BTreeMap<String, Option<u8>>>(), 4);
        assert_eq!(nodes::<[u8; 32]>(), 33);
        assert_eq!(nodes::<Command>(), 1 + 4 + 4);
    }

    #[test]
    fn a_schema_may_be_64_types_deep() {
        let deeper = |inner| named("Vec<T>", OwnedDataModelType::Seq(Box::new(inner)));
        let deepest = (1..64).fold(u8::SCHEMA.into(), |inner, _| deeper(inner));
        assert_eq!(measure(&deepest), Ok(64));
        let (found, limit) = (65, 64);
        assert_eq!(measure(&deeper(deepest)), Err(SchemaError::Depth { found, limit }));
    }

    #[test]
    fn a_variant_is_no_depth_of_its_own() {
        let deeper = |inner| {
            let (name, ty) = ("V".into(), OwnedDataModelVariant::NewtypeVariant(Box::new(inner)));
            named("E", OwnedDataModelType::Enum(vec![OwnedNamedVariant { name, ty }]))
        };
        let deepest = (1..64).fold(u8::SCHEMA.into(), |inner, _| deeper(inner));
        assert_eq!(measure(&deepest), Ok(63 * 2 + 1));
        let (found, limit) = (65, 64);
        assert_eq!(measure(&deeper(deepest)), Err(SchemaError::Depth { found, limit }));
    }

    #[test]
    fn names_of_types_and_of_fields_may_have_128_bytes() {
        let both = |type_name: usize, field: usize| {
            let ty = named(&"n".repeat(type_name), OwnedDataModelType::U8);
            let name = "n".repeat(field);
            let field = OwnedNamedValue { name, ty };
            measure(&named("", OwnedDataModelType::Struct(vec![field])))
        };
        let (found, limit) = (129, 128);
        assert_eq!(both(128, 128), Ok(2));
        assert_eq!(both(129, 1), Err(SchemaError::Name { found, limit }));
        assert_eq!(both(1, 129), Err(SchemaError::Name { found, limit }));
    }
}
