//! Quota days of vendors and of the clock here: where they differ, and where the clock is set in mid-run.

use freshen::core::contract::{Culprit, ErrorClass};
use freshen::core::event::{Ending, ItemState, Record};
use freshen::core::recorded::{Standing, Wait};
use freshen::core::time::Timestamp;

use super::{DAY_MS, vod_with_quota};
use crate::support::world::{Report, START, World, accept, cluster, refuse, refuse_until};

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;

/// One provider with a ledger, one without.
fn worlds() -> [World; 2] {
    [World::new(vec![vod_with_quota("a", 40)]).urls(0, 10), World::new(vec![cluster("a", 1, 1)]).urls(0, 10)]
}

/// The vendor, whose clock says `server`, calls the day's quota spent.
fn spent_at(server: Option<Timestamp>) -> Ending {
    let Ending::Refused(mut error) = refuse(ErrorClass::QuotaSpent) else { panic!("a refusal") };
    error.server_time = server;
    Ending::Refused(error)
}

fn all_wait_until(report: &Report, until: Timestamp) {
    let waits = |state: &ItemState| matches!(state, ItemState::Deferred(at, _, _) if *at == until);
    assert!(report.states.iter().all(waits), "not all until {until:?}: {:?}", report.states);
}

fn told_spent(report: &Report) -> bool {
    report.wrote(|record| matches!(record, Record::QuotaSpent { .. }))
}

/// T3: a vendor whose clock is behind, or that counts anew late, answers for the day before: the new day is not spent by that.
#[test]
fn a_day_that_has_just_begun_is_not_spent_by_the_day_before() {
    for (late, server) in [(0, None), (0, Some(-SECOND)), (14 * MINUTE, None), (SECOND, Some(SECOND))] {
        for mut world in worlds() {
            let midnight = START.next_midnight(480);
            world.wall = midnight.plus_ms(late);
            let server = server.map(|ms| midnight.plus_ms(ms));
            let report = world.run(|_| spent_at(server));
            all_wait_until(&report, midnight.plus_ms(15 * MINUTE));
            assert!(!told_spent(&report) && report.sent.len() == 1);
            world.next(&report, 15 * MINUTE - late);
            assert_eq!(world.run(|_| accept()).counts(), (10, 0, 0, 0), "the new day has its quota");
        }
    }
}

/// T3: the day has begun here hours ago, and not yet where the vendor is: it is asked again soon.
#[test]
fn an_answer_from_before_the_day_does_not_spend_it() {
    for mut world in worlds() {
        let midnight = START.next_midnight(480);
        world.wall = midnight.plus_ms(6 * 60 * MINUTE);
        let report = world.run(|_| spent_at(Some(midnight.plus_ms(-SECOND))));
        let ended = i64::try_from(report.took).expect("a short run");
        all_wait_until(&report, world.wall.plus_ms(ended + 15 * MINUTE));
        assert!(!told_spent(&report));
    }
}

/// T3: once the vendor surely counts the new day, its word stands until the next one.
#[test]
fn a_day_that_is_spent_waits_for_the_next() {
    for (late, server) in [(15 * MINUTE, None), (60 * MINUTE, Some(20 * MINUTE)), (DAY_MS - SECOND, Some(DAY_MS))] {
        for (index, mut world) in worlds().into_iter().enumerate() {
            let midnight = START.next_midnight(480);
            world.wall = midnight.plus_ms(late);
            let report = world.run(|_| spent_at(server.map(|ms| midnight.plus_ms(ms))));
            all_wait_until(&report, midnight.plus_ms(DAY_MS));
            assert_eq!(told_spent(&report), index == 0, "where a ledger is kept");
        }
    }
}

/// T3: what a call of yesterday hears, however late, is about yesterday: it goes again, and the new day has its quota.
#[test]
fn a_call_of_yesterday_does_not_spend_today() {
    for mut world in worlds() {
        let midnight = START.next_midnight(480);
        world.wall = midnight.plus_ms(-SECOND);
        world.latency = u64::try_from(20 * MINUTE).expect("some minutes");
        let mut calls = 0;
        let report = world.run(|_| {
            calls += 1;
            if calls == 1 { spent_at(None) } else { accept() }
        });
        assert_eq!((report.counts(), told_spent(&report)), ((10, 0, 0, 0), false));
        let days: Vec<(&str, u64)> = world.disk.quota.iter().map(|(key, used)| (key.day.as_str(), *used)).collect();
        assert!(days.is_empty() || days == [("2023-11-15", 0), ("2023-11-16", 10)], "{days:?}");
    }
}

/// T3, S5: what a run counts, and until when its targets wait, is by the time that it began, whatever the clock is set to meanwhile.
#[test]
fn a_clock_that_is_set_in_mid_run_moves_no_quota_day() {
    let jumps: [fn(u64) -> i64; 4] = [
        |at| if (300..700).contains(&at) { 40 * DAY_MS } else { 0 },
        |at| if at < 500 { 0 } else { DAY_MS },
        |at| if (300..700).contains(&at) { -40 * DAY_MS } else { 0 },
        |at| if at < 500 { 0 } else { -DAY_MS },
    ];
    for (index, jump) in jumps.into_iter().enumerate() {
        let mut world = World::new(vec![vod_with_quota("a", 100)]).urls(0, 100);
        world.clock_off = jump;
        assert_eq!(world.run(|_| accept()).counts().0, 100, "{index}");
        let days: Vec<(&str, u64)> = world.disk.quota.iter().map(|(key, used)| (key.day.as_str(), *used)).collect();
        assert_eq!(days, [("2023-11-15", 100)], "{index}");
        for mut world in worlds() {
            world.latency = 450;
            world.clock_off = jump;
            let report = world.run(|_| refuse(ErrorClass::QuotaSpent));
            all_wait_until(&report, START.next_midnight(480));
            assert!(world.disk.quota.keys().all(|key| key.day == "2023-11-15"), "{index}: {:?}", world.disk.quota);
        }
    }
}

/// L2: no answer has a host wait for longer than a day: a later run would not believe it.
#[test]
fn a_host_waits_a_day_at_most() {
    for (asked_ms, waited_ms) in [(DAY_MS / 2, DAY_MS / 2), (3 * DAY_MS, DAY_MS)] {
        let mut world = World::new(vec![vod_with_quota("a", 40)]).urls(0, 1);
        let busy = ErrorClass::TargetRefused(Culprit::BusyHost);
        let report = world.run(|_| refuse_until(busy, Some(asked_ms.unsigned_abs())));
        let ended = i64::try_from(report.took).expect("a short run");
        all_wait_until(&report, START.plus_ms(waited_ms + ended));
        world.next(&report, waited_ms);
        let early = world.run(|_| panic!("its time has not come"));
        world.next(&early, ended);
        assert_eq!(world.run(|_| accept()).counts(), (1, 0, 0, 0));
    }
}

/// T2: what was deferred by a clock that was years ahead does not wait for those years.
#[test]
fn a_deferral_that_cannot_be_is_not_waited_for() {
    for wait in [Wait::Quota, Wait::Host { times: 3 }] {
        for (ahead, sent) in [(DAY_MS, 0), (DAY_MS + 1, 1), (4000 * DAY_MS, 1)] {
            let mut world = World::new(vec![cluster("a", 1, 1)]).urls(0, 1);
            let (until, reason, config) = (START.plus_ms(ahead), "spent".to_owned(), String::new());
            world.changes[0].standing = Standing::Deferred { until, reason, wait, config };
            assert_eq!(world.run(|_| accept()).sent.len(), sent, "{wait:?}, {ahead} ms");
        }
    }
}
