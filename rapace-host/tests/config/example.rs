//! The example, its twin in YAML, and the same in code.

use std::num::{NonZeroU16, NonZeroU32};
use std::path::Path;
use std::time::Duration;

use rapace_host::{
    AdminConfig, BackoffOverrides, Binding, BreakerOverrides, CallLogging, CallRate, CallRules, CallsConfig, Ceiling,
    ContractConfig, DiscoveryConfig, HostConfig, MemoryConfig, MetricsConfig, Permissions, PluginConfig, PluginLimits,
    RestartLimitOverrides, RestartPolicy, SharedStorage, ShutdownTimes, StorageConfig, SupervisionOverrides, Switch,
    SyscallProfile, Token, Unresponsive,
};
use rapace_session::{Limits, Timeouts};

use super::{Format, read, read_with};

/// The example of the documentation.
pub(crate) const TOML: &str = include_str!("../../../docs/host.toml");
/// The same.
pub(crate) const YAML: &str = include_str!("host.yaml");

fn rate(calls: u32, seconds: u64) -> Switch<CallRate> {
    Switch::On(CallRate::new(calls, Duration::from_secs(seconds)).unwrap())
}

fn in_code() -> HostConfig {
    let supervision = SupervisionOverrides {
        restart: Some(RestartPolicy::OnFailure),
        backoff: BackoffOverrides {
            first: Some(Duration::from_millis(100)),
            most: Some(Duration::from_secs(30)),
            factor: Some(2.0),
            jitter: Some(0.2),
        },
        limit: RestartLimitOverrides { restarts: Some(5), window: Some(Duration::from_secs(60)) },
        breaker: Some(Switch::On(BreakerOverrides { failures: Some(5), open: Some(Duration::from_secs(30)) })),
        unresponsive: Some(Unresponsive::Kill),
        idle_timeout: Some(Switch::Off),
        instances: Some(NonZeroU16::MIN),
        critical: Some(false),
        calls_wait: Some(false),
    };
    let shout = PluginConfig {
        program: Some("conf/bin/shout".into()),
        args: Some(vec!["--loud".to_owned()]),
        env: [("MODE".to_owned(), "fast".to_owned())].into(),
        supervision: SupervisionOverrides {
            instances: NonZeroU16::new(2),
            idle_timeout: Some(Switch::On(Duration::from_secs(300))),
            breaker: Some(Switch::Off),
            ..Default::default()
        },
        config: Some(serde_json::json!({ "volume": 11, "greeting": "Hello from nowhere, for 5 $" })),
        permissions: Some(Permissions {
            read: vec!["/usr/share/dict".into()],
            write: vec!["/var/lib/shout".into()],
            network: false,
            services: vec!["Storage".to_owned(), "Events".to_owned()],
            shared_storage: SharedStorage::Read,
            publish: vec!["shout.*".to_owned()],
            subscribe: vec!["host.*".to_owned(), "shout.*".to_owned()],
            syscalls: SyscallProfile::Strict,
        }),
        require_sandbox: Some(true),
        limits: PluginLimits {
            memory_bytes: Some(256 << 20),
            cpu_seconds: Some(3600),
            open_files: Some(64),
            processes: Some(16),
            calls: Some(100),
            message_bytes: Some(1 << 20),
            log_lines_per_second: NonZeroU32::new(100),
            storage_bytes: Some(64 << 20),
            events_per_second: NonZeroU32::new(1000),
        },
        calls: CallsConfig {
            incoming: CallRules {
                rate: Some(rate(5, 10)),
                token: Some(Switch::On(Token::new("not-so-secret").unwrap())),
                ..Default::default()
            },
            ..Default::default()
        },
        ..Default::default()
    };
    let per_second = |calls| CallRate::new(calls, Duration::from_secs(1)).unwrap();
    let per_minute = CallRate::new(600, Duration::from_secs(60)).unwrap();
    let calls = CallsConfig {
        incoming: CallRules {
            log: Some(CallLogging::Errors),
            rate: Some(rate(1000, 1)),
            burst: NonZeroU32::new(100),
            methods: [("rapace.Storage.set", per_second(50)), ("rapace.Logger.log", per_minute)]
                .map(|(name, rate)| (name.to_owned(), rate))
                .into(),
            token: Some(Switch::Off),
            metrics: Some(true),
        },
        outgoing: CallRules { log: Some(CallLogging::None), ..Default::default() },
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let ceiling = Ceiling {
        permissions: Some(Permissions {
            read: vec!["/usr/share".into(), "/etc".into()],
            write: vec!["/var/lib".into()],
            services: names(&["Logger", "Storage", "Events"]),
            shared_storage: SharedStorage::Read,
            publish: names(&["shout.*", "whisper.*"]),
            subscribe: names(&["*"]),
            ..Permissions::default()
        }),
        limits: PluginLimits { memory_bytes: Some(1 << 30), processes: Some(64), ..PluginLimits::default() },
    };
    let order = ["shout", "whisper"].map(str::to_owned).to_vec();
    HostConfig {
        attach: Some("/tmp/my-host".into()),
        admin: AdminConfig { socket: Some("/tmp/my-host/admin.sock".into()) },
        limits: Limits { served_max: Some(256), ..Limits::default() },
        metrics: MetricsConfig { listen: Some("127.0.0.1:9464".parse().unwrap()), ..MetricsConfig::default() },
        discovery: DiscoveryConfig { directories: vec!["conf/plugins".into()], watch: true, ..Default::default() },
        storage: Some(StorageConfig::new("conf/storage.redb")),
        supervision,
        calls,
        ceiling,
        plugins: [
            ("shout".to_owned(), shout),
            ("whisper".to_owned(), PluginConfig { enabled: false, ..Default::default() }),
        ]
        .into(),
        contracts: [("dataProcessor".to_owned(), ContractConfig { binding: Binding::Chain, order })].into(),
        ..HostConfig::new("my-host", "1.0.0")
    }
}

#[test]
fn the_example_in_both_formats_is_what_is_made_in_code() {
    let in_code = in_code();
    assert_eq!(read(Format::Toml, TOML).unwrap(), in_code);
    assert_eq!(read(Format::Yaml, YAML).unwrap(), in_code);
}

#[test]
fn the_configuration_of_the_readme_is_one() {
    let readme = include_str!("../../../README.md");
    let pieces = readme.split("```toml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0);
    // What stands in no section has its place in front.
    let (mut front, mut sections) = (String::new(), String::new());
    for piece in pieces {
        let (own, rest) = piece.split_at(piece.find('[').unwrap());
        front.push_str(own);
        sections.push_str(rest);
    }
    let config = read(Format::Toml, &(front + &sections)).unwrap();
    assert_eq!((config.supervision.restart, config.discovery.watch), (Some(RestartPolicy::OnFailure), true));
    assert_eq!((config.require_sandbox, config.plugins["shout"].limits.calls), (true, Some(100)));
}

#[test]
fn a_file_is_read_by_the_end_of_its_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let toml = HostConfig::from_file(root.join("../docs/host.toml")).unwrap();
    assert_eq!(toml.discovery.directories, [root.join("../docs/plugins")]);
    let yaml = HostConfig::from_file(root.join("tests/config/host.yaml")).unwrap();
    assert_eq!(yaml.supervision, toml.supervision);
    for (file, message) in [
        ("Cargo.lock", "expected a file that ends in .toml, .yaml or .yml"),
        ("none.toml", "No such file or directory"),
        ("tests", "expected a file that ends in .toml, .yaml or .yml"),
    ] {
        let error = HostConfig::from_file(root.join(file)).unwrap_err().to_string();
        assert!(error.contains(message) && error.contains(file), "{error}");
    }
}

#[test]
fn a_name_and_a_version_are_enough() {
    for (format, text) in
        [(Format::Toml, "name = 'h'\nversion = '1'"), (Format::Yaml, "name: h\nversion: '1'\nplugins:\n")]
    {
        let config = read(format, text).unwrap();
        assert_eq!(config, HostConfig::new("h", "1"));
        assert_eq!((config.limits, config.timeouts), (Limits::default(), Timeouts::default()));
        assert_eq!((config.memory, config.shutdown), (MemoryConfig::default(), ShutdownTimes::default()));
    }
}

#[test]
fn variables_are_put_into_values_and_are_never_parsed() {
    let sly = "x\"\nversion = \"2\"\n#${HOME}";
    let variables = [("SLY", sly), ("HOME", "/home/ann"), ("WAIT", "5m"), ("KEY", "secret")];
    for (format, text) in [
        (
            Format::Toml,
            "name = \"${SLY}\"\nversion = '1'\n[timeouts]\ncall = '${WAIT}'\n[plugins.p]\nprogram = '${HOME}/p'\nconfig = { '${KEY}' = ['${KEY}', 7] }",
        ),
        (
            Format::Yaml,
            "name: ${SLY}\nversion: '1'\ntimeouts:\n  call: ${WAIT}\nplugins:\n  p:\n    program: ${HOME}/p\n    config:\n      ${KEY}: ['${KEY}', 7]",
        ),
    ] {
        let config = read_with(format, text, &variables).unwrap();
        assert_eq!((&*config.name, &*config.version), (sly, "1"));
        assert_eq!(config.timeouts.call, Duration::from_secs(300));
        let plugin = &config.plugins["p"];
        assert_eq!(plugin.program.as_deref(), Some(Path::new("/home/ann/p")));
        assert_eq!(plugin.config, Some(serde_json::json!({ "${KEY}": ["secret", 7] })));
    }
}

#[test]
fn a_program_without_a_slash_stays_one_of_the_path() {
    let text =
        "name = 'h'\nversion = '1'\n[plugins]\na.program = 'a'\nb.program = './b'\nc.program = 'x/c'\nd.program = '/d'";
    let config = read(Format::Toml, text).unwrap();
    let programs: Vec<_> = config.plugins.values().map(|plugin| plugin.program.as_deref().unwrap()).collect();
    assert_eq!(programs, ["a", "conf/./b", "conf/x/c", "/d"].map(Path::new));
}
