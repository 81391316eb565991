//! One look at the directories, and what is remembered of it for the next: a file that has not changed since is neither
//! hashed nor asked again.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{PipeReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rapace_core::layout::PROTOCOL_MAJOR;

use crate::discovery::capabilities::Capabilities;
use crate::discovery::claim::{Claim, Extent, Verdict};
use crate::discovery::folder::{Entry, FileError, Folder, Stamp};
use crate::discovery::parallel::in_parallel;
use crate::discovery::question::ask;
use crate::discovery::walk::{Item, Walk};
use crate::discovery::{Description, Discovery, Found, Rejected, Rejection, Scan, absolute};
use crate::limits::Cgroups;
use crate::manifest::{Manifest, is_plugin_name};
use crate::program::{OpenProgram, Program, ProgramError};

/// A manifest of more bytes is refused unread: 64 KiB.
const MANIFEST_BYTES_MAX: u64 = 64 << 10;
/// So many programs of a directory are asked what they are.
pub(crate) const PROGRAMS_MAX: usize = 256;

/// Looks again and again.
pub(crate) struct Scanner {
    discovery: Discovery,
    /// Nobody waits for an answer any more when its other end is closed.
    stop: Option<PipeReader>,
    /// By which those are held that are asked.
    cgroups: Cgroups,
    /// What was known after the last look, by the file as it was: once it has changed, it is another one.
    known: HashMap<Stamp, Known>,
    /// What this look has made known.
    learnt: Mutex<HashMap<Stamp, Known>>,
}

/// What is known of a file.
#[derive(Clone)]
struct Known {
    sha256: [u8; 32],
    answer: Option<Result<Capabilities, Arc<Rejection>>>,
}

/// What came of a manifest or a program.
type Outcome = Result<Found, Arc<Rejection>>;

/// What is to be said of a manifest.
struct Reading {
    outcome: Outcome,
    extent: Extent,
    /// Where its program should be.
    program: Option<PathBuf>,
}

impl Scanner {
    pub(crate) fn new(mut discovery: Discovery, stop: Option<PipeReader>) -> Self {
        discovery.directories.iter_mut().for_each(|directory| *directory = absolute(directory));
        Self { discovery, stop, cgroups: Cgroups::own(), known: HashMap::new(), learnt: Mutex::default() }
    }

    pub(crate) fn directories(&self) -> &[PathBuf] {
        &self.discovery.directories
    }

    /// Looks, and says in which directories a change would be one of what was seen.
    pub(crate) fn scan(&mut self) -> (Scan, BTreeSet<PathBuf>) {
        let (mut scan, mut directories, mut seen) = (Scan::default(), BTreeSet::new(), HashSet::new());
        for path in &self.discovery.directories {
            match Folder::open(path) {
                Ok(folder) => self.look(&folder, &mut seen, &mut scan, &mut directories),
                Err(error) => scan.rejected.push(Rejected::new(path.clone(), error)),
            }
        }
        self.known = std::mem::take(self.learnt.get_mut());
        self.known.retain(|stamp, _| stamp.is_settled());
        (scan, directories)
    }

    fn look(
        &self,
        folder: &Folder,
        seen: &mut HashSet<(u64, u64)>,
        scan: &mut Scan,
        directories: &mut BTreeSet<PathBuf>,
    ) {
        let Walk { manifests, programs, directories: walked, rejected, .. } =
            Walk::new(folder, self.discovery.recursive, seen);
        let mut outcomes: Vec<(PathBuf, Outcome)> =
            rejected.into_iter().map(|Rejected { path, reason }| (path, Err(reason))).collect();
        let mut claims = Vec::new();
        for (manifest, reading) in manifests.iter().zip(in_parallel(&manifests, |item| self.manifest(folder, item))) {
            let Reading { outcome, extent, program } = reading;
            let files = [Some(&manifest.relative), program.as_ref()];
            files.into_iter().flatten().for_each(|file| directories.extend(directories_of(folder, file)));
            outcomes.push((folder.at(&manifest.relative), outcome));
            claims.push(Claim { manifest, extent });
        }
        let mut bare = Vec::new();
        for program in programs {
            directories.extend(directories_of(folder, &program.relative));
            match verdict(&claims, folder, &program) {
                (Verdict::Free, _) => bare.push(program),
                (Verdict::Its, _) => {}
                (Verdict::Perhaps, manifest) => {
                    let reason = Rejection::Claimed { manifest: folder.at(manifest) };
                    outcomes.push((folder.at(&program.relative), Err(Arc::new(reason))));
                }
            }
        }
        if bare.len() > PROGRAMS_MAX {
            let reason = Rejection::TooManyPrograms { found: bare.len(), most: PROGRAMS_MAX };
            outcomes.push((folder.path().to_owned(), Err(Arc::new(reason))));
            bare.clear();
        }
        let paths = bare.iter().map(|program| folder.at(&program.relative));
        outcomes.extend(paths.zip(in_parallel(&bare, |program| self.bare(folder, program))));
        outcomes.sort_by(|(one, _), (other, _)| one.cmp(other));
        outcomes.into_iter().for_each(|(path, outcome)| scan.take(path, outcome));
        directories.extend(walked);
    }

