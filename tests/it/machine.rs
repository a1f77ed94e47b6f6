//! Scenarios on the apply machine: virtual time, scripted vendors, no I/O. Each run is also checked by `Report::check`.

mod any;
mod days;
mod layers;
mod ledgers;
mod partial;

use std::collections::{BTreeMap, BTreeSet};

use freshen::core::apply::Apply;
use freshen::core::budget::Paces;
use freshen::core::contract::{Culprit, ErrorClass, Rate};
use freshen::core::event::{Action, CallId, Ending, Event, ItemOutcome, ItemState, Record};
use freshen::core::http::TransportFailureKind;
use freshen::core::model::{Limits, ProviderConfig};
use freshen::core::recorded::Standing;
use freshen::core::time::{Now, Tick, Timestamp};

use crate::support::world::{
    Report, START, Sent, Step, World, accept, change, cluster, config, endpoint, fail, refuse, refuse_until, url,
};

const DAY_MS: i64 = 86_400_000;

/// Tencent VOD: 20 URLs a call, 5 calls a second, quota day of UTC+8.
fn vod(name: &str) -> ProviderConfig {
    config(name, "tencent-vod")
}

/// With a daily quota of its own.
fn vod_with_quota(name: &str, urls_per_day: u64) -> ProviderConfig {
    ProviderConfig { limits: Limits { urls_per_day: Some(urls_per_day), ..Limits::default() }, ..vod(name) }
}

/// Where the change of the provider stands first of all.
fn word(state: &ItemState) -> &'static str {
    match state {
        ItemState::Pending(_) => "pending",
        ItemState::Recorded => "recorded",
        ItemState::Waiting(_) => "waiting",
        ItemState::Deferred(..) => "deferred",
        ItemState::Rejected(_) => "rejected",
    }
}

/// Answers `ending` whenever the call holds one of these URLs, else acceptance.
fn refusing(bad: &[String], class: ErrorClass) -> impl FnMut(&Sent) -> Ending {
    move |sent| if bad.iter().any(|url| sent.has(url)) { refuse(class) } else { accept() }
}

/// T2: commits that take long delay calls and do not starve them: intents are persisted together, ahead of their turn.
#[test]
fn a_slow_commit_delays_and_does_not_starve() {
    let rate = |commit_ms: u64| {
        let mut world = World::new(vec![config("own", "http-purge")]).urls(0, 1000);
        (world.latency, world.commit_ms) = (2, commit_ms);
        let report = world.run(|_| accept());
        assert_eq!(report.counts(), (1000, 0, 0, 0));
        let (first, last) = (&report.sent[0], &report.sent[999]);
        1_000_000 / (last.at - first.at)
    };
    let rates: Vec<u64> = [0, 5, 50, 200].into_iter().map(rate).collect();
    assert!(rates.iter().all(|rate| *rate >= 75), "calls a second: {rates:?}");
}

// --- What becomes of a call -----------------------------------------------------------------------------------------

/// L2, L3, R10, T3: each class has its place: where targets end, how many calls two batches cost, whether the provider
/// stops. The other provider never notices.
#[test]
fn every_class_of_refusal_has_its_place() {
    let table = [
        (ErrorClass::Transient, "pending", 5..=5, true),
        (ErrorClass::Unknown, "pending", 5..=5, true),
        (ErrorClass::Throttled, "pending", 5..=5, true),
        (ErrorClass::SignAgain, "pending", 2..=2, true),
        (ErrorClass::Clock, "pending", 1..=1, true),
        (ErrorClass::BatchTooLarge, "pending", 20..=40, true),
        (ErrorClass::QuotaSpent, "deferred", 1..=1, false),
        (ErrorClass::TargetRefused(Culprit::Host), "pending", 2..=2, true),
        (ErrorClass::TargetRefused(Culprit::BusyHost), "deferred", 2..=2, false),
        (ErrorClass::Auth, "pending", 1..=1, true),
        (ErrorClass::Config, "pending", 1..=1, true),
        (ErrorClass::Fatal, "pending", 1..=1, true),
        (ErrorClass::Request, "pending", 1..=1, true),
    ];
    for (class, state, calls, stops) in table {
        let mut world = World::new(vec![vod("sick"), vod("well")]).urls(0, 40).urls(1, 40);
        let report = world.run(|sent| if sent.provider == 0 { refuse(class) } else { accept() });
        let words: BTreeSet<&str> = report.states[..40].iter().map(word).collect();
        assert_eq!(words, BTreeSet::from([state]), "{class:?}");
        assert!(calls.contains(&report.calls_to(0)), "{class:?}: {} calls, expected {calls:?}", report.calls_to(0));
        assert_eq!(report.stops[0].reason.is_some(), stops, "{class:?}");
        assert_eq!(report.stops[0].credentials, class == ErrorClass::Auth, "{class:?}");
        assert!(report.states[40..].iter().all(|state| *state == ItemState::Recorded), "{class:?}");
        assert_eq!((report.calls_to(1), &report.stops[1].reason), (2, &None), "{class:?}");
    }
}

/// R11, S6: where every target is refused one after another, it is not the targets: none is given up, and the rest is left
/// alone.
#[test]
fn splitting_stops_where_everything_is_refused() {
    let mut world = World::new(vec![vod("sick"), vod("well")]).urls(0, 400).urls(1, 20);
    let refused = ErrorClass::TargetRefused(Culprit::Target);
    let report = world.run(|sent| if sent.provider == 0 { refuse(refused) } else { accept() });
    assert_eq!(report.counts(), (20, 400, 0, 0));
    assert!(report.calls_to(0) <= 40, "{} calls", report.calls_to(0));
    assert!(report.stops[0].reason.as_deref().is_some_and(|reason| reason.contains("options")));
}

