//! A state that is a file: the seams of `state/backend.rs` over paths.

use std::path::{Path, PathBuf};

use super::file::write_recovery_file;
use super::write_probe::write_probe;
use super::{Holder, Identity, ReadAhead, RunLock, RunStart, SqliteStore, StateError, Store, location};
use crate::state::{Backend, LockedState};

/// The file of a state, or where it will be.
pub(in crate::state) struct SqliteBackend {
    path: PathBuf,
}

impl SqliteBackend {
    pub(in crate::state) fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }
}

fn boxed(store: SqliteStore) -> Box<dyn Store> {
    Box::new(store)
}

impl Backend for SqliteBackend {
    fn location(&self) -> String {
        location(&self.path)
    }

    fn is_there(&self) -> bool {
        self.path.is_symlink() || self.path.exists()
    }

    fn open(&self) -> Result<Option<Box<dyn Store>>, StateError> {
        Ok(SqliteStore::open(&self.path)?.map(boxed))
    }

    fn identity(&self) -> Result<Option<Identity>, StateError> {
        SqliteStore::identity_at(&self.path)
    }

    fn open_stat_caches(&self) -> Option<Box<dyn Store>> {
        SqliteStore::open_caches(&self.path).map(boxed)
    }

    fn read_ahead(&self) -> Option<ReadAhead> {
        ReadAhead::begin(&self.path)
    }

    fn scratch(&self, lineage: &str) -> Result<Box<dyn Store>, StateError> {
        SqliteStore::scratch(&self.path, lineage).map(boxed)
    }

    fn holder(&self) -> Option<Holder> {
        RunLock::holder(&self.path)
    }

    fn try_lock(&self, start: &RunStart) -> Result<Result<Box<dyn LockedState>, Holder>, StateError> {
        let taken = RunLock::try_take(&self.path, start)?;
        Ok(taken.map(|lock| Box::new(lock) as Box<dyn LockedState>))
    }

    fn write_probe(&self) -> Option<String> {
        write_probe(&self.path)
    }
}

impl LockedState for RunLock {
    fn open(&self) -> Result<Option<Box<dyn Store>>, StateError> {
        Ok(SqliteStore::open_to_write(self.state())?.map(boxed))
    }

    fn create(&self, lineage: &str) -> Result<Box<dyn Store>, StateError> {
        SqliteStore::create(self.state(), lineage).map(boxed)
    }

    fn write_recovery_file(&self, name: &str, text: &str) -> Result<String, StateError> {
        write_recovery_file(self.state(), name, text).map(|path| location(&path))
    }
}
