//! What a type looks like. A macro sees tokens, not types, so these are names: `Result`, `Incoming`, `Context`.

use syn::visit::{self, Visit};
use syn::{
    AssocType, GenericArgument, Lifetime, PathArguments, PathSegment, Type, TypeImplTrait, TypeParamBound, TypePath,
    TypeReference, parse_quote,
};

use crate::problems::Problems;

/// The last part of a path, `Vec<u8>` of `std::vec::Vec<u8>`.
fn last(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Path(TypePath { qself: None, path, .. }) => path.segments.last(),
        Type::Group(group) => last(&group.elem),
        Type::Paren(paren) => last(&paren.elem),
        _ => None,
    }
}

/// The types between the angle brackets.
fn parameters(segment: &PathSegment) -> Vec<&Type> {
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return Vec::new() };
    let types = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    types.collect()
}

/// Whether the type is called this, and what its parameters are.
pub(crate) fn named<'a>(ty: &'a Type, name: &str) -> Option<Vec<&'a Type>> {
    last(ty).filter(|segment| segment.ident == name).map(parameters)
}

/// `T` of `name<T>`.
pub(crate) fn wrapped<'a>(ty: &'a Type, name: &str) -> Option<&'a Type> {
    match named(ty, name)?[..] {
        [inner] => Some(inner),
        _ => None,
    }
}

/// `T` and `E` of `Result<T, E>`.
pub(crate) fn result(ty: &Type) -> Option<(&Type, &Type)> {
    match named(ty, "Result")?[..] {
        [value, error] => Some((value, error)),
        _ => None,
    }
}

/// Whether it is a `Vec<u8>`.
pub(crate) fn is_byte_vec(ty: &Type) -> bool {
    wrapped(ty, "Vec").is_some_and(is_byte)
}

/// Whether it is a `[u8]`.
pub(crate) fn is_byte_slice(ty: &Type) -> bool {
    matches!(ty, Type::Slice(slice) if is_byte(&slice.elem))
}

/// The type that has what a borrowed argument borrows; any other type itself.
pub(crate) fn owned(ty: &Type) -> Type {
    match ty {
        Type::Reference(reference) if is_byte_slice(&reference.elem) => parse_quote!(::std::vec::Vec<u8>),
        Type::Reference(_) => parse_quote!(::std::string::String),
        _ => ty.clone(),
    }
}

fn is_byte(ty: &Type) -> bool {
    named(ty, "u8").is_some()
}

/// `T` of `impl Stream<Item = T>`.
pub(crate) fn stream_item(ty: &Type) -> Option<&Type> {
    let Type::ImplTrait(TypeImplTrait { bounds, .. }) = ty else { return None };
    bounds.iter().find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else { return None };
        let segment = bound.path.segments.last().filter(|segment| segment.ident == "Stream")?;
        let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
        arguments.args.iter().find_map(|argument| match argument {
            GenericArgument::AssocType(AssocType { ident, ty, .. }) if ident == "Item" => Some(ty),
            _ => None,
        })
    })
}

/// Notes what a type may not have that goes to another process: borrows, `impl Trait`, `Self`.
pub(crate) fn check_owned(ty: &Type, what: &str, problems: &mut Problems) {
    Owned { what, problems }.visit_type(ty);
}

struct Owned<'a> {
    what: &'a str,
    problems: &'a mut Problems,
}

impl<'ast> Visit<'ast> for Owned<'_> {
    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        let what = self.what;
        self.problems.at(reference, format!("{what} cannot borrow: write the owned type, such as `String` for `&str`"));
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        let what = self.what;
        self.problems.at(lifetime, format!("{what} cannot borrow: write an owned type, without lifetimes"));
    }

    fn visit_type_impl_trait(&mut self, ty: &'ast TypeImplTrait) {
        self.problems.at(
            ty,
            "`impl Trait` says nothing of how a value is sent: name a type. Streams are `-> impl Stream<Item = T>` as a \
             whole result, and `Incoming<T>` as the last argument",
        );
    }

    fn visit_type_trait_object(&mut self, ty: &'ast syn::TypeTraitObject) {
        self.problems.at(ty, "a trait object cannot be sent: name a type");
    }

    fn visit_type_path(&mut self, ty: &'ast TypePath) {
        if ty.path.is_ident("Self") {
            self.problems.at(ty, "`Self` is not known to the caller: name a type");
        } else if named(&Type::Path(ty.clone()), "Incoming").is_some() {
            self.problems.at(ty, "`Incoming<T>` is the type of a whole argument, the last one");
        } else {
            visit::visit_type_path(self, ty);
        }
    }
}
