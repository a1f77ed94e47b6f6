//! A day of `freshen watch` from a seed: files change, providers fail, quotas end, clocks jump, the process is killed; then
//! faults stop, and it must converge. What it may cost on the way is counted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use freshen::core::guard::Allowed;
use freshen::core::recorded::{Recorded, Standing};
use freshen::core::watch::{ASKED_CAP_MS, Event, Order, Reason, RunEnd};
use freshen::run::Exit;
use freshen::state::{SqliteStore, Store};

use crate::faults::{Faults, jump};
use crate::seams::Shared;
use crate::spec::{Policy, Spec, actors, model, text_of};
use crate::store::SimStore;
use crate::truth::{Present, Truth, Violation};
use crate::vendors::Key;
use crate::watch::{Ended, Given, Process, Read, Turn};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// A change is purged within this time if nothing goes wrong at its provider, whatever goes wrong at others: debounce,
/// patience and grace of the run before, and 40 targets at the slowest rate.
const PROMPT: u64 = 4 * MINUTE;
/// Once faults have stopped: the longest wait for a provider, which may have asked for it, and a run.
const SETTLED: u64 = ASKED_CAP_MS + 15 * MINUTE;
/// Days within which the smallest quota lets everything through.
const LAST_DAYS: u64 = 8;
/// Most requests of one run to a provider that is out: its retries, and what was under way with them.
const REQUESTS_A_RUN: u64 = 40;
/// How far a clock may be off before vendors mind, or less.
const CLOCKS_AGREE: u64 = 4 * MINUTE;
/// Most turns in one moment of time.
const TURNS: u32 = 1_000;

/// A defect that is planted between the machine and its world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WatchBug {
    /// Files that change during a run are not looked at again.
    EventsOfRunsLost,
    /// Files that never come to rest are never read.
    QuietForEver,
    /// Providers that fail are asked by each run.
    FailedAreAskedAgain,
    /// A run that hangs keeps the next one waiting.
    RunsNeverCut,
    /// A run under way is forgotten, and another one begins.
    RunsForgotten,
    /// Waits are told by the wall clock.
    WaitsByTheWallClock,
}

impl WatchBug {
    pub(crate) const ALL: [Self; 6] = [
        Self::EventsOfRunsLost,
        Self::QuietForEver,
        Self::FailedAreAskedAgain,
        Self::RunsNeverCut,
        Self::RunsForgotten,
        Self::WaitsByTheWallClock,
    ];

    /// The claims that may find it.
    pub(crate) const fn breaks(self) -> &'static [&'static str] {
        match self {
            Self::EventsOfRunsLost | Self::QuietForEver | Self::RunsNeverCut => &["W4"],
            Self::FailedAreAskedAgain => &["W6"],
            Self::RunsForgotten => &["W4", "W6"],
            Self::WaitsByTheWallClock => &["W4", "W6", "L1"],
        }
    }
}

/// What a day came to.
#[derive(Default)]
pub(crate) struct Lived {
    pub(crate) violation: Option<Violation>,
    pub(crate) runs: u64,
    pub(crate) kills: u64,
    pub(crate) requests: u64,
    pub(crate) trace: Vec<String>,
}

/// The manifests at some time.
#[derive(Clone, Default)]
struct Listing {
    edition: u64,
    listed: BTreeMap<Key, String>,
}

/// Files that are written again and again.
#[derive(Clone, Copy)]
struct Spell {
    until: u64,
    gap: u64,
}

/// When what happens by itself happens next.
struct Diary {
    edit: u64,
    phase: u64,
    upset: u64,
    mend: Option<u64>,
    spell: Option<Spell>,
}

impl Diary {
    fn next(&self) -> u64 {
        self.edit.min(self.phase).min(self.upset).min(self.mend.unwrap_or(u64::MAX))
    }
}

/// What is known of a provider that fails from some time on, in every way.
#[derive(Clone, Copy)]
struct Outage {
    provider: usize,
    since: u64,
    /// Reasons to ask it at once: it has just begun to fail, a start, a user's wish.
    fresh: u64,
    /// Runs that asked it.
    asked: u64,
    /// Requests to it before the run that is under way, or before it failed.
    before: u64,
}

