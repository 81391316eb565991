//! One view of every schema: a tree of nodes with labelled parts.
//!
//! postcard-schema describes types by two enums with 33 variants between them. What measures and
//! compares schemas only needs to know what a node is called, what form it has and what it is made
//! of. Two schemas are equal exactly where names, forms and parts are.

use std::fmt;

use postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType, OwnedNamedValue, OwnedNamedVariant,
};

use crate::type_name::{escaped, type_name};

/// How much of a type is shown.
const TEXT_CHARS_MAX: usize = 200;

/// A type, or a variant of an enum.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Node<'a> {
    Type(&'a OwnedNamedType),
    Variant(&'a OwnedNamedVariant),
}

/// Where a part stands in its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Label<'a> {
    Field(&'a str),
    Variant(&'a str),
    Index(usize),
    Element,
    Some,
    Key,
    Value,
}

pub(crate) type Parts<'a> = Vec<(Label<'a>, Node<'a>)>;

impl<'a> Node<'a> {
    /// The name of a type. A variant's name is its label.
    pub(crate) fn name(self) -> Option<&'a str> {
        match self {
            Self::Type(ty) => Some(&ty.name),
            Self::Variant(_) => None,
        }
    }

    /// What kind of node this is; each variant of the schema enums has its own.
    pub(crate) fn form(self) -> &'static str {
        match self {
            Self::Type(ty) => type_form(&ty.ty),
            Self::Variant(variant) => match variant.ty {
                Variant::UnitVariant => "unit variant",
                Variant::NewtypeVariant(_) => "newtype variant",
                Variant::TupleVariant(_) => "tuple variant",
                Variant::StructVariant(_) => "struct variant",
            },
        }
    }

    /// What the node is made of, in order.
    pub(crate) fn parts(self) -> Parts<'a> {
        match self {
            Self::Type(ty) => match &ty.ty {
                Type::Option(inner) => vec![(Label::Some, Self::Type(inner))],
                Type::Seq(inner) => vec![(Label::Element, Self::Type(inner))],
                Type::Map { key, val } => vec![(Label::Key, Self::Type(key)), (Label::Value, Self::Type(val))],
                Type::NewtypeStruct(inner) => vec![(Label::Index(0), Self::Type(inner))],
                Type::Tuple(items) | Type::TupleStruct(items) => positions(items),
                Type::Struct(items) => fields(items),
                Type::Enum(items) => {
                    let part = |item: &'a OwnedNamedVariant| (Label::Variant(&item.name), Self::Variant(item));
                    items.iter().map(part).collect()
                }
                _ => Vec::new(),
            },
            Self::Variant(variant) => match &variant.ty {
                Variant::UnitVariant => Vec::new(),
                Variant::NewtypeVariant(inner) => vec![(Label::Index(0), Self::Type(inner))],
                Variant::TupleVariant(items) => positions(items),
                Variant::StructVariant(items) => fields(items),
            },
        }
    }

    /// The node as a text for one line, however much is in it.
    pub(crate) fn brief(self) -> String {
        let mut text = self.to_string();
        if let Some((end, _)) = text.char_indices().nth(TEXT_CHARS_MAX) {
            text.truncate(end);
            text.push('…');
        }
        text
    }

    /// Whether both are the same but for the name of a variant.
    pub(crate) fn same_content(self, other: Self) -> bool {
        match (self, other) {
            (Self::Type(one), Self::Type(other)) => one == other,
            (Self::Variant(one), Self::Variant(other)) => one.ty == other.ty,
            _ => false,
        }
    }
}

impl fmt::Display for Node<'_> {
    /// A type by its name, a variant as it would be declared.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variant = match self {
            Self::Type(ty) => return f.write_str(&type_name(ty)),
            Self::Variant(variant) => variant,
        };
        write!(f, "variant {}", escaped(&variant.name))?;
        let parts: Vec<String> = self.parts().iter().map(declared).collect();
        match variant.ty {
            Variant::UnitVariant => Ok(()),
            Variant::StructVariant(_) => write!(f, " {{ {} }}", parts.join(", ")),
            Variant::NewtypeVariant(_) | Variant::TupleVariant(_) => {
                write!(f, "({})", parts.join(", "))
            }
        }
    }
}

impl fmt::Display for Label<'_> {
    /// The label as a step of a path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) | Self::Variant(name) => write!(f, ".{}", escaped(name)),
            Self::Index(index) => write!(f, ".{index}"),
            Self::Element => f.write_str("[]"),
            Self::Some => f.write_str("?"),
            Self::Key => f.write_str("{key}"),
            Self::Value => f.write_str("{value}"),
        }
    }
}

fn declared((label, node): &(Label<'_>, Node<'_>)) -> String {
    match label {
        Label::Field(name) => format!("{}: {node}", escaped(name)),
        _ => node.to_string(),
    }
}

fn positions(items: &[OwnedNamedType]) -> Parts<'_> {
    items.iter().enumerate().map(|(index, item)| (Label::Index(index), Node::Type(item))).collect()
}

fn fields(items: &[OwnedNamedValue]) -> Parts<'_> {
    items.iter().map(|item| (Label::Field(&item.name), Node::Type(&item.ty))).collect()
}

fn type_form(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "bool",
        Type::I8 => "i8",
        Type::U8 => "u8",
        Type::I16 => "i16",
        Type::I32 => "i32",
        Type::I64 => "i64",
        Type::I128 => "i128",
        Type::U16 => "u16",
        Type::U32 => "u32",
        Type::U64 => "u64",
        Type::U128 => "u128",
        Type::Usize => "usize",
        Type::Isize => "isize",
        Type::F32 => "f32",
        Type::F64 => "f64",
        Type::Char => "char",
        Type::String => "string",
        Type::ByteArray => "byte array",
        Type::Option(_) => "option",
        Type::Unit => "unit",
        Type::UnitStruct => "unit struct",
        Type::NewtypeStruct(_) => "newtype struct",
        Type::Seq(_) => "sequence",
        Type::Tuple(_) => "tuple",
        Type::TupleStruct(_) => "tuple struct",
        Type::Map { .. } => "map",
        Type::Struct(_) => "struct",
        Type::Enum(_) => "enum",
        Type::Schema => "schema",
    }
}

#[cfg(test)]
mod tests {
    use postcard_schema::Schema;

    use super::*;

    #[derive(Schema)]
    #[allow(dead_code, reason = "only its schema is looked at")]
    enum Command {
        Stop,
        Wait(u32),
        Move(i8, i8),
        Say { text: String },
    }

    #[test]
    fn variants_show_as_they_are_declared() {
        let schema = OwnedNamedType::from(Command::SCHEMA);
        let parts = Node::Type(&schema).parts();
        let shown: Vec<String> = parts.iter().map(|(_, node)| node.to_string()).collect();
        let declared = ["variant Stop", "variant Wait(u32)", "variant Move(i8, i8)", "variant Say { text: String }"];
        assert_eq!(shown, declared);
    }
}
