//! States of older formats: shown as they would be in the newest one, and brought there in place by the holder of the run lock.

use std::time::Duration;

use rusqlite::{Connection, Transaction};

use super::schema::{FORMAT, MIGRATIONS};
use super::sums::{self, Sums};

/// The name and version that a state remembers as its last maker.
pub(super) const TOOL: &str = concat!("freshen ", env!("CARGO_PKG_VERSION"));

/// Brings a state of format `from` to the newest one, within the caller's transaction: all of it or nothing.
pub(super) fn migrate(transaction: &Transaction<'_>, from: i64) -> rusqlite::Result<()> {
    for (_, statements) in MIGRATIONS.iter().filter(|(format, _)| *format > from) {
        statements.iter().try_for_each(|statement| transaction.execute_batch(statement))?;
    }
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.execute("UPDATE meta SET tool = ?1", [TOOL])?;
    sums::write(transaction, Sums::of(transaction)?)
}

/// A copy in memory in the newest format, for reading only: a look changes no file.
pub(super) fn migrated_copy(source: &Connection, from: i64) -> rusqlite::Result<Connection> {
    let mut copy = copied(source)?;
    let transaction = copy.transaction()?;
    migrate(&transaction, from)?;
    transaction.commit()?;
    copy.pragma_update(None, "query_only", true)?;
    Ok(copy)
}

/// A copy in memory, as it is.
pub(super) fn copied(source: &Connection) -> rusqlite::Result<Connection> {
    let mut copy = Connection::open_in_memory()?;
    rusqlite::backup::Backup::new(source, &mut copy)?.run_to_completion(10_000, Duration::ZERO, None)?;
    Ok(copy)
}
