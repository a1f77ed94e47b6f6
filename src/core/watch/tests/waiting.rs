//! What waits at providers after failures, and when it is tried again.

use super::*;

/// W6: waits grow up to a cap, with jitter, and success forgets them.
#[test]
fn a_failing_provider_is_asked_less_and_less() {
    let mut world = World::new();
    world.machine.resync_ms = u64::MAX / 4;
    world.expect_run(RunReason::Start);
    let mut waits = Vec::new();
    for _ in 0..12 {
        world.end(RunEnd::Done(vec![failed("a")]));
        waits.push(world.sleep_to_run(RunReason::Retry));
    }
    for (index, wait) in waits.iter().enumerate() {
        let step = (RETRY_BASE_MS << index.min(16)).min(RETRY_CAP_MS);
        assert!((step / 2..=step).contains(wait), "wait {index} of {waits:?}");
    }
    assert!(waits[8..].windows(2).any(|pair| pair[0] != pair[1]), "jitter: {waits:?}");
    world.end(RunEnd::Done(vec![ProviderEnd { recovered: true, ..failed_in_part("a") }]));
    assert!(world.sleep_to_run(RunReason::Retry) <= RETRY_BASE_MS, "progress counts");
}

/// W6: files that change go to the healthy providers at once and leave the failing one in peace.
#[test]
fn changes_do_not_hammer_a_failing_provider() {
    let mut world = World::settled();
    world.change();
    world.sleep_to_run(RunReason::Changed);
    world.end(RunEnd::Done(vec![failed("a"), ProviderEnd { pending: 0, ..left("b") }]));
    let until = world.machine.retry_of("a").unwrap();
    assert_eq!((until.failures, until.endpoints), (1, true));
    while world.now.tick.plus_ms(300) < until.at {
        world.change();
        world.pass(QUIET_MS);
        world.expect_run(RunReason::Changed);
        assert_eq!(world.held, held(&[0], true));
        world.end(RunEnd::Done(vec![untouched("a")]));
        assert_eq!(world.machine.retry_of("a"), Some(until), "its time stays");
    }
    world.sleep_to_run(RunReason::Retry);
    assert_eq!(world.held, []);
}

/// Another configuration starts anew; so does a word of the user.
#[test]
fn a_changed_configuration_or_the_user_resets_the_wait() {
    let mut world = World::settled();
    world.change();
    world.sleep_to_run(RunReason::Changed);
    for _ in 0..5 {
        world.end(RunEnd::Done(vec![failed("a")]));
        world.sleep_to_run(RunReason::Retry);
    }
    world.end(RunEnd::Done(vec![ProviderEnd { config: "c2".into(), ..failed("a") }]));
    assert_eq!(world.machine.retry_of("a").unwrap().failures, 1);
    world.handle(WatchEvent::Reload);
    world.expect_run(RunReason::Reload);
    assert_eq!(world.held, []);
}

/// W6: what a run leaves that was under way when the user asked is no exception.
#[test]
fn the_user_resets_the_wait_of_what_fails_meanwhile() {
    let mut world = World::settled();
    world.change();
    world.sleep_to_run(RunReason::Changed);
    world.handle(WatchEvent::Sending);
    world.handle(WatchEvent::Reload);
    assert_eq!(world.poll(), WatchAction::CutShort);
    world.end(RunEnd::Done(vec![failed("a")]));
    world.expect_run(RunReason::Reload);
    assert_eq!(world.held, []);
}

/// T2: a quota day that begins in hours is found also if the wall clock jumps over it or back.
#[test]
fn deferred_work_goes_on_when_its_time_comes_whatever_the_clock_does() {
    const HOUR_MS: i64 = 3_600_000;
    for (jump_ms, hours_left) in [(0, 3), (3 * HOUR_MS, 0), (-2 * HOUR_MS, 5)] {
        let mut world = World::settled();
        world.machine.resync_ms = u64::MAX / 4;
        world.change();
        world.sleep_to_run(RunReason::Changed);
        let until = world.now.wall.plus_ms(3 * HOUR_MS);
        world.end(RunEnd::Done(vec![ProviderEnd { deferred_until: Some(until), ..left("a") }]));
        assert!(world.rest() <= LOOK_AGAIN_MS);
        world.now.wall = world.now.wall.plus_ms(jump_ms);
        let slept = i64::try_from(world.sleep_to_run(RunReason::Retry)).unwrap();
        assert!((slept - hours_left * HOUR_MS).abs() <= 60_000, "{jump_ms}: {slept}");
    }
}

