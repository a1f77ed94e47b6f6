//! What the last run compared: what spares reading manifests that did not change.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::rows;
use crate::core::recorded::{InputFile, Inputs, KnownManifest};

/// What was noted, if it still holds.
pub(super) fn read(db: &Connection) -> rusqlite::Result<Option<Inputs>> {
    let sql = "SELECT digest, frame, configuration, targets, providers FROM inputs";
    let noted = db.prepare_cached(sql)?.query_row([], |row| {
        Ok(Inputs {
            digest: row.get(0)?,
            frame: row.get(1)?,
            configuration: row.get(2)?,
            targets: rows::read_count(row.get(3)?)?,
            providers: rows::read_pairs(&row.get::<_, String>(4)?)?,
            files: Vec::new(),
        })
    });
    let Some(noted) = noted.optional()? else { return Ok(None) };
    Ok(Some(Inputs { files: files(db)?, ..noted }))
}

fn files(db: &Connection) -> rusqlite::Result<Vec<InputFile>> {
    let mut statement = db.prepare_cached("SELECT path, digest, targets, is_simple FROM input_file ORDER BY path")?;
    let files = statement.query_map([], |row| {
        let targets = rows::read_count(row.get(2)?)?;
        Ok(InputFile { path: row.get(0)?, digest: row.get(1)?, targets, is_simple: row.get(3)? })
    })?;
    files.collect()
}

/// Notes what was compared; without it nothing that was noted holds any more.
pub(super) fn replace(transaction: &Transaction<'_>, inputs: Option<&Inputs>) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM inputs")?.execute([])?;
    let Some(Inputs { digest, frame, configuration, targets, providers, files }) = inputs else { return Ok(()) };
    replace_files(transaction, files)?;
    let providers: Vec<String> = providers.iter().flat_map(|(name, kind)| [name.clone(), kind.clone()]).collect();
    let providers = rows::json_list(&providers);
    transaction
        .execute(
            "INSERT INTO inputs (digest, frame, configuration, targets, providers) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![digest, frame, configuration, targets.cast_signed(), providers],
        )
        .map(drop)
}

/// Writes only what differs.
fn replace_files(transaction: &Transaction<'_>, new: &[InputFile]) -> rusqlite::Result<()> {
    let old = self::files(transaction)?;
    let path_of = |file: &InputFile| file.path.clone();
    for gone in old.iter().filter(|file| new.binary_search_by_key(&file.path, path_of).is_err()) {
        transaction.prepare_cached("DELETE FROM input_file WHERE path = ?1")?.execute([&gone.path])?;
    }
    for file in new {
        let known = old.binary_search_by_key(&file.path, path_of).ok().map(|index| &old[index]);
        if known != Some(file) {
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO input_file (path, digest, targets, is_simple) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![file.path, file.digest, file.targets.cast_signed(), file.is_simple])?;
        }
    }
    Ok(())
}

/// Manifests of earlier runs, in order of name.
pub(super) fn manifests(db: &Connection) -> rusqlite::Result<Vec<KnownManifest>> {
    // Rows are proven, and not what an index says of them.
    let sql = "SELECT name, namespace, root, path, links, on_removed FROM manifest NOT INDEXED ORDER BY name";
    let mut statement = db.prepare_cached(sql)?;
    let list = statement.query_map([], |row| {
        let on_removed = rows::read_on_removed(&row.get::<_, String>(5)?)?;
        let (name, namespace) = (row.get(0)?, row.get(1)?);
        let links = rows::read_list(&row.get::<_, String>(4)?)?;
        Ok(KnownManifest { name, namespace, root: row.get(2)?, path: row.get(3)?, links, on_removed })
    })?;
    list.collect()
}
