//! What is wrong with a value, and where.

use crate::measure::SchemaError;

/// A value that is not of its schema's type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
#[non_exhaustive]
pub struct ValueError {
    /// Where, in terms of the JSON value: `$.items[3].name`. `$` is the whole of it.
    pub path: String,
    /// What.
    pub problem: ValueProblem,
}

/// What is wrong at a place in a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueProblem {
    /// The JSON is of another kind, or the bytes are none that this type has.
    #[error("expected {expected}, found {found}")]
    Other {
        /// What the schema asks for.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A struct has no such field.
    #[error("unknown field `{name}`{}", .closest.as_ref().map_or_else(String::new, |known| format!(", did you mean `{known}`?")))]
    UnknownField {
        /// The name.
        name: String,
        /// The field whose name is most like it, if one is.
        closest: Option<String>,
    },
    /// A field is not there, and is no option.
    #[error("field `{name}` is missing")]
    MissingField {
        /// Its name.
        name: String,
    },
    /// An enum has no such variant.
    #[error("unknown variant `{name}`, there are {known}")]
    UnknownVariant {
        /// The name.
        name: String,
        /// The names of the first variants.
        known: String,
    },
    /// An enum has fewer variants.
    #[error("variant {index} of an enum with {count}")]
    VariantIndex {
        /// The index in the bytes.
        index: u32,
        /// How many variants there are.
        count: usize,
    },
    /// The bytes end within the value.
    #[error("{left} bytes are left, {needed} expected")]
    Truncated {
        /// The bytes that this needs.
        needed: usize,
        /// The bytes that are there.
        left: usize,
    },
    /// The bytes go on behind the value.
    #[error("{left} bytes are left behind the value")]
    Trailing {
        /// How many.
        left: usize,
    },
    /// A number in the bytes is too long.
    #[error("a number of more than {bits} bits")]
    Number {
        /// The bits that it may have.
        bits: u32,
    },
    /// A text is not UTF-8.
    #[error("a string that is not UTF-8 from its byte {at} on")]
    NotUtf8 {
        /// The first byte that is not.
        at: usize,
    },
    /// A map has a key twice, or a type has two fields or two variants of one name.
    #[error("`{name}` is there twice")]
    Twice {
        /// The key or name.
        name: String,
    },
    /// The value would take more than [`BYTES_MAX`](super::BYTES_MAX).
    #[error("the value takes more than {bound} bytes")]
    TooLarge {
        /// The bound.
        bound: usize,
    },
    /// The schema is one that no registry may hold.
    #[error("the schema: {0}")]
    Schema(#[from] SchemaError),
}
