//! Rows of the `target` table to and from [`Recorded`]; a value that breaks the schema is damage.

use std::ops::Range;

use rusqlite::{Row, Transaction, params};

use crate::core::model::{OnRemoved, Priority};
use crate::core::recorded::{ChangeKind, Progress, Recorded, RecordedRow, Standing, Wait, Work};
use crate::core::target::{ContentHash, Scope, Target};
use crate::core::time::Timestamp;

/// Columns that [`read`] expects, in its order.
pub(super) const COLUMNS: &str = "provider, scope, target, owners, hash, left_alone, recorded_at, task_id, \
     work_kind, desired, priority, since, standing, reason, until, refused_config, accepted_at, call, \
     progress, waits, may_have_been_purged";

/// Where in [`COLUMNS`] that stands which is compared: of each row, and of one with work besides.
pub(super) const SETTLED: Range<usize> = 0..6;
pub(super) const WORK: Range<usize> = 8..21;

/// Columns that [`visit_settled`] expects.
pub(super) const SETTLED_COLUMNS: &str = "target, owners, hash, left_alone";

/// Assignments after which nothing is to be done for a target.
pub(super) const NO_WORK: &str = "left_alone = 0, work_kind = NULL, desired = NULL, priority = NULL, since = NULL, \
     standing = NULL, reason = NULL, until = NULL, refused_config = NULL, accepted_at = NULL, call = NULL, \
     progress = NULL, waits = NULL, may_have_been_purged = 0";

/// What is wrong with a stored value.
#[derive(Debug, thiserror::Error)]
#[error("column `{column}` of target `{target}` holds a value that this program never writes")]
pub(super) struct BadValue {
    column: &'static str,
    target: String,
}

