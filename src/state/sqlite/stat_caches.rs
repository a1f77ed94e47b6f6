//! What spares reading the unchanged files of directories, as bytes. Does not know what they say.

use std::path::Path;

use rusqlite::{OptionalExtension, Transaction, params};

use super::{SqliteStore, StatCacheRow, StateError};

impl SqliteStore {
    /// Opens the state only for its stat caches: unlike [`SqliteStore::open`] in no time, and without a word about what
    /// is wrong with it, since the run opens it for good later.
    pub fn open_caches(path: &Path) -> Option<Self> {
        Self::connected(path).ok().flatten()
    }
}

pub(super) fn read(store: &SqliteStore, directory: &str, rules: &[u8; 32]) -> Option<Vec<u8>> {
    let query = "SELECT content FROM stat_cache WHERE directory = ?1 AND rules = ?2";
    let found = store.read(|db| db.query_row(query, params![directory, rules], |row| row.get(0)).optional());
    found.ok().flatten()
}

pub(super) fn directories(store: &SqliteStore) -> Result<Vec<String>, StateError> {
    store.read(|db| {
        let mut statement = db.prepare("SELECT DISTINCT directory FROM stat_cache")?;
        let list = statement.query_map([], |row| row.get(0))?;
        list.collect()
    })
}

pub(super) fn keep(transaction: &Transaction<'_>, caches: &[StatCacheRow], gone: &[String]) -> rusqlite::Result<()> {
    for directory in gone {
        transaction.execute("DELETE FROM stat_cache WHERE directory = ?1", [directory])?;
    }
    for StatCacheRow { directory, rules, content } in caches {
        transaction.execute(
            "INSERT INTO stat_cache VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET content = ?3",
            params![directory, rules, content],
        )?;
    }
    Ok(())
}
