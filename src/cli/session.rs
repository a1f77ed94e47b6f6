//! What several commands share: manifests read and checked, the state opened, the plan of what the user selected.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::args::{self, Format, Global, ManifestLimits, Selection};
use super::diagnostics;
use super::exit::{Exit, Stop};
use super::progress::Progress;
use super::render::github;
use super::stat_caches::{self, Own, StatCaches};
use super::{select, terminal};
use crate::core::diff::Forced;
use crate::core::guard::Refusal;
use crate::core::owners::{Reach, Unread};
use crate::core::plan::Selected;
use crate::core::recorded::{InputFile, Inputs, KnownManifest};
use crate::core::target::Target;
use crate::core::text::one_line;
use crate::core::time::Timestamp;
use crate::engine::{self, Choice, Desired, Prepared, Reason};
use crate::host::Host;
use crate::host::manifest_files::{self, Manifests, ReadProblem};
use crate::host::manifest_tree;
use crate::host::own_files;
use crate::host::sources::{NamedSource, Sources};
use crate::manifest::{self, BuildOptions, Built, Expand, ListReading, NoSources, SourceFile};
use crate::state::{Backend, LockedState, ReadAhead, RunStart, StateError, Store};

/// Reads and checks manifests, and what they name as sources, with the stat caches of the state.
///
/// # Errors
/// Bad input if a file cannot be read.
pub(super) fn examine(host: &Host, own: Own<'_>, manifests: &args::Manifests) -> Result<(Vec<SourceFile>, Built)> {
    let files = read(&manifests.paths)?.files;
    let built = check(host, own, &files, manifests.limits).built;
    Ok((files, built))
}

/// Manifests that were checked, with what they name.
struct Checked {
    built: Built,
    caches: StatCaches,
    named: Vec<NamedSource>,
}

/// Checks manifests, and shows on a terminal how far that is.
fn check(host: &Host, own: Own<'_>, files: &[SourceFile], limits: ManifestLimits) -> Checked {
    let sources = stat_caches::sources(host, own);
    let _shown = Progress::of_manifests(sources.seen());
    check_with(host, files, limits, sources)
}

fn check_with(host: &Host, files: &[SourceFile], limits: ManifestLimits, mut sources: Sources<'_>) -> Checked {
    let built = build(host, files, (&vec![false; files.len()], limits), &mut sources);
    let named = sources.named().iter().cloned().collect();
    Checked { built, named, caches: sources.into_caches() }
}

/// Builds a model with the environment of this process.
fn build(
    host: &Host,
    files: &[SourceFile],
    (passed_over, limits): (&[bool], ManifestLimits),
    expand: &mut dyn Expand,
) -> Built {
    let variables = |name: &str| host.env.var(name);
    let options = BuildOptions { max_targets: limits.max_targets, variables: &variables };
    manifest::build_partly(files, passed_over, options, expand)
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
pub(super) fn load(host: &Host, global: &Global, paths: &[PathBuf], limits: ManifestLimits) -> Result<Desired> {
    Ok(find(Lookup::of(global, paths, limits))?.load_all(host, global.own(&*global.backend()), Format::Human)?.0)
}

/// Which manifests a command is about.
#[derive(Clone, Copy)]
pub(super) struct Lookup<'a> {
    /// Files and folders that were given.
    pub(super) paths: &'a [PathBuf],
    /// What they may come to.
    pub(super) limits: ManifestLimits,
    /// What keeps manifests of several repositories in one state apart.
    pub(super) namespace: Option<&'a str>,
    /// Names of manifests that the user calls vanished.
    pub(super) vanished: &'a [String],
    /// The audit log, which is no manifest.
    pub(super) audit: Option<&'a Path>,
}

impl<'a> Lookup<'a> {
    /// Those of `paths`.
    pub(super) fn of(global: &'a Global, paths: &'a [PathBuf], limits: ManifestLimits) -> Self {
        Self { paths, limits, namespace: global.namespace.as_deref(), vanished: &[], audit: None }
    }

    /// Those that the user named and selected.
    pub(super) fn selected(global: &'a Global, manifests: &'a args::Manifests, selection: &'a Selection) -> Self {
        Self { vanished: &selection.vanished, ..Self::of(global, &manifests.paths, manifests.limits) }
    }

