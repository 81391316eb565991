//! Options of serde that a message may not have, and why.
//!
//! The schema is made of the Rust type. An option that makes serde write something else would have the description lie,
//! and postcard, which has neither field names nor lengths in its form, could not read it back.

use syn::meta::ParseNestedMeta;
use syn::{Attribute, Error, Expr, Result, Token};

use crate::problems::Problems;

/// Where an attribute stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Container,
    Variant,
    Field,
}

/// Notes the options that are refused.
pub(crate) fn check(attributes: &[Attribute], place: Place, problems: &mut Problems) {
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
        problems.take(attribute.parse_nested_meta(|option| {
            let name = option.path.get_ident().map(ToString::to_string).unwrap_or_default();
            skip_value(&option)?;
            match refusal(&name, place) {
                Some(reason) => Err(Error::new_spanned(&option.path, format!("`serde({name})` is refused: {reason}"))),
                None => Ok(()),
            }
        }));
    }
}

/// Reads over what stands behind the option's name.
fn skip_value(option: &ParseNestedMeta<'_>) -> Result<()> {
    if option.input.peek(Token![=]) {
        option.value()?.parse::<Expr>()?;
    } else if option.input.peek(syn::token::Paren) {
        let content;
        syn::parenthesized!(content in option.input);
        content.parse::<proc_macro2::TokenStream>()?;
    }
    Ok(())
}

fn refusal(name: &str, place: Place) -> Option<&'static str> {
    Some(match name {
        "rename" if place != Place::Field => return None,
        "bound" | "deny_unknown_fields" | "expecting" => return None,
        "skip" | "skip_serializing" | "skip_deserializing" | "skip_serializing_if" => {
            "each field is sent, in order, and one left out would shift those behind it. Take the field out, or make it \
             an `Option`"
        }
        "flatten" => "it makes a map of the struct, whose fields are sent without names. Write the fields out",
        "tag" | "content" | "untagged" => {
            "a variant is sent as its number, which the receiver reads first. Leave the enum as it is"
        }
        "rename" | "rename_all" | "rename_all_fields" | "alias" => {
            "the description has the names that the fields have in Rust. Rename them there"
        }
        "default" => "each field is sent, so nothing is ever missing. Make the field an `Option`",
        "other" => "a variant that the receiver does not know has an unknown length. Send a type that both sides know",
        "with" | "serialize_with" | "deserialize_with" | "from" | "into" | "try_from" | "remote" | "getter" => {
            "what is sent would not be what the description says. Make the field the type that is sent, and convert it"
        }
        "transparent" => "a struct with one field is sent as that field already. Leave it out",
        "borrow" => "a message cannot borrow. Make the field an owned type",
        "crate" => "`#[rapace::message]` says where serde is. Leave it out",
        _ => "what it does to the form is not known. Leave it out",
    })
}
