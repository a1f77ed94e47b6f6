//! One run of the watch: the manifests as they are, or the last valid ones, and a pass over the state with them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use tokio::sync::watch;

use super::log::line;
use super::newest::Newest;
use super::reading::{Extent, Outcome, Read, Reading};
use super::side::{Calls, Came, Link, WatchSide};
use super::trouble::Trouble;
use super::voice;
use crate::cli::args::{Global, Selection, WatchArgs};
use crate::cli::claim::Claim;
use crate::cli::exit::{self, Exit};
use crate::cli::pass::{LOOK_UP_MS, Pass, Ran};
use crate::cli::session::{self, Loaded};
use crate::cli::stat_caches::{self, StatCaches};
use crate::core::report::Report;
use crate::core::watch::{Order, RunEnd};
use crate::engine::{self, Desired};
use crate::host::Host;
use crate::host::credentials::CredentialStore;
use crate::host::sources::NamedSource;
use crate::host::watcher::{Moved, Root, Since};
use crate::state::{Backend, LockedState};

/// A provider without credentials is left to a later run after this time, in milliseconds: others wait for its program.
const CREDENTIALS_MS: u64 = 5_000;

/// What one run leaves to the next.
pub(super) struct Memory {
    pub(super) credentials: CredentialStore,
    calls: Calls,
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
            calls: Calls::default(),
            newest: Arc::default(),
            has_state: false,
            last_valid: None,
        }
    }

    /// Forgets credentials, which may have been replaced.
    pub(super) fn renew(&mut self, host: &Host) {
        self.credentials = CredentialStore::new(host.env.clone());
    }
}

/// What a run is given.
pub(super) struct Round<'a> {
    pub(super) host: &'a Host,
    pub(super) global: &'a Global,
    pub(super) args: &'a WatchArgs,
    pub(super) state: Arc<dyn Backend>,
    /// Which one it is in this process, from 1.
    pub(super) pass: u64,
    pub(super) order: Order,
    /// What is watched.
    pub(super) roots: Vec<Root>,
    /// What happened to that since the run began.
    pub(super) since: Since,
    pub(super) link: Arc<Link>,
    pub(super) report: Arc<watch::Sender<Report>>,
}

/// What the manifests were found to be.
pub(super) enum Found {
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
pub(super) struct Ended {
    pub(super) memory: Memory,
    pub(super) order: Order,
    pub(super) end: RunEnd,
    /// `None`: they were not looked at.
    pub(super) found: Option<Found>,
    /// What the manifests name as sources; `None` if they were not read.
    pub(super) named: Option<Vec<NamedSource>>,
    pub(super) came: Came,
    /// Why guards refuse the plan.
    pub(super) refusals: Vec<String>,
    /// Why the run could not be made.
    pub(super) trouble: Option<Trouble>,
}

/// What came of a run with so much.
enum Attempt {
    Ended(Box<Ended>),
    /// Nothing was done: it is to be tried again with so much, under the lock if it is held.
    Again(Box<Memory>, Extent, Option<Box<dyn LockedState>>),
}

impl Attempt {
    fn ended(ended: Ended) -> Self {
        Self::Ended(Box::new(ended))
    }
}

impl Round<'_> {
    /// Runs to the end.
    pub(super) async fn run(self, mut memory: Memory) -> Ended {
        self.look_for_state(&mut memory);
        memory.credentials.begin_run();
        let (mut extent, mut held) = (Extent::Changed, None);
        loop {
            match self.attempt(memory, extent, held).await {
                Attempt::Ended(mut ended) => {
                    // It may be the run that made it.
                    ended.memory.has_state |= self.state.is_there();
                    return *ended;
                }
                Attempt::Again(back, wider, lock) => (memory, extent, held) = (*back, wider, lock),
            }
        }
    }

