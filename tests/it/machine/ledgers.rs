//! Several providers, scopes or areas on one quota: what the plan shows is what is sent, in one order, on the right day.

use std::collections::{BTreeMap, BTreeSet};

use freshen::core::apply::Apply;
use freshen::core::budget::Paces;
use freshen::core::changes::Change;
use freshen::core::contract::{ErrorClass, OptionValue, Options};
use freshen::core::event::{Action, Event, ItemState, Record};
use freshen::core::model::{Limits, Priority, ProviderConfig};
use freshen::core::plan::{Job, Plan, QuotaKey};
use freshen::core::target::Target;
use freshen::core::time::{Now, Tick, Timestamp};
use proptest::prelude::*;

use super::{DAY_MS, vod, vod_with_quota};
use crate::support::world::{START, World, accept, change, cluster, config, refuse, url};

fn on_one_account(providers: Vec<ProviderConfig>) -> World {
    let mut world = World::new(providers);
    world.accounts.fill("one".to_owned());
    world
}

/// Tencent CDN with an area of its own, or none.
fn cdn(name: &str, area: &str, urls_per_day: u64) -> ProviderConfig {
    let area = (!area.is_empty()).then(|| ("area".to_owned(), OptionValue::Text(area.to_owned())));
    let limits = Limits { urls_per_day: Some(urls_per_day), ..Limits::default() };
    ProviderConfig { options: Options(area.into_iter().collect()), limits, ..config(name, "tencent-cdn") }
}

fn planned(plan: &Plan) -> BTreeSet<usize> {
    plan.jobs.iter().flat_map(Job::changes).collect()
}

fn over_quota(plan: &Plan) -> BTreeSet<usize> {
    plan.jobs.iter().flat_map(|job| job.over_quota.iter()).collect()
}

fn recorded(states: &[ItemState]) -> BTreeSet<usize> {
    (0..states.len()).filter(|&index| states[index] == ItemState::Recorded).collect()
}

/// Runs the plan at a vendor that accepts everything; what was sent is what was planned.
fn run_as_planned(world: &mut World) -> BTreeSet<usize> {
    let plan = world.plan();
    let report = world.run(|_| accept());
    let sent: BTreeSet<usize> = report.sent.iter().flat_map(|sent| sent.items.iter().copied()).collect();
    assert_eq!((&sent, &recorded(&report.states)), (&planned(&plan), &planned(&plan)));
    let deferred = |index: &usize| matches!(report.states[*index], ItemState::Deferred(..));
    assert!(over_quota(&plan).iter().all(deferred), "what waits for its quota says so");
    sent
}

/// A limit is that of its provider: one without room stops nobody else, and has no part in what others may send.
#[test]
fn each_provider_of_an_account_keeps_to_its_own_limit() {
    let of = |sent: &BTreeSet<usize>, second: usize| (sent.range(..second).count(), sent.range(second..).count());
    let mut world = on_one_account(vec![vod_with_quota("a", 3), vod_with_quota("b", 100)]).urls(0, 5).urls(1, 2);
    assert_eq!((of(&run_as_planned(&mut world), 5), world.used()), ((3, 2), 5));
    let mut world = on_one_account(vec![vod_with_quota("a", 100), vod_with_quota("b", 3)]).urls(0, 2).urls(1, 5);
    assert_eq!(of(&run_as_planned(&mut world), 2), (2, 1));
    // One without a limit draws on what the other has, and is not held up itself.
    let limited =
        |name| ProviderConfig { limits: Limits { urls_per_day: Some(3), ..Limits::default() }, ..cluster(name, 1, 1) };
    let mut world = on_one_account(vec![limited("a"), cluster("b", 1, 1)]).urls(0, 2).urls(1, 2);
    assert_eq!((of(&run_as_planned(&mut world), 2), world.used()), ((2, 2), 4));
    let mut world = on_one_account(vec![cluster("a", 1, 1), limited("b")]).urls(0, 5).urls(1, 2);
    assert_eq!((of(&run_as_planned(&mut world), 5), world.used()), ((5, 0), 5));
    let plan = world.plan();
    let limits = |job: &Job| job.quota.as_ref().map(|quota| (quota.limit, quota.left(), quota.left_after()));
    assert_eq!(plan.jobs.iter().map(limits).collect::<Vec<_>>(), [None, Some((3, 0, 0))]);
    // Nobody has a limit: no ledger is kept.
    let mut world = on_one_account(vec![cluster("a", 1, 1), cluster("b", 1, 1)]).urls(0, 2).urls(1, 2);
    assert_eq!((run_as_planned(&mut world).len(), world.disk.quota.len()), (4, 0));
}

