//! What waits at a provider after failures, and until when.

use std::collections::BTreeMap;

use super::Hold;
use crate::core::http::Endpoint;
use crate::core::time::{Now, Tick, Timestamp};

/// An endpoint that is left in peace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    /// Runs in a row that came to nothing at it.
    pub(super) failures: u32,
    pub(super) retry_at: Tick,
    /// It asked not to be called before: so it is not, also when nothing is left to do meanwhile.
    pub(super) not_before: Option<Tick>,
}

/// A provider with work that is left, or that wants to be left in peace.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    pub(super) config: String,
    pub(super) has_work: bool,
    /// Some of its targets wait for their origin, or for a provider upstream.
    pub(super) waits_for_origins: bool,
    pub(super) endpoints: BTreeMap<Endpoint, Backoff>,
    /// Runs in a row in which targets failed and none of those that had failed before was recorded.
    pub(super) failures: u32,
    /// When its targets are tried again.
    pub(super) retry_at: Option<Tick>,
    pub(super) deferred_until: Option<Timestamp>,
}

impl Waiting {
    /// When its work is due, each part for itself.
    pub(super) fn due_at(&self, now: Now) -> impl Iterator<Item = Tick> {
        self.retries().chain(self.deferred_at(now)).filter(|_| self.has_work)
    }

    /// When deferred work is due by the monotonic clock, if the wall clock is not set meanwhile.
    pub(super) fn deferred_at(&self, now: Now) -> Option<Tick> {
        let left_ms = self.deferred_until?.unix_ms().saturating_sub(now.wall.unix_ms());
        Some(Tick::from_ms(now.tick.ms().saturating_add_signed(left_ms)))
    }

    pub(super) fn retries(&self) -> impl Iterator<Item = Tick> {
        self.endpoints.values().map(|rest| rest.retry_at).chain(self.retry_at)
    }

    /// What of it is left in peace.
    pub(super) fn held(&self, provider: &str, now: Tick) -> Option<Hold> {
        let resting = self.endpoints.iter().filter(|(_, rest)| rest.retry_at > now);
        let endpoints: Vec<Endpoint> = resting.map(|(endpoint, _)| endpoint.clone()).collect();
        let targets = self.holds_targets(now);
        let (provider, config) = (provider.to_owned(), self.config.clone());
        (targets || !endpoints.is_empty()).then_some(Hold { provider, config, endpoints, targets })
    }

    /// Whether targets that failed wait. An endpoint whose rest is over gets them to be tried with.
    pub(super) fn holds_targets(&self, now: Tick) -> bool {
        let waits = self.failures > 0 && self.retry_at.is_some_and(|at| at > now);
        waits && self.endpoints.values().all(|rest| rest.retry_at > now)
    }
}
