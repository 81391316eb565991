//! The storage of a host: one file for all its plugins, each of which sees its own keys and those that all share.
//!
//! ```text
//!   PluginStorage        a plugin's view: permissions, bounds, quota
//!     queue.rs           its writes wait, each plugin's turn after the others'
//!       writer.rs        one thread: what waits is one transaction, answered when it is on the disk
//!     readers.rs         its reads wait, one of each plugin: two threads do them
//!     disk.rs            the database: reads of what was last committed, which wait for no write
//!       rows.rs          what stands in the file
//!     stored.rs          who has stored how much, and its removal, for whoever operates the host
//! ```

mod disk;
mod queue;
mod readers;
mod rows;
mod stored;
mod writer;

#[cfg(test)]
mod tests;

use std::error::Error as StdError;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rapace_host_api::storage::{
    self as api, Access, Entry, KEY_BYTES_MAX, PAGE_KEYS_MAX, Page, Space, StorageError, StorageServer, Usage,
    VALUE_BYTES_MAX,
};
use redb::backends::FileBackend;
use redb::{Builder, Database};
use thiserror::Error;
use tokio::sync::{Semaphore, oneshot};

use crate::permissions::SharedStorage;
use crate::scope::{Limit, PluginScope};
use disk::{Disk, Fault, Place, View};
use queue::{Expected, Job, Queue, Write, Written};
use readers::{READERS, Readers};
use rows::{SpaceRow, length};
pub use stored::{RemoveError, Stored, WhileRunning};

/// The bytes of memory in which the database keeps parts of its file.
const CACHE_BYTES: usize = 32 << 20;
/// The bytes that the space which all plugins share may have, if its host does not say otherwise.
const SHARED_BYTES: u64 = 64 << 20;
/// The name of that space. Those of plugins begin otherwise.
const SHARED: &str = "shared";

/// The values that a host keeps for its plugins, in a file. Cheap to clone.
///
/// What was acknowledged is on the disk, whatever becomes of the host. A plugin's values stay when it is unloaded, and are
/// there for the next plugin of that name, until somebody [removes](Self::remove) them. A plugin's quota counts the bytes of its keys and values; the file takes some
/// more for each. In memory are up to 32 MiB of the file, and up to 8 MiB of each plugin's writes that wait. Dropped, with all that was made of it, it ends its threads and closes the file.
///
/// ```no_run
/// use rapace_host::{PluginHost, Storage};
/// use rapace_session::Config;
///
/// let storage = Storage::open("/var/lib/my-host/storage.redb")?;
/// let host = PluginHost::builder(Config::new("my-host", "1.0.0"))
///     .storage(&storage)
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Storage {
    inner: Arc<Inner>,
    shared_bytes: u64,
}

/// Why there is no storage.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StorageOpenError {
    /// The file cannot be opened or made.
    #[error("cannot open the storage {}: {error}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It is no plain file.
    #[error("the storage {} is no plain file", .path.display())]
    NotAFile {
        /// What it is.
        path: PathBuf,
    },
    /// A host has it open, this one or another.
    #[error("the storage {} is in use by a host", .path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is no database, or a damaged one.
    #[error("the storage {} cannot be read: {error}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the database says.
        error: Box<dyn StdError + Send + Sync>,
    },
    /// A thread that reads or writes it could not be started.
    #[error("cannot start a thread of the storage: {error}")]
    Thread {
        /// Why not.
        error: io::Error,
    },
}

struct Inner {
    disk: Arc<Disk>,
    queue: Arc<Queue>,
    readers: Arc<Readers>,
    threads: Vec<JoinHandle<()>>,
}

