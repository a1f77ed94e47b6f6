//! Which providers take URLs and refuse directories, so that they are not asked for them in vain.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::core::time::Timestamp;

/// The grounds on which a provider refused directories, and when it is asked again.
pub(super) fn of(db: &Connection, provider: &str) -> rusqlite::Result<Option<(String, Timestamp)>> {
    let sql = "SELECT config, until FROM directory_refusal WHERE provider = ?1";
    let read = |row: &Row<'_>| Ok((row.get(0)?, Timestamp::from_unix_ms(row.get(1)?)));
    db.prepare_cached(sql)?.query_row([provider], read).optional()
}

/// Notes that a provider refused directories.
pub(super) fn note(
    transaction: &Transaction<'_>,
    provider: &str,
    config: &str,
    until: Timestamp,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT OR REPLACE INTO directory_refusal (provider, config, until) VALUES (?1, ?2, ?3)")?
        .execute(params![provider, config, until.unix_ms()])
        .map(drop)
}
