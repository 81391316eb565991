//! Which program a plugin is, and what it is started with.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use rapace_registry::Version;
use rapace_service::BuiltIn;
use rapace_session::Config;

use crate::attach::ByHand;
use crate::builder::Context;
use crate::built_in::BuiltInKind;
use crate::calls::PluginCalls;
use crate::config::CallsConfig;
use crate::kind::{NewLife, PluginKind, ProgramKind, VerifiedKind};
use crate::permissions::{Permissions, PluginLimits};
use crate::policy::Supervision;
use crate::program::Program;
use crate::sandbox::{Demand, Unconfined};
use crate::scope::PluginScope;

/// The variables of the host's environment that a plugin inherits, and with them those that begin with `LC_`.
pub const INHERITED_VARIABLES: [&str; 6] = ["PATH", "HOME", "LANG", "TMPDIR", "RUST_LOG", "RUST_BACKTRACE"];

/// A plugin to be loaded.
///
/// Its process is given the variables of [`INHERITED_VARIABLES`], those of [`env`](Self::env) and `RAPACE_PROTOCOL`, and no
/// others; its arguments; and of rapace's descriptors none but the three standard ones. It leads a process group of its own,
/// so that a signal from the terminal reaches it by way of the host.
#[derive(Clone)]
#[must_use]
pub struct PluginSpec {
    pub(crate) name: Arc<str>,
    pub(crate) kind: Arc<dyn PluginKind>,
    /// Its own kind, where something has joined in its place.
    behind: Option<Arc<dyn PluginKind>>,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    pub(crate) config_data: Vec<u8>,
    pub(crate) supervision: Supervision,
    pub(crate) contracts: Vec<(String, String)>,
    pub(crate) is_by_hand: bool,
    pub(crate) provides: Vec<(String, Version)>,
    pub(crate) requires: Vec<(String, Version)>,
    pub(crate) permissions: Option<Arc<Permissions>>,
    pub(crate) limits: Arc<PluginLimits>,
    /// What was said of it alone, and what that comes to for its host.
    own_calls: CallsConfig,
    pub(crate) calls: Arc<PluginCalls>,
    demand: Demand,
    #[cfg(feature = "fault-injection")]
    faults: Option<rapace_session::fault_injection::FaultInjector>,
}

impl PluginSpec {
    /// A plugin of this name, which is this program. A program without a slash is looked for in `PATH`.
    pub fn new(name: &str, program: impl Into<PathBuf>) -> Self {
        Self::of_kind(name, ProgramKind(program.into()))
    }

    /// A plugin of this name, which is this program as it was verified. It is verified again at each start, and executed as it
    /// was read then: one that was replaced meanwhile is refused, until it is discovered again.
    pub fn verified(name: &str, program: Program) -> Self {
        Self::of_kind(name, VerifiedKind::new(program))
    }

    /// A plugin of this name and kind.
    pub fn of_kind(name: &str, kind: impl PluginKind) -> Self {
        let (args, env, config_data, supervision, contracts) = Default::default();
        Self {
            name: name.into(),
            kind: Arc::new(kind),
            behind: None,
            args,
            env,
            config_data,
            supervision,
            contracts,
            is_by_hand: false,
            provides: Vec::new(),
            requires: Vec::new(),
            permissions: None,
            limits: Arc::default(),
            own_calls: CallsConfig::default(),
            calls: Arc::default(),
            demand: Demand::BestEffort,
            #[cfg(feature = "fault-injection")]
            faults: None,
        }
    }

    /// A plugin that is part of this program. Typed clients call it directly; a client of one life knows nothing of the next,
    /// so it is made anew behind a restart.
    pub fn built_in(plugin: &BuiltIn) -> Self {
        Self::of_kind(plugin.name(), BuiltInKind::new(plugin.clone()))
    }