/// R11: a refusal stands once the endpoint takes something else, before or after it, or where nothing else is to be done.
#[test]
fn a_refusal_stands_where_something_shows_that_the_target_is_to_blame() {
    let refused = ErrorClass::TargetRefused(Culprit::Target);
    for (targets, bad, counts) in [
        (1, 0..1, (0, 0, 0, 1)),
        (2, 0..2, (0, 2, 0, 0)),
        (9, 0..9, (0, 9, 0, 0)),
        (9, 0..8, (1, 0, 0, 8)),
        (9, 1..9, (1, 0, 0, 8)),
        (60, 0..10, (50, 0, 0, 10)),
    ] {
        let mut world = World::new(vec![vod("a")]).urls(0, targets);
        let bad: Vec<String> = bad.map(url).collect();
        let report = world.run(refusing(&bad, refused));
        assert_eq!(report.counts(), counts, "{bad:?} of {targets}");
        assert_eq!(report.stops[0].reason.is_some(), counts.1 > 0);
        if counts.1 > 0 {
            world.next(&report, 1000);
            assert_eq!(world.run(|_| accept()).counts(), (targets, 0, 0, 0), "all go once it takes them");
        }
    }
}

/// R11: what else waits at a provider shows that a target that is refused alone may not be to blame.
#[test]
fn a_target_that_is_sent_alone_is_not_given_up_while_others_wait() {
    let mut world = World::new(vec![vod("a")]).urls(0, 2);
    let (reason, config) = ("refused".to_owned(), String::new());
    world.changes[0].standing = Standing::Rejected { reason, config };
    let report = world.run(|_| refuse(ErrorClass::TargetRefused(Culprit::Target)));
    assert_eq!((report.sent.len(), report.counts()), (1, (0, 1, 0, 1)));
}

/// L2: a host that its vendor does not serve at the moment waits, each time for longer, and is never refused; others go on.
#[test]
fn a_busy_host_holds_up_its_own_targets_only() {
    let mut world = World::new(vec![vod("a")]).urls(0, 40);
    let mut waits = Vec::new();
    for _ in 0..12 {
        let report = world.run(refusing(&[url(5)], ErrorClass::TargetRefused(Culprit::BusyHost)));
        let ItemState::Deferred(until, _, _) = report.states[0] else { panic!("{:?}", report.states[0]) };
        let wait_ms = until.unix_ms() - world.wall.unix_ms();
        waits.push(wait_ms / 60_000);
        world.next(&report, wait_ms - 1000);
        let early = world.run(|_| panic!("its time has not come"));
        world.next(&early, 2000);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 360, 360, 360]);
    assert_eq!(world.used(), 20, "the others went through, and what was refused costs nothing");
    assert_eq!(world.run(|_| accept()).counts(), (20, 0, 0, 0));
}

/// L2: no connection and no answer are tried again, a certificate that is not accepted stops its provider.
#[test]
fn every_failure_of_the_network_has_its_place() {
    let table = [
        (TransportFailureKind::NotConnected, 5, true),
        (TransportFailureKind::Unknown, 5, true),
        (TransportFailureKind::Tls, 1, true),
    ];
    for (kind, calls, stops) in table {
        let mut world = World::new(vec![vod("sick"), vod("well")]).urls(0, 20).urls(1, 20);
        let report = world.run(|sent| if sent.provider == 0 { fail(kind) } else { accept() });
        assert_eq!((report.counts(), report.calls_to(0)), ((20, 20, 0, 0), calls), "{kind:?}");
        assert_eq!(report.stops[0].reason.is_some(), stops, "{kind:?}");
        assert!(!report.stops[0].credentials, "{kind:?}");
    }
}

/// S5: a call that perhaps was carried out keeps its quota, one that surely was not gives it back.
#[test]
fn only_an_unknown_outcome_keeps_its_quota() {
    let table = [
        (fail(TransportFailureKind::Unknown), 2 * 20 + 3),
        (refuse(ErrorClass::Unknown), 2 * 20 + 3),
        (refuse(ErrorClass::Transient), 2 * 20 + 3),
        (fail(TransportFailureKind::NotConnected), 0),
        (refuse(ErrorClass::Throttled), 0),
        (refuse(ErrorClass::Auth), 0),
        (refuse(ErrorClass::TargetRefused(Culprit::Target)), 0),
    ];
    for (ending, used) in table {
        let mut world = World::new(vec![vod("a")]).urls(0, 20);
        world.run(|_| ending.clone());
        assert_eq!(world.used(), used, "{ending:?}");
    }
}

/// T1: a signature that was refused as used or old is made anew once; a second refusal stops the provider.
#[test]
fn a_signature_is_made_anew_once_and_only_once() {
    let mut answers = 0;
    let mut world = World::new(vec![vod("a")]).urls(0, 20);
    let report = world.run(|_| {
        answers += 1;
        if answers == 1 { refuse(ErrorClass::SignAgain) } else { accept() }
    });
    assert_eq!((report.counts(), answers), ((20, 0, 0, 0), 2));
    let mut world = World::new(vec![vod("a")]).urls(0, 60);
    let report = world.run(|_| refuse(ErrorClass::SignAgain));
    assert_eq!((report.counts(), report.sent.len()), ((0, 60, 0, 0), 2));
}

