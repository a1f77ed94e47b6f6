//! The statements of a writing transaction.

use std::collections::HashSet;

use rusqlite::{OptionalExtension, Transaction, params};

use super::rows::{self, StandingColumns, scope_number};
use super::{Commit, caches, guards, inputs, proof, purged, quota, refusals};
use crate::core::account;
use crate::core::changes::Change;
use crate::core::event::{CallId, ItemOutcome, PurgeId, Record};
use crate::core::model::Model;
use crate::core::plan::QuotaKey;
use crate::core::recorded::{KnownManifest, Progress, Recorded, Standing, Work};
use crate::core::target::Target;
use crate::core::time::Timestamp;

/// Marks a change as pending; what is recorded of its target stays. Unless it `is_handed_over` its owners stay as well: what moved
/// between manifests holds them together for as long as guards refuse one of them.
pub(super) fn mark_change(
    transaction: &Transaction<'_>,
    model: &Model,
    change: Change,
    (is_admitted, is_handed_over): (bool, bool),
) -> rusqlite::Result<()> {
    let provider = &model.provider_key(change.provider);
    let work = Work {
        desired: change.desired,
        kind: change.kind,
        priority: change.priority,
        since: change.since,
        standing: change.standing,
        progress: change.progress.max(if is_admitted { Progress::Admitted } else { Progress::Seen }),
        in_doubt: change.in_doubt,
        may_have_been_purged: false,
        accepted_at: change.accepted_at,
    };
    rows::write_work(transaction, provider, &change.target, (&change.owners, is_handed_over), &work)
}

/// Notes targets whose provider no manifest configures: what any of its caches accepted may be stale by the time it is back.
pub(super) fn leave_alone(transaction: &Transaction<'_>, targets: &[(String, Target)]) -> rusqlite::Result<()> {
    for (provider, target) in targets {
        let sql = "UPDATE target SET left_alone = 1, accepted_at = iif(work_kind IS NULL, NULL, '[]')
             WHERE provider = ?1 AND scope = ?2 AND target = ?3";
        transaction.prepare_cached(sql)?.execute(params![provider, scope_number(target.scope), target.text])?;
    }
    Ok(())
}

/// Whether a change of the target is still to do.
pub(super) fn has_work(transaction: &Transaction<'_>, provider: &str, target: &Target) -> rusqlite::Result<bool> {
    transaction
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM target WHERE provider = ?1 AND scope = ?2 AND target = ?3
                 AND work_kind IS NOT NULL)",
        )?
        .query_row(params![provider, scope_number(target.scope), target.text], |row| row.get(0))
}

/// Names of manifests that a run speaks for.
pub(super) struct Speakers<'a>(HashSet<&'a str>);

impl<'a> Speakers<'a> {
    /// Those that it reads, and others besides.
    pub(super) fn new(model: &'a Model, spoken_for: &'a [KnownManifest]) -> Self {
        let read = model.manifests.iter().map(|manifest| manifest.name.as_str());
        Self(read.chain(spoken_for.iter().map(|manifest| manifest.name.as_str())).collect())
    }
}

