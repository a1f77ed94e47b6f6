//! A day of `freshen watch` from a seed: files change, providers fail, quotas end, clocks jump, the process is killed; then
//! faults stop, and it must converge. What it may cost on the way is counted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use freshen::core::guard::Allowed;
use freshen::core::recorded::{Recorded, Standing, Work};
use freshen::core::watch::{MOST_QUIET_MS, RETRY_CAP_MS, RunEnd, RunReason, RunRequest};
use freshen::daemon::Signal;
use freshen::state::{SqliteStore, Store};

use crate::faults::{Faults, jump};
use crate::files::{Files, Paths, Place};
use crate::planted::WatchBug;
use crate::promises::{Promise, Promises};
use crate::removals::Removals;
use crate::seams::Shared;
use crate::spec::{Policy, Spec, actors, model, text_of};
use crate::store::Facts;
use crate::truth::{Present, Truth, Violation};
use crate::vendors::Key;
use crate::watch::{Ended, Process, Read, Turn};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// All is done within this time, once faults have stopped and no provider may be left in peace any more.
const SETTLED: u64 = 15 * MINUTE;
/// A look at everything may have to wait for a run for so long.
const LONG_RUN: u64 = 20 * MINUTE;
/// Days within which the smallest quota lets everything through.
const LAST_DAYS: u64 = 8;
/// Most requests of one run to a provider that is out: its retries, and what was under way with them.
const REQUESTS_A_RUN: u64 = 40;
/// How far a clock may be off before vendors mind, or less.
const CLOCKS_AGREE: u64 = 4 * MINUTE;
/// Most turns in one moment of time.
const TURNS: u32 = 1_000;

/// What a day came to.
#[derive(Default)]
pub(crate) struct Lived {
    pub(crate) violation: Option<Violation>,
    pub(crate) runs: u64,
    pub(crate) kills: u64,
    pub(crate) requests: u64,
    /// Kinds of things that happened, of [`KINDS`].
    pub(crate) seen: BTreeSet<&'static str>,
    pub(crate) trace: Vec<String>,
}

/// What days are to bring, and of how many in a hundred at least.
pub(crate) const KINDS: [(&str, u64); 21] = [
    ("a provider is out", 50),
    ("requests go wrong", 50),
    ("a vendor asks for a long rest", 10),
    ("a quota is spent", 10),
    ("manifests are not valid", 50),
    ("nothing is known of valid manifests", 10),
    ("the state is locked", 10),
    ("the disk is full", 10),
    ("the wall clock jumps", 10),
    ("commits take their time", 10),
    ("an event is lost", 10),
    ("files do not come to rest", 10),
    ("a guard refuses", 5),
    ("work goes on behind a refusal", 10),
    ("a run is cut short while it sends", 10),
    ("a run is cut short before it sends", 10),
    ("SIGHUP", 50),
    ("SIGTERM", 50),
    ("a process dies", 50),
    ("faults stop amid the day", 50),
    ("faults stop while work is left", 50),
];

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

/// A folder that is emptied step by step, and perhaps put back.
struct Loss {
    steps: u32,
    before: Option<BTreeMap<Key, String>>,
}

/// When what happens by itself happens next.
#[derive(Default)]
struct Diary {
    edit: u64,
    phase: u64,
    upset: u64,
    mend: Option<u64>,
    spell: Option<Spell>,
    loss: Option<Loss>,
    signal: Option<u64>,
}

