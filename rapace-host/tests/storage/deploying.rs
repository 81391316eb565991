//! A storage that is configured.

use rapace_host::{DeployError, HostConfig, PluginHost, StorageOpenError};
use rapace_host_api::storage::{Space, Storage as _};

use crate::process::{KeeperClient, ROLE, TEST};
use crate::{Directory, wait};

/// A host with two plugins, of which one may use the storage.
fn config(directory: &Directory) -> HostConfig {
    let program = std::env::current_exe().unwrap();
    let plugin = |permissions: &str| {
        format!(
            "program = '{}'\nargs = ['--exact', '{TEST}', '--nocapture']\nenv = {{ {ROLE} = 'keeper' }}\n\
             permissions = {{ {permissions} }}",
            program.display()
        )
    };
    let text = format!(
        "name = 'h'\nversion = '1'\nstorage = {{ path = 'storage.redb', shared_bytes = 8 }}\n\
         [plugins.friend]\n{}\n[plugins.stranger]\n{}",
        plugin("services = ['Storage'], shared_storage = 'write'"),
        plugin("shared_storage = 'write'")
    );
    HostConfig::from_toml(&text, &directory.0.join("host.toml"), |_| None).unwrap()
}

#[test]
fn a_configured_storage_is_offered_to_those_who_may_call_it() {
    let directory = Directory::new();
    let config = config(&directory);
    let deploy = || PluginHost::builder(config.session()).deploy(config.clone());
    let host = deploy().unwrap();
    let [friend, stranger] =
        ["friend", "stranger"].map(|name| KeeperClient::new(&host.plugin(name).unwrap()).blocking());
    assert_eq!(friend.set("k", b"1234567", Space::Shared).unwrap(), 1);
    let full = friend.set("k", b"12345678", Space::Shared).unwrap_err().to_string();
    assert!(full.contains("would have 9 bytes, but may have 8"), "{full}");
    let refused = stranger.get("k", Space::Shared).unwrap_err().to_string();
    assert!(refused.contains("is not among what this plugin may call"), "{refused}");
    // The host sees it too, as it sees each plugin's own.
    let storage = host.storage().unwrap().of(&host.plugin("friend").unwrap().scope());
    assert_eq!(wait(storage.get("k", Space::Shared)).unwrap().unwrap().value, b"1234567");
    assert_eq!(wait(storage.usage(Space::Own)).unwrap().keys, 0);
    // Another host is refused, in words.
    let error = deploy().unwrap_err();
    assert!(matches!(error, DeployError::Storage(StorageOpenError::InUse { .. })), "{error:?}");
    assert!(error.to_string().ends_with("storage.redb is in use by a host"), "{error}");
    host.shutdown();
}
