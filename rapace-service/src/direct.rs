//! Direct calls: a typed client and an implementation in one process.
//!
//! What `#[rapace::service]` writes beside the trait has its methods in a form that can be a trait object; a client that
//! finds its plugin built in holds that object. A call that nobody watches is then a branch, an indirect call, and a poll.
//!
//! ```text
//!   client:  begin  ->  server: run, one poll  ->  client: done, or wait       -> end
//!              |                                            |
//!            interceptors, spans, depth                   deadline, panics
//! ```

mod alarm;
mod answer;
mod block;
mod call;
mod items;
mod queue;
mod watched;

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;

use rapace_session::{AsCaller, CallError};

use crate::built_in::{BuiltIn, Shared};
use crate::client::Client;
use crate::context::Context;
use crate::method_info::MethodInfo;

pub use answer::Answer;
pub(crate) use block::block_on;
pub use call::DirectCall;
pub use items::DirectItems;
pub(crate) use items::Produced;
pub(crate) use queue::QueueReader;

/// An implementation as the object that clients call, of the type `dyn ..Direct` that is generated for its service.
#[derive(Clone)]
pub struct DirectService {
    ty: TypeId,
    /// Holds an `Arc` of that.
    service: Arc<dyn Any + Send + Sync>,
}

impl DirectService {
    /// This object.
    #[must_use]
    pub fn new<L: ?Sized + Send + Sync + 'static>(service: Arc<L>) -> Self {
        Self { ty: TypeId::of::<L>(), service: Arc::new(service) }
    }

    /// The object, if it is of this type.
    pub(crate) fn get<L: ?Sized + Send + Sync + 'static>(&self) -> Option<Arc<L>> {
        if self.ty == TypeId::of::<L>() { self.service.downcast_ref::<Arc<L>>().cloned() } else { None }
    }
}

/// Leads a client to an implementation in this process, if that is where its peer is.
pub struct Direct<L: ?Sized>(Option<Target<L>>);

/// Where it is.
pub struct Target<L: ?Sized> {
    built_in: Arc<Shared>,
    service: Arc<L>,
}

impl<L: ?Sized + Send + Sync + 'static> Direct<L> {
    /// A client of this peer, and the way around it.
    pub fn client(peer: &impl AsCaller) -> (Client, Self) {
        let target = BuiltIn::behind(peer).and_then(|built_in| {
            let service = built_in.services.direct::<L>()?;
            Some(Target { built_in, service })
        });
        let client = match &target {
            Some(target) => Client::with_caller(peer, target.built_in.slot()),
            None => Client::new(peer),
        };
        (client, Self(target))
    }
}

impl<L: ?Sized> Direct<L> {
    /// The implementation, if it is in this process.
    #[inline]
    #[must_use]
    pub fn get(&self) -> Option<&Target<L>> {
        self.0.as_ref()
    }
}

impl<L: ?Sized> Target<L> {
    /// The object.
    #[inline]
    #[must_use]
    pub fn service(&self) -> &L {
        &self.service
    }

    /// The object, for as long as somebody reads its stream.
    #[must_use]
    pub fn shared(&self) -> Arc<L> {
        Arc::clone(&self.service)
    }

    /// Begins a call that is awaited.
    ///
    /// # Errors
    ///
    /// When it is not to be run.
    #[inline]
    pub fn begin(&self, client: &Client, method: &'static MethodInfo) -> Result<DirectCall, CallError> {
        DirectCall::begin(&self.built_in, client, method, false)
    }

    /// Begins a call that blocks this thread.
    ///
    /// # Errors
    ///
    /// When it is not to be run.
    #[inline]
    pub fn begin_blocking(&self, client: &Client, method: &'static MethodInfo) -> Result<DirectCall, CallError> {
        DirectCall::begin(&self.built_in, client, method, true)
    }

    /// What the handler is lent.
    #[must_use]
    pub fn context(&self, client: &Client, call: &DirectCall) -> Context {
        call.context(&self.built_in, client)
    }
}

impl<L: ?Sized> Clone for Direct<L> {
    fn clone(&self) -> Self {
        let target = self.0.as_ref();
        Self(target.map(|Target { built_in, service }| Target {
            built_in: Arc::clone(built_in),
            service: Arc::clone(service),
        }))
    }
}

impl<L: ?Sized> fmt::Debug for Direct<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Direct").field(&self.0.as_ref().map(|target| &target.built_in)).finish()
    }
}

impl fmt::Debug for DirectService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectService").finish_non_exhaustive()
    }
}
