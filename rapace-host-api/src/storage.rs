//! The storage: values by key, which outlast the plugin and its host.
//!
//! Each plugin has a space of its own, by the name under which its host knows it: there is no way to name another's. Beside
//! it is one that all plugins share, for those who may. A write is answered when it is on the disk.
//!
//! A value has a version. Each write in its space gets a higher one than all before it, also when the key was deleted
//! meanwhile, so [`compare_and_set`](Storage::compare_and_set) takes no later value for the one that was read.

use rapace_macros::{message, service};

/// The longest key and prefix, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;
/// The longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 4 << 20;
/// The most keys in a page of a list.
pub const PAGE_KEYS_MAX: u32 = 1000;
/// The most bytes of keys in a page of a list.
pub const PAGE_BYTES_MAX: usize = 64 << 10;
/// A page of a list ends behind values of so many bytes: to tell their lengths takes reading them.
pub const PAGE_VALUE_BYTES_MAX: usize = 1 << 20;

/// Keeps values.
///
/// Keys are texts of 1 to [`KEY_BYTES_MAX`] bytes, and in the order of their bytes. Values have up to [`VALUE_BYTES_MAX`].
#[service(name = "rapace.Storage", version = "1.0", provider = "host", crate = "rapace_service")]
pub trait Storage {
    /// What is under a key, if anything is.
    #[method(id = 1001)]
    async fn get(&self, key: &str, space: Space) -> Result<Option<Entry>, StorageError>;

    /// Puts a value under a key, whatever was there, and says its version.
    #[method(id = 1002)]
    async fn set(&self, key: &str, value: &[u8], space: Space) -> Result<u64, StorageError>;

    /// Takes away what is under a key, and says whether anything was.
    #[method(id = 1010)]
    async fn delete(&self, key: &str, space: Space) -> Result<bool, StorageError>;

    /// The keys that begin with a prefix and stand behind `after`: at most `limit` of them, and at most as many as make a
    /// page ([`PAGE_KEYS_MAX`], [`PAGE_BYTES_MAX`], [`PAGE_VALUE_BYTES_MAX`]).
    ///
    /// What is there all the while is in the pages of a list once, whatever is written meanwhile.
    #[method(id = 1011)]
    async fn list(&self, prefix: &str, after: Option<String>, limit: u32, space: Space) -> Result<Page, StorageError>;

    /// Puts a value under a key, or takes away what is there, if that is of this version; with none, if nothing is there.
    /// Says the version of what is there then.
    #[method(id = 1012)]
    async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<u64>,
        value: Option<Vec<u8>>,
        space: Space,
    ) -> Result<Option<u64>, StorageError>;

    /// How full a space is.
    #[method(id = 1013)]
    async fn usage(&self, space: Space) -> Result<Usage, StorageError>;
}

/// Whose keys.
#[message(crate = "rapace_service")]
#[derive(Copy, Default, Eq, Hash)]
pub enum Space {
    /// The plugin's own.
    #[default]
    Own,
    /// Those of all plugins.
    Shared,
}

/// What is under a key.
#[message(crate = "rapace_service")]
#[derive(Eq)]
pub struct Entry {
    /// The value.
    pub value: Vec<u8>,
    /// Its version.
    pub version: u64,
}

/// Some keys, in order.
#[message(crate = "rapace_service")]
#[derive(Default, Eq)]
pub struct Page {
    /// Those of this page.
    pub keys: Vec<Listed>,
    /// What the next page is behind; none if this is the last.
    pub next: Option<String>,
}

/// A key of a list.
#[message(crate = "rapace_service")]
#[derive(Eq)]
pub struct Listed {
    /// The key.
    pub key: String,
    /// The version of its value.
    pub version: u64,
    /// The bytes of its value.
    pub value_bytes: u64,
}

/// How full a space is.
#[message(crate = "rapace_service")]
#[derive(Copy, Default, Eq)]
pub struct Usage {
    /// How many keys it has.
    pub keys: u64,
    /// The bytes of all keys and values.
    pub bytes: u64,
    /// How many those may be, if there is a bound.
    pub bound: Option<u64>,
}

/// What a plugin would do.
#[message(crate = "rapace_service")]
#[derive(Copy, Eq)]
pub enum Access {
    /// Read.
    Read,
    /// Write.
    Write,
}

/// Why something is not stored, or not found out.
#[message(crate = "rapace_service")]
#[derive(Eq, thiserror::Error)]
pub enum StorageError {
    /// The space would grow beyond its bound.
    #[error("the space would have {found} bytes, but may have {bound}")]
    Full {
        /// The bytes of all keys and values that there would be.
        found: u64,
        /// What there may be.
        bound: u64,
    },
    /// The key, or the prefix, is too long, or the key is empty.
    #[error("the key has {found} bytes, but 1 to {bound} were expected")]
    Key {
        /// Its bytes.
        found: u64,
        /// What they may be.
        bound: u64,
    },
    /// The value is too long.
    #[error("the value has {found} bytes, but at most {bound} were expected")]
    Value {
        /// Its bytes.
        found: u64,
        /// What they may be.
        bound: u64,
    },
    /// Something else is there than was expected.
    #[error("the value has {}, but {} was expected", in_words(*.found), in_words(*.expected))]
    Version {
        /// The version of what is there.
        found: Option<u64>,
        /// What was expected.
        expected: Option<u64>,
    },
    /// The plugin has no permission to do this in the space that all share.
    #[error("this plugin may not {} the shared storage", .access.in_words())]
    NotPermitted {
        /// What it would do.
        access: Access,
    },
    /// The host cannot read or write its storage. What was to be written is not, or is not sure to be.
    #[error("the host's storage has failed: {error}")]
    Disk {
        /// What the operating system, or the database, says.
        error: String,
    },
}

impl Access {
    fn in_words(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

fn in_words(version: Option<u64>) -> String {
    version.map_or_else(|| "no version".to_owned(), |version| format!("version {version}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rapace_service::Services;

    #[test]
    fn methods_have_the_ids_that_are_published() {
        let registry = Services::new().calls::<StorageClient>().registry().unwrap();
        let methods = registry.service("rapace.Storage").unwrap().methods().iter();
        let mut methods: Vec<_> = methods.map(|method| (method.name(), method.id().get())).collect();
        methods.sort_by_key(|(_, id)| *id);
        let expected = [
            ("get", 1001),
            ("set", 1002),
            ("delete", 1010),
            ("list", 1011),
            ("compare_and_set", 1012),
            ("usage", 1013),
        ];
        assert_eq!(methods, expected);
    }

    #[test]
    fn errors_name_what_was_found_and_the_bound() {
        for (error, words) in [
            (StorageError::Full { found: 12, bound: 10 }, "the space would have 12 bytes, but may have 10"),
            (
                StorageError::Version { found: Some(3), expected: None },
                "the value has version 3, but no version was expected",
            ),
            (
                StorageError::Version { found: None, expected: Some(4) },
                "the value has no version, but version 4 was expected",
            ),
            (StorageError::NotPermitted { access: Access::Write }, "this plugin may not write the shared storage"),
        ] {
            assert_eq!(error.to_string(), words);
        }
    }
}