/// Priority, then age, over all that draw on one quota, whatever provider or scope they are of; today and tomorrow.
#[test]
fn one_quota_has_one_order() {
    let make = |provider, number, priority, age: i64| Change {
        priority,
        since: START.plus_ms(-age),
        ..change(provider, &url(number))
    };
    let mut world = on_one_account(vec![vod_with_quota("a", 3), vod_with_quota("b", 3)]);
    world.changes = vec![
        make(0, 0, Priority::Low, 9),
        make(0, 1, Priority::Normal, 1),
        make(0, 2, Priority::Normal, 5),
        make(0, 3, Priority::Low, 3),
        make(1, 4, Priority::High, 0),
        make(1, 5, Priority::Normal, 3),
        make(1, 6, Priority::Low, 5),
        make(1, 7, Priority::Normal, 0),
    ];
    let today = run_as_planned(&mut world);
    assert_eq!(today, BTreeSet::from([4, 2, 5]));
    let days: Vec<u64> = world.plan().jobs.iter().map(|job| job.days).collect();
    assert_eq!(days, [4, 4], "with today's spent");
    world.changes.retain(|change| !["4", "2", "5"].iter().any(|one| change.target.text.ends_with(one)));
    world.wall = START.plus_ms(DAY_MS);
    let texts: Vec<String> = world.changes.iter().map(|change| change.target.text.clone()).collect();
    let sent = run_as_planned(&mut world);
    let sent: Vec<&str> = sent.iter().map(|&index| &texts[index][texts[index].len() - 1..]).collect();
    assert_eq!(sent, ["0", "1", "7"]);
}

/// The same over the scopes of one provider.
#[test]
fn asset_ids_that_are_older_go_before_urls() {
    let limits = Limits { urls_per_day: Some(4), ..Limits::default() };
    let mut world = on_one_account(vec![ProviderConfig { limits, ..config("media", "huawei-vod") }]).urls(0, 5);
    let id = |number: i64| Change {
        target: Target::asset_id(format!("{number:032}")),
        since: START.plus_ms(-number),
        ..change(0, "")
    };
    world.changes.extend((1..4).map(id));
    assert_eq!(run_as_planned(&mut world), BTreeSet::from([0, 5, 6, 7]));
    let jobs: Vec<(usize, usize)> = world.plan().jobs.iter().map(|job| (job.targets, job.over_quota.len())).collect();
    assert_eq!(jobs, [(0, 5), (0, 3)], "the day is spent");
}

/// What leaves first is what ranks first: a run that is stopped has sent what mattered.
#[test]
fn calls_of_one_account_leave_by_rank() {
    let mut world = on_one_account(vec![vod_with_quota("a", 500), vod_with_quota("b", 500)]).urls(0, 100).urls(1, 100);
    world.changes[100..].iter_mut().for_each(|change| change.priority = Priority::High);
    let report = world.run(|_| accept());
    let order: Vec<usize> = report.sent.iter().map(|sent| sent.provider).collect();
    assert_eq!((order[0], order.len()), (1, 10));
    let last_high = order.iter().rposition(|&provider| provider == 1);
    assert!(last_high <= Some(5), "only what is waited for lets others pass: {order:?}");
}