pub(super) fn adopt_entries(
    transaction: &Transaction<'_>,
    model: &Model,
    entries: &[usize],
    (speakers, at): (&Speakers<'_>, Timestamp),
) -> rusqlite::Result<()> {
    // There may be a million: nothing is looked for or made anew for each that is the same for all.
    let mut owners_of =
        transaction.prepare_cached("SELECT owners FROM target WHERE provider = ?1 AND scope = ?2 AND target = ?3")?;
    let mut adopt = transaction.prepare_cached(&format!(
        "INSERT INTO target (provider, scope, target, owners, hash, recorded_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (provider, scope, target) DO UPDATE SET
             owners = ?4, hash = ?5, recorded_at = ?6, task_id = NULL, {}",
        rows::NO_WORK
    ))?;
    let keys = model.provider_keys();
    let at = caches::no_earlier(transaction, at)?;
    let is_any_proof = proof::any(transaction)?;
    for &index in entries {
        let entry = model.entries.get(index);
        let (provider, scope) = (&keys[entry.provider], scope_number(entry.target.scope));
        let known: Option<String> =
            owners_of.query_row(params![provider, scope, entry.target.text], |row| row.get(0)).optional()?;
        // Manifests that list it according to the state and that this run does not speak for.
        let others = known.and_then(|text| rows::list(&text)).unwrap_or_default();
        let others = others.into_iter().filter(|owner| !speakers.0.contains(owner.as_str()));
        let own = entry.manifests.iter().map(|&owner| model.manifests[owner].name.clone());
        let mut owners: Vec<String> = own.chain(others).collect();
        owners.sort_unstable();
        owners.dedup();
        let (owners, hash) = (rows::json_list(&owners), entry.hash.as_str());
        adopt.execute(params![provider, scope, entry.target.text, owners, hash, at.unix_ms()])?;
        if is_any_proof {
            proof::forget(transaction, provider, &entry.target)?;
        }
    }
    Ok(())
}

/// Notes what is known of manifests from now on.
pub(super) fn note_manifests(
    transaction: &Transaction<'_>,
    model: &Model,
    noted: &[KnownManifest],
) -> rusqlite::Result<()> {
    note_new_manifests(transaction, model)?;
    let if_known = "DO UPDATE SET path = ?2, on_removed = ?3, root = ?4, namespace = ?5, links = ?6";
    noted.iter().try_for_each(|manifest| note_manifest(transaction, manifest, if_known))
}

/// Notes manifests that no run has noted yet: one that does nothing must not say where the others are now.
pub(super) fn note_new_manifests(transaction: &Transaction<'_>, model: &Model) -> rusqlite::Result<()> {
    let mut manifests = model.manifests.iter().map(KnownManifest::of);
    manifests.try_for_each(|manifest| note_manifest(transaction, &manifest, "DO NOTHING"))
}

/// Notes what leads to manifests that are where they were.
pub(super) fn note_links(transaction: &Transaction<'_>, noted: &[KnownManifest]) -> rusqlite::Result<()> {
    let if_there = "DO UPDATE SET links = ?6 WHERE path = ?2 AND root IS ?4";
    noted.iter().try_for_each(|manifest| note_manifest(transaction, manifest, if_there))
}

fn note_manifest(transaction: &Transaction<'_>, manifest: &KnownManifest, if_known: &str) -> rusqlite::Result<()> {
    let KnownManifest { name, namespace, root, path, links, on_removed } = manifest;
    let sql = format!(
        "INSERT INTO manifest (name, path, on_removed, root, namespace, links) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (name) {if_known}"
    );
    let (on_removed, links) = (rows::on_removed_word(*on_removed), rows::json_list(links));
    transaction.prepare_cached(&sql)?.execute(params![name, path, on_removed, root, namespace, links]).map(drop)
}

/// Puts rows in place of what is known of their targets.
pub(super) fn import_rows(transaction: &Transaction<'_>, imported: &[Recorded]) -> rusqlite::Result<()> {
    for row in imported {
        rows::write(transaction, row)?;
        proof::note_import(transaction, row)?;
        note_owners(transaction, &row.owners)?;
    }
    inputs::replace(transaction, None)
}

/// Notes manifests of which nothing is known but that they own something. What their `on_removed` says is not known either until
/// a run reads them; until then they purge, since that is what a manifest does that says nothing, and to forget would lose a purge
/// without a word. A guard and the plan show it before.
fn note_owners(transaction: &Transaction<'_>, owners: &[String]) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO manifest (name, path, on_removed) VALUES (?1, ?1, 'purge') ON CONFLICT (name) DO NOTHING",
    )?;
    owners.iter().try_for_each(|owner| statement.execute([owner]).map(drop))
}

/// Drops everything known of a target.
pub(super) fn delete(transaction: &Transaction<'_>, provider: &str, target: &Target) -> rusqlite::Result<usize> {
    proof::forget(transaction, provider, target)?;
    delete_target(transaction, provider, target)
}

/// Drops what is recorded of a target and its work, but not the proof that it owes.
fn delete_target(transaction: &Transaction<'_>, provider: &str, target: &Target) -> rusqlite::Result<usize> {
    guards::forget_removal(transaction, provider, target)?;
    transaction
        .prepare_cached("DELETE FROM target WHERE provider = ?1 AND scope = ?2 AND target = ?3")?
        .execute(params![provider, scope_number(target.scope), target.text])
}

/// A call whose intent is written and whose outcome is not. Several endpoints may be asked for a target at once.
pub(super) struct PersistedCall {
    number: CallId,
    id: i64,
    /// Sorted: a directory may stand for very many.
    items: Vec<usize>,
}

/// The mark of a target for which a call is under way.
fn mark_of(open: &[PersistedCall], index: usize) -> Option<i64> {
    open.iter().find(|call| call.items.binary_search(&index).is_ok()).map(|call| call.id)
}

