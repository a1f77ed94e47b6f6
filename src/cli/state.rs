//! `freshen state`: list, export, import and forget what the state holds.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::Read;
use std::path::Path;

use anyhow::Result;
use serde::Deserialize;

use super::args::{Format, Global, StateVerb};
use super::exit::{Exit, Stop};
use super::render::{JSON_VERSION, count, status};
use super::terminal;
use crate::core::contract::is_task_id;
use crate::core::model::Priority;
use crate::core::recorded::{ChangeKind, Progress, Recorded, Standing, Wait, Work};
use crate::core::target::{ContentHash, Scope, Target};
use crate::core::text::one_line;
use crate::core::time::Timestamp;
use crate::engine::selection::patterns;
use crate::engine::{self, Claim, Claimed};
use crate::host::Host;
use crate::host::manifest_files::read_regular;
use crate::manifest::nearest::nearest;
use crate::manifest::{check_names, check_recorded};
use crate::state::Store;

/// Most bytes of an import.
const MAX_IMPORT_BYTES: u64 = 1 << 30;
/// Most manifests that a message names.
const SHOWN_NAMES: usize = 5;
/// The beginning of the year 10000, in milliseconds since 1970 UTC.
const YEAR_10000_MS: i64 = 253_402_300_800_000;

/// Runs the command.
pub(super) async fn run(host: &Host, global: &Global, verb: &StateVerb) -> Result<Exit> {
    match verb {
        StateVerb::List { pattern } => list(global, pattern.as_deref()),
        StateVerb::Export => export(global),
        StateVerb::Import { file, lock } => import(host, global, file, lock.lock_timeout).await,
        StateVerb::Forget { pattern, provider, manifest, lock } => {
            let which = Which { pattern, provider: provider.as_deref(), manifest: manifest.as_deref() };
            forget(host, global, &which, lock.lock_timeout).await
        }
    }
}

fn existing(global: &Global) -> Result<Box<dyn Store>> {
    Ok(global.backend().open()?.ok_or_else(|| missing(global))?)
}

fn missing(global: &Global) -> Stop {
    let message = format!("there is no state at `{}`", global.state.display());
    Stop::of(Exit::Failed, message)
}

fn list(global: &Global, pattern: Option<&str>) -> Result<Exit> {
    let wanted = patterns(&pattern.map(str::to_owned).into_iter().collect::<Vec<_>>())?;
    let mut rows = existing(global)?.recorded()?;
    rows.retain(|row| pattern.is_none() || wanted.is_match(&row.target.text));
    if global.format == Format::Json {
        terminal::print_json(&serde_json::json!({
            "version": JSON_VERSION, "command": "state list",
            "targets": rows.iter().map(status::target_json).collect::<serde_json::Value>(),
        }));
    } else {
        terminal::print(&rows.iter().map(|row| status::line(row) + "\n").collect::<String>());
    }
    Ok(Exit::Done)
}

fn export(global: &Global) -> Result<Exit> {
    let rows = existing(global)?.recorded()?;
    terminal::print_json_lines(rows.iter().map(status::target_json));
    Ok(Exit::Done)
}

/// All of a file, or of standard input for `-`.
fn read_lines(file: &Path) -> Result<String, Stop> {
    let is_input = file.as_os_str() == "-";
    let name = if is_input { "standard input".to_owned() } else { format!("`{}`", file.display()) };
    let bytes = if is_input { read_input() } else { read_regular(file, MAX_IMPORT_BYTES) };
    let bytes = bytes.map_err(|cause| Stop::bad_input(format!("{name} {cause}")))?;
    String::from_utf8(bytes).map_err(|error| Stop::bad_input(format!("{name} is not UTF-8: {}", error.utf8_error())))
}

fn read_input() -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(MAX_IMPORT_BYTES + 1).read_to_end(&mut bytes);
    match read {
        Err(cause) => Err(format!("cannot be read: {cause}")),
        Ok(number) if number as u64 > MAX_IMPORT_BYTES => {
            Err(format!("has more than {MAX_IMPORT_BYTES} bytes; split it"))
        }
        Ok(_) => Ok(bytes),
    }
}

/// Reads one exported line; what is wrong with it is reported without its text, since the file may be any other.
fn parse(line: &str) -> Result<Recorded, String> {
    let parsed = serde_json::from_str::<ExportLine>(line)
        .map_err(|error| format!("not the values of a target at column {}", error.column()));
    parsed.and_then(ExportLine::into_row)
}

