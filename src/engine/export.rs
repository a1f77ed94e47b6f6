//! Rows of the state, of its quota ledger and of proof as lines: `state export` and recovery files write them, `state import` reads them.

mod misfit;

use std::collections::HashMap;
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Claim, Claimed, Exit, Stop, open_or_create, run_start};
use crate::core::contract::is_task_id;
use crate::core::model::Priority;
use crate::core::proof_record::{LONGEST_SEEN, ProofRow, ProofVerdict};
use crate::core::proof_terms::Headers;
use crate::core::recorded::{ChangeKind, Progress, Recorded, Standing, Wait, Work};
use crate::core::target::{ContentHash, Scope, Target};
use crate::core::text::is_unsafe;
use crate::core::time::Timestamp;
use crate::host::Host;
use crate::host::manifest_files::{read_input, read_regular};
use crate::manifest::{check_names, check_recorded};
use crate::state::{Backend, QuotaUse};

/// Most bytes of an import.
const MAX_IMPORT_BYTES: u64 = 1 << 30;
/// The beginning of the year 10000, in milliseconds since 1970 UTC.
const YEAR_10000_MS: i64 = 253_402_300_800_000;

/// A row, its keys as they stand in a line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExportLine {
    provider: String,
    scope: String,
    target: String,
    owners: Vec<String>,
    hash: Option<String>,
    /// Absent in what older versions exported: what they left alone has a hash that no manifest lists.
    #[serde(default)]
    left_alone: bool,
    recorded_at_ms: Option<i64>,
    task_id: Option<String>,
    work: Option<WorkLine>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkLine {
    kind: String,
    desired: Option<String>,
    priority: String,
    since_ms: i64,
    standing: String,
    reason: Option<String>,
    until_ms: Option<i64>,
    refused_config: Option<String>,
    /// Absent in what older versions exported, as `waits` is.
    progress: Option<String>,
    waits: Option<u32>,
    in_doubt: bool,
    /// Absent in what older versions exported: they noted failures as reasons.
    may_have_been_purged: Option<bool>,
    accepted_at: Vec<String>,
}

/// Spent quota, in a line of its own.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LedgerLine {
    quota: QuotaLine,
}

/// What the key of a ledger line begins with: a line with any other key is a target.
const LEDGER_KEY: &str = "\"quota\"";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct QuotaLine {
    account: String,
    operation: String,
    area: String,
    day: String,
    offset_minutes: i32,
    used: u32,
}

/// Proof of a target, in a line of its own.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProvenLine {
    proof: ProofLine,
}

/// As [`LEDGER_KEY`], of proof.
const PROOF_KEY: &str = "\"proof\"";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProofLine {
    provider: String,
    scope: String,
    target: String,
    hash: Option<String>,
    gone: Option<String>,
    owners: Vec<String>,
    ready_at_ms: Option<i64>,
    accepted_at_ms: Option<i64>,
    validator: Option<String>,
    verdict: String,
    by: Option<String>,
    probed_at_ms: Option<i64>,
    due_ms: Option<i64>,
    again_at_ms: Option<i64>,
    repurges: u32,
    seen: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    variants: Vec<Headers>,
}

/// What a file of lines holds.
#[derive(Default)]
struct Lines {
    rows: Vec<Recorded>,
    quota: Vec<QuotaUse>,
    proofs: Vec<ProofRow>,
}

/// How much was imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Targets.
    pub targets: usize,
    /// Rows of the quota ledger.
    pub quota: usize,
    /// Targets whose proof is known, or owed.
    pub proofs: usize,
}

/// Spent quota of one day as a line of an export.
pub fn ledger_line(quota: &QuotaUse) -> Value {
    let QuotaUse { account, operation, area, day, offset_minutes, used } = quota.clone();
    let used = u32::try_from(used).unwrap_or(u32::MAX);
    let line = LedgerLine { quota: QuotaLine { account, operation, area, day, offset_minutes, used } };
    serde_json::to_value(line).unwrap_or_default()
}

/// Proof of one target as a line of an export.
pub fn proof_line(row: &ProofRow) -> Value {
    let text = |hash: &Option<ContentHash>| hash.as_ref().map(ToString::to_string);
    let ms = |time: Option<Timestamp>| time.map(Timestamp::unix_ms);
    let proof = ProofLine {
        provider: row.provider.clone(),
        scope: row.target.scope.word().to_owned(),
        target: row.target.text.clone(),
        hash: text(&row.hash),
        gone: text(&row.gone),
        owners: row.owners.clone(),
        ready_at_ms: ms(row.ready_at),
        accepted_at_ms: ms(row.accepted_at),
        validator: row.validator.clone(),
        verdict: row.verdict.word().to_owned(),
        by: row.by.clone(),
        probed_at_ms: ms(row.probed_at),
        due_ms: ms(row.due),
        again_at_ms: ms(row.again_at),
        repurges: row.repurges,
        seen: row.seen.clone(),
        variants: row.variants.clone(),
    };
    serde_json::to_value(ProvenLine { proof }).unwrap_or_default()
}

