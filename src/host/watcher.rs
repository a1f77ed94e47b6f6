//! Reports when files that matter may have changed. Events are hints: what they say is not looked at beyond the name.
//!
//! Folders are watched, not files: editors rename, mounted configuration swaps links. Where the system cannot report
//! changes, or not of so many folders, folders are looked at every so often instead.

mod folders;
mod mounts;
mod polling;
mod since;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{ErrorKind, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::Clock;
use super::own_files::is_called_as_of_state;
use super::paths::without_links;
use crate::core::time::Tick;
use folders::{FileIdentity, Folders};
pub use folders::{RootKind, WatchedRoot};
pub use since::{EventFence, Moved};

/// How often folders are looked at where events do not work, in milliseconds, unless the user says otherwise.
pub const POLL_MS: u64 = 10_000;
/// How often folders are listed in a row while new ones keep appearing.
const MOST_ROUNDS: usize = 8;

/// How long a file whose writer has not closed it counts as being written since it was last written to, in milliseconds.
const UNFINISHED_MS: u64 = 10_000;
/// Whether the system reports that a writer has closed a file.
const TELLS_OF_CLOSING: bool = cfg!(any(target_os = "linux", target_os = "android"));
/// What is learned between two looks of the waiting side.
#[derive(Default)]
struct WatchHints {
    /// The last event, in milliseconds of the clock, and whether there is one that was not taken yet.
    last_ms: AtomicU64,
    fresh: AtomicBool,
    events: AtomicU64,
    /// Folders or links may have come or gone: what is watched is to be worked out anew.
    shape: AtomicBool,
    wake: tokio::sync::Notify,
}

/// What the thread of the events and the waiting side share.
struct Shared {
    clock: Arc<dyn Clock>,
    hints: WatchHints,
    folders: Mutex<Folders>,
    /// Folders that the system watches, as they were then.
    watched: Mutex<BTreeMap<PathBuf, Option<FileIdentity>>>,
    /// Watched folders that are gone, or were replaced.
    lost: Mutex<BTreeSet<PathBuf>>,
    /// Files that matter and were written to, and when last, until their writers close them.
    unfinished: Mutex<BTreeMap<PathBuf, Tick>>,
    /// The state, and the audit log if there is one, as they were given.
    state: PathBuf,
    audit: Option<PathBuf>,
    mark: since::Mark,
    /// Files that the program prints to.
    printed_to: Vec<FileIdentity>,
    /// Where the state and the audit log are, without links, as of the last look at the folders.
    own: Mutex<OwnPaths>,
}

/// Where files are that a run writes.
#[derive(Default)]
struct OwnPaths {
    states: Vec<PathBuf>,
    audits: Vec<PathBuf>,
}

/// Watches the folders in which files matter.
pub struct Watcher {
    shared: Arc<Shared>,
    /// Held while folders are looked through, which may take long: the thread of the events never takes it.
    eyes: Mutex<Eyes>,
    poll_ms: u64,
}

/// How folders are watched.
enum Eyes {
    Events(RecommendedWatcher),
    Polling(polling::Poller),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watcher {
    /// A watcher that sees nothing yet, and why it polls, if it does; with `poll_ms` it never uses events. What is written to
    /// the state, to the audit log and to files that the program prints to does not count as a change.
    pub fn new(
        clock: Arc<dyn Clock>,
        state: &Path,
        audit: Option<&Path>,
        poll_ms: Option<u64>,
    ) -> (Self, Option<String>) {
        let shared = Arc::new(Shared {
            clock,
            hints: WatchHints::default(),
            folders: Mutex::default(),
            watched: Mutex::default(),
            lost: Mutex::default(),
            unfinished: Mutex::default(),
            state: state.to_owned(),
            audit: audit.map(Path::to_owned),
            mark: since::Mark::default(),
            printed_to: FileIdentity::printed_to(),
            own: Mutex::default(),
        });
        let events = match poll_ms {
            Some(_) => Err("as asked for".to_owned()),
            None => open(&shared),
        };
        let poll_ms = poll_ms.unwrap_or(POLL_MS);
        let (eyes, why) = match events {
            Ok(eyes) => {
                mounts::follow(&shared);
                (Eyes::Events(eyes), None)
            }
            Err(why) => (Eyes::Polling(polling::Poller::start(&shared, poll_ms)), Some(why)),
        };
        (Self { shared, eyes: Mutex::new(eyes), poll_ms }, why)
    }

    /// Watches all folders in which something about these roots can change, from now on: call it before they are read, on a
    /// thread that may wait for disks. Returns why folders are polled from now on, where that begins.
    pub fn watch_folders(&self, roots: &[WatchedRoot]) -> Option<String> {
        // One lock at a time: the thread of the events takes them as well.
        let audits = self.shared.audit.as_deref().map(without_links).unwrap_or_default();
        *lock(&self.shared.own) = OwnPaths { states: without_links(&self.shared.state), audits };
        let none_lost = lock(&self.shared.lost).is_empty();
        let same_roots = lock(&self.shared.folders).roots == roots;
        let same_shape = !self.shared.hints.shape.swap(false, Ordering::AcqRel);
        if none_lost && same_roots && same_shape {
            return None;
        }
        self.settle(|| Folders::of(roots))
    }

    /// What appears in a folder before it is watched causes no event: looks again until nothing new is found.
    fn settle(&self, mut list: impl FnMut() -> Folders) -> Option<String> {
        let mut eyes = lock(&self.eyes);
        for _ in 0..MOST_ROUNDS {
            let wanted = list();
            if let Eyes::Polling(poller) = &*eyes {
                *lock(&self.shared.folders) = wanted;
                poller.baseline(&self.shared);
                return None;
            }
            let unseen = wanted.unseen();
            let is_known = std::mem::replace(&mut *lock(&self.shared.folders), wanted.clone()) == wanted;
            let renew = || unless_it_panics(|| eyes.renew(&self.shared)).unwrap_or_else(Err);
            match unseen.map_or_else(renew, Err) {
                Err(why) => {
                    eyes.poll(&self.shared, self.poll_ms);
                    return Some(why);
                }
                Ok(is_same) if is_same && is_known => return None,
                Ok(_) => {}
            }
        }
        self.look_around();
        None
    }

    /// The next [`Watcher::watch_folders`] works out anew what is to be watched.
    pub fn look_around(&self) {
        self.shared.hints.shape.store(true, Ordering::Release);
    }

    /// Waits for something to happen that was not taken yet.
    pub async fn changed(&self) {
        while !self.shared.hints.fresh.load(Ordering::Acquire) {
            self.shared.hints.wake.notified().await;
        }
    }

    /// When something happened last, if anything did since this was asked.
    pub fn take(&self) -> Option<Tick> {
        let hints = &self.shared.hints;
        hints.fresh.swap(false, Ordering::AcqRel).then(|| Tick::from_ms(hints.last_ms.load(Ordering::Acquire)))
    }

    /// Whether a file that matters is being written right now, as far as the system reports: it was written to a short while ago,
    /// and its writer has not closed it.
    pub fn is_writing(&self) -> bool {
        let now = self.shared.clock.now().tick;
        let mut unfinished = lock(&self.shared.unfinished);
        unfinished.retain(|_, last| last.plus_ms(UNFINISHED_MS) > now);
        !unfinished.is_empty()
    }

    /// Events that mattered, since the start.
    pub fn events(&self) -> u64 {
        self.shared.hints.events.load(Ordering::Relaxed)
    }

    /// How often folders are looked at where events do not work, in milliseconds.
    pub const fn poll_ms(&self) -> u64 {
        self.poll_ms
    }

    /// How many folders are watched.
    pub fn folders(&self) -> usize {
        lock(&self.shared.folders).paths().count()
    }
}

impl Eyes {
    /// Looks at the folders from now on.
    fn poll(&mut self, shared: &Arc<Shared>, poll_ms: u64) {
        lock(&shared.watched).clear();
        let poller = polling::Poller::start(shared, poll_ms);
        poller.baseline(shared);
        let before = std::mem::replace(self, Self::Polling(poller));
        // Whose thread is gone may not even be let go without a panic.
        let _ = unless_it_panics(|| drop(before));
    }

