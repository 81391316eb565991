//! Handlers by method.

use std::collections::HashMap;
use std::fmt;

use crate::handler::{Handler, IncomingCall};

/// Chooses a handler by method; a method that it does not know is `Unimplemented`.
#[derive(Default)]
pub struct Router {
    methods: HashMap<u32, Box<dyn Handler>>,
}

impl Router {
    /// Knows no methods.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a method. A later handler of the same method takes the place of an earlier one.
    #[must_use]
    pub fn method(mut self, method: u32, handler: impl Handler) -> Self {
        self.methods.insert(method, Box::new(handler));
        self
    }
}

impl Handler for Router {
    fn handle(&self, call: IncomingCall) {
        match self.methods.get(&call.method()) {
            Some(handler) => handler.handle(call),
            None => call.unimplemented(),
        }
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.methods.keys()).finish()
    }
}
