//! The table of methods, and what a registry is told.

use proc_macro2::{Literal, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::Type;
use syn::ext::IdentExt;
use syn::spanned::Spanned;

use crate::client::client_ident;
use crate::method::{Method, Output};
use crate::options::Provider;
use crate::service::Service;
use crate::shape;

/// `Described` for the client.
pub(crate) fn expand(service: &Service) -> TokenStream {
    let krate = &service.options.krate;
    let client = client_ident(service);
    let name = &service.options.name;
    let (major, minor) = service.options.version;
    let (major, minor) = (Literal::u16_unsuffixed(major), Literal::u16_unsuffixed(minor));
    let provider = match service.options.provider {
        Provider::Host => quote!(Host),
        Provider::Plugin => quote!(Plugin),
        Provider::Either => quote!(Either),
    };
    let infos = service.methods.iter().map(|method| info(service, method));
    let descriptions = service.methods.iter().map(|method| description(service, method));
    let checks = service.methods.iter().flat_map(|method| checks(service, method));
    quote! {
        impl #krate::__private::Described for #client {
            const METHODS: &'static [#krate::__private::MethodInfo] = &[#(#infos),*];

            fn describe() -> #krate::__private::ServiceBuilder {
                #krate::__private::ServiceDescription::builder(
                    #name,
                    #krate::__private::Version::new(#major, #minor),
                    #krate::__private::Provider::#provider,
                )
                #(#descriptions)*
            }
        }

        #(#checks)*
    }
}

fn kind(service: &Service, method: &Method) -> TokenStream {
    let krate = &service.options.krate;
    let kind = match (&method.incoming, &method.output) {
        (None, Output::Value(_)) => quote!(Unary),
        (Some(_), Output::Value(_)) => quote!(ClientStreaming),
        (None, Output::Stream { .. }) => quote!(ServerStreaming),
        (Some(_), Output::Stream { .. }) => quote!(BidirectionalStreaming),
    };
    quote!(#krate::__private::MethodKind::#kind)
}

fn info(service: &Service, method: &Method) -> TokenStream {
    let krate = &service.options.krate;
    let (of, name) = (&service.options.name, &method.name);
    let (id, kind) = (Literal::u32_unsuffixed(method.id), kind(service, method));
    quote!(#krate::__private::MethodInfo { service: #of, name: #name, id: #id, kind: #kind })
}

fn description(service: &Service, method: &Method) -> TokenStream {
    let krate = &service.options.krate;
    let name = &method.name;
    let id = match method.is_explicit {
        true => {
            let id = Literal::u32_unsuffixed(method.id);
            quote!(::core::option::Option::Some(#id))
        }
        false => quote!(::core::option::Option::None),
    };
    let kind = kind(service, method);
    let fields = method.arguments.iter().map(|argument| (&argument.ident, &argument.ty));
    let fields = fields.chain(method.incoming.iter().map(|incoming| (&incoming.ident, &incoming.item)));
    let fields = fields.map(|(ident, ty)| {
        let (field, schema) = (ident.unraw().to_string(), schema(service, ty));
        quote!((#field, #schema))
    });
    let result = schema(service, result_type(method));
    quote! {
        .method_with(
            #name,
            #id,
            #kind,
            #krate::__private::arguments(#name, &[#(#fields),*]),
            ::core::convert::From::from(#result),
        )
    }
}

fn result_type(method: &Method) -> &Type {
    match &method.output {
        Output::Value(ty) | Output::Stream { item: ty, .. } => ty,
    }
}

/// The schema of a type. What borrows has that of what it borrows from: both have one form.
fn schema(service: &Service, ty: &Type) -> TokenStream {
    let krate = &service.options.krate;
    let owned = shape::owned(ty);
    quote_spanned!(ty.span()=> <#owned as #krate::__private::Schema>::SCHEMA)
}

/// What is checked of types when the program is compiled, where the type stands.
fn checks(service: &Service, method: &Method) -> Vec<TokenStream> {
    let types = method.arguments.iter().map(|argument| &argument.ty);
    let types = types.chain(method.incoming.iter().map(|incoming| &incoming.item)).chain([result_type(method)]);
    let mut checks: Vec<TokenStream> = types
        .filter(|ty| !matches!(ty, Type::Reference(_)))
        .map(|ty| {
            let (krate, schema) = (krate_at(service, ty), schema(service, ty));
            quote_spanned!(ty.span()=> const _: () = #krate::__private::assert_bounded(#schema);)
        })
        .collect();
    if let Some(incoming) = &method.incoming
        && method.arguments.is_empty()
    {
        let (name, ty) = (&method.name, &incoming.item);
        let (krate, schema) = (krate_at(service, ty), schema(service, ty));
        checks.push(quote_spanned!(ty.span()=> const _: () = #krate::__private::assert_not_named(#schema, #name);));
    }
    checks
}

/// The path of rapace, as if it stood where the type stands: an error in a constant shows the whole expression.
fn krate_at(service: &Service, ty: &Type) -> TokenStream {
    let tokens = service.options.krate.to_token_stream().into_iter();
    let moved = tokens.map(|mut token| {
        token.set_span(ty.span().resolved_at(token.span()));
        token
    });
    moved.collect()
}
