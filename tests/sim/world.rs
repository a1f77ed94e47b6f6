//! A world from a seed: providers, manifests that change, runs that are disturbed, and a quiet end that must converge.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use freshen::core::budget::LastCalls;
use freshen::core::contract::{Account, Call, Stamp};
use freshen::core::event::ItemState;
use freshen::core::guard::Allowed;
use freshen::core::model::Model;
use freshen::core::owners::Reach;
use freshen::core::plan::Job;
use freshen::core::recorded::{Recorded, Standing};
use freshen::core::target::{Scope, Target};
use freshen::drive::{CallReport, GRACE_MS};
use freshen::host::credentials::CredentialStore;
use freshen::host::resolver::SystemResolver;
use freshen::host::{Clock, Host, Timeouts};
use freshen::run::{self, Accounts, Choice, Desired, Exit, Run};
use freshen::state::{RunStart, SqliteStore, StateError, Store};

use crate::faults::{Faults, jump};
use crate::planted::Bug;
use crate::seams::{Shared, SimClock, SimEnv, SimHttp};
use crate::spec::{Policy, Spec, actors, model, text_of};
use crate::store::SimStore;
use crate::truth::{Present, Truth, Violation};
use crate::vendors::Key;

/// Runs without faults after which everything must be recorded; each has a quota day of its own.
const LAST_RUNS: usize = 14;

/// What a seed came to.
pub(crate) struct Played {
    pub(crate) violation: Option<Violation>,
    pub(crate) requests: u64,
    pub(crate) runs: u64,
    pub(crate) kills: u64,
    pub(crate) trace: Vec<String>,
}

/// What one run is like, besides its faults.
#[derive(Clone, Default)]
struct Order {
    forced: BTreeSet<Key>,
    only: Option<usize>,
    allows_removals: bool,
    seed: u64,
    /// The second of two runners.
    second: bool,
    /// Begins so many milliseconds after the first one.
    delay: u64,
    deadline_ms: Option<u64>,
}

type OneRun<'a> = Pin<Box<dyn Future<Output = Result<Option<Ended>, StateError>> + 'a>>;

/// How a run ended by itself.
struct Ended {
    exit: Exit,
    /// Where each change that was planned for today stands.
    states: Vec<(Key, ItemState)>,
    calls_planned: u64,
    wrote: bool,
    failed: bool,
}

/// A world in the making.
#[expect(clippy::struct_excessive_bools, reason = "each is a trait of a world that has nothing to do with the others")]
pub(crate) struct World {
    rng: Rng,
    specs: Vec<Spec>,
    texts: BTreeMap<Key, String>,
    listed: BTreeMap<Key, String>,
    history: BTreeMap<Key, Vec<String>>,
    edits: u64,
    adopts: bool,
    forgets: bool,
    /// Hosts are purged as a whole in place of more URLs than that.
    collapse: Option<u64>,
    jumps: bool,
    others: bool,
    shared: Shared,
    store: Arc<Mutex<SqliteStore>>,
    /// Two runners share the state in this file.
    folder: Option<(tempfile::TempDir, PathBuf)>,
    bug: Option<Bug>,
    played: Played,
}

/// Plays a seed to its end.
pub(crate) fn play(seed: u64, bug: Option<Bug>, trace: bool) -> Played {
    let mut world = World::new(seed, bug, trace);
    world.play();
    let World { mut played, shared, .. } = world;
    let mut core = shared.lock();
    played.violation.clone_from(&core.truth.violation);
    played.requests = core.actors.iter().map(|actor| actor.requests).sum();
    played.trace = core.trace.take().unwrap_or_default();
    played
}