/// C1, C2: the log of one call, in full: intent, send, outcome; the send waits for the disk.
#[test]
fn a_call_leaves_only_after_its_intent_came_back_as_written() {
    let world = World::new(vec![vod("a")]).urls(0, 1);
    let plan = world.plan();
    let changes = world.table();
    let mut machine = Apply::new(&world.model, &changes, &plan, Paces::at_start(Tick::from_ms(0)), 1);
    let at = |ms| Now { wall: START.plus_ms(ms), tick: Tick::from_ms(ms.cast_unsigned()) };
    machine.handle(Event::Woke, at(0));
    assert_eq!(machine.poll(at(0)), Action::WakeAt(Some(Tick::from_ms(204))), "the last run may have ended just now");
    let Action::Persist(Record::Intent { call, items, debit, .. }) = machine.poll(at(204)) else { panic!("no intent") };
    assert_eq!((items, debit.map(|(_, cost)| cost)), (vec![0], Some(1)));
    for ms in [204, 1000, 100_000] {
        machine.handle(Event::Woke, at(ms));
        assert!(matches!(machine.poll(at(ms)), Action::WakeAt(_)), "sent before it was written");
    }
    machine.handle(Event::Persisted(call), at(100_000));
    assert_eq!(machine.poll(at(100_000)), Action::Send(call));
    machine.handle(Event::Ended(call, accept()), at(100_001));
    let Action::Persist(Record::Outcome { items, credit: None, .. }) = machine.poll(at(100_001)) else {
        panic!("no outcome")
    };
    assert_eq!(items, [(0, ItemOutcome::Recorded { task_id: Some("task".into()) })]);
    assert_eq!(machine.poll(at(100_001)), Action::Done);
}

// --- Pace and number of calls ---------------------------------------------------------------------------------------

/// S5, S6: ⌈2000 / 20⌉ calls at 5 a second take 19.8 to 20.6 s; `Report::check` looks at every window of a second.
#[test]
fn two_thousand_urls_of_tencent_vod_take_twenty_seconds() {
    for latency in [1, 50, 190, 700] {
        let mut world = World::new(vec![vod("a")]).urls(0, 2000);
        world.latency = latency;
        let report = world.run(|_| accept());
        assert_eq!((report.counts(), report.sent.len()), ((2000, 0, 0, 0), 100), "latency {latency}");
        let took = report.sent[99].at - report.sent[0].at;
        // The first call goes alone: one answer has to be waited for.
        assert!((19_800..=20_600 + latency).contains(&took), "latency {latency}: {took} ms");
        assert!((1..=204).contains(&report.sent[0].at), "the last run may have ended just now: {}", report.sent[0].at);
        assert!(report.took <= report.sent[0].at + took + latency + 1, "latency {latency}");
    }
}

/// S6: no more calls than full batches need.
#[test]
fn calls_are_as_few_as_the_batches_allow() {
    for (count, urls_per_call, calls) in [(1, 20, 1), (20, 20, 1), (21, 20, 2), (100, 7, 15), (39, 1000, 2)] {
        let limits = Limits { urls_per_call: Some(urls_per_call), ..Limits::default() };
        let mut world = World::new(vec![ProviderConfig { limits, ..vod("a") }]).urls(0, count);
        let report = world.run(|_| accept());
        assert_eq!((report.sent.len(), report.counts().0), (calls, count), "{count} at {urls_per_call}");
    }
}

/// S5: two providers of one account share its pace, and the slower limit holds for both.
#[test]
fn providers_of_one_account_share_one_pace() {
    for (fast, slow) in [(5, 2), (2, 5)] {
        let limited = |name, rate| {
            let limits = Limits { calls_per_second: Some(rate), ..Limits::default() };
            ProviderConfig { limits, ..vod(name) }
        };
        let mut world = World::new(vec![limited("a", fast), limited("b", slow)]).urls(0, 200).urls(1, 200);
        world.accounts = vec!["one".to_owned(); 2];
        let report = world.run(|_| accept());
        let all: Vec<&Sent> = report.sent.iter().collect();
        crate::support::world::assert_rate(&all, Rate::per_second(2));
        assert_eq!(report.counts().0, 400);
    }
}

/// L2: wrong credentials or a wrong configuration cost one call, not one for each slot in flight.
#[test]
fn the_first_call_goes_alone_and_later_ones_overlap() {
    let mut world = World::new(vec![vod("a")]).urls(0, 400);
    world.latency = 900;
    let report = world.run(|_| accept());
    assert!(report.sent[1].at >= 900, "the second call left before the first was answered");
    let most = report.sent.iter().map(|sent| sent.beside + 1).max();
    assert_eq!(most, Some(4), "four calls may be under way at Tencent VOD");
}

/// S5: what counts as one account's calls of one operation is under way together only as often as its vendor allows.
#[test]
fn providers_of_one_account_share_the_calls_under_way() {
    let mut world = World::new(vec![vod("a"), vod("b")]).urls(0, 400).urls(1, 400);
    world.accounts = vec!["one".to_owned(); 2];
    world.latency = 900;
    let report = world.run(|_| accept());
    let most = report.sent.iter().map(|sent| sent.beside + 1).max();
    assert_eq!((report.counts().0, most), (800, Some(4)), "four calls may be under way at Tencent VOD");
}

/// L2: a batch that fails again and again keeps no other waiting, however soon it may be repeated.
#[test]
fn while_a_batch_fails_others_go_first() {
    // At one call a second a repeat is due before the next call may go.
    let limits = Limits { calls_per_second: Some(1), ..Limits::default() };
    let mut world = World::new(vec![ProviderConfig { limits, ..vod("a") }]).urls(0, 60);
    let report = world.run(|call| if call.items.contains(&0) { refuse(ErrorClass::Transient) } else { accept() });
    let sent: Vec<usize> = report.sent.iter().map(|sent| sent.items[0]).collect();
    assert_eq!((sent[1], report.counts().0), (20, 59), "{sent:?}");
}

