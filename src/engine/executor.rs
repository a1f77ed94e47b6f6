//! Runs the apply machine: asks for actions, performs them on the host and the store, feeds events back.
//!
//! Knows no vendor and decides nothing. It waits for what the machine waits for.

mod answers;
pub(super) mod gating;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

pub use answers::{Answers, CacheAnswers};
use futures_util::future::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use gating::{Gating, OriginAnswer};
use tokio::sync::watch;

use crate::core::apply::Apply;
use crate::core::budget::{LastCalls, Paces};
use crate::core::changes::Changes;
use crate::core::contract::{Account, Call, CallError, Credentials, ErrorClass, Reply, Stamp};
use crate::core::event::{Action, CallId, Ending, EndpointEnd, Event, ItemOutcome, ProviderStop, Record};
use crate::core::gate::GateQuestion;
use crate::core::http::{Endpoint, Response, TransportFailure, TransportFailureKind};
use crate::core::model::Model;
use crate::core::plan::Plan;
use crate::core::probe::varies_by;
use crate::core::states::States;
use crate::core::target::Target;
use crate::core::time::{Now, Tick};
use crate::engine::commits::{Commits, Committed, RecordContext};
use crate::engine::redact::Redactor;
use crate::engine::request::{self, CallContext, Hide, RequestError, refusal};
use crate::host::credentials::CredentialStore;
use crate::host::{Host, Timeouts};
use crate::state::{StateError, Store};

/// Why a run ended early that the user ended.
pub const INTERRUPTED: &str = "interrupted";

/// How long calls under way get to end after an interrupt, unless the user says otherwise, in milliseconds.
pub const GRACE_MS: u64 = 10_000;

/// Keeps the seeds of runs apart: an odd number without a pattern, 2^64 over the golden ratio.
const SEED_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// What a run works on.
pub struct ExecutorInputs<'a> {
    /// Providers and entries.
    pub model: &'a Model,
    /// What is due.
    pub changes: &'a Arc<Changes>,
    /// In which batches.
    pub plan: &'a Plan,
    /// What verdicts on targets of each provider depend on, its configuration and its account, by index.
    pub grounds: &'a [String],
    /// Credentials of all providers.
    pub credentials: &'a CredentialStore,
    /// Providers without credentials, by index, with the reason: nothing is sent to them.
    pub unavailable: &'a [(usize, String)],
    /// Number of the run in the state.
    pub run: i64,
    /// Nothing is started after this moment.
    pub deadline: Option<Tick>,
    /// How long each call may take.
    pub timeouts: Timeouts,
    /// How long calls under way get to end once the run is cut short, in milliseconds.
    pub grace_ms: u64,
    /// When calls left before this run.
    pub last_calls: LastCalls,
    /// What origins have to answer before changes are sent, by change.
    pub questions: Vec<(usize, Vec<GateQuestion>)>,
    /// Turns true when the user wants the run to end.
    pub interrupted: watch::Receiver<bool>,
}

/// A call as it went, for progress and for the record. Credentials that its answer repeats are masked.
#[derive(Clone, Debug)]
pub struct CallReport {
    /// Number of the run in the state.
    pub run: i64,
    /// Index into the model's providers.
    pub provider: usize,
    /// Where it went.
    pub endpoint: Endpoint,
    /// The vendor's name of the operation.
    pub operation: &'static str,
    /// How many changes it was to settle: one a target, unless it named a directory in their place.
    pub changes: usize,
    /// When it left.
    pub sent: Now,
    /// When its answer was read, or it was given up.
    pub ended: Now,
    /// `accepted`, or the word of what went wrong.
    pub outcome: &'static str,
    /// The vendor's code or `HTTP 503` and the like, if there was an answer that is no acceptance, or says that the target was
    /// not cached.
    pub code: Option<String>,
    /// The cache took the purge and did not hold the target.
    pub not_cached: bool,
    /// The vendor's id of the request.
    pub request_id: Option<String>,
    /// The vendor's tasks, or what went wrong in one line.
    pub result: Result<Vec<String>, String>,
    /// Targets that were refused while the others were accepted: index in the call and reason.
    pub refused: Vec<(usize, String)>,
}

