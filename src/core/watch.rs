//! When a program that stays up runs: events in, "run", "end this run", "wake at" out.
//!
//! No files, no clock: each event carries the time. Events of files are hints; every run reads everything, and one comes
//! at least every so often. Knows providers by name only, and what is to be done at them not at all.

use std::collections::BTreeMap;

use super::retry::Jitter;
use super::time::{Now, Tick, Timestamp};

/// Files must have been left alone this long before they are read, in milliseconds.
pub const QUIET_MS: u64 = 200;
/// Files that never come to rest are read this long after the first event, in milliseconds.
pub const MOST_QUIET_MS: u64 = 2_000;
/// A file that is still being written holds a run back for this long after the first event, in milliseconds.
pub const MOST_WRITING_MS: u64 = 10_000;
/// A run that has been sending goes on for this long once newer files wait, in milliseconds.
pub const PATIENCE_MS: u64 = 5_000;
/// First wait before a provider that failed is asked again, in milliseconds; each further one is twice as long.
pub const RETRY_BASE_MS: u64 = 5_000;
/// Longest such wait, in milliseconds.
pub const RETRY_CAP_MS: u64 = 600_000;
/// First and longest wait after a run that could not do anything, in milliseconds: the state is locked, the disk is full.
const FAILED_BASE_MS: u64 = 1_000;
const FAILED_CAP_MS: u64 = 30_000;
/// Wall clocks jump and machines sleep: whoever waits for a time of day looks again at least this often, in milliseconds.
const LOOK_AGAIN_MS: u64 = 60_000;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something about the watched files may have changed at this moment, which is not after the event's own time.
    Changed(Tick),
    /// Whether one of the files is being written right now, so that half of it would be read; to be told while
    /// [`Watch::is_unquiet`] says so.
    Writing(bool),
    /// The user wants everything to be read and tried now.
    Asked,
    /// Time has passed.
    Woke,
    /// The run has a plan and begins to send.
    Sending,
    /// The run has ended.
    RunEnded(RunEnd),
    /// The user wants the program to end.
    Stop,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read everything and do what is due; answered by [`Event::RunEnded`].
    Run(Order),
    /// Let the run that is under way send nothing more; told once.
    CutShort,
    /// Nothing to do until something happens or this time comes.
    WakeAt(Option<Tick>),
    /// End.
    Exit,
}

/// A run to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Why.
    pub reason: Reason,
    /// Providers that are not to be asked yet, unless they are configured differently now.
    pub held: Vec<Held>,
}

impl Order {
    /// Whether a provider that is configured like this is not to be asked.
    pub fn holds(&self, provider: &str, config: &str) -> bool {
        self.held.iter().any(|held| held.provider == provider && held.config == config)
    }
}

/// A provider that is left in peace after failures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its name.
    pub provider: String,
    /// Digest of the configuration that failed.
    pub config: String,
}

/// Why a run is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is the first one.
    Start,
    /// Files may have changed.
    Changed,
    /// It is time to look at everything again.
    Resync,
    /// What is pending or deferred is due.
    Retry,
    /// The user asked for it.
    Asked,
}

impl Reason {
    /// The word for it in output.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Changed => "changed",
            Self::Resync => "resync",
            Self::Retry => "retry",
            Self::Asked => "asked",
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// It went through; with the providers that have work left.
    Done(Vec<ProviderEnd>),
    /// Manifests are not valid or a guard refused: nothing will change until files do. What waits goes on waiting.
    Blocked,
    /// It could not be made: the state is locked, cannot be written and the like.
    Failed,
}

/// Work that a run left at a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderEnd {
    /// Its name.
    pub name: String,
    /// Digest of its configuration.
    pub config: String,
    /// Whether the run was allowed to ask it.
    pub asked: bool,
    /// Some of its targets were accepted.
    pub progress: bool,
    /// Something went wrong at it, as opposed to a run that was cut short.
    pub trouble: bool,
    /// Targets that are pending.
    pub pending: u64,
    /// When the first deferred target is due.
    pub deferred_until: Option<Timestamp>,
}

/// Events of files that were not answered by a run yet.
#[derive(Clone, Copy, Debug)]
struct Unrest {
    first: Tick,
    last: Tick,
    writing: bool,
}

impl Unrest {
    fn ready_at(self) -> Tick {
        if self.writing {
            return self.first.plus_ms(MOST_WRITING_MS);
        }
        self.last.plus_ms(QUIET_MS).min(self.first.plus_ms(MOST_QUIET_MS))
    }

    /// When to look at it again: whoever writes may be done at any time.
    fn wake_at(self, now: Tick) -> Tick {
        if self.writing { self.ready_at().min(now.plus_ms(QUIET_MS)) } else { self.ready_at() }
    }
}

