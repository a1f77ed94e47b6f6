//! What a run of the watch says, is told and leaves: into the log, the report and the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::{Notify, watch};

use super::left;
use super::log::{line, whole};
use crate::cli::exit::Exit;
use crate::cli::pass::Side;
use crate::cli::render::outcome::warnings;
use crate::core::budget::LastCalls;
use crate::core::diff::Removals;
use crate::core::event::ItemState;
use crate::core::http::{Endpoint, TransportFailureKind};
use crate::core::recorded::Standing;
use crate::core::removal_window::RemovalWindow;
use crate::core::report::{ProviderReport, Report, TargetReport};
use crate::core::time::{Tick, Timestamp};
use crate::core::watch::{Order, ProviderEnd};
use crate::engine::executor::CallReport;
use crate::engine::{Desired, Finished, Left, Prepared};
use crate::host::Host;
use crate::state::{Counts, Identity, StateError, Store};

/// Vendors are asked for their count of a quota at most this often, in milliseconds: the question comes before the purge.
const ASK_QUOTAS_MS: u64 = 600_000;

/// Targets that were refused for good are named one by one up to so many of a run; `freshen status` shows all.
const MOST_REJECTED: usize = 20;

/// What a run and the loop that started it tell each other.
pub(super) struct Link {
    /// Folders are looked through or files are read, and nothing else has been done.
    pub(super) reading: AtomicBool,
    /// Calls begin.
    pub(super) sending: Notify,
    /// Turns true when nothing more is to be sent.
    pub(super) cut: watch::Sender<bool>,
}

impl Link {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { reading: AtomicBool::new(true), sending: Notify::new(), cut: watch::channel(false).0 })
    }

    /// What a run listens to: it hears also what was told before it began to listen.
    fn interrupted(&self) -> watch::Receiver<bool> {
        let mut receiver = self.cut.subscribe();
        receiver.mark_changed();
        receiver
    }
}

/// Most endpoints that are remembered as silent; beyond that they are named again.
const MOST_SILENT: usize = 1000;

/// What one run has to know of those before it.
#[derive(Default)]
pub(super) struct Calls {
    last: LastCalls,
    /// The state as it was when our last run ended: nobody else has sent anything if it still is.
    identity: Option<Identity>,
    quotas_asked_at: Option<Tick>,
    removals: RemovalWindow,
    /// What was noted and is not to be noted again.
    noted: Option<String>,
    /// Endpoints from which the last call got no answer.
    silent: BTreeSet<Endpoint>,
}

impl Calls {
    /// Whether this call got no answer from an endpoint that answered before.
    fn falls_silent(&mut self, call: &CallReport) -> bool {
        if is_unanswered(call) {
            // Addresses of caches come and go.
            if self.silent.len() >= MOST_SILENT {
                self.silent.clear();
            }
            return self.silent.insert(call.endpoint.clone());
        }
        self.silent.remove(&call.endpoint);
        false
    }

    /// The state as it was when our last run ended.
    pub(super) const fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Whether the state is as our last run left it.
    pub(super) fn is_alone(&self, store: &dyn Store) -> bool {
        self.identity.is_some() && store.identity().ok() == self.identity
    }

    /// Lets `write` change the state beside any run: that is nobody else.
    pub(super) fn alone<T>(&mut self, store: &mut dyn Store, write: impl FnOnce(&mut dyn Store) -> T) -> T {
        let is_alone = self.is_alone(store);
        let written = write(store);
        if is_alone {
            self.identity = store.identity().ok();
        }
        written
    }
}

/// Whether no answer came, as opposed to no connection, or an answer that says little.
fn is_unanswered(call: &CallReport) -> bool {
    call.result.is_err() && call.code.is_none() && call.outcome == TransportFailureKind::Unknown.word()
}

/// What came of a run.
#[derive(Default)]
pub(super) struct Came {
    /// Its number in the state, once that counts it: it sends something, or would.
    pub(super) run: Option<i64>,
    /// What is left at providers with work.
    pub(super) left: Vec<Left>,
    pub(super) counts: Counts,
    pub(super) calls: u64,
    /// The state could not be written any more.
    pub(super) trouble: Option<String>,
    /// How it would end as a command.
    pub(super) exit: Option<Exit>,
}