/// Sees each call as it ends, with its targets. An error ends the run: nothing more is sent.
pub type Observe<'a> = dyn FnMut(&CallReport, &[Target]) -> std::io::Result<()> + 'a;

/// What a run came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Its number in the state; `None` for one that was not begun.
    pub run: Option<i64>,
    /// Where each change stands, by index.
    pub states: States,
    /// Why providers stopped, by index.
    pub stops: Vec<ProviderStop>,
    /// How their endpoints fared, by index and in order.
    pub endpoints: Vec<Vec<EndpointEnd>>,
    /// What accepted calls said of the caches.
    pub answers: Answers,
    /// Calls made.
    pub calls: u64,
    /// Why the run ended early.
    pub cut_short: Option<String>,
    /// A call was given up because of a defect here.
    pub panicked: bool,
    /// The state could not be written any more; accepted purges that are not recorded follow.
    pub state_error: Option<StateError>,
    /// Changes that were accepted and could not be recorded.
    pub unrecorded: Vec<usize>,
    /// Calls could not be written down as they ended; why.
    pub observer_error: Option<String>,
    /// When calls left last, those before this run included.
    pub last_calls: LastCalls,
}

/// Runs the plan to its end. `observe` sees each call as it ends. Also returns the store.
pub async fn apply(
    host: &Host,
    store: Box<dyn Store>,
    mut inputs: ExecutorInputs<'_>,
    observe: &mut Observe<'_>,
) -> (Box<dyn Store>, Outcome) {
    let seed = seed_of(host, inputs.run);
    let mut gating = Gating::new(host, std::mem::take(&mut inputs.questions), (seed, inputs.timeouts));
    let mut run = Execution::start(host, &inputs, store, seed);
    gating.hold(&mut run.machine);
    let mut nonces = fastrand::Rng::with_seed(seed);
    let (mut interrupted, mut interrupts_open) = (inputs.interrupted.clone(), true);
    let caller = Caller { host, inputs: &inputs, redactor: Redactor::default() };
    let get_ready = |(id, provider)| await_credentials(host, &inputs, id, provider);
    let mut awaiting_credentials = FuturesUnordered::new();
    let mut in_flight = FuturesUnordered::new();
    loop {
        if run.is_cut(inputs.deadline, host.clock.now()) {
            awaiting_credentials.clear();
            gating.cancel();
        }
        let gate_wakes = gating.drain(&mut run.machine, &mut run.commits, host.clock.now());
        let due = run.drain(&inputs, host.clock.now());
        for (id, prepared) in due.sends {
            let sent_call = run.sent(id, prepared, host.clock.now());
            in_flight.push(caller.complete(id, sent_call, nonces.u128(..)));
        }
        // What was let go leaves now: a commit must not bunch calls together.
        let mut look_again = false;
        while let Some(Some(completed)) = in_flight.next().now_or_never() {
            run.completed(&inputs, completed, observe, host.clock.now());
            look_again = true;
        }
        run.commits.begin(host.clock.now().wall);
        if let Some(committed) = run.commits.ended().now_or_never() {
            awaiting_credentials.extend(run.committed(committed, host.clock.now()).into_iter().map(get_ready));
            look_again = true;
        }
        if look_again {
            continue;
        }
        if due.done && run.commits.is_idle() {
            break;
        }
        let until = [due.wake, gate_wakes, run.cut_at.or(inputs.deadline)].into_iter().flatten().min();
        tokio::select! {
            biased;
            Some(id) = awaiting_credentials.next(), if !awaiting_credentials.is_empty() => {
                run.has_credentials(id, host.clock.now());
            }
            Some(completed) = in_flight.next(), if !in_flight.is_empty() => {
                run.completed(&inputs, completed, observe, host.clock.now());
            }
            committed = run.commits.ended(), if !run.commits.is_idle() => {
                awaiting_credentials.extend(run.committed(committed, host.clock.now()).into_iter().map(get_ready));
            }
            Some(answer) = gating.ended(), if !gating.is_idle() => run.probed(&mut gating, &answer, host.clock.now()),
            changed = interrupted.changed(), if interrupts_open => {
                interrupts_open = changed.is_ok();
                run.heed(&interrupted, host.clock.now());
            }
            () = sleep(host, until), if until.is_some() => if run.woke(host.clock.now()) { break },
            else => break,
        }
    }
    drop(in_flight);
    run.give_up(&inputs, observe, host.clock.now());
    run.end(host, inputs.run).await
}

