//! One process of a world: what `freshen apply` does, on the simulation's seams, and what it reports of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use freshen::core::budget::LastCalls;
use freshen::core::event::ItemState;
use freshen::core::guard::{Allowed, Refusal};
use freshen::core::model::Model;
use freshen::core::owners::Reach;
use freshen::core::plan::{Job, QuotaKey};
use freshen::core::target::Target;
use freshen::core::time::{Tick, Timestamp};
use freshen::engine::executor::{CallReport, GRACE_MS};
use freshen::engine::{self, Accounts, Choice, Desired, Exit, Prepared, Run};
use freshen::host::credentials::CredentialStore;
use freshen::host::resolver::SystemResolver;
use freshen::host::{Clock, Host, Timeouts};
use freshen::state::{RunStart, SqliteStore, StateError};

use crate::files::{Files, Paths, Place};
use crate::planted::Bug;
use crate::seams::{Shared, SimClock, SimEnv, SimHttp};
use crate::store::SimStore;
use crate::vendors::Key;

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
        waits: job.over_quota.iter().copied().filter_map(key).collect(),
    };
    prepared.plan.jobs.iter().map(of).collect()
}

/// One process: what `freshen apply` does, on these seams.
pub(crate) async fn session(
    shared: Shared,
    store: &mut SimStore,
    model: Model,
    order: Order,
) -> Result<Option<Ended>, StateError> {
    let clock = Arc::new(SimClock::new(shared.clone(), store.bug == Some(Bug::PaceForgotten)));
    if order.delay > 0 {
        clock.sleep_until(Tick::from_ms(order.delay)).await;
        // Another process may have gone on meanwhile: it is read as it is now.
        if let Some(path) = &store.path {
            let again = SqliteStore::open(path)?.expect("it is there");
            *store.inner() = again;
        }
    }
    store.began = shared.lock().now;
    let http = Arc::new(SimHttp { shared: shared.clone(), runner: store.runner });
    let host = Host {
        clock,
        http,
        resolver: Arc::new(SystemResolver),
        env: Arc::new(SimEnv(shared.clone())),
        seed: order.seed,
    };
    let mut desired = Desired::new(model, reach(store.files.0.clone(), &order, store.bug));
    if store.bug == Some(Bug::ConfigurationIgnored) {
        desired.config_digests.fill(String::new());
    }
    let at = host.clock.now().wall;
    Process { shared, host, desired, order, at }.run(store).await
}

/// A process that has read the manifests.
struct Process {
    shared: Shared,
    host: Host,
    desired: Desired,
    order: Order,
    /// When its changes were looked at.
    at: Timestamp,
}

impl Process {
    async fn run(&self, store: &mut SimStore) -> Result<Option<Ended>, StateError> {
        let accounts = engine::accounts(&self.host, &self.desired.model, Some(store)).await?;
        let mut prepared = self.prepare(store, &accounts)?;
        let due = Due::of(&self.shared, &prepared);
        if !self.is_admitted(store, &mut prepared, &due)? {
            self.shared.lock().tell(|| "refused by a guard".to_owned());
            return Ok(None);
        }
        if prepared.is_nothing() {
            return Ok(Some(Ended::with_nothing_to_do()));
        }
        self.send(store, prepared, accounts, due).await
    }

    fn prepare(&self, store: &SimStore, accounts: &[String]) -> Result<Prepared, StateError> {
        let Order { only, forced, .. } = &self.order;
        let is_forced = |text: &str| self.shared.lock().truth.key(text).is_some_and(|key| forced.contains(&key));
        let choice = Choice {
            selected: Some(&|provider, _| only.is_none_or(|only| only == provider)),
            forced: Some(&|_, target| is_forced(&target.text)),
        };
        let prepared = engine::prepare(&self.desired, Some(store), &choice, accounts, self.at)?;
        Ok(prepared.expect("all manifests were read"))
    }

