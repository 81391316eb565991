//! The server: from the bytes of a call to a method of the implementation, and back.

use proc_macro2::{Ident, Literal, TokenStream};
use quote::{format_ident, quote};
use syn::ext::IdentExt;

use crate::client;
use crate::direct;
use crate::method::{Method, Output};
use crate::service::Service;
use crate::wire::{Wire, local};

/// The name of the server of a trait.
pub(crate) fn server_ident(service: &Service) -> Ident {
    let interface = &service.item.ident;
    format_ident!("{}Server", interface.unraw(), span = interface.span())
}

/// The server of a service.
pub(crate) fn expand(service: &Service) -> TokenStream {
    let krate = &service.options.krate;
    let (vis, interface, name) = (&service.item.vis, &service.item.ident, &service.options.name);
    let client = client::client_ident(service);
    let (server, direct) = (server_ident(service), direct::direct_ident(service));
    let text = server.to_string();
    let doc = format!(" Serves `{name}` with an implementation of [`{}`].", interface.unraw());
    let arms = service.methods.iter().enumerate().map(|(index, method)| arm(service, index, method));
    quote! {
        #[doc = #doc]
        #[allow(dead_code)]
        #vis struct #server<Implementation> {
            implementation: ::std::sync::Arc<Implementation>,
        }

        #[allow(dead_code)]
        impl<Implementation: #interface> #server<Implementation> {
            /// Serves with this implementation.
            #[must_use]
            #vis fn new(implementation: Implementation) -> Self {
                Self::from_arc(::std::sync::Arc::new(implementation))
            }

            /// Serves with an implementation that others have, too.
            #[must_use]
            #vis fn from_arc(implementation: ::std::sync::Arc<Implementation>) -> Self {
                Self { implementation }
            }
        }

        impl<Implementation> ::core::fmt::Debug for #server<Implementation> {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(#text).finish_non_exhaustive()
            }
        }

        impl<Implementation: #interface> #krate::__private::Described for #server<Implementation> {
            const METHODS: &'static [#krate::__private::MethodInfo] = <#client as #krate::__private::Described>::METHODS;

            fn describe() -> #krate::__private::ServiceBuilder {
                <#client as #krate::__private::Described>::describe()
            }
        }

        impl<Implementation: #interface> #krate::__private::Service for #server<Implementation> {
            #[allow(deprecated)]
            fn serve(&self, call: #krate::__private::Call) {
                match call.method() {
                    #(#arms)*
                    _ => call.unimplemented(),
                }
            }

            fn direct(&self) -> ::core::option::Option<#krate::__private::DirectService> {
                let service = Self { implementation: ::core::clone::Clone::clone(&self.implementation) };
                let service: ::std::sync::Arc<dyn #direct> = ::std::sync::Arc::new(service);
                ::core::option::Option::Some(#krate::__private::DirectService::new(service))
            }
        }
    }
}

/// What is done for the calls of one method.
fn arm(service: &Service, index: usize, method: &Method) -> TokenStream {
    let krate = &service.options.krate;
    let wire = Wire { krate };
    let id = Literal::u32_unsuffixed(method.id);
    let info = client::info(service, index);
    let (context, implementation, status) = (local("context"), local("implementation"), local("status"));
    let (pattern, types) = arguments(method, &wire);
    let call = invocation(service, method, &wire);
    let answered = match &method.output {
        Output::Value(ty) => {
            let result = local("result");
            let encoded = wire.encoded_reference(ty, quote!(&#result));
            quote!({
                let #result = #call.await;
                #context.encode(#encoded)
            })
        }
        Output::Stream { item, is_async } => {
            let wait = is_async.then(|| quote!(.await));
            let encoder = wire.encoder(item);
            quote!(#context.send(#call #wait, #encoder).await)
        }
    };
    let answer = local("answer");
    quote! {
        #id => {
            let #implementation = ::core::clone::Clone::clone(&self.implementation);
            call.run(&#info, move |#context| async move {
                let #answer = match #context.arguments::<#types>() {
                    ::core::result::Result::Ok(#pattern) => #answered,
                    ::core::result::Result::Err(#status) => ::core::result::Result::Err(#status),
                };
                #context.answer(#answer);
            });
        }
    }
}

/// The pattern and the type that a request is decoded with.
fn arguments(method: &Method, wire: &Wire<'_>) -> (TokenStream, TokenStream) {
    let idents = method.arguments.iter().map(|argument| &argument.ident);
    let types = method.arguments.iter().map(|argument| wire.decoded_type(&argument.ty));
    match method.arguments.len() {
        1 => (quote!(#(#idents)*), quote!(#(#types)*)),
        _ => (quote!((#(#idents),*)), quote!((#(#types),*))),
    }
}

/// The call of the implementation's method.
fn invocation(service: &Service, method: &Method, wire: &Wire<'_>) -> TokenStream {
    let (interface, ident) = (&service.item.ident, &method.ident);
    let (context, implementation) = (local("context"), local("implementation"));
    let lent = method.takes_context.then(|| quote!(&#context,));
    let values = method.arguments.iter().map(|argument| {
        let name = &argument.ident;
        wire.value(&argument.ty, quote!(#name))
    });
    let incoming = method.incoming.as_ref().map(|incoming| {
        let decoder = wire.decoder(&incoming.item);
        quote!(#context.incoming(#decoder),)
    });
    quote!(<Implementation as #interface>::#ident(&#implementation, #lent #(#values,)* #incoming))
}
