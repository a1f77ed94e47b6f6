//! When a program that stays up runs: events in, "run", "end this run", "wake at" out.
//!
//! No files, no clock: each event carries the time. Events of files are hints; every run reads everything, and one comes
//! at least every so often. Knows providers by name only, and what is to be done at them not at all.

mod origins;
mod reason;
mod waiting;

use std::collections::BTreeMap;

use super::event::{EndpointEnd, FailureScope};
use super::http::Endpoint;
use super::retry::Jitter;
use super::time::{Now, Tick, Timestamp};
use origins::OriginsAsked;
pub use reason::RunReason;
use waiting::{Backoff, Waiting};

/// Files must have been left alone this long before they are read, in milliseconds.
pub const QUIET_MS: u64 = 200;
/// Files that never come to rest are read this long after the first event, in milliseconds.
pub const MOST_QUIET_MS: u64 = 2_000;
/// A file that is still being written holds a run back for this long after the first event, in milliseconds.
pub const MOST_WRITING_MS: u64 = 10_000;
/// A run that has been sending goes on for this long once newer files wait, in milliseconds.
pub const PATIENCE_MS: u64 = 5_000;
/// A run sends for this long at most, in milliseconds: the next one goes on with it, and tries again what failed meanwhile.
pub const MOST_SENDING_MS: u64 = 300_000;
/// First wait before what failed is tried again, in milliseconds; each further one is twice as long.
pub const RETRY_BASE_MS: u64 = 5_000;
/// Longest such wait, in milliseconds.
pub const RETRY_CAP_MS: u64 = 600_000;
/// Longest wait that a provider asks for and gets, in milliseconds: some ask for a year.
pub const ASKED_CAP_MS: u64 = 3_600_000;
/// First and longest wait after a run that could not do anything, in milliseconds: the state is locked, the disk is full.
const FAILED_BASE_MS: u64 = 1_000;
const FAILED_CAP_MS: u64 = 30_000;
/// Wall clocks jump and machines sleep: what waits for a time of day looks again at least this often, in milliseconds.
const LOOK_AGAIN_MS: u64 = 60_000;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// Something about the watched files may have changed at this moment, which is not after the event's own time.
    Changed(Tick),
    /// Whether one of the files is being written right now, so that half of it would be read; to be reported while
    /// [`Watch::is_unquiet`] says so.
    Writing(bool),
    /// The user wants everything to be read and tried now: SIGHUP.
    Reload,
    /// When edges are to be probed next, if they are.
    ProofDue(Option<Tick>),
    /// Another run says that what guards refused is over.
    Allowed,
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
pub enum WatchAction {
    /// Read everything and do what is due; answered by [`WatchEvent::RunEnded`].
    Run(RunRequest),
    /// Let the run that is under way send nothing more; said once.
    CutShort,
    /// Nothing to do until something happens or this time comes.
    WakeAt(Option<Tick>),
    /// End.
    Exit,
}

/// A run to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRequest {
    /// Why.
    pub reason: RunReason,
    /// What is not to be tried yet at providers, unless they are configured differently now.
    pub held: Vec<Hold>,
    /// When the run is to be made anew, since files changed while it read them.
    pub rereads: RereadPolicy,
}

impl RunRequest {
    /// What is not to be tried at a provider that is configured like this.
    pub fn held(&self, provider: &str, config: &str) -> Option<&Hold> {
        self.held.iter().find(|held| held.provider == provider && held.config == config)
    }
}

/// What makes a run throw away what it has read, and end with [`RunEnd::Stale`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RereadPolicy {
    /// Any change of files since the run began: what was read may be half of a file, or files that do not belong together.
    AfterChanges,
    /// A file that is being written.
    WhileWriting,
    /// Nothing: files were waited for long enough.
    Never,
}

impl RereadPolicy {
    /// Whether what was read is to be thrown away; `changed`: since the run began.
    pub const fn applies(self, changed: bool, writing: bool) -> bool {
        match self {
            Self::AfterChanges => changed || writing,
            Self::WhileWriting => writing,
            Self::Never => false,
        }
    }
}

/// What waits at a provider after failures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Its name.
    pub provider: String,
    /// Digest of the configuration that failed.
    pub config: String,
    /// Its endpoints that are left in peace, in order.
    pub endpoints: Vec<Endpoint>,
    /// Whether targets that failed wait, while others are sent.
    pub targets: bool,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// It went through; with the providers that have work left.
    Done(Vec<ProviderEnd>),
    /// A guard refused, and nothing will change until files do; with the providers that have work left of what was tried
    /// before, if that was tried again. Else what waits goes on waiting.
    Blocked(Option<Vec<ProviderEnd>>),
    /// It could not be made: the state is locked, cannot be written and the like.
    Failed,
    /// It was cut short before it sent anything: where providers stand is as before.
    Cut,
    /// Files changed while it read them, and [`RunRequest::rereads`] applies: nothing was made of what it read.
    Stale,
}

