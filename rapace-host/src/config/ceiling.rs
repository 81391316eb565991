//! The most that any plugin gets: a host that takes what it finds in a directory says here what that may come to.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use crate::document::Document;
use crate::permissions::{Permissions, PluginLimits};

/// The most that any plugin of the configuration gets, whether it is discovered or named. What its manifest asks for and what
/// `plugins.NAME` says hold only within this.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ceiling {
    /// What each may do at most. A plugin with neither a manifest nor permissions of its own gets these; without them it is
    /// trusted. Default: no ceiling.
    #[serde(deserialize_with = "named")]
    pub permissions: Option<Permissions>,
    /// What each may use at most: the limits of one plugin, not of all together. Default: no limits.
    pub limits: PluginLimits,
}

/// Permissions that are named. A section with nothing in it, which is nothing at all in YAML, allows nothing.
pub(super) fn named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Permissions>, D::Error> {
    Permissions::deserialize(deserializer).map(Some)
}

impl Ceiling {
    /// Notes what could mean something else than it says, or would let nothing run.
    pub(super) fn check(&self, document: &mut Document) {
        if let Some(permissions) = &self.permissions {
            permissions.check(document, &["ceiling".into(), "permissions".into()]);
        }
        self.limits.check(document, &["ceiling".into(), "limits".into()]);
    }
}
