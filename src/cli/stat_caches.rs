//! Stat caches of directories, from the state and back into it.
//!
//! They only spare work: whatever goes wrong with them, files are read.

use std::path::Path;

use crate::host::Host;
use crate::host::sources::{CacheKey, Sources};
use crate::state::{SqliteStore, StatCacheRow};

/// Caches to be kept.
pub(super) type StatCaches = Vec<(CacheKey, Vec<u8>)>;

/// What reads sources. The state is opened with the first directory.
pub(super) fn sources<'p>(host: &Host, state: &'p Path) -> Sources<'p> {
    let mut opened = None;
    let find = move |(directory, rules): &CacheKey| {
        let store = opened.get_or_insert_with(|| SqliteStore::open_caches(state));
        store.as_ref()?.stat_cache(directory, rules)
    };
    Sources::new(host.clock.now().wall, Box::new(find)).apart_from(state)
}

/// Keeps caches, and drops those of directories that are gone, for whoever holds the lock of the state.
///
/// # Errors
/// They cannot be written; what that means, for people.
pub(super) fn keep(store: &mut SqliteStore, caches: StatCaches) -> Result<(), String> {
    if caches.is_empty() {
        return Ok(());
    }
    let row = |((directory, rules), content)| StatCacheRow { directory, rules, content };
    let rows: Vec<StatCacheRow> = caches.into_iter().map(row).collect();
    let kept = store.cached_directories().and_then(|directories| {
        let gone = directories.into_iter().filter(|directory| !Path::new(directory).is_dir());
        store.keep_stat_caches(&rows, &gone.collect::<Vec<_>>())
    });
    kept.map_err(|error| format!("the next run will read all files again: {error}"))
}