/// A world in the making.
#[expect(clippy::struct_excessive_bools, reason = "each is a trait of a world that has nothing to do with the others")]
struct World {
    rng: Rng,
    specs: Vec<Spec>,
    texts: BTreeMap<Key, String>,
    poison: BTreeSet<Key>,
    now: Listing,
    history: BTreeMap<Key, Vec<String>>,
    /// Half a manifest, or none.
    broken: bool,
    locked: bool,
    jumps: bool,
    allowed: Allowed,
    resync: u64,
    diary: Diary,
    /// When files changed last, unless the process knows.
    event: Option<u64>,
    event_since_run: bool,
    shared: Shared,
    store: Arc<Mutex<SqliteStore>>,
    process: Option<Process>,
    starts_at: u64,
    /// All was done with this edition.
    done: Option<u64>,
    last_valid: Option<Listing>,
    /// What the run under way goes by.
    reads: Listing,
    /// Step and edition that the truth knows of: nothing is new unless they are.
    known: (u64, u64),
    /// Step at which a run began last.
    begun: u64,
    outage: Option<Outage>,
    /// Changes that wait for their purge, since when.
    promises: BTreeMap<Key, u64>,
    /// Since when nothing but single providers goes wrong, and since when each of them does not.
    steady: u64,
    healthy: Vec<u64>,
    /// Runs since the world began, by what they were made for, and what may cause them.
    changed_runs: u64,
    retries: u64,
    excuses: u64,
    bug: Option<WatchBug>,
    lived: Lived,
}

/// Lives a seed's day to its end.
pub(crate) fn live(seed: u64, bug: Option<WatchBug>, trace: bool) -> Lived {
    let mut world = World::new(seed, bug, trace);
    world.live();
    let World { mut lived, shared, process, .. } = world;
    drop(process);
    let mut core = shared.lock();
    lived.violation.clone_from(&core.truth.violation);
    lived.requests = core.actors.iter().map(|actor| actor.requests).sum();
    lived.trace = core.trace.take().unwrap_or_default();
    lived
}

impl World {
    fn new(seed: u64, bug: Option<WatchBug>, trace: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let specs: Vec<Spec> = (0..rng.usize(1..=3)).map(|index| Spec::draw(&mut rng, index)).collect();
        let names = (0..specs.len()).map(|index| format!("p{index}")).collect();
        let mut truth = Truth::new(names, specs.iter().map(|spec| spec.require).collect());
        let (jumps, with_poison) = (rng.u8(..3) == 0, rng.u8(..4) == 0);
        let (mut texts, mut poison) = (BTreeMap::new(), BTreeSet::new());
        let most = [8, 12, 40][rng.usize(..3)];
        for number in 0..rng.usize(3..=most) {
            let key = (rng.usize(..specs.len()), number);
            let is_poison = with_poison && rng.u8(..6) == 0;
            let text = text_of(key, &specs[key.0], is_poison);
            truth.add(key, text.clone(), is_poison);
            texts.insert(key, text);
            poison.extend(is_poison.then_some(key));
        }
        let actors = actors(&specs, &poison, jumps, false, false);
        let store = SqliteStore::scratch(&PathBuf::from("no/such/state"), "sim").expect("a store");
        let healthy = vec![0; specs.len()];
        let mut world = Self {
            specs,
            texts,
            poison,
            now: Listing::default(),
            history: BTreeMap::new(),
            broken: false,
            locked: false,
            jumps,
            allowed: Allowed { purge_all: true, removals: rng.u8(..4) > 0, max_purges: None },
            resync: [5 * MINUTE, HOUR, 2 * HOUR, 12 * HOUR][rng.usize(..4)],
            diary: Diary { edit: rng.u64(..HOUR), phase: 0, upset: rng.u64(..6 * HOUR), mend: None, spell: None },
            event: None,
            event_since_run: false,
            shared: Shared::new(actors, truth, jumps, trace),
            store: Arc::new(Mutex::new(store)),
            process: None,
            starts_at: 0,
            done: None,
            last_valid: None,
            reads: Listing::default(),
            known: (u64::MAX, 0),
            begun: 0,
            outage: None,
            promises: BTreeMap::new(),
            steady: 0,
            healthy,
            changed_runs: 0,
            retries: 0,
            excuses: 0,
            bug,
            lived: Lived::default(),
            rng,
        };
        for key in world.texts.keys().copied().collect::<Vec<_>>() {
            if world.rng.u8(..5) > 0 {
                world.publish(key);
            }
        }
        world
    }

