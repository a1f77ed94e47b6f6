//! Proof of accepted purges: which probes are owed, and what was seen at edges.
//!
//! A row is about the last acceptance of its target. Whatever makes the target due again for other content takes the row along,
//! so that no probe of older content counts. A target that is stale keeps its row while it is purged again. The row of a removed
//! target outlives that of the target itself.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::rows::{self, never_written, read_scope, scope_number};
use super::{Commit, SqliteStore, StateError, inputs};
use crate::core::changes::Change;
use crate::core::model::Model;
use crate::core::proof_record::{LONGEST_SEEN, ProofRow, ProofVerdict, RunProof, SettledProof};
use crate::core::proof_terms::Headers;
use crate::core::recorded::{ChangeKind, Recorded};
use crate::core::target::{ContentHash, Target};
use crate::core::time::Timestamp;

/// The columns of the table, in its order.
pub(super) const COLUMNS: &str = "provider, scope, target, hash, ready_at, accepted_at, validator, verdict, by, probed_at, due, \
     again_at, repurges, seen, gone, owners, variants";
/// Where in [`COLUMNS`] it stands until when no probe counts; null: none is owed.
pub(super) const DUE: usize = 10;
/// Rows that owe a probe. Asked of the index on purpose: a sum proves that it has all of them.
pub(super) const OWED: &str = "proof INDEXED BY proof_due WHERE due IS NOT NULL";

/// Those of the providers in the parameter `?1`, a JSON list.
const OF_THESE: &str = "provider IN (SELECT value FROM json_each(?1))";
const OF_TARGET: &str = "provider = ?1 AND scope = ?2 AND target = ?3";

impl SqliteStore {
    /// Rows of these providers that owe a probe by then, the oldest first.
    pub(super) fn owed(
        &self,
        providers: &[String],
        (until, most): (Timestamp, usize),
    ) -> Result<Vec<ProofRow>, StateError> {
        self.check_owed()?;
        self.read(|db| {
            let owed = format!(
                "SELECT {COLUMNS} FROM {OWED} AND due <= ?2 AND {OF_THESE}
                 ORDER BY due, provider, scope, target LIMIT ?3"
            );
            let values = params![rows::json_list(providers), until.unix_ms(), i64::try_from(most).unwrap_or(i64::MAX)];
            db.prepare_cached(&owed)?.query_map(values, read)?.collect()
        })
    }

    /// When the next probe at one of these is owed.
    pub(super) fn next_due(&self, providers: &[String]) -> Result<Option<Timestamp>, StateError> {
        self.check_owed()?;
        self.read(|db| {
            let first = format!("SELECT due FROM {OWED} AND {OF_THESE} ORDER BY due LIMIT 1");
            let first =
                db.prepare_cached(&first)?.query_row([rows::json_list(providers)], |row| row.get(0)).optional()?;
            Ok(first.map(Timestamp::from_unix_ms))
        })
    }
}

/// All rows in order of (provider, target).
pub(super) fn all(db: &Connection) -> rusqlite::Result<Vec<ProofRow>> {
    let all = format!("SELECT {COLUMNS} FROM proof ORDER BY provider, scope, target");
    db.prepare_cached(&all)?.query_map([], read)?.collect()
}

/// The row of a target.
pub(super) fn of(db: &Connection, provider: &str, target: &Target) -> rusqlite::Result<Option<ProofRow>> {
    let one = format!("SELECT {COLUMNS} FROM proof WHERE {OF_TARGET}");
    db.prepare_cached(&one)?.query_row(params![provider, scope_number(target.scope), target.text], read).optional()
}

