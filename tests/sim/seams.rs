//! The seams of a run as the simulation owns them: time, network, environment, store. Each is a place to be killed at.
//!
//! Knows nothing of what must hold; `truth.rs` gets what vendors and disk saw, and judges.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use freshen::core::endpoints::Addresses;
use freshen::core::http::{Request, Response, TransportFailure, TransportFailureKind};
use freshen::core::target::{Scope, Target};
use freshen::core::time::{Now, Tick, Timestamp};
use freshen::core::watch::{ASKED_CAP_MS, RETRY_CAP_MS};
use freshen::host::{
    BoxFuture, Clock, CommandError, CommandLimits, Env, Http, Job, PrivateFileError, Resolver, Timeouts, Worker,
};
use freshen::vendor::VENDORS;
use secrecy::zeroize::Zeroizing;

use crate::faults::{Fate, Faults};
use crate::spec::keys;
use crate::truth::Truth;
use crate::vendor;
use crate::vendors::{Actor, Key};

/// Wall time at which each world begins, with a right clock: 2023-11-14 22:13:20 UTC, early morning in Beijing.
pub(crate) const START_MS: i64 = 1_700_000_000_000;
const DAY_MS: i64 = 86_400_000;
/// A run that takes longer than this, in virtual milliseconds, waits for something that never comes.
const LONGEST_RUN_MS: u64 = 6 * 3_600_000;

/// Everything that outlives a process.
pub(crate) struct Core {
    /// Milliseconds since the world began, by the only clock that is right.
    pub(crate) now: u64,
    /// What the machine's wall clock is off by.
    pub(crate) skew_ms: i64,
    /// That clock jumps in this world.
    pub(crate) jumps: bool,
    timers: BTreeMap<(u64, u64), Waker>,
    next_timer: u64,
    /// Goes up with each thing that happens; orders sends, acceptances and commits.
    pub(crate) steps: u64,
    /// The runner that is dead.
    pub(crate) killed: bool,
    pub(crate) faults: Faults,
    pub(crate) actors: Vec<Actor>,
    /// Requests that left and that the vendor reads later, whatever becomes of the sender.
    late: BTreeMap<(u64, u64), (usize, Request, u64)>,
    /// Day of the sender's clock on which a request left, and whether that was close to midnight.
    days: BTreeMap<u64, (String, bool)>,
    /// What the newest intent for a directory stands for.
    pub(crate) directories: BTreeMap<String, Vec<Key>>,
    /// How often temporary keys were issued: before each run, and to programs.
    pub(crate) issues: u64,
    /// Providers for which this run has one thing to do.
    pub(crate) alone: BTreeSet<usize>,
    /// What this run has sent.
    pub(crate) sent: BTreeSet<Key>,
    /// When each target was purged last.
    pub(crate) purged_at: BTreeMap<Key, u64>,
    /// Until when each provider may be left in peace, by what was done to requests to it.
    pub(crate) rests: BTreeMap<usize, u64>,
    /// Step at which the disk was full last.
    pub(crate) disk_full_at: u64,
    /// Kinds of things that happened.
    pub(crate) seen: BTreeSet<&'static str>,
    pub(crate) truth: Truth,
    pub(crate) trace: Option<Vec<String>>,
    told_violation: bool,
    pub(crate) interrupt: Option<tokio::sync::watch::Sender<bool>>,
}

/// What a process dies of.
struct Killed;

/// Handle on the world.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Core>>);

