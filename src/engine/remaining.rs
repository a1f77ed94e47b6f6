//! What a run left at a provider, for a program that stays up.

use super::Finished;
use crate::core::event::ItemState;
use crate::core::hold::REFUSED;
use crate::core::time::Timestamp;
use crate::core::watch::{ProviderEnd, RunRequest};
use crate::state::Counts;

/// Work that a run left at a provider.
#[derive(Clone, Debug)]
pub struct Remaining {
    /// What the machine of the watch hears.
    pub end: ProviderEnd,
    /// Where its changes stand.
    pub counts: Counts,
    /// When the oldest change that is pending was first seen.
    pub oldest: Option<Timestamp>,
    /// Why, where that is known.
    pub reason: Option<String>,
    /// The oldest change that is pending, and no guard refuses.
    pub pending: Option<OldestLeft>,
    /// The oldest change that waits, and for what.
    pub waiting: Option<(OldestLeft, String)>,
    /// What is deferred.
    pub deferred: Option<DeferredLeft>,
}

/// A target that stands for others that are left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldestLeft {
    /// Which one.
    pub target: String,
    /// When its change was first seen.
    pub since: Timestamp,
}

/// What is deferred at a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeferredLeft {
    /// The oldest of what is due first.
    pub oldest: OldestLeft,
    /// Why that is deferred.
    pub because: String,
    /// When the last of all is due.
    pub last_until: Timestamp,
}

impl Remaining {
    /// What is left at a provider, by its index, after a run that `order` asked for. `last_accepted`: whether the last call to
    /// it was accepted, if there was one.
    pub fn of(finished: &Finished<'_>, provider: usize, request: &RunRequest, last_accepted: Option<bool>) -> Self {
        let Finished { desired, outcome, .. } = finished;
        let (name, config) = (&desired.model.providers[provider].name, &desired.config_digests[provider]);
        let counts = finished.counts(Some(provider));
        let rest = RemainingCounts::of(finished, provider);
        let unavailable = finished.unavailable.iter().find(|(index, _)| *index == provider).map(|(_, why)| why.clone());
        let stopped = outcome.stops.get(provider).and_then(|stop| stop.reason.clone());
        let failed = last_accepted == Some(false);
        let whole = outcome.cut_short.is_none();
        // What was not tried at an endpoint that is left in peace has not failed.
        let rests = request.held(name, config).is_some_and(|held| !held.endpoints.is_empty());
        let pending = counts.pending - rest.refused;
        let is_left = pending > 0 && !(rests && rest.failed == 0);
        let trouble = stopped.is_some() || unavailable.is_some() || (is_left && (failed || whole));
        let end = ProviderEnd {
            name: name.clone(),
            config: config.clone(),
            endpoints: outcome.endpoints.get(provider).cloned().unwrap_or_default(),
            recovered: rest.recovered,
            failed_anew: rest.failed_anew,
            trouble,
            pending,
            waiting: counts.waiting,
            deferred_until: rest.deferred.map(|(until, ..)| until),
        };
        let changes = &finished.prepared.difference.changes;
        let named = |since, index| OldestLeft { target: changes.target(index).text, since };
        let deferred = rest.deferred.map(|(_, since, index)| DeferredLeft {
            oldest: named(since, index),
            because: outcome.states.get(index).parts().2.unwrap_or_default().to_owned(),
            last_until: rest.last_until,
        });
        let waiting = rest.waiting.map(|(since, index)| {
            let reason = outcome.states.get(index).parts().2.unwrap_or_default();
            (named(since, index), reason.to_owned())
        });
        let reason = unavailable.or(stopped).or(rest.reason);
        let reason = reason.or_else(|| waiting.as_ref().map(|(_, reason)| reason.clone()));
        let reason = reason.or_else(|| deferred.as_ref().map(|deferred| deferred.because.clone()));
        let reason = reason.or_else(|| (rest.refused > 0).then(|| REFUSED.to_owned()));
        let pending = rest.pending.map(|(since, index)| named(since, index));
        Self { end, counts, oldest: rest.oldest, reason, pending, waiting, deferred }
    }

    /// Whether anything is pending, waiting or deferred.
    pub const fn is_work(&self) -> bool {
        self.end.pending > 0 || self.end.waiting > 0 || self.end.deferred_until.is_some()
    }
}

#[derive(Default)]
struct RemainingCounts {
    oldest: Option<Timestamp>,
    /// The oldest one that is pending and no guard refuses: since when, and its index.
    pending: Option<(Timestamp, usize)>,
    /// The oldest one that waits.
    waiting: Option<(Timestamp, usize)>,
    /// The first deferred one: when it is due, since when it is to be done, and its index.
    deferred: Option<(Timestamp, Timestamp, usize)>,
    /// When the last deferred one is due.
    last_until: Timestamp,
    reason: Option<String>,
    /// Targets that failed, in this run or before.
    failed: usize,
    failed_anew: bool,
    recovered: bool,
    /// Targets that a guard refuses: they are pending as well, and nothing is to be tried.
    refused: u64,
}

impl RemainingCounts {
    fn of(finished: &Finished<'_>, provider: usize) -> Self {
        let changes = &finished.prepared.difference.changes;
        let mut rest = Self::default();
        for (index, state) in finished.outcome.states.iter().enumerate() {
            let is_refused = finished.prepared.plan.refused.binary_search(&index).is_ok();
            if changes.provider(index) == provider && is_refused && matches!(state, ItemState::Pending(_)) {
                rest.refused += 1;
                rest.oldest = rest.oldest.into_iter().chain([changes.since(index)]).min();
            } else if changes.provider(index) == provider {
                let had_failed = changes.has_failed(index);
                let fails = matches!(state, ItemState::Pending(Some(_)));
                rest.failed += usize::from(fails);
                rest.failed_anew |= fails && !had_failed;
                rest.recovered |= had_failed && *state == ItemState::Recorded;
                let since = changes.since(index);
                match state {
                    ItemState::Pending(reason) => {
                        rest.oldest = rest.oldest.into_iter().chain([since]).min();
                        rest.pending = rest.pending.into_iter().chain([(since, index)]).min();
                        rest.reason = rest.reason.or_else(|| reason.clone());
                    }
                    ItemState::Deferred(until, ..) => {
                        rest.last_until = rest.deferred.map_or(*until, |_| rest.last_until.max(*until));
                        rest.deferred = rest.deferred.into_iter().chain([(*until, since, index)]).min();
                    }
                    ItemState::Waiting(_) => {
                        rest.oldest = rest.oldest.into_iter().chain([since]).min();
                        rest.waiting = rest.waiting.into_iter().chain([(since, index)]).min();
                    }
                    ItemState::Recorded | ItemState::Rejected(_) => {}
                }
            }
        }
        rest
    }
}