/// Numbers of rows by provider and verdict, in this order. What was seen ready and is not purged yet has no verdict.
pub(super) fn counts(db: &Connection) -> rusqlite::Result<Vec<(String, ProofVerdict, u64)>> {
    let mut statement = db.prepare_cached(
        "SELECT provider, verdict, count(*) FROM proof WHERE verdict <> 'due' OR due IS NOT NULL GROUP BY provider, verdict",
    )?;
    let read = |row: &Row<'_>| {
        let verdict = verdict_of(&row.get::<_, String>(1)?)?;
        Ok((row.get(0)?, verdict, rows::read_count(row.get(2)?)?))
    };
    let mut counts: Vec<(String, ProofVerdict, u64)> = statement.query_map([], read)?.collect::<Result<_, _>>()?;
    counts.sort_unstable();
    Ok(counts)
}

fn read(row: &Row<'_>) -> rusqlite::Result<ProofRow> {
    let time =
        |column: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_unix_ms));
    let hash = |column: usize| rows::read_hash(row.get(column)?).map_err(|()| never_written("hash"));
    Ok(ProofRow {
        provider: row.get(0)?,
        target: Target { scope: read_scope(row.get(1)?)?, text: row.get(2)? },
        hash: hash(3)?,
        gone: hash(14)?,
        owners: row.get::<_, Option<String>>(15)?.map_or(Ok(Vec::new()), |owners| rows::read_list(&owners))?,
        ready_at: time(4)?,
        accepted_at: time(5)?,
        validator: row.get(6)?,
        verdict: verdict_of(&row.get::<_, String>(7)?)?,
        by: row.get(8)?,
        probed_at: time(9)?,
        due: time(DUE)?,
        again_at: time(11)?,
        repurges: row.get(12)?,
        seen: row.get(13)?,
        variants: row.get::<_, Option<String>>(16)?.map_or(Ok(Vec::new()), |text| read_variants(&text))?,
    })
}

fn read_variants(text: &str) -> rusqlite::Result<Vec<Headers>> {
    serde_json::from_str(text).map_err(|_| never_written("variants"))
}

fn verdict_of(word: &str) -> rusqlite::Result<ProofVerdict> {
    ProofVerdict::ALL.into_iter().find(|known| known.word() == word).ok_or_else(|| never_written(word))
}

/// Writes a row in place of what is known of its target.
pub(super) fn write(transaction: &Transaction<'_>, row: &ProofRow) -> rusqlite::Result<()> {
    let time = |time: Option<Timestamp>| time.map(Timestamp::unix_ms);
    let sql = format!(
        "INSERT OR REPLACE INTO proof ({COLUMNS})
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)"
    );
    transaction.prepare_cached(&sql)?.execute(params![
        row.provider,
        scope_number(row.target.scope),
        row.target.text,
        row.hash.as_ref().map(ContentHash::as_str),
        time(row.ready_at),
        time(row.accepted_at),
        row.validator,
        row.verdict.word(),
        row.by,
        time(row.probed_at),
        time(row.due),
        time(row.again_at),
        row.repurges,
        row.seen.as_ref().filter(|seen| seen.len() <= LONGEST_SEEN),
        row.gone.as_ref().map(ContentHash::as_str),
        (!row.owners.is_empty()).then(|| rows::json_list(&row.owners)),
        (!row.variants.is_empty()).then(|| serde_json::json!(row.variants).to_string()),
    ])?;
    Ok(())
}

/// Whether there are any rows: who asks for no proof has none, and pays for none.
pub(super) fn any(transaction: &Transaction<'_>) -> rusqlite::Result<bool> {
    transaction.prepare_cached("SELECT EXISTS (SELECT 1 FROM proof)")?.query_row([], |row| row.get(0))
}

/// Nothing that was seen of a target counts any more.
pub(super) fn forget(transaction: &Transaction<'_>, provider: &str, target: &Target) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(&format!("DELETE FROM proof WHERE {OF_TARGET}"))?
        .execute(params![provider, scope_number(target.scope), target.text])
        .map(drop)
}

