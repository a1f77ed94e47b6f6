//! Looks at folders every so often, where the system does not report changes.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use super::{Shared, lock};
use crate::host::background;
use crate::host::look::Look;

/// A task that looks until it is dropped.
pub(super) struct Poller {
    seen: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Poller {
    pub(super) fn start(shared: &Arc<Shared>, every_ms: u64) -> Self {
        let seen = Arc::new(AtomicU64::new(0));
        let task = background::spawn(look_on(Arc::downgrade(shared), Arc::downgrade(&seen), every_ms));
        Self { seen, task }
    }

    /// Takes how the folders look now for what is known.
    pub(super) fn baseline(&self, shared: &Shared) {
        self.seen.store(look(shared), Ordering::Release);
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look_on(shared: Weak<Shared>, seen: Weak<AtomicU64>, every_ms: u64) {
    loop {
        let Some(clock) = shared.upgrade().map(|shared| Arc::clone(&shared.clock)) else { return };
        clock.sleep_until(clock.now().tick.plus_ms(every_ms)).await;
        let (Some(shared), Some(seen)) = (shared.upgrade(), seen.upgrade()) else { return };
        let before = seen.load(Ordering::Acquire);
        let looked = Arc::clone(&shared);
        let Ok(now) = tokio::task::spawn_blocking(move || look(&looked)).await else { return };
        if now != before && seen.compare_exchange(before, now, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            shared.note(true);
        }
    }
}

/// What all names that matter look like, as one number: it changes with each of them. Never 0.
fn look(shared: &Shared) -> u64 {
    let folders = lock(&shared.folders);
    let paths: Vec<_> = folders.paths().cloned().collect();
    drop(folders);
    let mut sum: u64 = 0;
    for folder in &paths {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if lock(&shared.folders).cares_for(&path) && !shared.is_own(&path) {
                // A sum, since folders are listed in any order.
                sum = sum.wrapping_add(look_of(&path));
            }
        }
    }
    sum.max(1)
}

fn look_of(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    // Of the link itself and of what it leads to: either may be another one now.
    for metadata in [std::fs::symlink_metadata(path), std::fs::metadata(path)].into_iter().flatten() {
        if metadata.is_dir() {
            // Its times change with its entries, of which those that matter are looked at by themselves.
            hasher.write_u8(1);
        } else {
            Look::at(&metadata).hash(&mut hasher);
        }
    }
    hasher.finish()
}
