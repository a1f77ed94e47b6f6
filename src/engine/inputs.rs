//! The manifests of a run: found, identified by their bytes, and read as far as that is needed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::audit::misplaced;
use super::stat_caches::{self, Own, StatCaches};
use super::{Desired, Stop};
use crate::core::endpoints::AwayCache;
use crate::core::owners::{self, Reach};
use crate::core::recorded::{InputFile, Inputs, KnownManifest};
use crate::core::text::one_line;
use crate::host::Host;
use crate::host::manifest_files::{self, ReadProblem};
use crate::host::manifest_tree;
use crate::host::own_files;
use crate::host::sources::NamedSource;
use crate::manifest::{
    self, BuildOptions, Built, Diagnostic, Expand, Hidden, ListReading, NoSources, Problem, SourceFile,
};
use crate::state::{ReadAhead, StateError, Store};

/// Which manifests a command is about.
#[derive(Clone, Copy)]
pub struct Lookup<'a> {
    /// Files and folders that were given.
    pub paths: &'a [PathBuf],
    /// Most targets that base URLs, providers and further URLs may make of assets.
    pub max_targets: u64,
    /// What keeps manifests of several repositories in one state apart.
    pub namespace: Option<&'a str>,
    /// Names of manifests that the user calls vanished.
    pub vanished: &'a [String],
    /// What the command writes.
    pub own: Own<'a>,
}

impl Lookup<'_> {
    fn reach(&self) -> Reach {
        let folders = self.paths.iter().filter(|path| path.is_dir());
        Reach {
            folders: folders.filter_map(|folder| manifest_tree::absolute_folder(folder)).collect(),
            working_directory: manifest_tree::absolute_folder(Path::new(".")).unwrap_or_default(),
            namespace: self.namespace.map(str::to_owned),
            vanished: self.vanished.to_vec(),
            is_there: Box::new(manifest_tree::is_there),
            follow: Box::new(manifest_tree::follow),
        }
    }
}

/// Manifests that are found and identified, and perhaps not read yet.
pub struct FoundManifests<'a> {
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
pub fn find(lookup: Lookup<'_>) -> Result<FoundManifests<'_>, Stop> {
    let found = manifest_files::read_manifests(lookup.paths).map_err(|problems| unreadable(&problems))?;
    if let Some(audit) = lookup.own.audit {
        let is_audit = |file: &SourceFile| own_files::are_one(audit, Path::new(&file.path));
        if let Some(file) = found.files.iter().find(|file| is_audit(file)) {
            let what = format!("is the manifest `{}`", one_line(&file.path, 300));
            return Err(misplaced(audit, &what));
        }
    }
    let mut digest = blake3::Hasher::new();
    digest.update(concat!("freshen ", env!("CARGO_PKG_VERSION"), "\0").as_bytes());
    digest.update(&manifest::RULES.to_le_bytes()).update(&lookup.max_targets.to_le_bytes());
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
    Ok(FoundManifests { lookup, files: found.files, inputs })
}

/// Reads and checks manifests for no run: nothing is known of them by their bytes.
///
/// # Errors
/// Bad input if a file cannot be read.
pub fn check(
    host: &Host,
    lookup: Lookup<'_>,
    on_sources: &mut OnSources<'_>,
) -> Result<(Vec<SourceFile>, Built), Stop> {
    let files = manifest_files::read_manifests(lookup.paths).map_err(|problems| unreadable(&problems))?.files;
    let mut sources = stat_caches::sources(host, lookup.own);
    on_sources(sources.seen());
    let nothing_over = vec![false; files.len()];
    let built = build(host, &files, (&nothing_over, lookup.max_targets), &mut sources);
    Ok((files, built))
}

/// Is given what counts the files of sources that are done, before any is read.
pub type OnSources<'c> = dyn FnMut(Arc<AtomicU64>) + 'c;

/// Manifests that are valid, with what was read beside them.
pub struct Loaded {
    /// What they ask for.
    pub desired: Desired,
    /// To be kept once the state can be written.
    pub caches: StatCaches,
    /// Rows of the state that were read meanwhile.
    pub ahead: Option<ReadAhead>,
}

/// What reading manifests came to.
pub struct ManifestsRead {
    /// What they ask for; `None` if they are not valid.
    pub loaded: Option<Loaded>,
    /// What they name as sources, also where they are not valid; nothing where only changed ones were read.
    pub named: Vec<NamedSource>,
    /// Errors and warnings, in order of file and place.
    pub diagnostics: Vec<Diagnostic>,
    /// What must not be shown of their text.
    pub hidden: Vec<Hidden>,
}

/// How much of the manifests is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What changed since all was done.
    Changed,
    /// All.
    All,
}

/// Manifests as far as a run had to read them.
pub enum ReadOutcome {
    /// As they were when all was done, with the caches that lack something.
    Unchanged(Desired, Vec<AwayCache>),
    /// They were read.
    Read(ManifestsRead),
}

