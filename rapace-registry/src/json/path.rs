//! Where a walk through a value stands.

use std::fmt::Write;

use super::error::{ValueError, ValueProblem};

/// Characters that are shown of a name, a key or a number from outside.
const SHOWN_CHARS_MAX: usize = 64;

/// One step into a JSON value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'a> {
    /// A field of a struct, or the variant of an enum.
    Name(&'a str),
    /// An element of an array.
    Index(usize),
    /// A key of a map.
    Key(&'a str),
}

/// The steps from the whole value to a place in it.
#[derive(Debug, Default)]
pub(super) struct Path<'a>(Vec<Step<'a>>);

impl<'a> Path<'a> {
    pub(super) fn enter(&mut self, step: Step<'a>) {
        self.0.push(step);
    }

    /// Back to where the last step was taken. After an error nobody needs to.
    pub(super) fn leave(&mut self) {
        self.0.pop();
    }

    /// Says what is wrong here.
    pub(super) fn error(&self, problem: ValueProblem) -> ValueError {
        let mut path = String::from("$");
        for step in &self.0 {
            let written = match step {
                Step::Name(name) if is_plain(name) => write!(path, ".{}", shown(name)),
                Step::Name(name) | Step::Key(name) => write!(path, "[\"{}\"]", shown(name)),
                Step::Index(index) => write!(path, "[{index}]"),
            };
            written.expect("a string takes whatever is written");
        }
        ValueError { path, problem }
    }

    /// Says that this is not what the schema asks for.
    pub(super) fn other(&self, expected: impl Into<String>, found: impl Into<String>) -> ValueError {
        self.error(ValueProblem::Other { expected: expected.into(), found: found.into() })
    }
}

/// A text from outside, fit to be shown: on one line, and not all of it.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_')
}
