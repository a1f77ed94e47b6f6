//! Whether a state is what was written: its pages fit together, and its rows add up to what `meta` says.

use rusqlite::Connection;

use super::failure::failed;
use super::integrity_stamp::IntegrityStamp;
use super::schema::FORMAT;
use super::sums::{Meta, Sums, WriteListener};
use super::{SqliteStore, StateError, location};
use crate::core::text::one_line;

/// Writes after which a state is checked again, with a seal as well: media forget without a trace.
const CHECKED_EVERY: i64 = 10_000;
/// What is wrong where rows do not add up.
const NOT_AS_WRITTEN: &str = "its rows are not as they were written";

/// What the `meta` of a state has of its rows; `None` in an older format, which does not add them up.
///
/// # Errors
/// [`StateError::Damaged`] if it is not as it was written.
pub(super) fn sums(connection: &Connection, path: &std::path::Path, format: i64) -> Result<Option<Sums>, StateError> {
    if format < FORMAT {
        return Ok(None);
    }
    let damaged = || StateError::Damaged {
        location: location(path),
        cause: "its `meta` row is not as it was written".to_owned(),
    };
    let meta = Meta::read(connection).map_err(|error| failed(path, "read", &error))?;
    meta.map(|meta| Some(meta.sums)).ok_or_else(damaged)
}

impl SqliteStore {
    /// Pages that do not fit together, an index that does not know what its table holds, or a row with a bit flipped would
    /// let targets vanish without a word, or purge what nobody listed. A file that nobody touched since it was sealed is
    /// not checked again for a while, but for its small tables: that costs about a second a million rows.
    pub(super) fn check_pages(&self) -> Result<(), StateError> {
        if self.file.is_none() || self.checked_at.get().is_some() {
            return Ok(());
        }
        let sealed = IntegrityStamp::checked_at(&self.path);
        if sealed.is_some_and(|serial| (serial..serial.saturating_add(CHECKED_EVERY)).contains(&self.serial)) {
            self.in_one_look(|| match self.sums()? {
                Some(sums) => self.prove(self.read(Sums::of_small)?, Some(sums.small)),
                None => Ok(()),
            })?;
            self.checked_at.set(sealed);
            return Ok(());
        }
        self.in_one_look(|| {
            let found: String = self.read(|db| db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)))?;
            if found == "ok" {
                return Ok(());
            }
            Err(self.damaged(format!("its pages do not fit together: {}", one_line(&found, 200))))
        })?;
        self.check_rows()?;
        self.checked_at.set(Some(self.serial));
        Ok(())
    }

    /// Adds up all rows once, also under a seal that holds: commands that show what no comparison reads have the time for that.
    pub(super) fn check_rows(&self) -> Result<(), StateError> {
        if self.rows_checked.get() {
            return Ok(());
        }
        self.in_one_look(|| match self.sums()? {
            Some(sums) if sums != self.read(Sums::of)? => Err(self.damaged(NOT_AS_WRITTEN.to_owned())),
            _ => Ok(()),
        })?;
        self.rows_checked.set(true);
        Ok(())
    }

    /// Proves that all rows are found that owe a probe, once. That takes as long as there are such rows: a run that has none to make
    /// looks at no other targets.
    pub(super) fn check_owed(&self) -> Result<(), StateError> {
        self.check_pages()?;
        if self.owed_checked.get() {
            return Ok(());
        }
        self.in_one_look(|| match self.sums()? {
            Some(sums) => self.prove(self.read(Sums::of_owed)?, Some(sums.owed)),
            None => Ok(()),
        })?;
        self.owed_checked.set(true);
        Ok(())
    }

    /// Leaves it to somebody else to look the pages through; `false` for an older format, which is read otherwise.
    pub(super) fn trust_pages(&self) -> bool {
        self.checked_at.set(Some(self.serial));
        self.format == FORMAT
    }

    /// What rows have to add up to; `None` where they are not added up: in memory, and in an older format.
    fn sums(&self) -> Result<Option<Sums>, StateError> {
        if self.file.is_none() { Ok(None) } else { sums(&self.connection, &self.path, self.format) }
    }

    /// What the compared columns of all rows have to add up to, if that is known. In one look with those rows.
    pub(super) fn compared_sum(&self) -> Result<Option<u64>, StateError> {
        Ok(self.sums()?.map(|sums| sums.compared))
    }

    /// # Errors
    /// [`StateError::Damaged`] if the rows that were read are not those that were written.
    pub(super) fn prove(&self, found: u64, expected: Option<u64>) -> Result<(), StateError> {
        match expected {
            Some(expected) if expected != found => Err(self.damaged(NOT_AS_WRITTEN.to_owned())),
            _ => Ok(()),
        }
    }

    /// Hears what is written from now on, in a transaction of its own; `None` where it is not added up.
    pub(super) fn listener(&self) -> Result<Option<WriteListener>, StateError> {
        if self.file.is_none() || self.format < FORMAT {
            return Ok(None);
        }
        if self.written.get().is_none() {
            let _ = self.written.set(self.read(WriteListener::listen)?);
        }
        let written = self.written.get().cloned();
        written.iter().for_each(WriteListener::begin);
        Ok(written)
    }

    fn damaged(&self, cause: String) -> StateError {
        StateError::Damaged { location: location(&self.path), cause }
    }
}