    fn reach(&self) -> Reach {
        let folders = self.paths.iter().filter(|path| path.is_dir());
        Reach {
            folders: folders.filter_map(|folder| manifest_tree::absolute_folder(folder)).collect(),
            working_directory: manifest_tree::absolute_folder(Path::new(".")).unwrap_or_default(),
            namespace: self.namespace.map(str::to_owned),
            vanished: self.vanished.to_vec(),
            is_there: Box::new(manifest_tree::is_there),
        }
    }
}

/// Manifests that are found and identified, and perhaps not read yet.
pub(super) struct Found<'a> {
    lookup: Lookup<'a>,
    files: Vec<SourceFile>,
    /// What identifies them; how many targets they list is not known.
    inputs: Inputs,
}

/// Finds manifests and identifies them by their bytes, before anything is read of them: what is read later may be newer,
/// and is then known by no digest.
///
/// # Errors
/// Bad input if a file cannot be read, or is the audit log.
pub(super) fn find(lookup: Lookup<'_>) -> Result<Found<'_>> {
    let found = read(lookup.paths)?;
    if let Some(audit) = lookup.audit {
        let is_audit = |file: &SourceFile| own_files::are_one(audit, Path::new(&file.path));
        if let Some(file) = found.files.iter().find(|file| is_audit(file)) {
            let what = format!("is the manifest `{}`", one_line(&file.path, 300));
            return Err(super::audit::misplaced(audit, &what).into());
        }
    }
    let mut digest = blake3::Hasher::new();
    digest.update(concat!("freshen ", env!("CARGO_PKG_VERSION"), "\0").as_bytes());
    digest.update(&manifest::RULES.to_le_bytes()).update(&lookup.limits.max_targets.to_le_bytes());
    digest.update(lookup.namespace.unwrap_or_default().as_bytes()).update(&[0]);
    for folder in folders(lookup.paths) {
        digest.update(folder.as_bytes()).update(&[0]);
    }
    let short = |digest: &blake3::Hash| digest.to_hex()[..32].to_owned();
    let mut inputs = Inputs { frame: short(&digest.finalize()), ..Inputs::default() };
    for (file, of_file) in found.files.iter().zip(found.digests().map_err(|problem| unreadable(&[problem]))?) {
        for text in [&file.path, &file.tree.path] {
            digest.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
        digest.update(of_file.as_bytes());
        inputs.files.push(InputFile { path: file.path.clone(), digest: short(&of_file), targets: 0, is_simple: false });
    }
    inputs.digest = short(&digest.finalize());
    Ok(Found { lookup, files: found.files, inputs })
}

/// Manifests that were read, all or some of them.
pub(super) struct Loaded {
    pub(super) desired: Desired,
    /// For who may write.
    pub(super) caches: StatCaches,
    /// Rows of the state that were read meanwhile.
    pub(super) ahead: Option<ReadAhead>,
}

/// Manifests that were read by somebody who stays.
pub(super) struct LoadedQuietly {
    /// What they ask for; `None` if they are not valid.
    pub(super) loaded: Option<Loaded>,
    /// What they name as sources.
    pub(super) named: Vec<NamedSource>,
    /// Errors and warnings, as `check` lists them.
    pub(super) problems: serde_json::Value,
}

impl Found<'_> {
    /// What is desired, from no more manifests than have to be read for it: those that changed since `noted`, or all. Problems
    /// are shown on standard error and, in GitHub's format, warnings as a result.
    ///
    /// # Errors
    /// Bad input if there is any error.
    pub(super) fn desired(&self, host: &Host, own: Own<'_>, format: Format, noted: Option<Inputs>) -> Result<Loaded> {
        match noted.and_then(|noted| self.changed(host, noted)) {
            Some(loaded) => Ok(loaded),
            None => self.load(host, own, format),
        }
    }

    /// Checks all manifests; otherwise as [`Found::desired`].
    ///
    /// # Errors
    /// Bad input if there is any error.
    pub(super) fn load(&self, host: &Host, own: Own<'_>, format: Format) -> Result<Loaded> {
        let ahead = own.backend.read_ahead();
        let (desired, caches) = self.load_all(host, own, format)?;
        Ok(Loaded { desired, caches, ahead })
    }

    /// As [`Found::load`], for who compares the manifests with no state, or with a copy of one.
    ///
    /// # Errors
    /// Bad input if there is any error.
    pub(super) fn load_all(&self, host: &Host, own: Own<'_>, format: Format) -> Result<(Desired, StatCaches)> {
        let Checked { built, caches, named } = check(host, own, &self.files, self.lookup.limits);
        if format == Format::Github && built.model.is_some() {
            terminal::print(&github::problems(&diagnostics::to_json(&self.files, &built.diagnostics)));
        }
        show_problems(&self.files, &built);
        let problems = diagnostics::to_json(&self.files, &built.diagnostics);
        let desired = self.known(built, &named).ok_or_else(|| {
            let stop = Stop::bad_input("the manifests are not valid; nothing was sent");
            Stop { problems: Some(problems), ..stop }
        })?;
        Ok((desired, caches))
    }

    /// As [`Found::desired`], for somebody who stays: problems are handed over, and so is what the manifests name as sources,
    /// also where they are not valid.
    pub(super) fn load_quietly(&self, host: &Host, own: Own<'_>, noted: Option<Inputs>) -> LoadedQuietly {
        if let Some(loaded) = noted.and_then(|noted| self.changed(host, noted)) {
            // Where any names a source, all are read.
            return LoadedQuietly { loaded: Some(loaded), named: Vec::new(), problems: serde_json::json!([]) };
        }
        let ahead = own.backend.read_ahead();
        let Checked { built, caches, named } =
            check_with(host, &self.files, self.lookup.limits, stat_caches::sources(host, own));
        let problems = diagnostics::to_json(&self.files, &built.diagnostics);
        let loaded = self.known(built, &named).map(|desired| Loaded { desired, caches, ahead });
        LoadedQuietly { loaded, named, problems }
    }

    /// What valid manifests ask for, known again by a later run if it may.
    fn known(&self, built: Built, named: &[NamedSource]) -> Option<Desired> {
        let desired = Desired::new(built.model?, self.lookup.reach());
        // The digest of manifests says nothing of what they name or of variables, and a warning is to be shown by every run.
        if !named.is_empty() || !built.diagnostics.is_empty() || built.uses_variables {
            return Some(desired);
        }
        let mut inputs = self.inputs.clone();
        for (file, list) in inputs.files.iter_mut().zip(&built.lists) {
            file.is_simple = *list == ListReading::Lines;
        }
        Some(desired.known_by(inputs))
    }

    /// Checks only manifests that changed since an earlier run noted them; `None` if that does not do, for whatever reason.
    fn changed(&self, host: &Host, noted: Inputs) -> Option<Loaded> {
        let mut inputs = self.inputs.clone();
        if noted.frame != inputs.frame || noted.files.len() != inputs.files.len() {
            return None;
        }
        let known: HashMap<&str, &InputFile> = noted.files.iter().map(|file| (file.path.as_str(), file)).collect();
        let mut passed_over = Vec::with_capacity(inputs.files.len());
        let mut looked_up = 0;
        for file in &mut inputs.files {
            let before = *known.get(file.path.as_str())?;
            let stays = before.is_simple && before.digest == file.digest;
            passed_over.push(stays);
            if stays {
                *file = before.clone();
            } else {
                looked_up += before.targets;
            }
        }
        let pays = looked_up <= MOST_LOOKED_UP || looked_up.saturating_mul(WORTH_OF_A_LOOK) < noted.targets;
        if !passed_over.contains(&true) || !pays {
            return None;
        }
        let built = build(host, &self.files, (&passed_over, self.lookup.limits), &mut NoSources);
        // What was passed over may have been multiplied as well.
        let passed: u64 =
            inputs.files.iter().zip(&passed_over).filter(|(_, over)| **over).map(|(file, _)| file.targets).sum();
        if built.multiplied > 0 && built.multiplied.saturating_add(passed) > self.lookup.limits.max_targets {
            return None;
        }
        for ((file, list), passed_over) in inputs.files.iter_mut().zip(&built.lists).zip(&passed_over) {
            if *passed_over != (*list == ListReading::PassedOver) {
                return None;
            }
            file.is_simple = *list != ListReading::Yaml;
        }
        let model = built.model.filter(|_| built.diagnostics.is_empty() && !built.uses_variables)?;
        let desired = Desired::new(model, self.lookup.reach()).known_since(inputs, noted, &passed_over)?;
        Some(Loaded { desired, caches: StatCaches::default(), ahead: None })
    }

    /// What an earlier run noted of its manifests, if nothing was left to do after it and all manifests are where they were.
    ///
    /// # Errors
    /// A state that cannot be read.
    pub(super) fn noted(&self, store: Option<&dyn Store>, selection: &Selection) -> Result<Option<Inputs>> {
        let Some(store) = store.filter(|_| selection.is_all()) else { return Ok(None) };
        if store.has_work()? || store.manifests()?.iter().any(|known| self.misses(known)) {
            return Ok(None);
        }
        Ok(store.inputs()?)
    }

    /// Whether a manifest is neither among these nor where it was.
    fn misses(&self, known: &KnownManifest) -> bool {
        let is_ours = known.namespace.as_deref() == self.lookup.namespace;
        let is_found = || self.files.iter().any(|file| file.tree.path == known.path);
        is_ours && !is_found() && (known.root.is_none() || !manifest_tree::is_there(&known.file()))
    }

    /// The manifests unread, if they are those of a run after which nothing was left to do.
    pub(super) fn unchanged(&self, noted: Option<&Inputs>) -> Option<Desired> {
        noted.filter(|noted| noted.digest == self.inputs.digest).cloned().map(Desired::unread)
    }
}

/// So many targets are looked up one by one whatever all of them are.
const MOST_LOOKED_UP: u64 = 10_000;
/// While one target is looked up, so many are read one after another.
const WORTH_OF_A_LOOK: u64 = 8;

/// Folders given as PATH, normalised as manifest paths are.
fn folders(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().filter(|path| path.is_dir()).map(|path| manifest_files::normalise(path)).collect()
}

/// Computes the plan of what the user selected, of manifests that were all read. `store` is `None` before the first run.
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
    prepare_if_enough(desired, store, selection, accounts, now)?
        .context("not all manifests were read; please report it")
}