impl World {
    fn new(seed: u64, bug: Option<Bug>, trace: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut specs: Vec<Spec> = (0..rng.usize(1..=3)).map(|index| Spec::draw(&mut rng, index)).collect();
        if specs.len() > 1 && specs[0].is_cloud() && rng.u8(..6) == 0 {
            specs[1] = specs[0].clone();
        }
        let two_runners = rng.u8(..24) == 0 || bug == Some(Bug::NoLock);
        let (jumps, others) = (rng.u8(..4) == 0, rng.u8(..4) == 0);
        let names = (0..specs.len()).map(|index| format!("p{index}")).collect();
        let mut truth = Truth::new(names, specs.iter().map(|spec| spec.require).collect());
        truth.two_runners = two_runners;
        let with_poison = rng.u8(..3) == 0;
        let mut texts = BTreeMap::new();
        let mut poison = BTreeSet::new();
        let count = rng.usize(3..=40);
        for number in 0..count {
            let key = (rng.usize(..specs.len()), number);
            let is_poison = with_poison && rng.u8(..12) == 0;
            let text = text_of(key, &specs[key.0], is_poison);
            truth.add(key, text.clone(), is_poison);
            texts.insert(key, text);
            poison.extend(is_poison.then_some(key));
        }
        // Drawn without the generator: the other worlds stay as they are. A directory that is refused is refused for good,
        // and defects are planted in calls of URLs.
        let collapse =
            (seed.is_multiple_of(3) && poison.is_empty() && !two_runners && bug.is_none()).then_some(seed / 3 % 6);
        let actors = actors(&specs, &poison, jumps || others, two_runners, collapse.is_some());
        let folder = two_runners.then(|| {
            let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
            let path = folder.path().join("state.db");
            (folder, path)
        });
        let store = match &folder {
            Some((_, path)) => SqliteStore::create(path, "sim"),
            None => SqliteStore::scratch(&PathBuf::from("no/such/state"), "sim"),
        };
        let store = Arc::new(Mutex::new(store.expect("a store")));
        let shared = Shared::new(actors, truth, jumps, trace);
        let played = Played { violation: None, requests: 0, runs: 0, kills: 0, trace: Vec::new() };
        let (adopts, forgets) = (rng.u8(..10) == 0, rng.u8(..6) == 0);
        let (listed, history) = (BTreeMap::new(), BTreeMap::new());
        let mut world = Self {
            rng,
            specs,
            texts,
            listed,
            history,
            edits: 0,
            adopts,
            forgets,
            collapse,
            jumps,
            others,
            shared,
            store,
            folder,
            bug,
            played,
        };
        for key in world.texts.keys().copied().collect::<Vec<_>>() {
            if world.rng.u8(..5) > 0 {
                world.publish(key);
            }
        }
        world
    }

    fn play(&mut self) {
        let small = self.rng.i64(-60_000..60_000);
        for number in 0..self.rng.usize(2..=8) {
            if number > 0 {
                self.edit();
            }
            let skew = if self.jumps && self.rng.bool() { jump(&mut self.rng) } else { small };
            let mut faults = Faults::draw(&mut self.rng, self.specs.len());
            if !self.jumps {
                faults.never_jump();
            }
            let clean = faults.only_outage() && !self.jumps;
            let outage = faults.outage;
            {
                let mut core = self.shared.lock();
                core.skew_ms = skew;
                core.faults = faults;
            }
            if self.others && self.rng.bool() {
                self.use_by_others();
            }
            if self.folder.is_some() && self.rng.bool() {
                self.two_runs();
            } else {
                let order = self.order();
                let ended = self.one_run(order);
                if let (true, Some((out, _)), Some(ended)) = (clean && !self.others, outage, ended) {
                    self.check_isolation(out, &ended);
                }
            }
            if self.is_over() {
                return;
            }
            // Some runs begin in the very millisecond in which the one before was killed.
            let pause = [1, 1_000, 20_000, 600_000, 7_200_000, 30_000_000, 100_000_000][self.rng.usize(..7)];
            self.shared.pass(self.rng.u64(..pause));
        }
        self.converge();
    }

    fn is_over(&self) -> bool {
        self.shared.lock().truth.violation.is_some()
    }

    fn order(&mut self) -> Order {
        let mut order = Order { allows_removals: self.rng.u8(..4) > 0, seed: self.rng.u64(..), ..Order::default() };
        if self.rng.u8(..8) == 0 {
            let rng = &mut self.rng;
            order.forced = self.texts.keys().copied().filter(|_| rng.u8(..6) == 0).collect();
        }
        if self.rng.u8(..10) == 0 {
            order.only = Some(self.rng.usize(..self.specs.len()));
        }
        order.deadline_ms = self.shared.lock().faults.deadline_ms;
        order
    }

    /// Publishes a new content of a target.
    fn publish(&mut self, key: Key) {
        self.edits += 1;
        let hash = format!("rev:{}", self.edits);
        self.history.entry(key).or_default().push(hash.clone());
        self.listed.insert(key, hash);
    }

    /// Somebody edits the manifest: new contents, contents that come back, targets that come and go.
    fn edit(&mut self) {
        let keys: Vec<Key> = self.texts.keys().copied().collect();
        if self.rng.u8(..12) == 0 {
            let rng = &mut self.rng;
            self.listed.retain(|_, _| rng.bool());
        }
        for _ in 0..self.rng.usize(..=keys.len().min(8)) {
            let key = keys[self.rng.usize(..keys.len())];
            match self.rng.u8(..8) {
                0 => drop(self.listed.remove(&key)),
                1..=3 => {
                    let before = self.history.get(&key).map_or(&[][..], Vec::as_slice);
                    if let Some(hash) = before.iter().rev().nth(1).cloned() {
                        self.history.entry(key).or_default().push(hash.clone());
                        self.listed.insert(key, hash);
                    }
                }
                _ => self.publish(key),
            }
        }
        let listed = self.listed.clone();
        self.shared.lock().tell(|| format!("EDIT the manifest lists {listed:?}"));
    }

