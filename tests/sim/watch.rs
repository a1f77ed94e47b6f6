//! One process of `freshen watch`: the daemon as it ships, with a state, files, signals and a machine that the world owns.
//!
//! Left out, and tested with the program: folders that are watched, files that are parsed, stat caches, queries of quotas, the
//! audit log, the lock's file, and other processes that use the state.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use freshen::core::command_line::CommandLine;
use freshen::core::event::{EndpointEnd, FailureScope};
use freshen::core::guard::Allowed;
use freshen::core::http::Endpoint;
use freshen::core::model::Model;
use freshen::core::owners::Reach;
use freshen::core::recorded::Inputs;
use freshen::core::report::Report;
use freshen::core::time::{Now, Tick};
use freshen::core::watch::{ASKED_CAP_MS, ProviderEnd, Retry, RunEnd, RunRequest, Watch, WatchAction, WatchEvent};
use freshen::daemon::{
    Daemon, Files, Machine, ManifestsSeen, Newest, Read as SeenManifests, Signal, SignalSource, Systemd, WatchOptions,
};
use freshen::engine::inputs::{Extent, Loaded};
use freshen::engine::{Claim, Desired, Exit, Prepared, Selection};
use freshen::host::probe::NoProber;
use freshen::host::sources::NamedSource;
use freshen::host::watcher::Moved;
use freshen::host::{BoxFuture, Clock, Host};
use freshen::state::SqliteStore;
use tokio::sync::watch::{Receiver, channel};

use crate::backend::SimBackend;
use crate::planted::WatchBug;
use crate::seams::{NoNames, Shared, SimClock, SimEnv, SimHttp, SimWorker};
use crate::session::TIMEOUT_MS;
use crate::store::Facts;

/// `--grace` unless the user says otherwise.
const GRACE_MS: u64 = 20_000;
const READY_WITHIN_MS: u64 = 900_000;
/// What the machine keeps from run to run, as text: so much, and a little for each endpoint and asset.
const BYTES: usize = 1_000;
const BYTES_AN_ENDPOINT: usize = 600;
const BYTES_AN_ASSET: usize = 25;

/// What the manifests are when a run reads them.
pub(crate) enum Read {
    /// As they were when all was done.
    Unchanged,
    Valid(Box<Model>),
    /// Half a file.
    Broken,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) end: RunEnd,
    /// Whether nothing is left, as it says, and whether it had the chance to record all that it heard; `None`: it did not get
    /// that far.
    pub(crate) finished: Option<(bool, bool)>,
}

/// What the process did that the world has to know of.
pub(crate) enum Turn {
    /// A run reads manifests.
    Begins(RunRequest),
    /// The run has ended.
    Ended(Ended),
    /// The process was killed.
    Died,
    /// It ended by itself.
    Exits,
    /// Nothing, unless time passes or something happens.
    Waits,
}

/// What world and daemon share.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Link {
    signals: VecDeque<Signal>,
    /// When files changed last, unless the daemon took it.
    event: Option<Tick>,
    events: u64,
    /// How many events there were when the run began.
    events_before: u64,
    /// A planted defect: none is seen until all is read.
    loses_events: bool,
    is_running: bool,
    /// The run under way, until the world was shown it.
    request: Option<RunRequest>,
    reads: bool,
    /// What it reads, and when it has read it.
    answer: Option<(Read, Tick)>,
    /// It was read and is as it was when all was done.
    was_unchanged: bool,
    is_cut: bool,
    /// How the last run ended, and whether it had been cut short, until the world was shown it.
    ended: Option<(RunEnd, bool)>,
    /// Name, digest of the configuration and first endpoint of each provider, for planted defects.
    providers: Vec<(String, String, Endpoint)>,
}

#[derive(Clone, Default)]
struct SharedLink(Arc<Mutex<Link>>);

