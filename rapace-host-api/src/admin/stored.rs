//! What plugins have stored.

use rapace_macros::message;

/// What a plugin has stored of its own.
#[message(crate = "rapace_service")]
#[derive(Default, Eq)]
pub struct StoredSummary {
    /// The plugin, which need not be there.
    pub plugin: String,
    /// How many keys.
    pub keys: u64,
    /// The bytes of all keys and values.
    pub bytes: u64,
}
