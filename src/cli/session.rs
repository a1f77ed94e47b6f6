//! What several commands share: manifests read and checked, the state opened, the plan computed.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::args::Selection;
use super::diagnostics;
use super::exit::{Exit, Stop};
use super::{select, terminal};
use crate::core::diff::{self, Change, Difference};
use crate::core::model::{CredentialSource, Manifest, Model, ProviderConfig};
use crate::core::plan::{self, Plan, QuotaKey};
use crate::core::recorded::{KnownManifest, Recorded};
use crate::core::time::Timestamp;
use crate::host::Host;
use crate::host::credentials::{CredentialStore, account_id};
use crate::host::manifest_files;
use crate::manifest::{self, Built, SourceFile};
use crate::state::{RunLock, RunStart, SqliteStore, Store};

/// The manifests of a command, checked.
pub(super) struct Desired {
    /// What they ask for.
    pub model: Model,
    /// Digest of each provider's configuration, by index.
    pub config_digests: Vec<String>,
    /// Folders given as PATH, normalised as manifest paths are.
    folders: Vec<String>,
}

/// Reads and checks manifests.
///
/// # Errors
/// Bad input if a file cannot be read.
pub(super) fn examine(paths: &[PathBuf]) -> Result<(Vec<SourceFile>, Built)> {
    let files = manifest_files::read_manifests(paths).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Stop::bad_input(lines.join("\nerror: "))
    })?;
    let built = manifest::build(&files);
    Ok((files, built))
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
pub(super) fn load(paths: &[PathBuf]) -> Result<Desired> {
    let (files, built) = examine(paths)?;
    show_problems(&files, &built);
    let Some(model) = built.model else {
        let problems = diagnostics::to_json(&files, &built.diagnostics);
        let stop = Stop::bad_input("the manifests are not valid; nothing was sent");
        return Err(Stop { problems: Some(problems), ..stop }.into());
    };
    let config_digests = model.providers.iter().map(config_digest).collect();
    let folders = paths.iter().filter(|path| path.is_dir()).map(|path| manifest_files::normalise(path)).collect();
    Ok(Desired { model, config_digests, folders })
}

/// `word`, or its plural.
pub(super) fn plural(count: usize, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

/// Identifies what a refusal depended on: the adapter, where calls go, as whom and with which options.
fn config_digest(config: &ProviderConfig) -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(config.kind.capabilities().kind.as_bytes());
    for endpoint in &config.endpoints {
        hash.update(&[0]).update(endpoint.to_string().as_bytes());
    }
    hash.update(format!("{:?} {:?}", config.options, config.credentials).as_bytes());
    hash.finalize().to_hex()[..32].to_owned()
}

impl Desired {
    /// Manifests of earlier runs that a run over these paths speaks for, and that are gone or have another name now.
    fn vanished(&self, known: Vec<KnownManifest>) -> Vec<KnownManifest> {
        let gone = |manifest: &KnownManifest| {
            let here = |folder: &String| {
                let below = manifest.path.strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/'));
                below || (folder == "." && !manifest.path.starts_with("../") && !manifest.path.starts_with('/'))
            };
            let renamed = self.model.manifests.iter().any(|read| read.path == manifest.path);
            let named = self.model.manifests.iter().any(|read| read.name == manifest.name);
            !named && (renamed || self.folders.iter().any(here))
        };
        known.into_iter().filter(gone).collect()
    }
}

/// Desired against recorded, and what to do about it.
pub(super) struct Prepared {
    /// What the state holds.
    pub recorded: Vec<Recorded>,
    /// Manifests are new, have moved or have another policy since the last run.
    pub manifests_changed: bool,
    /// Nothing was ever recorded.
    pub first_run: bool,
    /// The changes.
    pub difference: Difference,
    /// The batches.
    pub plan: Plan,
    /// Identifies the plan for review.
    pub digest: String,
}