/// All rows of a file, or of standard input for `-`.
fn read_rows(file: &Path) -> Result<Vec<Recorded>, Stop> {
    let text = read_lines(file)?;
    let mut rows = Vec::new();
    let mut lines: HashMap<(String, Target), usize> = HashMap::new();
    for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
        let refuse = |cause: String| Stop::bad_input(format!("{}:{line}: {cause}", file.display()));
        let row =
            parse(text).map_err(|cause| refuse(format!("{cause}; write lines as `freshen state export` does")))?;
        if let Some(first) = lines.insert((row.provider.clone(), row.target.clone()), line) {
            return Err(refuse(format!("a target that stands in line {first} already; keep one of both")));
        }
        rows.push(row);
    }
    Ok(rows)
}

async fn import(host: &Host, global: &Global, file: &Path, lock_timeout: u64) -> Result<Exit> {
    let start = engine::run_start(host);
    let claim = Claim::before_reading(&*global.backend());
    let mut rows = read_rows(file)?;
    let lock = match claim.take(host, &*global.backend(), &start, lock_timeout).await? {
        Claimed::Current(lock) => lock,
        Claimed::Overtaken(_) if file.as_os_str() == "-" => return Err(overtaken(global).into()),
        Claimed::Overtaken(lock) => {
            rows = read_rows(file)?;
            lock
        }
    };
    engine::open_or_create(host, &*lock)?.import(&rows)?;
    done(global, "imported", rows.len());
    Ok(Exit::Done)
}

/// Which targets are forgotten.
struct Which<'a> {
    pattern: &'a str,
    provider: Option<&'a str>,
    manifest: Option<&'a str>,
}

async fn forget(host: &Host, global: &Global, which: &Which<'_>, lock_timeout: u64) -> Result<Exit> {
    let wanted = patterns(&[which.pattern.to_owned()])?;
    let start = engine::run_start(host);
    existing(global)?;
    let lock = engine::lock(host, &*global.backend(), &start, lock_timeout).await?;
    let mut store = lock.open()?.ok_or_else(|| missing(global))?;
    let is_of = |row: &Recorded| which.manifest.is_none_or(|name| row.owners.iter().any(|owner| owner == name));
    let rows = store.recorded()?;
    if let Some(name) = which.manifest {
        check_known(name, &*store, &rows)?;
    }
    let (of_manifest, others): (Vec<Recorded>, Vec<Recorded>) = rows.into_iter().partition(is_of);
    let (chosen, kept): (Vec<Recorded>, Vec<Recorded>) = of_manifest
        .into_iter()
        .partition(|row| wanted.is_match(&row.target.text) && which.provider.is_none_or(|name| name == row.provider));
    let is_shared = |row: &Recorded| which.manifest.is_some() && row.owners.len() > 1;
    let (mut shared, own): (Vec<Recorded>, Vec<Recorded>) = chosen.into_iter().partition(is_shared);
    for row in &mut shared {
        row.owners.retain(|owner| Some(owner.as_str()) != which.manifest);
    }
    let keys: Vec<(String, Target)> = own.into_iter().map(|row| (row.provider, row.target)).collect();
    let gone = if keys.is_empty() { 0 } else { store.forget(&keys)? };
    if !shared.is_empty() {
        store.import(&shared)?;
    }
    // What owns nothing any more would be looked for by each run.
    let owners: HashSet<&String> = kept.iter().chain(&shared).chain(&others).flat_map(|row| &row.owners).collect();
    let is_idle = |name: &&str| !owners.iter().any(|owner| owner.as_str() == *name);
    if let Some(name) = which.manifest.filter(is_idle) {
        store.forget_manifests(&[name.to_owned()])?;
    }
    done(global, "forgotten", gone);
    Ok(Exit::Done)
}

/// # Errors
/// [`Exit::BadInput`] for a manifest that the state does not know: nothing would be forgotten, without a word.
fn check_known(name: &str, store: &dyn Store, rows: &[Recorded]) -> Result<()> {
    let manifests = store.manifests()?;
    let owners = rows.iter().flat_map(|row| &row.owners);
    let known: BTreeSet<&str> =
        manifests.iter().map(|manifest| &manifest.name).chain(owners).map(String::as_str).collect();
    if known.contains(name) {
        return Ok(());
    }
    let help = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "it knows none".to_owned(),
        None => {
            let shown: Vec<String> = known.iter().take(SHOWN_NAMES).map(|name| format!("`{name}`")).collect();
            let more = known.len().saturating_sub(SHOWN_NAMES);
            format!(
                "it knows {}{}",
                shown.join(", "),
                if more > 0 { format!(" and {more} more") } else { String::new() }
            )
        }
    };
    Err(Stop::bad_input(format!("the state knows no manifest `{}`; {help}", one_line(name, 200))).into())
}

