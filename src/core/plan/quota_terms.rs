//! What daily quotas providers have, whatever is used of them.

use super::day_offset_minutes;
use crate::core::model::Model;
use crate::core::target::Scope;

/// The daily quota of a provider for an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaTerms {
    /// By what the state knows the provider.
    pub provider: String,
    /// Name of the quota, see [`Operation::quota`](crate::core::contract::Operation::quota).
    pub operation: String,
    /// Share of the quota; empty for all of it.
    pub area: String,
    /// Targets a day.
    pub limit: u64,
    /// Over how many days it is counted.
    pub days: usize,
    /// At which offset from UTC, in minutes, the midnight lies at which a day begins.
    pub offset_minutes: i32,
}

/// Those of a provider, by its index; `accounts` are those of all providers.
pub fn quota_terms(model: &Model, accounts: &[String], provider: usize) -> Vec<QuotaTerms> {
    let config = &model.providers[provider];
    let mut terms: Vec<QuotaTerms> = Vec::new();
    let collapses = model.manifests.iter().any(|manifest| !manifest.collapse.is_empty());
    for operation in config.kind.capabilities().operations {
        let is_used = operation.scope != Scope::Directory
            || collapses && config.kind.directories(&config.options).is_some_and(|used| used.name == operation.name);
        let limit = config.limits_of(operation.scope).and_then(|limits| limits.targets_per_day);
        let (true, Some(limit)) = (is_used, limit) else { continue };
        if terms.iter().all(|known| known.operation != operation.quota) {
            terms.push(QuotaTerms {
                provider: model.provider_key(provider),
                operation: operation.quota.to_owned(),
                area: config.kind.quota_area(&config.options),
                limit,
                days: operation.quota_days,
                offset_minutes: day_offset_minutes(model, accounts, provider),
            });
        }
    }
    terms
}
