//! What a plugin says of itself in a file beside its program.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use rapace_registry::Version;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use thiserror::Error;

use crate::config::SupervisionOverrides;
use crate::config::quantity::{Written, optional};
use crate::document::{self, Document, Problem, Step};
use crate::permissions::{Permissions, PluginLimits};
use crate::policy::Supervision;
use crate::spec::INHERITED_VARIABLES;

/// How the name of a manifest's file ends.
const SUFFIX: &str = ".plugin.toml";
/// The longest name of a plugin, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// A plugin's manifest, `NAME.plugin.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Manifest {
    /// Its name: that of the file.
    #[serde(default)]
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its program, beside the manifest or below. Default: the file of that name without `.plugin.toml`.
    #[serde(default)]
    pub program: PathBuf,
    /// The SHA-256 of the program.
    #[serde(default, deserialize_with = "optional")]
    #[schemars(with = "Option<Written<[u8; 32]>>")]
    pub sha256: Option<[u8; 32]>,
    /// Arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Variables of its environment. `${NAME}` stands for one of the host's that a plugin inherits anyway.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The services that it serves: it is refused if it does not.
    #[serde(default, deserialize_with = "versions")]
    #[schemars(with = "BTreeMap<String, Written<Version>>")]
    pub provides: BTreeMap<String, Version>,
    /// The services of the host that it calls.
    #[serde(default, deserialize_with = "versions")]
    #[schemars(with = "BTreeMap<String, Written<Version>>")]
    pub requires: BTreeMap<String, Version>,
    /// The types that it has of each type of contract, such as `json-processor` of `dataProcessor`.
    #[serde(default)]
    pub contracts: BTreeMap<String, Vec<String>>,
    /// What it asks to be allowed.
    #[serde(default)]
    pub permissions: Permissions,
    /// What it may use.
    #[serde(default)]
    pub limits: PluginLimits,
    /// How its host looks after it, if the host's configuration does not say otherwise.
    #[serde(default)]
    pub supervision: SupervisionOverrides,
    /// Its configuration, if the host's has none for it.
    #[serde(default)]
    pub config: Option<serde_json::Value>,
}

/// A manifest that says what it must not.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", document::lines(.problems))]
pub struct ManifestError {
    /// All that is wrong with it, in the order of the file.
    pub problems: Vec<Problem>,
}

impl Manifest {
    /// Reads a manifest of that name.
    ///
    /// # Errors
    ///
    /// All that is wrong with it.
    pub fn from_toml(text: &str, file: &Path) -> Result<Self, ManifestError> {
        let mut document = Document::from_toml(text, file);
        let mut manifest: Option<Self> = document.decode();
        if let Some(manifest) = &mut manifest {
            manifest.name_after(&mut document, file);
            manifest.check(&mut document);
        }
        document.finish(manifest).map_err(|problems| ManifestError { problems })
    }

    /// The JSON schema of it.
    pub fn json_schema() -> serde_json::Value {
        schemars::schema_for!(Self).into()
    }

    /// The variables of the plugin's environment, with the host's in them.
    ///
    /// # Errors
    ///
    /// The variable of the host that is missing.
    pub(crate) fn expanded_env(
        &self,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<BTreeMap<String, String>, String> {
        let expand = |(name, text): (&String, &String)| {
            let value = document::expand::expand(text, environment).map_err(|error| format!("env.{name}: {error}"))?;
            Ok((name.clone(), value))
        };
        self.env.iter().map(expand).collect()
    }

    fn name_after(&mut self, document: &mut Document, file: &Path) {
        let Some(name) = file.file_name().and_then(|name| name.to_str()?.strip_suffix(SUFFIX)) else {
            return document.refuse(&[], format!("a manifest is called NAME{SUFFIX}"));
        };
        if !is_plugin_name(name) {
            document.refuse(&[], format!("{name:?} is not a name for a plugin: {NAME_RULE}"));
        } else if !self.name.is_empty() && self.name != name {
            document.refuse(&["name".into()], format!("found {:?}, expected {name:?}, after the file", self.name));
        }
        name.clone_into(&mut self.name);
        if self.program.as_os_str().is_empty() {
            self.program = name.into();
        }
    }

    fn check(&self, document: &mut Document) {
        if self.version.is_empty() || self.version.len() > 128 {
            document.refuse(&["version".into()], "expected 1 to 128 bytes");
        }
        let is_below = self.program.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !is_below {
            document.refuse(&["program".into()], "expected a path below the manifest's directory");
        }
        for (name, text) in &self.env {
            if let Err(problem) = inherited_only(text) {
                document.refuse(&["env".into(), Step::from(&**name)], problem);
            }
        }
        check_env(&self.env, document, &["env".into()]);
        self.permissions.check(document, &["permissions".into()]);
        self.limits.check(document, &["limits".into()]);
        self.supervision.check(Supervision::default(), document, &["supervision".into()]);
    }
}

/// What a plugin may be called, in words.
pub(crate) const NAME_RULE: &str = "1 to 64 letters, digits, dots, dashes and underscores, the first a letter or digit";

/// Whether a plugin may be called that.
pub(crate) fn is_plugin_name(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

/// Notes names of variables that no environment can have.
pub(crate) fn check_env(env: &BTreeMap<String, String>, document: &mut Document, path: &[Step]) {
    for (name, value) in env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            let path: Vec<_> = path.iter().cloned().chain([Step::from(&**name)]).collect();
            document.refuse(&path, "has an empty name, an equals sign in it, or a zero byte");
        }
    }
}

