//! What plugins have left behind is removed by whoever operates the host.

use rapace_host::{RemoveError, WhileRunning};
use rapace_host_api::admin::{AdminClient, AdminError, RemoveRequest, StoredSummary};
use rapace_host_api::storage::Space::{Own, Shared};
use rapace_session::{Config, NoService, Session};

use crate::process::KeeperClient;
use crate::{Directory, host, open, spec};

fn summary(plugin: &str, keys: u64, bytes: u64) -> StoredSummary {
    StoredSummary { plugin: plugin.to_owned(), keys, bytes }
}

#[test]
fn an_operator_removes_what_a_plugin_has_stored_and_of_one_that_runs_only_if_he_says_so() {
    let directory = Directory::new();
    let host = host(&open(&directory.storage()));
    let point = host.admin_at(directory.0.join("admin.sock")).unwrap();
    let session = Session::connect(point.path(), Config::new("operator", "1.0.0"), NoService).unwrap();
    let admin = AdminClient::new(&session).blocking();
    let refusal = |request: RemoveRequest| match admin.remove_stored(request).unwrap_err().into_service() {
        Ok(AdminError::Storage { problem }) => problem,
        other => panic!("{other:?}"),
    };
    assert_eq!(admin.stored().unwrap(), []);
    let [left, other] =
        ["left", "other"].map(|name| KeeperClient::new(&host.load(spec(name, "keeper")).unwrap()).blocking());
    left.set("k", b"value", Own).unwrap();
    left.set("news", b"for all", Shared).unwrap();
    other.set("k", b"of the other", Own).unwrap();
    assert_eq!(admin.stored().unwrap(), [summary("left", 1, 6), summary("other", 1, 13)]);

    let runs = refusal(RemoveRequest::new("left"));
    assert_eq!(runs, "plugin left runs, and what it has stored is in use");
    assert_eq!(left.get("k", Own).unwrap().unwrap(), b"value");
    let nevertheless = RemoveRequest { even_if_running: true, ..RemoveRequest::new("left") };
    assert_eq!(admin.remove_stored(nevertheless).unwrap(), summary("left", 1, 6));
    assert_eq!(left.get("k", Own).unwrap(), None);

    // One that is not there any more.
    left.set("k", b"once more", Own).unwrap();
    host.unload("left");
    assert_eq!(admin.remove_stored(RemoveRequest::new("left")).unwrap(), summary("left", 1, 10));
    assert_eq!(admin.stored().unwrap(), [summary("other", 1, 13)]);
    for unknown in ["left", "shared", "../other"] {
        assert_eq!(refusal(RemoveRequest::new(unknown)), format!("nothing is stored of a plugin {unknown:?}"));
    }
    assert_eq!(other.get("news", Shared).unwrap().unwrap(), b"for all");
    host.shutdown();
}

#[test]
fn a_plugin_that_has_ended_is_no_plugin_that_runs() {
    let directory = Directory::new();
    let host = host(&open(&directory.storage()));
    let plugin = host.load(spec("p", "keeper")).unwrap();
    let keeper = KeeperClient::new(&plugin).blocking();
    keeper.set("k", b"value", Own).unwrap();
    let remove = || host.remove_stored("p", WhileRunning::Keep);
    assert_eq!(remove(), Err(RemoveError::Running { plugin: "p".to_owned() }));
    plugin.shutdown();
    let removed = remove().unwrap();
    assert_eq!((removed.keys, removed.bytes, host.stored().unwrap()), (1, 6, vec![]));
    plugin.restart().unwrap();
    assert_eq!(keeper.get("k", Own).unwrap(), None);
    host.shutdown();
}