/// Computes the plan. `store` is `None` before the first run.
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
    let (recorded, known, first_run) = match store {
        Some(store) => (store.recorded()?, store.manifests()?, store.is_first_run()?),
        None => (Vec::new(), Vec::new(), true),
    };
    let manifests_changed = store.is_some() && model.manifests.iter().any(|manifest| !is_known(&known, manifest));
    let difference = diff::diff(
        model,
        &recorded,
        &diff::Scope {
            vanished: &desired.vanished(known),
            config_digests: &desired.config_digests,
            forced: &|target| force.is_match(&target.text),
            now,
        },
    );
    let selected = |change: &Change| {
        let name = &model.providers[change.provider].name;
        (selection.only.is_empty() || only.is_match(&change.target.text))
            && (selection.providers.is_empty() || selection.providers.contains(name))
    };
    let quota_error = std::cell::RefCell::new(None);
    let used = |key: &QuotaKey| {
        let used = store.map_or(Ok(0), |store| store.quota_used(key));
        used.unwrap_or_else(|error| {
            quota_error.borrow_mut().get_or_insert(error);
            u64::MAX
        })
    };
    let plan = plan::plan(
        model,
        &difference.changes,
        &plan::Circumstances { accounts, used: &used, selected: &selected, now },
    );
    if let Some(error) = quota_error.into_inner() {
        return Err(error.into());
    }
    let digest = digest(model, &difference, &plan);
    Ok(Prepared { recorded, manifests_changed, first_run, difference, plan, digest })
}

fn is_known(known: &[KnownManifest], manifest: &Manifest) -> bool {
    let same = |known: &KnownManifest| {
        (&known.name, &known.path, known.on_removed) == (&manifest.name, &manifest.path, manifest.on_removed)
    };
    known.iter().any(same)
}

/// Identifies what a plan does, whatever the hour and the quota.
fn digest(model: &Model, difference: &Difference, plan: &Plan) -> String {
    let mut hash = blake3::Hasher::new();
    let mut line = |parts: &[&str]| {
        for part in parts {
            hash.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
    };
    let mut planned: Vec<usize> = plan.jobs.iter().flat_map(|job| job.over_quota.iter().copied()).collect();
    planned.extend(plan.jobs.iter().flat_map(|job| job.batches.iter().flat_map(|batch| batch.changes.iter().copied())));
    planned.extend(&plan.waiting);
    planned.sort_unstable();
    planned.dedup();
    for index in planned {
        let change = &difference.changes[index];
        let desired = change.desired.as_ref().map_or("", |hash| hash.as_str());
        let provider = &model.providers[change.provider].name;
        line(&["purge", provider, change.target.scope.word(), &change.target.text, desired, change.kind.word()]);
    }
    for &index in &difference.adopt {
        let entry = &model.entries[index];
        line(&["adopt", &model.providers[entry.provider].name, &entry.target.text, entry.hash.as_str()]);
    }
    for (provider, target) in difference.forget.iter().chain(&difference.dropped) {
        line(&["drop", provider, &target.text]);
    }
    hash.finalize().to_hex()[..32].to_owned()
}

/// The account of each provider as far as it is known without asking anybody: from variables, else from the last run.
///
/// # Errors
/// A state that cannot be read.
pub(super) async fn accounts(host: &Host, model: &Model, store: Option<&dyn Store>) -> Result<Vec<String>> {
    let credentials = CredentialStore::new(host.env.clone());
    let mut accounts = Vec::with_capacity(model.providers.len());
    for provider in &model.providers {
        let from_variables = match provider.credentials {
            CredentialSource::Environment { .. } => credentials.get(provider, host.clock.now().wall).await.ok(),
            CredentialSource::File(_) | CredentialSource::Command(_) => None,
        };
        let endpoint = provider.endpoints.first();
        let account = match (from_variables, endpoint) {
            (Some(found), Some(endpoint)) => Some(account_id(&found, endpoint)),
            _ => store.map_or(Ok(None), |store| store.account_of(&provider.name))?,
        };
        accounts.push(account.unwrap_or_else(|| format!("provider {}", provider.name)));
    }
    Ok(accounts)
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

/// Opens the state, or makes it.
///
/// # Errors
/// As [`open`], and a folder that cannot be written.
pub(super) fn open_or_create(host: &Host, path: &Path) -> Result<SqliteStore> {
    match SqliteStore::open(path)? {
        Some(store) => Ok(store),
        None => Ok(SqliteStore::create(path, &lineage(host))?),
    }
}

/// A refusal by a guard.
pub(super) fn refused(message: impl Into<String>) -> Stop {
    Stop { exit: Exit::Refused, message: message.into(), problems: None }
}