/// A manifest comes with the plugin: it must not fetch what the host keeps from plugins.
fn inherited_only(text: &str) -> Result<(), String> {
    let refused = std::cell::RefCell::new(None);
    document::expand::expand(text, |name| {
        let is_inherited = INHERITED_VARIABLES.contains(&name) || name.starts_with("LC_");
        if !is_inherited {
            refused.borrow_mut().get_or_insert_with(|| name.to_owned());
        }
        Some("x".to_owned())
    })?;
    match refused.into_inner() {
        None => Ok(()),
        Some(name) => Err(format!("a manifest may use {} and LC_*, but not {name}", INHERITED_VARIABLES.join(", "))),
    }
}

fn versions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Version>, D::Error> {
    let written = BTreeMap::<String, Written<Version>>::deserialize(deserializer)?;
    Ok(written.into_iter().map(|(name, Written(version))| (name, version)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let error = Manifest::from_toml(text, Path::new("dir/shout.plugin.toml")).unwrap_err();
        error.to_string().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_manifest_of_a_version_alone_is_one() {
        let manifest = Manifest::from_toml("version = '1.0.0'", Path::new("dir/shout.plugin.toml")).unwrap();
        assert_eq!((&*manifest.name, manifest.program.as_path()), ("shout", Path::new("shout")));
        assert_eq!(manifest.supervision, SupervisionOverrides::default());
    }

    #[test]
    fn all_of_a_manifest_is_read() {
        let text = r#"
            name = "shout"
            version = "1.2.0"
            program = "bin/shout"
            sha256 = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"
            args = ["--loud"]
            provides = { "demo.Shout" = "1.0" }
            requires = { "rapace.HostServices" = "1.0" }

            [env]
            HOME_OF = "${HOME}/shout"

            [contracts]
            dataProcessor = ["json-processor"]

            [permissions]
            read = ["/srv/in"]
            network = true

            [limits]
            memory_bytes = "64MiB"
            calls = 16

            [supervision]
            restart = "on-failure"
            breaker = false
            idle_timeout = "5m"

            [config]
            volume = 11
        "#;
        let manifest = Manifest::from_toml(text, Path::new("shout.plugin.toml")).unwrap();
        let sum = manifest.sha256.unwrap();
        assert_eq!((sum[1], sum[31]), (0x11, 0xff));
        assert_eq!(manifest.program, Path::new("bin/shout"));
        assert_eq!(manifest.provides["demo.Shout"], Version::new(1, 0));
        assert_eq!(manifest.contracts["dataProcessor"], ["json-processor"]);
        assert_eq!(manifest.limits.memory_bytes, Some(64 << 20));
        assert_eq!(manifest.config, Some(serde_json::json!({ "volume": 11 })));
        assert_eq!(manifest.env["HOME_OF"], "${HOME}/shout");
        let env = manifest.expanded_env(&|name| (name == "HOME").then(|| "/home/ann".to_owned())).unwrap();
        assert_eq!(env["HOME_OF"], "/home/ann/shout");
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let text = "name = 'whisper'\nprogram = '../shout'\nsha256 = 'abc'\nargz = []\n\
            [provides]\nShout = 1.0\n[supervision.limit]\nwindow = '5x'\n[env]\nKEY = '${AWS_SECRET}'\n";
        assert_eq!(
            problems(text),
            [
                "dir/shout.plugin.toml:1:1: version: is missing",
                "dir/shout.plugin.toml:3:10: sha256: found \"abc\", expected 64 hexadecimal digits",
                "dir/shout.plugin.toml:4:1: argz: is not a known field; did you mean args?",
                "dir/shout.plugin.toml:6:9: provides.Shout: found 1.0, expected a version of two numbers as a text, such as \"1.0\"",
                "dir/shout.plugin.toml:8:10: supervision.limit.window: found \"5x\", expected a duration such as 250ms, 5m or 1h30m",
            ]
        );
        let text = "name = 'whisper'\nversion = ''\nprogram = '../shout'\n[env]\nKEY = '${AWS_SECRET}'\n\
            [supervision]\nbackoff = { jitter = 2, factor = 0.5 }\n[permissions]\nread = ['/x', '/srv/../etc']\n";
        assert_eq!(
            problems(text),
            [
                "dir/shout.plugin.toml:1:8: name: found \"whisper\", expected \"shout\", after the file",
                "dir/shout.plugin.toml:2:11: version: expected 1 to 128 bytes",
                "dir/shout.plugin.toml:3:11: program: expected a path below the manifest's directory",
                "dir/shout.plugin.toml:5:7: env.KEY: a manifest may use PATH, HOME, LANG, TMPDIR, RUST_LOG, RUST_BACKTRACE and LC_*, but not AWS_SECRET",
                "dir/shout.plugin.toml:7:22: supervision.backoff.jitter: found 2.0, expected a number from 0 to 1",
                "dir/shout.plugin.toml:7:34: supervision.backoff.factor: found 0.5, expected a number from 1 to 100",
                "dir/shout.plugin.toml:9:15: permissions.read[1]: found \"/srv/../etc\", expected an absolute path without ..",
            ]
        );
    }

    #[test]
    fn a_manifest_is_called_after_its_plugin() {
        for file in ["shout.toml", ".plugin.toml", "..plugin.toml", "a b.plugin.toml", "-v.plugin.toml", ""] {
            assert!(Manifest::from_toml("version = '1'", Path::new(file)).is_err(), "{file}");
        }
    }
}
