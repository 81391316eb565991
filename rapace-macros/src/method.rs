//! A method of the trait, read and checked.

use proc_macro2::Ident;
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{
    Attribute, FnArg, Pat, PatType, Receiver, ReceiverKind, ReturnType, Safety, TraitItemFn, Type, TypeReference,
    parse_quote,
};

use crate::id;
use crate::options::MethodOptions;
use crate::problems::Problems;
use crate::shape;

/// Most arguments that a request can have beside a stream; serde knows no larger tuple.
const ARGUMENTS_MAX: usize = 16;

/// What the generated clients have beside the methods of the trait.
const TAKEN: &[&str] =
    &["new", "with_options", "idempotent", "with_deadline", "with_metadata", "intercepted_by", "blocking", "describe"];

/// A method.
pub(crate) struct Method {
    /// What it is called in Rust.
    pub(crate) ident: Ident,
    /// What it is called in the registry.
    pub(crate) name: String,
    /// Its id, and whether its author chose it.
    pub(crate) id: u32,
    pub(crate) is_explicit: bool,
    /// Its documentation.
    pub(crate) docs: Vec<Attribute>,
    pub(crate) takes_context: bool,
    /// What the request holds.
    pub(crate) arguments: Vec<Argument>,
    /// The stream of the caller.
    pub(crate) incoming: Option<Incoming>,
    pub(crate) output: Output,
    /// As it was written, without `#[method]`.
    pub(crate) item: TraitItemFn,
}

/// An argument.
pub(crate) struct Argument {
    pub(crate) ident: Ident,
    /// As it was written.
    pub(crate) ty: Type,
}

/// `name: Incoming<item>`.
pub(crate) struct Incoming {
    pub(crate) ident: Ident,
    pub(crate) item: Type,
}

/// What comes back.
pub(crate) enum Output {
    Value(Type),
    Stream {
        item: Type,
        /// Whether the stream is there at once, or behind an `await`.
        is_async: bool,
    },
}

impl Method {
    /// Reads a method of the service called `service`. Whatever is wrong is noted; `None` when it is not worth going on.
    pub(crate) fn parse(mut item: TraitItemFn, service: &str, problems: &mut Problems) -> Option<Self> {
        let (options, docs) = attributes(&mut item, problems);
        check_signature(&item, problems);
        let ident = item.sig.ident.clone();
        if TAKEN.iter().any(|taken| ident == taken) {
            let message = format!(
                "the generated client has a `{ident}` of its own: call the function something else, \
                                   and say `#[method(name = \"{ident}\")]`"
            );
            problems.at(&ident, message);
        }
        let name = match &options.name {
            Some(name) => name.value(),
            None => ident.unraw().to_string(),
        };
        if let Some(problem) = id::name_problem(&name) {
            problems.at(&ident, format!("{problem}: say `#[method(name = \"..\")]`"));
        }
        let mut inputs = Inputs::default();
        for input in &item.sig.inputs {
            inputs.take(input, problems);
        }
        if !inputs.has_receiver {
            problems.at_span(item.sig.paren_token.span.join(), "a method needs a `&self`: write it first");
        }
        let output = output(&item, problems)?;
        let Inputs { takes_context, arguments, incoming, .. } = inputs;
        if arguments.len() > ARGUMENTS_MAX {
            let message =
                format!("{} arguments, but at most {ARGUMENTS_MAX} fit: make a message of them", arguments.len());
            problems.at(&ident, message);
        }
        let id = options.id.as_ref().map_or_else(|| id::derived(service, &name), |(id, _)| *id);
        let is_explicit = options.id.is_some();
        Some(Self { ident, name, id, is_explicit, docs, takes_context, arguments, incoming, output, item })
    }
}

/// Takes `#[method]` off the function; gives what it says, and the documentation.
fn attributes(item: &mut TraitItemFn, problems: &mut Problems) -> (MethodOptions, Vec<Attribute>) {
    let mut options = MethodOptions::default();
    item.attrs.retain(|attribute| {
        if attribute.path().is_ident("method") {
            problems.take(options.parse(attribute));
            return false;
        }
        if attribute.path().is_ident("cfg") || attribute.path().is_ident("cfg_attr") {
            problems.at(attribute, "a service has the same methods everywhere: make two services of it");
        }
        true
    });
    let docs = item.attrs.iter().filter(|attribute| attribute.path().is_ident("doc")).cloned().collect();
    (options, docs)
}

/// Notes what no method of a service can be.
fn check_signature(item: &TraitItemFn, problems: &mut Problems) {
    let signature = &item.sig;
    if let Some(body) = &item.default {
        problems.at(body, "a default body would run at the callee only: write `;` in its place");
    }
    if !signature.generics.params.is_empty() {
        problems.at(
            &signature.generics,
            "a method cannot be generic: the callee must know the types, and lifetimes are left out",
        );
    }
    if let Some(clause) = &signature.generics.where_clause {
        problems.at(clause, "a method cannot have a `where` clause: nothing in it is generic");
    }
    if let Some(token) = &signature.constness {
        problems.at(token, "a method cannot be `const`: it runs in another process");
    }
    if let Safety::Unsafe(token) = &signature.safety {
        problems.at(token, "a method cannot be `unsafe`: the callee cannot rely on what its caller promises");
    }
    if let Some(abi) = &signature.abi {
        problems.at(abi, "a method cannot have an ABI: leave it out");
    }
    if let Some(variadic) = &signature.variadic {
        problems.at(variadic, "a method has a fixed number of arguments: take a `Vec<T>`");
    }
}