    /// A plugin of this name that nobody but a person starts: it is [kept](crate::PluginHost::keep), and
    /// [joins](crate::PluginHandle::join_at).
    pub fn by_hand(name: &str) -> Self {
        Self { is_by_hand: true, ..Self::of_kind(name, ByHand) }
    }

    /// The same plugin, with something in the place of its own kind, which is behind that.
    pub(crate) fn joined<K: PluginKind>(self, in_place: impl FnOnce(Arc<dyn PluginKind>) -> K) -> Self {
        let own = self.behind.unwrap_or(self.kind);
        Self { kind: Arc::new(in_place(Arc::clone(&own))), behind: Some(own), ..self }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds a variable to its environment.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// The body of the `initialize` call: the plugin's configuration, in whatever form the two agree on.
    pub fn config_data(mut self, config_data: Vec<u8>) -> Self {
        self.config_data = config_data;
        self
    }

    /// How the host looks after it. By default it is started once, and left alone.
    pub fn supervision(mut self, supervision: Supervision) -> Self {
        self.supervision = supervision;
        self
    }

    /// Says that it is a type of a contract, such as `json-processor` of `dataProcessor`: it is found by that, and is the
    /// only one of that type.
    pub fn contract(mut self, contract: impl Into<String>, of_type: impl Into<String>) -> Self {
        self.contracts.push((contract.into(), of_type.into()));
        self
    }

    /// It is refused if it does not serve this service, in this version or a later one that its callers understand.
    pub fn provides(mut self, service: impl Into<String>, version: Version) -> Self {
        self.provides.push((service.into(), version));
        self
    }

    /// It is refused if the host does not offer it this service, in this version or a later one that its callers understand.
    pub fn requires(mut self, service: impl Into<String>, version: Version) -> Self {
        self.requires.push((service.into(), version));
        self
    }

    /// What it may do: nothing else. Its processes are confined to that, as far as the kernel can (see
    /// [`InstanceInfo::sandbox`](crate::InstanceInfo::sandbox)). Without this it is trusted, and may do what this user may.
    pub fn permissions(mut self, permissions: Permissions) -> Self {
        self.permissions = Some(Arc::new(permissions));
        self
    }

    /// Whether it is refused if it is not wholly confined to its permissions: the kernel lacks some of the sandbox, it has no
    /// permissions, or it is no program that the host starts. By default, what holds is told (see
    /// [`PluginHandle::instances`](crate::PluginHandle::instances)), and it is started.
    pub fn require_sandbox(mut self, is_required: bool) -> Self {
        self.demand = if is_required { Demand::Whole } else { Demand::BestEffort };
        self
    }

    /// Why it is not to be started, as far as that is known beforehand.
    pub(crate) fn unconfined(&self) -> Option<Unconfined> {
        match (self.demand, &self.permissions) {
            (Demand::BestEffort, _) => None,
            (Demand::Whole, None) => Some(Unconfined::Trusted),
            (Demand::Whole, Some(_)) => (!self.kind.is_confined()).then(|| Unconfined::Kind(self.kind.describe())),
        }
    }

    /// What it may use.
    pub fn limits(mut self, limits: PluginLimits) -> Self {
        self.limits = Arc::new(limits);
        self
    }

    /// What is done around its calls, and around those to it; where that says nothing, what the
    /// [host](crate::PluginHostBuilder::calls) says holds.
    pub fn calls(mut self, calls: CallsConfig) -> Self {
        self.own_calls = calls;
        self
    }

    /// The same in a host with these rules for all calls.
    pub(crate) fn governed_by(self, all: &CallsConfig) -> Self {
        Self { calls: Arc::new(PluginCalls::new(&self.own_calls.over(all))), ..self }
    }

    /// What makes faults on purpose in all its lives, on the host's side: the program need not know of it.
    #[cfg(feature = "fault-injection")]
    pub fn faults(mut self, faults: &rapace_session::fault_injection::FaultInjector) -> Self {
        self.faults = Some(faults.clone());
        self
    }

    /// The configuration of its sessions, from that of all.
    pub(crate) fn configured(&self, config: &Config) -> Config {
        let mut config = config.clone();
        config.limits.served_max = self.limits.calls.or(config.limits.served_max);
        if let Some(bound) = self.limits.message_bytes {
            let bound = usize::try_from(bound).unwrap_or(usize::MAX);
            config.limits.message_bytes_max = config.limits.message_bytes_max.min(bound);
        }
        #[cfg(feature = "fault-injection")]
        let own = self.faults.clone().map(rapace_session::FaultInjection::from).unwrap_or_default();
        #[cfg(feature = "fault-injection")]
        let config = Config { fault_injection: own.or(config.fault_injection), ..config };
        config
    }

    /// What one life of it is started with.
    pub(crate) fn new_life<'a>(&'a self, host: Option<&'a Context>, scope: &'a PluginScope) -> NewLife<'a> {
        NewLife { plugin: &self.name, args: &self.args, env: &self.env, host, scope, demand: self.demand }
    }
}