pub(super) fn write_record(
    transaction: &Transaction<'_>,
    run: i64,
    batch: &Commit<'_>,
    record: &Record,
    open: &mut Vec<PersistedCall>,
) -> rusqlite::Result<()> {
    match record {
        Record::Intent { call, operation, items, debit, purge } => {
            if let Some(id) = write_intent(transaction, run, batch, (*call, operation, items, purge))? {
                let mut items = items.clone();
                items.sort_unstable();
                open.push(PersistedCall { number: *call, id, items });
            }
            debit.as_ref().map_or(Ok(()), |(key, cost)| debit_quota(transaction, key, cost.cast_signed()))
        }
        Record::Outcome { call, at, items, may_have_purged, left_out, credit } => {
            open.retain(|other| other.number != *call);
            let recorded_at = caches::no_earlier(transaction, *at)?;
            for (index, outcome) in items {
                // What is recorded has no call and no doubt any more: its row is written once.
                if matches!(outcome, ItemOutcome::Recorded { .. }) {
                    proof::note_accepted(transaction, batch, *index, *at)?;
                } else {
                    let may_have_purged = *may_have_purged && !left_out.contains(index);
                    note_call_ended(transaction, batch, *index, (mark_of(open, *index), may_have_purged))?;
                }
                write_outcome(transaction, batch, *index, outcome, (recorded_at, run))?;
            }
            transaction
                .prepare_cached("DELETE FROM call WHERE run = ?1 AND number = ?2")?
                .execute(params![run, call.0.cast_signed()])?;
            credit.as_ref().map_or(Ok(()), |(key, cost)| debit_quota(transaction, key, -cost.cast_signed()))
        }
        Record::QuotaSpent { key, used } => learn_quota(transaction, key, *used),
        Record::DirectoriesRefused { provider, until } => {
            let (name, config) = (&batch.providers[*provider], &batch.grounds[*provider]);
            refusals::note(transaction, name, config, *until)
        }
        Record::Ready { items, at, validator } => {
            proof::note_ready(transaction, batch, items, (*at, validator.as_deref()))
        }
        Record::Varies { host, names } => proof::write_vary(transaction, (host, names), batch.at),
        Record::Left { items, left } => {
            // What an earlier run left in doubt stays so: nothing was sent since.
            items.iter().try_for_each(|&index| {
                let config = &batch.grounds[batch.changes.provider(index)];
                commit_standing(transaction, batch, index, &left.standing(config))
            })
        }
    }
}

pub(super) fn write_intent(
    transaction: &Transaction<'_>,
    run: i64,
    batch: &Commit<'_>,
    (call, operation, items, purge): (CallId, &str, &[usize], &PurgeId),
) -> rusqlite::Result<Option<i64>> {
    let Some(first) = items.first().copied() else { return Ok(None) };
    let provider = &batch.providers[batch.changes.provider(first)];
    transaction
        .prepare_cached(
            "INSERT INTO call (run, number, provider, operation, targets, at, content, purge)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            run,
            call.0.cast_signed(),
            provider,
            operation,
            (items.len() as u64).cast_signed(),
            batch.at.unix_ms(),
            purge.content.cast_signed(),
            purge.id
        ])?;
    let id = transaction.last_insert_rowid();
    let mut statement =
        transaction.prepare_cached("UPDATE target SET call = ?4 WHERE provider = ?1 AND scope = ?2 AND target = ?3")?;
    for &index in items {
        let target = batch.changes.target(index);
        statement.execute(params![provider, scope_number(target.scope), target.text, id])?;
    }
    Ok(Some(id))
}

/// A call for a target ended; another one may still be open.
fn note_call_ended(
    transaction: &Transaction<'_>,
    batch: &Commit<'_>,
    index: usize,
    (still_open, may_have_purged): (Option<i64>, bool),
) -> rusqlite::Result<()> {
    let target = batch.changes.target(index);
    transaction
        .prepare_cached(
            "UPDATE target SET call = ?4, may_have_been_purged = may_have_been_purged OR (?5 AND work_kind IS NOT NULL)
             WHERE provider = ?1 AND scope = ?2 AND target = ?3",
        )?
        .execute(params![
            batch.providers[batch.changes.provider(index)],
            scope_number(target.scope),
            target.text,
            still_open,
            may_have_purged
        ])
        .map(drop)
}

