//! The names in a schema: each stands once where it has to be found again, and is found quickly.

use std::collections::{HashMap, HashSet};

use postcard_schema::schema::owned::{OwnedDataModelType as Type, OwnedNamedType, OwnedNamedVariant};

use super::error::{ValueError, ValueProblem};
use super::path::{Path, shown};
use crate::measure::measure;
use crate::shape::{Label, Node};

/// More variants than are looked at one by one: a peer chooses how many there are, and how often one is looked for.
const FEW: usize = 16;

/// The variants of enums that have many, by the address of the first.
#[derive(Debug)]
pub(super) struct Names<'a>(HashMap<*const OwnedNamedVariant, HashMap<&'a str, usize>>);

impl<'a> Names<'a> {
    /// Checks a schema: its size, and that fields and variants have names of their own.
    pub(super) fn check(schema: &'a OwnedNamedType) -> Result<Self, ValueError> {
        let here = Path::default();
        measure(schema).map_err(|error| here.error(error.into()))?;
        let (mut many, mut waiting) = (HashMap::new(), vec![Node::Type(schema)]);
        while let Some(node) = waiting.pop() {
            let mut seen = HashSet::new();
            for (label, part) in node.parts() {
                if let Label::Field(name) | Label::Variant(name) = label
                    && !seen.insert(name)
                {
                    return Err(here.error(ValueProblem::Twice { name: shown(name) }));
                }
                waiting.push(part);
            }
            if let Node::Type(OwnedNamedType { ty: Type::Enum(variants), .. }) = node
                && variants.len() > FEW
            {
                let places = variants.iter().enumerate().map(|(index, variant)| (variant.name.as_str(), index));
                many.insert(variants.as_ptr(), places.collect());
            }
        }
        Ok(Self(many))
    }

    /// Which of these variants has the name.
    pub(super) fn variant(&self, variants: &[OwnedNamedVariant], name: &str) -> Option<usize> {
        match self.0.get(&variants.as_ptr()) {
            Some(places) => places.get(name).copied(),
            None => variants.iter().position(|variant| variant.name == name),
        }
    }
}