impl Diary {
    fn next(&self) -> u64 {
        self.edit
            .min(self.phase)
            .min(self.upset)
            .min(self.mend.into_iter().chain(self.signal).min().unwrap_or(u64::MAX))
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
    /// Faults have stopped for a while.
    calm: bool,
    jumps: bool,
    /// What the user said when the program was started.
    allowed_at_first: Allowed,
    /// With what the manifest says by now.
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
    /// For a planted defect: what the run before read.
    before: BTreeMap<Key, String>,
    /// What the run under way goes by.
    reads: Listing,
    /// Step and edition that the truth knows of: nothing is new unless they are.
    known: (u64, u64),
    /// Step at which a run began last.
    begun: u64,
    outage: Option<Outage>,
    /// When the process must have ended, and when it must have reloaded.
    stop_by: Option<u64>,
    reload_by: Option<u64>,
    promises: Promises,
    /// The guard refused what the last run found.
    refused: bool,
    removals: Removals,
    /// The run under way cannot be made, or has manifests to go by.
    may_fail: bool,
    reads_valid: bool,
    /// Files changed, and no event reported it.
    unseen: bool,
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
    lived.seen = std::mem::take(&mut core.seen);
    lived.trace = core.trace.take().unwrap_or_default();
    lived
}

impl World {
    fn new(seed: u64, bug: Option<WatchBug>, trace: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let specs: Vec<Spec> = (0..rng.usize(1..=3)).map(|index| Spec::draw(&mut rng, index)).collect();
        let names = (0..specs.len()).map(|index| format!("p{index}")).collect();
        let mut truth = Truth::new(names, specs.iter().map(|spec| (spec.require, spec.active.clone())).collect());
        let (jumps, with_poison) = (rng.u8(..3) == 0, rng.u8(..4) == 0);
        let (mut texts, mut poison) = (BTreeMap::new(), BTreeSet::new());
        let (least, most) = [(3, 8), (3, 12), (20, 40)][rng.usize(..3)];
        for number in 0..rng.usize(least..=most) {
            let key = (rng.usize(..specs.len()), number);
            let is_poison = with_poison && rng.u8(..6) == 0;
            let text = text_of(key, &specs[key.0], is_poison);
            truth.add(key, text.clone(), is_poison);
            texts.insert(key, text);
            poison.extend(is_poison.then_some(key));
        }
        let actors = actors(&specs, &poison, jumps, false, false);
        let store = SqliteStore::scratch(&PathBuf::from("no/such/state"), "sim").expect("a store");
        let promises = Promises::among(texts.len());
        let allowed = Allowed { purge_all: true, removals: rng.u8(..3) == 0, max_purges: None };
        let mut world = Self {
            specs,
            texts,
            poison,
            now: Listing::default(),
            history: BTreeMap::new(),
            broken: false,
            locked: false,
            calm: false,
            jumps,
            allowed_at_first: allowed,
            allowed,
            resync: [5 * MINUTE, HOUR, 2 * HOUR, 12 * HOUR][rng.usize(..4)],
            diary: Diary { edit: rng.u64(..HOUR), upset: rng.u64(..6 * HOUR), ..Diary::default() },
            event: None,
            event_since_run: false,
            shared: Shared::new(actors, truth, jumps, trace),
            store: Arc::new(Mutex::new(store)),
            process: None,
            starts_at: 0,
            done: None,
            last_valid: None,
            before: BTreeMap::new(),
            reads: Listing::default(),
            known: (u64::MAX, 0),
            begun: 0,
            outage: None,
            stop_by: None,
            reload_by: None,
            promises,
            refused: false,
            removals: Removals::default(),
            may_fail: false,
            reads_valid: false,
            unseen: false,
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
        let parts = self.rng.u64(1..=4);
        for part in 1..=parts {
            let end = self.clock() + DAY / parts;
            self.until(end, true);
            let removals = self.allowed.removals;
            if part < parts {
                self.saw("faults stop amid the day");
            }
            self.quiet_down();
            let end = self.rests().values().copied().fold(self.clock(), u64::max) + SETTLED;
            self.until(end, false);
            self.must_be_done(true);
            if part < parts {
                self.goes_on(removals);
            }
        }
        let calm = self.clock();
        for day in 1..=LAST_DAYS {
            if self.is_over() || !self.has_work() {
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
            self.keep_signals(now);
            if eventful {
                self.happen(now);
            }
            let next = if eventful { self.diary.next().min(end) } else { end };
            let next = self.promises.next(&self.rests()).min(next);
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
            match self.diary.loss.take() {
                Some(loss) => self.lose(loss, now),
                None => self.write(now),
            }
        }
        if self.diary.signal.is_some_and(|at| at <= now) {
            self.diary.signal = None;
            self.signal();
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
        let is_seen = spell.is_some() || self.rng.u8(..30) > 0;
        // Most of what is written in a spell changes no asset.
        if spell.is_none() || self.rng.u8(..40) == 0 {
            self.edit(now, is_seen);
        }
        match self.rng.u8(..40) {
            // A file is truncated before it is written.
            0..6 if spell.is_none() => {
                self.broken = true;
                let long = [400, MINUTE, 2 * HOUR][self.rng.usize(..3)];
                self.diary.mend = Some(now + 1 + self.rng.u64(..long));
            }
            6..11 if spell.is_none() => {
                let before = self.rng.u8(..4) > 0;
                let before = before.then(|| self.now.listed.clone());
                self.diary.loss = Some(Loss { steps: self.rng.u32(1..=6), before });
            }
            11..18 if spell.is_none() => {
                let (long, gap) = match self.rng.u8(..10) {
                    0 => (6 * MINUTE, 190),
                    1..=3 => (30 * SECOND, 5),
                    4..=6 => (30 * SECOND, 190),
                    _ => (2 * SECOND, 5),
                };
                self.diary.spell = Some(Spell { until: now + long, gap });
                self.diary.edit = now + 1;
                if long > MOST_QUIET_MS {
                    self.saw("files do not come to rest");
                }
            }
            _ => {}
        }
        self.files_change(now, is_seen);
    }

    /// A folder loses some more of its files, or is put back.
    fn lose(&mut self, loss: Loss, now: u64) {
        let Loss { steps, before } = loss;
        let long = [10 * SECOND, 20 * MINUTE][self.rng.usize(..2)];
        self.diary.edit = now + self.rng.u64(1..long);
        self.now.edition += 1;
        let listed = self.now.listed.clone();
        if steps > 0 {
            let one_in = self.rng.u8(2..=8);
            let rng = &mut self.rng;
            self.now.listed.retain(|_, _| rng.u8(..one_in) > 0);
            self.diary.loss = Some(Loss { steps: steps - 1, before });
        } else if let Some(before) = before {
            self.now.listed = before;
        }
        for key in self.texts.keys() {
            if listed.get(key) != self.now.listed.get(key) {
                self.promises.make(*key, now);
            }
        }
        let listed = self.now.listed.clone();
        self.shared.lock().tell(|| format!("LOSS the manifest lists {listed:?}"));
        self.files_change(now, true);
    }

    fn files_change(&mut self, now: u64, is_seen: bool) {
        if is_seen {
            self.event = Some(now);
            self.event_since_run = true;
        } else {
            self.saw("an event is lost");
            self.unseen = true;
        }
    }

    fn saw(&self, what: &'static str) {
        self.shared.lock().saw(what);
    }

    fn publish(&mut self, key: Key) {
        self.now.edition += 1;
        let hash = format!("rev:{}", self.now.edition);
        self.history.entry(key).or_default().push(hash.clone());
        self.now.listed.insert(key, hash);
    }

    /// New contents, contents that come back, targets that come and go.
    fn edit(&mut self, now: u64, is_seen: bool) {
        self.now.edition += 1;
        let keys: Vec<Key> = self.texts.keys().copied().collect();
        for _ in 0..self.rng.usize(1..=keys.len().min(8)) {
            let key = keys[self.rng.usize(..keys.len())];
            let before = self.now.listed.get(&key).cloned();
            match self.rng.u8(..12) {
                0 => drop(self.now.listed.remove(&key)),
                1..=4 => {
                    let history = self.history.get(&key).map_or(&[][..], Vec::as_slice);
                    if let Some(hash) = history.iter().rev().nth(1).cloned() {
                        self.history.entry(key).or_default().push(hash.clone());
                        self.now.listed.insert(key, hash);
                    }
                }
                _ => self.publish(key),
            }
            match (self.now.listed.get(&key) != before.as_ref(), is_seen) {
                (false, _) => {}
                (true, true) => self.promises.make(key, now),
                // Found by the next look at everything.
                (true, false) => self.promises.make_later(key, now, now + self.resync + LONG_RUN),
            }
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
        // Waits of half of 5 s, 10 s and so on up to 10 minutes; once more where at first a target alone is to blame.
        let most = (fresh + 1) * 8 + (now - since) / (5 * MINUTE) + 2;
        if asked > most {
            let seconds = (now - since) / SECOND;
            self.shared.lock().violated("W6", || {
                format!("p{provider} was asked by {asked} runs in {seconds} s of outage, not {most}")
            });
        }
    }

    /// Something that concerns everything.
    fn upset(&mut self, now: u64) {
        match self.rng.u8(..6) {
            0 if self.jumps => {
                let ms = jump(&mut self.rng);
                let mut core = self.shared.lock();
                core.saw("the wall clock jumps");
                core.skew_ms = if core.skew_ms == 0 { ms } else { 0 };
                core.tell(|| format!("the wall clock jumps by {ms} ms, or back"));
            }
            1 => {
                self.locked = true;
                self.diary.mend = Some(now + self.rng.u64(..20 * MINUTE));
            }
            2..=3 => self.signal(),
            _ => {
                self.shared.lock().killed = true;
                if self.process.is_some() {
                    self.dies(now);
                }
            }
        }
    }

    /// The user says something.
    fn signal(&mut self) {
        let (what, signal) = if self.rng.bool() { ("SIGHUP", Signal::Reload) } else { ("SIGTERM", Signal::Stop) };
        let now = self.clock();
        if let Some(process) = &mut self.process {
            process.signal(signal);
            let awaited = if signal == Signal::Stop { &mut self.stop_by } else { &mut self.reload_by };
            awaited.get_or_insert(now + LONG_RUN);
            self.saw(what);
            self.excuse();
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
                self.promises.excuse(now);
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
            Turn::Begins(request) => self.begins(&request, now),
            Turn::Ended(ended) => self.ended(&ended, now),
            Turn::Died => self.dies(now),
            Turn::Exits => {
                self.process = None;
                self.starts_later(now);
            }
            Turn::Waits => {
                let waits = self.event.map_or(u64::MAX, |at| at + 200);
                self.shared.go_on(next.min(waits));
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
        // What is lost counts from here on.
        (self.removals, self.known) = (Removals::default(), (u64::MAX, 0));
        let given = (self.resync, seed, self.allowed_at_first);
        self.process = Some(Process::new(&self.shared, &self.store, given, self.bug));
        (self.done, self.last_valid, self.event) = (None, None, None);
        (self.stop_by, self.reload_by) = (None, None);
        self.event_since_run = false;
        self.promises.excuse(now);
    }

    fn starts_later(&mut self, now: u64) {
        let long = if self.calm { 1 } else { [1, 10 * SECOND, 30 * MINUTE][self.rng.usize(..3)] };
        self.starts_at = now + self.rng.u64(..long);
        self.promises.excuse(now);
    }

    fn dies(&mut self, now: u64) {
        self.lived.kills += 1;
        let rows = self.rows();
        self.process = None;
        let mut core = self.shared.lock();
        core.faults.never_kill();
        core.saw("a process dies");
        core.tell(|| "DIED".to_owned());
        core.truth.check(&rows);
        core.truth.died(&rows);
        drop(core);
        self.starts_later(now);
    }

    fn begins(&mut self, request: &RunRequest, now: u64) {
        self.lived.runs += 1;
        match request.reason {
            RunReason::Changed => {
                self.changed_runs += 1;
                if !self.event_since_run {
                    self.shared.lock().violated("W4", || "a run for changes that nobody made".to_owned());
                }
            }
            RunReason::Retry => self.retries += 1,
            RunReason::Reload => self.reload_by = None,
            _ => {}
        }
        self.event_since_run = self.event.is_some();
        if let Some(mut outage) = self.outage.take() {
            outage.before = self.requests_to(outage.provider);
            self.outage = Some(outage);
        }
        let (read, is_locked) = self.read();
        match read {
            Some(Read::Broken) => self.saw("nothing is known of valid manifests"),
            _ if is_locked => self.saw("the state is locked"),
            Some(Read::Valid(_)) | None if self.broken => self.saw("manifests are not valid"),
            _ => {}
        }
        let is_valid = !is_locked && !matches!(read, Some(Read::Broken | Read::Unchanged));
        self.may_fail = is_locked || matches!(read, Some(Read::Broken));
        self.unseen &= is_locked || self.broken;
        let reads = self.reads.listed.clone();
        let step = self.shared.lock().steps;
        if is_valid && self.known != (step, self.reads.edition) {
            self.known = (step, self.reads.edition);
            let rows = self.rows();
            let mut core = self.shared.lock();
            self.removals.find(&rows, |row| core.truth.wanted(&reads, row).is_some());
            core.truth.starts(&rows, &reads, &|_| false);
            // Calls that a run gives up have ended with it.
            core.actors.iter_mut().for_each(|actor| actor.in_flight = 0);
            core.tell(|| format!("RUN {request:?}"));
        }
        self.begun = step;
        self.reads_valid = is_valid;
        if self.reads_valid {
            self.removals.begins(now, self.allowed.removals);
        }
        // A disk is slow now and then.
        let mut in_ms = if self.rng.u8(..16) == 0 { self.rng.u64(..1_500) } else { 0 };
        // The user may say something at the worst time.
        if self.rng.u8(..50) == 0 && self.diary.signal.is_none() {
            let at = self.rng.u64(..30 * SECOND);
            self.diary.signal = Some(now + at);
            in_ms = if self.rng.bool() { at + self.rng.u64(..SECOND) } else { in_ms };
        }
        if let Some(process) = &mut self.process {
            let facts = Facts { listed: reads, ..Facts::default() };
            process.reads(read.unwrap_or(Read::Broken), (facts, is_locked), in_ms);
        }
    }

    /// The manifests as they are, and whether the state is locked; none where the last valid ones hold.
    fn read(&mut self) -> (Option<Read>, bool) {
        self.reads = if self.broken {
            let Some(last) = self.last_valid.take() else { return (Some(Read::Broken), false) };
            last
        } else {
            self.now.clone()
        };
        let is_known = match self.bug {
            Some(WatchBug::ShortCutTooOften) => self.done.is_some(),
            _ => self.done == Some(self.now.edition),
        };
        if !self.broken && is_known {
            self.last_valid = None;
            return (Some(Read::Unchanged), false);
        }
        if self.locked {
            self.last_valid = Some(self.reads.clone());
        }
        if self.broken && self.bug != Some(WatchBug::HalfFileTaken) {
            return (None, self.locked);
        }
        let files = (&Files::one(), Paths::Folder, Place::default());
        let policy = Policy { allows_removals: self.allowed.removals, ..Policy::default() };
        let listed = match self.bug {
            Some(WatchBug::HalfFileTaken) if self.broken => {
                let half = self.reads.listed.len() / 2;
                self.reads.listed.iter().take(half).map(|(key, hash)| (*key, hash.clone())).collect()
            }
            Some(WatchBug::OldManifestTaken) => std::mem::replace(&mut self.before, self.reads.listed.clone()),
            _ => self.reads.listed.clone(),
        };
        let model = model(&self.specs, &self.texts, &listed, files, policy, None);
        (Some(Read::Valid(Box::new(model))), self.locked)
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
        if let Some((is_done, whole)) = ended.finished {
            if whole {
                core.truth.ran_to_its_end(step);
            }
            let left: Vec<Key> = core.truth.entries.keys().copied().filter(|key| !core.truth.satisfied(*key)).collect();
            if is_done && !left.is_empty() {
                core.violated("L3", || format!("the run says that all is done, and {left:?} are not"));
            }
        }
        drop(core);
        self.forget_what_came_back();
        let is_done = matches!(ended.finished, Some((true, _)));
        self.done = if is_done { Some(self.reads.edition) } else { self.done.filter(|_| ended.finished.is_none()) };
        let keeps = match &ended.end {
            RunEnd::Done(left) => !left.is_empty(),
            RunEnd::Failed | RunEnd::Cut | RunEnd::Stale => true,
            RunEnd::Blocked(_) => false,
        };
        if self.reads_valid {
            self.last_valid = keeps.then(|| self.reads.clone());
        }
        self.judge(ended, now);
        self.count_requests(&ended.end);
    }

    /// Whether the run had to end as it did.
    fn judge(&mut self, ended: &Ended, now: u64) {
        match &ended.end {
            RunEnd::Done(left) if left.iter().any(|left| left.deferred_until.is_some()) => self.saw("a quota is spent"),
            RunEnd::Blocked(Some(left)) if !left.is_empty() => self.saw("work goes on behind a refusal"),
            RunEnd::Blocked(_) => self.saw("a guard refuses"),
            RunEnd::Cut => self.saw("a run is cut short before it sends"),
            RunEnd::Done(_) | RunEnd::Failed | RunEnd::Stale => {}
        }
        if ended.end != RunEnd::Failed && ended.finished.is_some_and(|(_, whole)| !whole) {
            self.saw("a run is cut short while it sends");
        }
        if matches!(ended.end, RunEnd::Failed | RunEnd::Blocked(_)) {
            self.promises.excuse(now);
            self.excuses += 1;
        }
        self.refused = matches!(ended.end, RunEnd::Blocked(_));
        if self.reads_valid && !matches!(ended.end, RunEnd::Failed | RunEnd::Cut | RunEnd::Stale) {
            let wrong = self.removals.ends(self.refused);
            if let Some(what) = wrong {
                self.shared.lock().violated("C11", || what.to_owned());
            }
        }
        let mut core = self.shared.lock();
        if ended.end == RunEnd::Failed && !self.may_fail && core.disk_full_at < self.begun {
            core.violated("W4", || "a run fails for no reason".to_owned());
        }
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

    /// C14: signals are heard, also by a process that is busy.
    fn keep_signals(&self, now: u64) {
        let late = |by: Option<u64>| self.process.is_some() && by.is_some_and(|by| by < now);
        if late(self.stop_by) {
            self.shared.lock().violated("C14", || "the process goes on after SIGTERM".to_owned());
        }
        if late(self.reload_by) && self.stop_by.is_none() {
            self.shared.lock().violated("C14", || "nothing is read anew after SIGHUP".to_owned());
        }
    }

    /// W4, L2: what changed is purged in time, unless faults that were put there stand in its way.
    fn keep_promises(&mut self, now: u64) {
        let (is_shaken, rests) = {
            let mut core = self.shared.lock();
            // Vendors refuse what is signed at another time.
            let is_off = core.skew_ms.unsigned_abs() > CLOCKS_AGREE;
            if is_off {
                (0..self.specs.len()).for_each(|provider| core.may_rest(provider, RETRY_CAP_MS));
            }
            (is_off || !core.faults.only_outage(), core.rests.clone())
        };
        if is_shaken || self.broken || self.locked || self.refused || self.process.is_none() {
            self.promises.excuse(now);
        }
        let due = self.promises.take(now, &rests);
        if due.is_empty() {
            return;
        }
        let rows = self.rows();
        for (key, Promise { since, .. }) in due {
            if !self.poison.contains(&key) && !self.is_served(key, since, &rows) {
                let (ms, listed) = (now - since, self.now.listed.get(&key).cloned());
                let what = || format!("{key:?}, which is {listed:?}, still waits after {ms} ms");
                self.shared.lock().violated("W4", what);
            }
        }
    }

    /// Until when each provider may be left in peace.
    fn rests(&self) -> BTreeMap<usize, u64> {
        self.shared.lock().rests.clone()
    }

    /// What changes back to what is recorded before a run sees it needs no purge.
    fn forget_what_came_back(&mut self) {
        let waiting = self.promises.targets();
        let rows = if waiting.is_empty() { Vec::new() } else { self.rows() };
        for key in waiting {
            if self.is_recorded(key, &rows) {
                self.promises.fulfil(key);
            }
        }
    }

    fn is_served(&self, key: Key, since: u64, rows: &[Recorded]) -> bool {
        if self.shared.lock().purged_at.get(&key).is_some_and(|at| *at >= since) {
            return true;
        }
        // Where a quota is spent, what changes again and again may never be noted at all.
        let provider = format!("p{}", key.0);
        let is_spent = self.counts_differ(key.0)
            || self.has_quota(key.0) && rows.iter().any(|row| row.provider == provider && is_deferred(row));
        is_spent || self.is_recorded(key, rows)
    }

    /// Whether the state has it as it is, and nothing to do.
    fn is_recorded(&self, key: Key, rows: &[Recorded]) -> bool {
        let row = rows.iter().find(|row| row.target.text == self.texts[&key]);
        let is_clean = row.is_none_or(|row| row.work.is_none());
        let recorded = row.and_then(|row| row.hash.as_ref()).map(ToString::to_string);
        is_clean && recorded.as_ref() == self.now.listed.get(&key)
    }

    /// Faults stop. What the watch cannot know is mended by hand.
    fn quiet_down(&mut self) {
        let now = self.clock();
        self.end_outage(now);
        let is_mended = self.broken || self.refused || self.unseen;
        (self.broken, self.locked, self.calm, self.allowed.removals) = (false, false, true, true);
        self.starts_at = self.starts_at.min(now);
        let mut core = self.shared.lock();
        core.faults = Faults::none();
        core.skew_ms = 0;
        core.tell(|| "ALL FAULTS STOP".to_owned());
        drop(core);
        if is_mended {
            self.files_change(now, true);
        }
        if self.rows().iter().any(|row| row.work.is_some()) {
            self.saw("faults stop while work is left");
        }
    }

    /// The day goes on after some calm.
    fn goes_on(&mut self, removals: bool) {
        let now = self.clock();
        (self.calm, self.allowed.removals) = (false, removals);
        let mut soon = |most| now + self.rng.u64(..most);
        let (edit, phase, upset) = (soon(HOUR), soon(HOUR), soon(6 * HOUR));
        self.diary = Diary { edit, phase, upset, ..Diary::default() };
    }

    fn has_quota(&self, provider: usize) -> bool {
        self.specs[provider].quota.is_some() || self.specs[provider].is_cloud()
    }

    /// Whether vendor and ledger may count a quota by different days.
    fn counts_differ(&self, provider: usize) -> bool {
        self.has_quota(provider) && self.shared.lock().seen.contains("the wall clock jumps")
    }

    fn has_work(&self) -> bool {
        let is_left = |work: &Work| !matches!(work.standing, Standing::Rejected { .. });
        let rows = self.rows();
        let core = self.shared.lock();
        rows.iter().any(|row| row.work.as_ref().is_some_and(is_left) && !core.truth.is_poison(row))
    }

    /// L1: all that is asked for is recorded; `today`: or deferred by a quota.
    fn must_be_done(&self, today: bool) {
        if self.is_over() {
            return;
        }
        let rows = self.rows();
        let differ: Vec<bool> = (0..self.specs.len()).map(|provider| self.counts_differ(provider)).collect();
        let waits_for_a_day = |row: &Recorded| row.provider[1..].parse().is_ok_and(|provider: usize| differ[provider]);
        let is_left = |row: &&Recorded| match row.work.as_ref().map(|work| &work.standing) {
            None | Some(Standing::Rejected { .. }) => false,
            Some(Standing::Waiting { .. }) => true,
            Some(Standing::Deferred { .. }) => !today,
            Some(Standing::Pending { .. }) => !(today && waits_for_a_day(row)),
        };
        let mut core = self.shared.lock();
        let due = rows.iter().filter(is_left).filter(|row| !core.truth.is_poison(row));
        let mut left: Vec<String> = due.map(|row| row.target.text.clone()).collect();
        let known: BTreeMap<&str, &Recorded> = rows.iter().map(|row| (row.target.text.as_str(), row)).collect();
        for (key, hash) in &self.now.listed {
            let row = known.get(self.texts[key].as_str());
            let desired = row.and_then(|row| row.work.as_ref().map_or(row.hash.as_ref(), |work| work.desired.as_ref()));
            if desired.map(ToString::to_string).as_ref() != Some(hash) {
                left.push(format!("{} as {hash}", self.texts[key]));
            }
        }
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
        let purges: u64 = self.shared.lock().actors.iter().map(|actor| actor.purges).sum();
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
