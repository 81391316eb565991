//! Files that are a storage, and those that are none.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Storage, eventually};
use crate::scope::PluginScope;
use crate::services::storage::StorageOpenError;

/// A directory that is removed with all that is in it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rapace-storage-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Opens it. A process that another test is starting may have the file for a moment, until it is another program.
fn open_again(path: &Path) -> Storage {
    let opened = RefCell::new(None);
    eventually("the file is free", || Storage::open(path).map(|storage| opened.replace(Some(storage))).is_ok());
    opened.into_inner().unwrap()
}

fn refusal(path: &Path) -> StorageOpenError {
    Storage::open(path).unwrap_err()
}

#[test]
fn a_file_is_its_owners_alone_and_is_there_again() {
    let directory = Directory::new("owner");
    let path = directory.at("s.redb");
    let storage = Storage::open(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    storage.of(&PluginScope::new("p")).put("k", b"v").unwrap();
    drop(storage);
    let storage = open_again(&path);
    assert_eq!(storage.of(&PluginScope::new("p")).value("k"), Some(b"v".to_vec()));
}

#[test]
fn one_file_has_one_host() {
    let directory = Directory::new("two");
    let path = directory.at("s.redb");
    let storage = Storage::open(&path).unwrap();
    let plugin = storage.of(&PluginScope::new("p"));
    let error = refusal(&path);
    assert!(matches!(error, StorageOpenError::InUse { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("the storage {} is in use by a host", path.display()));
    drop(storage);
    // Whoever still has a part of it has the file.
    refusal(&path);
    plugin.put("k", b"v").unwrap();
    drop(plugin);
    open_again(&path);
}

#[test]
fn a_file_that_somebody_has_altered_is_refused() {
    let directory = Directory::new("altered");
    let path = directory.at("s.redb");
    let storage = Storage::open(&path).unwrap();
    storage.of(&PluginScope::new("p")).put("k", b"a value that can be found").unwrap();
    drop(storage);
    let mut bytes = fs::read(&path).unwrap();
    let found = bytes.windows(7).position(|part| part == b"a value").unwrap();
    bytes[found] = b'A';
    fs::write(&path, bytes).unwrap();
    let error = refusal(&path);
    assert!(matches!(error, StorageOpenError::Unreadable { .. }), "{error:?}");
}

#[test]
fn what_is_no_storage_is_refused_in_words() {
    let directory = Directory::new("none");
    let of = |name: &str, content: &[u8]| {
        fs::write(directory.at(name), content).unwrap();
        refusal(&directory.at(name)).to_string()
    };
    for (name, content) in [("text", &b"not a database"[..]), ("zeros", &[0; 100_000]), ("x", b"x")] {
        let error = of(name, content);
        assert!(error.contains(name) && error.contains("cannot be read"), "{error}");
        assert_eq!(fs::read(directory.at(name)).unwrap(), content, "it is left alone");
    }
    let error = refusal(&directory.at("missing/s.redb")).to_string();
    assert!(error.starts_with("cannot open the storage ") && error.contains("No such file"), "{error}");
    assert!(matches!(refusal(&directory.0), StorageOpenError::File { .. }));
    assert!(matches!(refusal(Path::new("/dev/null")), StorageOpenError::NotAFile { .. }));
}
