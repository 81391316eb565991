//! Several services on one session.

use std::fmt;
use std::sync::Arc;

use rapace_registry::{BuildError, Registry, ServiceBuilder};
use rapace_session::{Code, Handler, IncomingCall, Status};

use crate::call::Call;
use crate::direct::DirectService;
use crate::intercept::{Interceptor, Interceptors};
use crate::later::Later;
use crate::method_info::MethodInfo;
use crate::service::{Described, Service};

/// Serves several services on one session, and describes them to the peer.
///
/// A call of a method that none of them has is answered with `Unimplemented`.
#[derive(Default)]
pub struct Services {
    served: Vec<Served>,
    /// Which service has a method, in the order of the ids.
    by_id: Vec<(u32, usize)>,
    /// What the peer is expected to serve.
    called: Vec<ServiceBuilder>,
    interceptors: Interceptors,
}

struct Served {
    methods: &'static [MethodInfo],
    description: ServiceBuilder,
    serve: Box<dyn Fn(Call) + Send + Sync>,
    direct: Option<DirectService>,
}

impl Services {
    /// Serves nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves this service, too.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "a list of services is no number")]
    pub fn add<S: Service>(self, service: S) -> Self {
        let direct = service.direct();
        self.add_serving::<S>(direct, move |call| service.serve(call))
    }

    /// Serves this service, too, as soon as it is there. Until then its calls are answered with `FailedPrecondition`; the
    /// registry has it from the beginning.
    #[must_use]
    pub fn add_later<S: Service>(self, later: &Later<S>) -> Self {
        let later = later.clone();
        self.add_serving::<S>(None, move |call| match later.get() {
            Some(service) => service.serve(call),
            None => call.fail(not_ready(S::METHODS)),
        })
    }

    fn add_serving<S: Service>(
        mut self,
        direct: Option<DirectService>,
        serve: impl Fn(Call) + Send + Sync + 'static,
    ) -> Self {
        let index = self.served.len();
        self.by_id.extend(S::METHODS.iter().map(|method| (method.id, index)));
        // Stable, so that of two methods with one id the first is found. The registry refuses them.
        self.by_id.sort_by_key(|(id, _)| *id);
        self.served.push(Served { methods: S::METHODS, description: S::describe(), serve: Box::new(serve), direct });
        self
    }

    /// Expects the peer to serve the service of this client. The registry says so; both sides then compare its types.
    #[must_use]
    pub fn calls<C: Described>(mut self) -> Self {
        self.called.push(C::describe());
        self
    }

    /// Puts one more interceptor around the calls of all services.
    #[must_use]
    pub fn intercept(mut self, interceptor: impl Interceptor) -> Self {
        self.interceptors = self.interceptors.with(interceptor);
        self
    }

    /// What is served, and what is expected of the peer.
    ///
    /// # Errors
    ///
    /// When two services have one name, or two methods one id, or a type is more than a registry takes.
    pub fn registry(&self) -> Result<Registry, BuildError> {
        let mut builder = Registry::builder();
        let mut known: Vec<Registry> = Vec::new();
        for description in self.served.iter().map(|served| &served.description) {
            builder = builder.service(description.clone());
            known.push(Registry::builder().service(description.clone()).build()?);
        }
        for description in &self.called {
            let alone = Registry::builder().service(description.clone()).build()?;
            // A service that both sides serve stands there once.
            if !known.contains(&alone) {
                builder = builder.service(description.clone());
                known.push(alone);
            }
        }
        builder.build()
    }

    /// The methods that are served.
    pub fn methods(&self) -> impl Iterator<Item = &'static MethodInfo> {
        self.served.iter().flat_map(|served| served.methods)
    }

    pub(crate) fn interceptors(&self) -> &Interceptors {
        &self.interceptors
    }

    /// The implementation of a service as an object of this type, to be called without a session.
    pub(crate) fn direct<L: ?Sized + Send + Sync + 'static>(&self) -> Option<Arc<L>> {
        self.served.iter().find_map(|served| served.direct.as_ref()?.get())
    }

    fn find(&self, method: u32) -> Option<&Served> {
        let at = self.by_id.partition_point(|(id, _)| *id < method);
        let (_, index) = self.by_id.get(at).filter(|(id, _)| *id == method)?;
        self.served.get(*index)
    }
}

fn not_ready(methods: &[MethodInfo]) -> Status {
    let service = methods.first().map_or("the service", |method| method.service);
    let message = format!("{service} is not ready: what makes it, as initialize does, has not come, or has failed");
    Status::new(Code::FailedPrecondition, message)
}

impl Handler for Services {
    fn registry(&self) -> Result<Registry, Status> {
        Self::registry(self).map_err(|error| Status::new(Code::InvalidArgument, error.to_string()))
    }

    fn handle(&self, call: IncomingCall) {
        match self.find(call.method()) {
            Some(served) => (served.serve)(Call::new(call, self.interceptors.clone())),
            None => call.unimplemented(),
        }
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods = self.methods().map(|method| method.full_name().to_string());
        f.debug_struct("Services")
            .field("methods", &methods.collect::<Vec<_>>())
            .field("interceptors", &self.interceptors)
            .finish_non_exhaustive()
    }
}