    fn clock(&self) -> u64 {
        self.shared.lock().now
    }

    fn is_over(&self) -> bool {
        self.shared.lock().truth.violation.is_some()
    }

    fn live(&mut self) {
        self.until(DAY, true);
        self.quiet_down();
        let calm = self.clock();
        self.until(calm + SETTLED, false);
        self.must_be_done(true);
        for day in 1..=LAST_DAYS {
            if self.is_over() || !self.has_deferred() {
                break;
            }
            self.until(calm + day * DAY, false);
        }
        self.must_be_done(false);
        self.must_have_been_cheap(self.clock());
    }

    /// Lives on until then; `eventful`: with all that a day brings.
    fn until(&mut self, end: u64, eventful: bool) {
        let (mut turns, mut at) = (0, 0);
        while !self.is_over() {
            let now = self.clock();
            if now >= end {
                return;
            }
            turns = if now > at { 0 } else { turns + 1 };
            at = now;
            if turns > TURNS {
                return self.shared.lock().violated("W6", || "so much happens in one moment: a busy loop".to_owned());
            }
            self.keep_promises(now);
            if eventful {
                self.happen(now);
            }
            let next = if eventful { self.diary.next().min(end) } else { end };
            let next = self.promises.values().map(|at| at + PROMPT).fold(next, u64::min);
            self.act(now, next);
        }
    }

    /// What happens by itself.
    fn happen(&mut self, now: u64) {
        if self.diary.mend.is_some_and(|at| at <= now) {
            self.diary.mend = None;
            if self.broken {
                self.broken = false;
                self.files_change(now, true);
            }
            self.locked = false;
        }
        if self.diary.edit <= now {
            self.write(now);
        }
        if self.diary.phase <= now {
            self.next_phase(now);
        }
        if self.diary.upset <= now {
            self.diary.upset = now + self.rng.u64(..8 * HOUR);
            self.upset(now);
        }
    }

    /// Something is written: now and then, or all the time for a while.
    fn write(&mut self, now: u64) {
        let spell = self.diary.spell.filter(|spell| now < spell.until);
        self.diary.spell = spell;
        self.diary.edit = now
            + match spell {
                Some(spell) => self.rng.u64(1..=spell.gap),
                None => [300, 20 * SECOND, 10 * MINUTE, 3 * HOUR][self.rng.usize(..4)] / 2 + self.rng.u64(..HOUR),
            };
        // Most of what is written in a spell changes no asset.
        if spell.is_none() || self.rng.u8(..40) == 0 {
            self.edit(now);
        }
        match self.rng.u8(..40) {
            // A file is truncated before it is written.
            0..6 if spell.is_none() => {
                self.broken = true;
                let long = [400, MINUTE, 2 * HOUR][self.rng.usize(..3)];
                self.diary.mend = Some(now + 1 + self.rng.u64(..long));
            }
            6..14 if spell.is_none() => {
                let (long, gap) = match self.rng.u8(..10) {
                    0 => (6 * MINUTE, 190),
                    1..=3 => (30 * SECOND, 5),
                    4..=6 => (30 * SECOND, 190),
                    _ => (2 * SECOND, 5),
                };
                self.diary.spell = Some(Spell { until: now + long, gap });
                self.diary.edit = now + 1;
            }
            _ => {}
        }
        let is_seen = spell.is_some() || self.rng.u8(..30) > 0;
        self.files_change(now, is_seen);
    }

