//! One run of the daemon: the manifests as they are, or the last valid ones, and a pass over the state with them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;

use super::cycle_error::CycleError;
use super::events::{Counted, CycleControl, CycleEvents, Silent};
use super::files::Files;
use super::log_line;
use super::newest::Newest;
use super::proving::{self, Proving};
use super::reading::{ManifestsSeen, Read};
use super::{Reporter, WatchOptions, remaining, watch_folders};
use crate::core::hold::KnownRefusal;
use crate::core::report::ReportEvent;
use crate::core::time::Timestamp;
use crate::core::watch::{RunEnd, RunReason, RunRequest};
use crate::engine::inputs::{Extent, Loaded};
use crate::engine::stat_caches::{self, StatCaches};
use crate::engine::{
    Claim, Desired, Exit, LOOK_UP_MS, Pass, PassEnd, PassMemory, PassOptions, Reason, Resident, Stop, exit_of, lock,
    open_or_create, returned_caches, run_start,
};
use crate::host::Host;
use crate::host::credentials::CredentialStore;
use crate::host::sources::NamedSource;
use crate::host::watcher::Moved;
use crate::state::{Backend, LockedState};

/// A provider without credentials is left to a later run after this time, in milliseconds: others wait for its program.
const CREDENTIALS_MS: u64 = 5_000;

/// What one run leaves to the next.
pub(super) struct Memory {
    pub(super) credentials: CredentialStore,
    pass: PassMemory,
    silent: Silent,
    newest: Arc<Mutex<Newest>>,
    /// The state was there.
    has_state: bool,
    /// The last valid manifests, while they leave something to do: what is pending is tried again also when newer ones are
    /// not valid. Given back when all is done, since they may be large.
    last_valid: Option<Desired>,
}

impl Memory {
    pub(super) fn new(host: &Host) -> Self {
        Self {
            credentials: CredentialStore::new(host.env.clone()),
            pass: PassMemory::default(),
            silent: Silent::default(),
            newest: Arc::default(),
            has_state: false,
            last_valid: None,
        }
    }

    /// What the state knows to be refused, if another run has written to it since ours and none is under way.
    pub(super) fn refused_by_others(&self, state: &dyn Backend) -> Option<Vec<KnownRefusal>> {
        let store = state.open().ok()??;
        let is_left = self.pass.identity().is_none_or(|left| store.identity().is_ok_and(|now| now == *left));
        if is_left || state.holder().is_some() { None } else { store.refusals().ok() }
    }

    /// Forgets credentials, which may have been replaced.
    pub(super) fn renew(&mut self, host: &Host) {
        self.credentials = CredentialStore::new(host.env.clone());
    }
}

/// What a run is given.
pub(super) struct Cycle<'a> {
    pub(super) host: &'a Host,
    pub(super) options: &'a WatchOptions<'a>,
    pub(super) state: &'a dyn Backend,
    pub(super) files: &'a dyn Files,
    /// Which one it is in this process, from 1.
    pub(super) pass: u64,
    pub(super) request: RunRequest,
    pub(super) link: Arc<CycleControl>,
    pub(super) reporter: Reporter,
}

/// What the manifests were found to be.
pub(super) enum ManifestsFound {
    /// All are valid.
    Valid {
        manifests: u64,
        targets: u64,
        /// Name and kind of each.
        providers: Vec<(String, String)>,
        warnings: Vec<String>,
    },
    /// Not valid, or unreadable: why.
    Invalid(Vec<String>),
}

/// What came of a run.
pub(super) struct CycleOutcome {
    pub(super) memory: Memory,
    pub(super) request: RunRequest,
    pub(super) end: RunEnd,
    /// `None`: they were not looked at.
    pub(super) found: Option<ManifestsFound>,
    /// What the manifests name as sources; `None` if they were not read.
    pub(super) named: Option<Vec<NamedSource>>,
    pub(super) counted: Counted,
    /// Why guards refuse the plan.
    pub(super) refusals: Vec<Reason>,
    /// Why the run could not be made.
    pub(super) error: Option<CycleError>,
    /// When edges are to be probed next.
    pub(super) proof_due: Option<Timestamp>,
}

