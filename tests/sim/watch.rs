//! One process of `freshen watch`: the machine of `core/watch.rs`, and runs as `cli/watch/round.rs` and `cli/pass.rs` make them,
//! on these seams.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use freshen::core::budget::LastCalls;
use freshen::core::guard::Allowed;
use freshen::core::model::Model;
use freshen::core::target::Target;
use freshen::core::time::{Now, Tick};
use freshen::core::watch::{Action, Event, Order, ProviderEnd, Reason, RunEnd, Watch};
use freshen::drive::{CallReport, GRACE_MS};
use freshen::host::credentials::CredentialStore;
use freshen::host::{Clock, Host, Timeouts};
use freshen::run::{self, Accounts, Choice, Desired, Exit, Finished, Left, Prepared, Run};
use freshen::state::{RunStart, StateError};
use tokio::sync::watch::{Receiver, Sender, channel};

use crate::day::WatchBug;
use crate::seams::{Shared, SimClock, SimEnv, SimHttp};
use crate::store::SimStore;

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
    /// How it ends, and whether it had the chance to record all that it was told; `None`: it did not get that far.
    pub(crate) finished: Option<(Exit, bool)>,
    last_calls: Option<LastCalls>,
}

impl Ended {
    const fn bare(end: RunEnd) -> Self {
        Self { end, finished: None, last_calls: None }
    }
}

impl Ended {
    /// The same where a guard refused what was not tried before.
    fn of(self, is_refused: bool) -> Self {
        match self.end {
            RunEnd::Done(left) if is_refused => Self { end: RunEnd::Blocked(Some(left)), finished: None, ..self },
            _ => self,
        }
    }
}