/// The seed of a run: a program that stays up makes many, and vendors refuse a nonce that comes twice. A state that is made anew
/// counts its runs anew.
fn seed_of(host: &Host, run: i64) -> u64 {
    host.seed ^ host.clock.now().tick.ms() ^ run.unsigned_abs().wrapping_mul(SEED_STEP)
}

/// The machine with what the run has come to so far.
struct Execution<'a> {
    machine: Apply<'a>,
    commits: Commits,
    outcome: Outcome,
    grace_ms: u64,
    /// Once the run is cut short: when calls under way are given up.
    cut_at: Option<Tick>,
    /// Calls whose intents are on disk and whose credentials are not there yet.
    awaiting_credentials: BTreeSet<CallId>,
    /// Calls that have not ended.
    under_way: BTreeMap<CallId, SentCall>,
    /// Hosts that are noted as varying.
    varying: BTreeSet<String>,
}

/// What the machine wants done now.
#[derive(Default)]
struct Due {
    sends: Vec<(CallId, PreparedCall)>,
    /// When to ask it again, if no call ends before.
    wake: Option<Tick>,
    /// Nothing is left to do.
    done: bool,
}

impl<'a> Execution<'a> {
    fn start(host: &Host, inputs: &ExecutorInputs<'a>, store: Box<dyn Store>, seed: u64) -> Self {
        let now = host.clock.now();
        let paces = Paces::after(inputs.last_calls.clone(), now.tick);
        let mut machine = Apply::new(inputs.model, inputs.changes, inputs.plan, paces, seed);
        // A state that cannot be read cannot be written either, so nothing is sent without an intent.
        machine.resume(store.doubtful_calls().unwrap_or_default().into_iter().filter_map(|call| call.purge));
        for (provider, reason) in inputs.unavailable {
            machine.exclude(*provider, reason);
        }
        machine.handle(Event::Woke, now);
        let context = RecordContext {
            run: inputs.run,
            changes: Arc::clone(inputs.changes),
            providers: inputs.model.provider_keys(),
            grounds: inputs.grounds.to_vec(),
            owes: owed_proofs(inputs),
        };
        let mut run = Self {
            machine,
            commits: Commits::new(Arc::clone(&host.worker), context, store),
            outcome: Outcome::default(),
            grace_ms: inputs.grace_ms,
            cut_at: None,
            awaiting_credentials: BTreeSet::new(),
            under_way: BTreeMap::new(),
            varying: BTreeSet::new(),
        };
        run.heed(&inputs.interrupted, now);
        run
    }
}

