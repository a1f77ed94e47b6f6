//! What happened to files since some moment, also where the thread of the events has not reported it yet.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use notify::{RecursiveMode, Watcher as _};

use super::{Eyes, Shared, Watcher, lock, unless_it_panics};

/// A file that can always be opened and is in no folder that is watched: our own program.
const MARK: &str = "/proc/self/exe";
/// How long the thread of the events may take to come to it: with much to do, it is late, and with a disk that hangs it never
/// comes.
const MOST_WAIT: Duration = Duration::from_millis(500);

/// What happened to files that matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Some changed since the moment.
    pub changed: bool,
    /// One is being written, see [`Watcher::is_writing`].
    pub writing: bool,
}

/// A moment, and what knows what happened since.
#[derive(Clone)]
pub struct EventFence {
    watcher: Arc<Watcher>,
    events: u64,
}

impl EventFence {
    /// From now on.
    pub fn now(watcher: &Arc<Watcher>) -> Self {
        Self { watcher: Arc::clone(watcher), events: watcher.events() }
    }

    /// What happened up to now, as far as the system reports of it; on a thread that may wait.
    pub fn look(&self) -> Moved {
        let is_told = unless_it_panics(|| self.watcher.catch_up()).is_ok();
        if !is_told {
            self.watcher.shared.renew_all();
        }
        Moved { changed: self.watcher.events() != self.events, writing: self.watcher.is_writing() }
    }
}

/// Whether [`MARK`] came by.
#[derive(Default)]
pub(super) struct Mark {
    seen: Mutex<bool>,
    comes: Condvar,
}

impl Mark {
    /// The thread of the events has come to an event of this path.
    pub(super) fn passes(&self, path: &Path) {
        if path == Path::new(MARK) {
            *lock(&self.seen) = true;
            self.comes.notify_all();
        }
    }

    fn wait(&self) {
        let seen = lock(&self.seen);
        // Events are hints: a side that gave up waiting knows less.
        drop(self.comes.wait_timeout_while(seen, MOST_WAIT, |seen| !*seen).unwrap_or_else(PoisonError::into_inner));
    }
}

impl Watcher {
    /// Waits until everything was reported that happened so far. The system reports in order: what is watched only now, and opened,
    /// comes last.
    fn catch_up(&self) {
        let mut eyes = lock(&self.eyes);
        let Eyes::Events(eyes) = &mut *eyes else { return };
        let (mark, shared): (_, &Shared) = (Path::new(MARK), &self.shared);
        *lock(&shared.mark.seen) = false;
        if eyes.watch(mark, RecursiveMode::NonRecursive).is_ok() {
            if File::open(mark).is_ok() {
                shared.mark.wait();
            }
            let _ = eyes.unwatch(mark);
        }
    }
}