type UnderWay = Pin<Box<dyn Future<Output = Ended>>>;

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
    last_calls: LastCalls,
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
            last_calls: LastCalls::since(now.tick),
            born_ms: now.wall.unix_ms(),
            bug,
        }
    }

    /// The time as the machine is told it.
    fn now(&self) -> Now {
        let now = self.clock.now();
        if self.bug != Some(WatchBug::WaitsByTheWallClock) {
            return now;
        }
        let since = now.wall.unix_ms().saturating_sub(self.born_ms);
        Now { tick: Tick::from_ms(u64::try_from(since).unwrap_or(0)), wall: now.wall }
    }

    pub(crate) fn handle(&mut self, event: Event) {
        let now = self.now();
        self.machine.handle(event, now);
    }

    /// A file changed at this moment, or a moment ago.
    pub(crate) fn changed(&mut self, ago_ms: u64) {
        if self.bug == Some(WatchBug::EventsOfRunsLost) && self.is_running() {
            return;
        }
        let at = Tick::from_ms(self.now().tick.ms().saturating_sub(ago_ms));
        self.handle(Event::Changed(at));
    }

    pub(crate) const fn is_running(&self) -> bool {
        self.under_way.is_some()
    }

    /// Whether a provider fails, as opposed to single targets.
    pub(crate) fn fails(&self, provider: usize) -> bool {
        self.machine.retry_of(&format!("p{provider}")).is_some_and(|retry| retry.endpoints)
    }

    /// The next thing that it does.
    pub(crate) fn turn(&mut self) -> Turn {
        if let Some(run) = &mut self.under_way {
            match self.shared.poll(run) {
                None => {}
                Some(None) => return Turn::Died,
                Some(Some(ended)) => return Turn::Ended(self.ended(ended)),
            }
        }
        if self.sending.swap(false, Ordering::Relaxed) {
            self.handle(Event::Sending);
        }
        let now = self.now();
        loop {
            match self.machine.poll(now) {
                Action::Run(order) => return Turn::Begins(order),
                Action::CutShort if self.bug == Some(WatchBug::RunsNeverCut) => {}
                Action::CutShort => drop(self.cut.send_replace(true)),
                Action::Exit => return Turn::Exits,
                Action::WakeAt(until) => return Turn::Waits(until.map(|tick| self.time_of(tick, now))),
            }
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

    fn ended(&mut self, ended: Ended) -> Ended {
        self.under_way = None;
        if let Some(calls) = &ended.last_calls {
            self.last_calls = calls.clone();
        }
        self.handle(Event::RunEnded(ended.end.clone()));
        ended
    }

    /// Begins a run that was asked for.
    pub(crate) fn begin(&mut self, mut order: Order, read: Read) {
        if self.is_running() {
            self.shared.lock().violated("W4", || "a second run begins beside the first".to_owned());
        }
        if order.reason == Reason::Asked {
            self.last_calls = LastCalls::since(self.clock.now().tick);
        }
        if self.bug == Some(WatchBug::FailedAreAskedAgain) {
            order.held.clear();
        }
        self.sending = Arc::default();
        self.cut = channel(false).0;
        let given = match read {
            Read::Valid(given) => given,
            Read::Unchanged => return self.ends_at_once(RunEnd::Done(Vec::new())),
            Read::Unknown | Read::Locked => return self.ends_at_once(RunEnd::Failed),
        };
        self.host_seed = self.host_seed.wrapping_add(1);
        let (clock, http) = (Arc::clone(&self.clock), Arc::new(SimHttp { shared: self.shared.clone(), runner: 0 }));
        let mut cut = self.cut.subscribe();
        cut.mark_changed();
        let round = Round {
            host: Host { clock, http, env: Arc::new(SimEnv), seed: self.host_seed },
            order,
            last_calls: self.last_calls.clone(),
            sending: Arc::clone(&self.sending),
            cut,
        };
        self.under_way = Some(Box::pin(round.run(*given)));
        if self.bug == Some(WatchBug::RunsForgotten) {
            self.handle(Event::RunEnded(RunEnd::Done(Vec::new())));
        }
    }

    fn ends_at_once(&mut self, end: RunEnd) {
        self.under_way = Some(Box::pin(std::future::ready(Ended::bare(end))));
    }
}

/// One run.
struct Round {
    host: Host,
    order: Order,
    last_calls: LastCalls,
    sending: Arc<AtomicBool>,
    cut: Receiver<bool>,
}

impl Round {
    async fn run(self, given: Given) -> Ended {
        let Given { mut store, model, allowed } = given;
        let desired = Desired::new(model, Vec::new());
        self.pass(&mut store, &desired, allowed).await.unwrap_or_else(|_| Ended::bare(RunEnd::Failed))
    }

    fn prepare(&self, store: &SimStore, desired: &Desired, accounts: &[String]) -> Result<Prepared, StateError> {
        let prepared = run::prepare(desired, Some(store), &Choice::default(), accounts, self.host.clock.now().wall)?;
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

    async fn pass(&self, store: &mut SimStore, desired: &Desired, allowed: Allowed) -> Result<Ended, StateError> {
        let host = &self.host;
        let credentials = CredentialStore::new(host.env.clone());
        let guessed = run::accounts(host, &desired.model, Some(store)).await?;
        let mut prepared = self.prepare(store, desired, &guessed)?;
        let is_refused = !run::admit(desired, &prepared, Some(store), allowed, None)?.is_empty();
        if is_refused {
            let tried = self.tried(&prepared, store, desired, &guessed)?;
            match tried.filter(|tried| run::refusals(desired, tried, allowed).is_empty()) {
                Some(tried) => prepared = tried,
                None => return Ok(Ended::bare(RunEnd::Blocked(None))),
            }
        }
        if prepared.is_nothing() {
            return Ok(self.ended(&Finished::nothing(desired, &prepared), &BTreeMap::new()));
        }
        prepared.hold_back(desired, &self.order);
        let accounts = Accounts::look_up(host, desired, &prepared.plan, &credentials, &guessed, None).await;
        if accounts.all() != guessed {
            prepared = self.prepare(store, desired, accounts.all())?;
            if is_refused {
                prepared = self.tried(&prepared, store, desired, accounts.all())?.expect("it was there a moment ago");
            }
            prepared.hold_back(desired, &self.order);
        }
        if prepared.is_known() {
            return Ok(self.ended(&Finished::untouched(desired, &prepared), &BTreeMap::new()).of(is_refused));
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
            last_calls: self.last_calls.clone(),
        };
        let mut last_accepted = BTreeMap::new();
        let mut observe = |call: &CallReport, _: &[Target]| {
            last_accepted.insert(call.provider, call.result.is_ok());
            Ok(())
        };
        let finished = run.execute(store, &mut observe).await?;
        Ok(self.ended(&finished, &last_accepted).of(is_refused))
    }

    fn ended(&self, finished: &Finished<'_>, last_accepted: &BTreeMap<usize, bool>) -> Ended {
        let left = (0..finished.desired.model.providers.len())
            .map(|provider| Left::of(finished, provider, &self.order, last_accepted.get(&provider).copied()));
        let left: Vec<ProviderEnd> = left.filter(Left::is_work).map(|left| left.end).collect();
        let outcome = &finished.outcome;
        let failed = outcome.state_error.is_some();
        let whole = !failed && outcome.cut_short.is_none();
        Ended {
            end: if failed { RunEnd::Failed } else { RunEnd::Done(left) },
            finished: Some((finished.exit, whole)),
            last_calls: (outcome.calls > 0 || failed).then(|| outcome.last_calls.clone()),
        }
    }
}