impl Execution<'_> {
    fn drain(&mut self, inputs: &ExecutorInputs<'_>, now: Now) -> Due {
        let mut due = Due::default();
        loop {
            match self.machine.poll(now) {
                Action::Persist(record) => self.commits.gather(record),
                Action::Send(id) => due.sends.extend(prepare(&self.machine, inputs, id).map(|prepared| (id, prepared))),
                Action::WakeAt(tick) => {
                    due.wake = tick;
                    return due;
                }
                Action::Done => {
                    due.done = true;
                    return due;
                }
            }
        }
    }

    /// A commit ended: if it failed nothing more is sent, and what was accepted is reported. Returns the calls whose intents were
    /// in it, with their providers.
    fn committed(&mut self, Committed { records, is_durable }: Committed, now: Now) -> Vec<(CallId, Option<usize>)> {
        if !is_durable {
            self.outcome.unrecorded.extend(accepted_in(&records));
            self.cut("the state cannot be written", now);
        }
        let intents = records.iter().filter_map(|record| match record {
            Record::Intent { call, .. } => Some(*call),
            _ => None,
        });
        let intents: Vec<CallId> = intents.collect();
        self.awaiting_credentials.extend(&intents);
        intents.into_iter().map(|id| (id, self.machine.call(id).map(|call| call.provider))).collect()
    }

    /// The call may take its turn.
    fn has_credentials(&mut self, id: CallId, now: Now) {
        self.awaiting_credentials.remove(&id);
        self.machine.handle(Event::Persisted(id), now);
    }

    /// Nobody waits for credentials of calls that will not be sent: the machine takes them back.
    fn skip_credentials(&mut self, now: Now) {
        while let Some(id) = self.awaiting_credentials.pop_first() {
            self.machine.handle(Event::Persisted(id), now);
        }
    }

    fn sent(&mut self, id: CallId, prepared: PreparedCall, sent: Now) -> SentCall {
        self.outcome.calls += 1;
        let sent_call = SentCall { prepared: Arc::new(prepared), sent };
        self.under_way.insert(id, sent_call.clone());
        sent_call
    }

    fn completed(&mut self, inputs: &ExecutorInputs<'_>, completed: Completed, observe: &mut Observe<'_>, now: Now) {
        let Completed { id, ending, panicked } = completed;
        self.outcome.panicked |= panicked;
        if let (Ending::Accepted(Reply { varies, .. }), Some(sent_call)) = (&ending, self.under_way.get(&id)) {
            let target = sent_call.prepared.call.targets.first();
            let host = target.and_then(|target| Some(target.host_header()?.to_owned()));
            self.varies(host.unwrap_or_default(), varies.clone());
        }
        self.ended(inputs, id, &ending, observe, now);
        self.machine.handle(Event::Ended(id, ending), now);
    }

    /// Notes, once a run, by what answers of a host vary: what visitors get of it is purged in variants from the next run on.
    fn varies(&mut self, host: String, names: Vec<String>) {
        if !host.is_empty() && names.iter().any(|name| name == "accept-encoding") && self.varying.insert(host.clone()) {
            self.commits.gather(Record::Varies { host, names });
        }
    }

    /// An origin answered.
    fn probed(&mut self, gating: &mut Gating<'_>, answer: &OriginAnswer, now: Now) {
        gating.probed(answer, now);
        if let Ok(seen) = &answer.probed {
            self.varies(answer.host.clone(), varies_by(seen.header("vary").unwrap_or_default()));
        }
    }

    /// Lets `observe` see a call that ended.
    fn ended(&mut self, inputs: &ExecutorInputs<'_>, id: CallId, ending: &Ending, observe: &mut Observe<'_>, now: Now) {
        let Some(SentCall { prepared, sent }) = self.under_way.remove(&id) else { return };
        let report = report(inputs.run, &prepared, ending, (sent, now));
        self.outcome.answers.count(&report);
        if let Err(error) = observe(&report, &prepared.call.targets) {
            self.outcome.observer_error.get_or_insert_with(|| error.to_string());
            self.cut("a call could not be written down", now);
        }
    }

    /// Calls that were not waited for: perhaps carried out. Their targets have failed like those of any other call.
    fn give_up(&mut self, inputs: &ExecutorInputs<'_>, observe: &mut Observe<'_>, now: Now) {
        let endpoint = |(id, sent_call): (&CallId, &SentCall)| (*id, sent_call.prepared.call.endpoint.to_string());
        let left: Vec<(CallId, String)> = self.under_way.iter().map(endpoint).collect();
        for (id, endpoint) in left {
            let message = format!("no answer from {endpoint} before the run ended");
            if let Some(record) = self.machine.give_up(id, &message) {
                self.commits.gather(record);
            }
            let ending = Ending::Failed(TransportFailure { kind: TransportFailureKind::Unknown, message });
            self.ended(inputs, id, &ending, observe, now);
        }
    }

    /// Cuts the run short if it was interrupted.
    fn heed(&mut self, interrupted: &watch::Receiver<bool>, now: Now) {
        if *interrupted.borrow() {
            self.cut(INTERRUPTED, now);
        }
    }

    /// Commits what is left.
    async fn end(mut self, host: &Host, run: i64) -> (Box<dyn Store>, Outcome) {
        while !self.commits.is_idle() {
            self.commits.begin(host.clock.now().wall);
            let committed = self.commits.ended().await;
            self.committed(committed, host.clock.now());
        }
        let (store, state_error) = self.commits.into_store().await;
        self.outcome.stops = self.machine.stops().to_vec();
        self.outcome.endpoints = self.machine.endpoints();
        self.outcome.last_calls = self.machine.last_calls();
        (store, Outcome { run: Some(run), states: self.machine.into_states(), state_error, ..self.outcome })
    }

    fn cut(&mut self, reason: &str, now: Now) {
        if self.cut_at.is_none() {
            self.cut_at = Some(now.tick.plus_ms(self.grace_ms));
            self.outcome.cut_short = Some(reason.to_owned());
            self.machine.handle(Event::Cancelled, now);
        }
    }

    /// Whether nothing new is to be started. Looked at before anything is: an answer may have come at the very moment at which time
    /// ran out.
    fn is_cut(&mut self, deadline: Option<Tick>, now: Now) -> bool {
        if deadline.is_some_and(|deadline| now.tick >= deadline) {
            self.cut("the deadline has passed", now);
        }
        if self.cut_at.is_some() {
            self.skip_credentials(now);
        }
        self.cut_at.is_some()
    }

    /// A time has come; `true`: calls under way are given up.
    fn woke(&mut self, now: Now) -> bool {
        if self.cut_at.is_some_and(|end| now.tick >= end) {
            return true;
        }
        self.machine.handle(Event::Woke, now);
        false
    }
}

