//! What plugins have stored, for an operator, if the host has a storage.

use rapace_host_api::admin::{AdminError, RemoveRequest, StoredSummary};

use crate::host::PluginHost;

#[cfg(feature = "storage")]
pub(super) fn stored(host: &PluginHost) -> Result<Vec<StoredSummary>, AdminError> {
    Ok(host.stored().map_err(told)?.into_iter().map(summary).collect())
}

#[cfg(feature = "storage")]
pub(super) fn remove_stored(host: &PluginHost, request: &RemoveRequest) -> Result<StoredSummary, AdminError> {
    use crate::WhileRunning::{Keep, Remove};
    let while_running = if request.even_if_running { Remove } else { Keep };
    host.remove_stored(&request.plugin, while_running).map(summary).map_err(told)
}

#[cfg(feature = "storage")]
fn summary(stored: crate::Stored) -> StoredSummary {
    StoredSummary { plugin: stored.plugin, keys: stored.keys, bytes: stored.bytes }
}

#[cfg(feature = "storage")]
fn told(error: crate::RemoveError) -> AdminError {
    AdminError::Storage { problem: error.to_string() }
}

#[cfg(not(feature = "storage"))]
pub(super) fn stored(_: &PluginHost) -> Result<Vec<StoredSummary>, AdminError> {
    Err(none())
}

#[cfg(not(feature = "storage"))]
pub(super) fn remove_stored(_: &PluginHost, _: &RemoveRequest) -> Result<StoredSummary, AdminError> {
    Err(none())
}

#[cfg(not(feature = "storage"))]
fn none() -> AdminError {
    AdminError::Storage { problem: "the host has no storage".to_owned() }
}
