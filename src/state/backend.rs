//! Where a state is kept: how it is looked at, locked, made and copied. What is in it is asked of a [`Store`].

use std::path::Path;
use std::sync::Arc;

use super::sqlite::SqliteBackend;
use super::{Holder, Identity, ReadAhead, RunStart, StateError, Store};

/// The state in the file at `path`.
pub fn at(path: &Path) -> Arc<dyn Backend> {
    Arc::new(SqliteBackend::at(path))
}

/// A place that holds a state, or will after the first run.
pub trait Backend: Send + Sync {
    /// Where it is, as messages name it; without secrets.
    fn location(&self) -> String;
    /// Whether anything is there. What cannot be used as a state is there as well; opening it says why.
    fn is_there(&self) -> bool;
    /// Opens the state for reading; `None` before the first run.
    ///
    /// # Errors
    /// A state that is damaged, newer or unreadable.
    fn open(&self) -> Result<Option<Box<dyn Store>>, StateError>;
    /// Which state it is, without a look at anything else of it; `None` before the first run.
    ///
    /// # Errors
    /// As [`Backend::open`].
    fn identity(&self) -> Result<Option<Identity>, StateError>;
    /// Opens the state for its stat caches alone: fast, and silent about defects, which [`Backend::open`] reports.
    fn open_stat_caches(&self) -> Option<Box<dyn Store>> {
        None
    }
    /// Begins to read rows while the caller does something else; `None` where that would not be worth it.
    fn read_ahead(&self) -> Option<ReadAhead> {
        None
    }
    /// A copy in memory that can be written to and leaves the state as it is; an empty one before the first run.
    ///
    /// # Errors
    /// As [`Backend::open`].
    fn scratch(&self, lineage: &str) -> Result<Box<dyn Store>, StateError>;
    /// The run that holds the lock now, if there is one. Writes nothing.
    fn holder(&self) -> Option<Holder>;
    /// Takes the run lock, or returns its holder.
    ///
    /// # Errors
    /// A place that has no locks, or in which there can be no state.
    fn try_lock(&self, start: &RunStart) -> Result<Result<Box<dyn LockedState>, Holder>, StateError>;
    /// Why the state, or a first one, could not be written now, as far as that shows without writing.
    fn write_probe(&self) -> Option<String>;
}

/// A state that no other run writes to until this is dropped.
pub trait LockedState: Send {
    /// Opens the state and brings an older format to the newest one; `None` before the first run.
    ///
    /// # Errors
    /// As [`Backend::open`], and a newer format that cannot be written; then the state is as before.
    fn open(&self) -> Result<Option<Box<dyn Store>>, StateError>;
    /// Makes an empty state: it is there whole or not at all.
    ///
    /// # Errors
    /// It cannot be written.
    fn create(&self, lineage: &str) -> Result<Box<dyn Store>, StateError>;
    /// Writes `text` durably to a new private file beside the state, whose name ends with `name`; returns its path.
    ///
    /// # Errors
    /// It cannot be written, or is there already.
    fn write_recovery_file(&self, name: &str, text: &str) -> Result<String, StateError>;
}
