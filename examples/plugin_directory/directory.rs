//! The directory, and how files come there: whole, by a rename.

use std::error::Error;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rapace::host::Program;

const MANIFEST: &str = "plugins/greeter.plugin.toml";

/// A directory for a host, and below it one for its plugins. Gone when it is dropped.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("rapace-plugin-directory-{}", std::process::id()));
        let make = |path: &Path| DirBuilder::new().mode(0o755).create(path);
        make(&path)?;
        let directory = Self(path);
        // Nobody looks below for plugins, so that no program is taken for one by itself.
        ["plugins", "plugins/bin"].iter().try_for_each(|below| make(&directory.0.join(below)))?;
        Ok(directory)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Puts the program of a version there, and says where it is.
    pub(crate) fn program(&self, version: &str) -> io::Result<PathBuf> {
        let script = format!("#!/bin/sh\nexec \"$EXAMPLE\" --plugin {version}\n");
        self.put(&format!("plugins/bin/greeter-{version}"), 0o755, &script)
    }

    /// Puts the manifest of a version there, with the hash of a program. From here on it is the plugin.
    pub(crate) fn manifest(&self, version: &str, greeting: &str, hashed: &Path) -> Result<(), Box<dyn Error>> {
        let program = Program::verify(hashed, None)?;
        let sha256: String = program.sha256().iter().map(|byte| format!("{byte:02x}")).collect();
        // A plugin is confined to what its manifest asks for. The script executes this example.
        let example = std::env::current_exe()?;
        let manifest = format!(
            "version = '{version}'\nprogram = 'bin/greeter-{version}'\nsha256 = '{sha256}'\n\
             permissions.read = ['{}']\n\
             provides = {{ 'demo.Greeter' = '1.0' }}\nconfig = {{ greeting = '{greeting}' }}\n",
            example.display()
        );
        self.put(MANIFEST, 0o644, &manifest)?;
        Ok(())
    }

    pub(crate) fn remove_manifest(&self) -> io::Result<()> {
        fs::remove_file(self.0.join(MANIFEST))
    }

    /// Writes a file elsewhere, and renames it into its place: nobody sees half of it, and what was there goes at once.
    fn put(&self, name: &str, mode: u32, text: &str) -> io::Result<PathBuf> {
        let (whole, place) = (self.0.join("whole"), self.0.join(name));
        fs::write(&whole, text)?;
        fs::set_permissions(&whole, Permissions::from_mode(mode))?;
        fs::rename(&whole, &place)?;
        Ok(place)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left of it is in the directory for what is temporary.
        let _ = fs::remove_dir_all(&self.0);
    }
}