    fn files_change(&mut self, now: u64, is_seen: bool) {
        if is_seen {
            self.event = Some(now);
            self.event_since_run = true;
        } else {
            // A lost event is found by the next look at everything.
            self.promises.clear();
        }
    }

    fn publish(&mut self, key: Key) {
        self.now.edition += 1;
        let hash = format!("rev:{}", self.now.edition);
        self.history.entry(key).or_default().push(hash.clone());
        self.now.listed.insert(key, hash);
    }

    /// New contents, contents that come back, targets that come and go.
    fn edit(&mut self, now: u64) {
        self.now.edition += 1;
        let keys: Vec<Key> = self.texts.keys().copied().collect();
        for _ in 0..self.rng.usize(1..=keys.len().min(8)) {
            let key = keys[self.rng.usize(..keys.len())];
            match self.rng.u8(..12) {
                0 => drop(self.now.listed.remove(&key)),
                1..=4 => {
                    let before = self.history.get(&key).map_or(&[][..], Vec::as_slice);
                    if let Some(hash) = before.iter().rev().nth(1).cloned() {
                        self.history.entry(key).or_default().push(hash.clone());
                        self.now.listed.insert(key, hash);
                    }
                }
                _ => self.publish(key),
            }
            self.promises.entry(key).or_insert(now);
        }
        let listed = self.now.listed.clone();
        self.shared.lock().tell(|| format!("EDIT the manifest lists {listed:?}"));
    }

    /// Other faults than before, or none.
    fn next_phase(&mut self, now: u64) {
        self.end_outage(now);
        let long = [MINUTE, 10 * MINUTE, 3 * HOUR][self.rng.usize(..3)];
        self.diary.phase = now + 1 + self.rng.u64(..long);
        let mut faults =
            if self.rng.u8(..3) == 0 { Faults::none() } else { Faults::draw(&mut self.rng, self.specs.len()) };
        if !self.jumps {
            faults.never_jump();
        }
        if !faults.only_outage() {
            self.steady = now;
        }
        self.outage = faults.outage.map(|(provider, _)| Outage {
            provider,
            since: now,
            fresh: 1,
            asked: 0,
            before: self.requests_to(provider),
        });
        let mut core = self.shared.lock();
        core.tell(|| format!("PHASE {faults:?}"));
        core.faults = faults;
    }

    /// W6: a provider that fails is asked less and less often.
    fn end_outage(&mut self, now: u64) {
        let Some(Outage { provider, since, fresh, asked, .. }) = self.outage.take() else { return };
        // Waits of half of 5 s, 10 s and so on up to 10 minutes.
        let most = fresh * 8 + (now - since) / (5 * MINUTE) + 2;
        if asked > most {
            let seconds = (now - since) / SECOND;
            self.shared.lock().violated("W6", || {
                format!("p{provider} was asked by {asked} runs in {seconds} s of outage, not {most}")
            });
        }
    }

    /// Something that concerns everything.
    fn upset(&mut self, now: u64) {
        self.steady = now;
        match self.rng.u8(..6) {
            0 if self.jumps => {
                let ms = jump(&mut self.rng);
                let mut core = self.shared.lock();
                core.skew_ms = if core.skew_ms == 0 { ms } else { 0 };
                core.tell(|| format!("the wall clock jumps by {ms} ms, or back"));
            }
            1 => {
                self.locked = true;
                self.diary.mend = Some(now + self.rng.u64(..20 * MINUTE));
            }
            2 => {
                self.excuse();
                if let Some(process) = &mut self.process {
                    process.handle(Event::Asked);
                }
            }
            3 => {
                if let Some(process) = &mut self.process {
                    process.handle(Event::Stop);
                }
            }
            _ => {
                self.shared.lock().killed = true;
                if self.process.is_some() {
                    self.dies(now);
                }
            }
        }
    }

    /// Whatever is left in peace may be asked once more.
    fn excuse(&mut self) {
        self.excuses += 1;
        if let Some(outage) = &mut self.outage {
            outage.fresh += 1;
        }
    }