impl SharedLink {
    fn lock(&self) -> MutexGuard<'_, Link> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running process.
pub(crate) struct Process {
    shared: Shared,
    link: SharedLink,
    clock: Arc<SimClock>,
    daemon: Pin<Box<dyn Future<Output = Exit>>>,
    report: Receiver<Report>,
    facts: Arc<Mutex<Facts>>,
    is_locked: Arc<AtomicBool>,
    /// Files that changed during runs, for a planted defect.
    queued: u32,
    is_stopping: bool,
    bug: Option<WatchBug>,
}

impl Process {
    pub(crate) fn new(
        shared: &Shared,
        store: &Arc<Mutex<SqliteStore>>,
        (resync_ms, seed, allowed): (u64, u64, Allowed),
        bug: Option<WatchBug>,
    ) -> Self {
        let clock = Arc::new(SimClock::new(shared.clone(), false));
        let (link, report) = (SharedLink::default(), Arc::new(channel(Report::default()).0));
        let is_locked = Arc::new(AtomicBool::new(false));
        let facts = Arc::new(Mutex::new(Facts::default()));
        let state = SimBackend {
            shared: shared.clone(),
            runner: 0,
            inner: Arc::clone(store),
            path: None,
            facts: Arc::clone(&facts),
            bug: None,
            ledger: String::new(),
            is_locked: Arc::clone(&is_locked),
        };
        let machine = SimMachine {
            inner: Watch::new(if bug == Some(WatchBug::ResyncForgotten) { u64::MAX / 4 } else { resync_ms }, seed),
            shared: shared.clone(),
            link: link.clone(),
            born_ms: clock.now().wall.unix_ms(),
            seed,
            bug,
        };
        let host = Host {
            clock: Arc::<SimClock>::clone(&clock),
            http: Arc::new(SimHttp { shared: shared.clone(), runner: 0 }),
            prober: Arc::new(NoProber),
            resolver: Arc::new(NoNames),
            env: Arc::new(SimEnv(shared.clone())),
            worker: Arc::new(SimWorker::new(shared, seed)),
            seed,
        };
        let files = SimFiles { bug, link: link.clone(), clock: Arc::clone(&clock), state: state.clone() };
        let receiver = report.subscribe();
        let signals = SimSignals(link.clone());
        let daemon = Box::pin(live(host, state, files, machine, (report, signals), (allowed, bug)));
        Self {
            shared: shared.clone(),
            link,
            clock,
            daemon,
            report: receiver,
            facts,
            is_locked,
            queued: 0,
            is_stopping: false,
            bug,
        }
    }

    /// The user says something.
    pub(crate) fn signal(&mut self, signal: Signal) {
        let ignored = match signal {
            Signal::Stop => WatchBug::StopIgnored,
            Signal::Reload => WatchBug::ReloadIgnored,
        };
        if self.bug == Some(ignored) {
            return;
        }
        // A second stop ends the process at once, like a kill.
        if !self.is_stopping {
            self.is_stopping = signal == Signal::Stop;
            self.link.lock().signals.push_back(signal);
        }
    }

    /// A file changed at this moment, or a moment ago.
    pub(crate) fn changed(&mut self, ago_ms: u64) {
        let is_running = self.link.lock().is_running;
        if self.bug == Some(WatchBug::EventsOfRunsLost) && is_running {
            return;
        }
        self.queued += u32::from(self.bug == Some(WatchBug::EventsQueueUp) && is_running);
        let at = Tick::from_ms(self.clock.now().tick.ms().saturating_sub(ago_ms));
        let mut link = self.link.lock();
        if !link.loses_events {
            link.event = Some(at);
            link.events += 1;
        }
    }

    /// The next thing that it does.
    pub(crate) fn turn(&mut self) -> Turn {
        if self.link.lock().ended.is_none() {
            match self.shared.poll(&mut self.daemon) {
                None => {}
                Some(None) => return Turn::Died,
                Some(Some(_)) => return Turn::Exits,
            }
        }
        let ended = self.link.lock().ended.take();
        if let Some((end, was_cut)) = ended {
            let ended = self.ended(end, was_cut);
            if self.queued > 0 {
                self.queued -= 1;
                self.changed(0);
            }
            return Turn::Ended(ended);
        }
        let mut link = self.link.lock();
        match link.request.take().filter(|_| link.reads) {
            Some(request) => Turn::Begins(request),
            None => Turn::Waits,
        }
    }

