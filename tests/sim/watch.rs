//! One process of `freshen watch`: the machine of `core/watch.rs`, and runs as `cli/watch/round.rs`, `cli/watch/side.rs` and
//! `cli/pass.rs` make them, on these seams.
//!
//! Those three are written again here, with the guards, the removal window, what is tried again behind a refusal, what is held
//! back, and a run that is cut short before it sends. Remaining out, and tested with the program: reading files, and what is read
//! being thrown away since they change meanwhile, asking for quotas,
//! the audit log, the lock's file, and other processes that use the state.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use freshen::core::budget::LastCalls;
use freshen::core::event::{EndpointEnd, FailureScope};
use freshen::core::guard::Allowed;
use freshen::core::http::Endpoint;
use freshen::core::model::Model;
use freshen::core::owners::Reach;
use freshen::core::removal_window::RemovalWindow;
use freshen::core::target::Target;
use freshen::core::time::{Now, Tick};
use freshen::core::watch::{ASKED_CAP_MS, Order, ProviderEnd, RunEnd, Watch, WatchAction, WatchEvent};
use freshen::engine::executor::CallReport;
use freshen::engine::{self, Accounts, Choice, Desired, Exit, Finished, Prepared, Remaining, Run};
use freshen::host::credentials::CredentialStore;
use freshen::host::resolver::SystemResolver;
use freshen::host::{Clock, Host, Timeouts};
use freshen::state::{Identity, RunStart, StateError, Store};
use tokio::sync::watch::{Receiver, Sender, channel};

use crate::planted::WatchBug;
use crate::seams::{Shared, SimClock, SimEnv, SimHttp};
use crate::store::SimStore;

/// `--grace` unless the user says otherwise.
const GRACE_MS: u64 = 20_000;
/// A program that knows credentials takes less than this, in milliseconds.
const CREDENTIALS_MS: u64 = 20_000;
/// What a process keeps from run to run, given as text: so much, and a little for each endpoint and asset.
const BYTES: usize = 1_000;
const BYTES_AN_ENDPOINT: usize = 600;
const BYTES_AN_ASSET: usize = 25;

/// What a run is to do, and with what.
pub(crate) struct Given {
    pub(crate) store: SimStore,
    pub(crate) model: Model,
    pub(crate) allowed: Allowed,
}

/// What the manifests are when a run reads them.
pub(crate) enum Read {
    /// As they were when all was done.
    Unchanged,
    Valid(Box<Given>),
    /// Not valid, and nothing is known of valid ones.
    Unknown,
    /// Another run holds the state.
    Locked,
}

/// What came of a run.
pub(crate) struct Ended {
    pub(crate) end: RunEnd,
    /// How it ends, and whether it had the chance to record all that it heard; `None`: it did not get that far.
    pub(crate) finished: Option<(Exit, bool)>,
}

impl Ended {
    const fn bare(end: RunEnd) -> Self {
        Self { end, finished: None }
    }

    /// The same where a guard refused what was not tried before.
    fn of(self, is_refused: bool) -> Self {
        match self.end {
            RunEnd::Done(left) if is_refused => Self { end: RunEnd::Blocked(Some(left)), finished: None },
            _ => self,
        }
    }
}

/// What one run leaves to the next.
#[derive(Debug, Default)]
struct Memory {
    last_calls: LastCalls,
    /// The state as it was when our last run ended.
    identity: Option<Identity>,
    removals: RemovalWindow,
}

impl Memory {
    /// A run begins.
    fn begins(&mut self, store: &SimStore, now: Tick) {
        if self.identity.is_none() || store.identity().ok() != self.identity {
            self.last_calls = LastCalls::since(now);
            self.removals.others_ran();
        }
    }

    /// What the run saw is marked.
    fn marked(&mut self, store: &SimStore) {
        self.identity = store.identity().ok();
    }
}

type UnderWay = Pin<Box<dyn Future<Output = (Ended, Memory)>>>;

/// What the machine did that the world has to know of.
pub(crate) enum Turn {
    /// A run is to begin.
    Begins(Order),
    /// The run has ended.
    Ended(Ended),
    /// The process was killed.
    Died,
    /// It ended by itself.
    Exits,
    /// Nothing until this time of the world, unless something happens.
    Waits(Option<u64>),
}

/// A running process.
pub(crate) struct Process {
    shared: Shared,
    clock: Arc<SimClock>,
    host_seed: u64,
    machine: Watch,
    under_way: Option<UnderWay>,
    sending: Arc<AtomicBool>,
    cut: Sender<bool>,
    /// `None` while a run has it.
    memory: Option<Memory>,
    /// Files that changed during runs, for a planted defect.
    queued: u32,
    /// Wall time at its start.
    born_ms: i64,
    bug: Option<WatchBug>,
}

