//! Any run: random providers, answers, stops and hours. What must hold whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use freshen::core::contract::{Culprit, ErrorClass};
use freshen::core::event::{Ending, ItemState};
use freshen::core::http::TransportFailureKind;
use freshen::core::model::{Limits, ProviderConfig};
use proptest::prelude::*;

use super::{DAY_MS, vod};
use crate::support::world::{Report, START, World, accept, cluster, fail, refuse, refuse_until};

/// Answers that a vendor may give, in any order.
fn endings() -> Vec<Ending> {
    use ErrorClass::{
        Auth, BatchTooLarge, Clock, Config, Fatal, QuotaSpent, Request, SignAgain, TargetRefused, Throttled, Transient,
        Unknown,
    };
    let mut list = vec![accept(), accept(), accept()];
    list.extend([Transient, Unknown, Throttled, SignAgain, Clock, BatchTooLarge, QuotaSpent].map(refuse));
    list.extend([TargetRefused(Culprit::Host), TargetRefused(Culprit::Target)].map(refuse));
    list.extend([Auth, Config, Fatal, Request].map(refuse));
    list.push(refuse_until(Throttled, Some(31_536_000_000)));
    list.extend(
        [TransportFailureKind::NotConnected, TransportFailureKind::Unknown, TransportFailureKind::Tls].map(fail),
    );
    list
}

#[derive(Clone, Debug)]
struct AnyProvider {
    cloud: bool,
    endpoints: u16,
    require: usize,
    limits: Limits,
    shares_account: bool,
    urls: usize,
}

#[derive(Clone, Debug)]
struct Any {
    providers: Vec<AnyProvider>,
    script: Vec<usize>,
    latency: u64,
    commit_ms: u64,
    cancel_at: Option<u64>,
    before_midnight_ms: i64,
}

fn any_provider() -> impl Strategy<Value = AnyProvider> {
    let quota = prop::option::of(1u64..60);
    (any::<bool>(), 1u16..4, 1usize..4, 1usize..25, quota, any::<bool>(), 0usize..50).prop_map(
        |(cloud, endpoints, require, urls_per_call, urls_per_day, shares_account, urls)| AnyProvider {
            cloud,
            endpoints,
            require: require.min(usize::from(endpoints)),
            limits: Limits { urls_per_call: Some(urls_per_call), urls_per_day, ..Limits::default() },
            shares_account,
            urls,
        },
    )
}

fn any_run() -> impl Strategy<Value = Any> {
    let script = prop::collection::vec(0..endings().len(), 1..40);
    let providers = prop::collection::vec(any_provider(), 1..4);
    let commit_ms = prop_oneof![Just(0), Just(7), Just(60), Just(3000)];
    (providers, script, 1u64..2000, commit_ms, prop::option::of(0u64..5000), 0i64..20_000).prop_map(
        |(providers, script, latency, commit_ms, cancel_at, before_midnight_ms)| Any {
            providers,
            script,
            latency,
            commit_ms,
            cancel_at,
            before_midnight_ms,
        },
    )
}

fn world_of(any: &Any) -> World {
    let provider = |(index, spec): (usize, &AnyProvider)| {
        let name = format!("p{index}");
        let base = if spec.cloud { vod(&name) } else { cluster(&name, spec.endpoints, spec.require) };
        ProviderConfig { limits: spec.limits, ..base }
    };
    let mut world = World::new(any.providers.iter().enumerate().map(provider).collect());
    for (index, spec) in any.providers.iter().enumerate() {
        world = world.urls(index, spec.urls);
        if spec.shares_account && spec.cloud {
            "shared".clone_into(&mut world.accounts[index]);
        }
    }
    world.latency = any.latency;
    world.commit_ms = any.commit_ms;
    world.cancel_at = any.cancel_at;
    world.wall = START.next_midnight(480).plus_ms(-any.before_midnight_ms);
    world
}

/// Endpoints of each change at which a call that held it was accepted.
fn acceptances(report: &Report, answers: &[Ending]) -> BTreeMap<usize, BTreeSet<usize>> {
    let mut found: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (sent, ending) in report.sent.iter().zip(answers) {
        for &item in sent.items.iter().filter(|_| matches!(ending, Ending::Accepted(_))) {
            found.entry(item).or_default().insert(sent.endpoint);
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    // S1, S2, S4, S5, S6, L3: whatever vendors answer, the run ends; what it says is what was accepted and what is on
    // the disk; `Report::check` adds batch sizes, rates, intents and flights.
    #[test]
    fn every_run_ends_and_says_what_was_done(any in any_run()) {
        let mut world = world_of(&any);
        let (list, mut answers, mut step) = (endings(), Vec::new(), 0);
        let report = world.run(|_| {
            let ending = list[any.script[step % any.script.len()]].clone();
            step += 1;
            answers.push(ending.clone());
            ending
        });
        prop_assert_eq!(report.states.len(), world.changes.len());
        let accepted = acceptances(&report, &answers);
        for (index, state) in report.states.iter().enumerate() {
            let required = world.model.providers[world.changes[index].provider].required();
            let by = accepted.get(&index).map_or(0, BTreeSet::len);
            prop_assert_eq!(*state == ItemState::Recorded, by >= required, "change {}: {:?}", index, state);
        }
        let bound = world.changes.len() * 3 * 2 * 5 + 100;
        prop_assert!(report.sent.len() <= bound, "{} calls", report.sent.len());
    }

    // L1: a vendor that recovers gets everything done in a run or two, and nothing is sent again after that.
    #[test]
    fn once_faults_stop_everything_is_recorded(any in any_run()) {
        let mut world = world_of(&any);
        world.model.providers.iter_mut().for_each(|config| config.limits.urls_per_day = None);
        let (list, mut step) = (endings(), 0);
        let report = world.run(|_| {
            step += 1;
            list[any.script[step % any.script.len()]].clone()
        });
        let rejected = report.counts().3;
        world.cancel_at = None;
        // The run may have gone on past midnight.
        world.next(&report, 2 * DAY_MS);
        let report = world.run(|_| accept());
        prop_assert_eq!(report.counts(), (world.changes.len() - rejected, 0, 0, rejected));
    }
}
