//! The last runs, and what is forgotten as they end.

use rusqlite::{Connection, Row, Transaction, params};

use super::{Counts, RefusedRun, RunRow, RunStart, purged, rows};
use crate::core::proof_record::RunProof;
use crate::core::time::Timestamp;

/// Newest runs that are kept: a program that stays up makes many.
const RUNS_KEPT: i64 = 1_000;
/// The exit code of a run that sent nothing, since guards refused it.
const REFUSED: i64 = 5;
/// Newest days of the quota ledger that are kept. They are counted, not measured by a clock that may be wrong.
const DAYS_KEPT: i64 = 100;

/// The last `most` runs, newest first.
pub(super) fn last(db: &Connection, most: usize) -> rusqlite::Result<Vec<RunRow>> {
    let mut statement = db.prepare_cached(
        "SELECT id, started_at, finished_at, exit, calls, recorded, waiting, pending, deferred, rejected, refused, times,
             verified, stale, unverified, probes, probe_bytes
         FROM run ORDER BY id DESC LIMIT ?1",
    )?;
    let list = statement.query_map([i64::try_from(most).unwrap_or(i64::MAX)], read)?;
    list.collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    let number = |index: usize| row.get(index).and_then(rows::read_count);
    Ok(RunRow {
        id: row.get(0)?,
        started_at: Timestamp::from_unix_ms(row.get(1)?),
        finished_at: row.get::<_, Option<i64>>(2)?.map(Timestamp::from_unix_ms),
        exit: row.get(3)?,
        calls: number(4)?,
        counts: Counts {
            recorded: number(5)?,
            waiting: number(6)?,
            pending: number(7)?,
            deferred: number(8)?,
            rejected: number(9)?,
        },
        refused: row.get(10)?,
        times: number(11)?,
        proof: RunProof {
            verified: number(12)?,
            stale: number(13)?,
            unverified: number(14)?,
            probes: number(15)?,
            probe_bytes: number(16)?,
        },
    })
}

/// Begins a run; its number.
pub(super) fn begin(transaction: &Transaction<'_>, start: &RunStart) -> rusqlite::Result<i64> {
    transaction.prepare_cached("INSERT INTO run (started_at, host, pid) VALUES (?1, ?2, ?3)")?.execute(params![
        start.at.unix_ms(),
        start.host,
        start.pid
    ])?;
    Ok(transaction.last_insert_rowid())
}

fn forget_old(transaction: &Transaction<'_>, newest: i64) -> rusqlite::Result<()> {
    let old = newest.saturating_sub(RUNS_KEPT);
    transaction.prepare_cached("DELETE FROM run WHERE id <= ?1")?.execute([old]).map(drop)
}

/// Lists a run that guards refused.
pub(super) fn note_refused(transaction: &Transaction<'_>, refused: &RefusedRun<'_>) -> rusqlite::Result<()> {
    let RefusedRun { run, start, at, refused, counts } = refused;
    if let Some(run) = run {
        let sql = "UPDATE run SET refused = ?2 WHERE id = ?1";
        return transaction.prepare_cached(sql)?.execute(params![run, refused]).map(drop);
    }
    let [recorded, waiting, pending, deferred, rejected] = counts.numbers().map(u64::cast_signed);
    let again =
        "UPDATE run SET finished_at = ?1, times = times + 1, recorded = ?3, waiting = ?4, pending = ?5, deferred = ?6,
         rejected = ?7 WHERE id = (SELECT max(id) FROM run) AND refused = ?2 AND calls = 0 AND exit = ?8 AND finished_at IS NOT NULL";
    let again = transaction.prepare_cached(again)?.execute(params![
        at.unix_ms(),
        refused,
        recorded,
        waiting,
        pending,
        deferred,
        rejected,
        REFUSED
    ])?;
    if again > 0 {
        return Ok(());
    }
    let run = begin(transaction, start)?;
    transaction
        .prepare_cached(
            "UPDATE run SET finished_at = ?2, exit = ?3, refused = ?4, recorded = ?5, waiting = ?6, pending = ?7,
             deferred = ?8, rejected = ?9 WHERE id = ?1",
        )?
        .execute(params![run, at.unix_ms(), REFUSED, refused, recorded, waiting, pending, deferred, rejected])?;
    forget_old(transaction, run)
}

/// Ends a run, and forgets what is old.
pub(super) fn finish(
    transaction: &Transaction<'_>,
    run: i64,
    (at, exit, calls, counts): (Timestamp, i64, u64, Counts),
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "UPDATE run SET finished_at = ?2, exit = ?3, calls = ?4, recorded = ?5, waiting = ?6, pending = ?7,
             deferred = ?8, rejected = ?9 WHERE id = ?1",
        )?
        .execute(params![
            run,
            at.unix_ms(),
            exit,
            calls.cast_signed(),
            counts.recorded.cast_signed(),
            counts.waiting.cast_signed(),
            counts.pending.cast_signed(),
            counts.deferred.cast_signed(),
            counts.rejected.cast_signed()
        ])?;
    forget_old(transaction, run)?;
    purged::tidy(transaction, at)?;
    let days = "SELECT DISTINCT day FROM quota ORDER BY day DESC LIMIT ?1";
    let old = format!("DELETE FROM quota WHERE day NOT IN ({days})");
    transaction.prepare_cached(&old)?.execute([DAYS_KEPT])?;
    // Calls of stopped runs are of interest only while a target remembers them.
    let any = "SELECT EXISTS (SELECT 1 FROM call)";
    if transaction.prepare_cached(any)?.query_row([], |row| row.get(0))? {
        let settled = "DELETE FROM call WHERE id NOT IN (SELECT call FROM target WHERE call IS NOT NULL)";
        transaction.execute(settled, [])?;
    }
    Ok(())
}
