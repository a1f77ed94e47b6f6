//! What several commands share: manifests read and checked, the state opened, the plan of what the user selected.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::args::{Format, Selection};
use super::diagnostics;
use super::exit::{Exit, Stop};
use super::progress::Progress;
use super::render::github;
use super::stat_caches::{self, StatCaches};
use super::{select, terminal};
use crate::core::diff::Forced;
use crate::core::plan::Selected;
use crate::core::target::Target;
use crate::core::time::Timestamp;
use crate::host::Host;
use crate::host::manifest_files::{self, Manifests, ReadProblem};
use crate::manifest::{self, Built, SourceFile};
use crate::run::{self, Choice, Desired, Prepared, Reason};
use crate::state::{RunLock, RunStart, SqliteStore, Store};

/// Reads and checks manifests, and what they name as sources, with the stat caches of the state.
///
/// # Errors
/// Bad input if a file cannot be read.
pub(super) fn examine(host: &Host, state: &Path, paths: &[PathBuf]) -> Result<(Vec<SourceFile>, Built)> {
    let files = read(paths)?.files;
    let (built, _) = build(host, state, &files);
    Ok((files, built))
}

/// Checks manifests; with the stat caches to keep, and whether they name sources.
fn build(host: &Host, state: &Path, files: &[SourceFile]) -> (Built, (StatCaches, bool)) {
    let mut sources = stat_caches::sources(host, state);
    let _shown = Progress::of_manifests(sources.seen());
    let built = manifest::build_with(files, &mut sources);
    let has_sources = !sources.digests().is_empty();
    (built, (sources.into_caches(), has_sources))
}

fn read(paths: &[PathBuf]) -> Result<Manifests> {
    manifest_files::read_manifests(paths).map_err(|problems| unreadable(&problems))
}

fn unreadable(problems: &[ReadProblem]) -> anyhow::Error {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Stop::bad_input(lines.join("\nerror: ")).into()
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
    let (files, built) = examine(host, state, paths)?;
    desired_of(paths, &files, built, None)
}

/// Manifests that are found and identified, and perhaps not read yet.
pub(super) struct Found<'a> {
    paths: &'a [PathBuf],
    files: Vec<SourceFile>,
    digest: String,
}

/// Finds manifests and identifies them by their bytes, before anything is read of them: what is read later may be newer,
/// and is then known by no digest.
///
/// # Errors
/// Bad input if a file cannot be read.
pub(super) fn find(paths: &[PathBuf]) -> Result<Found<'_>> {
    let found = read(paths)?;
    let mut digest = blake3::Hasher::new();
    digest.update(concat!("freshen ", env!("CARGO_PKG_VERSION"), "\0").as_bytes());
    for folder in folders(paths) {
        digest.update(folder.as_bytes()).update(&[0]);
    }
    digest.update(found.digest().map_err(|problem| unreadable(&[problem]))?.as_bytes());
    Ok(Found { paths, files: found.files, digest: digest.finalize().to_hex()[..32].to_owned() })
}

impl Found<'_> {
    /// Checks the manifests; shows every problem on standard error and, in GitHub's format, warnings as a result. With the
    /// stat caches to keep, for who may write.
    ///
    /// # Errors
    /// Bad input if there is any error.
    pub(super) fn load(&self, host: &Host, state: &Path, format: Format) -> Result<(Desired, StatCaches)> {
        let (built, (caches, has_sources)) = build(host, state, &self.files);
        if format == Format::Github && built.model.is_some() {
            terminal::print(&github::problems(&diagnostics::to_json(&self.files, &built.diagnostics)));
        }
        // The digest of manifests says nothing of what they name.
        let digest = Some(self.digest.as_str()).filter(|_| !has_sources);
        Ok((desired_of(self.paths, &self.files, built, digest)?, caches))
    }

    /// The manifests unread, if they are those of a run after which nothing was left to do.
    ///
    /// # Errors
    /// A state that cannot be read.
    pub(super) fn unchanged(&self, store: Option<&dyn Store>, selection: &Selection) -> Result<Option<Desired>> {
        let Some(store) = store.filter(|_| selection.is_all()) else { return Ok(None) };
        let noted = store.inputs()?.filter(|noted| noted.digest == self.digest);
        match noted {
            Some(noted) if !store.has_work()? => Ok(Some(Desired::unread(noted))),
            _ => Ok(None),
        }
    }
}

/// Folders given as PATH, normalised as manifest paths are.
fn folders(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().filter(|path| path.is_dir()).map(|path| manifest_files::normalise(path)).collect()
}

fn desired_of(paths: &[PathBuf], files: &[SourceFile], built: Built, digest: Option<&str>) -> Result<Desired> {
    show_problems(files, &built);
    let Some(model) = built.model else {
        let problems = diagnostics::to_json(files, &built.diagnostics);
        let stop = Stop::bad_input("the manifests are not valid; nothing was sent");
        return Err(Stop { problems: Some(problems), ..stop }.into());
    };
    let desired = Desired::new(model, folders(paths));
    // A warning is to be shown by every run.
    Ok(match digest.filter(|_| built.diagnostics.is_empty()) {
        Some(digest) => desired.known_by(digest.to_owned()),
        None => desired,
    })
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
    let _shown = Progress::of_plan();
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
pub(super) fn refused(reasons: &[Reason]) -> Stop {
    let problem = |reason: &Reason| {
        serde_json::json!({
            "severity": "error", "file": reason.manifest, "line": null, "column": null, "message": reason.text,
            "help": null, "related": [],
        })
    };
    let message = reasons.iter().map(|reason| reason.text.as_str()).collect::<Vec<_>>().join("\nerror: ");
    Stop { exit: Exit::Refused, message, problems: Some(reasons.iter().map(problem).collect()) }
}