    fn ended(&self, end: RunEnd, was_cut: bool) -> Ended {
        let (link, facts) = (self.link.lock(), self.facts.lock().expect("no panic"));
        let is_done = self.report.borrow().last_exit == Some(0);
        let whole = !facts.has_begun || facts.is_finished && !was_cut;
        let finished = match &end {
            RunEnd::Done(_) if !link.was_unchanged => Some((is_done, whole)),
            RunEnd::Failed if facts.has_begun => Some((false, false)),
            _ => None,
        };
        Ended { end, finished }
    }

    /// Lets the run under way read this, in so many milliseconds.
    pub(crate) fn reads(&mut self, read: Read, (facts, is_locked): (Facts, bool), in_ms: u64) {
        self.is_locked.store(is_locked, Ordering::Relaxed);
        *self.facts.lock().unwrap_or_else(PoisonError::into_inner) = facts;
        let at = self.clock.now().tick.plus_ms(in_ms);
        let mut link = self.link.lock();
        link.was_unchanged = matches!(read, Read::Unchanged);
        link.answer = Some((read, at));
    }
}

/// The daemon with all that it borrows.
async fn live(
    host: Host,
    state: SimBackend,
    files: SimFiles,
    machine: SimMachine,
    (report, mut signals): (Arc<tokio::sync::watch::Sender<Report>>, SimSignals),
    (allowed, bug): (Allowed, Option<WatchBug>),
) -> Exit {
    // Planted defects: what went in runs before is not counted, or nothing that goes.
    let forget = |prepared: &mut Prepared| {
        if bug == Some(WatchBug::RefusedPlanSent) {
            return prepared.difference.removals.clear();
        }
        for removals in &mut prepared.difference.removals {
            (removals.of, removals.lost) = (removals.recorded - removals.let_through, removals.removed);
        }
    };
    let options = WatchOptions {
        selection: Selection::default(),
        allowed,
        timeout_ms: TIMEOUT_MS,
        grace_ms: GRACE_MS,
        ready_within_ms: READY_WITHIN_MS,
        audit: None,
        commands: CommandLine::default(),
        namespace: None,
        polls: false,
        tamper: matches!(bug, Some(WatchBug::SlicesDoNotAddUp | WatchBug::RefusedPlanSent))
            .then_some(&forget as &dyn Fn(&mut Prepared)),
    };
    let daemon = Daemon {
        host: &host,
        options: &options,
        state: &state,
        files: &files,
        machine: Box::new(machine),
        report,
        turned: channel(Tick::default()).0,
        token: None,
        systemd: Systemd::silent(),
        polling: None,
    };
    daemon.run(&mut signals).await
}

struct SimSignals(SharedLink);

impl SignalSource for SimSignals {
    fn next(&mut self) -> BoxFuture<'_, Signal> {
        Box::pin(poll_fn(|_| self.0.lock().signals.pop_front().map_or(Poll::Pending, Poll::Ready)))
    }
}

/// Files as the world says.
struct SimFiles {
    bug: Option<WatchBug>,
    link: SharedLink,
    clock: Arc<SimClock>,
    state: SimBackend,
}