/// What was read from a pipe cannot be read again, and may be older than what another run has recorded since.
fn overtaken(global: &Global) -> Stop {
    let message = format!(
        "another run wrote to the state `{}` after standard input was read; nothing was imported: make the lines anew and \
         import them again, or give them as a file",
        global.state.display()
    );
    Stop::of(Exit::State, message)
}

fn done(global: &Global, what: &str, number: usize) {
    if global.format == Format::Json {
        terminal::print_json(&serde_json::json!({"version": JSON_VERSION, "command": "state", what: number}));
    } else {
        terminal::print(&format!("{} {what}.\n", count(number, "target")));
    }
}

/// Mirror of an exported line.
#[derive(Deserialize)]
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

#[derive(Deserialize)]
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
    /// Absent in what older versions exported.
    #[serde(default)]
    progress: Option<String>,
    #[serde(default)]
    waits: Option<u32>,
    in_doubt: bool,
    /// Absent in what older versions exported: they noted failures as reasons.
    #[serde(default)]
    may_have_been_purged: Option<bool>,
    accepted_at: Vec<String>,
}

fn one_of<T: Copy>(all: &[T], word: impl Fn(T) -> &'static str, text: &str, what: &str) -> Result<T, String> {
    all.iter().copied().find(|&known| word(known) == text).ok_or_else(|| format!("`{text}` is no {what}"))
}

/// A moment that every calendar can show.
fn time(ms: i64) -> Result<Timestamp, String> {
    if (0..YEAR_10000_MS).contains(&ms) {
        return Ok(Timestamp::from_unix_ms(ms));
    }
    Err(format!("{ms} is no time in milliseconds from 1970 to 9999"))
}

impl ExportLine {
    fn into_row(self) -> Result<Recorded, String> {
        let scope = one_of(&Scope::ALL, Scope::word, &self.scope, "scope")?;
        check_names(&self.provider, &self.owners)?;
        let target = Target { scope, text: self.target };
        if self.task_id.as_deref().is_some_and(|ids| !ids.split(',').all(is_task_id)) {
            return Err("`task_id`: not what a provider calls a task".to_owned());
        }
        let desired = self.work.as_ref().and_then(|work| work.desired.as_deref());
        check_recorded(&target, self.hash.as_deref().into_iter().chain(desired))?;
        Ok(Recorded {
            provider: self.provider,
            target,
            owners: self.owners,
            hash: self.hash.map(ContentHash::from_canonical),
            left_alone: self.left_alone,
            recorded_at: self.recorded_at_ms.map(time).transpose()?,
            task_id: self.task_id,
            work: self.work.map(WorkLine::into_work).transpose()?,
        })
    }
}

impl WorkLine {
    fn into_work(self) -> Result<Work, String> {
        let was_purged = || self.reason.is_some() || !self.accepted_at.is_empty() || self.desired.is_none();
        let may_have_been_purged = self.in_doubt || self.may_have_been_purged.unwrap_or_else(was_purged);
        let reason = self.reason;
        let config = self.refused_config.unwrap_or_default();
        let progress =
            self.progress.map(|word| one_of(&Progress::ALL, Progress::word, &word, "progress")).transpose()?;
        let standing = match (self.standing.as_str(), self.until_ms) {
            ("pending", _) => Standing::Pending { reason },
            ("deferred", Some(until)) => {
                let wait = self.waits.map_or(Wait::Quota, |times| Wait::Host { times });
                Standing::Deferred { until: time(until)?, reason: reason.unwrap_or_default(), wait, config }
            }
            ("rejected", _) => Standing::Rejected { reason: reason.unwrap_or_default(), config },
            (other, _) => return Err(format!("`{other}` is no standing, or its time is missing")),
        };
        let priorities = [Priority::High, Priority::Normal, Priority::Low];
        Ok(Work {
            desired: self.desired.map(ContentHash::from_canonical),
            kind: one_of(&ChangeKind::ALL, ChangeKind::word, &self.kind, "kind of change")?,
            priority: one_of(&priorities, Priority::word, &self.priority, "priority")?,
            since: time(self.since_ms)?,
            standing,
            progress: progress.unwrap_or_default(),
            in_doubt: self.in_doubt,
            may_have_been_purged,
            accepted_at: self.accepted_at,
        })
    }
}
