//! What a run leaves, for the report: the oldest targets with work, and the limits of the providers it called.

use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::core::contract::Rate;
use crate::core::event::ItemState;
use crate::core::quota::{QuotaKey, Uses};
use crate::core::report::{QuotaReport, TARGETS, TargetReport};
use crate::core::time::Timestamp;
use crate::engine::{Finished, REFUSED};
use crate::state::Store;

/// The oldest targets that are pending, deferred and rejected, a bounded number of each: a run may leave a million.
pub(super) fn oldest(finished: &Finished<'_>) -> Arc<[TargetReport]> {
    let changes = &finished.prepared.difference.changes;
    let mut oldest: [BinaryHeap<(Timestamp, usize)>; 3] = Default::default();
    for (index, state) in finished.outcome.states.iter().enumerate() {
        let list = match state {
            ItemState::Recorded => continue,
            ItemState::Pending(_) => &mut oldest[0],
            ItemState::Deferred(..) => &mut oldest[1],
            ItemState::Rejected(_) => &mut oldest[2],
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
    TargetReport { provider, target: changes.target(index).text, standing, since: changes.since(index), until, reason }
}

type Quotas = Vec<((String, &'static str, String), QuotaReport)>;
type Rates = Vec<((String, &'static str), Rate)>;

/// Quotas that the run drew on, as the ledger has them now, and the rates of its calls.
pub(super) fn limits(finished: &Finished<'_>, store: Option<&dyn Store>) -> (Quotas, Rates) {
    let (mut quotas, mut rates) = (Quotas::new(), Rates::new());
    for job in &finished.prepared.plan.jobs {
        let name = &finished.desired.model.providers[job.provider].name;
        rates.push(((name.clone(), job.operation.name), job.limits.calls));
        if let Some(quota) = &job.quota {
            let areas = finished.desired.model.providers[job.provider].kind.quota_areas();
            let row = |key: &QuotaKey| store.and_then(|store| store.quota_used(key).ok()).unwrap_or_default();
            let used = Uses::read(&quota.key, areas, &row).of(&quota.key.area).max(quota.used);
            let report = QuotaReport { limit: quota.limit, used, resets_at: quota.resets_at };
            quotas.push(((name.clone(), quota.key.operation, quota.key.area.clone()), report));
        }
    }
    (quotas, rates)
}