/// R10: a throttled call waits, is repeated, and the provider is slower for the rest of the run.
#[test]
fn throttled_batch_waits_then_goes_on_at_half_the_pace() {
    let mut answers = 0;
    let mut world = World::new(vec![vod("a")]).urls(0, 200);
    let report = world.run(|_| {
        answers += 1;
        if answers == 1 { refuse_until(ErrorClass::Throttled, Some(3000)) } else { accept() }
    });
    assert_eq!((report.counts(), report.sent.len()), ((200, 0, 0, 0), 11));
    assert!(report.sent[1].at >= 3000, "it asked for three seconds");
    assert_eq!(report.sent[1].items, report.sent[0].items, "the throttled batch comes first");
    for pair in report.sent[1..].windows(2) {
        assert!(pair[1].at - pair[0].at >= 400, "no slower than before");
    }
}

/// R10: a batch gets five attempts, with waits of our own; a provider that never answers gets at most its shared budget.
#[test]
fn retries_are_bounded_for_a_batch_and_for_a_provider() {
    let mut world = World::new(vec![vod("a")]).urls(0, 20);
    let report = world.run(|_| refuse(ErrorClass::Transient));
    assert_eq!((report.sent.len(), report.counts()), (5, (0, 20, 0, 0)));
    assert!(report.took <= 500 + 1000 + 2000 + 4000 + 5 * 50 + 1020, "took {} ms", report.took);
    let mut world = World::new(vec![vod("a")]).urls(0, 2000);
    let report = world.run(|_| refuse(ErrorClass::Transient));
    assert_eq!(report.counts(), (0, 2000, 0, 0));
    // Twelve repetitions, and the calls that were under way when they were used up.
    assert!(report.sent.len() <= 12 + 100, "{} calls", report.sent.len());
    assert!(report.stops[0].reason.is_some(), "a provider that does nothing but fail is left alone");
}

/// L2, R10: one batch that fails again and again is left; the others go through, and in a few runs what was with it.
#[test]
fn one_failing_batch_does_not_stop_the_others() {
    let mut world = World::new(vec![vod("a")]).urls(0, 200);
    let bad = [url(45)];
    let report = world.run(refusing(&bad, ErrorClass::Transient));
    assert_eq!((report.counts(), report.sent.len()), ((180, 20, 0, 0), 9 + 5));
    assert_eq!(report.stops[0].reason, None);
    let mut left = report;
    for _ in 0..3 {
        world.next(&left, 10_000);
        left = world.run(refusing(&bad, ErrorClass::Transient));
    }
    assert_eq!(left.counts().1, 1, "the culprit is alone");
}

/// S5, L1: whatever is in doubt counts as spent, so a provider that is out for a day is asked with one target at a time. When it
/// is back its quota is still there.
#[test]
fn an_outage_does_not_spend_the_quota() {
    let mut world = World::new(vec![config("a", "tencent-cdn")]).urls(0, 2500);
    let mut report = world.run(|_| refuse(ErrorClass::Transient));
    assert!(world.used() <= 2 * 1000 + 3, "{}", world.used());
    for _ in 0..100 {
        world.next(&report, 600_000);
        report = world.run(|_| refuse(ErrorClass::Transient));
        assert!(report.sent.iter().all(|sent| sent.items.len() == 1));
    }
    assert!(world.used() <= 2 * 1000 + 3 + 100 * 5, "{}", world.used());
    world.next(&report, 600_000);
    assert_eq!(world.plan().calls(), 6, "the plan knows");
    let report = world.run(|_| accept());
    let sizes: Vec<usize> = report.sent.iter().map(|sent| sent.items.len()).collect();
    assert_eq!((report.counts(), sizes), ((2500, 0, 0, 0), vec![1, 10, 100, 1000, 1000, 389]));
}

/// T5: an answer that asks for a year is not waited for.
#[test]
fn a_wait_of_a_year_is_not_waited_for() {
    for class in [ErrorClass::Throttled, ErrorClass::Transient] {
        let mut world = World::new(vec![vod("a")]).urls(0, 20);
        let report = world.run(|_| refuse_until(class, Some(31_536_000_000)));
        assert_eq!((report.counts(), report.sent.len()), ((0, 20, 0, 0), 1), "{class:?}");
        assert!(report.took < 1000, "{class:?}: {} ms", report.took);
    }
}

/// T5, W6: a wait that goes with a refused target or host leaves the endpoint to the others; one for calls closes it.
#[test]
fn a_wait_concerns_the_endpoint_only_where_calls_are_refused() {
    let table = [
        (ErrorClass::TargetRefused(Culprit::Target), false),
        (ErrorClass::TargetRefused(Culprit::BusyHost), false),
        (ErrorClass::BatchTooLarge, false),
        (ErrorClass::Transient, true),
        (ErrorClass::Throttled, true),
    ];
    for (class, closes) in table {
        let mut world = World::new(vec![vod("a")]).urls(0, 20);
        let report = world.run(|_| refuse_until(class, Some(1_800_000)));
        let not_before = report.endpoints[0][0].not_before;
        assert_eq!(not_before.is_some(), closes, "{class:?}: {not_before:?}");
    }
}

// --- Refused targets ------------------------------------------------------------------------------------------------