impl Came {
    /// What the machine is told of the providers with work.
    pub(super) fn ends(&self) -> Vec<ProviderEnd> {
        self.left.iter().map(|left| left.end.clone()).collect()
    }
}

/// The watch's side of a pass.
pub(super) struct WatchSide<'a> {
    pub(super) host: &'a Host,
    pub(super) pass: u64,
    pub(super) order: &'a Order,
    pub(super) link: &'a Link,
    pub(super) report: &'a watch::Sender<Report>,
    pub(super) calls: &'a mut Calls,
    pub(super) came: Came,
    /// Whether the last call to each provider that was called was accepted, by index.
    last_accepted: BTreeMap<usize, bool>,
    /// What a guard keeps from being sent, while the rest is tried.
    refused: Refused,
}

/// What a guard refuses: it is pending as well.
#[derive(Default)]
struct Refused {
    /// By index of the provider: how many, and when the oldest was first seen.
    left: BTreeMap<usize, (u64, Option<Timestamp>)>,
    targets: Arc<[TargetReport]>,
}

impl<'a> WatchSide<'a> {
    pub(super) fn new(
        (host, pass, order): (&'a Host, u64, &'a Order),
        link: &'a Link,
        report: &'a watch::Sender<Report>,
        calls: &'a mut Calls,
    ) -> Self {
        let (came, last_accepted, refused) = (Came::default(), BTreeMap::new(), Refused::default());
        Self { host, pass, order, link, report, calls, came, last_accepted, refused }
    }

    /// What is left at each provider, by index.
    fn left(&self, finished: &Finished<'_>) -> Vec<Left> {
        let last_accepted = |provider| self.last_accepted.get(&provider).copied();
        let providers = 0..finished.desired.model.providers.len();
        providers.map(|provider| Left::of(finished, provider, self.order, last_accepted(provider))).collect()
    }

    /// Names what was refused for good, which no later run tries.
    fn tell_rejected(&self, finished: &Finished<'_>) {
        let changes = &finished.prepared.difference.changes;
        let mut told = 0;
        for (index, state) in finished.outcome.states.iter().enumerate() {
            let ItemState::Rejected(reason) = state else { continue };
            if matches!(changes.standing(index), Standing::Rejected { .. }) {
                continue;
            }
            told += 1;
            if told <= MOST_REJECTED {
                let provider = &finished.desired.model.providers[changes.provider(index)].name;
                let target = line(&changes.target(index).text);
                tracing::warn!(pass = self.pass, run = self.came.run, provider, target, "rejected: {}", line(reason));
            }
        }
        if told > MOST_REJECTED {
            let more = told - MOST_REJECTED;
            tracing::warn!(
                pass = self.pass,
                run = self.came.run,
                more,
                "more were rejected; `freshen status` names them"
            );
        }
    }

    /// Puts into the report what is left, and returns that.
    fn tell_left(&self, finished: &Finished<'_>) -> Vec<Left> {
        let left = self.left(finished);
        let targets = left::merge(&left::oldest(finished), &self.refused.targets);
        self.report.send_modify(|report| {
            report.targets = targets;
            let known = std::mem::take(&mut report.providers);
            for (provider, left) in left.iter().enumerate() {
                let mut of_now = report_of(finished.desired, provider, left);
                if let Some((pending, oldest)) = self.refused.left.get(&provider) {
                    of_now.pending += pending;
                    of_now.oldest = of_now.oldest.into_iter().chain(*oldest).min();
                }
                if let Some(known) = known.get(&left.end.name) {
                    (of_now.retry_at, of_now.failures) = (known.retry_at, known.failures);
                }
                report.providers.insert(left.end.name.clone(), of_now);
            }
        });
        left
    }

