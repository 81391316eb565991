//! Which plugins answer for a type of contract.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;

use super::HostConfig;
use crate::document::{Document, Step, nearest};
use crate::manifest::{NAME_RULE, is_plugin_name};

/// How the plugins of a type of contract share its calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Binding {
    /// One plugin alone has it.
    #[default]
    Exclusive,
    /// They are asked in their order until one answers.
    First,
    /// Each is given what the one before it made.
    Chain,
}

/// Who answers for a type of contract.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ContractConfig {
    /// How they share its calls. Default: exclusive.
    pub binding: Binding,
    /// Plugins, by name, in their order. Those that are not named come behind them, by name.
    pub order: Vec<String>,
}

impl ContractConfig {
    pub(super) fn check(&self, contract: &str, config: &HostConfig, document: &mut Document) {
        let order = |index: usize| [Step::from("contracts"), Step::from(contract), "order".into(), index.into()];
        let mut seen = BTreeSet::new();
        for (index, name) in self.order.iter().enumerate() {
            if !is_plugin_name(name) {
                document.refuse(&order(index), format!("found {name:?}, expected {NAME_RULE}"));
            } else if !seen.insert(name) {
                document.refuse(&order(index), format!("{name} is there already"));
            } else if !config.discovery.finds() && !document.keys("plugins").any(|known| known == name) {
                let meant = nearest(name, document.keys("plugins"));
                let meant = meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
                document.refuse(&order(index), format!("there is no plugin {name}{meant}"));
            }
        }
        if self.binding == Binding::Exclusive && self.order.len() > 1 {
            document.refuse(&order(1), "an exclusive contract has one plugin");
        }
    }
}
