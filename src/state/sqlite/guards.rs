//! What guards refuse, while they do: the refusals, and when removals were first seen that are not kept as work.

use std::collections::HashSet;

use rusqlite::{Connection, Row, Transaction, params};

use super::rows::{self, read_scope, scope_number};
use super::{SqliteStore, StateError};
use crate::core::diff::Difference;
use crate::core::hold::{KnownRefusal, SeenRemovals};
use crate::core::model::Model;
use crate::core::recorded::ChangeKind;
use crate::core::target::Target;
use crate::core::time::Timestamp;

/// Refusals that last, in order of what they are about.
pub(super) fn known(db: &Connection) -> rusqlite::Result<Vec<KnownRefusal>> {
    let mut statement = db
        .prepare_cached("SELECT subject, manifest, text, since, holds_back, held_with FROM refusal ORDER BY subject")?;
    let read = |row: &Row<'_>| {
        let held = |(provider, number): (String, String)| {
            number.parse().map(|number| (provider, number)).map_err(|_| rows::never_written(&number))
        };
        let holds_back = rows::read_pairs(&row.get::<_, String>(4)?)?.into_iter().map(held);
        Ok(KnownRefusal {
            subject: row.get(0)?,
            manifest: row.get(1)?,
            text: row.get(2)?,
            since: Timestamp::from_unix_ms(row.get(3)?),
            holds_back: holds_back.collect::<rusqlite::Result<_>>()?,
            held_with: rows::list(&row.get::<_, String>(5)?).unwrap_or_default(),
        })
    };
    statement.query_map([], read)?.collect()
}

/// Notes what a run was refused for, if any of it is new, and forgets what is over of manifests that it `covers`.
pub(super) fn note(store: &mut SqliteStore, covers: &[String], refused: &[KnownRefusal]) -> Result<(), StateError> {
    let before = store.read(known)?;
    let is_over = |known: &&KnownRefusal| {
        covers.contains(&known.manifest) && !refused.iter().any(|now| now.subject == known.subject)
    };
    let over: Vec<&KnownRefusal> = before.iter().filter(is_over).collect();
    let news: Vec<&KnownRefusal> = refused.iter().filter(|now| !before.contains(now)).collect();
    if over.is_empty() && news.is_empty() {
        return Ok(());
    }
    store.write(|transaction| {
        let mut forget = transaction.prepare_cached("DELETE FROM refusal WHERE subject = ?1")?;
        over.iter().try_for_each(|known| forget.execute([&known.subject]).map(drop))?;
        news.iter().try_for_each(|now| write(transaction, now))
    })
}

fn write(transaction: &Transaction<'_>, refusal: &KnownRefusal) -> rusqlite::Result<()> {
    let KnownRefusal { subject, manifest, text, since, holds_back, held_with } = refusal;
    let pairs: Vec<String> =
        holds_back.iter().flat_map(|(provider, number)| [provider.clone(), number.to_string()]).collect();
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO refusal (subject, manifest, text, since, holds_back, held_with)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![subject, manifest, text, since.unix_ms(), rows::json_list(&pairs), rows::json_list(held_with)])
        .map(drop)
}

/// Forgets refusals of a manifest that owns nothing any more.
pub(super) fn forget_manifest(transaction: &Transaction<'_>, name: &str) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM refusal WHERE manifest = ?1")?.execute([name]).map(drop)
}

/// When removals were first seen that no run was to send so far, as far as they are no work.
pub(super) fn seen_removals(db: &Connection) -> rusqlite::Result<SeenRemovals> {
    let mut statement = db.prepare_cached("SELECT provider, scope, target, since FROM seen_removal")?;
    let read = |row: &Row<'_>| {
        let target = Target { scope: read_scope(row.get(1)?)?, text: row.get(2)? };
        Ok(((row.get(0)?, target), Timestamp::from_unix_ms(row.get(3)?)))
    };
    statement.query_map([], read)?.collect()
}

/// Notes removals of this difference that are not kept as work, those at the `indexes`; what was seen before of its manifests
/// and is none of them any more was taken back, is work now, or is gone.
pub(super) fn note_removals(
    transaction: &Transaction<'_>,
    model: &Model,
    difference: &Difference,
    indexes: impl Iterator<Item = usize>,
) -> rusqlite::Result<()> {
    let before = seen_removals(transaction)?;
    let mut now = HashSet::new();
    let mut note = transaction.prepare_cached(
        "INSERT OR REPLACE INTO seen_removal (provider, scope, target, since) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for index in indexes.filter(|&index| difference.changes.kind(index) == ChangeKind::Removed) {
        let key = (model.provider_key(difference.changes.provider(index)), difference.changes.target(index));
        let since = difference.changes.since(index);
        if before.get(&key) != Some(&since) {
            note.execute(params![key.0, scope_number(key.1.scope), key.1.text, since.unix_ms()])?;
        }
        now.insert(key);
    }
    let mut owners_of =
        transaction.prepare_cached("SELECT owners FROM target WHERE provider = ?1 AND scope = ?2 AND target = ?3")?;
    for key in before.keys().filter(|key| !now.contains(key)) {
        let place = params![key.0, scope_number(key.1.scope), key.1.text];
        let mut owners = owners_of.query_map(place, |row| row.get::<_, String>(0))?;
        let owners = owners.next().transpose()?.and_then(|text| rows::list(&text)).unwrap_or_default();
        if owners.is_empty() || owners.iter().any(|owner| difference.covers(model, owner)) {
            forget_removal(transaction, &key.0, &key.1)?;
        }
    }
    Ok(())
}

/// Forgets when a removal was first seen.
pub(super) fn forget_removal(transaction: &Transaction<'_>, provider: &str, target: &Target) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM seen_removal WHERE provider = ?1 AND scope = ?2 AND target = ?3")?
        .execute(params![provider, scope_number(target.scope), target.text])
        .map(drop)
}
