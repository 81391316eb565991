//! The service as a trait object, for clients in the process of the implementation, and what those do with it.
//!
//! It stands beside the trait because that one cannot be an object: its futures have types of their own.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::{Path, Type, TypeReference, parse_quote};

use crate::client::{self, Flavor};
use crate::method::{Argument, Method, Output};
use crate::server;
use crate::service::Service;
use crate::shape;
use crate::wire::local;

/// The name of the trait of which clients hold an object.
pub(crate) fn direct_ident(service: &Service) -> Ident {
    format_ident!("{}Direct", service.item.ident.unraw(), span = service.item.ident.span())
}

/// The trait, and that the server has it.
pub(crate) fn expand(service: &Service) -> TokenStream {
    let (vis, interface) = (&service.item.vis, &service.item.ident);
    let (direct, server) = (direct_ident(service), server::server_ident(service));
    let signatures = service.methods.iter().map(|method| signature(service, method));
    let functions = service.methods.iter().map(|method| {
        let (signature, body) = (signature(service, method), body(service, method));
        quote!(#signature { #body })
    });
    quote! {
        #[doc(hidden)]
        #[allow(dead_code, clippy::too_many_arguments)]
        #vis trait #direct: ::core::marker::Send + ::core::marker::Sync + 'static {
            #(#signatures;)*
        }

        impl<Implementation: #interface> #direct for #server<Implementation> {
            #(#[allow(deprecated)] #functions)*
        }
    }
}

