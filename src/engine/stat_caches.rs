//! Stat caches of directories, from the state and back into it.
//!
//! They only spare work: whatever goes wrong with them, files are read.

use std::path::Path;

use crate::host::Host;
use crate::host::sources::{CacheKey, OwnFile, Sources};
use crate::state::{Backend, LockedState, StatCacheRow, Store};

/// Files that a command writes, which no source may publish.
#[derive(Clone, Copy)]
pub struct Own<'p> {
    /// Where the stat caches are.
    pub backend: &'p dyn Backend,
    /// The file of the state, as the user named it.
    pub state: &'p Path,
    /// The audit log, which is no manifest either.
    pub audit: Option<&'p Path>,
}

/// Caches to be kept.
pub type StatCaches = Vec<(CacheKey, Vec<u8>)>;

/// What reads sources. The state is opened with the first directory.
pub fn sources<'p>(host: &Host, own: Own<'p>) -> Sources<'p> {
    let (mut opened, Own { backend, state, .. }) = (None, own);
    let find = move |(directory, rules): &CacheKey| {
        let store = opened.get_or_insert_with(|| backend.open_stat_caches());
        store.as_ref()?.stat_cache(directory, rules)
    };
    let sources = Sources::new(host.clock.now().wall, Box::new(find)).apart_from(OwnFile::State, state);
    match own.audit {
        Some(audit) => sources.apart_from(OwnFile::Audit, audit),
        None => sources,
    }
}

/// As [`keep`], where there is a state.
///
/// # Errors
/// As [`keep`].
pub fn keep_at(locked: &dyn LockedState, caches: StatCaches) -> Result<(), String> {
    if caches.is_empty() {
        return Ok(());
    }
    match locked.open() {
        Ok(Some(mut store)) => keep(&mut *store, caches),
        Ok(None) => Ok(()),
        Err(error) => Err(format!("the next run will read all files again: {error}")),
    }
}

/// Keeps caches, and drops those of directories that are gone, for the holder of the lock of the state.
///
/// # Errors
/// They cannot be written; what that means, for people.
pub fn keep(store: &mut dyn Store, caches: StatCaches) -> Result<(), String> {
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
