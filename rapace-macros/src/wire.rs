//! How a value of a type is encoded: as itself, but bytes in one piece.
//!
//! Serde writes a `Vec<u8>` byte by byte. `Bytes` and `ByteBuf` have the same form and are copied at once. They stand in
//! for it where the signature shows it: on its own, in an `Option` and in a `Result`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};
use syn::{Path, Type};

use crate::shape;

/// Writes expressions that call the runtime.
pub(crate) struct Wire<'a> {
    /// Where rapace is.
    pub(crate) krate: &'a Path,
}

impl Wire<'_> {
    /// What is encoded for the value behind a reference.
    pub(crate) fn encoded(&self, ty: &Type, reference: TokenStream) -> TokenStream {
        let krate = self.krate;
        match Form::of(ty) {
            Form::Plain => reference,
            Form::Bytes => quote!(#krate::__private::Bytes::new(#reference)),
            Form::Option(inner) => {
                let value = local("value");
                let inner = self.encoded(inner, quote!(#value));
                quote!(::core::option::Option::as_ref(#reference).map(|#value| #inner))
            }
            Form::Result(ok, error) => {
                let value = local("value");
                let mut expression = quote!(::core::result::Result::as_ref(#reference));
                if Form::of(ok).is_special() {
                    let inner = self.encoded(ok, quote!(#value));
                    expression = quote!(#expression.map(|#value| #inner));
                }
                if Form::of(error).is_special() {
                    let inner = self.encoded(error, quote!(#value));
                    expression = quote!(#expression.map_err(|#value| #inner));
                }
                expression
            }
        }
    }

    /// The same behind a reference.
    pub(crate) fn encoded_reference(&self, ty: &Type, reference: TokenStream) -> TokenStream {
        let encoded = self.encoded(ty, reference);
        match Form::of(ty) {
            // Both are references already.
            Form::Plain | Form::Bytes => encoded,
            Form::Option(_) | Form::Result(..) => quote!(&#encoded),
        }
    }

    /// The type that is decoded in a value's place.
    pub(crate) fn decoded_type(&self, ty: &Type) -> TokenStream {
        let krate = self.krate;
        match Form::of(ty) {
            Form::Plain => quote!(#ty),
            Form::Bytes if matches!(ty, Type::Reference(_)) => quote!(#ty),
            Form::Bytes => quote!(#krate::__private::ByteBuf),
            Form::Option(inner) => {
                let inner = self.decoded_type(inner);
                quote!(::core::option::Option<#inner>)
            }
            Form::Result(ok, error) => {
                let (ok, error) = (self.decoded_type(ok), self.decoded_type(error));
                quote!(::core::result::Result<#ok, #error>)
            }
        }
    }

    /// The value of what was decoded in its place.
    pub(crate) fn value(&self, ty: &Type, decoded: TokenStream) -> TokenStream {
        match Form::of(ty) {
            Form::Plain => decoded,
            Form::Bytes if matches!(ty, Type::Reference(_)) => decoded,
            Form::Bytes => quote!(#decoded.into_vec()),
            Form::Option(inner) => {
                let value = local("value");
                let inner = self.value(inner, quote!(#value));
                quote!(#decoded.map(|#value| #inner))
            }
            Form::Result(ok, error) => {
                let value = local("value");
                let mut expression = decoded;
                if Form::of(ok).is_special() {
                    let inner = self.value(ok, quote!(#value));
                    expression = quote!(#expression.map(|#value| #inner));
                }
                if Form::of(error).is_special() {
                    let inner = self.value(error, quote!(#value));
                    expression = quote!(#expression.map_err(|#value| #inner));
                }
                expression
            }
        }
    }

    /// A function that encodes a value.
    pub(crate) fn encoder(&self, ty: &Type) -> TokenStream {
        let krate = self.krate;
        if !Form::of(ty).is_special() {
            return quote!(#krate::__private::encode::<#ty>);
        }
        let item = local("item");
        let encoded = self.encoded_reference(ty, quote!(#item));
        quote!(|#item: &#ty| #krate::__private::encode(#encoded))
    }

    /// A function that decodes a value.
    pub(crate) fn decoder(&self, ty: &Type) -> TokenStream {
        let krate = self.krate;
        if !Form::of(ty).is_special() {
            return quote!(#krate::__private::decode_owned::<#ty>);
        }
        let (bytes, decoded) = (local("bytes"), local("decoded"));
        let (decoded_type, value) = (self.decoded_type(ty), self.value(ty, quote!(#decoded)));
        quote!(|#bytes: &[u8]| #krate::__private::decode_owned::<#decoded_type>(#bytes).map(|#decoded| #value))
    }
}

/// How a type is encoded.
enum Form<'a> {
    Plain,
    Bytes,
    Option(&'a Type),
    Result(&'a Type, &'a Type),
}

impl<'a> Form<'a> {
    fn of(ty: &'a Type) -> Self {
        match ty {
            Type::Reference(reference) if shape::is_byte_slice(&reference.elem) => return Self::Bytes,
            _ if shape::is_byte_vec(ty) => return Self::Bytes,
            _ => {}
        }
        if let Some(inner) = shape::wrapped(ty, "Option")
            && Form::of(inner).is_special()
        {
            return Self::Option(inner);
        }
        match shape::result(ty) {
            Some((ok, error)) if Form::of(ok).is_special() || Form::of(error).is_special() => Self::Result(ok, error),
            _ => Self::Plain,
        }
    }

    fn is_special(&self) -> bool {
        !matches!(self, Self::Plain)
    }
}

/// A name that no name of the user's can meet.
pub(crate) fn local(name: &str) -> Ident {
    format_ident!("{name}", span = Span::mixed_site())
}
