//! Sums over the rows of a state, kept in `meta`. A flipped bit may leave every page whole and a row with another text,
//! hash or owner; what its table adds up to shows that.
//!
//! A row adds a hash of all its columns, whatever its place, so a sum is kept up by what is written alone. That a row is
//! another one than was written is certain to show where one word of it differs, and as good as certain elsewhere. It is
//! no secret: a person who changes a state on purpose can add up again.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, Transaction};

use super::failure::failed;
use super::place::literal;
use super::{StateError, proof, rows};

/// What rows add up to, modulo 2^64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// Of what a comparison reads of the `target` table: each comparison proves it.
    pub(super) compared: u64,
    /// Of the tables that stay small: each command proves it.
    pub(super) small: u64,
    /// Of the rows of `proof` that owe a probe: each look for those proves it, and with it their index.
    pub(super) owed: u64,
    /// Of all that is in tables but `meta`.
    all: u64,
}

impl Sums {
    fn plus(self, other: Self) -> Self {
        Self {
            compared: self.compared.wrapping_add(other.compared),
            small: self.small.wrapping_add(other.small),
            owed: self.owed.wrapping_add(other.owed),
            all: self.all.wrapping_add(other.all),
        }
    }

    /// Of all rows that are there.
    pub(super) fn of(db: &Connection) -> rusqlite::Result<Self> {
        Self::of_tables(db, |_| true)
    }

    /// Of the rows of tables that stay small, and nothing else.
    pub(super) fn of_small(db: &Connection) -> rusqlite::Result<u64> {
        Self::of_tables(db, is_small).map(|sums| sums.small)
    }

    /// Of the rows that owe a probe, as their index finds them.
    pub(super) fn of_owed(db: &Connection) -> rusqlite::Result<u64> {
        let mut statement = db.prepare(&format!("SELECT {} FROM {}", proof::COLUMNS, proof::OWED))?;
        let (columns, mut sum) = (statement.column_count(), 0);
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            sum = u64::wrapping_add(sum, of_row("proof", columns, |column| row.get_ref(column))?.owed);
        }
        Ok(sum)
    }

    fn of_tables(db: &Connection, is_wanted: fn(&str) -> bool) -> rusqlite::Result<Self> {
        let mut sums = Self::default();
        for (table, columns) in tables(db)?.into_iter().filter(|(table, _)| is_wanted(table)) {
            let mut statement = db.prepare(&format!("SELECT {} FROM {table}", columns.join(", ")))?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                sums = sums.plus(of_row(&table, columns.len(), |column| row.get_ref(column))?);
            }
        }
        Ok(sums)
    }
}

/// Whether a table has few rows, however many targets there are.
fn is_small(table: &str) -> bool {
    !["target", "proof", "stat_cache", "seen_removal", "purged_removal"].contains(&table)
}

/// A hash in the making: each step keeps what differs different.
#[derive(Clone, Copy)]
pub(super) struct Hash(u64);

impl Hash {
    fn of_table(name: &str) -> Self {
        Self(0).bytes(0, name.as_bytes())
    }

    fn word(self, word: u64) -> Self {
        let mixed = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(mixed ^ (mixed >> 32))
    }

    fn bytes(self, kind: u64, bytes: &[u8]) -> Self {
        let words = bytes.chunks_exact(8);
        let rest = words.remainder();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let begun = self.word(kind | (bytes.len() as u64) << 3);
        let hash = words.fold(begun, |hash, word| hash.word(u64::from_le_bytes(word.try_into().unwrap_or_default())));
        if rest.is_empty() { hash } else { hash.word(u64::from_le_bytes(last)) }
    }

    fn value(self, value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => self.word(1),
            ValueRef::Integer(number) => self.word(2).word(number.cast_unsigned()),
            ValueRef::Real(number) => self.word(3).word(number.to_bits()),
            ValueRef::Text(text) => self.bytes(4, text),
            ValueRef::Blob(bytes) => self.bytes(5, bytes),
        }
    }

    /// The last bits of what was added spread over all others.
    fn end(self) -> u64 {
        self.word(6).word(7).0
    }
}