    /// Logs what no run speaks for, once while it stays the same.
    fn log_unclaimed(&mut self, finished: &Finished<'_>) {
        let unclaimed: Vec<String> =
            finished.prepared.difference.unclaimed.iter().map(|one| line(&one.to_string())).collect();
        let is_news = self.report.borrow().unclaimed != unclaimed;
        if is_news {
            for one in &unclaimed {
                tracing::warn!(pass = self.pass, run = finished.outcome.run, "{one}");
            }
            self.report.send_modify(|report| report.unclaimed = unclaimed);
        }
    }

    /// Tells what to look at though nothing failed.
    fn tell_warnings(&self, finished: &Finished<'_>) {
        for warning in warnings(finished.desired, &finished.outcome) {
            tracing::warn!(pass = self.pass, run = finished.outcome.run, "{}", line(&warning));
        }
    }

    /// Tells what was accepted but not recorded, a record each, as `apply` tells it; where the state is another one now, a
    /// file beside it lists them.
    fn tell_unrecorded(&self, finished: &Finished<'_>) {
        let Some(error) = &finished.outcome.state_error else { return };
        let unrecorded: BTreeSet<usize> = finished.outcome.unrecorded.iter().copied().collect();
        if unrecorded.is_empty() {
            return;
        }
        let (pass, run, targets) = (self.pass, finished.outcome.run, unrecorded.len());
        tracing::error!(pass, run, targets, "accepted but not recorded, so sent again: {}", line(&error.to_string()));
        if matches!(error, StateError::Replaced { .. } | StateError::Overtaken { .. }) {
            return;
        }
        for index in unrecorded {
            let change = finished.prepared.difference.changes.get(index);
            let provider = &finished.desired.model.providers[change.provider].name;
            tracing::error!(pass, run, provider, target = whole(&change.target.text), "accepted but not recorded");
        }
    }
}

fn report_of(desired: &Desired, provider: usize, left: &Left) -> ProviderReport {
    ProviderReport {
        kind: desired.model.providers[provider].kind.capabilities().kind.to_owned(),
        pending: left.counts.pending,
        deferred: left.counts.deferred,
        rejected: left.counts.rejected,
        oldest: left.oldest,
        deferred_until: left.end.deferred_until,
        reason: left.reason.clone(),
        ..ProviderReport::default()
    }
}

/// Why a run ended early that would end so again at once: the state or the audit log cannot be written.
fn trouble_of(finished: &Finished<'_>) -> Option<String> {
    let unwritten = || Some(format!("a call could not be written down: {}", finished.outcome.observer_error.as_ref()?));
    finished.outcome.state_error.as_ref().map(ToString::to_string).or_else(unwritten)
}

