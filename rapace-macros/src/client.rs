//! The clients: one that is awaited and one that blocks.

use proc_macro2::{Ident, Literal, TokenStream};
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::{Type, parse_quote};

use crate::direct;
use crate::method::{Method, Output};
use crate::service::Service;
use crate::shape;
use crate::wire::Wire;

/// Which client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavor {
    Async,
    Blocking,
}

/// The name of the client of a trait.
pub(crate) fn client_ident(service: &Service) -> Ident {
    format_ident!("{}Client", service.item.ident.unraw(), span = service.item.ident.span())
}

/// Both clients.
pub(crate) fn expand(service: &Service) -> TokenStream {
    let (plain, blocking) = (client(service, Flavor::Async), client(service, Flavor::Blocking));
    quote!(#plain #blocking)
}

fn client(service: &Service, flavor: Flavor) -> TokenStream {
    let krate = &service.options.krate;
    let (vis, name) = (&service.item.vis, &service.options.name);
    let ident = client_ident(service);
    let blocking = format_ident!("{}BlockingClient", service.item.ident.unraw(), span = service.item.ident.span());
    let (this, doc, other) = match flavor {
        Flavor::Async => (
            &ident,
            format!(" Calls `{name}` of a peer. Cheap to clone."),
            quote! {
                /// The same client for threads that block.
                #[must_use]
                #vis fn blocking(&self) -> #blocking {
                    #blocking {
                        client: ::core::clone::Clone::clone(&self.client),
                        direct: ::core::clone::Clone::clone(&self.direct),
                    }
                }

                /// What a registry holds of the service.
                #vis fn describe() -> #krate::__private::ServiceBuilder {
                    <Self as #krate::__private::Described>::describe()
                }
            },
        ),
        Flavor::Blocking => (
            &blocking,
            format!(" Calls `{name}` of a peer, and blocks until the reply is there. Cheap to clone."),
            TokenStream::new(),
        ),
    };
    let direct = direct::field_type(service);
    let methods = service.methods.iter().enumerate().map(|(index, method)| function(service, index, method, flavor));
    quote! {
        #[doc = #doc]
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        #[allow(dead_code)]
        #vis struct #this {
            client: #krate::__private::Client,
            direct: #direct,
        }

        #[allow(dead_code)]
        impl #this {
            /// Calls this peer.
            #[must_use]
            #vis fn new(peer: &impl #krate::__private::AsCaller) -> Self {
                let (client, direct) = #krate::__private::Direct::client(peer);
                Self { client, direct }
            }

            /// The same client, which makes each call with these options.
            #[must_use]
            #vis fn with_options(&self, options: #krate::__private::CallOptions) -> Self {
                Self { client: self.client.with_options(options), direct: ::core::clone::Clone::clone(&self.direct) }
            }

            /// The same client, whose calls may be run twice: one whose session ends is made again if the peer has come back.
            #[must_use]
            #vis fn idempotent(&self) -> Self {
                Self { client: self.client.idempotent(), direct: ::core::clone::Clone::clone(&self.direct) }
            }

            /// The same client, which waits so long for each call.
            #[must_use]
            #vis fn with_deadline(&self, deadline: ::core::time::Duration) -> Self {
                Self { client: self.client.with_deadline(deadline), direct: ::core::clone::Clone::clone(&self.direct) }
            }

            /// The same client, which sends these pairs beside each request.
            #[must_use]
            #vis fn with_metadata(&self, metadata: #krate::__private::Metadata) -> Self {
                Self { client: self.client.with_metadata(metadata), direct: ::core::clone::Clone::clone(&self.direct) }
            }

            /// The same client, with one more interceptor around each call.
            #[must_use]
            #vis fn intercepted_by(&self, interceptor: impl #krate::__private::Interceptor) -> Self {
                Self { client: self.client.intercepted_by(interceptor), direct: ::core::clone::Clone::clone(&self.direct) }
            }

            #other

            #(#methods)*
        }
    }
}