/// The hash of a text that is no row.
pub(super) fn of_text(text: &str) -> u64 {
    Hash::of_table(text).end()
}

/// How the hash of what is compared of rows of a provider and a scope begins.
pub(super) fn begin_compared(provider: &str, scope: i64) -> Hash {
    Hash::of_table("target").value(ValueRef::Text(provider.as_bytes())).value(ValueRef::Integer(scope))
}

/// What a row without work adds to the sum of what is compared; columns as in [`rows::SETTLED_COLUMNS`].
pub(super) fn compared_settled(begun: Hash, row: &Row<'_>) -> rusqlite::Result<u64> {
    Ok(begun.value(row.get_ref(0)?).value(row.get_ref(1)?).value(row.get_ref(2)?).value(row.get_ref(3)?).end())
}

/// What a row adds to the sum of what is compared; columns as in [`rows::COLUMNS`].
pub(super) fn compared(row: &Row<'_>) -> rusqlite::Result<u64> {
    compared_of(&|column| row.get_ref(column))
}

fn compared_of<'v>(value: &impl Fn(usize) -> rusqlite::Result<ValueRef<'v>>) -> rusqlite::Result<u64> {
    let mut hash = Hash::of_table("target");
    for column in rows::SETTLED {
        hash = hash.value(value(column)?);
    }
    if value(rows::WORK.start)? != ValueRef::Null {
        for column in rows::WORK {
            hash = hash.value(value(column)?);
        }
    }
    Ok(hash.end())
}

/// What a row adds; those of `target` begin with the columns of [`rows::COLUMNS`].
fn of_row<'v>(
    table: &str,
    columns: usize,
    value: impl Fn(usize) -> rusqlite::Result<ValueRef<'v>>,
) -> rusqlite::Result<Sums> {
    let mut all = Hash::of_table(table);
    for column in 0..columns {
        all = all.value(value(column)?);
    }
    let compared = if table == "target" { compared_of(&value)? } else { 0 };
    let is_owed = table == "proof" && value(proof::DUE)? != ValueRef::Null;
    let all = all.end();
    let of = |counts: bool| if counts { all } else { 0 };
    Ok(Sums { compared, small: of(is_small(table)), owed: of(is_owed), all })
}

/// Tables that are added up, each with its columns; those of `target` as [`rows::COLUMNS`] begins.
fn tables(db: &Connection) -> rusqlite::Result<Vec<(String, Vec<String>)>> {
    // The engine's own tables change no answer.
    let sql = "SELECT m.name, c.name FROM main.sqlite_schema m, pragma_table_info(m.name, 'main') c
         WHERE m.type = 'table' AND m.name <> 'meta' AND m.name NOT GLOB 'sqlite_*' ORDER BY m.name, c.cid";
    let mut statement = db.prepare(sql)?;
    let found = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut tables: Vec<(String, Vec<String>)> = Vec::new();
    for found in found {
        let (table, column): (String, String) = found?;
        match tables.last_mut() {
            Some((last, columns)) if *last == table => columns.push(column),
            _ => tables.push((table, vec![column])),
        }
    }
    let known: Vec<&str> = rows::COLUMNS.split(", ").collect();
    for (_, columns) in tables.iter_mut().filter(|(table, _)| table == "target") {
        columns.retain(|column| !known.contains(&column.as_str()));
        columns.splice(0..0, known.iter().map(|&column| column.to_owned()));
    }
    Ok(tables)
}

/// Makes the sums of the state at `path` those of the rows that it has, for tests that change rows by hand.
///
/// # Errors
/// A file that is no state of the newest format, or cannot be written.
#[doc(hidden)]
pub fn add_up(path: &Path) -> Result<(), StateError> {
    let added_up = Connection::open(literal(path)).and_then(|db| write(&db, Sums::of(&db)?));
    added_up.map_err(|error| failed(path, "written", &error))
}

/// `meta`, with a sum of itself.
pub(super) struct Meta {
    lineage: String,
    serial: i64,
    tool: String,
    pub(super) sums: Sums,
}