impl Process {
    pub(crate) fn new(shared: &Shared, resync_ms: u64, seed: u64, bug: Option<WatchBug>) -> Self {
        let clock = Arc::new(SimClock::new(shared.clone(), false));
        let now = clock.now();
        Self {
            shared: shared.clone(),
            clock,
            host_seed: seed,
            machine: Watch::new(resync_ms, seed),
            under_way: None,
            sending: Arc::default(),
            cut: channel(false).0,
            memory: None,
            queued: 0,
            born_ms: now.wall.unix_ms(),
            bug,
        }
    }

    /// The time as the machine gets it.
    fn now(&self) -> Now {
        let now = self.clock.now();
        if self.bug != Some(WatchBug::WaitsByTheWallClock) {
            return now;
        }
        let since = now.wall.unix_ms().saturating_sub(self.born_ms);
        Now { tick: Tick::from_ms(u64::try_from(since).unwrap_or(0)), wall: now.wall }
    }

    pub(crate) fn handle(&mut self, event: WatchEvent) {
        let now = self.now();
        self.machine.handle(event, now);
    }

    /// A file changed at this moment, or a moment ago.
    pub(crate) fn changed(&mut self, ago_ms: u64) {
        if self.bug == Some(WatchBug::EventsOfRunsLost) && self.is_running() {
            return;
        }
        self.queued += u32::from(self.bug == Some(WatchBug::EventsQueueUp) && self.is_running());
        let at = Tick::from_ms(self.now().tick.ms().saturating_sub(ago_ms));
        self.handle(WatchEvent::Changed(at));
    }

    pub(crate) const fn is_running(&self) -> bool {
        self.under_way.is_some()
    }

    /// The next thing that it does.
    pub(crate) fn turn(&mut self) -> Turn {
        self.must_be_small();
        if let Some(run) = &mut self.under_way {
            match self.shared.poll(run) {
                None => {}
                Some(None) => return Turn::Died,
                Some(Some((ended, memory))) => {
                    self.under_way = None;
                    self.memory = Some(memory);
                    self.handle(WatchEvent::RunEnded(ended.end.clone()));
                    if self.queued > 0 {
                        self.queued -= 1;
                        self.changed(0);
                    }
                    return Turn::Ended(ended);
                }
            }
        }
        if self.sending.swap(false, Ordering::Relaxed) {
            self.handle(WatchEvent::Sending);
        }
        let now = self.now();
        loop {
            match self.machine.poll(now) {
                WatchAction::Run(order) => return Turn::Begins(order),
                WatchAction::CutShort if self.bug == Some(WatchBug::RunsNeverCut) => {}
                WatchAction::CutShort => drop(self.cut.send_replace(true)),
                WatchAction::Exit => return Turn::Exits,
                WatchAction::WakeAt(until) => return Turn::Waits(until.map(|tick| self.time_of(tick, now))),
            }
        }
    }

