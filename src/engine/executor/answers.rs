//! What accepted calls of a run said of the caches: whether they held what they were to drop.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use super::CallReport;
use crate::core::http::Endpoint;

/// So many answers of one endpoint, none of which found its target, are hardly chance.
const TELLING: u64 = 5;

/// Accepted targets, and how many of them were not in the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheAnswers {
    /// All of them.
    pub accepted: u64,
    /// Those that were not in the cache, as far as caches say.
    pub not_cached: u64,
}

impl AddAssign for CacheAnswers {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.not_cached += other.not_cached;
    }
}

/// The answers of a run, by index of the provider and endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers(BTreeMap<(usize, Endpoint), CacheAnswers>);

impl Answers {
    /// Takes in a call that ended.
    pub(super) fn count(&mut self, call: &CallReport) {
        if call.result.is_err() {
            return;
        }
        let targets = call.changes.saturating_sub(call.refused.len()) as u64;
        let not_cached = if call.not_cached { targets } else { 0 };
        let answers = self.0.entry((call.provider, call.endpoint.clone())).or_default();
        *answers += CacheAnswers { accepted: targets, not_cached };
    }

    /// All of them, or those of one provider.
    pub fn sum(&self, provider: Option<usize>) -> CacheAnswers {
        let mut sum = CacheAnswers::default();
        let chosen = self.0.iter().filter(|((of, _), _)| provider.is_none_or(|provider| provider == *of));
        chosen.for_each(|(_, answers)| sum += *answers);
        sum
    }

    /// Endpoints that held nothing of what they were to drop, where that is hardly chance: provider, endpoint, and how many
    /// targets there were.
    pub fn never_cached(&self) -> impl Iterator<Item = (usize, &Endpoint, u64)> {
        let telling = |answers: &CacheAnswers| answers.accepted >= TELLING && answers.not_cached == answers.accepted;
        let found = self.0.iter().filter(move |(_, answers)| telling(answers));
        found.map(|((provider, endpoint), answers)| (*provider, endpoint, answers.accepted))
    }
}