/// R11: one refused URL of a thousand is found with 2·⌈log2 n⌉ extra calls, rejected by name, and alone.
#[test]
fn one_refused_url_of_a_thousand_is_found_and_the_others_go_through() {
    for bad in [0, 1, 499, 500, 640, 999] {
        let mut world = World::new(vec![config("a", "tencent-cdn")]).urls(0, 1000);
        let report = world.run(refusing(&[url(bad)], ErrorClass::TargetRefused(Culprit::Target)));
        assert_eq!(report.counts(), (999, 0, 0, 1), "URL {bad}");
        assert!(matches!(&report.states[bad], ItemState::Rejected(reason) if reason.contains("said the vendor")));
        assert!(report.sent.len() - 1 <= 2 * 10, "URL {bad}: {} calls", report.sent.len());
        assert_eq!(world.used(), 999, "a refused call costs no quota");
    }
}

/// R11: the bound holds for several refused URLs too.
#[test]
fn several_refused_urls_stay_within_the_bound() {
    let bad: Vec<usize> = vec![3, 77, 78, 500, 998];
    let urls: Vec<String> = bad.iter().map(|&number| url(number)).collect();
    let mut world = World::new(vec![config("a", "tencent-cdn")]).urls(0, 1000);
    let report = world.run(refusing(&urls, ErrorClass::TargetRefused(Culprit::Target)));
    let rejected: Vec<usize> = (0..1000).filter(|&index| word(&report.states[index]) == "rejected").collect();
    assert_eq!((rejected, report.counts()), (bad.clone(), (995, 0, 0, 5)));
    assert!(report.sent.len() - 1 <= 2 * bad.len() * 10, "{} calls", report.sent.len());
}

/// R11: a refused host takes its own URLs along and no others, in very few calls.
#[test]
fn a_refused_host_is_cut_out_in_a_few_calls() {
    let mut world = World::new(vec![config("a", "tencent-cdn")]).urls(0, 1000);
    for (index, host) in [(3, "b.example"), (400, "B.EXAMPLE"), (999, "b.example")] {
        world.changes[index] = change(0, &format!("https://{host}/{index}"));
    }
    let foreign = |url: &String| url.to_lowercase().contains("//b.example/");
    let report = world.run(|sent| {
        if sent.urls.iter().any(foreign) { refuse(ErrorClass::TargetRefused(Culprit::Host)) } else { accept() }
    });
    assert_eq!(report.counts(), (997, 0, 0, 3));
    assert!([3, 400, 999].iter().all(|&index| word(&report.states[index]) == "rejected"));
    assert_eq!(report.sent.len(), 3, "the batch, its good part, its refused part");
}

/// A batch that is too large for the vendor goes through in halves.
#[test]
fn a_batch_that_is_too_large_is_halved() {
    let mut world = World::new(vec![config("a", "tencent-cdn")]).urls(0, 1000);
    let report = world.run(|sent| if sent.items.len() > 300 { refuse(ErrorClass::BatchTooLarge) } else { accept() });
    let sizes: Vec<usize> = report.sent.iter().map(|sent| sent.items.len()).collect();
    assert_eq!(sizes.iter().filter(|&&size| size <= 300).sum::<usize>(), 1000);
    assert_eq!((report.counts().0, sizes.len()), (1000, 7), "{sizes:?}");
}

// --- Isolation ------------------------------------------------------------------------------------------------------

/// L2: refused credentials stop the provider that has them, in mid-run too; what waits stays pending with the reason.
#[test]
fn refused_credentials_stop_that_provider_only() {
    let mut world = World::new(vec![vod("a"), vod("b")]).urls(0, 200).urls(1, 200);
    let mut calls = 0;
    let report = world.run(|sent| {
        calls += usize::from(sent.provider == 0);
        if sent.provider == 0 && calls > 3 { refuse(ErrorClass::Auth) } else { accept() }
    });
    assert_eq!(report.counts(), (60 + 200, 140, 0, 0));
    assert!(report.stops[0].credentials && !report.stops[1].credentials);
    let with_reason = |state: &&ItemState| matches!(state, ItemState::Pending(Some(reason)) if reason.contains("Auth"));
    assert_eq!(report.states.iter().filter(with_reason).count(), 140, "L3: each says why");
    assert_eq!(world.used(), 260, "nothing that was not done is counted");
}

/// L2: a provider without credentials gets nothing; its targets stay pending with the reason.
#[test]
fn an_excluded_provider_gets_nothing() {
    let mut world = World::new(vec![vod("a"), cluster("own", 2, 2)]).urls(0, 30).urls(1, 4);
    world.excluded = vec![(1, "no credentials")];
    let report = world.run(|_| accept());
    assert_eq!((report.counts(), report.calls_to(1)), ((30, 4, 0, 0), 0));
    assert_eq!(report.stops[1].reason.as_deref(), Some("no credentials"));
    let left = ItemState::Pending(Some("no credentials".into()));
    assert!(report.states[30..].iter().all(|state| *state == left));
}

// --- Quota ----------------------------------------------------------------------------------------------------------

/// T3, S5: the ledger cuts the run; the rest is deferred, each target to the minute at which the vendor's day begins that has room for it.
#[test]
fn a_quota_that_is_short_defers_the_rest_until_the_vendors_midnight() {
    let mut world = World::new(vec![vod_with_quota("a", 50)]).urls(0, 120);
    let report = world.run(|_| accept());
    assert_eq!((report.counts(), report.sent.len(), world.used()), ((50, 0, 70, 0), 3, 50));
    for (index, day) in [(50, "2023-11-15T16:00:00Z"), (99, "2023-11-15T16:00:00Z"), (100, "2023-11-16T16:00:00Z")] {
        let ItemState::Deferred(until, reason, _) = &report.states[index] else { panic!("{:?}", report.states[index]) };
        assert_eq!(until.utc_extended(), day, "{index}");
        assert!(reason.contains("quota of 50 is spent"), "{reason}");
    }
    // Nothing more the same day; the next day goes on where this one ended.
    world.next(&report, 1000);
    let report = world.run(|_| panic!("a call without quota"));
    assert_eq!(report.counts(), (0, 0, 70, 0));
    world.next(&report, DAY_MS);
    let report = world.run(|_| accept());
    assert_eq!(report.counts(), (50, 0, 20, 0));
    assert_eq!(report.sent[0].urls[0], url(50), "the oldest in order come first");
}

