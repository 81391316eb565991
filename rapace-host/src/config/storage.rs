//! Where plugins' values are kept.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::quantity::{Written, quantity};
use crate::document::Document;

/// Where plugins' values are kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StorageConfig {
    /// The file. It is made if there is none.
    pub path: PathBuf,
    /// The bytes that keys and values in the storage which all plugins share may have. Default 64 MiB.
    #[serde(default = "shared_bytes", deserialize_with = "quantity")]
    #[schemars(with = "Written<u64>")]
    pub shared_bytes: u64,
}

fn shared_bytes() -> u64 {
    64 << 20
}

impl StorageConfig {
    /// A storage in that file, and else as by default.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), shared_bytes: shared_bytes() }
    }

    /// Notes what is out of bounds.
    pub(super) fn check(&self, document: &mut Document) {
        if self.path.as_os_str().is_empty() {
            document.refuse(&["storage".into(), "path".into()], "expected a path".to_owned());
        }
    }
}