/// One target as a line of an export: `state import` reads the same. Its times have milliseconds, so that nothing is lost.
pub fn export_line(row: &Recorded) -> Value {
    let line = ExportLine {
        provider: row.provider.clone(),
        scope: row.target.scope.word().to_owned(),
        target: row.target.text.clone(),
        owners: row.owners.clone(),
        hash: row.hash.as_ref().map(ToString::to_string),
        left_alone: row.left_alone,
        recorded_at_ms: row.recorded_at.map(Timestamp::unix_ms),
        task_id: row.task_id.clone(),
        work: row.work.as_ref().map(WorkLine::of),
    };
    serde_json::to_value(line).unwrap_or_default()
}

/// Puts the rows of a file, or of standard input for `-`, in place of what is known of their targets, and counts as spent what its
/// ledger says.
///
/// # Errors
/// Bad input, and a state that cannot be used.
pub async fn import(host: &Host, state: &dyn Backend, file: &Path, lock_timeout_ms: u64) -> Result<Imported> {
    let start = run_start(host);
    let claim = Claim::before_reading(state);
    let mut lines = read_lines(file)?;
    let lock = match claim.take(host, state, &start, lock_timeout_ms).await? {
        Claimed::Current(lock) => lock,
        Claimed::Overtaken(_) if file.as_os_str() == "-" => return Err(overtaken(&state.location()).into()),
        Claimed::Overtaken(lock) => {
            lines = read_lines(file)?;
            lock
        }
    };
    let mut store = open_or_create(host, &*lock)?;
    // First: rows without their ledger would spend a quota twice.
    if !lines.quota.is_empty() {
        store.raise_quota(&lines.quota)?;
    }
    store.import(&lines.rows)?;
    // Last: rows take the proof along that was known of their targets.
    if !lines.proofs.is_empty() {
        store.import_proofs(&lines.proofs)?;
    }
    Ok(Imported { targets: lines.rows.len(), quota: lines.quota.len(), proofs: lines.proofs.len() })
}

/// What was read from a pipe cannot be read again, and may be older than what another run has recorded since.
fn overtaken(location: &str) -> Stop {
    let message = format!(
        "another run wrote to the state `{location}` after standard input was read; nothing was imported: make the lines anew \
         and import them again, or give them as a file"
    );
    Stop::of(Exit::State, message)
}

/// The text of a file, or of standard input for `-`.
fn read_text(file: &Path) -> Result<String, Stop> {
    let is_input = file.as_os_str() == "-";
    let name = if is_input { "standard input".to_owned() } else { format!("`{}`", file.display()) };
    let bytes = if is_input { read_input(MAX_IMPORT_BYTES) } else { read_regular(file, MAX_IMPORT_BYTES) };
    let bytes = bytes.map_err(|cause| Stop::bad_input(format!("{name} {cause}")))?;
    let text = String::from_utf8(bytes)
        .map_err(|error| Stop::bad_input(format!("{name} is not UTF-8: {}", error.utf8_error())))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    if text.trim().is_empty() {
        let help = "the export may have failed; a state without targets needs no import";
        return Err(Stop::bad_input(format!("{name} holds no target: {help}")));
    }
    Ok(text.to_owned())
}

/// Reads one exported target; what is wrong with it is reported without its text, since the file may be any other.
fn parse(line: &str) -> Result<Recorded, String> {
    let parsed =
        serde_json::from_str::<ExportLine>(line).map_err(|error| misfit::of_line(line, misfit::TARGET, &error));
    parsed.and_then(ExportLine::into_row)
}

fn parse_quota(line: &str) -> Result<QuotaUse, String> {
    let parsed =
        serde_json::from_str::<LedgerLine>(line).map_err(|error| misfit::of_line(line, misfit::LEDGER, &error));
    parsed.and_then(|line| line.quota.into_use())
}

fn parse_proof(line: &str) -> Result<ProofRow, String> {
    let parsed = serde_json::from_str::<ProvenLine>(line)
        .map_err(|error| format!("not the values of a proof at column {}", error.column()));
    parsed.and_then(|line| line.proof.into_row())
}