impl Shared {
    pub(crate) fn new(actors: Vec<Actor>, truth: Truth, jumps: bool, trace: bool) -> Self {
        Self(Arc::new(Mutex::new(Core {
            now: 0,
            skew_ms: 0,
            jumps,
            timers: BTreeMap::new(),
            next_timer: 0,
            steps: 0,
            killed: false,
            faults: Faults::none(),
            actors,
            late: BTreeMap::new(),
            days: BTreeMap::new(),
            directories: BTreeMap::new(),
            issues: 0,
            alone: BTreeSet::new(),
            sent: BTreeSet::new(),
            purged_at: BTreeMap::new(),
            rests: BTreeMap::new(),
            disk_full_at: 0,
            seen: BTreeSet::new(),
            truth,
            trace: trace.then(Vec::new),
            told_violation: false,
            interrupt: None,
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Core> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more thing happens; faults that were set for this step take effect. Does not return if the process dies.
    pub(crate) fn step(&self, what: impl FnOnce() -> String) {
        if self.lock().step(what) {
            resume_unwind(Box::new(Killed));
        }
    }

    /// Polls the runs until each has ended or died; `None` for a dead one.
    pub(crate) fn execute<T>(&self, mut runs: Vec<Pin<Box<dyn Future<Output = T> + '_>>>) -> Vec<Option<T>> {
        let mut ends: Vec<Option<Option<T>>> = runs.iter().map(|_| None).collect();
        let started = self.lock().now;
        loop {
            for (run, end) in runs.iter_mut().zip(&mut ends).filter(|(_, end)| end.is_none()) {
                *end = self.poll(run);
            }
            if ends.iter().all(Option::is_some) {
                break;
            }
            let mut core = self.lock();
            let stuck = if core.advance() { "endless" } else { "stuck" };
            if stuck == "stuck" || core.now - started > LONGEST_RUN_MS {
                core.violated("T2", || format!("the run is {stuck}"));
                break;
            }
        }
        drop(runs);
        self.lock().timers.clear();
        ends.into_iter().map(Option::flatten).collect()
    }

    /// Polls a run once: `Some(None)` if its process died.
    #[expect(clippy::option_option, reason = "whether it ended, and whether by itself")]
    pub(crate) fn poll<T>(&self, run: &mut Pin<Box<dyn Future<Output = T> + '_>>) -> Option<Option<T>> {
        let mut context = Context::from_waker(Waker::noop());
        match catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(&mut context))) {
            Ok(Poll::Ready(value)) => Some(Some(value)),
            Ok(Poll::Pending) => self.lock().killed.then_some(None),
            Err(cause) if cause.is::<Killed>() => Some(None),
            Err(cause) => {
                let text = cause.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic".to_owned());
                self.lock().violated("C13", || text);
                Some(None)
            }
        }
    }

    /// Goes to the next thing that happens by itself, or to `until` if that comes first.
    pub(crate) fn go_on(&self, until: u64) {
        let mut core = self.lock();
        if core.next_at().is_some_and(|at| at <= until) {
            core.advance();
        } else {
            core.now = core.now.max(until);
        }
    }

    /// Time passes between runs; what is on its way to a vendor arrives.
    pub(crate) fn pass(&self, ms: u64) {
        let mut core = self.lock();
        let end = core.now + ms;
        while core.late.keys().next().is_some_and(|&(at, _)| at <= end) {
            core.advance();
        }
        core.now = end;
    }
}

impl Core {
    pub(crate) fn wall(&self) -> Timestamp {
        self.true_time().plus_ms(self.skew_ms)
    }

    pub(crate) fn true_time(&self) -> Timestamp {
        Timestamp::from_unix_ms(START_MS).plus_ms(i64::try_from(self.now).expect("a short world"))
    }

    /// Whether a request has left and is not read yet.
    pub(crate) fn is_any_on_its_way(&self) -> bool {
        !self.late.is_empty()
    }

    /// Which endpoint of its provider is called so.
    pub(crate) fn endpoint_at(&self, url: &str) -> usize {
        let actor = self.actors.iter().find(|actor| url.ends_with(&actor.authority));
        actor.expect("a configured endpoint").endpoint
    }

    /// Something of this kind happened.
    pub(crate) fn saw(&mut self, what: &'static str) {
        self.seen.insert(what);
    }

    /// A provider may be left in peace for so long.
    pub(crate) fn may_rest(&mut self, provider: usize, ms: u64) {
        let until = self.rests.entry(provider).or_default();
        *until = (self.now + ms).max(*until);
    }

    /// A request to an actor goes wrong, or has gone wrong.
    fn goes_wrong(&mut self, actor: usize, asked_ms: u64) {
        self.saw(if self.faults.outage.is_some() { "a provider is out" } else { "requests go wrong" });
        for provider in self.actors[actor].providers.clone() {
            self.may_rest(provider, RETRY_CAP_MS.max(asked_ms.min(ASKED_CAP_MS)));
        }
        if asked_ms > RETRY_CAP_MS {
            self.saw("a vendor asks for a long rest");
        }
    }

    pub(crate) fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>6} {:>12} ms  {}", self.steps, self.now, what()));
        }
    }

