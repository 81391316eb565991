//! The trait again: `async fn` becomes a future that can be sent to another thread, and so does each stream.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{ReturnType, Signature, TraitItem, Type, parse_quote};

use crate::method::{Method, Output};
use crate::service::Service;

/// The trait that is implemented.
pub(crate) fn expand(service: &Service) -> TokenStream {
    let mut item = service.item.clone();
    item.colon_token.get_or_insert_default();
    item.supertraits.extend::<[syn::TypeParamBound; 3]>([
        parse_quote!(::core::marker::Send),
        parse_quote!(::core::marker::Sync),
        parse_quote!('static),
    ]);
    item.items = service.methods.iter().map(|method| TraitItem::Fn(rewritten(method))).collect();
    quote!(#item)
}

fn rewritten(method: &Method) -> syn::TraitItemFn {
    let mut item = method.item.clone();
    let Signature { asyncness, output, .. } = &mut item.sig;
    *asyncness = None;
    let result: Type = match (&method.output, &*output) {
        (Output::Value(ty), _) => parse_quote!(impl ::core::future::Future<Output = #ty> + ::core::marker::Send),
        (Output::Stream { is_async, .. }, ReturnType::Type(_, ty)) => {
            let stream = sendable(ty);
            match is_async {
                true => parse_quote!(impl ::core::future::Future<Output = #stream> + ::core::marker::Send),
                false => stream,
            }
        }
        // A stream has a type.
        (Output::Stream { item, .. }, ReturnType::Default) => parse_quote!(#item),
    };
    *output = parse_quote!(-> #result);
    item
}

/// `impl Stream<..>` with `Send`.
fn sendable(ty: &Type) -> Type {
    let Type::ImplTrait(stream) = ty else { return ty.clone() };
    let mut stream = stream.clone();
    stream.bounds.push(parse_quote!(::core::marker::Send));
    Type::ImplTrait(stream)
}
