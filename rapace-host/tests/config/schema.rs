//! The JSON schemas, which are kept in docs/.

use std::path::Path;

use rapace_host::{HostConfig, Manifest};
use serde_json::{Value, json};

use super::{Format, example, read};

/// The committed schema is that of the code. `RAPACE_BLESS=1` writes it anew.
fn is_current(file: &str, schema: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file);
    let text = serde_json::to_string_pretty(schema).unwrap() + "\n";
    if std::env::var_os("RAPACE_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert!(std::fs::read_to_string(&path).unwrap() == text, "docs/{file} is not current: RAPACE_BLESS=1 writes it");
}

#[test]
fn the_committed_schemas_are_current() {
    is_current("host-config.schema.json", &HostConfig::json_schema());
    is_current("plugin-manifest.schema.json", &Manifest::json_schema());
}

/// A text as JSON.
fn json(format: Format, text: &str) -> Value {
    match format {
        Format::Toml => toml::from_str(text).unwrap(),
        Format::Yaml => serde_saphyr::from_str(text).unwrap(),
    }
}

#[test]
fn the_examples_are_valid() {
    let schema = jsonschema::validator_for(&HostConfig::json_schema()).unwrap();
    for (format, text) in [(Format::Toml, example::TOML), (Format::Yaml, example::YAML)] {
        let value = json(format, text);
        let errors: Vec<_> = schema.iter_errors(&value).map(|error| error.to_string()).collect();
        assert_eq!(errors, [""; 0], "{format:?}");
    }
}

