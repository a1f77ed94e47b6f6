//! What happens in a pass of the daemon, for the log, for the report and for the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::{Notify, watch};

use super::remaining;
use super::{Reporter, log_line, log_whole};
use crate::core::command_line::{CommandLine, Verb};
use crate::core::event::ItemState;
use crate::core::http::{Endpoint, TransportFailureKind};
use crate::core::recorded::Standing;
use crate::core::report::{CallEvent, ProviderReport, ReportEvent};
use crate::core::time::Timestamp;
use crate::core::watch::{ProviderEnd, RunRequest};
use crate::engine::executor::CallReport;
use crate::engine::{Desired, Exit, Finished, PassEvent, Prepared, Reason, Remaining, warnings};
use crate::state::{Counts, StateError};

/// Targets that were refused for good are named one by one up to so many of a run; `freshen status` shows all.
const MOST_REJECTED: usize = 20;
/// Most endpoints that are remembered as silent; beyond that they are named again.
const MOST_SILENT: usize = 1000;

/// What a run and the loop that started it share.
pub(super) struct CycleControl {
    /// Folders are listed or files are read, and nothing else has been done.
    pub(super) reading: AtomicBool,
    /// Calls begin.
    pub(super) sending: Notify,
    /// Turns true when nothing more is to be sent.
    pub(super) cut: watch::Sender<bool>,
}

impl CycleControl {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { reading: AtomicBool::new(true), sending: Notify::new(), cut: watch::channel(false).0 })
    }

    /// What a run listens to: it hears also what was said before it began to listen.
    pub(super) fn interrupted(&self) -> watch::Receiver<bool> {
        let mut receiver = self.cut.subscribe();
        receiver.mark_changed();
        receiver
    }
}

/// What was logged once and is not logged again as long as it stays so.
#[derive(Debug, Default)]
pub(super) struct Silent {
    /// The run that was stopped before its end.
    unfinished: Option<Timestamp>,
    /// Endpoints from which the last call got no answer.
    endpoints: BTreeSet<Endpoint>,
}

impl Silent {
    /// Whether this call got no answer from an endpoint that answered before.
    fn falls_silent(&mut self, call: &CallReport) -> bool {
        if is_unanswered(call) {
            // Addresses of caches come and go.
            if self.endpoints.len() >= MOST_SILENT {
                self.endpoints.clear();
            }
            return self.endpoints.insert(call.endpoint.clone());
        }
        self.endpoints.remove(&call.endpoint);
        false
    }
}

/// Whether no answer came, as opposed to no connection, or an answer that says little.
fn is_unanswered(call: &CallReport) -> bool {
    call.result.is_err() && call.code.is_none() && call.outcome == TransportFailureKind::Unknown.word()
}

/// What a run came to, in numbers.
#[derive(Default)]
pub(super) struct Counted {
    /// Its number in the state, once that counts it: it sends something, or would.
    pub(super) run: Option<i64>,
    /// What is left at providers with work.
    pub(super) left: Vec<Remaining>,
    pub(super) counts: Counts,
    pub(super) calls: u64,
    /// The state, or the audit log, could not be written any more.
    pub(super) failure: Option<String>,
    /// How it would end as a command.
    pub(super) exit: Option<Exit>,
    /// Why guards refuse it, or a part of it.
    pub(super) refusals: Vec<Reason>,
    /// Targets that are left for that.
    pub(super) refused: u64,
}

impl Counted {
    /// What the machine is given of the providers with work.
    pub(super) fn ends(&self) -> Vec<ProviderEnd> {
        self.left.iter().map(|left| left.end.clone()).collect()
    }
}

/// Takes the events of one pass.
pub(super) struct CycleEvents<'a> {
    pass: u64,
    request: &'a RunRequest,
    link: &'a CycleControl,
    reporter: &'a Reporter,
    commands: &'a CommandLine,
    silent: &'a mut Silent,
    pub(super) counted: Counted,
    /// Whether the last call to each provider that was called was accepted, by index.
    last_accepted: BTreeMap<usize, bool>,
}