    /// Watches what is wanted and not watched yet, or was replaced. Returns whether that was nothing, or why it does not go.
    fn renew(&mut self, shared: &Shared) -> Result<bool, String> {
        let Self::Events(eyes) = self else { return Ok(true) };
        let mut is_same = true;
        let wanted: Vec<PathBuf> = lock(&shared.folders).paths().cloned().collect();
        let lost = std::mem::take(&mut *lock(&shared.lost));
        let mut watched = lock(&shared.watched);
        watched.retain(|path, identity| {
            let is_same = *identity == FileIdentity::of(path) && !lost.contains(path);
            let stays = is_same && wanted.binary_search(path).is_ok();
            if !stays {
                // Where the folder is gone the watch is as well.
                let _ = eyes.unwatch(path);
            }
            stays
        });
        for path in wanted {
            if watched.contains_key(&path) {
                continue;
            }
            let identity = FileIdentity::of(&path);
            match eyes.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    watched.insert(path, identity);
                    is_same = false;
                }
                Err(error) if is_limit(&error) => return Err(cause(&error)),
                // It went away meanwhile, which its parent reports, or may not be read, which the run reports.
                Err(_) => {}
            }
        }
        Ok(is_same)
    }
}

/// What `work` comes to, or that it has a defect: the side that waits for changes is to learn of them all the same.
fn unless_it_panics<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| "watching folders has failed; please report it".to_owned())
}

