//! What an implementation gives for a direct call.

use std::fmt;
use std::pin::Pin;

use rapace_session::CallError;

/// The result, or what is to be awaited for it.
#[must_use = "an answer that is dropped cancels its call"]
pub enum Answer<'a, T> {
    /// It is there.
    Done(Result<T, CallError>),
    /// It comes of this.
    Later(Pin<Box<dyn Future<Output = T> + Send + 'a>>),
}

impl<T> fmt::Debug for Answer<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done(_) => "Done",
            Self::Later(_) => "Later",
        })
    }
}
