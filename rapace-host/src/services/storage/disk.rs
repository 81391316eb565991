//! The database in its file: opened, read, and opened again when it has failed.

use std::time::{Duration, Instant};

use parking_lot::RwLock;
use rapace_host_api::storage as api;
use redb::{Database, ReadOnlyTable, ReadableDatabase, WriteTransaction};
use thiserror::Error;

use super::rows::{self, ENTRIES, SPACES, SpaceRow};

/// How long a database that has failed stays closed before it is opened again.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// What is kept free on the disk: so much, so much for each write, and twice its bytes.
const FREE_BYTES: u64 = 1 << 20;
const FREE_BYTES_PER_WRITE: u64 = 16 << 10;

/// Where the database is.
pub(super) trait Place: Send + Sync + 'static {
    /// Opens it.
    fn open(&self) -> Result<Database, redb::Error>;

    /// The bytes that are free there, if that is known.
    fn free_bytes(&self) -> Option<u64>;
}

/// Why something is not read or written.
#[derive(Debug, Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Database(redb::Error),
    #[error("{0} is damaged")]
    Damaged(&'static str),
    #[error("the disk has {free} bytes free, but {needed} are kept for what is written")]
    NoRoom { free: u64, needed: u64 },
    /// It was closed for what is told here.
    #[error("{0}")]
    Closed(String),
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Database(error.into())
    }
}

impl From<Fault> for api::StorageError {
    fn from(fault: Fault) -> Self {
        Self::Disk { error: fault.to_string() }
    }
}

/// A database.
pub(super) struct Disk {
    place: Box<dyn Place>,
    /// Held for writing only while it is closed, which waits for those who read, and when it is open again.
    state: RwLock<State>,
}

enum State {
    Open {
        database: Database,
        since: Instant,
    },
    /// And when it was last tried to open it.
    Closed {
        why: String,
        since: Instant,
    },
}

impl Disk {
    pub(super) fn open(place: impl Place) -> Result<Self, redb::Error> {
        let database = prepared(place.open()?)?;
        Ok(Self { place: Box::new(place), state: RwLock::new(State::Open { database, since: Instant::now() }) })
    }

    /// Reads what was last committed.
    pub(super) fn read<T>(&self, read: impl FnOnce(&View) -> Result<T, Fault>) -> Result<T, Fault> {
        let state = self.state.read();
        let transaction = state.database()?.begin_read()?;
        read(&View { spaces: transaction.open_table(SPACES)?, entries: transaction.open_table(ENTRIES)? })
    }

    /// Writes, and returns when that is on the disk; if it says that it has written.
    pub(super) fn write<T>(
        &self,
        write: impl FnOnce(&WriteTransaction) -> Result<(T, bool), Fault>,
    ) -> Result<T, Fault> {
        let state = self.state.read();
        let mut transaction = state.database()?.begin_write()?;
        // A plugin chooses what is written. With one phase, a commit that is torn could be made to look whole.
        transaction.set_two_phase_commit(true);
        match write(&transaction)? {
            (outcome, true) => transaction.commit().map(|()| outcome).map_err(Fault::from),
            (outcome, false) => {
                transaction.abort()?;
                Ok(outcome)
            }
        }
    }

    /// Whether there is room for so many bytes in so many writes. Looked at before, for behind a write that failed the
    /// database has to be opened again, and whoever reads would wait for that.
    pub(super) fn room_for(&self, bytes: usize, writes: usize) -> Result<(), Fault> {
        let [bytes, writes] = [bytes, writes].map(|count| u64::try_from(count).unwrap_or(u64::MAX));
        let needed = FREE_BYTES.saturating_add(writes.saturating_mul(FREE_BYTES_PER_WRITE));
        let needed = needed.saturating_add(bytes.saturating_mul(2));
        match self.place.free_bytes() {
            Some(free) if free < needed => Err(Fault::NoRoom { free, needed }),
            _ => Ok(()),
        }
    }