impl FoundManifests<'_> {
    /// The files.
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// Problems with the names of their files.
    pub fn problems(&self, read: &ManifestsRead) -> Vec<Problem> {
        Problem::of(&self.files, &read.diagnostics)
    }

    /// Reads no more than has to be read. `opens`: the state is looked at before, by `on_state` as well; `is_all`: the run is
    /// about all that is listed, so that what an earlier run noted counts.
    ///
    /// # Errors
    /// A state that cannot be read.
    pub fn read(
        &self,
        host: &Host,
        (extent, opens, is_all): (Extent, bool, bool),
        on_state: &mut dyn FnMut(&dyn Store) -> Result<(), StateError>,
        on_sources: &mut OnSources<'_>,
    ) -> Result<ReadOutcome, StateError> {
        // No lock is needed: what another run does now is work, and what it has done is seen later.
        let store = if opens { self.lookup.own.backend.open()? } else { None };
        if let Some(store) = &store {
            on_state(&**store)?;
        }
        let mut noted = self.noted(store.as_deref(), is_all)?;
        if extent == Extent::All {
            noted = None;
        }
        if let Some(desired) = self.unchanged(noted.as_ref()) {
            let away = store.map_or(Ok(Vec::new()), |store| store.caches_away(host.clock.now().wall))?;
            return Ok(ReadOutcome::Unchanged(desired, away));
        }
        drop(store);
        Ok(ReadOutcome::Read(self.read_since(host, noted, on_sources)))
    }

    /// Reads those that changed since they were `noted`, or all.
    pub fn read_since(&self, host: &Host, noted: Option<Inputs>, on_sources: &mut OnSources<'_>) -> ManifestsRead {
        match noted.and_then(|noted| self.changed(host, noted)) {
            // Where any names a source, all are read.
            Some(loaded) => {
                ManifestsRead { loaded: Some(loaded), named: Vec::new(), diagnostics: Vec::new(), hidden: Vec::new() }
            }
            None => self.read_all(host, true, on_sources),
        }
    }

    /// Reads all; `compares`: with all rows of the state, which are read meanwhile.
    pub fn read_all(&self, host: &Host, compares: bool, on_sources: &mut OnSources<'_>) -> ManifestsRead {
        let ahead = if compares { self.lookup.own.backend.read_ahead() } else { None };
        let mut sources = stat_caches::sources(host, self.lookup.own);
        on_sources(sources.seen());
        let nothing_over = vec![false; self.files.len()];
        let mut built = build(host, &self.files, (&nothing_over, self.lookup.max_targets), &mut sources);
        let named: Vec<NamedSource> = sources.named().iter().cloned().collect();
        let caches = sources.into_caches();
        let (diagnostics, hidden) = (built.diagnostics.clone(), std::mem::take(&mut built.hidden));
        let loaded = self.known(built, &named).map(|desired| Loaded { desired, caches, ahead });
        ManifestsRead { loaded, named, diagnostics, hidden }
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

    /// Checks only manifests that changed since an earlier run noted them; `None` if that does not do, for any reason.
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
        let built = build(host, &self.files, (&passed_over, self.lookup.max_targets), &mut NoSources);
        // What was passed over may have been multiplied as well.
        let passed: u64 =
            inputs.files.iter().zip(&passed_over).filter(|(_, over)| **over).map(|(file, _)| file.targets).sum();
        if built.multiplied > 0 && built.multiplied.saturating_add(passed) > self.lookup.max_targets {
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
    pub fn noted(&self, store: Option<&dyn Store>, is_all: bool) -> Result<Option<Inputs>, StateError> {
        let Some(store) = store.filter(|_| is_all) else { return Ok(None) };
        if store.has_work()? || !self.are_in_place(&store.manifests()?) {
            return Ok(None);
        }
        store.inputs()
    }

    /// Whether these are where they are known to be, and all others where they were.
    fn are_in_place(&self, known: &[KnownManifest]) -> bool {
        let mut files: HashMap<String, bool> = self.files.iter().map(|file| (file.tree.absolute(), false)).collect();
        let is_in_place = |known: &KnownManifest| {
            let found = files.get_mut(&known.file()).map(|is_known| *is_known = true);
            found.is_some() || owners::is_in_place(known, &manifest_tree::is_there, &manifest_tree::follow)
        };
        let mut ours = known.iter().filter(|known| known.namespace.as_deref() == self.lookup.namespace);
        ours.all(is_in_place) && files.into_values().all(|is_known| is_known)
    }

    /// The manifests unread, if they are those of a run after which nothing was left to do.
    pub fn unchanged(&self, noted: Option<&Inputs>) -> Option<Desired> {
        let noted = noted.filter(|noted| noted.digest == self.inputs.digest)?;
        Some(Desired::unread(noted.clone(), self.lookup.reach()))
    }
}

/// Builds a model with the environment of this process.
fn build(
    host: &Host,
    files: &[SourceFile],
    (passed_over, max_targets): (&[bool], u64),
    expand: &mut dyn Expand,
) -> Built {
    let variables = |name: &str| host.env.var(name);
    let options = BuildOptions { max_targets, variables: &variables, ..BuildOptions::default() };
    manifest::build_partly(files, passed_over, options, expand)
}

fn unreadable(problems: &[ReadProblem]) -> Stop {
    Stop { messages: problems.iter().map(ToString::to_string).collect(), ..Stop::bad_input("") }
}

/// So many targets are looked up one by one, however many there are.
const MOST_LOOKED_UP: u64 = 10_000;
/// While one target is looked up, so many are read one after another.
const WORTH_OF_A_LOOK: u64 = 8;

/// Folders given as PATH, normalised as manifest paths are.
fn folders(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().filter(|path| path.is_dir()).map(|path| manifest_files::normalise(path)).collect()
}