/// T3: a limit that was raised takes effect the same day.
#[test]
fn a_raised_quota_takes_effect_at_once() {
    let mut world = World::new(vec![vod_with_quota("a", 50)]).urls(0, 120);
    let report = world.run(|_| accept());
    world.next(&report, 1000);
    world.model.providers[0].limits.urls_per_day = Some(100);
    let report = world.run(|_| accept());
    assert_eq!((report.counts(), world.used()), ((50, 0, 20, 0), 100));
}

/// T3, T4: the vendor's own count wins: the rest is deferred, the ledger learns, and the next run asks for nothing.
#[test]
fn a_vendor_that_says_spent_is_believed() {
    for latency in [50, 800] {
        let mut world = World::new(vec![vod_with_quota("a", 1000), vod("b")]).urls(0, 400).urls(1, 20);
        world.latency = latency;
        let mut taken = 0;
        let report = world.run(|sent| {
            taken += usize::from(sent.provider == 0);
            if sent.provider == 0 && taken > 5 { refuse(ErrorClass::QuotaSpent) } else { accept() }
        });
        assert_eq!(report.counts(), (100 + 20, 0, 300, 0), "latency {latency}");
        assert!(report.calls_to(0) <= 5 + 4, "latency {latency}: {} calls", report.calls_to(0));
        assert!(report.wrote(|record| matches!(record, Record::QuotaSpent { used: 1000, .. })));
        let of_a: u64 =
            world.disk.quota.iter().filter(|(key, _)| key.account.ends_with(" a")).map(|(_, used)| used).sum();
        assert_eq!(of_a, 1000, "latency {latency}: what was given back is not what is left");
        world.next(&report, 1000);
        let report = world.run(|_| panic!("a call without quota"));
        assert_eq!(report.counts(), (0, 0, 300, 0), "latency {latency}");
    }
}

/// T3: calls that still come back after the vendor said "spent" do not open the ledger again, whatever they say.
#[test]
fn nothing_is_given_back_after_the_vendor_said_spent() {
    for class in [ErrorClass::TargetRefused(Culprit::Target), ErrorClass::Throttled, ErrorClass::SignAgain] {
        let mut world = World::new(vec![vod_with_quota("a", 1000)]).urls(0, 400);
        world.latency = 800;
        let mut calls = 0;
        let report = world.run(|_| {
            calls += 1;
            match calls {
                1 => accept(),
                2 => refuse(ErrorClass::QuotaSpent),
                _ => refuse(class),
            }
        });
        assert_eq!((report.counts(), world.used()), ((20, 0, 380, 0), 1000), "{class:?}");
    }
}

/// T3: where no limit is known the vendor's answer alone defers, and the time is waited for.
#[test]
fn a_quota_that_nobody_knew_of_defers_until_midnight() {
    let mut world = World::new(vec![cluster("own", 1, 1)]).urls(0, 30);
    let report = world.run(|_| refuse(ErrorClass::QuotaSpent));
    assert_eq!((report.counts(), report.sent.len()), ((0, 0, 30, 0), 1));
    world.next(&report, 1000);
    assert!(world.run(|_| panic!("too early")).sent.is_empty());
    world.next(&report, DAY_MS);
    assert_eq!(world.run(|_| accept()).counts(), (30, 0, 0, 0));
}

/// T2: midnight in mid-run: calls before it draw on the old day, calls after it on the new one.
#[test]
fn a_run_over_midnight_draws_on_both_days() {
    let mut world = World::new(vec![vod_with_quota("a", 300)]).urls(0, 300);
    world.wall = START.next_midnight(480).plus_ms(-1000);
    let report = world.run(|_| accept());
    assert_eq!(report.counts(), (300, 0, 0, 0));
    let days: BTreeMap<&str, u64> = world.disk.quota.iter().map(|(key, used)| (key.day.as_str(), *used)).collect();
    assert_eq!(days.keys().copied().collect::<Vec<_>>(), ["2023-11-15", "2023-11-16"]);
    assert_eq!(days.values().sum::<u64>(), 300);
    assert!(days["2023-11-15"] >= 80 && days["2023-11-15"] <= 120, "{days:?}");
}

