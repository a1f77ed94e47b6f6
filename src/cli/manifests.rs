//! Manifests as commands read them: problems are shown as they are found, progress on a terminal.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::Result;

use super::args::{self, Format, Global, ManifestLimits};
use super::progress::ProgressMeter;
use super::render::github::{self, Annotated};
use super::render::shown;
use super::{diagnostics, terminal};
use crate::engine::inputs::{self, FoundManifests, Loaded, Lookup, ManifestsRead};
use crate::engine::{Desired, ReadObserver, Stop};
use crate::host::{Host, nearby};
use crate::manifest::{Built, Diagnostic, Hidden, SourceFile};
use crate::state::Backend;

/// The manifests at `paths`, whose state is `backend`.
pub(super) fn lookup<'a>(
    global: &'a Global,
    backend: &'a dyn Backend,
    paths: &'a [PathBuf],
    limits: ManifestLimits,
) -> Lookup<'a> {
    let (max_targets, namespace) = (limits.max_targets, global.namespace.as_deref());
    Lookup { paths, max_targets, namespace, vanished: &[], own: global.own(backend) }
}

/// What is said where no state is found, and whether one that is elsewhere may be meant; `None`: there is one.
pub(super) fn new_state(global: &Global, paths: &[PathBuf]) -> Option<(String, bool)> {
    let backend = &*global.backend();
    if backend.is_there() {
        return None;
    }
    let (place, meant) = no_state(global, paths);
    let text = format!("no state at {place}: everything looks new{meant}");
    Some((text, !meant.is_empty()))
}

/// Where no state is, and a question after one that is elsewhere and may be meant.
pub(super) fn no_state(global: &Global, paths: &[PathBuf]) -> (String, String) {
    let others: Vec<String> = nearby::others(&global.state, Path::new(args::STATE), paths)
        .iter()
        .map(|other| format!("`{}`", shown(&other.to_string_lossy())))
        .collect();
    let here = if global.state.is_absolute() {
        String::new()
    } else {
        format!(", seen from `{}`", shown(&nearby::working_directory()))
    };
    let meant = if others.is_empty() { String::new() } else { format!("; is {} meant?", others.join(" or ")) };
    (format!("`{}`{here}", global.backend().location()), meant)
}

/// Reads and checks manifests; the caller shows their problems.
///
/// # Errors
/// Bad input if a file cannot be read.
pub(super) fn examine(
    host: &Host,
    global: &Global,
    manifests: &args::ManifestArgs,
) -> Result<(Vec<SourceFile>, Built)> {
    let backend = &*global.backend();
    let mut shown = None;
    let lookup = lookup(global, backend, &manifests.paths, manifests.limits);
    Ok(inputs::check(host, lookup, &mut |seen| shown = Some(ProgressMeter::of_manifests(seen)))?)
}

/// Reads and checks all manifests; shows every problem on standard error.
///
/// # Errors
/// Bad input if there is any error.
pub(super) fn load(host: &Host, global: &Global, paths: &[PathBuf], limits: ManifestLimits) -> Result<Desired> {
    let backend = &*global.backend();
    let found = inputs::find(lookup(global, backend, paths, limits))?;
    let reader: &mut dyn ReadObserver = &mut ManifestReader::new(Format::Human);
    Ok(reader.read_all(host, &found, false)?.desired)
}

/// Reads and checks all manifests; what is shown of their problems is returned with the error, and nothing is shown.
pub(super) fn try_load(
    host: &Host,
    global: &Global,
    paths: &[PathBuf],
    limits: ManifestLimits,
) -> std::result::Result<Desired, (anyhow::Error, String)> {
    let backend = &*global.backend();
    let mut reader = ManifestReader { held_back: Some(String::new()), ..ManifestReader::new(Format::Human) };
    let read = inputs::find(lookup(global, backend, paths, limits)).map_err(anyhow::Error::from);
    let loaded = read.and_then(|found| (&mut reader as &mut dyn ReadObserver).read_all(host, &found, false));
    let problems = reader.held_back.unwrap_or_default();
    match loaded {
        Ok(loaded) => {
            terminal::tell(&problems);
            Ok(loaded.desired)
        }
        Err(error) => Err((error, problems)),
    }
}

/// Shows every problem on standard error.
pub(super) fn show_problems(files: &[SourceFile], diagnostics: &[Diagnostic], hidden: &[Hidden]) {
    terminal::tell(&problems_shown(files, diagnostics, hidden));
}

fn problems_shown(files: &[SourceFile], diagnostics: &[Diagnostic], hidden: &[Hidden]) -> String {
    let coloured = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    diagnostics::render(files, diagnostics, hidden, coloured)
}

/// Shows on a terminal how far reading is, then problems on standard error and, in GitHub's format, warnings as a result.
pub(super) struct ManifestReader {
    format: Format,
    progress: Option<ProgressMeter>,
    /// Problems that are not shown yet, where they are to be shown later.
    held_back: Option<String>,
    /// What it has shown in GitHub's format.
    pub(super) annotated: Rc<Cell<Annotated>>,
}

impl ManifestReader {
    /// One that shows problems in this format.
    pub(super) fn new(format: Format) -> Self {
        Self { format, progress: None, held_back: None, annotated: Rc::default() }
    }
}

impl ReadObserver for ManifestReader {
    fn begins(&mut self, seen: Arc<AtomicU64>) {
        self.progress = Some(ProgressMeter::of_manifests(seen));
    }

    fn ends(&mut self, found: &FoundManifests<'_>, read: ManifestsRead) -> Result<Loaded> {
        // What is printed next stands alone.
        self.progress = None;
        let problems = found.problems(&read);
        if self.format == Format::Github && read.loaded.is_some() {
            let (text, annotated) = github::problems(&problems);
            terminal::print(&text);
            self.annotated.set(annotated);
        }
        let shown = problems_shown(found.files(), &read.diagnostics, &read.hidden);
        match &mut self.held_back {
            Some(held_back) => held_back.push_str(&shown),
            None => terminal::tell(&shown),
        }
        read.loaded.ok_or_else(|| {
            let stop = Stop::bad_input("the manifests are not valid; nothing was sent");
            Stop { problems: Some(problems), ..stop }.into()
        })
    }
}
