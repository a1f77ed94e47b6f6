//! One run: manifests found and read, the plan, guards, calls, what is recorded.
//!
//! Knows no arguments and no output: options go in, events come out.

mod accounts;
mod addresses;
mod adopt;
mod apply;
pub mod audit;
mod claim;
mod commits;
pub mod compare;
mod desired;
pub mod executor;
mod exit;
mod explain;
mod export;
mod forget;
mod incremental;
pub mod inputs;
mod memory;
mod namespace;
mod pass;
mod prepare;
mod probing;
pub mod prove;
mod provider_answers;
pub mod query;
mod quotas;
mod redact;
mod refusals;
pub mod rehearsal;
mod remaining;
mod request;
mod review;
pub mod selection;
pub mod stat_caches;
mod status;
mod stop;
mod warnings;

pub use crate::core::hold::REFUSED;
pub use accounts::{Accounts, accounts};
pub use addresses::{Located, returned_caches};
pub use adopt::{Adopted, adopt};
pub use apply::{ReadObserver, apply};
pub use claim::{Claim, Claimed, lineage, lock, open_or_create, run_start};
pub use desired::Desired;
pub use exit::Exit;
pub use explain::{ExplainedTarget, FromState, RefusedTarget, explain, explain_from_state};
pub use export::{Imported, export_line, import, ledger_line, proof_line};
pub use forget::{Forgotten, existing, forget};
pub use memory::PassMemory;
pub use pass::{LOOK_UP_MS, OnEvent, Pass, PassEnd, PassEvent, PassOptions, QUERY_MS, Resident};
pub use prepare::{Choice, Prepared, prepare, unread};
pub use provider_answers::{AccountStatus, CredentialStatus, Learned, Results, ask_standings, ask_tasks, learn_quotas};
pub use quotas::{QuotaStanding, quotas};
pub use refusals::{leave_out_refused, refusals};
pub use remaining::{DeferredLeft, OldestLeft, Remaining};
pub use review::review;
pub use selection::Selection;
pub use status::{Overview, Refreshed, refresh};
pub use stop::{Reason, Stop, exit_of};
pub use warnings::warnings;

use std::collections::BTreeSet;

use tokio::sync::watch;

use executor::{ExecutorInputs, INTERRUPTED, Observe, Outcome};

use crate::core::budget::LastCalls;
use crate::core::changes::Changes;
use crate::core::diff::{Difference, Unclaimed};
use crate::core::event::ItemState;
use crate::core::gate::GateQuestion;
use crate::core::origin;
use crate::core::recorded::Wait;
use crate::core::states::States;
use crate::host::credentials::CredentialStore;
use crate::host::{Host, Timeouts};
use crate::state::{Counts, RunStart, StateError, Store};

/// One run on a store, real or scratch.
pub struct Run<'a> {
    /// Effects.
    pub host: &'a Host,
    /// The manifests.
    pub desired: &'a Desired,
    /// The plan.
    pub prepared: &'a Prepared,
    /// The process that runs.
    pub start: RunStart,
    /// Nothing is started after so many milliseconds.
    pub deadline_ms: Option<u64>,
    /// How long one call may take.
    pub timeouts: Timeouts,
    /// Credentials of all providers.
    pub credentials: &'a CredentialStore,
    /// The accounts that were found, by which it was planned.
    pub accounts: &'a Accounts,
    /// Turns true when the user wants the run to end.
    pub interrupted: watch::Receiver<bool>,
    /// How long calls under way then get to end, in milliseconds.
    pub grace_ms: u64,
    /// When calls left before this run, as far as this process knows.
    pub last_calls: LastCalls,
    /// What only waits for quota counts as done.
    pub deferred_ok: bool,
    /// How long origins are waited for at most, in milliseconds; `None`: they are not asked.
    pub wait_for_origins_ms: Option<u64>,
}

/// A run that came to its end.
pub struct Finished<'a> {
    /// The manifests.
    pub desired: &'a Desired,
    /// The plan.
    pub prepared: &'a Prepared,
    /// What came of it.
    pub outcome: Outcome,
    /// Providers without credentials, by index, with the reason.
    pub unavailable: Vec<(usize, String)>,
    /// How it ends.
    pub exit: Exit,
}

