//! Rows of the `target` table, read one by one in their order and held by nobody.

use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

use super::failure::failed;
use super::rows::{self, OwnersMemo, ReadError, scope_number};
use super::sums;
use super::{SqliteStore, StateError, Store, location};
use crate::core::model::Model;
use crate::core::recorded::RecordedRow;
use crate::core::target::Scope;

impl SqliteStore {
    /// Shows `each` the rows of the `target` table; `which` says which ones and in which order.
    pub(super) fn each_row(
        &self,
        which: &str,
        values: impl rusqlite::Params,
        each: impl FnMut(&Row<'_>) -> Result<(), ReadError>,
    ) -> Result<(), StateError> {
        self.each_row_of(rows::COLUMNS, which, values, each)
    }

    fn each_row_of(
        &self,
        columns: &str,
        which: &str,
        values: impl rusqlite::Params,
        mut each: impl FnMut(&Row<'_>) -> Result<(), ReadError>,
    ) -> Result<(), StateError> {
        self.check_pages()?;
        let sql = format!("SELECT {columns} FROM target {which}");
        self.visit_rows(|| {
            let mut statement = self.connection.prepare_cached(&sql)?;
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
                Err(StateError::Damaged { location: location(&self.path), cause: value.to_string() })
            }
        }
    }

    /// Shows `visit` all rows in order of (provider, scope, target) until it answers `false`. Within [`Self::in_one_look`].
    pub(super) fn scan_while(&self, visit: &mut dyn FnMut(RecordedRow<'_>) -> bool) -> Result<(), StateError> {
        let expected = self.compared_sum()?;
        let (mut sum, mut wanted) = (0, true);
        if self.has_work()? {
            let mut owners = OwnersMemo::default();
            self.each_row("ORDER BY provider, scope, target", [], |row| {
                sum = u64::wrapping_add(sum, sums::compared(row)?);
                rows::visit(row, &mut owners, &mut |row| wanted = visit(row))?;
                if wanted { Ok(()) } else { Err(ReadError::Enough) }
            })?;
        } else {
            self.scan_settled_while(&mut sum, &mut |row| {
                wanted = visit(row);
                wanted
            })?;
        }
        if wanted { self.prove(sum, expected) } else { Ok(()) }
    }

    /// As [`Self::scan_while`], where nothing has work: the engine takes its time for every column that is asked for.
    fn scan_settled_while(
        &self,
        sum: &mut u64,
        visit: &mut dyn FnMut(RecordedRow<'_>) -> bool,
    ) -> Result<(), StateError> {
        let (mut owners, mut wanted) = (OwnersMemo::default(), true);
        let mut group = self.next_group(None)?;
        while let Some((provider, scope)) = group {
            let which = "WHERE provider = ?1 AND scope = ?2 ORDER BY target";
            let of_group = params![provider, scope_number(scope)];
            let begun = sums::begin_compared(&provider, scope_number(scope));
            self.each_row_of(rows::SETTLED_COLUMNS, which, of_group, |row| {
                *sum = sum.wrapping_add(sums::compared_settled(begun, row)?);
                rows::visit_settled((&provider, scope), row, &mut owners, &mut |row| wanted = visit(row))?;
                if wanted { Ok(()) } else { Err(ReadError::Enough) }
            })?;
            group = if wanted { self.next_group(Some((&provider, scope)))? } else { None };
        }
        Ok(())
    }

    /// The first provider and scope of rows, or the next ones. Each is found without a look at the rows between.
    fn next_group(&self, before: Option<(&str, Scope)>) -> Result<Option<(String, Scope)>, StateError> {
        let first = |db: &Connection, which: &str, values: &[&dyn ToSql]| {
            let next = format!("SELECT provider, scope FROM target {which} ORDER BY provider, scope LIMIT 1");
            let group = |row: &Row<'_>| Ok((row.get(0)?, rows::read_scope(row.get(1)?)?));
            db.prepare_cached(&next)?.query_row(values, group).optional()
        };
        self.read(|db| {
            let Some((provider, scope)) = before else { return first(db, "", &[]) };
            let of_provider = first(db, "WHERE provider = ?1 AND scope > ?2", &[&provider, &scope_number(scope)])?;
            if of_provider.is_some() { Ok(of_provider) } else { first(db, "WHERE provider > ?1", &[&provider]) }
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
            let mut statement = transaction.prepare_cached(&sql)?;
            let keys = model.provider_keys();
            for index in 0..model.entries.len() {
                let provider = &keys[model.entries.provider(index)];
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::Priority;
    use crate::core::recorded::{ChangeKind, Progress, Recorded, Standing, Work};
    use crate::core::target::{ContentHash, Target};
    use crate::core::time::Timestamp;

    fn recorded(provider: &str, scope: Scope, text: &str) -> Recorded {
        Recorded {
            provider: provider.to_owned(),
            target: Target { scope, text: text.to_owned() },
            owners: vec!["site".to_owned()],
            hash: Some(ContentHash::from_canonical("rev:1")),
            left_alone: scope == Scope::Directory,
            recorded_at: None,
            task_id: None,
            work: None,
        }
    }

    /// Settled rows are read in another way than those with work: what is seen of them is the same.
    #[test]
    fn all_rows_are_seen_in_order_with_work_and_without() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::create(&folder.path().join("state.db"), "lineage").unwrap();
        let mut rows = vec![
            recorded("b", Scope::AssetId, "a"),
            recorded("a", Scope::Url, "https://a.cn/z"),
            recorded("a", Scope::Directory, "https://a.cn/"),
            recorded("b", Scope::Url, "https://a.cn/y"),
            recorded("a", Scope::Url, "https://a.cn/y"),
        ];
        store.import(&rows).unwrap();
        for with_work in [false, true] {
            if with_work {
                rows[0].work = Some(Work {
                    desired: None,
                    kind: ChangeKind::Removed,
                    priority: Priority::Normal,
                    since: Timestamp::from_unix_ms(5),
                    standing: Standing::Pending { reason: None },
                    progress: Progress::Seen,
                    in_doubt: false,
                    may_have_been_purged: false,
                    accepted_at: Vec::new(),
                });
                store.import(&rows[..1]).unwrap();
            }
            let mut expected: Vec<Recorded> = rows.clone();
            expected.sort_by(|a, b| (&a.provider, &a.target).cmp(&(&b.provider, &b.target)));
            let mut seen = Vec::new();
            store.scan(&mut |row| seen.push(format!("{row:?}"))).unwrap();
            assert_eq!(seen, expected.iter().map(|row| format!("{:?}", row.row())).collect::<Vec<_>>());
        }
    }

    #[test]
    fn no_row_is_shown_after_the_last_one_that_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::create(&folder.path().join("state.db"), "lineage").unwrap();
        store.import(&["a", "b", "c"].map(|provider| recorded(provider, Scope::Url, "https://a.cn/x"))).unwrap();
        let mut seen = Vec::new();
        let mut visit = |row: RecordedRow<'_>| {
            seen.push(row.provider.to_owned());
            row.provider != "b"
        };
        store.scan_while(&mut visit).unwrap();
        assert_eq!(seen, ["a", "b"]);
    }
}