impl Storage {
    /// Opens the file, which is made if there is none, for its owner alone. It is checked from end to end.
    ///
    /// # Errors
    ///
    /// See [`StorageOpenError`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StorageOpenError> {
        let path = path.as_ref();
        let of_file = |error| StorageOpenError::File { path: path.to_owned(), error };
        let file = open_file(path).map_err(of_file)?;
        let metadata = file.metadata().map_err(of_file)?;
        if !metadata.is_file() {
            return Err(StorageOpenError::NotAFile { path: path.to_owned() });
        }
        let storage = Self::at(FilePlace(path.to_owned())).map_err(|error| match error {
            OpenFailure::Thread(error) => StorageOpenError::Thread { error },
            OpenFailure::Database(redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch) => {
                StorageOpenError::InUse { path: path.to_owned() }
            }
            OpenFailure::Database(error) => StorageOpenError::Unreadable { path: path.to_owned(), error: error.into() },
        })?;
        if metadata.len() == 0 {
            // The file's name is on the disk as well.
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(directory).and_then(|directory| directory.sync_all()).map_err(of_file)?;
        }
        Ok(storage)
    }

    /// The same with a bound on the bytes of the space that all plugins share. By default it is 64 MiB.
    #[must_use]
    pub fn shared_bytes(self, bytes: u64) -> Self {
        Self { shared_bytes: bytes, ..self }
    }

    /// Serves a plugin.
    pub fn server(&self, plugin: &PluginScope) -> StorageServer<PluginStorage> {
        StorageServer::new(self.of(plugin))
    }

    /// What a plugin sees of it, for the host itself: the methods of [`rapace_host_api::storage::Storage`], without a
    /// session.
    #[must_use]
    pub fn of(&self, plugin: &PluginScope) -> PluginStorage {
        let name: Arc<str> = plugin.name().into();
        PluginStorage {
            room: self.inner.queue.room(&name),
            turn: self.inner.readers.turn(&name),
            own: format!("{}{name}", stored::OF_PLUGIN).into(),
            name,
            scope: plugin.clone(),
            shared: SHARED.into(),
            shared_bytes: self.shared_bytes,
            inner: Arc::clone(&self.inner),
        }
    }

    fn at(place: impl Place) -> Result<Self, OpenFailure> {
        let disk = Arc::new(Disk::open(place).map_err(OpenFailure::Database)?);
        let (queue, readers) = (Arc::new(Queue::default()), Arc::new(Readers::default()));
        // If one cannot be started, the others end when this is dropped.
        let mut inner = Inner { disk, queue, readers, threads: Vec::new() };
        let (queue, disk) = (Arc::clone(&inner.queue), Arc::clone(&inner.disk));
        inner.start("rapace-storage", move || writer::run(&queue, &disk))?;
        for _ in 0..READERS {
            let (readers, disk) = (Arc::clone(&inner.readers), Arc::clone(&inner.disk));
            inner.start("rapace-reads", move || readers.run(&disk))?;
        }
        Ok(Self { inner: Arc::new(inner), shared_bytes: SHARED_BYTES })
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage").field("shared_bytes", &self.shared_bytes).finish_non_exhaustive()
    }
}

enum OpenFailure {
    Database(redb::Error),
    Thread(io::Error),
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// A file.
struct FilePlace(PathBuf);

impl Place for FilePlace {
    fn open(&self) -> Result<Database, redb::Error> {
        let file = FileBackend::new(open_file(&self.0)?)?;
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
        Ok(builder.create_with_backend(file)?)
    }

    fn free_bytes(&self) -> Option<u64> {
        let volume = rustix::fs::statvfs(&self.0).ok()?;
        Some(volume.f_bavail.saturating_mul(volume.f_frsize))
    }
}

impl Inner {
    fn start(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), OpenFailure> {
        self.threads.push(thread::Builder::new().name(name.to_owned()).spawn(run).map_err(OpenFailure::Thread)?);
        Ok(())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
        self.readers.close();
        // The last handle may be dropped by what one of them wakes.
        let here = thread::current().id();
        for thread in self.threads.drain(..).filter(|thread| thread.thread().id() != here) {
            // It has told of its panic.
            drop(thread.join());
        }
    }
}

/// A plugin's view of a [`Storage`].
pub struct PluginStorage {
    inner: Arc<Inner>,
    scope: PluginScope,
    name: Arc<str>,
    own: Arc<str>,
    shared: Arc<str>,
    shared_bytes: u64,
    room: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

impl api::Storage for PluginStorage {
    async fn get(&self, key: &str, space: Space) -> Result<Option<Entry>, StorageError> {
        check_key(key, 1)?;
        let key = key.to_owned();
        Ok(self.read(space, move |view, space| view.entry(space, &key)).await?.flatten())
    }

    async fn set(&self, key: &str, value: &[u8], space: Space) -> Result<u64, StorageError> {
        check_value(value)?;
        let written = self.write(key, Expected::Anything, Some(value.to_vec()), space).await?;
        Ok(written.version.unwrap_or_default())
    }

    async fn delete(&self, key: &str, space: Space) -> Result<bool, StorageError> {
        Ok(self.write(key, Expected::Anything, None, space).await?.was_there)
    }

