//! What a program does when its host calls `initialize`.

use std::error::Error;
use std::sync::Arc;

use rapace_session::{Code, Status};

use crate::background::Task;
use crate::configuration::Reader;
use crate::context::PluginContext;
use crate::ending::{Ending, LastDeed};
use crate::life::Life;
use crate::lifecycle::{HandOver, Initialize};

/// What goes wrong in a program's own part of `initialize`. A [`Status`] is answered as it is, anything else is the message
/// of a `FailedPrecondition`.
pub type SetupError = Box<dyn Error + Send + Sync>;

/// One part of it.
pub(crate) type Step<C> = Box<dyn FnOnce(&PluginContext<C>, &mut Made) -> Result<(), SetupError> + Send>;

/// What the parts make. It is put to use once all are done.
#[derive(Default)]
pub(crate) struct Made {
    /// What makes services available.
    pub(crate) ready: Vec<Box<dyn FnOnce() + Send>>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) last_deeds: Vec<LastDeed>,
    pub(crate) hand_over: HandOver,
}

/// All parts in their order. The configuration is `given`, or else the body of the call.
pub(crate) fn initializer<C: Send + Sync + 'static>(
    steps: Vec<Step<C>>,
    reader: Reader<C>,
    given: Option<String>,
    life: Arc<Life>,
    ending: Arc<Ending>,
) -> Initialize {
    Box::new(move |body| {
        let (bytes, source) = given.as_deref().map_or((body, "configuration"), |text| (text.as_bytes(), "--config"));
        let config = (reader.read)(bytes, source)?;
        let ctx = PluginContext { life, config: Arc::new(config) };
        let mut made = Made::default();
        steps.into_iter().try_for_each(|step| step(&ctx, &mut made)).map_err(status)?;
        let Made { ready, tasks, last_deeds, hand_over } = made;
        ready.into_iter().for_each(|ready| ready());
        let no_thread =
            |error| Status::new(Code::ResourceExhausted, format!("cannot start a background task: {error}"));
        ending.add(tasks, last_deeds).map_err(no_thread)?;
        Ok(hand_over)
    })
}

fn status(error: SetupError) -> Status {
    match error.downcast::<Status>() {
        Ok(status) => *status,
        Err(error) => Status::new(Code::FailedPrecondition, error.to_string()),
    }
}