/// All lines of a file, or of standard input for `-`.
fn read_lines(file: &Path) -> Result<Lines, Stop> {
    let text = read_text(file)?;
    let mut found = Lines::default();
    let mut first_lines: HashMap<(String, Target), usize> = HashMap::new();
    let mut first_days: HashMap<QuotaDay, usize> = HashMap::new();
    for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
        let refuse = |cause: String| Stop::bad_input(format!("{}:{line}: {cause}", file.display()));
        let help = |cause| refuse(format!("{cause}; write lines as `state export` does"));
        let begins = |key| text.trim_start().strip_prefix('{').is_some_and(|keys| keys.trim_start().starts_with(key));
        if begins(LEDGER_KEY) {
            let quota = parse_quota(text).map_err(help)?;
            if let Some(first) = first_days.insert(day_of(&quota), line) {
                return Err(refuse(format!("a quota and day that stand in line {first} already; keep one of both")));
            }
            found.quota.push(quota);
            continue;
        }
        if begins(PROOF_KEY) {
            found.proofs.push(parse_proof(text).map_err(help)?);
            continue;
        }
        let row = parse(text).map_err(help)?;
        if let Some(first) = first_lines.insert((row.provider.clone(), row.target.clone()), line) {
            return Err(refuse(format!("a target that stands in line {first} already; keep one of both")));
        }
        found.rows.push(row);
    }
    Ok(found)
}

/// A quota and its day: account, operation, area, day and offset.
type QuotaDay = (String, String, String, String, i32);

fn day_of(quota: &QuotaUse) -> QuotaDay {
    let QuotaUse { account, operation, area, day, offset_minutes, .. } = quota.clone();
    (account, operation, area, day, offset_minutes)
}

fn one_of<T: Copy>(all: &[T], word: impl Fn(T) -> &'static str, text: &str, field: &str) -> Result<T, String> {
    let words = || all.iter().map(|&known| format!("`{}`", word(known))).collect::<Vec<_>>().join(", ");
    all.iter()
        .copied()
        .find(|&known| word(known) == text)
        .ok_or_else(|| format!("`{field}`: none of the words that it takes: {}", words()))
}

/// A moment that every calendar can show.
fn time(ms: i64, field: &str) -> Result<Timestamp, String> {
    if (0..YEAR_10000_MS).contains(&ms) {
        return Ok(Timestamp::from_unix_ms(ms));
    }
    Err(format!("`{field}`: {ms} is no time in milliseconds from 1970 to 9999"))
}

impl QuotaLine {
    fn into_use(self) -> Result<QuotaUse, String> {
        let Self { account, operation, area, day, offset_minutes, used } = self;
        for (field, text, may_be_empty) in
            [("account", &account, false), ("operation", &operation, false), ("area", &area, true)]
        {
            if text.chars().any(is_unsafe) || (!may_be_empty && text.trim().is_empty()) {
                return Err(format!("`{field}`: not a name"));
            }
        }
        if offset_minutes.unsigned_abs() > 14 * 60 {
            return Err("`offset_minutes`: no more than 840 from UTC, either way".to_owned());
        }
        if Timestamp::midnight_of(&day, offset_minutes).is_none() {
            return Err("`day`: not a day, such as `2026-11-30`".to_owned());
        }
        Ok(QuotaUse { account, operation, area, day, offset_minutes, used: used.into() })
    }
}

impl ProofLine {
    fn into_row(self) -> Result<ProofRow, String> {
        let scope = one_of(&Scope::ALL, Scope::word, &self.scope, "scope")?;
        check_names(&self.provider, &self.owners)?;
        let target = Target { scope, text: self.target };
        check_recorded(&target, self.hash.as_deref().into_iter().chain(self.gone.as_deref()))?;
        if [&self.validator, &self.by, &self.seen].into_iter().flatten().any(|text| text.chars().any(is_unsafe)) {
            return Err("`validator`, `by` or `seen`: not what is kept of a probe".to_owned());
        }
        let is_seen = |seen: &String| seen.len() <= LONGEST_SEEN && serde_json::from_str::<Value>(seen).is_ok();
        if !self.seen.as_ref().is_none_or(is_seen) {
            return Err(format!("`seen`: no JSON of at most {LONGEST_SEEN} bytes"));
        }
        Ok(ProofRow {
            provider: self.provider,
            target,
            hash: self.hash.map(ContentHash::from_canonical),
            gone: self.gone.map(ContentHash::from_canonical),
            owners: self.owners,
            ready_at: self.ready_at_ms.map(|ms| time(ms, "ready_at_ms")).transpose()?,
            accepted_at: self.accepted_at_ms.map(|ms| time(ms, "accepted_at_ms")).transpose()?,
            validator: self.validator,
            verdict: one_of(&ProofVerdict::ALL, ProofVerdict::word, &self.verdict, "verdict")?,
            by: self.by,
            probed_at: self.probed_at_ms.map(|ms| time(ms, "probed_at_ms")).transpose()?,
            due: self.due_ms.map(|ms| time(ms, "due_ms")).transpose()?,
            again_at: self.again_at_ms.map(|ms| time(ms, "again_at_ms")).transpose()?,
            repurges: self.repurges,
            seen: self.seen,
            variants: self.variants,
        })
    }
}

