//! Schemas as a peer may make them up: of any form, with names that stand twice, and nested too deep.

use arbitrary::{Result, Unstructured};
use postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType, OwnedNamedValue, OwnedNamedVariant,
};

/// Types within types that are read from the bytes; `NESTED` makes more of them.
const DEPTH: usize = 6;
/// Options in each other: one of them may be one too many.
const NESTED: usize = 70;

pub(super) fn schema(u: &mut Unstructured<'_>) -> Result<OwnedNamedType> {
    typed(u, DEPTH)
}

fn typed(u: &mut Unstructured<'_>, depth: usize) -> Result<OwnedNamedType> {
    let form: u8 = u.arbitrary()?;
    let form = if depth == 0 { form % 21 } else { form % 32 };
    let ty = match form {
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
        18 => Type::Unit,
        19 => Type::UnitStruct,
        20 => Type::Schema,
        21 => Type::Option(boxed(u, depth)?),
        22 => Type::NewtypeStruct(boxed(u, depth)?),
        23 => Type::Seq(with_bytes(boxed(u, depth)?)),
        24 => Type::Tuple(several(u, |u| typed(u, depth - 1))?),
        25 => Type::TupleStruct(several(u, |u| typed(u, depth - 1))?),
        26 => Type::Map { key: with_bytes(boxed(u, depth)?), val: boxed(u, depth)? },
        27 => Type::Map { key: Box::new(named(Type::String)), val: boxed(u, depth)? },
        28 => Type::Struct(several(u, |u| field(u, depth))?),
        29 | 30 => Type::Enum(several(u, |u| variant(u, depth))?),
        _ => {
            let times = usize::from(u.arbitrary::<u8>()?) % NESTED;
            let inner = typed(u, depth - 1)?;
            return Ok((0..times).fold(inner, |inner, _| named(Type::Option(Box::new(inner)))));
        }
    };
    Ok(named(ty))
}

fn boxed(u: &mut Unstructured<'_>, depth: usize) -> Result<Box<OwnedNamedType>> {
    typed(u, depth - 1).map(Box::new)
}

/// The type, or one whose values have bytes. Lists of what has none end at the bound on memory, which is tested beside them
/// and would take all the fuzzer's time.
fn with_bytes(inner: Box<OwnedNamedType>) -> Box<OwnedNamedType> {
    if is_empty(&inner) { Box::new(named(Type::Option(inner))) } else { inner }
}

fn is_empty(schema: &OwnedNamedType) -> bool {
    match &schema.ty {
        Type::Unit | Type::UnitStruct => true,
        Type::NewtypeStruct(inner) => is_empty(inner),
        Type::Tuple(items) | Type::TupleStruct(items) => items.iter().all(is_empty),
        Type::Struct(fields) => fields.iter().all(|field| is_empty(&field.ty)),
        _ => false,
    }
}

fn field(u: &mut Unstructured<'_>, depth: usize) -> Result<OwnedNamedValue> {
    Ok(OwnedNamedValue { name: name(u)?, ty: typed(u, depth - 1)? })
}

fn variant(u: &mut Unstructured<'_>, depth: usize) -> Result<OwnedNamedVariant> {
    let name = name(u)?;
    let ty = match u.arbitrary::<u8>()? % 4 {
        0 => Variant::UnitVariant,
        1 => Variant::NewtypeVariant(boxed(u, depth)?),
        2 => Variant::TupleVariant(several(u, |u| typed(u, depth - 1))?),
        _ => Variant::StructVariant(several(u, |u| field(u, depth))?),
    };
    Ok(OwnedNamedVariant { name, ty })
}

/// Up to 4, or as many as are looked up another way.
fn several<T>(u: &mut Unstructured<'_>, mut one: impl FnMut(&mut Unstructured<'_>) -> Result<T>) -> Result<Vec<T>> {
    let count: u8 = u.arbitrary()?;
    let count = if count >= 250 { 20 } else { count % 5 };
    (0..count).map(|_| one(u)).collect()
}

/// One of a few names, some of which are awkward.
fn name(u: &mut Unstructured<'_>) -> Result<String> {
    Ok(match u.arbitrary::<u8>()? {
        0 => String::new(),
        1 => "Some".to_owned(),
        2 => "é \u{1b}\n\"".to_owned(),
        3 => "n".repeat(128),
        4 => "n".repeat(129),
        other => char::from(b'a' + other % 26).to_string() + &other.to_string(),
    })
}

fn named(ty: Type) -> OwnedNamedType {
    OwnedNamedType { name: "T".to_owned(), ty }
}
