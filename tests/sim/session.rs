//! One process of a world: what `freshen apply` does, on the simulation's seams, and what it reports of itself.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use freshen::core::command_line::CommandLine;
use freshen::core::event::ItemState;
use freshen::core::guard::{Allowed, Refusal};
use freshen::core::model::Model;
use freshen::core::owners::Reach;
use freshen::core::plan::{Batches, Job, QuotaKey};
use freshen::core::time::Tick;
use freshen::engine::executor::GRACE_MS;
use freshen::engine::inputs::Loaded;
use freshen::engine::{
    self, Claim, Desired, Exit, Finished, Pass, PassEnd, PassEvent, PassOptions, Prepared, Selection,
};
use freshen::host::credentials::CredentialStore;
use freshen::host::probe::NoProber;
use freshen::host::{Clock, Host};
use freshen::state::{Backend, Identity, RunStart, SqliteStore, StateError};

use crate::backend::SimBackend;
use crate::files::{Files, Paths, Place};
use crate::planted::Bug;
use crate::seams::{NoNames, Shared, SimClock, SimEnv, SimHttp, SimWorker};
use crate::store::Facts;
use crate::vendors::Key;

/// How long one call may take, in milliseconds, as `apply` has it by default.
pub(crate) const TIMEOUT_MS: u64 = 60_000;

/// What one run is like, besides its faults.
#[derive(Clone, Default)]
pub(crate) struct Order {
    pub(crate) forced: BTreeSet<Key>,
    pub(crate) only: Option<usize>,
    pub(crate) allows_removals: bool,
    /// So many purges are allowed, whatever the manifest's guard says.
    pub(crate) max_purges: Option<u64>,
    /// What the manifest's guard says.
    pub(crate) guard: Option<u64>,
    pub(crate) paths: Paths,
    /// From where.
    pub(crate) place: Place,
    /// Another plan was reviewed.
    pub(crate) expects_another: bool,
    pub(crate) seed: u64,
    /// The second of two runners.
    pub(crate) second: bool,
    /// Begins so many milliseconds after the first one.
    pub(crate) delay: u64,
    pub(crate) deadline_ms: Option<u64>,
}

pub(crate) type OneRun<'a> = Pin<Box<dyn Future<Output = Result<Option<Ended>, StateError>> + 'a>>;

/// How a run ended by itself.
pub(crate) struct Ended {
    pub(crate) exit: Exit,
    /// Where each change that was planned for today stands.
    pub(crate) states: Vec<(Key, ItemState)>,
    pub(crate) calls_planned: u64,
    /// The plan as it is shown.
    pub(crate) jobs: Vec<Shown>,
    /// What is not sent before a known time.
    pub(crate) waiting: Vec<Key>,
    pub(crate) wrote: bool,
    pub(crate) failed: bool,
}

impl Ended {
    fn with_nothing_to_do() -> Self {
        let (states, jobs, waiting) = Default::default();
        Self { exit: Exit::Done, states, calls_planned: 0, jobs, waiting, wrote: false, failed: false }
    }
}

/// A job as a plan shows it.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// What it draws on, and how much of that it may use.
    pub(crate) quota: Option<(QuotaKey, u64)>,
    /// What it purges today.
    pub(crate) today: BTreeSet<Key>,
    /// What its quota leaves no room for.
    pub(crate) waits: BTreeSet<Key>,
}

fn shown(shared: &Shared, prepared: &Prepared) -> Vec<Shown> {
    let core = shared.lock();
    let key = |index: usize| core.truth.key(&prepared.difference.changes.target(index).text);
    let of = |job: &Job| Shown {
        quota: job.quota.as_ref().map(|quota| (quota.key.clone(), quota.limit)),
        today: job.changes().filter_map(key).collect(),
        waits: job.over_quota.iter().filter_map(key).collect(),
    };
    prepared.plan.jobs.iter().map(of).collect()
}

/// The manifests as a process read them.
pub(crate) struct Read {
    pub(crate) model: Model,
    pub(crate) facts: Facts,
}

/// What a process goes by: the state, and manifests as they are, or as they were before another run came.
pub(crate) struct Given {
    pub(crate) state: SimBackend,
    pub(crate) now: Read,
    pub(crate) early: Option<(Read, Identity)>,
}