/// When edges are to be probed for each change whose manifest asks for it, in milliseconds after its acceptance.
fn owed_proofs(inputs: &ExecutorInputs<'_>) -> HashMap<usize, i64> {
    let ExecutorInputs { model, changes, .. } = inputs;
    if model.proof_terms.iter().all(|terms| terms.verify.is_none()) {
        return HashMap::new();
    }
    let owes = |index: usize| {
        let settle_ms = changes.terms(index, model)?.verify.as_ref()?.settle_ms;
        let effect_ms = model.providers[changes.provider(index)].kind.capabilities().effect_ms;
        Some((index, i64::try_from(settle_ms + effect_ms).unwrap_or(i64::MAX)))
    };
    (0..changes.len()).filter_map(owes).collect()
}

async fn sleep(host: &Host, until: Option<Tick>) {
    if let Some(tick) = until {
        host.clock.sleep_until(tick).await;
    }
}

fn accepted_in(records: &[Record]) -> impl Iterator<Item = usize> {
    records
        .iter()
        .flat_map(|record| match record {
            Record::Outcome { items, .. } => items.as_slice(),
            _ => &[],
        })
        .filter(|(_, outcome)| matches!(outcome, ItemOutcome::Recorded { .. }))
        .map(|(index, _)| *index)
}

/// Makes sure of the credentials before a call takes its turn, so that waiting for them does not bunch calls together.
/// Where that fails the call itself shows it.
async fn await_credentials(host: &Host, inputs: &ExecutorInputs<'_>, id: CallId, provider: Option<usize>) -> CallId {
    if let Some(provider) = provider {
        let _ = inputs.credentials.get(&inputs.model.providers[provider], host.clock.now().wall).await;
    }
    id
}

struct Completed {
    id: CallId,
    ending: Ending,
    panicked: bool,
}

#[derive(Clone)]
struct SentCall {
    prepared: Arc<PreparedCall>,
    sent: Now,
}

struct PreparedCall {
    provider: usize,
    call: Call,
    changes: usize,
}

