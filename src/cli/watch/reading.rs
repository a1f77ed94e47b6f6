//! What a run reads, on a thread of its own: files may be many and large, and signals are to be heard meanwhile.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::newest::Newest;
use crate::cli::args::{Global, Manifests, Selection, WatchArgs};
use crate::cli::claim::Claim;
use crate::cli::session::{self, Loaded, Lookup};
use crate::cli::stat_caches::Own;
use crate::core::endpoints::AwayCache;
use crate::engine::Desired;
use crate::host::Host;
use crate::host::sources::NamedSource;
use crate::host::watcher::{Moved, Since};
use crate::manifest::Severity;
use crate::state::Backend;

/// How much of the manifests is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// What changed since all was done.
    Changed,
    All,
}

/// Manifests to run with.
pub(super) enum Read {
    /// As they were when all was done, with the caches that lack something.
    Unchanged(Desired, Vec<AwayCache>),
    Valid(Loaded, Vec<String>),
    Invalid(Vec<String>),
}

/// What came of reading.
pub(super) struct Outcome {
    pub(super) read: Read,
    /// What the manifests name as sources, unless they were not looked into.
    pub(super) named: Option<Vec<NamedSource>>,
    /// What happened to files since the run began.
    pub(super) moved: Moved,
    /// From before anything was read.
    pub(super) claim: Claim,
}

/// What there is to read.
pub(super) struct Reading {
    host: Host,
    state: Arc<dyn Backend>,
    state_file: PathBuf,
    audit: Option<PathBuf>,
    manifests: Manifests,
    namespace: Option<String>,
    extent: Extent,
    since: Since,
    newest: Arc<Mutex<Newest>>,
}

impl Reading {
    /// `since`: when the run began.
    pub(super) fn new(
        host: &Host,
        (state, newest): (Arc<dyn Backend>, Arc<Mutex<Newest>>),
        (global, args): (&Global, &WatchArgs),
        (extent, since): (Extent, Since),
    ) -> Self {
        let (state_file, namespace) = (global.state.clone(), global.namespace.clone());
        let (audit, manifests) = (args.audit.clone(), args.manifests.clone());
        Self { host: host.clone(), state, state_file, audit, manifests, namespace, extent, since, newest }
    }

    fn lookup(&self) -> Lookup<'_> {
        let Manifests { paths, limits } = &self.manifests;
        let (namespace, audit) = (self.namespace.as_deref(), self.audit.as_deref());
        Lookup { paths, limits: *limits, namespace, vanished: &[], audit }
    }

    /// Reads. Whoever does not wait for it any more leaves a thread that ends by itself, and changes nothing.
    ///
    /// # Errors
    /// A state that cannot be read.
    pub(super) async fn read(self) -> anyhow::Result<Outcome> {
        tokio::task::spawn_blocking(move || self.read_now()).await?
    }

    fn read_now(&self) -> anyhow::Result<Outcome> {
        let claim = Claim::before_reading(&*self.state);
        let (read, named) = self.read_manifests()?;
        let moved = match read {
            // It is what was read before.
            Read::Unchanged(..) => Moved::default(),
            Read::Valid(..) | Read::Invalid(_) => self.since.look(),
        };
        Ok(Outcome { read, named, moved, claim })
    }

    fn read_manifests(&self) -> anyhow::Result<(Read, Option<Vec<NamedSource>>)> {
        let found = match session::find(self.lookup()) {
            Ok(found) => found,
            Err(error) => {
                let problems = format!("{error:#}");
                let lines = problems.split("\nerror: ").map(str::to_owned);
                return Ok((Read::Invalid(lines.collect()), None));
            }
        };
        let store = self.state.open()?;
        if let Some(store) = &store {
            let found = store.identity()?;
            self.newest.lock().unwrap_or_else(PoisonError::into_inner).check(&self.state.location(), found)?;
        }
        let mut noted = found.noted(store.as_deref(), &Selection::default())?;
        if self.extent == Extent::All {
            noted = None;
        }
        if let Some(desired) = found.unchanged(noted.as_ref()) {
            let away = store.map_or(Ok(Vec::new()), |store| store.caches_away(self.host.clock.now().wall))?;
            return Ok((Read::Unchanged(desired, away), None));
        }
        drop(store);
        let own = Own { backend: &*self.state, state: &self.state_file, audit: self.audit.as_deref() };
        let loaded = found.load_quietly(&self.host, own, noted);
        let of = |severity| problems(&loaded.problems, severity);
        let read = match loaded.loaded {
            Some(valid) => Read::Valid(valid, of(Severity::Warning)),
            // Warnings are told once there is nothing worse.
            None => Read::Invalid(of(Severity::Error)),
        };
        Ok((read, Some(loaded.named)))
    }
}

/// Problems of one severity among those that `check` lists, a text each.
fn problems(list: &serde_json::Value, severity: Severity) -> Vec<String> {
    let text = |problem: &serde_json::Value| {
        let part = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
        let place = match (problem["line"].as_u64(), problem["column"].as_u64()) {
            (Some(line), Some(column)) => format!("{}:{line}:{column}", part("file")),
            _ => part("file"),
        };
        let help = problem["help"].as_str().map(|help| format!(" ({help})")).unwrap_or_default();
        format!("{place}: {}{help}", part("message"))
    };
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter(|problem| problem["severity"] == severity.word()).map(text).collect()
}
