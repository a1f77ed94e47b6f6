//! Calls that are accepted with some of their targets: the others go their own way, each by its reason.

use super::*;
use freshen::core::contract::{CallError, Reply};

/// Accepts the call and refuses those of these URLs that it holds.
fn accept_without(bad: &[(String, ErrorClass)]) -> impl Fn(&Sent) -> Ending {
    move |sent| {
        let refusal = |class: ErrorClass| match refuse(class) {
            Ending::Refused(error) => error,
            other => panic!("{other:?}"),
        };
        let class_of = |url: &String| bad.iter().find(|(bad, _)| bad == url).map(|(_, class)| *class);
        let refused = sent.urls.iter().enumerate().filter_map(|(at, url)| Some((at, refusal(class_of(url)?))));
        let refused: Vec<(usize, CallError)> = refused.collect();
        Ending::Accepted(Reply { task_ids: vec!["task".to_owned()], refused, ..Reply::default() })
    }
}

/// R10, R11: refused targets fail with their own reason, the others are recorded, and no call is made twice for it.
#[test]
fn targets_that_are_refused_beside_accepted_ones_fail_alone() {
    let target = ErrorClass::TargetRefused(Culprit::Target);
    let mut world = World::new(vec![vod_with_quota("a", 1000)]).urls(0, 40);
    let report = world.run(accept_without(&[(url(3), target), (url(7), target), (url(30), target)]));
    assert_eq!((report.sent.len(), report.counts()), (2, (37, 0, 0, 3)));
    let ItemState::Rejected(reason) = &report.states[7] else { panic!("{:?}", report.states[7]) };
    assert!(reason.contains("said the vendor"), "{reason}");
    assert_eq!((world.used(), &report.stops[0].reason), (37, &None), "what was refused costs nothing");
}

/// R10, L2, T3: what may pass is sent again or waits; only the refused targets do.
#[test]
fn each_class_of_partial_refusal_has_its_place() {
    for (class, counts, calls, used) in [
        (ErrorClass::Transient, (20, 0, 0, 0), 2, 21),
        (ErrorClass::Throttled, (20, 0, 0, 0), 2, 20),
        (ErrorClass::SignAgain, (20, 0, 0, 0), 2, 20),
        (ErrorClass::TargetRefused(Culprit::BusyHost), (19, 0, 1, 0), 1, 19),
        (ErrorClass::TargetRefused(Culprit::Host), (19, 0, 0, 1), 1, 19),
        (ErrorClass::BatchTooLarge, (19, 0, 0, 1), 1, 19),
        (ErrorClass::QuotaSpent, (19, 0, 1, 0), 1, 1000),
        (ErrorClass::Fatal, (19, 1, 0, 0), 1, 19),
    ] {
        let mut world = World::new(vec![vod_with_quota("a", 1000)]).urls(0, 20);
        let mut first = true;
        let report = world.run(|sent| {
            let bad = if std::mem::take(&mut first) { vec![(url(5), class)] } else { Vec::new() };
            accept_without(&bad)(sent)
        });
        assert_eq!((report.counts(), report.sent.len(), world.used()), (counts, calls, used), "{class:?}");
        assert!(report.sent.iter().skip(1).all(|sent| sent.urls == [url(5)]), "{class:?}");
    }
}

/// R11: a reply that refuses all is no acceptance, and blames no target while nothing shows that it is to blame.
#[test]
fn a_reply_that_refuses_everything_accepts_nothing() {
    let target = ErrorClass::TargetRefused(Culprit::Target);
    let mut world = World::new(vec![vod("a")]).urls(0, 15);
    let all: Vec<_> = (0..15).map(|number| (url(number), target)).collect();
    assert_eq!(world.run(accept_without(&all)).counts(), (0, 15, 0, 0));
    let mut world = World::new(vec![vod("a")]).urls(0, 25);
    assert_eq!(world.run(accept_without(&all)).counts(), (10, 0, 0, 15), "others are accepted");
}

/// Where several caches must accept, a target that one refuses counts there alone.
#[test]
fn a_cache_that_refuses_a_part_does_not_count_for_it() {
    let mut world = World::new(vec![cluster("a", 2, 1)]).urls(0, 3);
    let target = ErrorClass::TargetRefused(Culprit::Target);
    let report = world.run(|sent| match sent.endpoint {
        0 => accept_without(&[(url(1), target)])(sent),
        _ => accept(),
    });
    assert_eq!(report.counts(), (3, 0, 0, 0));
}

/// R7: each part of a call says for itself whether it may have been carried out.
#[test]
fn each_part_of_a_call_says_whether_it_may_have_purged() {
    let bad = [
        (url(1), ErrorClass::Unknown),
        (url(2), ErrorClass::TargetRefused(Culprit::Target)),
        (url(3), ErrorClass::Throttled),
    ];
    let report = World::new(vec![vod("a")]).urls(0, 4).run(accept_without(&bad));
    let says = |record: &Record| match record {
        Record::Outcome { items, may_have_purged, left_out, .. } => {
            *may_have_purged && items.len() == 4 && *left_out == [2, 3]
        }
        _ => false,
    };
    assert!(report.wrote(says), "{:?}", report.log);
}