impl Files for SimFiles {
    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(poll_fn(|_| if self.link.lock().event.is_some() { Poll::Ready(()) } else { Poll::Pending }))
    }

    fn take(&self) -> Option<Tick> {
        self.link.lock().event.take()
    }

    fn is_writing(&self) -> bool {
        false
    }

    fn counts(&self) -> (u64, usize) {
        (self.link.lock().events, 1)
    }

    fn run_begins(&self, _: bool) {
        let mut link = self.link.lock();
        link.events_before = link.events;
        link.loses_events = self.bug == Some(WatchBug::EventLostAtTheStart);
    }

    fn watch_folders(&self) -> BoxFuture<'_, Result<Option<(String, u64)>, String>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn read(&self, _: Extent, _: Arc<Mutex<Newest>>) -> BoxFuture<'_, anyhow::Result<ManifestsSeen>> {
        let claim = Claim::before_reading(&self.state);
        self.link.lock().reads = true;
        Box::pin(async move {
            let (read, at) = poll_fn(|_| self.link.lock().answer.take().map_or(Poll::Pending, Poll::Ready)).await;
            self.clock.sleep_until(at).await;
            let mut link = self.link.lock();
            (link.reads, link.loses_events) = (false, false);
            let moved = Moved { changed: link.events != link.events_before, writing: false };
            let read = match read {
                Read::Unchanged => {
                    SeenManifests::Unchanged(Desired::unread(Inputs::default(), Reach::default()), Vec::new())
                }
                Read::Broken => SeenManifests::Invalid(vec!["half a file".to_owned()]),
                Read::Valid(model) => {
                    let desired = Desired::new(*model, Reach::default());
                    let known = desired.model.providers.iter().zip(&desired.config_digests);
                    let known = known.map(|(one, digest)| (one.name.clone(), digest.clone(), one.endpoints[0].clone()));
                    link.providers = known.collect();
                    SeenManifests::Valid(Loaded { desired, caches: Vec::new(), ahead: None }, Vec::new())
                }
            };
            Ok(ManifestsSeen { read, named: Some(Vec::new()), moved, is_watched: true, claim })
        })
    }

    fn follow(&self, _: &[NamedSource]) -> bool {
        false
    }
}

/// The machine, watched, and perhaps with a planted defect.
struct SimMachine {
    inner: Watch,
    shared: Shared,
    link: SharedLink,
    /// Wall time at its start.
    born_ms: i64,
    seed: u64,
    bug: Option<WatchBug>,
}

impl SimMachine {
    /// The time as the machine is given it.
    fn now(&self, now: Now) -> Now {
        if self.bug != Some(WatchBug::WaitsByTheWallClock) {
            return now;
        }
        let since = now.wall.unix_ms().saturating_sub(self.born_ms);
        Now { tick: Tick::from_ms(u64::try_from(since).unwrap_or(0)), wall: now.wall }
    }

    /// W6: what is kept from run to run is bounded by what is configured, through any events and for any time.
    fn must_be_small(&self) {
        let kept = format!("{:?}", self.inner);
        let count = |what| kept.matches(what).count();
        let (providers, endpoints) = (count(" Waiting {"), count(" Rest {"));
        let mut core = self.shared.lock();
        let most: usize = core.actors.iter().map(|actor| actor.providers.len()).sum();
        let bytes = BYTES + BYTES_AN_ENDPOINT * most + BYTES_AN_ASSET * core.truth.entries.len();
        if providers > most || endpoints > most || kept.len() > bytes {
            let bytes = kept.len();
            core.violated("W6", || {
                format!("{providers} providers and {endpoints} endpoints are kept, in {bytes} bytes")
            });
        }
    }

    /// The end of a run, as a planted defect has it.
    fn altered(&self, mut end: RunEnd, now: Now) -> RunEnd {
        let is_forgotten = match (&end, self.bug) {
            (RunEnd::Done(_), bug) => bug == Some(WatchBug::RetryForgotten),
            (RunEnd::Failed, bug) => bug == Some(WatchBug::FailedIsDone),
            _ => false,
        };
        if is_forgotten {
            return RunEnd::Done(Vec::new());
        }
        let RunEnd::Done(left) = &mut end else { return end };
        if self.bug == Some(WatchBug::HealthyAreLeftInPeace) && left.iter().any(is_down) {
            let known = self.link.lock().providers.clone();
            *left = known.into_iter().map(|(name, config, endpoint)| rests(name, config, endpoint)).collect();
        }
        if self.bug == Some(WatchBug::GoneAreRemembered) {
            left.extend(left.first().map(|end| gone(end, self.seed ^ now.tick.ms(), now)));
        }
        end
    }

