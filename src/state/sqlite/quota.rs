//! The ledger of spent quota, as it is read and imported, and what providers may spend.

use rusqlite::{Connection, Transaction, params};

use super::{QuotaUse, SqliteStore, StateError, rows};
use crate::core::plan::{QuotaKey, QuotaTerms};

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

/// What each provider may spend, with its account, in order.
pub(super) fn terms(db: &Connection) -> rusqlite::Result<Vec<(QuotaTerms, String)>> {
    let mut statement = db.prepare_cached(
        "SELECT provider, operation, area, targets_per_day, days, offset_minutes, fingerprint
         FROM provider_quota JOIN account USING (provider) ORDER BY provider, operation",
    )?;
    let list = statement.query_map([], |row| {
        let terms = QuotaTerms {
            provider: row.get(0)?,
            operation: row.get(1)?,
            area: row.get(2)?,
            limit: rows::read_count(row.get(3)?)?,
            days: usize::try_from(rows::read_count(row.get(4)?)?).unwrap_or(usize::MAX),
            offset_minutes: row.get(5)?,
        };
        Ok((terms, row.get(6)?))
    })?;
    list.collect()
}

/// Notes what providers may spend, each in place of what was known of it; writes nothing if all of it is known.
pub(super) fn note_new_terms(
    store: &mut SqliteStore,
    of_providers: &[(String, Vec<QuotaTerms>)],
) -> Result<(), StateError> {
    let known = store.read(terms)?;
    let is_known = |(provider, terms): &(String, Vec<QuotaTerms>)| {
        known.iter().map(|(known, _)| known).filter(|known| known.provider == *provider).eq(terms)
    };
    if of_providers.iter().all(is_known) {
        return Ok(());
    }
    store.write(|transaction| {
        of_providers.iter().try_for_each(|(provider, terms)| note_terms(transaction, provider, terms))
    })
}

fn note_terms(transaction: &Transaction<'_>, provider: &str, terms: &[QuotaTerms]) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM provider_quota WHERE provider = ?1")?.execute([provider])?;
    for QuotaTerms { operation, area, limit, days, offset_minutes, .. } in terms {
        let days = i64::try_from(*days).unwrap_or(i64::MAX);
        transaction.prepare_cached("INSERT INTO provider_quota VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
            provider,
            operation,
            area,
            i64::try_from(*limit).unwrap_or(i64::MAX),
            days,
            offset_minutes
        ])?;
    }
    Ok(())
}
