//! What was noted without a namespace comes into one: rows get the key that their provider has there.

use rusqlite::{Connection, Transaction, params};

use super::rows::json_list;
use super::write::note_new_manifests;
use super::{SqliteStore, StateError, inputs};
use crate::core::model::Model;
use crate::core::owners::Newcomers;
use crate::core::provider_key::ProviderKey;

/// What becomes of a target that is there already, as an import brings it: what both do not agree on is due.
const CONFLICT: &str = "left_alone = left_alone OR hash IS NOT excluded.hash OR excluded.work_kind IS NOT NULL";
/// Tables whose rows, those of `target` without owners, are about a provider and what it owns.
const OF_PROVIDER: [(&str, &str); 9] = [
    ("target", "owners = '[]'"),
    ("proof", PROVEN),
    ("cache_removal", "TRUE"),
    ("seen_removal", "TRUE"),
    ("purged_removal", "TRUE"),
    ("cache_address", "TRUE"),
    ("directory_refusal", "TRUE"),
    ("account", "TRUE"),
    ("provider_quota", "TRUE"),
];
/// Proof of removals, and of targets that are there.
const PROVEN: &str = "(known.hash IS NULL OR EXISTS (SELECT 1 FROM target owned
    WHERE owned.provider = ?1 || known.provider AND owned.scope = known.scope AND owned.target = known.target))";
/// Rows that have no namespace.
const OUTSIDE: &str = "instr(provider, ':') = 0";
/// Those of a provider in the parameter `?2`, a JSON list, that is left to nobody else.
const LEFT: &str = "provider IN (SELECT value FROM json_each(?2))
    AND NOT EXISTS (SELECT 1 FROM target rest WHERE rest.provider = known.provider AND rest.owners <> '[]')";

/// Whether one of the manifests in this parameter, a JSON list, owns a row.
fn owned_by(parameter: &str) -> String {
    format!("EXISTS (SELECT 1 FROM json_each(owners) WHERE value IN (SELECT value FROM json_each({parameter})))")
}

impl SqliteStore {
    /// Brings in what the newcomers own, and notes the manifests of the run; whether there was anything.
    pub(super) fn bring_in(&mut self, model: &Model, newcomers: &Newcomers) -> Result<bool, StateError> {
        self.check_rows()?;
        let names: Vec<String> = model.providers.iter().map(|provider| provider.name.clone()).collect();
        if !self.read(|db| is_outside(db, (&newcomers.owners, &names)))? {
            return Ok(false);
        }
        self.write(|transaction| {
            enter(transaction, newcomers, &names)?;
            note_new_manifests(transaction, model)?;
            inputs::replace(transaction, None)
        })?;
        Ok(true)
    }
}

/// Whether anything of these manifests is outside, or of their providers: all that they listed may be gone.
fn is_outside(db: &Connection, (owners, providers): (&[String], &[String])) -> rusqlite::Result<bool> {
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM target WHERE {OUTSIDE} AND {})
             OR EXISTS (SELECT 1 FROM cache_address known WHERE {OUTSIDE} AND {LEFT})",
        owned_by("?1")
    );
    db.prepare_cached(&sql)?.query_row([json_list(owners), json_list(providers)], |row| row.get(0))
}

/// Gives rows of what the newcomers own the keys of the namespace, with what is known of their providers.
fn enter(transaction: &Transaction<'_>, newcomers: &Newcomers, providers: &[String]) -> rusqlite::Result<()> {
    let Newcomers { namespace, owners, others } = newcomers;
    let prefix = ProviderKey { namespace: Some(namespace), name: "" }.to_string();
    let (owners, others, names) = (json_list(owners), json_list(others), json_list(providers));
    let columns_but = |table, but| columns(transaction, table, but);
    let columns = columns_but("target", &["provider", "owners"])?;
    let (ours, theirs) = (format!("{OUTSIDE} AND {}", owned_by("?1")), owned_by("?2"));
    let list = |which: &str| {
        format!(
            "(SELECT json_group_array(value) FROM json_each(owners) WHERE value {which} (SELECT value FROM json_each(?2)))"
        )
    };
    let (without_them, them) = (list("NOT IN"), list("IN"));
    let copy = format!(
        "INSERT INTO target (provider, owners, {columns})
         SELECT ?3 || provider, {without_them}, {columns} FROM target WHERE {ours}
         ON CONFLICT DO UPDATE SET {CONFLICT}"
    );
    transaction.execute(&copy, params![owners, others, prefix])?;
    transaction.execute(&format!("DELETE FROM target WHERE {ours} AND NOT {theirs}"), params![owners, others])?;
    transaction.execute(&format!("UPDATE target SET owners = {them} WHERE {ours}"), params![owners, others])?;
    for (table, which) in OF_PROVIDER {
        let columns = columns_but(table, &["provider"])?;
        let copy = format!(
            "INSERT OR IGNORE INTO {table} (provider, {columns})
             SELECT ?1 || provider, {columns} FROM {table} known WHERE {OUTSIDE} AND {which} AND (
                 EXISTS (SELECT 1 FROM target owned WHERE owned.provider = ?1 || known.provider) OR ({LEFT}))"
        );
        transaction.execute(&copy, [&prefix, &names])?;
    }
    // What may be that of others as well stays besides.
    for (table, which) in OF_PROVIDER {
        // `LEFT` takes the second parameter, and all up to the highest one are bound: so the first one is named as well.
        let left = format!("DELETE FROM {table} AS known WHERE {OUTSIDE} AND {which} AND {LEFT} AND ?1 = ?1");
        transaction.execute(&left, [&prefix, &names])?;
    }
    // Nobody would ever make these probes, which went along.
    let targetless = format!(
        "DELETE FROM proof AS known WHERE {OUTSIDE} AND hash IS NOT NULL AND NOT EXISTS (SELECT 1 FROM target
             WHERE target.provider = known.provider AND target.scope = known.scope AND target.target = known.target)"
    );
    transaction.execute(&targetless, [])?;
    let calls = format!(
        "UPDATE call SET provider = ?1 || provider
         WHERE {OUTSIDE} AND id IN (SELECT call FROM target WHERE target.provider = ?1 || call.provider)"
    );
    transaction.execute(&calls, [&prefix]).map(drop)
}

/// The columns of a table, but for some.
fn columns(transaction: &Transaction<'_>, table: &str, but: &[&str]) -> rusqlite::Result<String> {
    let mut statement = transaction.prepare_cached("SELECT name FROM pragma_table_info(?1, 'main') ORDER BY cid")?;
    let names = statement.query_map([table], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    Ok(names.into_iter().filter(|name| !but.contains(&name.as_str())).collect::<Vec<_>>().join(", "))
}