/// T3: calls that may have been carried out keep their quota. What that takes is missing for what ranks last, whichever provider has it.
#[test]
fn quota_that_failed_calls_keep_is_taken_from_the_last() {
    let limited = |name| ProviderConfig {
        limits: Limits { urls_per_day: Some(40), urls_per_call: Some(10), ..Limits::default() },
        ..vod(name)
    };
    let mut world = on_one_account(vec![limited("a"), limited("b")]).urls(0, 20).urls(1, 20);
    world.changes[20..].iter_mut().for_each(|change| change.priority = Priority::High);
    let mut failed = false;
    let report = world.run(|sent| {
        if sent.provider == 1 && !std::mem::replace(&mut failed, true) { refuse(ErrorClass::Unknown) } else { accept() }
    });
    assert_eq!((report.counts(), world.used()), ((30, 0, 10, 0), 40));
    assert!((20..40).all(|index| report.states[index] == ItemState::Recorded), "{:?}", report.states);
}

/// T2: a call that midnight overtook before it left counts on the day on which it leaves.
#[test]
fn a_prepared_call_that_midnight_overtook_counts_on_the_new_day() {
    let mut world = World::new(vec![vod_with_quota("a", 40)]).urls(0, 20);
    let midnight = START.next_midnight(480);
    world.wall = midnight.plus_ms(-1000);
    let (plan, changes) = (world.plan(), world.table());
    let mut machine = Apply::new(&world.model, &changes, &plan, Paces::at_start(Tick::from_ms(0)), 1);
    let at = |ms: u64| Now { wall: world.wall.plus_ms(ms.cast_signed()), tick: Tick::from_ms(ms) };
    machine.handle(Event::Woke, at(0));
    let Action::Persist(Record::Intent { call, debit, .. }) = machine.poll(at(990)) else { panic!("no intent") };
    assert_eq!(debit.as_ref().map(|(key, _)| key.day.as_str()), Some("2023-11-15"));
    machine.handle(Event::Persisted(call), at(1010));
    let Action::Persist(Record::Outcome { credit, .. }) = machine.poll(at(1010)) else { panic!("it counts yesterday") };
    assert_eq!(credit, debit);
    let Action::Persist(Record::Intent { call, debit, .. }) = machine.poll(at(1010)) else { panic!("no intent") };
    assert_eq!(debit.map(|(key, cost)| (key.day, cost)), Some(("2023-11-16".to_owned(), 20)));
    machine.handle(Event::Persisted(call), at(1011));
    assert_eq!(machine.poll(at(1011)), Action::Send(call));
}

/// T2, S5: tomorrow's ledger may hold something, since clocks are set and quota days moved: that is not spent twice.
#[test]
fn a_day_that_begins_in_mid_run_has_what_its_ledger_left() {
    let mut world = on_one_account(vec![vod_with_quota("a", 100), vod_with_quota("b", 100)]).urls(0, 60).urls(1, 40);
    world.changes[60..].iter_mut().for_each(|change| change.priority = Priority::High);
    world.wall = START.next_midnight(480).plus_ms(-300);
    let tomorrow = QuotaKey { day: "2023-11-16".into(), ..world.plan().ledgers[0].key("") };
    world.disk.quota.insert(tomorrow.clone(), 80);
    let report = world.run(|_| accept());
    let before: u64 = world.disk.quota.iter().filter(|(key, _)| **key != tomorrow).map(|(_, used)| used).sum();
    assert_eq!((world.disk.quota[&tomorrow], report.counts().0), (100, usize::try_from(before + 20).expect("few")));
    assert!(before > 0 && before < 60, "{before}");
    assert!((60..100).all(|index| report.states[index] == ItemState::Recorded), "high priority had the rest");
    let after_next = START.next_midnight(480).plus_ms(DAY_MS);
    let deferred = |state: &ItemState| matches!(state, ItemState::Deferred(until, _, _) if *until == after_next);
    assert!(report.states.iter().any(deferred));
}

