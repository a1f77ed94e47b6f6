//! The ledger of spent quota, as it is read and imported.

use rusqlite::{Connection, params};

use super::{QuotaUse, rows};
use crate::core::plan::QuotaKey;

/// Targets that count on the day of `key`.
pub(super) fn used(db: &Connection, key: &QuotaKey) -> rusqlite::Result<u64> {
    let sql = "SELECT day, offset_minutes, used FROM quota WHERE account = ?1 AND operation = ?2 AND area = ?3";
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(params![key.account, key.operation, key.area])?;
    let mut used: u64 = 0;
    while let Some(row) = rows.next()? {
        if key.overlaps(row.get_ref(0)?.as_str()?, row.get(1)?) {
            used = used.saturating_add(rows::read_count(row.get(2)?)?);
        }
    }
    Ok(used)
}

/// Counts at least so much of a day as spent.
pub(super) fn raise(db: &Connection, spent: &QuotaUse) -> rusqlite::Result<()> {
    let QuotaUse { account, operation, area, day, offset_minutes, used } = spent;
    let sql = "INSERT INTO quota (account, operation, area, day, offset_minutes, used) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
               ON CONFLICT (account, operation, area, day, offset_minutes) DO UPDATE SET used = max(used, excluded.used)";
    let used = i64::try_from(*used).unwrap_or(i64::MAX);
    db.prepare_cached(sql)?.execute(params![account, operation, area, day, offset_minutes, used])?;
    Ok(())
}

/// The whole ledger, newest day first.
pub(super) fn uses(db: &Connection) -> rusqlite::Result<Vec<QuotaUse>> {
    let mut statement = db.prepare_cached(
        "SELECT account, operation, area, day, offset_minutes, used FROM quota
                 ORDER BY day DESC, account, operation, area, offset_minutes",
    )?;
    let list = statement.query_map([], |row| {
        Ok(QuotaUse {
            account: row.get(0)?,
            operation: row.get(1)?,
            area: row.get(2)?,
            day: row.get(3)?,
            offset_minutes: row.get(4)?,
            used: rows::read_count(row.get(5)?)?,
        })
    })?;
    list.collect()
}