/// T3, S5: the quota day begins where the manifest says: in the plan, in the ledger, in mid-run and in deferrals, whether
/// the ledger or the vendor says that it is spent.
#[test]
fn a_configured_quota_day_holds_everywhere() {
    let limited = |offset| {
        let limits = Limits { urls_per_day: Some(60), quota_day_offset_minutes: Some(offset), ..Limits::default() };
        ProviderConfig { limits, ..vod("a") }
    };
    for offset in [-330, 0, 14 * 60] {
        let midnight = START.next_midnight(offset);
        let until = |report: &Report| -> Vec<Timestamp> {
            let deferred = report.states.iter().filter_map(|state| match state {
                ItemState::Deferred(until, _, _) => Some(*until),
                _ => None,
            });
            deferred.collect()
        };
        let mut world = World::new(vec![limited(offset)]).urls(0, 100);
        world.wall = midnight.plus_ms(-60_000);
        let quota = world.plan().jobs[0].quota.clone().expect("a quota");
        assert_eq!((quota.resets_at, quota.left()), (midnight, 60));
        let report = world.run(|_| accept());
        assert_eq!((report.counts(), until(&report)), ((60, 0, 40, 0), vec![midnight; 40]));
        world.next(&report, 59_999);
        let report = world.run(|_| panic!("too early"));
        assert_eq!(until(&report), vec![midnight; 40]);
        world.next(&report, 1);
        assert_eq!(world.run(|_| accept()).counts(), (40, 0, 0, 0));

        let mut world = World::new(vec![limited(offset)]).urls(0, 40);
        world.wall = midnight.plus_ms(-60_000);
        let report = world.run(|_| refuse(ErrorClass::QuotaSpent));
        assert_eq!(until(&report), vec![midnight; 40]);

        let mut world = World::new(vec![limited(offset)]).urls(0, 60);
        world.wall = midnight.plus_ms(-500);
        assert_eq!(world.run(|_| accept()).counts().0, 60);
        let days: Vec<&str> = world.disk.quota.keys().map(|key| key.day.as_str()).collect();
        assert_eq!(days, [midnight.plus_ms(-1).date_at_offset(offset), midnight.date_at_offset(offset)]);
    }
}

/// T2, S5: quota that is given back belongs to the day on which it was taken.
#[test]
fn quota_goes_back_to_the_day_it_came_from() {
    let mut world = World::new(vec![vod_with_quota("a", 40)]).urls(0, 20);
    world.wall = START.next_midnight(480).plus_ms(-300);
    world.latency = 500;
    let mut calls = 0;
    let report = world.run(|_| {
        calls += 1;
        if calls == 1 { refuse(ErrorClass::Throttled) } else { accept() }
    });
    assert_eq!(report.counts().0, 20);
    let days: Vec<(&str, u64)> = world.disk.quota.iter().map(|(key, used)| (key.day.as_str(), *used)).collect();
    assert_eq!(days, [("2023-11-15", 0), ("2023-11-16", 20)]);
}

/// S5: providers of one account draw on one quota.
#[test]
fn providers_of_one_account_share_one_quota() {
    let mut world = World::new(vec![vod_with_quota("a", 50), vod_with_quota("b", 50)]).urls(0, 40).urls(1, 40);
    world.accounts = vec!["one".to_owned(); 2];
    let report = world.run(|_| accept());
    assert_eq!((report.counts(), world.used()), ((50, 0, 30, 0), 50));
}

/// S5: a target of a cluster counts once, however many caches it goes to.
#[test]
fn a_cluster_counts_each_target_once() {
    let limits = Limits { urls_per_day: Some(10), ..Limits::default() };
    let mut world = World::new(vec![ProviderConfig { limits, ..cluster("own", 3, 3) }]).urls(0, 12);
    let report = world.run(|_| accept());
    assert_eq!((report.counts(), world.used()), ((10, 0, 2, 0), 10));
}

// --- Several endpoints ----------------------------------------------------------------------------------------------

/// R17: done is what all endpoints accepted.
#[test]
fn all_endpoints_of_a_cluster_must_accept() {
    let mut world = World::new(vec![cluster("own", 3, 3)]).urls(0, 5);
    let report = world.run(|_| accept());
    assert_eq!((report.counts(), report.sent.len()), ((5, 0, 0, 0), 15));
    let first = report.log.iter().position(|(_, step)| {
        matches!(step, Step::Persist(Record::Outcome { items, .. })
            if items.iter().any(|(_, outcome)| matches!(outcome, ItemOutcome::Recorded { .. })))
    });
    let accepted = |(_, step): &&(u64, Step)| matches!(step, Step::Persist(Record::Outcome { .. }));
    assert!(report.log[..first.expect("recorded")].iter().filter(accepted).count() >= 2, "recorded too early");
}

/// R17: with one cache down the others' acceptances are kept, and the next run calls only the one that is missing.
#[test]
fn an_endpoint_that_was_down_is_the_only_one_called_next_time() {
    let mut world = World::new(vec![cluster("own", 3, 3)]).urls(0, 5);
    let down = |sent: &Sent| if sent.endpoint == 1 { fail(TransportFailureKind::NotConnected) } else { accept() };
    let report = world.run(down);
    assert_eq!(report.counts(), (0, 5, 0, 0));
    let others: Vec<String> = [0, 2].map(|number| endpoint(number).to_string()).into();
    for index in 0..5 {
        let mut accepted = report.accepted_at[&index].clone();
        accepted.sort();
        assert_eq!(accepted, others, "L3: what was accepted where");
    }
    world.next(&report, 1000);
    let report = world.run(|_| accept());
    assert_eq!((report.counts(), report.sent.len()), ((5, 0, 0, 0), 5));
    assert!(report.sent.iter().all(|sent| sent.endpoint == 1));
}

/// R17: `require: 1`: one acceptance records, whatever the other says and whichever comes first.
#[test]
fn one_acceptance_is_enough_where_one_is_required() {
    for good in [0, 1] {
        for class in [ErrorClass::Transient, ErrorClass::TargetRefused(Culprit::Target), ErrorClass::Fatal] {
            let mut world = World::new(vec![cluster("own", 2, 1)]).urls(0, 5);
            let report = world.run(|sent| if sent.endpoint == good { accept() } else { refuse(class) });
            assert_eq!(report.counts(), (5, 0, 0, 0), "endpoint {good} accepts, the other says {class:?}");
        }
    }
}

