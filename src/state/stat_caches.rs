//! What spares reading the unchanged files of directories, as bytes. Does not know what they say.

use std::path::Path;

use rusqlite::{OptionalExtension, params};

use super::{SqliteStore, StateError};

/// The cache of one directory, read under some rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatCacheRow {
    /// Absolute path of the directory, without links.
    pub directory: String,
    /// Identifies the rules.
    pub rules: [u8; 32],
    /// The cache.
    pub content: Vec<u8>,
}

impl SqliteStore {
    /// Opens the state only for its stat caches: unlike [`SqliteStore::open`] in no time, and without a word about what
    /// is wrong with it, since whoever goes on opens it for good.
    pub fn open_caches(path: &Path) -> Option<Self> {
        Self::connected(path).ok().flatten()
    }

    /// The cache of a directory; none if there is any doubt.
    pub fn stat_cache(&self, directory: &str, rules: &[u8; 32]) -> Option<Vec<u8>> {
        let query = "SELECT content FROM stat_cache WHERE directory = ?1 AND rules = ?2";
        let found = self.read(|db| db.query_row(query, params![directory, rules], |row| row.get(0)).optional());
        found.ok().flatten()
    }

    /// Directories that have caches, each once.
    ///
    /// # Errors
    /// A state that cannot be read.
    pub fn cached_directories(&self) -> Result<Vec<String>, StateError> {
        self.read(|db| {
            let mut statement = db.prepare("SELECT DISTINCT directory FROM stat_cache")?;
            let list = statement.query_map([], |row| row.get(0))?;
            list.collect()
        })
    }

    /// Keeps caches in place of older ones, and drops those of directories that are `gone`.
    ///
    /// # Errors
    /// A state that cannot be written.
    pub fn keep_stat_caches(&mut self, caches: &[StatCacheRow], gone: &[String]) -> Result<(), StateError> {
        self.write(|transaction| {
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
        })
    }
}