/// A row was imported: only what was seen of the same acceptance counts.
pub(super) fn note_import(transaction: &Transaction<'_>, row: &Recorded) -> rusqlite::Result<()> {
    let Recorded { provider, target, hash, recorded_at, work, .. } = row;
    let is_same = "?4 AND hash IS ?5 AND accepted_at IS ?6";
    transaction
        .prepare_cached(&format!("DELETE FROM proof WHERE {OF_TARGET} AND NOT ({is_same})"))?
        .execute(params![
            provider,
            scope_number(target.scope),
            target.text,
            hash.is_some() && work.as_ref().is_none_or(|work| work.kind == ChangeKind::Stale),
            hash.as_ref().map(ContentHash::as_str),
            recorded_at.map(Timestamp::unix_ms)
        ])
        .map(drop)
}

/// A change is marked: what was seen before counts no more. Of what is purged again since it is stale it stays known how often; its
/// origin is asked anew.
pub(super) fn note_change(transaction: &Transaction<'_>, provider: &str, change: &Change) -> rusqlite::Result<()> {
    let goes_on = change.kind == ChangeKind::Stale || change.desired.is_none();
    let Change { target, desired, .. } = change;
    let stays = "?4 AND verdict = 'stale' AND hash IS ?5";
    let key =
        params![provider, scope_number(target.scope), target.text, goes_on, desired.as_ref().map(ContentHash::as_str)];
    transaction.prepare_cached(&format!("DELETE FROM proof WHERE {OF_TARGET} AND NOT ({stays})"))?.execute(key)?;
    if goes_on {
        let anew = format!("UPDATE proof SET ready_at = NULL, validator = NULL, due = NULL WHERE {OF_TARGET}");
        transaction.prepare_cached(&anew)?.execute(params![provider, scope_number(target.scope), target.text])?;
    }
    Ok(())
}

/// Origins were seen to serve these changes.
pub(super) fn note_ready(
    transaction: &Transaction<'_>,
    batch: &Commit<'_>,
    items: &[usize],
    (at, validator): (Timestamp, Option<&str>),
) -> rusqlite::Result<()> {
    let mut of_other_content =
        transaction.prepare_cached(&format!("DELETE FROM proof WHERE {OF_TARGET} AND hash IS NOT ?4"))?;
    let mut note = transaction.prepare_cached(
        "INSERT INTO proof (provider, scope, target, hash, ready_at, validator, verdict, repurges)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'due', 0)
         ON CONFLICT (provider, scope, target) DO UPDATE SET ready_at = ?5, validator = ?6",
    )?;
    for &index in items {
        let provider = &batch.providers[batch.changes.provider(index)];
        let (target, desired) = (batch.changes.target(index), batch.changes.desired(index));
        let (scope, hash) = (scope_number(target.scope), desired.as_ref().map(ContentHash::as_str));
        of_other_content.execute(params![provider, scope, target.text, hash])?;
        note.execute(params![provider, scope, target.text, hash, at.unix_ms(), validator])?;
    }
    Ok(())
}

