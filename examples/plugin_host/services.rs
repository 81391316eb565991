//! What the host does for its plugins: it writes their log, keeps their data and tells them what happens.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rapace::prelude::*;

use crate::contract::{
    GetRequest, GetResponse, HostEvent, HostServices, HostServicesServer, LogRequest, SetRequest, StorageError,
};
use crate::events::Events;

/// Bytes that a plugin may store, with its keys.
const STORAGE_BYTES_MAX: usize = 1 << 20;

/// The state behind the services of all plugins.
pub(crate) struct HostState {
    /// Each plugin has a namespace of its own.
    storage: Mutex<HashMap<String, HashMap<String, Vec<u8>>>>,
    pub(crate) events: Events,
    /// Who waits for a line of the log: of which plugin, and which.
    awaited: Mutex<Vec<(String, String, Sender<()>)>>,
}

impl HostState {
    pub(crate) fn new() -> Self {
        Self { storage: Mutex::default(), events: Events::new(), awaited: Mutex::default() }
    }

    /// The services of one plugin. Its name comes from the host, not from what the plugin says of itself.
    pub(crate) fn services_of(self: &Arc<Self>, plugin: &str) -> Services {
        Services::new().add(HostServicesServer::new(OfPlugin { plugin: plugin.to_owned(), state: Arc::clone(self) }))
    }

    /// Says when the plugin logs this message.
    pub(crate) fn logged(&self, plugin: &str, message: &str) -> Receiver<()> {
        let (sender, receiver) = channel();
        lock(&self.awaited).push((plugin.to_owned(), message.to_owned(), sender));
        receiver
    }
}

/// The host's services as one plugin sees them.
struct OfPlugin {
    plugin: String,
    state: Arc<HostState>,
}

impl HostServices for OfPlugin {
    async fn log(&self, request: LogRequest) {
        // What a plugin says stays on its line.
        let message = request.message.replace(char::is_control, " ");
        println!("[Host/Logger] [{}] [{:?}] {message}", self.plugin, request.level);
        lock(&self.state.awaited).retain(|(of, awaited, sender)| {
            // Nobody is told twice, and who waits no longer need not be told.
            *of != self.plugin || *awaited != message || sender.send(()).is_err()
        });
    }

    async fn get(&self, request: GetRequest) -> GetResponse {
        let storage = lock(&self.state.storage);
        let value = storage.get(&self.plugin).and_then(|space| space.get(&request.key)).cloned();
        let found = value.as_ref().map_or_else(|| "None".to_owned(), |value| format!("{} bytes", value.len()));
        println!("[Host/Storage] Plugin {} GET {}: {found}", self.plugin, request.key.escape_debug());
        GetResponse { value }
    }

    async fn set(&self, SetRequest { key, value }: SetRequest) -> Result<(), StorageError> {
        let mut storage = lock(&self.state.storage);
        let space = storage.entry(self.plugin.clone()).or_default();
        let others = space.iter().filter(|(other, _)| **other != key);
        let kept: usize = others.map(|(key, value)| key.len() + value.len()).sum();
        let found = kept + key.len() + value.len();
        if found > STORAGE_BYTES_MAX {
            return Err(StorageError::Full { found: found as u64, bound: STORAGE_BYTES_MAX as u64 });
        }
        println!("[Host/Storage] Plugin {} SET {}: {} bytes", self.plugin, key.escape_debug(), value.len());
        space.insert(key, value);
        Ok(())
    }

    fn subscribe(&self) -> impl Stream<Item = HostEvent> {
        println!("[Host/Events] Plugin {} has subscribed", self.plugin);
        self.state.events.subscribe()
    }
}

/// Nothing here is left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