pub(super) enum ReadError {
    Sql(rusqlite::Error),
    Value(BadValue),
    /// No more rows are wanted, which is no error.
    Enough,
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// Number of a scope in the table.
pub(super) fn scope_number(scope: Scope) -> i64 {
    match scope {
        Scope::Url => 0,
        Scope::Directory => 1,
        Scope::AssetId => 2,
    }
}

fn scope_of(number: i64) -> Option<Scope> {
    Scope::ALL.into_iter().find(|&scope| scope_number(scope) == number)
}

/// Reads one row.
pub(super) fn read(row: &Row<'_>) -> Result<Recorded, ReadError> {
    let text: String = row.get(2)?;
    let bad = |column: &'static str| ReadError::Value(BadValue { column, target: text.clone() });
    let target = Target { scope: scope_of(row.get(1)?).ok_or_else(|| bad("scope"))?, text: text.clone() };
    let owners = list(&row.get::<_, String>(3)?).ok_or_else(|| bad("owners"))?;
    let work = read_kind(row, &bad)?.map(|kind| read_work(row, kind, &bad)).transpose()?;
    Ok(Recorded {
        provider: row.get(0)?,
        target,
        owners,
        hash: read_hash(row.get(4)?).map_err(|()| bad("hash"))?,
        left_alone: row.get(5)?,
        recorded_at: row.get::<_, Option<i64>>(6)?.map(Timestamp::from_unix_ms),
        task_id: row.get(7)?,
        work,
    })
}

/// Owners as the last row had them: most rows have the same ones.
#[derive(Default)]
pub(super) struct OwnersMemo {
    text: Option<String>,
    list: Vec<String>,
}

impl OwnersMemo {
    fn read(&mut self, text: &str) -> Option<&[String]> {
        if self.text.as_deref() != Some(text) {
            self.list = list(text)?;
            self.text = Some(text.to_owned());
        }
        Some(&self.list)
    }
}

/// Shows `each` a row without copying it, its work apart.
pub(super) fn visit(
    row: &Row<'_>,
    owners: &mut OwnersMemo,
    each: &mut dyn FnMut(RecordedRow<'_>),
) -> Result<(), ReadError> {
    let text = text_in(row, 2)?;
    let bad = |column: &'static str| ReadError::Value(BadValue { column, target: text.to_owned() });
    let work = read_kind(row, &bad)?.map(|kind| read_work(row, kind, &bad)).transpose()?;
    each(RecordedRow {
        provider: text_in(row, 0)?,
        scope: scope_of(row.get(1)?).ok_or_else(|| bad("scope"))?,
        text,
        owners: owners.read(text_in(row, 3)?).ok_or_else(|| bad("owners"))?,
        hash: hash_in(row, 4)?.map_err(|()| bad("hash"))?,
        left_alone: row.get(5)?,
        work: work.as_ref(),
    });
    Ok(())
}

/// As [`visit`], a row of a provider and a scope that has no work.
pub(super) fn visit_settled(
    (provider, scope): (&str, Scope),
    row: &Row<'_>,
    owners: &mut OwnersMemo,
    each: &mut dyn FnMut(RecordedRow<'_>),
) -> Result<(), ReadError> {
    let text = text_in(row, 0)?;
    let bad = |column: &'static str| ReadError::Value(BadValue { column, target: text.to_owned() });
    each(RecordedRow {
        provider,
        scope,
        text,
        owners: owners.read(text_in(row, 1)?).ok_or_else(|| bad("owners"))?,
        hash: hash_in(row, 2)?.map_err(|()| bad("hash"))?,
        left_alone: row.get(3)?,
        work: None,
    });
    Ok(())
}

fn text_in<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r str, ReadError> {
    Ok(row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?)
}

fn hash_in<'r>(row: &'r Row<'_>, column: usize) -> Result<Result<Option<&'r str>, ()>, ReadError> {
    let hash = row.get_ref(column)?.as_str_or_null().map_err(rusqlite::Error::from)?;
    Ok(if hash.is_some_and(|hash| !hash.contains(':')) { Err(()) } else { Ok(hash) })
}

fn read_kind(row: &Row<'_>, bad: &dyn Fn(&'static str) -> ReadError) -> Result<Option<ChangeKind>, ReadError> {
    let Some(word) = row.get_ref(8)?.as_str_or_null().map_err(rusqlite::Error::from)? else { return Ok(None) };
    let kind = ChangeKind::ALL.into_iter().find(|known| known.word() == word);
    kind.map(Some).ok_or_else(|| bad("work_kind"))
}

fn read_work(row: &Row<'_>, kind: ChangeKind, bad: &dyn Fn(&'static str) -> ReadError) -> Result<Work, ReadError> {
    let priority: String = row.get(10)?;
    let priority = [Priority::High, Priority::Normal, Priority::Low].into_iter().find(|known| known.word() == priority);
    let reason: Option<String> = row.get(13)?;
    let until = row.get::<_, Option<i64>>(14)?.map(Timestamp::from_unix_ms);
    let config = row.get::<_, Option<String>>(15)?.unwrap_or_default();
    let standing = match (row.get::<_, String>(12)?.as_str(), until) {
        ("pending", _) => Standing::Pending { reason },
        ("waiting", _) => Standing::Waiting { reason: reason.unwrap_or_default() },
        ("deferred", Some(until)) => {
            let times: Option<i64> = row.get(19)?;
            let times = times.map(u32::try_from).transpose().map_err(|_| bad("waits"))?;
            let wait = times.map_or(Wait::Quota, |times| Wait::Host { times });
            Standing::Deferred { until, reason: reason.unwrap_or_default(), wait, config }
        }
        ("rejected", _) => Standing::Rejected { reason: reason.unwrap_or_default(), config },
        _ => return Err(bad("standing")),
    };
    let progress: String = row.get(18)?;
    let progress = Progress::ALL.into_iter().find(|known| known.word() == progress);
    let accepted_at = row.get::<_, Option<String>>(16)?;
    let in_doubt = row.get::<_, Option<i64>>(17)?.is_some();
    Ok(Work {
        desired: read_hash(row.get(9)?).map_err(|()| bad("desired"))?,
        kind,
        priority: priority.ok_or_else(|| bad("priority"))?,
        since: Timestamp::from_unix_ms(row.get(11)?),
        standing,
        progress: progress.ok_or_else(|| bad("progress"))?,
        in_doubt,
        may_have_been_purged: in_doubt || row.get(20)?,
        accepted_at: accepted_at.map_or(Some(Vec::new()), |text| list(&text)).ok_or_else(|| bad("accepted_at"))?,
    })
}

pub(super) fn read_hash(text: Option<String>) -> Result<Option<ContentHash>, ()> {
    match text {
        Some(text) if !text.contains(':') => Err(()),
        text => Ok(text.map(ContentHash::from_canonical)),
    }
}

/// A scope by its number; any other one is damage.
pub(super) fn read_scope(number: i64) -> rusqlite::Result<Scope> {
    scope_of(number).ok_or_else(|| never_written(&number.to_string()))
}

/// A word of `on_removed`; any other one is damage.
pub(super) fn read_on_removed(word: &str) -> rusqlite::Result<OnRemoved> {
    [OnRemoved::Purge, OnRemoved::Forget]
        .into_iter()
        .find(|&known| on_removed_word(known) == word)
        .ok_or_else(|| never_written(word))
}

/// `on_removed` as the tables keep it.
pub(super) fn on_removed_word(on_removed: OnRemoved) -> &'static str {
    match on_removed {
        OnRemoved::Purge => "purge",
        OnRemoved::Forget => "forget",
    }
}

/// A number of targets; a negative one is damage.
pub(super) fn read_count(stored: i64) -> rusqlite::Result<u64> {
    u64::try_from(stored).map_err(|_| never_written(&stored.to_string()))
}

/// A list of texts; anything else is damage.
pub(super) fn read_list(stored: &str) -> rusqlite::Result<Vec<String>> {
    list(stored).ok_or_else(|| never_written(stored))
}