impl<'a> CycleEvents<'a> {
    pub(super) fn new(
        (pass, request): (u64, &'a RunRequest),
        link: &'a CycleControl,
        reporter: &'a Reporter,
        commands: &'a CommandLine,
        silent: &'a mut Silent,
    ) -> Self {
        let (counted, last_accepted) = (Counted::default(), BTreeMap::new());
        Self { pass, request, link, reporter, commands, silent, counted, last_accepted }
    }

    pub(super) fn takes(&mut self, event: &PassEvent<'_>) {
        let (pass, run) = (self.pass, self.counted.run);
        match event {
            PassEvent::Note(text) | PassEvent::Warning(text) => tracing::info!(pass, run, "{}", log_line(text)),
            PassEvent::Error(text) => tracing::error!(pass, run, "{}", log_line(text)),
            PassEvent::Unfinished(began) => self.unfinished(*began),
            PassEvent::Planning(_) | PassEvent::Planned(..) => {}
            PassEvent::Refused(reasons) => self.counted.refusals = reasons.to_vec(),
            PassEvent::Sending(desired, prepared) => self.sending(desired, prepared),
            PassEvent::Called(desired, call) => self.called(desired, call),
            PassEvent::Finished(finished, _) => self.finished(finished),
        }
    }

    fn unfinished(&mut self, began: Timestamp) {
        if self.silent.unfinished.replace(began) != Some(began) {
            let began = began.utc_minute();
            tracing::info!(
                pass = self.pass,
                "the run that began {began} was stopped before its end; this one goes on from there"
            );
        }
    }

    fn sending(&mut self, desired: &Desired, prepared: &Prepared) {
        let (targets, purges) = (prepared.plan.targets(), prepared.plan.purges() as u64);
        tracing::debug!(pass = self.pass, manifests = desired.manifests(), targets, "sending");
        // It may take long, and what it has not purged yet is pending.
        self.report_left(&Finished::untouched(desired, prepared));
        self.reporter.send(&[ReportEvent::Sending(purges)]);
        self.link.sending.notify_one();
    }

    fn called(&mut self, desired: &Desired, call: &CallReport) {
        let config = &desired.model.providers[call.provider];
        let provider = config.name.as_str();
        self.last_accepted.insert(call.provider, call.result.is_ok());
        self.counted.run = Some(call.run);
        let event = CallEvent {
            run: call.run,
            provider,
            outcome: call.outcome,
            targets: call.changes,
            // Where there are several, one that accepts is not enough.
            settles: config.endpoints.len() == 1,
            not_cached: call.not_cached,
        };
        self.reporter.send(&[ReportEvent::Called(&event)]);
        let ms = call.ended.tick.since(call.sent.tick);
        let (pass, run, targets, outcome) = (self.pass, call.run, call.changes, call.outcome);
        let falls_silent = self.silent.falls_silent(call);
        match &call.result {
            Ok(_) => tracing::debug!(pass, run, provider, targets, outcome, ms, "call"),
            Err(why) if falls_silent => {
                let endpoint = log_line(&call.endpoint.to_string());
                let why = log_line(why);
                tracing::warn!(pass, run, provider, targets, outcome, ms, "no answer from {endpoint}: {why}");
            }
            Err(why) => tracing::debug!(pass, run, provider, targets, outcome, ms, "call: {}", log_line(why)),
        }
    }

    fn finished(&mut self, finished: &Finished<'_>) {
        let left = self.report_left(finished);
        self.log_unclaimed(finished);
        self.counted = Counted {
            run: finished.outcome.run,
            left: Vec::new(),
            counts: finished.counts(None),
            calls: finished.outcome.calls,
            failure: failure_of(finished),
            exit: Some(finished.exit),
            refusals: std::mem::take(&mut self.counted.refusals),
            refused: finished.prepared.plan.refused.len() as u64,
        };
        self.log_unrecorded(finished);
        for warning in warnings(finished.desired, &finished.outcome) {
            tracing::warn!(pass = self.pass, run = finished.outcome.run, "{}", log_line(&warning));
        }
        self.reporter.send(&[ReportEvent::Rates(&remaining::rates(finished))]);
        self.log_rejected(finished);
        self.counted.left = left.into_iter().filter(Remaining::is_work).collect();
    }

    /// What is left at each provider, by index.
    fn left(&self, finished: &Finished<'_>) -> Vec<Remaining> {
        let last_accepted = |provider| self.last_accepted.get(&provider).copied();
        let providers = 0..finished.desired.model.providers.len();
        providers.map(|provider| Remaining::of(finished, provider, self.request, last_accepted(provider))).collect()
    }

    /// Puts into the report what is left, and returns that.
    fn report_left(&self, finished: &Finished<'_>) -> Vec<Remaining> {
        let left = self.left(finished);
        let targets = remaining::oldest(finished);
        let of_provider = |(provider, left): (usize, &Remaining)| {
            (left.end.name.clone(), report_of(finished.desired, provider, left))
        };
        let providers = left.iter().enumerate().map(of_provider).collect();
        self.reporter.send(&[ReportEvent::Left(providers, targets)]);
        left
    }

    /// Logs what no run speaks for, once while it stays the same.
    fn log_unclaimed(&self, finished: &Finished<'_>) {
        let commands = self.commands;
        let unclaimed = finished.prepared.difference.unclaimed.iter().map(|one| log_line(&one.with_way_on(commands)));
        let unclaimed: Vec<String> = unclaimed.collect();
        if self.reporter.unclaimed() != unclaimed {
            for one in &unclaimed {
                tracing::warn!(pass = self.pass, run = finished.outcome.run, "{one}");
            }
            self.reporter.send(&[ReportEvent::Unclaimed(&unclaimed)]);
        }
    }

    /// Names what was refused for good, which no later run tries.
    fn log_rejected(&self, finished: &Finished<'_>) {
        let changes = &finished.prepared.difference.changes;
        let (pass, run) = (self.pass, self.counted.run);
        let mut rejected = 0;
        for (index, state) in finished.outcome.states.iter().enumerate() {
            let ItemState::Rejected(reason) = state else { continue };
            if matches!(changes.standing(index), Standing::Rejected { .. }) {
                continue;
            }
            rejected += 1;
            if rejected <= MOST_REJECTED {
                let provider = &finished.desired.model.providers[changes.provider(index)].name;
                let text = changes.target(index).text;
                let (target, since) = (log_line(&text), changes.since(index).utc_extended());
                let again = self.commands.offer(Verb::Apply, &["--force", &text]);
                let reason = log_line(reason);
                tracing::warn!(
                    pass,
                    run,
                    provider,
                    target,
                    since,
                    "rejected: {reason}; not sent again until its entry or its provider changes, or by {again}"
                );
            }
        }
        if rejected > MOST_REJECTED {
            let more = rejected - MOST_REJECTED;
            let status = self.commands.offer(Verb::Status, &[]);
            tracing::warn!(pass, run, more, "more were rejected; {status} names them");
        }
    }

    /// Logs what was accepted but not recorded, a record each, as `apply` prints it; where the state is another one now, a
    /// file beside it lists them.
    fn log_unrecorded(&self, finished: &Finished<'_>) {
        let Some(error) = &finished.outcome.state_error else { return };
        let unrecorded: BTreeSet<usize> = finished.outcome.unrecorded.iter().copied().collect();
        if unrecorded.is_empty() {
            return;
        }
        let (pass, run, targets) = (self.pass, finished.outcome.run, unrecorded.len());
        let why = log_line(&error.to_string());
        tracing::error!(pass, run, targets, "accepted but not recorded, so sent again: {why}");
        if matches!(error, StateError::Replaced { .. } | StateError::Overtaken { .. }) {
            return;
        }
        for index in unrecorded {
            let change = finished.prepared.difference.changes.get(index);
            let provider = &finished.desired.model.providers[change.provider].name;
            let target = log_whole(&change.target.text);
            tracing::error!(pass, run, provider, target, "accepted but not recorded");
        }
    }
}

fn report_of(desired: &Desired, provider: usize, left: &Remaining) -> ProviderReport {
    ProviderReport {
        kind: desired.model.providers[provider].kind.capabilities().kind.to_owned(),
        waiting: left.counts.waiting,
        oldest_waiting: left.waiting.as_ref().map(|(oldest, _)| oldest.since),
        pending: left.counts.pending,
        deferred: left.counts.deferred,
        rejected: left.counts.rejected,
        oldest: left.oldest,
        deferred_until: left.end.deferred_until,
        last_deferred_until: left.deferred.as_ref().map(|deferred| deferred.last_until),
        reason: left.reason.clone(),
        ..ProviderReport::default()
    }
}

/// Why a run ended early that would end so again at once: the state or the audit log cannot be written.
fn failure_of(finished: &Finished<'_>) -> Option<String> {
    let unwritten = || Some(format!("a call could not be written down: {}", finished.outcome.observer_error.as_ref()?));
    finished.outcome.state_error.as_ref().map(ToString::to_string).or_else(unwritten)
}

#[cfg(test)]
mod tests {
    use super::CycleControl;

    /// C14: a stop that comes before a run has taken its first step waits for nothing that it would read.
    #[test]
    fn a_run_begins_with_reading() {
        assert!(CycleControl::new().reading.load(std::sync::atomic::Ordering::Acquire));
    }

    /// C14: a run that is stopped while it still reads manifests sends nothing.
    #[test]
    fn a_stop_before_the_first_call_is_heard() {
        let link = CycleControl::new();
        link.cut.send_replace(true);
        let interrupted = link.interrupted();
        assert!(interrupted.has_changed().unwrap() && *interrupted.borrow());
    }
}
