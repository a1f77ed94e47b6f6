//! A world from a seed: providers, manifests that change, runs that are disturbed, and a quiet end that must converge.

mod converge;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use freshen::core::contract::{Account, Call, Stamp};
use freshen::core::event::ItemState;
use freshen::core::model::Model;
use freshen::core::target::{Scope, Target};
use freshen::engine::Exit;
use freshen::state::{Identity, SqliteStore, StateError, Store};

use crate::axes::Axis;
use crate::backend::SimBackend;
use crate::faults::{Faults, jump};
use crate::files::{Files, Paths, Place};
use crate::planted::Bug;
use crate::refusals::{self, Refusing};
use crate::seams::Shared;
use crate::session::{Ended, Given, OneRun, Order, Read, session};
use crate::spec::{Issuer, Policy, Spec, actors, model, text_of};
use crate::store::Facts;
use crate::truth::{Truth, Violation};
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

/// What a process read in the manifests, and which state it was then.
struct Reading {
    listed: BTreeMap<Key, String>,
    files: (Files, Paths),
    version: u64,
    identity: Identity,
}

/// A world in the making.
#[expect(clippy::struct_excessive_bools, reason = "each is a trait of a world that has nothing to do with the others")]
pub(crate) struct World {
    rng: Rng,
    specs: Vec<Spec>,
    texts: BTreeMap<Key, String>,
    listed: BTreeMap<Key, String>,
    files: Files,
    editors: Rng,
    history: BTreeMap<Key, Vec<String>>,
    edits: u64,
    adopts: bool,
    forgets: bool,
    /// Hosts are purged as a whole in place of more URLs than that.
    collapse: Option<u64>,
    /// Most purges of a run that nobody allowed.
    guard: Option<u64>,
    /// How often the manifests changed.
    version: u64,
    /// Some runs read them early.
    early: Rng,
    jumps: bool,
    others: bool,
    refusals: Rng,
    /// Providers are configured otherwise now and then.
    configuration: Option<Rng>,
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

thread_local! {
    /// A new state, of which worlds get a copy: to make its tables takes a tenth of the time of a world.
    static EMPTY: SqliteStore = SqliteStore::scratch(&PathBuf::from("no/such/state"), "sim").expect("a store");
}

/// A new state, in a file if two runners share it.
fn state(two_runners: bool) -> (Option<(tempfile::TempDir, PathBuf)>, Arc<Mutex<SqliteStore>>) {
    let folder = two_runners.then(|| {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
        let path = folder.path().join("state.db");
        (folder, path)
    });
    let store = match &folder {
        Some((_, path)) => SqliteStore::create(path, "sim"),
        None => EMPTY.with(SqliteStore::copy),
    };
    (folder, Arc::new(Mutex::new(store.expect("a store"))))
}

/// The providers of a world.
fn specs(rng: &mut Rng, seed: u64) -> Vec<Spec> {
    let mut specs: Vec<Spec> = (0..rng.usize(1..=3)).map(|index| Spec::draw(rng, index)).collect();
    if specs.len() > 1 && specs[0].is_cloud() && rng.u8(..6) == 0 {
        specs[1] = specs[0].clone();
    }
    let (mut limits, mut ids) = (Axis::OwnLimits.dice(seed), Axis::AssetIds.dice(seed));
    if specs.get(1).is_some_and(|spec| spec.account == 0) && limits.bool() {
        specs[1].quota = limits.bool().then(|| limits.u64(8..40));
    }
    for spec in specs.iter_mut().filter(|spec| spec.takes_ids()) {
        spec.ids = ids.bool();
    }
    let mut temporary = Axis::TemporaryKeys.dice(seed);
    if temporary.u8(..4) == 0 {
        let issuer = if temporary.bool() { Issuer::Program } else { Issuer::Variables };
        for spec in specs.iter_mut().filter(|spec| spec.is_cloud()) {
            // The vendor's own count would have to be that of all keys together: the simulation counts.
            (spec.temporary, spec.strict) = (Some(issuer), false);
        }
    }
    specs
}

impl World {
    fn new(seed: u64, bug: Option<Bug>, trace: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let specs = specs(&mut rng, seed);
        let two_runners = rng.u8(..24) == 0 || bug == Some(Bug::NoLock);
        let (jumps, others) = (rng.u8(..4) == 0, rng.u8(..4) == 0);
        let names = (0..specs.len()).map(|index| format!("p{index}")).collect();
        let mut truth = Truth::new(names, specs.iter().map(|spec| (spec.require, spec.active.clone())).collect());
        truth.two_runners = two_runners;
        truth.configured = specs.iter().map(|spec| format!("{spec:?}")).collect();
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
        let mut guards = Axis::Guard.dice(seed);
        let guard = (collapse.is_none() && guards.u8(..5) == 0).then(|| guards.u64(..12));
        let actors = actors(&specs, &poison, jumps || others, two_runners, collapse.is_some());
        let (folder, store) = state(two_runners);
        let shared = Shared::new(actors, truth, jumps, trace);
        let played = Played { violation: None, requests: 0, runs: 0, kills: 0, trace: Vec::new() };
        let (adopts, forgets) = (rng.u8(..10) == 0, rng.u8(..6) == 0);
        let (listed, history) = (BTreeMap::new(), BTreeMap::new());
        let mut editors = Axis::Manifests.dice(seed);
        let mut world = Self {
            rng,
            specs,
            texts,
            listed,
            files: Files::draw(&mut editors),
            editors,
            history,
            edits: 0,
            adopts,
            forgets,
            collapse,
            guard,
            version: 0,
            early: Axis::EarlyReading.dice(seed),
            jumps,
            others,
            refusals: Axis::Refusals.dice(seed),
            configuration: Some(Axis::Configuration.dice(seed))
                .filter(|dice| !two_runners && dice.clone().u8(..3) == 0),
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
                self.configure();
            }
            let skew = if self.jumps && self.rng.bool() { jump(&mut self.rng) } else { small };
            let mut faults = Faults::draw(&mut self.rng, self.specs.len());
            if !self.jumps {
                faults.never_jump();
            }
            if self.refusals.u8(..10) == 0 {
                faults = Faults::of_refusals(Refusing::draw(&mut self.refusals, &self.specs));
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
                let reading = self.read_early();
                let order = self.order();
                let ended = self.run_by(order, reading.as_ref());
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
        let (allows_removals, seed, guard) = (self.rng.u8(..4) > 0, self.rng.u64(..), self.guard);
        let mut order = Order { allows_removals, guard, seed, ..Order::default() };
        if self.rng.u8(..8) == 0 {
            let rng = &mut self.rng;
            order.forced = self.texts.keys().copied().filter(|_| rng.u8(..6) == 0).collect();
        }
        if self.rng.u8(..10) == 0 {
            let only = self.rng.usize(..self.specs.len());
            order.only = Some(only);
            // What is left out is not forced either.
            order.forced.retain(|key| key.0 == only);
        }
        if self.files.has_hidden() && self.editors.bool() {
            order.paths = Paths::Hidden;
        }
        order.expects_another = self.editors.u8(..16) == 0;
        if self.guard.is_some() && order.seed.is_multiple_of(3) {
            order.max_purges = Some(u64::MAX);
        }
        // A run that is refused notes new manifests where it finds them, and leaves the others where they were.
        let goes_through =
            allows_removals && !order.expects_another && (self.guard.is_none() || order.max_purges.is_some());
        order.place = self.place(order.paths, goes_through && self.folder.is_none());
        order.deadline_ms = self.shared.lock().faults.deadline_ms;
        order
    }

    /// Where a run reads the files: in another checkout only if that shows to be one of the same tree, by a manifest of a known
    /// name.
    fn place(&mut self, paths: Paths, may_move: bool) -> Place {
        if !self.files.are_several() {
            return Place::default();
        }
        let known = self.store.lock().expect("no panic").manifests().expect("readable");
        let read = self.files.paths(paths);
        let moves = may_move && known.iter().any(|manifest| read.contains(&manifest.name));
        let root = known.into_iter().find_map(|manifest| manifest.root).filter(|_| !moves);
        Place::draw(&mut self.editors, root.as_deref())
    }

    /// The state as the next process opens it.
    fn open(&self) -> Arc<Mutex<SqliteStore>> {
        match &self.folder {
            Some((_, path)) => Arc::new(Mutex::new(SqliteStore::open(path).expect("it opens").expect("it is there"))),
            None => Arc::clone(&self.store),
        }
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
        self.version += 1;
        self.files.change(&mut self.editors);
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

    /// Somebody configures a provider otherwise, if it has its account for itself.
    fn configure(&mut self) {
        let Some(dice) = &mut self.configuration else { return };
        // What is on its way left under the limits of before.
        if dice.bool() || self.shared.lock().is_any_on_its_way() {
            return;
        }
        let index = dice.usize(..self.specs.len());
        if self.specs.iter().filter(|spec| spec.account == self.specs[index].account).count() > 1 {
            return;
        }
        let before = format!("{:?}", self.specs[index]);
        self.specs[index].change(dice);
        let spec = self.specs[index].clone();
        if before == format!("{spec:?}") {
            return;
        }
        let mut core = self.shared.lock();
        core.tell(|| {
            format!(
                "p{index} is configured otherwise: {:?} {} {:?} {}",
                spec.active, spec.require, spec.quota, spec.rotation
            )
        });
        for actor in core.actors.iter_mut().filter(|actor| actor.providers == [index]) {
            if !actor.quotas.is_empty() {
                actor.quotas = spec.quota.map(|most| (index, most)).into_iter().collect();
            }
            actor.spec = spec.clone();
        }
        let step = core.steps;
        core.truth.reconfigured(index, &spec, step);
    }

    /// Some runs read the manifests, and before they begin the manifests change and another run comes and goes.
    fn read_early(&mut self) -> Option<Reading> {
        if self.folder.is_some() || self.files.has_hidden() || self.early.u8(..12) > 0 {
            return None;
        }
        let reading = self.reading(Paths::Folder);
        self.edit();
        let order = self.order();
        self.one_run(order);
        Some(reading)
    }

    fn reading(&self, paths: Paths) -> Reading {
        let identity = self.store.lock().expect("no panic").identity().expect("readable");
        let is_read = |(key, _): &(&Key, &String)| !self.files.listing(paths, **key).is_empty();
        let listed = self.listed.iter().filter(is_read).map(|(key, hash)| (*key, hash.clone())).collect();
        Reading { listed, files: (self.files.clone(), paths), version: self.version, identity }
    }

    fn model(&self, Reading { listed, files: (files, paths), .. }: &Reading, place: Place) -> Model {
        let Self { adopts, forgets, collapse, guard, .. } = *self;
        let policy = Policy { adopts, forgets, collapse, guard, allows_removals: false };
        model(&self.specs, &self.texts, listed, (files, *paths, place), policy, self.bug)
    }

    /// The state as one process finds it.
    fn backend(&self, order: &Order, inner: Arc<Mutex<SqliteStore>>) -> SimBackend {
        SimBackend {
            shared: self.shared.clone(),
            runner: u8::from(order.second),
            inner,
            path: self.folder.as_ref().map(|(_, path)| path.clone()),
            facts: Arc::default(),
            bug: self.bug,
            ledger: self.ledger(),
            is_locked: Arc::default(),
        }
    }

    /// What a process reads.
    fn read(&self, order: &Order, reading: &Reading) -> Read {
        let facts = Facts {
            listed: reading.listed.clone(),
            read: reading.version,
            files: Some(reading.files.clone()),
            forced: order.forced.clone(),
            adopts: self.adopts,
            forgets: self.forgets,
            allows_removals: order.allows_removals,
            ..Facts::default()
        };
        Read { model: self.model(reading, order.place), facts }
    }

    /// A planted defect: the keys' own ledger.
    fn ledger(&self) -> String {
        let begins_anew =
            self.bug == Some(Bug::LedgerOfTheKey) && self.specs.iter().any(|spec| spec.temporary.is_some());
        if begins_anew { self.shared.lock().issues.to_string() } else { String::new() }
    }

    fn one_run(&mut self, order: Order) -> Option<Ended> {
        self.run_by(order, None)
    }

    /// A run by what it read before, unless the state is another one since.
    fn run_by(&mut self, order: Order, early: Option<&Reading>) -> Option<Ended> {
        let paths = order.paths;
        let now = self.reading(order.paths);
        let still_counts = |early: &&Reading| early.identity == now.identity || self.bug == Some(Bug::StaleReading);
        let reading = early.filter(still_counts).unwrap_or(&now);
        self.begin(&order, reading);
        let early = early.map(|early| (self.read(&order, early), early.identity.clone()));
        let given = Given { state: self.backend(&order, self.open()), now: self.read(&order, &now), early };
        let future = session(self.shared.clone(), given, order);
        let ended = self.shared.execute(vec![Box::pin(future)]).remove(0);
        self.ends();
        self.judge(ended, true, paths)
    }

    /// Two runs on one state at once, as on a file system without locks.
    fn two_runs(&mut self) {
        self.shared.lock().faults.never_kill();
        let mut first = self.order();
        if first.paths == Paths::Hidden {
            first = Order { paths: Paths::Folder, place: self.place(Paths::Folder, false), ..first };
        }
        let reading = self.reading(Paths::Folder);
        self.begin(&first, &reading);
        let (one, two) = (self.open(), self.open());
        let given = |this: &Self, order: &Order, reading: &Reading, inner| Given {
            state: this.backend(order, inner),
            now: this.read(order, reading),
            early: None,
        };
        let one = given(self, &first, &reading, one);
        if self.rng.bool() {
            self.edit();
        }
        let delay = self.rng.u64(..4_000);
        let max_purges = self.guard.map(|_| u64::MAX);
        let second =
            Order { place: first.place, max_purges, seed: self.rng.u64(..), delay, second: true, ..Order::default() };
        let reading = self.reading(Paths::Folder);
        let two = given(self, &second, &reading, two);
        let runs: Vec<OneRun<'_>> = vec![
            Box::pin(session(self.shared.clone(), one, first)),
            Box::pin(session(self.shared.clone(), two, second)),
        ];
        let ends = self.shared.execute(runs);
        self.ends();
        for ended in ends {
            self.judge(ended, false, Paths::Folder);
        }
    }

    fn begin(&mut self, order: &Order, reading: &Reading) {
        self.played.runs += 1;
        let rows = self.store.lock().expect("no panic").recorded();
        let mut core = self.shared.lock();
        core.killed = false;
        core.sent.clear();
        core.issues += 1;
        core.actors.iter_mut().for_each(|actor| actor.in_flight = 0);
        let forced = |key: Key| order.forced.contains(&key);
        core.truth.starts(&rows.expect("readable"), &reading.listed, &forced);
        let (skew, faults) = (core.skew_ms, core.faults.clone());
        let (read, place) = (reading.files.0.paths(reading.files.1), order.place);
        core.tell(|| format!("{read:?} are read in {place:?}"));
        core.tell(|| format!("RUN skew {skew} ms, forced {:?}, only {:?}, {faults:?}", order.forced, order.only));
    }

    fn ends(&mut self) {
        let rows = self.store.lock().expect("no panic").recorded().expect("readable");
        let mut core = self.shared.lock();
        core.interrupt = None;
        core.truth.check(&rows);
        if core.killed {
            self.played.kills += 1;
            core.truth.died(&rows);
        }
    }

    /// What a run says of itself against the truth (L3).
    fn judge(&mut self, ended: Option<Result<Option<Ended>, StateError>>, alone: bool, paths: Paths) -> Option<Ended> {
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
        let due = |key: &Key| self.files.covers(paths, *key) && !core.truth.satisfied(*key);
        let left: Vec<Key> = core.truth.entries.keys().copied().filter(due).collect();
        // Without a limit nothing waits for a day. A vendor with limits of its own, or with hosts that are off line, says when.
        let waits = ended.waiting.iter().find(|key| {
            let spec = &self.specs[key.0];
            spec.quota.is_none() && !spec.strict && !refusals::has_hosts_off_line(spec.kind)
        });
        if let Some(key) = waits {
            core.violated("L1", || format!("{key:?} waits for a quota that is no more"));
        }
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
        let call = Call {
            operation,
            endpoint: spec.endpoint(0),
            targets: targets.collect(),
            headers: Vec::new(),
            id: String::new(),
        };
        let account = Account { provider: config.name.clone(), options: config.options.clone() };
        let mut core = self.shared.lock();
        let now = core.true_time();
        let stamp = Stamp { wall: now, nonce: self.rng.u128(..) };
        let request = config.kind.encode(&call, &account, &spec.credentials(0), &stamp).expect("a request");
        core.tell(|| format!("others use the account of p{index}"));
        let authority = call.endpoint.authority();
        let actor = core.actors.iter_mut().find(|actor| actor.authority == authority).expect("an actor");
        actor.used_by_others(&request, now);
    }
}