/// S5: Tencent CDN has a quota an area; a purge without one draws on each that it touches.
#[test]
fn a_purge_in_all_areas_counts_in_each() {
    let world = |limit| {
        on_one_account(vec![cdn("all", "", limit), cdn("home", "mainland", limit), cdn("out", "overseas", limit)])
    };
    let mut one = world(10).urls(1, 7).urls(2, 4).urls(0, 9);
    // By rank: 9 of `all` come first, since its provider does.
    one.changes[11..].iter_mut().for_each(|change| change.priority = Priority::Low);
    assert_eq!((run_as_planned(&mut one).len(), one.used()), (7 + 4 + 3, 14));
    let mut other = world(10).urls(0, 6).urls(1, 9).urls(2, 9);
    assert_eq!(run_as_planned(&mut other).len(), 6 + 4 + 4);
    let left: Vec<u64> = other.plan().jobs.iter().filter_map(|job| Some(job.quota.as_ref()?.left())).collect();
    assert_eq!(left, [0, 0, 0]);
    // The vendor's word about one area says nothing about the other.
    let mut told = world(1000).urls(0, 20).urls(1, 20).urls(2, 20);
    told.changes[..20].iter_mut().for_each(|change| change.priority = Priority::Low);
    let report = told.run(|sent| if sent.provider == 1 { refuse(ErrorClass::QuotaSpent) } else { accept() });
    assert!((40..60).all(|index| report.states[index] == ItemState::Recorded));
    assert!((20..40).all(|index| matches!(report.states[index], ItemState::Deferred(..))));
}

/// T3: where the quota days of one account begin at different hours, the first provider's word counts, for those without a limit
/// too.
#[test]
fn one_account_has_one_quota_day() {
    let at = |name, offset: i32, urls_per_day| ProviderConfig {
        limits: Limits { urls_per_day, quota_day_offset_minutes: Some(offset), ..Limits::default() },
        ..cluster(name, 1, 1)
    };
    for limits in [(Some(5), Some(5)), (Some(5), None), (None, None)] {
        let providers = vec![at("a", 0, limits.0), at("b", -600, limits.1)];
        let mut world = on_one_account(providers).urls(0, 10).urls(1, 10);
        let midnight = START.next_midnight(0);
        let days: BTreeSet<Timestamp> =
            world.plan().jobs.iter().filter_map(|job| Some(job.quota.as_ref()?.resets_at)).collect();
        assert!(days.iter().all(|resets_at| *resets_at == midnight));
        let report = world.run(|_| refuse(ErrorClass::QuotaSpent));
        let until = |state: &ItemState| matches!(state, ItemState::Deferred(until, _, _) if (0..5).any(|day| *until == midnight.plus_ms(day * DAY_MS)));
        assert!(report.states.iter().all(until), "{limits:?}: {:?}", report.states);
    }
}

#[derive(Clone, Debug)]
struct AnyProvider {
    limit: Option<u64>,
    quota_day: Option<i32>,
    per_call: usize,
    area: usize,
    /// Priority and age of each target.
    targets: Vec<(usize, i64)>,
}

fn any_provider() -> impl Strategy<Value = AnyProvider> {
    let targets = prop::collection::vec((0usize..3, 0i64..4), 0..30);
    let quota_day = prop::option::of(prop::sample::select(vec![-720, 0, 480, 840]));
    (prop::option::of(1u64..40), quota_day, 1usize..21, 0usize..3, targets).prop_map(
        |(limit, quota_day, per_call, area, targets)| AnyProvider { limit, quota_day, per_call, area, targets },
    )
}

const AREAS: [&str; 3] = ["", "mainland", "overseas"];

