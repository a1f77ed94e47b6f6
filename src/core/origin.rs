//! What origins are asked before their targets are purged.

use super::algorithm::Algorithm;
use super::changes::Changes;
use super::gate::GateQuestion;
use super::http::Route;
use super::model::Model;
use super::plan::Plan;
use super::probe::{Expected, Probe};
use super::proof_terms::{Comparison, Origin, ProofTerms, Verify};
use super::target::{ContentHash, Scope, Target};

/// The questions that have to be answered before planned changes are purged, by change; those without any are left out. An
/// origin is asked for no longer than `most_wait_ms`.
pub fn questions(model: &Model, changes: &Changes, plan: &Plan, most_wait_ms: u64) -> Vec<(usize, Vec<GateQuestion>)> {
    if model.proof_terms.iter().all(|terms| terms.origin.is_none()) {
        return Vec::new();
    }
    let mut planned: Vec<usize> = plan.jobs.iter().flat_map(super::plan::Job::changes).collect();
    planned.sort_unstable();
    planned.dedup();
    let asked = planned.into_iter().map(|index| {
        let of_one = |index: usize| of_change(model, changes, index, most_wait_ms);
        (index, plan.twins.with(vec![index]).into_iter().flat_map(of_one).collect())
    });
    asked.filter(|(_, questions): &(usize, Vec<GateQuestion>)| !questions.is_empty()).collect()
}

fn of_change(model: &Model, changes: &Changes, index: usize, most_wait_ms: u64) -> Vec<GateQuestion> {
    let Some(terms) = changes.terms(index, model) else { return Vec::new() };
    let Some(origin) = &terms.origin else { return Vec::new() };
    let target = changes.target(index);
    let expected = expected(terms, changes.desired(index), changes.recorded(index));
    let wait_ms = terms.wait_for_origin_ms.min(most_wait_ms);
    let probes = probes(origin, terms, &target, &expected).into_iter();
    let question = |probe| GateQuestion {
        probe,
        expected: expected.clone(),
        samples: origin.samples.max(1),
        rate: origin.rate,
        wait_ms,
    };
    probes.map(question).collect()
}

/// What an origin is to be seen with. A digest is compared with the body, whatever edges are compared by.
pub fn expected(terms: &ProofTerms, content: Option<ContentHash>, recorded: Option<ContentHash>) -> Expected {
    let of_verify = || terms.verify.as_ref().map_or(Comparison::Etag, |verify| verify.compare.clone());
    let is_digest = content.as_ref().or(recorded.as_ref()).is_some_and(|hash| Algorithm::of_hash(hash).is_some());
    let compare = if is_digest { Comparison::Body } else { of_verify() };
    let gone = recorded.filter(|_| content.is_none());
    Expected { gone, content, compare, notes: of_verify(), validator: None }
}

/// A probe of a target at each server of its origin; none where no request could tell.
pub fn probes(origin: &Origin, terms: &ProofTerms, target: &Target, expected: &Expected) -> Vec<Probe> {
    let most_bytes = terms.verify.as_ref().map_or(Verify::default().max_body, |verify| verify.max_body);
    let url = target.path_and_query().zip(target.authority()).filter(|_| target.scope == Scope::Url);
    let (Some((path, authority)), Ok(reads)) = (url, expected.reads(most_bytes, &terms.normalize)) else {
        return Vec::new();
    };
    let host = origin.host.clone().unwrap_or_else(|| target.host_header().unwrap_or(authority).to_owned());
    let probe = |endpoint: &super::http::Endpoint| Probe {
        endpoint: endpoint.clone(),
        route: if endpoint.tls { Route::ByProxy } else { Route::Direct },
        host: host.clone(),
        path_and_query: format!("{}{path}", endpoint.path_prefix),
        headers: origin.headers.clone(),
        reads: reads.clone(),
    };
    origin.urls.iter().map(probe).collect()
}