/// A purge was accepted: its probe is owed from now on, if its manifest asks for one, and none of an earlier acceptance.
pub(super) fn note_accepted(
    transaction: &Transaction<'_>,
    batch: &Commit<'_>,
    index: usize,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let (provider, target) = (&batch.providers[batch.changes.provider(index)], batch.changes.target(index));
    let Some(wait_ms) = batch.owes.get(&index) else { return forget(transaction, provider, &target) };
    let (desired, recorded) = (batch.changes.desired(index), batch.changes.recorded(index));
    let (gone, owners) = match &desired {
        Some(_) => (None, None),
        None => (recorded, Some(batch.changes.owners(index)).filter(|owners| !owners.is_empty())),
    };
    transaction
        .prepare_cached(
            "INSERT INTO proof (provider, scope, target, hash, accepted_at, verdict, due, repurges, gone, owners)
             VALUES (?1, ?2, ?3, ?4, ?5, 'due', ?6, 0, ?7, ?8)
             ON CONFLICT (provider, scope, target) DO UPDATE SET
                 hash = ?4, accepted_at = ?5, verdict = 'due', by = NULL, probed_at = NULL, due = ?6, again_at = NULL,
                 seen = NULL, variants = NULL, repurges = iif(hash IS ?4 AND verdict = 'stale', repurges, 0),
                 ready_at = iif(hash IS ?4, ready_at, NULL), validator = iif(hash IS ?4, validator, NULL),
                 gone = coalesce(?7, iif(hash IS ?4, gone, NULL)), owners = coalesce(?8, iif(hash IS ?4, owners, NULL))",
        )?
        .execute(params![
            provider,
            scope_number(target.scope),
            target.text,
            desired.as_ref().map(ContentHash::as_str),
            at.unix_ms(),
            at.plus_ms(*wait_ms).unix_ms(),
            gone.as_ref().map(ContentHash::as_str),
            owners.map(rows::json_list)
        ])
        .map(drop)
}

/// Entries that are recorded as fresh without a purge owe a probe where their manifests ask for one: an edge may hold an older answer.
pub(super) fn note_adopted(
    transaction: &Transaction<'_>,
    model: &Model,
    entries: &[usize],
    at: Timestamp,
) -> rusqlite::Result<()> {
    for &index in entries {
        let terms = model.entries.terms(index).and_then(|terms| model.proof_terms.get(terms));
        let Some(verify) = terms.and_then(|terms| terms.verify.as_ref()) else { continue };
        let entry = model.entries.get(index);
        let settle_ms = i64::try_from(verify.settle_ms).unwrap_or(i64::MAX);
        let unproven = ProofRow::unproven(model.provider_key(entry.provider), entry.target, entry.hash);
        write(transaction, &ProofRow { accepted_at: Some(at), due: Some(at.plus_ms(settle_ms)), ..unproven })?;
    }
    Ok(())
}

/// Notes what probes have shown; returns how many results were dropped.
pub(super) fn settle(transaction: &Transaction<'_>, settled: &[SettledProof], at: Timestamp) -> rusqlite::Result<u64> {
    let (mut superseded, mut is_any_due) = (0, false);
    for one in settled {
        let Some(known) = standing_row(transaction, &one.row)? else {
            superseded += 1;
            continue;
        };
        let SettledProof { verdict, by, probed_at, due, seen, repurges, variants, mark_stale, .. } = one.clone();
        let mut row = ProofRow { verdict, by, probed_at, due, repurges, seen, variants, ..known };
        if let Some(reason) = &mark_stale {
            (row.verdict, row.due, row.repurges) = (ProofVerdict::Stale, None, repurges.saturating_add(1));
            purge_again(transaction, &row, (reason, at))?;
            is_any_due = true;
        }
        if row.hash.is_none() && row.due.is_none() && mark_stale.is_none() {
            forget(transaction, &row.provider, &row.target)?;
        } else {
            write(transaction, &row)?;
        }
    }
    if is_any_due {
        inputs::replace(transaction, None)?;
    }
    Ok(superseded)
}

/// The row that a result is about, as it is now; `None`: it is about an older acceptance, or the target is no more what was probed.
fn standing_row(transaction: &Transaction<'_>, read: &ProofRow) -> rusqlite::Result<Option<ProofRow>> {
    let ProofRow { provider, target, hash, accepted_at, repurges, .. } = read;
    let known = match of(transaction, provider, target)? {
        Some(known) => known,
        None if accepted_at.is_none() && hash.is_some() => read.clone(),
        None => return Ok(None),
    };
    if (&known.hash, known.accepted_at, known.repurges) != (hash, *accepted_at, *repurges) {
        return Ok(None);
    }
    let of_target = format!("SELECT hash IS ?4 AND work_kind IS NULL FROM target WHERE {OF_TARGET}");
    let key = params![provider, scope_number(target.scope), target.text, hash.as_ref().map(ContentHash::as_str)];
    let as_recorded = transaction.prepare_cached(&of_target)?.query_row(key, |row| row.get::<_, bool>(0)).optional()?;
    if as_recorded == hash.as_ref().map(|_| true) {
        return Ok(Some(known));
    }
    // Its next acceptance owes its own probe.
    forget(transaction, provider, target)?;
    Ok(None)
}

