//! What a run reads: the manifests as far as they changed. Called on a thread that may wait for disks.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::newest::Newest;
use crate::core::endpoints::AwayCache;
use crate::engine::inputs::{Extent, Loaded, Lookup, ReadOutcome, find};
use crate::engine::stat_caches::Own;
use crate::engine::{Claim, Desired};
use crate::host::Host;
use crate::host::sources::NamedSource;
use crate::host::watcher::{EventFence, Moved};
use crate::manifest::{Problem, Severity};
use crate::state::Backend;

/// Which files there are to read, and where the state is.
#[derive(Clone)]
pub struct WatchedPaths {
    /// Files and folders with manifests.
    pub manifests: Vec<PathBuf>,
    /// Most targets that base URLs, providers and further URLs may make of assets.
    pub max_targets: u64,
    /// What keeps manifests of several repositories in one state apart.
    pub namespace: Option<String>,
    /// The file of the state, as the user named it.
    pub state_file: PathBuf,
    /// The audit log.
    pub audit: Option<PathBuf>,
}

/// Manifests to run with.
pub enum Read {
    /// As they were when all was done, with the caches that lack something.
    Unchanged(Desired, Vec<AwayCache>),
    /// Valid, with warnings.
    Valid(Loaded, Vec<String>),
    /// Not valid, or unreadable: why.
    Invalid(Vec<String>),
}

/// What came of reading.
pub struct ManifestsSeen {
    /// The manifests.
    pub read: Read,
    /// What they name as sources, unless they were not looked into.
    pub named: Option<Vec<NamedSource>>,
    /// What happened to files since the run began.
    pub moved: Moved,
    /// All sources were watched before they were read.
    pub is_watched: bool,
    /// From before anything was read.
    pub claim: Claim,
}

/// What there is to read.
pub(super) struct Reading {
    pub(super) host: Host,
    pub(super) state: Arc<dyn Backend>,
    pub(super) paths: WatchedPaths,
    pub(super) extent: Extent,
    /// When the run began.
    pub(super) since: EventFence,
    pub(super) newest: Arc<Mutex<Newest>>,
}

impl Reading {
    fn lookup(&self) -> Lookup<'_> {
        let WatchedPaths { manifests, max_targets, namespace, state_file, audit } = &self.paths;
        let own = Own { backend: &*self.state, state: state_file, audit: audit.as_deref() };
        Lookup { paths: manifests, max_targets: *max_targets, namespace: namespace.as_deref(), vanished: &[], own }
    }

    /// # Errors
    /// A state that cannot be read.
    pub(super) fn read(&self) -> anyhow::Result<ManifestsSeen> {
        let claim = Claim::before_reading(&*self.state);
        let (read, named) = self.read_manifests()?;
        let moved = match read {
            // It is what was read before.
            Read::Unchanged(..) => Moved::default(),
            Read::Valid(..) | Read::Invalid(_) => self.since.look(),
        };
        Ok(ManifestsSeen { read, named, moved, is_watched: true, claim })
    }

    fn read_manifests(&self) -> anyhow::Result<(Read, Option<Vec<NamedSource>>)> {
        let found = match find(self.lookup()) {
            Ok(found) => found,
            Err(stop) => return Ok((Read::Invalid(stop.messages), None)),
        };
        let mut on_state = |store: &dyn crate::state::Store| {
            let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
            newest.check(&self.state.location(), store.identity()?)
        };
        let read = match found.read(&self.host, (self.extent, true, true), &mut on_state, &mut |_| {})? {
            ReadOutcome::Unchanged(desired, away) => return Ok((Read::Unchanged(desired, away), None)),
            ReadOutcome::Read(read) => read,
        };
        let problems = found.problems(&read);
        let of = |severity| problems.iter().filter(|one| one.severity == severity).map(Problem::to_string).collect();
        let seen = match read.loaded {
            Some(valid) => Read::Valid(valid, of(Severity::Warning)),
            // Warnings are logged once there is nothing worse.
            None => Read::Invalid(of(Severity::Error)),
        };
        Ok((seen, Some(read.named)))
    }
}
