//! What stands in the brackets of `#[rapace::service(..)]` and `#[method(..)]`.

use proc_macro2::{Span, TokenStream};
use syn::meta::ParseNestedMeta;
use syn::parse::Parser;
use syn::{Attribute, Error, LitInt, LitStr, Path, Result, parse_quote};

use crate::id::{EXPLICIT_MAX, name_problem};

/// What the whole attribute looks like, for the errors.
const EXAMPLE: &str = "#[rapace::service(name = \"my.Service\", version = \"1.0\")]";

/// Options of a service.
pub(crate) struct ServiceOptions {
    pub(crate) name: String,
    pub(crate) version: (u16, u16),
    pub(crate) provider: Provider,
    /// Where rapace is.
    pub(crate) krate: Path,
}

/// Who serves.
#[derive(Clone, Copy)]
pub(crate) enum Provider {
    Host,
    Plugin,
    Either,
}

/// Options of a method.
#[derive(Default)]
pub(crate) struct MethodOptions {
    pub(crate) name: Option<LitStr>,
    pub(crate) id: Option<(u32, LitInt)>,
}

impl ServiceOptions {
    /// Reads `name = "..", version = "..", ..`.
    pub(crate) fn parse(tokens: TokenStream) -> Result<Self> {
        let (mut name, mut version, mut provider, mut krate) = (None, None, None, None);
        let parser = syn::meta::parser(|option| {
            if option.path.is_ident("name") {
                once(&option, &mut name, checked_name)
            } else if option.path.is_ident("version") {
                once(&option, &mut version, parse_version)
            } else if option.path.is_ident("provider") {
                once(&option, &mut provider, parse_provider)
            } else if option.path.is_ident("crate") {
                once(&option, &mut krate, |text| text.parse())
            } else {
                Err(option.error("unknown option: a service has `name`, `version`, `provider` and `crate`"))
            }
        });
        parser.parse2(tokens)?;
        let missing = |what| Error::new(Span::call_site(), format!("the service has no {what}: write `{EXAMPLE}`"));
        Ok(Self {
            name: name.ok_or_else(|| missing("name"))?.value(),
            version: version.ok_or_else(|| missing("version"))?,
            provider: provider.unwrap_or(Provider::Either),
            krate: krate.unwrap_or_else(default_crate),
        })
    }
}

/// Where rapace is, unless its user says something else.
pub(crate) fn default_crate() -> Path {
    parse_quote!(::rapace)
}

impl MethodOptions {
    /// Reads `#[method(id = .., name = "..")]`.
    pub(crate) fn parse(&mut self, attribute: &Attribute) -> Result<()> {
        attribute.parse_nested_meta(|option| {
            if option.path.is_ident("name") {
                once(&option, &mut self.name, checked_name)
            } else if option.path.is_ident("id") {
                if self.id.is_some() {
                    return Err(option.error("`id` is given twice"));
                }
                let number: LitInt = option.value()?.parse()?;
                let id = number.base10_parse().ok().filter(|id| (1..=EXPLICIT_MAX).contains(id));
                let wrong = || {
                    let message = format!("an id is from 1 to {EXPLICIT_MAX}, not {number}: those above are derived");
                    Error::new(number.span(), message)
                };
                self.id = Some((id.ok_or_else(wrong)?, number.clone()));
                Ok(())
            } else {
                Err(option.error("unknown option: a method has `id` and `name`"))
            }
        })
    }
}

/// Reads the text of an option that may stand once.
fn once<T>(option: &ParseNestedMeta<'_>, into: &mut Option<T>, read: impl FnOnce(LitStr) -> Result<T>) -> Result<()> {
    if into.is_some() {
        let name = option.path.get_ident().map(ToString::to_string).unwrap_or_default();
        return Err(option.error(format!("`{name}` is given twice")));
    }
    let value = option.value()?;
    let text = value.parse().map_err(|error| Error::new(error.span(), "this is text: write it in quotes"))?;
    *into = Some(read(text)?);
    Ok(())
}

fn checked_name(text: LitStr) -> Result<LitStr> {
    match name_problem(&text.value()) {
        Some(problem) => Err(Error::new(text.span(), problem)),
        None => Ok(text),
    }
}

fn parse_version(text: LitStr) -> Result<(u16, u16)> {
    let number = |text: &str| {
        let plain = text == "0" || text.starts_with(|first: char| matches!(first, '1'..='9'));
        text.parse().ok().filter(|_| plain)
    };
    let value = text.value();
    let version = value.split_once('.').and_then(|(major, minor)| Some((number(major)?, number(minor)?)));
    version.ok_or_else(|| {
        let message = format!("{value:?} is no version: write two numbers from 0 to 65535, such as \"1.0\"");
        Error::new(text.span(), message)
    })
}

fn parse_provider(text: LitStr) -> Result<Provider> {
    match text.value().as_str() {
        "host" => Ok(Provider::Host),
        "plugin" => Ok(Provider::Plugin),
        "either" => Ok(Provider::Either),
        other => {
            let message = format!("{other:?} serves nothing: write \"host\", \"plugin\" or \"either\"");
            Err(Error::new(text.span(), message))
        }
    }
}