impl<'a> Finished<'a> {
    /// A run that had nothing to do.
    pub fn nothing(desired: &'a Desired, prepared: &'a Prepared) -> Self {
        let outcome = Outcome::default();
        Self::with(desired, prepared, outcome)
    }

    /// A run that left everything as it was.
    pub fn untouched(desired: &'a Desired, prepared: &'a Prepared) -> Self {
        let changes = &prepared.difference.changes;
        let states = (0..changes.len()).map(|index| ItemState::from(changes.standing(index))).collect();
        Self::with(desired, prepared, Outcome { states, ..Outcome::default() })
    }

    /// A run that the user ended before it sent anything.
    pub fn interrupted(desired: &'a Desired, prepared: &'a Prepared) -> Self {
        let mut finished = Self::untouched(desired, prepared);
        finished.outcome.cut_short = Some(INTERRUPTED.to_owned());
        finished
    }

    fn with(desired: &'a Desired, prepared: &'a Prepared, outcome: Outcome) -> Self {
        let mut finished = Self { desired, prepared, outcome, unavailable: Vec::new(), exit: Exit::Done };
        finished.exit = exit_of_run(&finished, false);
        finished
    }

    /// Changes that were accepted in this run, by index.
    pub fn accepted(&self) -> impl Iterator<Item = usize> {
        let states = self.outcome.states.iter().enumerate();
        states.filter(|(_, state)| matches!(state, ItemState::Recorded)).map(|(index, _)| index)
    }

    /// Manifests that are not read any more and own nothing now.
    pub fn departed(&self) -> Vec<String> {
        let Difference { changes, departed, .. } = &self.prepared.difference;
        let mut departed: BTreeSet<&String> = departed.iter().collect();
        for (index, state) in self.outcome.states.iter().enumerate() {
            if !departed.is_empty() && *state != ItemState::Recorded {
                changes.owners(index).iter().for_each(|owner| {
                    departed.remove(owner);
                });
            }
        }
        departed.into_iter().cloned().collect()
    }

    /// Numbers of changes by where they stand, as the state has them; `provider` narrows it down.
    pub fn counts(&self, provider: Option<usize>) -> Counts {
        let changes = &self.prepared.difference.changes;
        let mut counts = counts(changes, &self.outcome.states, provider);
        let of_it = |index: &&usize| provider.is_none_or(|provider| changes.provider(**index) == provider);
        // Several endpoints may have accepted the same.
        let lost: BTreeSet<&usize> = self.outcome.unrecorded.iter().filter(of_it).collect();
        let lost = lost.into_iter().filter(|index| *self.outcome.states.get(**index) == ItemState::Recorded).count();
        counts.recorded -= lost as u64;
        counts.pending += lost as u64;
        counts
    }
}

impl<'a> Run<'a> {
    /// Marks what is due, purges it, records what was accepted. `observe` sees each call as it ends. Also returns the store.
    ///
    /// # Errors
    /// A state that cannot be written before anything was sent, or once all is done; in between the outcome shows it.
    pub async fn execute(
        &self,
        mut store: Box<dyn Store>,
        observe: &mut Observe<'_>,
    ) -> (Box<dyn Store>, Result<Finished<'a>, StateError>) {
        let Self { desired, prepared, .. } = *self;
        let model = &desired.model;
        // A provider that was not asked for lack of time is not to blame.
        let is_over = self.deadline_ms == Some(0);
        let unavailable = if is_over { Vec::new() } else { self.accounts.unavailable(&prepared.plan) };
        let run = match self.begin(&mut *store) {
            Ok(run) => run,
            Err(error) => return (store, Err(error)),
        };
        let inputs = ExecutorInputs {
            model,
            changes: &prepared.difference.changes,
            plan: &prepared.plan,
            grounds: &desired.grounds(self.accounts.all()),
            credentials: self.credentials,
            unavailable: &unavailable,
            run,
            deadline: self.deadline_ms.map(|ms| self.host.clock.now().tick.plus_ms(ms)),
            timeouts: self.timeouts,
            grace_ms: self.grace_ms,
            last_calls: self.last_calls.clone(),
            questions: self.questions(),
            interrupted: self.interrupted.clone(),
        };
        let (mut store, outcome) = executor::apply(self.host, store, inputs, observe).await;
        let mut finished = Finished { desired, prepared, outcome, unavailable, exit: Exit::Done };
        finished.exit = exit_of_run(&finished, self.deferred_ok);
        if finished.outcome.state_error.is_none() {
            let counts = finished.counts(None);
            let exit = i64::from(finished.exit.code());
            let end = store.finish_run(run, self.host.clock.now().wall, exit, finished.outcome.calls, counts);
            finished.outcome.state_error = end.and_then(|()| forget_departed(&mut *store, &finished)).err();
        }
        if let Some(StateError::Replaced { .. }) = finished.outcome.state_error {
            // What was committed before went to a file that nobody will read again.
            finished.outcome.unrecorded = finished.accepted().collect();
        }
        finished.exit = exit_of_run(&finished, self.deferred_ok);
        (store, Ok(finished))
    }

