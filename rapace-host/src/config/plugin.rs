//! What the host's configuration says of a plugin, and what holds for it beside its manifest.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use thiserror::Error;

use super::ceiling::named;
use super::{CallsConfig, HostConfig, SupervisionOverrides};
use crate::document::{Document, Step};
use crate::manifest::{Manifest, NAME_RULE, check_env, is_plugin_name};
use crate::permissions::{Permissions, PluginLimits};
use crate::policy::Supervision;

/// What the host's configuration says of a plugin.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PluginConfig {
    /// Whether it is loaded. Default yes.
    pub enabled: bool,
    /// Its program, if it is not discovered. One without a slash is looked for in `PATH`; a relative one stands beside the
    /// file.
    pub program: Option<PathBuf>,
    /// Its arguments, in the place of its manifest's.
    pub args: Option<Vec<String>>,
    /// Variables of its environment, beside its manifest's.
    pub env: BTreeMap<String, String>,
    /// How it is looked after, where that differs from its manifest.
    pub supervision: SupervisionOverrides,
    /// Its own configuration, in the place of its manifest's.
    pub config: Option<serde_json::Value>,
    /// What it may do, of what its manifest asks for, within the ceiling. Default: all of that.
    #[serde(deserialize_with = "named")]
    pub permissions: Option<Permissions>,
    /// What it may use; its manifest's limits and the ceiling's hold too.
    pub limits: PluginLimits,
    /// What is done around its calls, and around those to it.
    pub calls: CallsConfig,
    /// Whether it is refused if it is not wholly confined to its permissions. Default: as for all plugins.
    pub require_sandbox: Option<bool>,
}

impl Default for PluginConfig {
    fn default() -> Self {
        let (program, args, env, supervision, config, permissions, limits) = Default::default();
        let (calls, require_sandbox) = Default::default();
        Self { enabled: true, program, args, env, supervision, config, permissions, limits, calls, require_sandbox }
    }
}

impl PluginConfig {
    pub(super) fn check(&self, name: &str, host: &HostConfig, document: &mut Document) {
        let path = |steps: &[&str]| {
            let steps = steps.iter().map(|step| Step::from(*step));
            [Step::from("plugins"), Step::from(name)].into_iter().chain(steps).collect::<Vec<_>>()
        };
        if !is_plugin_name(name) {
            document.refuse(&path(&[]), format!("is not a name for a plugin: {NAME_RULE}"));
        }
        match &self.program {
            Some(program) if program.as_os_str().is_empty() => {
                document.refuse(&path(&["program"]), "found \"\", expected a path");
            }
            None if self.enabled && !host.discovery.finds() => {
                document.refuse(&path(&["program"]), "is missing, and no plugins are discovered");
            }
            _ => {}
        }
        for (index, arg) in self.args.iter().flatten().enumerate() {
            if arg.contains('\0') {
                let path: Vec<_> = path(&["args"]).into_iter().chain([index.into()]).collect();
                document.refuse(&path, "has a zero byte in it");
            }
        }
        check_env(&self.env, document, &path(&["env"]));
        if let Some(permissions) = &self.permissions {
            permissions.check(document, &path(&["permissions"]));
        }
        self.limits.check(document, &path(&["limits"]));
        self.calls.check(&host.calls, document, &path(&["calls"]));
        self.supervision.check(host.supervision.over(Supervision::default()), document, &path(&["supervision"]));
    }
}

/// All that holds for a plugin: what its manifest and its host's configuration come to.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PluginSettings {
    /// Whether it is loaded.
    pub enabled: bool,
    /// Its program, if the host's configuration names it.
    pub program: Option<PathBuf>,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables of its environment.
    pub env: BTreeMap<String, String>,
    /// How it is looked after.
    pub supervision: Supervision,
    /// Its own configuration.
    pub config: Option<serde_json::Value>,
    /// What it may do. None where neither of the two says anything of it, and there is no ceiling.
    pub permissions: Option<Permissions>,
    /// What it may use.
    pub limits: PluginLimits,
    /// What is done around its calls beside what is done around those of all plugins.
    pub calls: CallsConfig,
    /// Whether it is refused if it is not wholly confined to its permissions.
    pub require_sandbox: bool,
}

/// A manifest that names a variable which the host does not have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the manifest of {plugin}: {problem}")]
pub struct SettingsError {
    /// The plugin.
    pub plugin: String,
    /// What is wrong, with the field.
    pub problem: String,
}

impl PluginSettings {
    /// What these two come to. The host's wins, but for permissions and limits: there the strictest
    /// does, of these two and the ceiling.
    ///
    /// # Errors
    ///
    /// The manifest names a variable which the environment does not have.
    pub(super) fn new(
        name: &str,
        manifest: Option<&Manifest>,
        host: &HostConfig,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let unnamed = PluginConfig::default();
        let config = host.plugins.get(name).unwrap_or(&unnamed);
        let mut supervision = host.supervision.over(Supervision::default());
        let mut env = BTreeMap::new();
        if let Some(manifest) = manifest {
            supervision = manifest.supervision.over(supervision);
            env = manifest
                .expanded_env(environment)
                .map_err(|problem| SettingsError { plugin: name.to_owned(), problem })?;
        }
        env.extend(config.env.clone());
        let asked = manifest.map(|manifest| &manifest.permissions);
        let said = [asked, config.permissions.as_ref(), host.ceiling.permissions.as_ref()];
        let limits = config.limits.stricter(&host.ceiling.limits);
        Ok(Self {
            enabled: config.enabled,
            program: config.program.clone(),
            args: config.args.clone().or_else(|| manifest.map(|manifest| manifest.args.clone())).unwrap_or_default(),
            env,
            supervision: config.supervision.over(supervision),
            config: config.config.clone().or_else(|| manifest?.config.clone()),
            permissions: said.into_iter().flatten().cloned().reduce(|one, other| one.stricter(&other)),
            limits: manifest.map_or(limits.clone(), |manifest| manifest.limits.stricter(&limits)),
            calls: config.calls.clone(),
            require_sandbox: config.require_sandbox.unwrap_or(host.require_sandbox),
        })
    }
}