    fn model(&self) -> Model {
        let policy = Policy { adopts: self.adopts, forgets: self.forgets, collapse: self.collapse };
        model(&self.specs, &self.texts, &self.listed, policy, self.bug)
    }

    fn sim_store(&self, order: &Order, inner: Arc<Mutex<SqliteStore>>) -> SimStore {
        SimStore {
            shared: self.shared.clone(),
            runner: u8::from(order.second),
            inner,
            path: self.folder.as_ref().map(|(_, path)| path.clone()),
            listed: self.listed.clone(),
            forced: order.forced.clone(),
            adopts: self.adopts,
            forgets: self.forgets,
            refused: false,
            bug: self.bug,
            debits: BTreeMap::new(),
        }
    }

    fn one_run(&mut self, order: Order) -> Option<Ended> {
        let inner = match &self.folder {
            Some((_, path)) => Arc::new(Mutex::new(SqliteStore::open(path).expect("it opens").expect("it is there"))),
            None => Arc::clone(&self.store),
        };
        self.begin(&order);
        let mut store = self.sim_store(&order, Arc::clone(&inner));
        let future = session(self.shared.clone(), &mut store, self.model(), order);
        let ended = self.shared.execute(vec![Box::pin(future)]).remove(0);
        self.ends(&inner);
        self.judge(ended, true)
    }

