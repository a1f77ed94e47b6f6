//! Removed targets that were purged lately: nothing else is left of them.

use rusqlite::{Connection, Row, Transaction, params};

use super::rows::scope_number;
use crate::core::recorded::PurgedRemoval;
use crate::core::target::Target;
use crate::core::time::Timestamp;

/// How long they are kept, in milliseconds.
const KEPT_MS: i64 = 30 * 86_400_000;

/// Those with this text, in order of provider.
pub(super) fn of(db: &Connection, text: &str) -> rusqlite::Result<Vec<PurgedRemoval>> {
    let mut statement =
        db.prepare_cached("SELECT provider, at, run FROM purged_removal WHERE target = ?1 ORDER BY provider, scope")?;
    let read = |row: &Row<'_>| {
        Ok(PurgedRemoval { provider: row.get(0)?, at: Timestamp::from_unix_ms(row.get(1)?), run: row.get(2)? })
    };
    statement.query_map([text], read)?.collect()
}

/// Texts of all of them, in order.
pub(super) fn targets(db: &Connection) -> rusqlite::Result<Vec<String>> {
    db.prepare_cached("SELECT DISTINCT target FROM purged_removal ORDER BY target")?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// Notes that one was purged.
pub(super) fn note(
    transaction: &Transaction<'_>,
    (provider, target): (&str, &Target),
    (at, run): (Timestamp, i64),
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO purged_removal (provider, scope, target, at, run) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![provider, scope_number(target.scope), target.text, at.unix_ms(), run])
        .map(drop)
}

/// Forgets those that are old.
pub(super) fn tidy(transaction: &Transaction<'_>, now: Timestamp) -> rusqlite::Result<()> {
    let sql = "DELETE FROM purged_removal WHERE at < ?1";
    transaction.prepare_cached(sql)?.execute([now.plus_ms(-KEPT_MS).unix_ms()]).map(drop)
}