impl fmt::Debug for PluginSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Configurations and environments hold secrets.
        f.debug_struct("PluginSpec")
            .field("name", &self.name)
            .field("kind", &self.kind.describe())
            .field("args", &self.args)
            .field("supervision", &self.supervision)
            .finish_non_exhaustive()
    }
}

/// Completes the command that starts a program as a plugin; the standard descriptors are left to the caller.
pub(crate) fn command(mut command: Command, life: &NewLife<'_>) -> Command {
    in_plugins_environment(&mut command)
        .args(life.args)
        .envs(life.env.iter().map(|(name, value)| (name, value)))
        .env("RAPACE_PROTOCOL", rapace_core::layout::PROTOCOL_MAJOR.to_string())
        .process_group(0);
    command
}

/// Of the host's environment, the command is given what a plugin inherits.
pub(crate) fn in_plugins_environment(command: &mut Command) -> &mut Command {
    command.env_clear().envs(std::env::vars_os().filter(|(name, _)| is_inherited(name)))
}

fn is_inherited(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| INHERITED_VARIABLES.contains(&name) || name.starts_with("LC_"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Connection;
    use crate::start::StartCause;

    #[test]
    fn what_has_joined_before_is_not_behind_what_joins() {
        struct Counts(Arc<dyn PluginKind>);
        impl PluginKind for Counts {
            fn describe(&self) -> String {
                format!("in the place of {}", self.0.describe())
            }
            fn connect(&self, life: &NewLife<'_>) -> Result<Connection, StartCause> {
                self.0.connect(life)
            }
        }
        let spec = (0..100).fold(PluginSpec::new("p", "/bin/p"), |spec, _| spec.joined(Counts));
        assert_eq!(spec.kind.describe(), "in the place of /bin/p");
    }

    #[test]
    fn a_secret_of_the_host_is_not_inherited() {
        for (name, inherited) in
            [("PATH", true), ("LC_ALL", true), ("AWS_SECRET_ACCESS_KEY", false), ("LANGUAGE", false)]
        {
            assert_eq!(is_inherited(OsStr::new(name)), inherited, "{name}");
        }
        let spec = PluginSpec::new("p", "/bin/p").env("MODE", "fast").env("RAPACE_PROTOCOL", "7");
        let command = command(Command::new("/bin/p"), &spec.new_life(None, &PluginScope::new("p")));
        let set = |wanted: &str| command.get_envs().find(|(name, _)| *name == wanted).and_then(|(_, value)| value);
        assert_eq!(set("MODE"), Some(OsStr::new("fast")));
        assert_eq!(set("RAPACE_PROTOCOL"), Some(OsStr::new("1")));
        let mut names = command.get_envs().map(|(name, _)| name);
        assert!(names.all(|name| is_inherited(name) || name == "MODE" || name == "RAPACE_PROTOCOL"));
    }
}
