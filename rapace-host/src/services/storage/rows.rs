//! What stands in the file: two tables, and the form of their rows.
//!
//! ```text
//!   spaces    name of the space           ->  id, keys, bytes, last version
//!   entries   id of the space, key        ->  version, value
//! ```
//!
//! Names are in the rows of their spaces alone: no key of one space is one of another, whatever bytes the names have. Rows
//! of spaces are never deleted, so neither ids nor versions come again.

use redb::TableDefinition;

use super::disk::Fault;

pub(super) const SPACES: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rapace.spaces.1");
pub(super) const ENTRIES: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rapace.entries.1");

/// The bytes of an id in a key.
const ID_BYTES: usize = 4;
/// The bytes of a version in front of a value.
const VERSION_BYTES: usize = 8;

/// A space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SpaceRow {
    pub(super) id: u32,
    /// How many keys it has.
    pub(super) keys: u64,
    /// The bytes of its keys and values.
    pub(super) bytes: u64,
    /// The highest version that it has given.
    pub(super) version: u64,
}

impl SpaceRow {
    pub(super) fn encode(&self) -> [u8; 28] {
        let mut row = [0; 28];
        row[..4].copy_from_slice(&self.id.to_le_bytes());
        row[4..12].copy_from_slice(&self.keys.to_le_bytes());
        row[12..20].copy_from_slice(&self.bytes.to_le_bytes());
        row[20..].copy_from_slice(&self.version.to_le_bytes());
        row
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, Fault> {
        let fault = || Fault::Damaged("the row of a space");
        let (id, row) = row.split_first_chunk().ok_or_else(fault)?;
        let (keys, row) = row.split_first_chunk().ok_or_else(fault)?;
        let (bytes, row) = row.split_first_chunk().ok_or_else(fault)?;
        let version = row.try_into().map_err(|_| fault())?;
        let [keys, bytes, version] = [*keys, *bytes, version].map(u64::from_le_bytes);
        Ok(Self { id: u32::from_le_bytes(*id), keys, bytes, version })
    }
}

/// Where an entry stands.
pub(super) fn entry_key(id: u32, key: &str) -> Vec<u8> {
    // The order of the bytes is that of the numbers.
    [&id.to_be_bytes()[..], key.as_bytes()].concat()
}

/// The key of what stands there, if it is of this space.
pub(super) fn key_of(id: u32, entry_key: &[u8]) -> Result<Option<&str>, Fault> {
    let (of, key) = entry_key.split_first_chunk::<ID_BYTES>().ok_or(Fault::Damaged("the place of an entry"))?;
    if u32::from_be_bytes(*of) != id {
        return Ok(None);
    }
    std::str::from_utf8(key).map(Some).map_err(|_| Fault::Damaged("a key"))
}

/// What stands there for a value.
pub(super) fn entry(version: u64, value: &[u8]) -> Vec<u8> {
    [&version.to_le_bytes()[..], value].concat()
}

/// The version, and the value.
pub(super) fn entry_parts(entry: &[u8]) -> Result<(u64, &[u8]), Fault> {
    let (version, value) = entry.split_first_chunk::<VERSION_BYTES>().ok_or(Fault::Damaged("an entry"))?;
    Ok((u64::from_le_bytes(*version), value))
}

/// A length, as it is counted.
pub(super) fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_they_were_written_and_nothing_else_is_one() {
        let row = SpaceRow { id: 1, keys: 2, bytes: u64::MAX, version: 4 };
        assert_eq!(SpaceRow::decode(&row.encode()).unwrap(), row);
        for bytes in [0, 3, 27, 29] {
            assert!(matches!(SpaceRow::decode(&vec![0; bytes]), Err(Fault::Damaged(_))), "{bytes}");
        }
        assert_eq!(entry_parts(&entry(7, b"value")).unwrap(), (7, &b"value"[..]));
        assert!(entry_parts(&[0; 7]).is_err());
    }

    #[test]
    fn a_key_belongs_to_one_space() {
        assert_eq!(key_of(7, &entry_key(7, "k")).unwrap(), Some("k"));
        assert_eq!(key_of(6, &entry_key(7, "k")).unwrap(), None);
        assert!(key_of(7, &[0; 3]).is_err() && key_of(7, &[0, 0, 0, 7, 0xff]).is_err());
        assert!(entry_key(255, "z") < entry_key(256, "a"));
    }
}
