//! `#[rapace::message]`: the derives that an argument or a result needs, by paths that every user of rapace has.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{
    Attribute, Data, DeriveInput, Error, Field, GenericParam, LitStr, Path, Result, Token, TypePath, parse_quote,
};

use crate::options::default_crate;
use crate::problems::Problems;
use crate::serde_options::{self, Place};
use crate::shape;

/// The item with its derives.
pub(crate) fn expand(options: TokenStream, mut item: DeriveInput) -> Result<TokenStream> {
    let krate = parse_options(options)?;
    check(&item)?;
    let derived = derived(&item.attrs)?;
    let missing = |name: &str| !derived.iter().any(|derive| derive == name);
    let mut attributes: Vec<Attribute> = Vec::new();
    for (name, path) in [
        ("Clone", quote!(::core::clone::Clone)),
        ("Debug", quote!(::core::fmt::Debug)),
        ("PartialEq", quote!(::core::cmp::PartialEq)),
        ("Serialize", quote!(#krate::__private::serde::Serialize)),
        ("Deserialize", quote!(#krate::__private::serde::Deserialize)),
        ("Schema", quote!(#krate::__private::Schema)),
    ] {
        if missing(name) {
            attributes.push(parse_quote!(#[derive(#path)]));
        }
    }
    if missing("Serialize") || missing("Deserialize") {
        let serde = quote!(#krate::__private::serde).to_string().replace(' ', "");
        attributes.push(parse_quote!(#[serde(crate = #serde)]));
    }
    if missing("Schema") {
        attributes.push(parse_quote!(#[postcard(crate = #krate::__private::postcard_schema)]));
    }
    let bytes = quote!(#krate::__private::serde_bytes).to_string().replace(' ', "");
    for field in fields_mut(&mut item.data) {
        if is_bytes(field) {
            field.attrs.push(parse_quote!(#[serde(with = #bytes)]));
        }
    }
    item.attrs.extend(attributes);
    Ok(item.into_token_stream())
}

/// Reads `crate = "path"`.
fn parse_options(tokens: TokenStream) -> Result<Path> {
    let mut krate = default_crate();
    let parser = syn::meta::parser(|option| {
        if !option.path.is_ident("crate") {
            return Err(option.error("unknown option: a message has `crate` only"));
        }
        krate = option.value()?.parse::<LitStr>()?.parse()?;
        Ok(())
    });
    parser.parse2(tokens)?;
    Ok(krate)
}

/// The last names of what is derived already.
fn derived(attributes: &[Attribute]) -> Result<Vec<Ident>> {
    let mut names = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("derive")) {
        let paths = attribute.parse_args_with(Punctuated::<Path, Token![,]>::parse_terminated)?;
        names.extend(paths.into_iter().filter_map(|path| path.segments.last().map(|last| last.ident.clone())));
    }
    Ok(names)
}

fn check(item: &DeriveInput) -> Result<()> {
    let mut problems = Problems::default();
    if let Data::Union(data) = &item.data {
        problems.at(data.union_token, "a message is a struct or an enum: nothing says which field of a union is meant");
    }
    if let Data::Enum(data) = &item.data
        && data.variants.is_empty()
    {
        problems.at(&item.ident, "an enum without variants has no values: there is nothing to send");
    }
    for param in &item.generics.params {
        if let GenericParam::Lifetime(lifetime) = param {
            problems.at(lifetime, "a message cannot borrow: its receiver has nothing that it could borrow from");
        }
    }
    serde_options::check(&item.attrs, Place::Container, &mut problems);
    if let Data::Enum(data) = &item.data {
        for variant in &data.variants {
            serde_options::check(&variant.attrs, Place::Variant, &mut problems);
        }
    }
    for field in fields(&item.data) {
        serde_options::check(&field.attrs, Place::Field, &mut problems);
        Recursion { ident: &item.ident, problems: &mut problems }.visit_type(&field.ty);
    }
    problems.finish()
}

fn fields(data: &Data) -> Vec<&Field> {
    match data {
        Data::Struct(data) => data.fields.iter().collect(),
        Data::Enum(data) => data.variants.iter().flat_map(|variant| &variant.fields).collect(),
        Data::Union(_) => Vec::new(),
    }
}

fn fields_mut(data: &mut Data) -> Vec<&mut Field> {
    match data {
        Data::Struct(data) => data.fields.iter_mut().collect(),
        Data::Enum(data) => data.variants.iter_mut().flat_map(|variant| &mut variant.fields).collect(),
        Data::Union(_) => Vec::new(),
    }
}

/// Whether a field is a `Vec<u8>` or an `Option<Vec<u8>>`.
fn is_bytes(field: &Field) -> bool {
    shape::is_byte_vec(shape::wrapped(&field.ty, "Option").unwrap_or(&field.ty))
}

/// Finds the type within its own fields.
struct Recursion<'a> {
    ident: &'a Ident,
    problems: &'a mut Problems,
}

impl<'ast> Visit<'ast> for Recursion<'_> {
    fn visit_type_path(&mut self, ty: &'ast TypePath) {
        if ty.path.get_ident().is_some_and(|ident| ident == self.ident || ident == "Self") {
            let message = "a message that contains itself has no finite schema: send a `Vec` of nodes that name each other by index";
            self.problems.add(Error::new_spanned(ty, message));
        }
        visit::visit_type_path(self, ty);
    }
}