    /// Two runs on one state at once, as on a file system without locks.
    fn two_runs(&mut self) {
        self.shared.lock().faults.never_kill();
        let first = self.order();
        self.begin(&first);
        let open =
            |path: &PathBuf| Arc::new(Mutex::new(SqliteStore::open(path).expect("it opens").expect("it is there")));
        let path = self.folder.as_ref().expect("a file").1.clone();
        let (one, two) = (open(&path), open(&path));
        let mut a = self.sim_store(&first, one);
        let model_a = self.model();
        if self.rng.bool() {
            self.edit();
        }
        let delay = self.rng.u64(..4_000);
        let second = Order { seed: self.rng.u64(..), delay, second: true, ..Order::default() };
        let mut b = self.sim_store(&second, Arc::clone(&two));
        let model_b = self.model();
        let runs: Vec<OneRun<'_>> = vec![
            Box::pin(session(self.shared.clone(), &mut a, model_a, first)),
            Box::pin(session(self.shared.clone(), &mut b, model_b, second)),
        ];
        let ends = self.shared.execute(runs);
        let inner = open(&path);
        self.ends(&inner);
        for ended in ends {
            self.judge(ended, false);
        }
    }

    fn begin(&mut self, order: &Order) {
        self.played.runs += 1;
        let rows = match &self.folder {
            Some((_, path)) => SqliteStore::open(path).expect("it opens").expect("it is there").recorded(),
            None => self.store.lock().expect("no panic").recorded(),
        };
        let mut core = self.shared.lock();
        core.killed = false;
        core.actors.iter_mut().for_each(|actor| actor.flights = 0);
        let forced = |key: Key| order.forced.contains(&key);
        core.truth.starts(&rows.expect("readable"), &self.listed, &forced);
        let (skew, faults) = (core.skew_ms, core.faults.clone());
        core.tell(|| format!("RUN skew {skew} ms, forced {:?}, only {:?}, {faults:?}", order.forced, order.only));
    }

    fn ends(&mut self, inner: &Arc<Mutex<SqliteStore>>) {
        let rows = inner.lock().expect("no panic").recorded().expect("readable");
        let mut core = self.shared.lock();
        core.interrupt = None;
        core.truth.check(&rows);
        if core.killed {
            self.played.kills += 1;
            core.truth.died(&rows);
        }
    }

    /// What a run says of itself against the truth (L3).
    fn judge(&mut self, ended: Option<Result<Option<Ended>, StateError>>, alone: bool) -> Option<Ended> {
        let mut core = self.shared.lock();
        let step = core.steps;
        let mut ended = match ended? {
            Ok(Some(ended)) => ended,
            Ok(None) => return None,
            Err(_) => {
                core.tell(|| "the run failed".to_owned());
                return None;
            }
        };
        if alone && !ended.failed {
            core.truth.ran_to_its_end(step);
        }
        if self.bug == Some(Bug::SaysDone) {
            ended.exit = Exit::Done;
        }
        let told = ended.exit;
        core.tell(|| format!("the run ends with {told:?}"));
        let wrong =
            ended.states.iter().find(|(key, state)| *state == ItemState::Recorded && !core.truth.satisfied(*key));
        // Of two runs the other one may have marked more since.
        if let (Some((key, _)), true) = (wrong, alone) {
            core.violated("L3", || format!("{key:?} is said to be recorded and was not purged"));
        }
        let left: Vec<Key> = core.truth.entries.keys().copied().filter(|key| !core.truth.satisfied(*key)).collect();
        if ended.exit == Exit::Done && alone && !left.is_empty() {
            core.violated("L3", || format!("the run says that all is done, and {left:?} are not"));
        }
        Some(ended)
    }

    /// L2: one provider's outage is no other's.
    fn check_isolation(&self, out: usize, ended: &Ended) {
        let account = self.specs[out].account;
        let mut core = self.shared.lock();
        for (key, state) in &ended.states {
            let entry = &core.truth.entries[key];
            let excused = self.specs[key.0].account == account || entry.poison;
            if matches!(state, ItemState::Pending(_)) && !excused && !ended.failed {
                let text = format!("{key:?} was left {state:?} though only p{out} was out");
                return core.violated("L2", || text);
            }
        }
    }

    /// T4: others use the account as well.
    fn use_by_others(&mut self) {
        let index = self.rng.usize(..self.specs.len());
        let (spec, config) = (&self.specs[index], self.specs[index].config(index, None));
        if !spec.is_cloud() {
            return;
        }
        let targets = (0..self.rng.usize(1..=spec.batch))
            .map(|n| Target::url(format!("https://h0.p{}.example/other/{n}", spec.account)));
        let operation = config.kind.capabilities().operation(Scope::Url).expect("URLs");
        let call = Call { operation, endpoint: spec.endpoint(0), targets: targets.collect() };
        let account = Account { provider: config.name.clone(), options: config.options.clone() };
        let mut core = self.shared.lock();
        let now = core.true_time();
        let stamp = Stamp { wall: now, nonce: self.rng.u128(..) };
        let request = config.kind.encode(&call, &account, &spec.credentials(), &stamp).expect("a request");
        core.tell(|| format!("others use the account of p{index}"));
        let authority = call.endpoint.authority();
        let actor = core.actors.iter_mut().find(|actor| actor.authority == authority).expect("an actor");
        actor.used_by_others(&request, now);
    }

    /// L1, S9, R11: faults stop; all is recorded after finitely many runs, and then nothing moves any more.
    fn converge(&mut self) {
        {
            let mut core = self.shared.lock();
            core.faults = Faults::none();
            core.skew_ms = 0;
        }
        // What others used of today is of no interest any more.
        self.shared.pass(25 * 3_600_000);
        let mut settled = false;
        for number in 0..=LAST_RUNS {
            let order = Order { allows_removals: true, seed: self.rng.u64(..), ..Order::default() };
            let before = self.requests();
            let Some(ended) = self.one_run(order) else {
                return self.shared.lock().violated("L1", || "a run without faults fails".to_owned());
            };
            if self.is_over() {
                return;
            }
            let sent = self.requests() - before;
            if sent > ended.calls_planned {
                let most = ended.calls_planned;
                return self
                    .shared
                    .lock()
                    .violated("R11", || format!("{sent} requests, at most {most} were to be made"));
            }
            let (left, suspects) = self.left();
            if left.is_empty() && suspects {
                return;
            }
            if left.is_empty() && sent == 0 {
                let rejected = self.shared.lock().truth.entries.values().any(|entry| entry.rejected);
                if !ended.wrote || (rejected && settled) {
                    return;
                }
                // A new manifest, adopted or forgotten targets are written once.
                if settled {
                    return self
                        .shared
                        .lock()
                        .violated("S9", || "nothing changed, and yet the state is written".into());
                }
                settled = true;
            }
            if number == LAST_RUNS {
                return self.shared.lock().violated("L1", || format!("{left:?} are still to do after {number} runs"));
            }
            self.shared.pass(25 * 3_600_000);
        }
    }

    fn requests(&self) -> u64 {
        self.shared.lock().actors.iter().map(|actor| actor.requests).sum()
    }

    /// What is neither recorded nor rejected for good, in truth or as the state has it, and whether anything besides is refused
    /// that nothing shows to be to blame.
    fn left(&self) -> (Vec<String>, bool) {
        let rows = match &self.folder {
            Some((_, path)) => SqliteStore::open(path).expect("it opens").expect("it is there").recorded(),
            None => self.store.lock().expect("no panic").recorded(),
        };
        let core = self.shared.lock();
        let open = |key: &&Key| {
            let entry = &core.truth.entries[key];
            entry.present != Present::Absent && !core.truth.satisfied(**key) && !entry.poison
        };
        let mut left: Vec<String> = core.truth.entries.keys().filter(open).map(|key| self.texts[key].clone()).collect();
        let work =
            |row: &Recorded| row.work.as_ref().is_some_and(|work| !matches!(work.standing, Standing::Rejected { .. }));
        let rows = rows.expect("readable").into_iter().filter(work);
        let (suspects, due): (Vec<_>, Vec<_>) = rows.partition(|row| core.truth.is_poison(row));
        left.extend(due.into_iter().map(|row| row.target.text));
        (left, !suspects.is_empty())
    }
}

