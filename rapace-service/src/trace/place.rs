//! Where a thread is in a trace, and what goes on with its calls.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use rapace_session::{Metadata, MetadataError};

use super::context::TraceContext;
use super::export;

/// The keys of the metadata that carry trace context.
pub(super) const TRACEPARENT: &str = "traceparent";
pub(super) const TRACESTATE: &str = "tracestate";

/// Longest `tracestate` that goes on: what W3C asks for at least.
const STATE_BYTES_MAX: usize = 512;

thread_local! {
    static CONTEXT: Cell<Option<TraceContext>> = const { Cell::new(None) };
    // By itself, because most calls are part of no trace, and this has something to drop.
    static STATE: RefCell<Option<Arc<str>>> = const { RefCell::new(None) };
}

/// A place in a trace, with what its vendors say of it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) context: TraceContext,
    pub(super) state: Option<Arc<str>>,
}

impl Place {
    /// Where this thread is.
    pub(super) fn current() -> Option<Self> {
        let context = current()?;
        Some(Self { context, state: STATE.try_with(|state| state.borrow().clone()).ok().flatten() })
    }

    /// The place that metadata name, if they do, and well.
    pub(super) fn received(metadata: &Metadata) -> Option<Self> {
        let context = TraceContext::parse(metadata.get(TRACEPARENT)?).ok()?;
        Some(Self { context, state: metadata.get(TRACESTATE).and_then(state) })
    }

    /// A new span in the trace of `outer`, or in a new one.
    pub(super) fn within(outer: Option<&Self>) -> Self {
        let context = TraceContext::within(outer.map(|outer| outer.context));
        Self { context, state: outer.and_then(|outer| outer.state.clone()) }
    }

    /// Adds it to metadata that name none.
    pub(super) fn send(&self, metadata: &mut Metadata) -> Result<(), MetadataError> {
        if metadata.get(TRACEPARENT).is_some() {
            return Ok(());
        }
        metadata.insert(TRACEPARENT, self.context.to_string())?;
        match &self.state {
            Some(state) if metadata.get(TRACESTATE).is_none() => metadata.insert(TRACESTATE, state.as_bytes()),
            _ => Ok(()),
        }
    }
}

/// A `tracestate` that may go on. It is not understood here, and not changed.
fn state(text: &[u8]) -> Option<Arc<str>> {
    let text = str::from_utf8(text).ok()?.trim_matches([' ', '\t']);
    let is_printed = |byte: u8| byte == b'\t' || (b' '..=b'~').contains(&byte);
    (!text.is_empty() && text.len() <= STATE_BYTES_MAX && text.bytes().all(is_printed)).then(|| text.into())
}

pub(super) fn current() -> Option<TraceContext> {
    CONTEXT.get()
}

/// What a thread has to enter to be at a place.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) place: Option<Place>,
    pub(super) remote: export::Remote,
}

impl Entry {
    /// While what this gives lives, the thread is there.
    pub(super) fn enter(&self) -> Entered {
        let (context, state) = match &self.place {
            None => (None, None),
            Some(Place { context, state }) => (Some(*context), state.clone()),
        };
        let outer_state = STATE.try_with(|own| own.replace(state)).ok().flatten();
        Entered { outer: CONTEXT.replace(context), outer_state, _remote: self.remote.enter() }
    }
}

pub(super) struct Entered {
    outer: Option<TraceContext>,
    outer_state: Option<Arc<str>>,
    _remote: export::Attached,
}

impl Drop for Entered {
    fn drop(&mut self) {
        CONTEXT.set(self.outer);
        let outer = self.outer_state.take();
        // A thread that ends has none any more.
        let _ = STATE.try_with(|own| own.replace(outer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_state_that_could_have_been_a_header_goes_on() {
        let long = "x".repeat(STATE_BYTES_MAX);
        for (text, expected) in [
            ("congo=t61rcWkgMzE,rojo=00f067", Some("congo=t61rcWkgMzE,rojo=00f067")),
            (" a=1 \t", Some("a=1")),
            (&long, Some(&long)),
            (&(long.clone() + "x"), None),
            ("", None),
            ("  ", None),
            ("a=1\r\nb=2", None),
            ("a=\u{fc}", None),
        ] {
            assert_eq!(state(text.as_bytes()).as_deref(), expected, "{text:?}");
        }
        assert_eq!(state(b"a=\xff"), None);
    }
}