#[test]
fn the_example_of_a_manifest_is_one_and_has_every_field() {
    let text = include_str!("../../../docs/shout.plugin.toml");
    let manifest = Manifest::from_toml(text, Path::new("shout.plugin.toml")).unwrap();
    assert_eq!(manifest.contracts["dataProcessor"], ["text-processor"]);
    let value = json(Format::Toml, text);
    let schema = Manifest::json_schema();
    let errors = jsonschema::validator_for(&schema).unwrap();
    assert_eq!(errors.iter_errors(&value).map(|error| error.to_string()).collect::<Vec<_>>(), [""; 0]);
    let fields = schema["properties"].as_object().unwrap().keys();
    assert_eq!(fields.filter(|field| value.get(field).is_none()).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn what_the_schema_refuses_and_takes_so_does_the_reader() {
    let schema = jsonschema::validator_for(&HostConfig::json_schema()).unwrap();
    let base = || json!({ "name": "h", "version": "1", "discovery": { "directories": ["x"] } });
    for (field, value, is_valid) in [
        ("colour", json!(1), false),
        ("name", json!(7), false),
        ("attach", json!("/run/x"), true),
        ("admin", json!({"socket": "/run/x"}), true),
        ("admin", json!("/run/x"), false),
        ("memory", json!({ "segment_bytes": "64 KiB", "slot_bytes": 64 }), true),
        ("memory", json!({ "segment_bytes": "64 KB" }), false),
        ("memory", json!({ "segment_bytes": -1 }), false),
        ("memory", json!({ "ring_capacity": 8 }), false),
        ("memory", json!({ "prefault": "yes" }), false),
        ("limits", json!({ "calls_max": 5000 }), false),
        ("limits", json!({ "calls_max": 4096 }), true),
        ("limits", json!({ "depth_max": 0 }), false),
        ("timeouts", json!({ "call": "1h 30m" }), true),
        ("timeouts", json!({ "call": 5 }), false),
        ("timeouts", json!({ "call": "5" }), false),
        ("shutdown", json!({ "exit": "0" }), true),
        ("supervision", json!({ "restart": "always", "breaker": false, "idle_timeout": "5m" }), true),
        ("supervision", json!({ "restart": "Always" }), false),
        ("supervision", json!({ "breaker": true }), false),
        ("supervision", json!({ "breaker": { "failures": 1 } }), true),
        ("supervision", json!({ "breaker": { "failures": 0 } }), false),
        ("supervision", json!({ "instances": 0 }), false),
        ("supervision", json!({ "instances": 65535 }), true),
        ("supervision", json!({ "instances": 65536 }), false),
        ("supervision", json!({ "backoff": { "factor": 0.5 } }), false),
        ("supervision", json!({ "backoff": { "jitter": 1, "factor": 1.5 } }), true),
        ("plugins", json!({ "p": { "config": [1, { "a": 2 }], "args": ["x"] } }), true),
        ("plugins", json!({ "p": { "argz": [] } }), false),
        ("plugins", json!({ "p": { "env": { "A": 1 } } }), false),
        ("plugins", json!({ "p": { "limits": { "memory_bytes": "1GiB", "calls": 5 } } }), true),
        ("plugins", json!({ "p": { "limits": { "calls": -5 } } }), false),
        ("plugins", json!({ "p": { "limits": { "calls": 0, "processes": 1 } } }), true),
        ("plugins", json!({ "p": { "limits": { "processes": 0 } } }), false),
        ("ceiling", json!({ "limits": { "open_files": 0 } }), false),
        ("storage", json!({ "path": "x" }), true),
        ("storage", json!({ "path": "x", "shared_bytes": "1GiB" }), true),
        ("storage", json!({ "shared_bytes": 1 }), false),
        ("calls", json!({ "incoming": { "rate": "5/10s", "methods": { "a.B.c": "1/h" } } }), true),
        ("calls", json!({ "incoming": { "rate": "0/s" } }), false),
        ("calls", json!({ "incoming": { "rate": 5 } }), false),
        ("calls", json!({ "outgoing": { "methods": { "a.B.c": false } } }), false),
        ("calls", json!({ "outgoing": { "log": "all", "token": "x", "metrics": false } }), true),
        ("calls", json!({ "outgoing": { "token": "" } }), false),
        ("calls", json!({ "outgoing": { "log": "some" } }), false),
        ("calls", json!({ "both": {} }), false),
        ("plugins", json!({ "p": { "calls": { "incoming": { "rate": false, "token": false } } } }), true),
        ("contracts", json!({ "c": { "binding": "first", "order": ["p"] } }), true),
        ("contracts", json!({ "c": { "binding": "any" } }), false),
    ] {
        let mut config = base();
        config[field] = value;
        // JSON is YAML.
        let read = read(Format::Yaml, &config.to_string());
        assert_eq!((schema.is_valid(&config), read.is_ok()), (is_valid, is_valid), "{config}: {read:?}");
    }
    for missing in ["name", "version"] {
        let mut config = base();
        config.as_object_mut().unwrap().remove(missing);
        assert!(!schema.is_valid(&config) && read(Format::Yaml, &config.to_string()).is_err());
    }
}

#[test]
fn what_the_manifests_schema_refuses_and_takes_so_does_its_reader() {
    let schema = jsonschema::validator_for(&Manifest::json_schema()).unwrap();
    let sum = "0123456789abcdef".repeat(4);
    for (text, is_valid) in [
        ("version = '1'", true),
        ("", false),
        ("version = '1'\nsha256 = '0123'", false),
        (&format!("version = '1'\nsha256 = '{sum}'"), true),
        ("version = '1'\nprovides = { A = '1.0' }\nrequires = { B = '2.11' }", true),
        ("version = '1'\nprovides = { A = '01.0' }", false),
        ("version = '1'\nprovides = { A = 1.0 }", false),
        ("version = '1'\ncontracts = { dataProcessor = ['json-processor'] }", true),
        ("version = '1'\ncontracts = { dataProcessor = 'json-processor' }", false),
        ("version = '1'\npermission = {}", false),
        ("version = '1'\nlimits.cpu_seconds = 1", true),
        ("version = '1'\nlimits.cpu_seconds = 0", false),
        ("version = '1'\n[permissions]\nread = ['/x']\nnetwork = true", true),
    ] {
        let read = Manifest::from_toml(text, Path::new("p.plugin.toml"));
        let value = json(Format::Toml, text);
        assert_eq!((schema.is_valid(&value), read.is_ok()), (is_valid, is_valid), "{text}: {read:?}");
    }
}
