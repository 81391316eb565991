//! Which programs a manifest may be of: none of them is executed to ask what it is, least of all when the manifest is
//! refused.

use std::path::{Path, PathBuf};

use crate::discovery::walk::Item;

/// What a manifest claims.
pub(crate) struct Claim<'a> {
    pub(crate) manifest: &'a Item,
    pub(crate) extent: Extent,
}

/// What it claims beside the program that is called as it is.
pub(crate) enum Extent {
    /// Nothing.
    Nothing,
    /// This program.
    Program {
        /// Its path in the folder.
        relative: PathBuf,
        /// The file, if it is there.
        identity: Option<(u64, u64)>,
    },
    /// Every program that it mentions: what it says cannot be read, but this much of it is there.
    Mentioned(Vec<u8>),
    /// Every program beside or below it: nobody knows what it says.
    Anything,
}

/// Whether a program has a manifest, the stronger the later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    Free,
    /// It may be that of a manifest that is refused.
    Perhaps,
    Its,
}

impl Claim<'_> {
    /// Whether a program is the manifest's.
    pub(crate) fn on(&self, program: &Item, identity: Option<(u64, u64)>) -> Verdict {
        let directory = self.manifest.relative.parent().unwrap_or(Path::new(""));
        if program.name == self.manifest.name && program.relative.parent() == Some(directory) {
            return Verdict::Its;
        }
        let is_below = program.relative.starts_with(directory);
        match &self.extent {
            Extent::Program { relative, identity: claimed } => {
                let is_same = claimed.is_some() && *claimed == identity;
                if *relative == program.relative || is_same { Verdict::Its } else { Verdict::Free }
            }
            Extent::Mentioned(text) if is_below && mentions(text, &program.relative) => Verdict::Perhaps,
            Extent::Anything if is_below => Verdict::Perhaps,
            Extent::Nothing | Extent::Mentioned(_) | Extent::Anything => Verdict::Free,
        }
    }
}

fn mentions(text: &[u8], program: &Path) -> bool {
    let name = program.file_name().unwrap_or_default().as_encoded_bytes();
    text.windows(name.len().max(1)).any(|window| window == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_claims_its_program_and_what_may_be() {
        let item = |relative: &str, name: &str| Item { relative: relative.into(), name: name.into() };
        let manifest = item("d/a.plugin.toml", "a");
        let text = Extent::Mentioned(b"program = 'bin/tool'".to_vec());
        let program = Extent::Program { relative: "d/bin/tool".into(), identity: Some((1, 2)) };
        let gone = Extent::Program { relative: "d/bin/tool".into(), identity: None };
        use Verdict::{Free, Its, Perhaps};
        for (extent, cases) in [
            (Extent::Nothing, [Its, Its, Free, Free, Free, Free]),
            (program, [Its, Its, Free, Its, Free, Its]),
            (gone, [Its, Its, Free, Its, Free, Free]),
            (text, [Its, Its, Free, Perhaps, Free, Free]),
            (Extent::Anything, [Its, Its, Free, Perhaps, Free, Perhaps]),
        ] {
            let claim = Claim { manifest: &manifest, extent };
            let programs = [
                (item("d/a", "a"), (1, 1)),
                (item("d/a.sh", "a"), (1, 3)),
                (item("a", "a"), (1, 4)),
                (item("d/bin/tool", "tool"), (1, 2)),
                (item("e/tool", "tool"), (1, 5)),
                (item("d/link", "link"), (1, 2)),
            ];
            let found = programs.map(|(program, identity)| claim.on(&program, Some(identity)));
            assert_eq!(found, cases);
        }
    }
}
