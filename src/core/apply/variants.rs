//! Variants of targets that caches keep apart: lanes of their own beside those of the usual calls.

use std::collections::BTreeSet;

use super::Apply;
use crate::core::contract::ErrorClass;
use crate::core::lane::Lane;
use crate::core::plan::Job;

impl Apply<'_> {
    /// Lanes that purge further variants of the targets of a job, beside those of its endpoints.
    pub(super) fn add_variants(&mut self, job: &Job, first_lane: usize) {
        let config = &self.model.providers[job.provider];
        for variant in &job.variants {
            for endpoint in 0..config.endpoints.len() {
                let usual = &self.lanes[first_lane + endpoint];
                let mut lane = Lane::new((job.provider, endpoint), job.operation, job.limits, usual.pace, None);
                lane.headers.clone_from(&variant.headers);
                let sent: BTreeSet<u32> = job.batches.of_endpoint(endpoint).iter().copied().collect();
                let changes: Vec<u32> = variant.changes.iter().copied().filter(|index| sent.contains(index)).collect();
                for &index in &changes {
                    let usual = usize::from(!job.for_variants.contains(&index));
                    *self.variants.entry((index as usize, endpoint)).or_insert(usual) += 1;
                }
                lane.extend(&changes);
                if job.batches.starts_small() {
                    lane.mistrust();
                }
                self.lanes.push(lane);
                if let Some(problem) = config.endpoints.problem(endpoint) {
                    self.stop(self.lanes.len() - 1, ErrorClass::Transient, problem);
                }
            }
        }
    }

    /// A variant of a change was accepted; whether others are still to be, at the same endpoint.
    pub(super) fn has_more_variants(&mut self, lane: usize, index: usize) -> bool {
        let Some(open) = self.variants.get_mut(&(index, self.lanes[lane].endpoint)) else { return false };
        *open -= 1;
        *open > 0
    }
}