/// As [`prepare`], for manifests that were read at least in part; `None`: all have to be read.
///
/// # Errors
/// As [`prepare`].
pub(super) fn prepare_if_enough(
    desired: &Desired,
    store: Option<&dyn Store>,
    selection: &Selection,
    accounts: &[String],
    now: Timestamp,
) -> Result<Option<Prepared>> {
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
    if !selection.vanished.is_empty() {
        check_vanished(desired, store, &selection.vanished)?;
    }
    Ok(engine::prepare(desired, store, &choice, accounts, now)?)
}

/// What is called vanished has to be known, and not to be there.
fn check_vanished(desired: &Desired, store: Option<&dyn Store>, names: &[String]) -> Result<()> {
    let unread = store.map_or(Ok(Unread::default()), |store| engine::unread(desired, store))?;
    let is_known = |name: &&String| unread.spoken_for.iter().any(|manifest| manifest.name == **name);
    match names.iter().find(|name| !is_known(name)) {
        None => Ok(()),
        Some(name) => {
            let message = format!(
                "`--vanished {}`: the state knows no such manifest, or it is still there; `freshen status` shows those that \
                 nobody speaks for",
                one_line(name, 200)
            );
            Err(Stop::bad_input(message).into())
        }
    }
}

/// Takes the run lock, waiting up to `timeout_ms` for another run to end.
///
/// # Errors
/// Locked, with the holder's name; or a folder that cannot be written.
pub(super) async fn lock(
    host: &Host,
    state: &dyn Backend,
    start: &RunStart,
    timeout_ms: u64,
) -> Result<Box<dyn LockedState>, StateError> {
    const LOOK_AGAIN_MS: u64 = 100;
    let end = host.clock.now().tick.plus_ms(timeout_ms);
    loop {
        let holder = match state.try_lock(start)? {
            Ok(lock) => return Ok(lock),
            Err(holder) => holder,
        };
        let now = host.clock.now().tick;
        if now >= end {
            return Err(StateError::Locked { location: state.location(), holder });
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

/// Opens the state of which the lock is held, or makes it.
///
/// # Errors
/// A state that cannot be used, and a place that cannot be written.
pub(super) fn open_or_create(host: &Host, locked: &dyn LockedState) -> Result<Box<dyn Store>, StateError> {
    match locked.open()? {
        Some(store) => Ok(store),
        None => locked.create(&lineage(host)),
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

/// Refuses to go on in a state that keeps manifests of several repositories apart, without a word whose these are.
///
/// # Errors
/// Exit 5 with the namespaces in use.
pub(super) fn refuse_without_namespace(unread: &Unread) -> Result<()> {
    let namespaces = unread.namespaces.clone();
    refuse((!namespaces.is_empty()).then_some(Refusal::Namespace { namespaces }))
}

/// # Errors
/// Exit 5 if there is a refusal.
pub(super) fn refuse(refusal: Option<Refusal>) -> Result<()> {
    let Some(refusal) = refusal else { return Ok(()) };
    Err(refused(&[Reason { manifest: None, text: refusal.to_string() }]).into())
}
