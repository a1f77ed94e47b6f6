//! Rows of the `target` table, read one by one in their order and held by nobody.

use rusqlite::params;

use super::rows::{self, OwnersMemo, ReadError, scope_number};
use super::sqlite::failed;
use super::{SqliteStore, StateError, Store};
use crate::core::model::Model;
use crate::core::recorded::RecordedRow;

impl SqliteStore {
    /// Shows `each` the rows of the `target` table; `which` says which ones and in which order.
    pub(super) fn each_row(
        &self,
        which: &str,
        values: impl rusqlite::Params,
        each: impl FnMut(&rusqlite::Row<'_>) -> Result<(), ReadError>,
    ) -> Result<(), StateError> {
        self.each_row_of(rows::COLUMNS, which, values, each)
    }

    fn each_row_of(
        &self,
        columns: &str,
        which: &str,
        values: impl rusqlite::Params,
        mut each: impl FnMut(&rusqlite::Row<'_>) -> Result<(), ReadError>,
    ) -> Result<(), StateError> {
        self.check_pages()?;
        let sql = format!("SELECT {columns} FROM target {which}");
        self.visit_rows(|| {
            let mut statement = self.connection.prepare(&sql)?;
            let mut found = statement.query(values)?;
            while let Some(row) = found.next()? {
                each(row)?;
            }
            Ok(())
        })
    }

    fn visit_rows(&self, visit: impl FnOnce() -> Result<(), ReadError>) -> Result<(), StateError> {
        match visit() {
            Ok(()) | Err(ReadError::Enough) => Ok(()),
            Err(ReadError::Sql(error)) => Err(failed(&self.path, "read", &error)),
            Err(ReadError::Value(value)) => {
                Err(StateError::Damaged { path: self.path.clone(), cause: value.to_string() })
            }
        }
    }

    /// Shows `visit` all rows in order of (provider, target) until it answers `false`.
    pub(super) fn scan_while(&self, visit: &mut dyn FnMut(RecordedRow<'_>) -> bool) -> Result<(), StateError> {
        let mut owners = OwnersMemo::default();
        // The engine takes its time for every column that is asked for.
        let columns = if self.has_work()? { rows::COLUMNS } else { rows::COLUMNS_WITHOUT_WORK };
        self.each_row_of(columns, "ORDER BY provider, scope, target", [], |row| {
            let mut wanted = true;
            rows::visit(row, &mut owners, &mut |row| wanted = visit(row))?;
            if wanted { Ok(()) } else { Err(ReadError::Enough) }
        })
    }

    /// Shows `visit` what is recorded of the model's entries, in their order.
    pub(super) fn visit_entries(
        &self,
        model: &Model,
        visit: &mut dyn FnMut(RecordedRow<'_>),
    ) -> Result<(), StateError> {
        self.check_pages()?;
        let mut owners = OwnersMemo::default();
        let sql = format!("SELECT {} FROM target WHERE provider = ?1 AND scope = ?2 AND target = ?3", rows::COLUMNS);
        self.visit_rows(|| {
            // One look at the file for all of them.
            let transaction = self.connection.unchecked_transaction()?;
            let mut statement = transaction.prepare(&sql)?;
            for index in 0..model.entries.len() {
                let provider = &model.providers[model.entries.provider(index)].name;
                let scope = scope_number(model.entries.scope(index));
                let text = model.entries.text(index).to_string();
                let mut found = statement.query(params![provider, scope, text])?;
                if let Some(row) = found.next()? {
                    rows::visit(row, &mut owners, visit)?;
                }
            }
            Ok(())
        })
    }

    /// Lets all that `read` reads be of one moment.
    pub(super) fn in_one_look<T>(&self, read: impl FnOnce() -> Result<T, StateError>) -> Result<T, StateError> {
        let transaction =
            self.connection.unchecked_transaction().map_err(|error| failed(&self.path, "read", &error))?;
        let found = read();
        drop(transaction);
        found
    }
}