    /// What origins have to answer before purges leave.
    fn questions(&self) -> Vec<(usize, Vec<GateQuestion>)> {
        let Prepared { difference, plan, .. } = self.prepared;
        let most_wait_ms = self.wait_for_origins_ms;
        most_wait_ms.map_or_else(Vec::new, |ms| origin::questions(&self.desired.model, &difference.changes, plan, ms))
    }

    /// Marks what is due and begins a run in the state.
    fn begin(&self, store: &mut dyn Store) -> Result<i64, StateError> {
        let model = &self.desired.model;
        let now = self.host.clock.now().wall;
        // Before the manifests count as compared: later runs need not read them.
        store.note_caches(&self.desired.found_caches(), now)?;
        store.mark(model, &self.prepared.difference, now)?;
        let run = store.begin_run(&self.start, &self.accounts.found(model), self.accounts.all())?;
        store.note_quota_terms(&self.accounts.quota_terms(model))?;
        Ok(run)
    }
}

/// Forgets manifests that are not read any more and own nothing now: each run would look for what they list.
///
/// # Errors
/// A state that cannot be written.
pub fn forget_departed(store: &mut dyn Store, finished: &Finished<'_>) -> Result<(), StateError> {
    let departed = finished.departed();
    if departed.is_empty() { Ok(()) } else { store.forget_manifests(&departed) }
}

/// `deferred_ok`: what only waits for quota counts as done.
fn exit_of_run(finished: &Finished<'_>, deferred_ok: bool) -> Exit {
    let outcome = &finished.outcome;
    let counts = finished.counts(None);
    let mut all: Vec<Exit> = (!finished.prepared.refusals.is_empty()).then_some(Exit::Refused).into_iter().collect();
    if !finished.unavailable.is_empty() {
        all.push(Exit::BadInput);
    }
    if outcome.stops.iter().any(|stop| stop.credentials) {
        all.push(Exit::Credentials);
    }
    if outcome.panicked || outcome.observer_error.is_some() {
        all.push(Exit::Failed);
    }
    all.extend(outcome.state_error.as_ref().map(Exit::of_state));
    let Difference { unclaimed, orphans, .. } = &finished.prepared.difference;
    let is_orphaned = unclaimed.iter().any(Unclaimed::is_certain) || orphans.iter().any(|orphans| orphans.pending > 0);
    let waits = |state: &&ItemState| deferred_ok && matches!(state, ItemState::Deferred(_, _, Wait::Quota));
    if counts.left() > outcome.states.iter().filter(waits).count() as u64 || is_orphaned {
        all.push(Exit::NotAllDone);
    }
    Exit::worst(all)
}

/// Numbers of changes by where they stand; `provider` narrows it down.
pub fn counts(changes: &Changes, states: &States, provider: Option<usize>) -> Counts {
    let mut counts = Counts::default();
    for (index, state) in states.iter().enumerate() {
        if provider.is_some_and(|provider| provider != changes.provider(index)) {
            continue;
        }
        *match state {
            ItemState::Recorded => &mut counts.recorded,
            ItemState::Waiting(_) => &mut counts.waiting,
            ItemState::Pending(_) => &mut counts.pending,
            ItemState::Deferred(..) => &mut counts.deferred,
            ItemState::Rejected(_) => &mut counts.rejected,
        } += 1;
    }
    counts
}
