//! Variants of a target that caches keep apart: each is purged for itself.

use std::collections::{BTreeMap, BTreeSet};

use super::{Circumstances, Job};
use crate::core::changes::Changes;
use crate::core::model::Model;
use crate::core::proof::{VISITORS_CODINGS, coding};
use crate::core::proof_terms::Headers;

/// Further calls of a job: the same targets with the headers of one variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// What visitors of the variant send.
    pub headers: Headers,
    /// Changes of the job that have it, in order.
    pub changes: Vec<u32>,
}

impl Job {
    /// Calls for variants: one a target, at each endpoint that it is sent to.
    pub(super) fn calls_of_variants(&self) -> usize {
        let calls_of = |variant: &Variant| {
            let has: BTreeSet<usize> = variant.changes.iter().map(|&index| index as usize).collect();
            self.batches.iter().flat_map(|batch| batch.changes).filter(|index| has.contains(index)).count()
        };
        // Kinds with variants have one target a call.
        let usual = self.batches.iter().flat_map(|batch| batch.changes);
        let without = usual.filter(|&index| u32::try_from(index).is_ok_and(|index| self.for_variants.contains(&index)));
        self.variants.iter().map(calls_of).sum::<usize>() - without.count()
    }
}

/// The variants of a job, and changes that are purged for these alone. A manifest lists them; else they are those of hosts whose
/// answers were seen to vary by `Accept-Encoding`.
pub(super) fn of_job(
    model: &Model,
    changes: &Changes,
    job: &Job,
    circumstances: &Circumstances<'_>,
) -> (Vec<Variant>, BTreeSet<u32>) {
    let Circumstances { varies, stale, .. } = circumstances;
    let has_listed = model.proof_terms.iter().any(|terms| listed(terms.verify.as_ref()).is_some());
    if !model.providers[job.provider].kind.has_variants() || (varies.is_empty() && !has_listed) {
        return (Vec::new(), BTreeSet::new());
    }
    let usual: Vec<Headers> = ["identity"].iter().chain(&VISITORS_CODINGS).map(|codings| coding(codings)).collect();
    // In the order of the job, each once.
    let mut known = BTreeSet::new();
    let order: Vec<usize> = job.changes().filter(|index| known.insert(*index)).collect();
    let (mut variants, mut alone) = (BTreeMap::<Headers, Vec<u32>>::new(), BTreeSet::new());
    for index in order {
        let Ok(number) = u32::try_from(index) else { continue };
        let target = changes.target(index);
        let host = target.host_header().map(str::to_ascii_lowercase);
        let terms = changes.terms(index, model);
        let asked = match listed(terms.and_then(|terms| terms.verify.as_ref())) {
            Some(asked) => asked,
            None if host.is_some_and(|host| varies.contains(&host)) => &usual,
            None => continue,
        };
        let stale = stale.get(&index).filter(|stale| !stale.is_empty());
        if stale.is_some_and(|stale| stale.iter().all(is_sent)) {
            alone.insert(number);
        }
        for headers in stale.unwrap_or(asked).iter().filter(|headers| is_sent(headers)) {
            variants.entry(headers.clone()).or_default().push(number);
        }
    }
    (variants.into_iter().map(|(headers, changes)| Variant { headers, changes }).collect(), alone)
}

/// Whether a purge carries these. What stands for a variable is known to probes alone.
fn is_sent(headers: &Headers) -> bool {
    !headers.is_empty() && !headers.iter().any(|(_, value)| value.contains("${"))
}

fn listed(verify: Option<&crate::core::proof_terms::Verify>) -> Option<&Vec<Headers>> {
    verify?.variants.as_ref()
}