impl ExportLine {
    fn into_row(self) -> Result<Recorded, String> {
        let scope = one_of(&Scope::ALL, Scope::word, &self.scope, "scope")?;
        check_names(&self.provider, &self.owners)?;
        // A cache that was away owes a removal, though no manifest lists the target.
        let is_removal = self.work.as_ref().is_some_and(|work| work.desired.is_none());
        if self.owners.is_empty() && (self.hash.is_some() || !is_removal) {
            return Err("`owners` must not be empty, but for a removal that a cache lacks".to_owned());
        }
        let target = Target { scope, text: self.target };
        if self.task_id.as_deref().is_some_and(|ids| !ids.split(',').all(is_task_id)) {
            return Err("`task_id`: not what a provider calls a task".to_owned());
        }
        let desired = self.work.as_ref().and_then(|work| work.desired.as_deref());
        check_recorded(&target, None)?;
        for (field, hash) in [("hash", self.hash.as_deref()), ("desired", desired)] {
            check_recorded(&target, hash).map_err(|problem| format!("`{field}`: {problem}"))?;
        }
        Ok(Recorded {
            provider: self.provider,
            target,
            owners: self.owners,
            hash: self.hash.map(ContentHash::from_canonical),
            left_alone: self.left_alone,
            recorded_at: self.recorded_at_ms.map(|ms| time(ms, "recorded_at_ms")).transpose()?,
            task_id: self.task_id,
            work: self.work.map(WorkLine::into_work).transpose()?,
        })
    }
}

impl WorkLine {
    fn of(work: &Work) -> Self {
        let (reason, until, config) = match work.standing.clone() {
            Standing::Pending { reason } => (reason, None, None),
            Standing::Waiting { reason } => (Some(reason), None, None),
            Standing::Deferred { until, reason, config, .. } => (Some(reason), Some(until.unix_ms()), Some(config)),
            Standing::Rejected { reason, config } => (Some(reason), None, Some(config)),
        };
        Self {
            kind: work.kind.word().to_owned(),
            desired: work.desired.as_ref().map(ToString::to_string),
            priority: work.priority.word().to_owned(),
            since_ms: work.since.unix_ms(),
            standing: work.standing.word().to_owned(),
            reason,
            until_ms: until,
            refused_config: config,
            progress: Some(work.progress.word().to_owned()),
            waits: Some(work.standing.host_waits()).filter(|waits| *waits > 0),
            in_doubt: work.in_doubt,
            may_have_been_purged: Some(work.may_have_been_purged),
            accepted_at: work.accepted_at.clone(),
        }
    }

    fn into_work(self) -> Result<Work, String> {
        let was_purged = || self.reason.is_some() || !self.accepted_at.is_empty() || self.desired.is_none();
        let may_have_been_purged = self.in_doubt || self.may_have_been_purged.unwrap_or_else(was_purged);
        let reason = self.reason;
        let config = self.refused_config.unwrap_or_default();
        let progress =
            self.progress.map(|word| one_of(&Progress::ALL, Progress::word, &word, "progress")).transpose()?;
        let standing = match (self.standing.as_str(), self.until_ms) {
            ("pending", _) => Standing::Pending { reason },
            ("waiting", _) => Standing::Waiting { reason: reason.unwrap_or_default() },
            ("deferred", Some(until)) => {
                let wait = self.waits.map_or(Wait::Quota, |times| Wait::Host { times });
                Standing::Deferred { until: time(until, "until_ms")?, reason: reason.unwrap_or_default(), wait, config }
            }
            ("rejected", _) => Standing::Rejected { reason: reason.unwrap_or_default(), config },
            ("deferred", None) => return Err("`until_ms`: what is deferred has a time".to_owned()),
            _ => {
                return Err(
                    "`standing`: none of the words that it takes: `pending`, `waiting`, `deferred`, `rejected`"
                        .to_owned(),
                );
            }
        };
        let priorities = [Priority::High, Priority::Normal, Priority::Low];
        Ok(Work {
            desired: self.desired.map(ContentHash::from_canonical),
            kind: one_of(&ChangeKind::ALL, ChangeKind::word, &self.kind, "kind")?,
            priority: one_of(&priorities, Priority::word, &self.priority, "priority")?,
            since: time(self.since_ms, "since_ms")?,
            standing,
            progress: progress.unwrap_or_default(),
            in_doubt: self.in_doubt,
            may_have_been_purged,
            accepted_at: self.accepted_at,
        })
    }
}