/// One process: what `freshen apply` does, on these seams.
async fn session(
    shared: Shared,
    store: &mut SimStore,
    model: Model,
    order: Order,
) -> Result<Option<Ended>, StateError> {
    let clock = Arc::new(SimClock::new(shared.clone(), store.bug == Some(Bug::PaceForgotten)));
    if order.delay > 0 {
        clock.sleep_until(freshen::core::time::Tick::from_ms(order.delay)).await;
        // Another process may have gone on meanwhile: it is read as it is now.
        if let Some(path) = &store.path {
            let again = SqliteStore::open(path)?.expect("it is there");
            *store.inner() = again;
        }
    }
    let http = Arc::new(SimHttp { shared: shared.clone(), runner: store.runner });
    let host = Host { clock, http, resolver: Arc::new(SystemResolver), env: Arc::new(SimEnv), seed: order.seed };
    let desired = Desired::new(model, Reach::default());
    let accounts = run::accounts(&host, &desired.model, Some(store)).await?;
    let key_of = |target: &Target| shared.lock().truth.key(&target.text);
    let choice = Choice {
        selected: Some(&|provider, _| order.only.is_none_or(|only| only == provider)),
        forced: Some(&|_, target| key_of(target).is_some_and(|key| order.forced.contains(&key))),
    };
    let prepared = run::prepare(&desired, Some(store), &choice, &accounts, host.clock.now().wall)?;
    let mut prepared = prepared.expect("all manifests were read");
    let allowed = Allowed { purge_all: true, removals: order.allows_removals, max_purges: None };
    if !run::admit(&desired, &mut prepared, Some(store), allowed, None)?.is_empty() {
        shared.lock().tell(|| "refused by a guard".to_owned());
        return Ok(None);
    }
    if prepared.is_nothing() {
        let nothing = Ended { exit: Exit::Done, states: Vec::new(), calls_planned: 0, wrote: false, failed: false };
        return Ok(Some(nothing));
    }
    let (sender, interrupted) = tokio::sync::watch::channel(false);
    shared.lock().interrupt = Some(sender);
    let start = RunStart { at: host.clock.now().wall, host: "sim".to_owned(), pid: 1 };
    let deadline_ms = order.deadline_ms;
    let (credentials, timeouts) = (&CredentialStore::new(host.env.clone()), Timeouts::default());
    let found = Accounts::look_up(&host, &desired, &prepared.plan, credentials, &accounts, None).await;
    let run = Run {
        host: &host,
        desired: &desired,
        prepared: &prepared,
        start,
        deadline_ms,
        timeouts,
        credentials,
        accounts: &found,
        interrupted,
        grace_ms: GRACE_MS,
        last_calls: LastCalls::default(),
    };
    let finished = run.execute(store, &mut |_: &CallReport, _: &[Target]| Ok(())).await?;
    let changes = &prepared.difference.changes;
    let planned: BTreeSet<usize> = prepared.plan.jobs.iter().flat_map(Job::changes).collect();
    let state = |index: usize| Some((key_of(&changes.target(index))?, finished.outcome.states.get(index).clone()));
    Ok(Some(Ended {
        exit: finished.exit,
        states: planned.into_iter().filter_map(state).collect(),
        calls_planned: calls_allowed(&shared, &prepared),
        wrote: true,
        failed: finished.outcome.state_error.is_some() || finished.outcome.cut_short.is_some(),
    }))
}

/// R11: calls of a run without faults: its batches, and for `k` bad targets among `n` 2·k·⌈log2 n⌉ more.
fn calls_allowed(shared: &Shared, prepared: &run::Prepared) -> u64 {
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
