//! Notices that plugins come, change and go.
//!
//! The kernel tells of every change in the directories (inotify); nothing is looked at again and again. Once they have been
//! quiet for a moment, they are looked at as a whole, and what is new in that is told. So a file that is being written
//! is refused at first, or not seen, and looked at again when it is closed; one that is renamed into its place is seen
//! once, whole, and is the better way. What was told stays true until something else is told.
//!
//! A directory that is removed takes its plugins with it; when it comes again, so do they. It is waited for in the nearest
//! directory above it that there is.

use std::collections::BTreeSet;
use std::io::{self, PipeWriter};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use parking_lot::Mutex;
use thiserror::Error;

use crate::discovery::news::{Known, PluginChange};
use crate::discovery::scanner::Scanner;
use crate::discovery::{Discovery, Rejected, Scan};

/// The name of the thread.
const THREAD_NAME: &str = "rapace-watch";
/// The directories are looked at when they have been quiet for so long,
const QUIET: Duration = Duration::from_millis(100);
/// or when there was no quiet for so long.
const QUIET_PATIENCE: Duration = Duration::from_secs(2);

/// Why directories cannot be watched.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The operating system does not watch, or not that much: see `fs.inotify` in sysctl(8).
    #[error("cannot watch {}: {error}", .path.display())]
    Refused {
        /// What was to be watched.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The thread, or what ends it, could not be made.
    #[error("cannot start the thread that watches: {0}")]
    Thread(#[source] io::Error),
}

/// Watches the directories of a [`Discovery`] until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    bell: SyncSender<()>,
    stop: Arc<AtomicBool>,
    /// Closed, it ends the questions that programs are asked.
    stop_asking: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
    refused: Refused,
}

/// What the last look has refused.
type Refused = Arc<Mutex<Vec<Rejected>>>;

impl Watcher {
    /// Looks at the directories, and tells of what changes from then on, on a thread of its own: nothing is looked at while
    /// it is told.
    ///
    /// # Errors
    ///
    /// When the operating system cannot watch a directory that is there. One that is not is waited for.
    pub fn start(
        discovery: Discovery,
        told: impl FnMut(PluginChange) + Send + 'static,
    ) -> Result<(Self, Scan), WatchError> {
        let (bell, rung) = sync_channel(1);
        let (stop_asked, stop_asking) = io::pipe().map_err(WatchError::Thread)?;
        let mut watch = Watch::new(Scanner::new(discovery, Some(stop_asked)), bell.clone(), told)?;
        // What changes meanwhile rings.
        watch.watch_again()?;
        let scan = watch.look()?;
        scan.rejected.iter().for_each(|rejected| rejected.log());
        watch.known.update(scan.clone());
        let refused = Arc::clone(&watch.refused);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name(THREAD_NAME.to_owned());
        let thread = thread.spawn(move || watch.run(&rung, &stopped)).map_err(WatchError::Thread)?;
        Ok((Self { bell, stop, stop_asking: Some(stop_asking), thread: Some(thread), refused }, scan))
    }

    /// What is refused at present, by the last look at the directories. Whoever is told of a change finds it here already.
    #[must_use]
    pub fn refused(&self) -> Vec<Rejected> {
        self.refused.lock().clone()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        drop(self.stop_asking.take());
        // When there is no room, it is rung already.
        let _ = self.bell.try_send(());
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            // It cannot have panicked: the panics of whom it tells are caught.
            let _ = thread.join();
        }
    }
}

/// What the thread has.
struct Watch<F> {
    scanner: Scanner,
    bell: SyncSender<()>,
    told: F,
    inotify: RecommendedWatcher,
    /// The directories that are watched.
    watched: BTreeSet<PathBuf>,
    /// Those of them in which a change is one of a plugin.
    inside: Arc<Mutex<BTreeSet<PathBuf>>>,
    known: Known,
    refused: Refused,
}

impl<F: FnMut(PluginChange)> Watch<F> {
    fn new(scanner: Scanner, bell: SyncSender<()>, told: F) -> Result<Self, WatchError> {
        let inside = Arc::new(Mutex::new(BTreeSet::from_iter(scanner.directories().iter().cloned())));
        let (roots, relevant, ringer) = (scanner.directories().to_vec(), Arc::clone(&inside), bell.clone());
        let heard = move |event: notify::Result<Event>| {
            if is_news(&event, &roots, &relevant.lock()) {
                // When there is no room, it is rung already.
                let _ = ringer.try_send(());
            }
        };
        let path = scanner.directories().first().cloned().unwrap_or_default();
        let inotify = notify::recommended_watcher(heard).map_err(|error| refused(path, error))?;
        let (watched, known, refused) = Default::default();
        Ok(Self { scanner, bell, told, inotify, watched, inside, known, refused })
    }

    fn run(mut self, rung: &Receiver<()>, stop: &AtomicBool) {
        while rung.recv().is_ok() && !stop.load(Ordering::Acquire) {
            wait_for_quiet(rung, stop);
            if stop.load(Ordering::Acquire) {
                return;
            }
            let scan = match self.watch_again().and_then(|()| self.look()) {
                Ok(scan) => scan,
                Err(error) => {
                    tracing::error!(%error, "changes of plugins may go unnoticed");
                    let scan = self.scanner.scan().0;
                    self.refused.lock().clone_from(&scan.rejected);
                    scan
                }
            };
            for change in self.known.update(scan) {
                // Whom it tells may have dropped the watcher.
                if stop.load(Ordering::Acquire) {
                    return;
                }
                if let PluginChange::Rejected(rejected) = &change {
                    rejected.log();
                }
                let told = AssertUnwindSafe(|| (self.told)(change));
                if catch_unwind(told).is_err() {
                    tracing::error!("who is told of changes of plugins has panicked");
                }
            }
        }
    }