    fn manifest(&self, folder: &Folder, item: &Item) -> Reading {
        let path = folder.at(&item.relative);
        let refused = |reason: Rejection, extent| Reading { outcome: Err(Arc::new(reason)), extent, program: None };
        let bytes = match folder.find(&item.relative).and_then(|entry| read_manifest(&entry)) {
            Ok(bytes) => bytes,
            // Somebody else cannot keep the programs here from being asked.
            Err(error @ (FileError::Owner { .. } | FileError::NotThere)) => {
                return refused(error.into(), Extent::Nothing);
            }
            Err(error) => return refused(error.into(), Extent::Anything),
        };
        let manifest = match parse_manifest(&bytes, item, &path) {
            Ok(manifest) => manifest,
            Err(reason) => return refused(reason, Extent::Mentioned(bytes)),
        };
        let relative = item.relative.with_file_name(&manifest.program);
        let found = folder.find(&relative);
        let identity = found.as_ref().ok().map(|entry| entry.stamp().identity());
        let verified =
            found.map_err(ProgramError::from).and_then(|entry| self.verify(folder, &relative, &entry, manifest.sha256));
        let outcome = match verified {
            Ok((program, _)) => {
                let description = Description::Manifest(Box::new(manifest));
                Ok(Found { name: item.name.clone(), path, program, description })
            }
            Err(error) => Err(Arc::new(Rejection::Program { program: folder.at(&relative), error })),
        };
        Reading { outcome, program: Some(relative.clone()), extent: Extent::Program { relative, identity } }
    }

    fn bare(&self, folder: &Folder, item: &Item) -> Outcome {
        if !is_plugin_name(&item.name) {
            return Err(Arc::new(Rejection::Name { found: item.name.clone() }));
        }
        let refused = |error: ProgramError| Arc::new(Rejection::BareProgram(error));
        let entry = folder.find(&item.relative).map_err(|error| refused(error.into()))?;
        let (program, opened) = self.verify(folder, &item.relative, &entry, None).map_err(refused)?;
        let capabilities = self.answer(&entry, &opened)?;
        let reason = if capabilities.name != item.name {
            Rejection::NameDiffers { found: capabilities.name, expected: item.name.clone() }
        } else if capabilities.protocol != PROTOCOL_MAJOR {
            Rejection::Protocol { found: capabilities.protocol }
        } else {
            let (name, path) = (item.name.clone(), program.path().to_owned());
            let description = Description::Capabilities(Box::new(capabilities));
            return Ok(Found { name, path, program, description });
        };
        Err(Arc::new(reason))
    }

    /// Verifies a program, and hashes it unless its hash is known.
    fn verify(
        &self,
        folder: &Folder,
        relative: &Path,
        entry: &Entry,
        sha256: Option<[u8; 32]>,
    ) -> Result<(Program, OpenProgram), ProgramError> {
        let known = self.known.get(&entry.stamp());
        let verified = Program::verify_in(folder, relative, entry, sha256, known.map(|known| known.sha256));
        let hash = match &verified {
            Ok((program, _)) => program.sha256(),
            Err(ProgramError::HashDiffers { found, .. }) => found,
            Err(_) => return verified,
        };
        let answer = known.and_then(|known| known.answer.clone());
        self.learnt.lock().entry(entry.stamp()).or_insert(Known { sha256: *hash, answer });
        verified
    }

    /// What a program says it is; it is asked unless that is known.
    fn answer(&self, entry: &Entry, program: &OpenProgram) -> Result<Capabilities, Arc<Rejection>> {
        let learnt = self.learnt.lock().get(&entry.stamp()).and_then(|known| known.answer.clone());
        if let Some(answer) = learnt {
            return answer;
        }
        let answer = ask(program, &self.cgroups, self.discovery.answer_timeout, self.stop.as_ref());
        let is_passing = answer.as_ref().is_err_and(|error| error.is_passing());
        let answer = answer.map_err(|error| Arc::new(Rejection::Ask(error)));
        if let Some(known) = self.learnt.lock().get_mut(&entry.stamp()).filter(|_| !is_passing) {
            known.answer = Some(answer.clone());
        }
        answer
    }
}

impl Scan {
    fn take(&mut self, path: PathBuf, outcome: Outcome) {
        let reason = match outcome {
            Ok(found) => match self.found.iter().find(|first| first.name == found.name) {
                None => return self.found.push(found),
                Some(first) => Arc::new(Rejection::Duplicate { name: found.name, first: first.path.clone() }),
            },
            Err(reason) => reason,
        };
        self.rejected.push(Rejected { path, reason });
    }
}

fn read_manifest(entry: &Entry) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    let file = entry.open_text(MANIFEST_BYTES_MAX)?;
    let read = file.take(MANIFEST_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| FileError::Os { operation: "read it", error })?;
    let found = bytes.len() as u64;
    if found > MANIFEST_BYTES_MAX {
        return Err(FileError::TooLarge { found, most: MANIFEST_BYTES_MAX });
    }
    Ok(bytes)
}

fn parse_manifest(bytes: &[u8], item: &Item, path: &Path) -> Result<Manifest, Rejection> {
    if !is_plugin_name(&item.name) {
        return Err(Rejection::Name { found: item.name.clone() });
    }
    let text = str::from_utf8(bytes).map_err(|error| FileError::NotText { at: error.valid_up_to() })?;
    Ok(Manifest::from_toml(text, path)?)
}

/// What the manifests say to a program, and which one.
fn verdict<'a>(claims: &'a [Claim<'a>], folder: &Folder, program: &Item) -> (Verdict, &'a Path) {
    let identity = folder.find(&program.relative).ok().map(|entry| entry.stamp().identity());
    let verdicts = claims.iter().map(|claim| (claim.on(program, identity), &*claim.manifest.relative));
    verdicts.max_by_key(|(verdict, _)| *verdict).unwrap_or((Verdict::Free, Path::new("")))
}

/// Where a file is called so, and where it really is.
fn directories_of(folder: &Folder, relative: &Path) -> impl Iterator<Item = PathBuf> {
    let real = folder.find(relative).and_then(|entry| entry.real_path()).ok();
    let paths = [Some(folder.at(relative)), real];
    paths.into_iter().flatten().filter_map(|path| path.parent().map(Path::to_owned))
}