/// One process: one pass as `freshen apply` makes it, on these seams.
pub(crate) async fn session(shared: Shared, given: Given, order: Order) -> Result<Option<Ended>, StateError> {
    let Given { state, now, early } = given;
    let clock = Arc::new(SimClock::new(shared.clone(), state.bug == Some(Bug::PaceForgotten)));
    if order.delay > 0 {
        clock.sleep_until(Tick::from_ms(order.delay)).await;
        // Another process may have gone on meanwhile: it is read as it is now.
        if let Some(path) = &state.path {
            let again = SqliteStore::open(path)?.expect("it is there");
            *state.inner.lock().expect("no panic") = again;
        }
    }
    let worker = Arc::new(SimWorker::new(&shared, order.seed));
    let http = Arc::new(SimHttp { shared: shared.clone(), runner: state.runner });
    let env = Arc::new(SimEnv(shared.clone()));
    let host =
        Host { clock, http, prober: Arc::new(NoProber), resolver: Arc::new(NoNames), env, worker, seed: order.seed };
    let began = shared.lock().now;
    let mut claim = Claim::before_reading(&state);
    let (mut read, mut later) = (now, None);
    if let Some((early, identity)) = early {
        later = Some(std::mem::replace(&mut read, early));
        claim = Claim::Seen(Ok(Some(identity)));
        if state.bug == Some(Bug::StaleReading) {
            let start = RunStart { at: host.clock.now().wall, host: "sim".to_owned(), pid: 1 };
            claim = Claim::Held(state.try_lock(&start)?.unwrap_or_else(|_| unreachable!("no other run has it")));
        }
    }
    let credentials = CredentialStore::new(host.env.clone());
    loop {
        let Read { model, facts } = read;
        let mut loaded = loaded(model, facts.files.as_ref().map(|(files, _)| files.clone()), (&order, state.bug));
        *state.facts.lock().expect("no panic") = Facts { began, only: order.only, ..facts };
        let process = Process::new(&shared, &state, &order, &loaded.desired.model);
        match process.pass(&host, &credentials, &mut loaded, claim).await {
            Ok(PassEnd::Overtaken(lock)) => {
                claim = Claim::Held(lock);
                read = later.take().expect("no run comes in between while the lock is held");
            }
            Ok(PassEnd::ReadAll | PassEnd::Cut) => unreachable!("all was read, and no run is resident"),
            Ok(PassEnd::Ended(exit)) => return Ok(Some(process.ended(exit))),
            Err(error) => return Process::failed(error).map(|()| None),
        }
    }
}

fn loaded(model: Model, files: Option<Files>, (order, bug): (&Order, Option<Bug>)) -> Loaded {
    let mut desired = Desired::new(model, reach(files.unwrap_or_else(Files::one), order, bug));
    if bug == Some(Bug::ConfigurationIgnored) {
        desired.config_digests.fill(String::new());
    }
    Loaded { desired, caches: Vec::new(), ahead: None }
}

/// What a pass comes to, as its events tell.
struct Process<'a> {
    shared: &'a Shared,
    state: &'a SimBackend,
    order: &'a Order,
    selection: Selection,
    due: RefCell<Due>,
    ended: RefCell<Ended>,
}

impl<'a> Process<'a> {
    fn new(shared: &'a Shared, state: &'a SimBackend, order: &'a Order, model: &Model) -> Self {
        let text = |key: &Key| shared.lock().truth.text(*key);
        let selection = Selection {
            providers: order.only.map(|only| model.providers[only].name.clone()).into_iter().collect(),
            force: order.forced.iter().map(text).collect(),
            ..Selection::default()
        };
        let (due, ended) = (RefCell::default(), RefCell::new(Ended::with_nothing_to_do()));
        Self { shared, state, order, selection, due, ended }
    }