    /// The first thing that must not be counts.
    pub(crate) fn violated(&mut self, id: &'static str, what: impl FnOnce() -> String) {
        self.truth.violate(id, what);
        self.tell_violation();
    }

    /// Shows the first violation where it was found.
    pub(crate) fn tell_violation(&mut self) {
        if let (Some(violation), false) = (self.truth.violation.clone(), self.told_violation) {
            self.told_violation = true;
            self.tell(|| format!("VIOLATION {violation:?}"));
        }
    }

    /// `true`: the process is dead.
    fn step(&mut self, what: impl FnOnce() -> String) -> bool {
        if self.killed {
            return true;
        }
        self.steps += 1;
        self.faults.step += 1;
        self.tell_violation();
        self.tell(what);
        if let Some(ms) = self.faults.jump_now() {
            self.skew_ms += ms;
            self.saw("the wall clock jumps");
            self.tell(|| format!("the wall clock jumps by {ms} ms"));
        }
        if let (true, Some(interrupt)) = (self.faults.interrupt_now(), &self.interrupt) {
            let _ = interrupt.send(true);
            self.tell(|| "interrupted".to_owned());
        }
        if self.faults.kill_now() {
            self.killed = true;
            self.tell(|| "KILLED".to_owned());
        }
        self.killed
    }

    /// When the next thing happens by itself.
    fn next_at(&self) -> Option<u64> {
        let (timer, late) = (self.timers.keys().next(), self.late.keys().next());
        timer.into_iter().chain(late).map(|(at, _)| *at).min()
    }

    /// Goes to the next thing that happens by itself; `false` if there is none.
    fn advance(&mut self) -> bool {
        let (timer, late) = (self.timers.keys().next().copied(), self.late.keys().next().copied());
        match (timer, late) {
            (None, None) => return false,
            (Some(timer), late) if late.is_none_or(|late| timer.0 <= late.0) => {
                self.now = self.now.max(timer.0);
                if let Some(waker) = self.timers.remove(&timer) {
                    waker.wake();
                }
            }
            _ => {
                if let Some(((at, _), (actor, request, sent))) = self.late.pop_first() {
                    self.now = self.now.max(at);
                    self.steps += 1;
                    self.deliver(actor, &request, sent);
                }
            }
        }
        true
    }

    /// The vendor reads a request: the answer, and what it purged (provider, number of the target).
    fn deliver(&mut self, actor: usize, request: &Request, sent: u64) -> (Response, Vec<Key>) {
        let now = self.true_time();
        let actor = &mut self.actors[actor];
        let (response, purged) = actor.answer(request, now);
        let endpoint = actor.endpoint;
        let urls = purged.iter().filter(|target| target.scope != Scope::Directory).count();
        let provider = purged.first().and_then(|target| self.truth.key(&target.text)).map(|key| key.0);
        let overspent = self.days.get(&sent).and_then(|day| actor.spends(day, urls, provider?));
        if let Some(text) = overspent {
            self.truth.violate("S5", || text);
        }
        let said = String::from_utf8_lossy(&response.body);
        // One vendor has one code for a nonce that was used and for a clock that is far off.
        let replay = said.contains("ReplayAttack") && !self.jumps;
        if said.contains("NonceUsed") || replay {
            self.truth.violate("R10", || "a nonce was used twice".to_owned());
        }
        let at = self.now;
        let mut keys = Vec::new();
        for Target { scope, text } in purged {
            if scope == Scope::Directory {
                self.truth.purged_directory(&text, endpoint, sent);
                keys.extend(self.directories.get(&text).into_iter().flatten());
            } else {
                keys.extend(self.truth.purged(&text, endpoint, sent));
            }
        }
        self.purged_at.extend(keys.iter().map(|key| (*key, at)));
        let body = self.trace.is_some().then(|| String::from_utf8_lossy(&response.body).into_owned());
        self.tell(|| format!("  vendor: {} {} purged {keys:?}", response.status, body.unwrap_or_default()));
        self.tell_violation();
        (response, keys)
    }
}

