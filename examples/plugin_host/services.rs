//! What the host does for its plugins: it writes their log and keeps their data.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rapace::prelude::*;

use crate::contract::{GetRequest, GetResponse, LOG, LogRequest, STORAGE_GET, STORAGE_SET, SetRequest, answer};

/// Bytes that a plugin may store, with its keys.
const STORAGE_BYTES_MAX: usize = 1 << 20;

/// The state behind the services of all plugins.
#[derive(Default)]
pub(crate) struct Services {
    /// Each plugin has a namespace of its own.
    storage: Mutex<HashMap<String, HashMap<String, Vec<u8>>>>,
    /// Who waits for a line of the log: of which plugin, and which.
    awaited: Mutex<Vec<(String, &'static str, Sender<()>)>>,
}

impl Services {
    /// The services of one plugin. `Events.subscribe` is answered with `Unimplemented`.
    pub(crate) fn of(self: &Arc<Self>, plugin: &str) -> Router {
        let serve = || (Arc::clone(self), plugin.to_owned());
        let ((log, log_of), (get, get_of), (set, set_of)) = (serve(), serve(), serve());
        Router::new()
            .method(LOG, move |call| answer(call, |_, request| log.log(&log_of, &request)))
            .method(STORAGE_GET, move |call| answer(call, |_, request| get.get(&get_of, &request)))
            .method(STORAGE_SET, move |call| answer(call, |_, request| set.set(&set_of, request)))
    }

    /// Says when the plugin logs this message.
    pub(crate) fn logged(&self, plugin: &str, message: &'static str) -> Receiver<()> {
        let (sender, receiver) = channel();
        lock(&self.awaited).push((plugin.to_owned(), message, sender));
        receiver
    }

    fn log(&self, plugin: &str, request: &LogRequest) -> Result<(), Status> {
        // What a plugin says stays on its line.
        let message = request.message.replace(char::is_control, " ");
        println!("[Host/Logger] [{plugin}] [{:?}] {message}", request.level);
        lock(&self.awaited).retain(|(of, awaited, sender)| {
            // Nobody is told twice, and who waits no longer need not be told.
            of != plugin || *awaited != message || sender.send(()).is_err()
        });
        Ok(())
    }

    fn get(&self, plugin: &str, request: &GetRequest) -> Result<GetResponse, Status> {
        let value = lock(&self.storage).get(plugin).and_then(|space| space.get(&request.key)).cloned();
        let found = value.as_ref().map_or_else(|| "None".to_owned(), |value| format!("{} bytes", value.len()));
        println!("[Host/Storage] Plugin {plugin} GET {}: {found}", request.key.escape_debug());
        Ok(GetResponse { value })
    }

    fn set(&self, plugin: &str, request: SetRequest) -> Result<(), Status> {
        let mut storage = lock(&self.storage);
        let space = storage.entry(plugin.to_owned()).or_default();
        let others = space.iter().filter(|(key, _)| **key != request.key);
        let kept: usize = others.map(|(key, value)| key.len() + value.len()).sum();
        let found = kept + request.key.len() + request.value.len();
        if found > STORAGE_BYTES_MAX {
            let message = format!("the plugin would store {found} bytes, but may store {STORAGE_BYTES_MAX}");
            return Err(Status::new(Code::ResourceExhausted, message));
        }
        println!("[Host/Storage] Plugin {plugin} SET {}: {} bytes", request.key.escape_debug(), request.value.len());
        space.insert(request.key, request.value);
        Ok(())
    }
}

/// Nothing here is left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
