//! Why a dynamic call failed.

use std::fmt;

use rapace_registry::json::ValueError;
use rapace_session::CallError;
use thiserror::Error;

/// Why a dynamic call failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DynamicError {
    /// The registry has no such method.
    #[error("there is no method {name:?} in the registry")]
    UnknownMethod {
        /// The name.
        name: String,
    },
    /// Several services have a method of this name.
    #[error("method {name:?} may be {}", .candidates.join(" or "))]
    Ambiguous {
        /// The name.
        name: String,
        /// Their full names.
        candidates: Vec<String>,
    },
    /// The method has streams and was called without, or the other way round.
    #[error("{method} has {}", if *.streams { "streams: open it" } else { "no streams: call it" })]
    Streams {
        /// The full name of the method.
        method: String,
        /// Whether it has streams.
        streams: bool,
    },
    /// The method takes no items of the caller.
    #[error("{method} takes no stream of its caller")]
    NoItems {
        /// The full name of the method.
        method: String,
    },
    /// The call has ended before.
    #[error("the call of {method} has ended already")]
    Ended {
        /// The full name of the method.
        method: String,
    },
    /// A value is not what the registry says of it.
    #[error("{method}: {part}: {error}")]
    Value {
        /// The full name of the method.
        method: String,
        /// Which value.
        part: Part,
        /// What is wrong with it, and where.
        error: ValueError,
    },
    /// The call failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// A value of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The arguments.
    Argument,
    /// An item of the caller's.
    Item,
    /// The result, or an item of the callee's.
    Result,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Argument => "argument",
            Self::Item => "item",
            Self::Result => "result",
        })
    }
}
