//! What plugins have stored, for whoever operates their host: also those that are no longer there.

use rapace_host_api::storage::StorageError;
use redb::{ReadableTable, WriteTransaction};
use thiserror::Error;

use super::Storage;
use super::disk::{Fault, View};
use super::rows::{self, ENTRIES, SPACES, SpaceRow, length};
use crate::host::PluginHost;

/// The names of plugins' own spaces begin so.
pub(super) const OF_PLUGIN: &str = "plugin/";

/// Keys that are removed in one transaction, and bytes from which on there are no more: other plugins' writes go between.
const KEYS_AT_ONCE: usize = 256;
const BYTES_AT_ONCE: u64 = 8 << 20;

/// What a plugin has stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// The plugin, which need not be there.
    pub plugin: String,
    /// How many keys.
    pub keys: u64,
    /// The bytes of all keys and values.
    pub bytes: u64,
}

/// What becomes of the values of a plugin that runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhileRunning {
    /// They stay.
    #[default]
    Keep,
    /// Those that are there are removed, and what it writes meanwhile stays.
    Remove,
}

/// Why a plugin's values are not removed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// The host has no [storage](crate::PluginHostBuilder::storage).
    #[error("the host has no storage")]
    NoStorage,
    /// The plugin runs.
    #[error("plugin {plugin} runs, and what it has stored is in use")]
    Running {
        /// The plugin.
        plugin: String,
    },
    /// There is nothing.
    #[error("nothing is stored of a plugin {plugin:?}")]
    NothingStored {
        /// The plugin.
        plugin: String,
    },
    /// The storage has failed. Some may be removed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Storage {
    /// The plugins that have values of their own, by name, whether or not they are there. It reads on this thread.
    ///
    /// # Errors
    ///
    /// When the storage has failed.
    pub fn stored(&self) -> Result<Vec<Stored>, StorageError> {
        self.done(self.inner.disk.read(View::stored))
    }

    /// Removes all values of a plugin's own that are there when this is called, and says what that was; none if there are none.
    /// It does so on this thread, and returns when it is on the disk. Whether the plugin runs is not looked at:
    /// [`PluginHost::remove_stored`] does that.
    ///
    /// # Errors
    ///
    /// When the storage has failed. Some values may be removed then.
    pub fn remove(&self, plugin: &str) -> Result<Option<Stored>, StorageError> {
        let Some(mut removal) = self.removal(plugin)? else { return Ok(None) };
        while !self.go_on(&mut removal)? {}
        let Removal { keys, bytes, .. } = removal;
        if keys == 0 {
            return Ok(None);
        }
        tracing::info!(plugin, keys, bytes, "what it had stored is removed");
        Ok(Some(Stored { plugin: plugin.to_owned(), keys, bytes }))
    }

    pub(super) fn removal(&self, plugin: &str) -> Result<Option<Removal>, StorageError> {
        let name = format!("{OF_PLUGIN}{plugin}");
        let row = self.done(self.inner.disk.read(|view| view.space(&name)))?;
        let new =
            |row: SpaceRow| Removal { name, until: row.version, from: rows::entry_key(row.id, ""), keys: 0, bytes: 0 };
        Ok(row.map(new))
    }

    /// Removes some; says whether those were the last.
    pub(super) fn go_on(&self, removal: &mut Removal) -> Result<bool, StorageError> {
        let disk = &self.inner.disk;
        let room = disk.room_for(0, KEYS_AT_ONCE);
        self.done(room.and_then(|()| disk.write(|transaction| removal.go_on(transaction))))
    }

    fn done<T>(&self, outcome: Result<T, Fault>) -> Result<T, StorageError> {
        outcome.map_err(|fault| {
            self.inner.queue.look();
            fault.into()
        })
    }
}

