//! Variants of a target that caches keep apart: each is purged for itself.

use std::collections::{BTreeMap, BTreeSet};

use super::Job;
use crate::core::changes::Changes;
use crate::core::model::Model;
use crate::core::origin::host_header;
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

/// The variants of a job. A manifest lists them; else they are those of hosts in `varies`, whose answers were seen to vary by
/// `Accept-Encoding`.
pub(super) fn of_job(model: &Model, changes: &Changes, job: &Job, varies: &BTreeSet<String>) -> Vec<Variant> {
    let has_listed = model.proof_terms.iter().any(|terms| listed(terms.verify.as_ref()).is_some());
    if !model.providers[job.provider].kind.has_variants() || (varies.is_empty() && !has_listed) {
        return Vec::new();
    }
    let usual: Vec<Headers> = ["identity"].iter().chain(&VISITORS_CODINGS).map(|codings| coding(codings)).collect();
    let mut variants: BTreeMap<Headers, BTreeSet<u32>> = BTreeMap::new();
    for index in job.changes() {
        let target = changes.target(index);
        let host = target.authority().map(|authority| host_header(&target.text, authority).to_ascii_lowercase());
        let terms = changes.terms(index, model);
        let asked = match listed(terms.and_then(|terms| terms.verify.as_ref())) {
            Some(asked) => asked,
            None if host.is_some_and(|host| varies.contains(&host)) => &usual,
            None => continue,
        };
        for headers in asked.iter().filter(|headers| !headers.is_empty()) {
            variants.entry(headers.clone()).or_default().extend(u32::try_from(index));
        }
    }
    // In the order of the job.
    let mut order: Vec<usize> = Vec::new();
    let mut known = BTreeSet::new();
    order.extend(job.changes().filter(|index| known.insert(*index)));
    let in_order = |of: &BTreeSet<u32>| {
        let indexes = order.iter().filter_map(|&index| u32::try_from(index).ok());
        indexes.filter(|index| of.contains(index)).collect()
    };
    variants.into_iter().map(|(headers, of)| Variant { changes: in_order(&of), headers }).collect()
}

fn listed(verify: Option<&crate::core::proof_terms::Verify>) -> Option<&Vec<Headers>> {
    verify?.variants.as_ref()
}
