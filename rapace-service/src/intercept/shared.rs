//! Interceptors that belong to the way to a peer, and not to one client of it.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use rapace_session::AsCaller;

use super::Interceptors;

/// Interceptors around the calls of all clients that are made of a way to a peer, whenever they were made: what is set here
/// holds for each call that begins from then on. Cheap to clone.
///
/// Whoever has the way puts them around it: [`CallerSlot::put_around`](rapace_session::CallerSlot::put_around),
/// [`Session::put_around`](rapace_session::Session::put_around), or an [`AsCaller`] of its own. A call passes them first, and
/// then those of its client.
#[derive(Clone, Default)]
pub struct SharedInterceptors(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Whether there are any, for calls that nobody watches.
    any: AtomicBool,
    list: RwLock<Interceptors>,
}

impl SharedInterceptors {
    /// None, until some are set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on it is these.
    pub fn set(&self, interceptors: Interceptors) {
        let mut list = self.0.list.write();
        // A call that goes by what held before is one from before.
        self.0.any.store(!interceptors.is_empty(), Ordering::Relaxed);
        let before = std::mem::replace(&mut *list, interceptors);
        drop(list);
        // Their drop is somebody else's code.
        drop(before);
    }

    /// Whether there are none now.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.0.any.load(Ordering::Relaxed)
    }

    /// For those who lead to the peer.
    #[must_use]
    pub fn around(&self) -> Arc<dyn Any + Send + Sync> {
        Arc::clone(&self.0) as Arc<dyn Any + Send + Sync>
    }

    /// Those of this peer, if it has some.
    pub(crate) fn of(peer: &impl AsCaller) -> Option<Self> {
        peer.interceptors()?.downcast().ok().map(Self)
    }

    pub(crate) fn get(&self) -> Interceptors {
        self.0.list.read().clone()
    }
}

impl fmt::Debug for SharedInterceptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedInterceptors").field(&self.get()).finish()
    }
}