/// Work that a run left at a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderEnd {
    /// Its name.
    pub name: String,
    /// Digest of its configuration.
    pub config: String,
    /// How its endpoints fared that were asked.
    pub endpoints: Vec<EndpointEnd>,
    /// Some of the targets that had failed before were recorded.
    pub recovered: bool,
    /// Targets that had not failed before did.
    pub failed_anew: bool,
    /// Something went wrong at it, as opposed to a run that was cut short.
    pub trouble: bool,
    /// Targets that are pending.
    pub pending: u64,
    /// Targets that wait for their origin, or for a provider upstream.
    pub waiting: u64,
    /// When the first deferred target is due.
    pub deferred_until: Option<Timestamp>,
}

/// Events of files that were not answered by a run yet.
#[derive(Clone, Copy, Debug)]
struct Debounce {
    first: Tick,
    last: Tick,
    writing: bool,
}

impl Debounce {
    const fn at(tick: Tick) -> Self {
        Self { first: tick, last: tick, writing: false }
    }

    fn is_quiet(&self, now: Tick) -> bool {
        self.last.plus_ms(QUIET_MS) <= now
    }

    fn ready_at(self) -> Tick {
        if self.writing {
            return self.first.plus_ms(MOST_WRITING_MS);
        }
        self.last.plus_ms(QUIET_MS).min(self.first.plus_ms(MOST_QUIET_MS))
    }

    /// When to look at it again: the writer may be done at any time.
    fn wake_at(self, now: Tick) -> Tick {
        if self.writing { self.ready_at().min(now.plus_ms(QUIET_MS)) } else { self.ready_at() }
    }
}

/// A run that is under way.
#[derive(Clone, Copy, Debug)]
struct RunUnderWay {
    began: Tick,
    sending_since: Option<Tick>,
    cut: bool,
    /// The run before it was cut short for the user before it came to much: this one gets to send, whatever he asks.
    spared: bool,
    reason: RunReason,
}

impl RunUnderWay {
    fn at(tick: Tick, spared: bool, reason: RunReason) -> Self {
        Self { began: tick, sending_since: None, cut: false, spared, reason }
    }

    /// When it has been sending for long enough; `None` while it does not send.
    fn had_its_turn_at(self) -> Option<Tick> {
        self.sending_since.map(|since| since.plus_ms(PATIENCE_MS))
    }
}

/// A guard refuses.
#[derive(Clone, Copy, Debug)]
struct Blocked {
    /// When the run began that it refused: what was due by then, and not tried, waits for the next look.
    since: Tick,
    /// Everything is looked at again then. A command by hand may have allowed it, which is no event of files.
    until: Tick,
}

