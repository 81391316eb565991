//! Schemas from a peer, read within bounds.
//!
//! postcard's own deserialiser recurses as deeply as the bytes say. This one does not recurse: it
//! reads the nodes of the tree one after the other, each before its parts, and then puts them
//! together from the last to the first, when the parts of each are on top of a stack. It takes no
//! memory on the word of a count: the nodes that all counts so far announce stay within
//! [`RegistryLimits::NODES_MAX`], and a list grows as its items are read.

use postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType, OwnedNamedValue, OwnedNamedVariant,
};

use crate::limits::RegistryLimits;
use crate::parse::ParseError;
use crate::reader::Reader;

/// What the schemas of one registry have used up.
#[derive(Debug, Default)]
pub(crate) struct SchemaReader {
    /// Nodes so far, counted when they are announced.
    nodes: usize,
}

/// What a node is to the node that it is a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Type,
    Field,
    Variant,
}

/// A node whose parts follow.
#[derive(Debug)]
struct Open {
    parts: Role,
    parts_left: usize,
    /// How deep types among the parts stand.
    depth: usize,
}

/// A node as it was read.
#[derive(Debug)]
struct Node<'a> {
    role: Role,
    /// The name of a field or of a variant.
    label: &'a str,
    /// The name of a type.
    name: &'a str,
    code: u8,
    parts: usize,
}

/// Whole nodes that wait for the node that they are parts of, the first part on top.
#[derive(Debug, Default)]
struct Built {
    types: Vec<OwnedNamedType>,
    fields: Vec<OwnedNamedValue>,
    variants: Vec<OwnedNamedVariant>,
}

impl SchemaReader {
    /// A whole schema.
    pub(crate) fn schema(&mut self, from: &mut Reader<'_>) -> Result<OwnedNamedType, ParseError> {
        let mut built = Built::default();
        for node in self.nodes(from)?.into_iter().rev() {
            built.add(node);
        }
        Ok(built.one_type())
    }

    /// The nodes of a schema, each before its parts.
    fn nodes<'a>(&mut self, from: &mut Reader<'a>) -> Result<Vec<Node<'a>>, ParseError> {
        self.announce(from, 1)?;
        let mut nodes = Vec::new();
        let mut open = vec![Open { parts: Role::Type, parts_left: 1, depth: 1 }];
        while let Some(inner) = open.last_mut() {
            let (role, depth) = (inner.parts, inner.depth);
            let Some(parts_left) = inner.parts_left.checked_sub(1) else {
                open.pop();
                continue;
            };
            inner.parts_left = parts_left;
            let (node, parts) = self.node(from, role, depth)?;
            let deeper = usize::from(role != Role::Variant);
            open.push(Open { parts, parts_left: node.parts, depth: depth + deeper });
            nodes.push(node);
        }
        Ok(nodes)
    }

    /// One node without its parts, and what its parts are.
    fn node<'a>(&mut self, from: &mut Reader<'a>, role: Role, depth: usize) -> Result<(Node<'a>, Role), ParseError> {
        let label = if role == Role::Type { "" } else { from.text()? };
        let (name, code, (parts_role, parts)) = if role == Role::Variant {
            let code = from.number("the code of a variant", 3)?;
            ("", code, self.parts_of_variant(from, code)?)
        } else {
            check_depth(from, depth)?;
            let name = from.text()?;
            let code = from.number("the code of a type", 28)?;
            (name, code, self.parts_of_type(from, code)?)
        };
        let node = Node { role, label, name, code, parts };
        Ok((node, parts_role))
    }

    fn parts_of_type(&mut self, from: &mut Reader<'_>, code: u8) -> Result<(Role, usize), ParseError> {
        Ok(match code {
            18 | 21 | 22 => (Role::Type, self.announce(from, 1)?),
            25 => (Role::Type, self.announce(from, 2)?),
            23 | 24 => (Role::Type, self.count(from)?),
            26 => (Role::Field, self.count(from)?),
            27 => (Role::Variant, self.count(from)?),
            _ => (Role::Type, 0),
        })
    }

    fn parts_of_variant(&mut self, from: &mut Reader<'_>, code: u8) -> Result<(Role, usize), ParseError> {
        Ok(match code {
            0 => (Role::Type, 0),
            1 => (Role::Type, self.announce(from, 1)?),
            2 => (Role::Type, self.count(from)?),
            _ => (Role::Field, self.count(from)?),
        })
    }

    /// The length of a list.
    fn count(&mut self, from: &mut Reader<'_>) -> Result<usize, ParseError> {
        let count = from.number("items of a list", RegistryLimits::NODES_MAX as u64)?;
        self.announce(from, count)
    }

    fn announce(&mut self, from: &Reader<'_>, count: usize) -> Result<usize, ParseError> {
        let (found, limit) = (self.nodes.saturating_add(count), RegistryLimits::NODES_MAX);
        if found > limit {
            return Err(from.over_limit("schema nodes", found, limit));
        }
        self.nodes = found;
        Ok(count)
    }
}