    /// A state that is made anew is no state that was lost, unless there was one.
    fn look_for_state(&self, memory: &mut Memory) {
        let has_state = self.state.is_there();
        if memory.has_state && !has_state {
            let state = line(&self.state.location());
            tracing::warn!(
                pass = self.pass,
                "state `{state}` is gone: nothing is known of what was purged, so what follows is a first run"
            );
        }
        memory.has_state = has_state;
    }

    async fn attempt(&self, mut memory: Memory, extent: Extent, held: Option<Box<dyn LockedState>>) -> Attempt {
        self.link.reading.store(true, Ordering::Release);
        let read = self.read(extent, &memory).await;
        self.link.reading.store(false, Ordering::Release);
        self.report.send_if_modified(|report| {
            report.running.as_mut().is_some_and(|running| std::mem::take(&mut running.reads_long))
        });
        let read = match read {
            Ok(read) => read,
            Err(error) => {
                return Attempt::ended(self.failed(memory, &error));
            }
        };
        if self.is_stale(&read) {
            // To keep caches takes the lock.
            drop(held);
            return Attempt::ended(self.discard(memory, read).await);
        }
        let Outcome { read, named, claim, .. } = read;
        let claim = held.map_or(claim, Claim::Held);
        let (loaded, found) = match read {
            Read::Unchanged(desired, away) => {
                let patience_ms = self.args.timeout.min(LOOK_UP_MS);
                if !engine::returned_caches(self.host, &desired, away, patience_ms).await.is_empty() {
                    return Attempt::Again(Box::new(memory), Extent::All, None);
                }
                memory.last_valid = None;
                let found = Some(Found::valid(&desired, Vec::new()));
                return Attempt::ended(Ended { found, ..self.bare(memory, RunEnd::Done(Vec::new())) });
            }
            Read::Valid(loaded, warnings) => {
                let found = Found::valid(&loaded.desired, warnings);
                (Some(loaded), found)
            }
            Read::Invalid(problems) => (self.last_valid(&mut memory), Found::Invalid(problems)),
        };
        let found = Some(found);
        // The run may take long, and others want to know meanwhile.
        self.report.send_modify(|report| voice::take_manifests(report, found.as_ref(), self.host.clock.now()));
        let Some(loaded) = loaded else {
            return Attempt::ended(Ended { found, named, ..self.bare(memory, RunEnd::Failed) });
        };
        match self.pass(memory, loaded, claim).await {
            Attempt::Ended(ended) => Attempt::ended(Ended { found, named, ..*ended }),
            again @ Attempt::Again(..) => again,
        }
    }

    /// A run of which nothing is known but how it ended.
    fn bare(&self, memory: Memory, end: RunEnd) -> Ended {
        let (order, came) = (self.order.clone(), Came::default());
        Ended { memory, order, end, found: None, named: None, came, refusals: Vec::new(), trouble: None }
    }

    fn failed(&self, memory: Memory, error: &anyhow::Error) -> Ended {
        let came = Came { exit: Some(exit::of(error)), ..Came::default() };
        Ended { came, trouble: Some(Trouble::of(error)), ..self.bare(memory, RunEnd::Failed) }
    }

    /// The last valid manifests, if nobody else has run since: another run may have seen newer ones.
    fn last_valid(&self, memory: &mut Memory) -> Option<Loaded> {
        let desired = memory.last_valid.take()?;
        let store = self.state.open().ok()??;
        let loaded = Loaded { desired, caches: StatCaches::default(), ahead: None };
        memory.calls.is_alone(&*store).then_some(loaded)
    }

    async fn read(&self, extent: Extent, memory: &Memory) -> anyhow::Result<Outcome> {
        let state = (Arc::clone(&self.state), Arc::clone(&memory.newest));
        Reading::new(self.host, state, (self.global, self.args), (extent, self.since.clone())).read().await
    }

    /// Whether files changed while they were read, or may have: nobody watched them.
    fn is_stale(&self, read: &Outcome) -> bool {
        let is_watched = read.named.as_ref().is_none_or(|named| super::roots(self.args, named) == self.roots);
        self.order.rereads.applies(read.moved.changed || !is_watched, read.moved.writing)
    }