    /// W6: what is kept from run to run is bounded by what is configured, whatever happens and however long.
    fn must_be_small(&self) {
        let kept = format!("{:?} {:?}", self.machine, self.memory);
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

    fn time_of(&self, tick: Tick, now: Now) -> u64 {
        let world = self.shared.lock().now;
        if tick <= now.tick {
            let (tick, now) = (tick.ms(), now.tick.ms());
            self.shared.lock().violated("W6", || format!("at {now} nothing is to be done until {tick}: a busy loop"));
        }
        world.saturating_add(tick.since(now.tick))
    }

    /// Begins a run that was asked for.
    pub(crate) fn begin(&mut self, mut order: Order, read: Read) {
        if self.is_running() {
            self.shared.lock().violated("W4", || "a second run begins beside the first".to_owned());
        }
        if self.bug == Some(WatchBug::FailedAreAskedAgain) {
            order.held.clear();
        }
        self.sending = Arc::default();
        self.cut = channel(false).0;
        let memory = self.memory.take().unwrap_or_default();
        let given = match read {
            Read::Valid(given) => given,
            Read::Unchanged => return self.ends_at_once(RunEnd::Done(Vec::new()), memory),
            Read::Unknown | Read::Locked => return self.ends_at_once(RunEnd::Failed, memory),
        };
        self.host_seed = self.host_seed.wrapping_add(1);
        let (clock, http) = (Arc::clone(&self.clock), Arc::new(SimHttp { shared: self.shared.clone(), runner: 0 }));
        let mut cut = self.cut.subscribe();
        cut.mark_changed();
        let mut dice = fastrand::Rng::with_seed(self.host_seed);
        let round = Round {
            host: Host {
                clock,
                http,
                resolver: Arc::new(SystemResolver),
                env: Arc::new(SimEnv(self.shared.clone())),
                seed: self.host_seed,
            },
            order,
            credentials_ms: [0, 0, 0, dice.u64(..CREDENTIALS_MS)][dice.usize(..4)],
            sending: Arc::clone(&self.sending),
            cut,
            bug: self.bug,
        };
        self.under_way = Some(Box::pin(round.run(*given, memory)));
        if self.bug == Some(WatchBug::RunsForgotten) {
            self.handle(WatchEvent::RunEnded(RunEnd::Done(Vec::new())));
        }
    }

    fn ends_at_once(&mut self, end: RunEnd, memory: Memory) {
        self.under_way = Some(Box::pin(std::future::ready((Ended::bare(end), memory))));
    }
}

/// One run.
struct Round {
    host: Host,
    order: Order,
    /// How long the program takes that knows the credentials.
    credentials_ms: u64,
    sending: Arc<AtomicBool>,
    cut: Receiver<bool>,
    bug: Option<WatchBug>,
}

impl Round {
    async fn run(self, given: Given, mut memory: Memory) -> (Ended, Memory) {
        let Given { mut store, model, allowed } = given;
        let desired = Desired::new(model, Reach::default());
        let ended = self.pass(&mut store, &mut memory, &desired, allowed).await;
        (ended.unwrap_or_else(|_| Ended::bare(RunEnd::Failed)), memory)
    }

    fn prepare(&self, store: &SimStore, desired: &Desired, accounts: &[String]) -> Result<Prepared, StateError> {
        let prepared = engine::prepare(desired, Some(store), &Choice::default(), accounts, self.host.clock.now().wall)?;
        Ok(prepared.expect("all manifests were read"))
    }

    fn tried(
        &self,
        prepared: &Prepared,
        store: &SimStore,
        desired: &Desired,
        accounts: &[String],
    ) -> Result<Option<Prepared>, StateError> {
        prepared.tried(desired, Some(store), accounts, self.host.clock.now().wall)
    }

    async fn pass(
        &self,
        store: &mut SimStore,
        memory: &mut Memory,
        desired: &Desired,
        allowed: Allowed,
    ) -> Result<Ended, StateError> {
        let host = &self.host;
        let tick = host.clock.now().tick;
        memory.begins(store, tick);
        let guessed = engine::accounts(host, &desired.model, Some(store)).await?;
        let mut prepared = self.prepare(store, desired, &guessed)?;
        if self.bug != Some(WatchBug::SlicesDoNotAddUp) {
            memory.removals.add_up(&mut prepared.difference.removals, tick);
        }
        let is_refused = !engine::admit(desired, &mut prepared, Some(store), allowed, None)?.is_empty();
        if is_refused {
            store.refused = true;
            memory.removals.refused();
            memory.marked(store);
            let tried = self.tried(&prepared, store, desired, &guessed)?;
            match tried.filter(|tried| engine::refusals(desired, tried, allowed).is_empty()) {
                Some(tried) => prepared = tried,
                None => return Ok(Ended::bare(RunEnd::Blocked(None))),
            }
        }
        if prepared.is_nothing() {
            memory.marked(store);
            return Ok(self.ended(&Finished::nothing(desired, &prepared), &BTreeMap::new()));
        }
        Ok(self.send(store, memory, desired, (prepared, guessed, is_refused), allowed).await?.of(is_refused))
    }