impl Meta {
    /// As it was written; `None` if it is not.
    pub(super) fn read(db: &Connection) -> rusqlite::Result<Option<Self>> {
        let sql = "SELECT lineage, serial, tool, sum_compared, sum_small, sum_owed, sum_all, sum_meta FROM meta";
        let (meta, own): (Self, i64) = db.prepare_cached(sql)?.query_row([], |row| {
            let sum = |column| row.get(column).map(i64::cast_unsigned);
            let sums = Sums { compared: sum(3)?, small: sum(4)?, owed: sum(5)?, all: sum(6)? };
            Ok((Self { lineage: row.get(0)?, serial: row.get(1)?, tool: row.get(2)?, sums }, row.get(7)?))
        })?;
        Ok((meta.own() == own.cast_unsigned()).then_some(meta))
    }

    fn own(&self) -> u64 {
        let hash = Hash::of_table("meta").bytes(4, self.lineage.as_bytes()).word(self.serial.cast_unsigned());
        let Sums { compared, small, owed, all } = self.sums;
        hash.bytes(4, self.tool.as_bytes()).word(compared).word(small).word(owed).word(all).end()
    }
}

/// Writes the sums, and that of `meta` as it is now.
pub(super) fn write(db: &Connection, sums: Sums) -> rusqlite::Result<()> {
    let read = |row: &Row<'_>| Ok(Meta { lineage: row.get(0)?, serial: row.get(1)?, tool: row.get(2)?, sums });
    let meta = db.prepare_cached("SELECT lineage, serial, tool FROM meta")?.query_row([], read)?;
    let values = [sums.compared, sums.small, sums.owed, sums.all, meta.own()].map(u64::cast_signed);
    let sql = "UPDATE meta SET sum_compared = ?1, sum_small = ?2, sum_owed = ?3, sum_all = ?4, sum_meta = ?5";
    db.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

/// What a connection has written since its transaction began, row by row.
#[derive(Clone, Default)]
pub(super) struct WriteListener(Arc<[AtomicU64; 4]>);

impl WriteListener {
    /// Listens to all that this connection writes from now on.
    pub(super) fn listen(db: &Connection) -> rusqlite::Result<Self> {
        let written = Self::default();
        let listener = written.clone();
        let hear = move |context: &Context<'_>| listener.hear(context);
        db.create_scalar_function("written", -1, FunctionFlags::SQLITE_UTF8, hear)?;
        // Triggers of this connection alone, in memory; they hear also of rows that others take the place of.
        db.pragma_update(None, "temp_store", "MEMORY")?;
        db.pragma_update(None, "recursive_triggers", true)?;
        for (table, columns) in tables(db)? {
            let values =
                |of: &str| columns.iter().map(|column| format!("{of}.{column}")).collect::<Vec<_>>().join(", ");
            let gone = format!("SELECT written('{table}', -1, {});", values("old"));
            let come = format!("SELECT written('{table}', 1, {});", values("new"));
            for (event, calls) in [("INSERT", come.clone()), ("DELETE", gone.clone()), ("UPDATE", gone + &come)] {
                db.execute_batch(&format!(
                    "CREATE TEMP TRIGGER written_{table}_{event} AFTER {event} ON main.{table} BEGIN {calls} END"
                ))?;
            }
        }
        Ok(written)
    }

    fn hear(&self, context: &Context<'_>) -> rusqlite::Result<i64> {
        let table = context.get_raw(0).as_str()?;
        let sums = of_row(table, context.len() - 2, |column| Ok(context.get_raw(column + 2)))?;
        for (kept, sum) in self.0.iter().zip([sums.compared, sums.small, sums.owed, sums.all]) {
            if context.get_raw(1) == ValueRef::Integer(1) {
                kept.fetch_add(sum, Ordering::Relaxed);
            } else {
                kept.fetch_sub(sum, Ordering::Relaxed);
            }
        }
        Ok(0)
    }

    /// A transaction begins; what one before wrote, it has added or taken back.
    pub(super) fn begin(&self) {
        self.0.iter().for_each(|sum| sum.store(0, Ordering::Relaxed));
    }

    /// Adds what was written to what was there.
    pub(super) fn add_to(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let sql = "SELECT sum_compared, sum_small, sum_owed, sum_all FROM meta";
        let before = transaction.prepare_cached(sql)?.query_row([], |row| {
            let sum = |column| row.get(column).map(i64::cast_unsigned);
            Ok(Sums { compared: sum(0)?, small: sum(1)?, owed: sum(2)?, all: sum(3)? })
        })?;
        let [compared, small, owed, all] = [0, 1, 2, 3].map(|index| self.0[index].load(Ordering::Relaxed));
        write(transaction, before.plus(Sums { compared, small, owed, all }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows that differ in anything have other hashes, also where their texts in a row are the same.
    #[test]
    fn what_differs_adds_something_else() {
        let text = |text: &'static str| ValueRef::Text(text.as_bytes());
        let rows: [&[ValueRef<'_>]; 9] = [
            &[text("ab"), text("c")],
            &[text("a"), text("bc")],
            &[text("abc"), text("")],
            &[text("abc")],
            &[text("abc"), ValueRef::Null],
            &[text("abc"), ValueRef::Integer(0)],
            &[text("abc"), ValueRef::Blob(b"")],
            &[text("abc\0")],
            &[text("abcdefgh"), text("")],
        ];
        let hashes = rows.map(|row| row.iter().fold(Hash::of_table("t"), |hash, value| hash.value(*value)).end());
        let different: std::collections::HashSet<u64> = hashes.into_iter().collect();
        assert_eq!(different.len(), rows.len());
    }

    /// C6: whatever is written through a connection that is listened to, its rows add up; what is taken back adds nothing.
    #[test]
    fn what_is_written_is_what_adds_up() {
        let mut db = Connection::open_in_memory().unwrap();
        super::super::connect::create_tables(&mut db, "lineage").unwrap();
        let written = WriteListener::listen(&db).unwrap();
        for (sql, stays) in [
            (
                "INSERT INTO input_file VALUES ('a', 'd', 1, 1), ('b', 'd', 1, 1); INSERT INTO account VALUES ('p', 'f')",
                true,
            ),
            ("INSERT INTO account VALUES ('q', 'f')", false),
            ("INSERT OR REPLACE INTO input_file VALUES ('a', 'e', 2, 0)", true),
            (
                "INSERT INTO target (provider, scope, target, owners) VALUES ('p', 0, 'a', '[]'), ('p', 0, 'b', '[]')",
                true,
            ),
            (
                "UPDATE target SET work_kind = 'new', call = 3 WHERE target = 'a'; UPDATE target SET hash = 'rev:1'",
                true,
            ),
            ("INSERT INTO account VALUES ('p', 'g') ON CONFLICT (provider) DO UPDATE SET fingerprint = 'g'", true),
            ("DELETE FROM target WHERE target = 'a'; DELETE FROM input_file", true),
            (
                "INSERT INTO proof (provider, scope, target, verdict, due, repurges)
                 VALUES ('p', 0, 'a', 'due', 5, 0), ('p', 0, 'b', 'due', 6, 0), ('p', 0, 'c', 'due', NULL, 0)",
                true,
            ),
            ("UPDATE proof SET due = NULL WHERE target = 'a'; UPDATE proof SET due = 7 WHERE target = 'c'", true),
            ("DELETE FROM proof WHERE target = 'b'", true),
        ] {
            let transaction = db.transaction().unwrap();
            written.begin();
            transaction.execute_batch(sql).unwrap();
            written.add_to(&transaction).unwrap();
            if stays {
                transaction.commit().unwrap();
            } else {
                transaction.rollback().unwrap();
            }
            let sums = Meta::read(&db).unwrap().unwrap().sums;
            assert_eq!(sums, Sums::of(&db).unwrap(), "{sql}");
            assert_eq!(sums.owed, Sums::of_owed(&db).unwrap(), "{sql}");
        }
    }
}
