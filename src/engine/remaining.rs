//! What a run left at a provider, for a program that stays up.

use super::Finished;
use crate::core::event::ItemState;
use crate::core::time::Timestamp;
use crate::core::watch::{ProviderEnd, RunRequest};
use crate::state::Counts;

/// Why a change is left that a guard refuses.
pub const REFUSED: &str = "refused by a guard";

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
    /// Why the first deferred change is.
    pub deferred_because: Option<String>,
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
            deferred_until: rest.deferred_until,
        };
        let deferred_because = rest.deferred_because;
        let reason = unavailable.or(stopped).or(rest.reason).or_else(|| deferred_because.clone());
        let reason = reason.or_else(|| (rest.refused > 0).then(|| REFUSED.to_owned()));
        Self { end, counts, oldest: rest.oldest, reason, deferred_because }
    }

    /// Whether anything is pending or deferred.
    pub const fn is_work(&self) -> bool {
        self.end.pending > 0 || self.end.deferred_until.is_some()
    }
}

#[derive(Default)]
struct RemainingCounts {
    oldest: Option<Timestamp>,
    deferred_until: Option<Timestamp>,
    reason: Option<String>,
    deferred_because: Option<String>,
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
                let earlier = |known: Option<Timestamp>, at: Timestamp| Some(known.map_or(at, |known| known.min(at)));
                match state {
                    ItemState::Pending(reason) => {
                        rest.oldest = earlier(rest.oldest, changes.since(index));
                        rest.reason = rest.reason.or_else(|| reason.clone());
                    }
                    ItemState::Deferred(until, reason, _) => {
                        rest.deferred_until = earlier(rest.deferred_until, *until);
                        rest.deferred_because.get_or_insert_with(|| reason.clone());
                    }
                    ItemState::Waiting(_) | ItemState::Recorded | ItemState::Rejected(_) => {}
                }
            }
        }
        rest
    }
}