/// The clock of one process: ticks count from its start.
pub(crate) struct SimClock {
    shared: Shared,
    born: u64,
    /// A planted defect: the first wait ends at once.
    hasty: bool,
    /// How far this clock has run ahead because of it.
    ahead: AtomicU64,
}

impl SimClock {
    pub(crate) fn new(shared: Shared, hasty: bool) -> Self {
        let born = shared.lock().now;
        Self { shared, born, hasty, ahead: AtomicU64::new(0) }
    }
}

impl Clock for SimClock {
    fn now(&self) -> Now {
        let core = self.shared.lock();
        Now { wall: core.wall(), tick: Tick::from_ms(core.now - self.born + self.ahead.load(Ordering::Relaxed)) }
    }

    fn sleep_until(&self, tick: Tick) -> BoxFuture<'_, ()> {
        if self.hasty && self.ahead.load(Ordering::Relaxed) == 0 {
            let waits = tick.since(self.now().tick);
            self.ahead.store(waits, Ordering::Relaxed);
        }
        let until = self.born.saturating_add(tick.ms()) - self.ahead.load(Ordering::Relaxed);
        Box::pin(Sleep { shared: &self.shared, until, timer: None })
    }
}

/// How long commits take on the disks of worlds, in milliseconds.
const COMMIT_MS: [u64; 5] = [0, 0, 0, 3, 50];

/// A disk that takes its time.
pub(crate) struct SimWorker {
    clock: Arc<SimClock>,
    commit_ms: u64,
}

impl SimWorker {
    pub(crate) fn new(shared: &Shared, seed: u64) -> Self {
        let commit_ms = COMMIT_MS[usize::try_from(seed % COMMIT_MS.len() as u64).expect("a small number")];
        if commit_ms > 0 {
            shared.lock().saw("commits take their time");
        }
        Self { clock: Arc::new(SimClock::new(shared.clone(), false)), commit_ms }
    }
}

impl Worker for SimWorker {
    fn run(&self, job: Job) -> BoxFuture<'static, ()> {
        let (clock, until) = (Arc::clone(&self.clock), self.clock.now().tick.plus_ms(self.commit_ms));
        Box::pin(async move {
            if until > clock.now().tick {
                clock.sleep_until(until).await;
            }
            job();
        })
    }
}

struct Sleep<'a> {
    shared: &'a Shared,
    until: u64,
    timer: Option<(u64, u64)>,
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let shared = self.shared;
        let mut core = shared.lock();
        if core.now >= self.until {
            return Poll::Ready(());
        }
        let id = core.next_timer;
        core.next_timer += 1;
        let new = (self.until, id);
        let timer = *self.timer.get_or_insert(new);
        core.timers.insert(timer, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            self.shared.lock().timers.remove(&timer);
        }
    }
}

/// The network of one process.
pub(crate) struct SimHttp {
    pub(crate) shared: Shared,
    pub(crate) runner: u8,
}

impl SimHttp {
    async fn wait(&self, ms: u64) {
        let until = self.shared.lock().now + ms;
        Sleep { shared: &self.shared, until, timer: None }.await;
    }

    /// Nothing happens any more in a process that is dead. Panics of calls are caught by the engine, so this pends.
    async fn step(&self, what: impl FnOnce() -> String) {
        if self.shared.lock().step(what) {
            std::future::pending::<()>().await;
        }
    }