/// R17, L3: a target that one cache refuses for good is rejected, and stays so whatever another cache says later.
#[test]
fn a_target_that_one_cache_refuses_is_rejected_for_good() {
    for class in [ErrorClass::Transient, ErrorClass::Throttled, ErrorClass::Fatal] {
        let mut world = World::new(vec![cluster("own", 2, 2)]).urls(0, 1);
        let refused = ErrorClass::TargetRefused(Culprit::Target);
        let report = world.run(|sent| refuse(if sent.endpoint == 0 { refused } else { class }));
        assert_eq!(report.counts(), (0, 0, 0, 1), "the other says {class:?}");
    }
}

/// L2: trouble with one endpoint does not slow the others down.
#[test]
fn a_throttled_endpoint_does_not_slow_the_others_down() {
    let mut world = World::new(vec![cluster("own", 2, 1)]).urls(0, 500);
    let report = world.run(|sent| if sent.endpoint == 1 { refuse(ErrorClass::Throttled) } else { accept() });
    assert_eq!(report.counts(), (500, 0, 0, 0));
    let last = report.sent.iter().filter(|sent| sent.endpoint == 0).map(|sent| sent.at).max();
    assert!(last.is_some_and(|at| at < 5500), "{last:?}");
}

// --- Stops ----------------------------------------------------------------------------------------------------------

/// C14: after an interrupt nothing leaves, what is under way is still recorded, the rest stays pending.
#[test]
fn an_interrupt_lets_calls_under_way_finish_and_sends_nothing_new() {
    let mut world = World::new(vec![vod("a")]).urls(0, 400);
    world.latency = 700;
    world.cancel_at = Some(1500);
    let report = world.run(|_| accept());
    assert!(report.sent.iter().all(|sent| sent.at <= 1500));
    let under_way = report.sent.iter().filter(|sent| sent.lands > 1500).count();
    assert!(under_way > 1, "nothing was under way");
    let recorded = report.sent.len() * 20;
    assert_eq!((report.counts(), world.used()), ((recorded, 400 - recorded, 0, 0), recorded as u64));
}

/// C14: a call whose intent is written and that has not left leaves neither doubt nor debit behind.
#[test]
fn a_prepared_call_is_taken_back_on_an_interrupt() {
    let world = World::new(vec![vod("a")]).urls(0, 60);
    let plan = world.plan();
    let changes = world.table();
    let mut machine = Apply::new(&world.model, &changes, &plan, Paces::at_start(Tick::from_ms(0)), 1);
    let at = |ms| Now { wall: START.plus_ms(ms), tick: Tick::from_ms(ms.cast_unsigned()) };
    machine.handle(Event::Woke, at(0));
    let Action::Persist(Record::Intent { call, items, debit, .. }) = machine.poll(at(204)) else { panic!("no intent") };
    machine.handle(Event::Cancelled, at(205));
    machine.handle(Event::Persisted(call), at(206));
    let Action::Persist(Record::Outcome { call: taken, items: outcomes, may_have_purged, credit, .. }) =
        machine.poll(at(206))
    else {
        panic!("the intent stays in doubt")
    };
    assert_eq!((taken, credit, may_have_purged), (call, debit, false));
    let later: Vec<(usize, ItemOutcome)> = items.iter().map(|&index| (index, ItemOutcome::Later(None))).collect();
    assert_eq!(outcomes, later);
    assert_eq!(machine.poll(at(206)), Action::Done);
}

/// R7: a purge that was accepted, or whose answer was lost or may stand for one, may have been carried out; a refused one was not.
#[test]
fn each_outcome_says_whether_its_call_may_have_purged() {
    let ends: [(fn() -> Ending, bool); 9] = [
        (accept, true),
        (|| refuse(ErrorClass::Unknown), true),
        (|| refuse(ErrorClass::Transient), true),
        (|| fail(TransportFailureKind::Unknown), true),
        (|| fail(TransportFailureKind::NotConnected), false),
        (|| fail(TransportFailureKind::Tls), false),
        (|| refuse(ErrorClass::Throttled), false),
        (|| refuse(ErrorClass::Auth), false),
        (|| refuse(ErrorClass::TargetRefused(Culprit::Target)), false),
    ];
    for (ending, expected) in ends {
        let mut world = World::new(vec![vod("a")]).urls(0, 1);
        let report = world.run(|_| ending());
        let says = |wanted| {
            report
                .wrote(|record| matches!(record, Record::Outcome { may_have_purged, .. } if *may_have_purged == wanted))
        };
        assert_eq!((says(expected), says(!expected)), (true, false), "{:?}", report.log);
    }
}

/// L2: what a stopped provider gives back is there for the others of its account, in the same run.
#[test]
fn quota_of_a_call_that_is_taken_back_can_be_used_at_once() {
    let mut world = World::new(vec![vod_with_quota("a", 60), vod_with_quota("b", 60)]).urls(0, 40).urls(1, 20);
    world.accounts = vec!["one".to_owned(); 2];
    let report = world.run(|sent| if sent.provider == 0 { refuse(ErrorClass::Auth) } else { accept() });
    assert_eq!((report.counts(), world.used()), ((20, 40, 0, 0), 20));
}

/// A second answer to a call, or one to a call that never was, changes nothing.
#[test]
fn an_answer_to_no_call_is_ignored() {
    let world = World::new(vec![vod("a")]).urls(0, 1);
    let plan = world.plan();
    let changes = world.table();
    let mut machine = Apply::new(&world.model, &changes, &plan, Paces::at_start(Tick::from_ms(0)), 1);
    let now = Now { wall: START, tick: Tick::from_ms(0) };
    machine.handle(Event::Ended(CallId(99), accept()), now);
    machine.handle(Event::Persisted(CallId(99)), now);
    assert_eq!(machine.states().iter().cloned().collect::<Vec<_>>(), [ItemState::Pending(None)]);
}