    /// Watches the same directories again, or what is in their places now: a path may lead to another directory than it did.
    fn watch_again(&mut self) -> Result<(), WatchError> {
        for path in std::mem::take(&mut self.watched) {
            // What was moved away would be watched where it is now. It fails when the directory is gone.
            let _ = self.inotify.unwatch(&path);
        }
        for root in self.scanner.directories().to_vec() {
            self.watch(&root)?;
            // A link may be made to lead elsewhere, and what is not there may come.
            if !root.is_dir() || root.is_symlink() {
                let above = root.ancestors().skip(1).find(|above| above.is_dir()).map(Path::to_owned);
                above.map_or(Ok(false), |above| self.watch(&above))?;
            }
        }
        // Not locked meanwhile: whoever hears of changes locks it too.
        let inside = self.inside.lock().clone();
        for path in inside {
            self.watch(&path)?;
        }
        Ok(())
    }

    /// Looks at the directories. What was not watched until now may have changed before it was: then it is looked again.
    fn look(&mut self) -> Result<Scan, WatchError> {
        let (scan, mut inside) = self.scanner.scan();
        inside.extend(self.scanner.directories().iter().cloned());
        let mut is_new = false;
        for path in &inside {
            is_new |= self.watch(path)?;
        }
        *self.inside.lock() = inside;
        self.refused.lock().clone_from(&scan.rejected);
        if is_new {
            let _ = self.bell.try_send(());
        }
        Ok(scan)
    }

    /// Watches a directory if it is there, and says whether it was not watched before.
    fn watch(&mut self, path: &Path) -> Result<bool, WatchError> {
        if self.watched.contains(path) {
            return Ok(false);
        }
        match self.inotify.watch(path, RecursiveMode::NonRecursive) {
            Ok(()) => Ok(self.watched.insert(path.to_owned())),
            Err(_) if !path.is_dir() => Ok(false),
            Err(error) => Err(refused(path.to_owned(), error)),
        }
    }
}

/// Until nothing has happened for a moment, or for too long.
fn wait_for_quiet(rung: &Receiver<()>, stop: &AtomicBool) {
    let start = Instant::now();
    while start.elapsed() < QUIET_PATIENCE && !stop.load(Ordering::Acquire) {
        match rung.recv_timeout(QUIET) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Whether something may have changed, in a directory of plugins or on the way to one.
fn is_news(event: &notify::Result<Event>, roots: &[PathBuf], inside: &BTreeSet<PathBuf>) -> bool {
    // What was lost may have been news.
    let Ok(event) = event else { return true };
    // Looking at a file, as this does, changes nothing.
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => {}
        EventKind::Access(_) => return false,
        _ => {}
    }
    let is_in_one = |path: &PathBuf| path.parent().is_some_and(|above| inside.contains(above));
    let is_above = |path: &PathBuf| roots.iter().any(|root| root.starts_with(path));
    // What is hidden is not looked at.
    let is_hidden = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let is_of_one = |path: &PathBuf| is_above(path) || inside.contains(path) || (is_in_one(path) && !is_hidden(path));
    event.paths.is_empty() || event.paths.iter().any(is_of_one)
}

fn refused(path: PathBuf, error: notify::Error) -> WatchError {
    WatchError::Refused { path, error: io::Error::other(error) }
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange, Flag, ModifyKind, RenameMode};

    use super::*;

    #[test]
    fn a_directory_that_was_not_watched_yet_is_looked_at_again() {
        let path = std::env::temp_dir().join(format!("rapace-watch-{}", std::process::id()));
        std::fs::create_dir_all(path.join("below")).unwrap();
        let (bell, rung) = sync_channel(1);
        let discovery = Discovery { recursive: true, ..Discovery::new([&path]) };
        let mut watch = Watch::new(Scanner::new(discovery, None), bell, |_| {}).unwrap();
        watch.watch_again().unwrap();
        watch.look().unwrap();
        rung.try_recv().unwrap();
        watch.look().unwrap();
        rung.try_recv().unwrap_err();
        std::fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn only_what_changes_something_of_plugins_is_news() {
        let roots = [PathBuf::from("/p/plugins")];
        let inside = BTreeSet::from(["/p/plugins", "/p/plugins/bin", "/else/real"].map(PathBuf::from));
        let is = |kind, path: &str| is_news(&Ok(Event::new(kind).add_path(path.into())), &roots, &inside);
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let created = EventKind::Create(CreateKind::File);
        let moved = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        let changed = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        for kind in [written, created, moved, changed] {
            for path in ["/p/plugins", "/p/plugins/a", "/p/plugins/bin/tool", "/else/real/a", "/p", "/"] {
                assert!(is(kind, path), "{kind:?} {path}");
            }
            for path in ["/p/other", "/p/plugins/.a.tmp", "/else", "/p/plugins/bin/deep/er"] {
                assert!(!is(kind, path), "{kind:?} {path}");
            }
        }
        let read = [AccessKind::Open(AccessMode::Any), AccessKind::Close(AccessMode::Read), AccessKind::Read];
        assert!(read.iter().all(|read| !is(EventKind::Access(*read), "/p/plugins/a")));
        assert!(is_news(&Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)), &roots, &inside));
        assert!(is_news(&Err(notify::Error::generic("lost")), &roots, &inside));
    }
}