/// The machine.
#[derive(Debug)]
pub struct Watch {
    resync_ms: u64,
    running: Option<RunUnderWay>,
    debounce: Option<Debounce>,
    /// When what a run had read was thrown away, for the first time since one came to an end of its own.
    stale_since: Option<Tick>,
    /// The last run was cut short for the user before it had its turn.
    rushed: bool,
    /// A run that the user or the start asked for.
    asked: Option<RunReason>,
    resync_at: Tick,
    /// Runs in a row that could not be made.
    failures: u32,
    failed_until: Option<Tick>,
    blocked: Option<Blocked>,
    waiting: BTreeMap<String, Waiting>,
    origins: Option<OriginsAsked>,
    /// When edges are to be probed.
    proof_at: Option<Tick>,
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
            debounce: None,
            stale_since: None,
            rushed: false,
            asked: Some(RunReason::Start),
            resync_at: Tick::from_ms(0),
            failures: 0,
            failed_until: None,
            blocked: None,
            waiting: BTreeMap::new(),
            origins: None,
            proof_at: None,
            stopping: false,
            jitter: Jitter::seeded(seed),
        }
    }

    /// Takes an event in. Ask [`Watch::poll`] afterwards until it answers `WakeAt` or `Exit`.
    pub fn handle(&mut self, event: WatchEvent, now: Now) {
        match event {
            WatchEvent::Changed(at) => {
                let debounce = self.debounce.get_or_insert(Debounce::at(at));
                debounce.last = debounce.last.max(at);
            }
            WatchEvent::Writing(writing) => self.debounce.iter_mut().for_each(|debounce| debounce.writing = writing),
            WatchEvent::Reload => self.asked = Some(RunReason::Reload),
            WatchEvent::ProofDue(at) => self.proof_at = at,
            WatchEvent::Allowed => self.blocked.iter_mut().for_each(|blocked| blocked.until = now.tick),
            WatchEvent::Woke => {}
            WatchEvent::Sending => {
                if let Some(running) = &mut self.running {
                    running.sending_since = Some(now.tick);
                }
            }
            WatchEvent::RunEnded(end) => self.ended(end, now),
            WatchEvent::Stop => self.stopping = true,
        }
    }

    fn ended(&mut self, end: RunEnd, now: Now) {
        let run = self.running.take().unwrap_or(RunUnderWay::at(now.tick, false, RunReason::Start));
        let cut_early = run.cut && run.had_its_turn_at().is_none_or(|at| now.tick < at);
        // A run that threw away what it read has not had its turn either.
        self.rushed = cut_early || (run.spared && end == RunEnd::Stale);
        if end != RunEnd::Stale {
            self.blocked = None;
        }
        if !matches!(end, RunEnd::Stale | RunEnd::Cut) {
            self.stale_since = None;
        }
        match end {
            RunEnd::Done(left) => {
                self.failures = 0;
                self.left(left, run, now);
            }
            RunEnd::Blocked(left) => {
                self.failures = 0;
                if let Some(left) = left {
                    self.left(left, run, now);
                }
                self.blocked = Some(Blocked { since: run.began, until: now.tick.plus_ms(LOOK_AGAIN_MS) });
            }
            RunEnd::Failed => {
                self.failures = self.failures.saturating_add(1);
                let wait_ms = self.backoff(self.failures, FAILED_BASE_MS, FAILED_CAP_MS);
                self.failed_until = Some(now.tick.plus_ms(wait_ms));
            }
            RunEnd::Cut => self.failures = 0,
            RunEnd::Stale => {
                self.stale_since.get_or_insert(now.tick);
                // Its event may be still to come.
                self.debounce.get_or_insert(Debounce::at(now.tick));
            }
        }
    }

    fn left(&mut self, left: Vec<ProviderEnd>, run: RunUnderWay, now: Now) {
        let waiting = left.iter().map(|end| end.waiting).sum();
        self.origins = OriginsAsked::after(self.origins, waiting, run.reason, now.tick);
        let mut before = std::mem::take(&mut self.waiting);
        for end in left {
            let known = before.remove(&end.name).filter(|known| known.config == end.config);
            let name = end.name.clone();
            let waiting = self.waiting_of(end, &known.unwrap_or_default(), run, now);
            self.waiting.insert(name, waiting);
        }
        for (name, known) in before {
            let asked_for =
                known.endpoints.into_iter().filter(|(_, rest)| rest.not_before.is_some_and(|at| at > now.tick));
            let endpoints: BTreeMap<Endpoint, Backoff> = asked_for.collect();
            if !endpoints.is_empty() {
                self.waiting.insert(name, Waiting { config: known.config, endpoints, ..Waiting::default() });
            }
        }
    }

    /// Where a provider stands after a run.
    fn waiting_of(&mut self, end: ProviderEnd, before: &Waiting, run: RunUnderWay, now: Now) -> Waiting {
        let (endpoints, down) = self.rests(&end, before, run, now.tick);
        let held = before.holds_targets(run.began);
        // A quota day that is over and leaves nothing all the same is trouble: the clocks differ, or the vendor errs.
        let late = end.deferred_until.is_some_and(|until| until <= now.wall);
        let deferred_until = end.deferred_until.filter(|_| !late);
        let Waiting { mut failures, mut retry_at, .. } = *before;
        if let Some(down) = down {
            (failures, retry_at) = (down.failures, Some(down.retry_at));
        } else if held {
            if end.failed_anew {
                let soon = now.tick.plus_ms(self.backoff(1, RETRY_BASE_MS, RETRY_CAP_MS));
                (failures, retry_at) = (1, retry_at.map(|at| at.min(soon)));
            }
        } else if end.trouble || late {
            failures = if end.recovered { 1 } else { failures.saturating_add(1) };
            retry_at = Some(now.tick.plus_ms(self.backoff(failures, RETRY_BASE_MS, RETRY_CAP_MS)));
        } else {
            // What was cut short goes on at once; what only waits for an endpoint, with that.
            let goes_on = end.pending > 0 && endpoints.is_empty();
            (failures, retry_at) = (0, goes_on.then_some(now.tick));
        }
        let waits_for_origins = end.waiting > 0;
        Waiting { config: end.config, has_work: true, waits_for_origins, endpoints, failures, retry_at, deferred_until }
    }

    /// Endpoints that are left in peace after a run, and one of those that it asked. They are asked together again, or each
    /// would have runs of its own.
    fn rests(
        &mut self,
        end: &ProviderEnd,
        before: &Waiting,
        run: RunUnderWay,
        now: Tick,
    ) -> (BTreeMap<Endpoint, Backoff>, Option<Backoff>) {
        let held = before.holds_targets(run.began);
        let mut rests = before.endpoints.clone();
        rests.retain(|_, rest| rest.retry_at > run.began || run.cut);
        let mut down = None;
        for asked in &end.endpoints {
            let known = before.endpoints.get(&asked.endpoint);
            // Where one target alone fails it may be to blame, unless others fail as well that were never tried.
            let is_down = match asked.trouble {
                Some(FailureScope::Endpoint) => !asked.accepted,
                Some(FailureScope::Target) => !asked.accepted && (held || known.is_some()),
                None => false,
            };
            let not_before = asked.not_before.map(|at| at.min(now.plus_ms(ASKED_CAP_MS))).filter(|at| *at > now);
            if !is_down && not_before.is_none() {
                rests.remove(&asked.endpoint);
                continue;
            }
            let failures = known.map_or(0, |known| known.failures).saturating_add(1);
            let backoff = now.plus_ms(self.backoff(failures, RETRY_BASE_MS, RETRY_CAP_MS));
            let retry_at = not_before.map_or(backoff, |at| if is_down { at.max(backoff) } else { at });
            rests.insert(asked.endpoint.clone(), Backoff { failures, retry_at, not_before });
            down = Some(&asked.endpoint);
        }
        let soonest = rests.values().map(|rest| rest.retry_at).filter(|at| *at > now).min();
        for rest in rests.values_mut() {
            rest.retry_at = soonest.max(rest.not_before).unwrap_or(rest.retry_at);
        }
        let down = down.and_then(|endpoint| rests.get(endpoint).copied());
        (rests, down)
    }

    /// Exponential, between half of the step and the whole of it.
    fn backoff(&mut self, failures: u32, base_ms: u64, cap_ms: u64) -> u64 {
        let step = (base_ms << failures.saturating_sub(1).min(16)).min(cap_ms);
        step / 2 + self.jitter.next() % (step / 2 + 1)
    }

    /// The next thing to do at `now`.
    pub fn poll(&mut self, now: Now) -> WatchAction {
        if let Some(running) = self.running {
            return self.poll_running(running, now.tick);
        }
        if self.stopping {
            return WatchAction::Exit;
        }
        match self.due(now) {
            Some(reason) => WatchAction::Run(self.start(reason, now)),
            None => WatchAction::WakeAt(self.wake_at(now)),
        }
    }

    fn poll_running(&mut self, running: RunUnderWay, now: Tick) -> WatchAction {
        let newer = self.debounce.zip(running.sending_since);
        let newer = newer.map(|(debounce, since)| debounce.ready_at().max(since).plus_ms(PATIENCE_MS));
        let asked = self.asked.and_then(|_| if running.spared { running.had_its_turn_at() } else { Some(now) });
        let over = running.sending_since.map(|since| since.plus_ms(MOST_SENDING_MS));
        let end_at = newer.into_iter().chain(asked).chain(over).min();
        let wanted = self.stopping || end_at.is_some_and(|at| at <= now);
        match (running.cut, wanted) {
            (false, true) => {
                self.running = Some(RunUnderWay { cut: true, ..running });
                WatchAction::CutShort
            }
            // The writer may be done at any time.
            (false, false) if self.debounce.is_some_and(|debounce| debounce.writing) => {
                WatchAction::WakeAt(end_at.map(|at| at.min(now.plus_ms(QUIET_MS))))
            }
            (false, false) => WatchAction::WakeAt(end_at),
            (true, _) => WatchAction::WakeAt(None),
        }
    }

    fn due(&self, now: Now) -> Option<RunReason> {
        if self.asked.is_some() {
            return self.asked;
        }
        // Files between two moves of one deployment are not to be read by any run.
        if let Some(debounce) = self.debounce {
            return (debounce.ready_at() <= now.tick).then_some(RunReason::Changed);
        }
        if self.failed_until.is_some_and(|until| until > now.tick) {
            return None;
        }
        let is_due = |at: Tick| at <= now.tick;
        let is_blocked = self.blocked.is_some_and(|blocked| is_due(blocked.until));
        if self.failed_until.is_some() || is_blocked || self.tries(now).any(is_due) {
            return Some(RunReason::Retry);
        }
        if self.origins.is_some_and(|origins| is_due(origins.at)) {
            return Some(RunReason::Origin);
        }
        if self.proof_at.is_some_and(is_due) {
            return Some(RunReason::Proof);
        }
        (self.resync_at <= now.tick).then_some(RunReason::Resync)
    }

    fn start(&mut self, reason: RunReason, now: Now) -> RunRequest {
        self.running = Some(RunUnderWay::at(now.tick, self.rushed, reason));
        let rereads = self.rereads(reason, now.tick);
        self.debounce = None;
        self.asked = None;
        self.failed_until = None;
        self.resync_at = now.tick.plus_ms(self.resync_ms);
        if reason == RunReason::Reload {
            // Here, since a run that was under way when the user asked has left what failed as well.
            for waiting in self.waiting.values_mut() {
                waiting.failures = 0;
                waiting.endpoints.clear();
            }
        }
        let held = self.waiting.iter().filter_map(|(name, waiting)| waiting.held(name, now.tick));
        RunRequest { reason, held: held.collect(), rereads }
    }

    /// A writer that was waited for in vain before the run is not waited for again while it reads.
    fn rereads(&self, reason: RunReason, now: Tick) -> RereadPolicy {
        let is_late = |ms| self.stale_since.is_some_and(|first| first.plus_ms(ms) <= now);
        let waited_for = self.debounce.filter(|_| reason == RunReason::Changed);
        if is_late(MOST_WRITING_MS) || waited_for.is_some_and(|debounce| debounce.writing) {
            RereadPolicy::Never
        } else if is_late(MOST_QUIET_MS) || waited_for.is_some_and(|debounce| !debounce.is_quiet(now)) {
            RereadPolicy::WhileWriting
        } else {
            RereadPolicy::AfterChanges
        }
    }

    fn wake_at(&self, now: Now) -> Option<Tick> {
        if let Some(at) = self.debounce.map(|debounce| debounce.wake_at(now.tick)).or(self.failed_until) {
            return Some(at);
        }
        let defers = self.waiting.values().any(|waiting| waiting.has_work && waiting.deferred_until.is_some());
        let look_again = defers.then(|| now.tick.plus_ms(LOOK_AGAIN_MS));
        let blocked = self.blocked.map(|blocked| blocked.until);
        let origins = self.origins.map(|origins| origins.at);
        self.tries(now)
            .chain(look_again)
            .chain(blocked)
            .chain(origins)
            .chain(self.proof_at)
            .chain([self.resync_at])
            .min()
    }

    /// When work that waits is tried.
    fn tries(&self, now: Now) -> impl Iterator<Item = Tick> {
        self.waiting.values().flat_map(move |waiting| waiting.due_at(now)).map(|at| self.tried_at(at))
    }

    /// When work is tried that is due at `at`.
    fn tried_at(&self, at: Tick) -> Tick {
        let at = self.blocked.filter(|blocked| at <= blocked.since).map_or(at, |blocked| blocked.until);
        self.failed_until.map_or(at, |until| at.max(until))
    }

    /// When work at a provider is tried next, if no files change before; `None` if nothing waits there.
    pub fn next_try(&self, provider: &str, now: Now) -> Option<Tick> {
        let waiting = self.waiting.get(provider)?;
        let origins = self.origins.filter(|_| waiting.waits_for_origins).map(|origins| origins.at);
        waiting.due_at(now).map(|at| self.tried_at(at)).chain(origins).min()
    }

    /// Whether events of files wait for quiet: until [`WatchAction::WakeAt`] comes, further ones change nothing but the time of
    /// the last one.
    pub const fn is_unquiet(&self) -> bool {
        self.debounce.is_some()
    }

    /// What fails at a provider, and when it is tried again.
    pub fn retry_of(&self, provider: &str) -> Option<Retry> {
        let waiting = self.waiting.get(provider)?;
        let of_targets = waiting.retry_at.map(|at| (at, waiting.failures));
        let of_endpoints = waiting.endpoints.values().map(|rest| (rest.retry_at, rest.failures));
        let (at, failures) = of_endpoints.chain(of_targets).filter(|(_, failures)| *failures > 0).min()?;
        Some(Retry { at: self.tried_at(at), failures, endpoints: !waiting.endpoints.is_empty() })
    }
}

/// What is tried again after failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// When the first of it is.
    pub at: Tick,
    /// Runs in a row that failed at that.
    pub failures: u32,
    /// Whether endpoints are left in peace; if not, only targets wait.
    pub endpoints: bool,
}

#[cfg(test)]
mod tests;
