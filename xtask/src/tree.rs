//! What the checks look at, read once: the manifests, the specification, the claims, and every Rust file.
//!
//! Files are found by walking rather than by asking git, so that a file is checked before it is committed.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{fs, io};

use thiserror::Error;

use crate::claims;
use crate::manifest::Manifest;

/// The tree, as the checks see it.
pub(crate) struct Tree {
    /// The workspace's own manifest.
    pub(crate) workspace: Manifest,
    /// The manifests of its members.
    pub(crate) packages: Vec<Manifest>,
    /// `SPEC.md`.
    pub(crate) spec: Source,
    /// The list of claims.
    pub(crate) claims: Source,
    /// `SECURITY.md`, which shows it.
    pub(crate) security: Source,
    /// Every Rust file, fuzz targets included.
    pub(crate) sources: Vec<Source>,
}

/// A file's text and its path relative to the root, with `/` between the names.
pub(crate) struct Source {
    /// The path.
    pub(crate) path: String,
    /// The text.
    pub(crate) text: String,
}

/// Why the tree could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum TreeError {
    /// Cargo says where the tree is, but did not start this program.
    #[error("CARGO_MANIFEST_DIR is not set: start this with `cargo run -p xtask -- check`")]
    NotByCargo,
    /// A file or folder cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A manifest is no TOML.
    #[error("{path} is no manifest: {source}")]
    Manifest {
        /// Which.
        path: String,
        /// Why.
        source: toml::de::Error,
    },
}

impl Tree {
    /// Reads the tree that this program was started in.
    pub(crate) fn read() -> Result<Self, TreeError> {
        // Asked at run time: two work trees that share a target folder share the program too.
        let package = std::env::var_os("CARGO_MANIFEST_DIR").ok_or(TreeError::NotByCargo)?;
        let root = &Path::new(&package).join("..");
        let workspace = read_manifest(root, "Cargo.toml")?;
        let packages = workspace
            .members()
            .iter()
            .map(|member| read_manifest(root, &format!("{member}/Cargo.toml")))
            .collect::<Result<_, _>>()?;
        let file = |path: &str| Ok(Source { path: path.to_owned(), text: read_text(&root.join(path))? });
        let (spec, claims, security) = (file("SPEC.md")?, file(claims::PATH)?, file(claims::TABLE_PATH)?);
        let mut sources = Vec::new();
        walk(root, "", &mut sources)?;
        sources.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(Self { workspace, packages, spec, claims, security, sources })
    }
}

fn read_manifest(root: &Path, path: &str) -> Result<Manifest, TreeError> {
    let text = read_text(&root.join(path))?;
    Manifest::parse(path, &text).map_err(|source| TreeError::Manifest { path: path.to_owned(), source })
}

fn read_text(path: &Path) -> Result<String, TreeError> {
    fs::read_to_string(path).map_err(|source| TreeError::Read { path: path.to_owned(), source })
}

/// Adds the Rust files below `folder`, but for what is built (`target`) and what is hidden. Links are not followed.
fn walk(folder: &Path, prefix: &str, into: &mut Vec<Source>) -> Result<(), TreeError> {
    let unreadable = |source| TreeError::Read { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let kind = entry.file_type().map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if kind.is_dir() && name != "target" && !name.starts_with('.') {
            walk(&entry.path(), &format!("{path}/"), into)?;
        } else if kind.is_file() && entry.path().extension() == Some(OsStr::new("rs")) {
            into.push(Source { path, text: read_text(&entry.path())? });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rust_file_is_read_but_what_is_built_or_hidden() {
        let tree = Tree::read().unwrap();
        let has = |path: &str| tree.sources.iter().any(|source| source.path == path);
        assert!(has("xtask/src/tree.rs") && has("rapace-core/src/memory.rs"));
        let outside = |path: &str| path.starts_with('.') || path.split('/').any(|name| name == "target");
        assert!(!tree.sources.iter().any(|source| outside(&source.path)));
    }
}
