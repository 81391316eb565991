//! Something for each method, made when the method is first seen.

use std::collections::HashMap;

use parking_lot::RwLock;

use crate::method_info::MethodInfo;

/// A `T` for each method. It cannot grow beyond the methods that the program was compiled with.
#[derive(Debug)]
pub(crate) struct PerMethod<T> {
    methods: RwLock<HashMap<MethodInfo, T>>,
}

impl<T> PerMethod<T> {
    pub(crate) fn new() -> Self {
        Self { methods: RwLock::new(HashMap::new()) }
    }

    /// Runs `look` on the method's own; only the first look at a method allocates.
    pub(crate) fn with<R>(&self, method: &MethodInfo, make: impl FnOnce() -> T, look: impl FnOnce(&T) -> R) -> R {
        if let Some(own) = self.methods.read().get(method) {
            return look(own);
        }
        look(self.methods.write().entry(*method).or_insert_with(make))
    }

    /// What `look` makes of each.
    pub(crate) fn collect<R>(&self, mut look: impl FnMut(&MethodInfo, &T) -> R) -> Vec<R> {
        self.methods.read().iter().map(|(method, own)| look(method, own)).collect()
    }
}
