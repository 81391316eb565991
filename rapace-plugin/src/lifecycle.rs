//! The calls by which a host leads a plugin through its life; all others are its services'.

use std::sync::Arc;

use parking_lot::Mutex;
use rapace_registry::{BuildError, Provider, Registry, Service, Version};
use rapace_service::Services;
use rapace_session::{Code, Handler, IncomingCall, LIFECYCLE_METHODS, Status};

use crate::ending::Ending;
use crate::life::Life;

const INITIALIZE: u32 = LIFECYCLE_METHODS[0];
const SHUTDOWN: u32 = LIFECYCLE_METHODS[1];
const EXPORT_STATE: u32 = 2003;
const IMPORT_STATE: u32 = 2004;
const IS_IDLE: u32 = 2005;
pub(crate) const PING: u32 = 2006;
/// The service that they are of.
const OWN_SERVICE: &str = "rapace.Plugin";
/// Methods that no service of a program may have.
pub(crate) const OWN_METHODS: [u32; 6] = [INITIALIZE, SHUTDOWN, EXPORT_STATE, IMPORT_STATE, IS_IDLE, PING];

/// Gives the state to a plugin's successor.
pub(crate) type Export = Box<dyn Fn() -> Vec<u8> + Send + Sync>;
/// Takes the state of a plugin's predecessor.
pub(crate) type Import = Box<dyn Fn(&[u8]) -> Result<(), Status> + Send + Sync>;

/// Makes what depends on the configuration, of the body of `initialize`.
pub(crate) type Initialize = Box<dyn FnOnce(&[u8]) -> Result<HandOver, Status> + Send>;

/// How a plugin hands its state over.
#[derive(Default)]
pub(crate) struct HandOver {
    pub(crate) export: Option<Export>,
    pub(crate) import: Option<Import>,
}

/// What a plugin says that it can hand over: a host asks those for their state that say that they have some.
#[derive(Clone, Copy, Default)]
pub(crate) struct Stateful {
    pub(crate) exports: bool,
    pub(crate) imports: bool,
}

impl Stateful {
    /// Adds its methods to what the services say of themselves.
    pub(crate) fn described(self, services: &Services) -> Result<Registry, BuildError> {
        let registry = services.registry()?;
        if !self.exports && !self.imports {
            return Ok(registry);
        }
        let new = || Service::builder(OWN_SERVICE, Version::new(1, 0), Provider::Plugin);
        let mut own = registry.service(OWN_SERVICE).map_or_else(new, Service::to_builder);
        if self.exports {
            own = own.unary::<(), Vec<u8>>("export_state", EXPORT_STATE);
        }
        if self.imports {
            own = own.unary::<Vec<u8>, ()>("import_state", IMPORT_STATE);
        }
        let others = registry.services().iter().filter(|service| service.name() != OWN_SERVICE);
        others.fold(Registry::builder().service(own), |all, service| all.service(service.to_builder())).build()
    }
}

/// Serves a host.
pub(crate) struct Lifecycle {
    life: Arc<Life>,
    ending: Arc<Ending>,
    services: Services,
    stateful: Stateful,
    initialize: Mutex<Option<Initialize>>,
    hand_over: std::sync::OnceLock<HandOver>,
}

impl Lifecycle {
    pub(crate) fn new(
        life: &Arc<Life>,
        ending: &Arc<Ending>,
        services: Services,
        stateful: Stateful,
        initialize: Initialize,
    ) -> Self {
        Self {
            life: Arc::clone(life),
            ending: Arc::clone(ending),
            services,
            stateful,
            initialize: Mutex::new(Some(initialize)),
            hand_over: std::sync::OnceLock::new(),
        }
    }

    fn initialize(&self, body: &[u8]) -> Result<(), Status> {
        let again = || Status::new(Code::FailedPrecondition, "initialize comes once");
        let initialize = self.initialize.lock().take().ok_or_else(again)?;
        let made = initialize(body).inspect_err(|status| {
            // Else nobody sees it here; who has started the program sees nothing of the answer.
            if self.life.by_hand {
                self.ending.say(&format!("initialize failed: {status}"));
            }
        });
        self.hand_over.set(made?).map_err(|_| again())
    }

    /// On another thread, so that this one serves the calls in flight meanwhile.
    fn shut_down(&self, call: IncomingCall) {
        let ending = Arc::clone(&self.ending);
        let end = move || {
            ending.wind_down(1);
            call.reply(b"");
        };
        // Without a thread the call is dropped, which answers it; its session is closed next.
        let _ = std::thread::Builder::new().name("rapace-shutdown".to_owned()).spawn(end);
    }

    fn export(&self) -> Result<Option<Vec<u8>>, Status> {
        let Some(export) = &self.handed()?.export else { return Ok(None) };
        let state = export();
        let mut body = postcard::to_stdvec(&state.len())
            .map_err(|error| Status::new(Code::Internal, format!("the state has no length: {error}")))?;
        body.extend_from_slice(&state);
        Ok(Some(body))
    }

    fn import(&self, body: &[u8]) -> Result<Option<Vec<u8>>, Status> {
        let Some(import) = &self.handed()?.import else { return Ok(None) };
        match postcard::take_from_bytes::<&[u8]>(body) {
            Ok((state, [])) => import(state).map(|()| Some(Vec::new())),
            _ => Err(Status::new(Code::InvalidArgument, "the request holds no state")),
        }
    }

    fn handed(&self) -> Result<&HandOver, Status> {
        let early = || Status::new(Code::FailedPrecondition, "the plugin is not initialized yet");
        self.hand_over.get().ok_or_else(early)
    }
}

impl Handler for Lifecycle {
    fn registry(&self) -> Result<Registry, Status> {
        let described = self.stateful.described(&self.services);
        described.map_err(|error| Status::new(Code::InvalidArgument, error.to_string()))
    }

    fn handle(&self, call: IncomingCall) {
        // It may be any thread that waits on the session.
        let _within = self.life.runtime.enter();
        if !OWN_METHODS.contains(&call.method()) {
            self.life.activity.note();
            return self.services.handle(call);
        }
        // Neither of these is something that the plugin is at.
        let answer = match call.method() {
            IS_IDLE => Ok(Some(vec![u8::from(!self.life.is_busy(1))])),
            PING => Ok(Some(Vec::new())),
            SHUTDOWN => return self.shut_down(call),
            method => {
                self.life.activity.note();
                match method {
                    INITIALIZE => self.initialize(call.body()).map(|()| Some(Vec::new())),
                    EXPORT_STATE => self.export(),
                    _ => self.import(call.body()),
                }
            }
        };
        match answer {
            Ok(Some(body)) => call.reply(&body),
            Ok(None) => call.unimplemented(),
            Err(status) => call.fail(status),
        }
    }
}
