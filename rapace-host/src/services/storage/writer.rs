//! The thread that writes: what has queued up while it wrote is one transaction, and is answered when that is on the disk.

use std::collections::HashMap;
use std::sync::Arc;

use rapace_host_api::storage::StorageError;
use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};

use super::disk::{Disk, Fault};
use super::queue::{Expected, Job, Queue, Work, Write, Written};
use super::rows::{self, ENTRIES, SPACES, SpaceRow, length};

/// Writes until nobody will write any more.
pub(super) fn run(queue: &Queue, disk: &Disk) {
    let _abandon = Abandon(queue);
    let mut failures: u64 = 0;
    loop {
        let outcome = match queue.next(disk.opens_at()) {
            Work::Batch(jobs) => commit(disk, jobs),
            Work::Look => {
                disk.reopen();
                disk.check()
            }
            Work::End => return,
        };
        let Err(fault) = outcome else {
            if std::mem::take(&mut failures) > 0 {
                tracing::info!("the storage can be written again");
            }
            continue;
        };
        failures = failures.saturating_add(1);
        if failures.is_power_of_two() {
            tracing::error!(failures, "the storage cannot be written: {fault}");
        }
        if let Fault::Database(_) | Fault::Damaged(_) = fault {
            disk.fail(&fault);
        }
    }
}

/// However the thread ends, nobody waits for it in vain.
struct Abandon<'a>(&'a Queue);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// Does all of this or nothing, and answers.
fn commit(disk: &Disk, jobs: Vec<Job>) -> Result<(), Fault> {
    let bytes = jobs.iter().map(|job| job.write.bytes()).sum();
    let done = disk.room_for(bytes, jobs.len()).and_then(|()| disk.write(|transaction| write_all(transaction, &jobs)));
    match done {
        Ok(outcomes) => {
            for (job, outcome) in jobs.into_iter().zip(outcomes) {
                // Whoever does not wait any more need not be told.
                drop(job.reply.send(outcome));
            }
            Ok(())
        }
        Err(fault) => {
            let error = StorageError::Disk { error: fault.to_string() };
            for job in jobs {
                drop(job.reply.send(Err(error.clone())));
            }
            Err(fault)
        }
    }
}

type Outcome = Result<Written, StorageError>;

/// What becomes of each, and whether anything is written.
fn write_all(transaction: &WriteTransaction, jobs: &[Job]) -> Result<(Vec<Outcome>, bool), Fault> {
    let (entries, spaces) = (transaction.open_table(ENTRIES)?, transaction.open_table(SPACES)?);
    let mut pass = Pass { entries, spaces, rows: HashMap::new(), new_spaces: 0 };
    let outcomes = jobs.iter().map(|job| pass.write(&job.write)).collect::<Result<Vec<_>, _>>()?;
    let is_changed = pass.finish()?;
    Ok((outcomes, is_changed))
}

/// Writes in one transaction.
struct Pass<'a> {
    entries: Table<'a, &'static [u8], &'static [u8]>,
    spaces: Table<'a, &'static [u8], &'static [u8]>,
    /// The spaces that were looked at, and whether they have changed.
    rows: HashMap<Arc<str>, (SpaceRow, bool)>,
    /// How many of those have no row yet.
    new_spaces: u64,
}

impl Pass<'_> {
    fn write(&mut self, write: &Write) -> Result<Outcome, Fault> {
        let row = self.row(&write.space)?;
        let place = rows::entry_key(row.id, &write.key);
        let key_bytes = length(write.key.as_bytes());
        // The version of what is there, and its bytes with those of the key.
        let there = match self.entries.get(&*place)? {
            Some(entry) => {
                Some(rows::entry_parts(entry.value()).map(|(version, value)| (version, key_bytes + length(value)))?)
            }
            None => None,
        };
        let found = there.map(|(version, _)| version);
        if let Expected::Version(expected) = write.expected
            && expected != found
        {
            return Ok(Err(StorageError::Version { found, expected }));
        }
        let before = there.map_or(0, |(_, bytes)| bytes);
        let after = write.value.as_ref().map_or(0, |value| key_bytes + length(value));
        let bytes = row.bytes.saturating_sub(before).saturating_add(after);
        // What makes a space smaller that is beyond a bound it has got meanwhile is taken.
        if let Some(bound) = write.bound
            && bytes > bound
            && after > before
        {
            return Ok(Err(StorageError::Full { found: bytes, bound }));
        }
        let written = Written { version: write.value.as_ref().map(|_| row.version + 1), was_there: there.is_some() };
        let mut changed = SpaceRow { bytes, ..row };
        changed.keys = row.keys.saturating_sub(u64::from(there.is_some())) + u64::from(write.value.is_some());
        match (&write.value, there) {
            (Some(value), _) => {
                changed.version += 1;
                self.entries.insert(&*place, &*rows::entry(changed.version, value))?;
            }
            (None, Some(_)) => drop(self.entries.remove(&*place)?),
            (None, None) => return Ok(Ok(written)),
        }
        self.rows.insert(Arc::clone(&write.space), (changed, true));
        Ok(Ok(written))
    }

    /// A space, which may be new.
    fn row(&mut self, name: &Arc<str>) -> Result<SpaceRow, Fault> {
        if let Some((row, _)) = self.rows.get(name) {
            return Ok(*row);
        }
        let known = self.spaces.get(name.as_bytes())?.map(|row| SpaceRow::decode(row.value())).transpose()?;
        let row = match known {
            Some(row) => row,
            None => {
                let id = self.spaces.len()? + self.new_spaces;
                self.new_spaces += 1;
                let id = u32::try_from(id).map_err(|_| Fault::Damaged("the table of spaces"))?;
                SpaceRow { id, ..SpaceRow::default() }
            }
        };
        // A new one gets its row even if its first write is refused: ids are counted by rows.
        self.rows.insert(Arc::clone(name), (row, known.is_none()));
        Ok(row)
    }

    /// Writes the spaces that have changed, and says whether any has.
    fn finish(mut self) -> Result<bool, Fault> {
        let changed: Vec<_> = self.rows.iter().filter(|(_, (_, is_changed))| *is_changed).collect();
        for (name, (row, _)) in &changed {
            self.spaces.insert(name.as_bytes(), &row.encode()[..])?;
        }
        Ok(!changed.is_empty())
    }
}