    /// The process goes on, until it waits for something later.
    fn act(&mut self, now: u64, next: u64) {
        if self.process.is_none() {
            if self.starts_at > now {
                self.steady = now;
                return self.shared.go_on(next.min(self.starts_at));
            }
            self.starts(now);
        }
        let Some(process) = &mut self.process else { return };
        let event =
            if self.bug == Some(WatchBug::QuietForEver) { self.event.filter(|at| now - at >= 200) } else { self.event };
        if let Some(at) = event {
            process.changed(now - at);
            self.event = None;
        }
        match process.turn() {
            Turn::Begins(order) => self.begins(order, now),
            Turn::Ended(ended) => self.ended(&ended, now),
            Turn::Died => self.dies(now),
            Turn::Exits => {
                self.process = None;
                self.rests(now);
            }
            Turn::Waits(until) => {
                let waits = self.event.map_or(u64::MAX, |at| at + 200);
                self.shared.go_on(until.unwrap_or(u64::MAX).min(next).min(waits));
            }
        }
    }

    fn starts(&mut self, now: u64) {
        self.excuse();
        let mut core = self.shared.lock();
        core.killed = false;
        core.tell(|| "START".to_owned());
        drop(core);
        let seed = self.rng.u64(..);
        self.process = Some(Process::new(&self.shared, self.resync, seed, self.bug));
        (self.done, self.last_valid, self.event) = (None, None, None);
        self.event_since_run = false;
        self.steady = now;
    }

    fn rests(&mut self, now: u64) {
        let long = [1, 10 * SECOND, 30 * MINUTE][self.rng.usize(..3)];
        self.starts_at = now + self.rng.u64(..long);
        self.steady = now;
    }

    fn dies(&mut self, now: u64) {
        self.lived.kills += 1;
        let rows = self.rows();
        self.process = None;
        let mut core = self.shared.lock();
        core.faults.never_kill();
        core.tell(|| "DIED".to_owned());
        core.truth.check(&rows);
        core.truth.died(&rows);
        drop(core);
        self.rests(now);
    }

    fn begins(&mut self, order: Order, now: u64) {
        self.lived.runs += 1;
        match order.reason {
            Reason::Changed => {
                self.changed_runs += 1;
                if !self.event_since_run {
                    self.shared.lock().violated("W4", || "a run for changes that nobody made".to_owned());
                }
            }
            Reason::Retry => self.retries += 1,
            _ => {}
        }
        self.event_since_run = self.event.is_some();
        if let Some(mut outage) = self.outage.take() {
            outage.before = self.requests_to(outage.provider);
            self.outage = Some(outage);
        }
        let read = self.read();
        if !matches!(read, Read::Valid(_) | Read::Unchanged) {
            self.steady = now;
        }
        let reads = self.reads.listed.clone();
        let step = self.shared.lock().steps;
        if matches!(read, Read::Valid(_)) && self.known != (step, self.reads.edition) {
            self.known = (step, self.reads.edition);
            let rows = self.rows();
            let mut core = self.shared.lock();
            core.truth.starts(&rows, &reads, &|_| false);
            // Calls that a run gives up have ended with it.
            core.actors.iter_mut().for_each(|actor| actor.flights = 0);
            core.tell(|| format!("RUN {order:?}"));
        }
        self.begun = step;
        if let Some(process) = &mut self.process {
            process.begin(order, read);
        }
    }

    /// The manifests as they are, or the last valid ones.
    fn read(&mut self) -> Read {
        self.reads = if self.broken {
            let Some(last) = self.last_valid.take() else { return Read::Unknown };
            last
        } else {
            self.now.clone()
        };
        if !self.broken && self.done == Some(self.now.edition) {
            self.last_valid = None;
            return Read::Unchanged;
        }
        if self.locked {
            self.last_valid = Some(self.reads.clone());
            return Read::Locked;
        }
        let store = SimStore {
            shared: self.shared.clone(),
            runner: 0,
            inner: Arc::clone(&self.store),
            path: None,
            listed: self.reads.listed.clone(),
            forced: BTreeSet::new(),
            adopts: false,
            forgets: false,
            bug: None,
            debits: BTreeMap::new(),
        };
        let model = model(&self.specs, &self.texts, &self.reads.listed, Policy::default(), None);
        Read::Valid(Box::new(Given { store, model, allowed: self.allowed }))
    }