/// Texts that stand in pairs; anything else is damage.
pub(super) fn read_pairs(stored: &str) -> rusqlite::Result<Vec<(String, String)>> {
    let texts = list(stored).filter(|texts| texts.len() % 2 == 0).ok_or_else(|| never_written(stored))?;
    Ok(texts.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
}

pub(super) fn never_written(value: &str) -> rusqlite::Error {
    let cause = format!("`{value}` is a value that this program never writes");
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Null, cause.into())
}

/// Writes the work of a target; keeps what is recorded of it, and the mark of an intent without an outcome. The next intent
/// takes the place of that mark, so it is noted here that the target may have been purged.
pub(super) fn write_work(
    transaction: &Transaction<'_>,
    provider: &str,
    target: &Target,
    (owners, replaces_owners): (&[String], bool),
    work: &Work,
) -> rusqlite::Result<()> {
    let StandingColumns { reason, until, config, waits } = StandingColumns::of(&work.standing);
    transaction
        .prepare_cached(
            "INSERT INTO target (provider, scope, target, owners, work_kind, desired, priority, since, standing, reason,
                 until, refused_config, accepted_at, progress, waits)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
             ON CONFLICT (provider, scope, target) DO UPDATE SET
                 owners = iif(?16, ?4, owners), work_kind = ?5, desired = ?6, priority = ?7, since = ?8, standing = ?9,
                 reason = ?10, until = ?11, refused_config = ?12, accepted_at = ?13, progress = ?14, waits = ?15,
                 may_have_been_purged = may_have_been_purged OR call IS NOT NULL",
        )?
        .execute(params![
            provider,
            scope_number(target.scope),
            target.text,
            json_list(owners),
            work.kind.word(),
            work.desired.as_ref().map(ContentHash::as_str),
            work.priority.word(),
            work.since.unix_ms(),
            work.standing.word(),
            reason,
            until,
            config,
            json_list(&work.accepted_at),
            work.progress.word(),
            waits,
            replaces_owners,
        ])?;
    Ok(())
}

/// Writes a row in place of what is known of its target. A doubt whose call is not known any more refers to call 0.
pub(super) fn write(transaction: &Transaction<'_>, row: &Recorded) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO target (provider, scope, target, owners, hash, recorded_at, task_id,
             work_kind, desired, priority, since, standing, reason, until, refused_config, accepted_at, progress, waits,
             may_have_been_purged, left_alone, call)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20,
             iif(?21, 0, NULL))
         ON CONFLICT (provider, scope, target) DO UPDATE SET
             owners = ?4, hash = ?5, recorded_at = ?6, task_id = ?7,
             work_kind = ?8, desired = ?9, priority = ?10, since = ?11, standing = ?12,
             reason = ?13, until = ?14, refused_config = ?15, accepted_at = ?16, progress = ?17, waits = ?18,
             may_have_been_purged = ?19, left_alone = ?20, call = iif(?21, coalesce(call, 0), NULL)",
    )?;
    let work = row.work.as_ref();
    let standing = work.map(|work| StandingColumns::of(&work.standing)).unwrap_or_default();
    let StandingColumns { reason, until, config, waits } = standing;
    statement.execute(params![
        row.provider,
        scope_number(row.target.scope),
        row.target.text,
        json_list(&row.owners),
        row.hash.as_ref().map(ContentHash::as_str),
        row.recorded_at.map(Timestamp::unix_ms),
        row.task_id,
        work.map(|work| work.kind.word()),
        work.and_then(|work| work.desired.as_ref()).map(ContentHash::as_str),
        work.map(|work| work.priority.word()),
        work.map(|work| work.since.unix_ms()),
        work.map(|work| work.standing.word()),
        reason,
        until,
        config,
        work.map(|work| json_list(&work.accepted_at)),
        work.map(|work| work.progress.word()),
        waits,
        work.is_some_and(|work| work.may_have_been_purged),
        row.left_alone,
        work.is_some_and(|work| work.in_doubt),
    ])?;
    Ok(())
}

/// The columns of a standing, besides its word.
#[derive(Default)]
pub(super) struct StandingColumns<'a> {
    pub(super) reason: Option<&'a str>,
    pub(super) until: Option<i64>,
    /// `refused_config`
    pub(super) config: Option<&'a str>,
    pub(super) waits: Option<u32>,
}

impl<'a> StandingColumns<'a> {
    pub(super) fn of(standing: &'a Standing) -> Self {
        match standing {
            Standing::Pending { reason } => Self { reason: reason.as_deref(), ..Self::default() },
            Standing::Waiting { reason } => Self { reason: Some(reason), ..Self::default() },
            Standing::Deferred { until, reason, wait, config } => Self {
                reason: Some(reason),
                until: Some(until.unix_ms()),
                config: Some(config),
                waits: match wait {
                    Wait::Quota => None,
                    Wait::Host { times } => Some(*times),
                },
            },
            Standing::Rejected { reason, config } => {
                Self { reason: Some(reason), config: Some(config), ..Self::default() }
            }
        }
    }
}

/// A list of texts as the tables keep it.
pub(super) fn json_list(list: &[String]) -> String {
    serde_json::Value::from(list.to_vec()).to_string()
}

pub(super) fn list(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}
