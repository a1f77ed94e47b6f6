//! States in memory, for rehearsals and simulated worlds.

use std::path::Path;

use rusqlite::Connection;

use super::connect::create_tables;
use super::failure::failed;
use super::migrate::copied;
use super::{SqliteStore, StateError};

/// What stands for the path of a state in memory.
const MEMORY: &str = ":memory:";

impl SqliteStore {
    /// A scratch state in memory: a copy of the one at `path`, or an empty one.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn scratch(path: &Path, lineage: &str) -> Result<Self, StateError> {
        if let Some(source) = Self::open(path)? {
            return source.copy();
        }
        let memory = Path::new(MEMORY);
        let connection = Connection::open_in_memory()
            .and_then(|mut connection| create_tables(&mut connection, lineage).map(|()| connection))
            .map_err(|error| failed(memory, "created", &error))?;
        Self::prepare(connection, memory)
    }

    /// A copy in memory, as it is.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn copy(&self) -> Result<Self, StateError> {
        let connection = copied(&self.connection).map_err(|error| failed(&self.path, "read", &error))?;
        Self::prepare(connection, Path::new(MEMORY))
    }
}
