//! The plugins of a type of contract, and how they share its calls.

use std::sync::Arc;

use thiserror::Error;

use crate::config::{Binding, ContractConfig};
use crate::host::PluginHost;
use crate::plugin::PluginHandle;

/// The plugins of a type of contract, as they are when it is asked for.
#[derive(Clone, Debug)]
pub struct Contract {
    name: Arc<str>,
    binding: Binding,
    members: Vec<Member>,
}

/// A plugin of a contract.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Member {
    /// Which type of the contract it is, such as `json-processor`.
    pub of_type: String,
    /// The plugin.
    pub plugin: PluginHandle,
}

/// A contract that is not kept by the number of plugins that it is to have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ContractError {
    /// No plugin is of this contract.
    #[error("no plugin is of the contract {contract}")]
    Nobody {
        /// The contract.
        contract: Arc<str>,
    },
    /// Several are, where one alone is to be.
    #[error("the contract {contract} is to have one plugin, but has {}", .plugins.join(", "))]
    Several {
        /// The contract.
        contract: Arc<str>,
        /// Their names.
        plugins: Vec<String>,
    },
}

impl PluginHost {
    /// The plugins of a contract, in the order of its configuration, and those that it does not name behind them in the order
    /// of their names.
    pub fn contract(&self, name: &str) -> Contract {
        let config = self.context.contracts.get(name).cloned().unwrap_or_else(|| ContractConfig {
            // Without a word of the configuration there may be any number.
            binding: Binding::First,
            order: Vec::new(),
        });
        let mut members: Vec<Member> =
            self.of_contract(name).into_iter().map(|(of_type, plugin)| Member { of_type, plugin }).collect();
        let place = |plugin: &str| config.order.iter().position(|named| named == plugin).unwrap_or(usize::MAX);
        members.sort_by(|a, b| {
            let key = |member: &Member| (place(member.plugin.name()), member.plugin.name().to_owned());
            key(a).cmp(&key(b))
        });
        Contract { name: name.into(), binding: config.binding, members }
    }
}

impl Contract {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How its plugins share its calls, by the configuration.
    #[must_use]
    pub fn binding(&self) -> Binding {
        self.binding
    }

    /// Its plugins, in their order.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Its only plugin.
    ///
    /// # Errors
    ///
    /// When there is none, or more than one.
    pub fn only(&self) -> Result<&PluginHandle, ContractError> {
        match self.members.as_slice() {
            [only] => Ok(&only.plugin),
            [] => Err(ContractError::Nobody { contract: Arc::clone(&self.name) }),
            several => {
                let plugins = several.iter().map(|member| member.plugin.name().to_owned()).collect();
                Err(ContractError::Several { contract: Arc::clone(&self.name), plugins })
            }
        }
    }

    /// Asks one after another until one answers with something. One that fails is passed over: that it has failed is told
    /// only if nobody answers.
    ///
    /// # Errors
    ///
    /// The last failure, when nobody has answered.
    pub fn first<T, E>(&self, mut ask: impl FnMut(&PluginHandle) -> Result<Option<T>, E>) -> Result<Option<T>, E> {
        let mut failed = None;
        for member in &self.members {
            match ask(&member.plugin) {
                Ok(Some(answer)) => return Ok(Some(answer)),
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// Gives each what the one before it made, and the first this value.
    ///
    /// # Errors
    ///
    /// The first failure; nobody is asked behind it.
    pub fn chain<T, E>(&self, value: T, mut step: impl FnMut(&PluginHandle, T) -> Result<T, E>) -> Result<T, E> {
        self.members.iter().try_fold(value, |value, member| step(&member.plugin, value))
    }
}