    async fn pass(
        &self,
        host: &Host,
        credentials: &CredentialStore,
        loaded: &mut Loaded,
        claim: Claim,
    ) -> anyhow::Result<PassEnd> {
        let order = self.order;
        let interrupts = || {
            let (sender, interrupted) = tokio::sync::watch::channel(false);
            self.shared.lock().interrupt = Some(sender);
            interrupted
        };
        let tamper = |prepared: &mut Prepared| self.tamper(prepared);
        let options = PassOptions {
            selection: &self.selection,
            allowed: self.allowed(),
            expect: order.expects_another.then_some("another"),
            deferred_ok: false,
            wait_for_origins_ms: None,
            lock_timeout_ms: 0,
            deadline: order.deadline_ms.map(|ms| host.clock.now().tick.plus_ms(ms)),
            timeout_ms: TIMEOUT_MS,
            grace_ms: GRACE_MS,
            audit: None,
            commands: &CommandLine::default(),
            patience_ms: None,
            accounts: None,
            interrupts: &interrupts,
            tamper: Some(&tamper),
        };
        let pass = Pass { host, state: self.state, credentials, options };
        pass.run(loaded, claim, None, &mut |event: PassEvent<'_>| self.takes(&event)).await
    }

    fn allowed(&self) -> Allowed {
        let Order { allows_removals, max_purges, .. } = *self.order;
        Allowed { purge_all: true, removals: allows_removals, max_purges }
    }

    /// A planted defect: some jobs of a plan are not carried out as they are shown.
    fn tamper(&self, prepared: &mut Prepared) {
        if self.state.bug == Some(Bug::LimitsMixedUp) {
            self.ended.borrow_mut().jobs = shown(self.shared, prepared);
            mix_up(&mut prepared.plan.jobs);
        }
    }

    fn takes(&self, event: &PassEvent<'_>) {
        match event {
            PassEvent::Planned(desired, prepared) => self.planned(desired, prepared),
            PassEvent::Refused(..) => self.shared.lock().tell(|| "refused by a guard".to_owned()),
            PassEvent::Sending(_, prepared) => self.sending(prepared),
            PassEvent::Finished(finished, _) => self.finished(finished),
            _ => {}
        }
    }

    /// Whether guards let it through, and whether that is right.
    fn planned(&self, desired: &Desired, prepared: &Prepared) {
        let (order, bug) = (self.order, self.state.bug);
        let due = Due::of(self.shared, prepared);
        let is_by_number = |refusal: &Refusal| matches!(refusal, Refusal::Purges { .. });
        let mut is_refused = engine::refusals(desired, prepared, self.allowed()).iter().any(is_by_number);
        if let (Some(most), None) = (order.guard, order.max_purges) {
            let too_many = prepared.difference.changes.len() as u64 > most;
            is_refused |= bug == Some(Bug::GuardCountsWhatWaits) && too_many;
            let listed = self.state.facts.lock().expect("no panic").listed.clone();
            judge_guard(self.shared, (&listed, order), &due.today, most, is_refused);
        }
        *self.due.borrow_mut() = due;
    }

    fn sending(&self, prepared: &Prepared) {
        let Due { today, later } = &*self.due.borrow();
        self.state.facts.lock().expect("no panic").passing = today.union(later).copied().collect();
        let mut ended = self.ended.borrow_mut();
        if self.state.bug != Some(Bug::LimitsMixedUp) {
            ended.jobs = shown(self.shared, prepared);
        }
        ended.calls_planned = calls_allowed(self.shared, prepared);
        self.shared.lock().alone = alone(prepared);
    }

    fn finished(&self, finished: &Finished<'_>) {
        let (shared, prepared) = (self.shared, finished.prepared);
        let mut ended = self.ended.borrow_mut();
        if prepared.is_nothing() {
            return;
        }
        let outcome = &finished.outcome;
        ended.failed = outcome.state_error.is_some() || outcome.cut_short.is_some();
        ended.wrote = true;
        if self.order.max_purges.is_some() && !ended.failed {
            let Due { today, later } = &*self.due.borrow();
            let listed = self.state.facts.lock().expect("no panic").listed.clone();
            shared.lock().truth.go_on(today.iter().chain(later), &listed);
        }
        let key_of = |index: usize| shared.lock().truth.key(&prepared.difference.changes.target(index).text);
        let planned: BTreeSet<usize> = prepared.plan.jobs.iter().flat_map(Job::changes).collect();
        let state = |index: usize| Some((key_of(index)?, outcome.states.get(index).clone()));
        ended.states = planned.into_iter().filter_map(state).collect();
        ended.waiting = prepared.plan.waiting.iter().filter_map(|&index| key_of(index)).collect();
    }

    fn ended(self, exit: Exit) -> Ended {
        Ended { exit, ..self.ended.into_inner() }
    }

    /// A refusal is no failure.
    fn failed(error: anyhow::Error) -> Result<(), StateError> {
        match error.downcast::<StateError>() {
            Ok(error) => Err(error),
            Err(error) if engine::exit_of(&error) == Exit::Refused => Ok(()),
            Err(error) => panic!("{error:#}"),
        }
    }
}

/// Where a run looks.
fn reach(files: Files, Order { paths, place, .. }: &Order, bug: Option<Bug>) -> Reach {
    let folders = if *paths == Paths::Folder { vec![place.root().to_owned()] } else { Vec::new() };
    let is_blind = bug == Some(Bug::HiddenIsGone);
    Reach {
        folders,
        working_directory: place.working_directory().to_owned(),
        is_there: Box::new(move |file| !is_blind && files.is_there(file)),
        ..Reach::default()
    }
}

/// What a plan purges today, and what its quotas leave for other days.
#[derive(Default)]
struct Due {
    today: BTreeSet<Key>,
    later: BTreeSet<Key>,
}

impl Due {
    fn of(shared: &Shared, prepared: &Prepared) -> Self {
        let jobs = shown(shared, prepared);
        let (today, later) = (jobs.iter().flat_map(|job| &job.today), jobs.iter().flat_map(|job| &job.waits));
        Self { today: today.copied().collect(), later: later.copied().collect() }
    }
}

/// C11: a guard counts what would be sent now, unless it was allowed before.
fn judge_guard(
    shared: &Shared,
    (listed, Order { forced, .. }): (&BTreeMap<Key, String>, &Order),
    today: &BTreeSet<Key>,
    most: u64,
    refused: bool,
) {
    let mut core = shared.lock();
    let passed = |key: &Key| core.truth.is_let_through(*key, listed);
    let counted = today.iter().filter(|key| forced.contains(key) || !passed(key).1).count();
    // Whatever removals and what a user forces count for.
    let asks = |key: &&Key| listed.contains_key(key) && !forced.contains(key);
    let surely = today.iter().filter(asks).filter(|key| !passed(key).0).count();
    if refused && counted as u64 <= most {
        core.violated("C11", || format!("{counted} purges are refused by a guard of {most}"));
    } else if !refused && surely as u64 > most {
        core.violated("C11", || format!("{surely} purges pass a guard of {most}"));
    }
}

/// Providers with one change.
fn alone(prepared: &Prepared) -> BTreeSet<usize> {
    let mut changes: BTreeMap<usize, usize> = BTreeMap::new();
    for change in prepared.difference.changes.iter() {
        *changes.entry(change.provider).or_default() += 1;
    }
    changes.into_iter().filter(|(_, number)| *number == 1).map(|(provider, _)| provider).collect()
}

/// A planted defect.
fn mix_up(jobs: &mut [Job]) {
    let limits = |job: &Job| job.quota.as_ref().map(|quota| (quota.key.clone(), quota.limit));
    let Some((key, limit)) = jobs.first().and_then(limits) else { return };
    let mixed_up = |job: &&mut Job| limits(job).is_some_and(|(other, most)| other == key && most != limit);
    jobs.iter_mut().filter(mixed_up).for_each(|job| job.batches = Batches::default());
}

/// R11: calls of a run without faults: its batches, and for `k` bad targets among `n` 2·k·⌈log2 n⌉ more.
fn calls_allowed(shared: &Shared, prepared: &Prepared) -> u64 {
    let core = shared.lock();
    let mut most = 0;
    for job in &prepared.plan.jobs {
        most += job.directories.len() as u64;
        for batch in job.batches.iter() {
            let targets = batch.changes.iter().map(|&index| prepared.difference.changes.target(index).text);
            let keys = targets.filter_map(|text| core.truth.key(&text));
            let bad = keys.filter(|key| core.truth.entries[key].poison).count() as u64;
            let levels = u64::from(batch.changes.len().next_power_of_two().trailing_zeros());
            most += 1 + 2 * bad * levels;
        }
    }
    most
}