fn open(shared: &Arc<Shared>) -> Result<RecommendedWatcher, String> {
    let shared = Arc::clone(shared);
    notify::recommended_watcher(move |event| shared.take(event)).map_err(|error| cause(&error))
}

impl Shared {
    fn take(&self, event: notify::Result<notify::Event>) {
        let Ok(event) = event else {
            return self.renew_all();
        };
        if event.need_rescan() {
            return self.renew_all();
        }
        let is_written = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) | EventKind::Modify(ModifyKind::Data(_)) => true,
            EventKind::Access(_) => return event.paths.iter().for_each(|path| self.mark.passes(path)),
            _ => false,
        };
        let (mut lost, mut matters) = (Vec::new(), false);
        let folders = lock(&self.folders);
        for path in &event.paths {
            if folders.is_watched(path) {
                // The folder itself went, moved, or has other rights now.
                lost.extend(folders.below(path).cloned());
                matters = true;
            }
            if folders.cares_for(path) && !self.is_own(path) {
                matters = true;
                self.follow_writing(event.kind, path);
            }
        }
        drop(folders);
        lock(&self.lost).extend(lost);
        if matters {
            self.note(!is_written);
        }
    }

    /// Something is wrong with the watches, or events were lost, and with them perhaps that of a folder that is another one
    /// now: all watches are made anew.
    fn renew_all(&self) {
        let all: Vec<PathBuf> = lock(&self.folders).paths().cloned().collect();
        lock(&self.lost).extend(all);
        lock(&self.unfinished).clear();
        self.note(true);
    }

    fn follow_writing(&self, kind: EventKind, path: &Path) {
        match kind {
            EventKind::Modify(ModifyKind::Data(_)) if TELLS_OF_CLOSING => {
                let now = self.clock.now().tick;
                lock(&self.unfinished).insert(path.to_owned(), now);
            }
            EventKind::Access(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => {
                lock(&self.unfinished).remove(path);
            }
            _ => {}
        }
    }

    /// Whether this is a file that a run writes: the state, something that is kept beside it, or a log.
    fn is_own(&self, path: &Path) -> bool {
        let is_printed_to = || FileIdentity::of(path).is_some_and(|file| self.printed_to.contains(&file));
        if !self.printed_to.is_empty() && is_printed_to() {
            return true;
        }
        let own = lock(&self.own);
        own.audits.iter().any(|own| own == path) || own.states.iter().any(|state| is_called_as_of_state(state, path))
    }

    fn note(&self, shape: bool) {
        if shape {
            self.hints.shape.store(true, Ordering::Release);
        }
        self.hints.events.fetch_add(1, Ordering::Relaxed);
        self.hints.last_ms.store(self.clock.now().tick.ms(), Ordering::Release);
        if !self.hints.fresh.swap(true, Ordering::AcqRel) {
            self.hints.wake.notify_one();
        }
    }
}

/// Whether the system cannot watch this or so much, as opposed to a folder that is gone.
fn is_limit(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::MaxFilesWatch => true,
        ErrorKind::Io(error) => {
            use std::io::ErrorKind as Kind;
            !matches!(error.kind(), Kind::NotFound | Kind::PermissionDenied | Kind::NotADirectory)
        }
        _ => false,
    }
}

fn cause(error: &notify::Error) -> String {
    match &error.kind {
        ErrorKind::MaxFilesWatch => "the system allows no more watches; raise fs.inotify.max_user_watches".to_owned(),
        ErrorKind::Io(error) => format!("the system does not watch folders: {error}"),
        other => format!("the system does not watch folders: {other:?}"),
    }
}

#[cfg(test)]
mod tests;