fn check_depth(from: &Reader<'_>, found: usize) -> Result<(), ParseError> {
    let limit = RegistryLimits::DEPTH_MAX;
    if found > limit { Err(from.over_limit("nested types", found, limit)) } else { Ok(()) }
}

impl Built {
    /// Adds a node whose parts are on top.
    fn add(&mut self, node: Node<'_>) {
        if node.role == Role::Variant {
            let (name, ty) = (node.label.to_owned(), self.variant(node.code, node.parts));
            return self.variants.push(OwnedNamedVariant { name, ty });
        }
        let (name, ty) = (node.name.to_owned(), self.data_type(node.code, node.parts));
        let ty = OwnedNamedType { name, ty };
        if node.role == Role::Type {
            return self.types.push(ty);
        }
        let name = node.label.to_owned();
        self.fields.push(OwnedNamedValue { name, ty });
    }

    fn variant(&mut self, code: u8, parts: usize) -> Variant {
        match code {
            0 => Variant::UnitVariant,
            1 => Variant::NewtypeVariant(Box::new(self.one_type())),
            2 => Variant::TupleVariant(take_top(&mut self.types, parts)),
            _ => Variant::StructVariant(take_top(&mut self.fields, parts)),
        }
    }

    fn data_type(&mut self, code: u8, parts: usize) -> Type {
        match code {
            0 => Type::Bool,
            1 => Type::I8,
            2 => Type::U8,
            3 => Type::I16,
            4 => Type::I32,
            5 => Type::I64,
            6 => Type::I128,
            7 => Type::U16,
            8 => Type::U32,
            9 => Type::U64,
            10 => Type::U128,
            11 => Type::Usize,
            12 => Type::Isize,
            13 => Type::F32,
            14 => Type::F64,
            15 => Type::Char,
            16 => Type::String,
            17 => Type::ByteArray,
            18 => Type::Option(Box::new(self.one_type())),
            19 => Type::Unit,
            20 => Type::UnitStruct,
            21 => Type::NewtypeStruct(Box::new(self.one_type())),
            22 => Type::Seq(Box::new(self.one_type())),
            23 => Type::Tuple(take_top(&mut self.types, parts)),
            24 => Type::TupleStruct(take_top(&mut self.types, parts)),
            25 => Type::Map { key: Box::new(self.one_type()), val: Box::new(self.one_type()) },
            26 => Type::Struct(take_top(&mut self.fields, parts)),
            27 => Type::Enum(take_top(&mut self.variants, parts)),
            _ => Type::Schema,
        }
    }

    fn one_type(&mut self) -> OwnedNamedType {
        self.types.pop().expect("the parts of a node are built before it")
    }
}

/// Takes exactly the memory of what it returns; `split_off` of a whole vector would keep its
/// capacity.
fn take_top<T>(stack: &mut Vec<T>, count: usize) -> Vec<T> {
    let start = stack.len() - count;
    stack.drain(start..).rev().collect()
}