/// The inputs that were read so far.
#[derive(Default)]
struct Inputs {
    has_receiver: bool,
    takes_context: bool,
    arguments: Vec<Argument>,
    incoming: Option<Incoming>,
}

impl Inputs {
    fn take(&mut self, input: &FnArg, problems: &mut Problems) {
        match input {
            FnArg::Receiver(receiver) => {
                self.has_receiver = true;
                check_receiver(receiver, problems);
            }
            FnArg::Typed(argument) => self.argument(argument, problems),
        }
    }

    fn argument(&mut self, argument: &PatType, problems: &mut Problems) {
        if let Some(attribute) = argument.attrs.first() {
            problems.at(attribute, "an argument has no attributes");
        }
        let ident = match &*argument.pat {
            Pat::Ident(pat) if pat.by_ref.is_none() && pat.mutability.is_none() && pat.subpat.is_none() => {
                pat.ident.clone()
            }
            pat => {
                problems.at(pat, "an argument has a plain name: callers see it, and the description shows it");
                return;
            }
        };
        let ty = (*argument.ty).clone();
        if let Some(earlier) = &self.incoming {
            if shape::named(&ty, "Incoming").is_some() {
                problems.at(&ty, format!("`{}` is a stream already: a method takes one `Incoming<T>`", earlier.ident));
            } else {
                let message =
                    format!("`{ident}` goes before `{}`: an `Incoming<T>` is the last argument", earlier.ident);
                problems.at(argument, message);
            }
            return;
        }
        if let Type::Reference(reference) = &ty {
            return self.borrowed(ident, argument, reference, problems);
        }
        if let Some(parameters) = shape::named(&ty, "Context")
            && parameters.is_empty()
        {
            problems.at(
                &ty,
                "the context is lent to the handler: write `&Context`. (A message may not be called `Context`)",
            );
            return;
        }
        if shape::named(&ty, "Incoming").is_some() {
            match shape::wrapped(&ty, "Incoming") {
                Some(item) => {
                    shape::check_owned(item, "an item", problems);
                    self.incoming = Some(Incoming { ident, item: item.clone() });
                }
                None => problems.at(&ty, "a stream of what? Write `Incoming<T>`"),
            }
            return;
        }
        shape::check_owned(&ty, "an argument", problems);
        self.arguments.push(Argument { ident, ty });
    }

    fn borrowed(&mut self, ident: Ident, argument: &PatType, reference: &TypeReference, problems: &mut Problems) {
        if let Some(lifetime) = &reference.lifetime {
            problems.at(lifetime, "leave the lifetime out: the argument is borrowed for the call");
        }
        if reference.mutability.is_some() {
            problems.at(reference, "the caller's value is in another process: nothing can be written back to it");
            return;
        }
        if shape::named(&reference.elem, "Context").is_some() {
            if self.takes_context || !self.arguments.is_empty() {
                problems.at(argument, "`&Context` stands once, directly behind `&self`");
            }
            self.takes_context = true;
            return;
        }
        let is_str = shape::named(&reference.elem, "str").is_some();
        if !is_str && !shape::is_byte_slice(&reference.elem) {
            problems.at(
                reference,
                "of borrowed arguments only `&str` and `&[u8]` lie in the request as they are: take the value itself",
            );
            return;
        }
        let elem = &reference.elem;
        self.arguments.push(Argument { ident, ty: parse_quote!(&#elem) });
    }
}

fn check_receiver(receiver: &Receiver, problems: &mut Problems) {
    match &receiver.kind {
        ReceiverKind::Reference(_, None, None) => {}
        ReceiverKind::Reference(_, _, Some(_)) => {
            problems.at(receiver, "calls run at the same time: take `&self`, and keep what changes behind a lock");
        }
        ReceiverKind::Reference(_, Some(lifetime), _) => problems.at(lifetime, "leave the lifetime out: write `&self`"),
        _ => problems.at(receiver, "the implementation serves many calls: take `&self`"),
    }
}

fn output(item: &TraitItemFn, problems: &mut Problems) -> Option<Output> {
    let signature = &item.sig;
    let is_async = signature.asyncness.is_some();
    let ty = match &signature.output {
        ReturnType::Default => parse_quote!(()),
        ReturnType::Type(_, ty) => (**ty).clone(),
    };
    if let Some(item) = shape::stream_item(&ty) {
        shape::check_owned(item, "an item", problems);
        check_result(item, problems);
        return Some(Output::Stream { item: item.clone(), is_async });
    }
    if !is_async {
        let message = "a call takes time: write `async fn`, or return `impl Stream<Item = T>`";
        problems.at_span(signature.fn_token.span(), message);
        return None;
    }
    shape::check_owned(&ty, "a result", problems);
    check_result(&ty, problems);
    Some(Output::Value(ty))
}

/// An alias of `Result` hides its error from the description.
fn check_result(ty: &Type, problems: &mut Problems) {
    if shape::named(ty, "Result").is_some() && shape::result(ty).is_none() {
        problems.at(ty, "the caller must know the error too: write `Result<T, E>` with both types");
    }
}