pub(super) fn write_outcome(
    transaction: &Transaction<'_>,
    batch: &Commit<'_>,
    index: usize,
    outcome: &ItemOutcome,
    (at, run): (Timestamp, i64),
) -> rusqlite::Result<()> {
    let provider = &batch.providers[batch.changes.provider(index)];
    let whole = batch.changes.target(index);
    let (scope, target) = (scope_number(whole.scope), &whole.text);
    match outcome {
        ItemOutcome::Recorded { task_id } => {
            let Some(desired) = batch.changes.desired(index) else {
                caches::note_removal(transaction, (provider, &whole), at)?;
                purged::note(transaction, (provider, &whole), (at, run))?;
                return delete_target(transaction, provider, &whole).map(drop);
            };
            transaction
                .prepare_cached(&format!(
                    "UPDATE target SET hash = ?4, recorded_at = ?5, task_id = ?6, {}
                     WHERE provider = ?1 AND scope = ?2 AND target = ?3",
                    rows::NO_WORK
                ))?
                .execute(params![provider, scope, target, desired.as_str(), at.unix_ms(), task_id])?;
            Ok(())
        }
        ItemOutcome::AcceptedAt(endpoint) => {
            transaction
                .prepare_cached(
                    "UPDATE target SET accepted_at = json_insert(accepted_at, '$[#]', ?4)
                     WHERE provider = ?1 AND scope = ?2 AND target = ?3 AND work_kind IS NOT NULL
                         AND NOT EXISTS (SELECT 1 FROM json_each(accepted_at) WHERE value = ?4)",
                )?
                .execute(params![provider, scope, target, endpoint])?;
            Ok(())
        }
        ItemOutcome::Rejected(reason) => {
            let config = batch.grounds[batch.changes.provider(index)].clone();
            commit_standing(transaction, batch, index, &Standing::Rejected { reason: reason.clone(), config })
        }
        ItemOutcome::Later(reason) => {
            commit_standing(transaction, batch, index, &Standing::Pending { reason: reason.clone() })
        }
    }
}

pub(super) fn commit_standing(
    transaction: &Transaction<'_>,
    batch: &Commit<'_>,
    index: usize,
    standing: &Standing,
) -> rusqlite::Result<()> {
    let target = batch.changes.target(index);
    let StandingColumns { reason, until, config, waits } = StandingColumns::of(standing);
    let failed = matches!(standing, Standing::Pending { reason: Some(_) });
    transaction
        .prepare_cached(
            "UPDATE target SET standing = ?4, reason = ?5, until = ?6, refused_config = ?7, waits = ?8,
                 progress = CASE WHEN ?9 THEN 'tried' ELSE progress END
             WHERE provider = ?1 AND scope = ?2 AND target = ?3 AND work_kind IS NOT NULL",
        )?
        .execute(params![
            batch.providers[batch.changes.provider(index)],
            scope_number(target.scope),
            target.text,
            standing.word(),
            reason,
            until,
            config,
            waits,
            failed
        ])?;
    Ok(())
}

/// The vendor's own count wins where it is higher.
pub(super) fn learn_quota(transaction: &Transaction<'_>, key: &QuotaKey, used: u64) -> rusqlite::Result<()> {
    let missing = used.saturating_sub(quota::used(transaction, key)?);
    debit_quota(transaction, key, missing.cast_signed())
}

pub(super) fn debit_quota(transaction: &Transaction<'_>, key: &QuotaKey, cost: i64) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO quota (account, operation, area, day, offset_minutes, used)
             VALUES (?1, ?2, ?3, ?4, ?5, max(?6, 0))
             ON CONFLICT (account, operation, area, day, offset_minutes) DO UPDATE SET used = max(used + ?6, 0)",
        )?
        .execute(params![key.account, key.operation, key.area, key.day, key.offset_minutes, cost])?;
    Ok(())
}

/// Notes the account that a provider uses. One that goes on in it becomes it, for all that used it, with what was spent there; but
/// not one that is `in_use` besides.
pub(super) fn note_account(
    transaction: &Transaction<'_>,
    (provider, now): &(String, String),
    in_use: &[String],
) -> rusqlite::Result<()> {
    let goes_on = |before: &String| !in_use.contains(before);
    let before: Option<String> = transaction
        .prepare_cached("SELECT fingerprint FROM account WHERE provider = ?1")?
        .query_row([provider], |row| row.get(0))
        .optional()?;
    if let Some(before) = before.filter(|before| account::takes_over(now, before) && goes_on(before)) {
        transaction.execute(
            "INSERT INTO quota (account, operation, area, day, offset_minutes, used)
             SELECT ?2, operation, area, day, offset_minutes, used FROM quota WHERE account = ?1
             ON CONFLICT (account, operation, area, day, offset_minutes) DO UPDATE SET used = used + excluded.used",
            params![before, now],
        )?;
        transaction.execute("DELETE FROM quota WHERE account = ?1", [&before])?;
        transaction.execute("UPDATE account SET fingerprint = ?2 WHERE fingerprint = ?1", params![before, now])?;
    }
    transaction
        .prepare_cached("INSERT INTO account VALUES (?1, ?2) ON CONFLICT (provider) DO UPDATE SET fingerprint = ?2")?
        .execute(params![provider, now])?;
    Ok(())
}