    /// Makes nothing of what was read, but for what spares reading it again.
    async fn discard(&self, mut memory: Memory, Outcome { read, named, moved, .. }: Outcome) -> Ended {
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
            tracing::info!(pass = self.pass, "{}", line(&format!("{error:#}")));
        }
        Ended { named, ..self.bare(memory, RunEnd::Stale) }
    }

    /// Keeps stat caches, also before the first run that sends: to read everything for it may take long.
    async fn keep(&self, memory: &mut Memory, caches: StatCaches) -> anyhow::Result<()> {
        if caches.is_empty() {
            return Ok(());
        }
        let context = "the next run will read all files again";
        let start = session::run_start(self.host);
        let lock = session::lock(self.host, &*self.state, &start, 0).await.context(context)?;
        let mut store = session::open_or_create(self.host, &*lock).context(context)?;
        memory.calls.alone(&mut *store, |store| stat_caches::keep(store, caches)).map_err(anyhow::Error::msg)
    }

    async fn pass(&self, mut memory: Memory, mut loaded: Loaded, claim: Claim) -> Attempt {
        let Memory { credentials, calls, newest, .. } = &mut memory;
        let mut side = WatchSide::new((self.host, self.pass, &self.order), &self.link, &self.report, calls);
        let pass = Pass {
            host: self.host,
            state: &*self.state,
            selection: &Selection::default(),
            allowed: self.args.allowed.allowed(),
            expect: None,
            lock_timeout_ms: 0,
            deadline: None,
            timeout_ms: self.args.timeout,
            grace_ms: self.args.grace,
            audit: self.args.audit.as_deref(),
            credentials,
            patience_ms: Some(CREDENTIALS_MS),
        };
        let ran = Box::pin(pass.run(&mut loaded, claim, &mut side)).await;
        let mut came = std::mem::take(&mut side.came);
        if let Some(left) = calls.identity() {
            newest.lock().unwrap_or_else(PoisonError::into_inner).note(left.clone());
        }
        let (end, refusals, trouble) = match ran {
            Ok(Ran::NotEnough) => return Attempt::Again(Box::new(memory), Extent::All, None),
            Ok(Ran::Overtaken(lock)) => return Attempt::Again(Box::new(memory), Extent::Changed, Some(lock)),
            Ok(Ran::Cut) => (RunEnd::Cut, Vec::new(), None),
            Ok(Ran::Ended(exit)) => {
                came.exit = Some(exit);
                match came.trouble.take() {
                    Some(error) => (RunEnd::Failed, Vec::new(), Some(Trouble::Other(error))),
                    None => (RunEnd::Done(came.ends()), Vec::new(), None),
                }
            }
            Err(error) if exit::of(&error) == Exit::Refused => {
                let refusals = format!("{error:#}").split("\nerror: ").map(str::to_owned).collect();
                // What failed earlier was tried again meanwhile.
                let left = came.exit.is_some().then(|| came.ends());
                (RunEnd::Blocked(left), refusals, came.trouble.take().map(Trouble::Other))
            }
            Err(error) => {
                came.exit = Some(exit::of(&error));
                (RunEnd::Failed, Vec::new(), Some(Trouble::of(&error)))
            }
        };
        let keeps = match &end {
            RunEnd::Done(left) => !left.is_empty(),
            RunEnd::Failed | RunEnd::Cut | RunEnd::Stale => true,
            // What a guard refuses must not be done behind its back.
            RunEnd::Blocked(_) => false,
        };
        memory.last_valid = keeps.then(|| loaded.desired.tried());
        Attempt::ended(Ended { came, refusals, trouble, ..self.bare(memory, end) })
    }
}

impl Found {
    fn valid(desired: &Desired, warnings: Vec<String>) -> Self {
        Self::Valid {
            manifests: desired.manifests(),
            targets: desired.targets(),
            providers: desired.providers(),
            warnings,
        }
    }
}