    fn runs(&self, request: &RunRequest) {
        let mut link = self.link.lock();
        if link.is_running {
            self.shared.lock().violated("W4", || "a second run begins beside the first".to_owned());
        }
        (link.is_running, link.is_cut, link.request) = (true, false, Some(request.clone()));
    }

    /// When to wake, by the clock that waits; in the past, nothing would ever happen again.
    fn wakes(&self, until: Tick, (now, machine): (Now, Now)) -> Tick {
        if until <= machine.tick {
            let (until, now) = (until.ms(), machine.tick.ms());
            self.shared.lock().violated("W6", || format!("at {now} nothing is to be done until {until}: a busy loop"));
        }
        now.tick.plus_ms(until.since(machine.tick).max(1))
    }
}

impl Machine for SimMachine {
    fn handle(&mut self, event: WatchEvent, now: Now) {
        let machine = self.now(now);
        let event = match event {
            WatchEvent::RunEnded(end) => {
                let mut link = self.link.lock();
                (link.is_running, link.ended) = (false, Some((end.clone(), link.is_cut)));
                drop(link);
                WatchEvent::RunEnded(self.altered(end, now))
            }
            WatchEvent::Changed(at) => {
                WatchEvent::Changed(Tick::from_ms(machine.tick.ms().saturating_sub(now.tick.since(at))))
            }
            other => other,
        };
        self.inner.handle(event, machine);
    }

    fn poll(&mut self, now: Now) -> WatchAction {
        self.must_be_small();
        let machine = self.now(now);
        loop {
            match self.inner.poll(machine) {
                WatchAction::Run(mut request) => {
                    self.runs(&request);
                    if self.bug == Some(WatchBug::FailedAreAskedAgain) {
                        request.held.clear();
                    }
                    if self.bug == Some(WatchBug::RunsForgotten) {
                        self.inner.handle(WatchEvent::RunEnded(RunEnd::Done(Vec::new())), machine);
                    }
                    return WatchAction::Run(request);
                }
                WatchAction::CutShort if self.bug == Some(WatchBug::RunsNeverCut) => {}
                WatchAction::CutShort => {
                    self.link.lock().is_cut = true;
                    return WatchAction::CutShort;
                }
                WatchAction::WakeAt(until) => {
                    return WatchAction::WakeAt(until.map(|tick| self.wakes(tick, (now, machine))));
                }
                WatchAction::Exit => return WatchAction::Exit,
            }
        }
    }

    fn is_unquiet(&self) -> bool {
        self.inner.is_unquiet()
    }

    fn next_try(&self, provider: &str, now: Now) -> Option<Tick> {
        self.inner.next_try(provider, now)
    }

    fn retry_of(&self, provider: &str) -> Option<Retry> {
        self.inner.retry_of(provider)
    }
}

fn is_down(end: &ProviderEnd) -> bool {
    end.endpoints.iter().any(|endpoint| !endpoint.accepted && endpoint.trouble == Some(FailureScope::Endpoint))
}

/// A provider that is to be left in peace.
fn rests(name: String, config: String, endpoint: Endpoint) -> ProviderEnd {
    let down = EndpointEnd { endpoint, accepted: false, trouble: Some(FailureScope::Endpoint), not_before: None };
    ProviderEnd {
        name,
        config,
        endpoints: vec![down],
        recovered: false,
        failed_anew: false,
        trouble: true,
        pending: 1,
        waiting: 0,
        deferred_until: None,
    }
}

/// A provider that is never heard of again.
fn gone(like: &ProviderEnd, number: u64, now: Now) -> ProviderEnd {
    let not_before = Some(now.tick.plus_ms(ASKED_CAP_MS));
    let endpoint =
        Endpoint { tls: false, host: "127.0.0.1".to_owned(), port: None, path_prefix: String::new(), address: None };
    let rests = EndpointEnd { endpoint, accepted: false, trouble: None, not_before };
    ProviderEnd { name: format!("gone {number}"), endpoints: vec![rests], ..like.clone() }
}