    fn allowed(&self) -> Allowed {
        let Order { allows_removals, max_purges, .. } = self.order;
        Allowed { purge_all: true, removals: allows_removals, max_purges }
    }

    /// Whether guards let it through, and whether that is right.
    fn is_admitted(&self, store: &mut SimStore, prepared: &mut Prepared, due: &Due) -> Result<bool, StateError> {
        let order = &self.order;
        let mut is_refused = engine::refusals(&self.desired, prepared, self.allowed()).iter().any(is_by_number);
        if let (Some(most), None) = (order.guard, order.max_purges) {
            let too_many = prepared.difference.changes.len() as u64 > most;
            is_refused |= store.bug == Some(Bug::GuardCountsWhatWaits) && too_many;
            judge_guard(&self.shared, (store, order), &due.today, most, is_refused);
        }
        let expected = order.expects_another.then_some("another");
        let reasons = engine::admit(&self.desired, prepared, Some(store), self.allowed(), expected)?;
        Ok(reasons.is_empty() && !is_refused)
    }

    async fn send(
        &self,
        store: &mut SimStore,
        mut prepared: Prepared,
        accounts: Vec<String>,
        due: Due,
    ) -> Result<Option<Ended>, StateError> {
        let Self { shared, host, desired, order, .. } = self;
        let (sender, interrupted) = tokio::sync::watch::channel(false);
        shared.lock().interrupt = Some(sender);
        let start = RunStart { at: host.clock.now().wall, host: "sim".to_owned(), pid: 1 };
        let (credentials, timeouts) = (&CredentialStore::new(host.env.clone()), Timeouts::default());
        let found = Accounts::look_up(host, desired, &prepared.plan, credentials, &accounts, None).await;
        if found.all() != accounts {
            prepared = self.prepare(store, found.all())?;
            if !engine::admit(desired, &mut prepared, Some(store), self.allowed(), None)?.is_empty() {
                return Ok(None);
            }
        }
        let jobs = shown(shared, &prepared);
        shared.lock().alone = alone(&prepared);
        if store.bug == Some(Bug::LimitsMixedUp) {
            mix_up(&mut prepared.plan.jobs);
        }
        store.passing = due.today.union(&due.later).copied().collect();
        let run = Run {
            host,
            desired,
            prepared: &prepared,
            start,
            deadline_ms: order.deadline_ms,
            timeouts,
            credentials,
            accounts: &found,
            interrupted,
            grace_ms: GRACE_MS,
            last_calls: LastCalls::default(),
        };
        let finished = run.execute(store, &mut |_: &CallReport, _: &[Target]| Ok(())).await?;
        let failed = finished.outcome.state_error.is_some() || finished.outcome.cut_short.is_some();
        if order.max_purges.is_some() && !failed {
            shared.lock().truth.go_on(due.today.iter().chain(&due.later), &store.listed);
        }
        let key_of = |index: usize| shared.lock().truth.key(&prepared.difference.changes.target(index).text);
        let planned: BTreeSet<usize> = prepared.plan.jobs.iter().flat_map(Job::changes).collect();
        let state = |index: usize| Some((key_of(index)?, finished.outcome.states.get(index).clone()));
        Ok(Some(Ended {
            exit: finished.exit,
            states: planned.into_iter().filter_map(state).collect(),
            calls_planned: calls_allowed(shared, &prepared),
            jobs,
            waiting: prepared.plan.waiting.iter().filter_map(|&index| key_of(index)).collect(),
            wrote: true,
            failed,
        }))
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

const fn is_by_number(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Purges { .. })
}

/// C11: a guard counts what would be sent now, unless it was allowed before.
fn judge_guard(shared: &Shared, run: (&SimStore, &Order), today: &BTreeSet<Key>, most: u64, refused: bool) {
    let (SimStore { listed, .. }, Order { forced, .. }) = run;
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
    jobs.iter_mut().filter(mixed_up).for_each(|job| job.batches.retain(&|_, _| false));
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