/// A run that is under way.
#[derive(Clone, Copy, Debug, Default)]
struct Running {
    sending_since: Option<Tick>,
    cut: bool,
}

/// A provider with work that is left.
#[derive(Clone, Debug)]
struct Waiting {
    config: String,
    /// Runs in a row that came to nothing.
    failures: u32,
    retry_at: Option<Tick>,
    deferred_until: Option<Timestamp>,
}

impl Waiting {
    fn is_due(&self, now: Now) -> bool {
        self.retry_at.is_some_and(|at| at <= now.tick) || self.deferred_until.is_some_and(|until| until <= now.wall)
    }

    fn is_held(&self, now: Tick) -> bool {
        self.failures > 0 && self.retry_at.is_some_and(|at| at > now)
    }

    /// When to look at it again.
    fn wake_at(&self, now: Now) -> Option<Tick> {
        let deferred = self.deferred_until.map(|until| {
            let left_ms = until.unix_ms().saturating_sub(now.wall.unix_ms());
            now.tick.plus_ms(u64::try_from(left_ms).unwrap_or(0).min(LOOK_AGAIN_MS))
        });
        self.retry_at.into_iter().chain(deferred).min()
    }
}

/// The machine.
#[derive(Debug)]
pub struct Watch {
    resync_ms: u64,
    running: Option<Running>,
    unrest: Option<Unrest>,
    /// A run that the user or the start asked for.
    asked: Option<Reason>,
    resync_at: Tick,
    /// Runs in a row that could not be made.
    failures: u32,
    failed_until: Option<Tick>,
    waiting: BTreeMap<String, Waiting>,
    stopping: bool,
    jitter: Jitter,
}

impl Watch {
    /// A machine whose first run is due at once and that has everything looked at every `resync_ms`; `seed` feeds the
    /// jitter of its waits.
    pub fn new(resync_ms: u64, seed: u64) -> Self {
        Self {
            resync_ms,
            running: None,
            unrest: None,
            asked: Some(Reason::Start),
            resync_at: Tick::from_ms(0),
            failures: 0,
            failed_until: None,
            waiting: BTreeMap::new(),
            stopping: false,
            jitter: Jitter::seeded(seed),
        }
    }

    /// Takes an event in. Ask [`Watch::poll`] afterwards until it answers `WakeAt` or `Exit`.
    pub fn handle(&mut self, event: Event, now: Now) {
        match event {
            Event::Changed(at) => {
                let unrest = self.unrest.get_or_insert(Unrest { first: at, last: at, writing: false });
                unrest.last = unrest.last.max(at);
            }
            Event::Writing(writing) => self.unrest.iter_mut().for_each(|unrest| unrest.writing = writing),
            Event::Asked => {
                self.asked = Some(Reason::Asked);
                self.waiting.values_mut().for_each(|waiting| waiting.failures = 0);
            }
            Event::Woke => {}
            Event::Sending => {
                if let Some(running) = &mut self.running {
                    running.sending_since = Some(now.tick);
                }
            }
            Event::RunEnded(end) => self.ended(end, now),
            Event::Stop => self.stopping = true,
        }
    }

    fn ended(&mut self, end: RunEnd, now: Now) {
        self.running = None;
        match end {
            RunEnd::Done(left) => {
                self.failures = 0;
                let before = std::mem::take(&mut self.waiting);
                for end in left {
                    let name = end.name.clone();
                    let waiting = self.waiting_of(end, before.get(&name), now);
                    self.waiting.insert(name, waiting);
                }
            }
            RunEnd::Blocked => {
                self.failures = 0;
                let names: Vec<String> = self.waiting.keys().cloned().collect();
                for name in names {
                    self.put_off(&name, now);
                }
            }
            RunEnd::Failed => {
                self.failures = self.failures.saturating_add(1);
                let wait_ms = self.backoff(self.failures, FAILED_BASE_MS, FAILED_CAP_MS);
                self.failed_until = Some(now.tick.plus_ms(wait_ms));
            }
        }
    }

    /// Where a provider stands after a run.
    fn waiting_of(&mut self, end: ProviderEnd, before: Option<&Waiting>, now: Now) -> Waiting {
        let failures = before.filter(|before| before.config == end.config).map_or(0, |before| before.failures);
        // A quota day that is over and leaves nothing all the same is trouble: the clocks differ, or the vendor errs.
        let late = end.deferred_until.is_some_and(|until| until <= now.wall);
        let deferred_until = end.deferred_until.filter(|_| !late);
        let (failures, retry_at) = if !end.asked {
            (failures, before.and_then(|before| before.retry_at).filter(|_| end.pending > 0))
        } else if end.trouble || late {
            let failures = if end.progress { 1 } else { failures.saturating_add(1) };
            let wait_ms = self.backoff(failures, RETRY_BASE_MS, RETRY_CAP_MS);
            (failures, Some(now.tick.plus_ms(wait_ms)))
        } else {
            (0, (end.pending > 0).then_some(now.tick))
        };
        Waiting { config: end.config, failures, retry_at, deferred_until }
    }

