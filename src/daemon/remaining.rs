//! What a run leaves, for the report: the oldest targets with work, the rates of the providers it called, all quotas, and what edges
//! were seen to serve.

use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use crate::core::contract::Rate;
use crate::core::event::ItemState;
use crate::core::proof_record::ProofVerdict;
use crate::core::provider_key::ProviderKey;
use crate::core::report::{EdgesReport, QuotaName, QuotaReport, TARGETS, TargetReport};
use crate::core::time::Timestamp;
use crate::engine::{self, Finished, QuotaStanding, REFUSED};
use crate::state::{Backend, StateError};

/// The oldest targets that are pending, deferred, rejected and waiting, a bounded number of each: a run may leave a million.
pub(super) fn oldest(finished: &Finished<'_>) -> Arc<[TargetReport]> {
    let changes = &finished.prepared.difference.changes;
    let mut oldest: [BinaryHeap<(Timestamp, usize)>; 4] = Default::default();
    for (index, state) in finished.outcome.states.iter().enumerate() {
        let list = match state {
            ItemState::Recorded => continue,
            ItemState::Pending(_) => &mut oldest[0],
            ItemState::Deferred(..) => &mut oldest[1],
            ItemState::Rejected(_) => &mut oldest[2],
            ItemState::Waiting(_) => &mut oldest[3],
        };
        list.push((changes.since(index), index));
        if list.len() > TARGETS {
            list.pop();
        }
    }
    let indexes = oldest.into_iter().flat_map(BinaryHeap::into_sorted_vec).map(|(_, index)| index);
    indexes.map(|index| target(finished, index)).collect()
}

fn target(finished: &Finished<'_>, index: usize) -> TargetReport {
    let changes = &finished.prepared.difference.changes;
    let (standing, until, reason) = finished.outcome.states.get(index).parts();
    let is_refused = || finished.prepared.plan.refused.binary_search(&index).is_ok();
    let reason = reason.map(str::to_owned).or_else(|| is_refused().then(|| REFUSED.to_owned()));
    let provider = finished.desired.model.providers[changes.provider(index)].name.clone();
    let (target, change) = (changes.target(index).text, changes.kind(index).word());
    TargetReport { provider, target, change, standing, since: changes.since(index), until, reason }
}

/// Rates of the calls of a run.
pub(super) fn rates(finished: &Finished<'_>) -> Vec<((String, &'static str), Rate)> {
    let name = |provider: usize| finished.desired.model.providers[provider].name.clone();
    let jobs = finished.prepared.plan.jobs.iter();
    jobs.map(|job| ((name(job.provider), job.operation.name), job.limits.calls)).collect()
}

/// Quotas of the providers of a namespace, as the state has them.
///
/// # Errors
/// A state that cannot be read.
pub(super) fn quotas(
    state: &dyn Backend,
    namespace: Option<&str>,
    now: Timestamp,
) -> Result<BTreeMap<QuotaName, QuotaReport>, StateError> {
    let Some(store) = state.open()? else { return Ok(BTreeMap::new()) };
    let mut quotas = BTreeMap::new();
    for QuotaStanding { terms, used, resets_at, .. } in engine::quotas(&*store, now)? {
        let key = ProviderKey::of(&terms.provider);
        if key.namespace == namespace {
            let report = QuotaReport { limit: terms.limit, used, resets_at };
            quotas.insert((key.name.to_owned(), terms.operation.clone(), terms.area.clone()), report);
        }
    }
    Ok(quotas)
}

/// What probes have shown of the edges of the providers of a namespace.
///
/// # Errors
/// A state that cannot be read.
pub(super) fn edges(state: &dyn Backend, namespace: Option<&str>) -> Result<BTreeMap<String, EdgesReport>, StateError> {
    let Some(store) = state.open()? else { return Ok(BTreeMap::new()) };
    let mut edges: BTreeMap<String, EdgesReport> = BTreeMap::new();
    for (provider, verdict, targets) in store.proof_counts()? {
        let key = ProviderKey::of(&provider);
        if key.namespace != namespace {
            continue;
        }
        let report = edges.entry(key.name.to_owned()).or_default();
        match verdict {
            ProofVerdict::Due | ProofVerdict::Verified => {}
            ProofVerdict::Stale => report.stale += targets,
            ProofVerdict::Inconclusive | ProofVerdict::Unverifiable => report.unverified += targets,
        }
    }
    Ok(edges)
}
