//! Files as the daemon sees them: what changes, and what a run reads. The real ones are watched and read on threads of their
//! own: there may be many, on slow disks, and signals are to be heard meanwhile.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::newest::Newest;
use super::reading::{ManifestsSeen, Reading, WatchedPaths};
use crate::core::time::Tick;
use crate::engine::inputs::Extent;
use crate::host::sources::NamedSource;
use crate::host::watcher::{EventFence, RootKind, WatchedRoot, Watcher};
use crate::host::{BoxFuture, Host};
use crate::state::Backend;

/// Files that are watched and read.
pub trait Files: Send + Sync {
    /// Waits for something to happen that was not taken yet.
    fn changed(&self) -> BoxFuture<'_, ()>;
    /// When something happened last, if anything did since this was asked.
    fn take(&self) -> Option<Tick>;
    /// Whether a file that matters is being written right now.
    fn is_writing(&self) -> bool;
    /// Events that mattered since the start, and folders that are watched.
    fn counts(&self) -> (u64, usize);
    /// A run begins: what happens from now on may have changed what it reads. `looks_around`: what is to be watched is worked
    /// out anew.
    fn run_begins(&self, looks_around: bool);
    /// Watches all folders in which something can change that the run reads. What it reads afterwards and that changes is seen.
    /// Returns why folders are polled from now on, if that begins, and how often, in milliseconds.
    ///
    /// # Errors
    /// A defect, in words.
    fn watch_folders(&self) -> BoxFuture<'_, Result<Option<(String, u64)>, String>>;
    /// Reads manifests. Where it is not waited for any more it changes nothing.
    fn read(&self, extent: Extent, newest: Arc<Mutex<Newest>>) -> BoxFuture<'_, anyhow::Result<ManifestsSeen>>;
    /// Manifests name these sources. Whether others are watched from now on.
    fn follow(&self, named: &[NamedSource]) -> bool;
}

/// The files of this machine.
pub struct WatchedFiles {
    host: Host,
    state: Arc<dyn Backend>,
    paths: WatchedPaths,
    watcher: Arc<Watcher>,
    run: Mutex<RunFiles>,
}

/// What the run under way goes by.
struct RunFiles {
    roots: Vec<WatchedRoot>,
    since: EventFence,
}

impl WatchedFiles {
    /// Begins to watch nothing yet; with `poll_ms` files are looked at every so often, without events of the system. Also returns
    /// why they are, if they are.
    pub fn new(
        host: &Host,
        state: Arc<dyn Backend>,
        paths: WatchedPaths,
        poll_ms: Option<u64>,
    ) -> (Self, Option<(String, u64)>) {
        let audit = paths.audit.as_deref();
        let (watcher, polling) = Watcher::new(Arc::clone(&host.clock), &paths.state_file, audit, poll_ms);
        let watcher = Arc::new(watcher);
        let run = RunFiles { roots: roots(&paths, &[]), since: EventFence::now(&watcher) };
        let polling = polling.map(|why| (why, watcher.poll_ms()));
        (Self { host: host.clone(), state, paths, watcher, run: Mutex::new(run) }, polling)
    }

    fn run(&self) -> MutexGuard<'_, RunFiles> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All paths whose changes matter.
fn roots(paths: &WatchedPaths, named: &[NamedSource]) -> Vec<WatchedRoot> {
    let given = paths.manifests.iter().map(|path| WatchedRoot { path: path.clone(), kind: RootKind::Manifests });
    let sources = named.iter().map(|source| {
        let kind = source.walk.map_or(RootKind::File, RootKind::Tree);
        WatchedRoot { path: source.path.clone().into(), kind }
    });
    given.chain(sources).collect()
}

impl Files for WatchedFiles {
    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.watcher.changed())
    }

    fn take(&self) -> Option<Tick> {
        self.watcher.take()
    }

    fn is_writing(&self) -> bool {
        self.watcher.is_writing()
    }

    fn counts(&self) -> (u64, usize) {
        (self.watcher.events(), self.watcher.folders())
    }

    fn run_begins(&self, looks_around: bool) {
        if looks_around {
            self.watcher.look_around();
        }
        self.run().since = EventFence::now(&self.watcher);
    }

    fn watch_folders(&self) -> BoxFuture<'_, Result<Option<(String, u64)>, String>> {
        let (watcher, roots) = (Arc::clone(&self.watcher), self.run().roots.clone());
        let poll_ms = watcher.poll_ms();
        Box::pin(async move {
            let covered = tokio::task::spawn_blocking(move || watcher.watch_folders(&roots)).await;
            covered.map(|polling| polling.map(|why| (why, poll_ms))).map_err(|error| error.to_string())
        })
    }

    fn read(&self, extent: Extent, newest: Arc<Mutex<Newest>>) -> BoxFuture<'_, anyhow::Result<ManifestsSeen>> {
        let RunFiles { roots: watched, since } = &*self.run();
        let (host, state, paths) = (self.host.clone(), Arc::clone(&self.state), self.paths.clone());
        let reading = Reading { host, state, paths, extent, since: since.clone(), newest };
        let watched = watched.clone();
        Box::pin(async move {
            let paths = reading.paths.clone();
            let mut seen = tokio::task::spawn_blocking(move || reading.read()).await??;
            seen.is_watched = seen.named.as_ref().is_none_or(|named| roots(&paths, named) == watched);
            Ok(seen)
        })
    }

    fn follow(&self, named: &[NamedSource]) -> bool {
        let wanted = roots(&self.paths, named);
        let mut run = self.run();
        let differs = wanted != run.roots;
        run.roots = wanted;
        differs
    }
}