    async fn list(&self, prefix: &str, after: Option<String>, limit: u32, space: Space) -> Result<Page, StorageError> {
        check_key(prefix, 0)?;
        check_key(after.as_deref().unwrap_or_default(), 0)?;
        let limit = usize::try_from(limit.clamp(1, PAGE_KEYS_MAX)).unwrap_or(usize::MAX);
        let prefix = prefix.to_owned();
        let page = self.read(space, move |view, space| view.page(space, &prefix, after.as_deref(), limit)).await?;
        Ok(page.unwrap_or_default())
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<u64>,
        value: Option<Vec<u8>>,
        space: Space,
    ) -> Result<Option<u64>, StorageError> {
        check_value(value.as_deref().unwrap_or_default())?;
        Ok(self.write(key, Expected::Version(expected), value, space).await?.version)
    }

    async fn usage(&self, space: Space) -> Result<Usage, StorageError> {
        let (_, bound) = self.space(space, Access::Read)?;
        let row = self.read(space, |_, row| Ok(*row)).await?.unwrap_or_default();
        Ok(Usage { keys: row.keys, bytes: row.bytes, bound })
    }
}

impl PluginStorage {
    /// The name of a space and its bound, if the plugin may do this with it.
    fn space(&self, space: Space, access: Access) -> Result<(&Arc<str>, Option<u64>), StorageError> {
        let needed = match access {
            Access::Read => SharedStorage::Read,
            Access::Write => SharedStorage::Write,
        };
        match space {
            Space::Own => Ok((&self.own, self.scope.limits().storage_bytes)),
            Space::Shared if self.scope.permissions().is_some_and(|allowed| allowed.shared_storage < needed) => {
                Err(StorageError::NotPermitted { access })
            }
            Space::Shared => Ok((&self.shared, Some(self.shared_bytes))),
        }
    }

    /// Reads in a space, when it is this plugin's turn; none, if nothing was ever written to it.
    async fn read<T: Send + 'static>(
        &self,
        space: Space,
        read: impl FnOnce(&View, &SpaceRow) -> Result<T, Fault> + Send + 'static,
    ) -> Result<Option<T>, StorageError> {
        let (name, _) = self.space(space, Access::Read)?;
        let name = Arc::clone(name);
        let turn = Arc::clone(&self.turn).acquire_owned().await.map_err(|_| closed())?;
        let read = move |view: &View| view.space(&name)?.map(|row| read(view, &row)).transpose();
        match self.inner.readers.add(turn, read).await {
            Ok(found) => found.map_err(|fault| {
                self.inner.queue.look();
                fault.into()
            }),
            Err(_) => Err(StorageError::Disk { error: "it could not be read".to_owned() }),
        }
    }

    async fn write(
        &self,
        key: &str,
        expected: Expected,
        value: Option<Vec<u8>>,
        space: Space,
    ) -> Result<Written, StorageError> {
        check_key(key, 1)?;
        let (name, bound) = self.space(space, Access::Write)?;
        let write = Write { space: Arc::clone(name), bound, key: key.to_owned(), expected, value };
        let room = u32::try_from(write.bytes()).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(room).await.map_err(|_| closed())?;
        let (reply, written) = oneshot::channel();
        self.inner.queue.add(&self.name, Job { write, reply, _room: room });
        let outcome = written.await.unwrap_or_else(|_| Err(closed()));
        if let Err(error @ StorageError::Full { .. }) = &outcome {
            let space = if space == Space::Shared { "shared" } else { "own" };
            self.scope.overrun(Limit::StorageBytes, format_args!("in its {space} storage, {error}"));
        }
        outcome
    }
}

impl fmt::Debug for PluginStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginStorage").field("plugin", &self.name).finish_non_exhaustive()
    }
}

fn check_key(key: &str, least: usize) -> Result<(), StorageError> {
    if (least..=KEY_BYTES_MAX).contains(&key.len()) {
        return Ok(());
    }
    let bound = u64::try_from(KEY_BYTES_MAX).unwrap_or(u64::MAX);
    Err(StorageError::Key { found: length(key.as_bytes()), bound })
}

fn check_value(value: &[u8]) -> Result<(), StorageError> {
    if value.len() <= VALUE_BYTES_MAX {
        return Ok(());
    }
    let bound = u64::try_from(VALUE_BYTES_MAX).unwrap_or(u64::MAX);
    Err(StorageError::Value { found: length(value), bound })
}

fn closed() -> StorageError {
    StorageError::Disk { error: "its thread has ended".to_owned() }
}