    /// Says what is wrong if nothing can be written any more.
    pub(super) fn check(&self) -> Result<(), Fault> {
        self.write(|_| Ok(((), false)))
    }

    /// It has failed: it is closed, and opened again, at once unless that was tried just before. Only the writer does this.
    pub(super) fn fail(&self, fault: &Fault) {
        let failed = {
            let mut state = self.state.write();
            let State::Open { since, .. } = &*state else { return };
            let closed = State::Closed { why: fault.to_string(), since: *since };
            std::mem::replace(&mut *state, closed)
        };
        drop(failed);
        self.reopen();
    }

    /// When it is to be opened again; none while it is open.
    pub(super) fn opens_at(&self) -> Option<Instant> {
        match &*self.state.read() {
            State::Open { .. } => None,
            State::Closed { since, .. } => Some(*since + PAUSE),
        }
    }

    /// Opens it again, if it is closed and its pause is over. Meanwhile, whoever reads is told that it is closed: it is
    /// checked from end to end. Only the writer does this.
    pub(super) fn reopen(&self) {
        match &*self.state.read() {
            State::Closed { since, .. } if since.elapsed() >= PAUSE => {}
            _ => return,
        }
        let opened = match self.place.open().and_then(prepared) {
            Ok(database) => State::Open { database, since: Instant::now() },
            Err(error) => State::Closed { why: error.to_string(), since: Instant::now() },
        };
        *self.state.write() = opened;
    }
}

impl State {
    fn database(&self) -> Result<&Database, Fault> {
        match self {
            Self::Open { database, .. } => Ok(database),
            Self::Closed { why, .. } => Err(Fault::Closed(why.clone())),
        }
    }
}

/// The database with its tables.
fn prepared(database: Database) -> Result<Database, redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(SPACES)?;
    transaction.open_table(ENTRIES)?;
    transaction.commit()?;
    Ok(database)
}

/// What was last committed.
pub(super) struct View {
    pub(super) spaces: ReadOnlyTable<&'static [u8], &'static [u8]>,
    entries: ReadOnlyTable<&'static [u8], &'static [u8]>,
}

impl View {
    /// The space of that name, if anything was ever written to it.
    pub(super) fn space(&self, name: &str) -> Result<Option<SpaceRow>, Fault> {
        self.spaces.get(name.as_bytes())?.map(|row| SpaceRow::decode(row.value())).transpose()
    }

    /// What is under a key.
    pub(super) fn entry(&self, space: &SpaceRow, key: &str) -> Result<Option<api::Entry>, Fault> {
        let Some(entry) = self.entries.get(&*rows::entry_key(space.id, key))? else { return Ok(None) };
        let (version, value) = rows::entry_parts(entry.value())?;
        Ok(Some(api::Entry { value: value.to_vec(), version }))
    }

    /// The keys with a prefix, from a key on, which are as many as make a page.
    pub(super) fn page(
        &self,
        space: &SpaceRow,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<api::Page, Fault> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let from = rows::entry_key(space.id, prefix);
        let after = after.map(|after| rows::entry_key(space.id, after)).filter(|after| *after >= from);
        let start = after.as_deref().map_or(Included(&*from), Excluded);
        let (mut page, mut bytes, mut value_bytes) = (api::Page::default(), 0, 0);
        for row in self.entries.range::<&[u8]>((start, Unbounded))? {
            let (place, entry) = row?;
            let key = rows::key_of(space.id, place.value())?.filter(|key| key.starts_with(prefix));
            let Some(key) = key else { break };
            bytes += key.len();
            // The database reads a value to find its length.
            if page.keys.len() >= limit || bytes > api::PAGE_BYTES_MAX || value_bytes >= api::PAGE_VALUE_BYTES_MAX {
                page.next = page.keys.last().map(|last| last.key.clone());
                break;
            }
            let (version, value) = rows::entry_parts(entry.value())?;
            value_bytes += value.len();
            page.keys.push(api::Listed { key: key.to_owned(), version, value_bytes: rows::length(value) });
        }
        Ok(page)
    }
}