    fn ended(&mut self, ended: &Ended, now: u64) {
        let has_written = self.shared.lock().steps != self.begun;
        let rows = if has_written { self.rows() } else { Vec::new() };
        let mut core = self.shared.lock();
        let step = core.steps;
        if has_written {
            core.truth.check(&rows);
        }
        core.tell(|| format!("the run ends: {:?}, {:?}", ended.end, ended.finished));
        if let Some((exit, whole)) = ended.finished {
            if whole {
                core.truth.ran_to_its_end(step);
            }
            let left: Vec<Key> = core.truth.entries.keys().copied().filter(|key| !core.truth.satisfied(*key)).collect();
            if exit == Exit::Done && !left.is_empty() {
                core.violated("L3", || format!("the run says that all is done, and {left:?} are not"));
            }
        }
        drop(core);
        let is_done = matches!(ended.finished, Some((Exit::Done, _)));
        self.done = if is_done { Some(self.reads.edition) } else { self.done.filter(|_| ended.finished.is_none()) };
        let keeps = match &ended.end {
            RunEnd::Done(left) => !left.is_empty(),
            RunEnd::Failed | RunEnd::Cut | RunEnd::Stale => true,
            RunEnd::Blocked(_) => false,
        };
        if ended.finished.is_some() || !keeps {
            self.last_valid = keeps.then(|| self.reads.clone());
        }
        if matches!(ended.end, RunEnd::Failed | RunEnd::Blocked(_)) {
            self.steady = now;
            self.excuses += 1;
        }
        self.count_requests(&ended.end);
    }

    /// W6: what the run asked of a provider that is out.
    fn count_requests(&mut self, end: &RunEnd) {
        let Some(Outage { provider, before, .. }) = self.outage else { return };
        let made = self.requests_to(provider) - before;
        let name = format!("p{provider}");
        let is_left = matches!(end, RunEnd::Done(left) if left.iter().any(|left| left.name == name));
        if let Some(outage) = &mut self.outage {
            outage.asked += u64::from(made > 0);
            // Where nothing is left to do, the next change is tried at once.
            outage.fresh += u64::from(matches!(end, RunEnd::Done(_)) && !is_left);
        }
        let most = REQUESTS_A_RUN * self.specs[provider].endpoints as u64;
        if made > most {
            self.shared.lock().violated("W6", || format!("{made} requests of one run to p{provider}, which is out"));
        }
    }

    fn requests_to(&self, provider: usize) -> u64 {
        let core = self.shared.lock();
        let actors = core.actors.iter().filter(|actor| actor.providers.contains(&provider));
        actors.map(|actor| actor.requests).sum()
    }

    fn rows(&self) -> Vec<Recorded> {
        self.store.lock().expect("no panic").recorded().expect("readable")
    }

    /// W4, L2: what changed is purged in time, unless something goes wrong with it.
    fn keep_promises(&mut self, now: u64) {
        let out = {
            let core = self.shared.lock();
            // Vendors refuse what is signed at another time.
            if !core.faults.only_outage() || core.skew_ms.unsigned_abs() > CLOCKS_AGREE {
                self.steady = now;
            }
            core.faults.outage.map(|(provider, _)| provider)
        };
        if self.broken || self.locked {
            self.steady = now;
        }
        for provider in 0..self.specs.len() {
            if out == Some(provider) || self.process.as_ref().is_none_or(|process| process.fails(provider)) {
                self.healthy[provider] = now;
            }
        }
        let due: Vec<(Key, u64)> =
            self.promises.iter().filter(|(_, at)| **at + PROMPT <= now).map(|(key, at)| (*key, *at)).collect();
        if due.is_empty() {
            return;
        }
        let rows = self.rows();
        for (key, at) in due {
            self.promises.remove(&key);
            let excused = at <= self.steady.max(self.healthy[key.0]) || self.poison.contains(&key);
            if !excused && !self.is_served(key, at, &rows) {
                let (now, listed) = (now - at, self.now.listed.get(&key).cloned());
                self.shared
                    .lock()
                    .violated("W4", || format!("{key:?}, which is {listed:?}, still waits after {now} ms"));
            }
        }
    }