    async fn exchange(&self, request: Request, timeouts: Timeouts) -> Result<Response, TransportFailure> {
        self.step(|| format!("about to send to {}", request.endpoint)).await;
        let (actor, fate, latency, sent) = {
            let mut core = self.shared.lock();
            let actor = core.actors.iter().position(|actor| actor.authority == request.endpoint.authority());
            let actor = actor.expect("a configured endpoint");
            let (provider, is_cloud) = (core.actors[actor].providers[0], core.actors[actor].is_cloud);
            let fate = core.refusal(actor, &request).unwrap_or_else(|| core.faults.fate(provider, is_cloud));
            let latency = core.faults.latency();
            (actor, fate, latency, core.leave(actor, &request, fate))
        };
        let failed = |kind, text: &str| Err(TransportFailure { kind, message: text.to_owned() });
        let _wrong = GoesWrong::of(&self.shared, actor, fate);
        match fate {
            Fate::NotConnected => {
                self.wait(latency).await;
                return failed(TransportFailureKind::NotConnected, "connection refused");
            }
            Fate::RequestLost => {
                self.wait(timeouts.first_byte_ms).await;
                return failed(TransportFailureKind::Unknown, "timed out");
            }
            Fate::Late(ms) => {
                self.shared.lock().arrives_later(ms, (actor, request, sent));
                self.wait(timeouts.first_byte_ms).await;
                return failed(TransportFailureKind::Unknown, "timed out");
            }
            Fate::Refused { status, body } => {
                self.wait(latency).await;
                self.step(|| format!("the vendor refuses whatever it is: HTTP {status}")).await;
                return Ok(Response { status, headers: Vec::new(), body: body.as_bytes().to_vec() });
            }
            Fate::Instead { status, retry_after, effect: false } => {
                self.wait(latency).await;
                self.step(|| format!("the answer is HTTP {status}")).await;
                return Ok(plain(status, retry_after));
            }
            _ => {}
        }
        let (response, purged) = self.shared.lock().deliver(actor, &request, sent);
        self.step(|| "the vendor has answered".to_owned()).await;
        self.wait(latency).await;
        match fate {
            Fate::AnswerLost => failed(TransportFailureKind::Unknown, "connection reset"),
            Fate::Instead { status, retry_after, .. } => {
                self.step(|| format!("the answer becomes HTTP {status}")).await;
                Ok(plain(status, retry_after))
            }
            _ => {
                self.shared.lock().tell_client(actor, &purged, sent, self.runner);
                self.step(|| format!("the answer arrives: {}", response.status)).await;
                Ok(response)
            }
        }
    }
}

/// A request that goes wrong: from when it leaves until nobody waits for it any more its provider is in trouble.
struct GoesWrong<'a>(&'a Shared, usize, u64);

impl<'a> GoesWrong<'a> {
    fn of(shared: &'a Shared, actor: usize, fate: Fate) -> Option<Self> {
        let asked = match fate {
            Fate::Clean => return None,
            Fate::Instead { retry_after, .. } => retry_after.and_then(|text| text.parse::<u64>().ok()),
            _ => None,
        };
        let asked_ms = asked.unwrap_or(0).saturating_mul(1000);
        shared.lock().goes_wrong(actor, asked_ms);
        Some(Self(shared, actor, asked_ms))
    }
}

impl Drop for GoesWrong<'_> {
    fn drop(&mut self) {
        self.0.lock().goes_wrong(self.1, self.2);
    }
}

impl Core {
    /// A request leaves: what it asks for is read off the wire.
    fn leave(&mut self, actor: usize, request: &Request, fate: Fate) -> u64 {
        let (now, ends) = (self.now, vendor::quota_day_ends(self.actors[actor].spec.kind).unix_ms());
        let (wanted, targets) = self.wanted(actor, request);
        // Days are numbered from the one in which the world begins.
        let since = self.wall().unix_ms() - (ends - DAY_MS);
        let (day, midnight) = (since.div_euclid(DAY_MS), DAY_MS - since.rem_euclid(DAY_MS));
        self.tell(|| format!("SEND {} {wanted:?} fate {fate:?}", request.endpoint));
        if let Some(text) = self.actors[actor].leaves(request, targets, now, fate == Fate::NotConnected) {
            self.violated("S5", || text);
        }
        let at_midnight = !(5_000..86_395_000).contains(&midnight);
        let (endpoint, steps) = (self.actors[actor].endpoint, self.steps);
        // Other keys are another account.
        let rotation = self.actors[actor].spec.rotation;
        self.days.insert(steps, (format!("day {day} {rotation}"), at_midnight));
        self.truth.left(&wanted, endpoint);
        self.sent.extend(wanted);
        steps
    }