fn prepare(machine: &Apply<'_>, inputs: &ExecutorInputs<'_>, id: CallId) -> Option<PreparedCall> {
    let view = machine.call(id)?;
    let endpoint = inputs.model.providers[view.provider].endpoints[view.endpoint].clone();
    let targets = match view.directory {
        Some(directory) => vec![directory.clone()],
        None => view.items.iter().map(|&index| inputs.changes.target(index)).collect(),
    };
    let (headers, id) = (view.headers.to_vec(), view.id.to_owned());
    let call = Call { operation: view.operation, endpoint, targets, headers, id };
    Some(PreparedCall { provider: view.provider, call, changes: view.items.len() })
}

fn report(run: i64, prepared: &PreparedCall, ending: &Ending, (sent, ended): (Now, Now)) -> CallReport {
    let PreparedCall { provider, call, changes } = prepared;
    let refused = match ending {
        Ending::Accepted(reply) => reply.refused.iter().map(|(target, error)| (*target, error.summary())).collect(),
        _ => Vec::new(),
    };
    let (outcome, code, request_id, result) = match ending {
        Ending::Accepted(reply) => {
            let code = reply.not_cached.map(|status| format!("HTTP {status}"));
            ("accepted", code, reply.request_id.clone(), Ok(reply.task_ids.clone()))
        }
        Ending::Refused(error) | Ending::Renewed(error) => {
            (error.class.word(), Some(error.code.clone()), error.request_id.clone(), Err(error.summary()))
        }
        Ending::Failed(failure) => (failure.kind.word(), None, None, Err(failure.message.clone())),
    };
    CallReport {
        run,
        provider: *provider,
        endpoint: call.endpoint.clone(),
        operation: call.operation.name,
        changes: *changes,
        sent,
        ended,
        outcome,
        code,
        not_cached: matches!(ending, Ending::Accepted(Reply { not_cached: Some(_), .. })),
        request_id,
        result,
        refused,
    }
}

/// Makes calls.
struct Caller<'a> {
    host: &'a Host,
    inputs: &'a ExecutorInputs<'a>,
    redactor: Redactor,
}

impl Caller<'_> {
    /// One call from credentials to decoded answer. A panic on the way ends this call and nothing else.
    async fn complete(&self, id: CallId, sent_call: SentCall, nonce: u128) -> Completed {
        let PreparedCall { provider, call, .. } = &*sent_call.prepared;
        let completed = AssertUnwindSafe(self.call(*provider, call, nonce)).catch_unwind().await;
        let panicked = completed.is_err();
        let ending = completed.unwrap_or_else(|_| {
            Ending::Refused(refusal(
                ErrorClass::Request,
                "internal error",
                "a defect of freshen; please report it".into(),
            ))
        });
        Completed { id, ending, panicked }
    }

    async fn call(&self, provider: usize, call: &Call, nonce: u128) -> Ending {
        let Self { host, inputs, redactor } = self;
        let config = &inputs.model.providers[provider];
        let line = CallContext { host, credentials: inputs.credentials, config, redactor, timeouts: inputs.timeouts };
        let build = |account: &Account, credentials: &Credentials, stamp: &Stamp| {
            config.kind.encode(call, account, credentials, stamp)
        };
        let read = |account: &Account, response: &Response, hide: &Hide<'_>| {
            let mut reply = config.kind.decode(call, account, response)?;
            // Task ids are stored and shown.
            reply.task_ids.iter_mut().chain(&mut reply.request_id).for_each(hide);
            for (_, CallError { code, message, request_id, .. }) in &mut reply.refused {
                [code, message].into_iter().chain(request_id).for_each(hide);
            }
            Ok(reply)
        };
        match request::send_request(line, nonce, build, read).await {
            Ok(reply) => Ending::Accepted(reply),
            Err(RequestError::Failed(failure)) => Ending::Failed(failure),
            Err(RequestError::Refused(error, Some(used))) if error.class == ErrorClass::Auth => {
                let now = host.clock.now().wall;
                if inputs.credentials.renewed(config, &used, now).await {
                    Ending::Renewed(error)
                } else {
                    Ending::Refused(error)
                }
            }
            Err(RequestError::Refused(error, _)) => Ending::Refused(error),
        }
    }
}