impl View {
    fn stored(&self) -> Result<Vec<Stored>, Fault> {
        let mut stored = Vec::new();
        for row in self.spaces.range(OF_PLUGIN.as_bytes()..)? {
            let (name, row) = row?;
            let name = std::str::from_utf8(name.value()).map_err(|_| Fault::Damaged("the name of a space"))?;
            let Some(plugin) = name.strip_prefix(OF_PLUGIN) else { break };
            let SpaceRow { keys, bytes, .. } = SpaceRow::decode(row.value())?;
            // Rows of spaces stay.
            if keys > 0 {
                stored.push(Stored { plugin: plugin.to_owned(), keys, bytes });
            }
        }
        Ok(stored)
    }
}

/// A space on its way to be empty.
pub(super) struct Removal {
    name: String,
    /// The last version that goes.
    until: u64,
    /// Before this, all is done.
    from: Vec<u8>,
    keys: u64,
    bytes: u64,
}

impl Removal {
    /// Removes some; says whether that were the last, and whether there were any.
    fn go_on(&mut self, transaction: &WriteTransaction) -> Result<(bool, bool), Fault> {
        let (mut entries, mut spaces) = (transaction.open_table(ENTRIES)?, transaction.open_table(SPACES)?);
        let row = spaces.get(self.name.as_bytes())?.map(|row| SpaceRow::decode(row.value())).transpose()?;
        let Some(row) = row else { return Ok((true, false)) };
        let (mut places, mut bytes, mut is_done) = (Vec::new(), 0, true);
        for entry in entries.range(&*self.from..)? {
            let (place, entry) = entry?;
            let Some(key) = rows::key_of(row.id, place.value())? else { break };
            if places.len() == KEYS_AT_ONCE || bytes >= BYTES_AT_ONCE {
                (self.from, is_done) = (place.value().to_vec(), false);
                break;
            }
            let (version, value) = rows::entry_parts(entry.value())?;
            if version <= self.until {
                bytes += length(key.as_bytes()) + length(value);
                places.push(place.value().to_vec());
            }
        }
        for place in &places {
            entries.remove(&**place)?;
        }
        let keys = u64::try_from(places.len()).unwrap_or(u64::MAX);
        let left = SpaceRow { keys: row.keys.saturating_sub(keys), bytes: row.bytes.saturating_sub(bytes), ..row };
        spaces.insert(self.name.as_bytes(), &left.encode()[..])?;
        self.keys += keys;
        self.bytes += bytes;
        Ok((is_done, keys > 0))
    }
}

impl PluginHost {
    /// The plugins that have values of their own in the host's [storage](crate::PluginHostBuilder::storage), by name, whether or
    /// not they are there. It reads on this thread.
    ///
    /// # Errors
    ///
    /// There is no storage, or it has failed.
    pub fn stored(&self) -> Result<Vec<Stored>, RemoveError> {
        Ok(self.context.storage.as_ref().ok_or(RemoveError::NoStorage)?.stored()?)
    }

    /// Removes what a plugin has stored of its own, as [`Storage::remove`] does, and says what that was. The plugin is not
    /// started meanwhile.
    ///
    /// # Errors
    ///
    /// The plugin runs and is not to be robbed, has stored nothing, or the storage has failed.
    pub fn remove_stored(&self, plugin: &str, while_running: WhileRunning) -> Result<Stored, RemoveError> {
        let storage = self.context.storage.as_ref().ok_or(RemoveError::NoStorage)?;
        let loaded = self.plugin(plugin);
        let _in_transition = loaded.as_ref().map(|loaded| {
            let in_transition = loaded.0.in_transition.lock();
            loaded.poll();
            in_transition
        });
        let plugin = plugin.to_owned();
        if while_running == WhileRunning::Keep
            && loaded.as_ref().is_some_and(|loaded| loaded.0.instances().next().is_some())
        {
            return Err(RemoveError::Running { plugin });
        }
        storage.remove(&plugin)?.ok_or(RemoveError::NothingStored { plugin })
    }
}