    /// What a request is to settle, and how many targets it names.
    pub(crate) fn wanted(&self, actor: usize, request: &Request) -> (Vec<Key>, usize) {
        if let Some(directory) = self.actors[actor].directory_of(request) {
            return (self.directories.get(&directory).cloned().unwrap_or_default(), 1);
        }
        let wanted = self.actors[actor].targets_of(request);
        let targets = wanted.len();
        (wanted, targets)
    }

    fn arrives_later(&mut self, ms: u64, request: (usize, Request, u64)) {
        let at = (self.now + ms, self.steps);
        self.late.insert(at, request);
    }

    fn tell_client(&mut self, actor: usize, purged: &[Key], sent: u64, runner: u8) {
        let endpoint = self.actors[actor].endpoint;
        self.truth.told(purged, endpoint, sent, runner);
    }
}

fn plain(status: u16, retry_after: Option<&'static str>) -> Response {
    let header = |text: &str| ("Retry-After".to_owned(), text.to_owned());
    let body = if status == 204 { Vec::new() } else { b"<html>something else</html>".to_vec() };
    Response { status, headers: retry_after.into_iter().map(header).collect(), body }
}

impl Http for SimHttp {
    fn send(&self, request: Request, timeouts: Timeouts) -> BoxFuture<'_, Result<Response, TransportFailure>> {
        Box::pin(async move {
            let (actor, endpoint, wanted) = {
                let core = self.shared.lock();
                let actor = core.actors.iter().position(|actor| actor.authority == request.endpoint.authority());
                let actor = actor.expect("a configured endpoint");
                (actor, core.actors[actor].endpoint, core.wanted(actor, &request).0)
            };
            let result = self.exchange(request, timeouts).await;
            let mut core = self.shared.lock();
            core.actors[actor].ends();
            core.truth.ended(&wanted, endpoint);
            drop(core);
            result
        })
    }
}

/// Endpoints have addresses here, so no name is looked up.
pub(crate) struct NoNames;

impl Resolver for NoNames {
    fn addresses<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Addresses> {
        unreachable!("{name} is no address")
    }
}

/// Credentials of all providers: each variable's value follows from its name, and from the run where keys are issued for it.
pub(crate) struct SimEnv(pub(crate) Shared);

impl Env for SimEnv {
    fn var(&self, name: &str) -> Option<String> {
        let (prefix, rest) = name.split_once('_').filter(|(prefix, _)| prefix.starts_with("KEY"))?;
        let account = prefix.trim_end_matches('t');
        let issue = if account == prefix { 0 } else { self.0.lock().issues };
        let [id, secret, token] = keys(account, issue);
        let values = (id.as_str(), secret.as_str(), (issue > 0).then_some(token.as_str()));
        let mut fields = VENDORS.all().flat_map(|kind| vendor::fields(kind, values));
        fields.find(|(field, _)| field.variable == rest).map(|(_, value)| value.to_owned())
    }

    fn read_private(&self, _: &str, _: usize) -> Result<Zeroizing<Vec<u8>>, PrivateFileError> {
        Err(PrivateFileError::NotRegular)
    }

    /// Keys are issued to every caller.
    fn run<'a>(
        &'a self,
        command: &'a [String],
        _: CommandLimits,
    ) -> BoxFuture<'a, Result<Zeroizing<Vec<u8>>, CommandError>> {
        let mut core = self.0.lock();
        core.issues += 1;
        let [id, secret, token] = keys(&command[0], core.issues);
        core.tell(|| format!("keys are issued: {id}"));
        let expires = core.wall().plus_ms(3_600_000).utc_extended();
        // Nothing expires by a clock that jumps.
        let expires = if core.jumps { "null".to_owned() } else { format!("\"{expires}\"") };
        let kind = VENDORS.find(&command[1]).expect("a kind");
        let fields = vendor::fields(kind, (&id, &secret, Some(&token))).into_iter();
        let fields =
            fields.map(|(field, value)| format!("\"{}\":\"{value}\",", field.name)).collect::<Vec<_>>().concat();
        let text = format!("{{{fields}\"expires_at\":{expires}}}");
        drop(core);
        Box::pin(async move { Ok(Zeroizing::new(text.into_bytes())) })
    }
}
