//! Registries and schemas by chance, small and from few names, so that two of them have much in
//! common.

use postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType, OwnedNamedValue, OwnedNamedVariant,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use rapace_registry::{MethodKind, Provider, Registry, Service, Version};

/// A method to be, with the service that it belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) service: (&'static str, Version, Provider),
    pub(crate) name: &'static str,
    pub(crate) id: Option<u32>,
    pub(crate) kind: MethodKind,
    pub(crate) argument: OwnedNamedType,
    pub(crate) result: OwnedNamedType,
}

/// Builds the drafts in the order in which they stand.
pub(crate) fn build(drafts: &[Draft]) -> Registry {
    let mut services: Vec<(&str, _)> = Vec::new();
    for draft in drafts {
        let (name, version, provider) = draft.service;
        let found = services.iter().position(|(service, _)| *service == name);
        let builder = match found {
            Some(index) => services.remove(index).1,
            None => Service::builder(name, version, provider),
        };
        let (argument, result) = (draft.argument.clone(), draft.result.clone());
        services.push((name, builder.method_with(draft.name, draft.id, draft.kind, argument, result)));
    }
    let builder = services.into_iter().fold(Registry::builder(), |builder, (_, service)| builder.service(service));
    builder.build().unwrap()
}

pub(crate) fn registry() -> impl Strategy<Value = Registry> {
    drafts().prop_map(|drafts| build(&drafts))
}

/// Drafts without conflicts.
pub(crate) fn drafts() -> impl Strategy<Value = Vec<Draft>> {
    let head = (select(vec![Version::new(1, 0), Version::new(1, 1), Version::new(2, 0)]), provider());
    let heads = [head.clone(), head.clone(), head];
    let methods = vec((0..3_usize, select(vec!["m", "n", "o"]), 0..12_u32, kind(), schema(), schema()), 0..6);
    (heads, methods).prop_map(|(heads, methods)| {
        let mut drafts: Vec<Draft> = Vec::new();
        for (index, name, id, kind, argument, result) in methods {
            let (version, provider) = heads[index];
            let service = (["a", "b", "b.c"][index], version, provider);
            let id = (id > 0).then_some(id);
            let taken =
                |draft: &Draft| draft.id == id && id.is_some() || (draft.service.0, draft.name) == (service.0, name);
            if !drafts.iter().any(taken) {
                drafts.push(Draft { service, name, id, kind, argument, result });
            }
        }
        drafts
    })
}

pub(crate) fn kind() -> impl Strategy<Value = MethodKind> + Clone {
    select(vec![
        MethodKind::Unary,
        MethodKind::ClientStreaming,
        MethodKind::ServerStreaming,
        MethodKind::BidirectionalStreaming,
    ])
}

fn provider() -> impl Strategy<Value = Provider> + Clone {
    select(vec![Provider::Host, Provider::Plugin, Provider::Either])
}

/// A schema of any form, with names that may be odd and may stand twice.
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
    let leaf = (type_name(), leaf).prop_map(|(name, ty)| OwnedNamedType { name, ty });
    leaf.prop_recursive(4, 24, 4, |inner| {
        let boxed = inner.clone().prop_map(Box::new).boxed();
        let items = vec(inner.clone(), 0..4).boxed();
        let array = (inner.clone(), 0..4_usize).prop_map(|(item, count)| vec![item; count]);
        let fields = vec(value(inner.clone()), 0..4).boxed();
        let variant = prop_oneof![
            Just(Variant::UnitVariant),
            boxed.clone().prop_map(Variant::NewtypeVariant),
            items.clone().prop_map(Variant::TupleVariant),
            fields.clone().prop_map(Variant::StructVariant),
        ];
        let variant = (label(), variant).prop_map(|(name, ty)| OwnedNamedVariant { name, ty });
        let ty = prop_oneof![
            boxed.clone().prop_map(Type::Option),
            boxed.clone().prop_map(Type::NewtypeStruct),
            boxed.clone().prop_map(Type::Seq),
            items.clone().prop_map(Type::Tuple),
            array.prop_map(Type::Tuple),
            items.prop_map(Type::TupleStruct),
            (boxed.clone(), boxed).prop_map(|(key, val)| Type::Map { key, val }),
            fields.prop_map(Type::Struct),
            vec(variant, 0..4).prop_map(Type::Enum),
        ];
        (type_name(), ty).prop_map(|(name, ty)| OwnedNamedType { name, ty })
    })
}

/// Changes one thing somewhere in a schema; `steps` choose the way down, and the last of them what
/// is done there.
pub(crate) fn edit(schema: &mut OwnedNamedType, steps: &[u8]) {
    let (step, rest) = match steps {
        [] => return schema.name.push('x'),
        [step, rest @ ..] => (usize::from(*step), rest),
    };
    if step >= 224 {
        return schema.ty = other_form(schema.ty.clone());
    }
    match &mut schema.ty {
        Type::Option(inner) | Type::NewtypeStruct(inner) | Type::Seq(inner) => edit(inner, rest),
        Type::Map { key, val } => edit(if step % 2 == 0 { key } else { val }, rest),
        Type::Tuple(items) | Type::TupleStruct(items) => edit_list(items, step, |item| edit(item, rest)),
        Type::Struct(items) => edit_list(items, step, |item| edit_value(item, rest)),
        Type::Enum(items) => edit_list(items, step, |item| match &mut item.ty {
            Variant::UnitVariant => item.name.push('x'),
            Variant::NewtypeVariant(inner) => edit(inner, rest),
            Variant::TupleVariant(items) => edit_list(items, step / 8, |item| edit(item, rest)),
            Variant::StructVariant(items) => edit_list(items, step / 8, |item| edit_value(item, rest)),
        }),
        ty => *ty = if step % 2 == 0 { Type::Bool } else { Type::UnitStruct },
    }
}

/// The same parts in another form.
fn other_form(ty: Type) -> Type {
    match ty {
        Type::Option(inner) => Type::Seq(inner),
        Type::Seq(inner) => Type::NewtypeStruct(inner),
        Type::NewtypeStruct(inner) => Type::Option(inner),
        Type::Tuple(items) => Type::TupleStruct(items),
        Type::TupleStruct(items) => Type::Tuple(items),
        Type::Map { key, val } => Type::Map { key: val, val: key },
        ty => Type::Tuple(vec![OwnedNamedType { name: "T".into(), ty }]),
    }
}

fn edit_value(value: &mut OwnedNamedValue, steps: &[u8]) {
    match steps {
        [] => value.name.push('x'),
        steps => edit(&mut value.ty, steps),
    }
}

fn edit_list<T: Clone>(items: &mut Vec<T>, step: usize, edit_item: impl FnOnce(&mut T)) {
    let Some(last) = items.len().checked_sub(1) else {
        return;
    };
    let index = step / 8 % items.len();
    match step % 8 {
        0 => drop(items.remove(index)),
        1 => items.push(items[index].clone()),
        2 => items.swap(index, last),
        3 => items.insert(0, items[last].clone()),
        _ => edit_item(&mut items[index]),
    }
}

fn value(ty: impl Strategy<Value = OwnedNamedType>) -> impl Strategy<Value = OwnedNamedValue> {
    (label(), ty).prop_map(|(name, ty)| OwnedNamedValue { name, ty })
}

fn type_name() -> impl Strategy<Value = String> {
    select(vec!["T", "Vec<T>", "[T; N]", "Result<T, E>", "", "é\n\u{1b}"]).prop_map(str::to_owned)
}

fn label() -> impl Strategy<Value = String> {
    select(vec!["a", "b", "c", "d", "e"]).prop_map(str::to_owned)
}