impl Side for WatchSide<'_> {
    fn note(&mut self, text: &str) {
        tracing::info!(pass = self.pass, run = self.came.run, "{}", line(text));
    }

    fn note_once(&mut self, text: &str) {
        if self.calls.noted.as_deref() != Some(text) {
            self.note(text);
            self.calls.noted = Some(text.to_owned());
        }
    }

    fn error(&mut self, text: &str) {
        tracing::error!(pass = self.pass, run = self.came.run, "{}", line(text));
    }

    fn begins(&mut self, store: Option<&dyn Store>) -> LastCalls {
        if !store.is_some_and(|store| self.calls.is_alone(store)) {
            // Somebody else may have sent a call a moment ago.
            self.calls.last = LastCalls::since(self.host.clock.now().tick);
            // Nor do we know what somebody else allowed.
            self.calls.removals.others_ran();
        }
        self.calls.last.clone()
    }

    fn weigh(&mut self, removals: &mut [Removals]) {
        self.calls.removals.add_up(removals, self.host.clock.now().tick);
    }

    fn retries_refused(&self) -> bool {
        true
    }

    fn turned_back(&mut self, desired: &Desired, prepared: &Prepared) {
        self.calls.removals.refused();
        self.tell_left(&Finished::untouched(desired, prepared));
        let refused = Finished::refused(desired, prepared);
        let left = self.left(&refused).into_iter().enumerate();
        self.refused = Refused {
            left: left.map(|(provider, left)| (provider, (left.counts.pending, left.oldest))).collect(),
            targets: left::oldest(&refused),
        };
    }

    fn marked(&mut self, store: Option<&dyn Store>) {
        self.calls.identity = store.and_then(|store| store.identity().ok());
    }

    fn order(&self) -> Option<&Order> {
        Some(self.order)
    }

    fn skips_known(&self) -> bool {
        true
    }

    fn asks_quotas(&mut self) -> bool {
        let now = self.host.clock.now().tick;
        let due = self.calls.quotas_asked_at.is_none_or(|at| now.since(at) >= ASK_QUOTAS_MS);
        if due {
            self.calls.quotas_asked_at = Some(now);
        }
        due
    }

    fn cut(&self) -> Option<watch::Receiver<bool>> {
        Some(self.link.interrupted())
    }

    fn sending(&mut self, desired: &Desired, prepared: &Prepared) -> watch::Receiver<bool> {
        let (targets, purges) = (prepared.plan.targets(), prepared.plan.purges() as u64);
        tracing::debug!(pass = self.pass, manifests = desired.manifests(), targets, "sending");
        // It may take long, and what it has not purged yet is pending.
        self.tell_left(&Finished::untouched(desired, prepared));
        self.report.send_modify(|report| {
            if let Some(running) = &mut report.running {
                running.purges = purges;
            }
        });
        self.link.sending.notify_one();
        self.link.interrupted()
    }

    fn called(&mut self, desired: &Desired, call: &CallReport) {
        let config = &desired.model.providers[call.provider];
        let provider = &config.name;
        self.last_accepted.insert(call.provider, call.result.is_ok());
        // Where there are several, one that accepts is not enough.
        let settles = config.endpoints.len() == 1;
        self.came.run = Some(call.run);
        self.report.send_modify(|report| {
            if let Some(running) = &mut report.running {
                running.run = Some(call.run);
            }
            report.called(provider, call.outcome, call.changes, settles);
            if call.not_cached {
                report.not_cached(provider, call.changes);
            }
        });
        let ms = call.ended.tick.since(call.sent.tick);
        let (pass, run, targets, outcome) = (self.pass, call.run, call.changes, call.outcome);
        let falls_silent = self.calls.falls_silent(call);
        match &call.result {
            Ok(_) => tracing::debug!(pass, run, provider, targets, outcome, ms, "call"),
            Err(why) if falls_silent => {
                let endpoint = line(&call.endpoint.to_string());
                tracing::warn!(pass, run, provider, targets, outcome, ms, "no answer from {endpoint}: {}", line(why));
            }
            Err(why) => tracing::debug!(pass, run, provider, targets, outcome, ms, "call: {}", line(why)),
        }
    }

    fn finished(&mut self, finished: &Finished<'_>, store: Option<&dyn Store>) {
        let left = self.tell_left(finished);
        self.log_unclaimed(finished);
        self.came = Came {
            run: finished.outcome.run,
            left: Vec::new(),
            counts: finished.counts(None),
            calls: finished.outcome.calls,
            trouble: trouble_of(finished),
            exit: Some(finished.exit),
        };
        self.tell_unrecorded(finished);
        self.tell_warnings(finished);
        let (quotas, rates) = left::limits(finished, store);
        self.report.send_modify(|report| {
            report.quotas.extend(quotas);
            report.rates.extend(rates);
        });
        self.tell_rejected(finished);
        self.came.left = left.into_iter().filter(Left::is_work).collect();
        if finished.outcome.calls > 0 || finished.outcome.state_error.is_some() {
            self.calls.last = finished.outcome.last_calls.clone();
        }
        self.calls.identity = store.and_then(|store| store.identity().ok());
    }
}

#[cfg(test)]
mod tests {
    use super::Link;

    /// C14: a stop that comes before a run has taken its first step waits for nothing that it would read.
    #[test]
    fn a_run_begins_with_reading() {
        assert!(Link::new().reading.load(std::sync::atomic::Ordering::Acquire));
    }

    /// C14: a run that is stopped while it still reads manifests sends nothing.
    #[test]
    fn a_stop_before_the_first_call_is_heard() {
        let link = Link::new();
        link.cut.send_replace(true);
        let interrupted = link.interrupted();
        assert!(interrupted.has_changed().unwrap() && *interrupted.borrow());
    }
}
