//! What several commands share: manifests read and checked, the state opened, the plan of what the user selected.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::args::Selection;
use super::diagnostics;
use super::exit::{Exit, Stop};
use super::stat_caches::{self, StatCaches};
use super::{select, terminal};
use crate::core::diff::Forced;
use crate::core::plan::Selected;
use crate::core::target::Target;
use crate::core::time::Timestamp;
use crate::host::Host;
use crate::host::manifest_files;
use crate::manifest::{self, Built, SourceFile};
use crate::run::{self, Choice, Desired, Prepared};
use crate::state::{RunLock, RunStart, SqliteStore, Store};

/// Reads and checks manifests, and what they name as sources, with the stat caches of the state.
///
/// # Errors
/// Bad input if a file cannot be read.
pub(super) fn examine(host: &Host, state: &Path, paths: &[PathBuf]) -> Result<(Vec<SourceFile>, Built, StatCaches)> {
    let mut sources = stat_caches::sources(host, state);
    let files = manifest_files::read_manifests(paths).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Stop::bad_input(lines.join("\nerror: "))
    })?;
    let built = manifest::build_with(&files, &mut sources);
    Ok((files, built, sources.into_caches()))
}

/// Shows every problem on standard error.
pub(super) fn show_problems(files: &[SourceFile], built: &Built) {
    let coloured = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    terminal::tell(&diagnostics::render(files, &built.diagnostics, &built.hidden, coloured));
}

/// Reads and checks manifests; shows every problem on standard error.
///
/// # Errors
/// Bad input if there is any error.
pub(super) fn load(host: &Host, state: &Path, paths: &[PathBuf]) -> Result<Desired> {
    load_with_caches(host, state, paths).map(|(desired, _)| desired)
}

/// As [`load`], for who may write: with the stat caches to keep.
///
/// # Errors
/// As [`load`].
pub(super) fn load_with_caches(host: &Host, state: &Path, paths: &[PathBuf]) -> Result<(Desired, StatCaches)> {
    let (files, built, caches) = examine(host, state, paths)?;
    show_problems(&files, &built);
    let Some(model) = built.model else {
        let problems = diagnostics::to_json(&files, &built.diagnostics);
        let stop = Stop::bad_input("the manifests are not valid; nothing was sent");
        return Err(Stop { problems: Some(problems), ..stop }.into());
    };
    let folders = paths.iter().filter(|path| path.is_dir()).map(|path| manifest_files::normalise(path)).collect();
    Ok((Desired::new(model, folders), caches))
}

/// `word`, or its plural.
pub(super) fn plural(count: usize, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

/// Computes the plan of what the user selected. `store` is `None` before the first run.
///
/// # Errors
/// Bad input for patterns or names, or a state that cannot be read.
pub(super) fn prepare(
    desired: &Desired,
    store: Option<&dyn Store>,
    selection: &Selection,
    accounts: &[String],
    now: Timestamp,
) -> Result<Prepared> {
    let model = &desired.model;
    select::known_providers(model, &selection.providers)?;
    let (only, force) = (select::patterns(&selection.only)?, select::patterns(&selection.force)?);
    let chosen = |provider: usize, target: &Target| {
        let name = &model.providers[provider].name;
        (selection.only.is_empty() || only.is_match(&target.text))
            && (selection.providers.is_empty() || selection.providers.contains(name))
    };
    let forced = |provider: usize, target: &Target| force.is_match(&target.text) && chosen(provider, target);
    let choosy = !(selection.only.is_empty() && selection.providers.is_empty());
    let choice = Choice {
        selected: choosy.then_some(&chosen as &Selected<'_>),
        forced: (!selection.force.is_empty()).then_some(&forced as &Forced<'_>),
    };
    Ok(run::prepare(desired, store, &choice, accounts, now)?)
}

/// Opens the state for reading.
///
/// # Errors
/// A state that is damaged, newer or unreadable.
pub(super) fn open(path: &Path) -> Result<Option<SqliteStore>> {
    Ok(SqliteStore::open(path)?)
}

/// Takes the run lock, waiting up to `timeout_ms` for another run to end.
///
/// # Errors
/// Locked, with the holder's name; or a folder that cannot be written.
pub(super) async fn lock(host: &Host, path: &Path, start: &RunStart, timeout_ms: u64) -> Result<RunLock> {
    const LOOK_AGAIN_MS: u64 = 100;
    let end = host.clock.now().tick.plus_ms(timeout_ms);
    loop {
        let holder = match RunLock::try_take(path, start)? {
            Ok(lock) => return Ok(lock),
            Err(holder) => holder,
        };
        let now = host.clock.now().tick;
        if now >= end {
            return Err(crate::state::StateError::Locked { path: path.into(), holder }.into());
        }
        host.clock.sleep_until(now.plus_ms(LOOK_AGAIN_MS).min(end)).await;
    }
}

/// Who runs.
pub(super) fn run_start(host: &Host) -> RunStart {
    RunStart { at: host.clock.now().wall, host: host.env.machine_name(), pid: std::process::id() }
}

/// A name for a new state, never given twice.
pub(super) fn lineage(host: &Host) -> String {
    format!("{:032x}", fastrand::Rng::with_seed(host.seed ^ 0x6672_6573_6865_6e21).u128(..))
}

/// Opens the state for whoever holds its lock, or makes it.
///
/// # Errors
/// As [`open`], and a folder that cannot be written.
pub(super) fn open_or_create(host: &Host, path: &Path) -> Result<SqliteStore> {
    match SqliteStore::open_to_write(path)? {
        Some(store) => Ok(store),
        None => Ok(SqliteStore::create(path, &lineage(host))?),
    }
}

/// How long a question to a provider may take, in milliseconds: nobody should wait long for what a run can do without.
pub(super) const QUESTION_MS: u64 = 10_000;

/// A refusal by a guard.
pub(super) fn refused(message: impl Into<String>) -> Stop {
    Stop { exit: Exit::Refused, message: message.into(), problems: None }
}