/// A quota that is still spent after its day has ended is no reason to ask again and again.
#[test]
fn a_quota_that_does_not_come_back_is_waited_for_with_backoff() {
    let mut world = World::settled();
    world.change();
    world.sleep_to_run(RunReason::Changed);
    let mut slept = Vec::new();
    for _ in 0..4 {
        let until = Some(world.now.wall.plus_ms(-1));
        world.end(RunEnd::Done(vec![ProviderEnd { deferred_until: until, ..left("a") }]));
        slept.push(world.sleep_to_run(RunReason::Retry));
    }
    assert!(slept[0] >= RETRY_BASE_MS / 2 && slept[3] >= RETRY_BASE_MS * 4, "{slept:?}");
}

/// R1: a state that is locked is tried again soon, then less often, and no run is lost.
#[test]
fn a_run_that_cannot_be_made_is_tried_again() {
    let mut world = World::new();
    world.expect_run(RunReason::Start);
    let mut waits = Vec::new();
    for _ in 0..10 {
        world.end(RunEnd::Failed);
        waits.push(world.sleep_to_run(RunReason::Retry));
    }
    assert!(waits[0] <= FAILED_BASE_MS && *waits.last().unwrap() >= FAILED_CAP_MS / 2, "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= FAILED_CAP_MS), "{waits:?}");
    world.end(RunEnd::Failed);
    world.change();
    assert!(world.sleep_to_run(RunReason::Changed) <= QUIET_MS, "files that change do not wait for it");
}

/// L2: targets that fail wait for their time, and nothing else does.
#[test]
fn new_changes_do_not_wait_for_targets_that_fail() {
    let mut world = World::settled();
    world.machine.resync_ms = u64::MAX / 4;
    world.change();
    world.sleep_to_run(RunReason::Changed);
    for _ in 0..10 {
        world.end(RunEnd::Done(vec![failed_in_part("a")]));
        world.sleep_to_run(RunReason::Retry);
    }
    world.end(RunEnd::Done(vec![failed_in_part("a")]));
    let until = world.machine.retry_of("a").unwrap();
    assert!(!until.endpoints && until.failures > 8, "{until:?}");
    for _ in 0..5 {
        world.change();
        world.pass(QUIET_MS);
        world.expect_run(RunReason::Changed);
        assert_eq!(world.held, held(&[], true));
        let accepted = vec![EndpointEnd { accepted: true, ..reached(0) }];
        world.end(RunEnd::Done(vec![ProviderEnd { endpoints: accepted, ..untouched("a") }]));
        assert_eq!(world.machine.retry_of("a"), Some(until), "neither sooner nor later");
    }
    world.change();
    world.pass(QUIET_MS);
    world.expect_run(RunReason::Changed);
    world.end(RunEnd::Done(vec![failed_in_part("a")]));
    assert!(world.sleep_to_run(RunReason::Retry) <= RETRY_BASE_MS, "what fails for the first time waits as if alone");
    assert_eq!(world.held, []);
}

/// W6: where one target fails alone it may be to blame; once another one fails that was never tried, it is the endpoint.
#[test]
fn a_second_target_that_fails_tells_that_it_is_the_provider() {
    let alone = || ProviderEnd {
        endpoints: vec![EndpointEnd { trouble: Some(FailureScope::Target), ..reached(0) }],
        ..failed("a")
    };
    let mut world = World::settled();
    world.machine.resync_ms = u64::MAX / 4;
    world.change();
    world.sleep_to_run(RunReason::Changed);
    for _ in 0..4 {
        world.end(RunEnd::Done(vec![alone()]));
        assert!(!world.machine.retry_of("a").unwrap().endpoints);
        world.sleep_to_run(RunReason::Retry);
    }
    world.end(RunEnd::Done(vec![alone()]));
    world.change();
    world.pass(QUIET_MS);
    world.expect_run(RunReason::Changed);
    assert_eq!(world.held, held(&[], true));
    world.end(RunEnd::Done(vec![alone()]));
    for failures in 1..5 {
        let retry = world.machine.retry_of("a").unwrap();
        assert_eq!((retry.endpoints, retry.failures), (true, failures));
        world.change();
        world.pass(QUIET_MS);
        world.expect_run(RunReason::Changed);
        assert_eq!(world.held, held(&[0], true));
        world.end(RunEnd::Done(vec![untouched("a")]));
        world.sleep_to_run(RunReason::Retry);
        assert_eq!(world.held, [], "asked with all that waits");
        world.end(RunEnd::Done(vec![alone()]));
    }
    world.sleep_to_run(RunReason::Retry);
    world.end(RunEnd::Done(vec![failed_in_part("a")]));
    assert!(!world.machine.retry_of("a").unwrap().endpoints, "something was accepted");
}

/// L2: of several caches the dead one is left in peace, and only that.
#[test]
fn a_dead_endpoint_does_not_hold_up_the_others() {
    let dead = EndpointEnd { trouble: Some(FailureScope::Endpoint), ..reached(1) };
    let well = EndpointEnd { accepted: true, ..reached(0) };
    let mut world = World::settled();
    world.machine.resync_ms = u64::MAX / 4;
    world.change();
    world.sleep_to_run(RunReason::Changed);
    for _ in 0..6 {
        world.end(RunEnd::Done(vec![ProviderEnd { endpoints: vec![well.clone(), dead.clone()], ..failed("a") }]));
        world.change();
        world.pass(QUIET_MS);
        world.expect_run(RunReason::Changed);
        assert_eq!(world.held, held(&[1], true));
        world.end(RunEnd::Done(vec![ProviderEnd { endpoints: vec![well.clone()], ..untouched("a") }]));
        world.sleep_to_run(RunReason::Retry);
        assert_eq!(world.held, []);
    }
}

/// W6: several caches that are dead are asked together, and one that has been dead for long is no reason to wait for another.
#[test]
fn dead_endpoints_are_asked_together() {
    let dead = |endpoint: u8| EndpointEnd { trouble: Some(FailureScope::Endpoint), ..reached(endpoint) };
    let well = |endpoint: u8| EndpointEnd { accepted: true, ..reached(endpoint) };
    let mut world = World::settled();
    world.machine.resync_ms = u64::MAX / 4;
    world.change();
    world.sleep_to_run(RunReason::Changed);
    for _ in 0..10 {
        world.end(RunEnd::Done(vec![ProviderEnd { endpoints: vec![well(0), dead(1)], ..failed("a") }]));
        world.sleep_to_run(RunReason::Retry);
    }
    world.end(RunEnd::Done(vec![ProviderEnd { endpoints: vec![well(0), dead(1)], ..failed("a") }]));
    world.change();
    world.pass(QUIET_MS);
    world.expect_run(RunReason::Changed);
    for wait in [RETRY_BASE_MS, RETRY_BASE_MS * 2] {
        world.end(RunEnd::Done(vec![ProviderEnd { endpoints: vec![dead(0)], ..failed("a") }]));
        assert!(world.sleep_to_run(RunReason::Retry) <= wait);
        assert_eq!(world.held, []);
    }
}

/// A deferral that comes due while its provider is left in peace is looked at once that is over.
#[test]
fn a_late_deferral_is_not_forgotten() {
    let mut world = World::settled();
    world.machine.resync_ms = u64::MAX / 4;
    world.change();
    world.sleep_to_run(RunReason::Changed);
    let until = Some(world.now.wall.plus_ms(1));
    let late = ProviderEnd { deferred_until: until, ..left("a") };
    world.pass(10);
    world.end(RunEnd::Done(vec![late.clone()]));
    let retry = world.machine.retry_of("a").unwrap();
    world.change();
    world.pass(QUIET_MS);
    world.expect_run(RunReason::Changed);
    world.end(RunEnd::Done(vec![late]));
    assert_eq!(world.machine.retry_of("a"), Some(retry));
    assert!(world.sleep_to_run(RunReason::Retry) <= RETRY_BASE_MS);
}

/// T5: a wait that a provider asks for is kept over runs, also if meanwhile nothing is left to do, up to a cap.
#[test]
fn a_wait_that_is_asked_for_is_kept() {
    const YEAR_MS: u64 = 365 * 86_400_000;
    for (asked_ms, kept_ms) in [(600_000, 600_000), (YEAR_MS, ASKED_CAP_MS)] {
        let mut world = World::settled();
        world.machine.resync_ms = u64::MAX / 4;
        world.change();
        world.sleep_to_run(RunReason::Changed);
        let not_before = Some(world.now.tick.plus_ms(asked_ms));
        let asks = EndpointEnd { trouble: Some(FailureScope::Endpoint), not_before, ..reached(0) };
        let began = world.now.tick;
        world.end(RunEnd::Done(vec![ProviderEnd { endpoints: vec![asks], ..failed("a") }]));
        world.change();
        world.pass(QUIET_MS);
        world.expect_run(RunReason::Changed);
        world.end(RunEnd::Done(Vec::new()));
        assert_eq!(world.poll(), WatchAction::WakeAt(Some(world.machine.resync_at)), "nothing is left to do");
        world.change();
        world.pass(QUIET_MS);
        world.expect_run(RunReason::Changed);
        assert_eq!(world.held, held(&[0], false));
        world.end(RunEnd::Done(vec![ProviderEnd { pending: 1, ..left("a") }]));
        world.sleep_to_run(RunReason::Retry);
        assert_eq!((world.now.tick.since(began), world.held.clone()), (kept_ms, Vec::new()));
    }
}

/// Sleeps until work at `a` is tried. Looks at a refusal, and at everything, come between and try nothing of it.
#[track_caller]
fn sleep_to_try(world: &mut World, announced: Tick, blocked: bool) {
    loop {
        let WatchAction::Run(request) = world.poll() else {
            let ms = world.rest();
            world.pass(ms);
            continue;
        };
        if request.held("a", "c1").is_none() && world.now.tick >= announced {
            assert_eq!(world.now.tick, announced);
            return;
        }
        assert!(world.now.tick < announced, "it came, and was held");
        assert!(request.reason != RunReason::Retry || blocked, "sooner than announced");
        world.end(if blocked { RunEnd::Blocked(None) } else { RunEnd::Cut });
    }
}

/// W6: log and page announce the try that comes, for each thing that may hold work up.
#[test]
fn the_next_try_that_is_announced_is_the_one_that_comes() {
    const MINUTE_MS: u64 = 60_000;
    for case in 0..4 * 2 * 6 {
        let (wait, slow, hold) = (case % 4, case / 4 % 2, case / 8);
        let mut world = World::settled();
        world.machine.resync_ms = if slow == 1 { u64::MAX / 4 } else { RESYNC_MS };
        world.change();
        world.sleep_to_run(RunReason::Changed);
        let in_minutes = |minutes: i64| Some(world.now.wall.plus_ms(minutes * 60_000));
        let resting = EndpointEnd { not_before: Some(world.now.tick.plus_ms(7 * MINUTE_MS)), ..reached(0) };
        let ends = vec![match wait {
            0 => failed("a"),
            1 => ProviderEnd { deferred_until: in_minutes(11), ..left("a") },
            2 => ProviderEnd { endpoints: vec![resting], pending: 1, ..left("a") },
            _ => ProviderEnd { deferred_until: in_minutes(3), ..failed_in_part("a") },
        }];
        world.end(if hold == 1 { RunEnd::Blocked(Some(ends)) } else { RunEnd::Done(ends) });
        let announced = |world: &World| {
            let announced = world.machine.next_try("a", world.now).expect("it waits");
            let retry = world.machine.retry_of("a").map(|retry| retry.at);
            assert!(retry.is_none_or(|at| at >= announced), "{case}");
            announced
        };
        // The run between comes before the time of the work, or at it.
        match hold {
            2 | 3 => {
                world.change();
                world.sleep_to_run(RunReason::Changed);
            }
            4 | 5 => {
                let first = announced(&world);
                sleep_to_try(&mut world, first, false);
            }
            _ => {}
        }
        match hold {
            2 | 4 => world.end(RunEnd::Blocked(None)),
            3 | 5 => world.end(RunEnd::Failed),
            _ => {}
        }
        let announced = announced(&world);
        assert!(announced > world.now.tick, "{case}");
        sleep_to_try(&mut world, announced, hold > 0);
    }
}
