//! The trait as a whole, read and checked.

use std::collections::HashMap;

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{Error, Item, ItemTrait, Result, TraitItem};

use crate::method::Method;
use crate::options::ServiceOptions;
use crate::problems::Problems;
use crate::{client, description, direct, interface, server};

/// A service.
pub(crate) struct Service {
    pub(crate) options: ServiceOptions,
    pub(crate) methods: Vec<Method>,
    /// The trait as it was written.
    pub(crate) item: ItemTrait,
}

/// What stands in the place of the trait.
pub(crate) fn expand(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let service = Service::parse(options, item)?;
    let interface = interface::expand(&service);
    let client = client::expand(&service);
    let description = description::expand(&service);
    let server = server::expand(&service);
    let direct = direct::expand(&service);
    Ok(quote! { #interface #client #description #server #direct })
}

impl Service {
    fn parse(options: TokenStream, item: TokenStream) -> Result<Self> {
        let item = parse_trait(item)?;
        let mut problems = Problems::default();
        let options = problems.take(ServiceOptions::parse(options));
        check_trait(&item, &mut problems);
        let service = options.as_ref().map(|options| options.name.as_str()).unwrap_or_default();
        let mut methods = Vec::new();
        for entry in &item.items {
            match entry {
                TraitItem::Fn(function) => methods.extend(Method::parse(function.clone(), service, &mut problems)),
                TraitItem::Type(ty) => {
                    problems.at(ty, "a service has no associated types: both sides must know the type, so name it");
                }
                TraitItem::Const(constant) => {
                    problems.at(constant, "a service has no associated constants: callers cannot see them");
                }
                other => problems.at(other, "a service has methods only"),
            }
        }
        check_unique(&methods, &mut problems);
        problems.finish()?;
        // There are options, or there was a problem.
        let options = options.ok_or_else(|| Error::new(Span::call_site(), "the service has no options"))?;
        Ok(Self { options, methods, item })
    }
}

fn parse_trait(item: TokenStream) -> Result<ItemTrait> {
    let message = "a service is a trait: write `pub trait MyService { async fn method(&self) -> u32; }`";
    match syn::parse2(item)? {
        Item::Trait(item) => Ok(item),
        Item::Struct(item) => Err(Error::new_spanned(item.struct_token, message)),
        Item::Enum(item) => Err(Error::new_spanned(item.enum_token, message)),
        Item::Impl(item) => Err(Error::new_spanned(item.impl_token, message)),
        Item::Fn(item) => Err(Error::new_spanned(item.sig.fn_token, message)),
        Item::Mod(item) => Err(Error::new_spanned(item.mod_token, message)),
        other => Err(Error::new_spanned(other, message)),
    }
}

fn check_trait(item: &ItemTrait, problems: &mut Problems) {
    if !item.generics.params.is_empty() {
        problems.at(&item.generics, "a service cannot be generic: both sides must know the types");
    }
    if let Some(clause) = &item.generics.where_clause {
        problems.at(clause, "a service cannot have a `where` clause: nothing in it is generic");
    }
    if let Some(token) = &item.unsafety {
        problems.at(token, "a service cannot be `unsafe`: nothing in it relies on its implementation");
    }
    if item.items.is_empty() {
        problems.at(&item.ident, "a service has at least one method: write `async fn method(&self) -> u32;`");
    }
}

/// Notes methods that have one name or one id. Chosen ids and derived ones cannot meet: those have bit 31.
fn check_unique(methods: &[Method], problems: &mut Problems) {
    let mut names: HashMap<&str, &Method> = HashMap::new();
    let mut ids: HashMap<u32, &Method> = HashMap::new();
    for method in methods {
        let ident = &method.ident;
        if let Some(first) = names.insert(&method.name, method) {
            let message = format!(
                "`{}` and `{ident}` are both named {:?}: say `#[method(name = \"..\")]`",
                first.ident, method.name
            );
            problems.at(ident, message);
        } else if let Some(first) = ids.insert(method.id, method) {
            let how = if method.is_explicit { "chosen" } else { "derived from the names" };
            let message =
                format!("`{}` and `{ident}` both have id {} ({how}): say `#[method(id = ..)]`", first.ident, method.id);
            problems.at(ident, message);
        }
    }
}