/// `is_cdn`: with areas, and a documented limit where none is given.
fn any_world(is_cdn: bool, providers: &[AnyProvider], used: &[u64; 3]) -> World {
    let make = |(index, any): (usize, &AnyProvider)| {
        let limits = Limits {
            urls_per_day: any.limit,
            quota_day_offset_minutes: any.quota_day,
            urls_per_call: Some(any.per_call),
            ..Limits::default()
        };
        let name = format!("p{index}");
        let base = if is_cdn { cdn(&name, AREAS[any.area], 1) } else { cluster(&name, 1, 1) };
        ProviderConfig { limits, ..base }
    };
    let mut world = on_one_account(providers.iter().enumerate().map(make).collect());
    for (provider, any) in providers.iter().enumerate() {
        for (priority, age) in &any.targets {
            let priority = [Priority::High, Priority::Normal, Priority::Low][*priority];
            let since = START.plus_ms(-age);
            world.changes.push(Change { priority, since, ..change(provider, &url(world.changes.len())) });
        }
    }
    let offset_minutes = world.model.providers[0].quota_day_offset_minutes();
    let day = START.date_at_offset(offset_minutes);
    let operation = if is_cdn { "PurgeUrlsCache" } else { "PURGE" };
    for (area, used) in AREAS.iter().zip(used).take(if is_cdn { 3 } else { 1 }) {
        let key =
            QuotaKey { account: "one".into(), operation, area: (*area).to_owned(), day: day.clone(), offset_minutes };
        world.disk.quota.insert(key, *used);
    }
    world
}

/// What has room today, by the words of the documentation: one after another by rank, each within its own limit.
fn expected(world: &World, used: &[u64; 3]) -> BTreeSet<usize> {
    let mut order: Vec<usize> = (0..world.changes.len()).collect();
    order.sort_by_key(|&index| (world.changes[index].priority, world.changes[index].since, index));
    let mut counts: BTreeMap<&str, u64> = AREAS.into_iter().zip(*used).collect();
    let mut today = BTreeSet::new();
    for index in order {
        let config = &world.model.providers[world.changes[index].provider];
        let area = config.options.text("area").unwrap_or_default();
        let area = AREAS.into_iter().find(|known| *known == area).expect("an area");
        let touched: Vec<&str> = if area.is_empty() { vec!["mainland", "overseas"] } else { vec![area] };
        let used = touched.iter().map(|area| counts[area] + counts[""]).max().unwrap_or(0);
        let limit = config.limits_of(world.changes[index].target.scope).expect("limits").targets_per_day;
        if limit.is_none_or(|limit| used < limit) {
            *counts.get_mut(area).expect("an area") += 1;
            today.insert(index);
        }
    }
    today
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    // S5, T3: for any limits on one account, what the plan shows is what a run without faults sends, provider by provider, and
    // it is what has room by rank.
    #[test]
    fn what_is_planned_is_sent(
        is_cdn: bool,
        providers in prop::collection::vec(any_provider(), 1..5),
        used in [0u64..20, 0u64..20, 0u64..20],
        latency in 1u64..2000,
    ) {
        let used = if is_cdn { used } else { [used[0], 0, 0] };
        let mut world = any_world(is_cdn, &providers, &used);
        world.latency = latency;
        let expected = expected(&world, &used);
        prop_assert_eq!(&planned(&world.plan()), &expected);
        prop_assert_eq!(run_as_planned(&mut world), expected);
    }

    // S5: whatever fails, no limit is exceeded by any provider, where all of the account have the same.
    #[test]
    fn a_limit_holds_whatever_fails(
        limit in 1u64..40,
        providers in prop::collection::vec(any_provider(), 1..5),
        failing in prop::collection::vec(any::<bool>(), 1..12),
    ) {
        let same: Vec<AnyProvider> =
            providers.iter().map(|any| AnyProvider { limit: Some(limit), ..any.clone() }).collect();
        let mut world = any_world(false, &same, &[0; 3]);
        let mut calls = 0;
        world.run(|_| {
            calls += 1;
            if failing[calls % failing.len()] { refuse(ErrorClass::Unknown) } else { accept() }
        });
        prop_assert!(world.disk.quota.values().all(|used| *used <= limit), "{:?}", world.disk.quota);
    }
}