/// A method of a client.
fn function(service: &Service, index: usize, method: &Method, flavor: Flavor) -> TokenStream {
    let krate = &service.options.krate;
    let wire = Wire { krate };
    let Method { ident, docs, .. } = method;
    let vis = &service.item.vis;
    let what = format!(" Calls `{}.{}`.", service.options.name, method.name);
    let fallback = docs.is_empty().then(|| quote!(#[doc = #what]));

    let info = info(service, index);
    let call = call(method, flavor);
    let request = request(method, &wire);
    let mut inputs: Vec<TokenStream> = method
        .arguments
        .iter()
        .map(|argument| (&argument.ident, &argument.ty))
        .map(|(i, ty)| quote!(#i: #ty))
        .collect();
    let mut values = vec![quote!(&#info), request];
    if let Some(incoming) = &method.incoming {
        let (name, item) = (&incoming.ident, &incoming.item);
        let stream = stream_of(method, item, flavor, krate);
        inputs.push(quote!(#name: #stream));
        values.push(quote!(#name));
        values.push(wire.encoder(item));
    }
    let (ty, is_stream) = match &method.output {
        Output::Value(ty) => (ty, false),
        Output::Stream { item, .. } => (item, true),
    };
    values.push(wire.decoder(ty));
    let output = output(ty, is_stream, flavor, krate);
    let (asyncness, wait) = match flavor {
        Flavor::Async => (quote!(async), quote!(.await)),
        Flavor::Blocking => (TokenStream::new(), TokenStream::new()),
    };
    let mut body = quote!(self.client.#call(#(#values),*)#wait);
    if !is_stream && shape::result(ty).is_some() {
        body = quote!(#krate::__private::flatten(#body));
    }
    let attempt = direct::attempt(service, index, method, flavor);
    // Nothing else would send them: a call has no thread.
    let pumped = (is_stream && method.incoming.is_some()).then(|| {
        quote! {
            ///
            /// The items of the caller are sent while the stream that is returned is polled.
        }
    });
    quote! {
        #(#docs)*
        #fallback
        #pumped
        ///
        /// # Errors
        ///
        /// When there is no reply, or the callee answers with an error.
        #vis #asyncness fn #ident(&self, #(#inputs),*) -> #output {
            #attempt
            #body
        }
    }
}

/// The entry of a method in the table of methods.
pub(crate) fn info(service: &Service, index: usize) -> TokenStream {
    let (krate, client, index) = (&service.options.krate, client_ident(service), Literal::usize_unsuffixed(index));
    quote!(<#client as #krate::__private::Described>::METHODS[#index])
}

/// Which function of the runtime makes the call.
fn call(method: &Method, flavor: Flavor) -> Ident {
    let call = match (&method.incoming, &method.output) {
        (None, Output::Value(_)) => "unary",
        (Some(_), Output::Value(_)) => "send",
        (None, Output::Stream { .. }) => "receive",
        (Some(_), Output::Stream { .. }) => "exchange",
    };
    match flavor {
        Flavor::Async => format_ident!("{call}"),
        Flavor::Blocking => format_ident!("{call}_blocking"),
    }
}

/// A reference to what is encoded as the request.
fn request(method: &Method, wire: &Wire<'_>) -> TokenStream {
    if let [argument] = &method.arguments[..] {
        let ident = &argument.ident;
        return wire.encoded_reference(&argument.ty, quote!(&#ident));
    }
    let encoded = method.arguments.iter().map(|argument| {
        let ident = &argument.ident;
        wire.encoded(&argument.ty, quote!(&#ident))
    });
    quote!(&(#(#encoded),*))
}

/// The type of the caller's stream. One that goes on behind the call itself cannot borrow.
fn stream_of(method: &Method, item: &Type, flavor: Flavor, krate: &syn::Path) -> TokenStream {
    let outlives = matches!(method.output, Output::Stream { .. });
    match (flavor, outlives) {
        (Flavor::Async, false) => quote!(impl #krate::__private::Stream<Item = #item> + ::core::marker::Send),
        (Flavor::Async, true) => quote!(impl #krate::__private::Stream<Item = #item> + ::core::marker::Send + 'static),
        (Flavor::Blocking, false) => quote!(impl ::core::iter::IntoIterator<Item = #item>),
        (Flavor::Blocking, true) => {
            quote!(impl ::core::iter::IntoIterator<Item = #item, IntoIter: ::core::marker::Send + 'static>)
        }
    }
}

fn output(ty: &Type, is_stream: bool, flavor: Flavor, krate: &syn::Path) -> Type {
    let (value, error): (Type, Type) = match (is_stream, shape::result(ty)) {
        (true, _) => {
            let incoming = match flavor {
                Flavor::Async => quote!(Incoming),
                Flavor::Blocking => quote!(BlockingIncoming),
            };
            (parse_quote!(#krate::__private::#incoming<#ty>), parse_quote!(#krate::__private::CallError))
        }
        (false, Some((value, error))) => (value.clone(), parse_quote!(#krate::__private::Error<#error>)),
        (false, None) => (ty.clone(), parse_quote!(#krate::__private::CallError)),
    };
    parse_quote!(::core::result::Result<#value, #error>)
}
