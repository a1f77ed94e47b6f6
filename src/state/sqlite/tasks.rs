//! What is known of the tasks of accepted purges: which are open, and what became of them.

use rusqlite::{Connection, Transaction, params};

use super::rows::{read_scope, scope_number};
use super::{DoubtfulCall, OpenTask, Settled, TaskCounts, proof};
use crate::core::event::PurgeId;
use crate::core::query::TaskState;
use crate::core::target::Target;
use crate::core::time::Timestamp;

/// A target whose last purge was accepted with a task and which has no work since.
const WITH_TASK: &str = "task_id IS NOT NULL AND work_kind IS NULL";

pub(super) fn open(db: &Connection) -> rusqlite::Result<Vec<OpenTask>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT provider, scope, target, task_id, coalesce(recorded_at, 0) FROM target
         WHERE {WITH_TASK} AND settled_task IS NOT task_id ORDER BY provider, task_id, scope, target"
    ))?;
    let list = statement.query_map([], |row| {
        Ok(OpenTask {
            provider: row.get(0)?,
            target: Target { scope: read_scope(row.get(1)?)?, text: row.get(2)? },
            task_id: row.get(3)?,
            accepted_at: Timestamp::from_unix_ms(row.get(4)?),
        })
    })?;
    list.collect()
}

pub(super) fn counts(db: &Connection) -> rusqlite::Result<Vec<TaskCounts>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT provider, count(*), sum(settled_task IS task_id) FROM target
         WHERE {WITH_TASK} GROUP BY provider ORDER BY provider"
    ))?;
    let list = statement.query_map([], |row| {
        let (all, done) = (super::rows::read_count(row.get(1)?)?, super::rows::read_count(row.get(2)?)?);
        Ok(TaskCounts { provider: row.get(0)?, done, open: all.saturating_sub(done) })
    })?;
    list.collect()
}

/// Calls whose outcome is unknown because a run was stopped.
pub(super) fn doubtful(db: &Connection) -> rusqlite::Result<Vec<DoubtfulCall>> {
    // A purge goes on only with all of its targets: what was called for one of them since may be for other content.
    let mut statement = db.prepare(
        "WITH marks AS (SELECT call, count(*) AS targets FROM target
             WHERE work_kind IS NOT NULL AND call IS NOT NULL GROUP BY call)
         SELECT run, provider, at, call.targets, content, CASE WHEN marks.targets = call.targets THEN purge END
         FROM call LEFT JOIN marks ON marks.call = id ORDER BY id",
    )?;
    let list = statement.query_map([], |row| {
        Ok(DoubtfulCall {
            run: row.get(0)?,
            provider: row.get(1)?,
            at: Timestamp::from_unix_ms(row.get(2)?),
            targets: super::rows::read_count(row.get(3)?)?,
            purge: row
                .get::<_, Option<i64>>(4)?
                .zip(row.get(5)?)
                .map(|(content, id)| PurgeId { content: content.cast_unsigned(), id }),
        })
    })?;
    list.collect()
}

/// Notes what became of tasks. A target that has another task or work by now is left alone: the answer is not about that.
pub(super) fn settle(transaction: &Transaction<'_>, settled: &[Settled], at: Timestamp) -> rusqlite::Result<u64> {
    let mut failed = 0;
    for Settled { task, state } in settled {
        let key = params![task.provider, scope_number(task.target.scope), task.target.text, task.task_id];
        match state {
            TaskState::Processing => {}
            TaskState::Done => {
                transaction
                    .prepare_cached(&format!(
                        "UPDATE target SET settled_task = task_id, failed_tasks = 0
                         WHERE provider = ?1 AND scope = ?2 AND target = ?3 AND task_id = ?4 AND {WITH_TASK}"
                    ))?
                    .execute(key)?;
            }
            TaskState::Failed => failed += fail(transaction, task, at)?,
        }
    }
    Ok(failed)
}

/// Makes a target due again. What was recorded stays: it says what was accepted, and the work says that it is not enough.
fn fail(transaction: &Transaction<'_>, task: &OpenTask, at: Timestamp) -> rusqlite::Result<u64> {
    let times: Option<u32> = {
        let mut statement = transaction.prepare_cached(&format!(
            "UPDATE target SET failed_tasks = failed_tasks + 1, work_kind = 'changed', desired = hash,
                 priority = 'normal', since = ?5, standing = 'pending', until = NULL, refused_config = NULL,
                 waits = NULL, progress = 'tried', accepted_at = '[]'
             WHERE provider = ?1 AND scope = ?2 AND target = ?3 AND task_id = ?4 AND {WITH_TASK}
             RETURNING failed_tasks"
        ))?;
        let scope = scope_number(task.target.scope);
        let key = params![task.provider, scope, task.target.text, task.task_id, at.unix_ms()];
        let mut rows = statement.query_map(key, |row| row.get(0))?;
        rows.next().transpose()?
    };
    let Some(times) = times else { return Ok(0) };
    proof::forget(transaction, &task.provider, &task.target)?;
    let again = if times > 1 { format!(" ({times} times in a row)") } else { String::new() };
    let reason = format!("task {} failed at the provider after the purge was accepted{again}", task.task_id);
    transaction
        .prepare_cached("UPDATE target SET reason = ?4 WHERE provider = ?1 AND scope = ?2 AND target = ?3")?
        .execute(params![task.provider, scope_number(task.target.scope), task.target.text, reason])?;
    Ok(1)
}