/// Makes a target due again that an edge serves stale. What is recorded of it stays: it was accepted.
fn purge_again(transaction: &Transaction<'_>, row: &ProofRow, (reason, at): (&str, Timestamp)) -> rusqlite::Result<()> {
    let ProofRow { provider, target, owners, .. } = row;
    let (scope, since) = (scope_number(target.scope), at.unix_ms());
    if row.hash.is_some() {
        let sql = format!(
            "UPDATE target SET work_kind = 'stale', desired = hash, priority = 'normal', since = ?4, standing = 'pending',
                 reason = ?5, until = NULL, refused_config = NULL, waits = NULL, progress = 'admitted', accepted_at = '[]'
             WHERE {OF_TARGET}"
        );
        transaction.prepare_cached(&sql)?.execute(params![provider, scope, target.text, since, reason])?;
        return Ok(());
    }
    // Of its manifests only those that are still known: nobody speaks for others.
    transaction
        .prepare_cached(
            "INSERT INTO target (provider, scope, target, owners, work_kind, priority, since, standing, reason, progress,
                 accepted_at, may_have_been_purged)
             SELECT ?1, ?2, ?3, json_group_array(value), 'removed', 'normal', ?4, 'pending', ?5, 'admitted', '[]', 1
             FROM json_each(?6) WHERE value IN (SELECT name FROM manifest NOT INDEXED)",
        )?
        .execute(params![provider, scope, target.text, since, reason, rows::json_list(owners)])
        .map(drop)
}

/// Notes what a run came to at the edges, in place of what was noted of it.
pub(super) fn note_run(transaction: &Transaction<'_>, run: i64, proof: RunProof) -> rusqlite::Result<()> {
    let RunProof { verified, stale, unverified, probes, probe_bytes } = proof;
    let [verified, stale, unverified, probes, bytes] =
        [verified, stale, unverified, probes, probe_bytes].map(u64::cast_signed);
    transaction
        .prepare_cached(
            "UPDATE run SET verified = ?2, stale = ?3, unverified = ?4, probes = ?5, probe_bytes = ?6 WHERE id = ?1",
        )?
        .execute(params![run, verified, stale, unverified, probes, bytes])
        .map(drop)
}

/// Hosts and the names in `Vary` of their answers, in order.
pub(super) fn varies(db: &Connection) -> rusqlite::Result<Vec<(String, Vec<String>)>> {
    let mut statement = db.prepare_cached("SELECT host, names FROM vary ORDER BY host")?;
    statement.query_map([], |row| Ok((row.get(0)?, rows::read_list(&row.get::<_, String>(1)?)?)))?.collect()
}

/// Notes by what answers of a host vary; writes nothing if that is known.
pub(super) fn note_vary(
    store: &mut SqliteStore,
    (host, names): (&str, &[String]),
    at: Timestamp,
) -> Result<(), StateError> {
    if store.read(varies)?.iter().any(|(known, varies)| known == host && varies == names) {
        return Ok(());
    }
    store.write(|transaction| write_vary(transaction, (host, names), at))
}

/// Writes the names in `Vary` of a host's answers.
pub(super) fn write_vary(
    transaction: &Transaction<'_>,
    (host, names): (&str, &[String]),
    at: Timestamp,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT OR REPLACE INTO vary (host, names, at) VALUES (?1, ?2, ?3)")?
        .execute(params![host, rows::json_list(names), at.unix_ms()])
        .map(drop)
}