    /// What was due and could not be looked at waits on.
    fn put_off(&mut self, name: &str, now: Now) {
        let Some(failures) = self.waiting.get(name).filter(|waiting| waiting.is_due(now)).map(|found| found.failures)
        else {
            return;
        };
        let wait_ms = self.backoff(failures + 1, RETRY_BASE_MS, RETRY_CAP_MS);
        if let Some(waiting) = self.waiting.get_mut(name) {
            waiting.failures = failures.saturating_add(1);
            waiting.retry_at = Some(now.tick.plus_ms(wait_ms));
            waiting.deferred_until = waiting.deferred_until.filter(|until| *until > now.wall);
        }
    }

    /// Exponential, between half of the step and the whole of it.
    fn backoff(&mut self, failures: u32, base_ms: u64, cap_ms: u64) -> u64 {
        let step = (base_ms << failures.saturating_sub(1).min(16)).min(cap_ms);
        step / 2 + self.jitter.next() % (step / 2 + 1)
    }

    /// The next thing to do at `now`.
    pub fn poll(&mut self, now: Now) -> Action {
        if let Some(running) = self.running {
            return self.poll_running(running, now.tick);
        }
        if self.stopping {
            return Action::Exit;
        }
        match self.due(now) {
            Some(reason) => Action::Run(self.start(reason, now)),
            None => Action::WakeAt(self.wake_at(now)),
        }
    }

    fn poll_running(&mut self, running: Running, now: Tick) -> Action {
        let newer = self.unrest.zip(running.sending_since);
        let newer = newer.map(|(unrest, since)| unrest.ready_at().max(since).plus_ms(PATIENCE_MS));
        let wanted = self.stopping || self.asked.is_some() || newer.is_some_and(|at| at <= now);
        match (running.cut, wanted) {
            (false, true) => {
                self.running = Some(Running { cut: true, ..running });
                Action::CutShort
            }
            // Whoever writes may be done at any time.
            (false, false) if self.unrest.is_some_and(|unrest| unrest.writing) => {
                Action::WakeAt(newer.map(|at| at.min(now.plus_ms(QUIET_MS))))
            }
            (false, false) => Action::WakeAt(newer),
            (true, _) => Action::WakeAt(None),
        }
    }

    fn due(&self, now: Now) -> Option<Reason> {
        if self.asked.is_some() {
            return self.asked;
        }
        if self.unrest.is_some_and(|unrest| unrest.ready_at() <= now.tick) {
            return Some(Reason::Changed);
        }
        if self.unrest.is_some_and(|unrest| unrest.writing) {
            return None;
        }
        if self.failed_until.is_some_and(|until| until > now.tick) {
            return None;
        }
        if self.failed_until.is_some() || self.waiting.values().any(|waiting| waiting.is_due(now)) {
            return Some(Reason::Retry);
        }
        (self.resync_at <= now.tick).then_some(Reason::Resync)
    }

    fn start(&mut self, reason: Reason, now: Now) -> Order {
        self.running = Some(Running::default());
        self.unrest = None;
        self.asked = None;
        self.failed_until = None;
        self.resync_at = now.tick.plus_ms(self.resync_ms);
        let held = self.waiting.iter().filter(|(_, waiting)| waiting.is_held(now.tick));
        let held = held.map(|(name, waiting)| Held { provider: name.clone(), config: waiting.config.clone() });
        Order { reason, held: held.collect() }
    }

    fn wake_at(&self, now: Now) -> Option<Tick> {
        let rest = self.unrest.map(|unrest| unrest.wake_at(now.tick));
        if self.unrest.is_some_and(|unrest| unrest.writing) {
            return rest;
        }
        let Some(until) = self.failed_until else {
            let waiting = self.waiting.values().filter_map(|waiting| waiting.wake_at(now));
            return waiting.chain(rest).chain([self.resync_at]).min();
        };
        rest.into_iter().chain([until]).min()
    }

    /// Whether events of files wait for quiet: until [`Action::WakeAt`] comes, further ones change nothing but the time of
    /// the last one.
    pub const fn is_unquiet(&self) -> bool {
        self.unrest.is_some()
    }

    /// When a provider that failed is asked again, and how many runs in a row failed at it.
    pub fn retry_of(&self, provider: &str) -> Option<(Tick, u32)> {
        let waiting = self.waiting.get(provider).filter(|waiting| waiting.failures > 0)?;
        Some((waiting.retry_at?, waiting.failures))
    }
}

#[cfg(test)]
#[path = "watch/tests.rs"]
mod tests;