fn signature(service: &Service, method: &Method) -> TokenStream {
    let krate = &service.options.krate;
    let ident = &method.ident;
    let (call, context) = (local("call"), local("context"));
    let incoming = method.incoming.as_ref().map(|incoming| {
        let (name, item) = (&incoming.ident, &incoming.item);
        quote!(#name: #krate::__private::Incoming<#item>)
    });
    match &method.output {
        Output::Value(ty) => {
            let context = method.takes_context.then(|| quote!(#context: &'call #krate::__private::Context,));
            let arguments = method.arguments.iter().map(|Argument { ident, ty }| {
                let ty = lent(ty);
                quote!(#ident: #ty)
            });
            let inputs = arguments.chain(incoming);
            quote! {
                fn #ident<'call>(&'call self, #call: &'call #krate::__private::DirectCall, #context #(#inputs),*)
                    -> #krate::__private::Answer<'call, #ty>
            }
        }
        Output::Stream { item, .. } => {
            let context = method.takes_context.then(|| quote!(#context: #krate::__private::Context,));
            let arguments = method.arguments.iter().map(|Argument { ident, ty }| {
                let ty = shape::owned(ty);
                quote!(#ident: #ty)
            });
            let inputs = arguments.chain(incoming);
            quote! {
                fn #ident(self: ::std::sync::Arc<Self>, #context #(#inputs),*) -> #krate::__private::DirectItems<#item>
            }
        }
    }
}

fn body(service: &Service, method: &Method) -> TokenStream {
    let (krate, interface, ident) = (&service.options.krate, &service.item.ident, &method.ident);
    let (call, context, sink) = (local("call"), local("context"), local("sink"));
    let incoming = method.incoming.as_ref().map(|incoming| &incoming.ident);
    let names = method.arguments.iter().map(|argument| &argument.ident);
    match &method.output {
        Output::Value(_) => {
            let context = method.takes_context.then_some(&context);
            let values = context.into_iter().chain(names).chain(incoming);
            quote!(#call.run(move || <Implementation as #interface>::#ident(&self.implementation, #(#values),*)))
        }
        Output::Stream { is_async, .. } => {
            let wait = is_async.then(|| quote!(.await));
            let context = method.takes_context.then(|| quote!(&#context));
            let arguments = method.arguments.iter().map(|Argument { ident, ty }| match ty {
                Type::Reference(_) => quote!(&#ident),
                _ => quote!(#ident),
            });
            let values = context.into_iter().chain(arguments).chain(incoming.map(|name| quote!(#name)));
            quote! {
                #krate::__private::DirectItems::new(move |#sink| async move {
                    #sink.send(<Implementation as #interface>::#ident(&self.implementation, #(#values),*) #wait).await;
                })
            }
        }
    }
}

/// What a client does instead of a call through a session.
pub(crate) fn attempt(service: &Service, index: usize, method: &Method, flavor: Flavor) -> TokenStream {
    let krate = &service.options.krate;
    let info = client::info(service, index);
    let (direct, call, context) = (local("direct"), local("call"), local("context"));
    let (answer, result, items, sending) = (local("answer"), local("result"), local("items"), local("sending"));
    let is_stream = matches!(method.output, Output::Stream { .. });
    let blocks = flavor == Flavor::Blocking;
    // A thread that has items to send does more than to wait for the handler.
    let begin = if blocks && !is_stream && method.incoming.is_none() { "begin_blocking" } else { "begin" };
    let begin = format_ident!("{begin}");

    let made = method.takes_context.then(|| quote!(let #context = #direct.context(&self.client, &#call);));
    let given = method.takes_context.then(|| if is_stream { quote!(#context) } else { quote!(&#context) });
    let sent = method.incoming.as_ref().map(|incoming| {
        let name = &incoming.ident;
        match blocks {
            true => {
                quote!(let (#items, #sending) = #call.items_of(::core::iter::IntoIterator::into_iter(#name));)
            }
            false => quote!(let (#items, #sending) = #call.items(#name);),
        }
    });
    let arguments = method.arguments.iter().map(|Argument { ident, ty }| match ty {
        Type::Reference(_) if is_stream => quote!(::std::borrow::ToOwned::to_owned(#ident)),
        _ => quote!(#ident),
    });
    let incoming = method.incoming.as_ref().map(|_| quote!(#items));
    let values = given.into_iter().chain(arguments).chain(incoming);
    let (trait_, ident) = (direct_ident(service), &method.ident);
    let called = quote!(<dyn #trait_ as #trait_>::#ident);

    let answered = match &method.output {
        Output::Stream { .. } => {
            let incoming = match &method.incoming {
                None => quote!(#call.receive(#answer)),
                Some(_) => quote!(#call.exchange(#answer, #sending)),
            };
            let incoming = if blocks { quote!(#krate::__private::DirectCall::blocking(#incoming)) } else { incoming };
            quote! {
                let #answer = #called(#direct.shared(), #(#values),*);
                return ::core::result::Result::Ok(#incoming);
            }
        }
        Output::Value(ty) => {
            let waited = match (blocks, &method.incoming) {
                (false, None) => quote!(#call.wait(#answer).await),
                (false, Some(_)) => quote!(#call.wait_sending(#answer, #sending).await),
                (true, None) => quote!(#call.done(#answer)),
                (true, Some(_)) => quote!(#call.done_sending(#answer, #sending)),
            };
            let mut ended = quote!(#call.end(#result));
            if shape::result(ty).is_some() {
                ended = quote!(#krate::__private::flatten(#ended));
            }
            quote! {
                let #answer = #called(#direct.service(), &#call, #(#values),*);
                let #result = #waited;
                return #ended;
            }
        }
    };
    quote! {
        if let ::core::option::Option::Some(#direct) = self.direct.get() {
            let #call = #direct.#begin(&self.client, &#info)?;
            #made
            #sent
            #answered
        }
    }
}

/// The type of an argument that is lent for the call.
fn lent(ty: &Type) -> Type {
    match ty {
        Type::Reference(TypeReference { elem, .. }) => parse_quote!(&'call #elem),
        _ => ty.clone(),
    }
}

/// The path of what a client keeps of it.
pub(crate) fn field_type(service: &Service) -> TokenStream {
    let (krate, direct): (&Path, Ident) = (&service.options.krate, direct_ident(service));
    quote!(#krate::__private::Direct<dyn #direct>)
}