/// What came of a run with so much of the manifests.
enum CycleStep {
    Ended(Box<CycleOutcome>),
    /// Nothing was done: it is to be tried again with so much, under the lock if it is held.
    Again(Box<Memory>, Extent, Option<Box<dyn LockedState>>),
}

impl CycleStep {
    fn ended(outcome: CycleOutcome) -> Self {
        Self::Ended(Box::new(outcome))
    }
}

impl Cycle<'_> {
    /// Runs to the end.
    pub(super) async fn run(self, mut memory: Memory) -> CycleOutcome {
        watch_folders::watch_folders(self.files, self.pass, &self.reporter).await;
        self.look_for_state(&mut memory);
        memory.credentials.begin_run();
        // What edges owe is asked of manifests that did not change as well.
        let first = if self.request.reason == RunReason::Proof { Extent::All } else { Extent::Changed };
        let (mut extent, mut held) = (first, None);
        loop {
            match self.attempt(memory, extent, held).await {
                CycleStep::Ended(mut ended) => {
                    // It may be the run that made it.
                    ended.memory.has_state |= self.state.is_there();
                    ended.proof_due = ended.proof_due.or_else(|| self.next_proof(ended.found.as_ref()));
                    self.report_state();
                    return *ended;
                }
                CycleStep::Again(back, wider, lock) => (memory, extent, held) = (*back, wider, lock),
            }
        }
    }

    /// A command by hand may have drawn on quotas, or probed edges.
    fn report_state(&self) {
        let now = self.host.clock.now().wall;
        // Why a state cannot be read is what the run came to.
        if let Ok(quotas) = remaining::quotas(self.state, self.options.namespace.as_deref(), now) {
            self.reporter.send(&[ReportEvent::Quotas(quotas)]);
        }
        if let Ok(edges) = remaining::edges(self.state, self.options.namespace.as_deref()) {
            self.reporter.send(&[ReportEvent::Edges(edges)]);
        }
    }

    /// A state that is made anew is no state that was lost, unless there was one.
    fn look_for_state(&self, memory: &mut Memory) {
        let has_state = self.state.is_there();
        if memory.has_state && !has_state {
            let state = log_line(&self.state.location());
            tracing::warn!(
                pass = self.pass,
                "state `{state}` is gone: nothing is known of what was purged, so what follows is a first run"
            );
        }
        memory.has_state = has_state;
    }

    async fn attempt(&self, mut memory: Memory, extent: Extent, held: Option<Box<dyn LockedState>>) -> CycleStep {
        self.link.reading.store(true, Ordering::Release);
        let seen = self.files.read(extent, Arc::clone(&memory.newest)).await;
        self.link.reading.store(false, Ordering::Release);
        self.reporter.reads_no_more();
        let seen = match seen {
            Ok(seen) => seen,
            Err(error) => return CycleStep::ended(self.failed(memory, &error)),
        };
        if self.request.rereads.applies(seen.moved.changed || !seen.is_watched, seen.moved.writing) {
            // To keep caches takes the lock.
            drop(held);
            return CycleStep::ended(self.discard(memory, seen).await);
        }
        let ManifestsSeen { read, named, claim, .. } = seen;
        let claim = held.map_or(claim, Claim::Held);
        let (loaded, found) = match read {
            Read::Unchanged(desired, away) => {
                let patience_ms = self.options.timeout_ms.min(LOOK_UP_MS);
                if !returned_caches(self.host, &desired, away, patience_ms).await.is_empty() {
                    return CycleStep::Again(Box::new(memory), Extent::All, None);
                }
                memory.last_valid = None;
                let found = Some(ManifestsFound::valid(&desired, Vec::new()));
                return CycleStep::ended(CycleOutcome { found, ..self.bare(memory, RunEnd::Done(Vec::new())) });
            }
            Read::Valid(loaded, warnings) => {
                let found = ManifestsFound::valid(&loaded.desired, warnings);
                (Some(loaded), found)
            }
            Read::Invalid(problems) => (self.last_valid(&mut memory), ManifestsFound::Invalid(problems)),
        };
        // The run may take long, and others want to know meanwhile.
        self.reporter.send(&[found.event(self.host.clock.now().wall)]);
        let found = Some(found);
        let Some(loaded) = loaded else {
            return CycleStep::ended(CycleOutcome { found, named, ..self.bare(memory, RunEnd::Failed) });
        };
        match self.pass(memory, loaded, claim).await {
            CycleStep::Ended(ended) => CycleStep::ended(CycleOutcome { found, named, ..*ended }),
            again @ CycleStep::Again(..) => again,
        }
    }

    /// A run of which nothing is known but how it ended.
    fn bare(&self, memory: Memory, end: RunEnd) -> CycleOutcome {
        let (request, counted) = (self.request.clone(), Counted::default());
        CycleOutcome {
            memory,
            request,
            end,
            found: None,
            named: None,
            counted,
            refusals: Vec::new(),
            error: None,
            proof_due: None,
        }
    }

    fn failed(&self, memory: Memory, error: &anyhow::Error) -> CycleOutcome {
        let counted = Counted { exit: Some(exit_of(error)), ..Counted::default() };
        CycleOutcome {
            counted,
            error: Some(CycleError::of(error, &self.options.commands)),
            ..self.bare(memory, RunEnd::Failed)
        }
    }

    /// The last valid manifests, if no other run came since: it may have seen newer ones.
    fn last_valid(&self, memory: &mut Memory) -> Option<Loaded> {
        let desired = memory.last_valid.take()?;
        let store = self.state.open().ok()??;
        let loaded = Loaded { desired, caches: StatCaches::default(), ahead: None };
        memory.pass.is_alone(&*store).then_some(loaded)
    }

    /// Makes nothing of what was read, but for what spares reading it again.
    async fn discard(
        &self,
        mut memory: Memory,
        ManifestsSeen { read, named, moved, .. }: ManifestsSeen,
    ) -> CycleOutcome {
        let why = match moved {
            Moved { writing: true, .. } => "a file is being written",
            Moved { changed: true, .. } => "files changed while they were read",
            Moved { .. } => "sources were read that nobody watched",
        };
        tracing::debug!(pass = self.pass, "{why}: everything is read again");
        let caches = match read {
            Read::Valid(loaded, _) => loaded.caches,
            Read::Unchanged(..) | Read::Invalid(_) => StatCaches::default(),
        };
        if let Err(error) = self.keep(&mut memory, caches).await {
            tracing::info!(pass = self.pass, "{}", log_line(&format!("{error:#}")));
        }
        CycleOutcome { named, ..self.bare(memory, RunEnd::Stale) }
    }

    /// Keeps stat caches, also before the first run that sends: to read everything for it may take long.
    async fn keep(&self, memory: &mut Memory, caches: StatCaches) -> anyhow::Result<()> {
        if caches.is_empty() {
            return Ok(());
        }
        let context = "the next run will read all files again";
        let start = run_start(self.host);
        let lock = lock(self.host, self.state, &start, 0).await.context(context)?;
        let mut store = open_or_create(self.host, &*lock).context(context)?;
        memory.pass.alone(&mut *store, |store| stat_caches::keep(store, caches)).map_err(anyhow::Error::msg)
    }

    async fn pass(&self, mut memory: Memory, mut loaded: Loaded, claim: Claim) -> CycleStep {
        let Memory { credentials, pass: pass_memory, silent, newest, .. } = &mut memory;
        let pass = Pass { host: self.host, state: self.state, credentials, options: self.pass_options() };
        let mut events =
            CycleEvents::new((self.pass, &self.request), &self.link, &self.reporter, &self.options.commands, silent);
        let resident = Resident { request: &self.request, memory: pass_memory, stop: self.link.interrupted() };
        let mut on_event = |event: crate::engine::PassEvent<'_>| events.takes(&event);
        let ended = Box::pin(pass.run(&mut loaded, claim, Some(resident), &mut on_event)).await;
        let mut counted = std::mem::take(&mut events.counted);
        if let Some(left) = pass_memory.identity() {
            newest.lock().unwrap_or_else(PoisonError::into_inner).note(left.clone());
        }
        let (end, refusals, error) = match ended {
            Ok(PassEnd::ReadAll) => return CycleStep::Again(Box::new(memory), Extent::All, None),
            Ok(PassEnd::Overtaken(lock)) => return CycleStep::Again(Box::new(memory), Extent::Changed, Some(lock)),
            Ok(PassEnd::Cut) => (RunEnd::Cut, Vec::new(), None),
            Ok(PassEnd::Ended(exit)) => {
                counted.exit = Some(exit);
                let refusals = std::mem::take(&mut counted.refusals);
                match counted.failure.take() {
                    Some(error) => (RunEnd::Failed, refusals, Some(CycleError::Other(error))),
                    None if refusals.is_empty() => (RunEnd::Done(counted.ends()), refusals, None),
                    None => (RunEnd::Blocked(Some(counted.ends())), refusals, None),
                }
            }
            Err(error) => match error.downcast::<Stop>() {
                Ok(stop) if stop.exit == Exit::Refused => {
                    // One of them holds back all.
                    counted.refused = stop.reasons.iter().map(Reason::held).max().unwrap_or(0);
                    (RunEnd::Blocked(None), stop.reasons, None)
                }
                Ok(stop) => self.cannot_run(&mut counted, &stop.into()),
                Err(error) => self.cannot_run(&mut counted, &error),
            },
        };
        let keeps = match &end {
            RunEnd::Done(left) => !left.is_empty(),
            RunEnd::Failed | RunEnd::Cut | RunEnd::Stale => true,
            // What a guard refuses must not be done behind its back.
            RunEnd::Blocked(_) => false,
        };
        let proof_due = match &end {
            RunEnd::Done(_) => proving::probe_due(self.proving(), &mut loaded.desired, &mut memory.pass).await,
            _ => None,
        };
        memory.last_valid = keeps.then(|| loaded.desired.tried());
        CycleStep::ended(CycleOutcome { counted, refusals, error, proof_due, ..self.bare(memory, end) })
    }

    fn proving(&self) -> Proving<'_> {
        let Self { host, options, state, pass, link, .. } = self;
        Proving { host, state: *state, options, pass: *pass, stop: link.interrupted() }
    }

    /// When edges are to be probed next, by the state.
    fn next_proof(&self, found: Option<&ManifestsFound>) -> Option<Timestamp> {
        let Some(ManifestsFound::Valid { providers, .. }) = found else { return None };
        proving::next_due((self.host, self.state), self.options.namespace.as_deref(), providers)
    }

    fn cannot_run(&self, counted: &mut Counted, error: &anyhow::Error) -> (RunEnd, Vec<Reason>, Option<CycleError>) {
        counted.exit = Some(exit_of(error));
        (RunEnd::Failed, Vec::new(), Some(CycleError::of(error, &self.options.commands)))
    }

    fn pass_options(&self) -> PassOptions<'_> {
        let WatchOptions { selection, allowed, timeout_ms, grace_ms, audit, commands, .. } = self.options;
        PassOptions {
            selection,
            allowed: *allowed,
            expect: None,
            deferred_ok: false,
            // What is not ready is asked for again by the loop.
            wait_for_origins_ms: Some(0),
            lock_timeout_ms: 0,
            deadline: None,
            timeout_ms: *timeout_ms,
            grace_ms: *grace_ms,
            audit: audit.as_deref(),
            commands,
            patience_ms: Some(CREDENTIALS_MS),
            accounts: None,
            // A resident pass has its own.
            interrupts: &|| tokio::sync::watch::channel(false).1,
            tamper: self.options.tamper,
        }
    }
}

impl ManifestsFound {
    fn valid(desired: &Desired, warnings: Vec<String>) -> Self {
        Self::Valid {
            manifests: desired.manifests(),
            targets: desired.targets(),
            providers: desired.providers(),
            warnings,
        }
    }

    /// What readers of the report are given.
    pub(super) fn event(&self, now: crate::core::time::Timestamp) -> ReportEvent<'_> {
        match self {
            Self::Valid { manifests, targets, providers, .. } => {
                ReportEvent::Valid { manifests: *manifests, targets: *targets, providers }
            }
            Self::Invalid(problems) => ReportEvent::Invalid(now, problems),
        }
    }
}
