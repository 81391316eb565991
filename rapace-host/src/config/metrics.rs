//! What a host counts, and where that is to be had.

use std::net::SocketAddr;

use rapace_session::Observe;
use schemars::{JsonSchema, Schema, json_schema};
use serde::Deserialize;

use super::quantity::{Quantity, Written, optional};
use crate::document::Document;

/// What a host counts, and where that is to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// Whether calls are counted by method. Default yes.
    pub calls: bool,
    /// The address and port at which Prometheus is answered: `127.0.0.1:9464` for example. Default none. Whoever can reach it may
    /// read it, so it must be an address of this machine alone, unless `beyond_loopback` says otherwise.
    #[serde(deserialize_with = "optional")]
    #[schemars(with = "Option<Written<SocketAddr>>")]
    pub listen: Option<SocketAddr>,
    /// Whether other machines may ask, without encryption and without a password. Default no.
    pub beyond_loopback: bool,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self { calls: true, listen: None, beyond_loopback: false }
    }
}

impl MetricsConfig {
    /// What sessions count.
    pub(crate) fn observe(&self) -> Observe {
        if self.calls { Observe::Calls } else { Observe::Nothing }
    }

    /// Notes what contradicts itself.
    pub(crate) fn check(&self, document: &mut Document) {
        if let Some(listen) = self.listen
            && !listen.ip().is_loopback()
            && !self.beyond_loopback
        {
            let message = format!("{} is no loopback address: that takes beyond_loopback = true", listen.ip());
            document.refuse(&["metrics".into(), "listen".into()], message);
        }
    }
}

impl Quantity for SocketAddr {
    const EXPECTED: &'static str = "an address and a port such as 127.0.0.1:9464";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn schema() -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^([0-9.]+|\\[[0-9A-Fa-f:.%]+\\]):[0-9]+$",
            "description": "An address and a port such as 127.0.0.1:9464.",
        })
    }
}
