//! Where operators connect.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use rapace_host::{AdminPointError, SocketDirectoryError};
use rapace_session::{Config, NoService, Session};

use crate::{Stand, eventually};

#[test]
fn the_socket_is_its_owners_alone_and_goes_with_its_point() {
    let stand = Stand::new();
    let path = stand.point.path().to_owned();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    let operator = stand.operator();
    let Stand { point, host, directory, .. } = stand;
    drop(point);
    assert!(!path.exists());
    assert!(Session::connect(&path, Config::new("operator", "1"), NoService).is_err());
    eventually("who is connected is told", || operator.session.serve_for(Duration::from_millis(1)).is_some());
    let end = operator.session.end().unwrap().to_string();
    assert_eq!(end, "the peer closed the session: Unavailable: the admin socket is closed");
    // Again, at the same place.
    let point = host.admin_at(&path).unwrap();
    assert_eq!(crate::Operator::at(&point).admin().list().unwrap().len(), 1);
    drop(point);
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 0);
}

#[test]
fn a_live_socket_is_refused_and_a_dead_one_is_replaced() {
    let stand = Stand::new();
    let error = stand.host.admin_at(stand.point.path()).unwrap_err();
    assert_eq!(error.to_string(), format!("{} is in use by another listener", stand.point.path().display()));
    let dead = stand.directory.0.join("dead.sock");
    // Of another kind of socket, but as dead.
    drop(UnixListener::bind(&dead).unwrap());
    assert!(dead.exists());
    let point = stand.host.admin_at(&dead).unwrap();
    assert_eq!(crate::Operator::at(&point).admin().list().unwrap().len(), 1);
}

#[test]
fn a_directory_in_which_others_may_write_is_refused_and_one_that_is_missing_is_made() {
    let stand = Stand::new();
    let open = stand.directory.0.join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).unwrap();
    let error = stand.host.admin_at(open.join("admin.sock")).unwrap_err();
    assert_eq!(error.to_string(), format!("{}: others may write to it (mode 777)", open.display()));
    assert!(matches!(error, AdminPointError::Directory(SocketDirectoryError::Unsafe { .. })));
    fs::set_permissions(&open, PermissionsExt::from_mode(0o1777)).unwrap();
    stand.host.admin_at(open.join("admin.sock")).unwrap();
    let new = stand.directory.0.join("new/below");
    let point = stand.host.admin_at(new.join("admin.sock")).unwrap();
    assert_eq!(fs::metadata(&new).unwrap().mode() & 0o7777, 0o700);
    drop(point);
    let file = stand.directory.0.join("file");
    fs::write(&file, "").unwrap();
    let error = stand.host.admin_at(file.join("x")).unwrap_err();
    assert!(matches!(error, AdminPointError::Directory(SocketDirectoryError::Missing { .. })), "{error}");
}
