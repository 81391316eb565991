//! Where a host's operator connects.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::SOCKET_PATH_BYTES_MAX;
use crate::document::Document;

/// The admin socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// Its path: a directory that is missing is made, and one that others may write to is refused. Default: there is none.
    pub socket: Option<PathBuf>,
}

impl AdminConfig {
    /// Notes what is out of bounds.
    pub(super) fn check(&self, document: &mut Document) {
        if self.socket.as_ref().is_some_and(|path| !(1..=SOCKET_PATH_BYTES_MAX).contains(&path.as_os_str().len())) {
            let problem = format!("expected a path of 1 to {SOCKET_PATH_BYTES_MAX} bytes");
            document.refuse(&["admin".into(), "socket".into()], problem);
        }
    }
}