    fn is_served(&self, key: Key, since: u64, rows: &[Recorded]) -> bool {
        if self.shared.lock().purged_at.get(&key).is_some_and(|at| *at >= since) {
            return true;
        }
        let row = rows.iter().find(|row| row.target.text == self.texts[&key]);
        let is_clean = row.is_none_or(|row| row.work.is_none());
        let recorded = row.and_then(|row| row.hash.as_ref()).map(ToString::to_string);
        // Where a quota is spent, what changes again and again may never be noted at all.
        let provider = format!("p{}", key.0);
        let is_spent = rows.iter().any(|row| row.provider == provider && is_deferred(row));
        is_spent || (is_clean && recorded.as_ref() == self.now.listed.get(&key))
    }

    /// Faults stop. The last thing that anyone does is to save a valid manifest.
    fn quiet_down(&mut self) {
        let now = self.clock();
        self.end_outage(now);
        self.promises.clear();
        (self.broken, self.locked, self.allowed.removals) = (false, false, true);
        self.starts_at = now;
        let mut core = self.shared.lock();
        core.faults = Faults::none();
        core.skew_ms = 0;
        core.tell(|| "ALL FAULTS STOP".to_owned());
        drop(core);
        self.files_change(now, true);
    }

    fn has_deferred(&self) -> bool {
        self.rows().iter().any(is_deferred)
    }

    /// L1: all that is asked for is recorded; `today`: or deferred by a quota.
    fn must_be_done(&self, today: bool) {
        if self.is_over() {
            return;
        }
        let rows = self.rows();
        let is_left = |row: &&Recorded| match row.work.as_ref().map(|work| &work.standing) {
            None | Some(Standing::Rejected { .. }) => false,
            Some(Standing::Deferred { .. }) => !today,
            Some(Standing::Pending { .. }) => true,
        };
        let mut left: Vec<String> = rows.iter().filter(is_left).map(|row| row.target.text.clone()).collect();
        let known: BTreeMap<&str, &Recorded> = rows.iter().map(|row| (row.target.text.as_str(), row)).collect();
        for (key, hash) in &self.now.listed {
            let row = known.get(self.texts[key].as_str());
            let desired = row.and_then(|row| row.work.as_ref().map_or(row.hash.as_ref(), |work| work.desired.as_ref()));
            if desired.map(ToString::to_string).as_ref() != Some(hash) {
                left.push(format!("{} as {hash}", self.texts[key]));
            }
        }
        let mut core = self.shared.lock();
        let waits = |row: &&&Recorded| row.work.is_some();
        let waiting: BTreeSet<&str> =
            rows.iter().filter(|row| waits(&row)).map(|row| row.target.text.as_str()).collect();
        let untrue = core.truth.entries.iter().filter(|(key, entry)| {
            entry.present != Present::Absent
                && !core.truth.satisfied(**key)
                && !waiting.contains(self.texts[*key].as_str())
        });
        left.extend(untrue.map(|(key, _)| self.texts[key].clone()));
        if !left.is_empty() {
            core.violated("L1", || format!("all faults have stopped, and {left:?} are still to do"));
        }
    }

    /// W6: runs are bounded by what happened and by time.
    fn must_have_been_cheap(&mut self, now: u64) {
        let purges: u64 = self.shared.lock().actors.iter().map(|actor| actor.seen as u64).sum();
        let providers = self.specs.len() as u64;
        let most = providers * (now / (5 * MINUTE)) + 20 * (self.excuses + purges + self.changed_runs) + 100;
        let retries = self.retries;
        if retries > most {
            self.shared.lock().violated("W6", || format!("{retries} retries, not {most}"));
        }
    }
}

fn is_deferred(row: &Recorded) -> bool {
    row.work.as_ref().is_some_and(|work| matches!(work.standing, Standing::Deferred { .. }))
}
