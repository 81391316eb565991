//! The calls by which a host leads a plugin through its life; all others are its services'.

use std::sync::Arc;

use parking_lot::Mutex;
use rapace_registry::Registry;
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

/// Serves a host.
pub(crate) struct Lifecycle {
    life: Arc<Life>,
    ending: Arc<Ending>,
    services: Services,
    initialize: Mutex<Option<Initialize>>,
    hand_over: std::sync::OnceLock<HandOver>,
}

impl Lifecycle {
    pub(crate) fn new(life: &Arc<Life>, ending: &Arc<Ending>, services: Services, initialize: Initialize) -> Self {
        Self {
            life: Arc::clone(life),
            ending: Arc::clone(ending),
            services,
            initialize: Mutex::new(Some(initialize)),
            hand_over: std::sync::OnceLock::new(),
        }
    }

    fn initialize(&self, body: &[u8]) -> Result<(), Status> {
        let again = || Status::new(Code::FailedPrecondition, "initialize comes once");
        let initialize = self.initialize.lock().take().ok_or_else(again)?;
        self.hand_over.set(initialize(body)?).map_err(|_| again())
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
        Handler::registry(&self.services)
    }

    fn handle(&self, call: IncomingCall) {
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