    async fn send(
        &self,
        store: &mut SimStore,
        memory: &mut Memory,
        desired: &Desired,
        (mut prepared, guessed, is_refused): (Prepared, Vec<String>, bool),
        allowed: Allowed,
    ) -> Result<Ended, StateError> {
        let host = &self.host;
        let credentials = CredentialStore::new(host.env.clone());
        prepared.hold_back(desired, &self.order);
        let Some(accounts) = self.accounts(desired, &prepared, &credentials, &guessed).await else {
            store.mark_seen(&desired.model, &prepared.difference.changes)?;
            memory.marked(store);
            return Ok(Ended::bare(RunEnd::Cut));
        };
        if accounts.all() != guessed {
            prepared = self.prepare(store, desired, accounts.all())?;
            if is_refused {
                prepared = self.tried(&prepared, store, desired, accounts.all())?.expect("it was there a moment ago");
            }
            if !engine::admit(desired, &mut prepared, Some(store), allowed, None)?.is_empty() {
                memory.marked(store);
                return Ok(Ended::bare(RunEnd::Blocked(None)));
            }
            prepared.hold_back(desired, &self.order);
        }
        if prepared.is_known() {
            memory.marked(store);
            return Ok(self.ended(&Finished::untouched(desired, &prepared), &BTreeMap::new()));
        }
        self.sending.store(true, Ordering::Relaxed);
        let run = Run {
            host,
            desired,
            prepared: &prepared,
            start: RunStart { at: host.clock.now().wall, host: "sim".to_owned(), pid: 1 },
            deadline_ms: None,
            timeouts: Timeouts::default(),
            credentials: &credentials,
            accounts: &accounts,
            interrupted: self.cut.clone(),
            grace_ms: GRACE_MS,
            last_calls: memory.last_calls.clone(),
        };
        let mut last_accepted = BTreeMap::new();
        let mut observe = |call: &CallReport, _: &[Target]| {
            last_accepted.insert(call.provider, call.result.is_ok());
            Ok(())
        };
        let finished = run.execute(store, &mut observe).await.inspect_err(|_| memory.marked(store))?;
        if finished.outcome.calls > 0 || finished.outcome.state_error.is_some() {
            memory.last_calls = finished.outcome.last_calls.clone();
        }
        memory.marked(store);
        Ok(self.ended(&finished, &last_accepted))
    }

    /// The accounts as credentials give them; `None`: nothing is to be sent any more.
    async fn accounts(
        &self,
        desired: &Desired,
        prepared: &Prepared,
        credentials: &CredentialStore,
        guessed: &[String],
    ) -> Option<Accounts> {
        let mut cut = self.cut.clone();
        tokio::select! {
            biased;
            Ok(_) = cut.wait_for(|cut| *cut) => None,
            found = async {
                let found = Accounts::look_up(&self.host, desired, &prepared.plan, credentials, guessed, None).await;
                self.host.clock.sleep_until(self.host.clock.now().tick.plus_ms(self.credentials_ms)).await;
                found
            } => Some(found),
        }
    }

    fn ended(&self, finished: &Finished<'_>, last_accepted: &BTreeMap<usize, bool>) -> Ended {
        let of = |provider| Remaining::of(finished, provider, &self.order, last_accepted.get(&provider).copied());
        let mut left: Vec<Remaining> = (0..finished.desired.model.providers.len()).map(of).collect();
        if self.bug == Some(WatchBug::HealthyAreLeftInPeace) && left.iter().any(|left| is_down(&left.end)) {
            for (left, config) in left.iter_mut().zip(&finished.desired.model.providers) {
                rest(&mut left.end, config.endpoints[0].clone());
            }
        }
        let mut left: Vec<ProviderEnd> = left.into_iter().filter(Remaining::is_work).map(|left| left.end).collect();
        if self.bug == Some(WatchBug::GoneAreRemembered) {
            left.extend(left.first().map(|end| self.gone(end)));
        }
        let outcome = &finished.outcome;
        let failed = outcome.state_error.is_some();
        let whole = !failed && outcome.cut_short.is_none();
        Ended { end: if failed { RunEnd::Failed } else { RunEnd::Done(left) }, finished: Some((finished.exit, whole)) }
    }
}

impl Round {
    /// A provider that nobody will hear of again.
    fn gone(&self, like: &ProviderEnd) -> ProviderEnd {
        let not_before = Some(self.host.clock.now().tick.plus_ms(ASKED_CAP_MS));
        let endpoint = Endpoint {
            tls: false,
            host: "127.0.0.1".to_owned(),
            port: None,
            path_prefix: String::new(),
            address: None,
        };
        let rests = EndpointEnd { endpoint, accepted: false, trouble: None, not_before };
        ProviderEnd { name: format!("gone {}", self.host.seed), endpoints: vec![rests], ..like.clone() }
    }
}

fn is_down(end: &ProviderEnd) -> bool {
    end.endpoints.iter().any(|endpoint| !endpoint.accepted && endpoint.trouble == Some(FailureScope::Endpoint))
}

/// Has the machine leave a provider in peace.
fn rest(end: &mut ProviderEnd, endpoint: Endpoint) {
    let down = EndpointEnd { endpoint, accepted: false, trouble: Some(FailureScope::Endpoint), not_before: None };
    (end.endpoints, end.trouble, end.pending) = (vec![down], true, end.pending.max(1));
}
