//! Asks origins while a run goes on, and lets the machine go on with what they serve.

use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::core::apply::Apply;
use crate::core::event::Record;
use crate::core::gate::{Gate, GateAction, GateQuestion, ProbeId};
use crate::core::model::Model;
use crate::core::origin;
use crate::core::plan::Job;
use crate::core::probe::Probed;
use crate::core::recorded::Standing;
use crate::core::time::{Now, Tick};
use crate::engine::commits::Commits;
use crate::engine::{Prepared, probing};
use crate::host::{BoxFuture, Host, Timeouts};

/// How long a probe may take to connect and until its first byte, in milliseconds.
const FIRST_BYTE_MS: u64 = 10_000;
/// How long a probe may take as a whole, in milliseconds.
const TOTAL_MS: u64 = 600_000;

/// Whether all that is planned waits for origins since an earlier run, and none of them is ready now; each is asked once.
pub(in crate::engine) async fn all_wait_on(
    host: &Host,
    (model, prepared): (&Model, &Prepared),
    timeouts: Timeouts,
) -> bool {
    let Prepared { plan, difference, .. } = prepared;
    let changes = &difference.changes;
    let is_waiting = |index: usize| matches!(changes.standing(index), Standing::Waiting { .. });
    let mut planned = plan.jobs.iter().flat_map(Job::changes);
    if !planned.all(is_waiting) || plan.calls() == 0 {
        return false;
    }
    let questions = origin::questions(model, changes, plan, 0);
    let is_asked = |index: usize| questions.binary_search_by_key(&index, |(change, _)| *change).is_ok();
    // What waits for a provider upstream waits with that one.
    let mut others = plan.jobs.iter().filter(|job| model.providers[job.provider].upstream.is_none());
    if !others.all(|job| job.changes().all(is_asked)) {
        return false;
    }
    let mut gate = Gate::new(questions, host.seed);
    let mut under_way = FuturesUnordered::new();
    let timeouts = of_probes(timeouts);
    loop {
        match gate.poll(host.clock.now().tick) {
            GateAction::Probe(id, probe) => {
                under_way.push(async move { (id, probing::probe(host, &probe, timeouts).await) });
            }
            GateAction::Release(..) => return false,
            GateAction::Leave(..) => {}
            GateAction::Done => return true,
            GateAction::WakeAt(wake) => tokio::select! {
                biased;
                Some((id, probed)) = under_way.next(), if !under_way.is_empty() => {
                    gate.probed(id, &probed, host.clock.now().tick);
                }
                () = host.clock.sleep_until(wake.unwrap_or_default()), if wake.is_some() => {}
                else => return false,
            },
        }
    }
}

/// How long a probe may take in a run whose calls may take so long.
fn of_probes(calls: Timeouts) -> Timeouts {
    Timeouts {
        connect_ms: FIRST_BYTE_MS.min(calls.connect_ms),
        first_byte_ms: FIRST_BYTE_MS.min(calls.first_byte_ms),
        total_ms: TOTAL_MS,
    }
}

/// The gate of a run with its probes under way.
pub(super) struct Gating<'h> {
    host: &'h Host,
    timeouts: Timeouts,
    gate: Gate,
    under_way: FuturesUnordered<BoxFuture<'h, OriginAnswer>>,
}

/// What an origin answered, asked for a host.
pub(super) struct OriginAnswer {
    id: ProbeId,
    /// What was sent as `Host`.
    pub(super) host: String,
    /// The answer.
    pub(super) probed: Probed,
}

impl<'h> Gating<'h> {
    /// A gate that asks `questions`. `timeouts`: those of calls.
    pub(super) fn new(
        host: &'h Host,
        questions: Vec<(usize, Vec<GateQuestion>)>,
        (seed, timeouts): (u64, Timeouts),
    ) -> Self {
        let gate = Gate::new(questions, seed);
        Self { host, timeouts: of_probes(timeouts), gate, under_way: FuturesUnordered::new() }
    }

    /// Holds changes in the machine until their questions are answered.
    pub(super) fn hold(&self, machine: &mut Apply<'_>) {
        machine.hold(self.gate.held());
    }

    /// Does what the gate wants done now. When to look again, if no probe ends before.
    pub(super) fn drain(&mut self, machine: &mut Apply<'_>, commits: &mut Commits, now: Now) -> Option<Tick> {
        loop {
            match self.gate.poll(now.tick) {
                GateAction::Probe(id, probe) => {
                    let (host, timeouts) = (self.host, self.timeouts);
                    self.under_way.push(Box::pin(async move {
                        let probed = probing::probe(host, &probe, timeouts).await;
                        OriginAnswer { id, host: probe.host, probed }
                    }));
                }
                GateAction::Release(change, validator) => {
                    if commits.owes_proof(change) {
                        commits.gather(Record::Ready { items: vec![change], at: now.wall, validator });
                    }
                    machine.release(change, now);
                }
                GateAction::Leave(change, reason) => machine.wait(change, reason),
                GateAction::WakeAt(tick) => return tick,
                GateAction::Done => return None,
            }
        }
    }

    /// Whether no probe is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// The next probe that ends.
    pub(super) async fn ended(&mut self) -> Option<OriginAnswer> {
        self.under_way.next().await
    }

    /// Takes its answer in.
    pub(super) fn probed(&mut self, answer: &OriginAnswer, now: Now) {
        self.gate.probed(answer.id, &answer.probed, now.tick);
    }

    /// Nothing more is asked.
    pub(super) fn cancel(&mut self) {
        self.gate.cancel();
        self.under_way.clear();
    }
}
