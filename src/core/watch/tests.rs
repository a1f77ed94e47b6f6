//! The machine in virtual time.

use std::net::IpAddr;

use super::*;

const RESYNC_MS: u64 = 300_000;

/// The machine with a clock that only the test moves.
struct World {
    machine: Watch,
    now: Now,
    /// When runs started, and why.
    runs: Vec<(u64, RunReason)>,
    held: Vec<Hold>,
    rereads: RereadPolicy,
}

impl World {
    fn new() -> Self {
        let now = Now { wall: Timestamp::from_unix_ms(1_700_000_000_000), tick: Tick::from_ms(1000) };
        Self {
            machine: Watch::new(RESYNC_MS, 7),
            now,
            runs: Vec::new(),
            held: Vec::new(),
            rereads: RereadPolicy::Never,
        }
    }

    /// After a first run that left nothing.
    fn settled() -> Self {
        let mut world = Self::new();
        world.expect_run(RunReason::Start);
        world.end(RunEnd::Done(Vec::new()));
        world.runs.clear();
        world
    }

    fn handle(&mut self, event: WatchEvent) {
        self.machine.handle(event, self.now);
    }

    fn change(&mut self) {
        self.handle(WatchEvent::Changed(self.now.tick));
    }

    fn pass(&mut self, ms: u64) {
        self.now = Now { wall: self.now.wall.plus_ms(i64::try_from(ms).unwrap()), tick: self.now.tick.plus_ms(ms) };
    }

    fn poll(&mut self) -> WatchAction {
        let action = self.machine.poll(self.now);
        if let WatchAction::Run(request) = &action {
            self.runs.push((self.now.tick.ms(), request.reason));
            self.held.clone_from(&request.held);
            self.rereads = request.rereads;
        }
        action
    }

    #[track_caller]
    fn expect_run(&mut self, reason: RunReason) {
        match self.poll() {
            WatchAction::Run(request) => assert_eq!(request.reason, reason),
            other => panic!("{other:?}"),
        }
    }

    /// Milliseconds until it wants to wake.
    #[track_caller]
    fn rest(&mut self) -> u64 {
        match self.poll() {
            WatchAction::WakeAt(Some(tick)) => tick.since(self.now.tick),
            other => panic!("{other:?}"),
        }
    }

    fn end(&mut self, end: RunEnd) {
        self.handle(WatchEvent::RunEnded(end));
    }

    /// Sleeps as long as the machine wants, then lets it run. Returns how long it slept.
    #[track_caller]
    fn sleep_to_run(&mut self, reason: RunReason) -> u64 {
        let mut slept = 0;
        loop {
            match self.poll() {
                WatchAction::WakeAt(Some(tick)) => {
                    let ms = tick.since(self.now.tick);
                    assert!(ms > 0, "a busy loop");
                    slept += ms;
                    self.pass(ms);
                }
                WatchAction::Run(request) => {
                    assert_eq!(request.reason, reason);
                    return slept;
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// W2: half a file may be valid. Its writer is waited for, and not for ever.
#[test]
fn a_file_that_is_being_written_holds_runs_back() {
    let mut world = World::settled();
    world.handle(WatchEvent::Changed(world.now.tick));
    let mut waited = 0;
    for _ in 0..20 {
        world.handle(WatchEvent::Writing(true));
        let rest = world.rest();
        assert!(rest > 0 && rest <= QUIET_MS, "looked at again soon");
        world.pass(rest);
        waited += rest;
    }
    assert!(waited > MOST_QUIET_MS);
    world.handle(WatchEvent::Writing(false));
    assert!(matches!(world.poll(), WatchAction::Run(request) if request.reason == RunReason::Changed));
    world.end(RunEnd::Done(Vec::new()));
    world.handle(WatchEvent::Changed(world.now.tick));
    world.handle(WatchEvent::Writing(true));
    assert_eq!(world.sleep_to_run(RunReason::Changed), MOST_WRITING_MS);
}

/// W2: neither a retry nor a look at everything reads half a file; what the user asks for comes at once.
#[test]
fn no_run_begins_while_files_change() {
    for writing in [false, true] {
        let mut world = World::settled();
        world.handle(WatchEvent::Asked);
        assert!(matches!(world.poll(), WatchAction::Run(_)));
        world.end(RunEnd::Done(vec![failed("own")]));
        world.pass(RETRY_CAP_MS.max(300_000));
        world.handle(WatchEvent::Changed(world.now.tick));
        world.handle(WatchEvent::Writing(writing));
        assert_eq!(world.rest(), QUIET_MS, "writing: {writing}");
        world.handle(WatchEvent::Asked);
        assert!(matches!(world.poll(), WatchAction::Run(request) if request.reason == RunReason::Asked));
    }
}

/// W2: files that change while they are read are waited for again, and no other run reads them meanwhile.
#[test]
fn files_that_change_while_they_are_read_are_read_again() {
    let mut world = World::settled();
    world.change();
    world.sleep_to_run(RunReason::Changed);
    world.end(RunEnd::Done(vec![failed("a")]));
    world.sleep_to_run(RunReason::Retry);
    assert_eq!(world.rereads, RereadPolicy::AfterChanges);
    world.change();
    world.end(RunEnd::Stale);
    assert_eq!(world.sleep_to_run(RunReason::Changed), QUIET_MS, "what is due waits as well");
    world.end(RunEnd::Stale);
    assert_eq!(world.sleep_to_run(RunReason::Changed), QUIET_MS, "also where the event has not come yet");
    world.end(RunEnd::Stale);
    world.change();
    world.handle(WatchEvent::Writing(true));
    assert!(world.rest() <= QUIET_MS, "looked at again soon");
    world.handle(WatchEvent::Writing(false));
    world.sleep_to_run(RunReason::Changed);
    assert_eq!(world.rereads, RereadPolicy::AfterChanges);
}

/// W4: the bound holds over all runs that came to nothing in a row, and begins anew once one did not. Reading may take any time.
#[test]
fn files_that_change_each_time_that_they_are_read_are_acted_on_in_the_end() {
    for reading_ms in [10, 3_000, 600_000] {
        let mut world = World::settled();
        for _ in 0..2 {
            world.change();
            world.sleep_to_run(RunReason::Changed);
            let (mut stale_ms, mut runs) = (0, 0);
            while world.rereads.applies(true, false) {
                world.pass(reading_ms);
                world.change();
                world.end(RunEnd::Stale);
                stale_ms += world.sleep_to_run(RunReason::Changed) + if runs > 0 { reading_ms } else { 0 };
                runs += 1;
            }
            assert!(stale_ms < MOST_QUIET_MS + reading_ms + QUIET_MS && runs >= 1, "{stale_ms} ms, {runs} runs");
            assert_eq!(world.rereads.applies(true, true), reading_ms < MOST_WRITING_MS, "who writes may take longer");
            world.end(RunEnd::Done(Vec::new()));
        }
    }
}

/// W4: a writer that was waited for in vain before a run is not waited for again while it reads.
#[test]
fn files_that_never_come_to_rest_are_acted_on_as_they_are() {
    let mut world = World::settled();
    world.change();
    let began = world.now.tick;
    while let WatchAction::WakeAt(_) = world.poll() {
        world.pass(50);
        world.change();
    }
    assert_eq!((world.now.tick.since(began), world.rereads), (MOST_QUIET_MS, RereadPolicy::WhileWriting));
    world.end(RunEnd::Done(Vec::new()));
    world.change();
    world.handle(WatchEvent::Writing(true));
    assert_eq!(world.sleep_to_run(RunReason::Changed), MOST_WRITING_MS);
    assert_eq!(world.rereads, RereadPolicy::Never);
    world.end(RunEnd::Done(Vec::new()));
    world.change();
    world.handle(WatchEvent::Writing(true));
    world.pass(MOST_WRITING_MS / 2);
    world.change();
    world.handle(WatchEvent::Writing(false));
    world.expect_run(RunReason::Changed);
    assert_eq!(world.rereads, RereadPolicy::WhileWriting, "who has closed one file may write the next one");
    world.handle(WatchEvent::Asked);
    world.change();
    world.end(RunEnd::Cut);
    world.expect_run(RunReason::Asked);
    assert_eq!(world.rereads, RereadPolicy::AfterChanges, "nobody waited for anything");
}

fn left(name: &str) -> ProviderEnd {
    ProviderEnd {
        name: name.to_owned(),
        config: "c1".to_owned(),
        endpoints: Vec::new(),
        recovered: false,
        failed_anew: false,
        trouble: false,
        pending: 0,
        deferred_until: None,
    }
}

/// Nothing was accepted, and not for the sake of a target.
fn failed(name: &str) -> ProviderEnd {
    let endpoints = vec![EndpointEnd { trouble: Some(FailureScope::Endpoint), ..reached(0) }];
    ProviderEnd { endpoints, failed_anew: true, trouble: true, pending: 3, ..left(name) }
}

/// Some targets were not accepted.
fn failed_in_part(name: &str) -> ProviderEnd {
    let endpoints = vec![EndpointEnd { accepted: true, ..reached(0) }];
    ProviderEnd { endpoints, failed_anew: true, trouble: true, pending: 1, ..left(name) }
}

/// A run that went by what is held, and had nothing to do there.
fn untouched(name: &str) -> ProviderEnd {
    ProviderEnd { trouble: true, pending: 1, ..left(name) }
}

/// A cache with several addresses, by number.
fn endpoint(number: u8) -> Endpoint {
    let address = Some(IpAddr::from([10, 0, 0, number]));
    Endpoint { tls: false, host: "caches".into(), port: None, path_prefix: String::new(), address }
}

fn reached(number: u8) -> EndpointEnd {
    EndpointEnd { endpoint: endpoint(number), accepted: false, trouble: None, not_before: None }
}

fn held(endpoints: &[u8], targets: bool) -> Vec<Hold> {
    let endpoints = endpoints.iter().map(|&number| endpoint(number)).collect();
    vec![Hold { provider: "a".into(), config: "c1".into(), endpoints, targets }]
}

/// W2: files are read once they have been left alone for a while.
#[test]
fn quiet_is_waited_for() {
    let mut world = World::settled();
    world.change();
    assert_eq!(world.rest(), QUIET_MS);
    world.pass(150);
    world.change();
    assert_eq!(world.rest(), QUIET_MS, "the last event counts");
    world.pass(QUIET_MS);
    world.expect_run(RunReason::Changed);
}

/// W4: ten thousand events a second for ten seconds and a half are at most a run in two seconds, and the last event is answered.
#[test]
fn a_storm_of_events_is_a_run_in_two_seconds() {
    let mut world = World::settled();
    let mut running = None;
    for _ in 0..10_500 {
        for _ in 0..10 {
            world.change();
        }
        world.pass(1);
        if matches!(world.poll(), WatchAction::Run(_)) {
            running = Some(world.now.tick);
        }
        if running.is_some_and(|since| world.now.tick.since(since) >= 300) {
            world.end(RunEnd::Done(Vec::new()));
            running = None;
        }
    }
    let last_event = world.now.tick.ms();
    if running.is_some() {
        world.end(RunEnd::Done(Vec::new()));
    }
    world.sleep_to_run(RunReason::Changed);
    assert!(world.runs.len() >= 5, "not starved: {:?}", world.runs);
    for pair in world.runs[..world.runs.len() - 1].windows(2) {
        assert!(pair[1].0 - pair[0].0 >= MOST_QUIET_MS, "{:?}", world.runs);
    }
    assert!(world.runs.last().unwrap().0 > last_event);
}

/// W4: whatever happens during a run is one further run.
#[test]
fn at_most_one_run_is_queued() {
    let mut world = World::settled();
    world.change();
    world.sleep_to_run(RunReason::Changed);
    for _ in 0..1000 {
        world.change();
        world.pass(1);
        assert_eq!(world.poll(), WatchAction::WakeAt(None), "one at a time");
    }
    world.pass(QUIET_MS);
    world.end(RunEnd::Done(Vec::new()));
    world.expect_run(RunReason::Changed);
    world.end(RunEnd::Done(Vec::new()));
    assert_eq!(world.rest(), RESYNC_MS, "nothing else was queued");
}

/// A long run at one provider does not keep newer files from the others, and yet it gets to send.
#[test]
fn newer_files_end_a_run_that_has_been_sending() {
    let mut world = World::settled();
    world.change();
    world.sleep_to_run(RunReason::Changed);
    world.change();
    world.pass(60_000);
    assert_eq!(world.poll(), WatchAction::WakeAt(None), "it still reads and plans");
    world.handle(WatchEvent::Sending);
    assert_eq!(world.rest(), PATIENCE_MS);
    world.pass(PATIENCE_MS);
    assert_eq!(world.poll(), WatchAction::CutShort);
    assert_eq!(world.poll(), WatchAction::WakeAt(None), "told once");
    let cut = ProviderEnd { pending: 9, ..left("a") };
    world.end(RunEnd::Done(vec![cut]));
    world.expect_run(RunReason::Changed);
    assert_eq!(world.held, [], "what was cut short goes on at once");
}

/// W4, L2: a run that sends for hours keeps neither a provider that failed in it nor a look at everything waiting.
#[test]
fn a_long_run_gives_way() {
    let mut world = World::settled();
    world.change();
    world.sleep_to_run(RunReason::Changed);
    world.handle(WatchEvent::Sending);
    assert_eq!(world.rest(), MOST_SENDING_MS);
    world.pass(MOST_SENDING_MS);
    assert_eq!(world.poll(), WatchAction::CutShort);
    world.end(RunEnd::Done(vec![ProviderEnd { pending: 9, ..left("a") }, failed("b")]));
    world.expect_run(RunReason::Retry);
    assert_eq!(world.held.len(), 1, "what failed waits for its time, the rest goes on");
}

/// W4: asking more often than everything can be read does not keep what is due from being sent.
#[test]
fn a_user_who_asks_all_the_time_does_not_keep_runs_from_sending() {
    const READING_MS: u64 = 1_000;
    let mut world = World::settled();
    world.handle(WatchEvent::Asked);
    for turn in 0..3 {
        world.expect_run(RunReason::Asked);
        world.handle(WatchEvent::Asked);
        assert_eq!(world.poll(), WatchAction::CutShort, "{turn}: at once, as long as the run before had its turn");
        world.pass(READING_MS);
        world.end(RunEnd::Cut);
        world.expect_run(RunReason::Asked);
        for _ in 0..READING_MS / 100 {
            world.handle(WatchEvent::Asked);
            assert_eq!(world.poll(), WatchAction::WakeAt(None), "{turn}: it reads, and what it reads is new enough");
            world.pass(100);
        }
        world.handle(WatchEvent::Sending);
        assert_eq!(world.rest(), PATIENCE_MS);
        world.pass(PATIENCE_MS);
        assert_eq!(world.poll(), WatchAction::CutShort);
        world.end(RunEnd::Done(vec![ProviderEnd { pending: 9, ..left("a") }]));
    }
}

/// W4: the same where files change meanwhile, and what was read is thrown away.
#[test]
fn a_spared_run_that_reads_again_stays_spared() {
    let mut world = World::settled();
    world.handle(WatchEvent::Asked);
    world.expect_run(RunReason::Asked);
    world.handle(WatchEvent::Asked);
    assert_eq!(world.poll(), WatchAction::CutShort);
    world.end(RunEnd::Cut);
    for _ in 0..2 {
        world.expect_run(RunReason::Asked);
        world.handle(WatchEvent::Asked);
        assert_eq!(world.poll(), WatchAction::WakeAt(None));
        world.change();
        world.end(RunEnd::Stale);
    }
}

#[test]
fn everything_is_looked_at_every_so_often() {
    let mut world = World::settled();
    for _ in 0..3 {
        assert_eq!(world.sleep_to_run(RunReason::Resync), RESYNC_MS);
        world.end(RunEnd::Done(Vec::new()));
    }
}

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
    world.handle(WatchEvent::Asked);
    world.expect_run(RunReason::Asked);
    assert_eq!(world.held, []);
}

/// W6: what a run leaves that was under way when the user asked is no exception.
#[test]
fn the_user_resets_the_wait_of_what_fails_meanwhile() {
    let mut world = World::settled();
    world.change();
    world.sleep_to_run(RunReason::Changed);
    world.handle(WatchEvent::Sending);
    world.handle(WatchEvent::Asked);
    assert_eq!(world.poll(), WatchAction::CutShort);
    world.end(RunEnd::Done(vec![failed("a")]));
    world.expect_run(RunReason::Asked);
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

/// A guard that refuses is no failure of a provider: what was due is looked at again every so often, and is tried at once
/// when the guard is content.
#[test]
fn a_refusal_by_a_guard_does_not_count_as_a_failure() {
    let mut world = World::settled();
    world.machine.resync_ms = u64::MAX / 4;
    world.change();
    world.sleep_to_run(RunReason::Changed);
    world.end(RunEnd::Done(vec![failed("a")]));
    let before = world.machine.retry_of("a");
    world.sleep_to_run(RunReason::Retry);
    for _ in 0..20 {
        world.end(RunEnd::Blocked(None));
        assert_eq!(world.machine.retry_of("a"), before);
        assert_eq!(world.sleep_to_run(RunReason::Retry), LOOK_AGAIN_MS);
    }
    world.end(RunEnd::Blocked(Some(vec![failed("a")])));
    assert_eq!(world.machine.retry_of("a").unwrap().failures, 2, "it was tried again, and failed");
    world.pass(RETRY_BASE_MS * 2);
    world.change();
    assert!(world.sleep_to_run(RunReason::Changed) <= QUIET_MS);
    assert_eq!(world.held, []);
}

#[test]
fn a_stop_ends_the_run_and_then_the_program() {
    let mut world = World::settled();
    world.change();
    world.sleep_to_run(RunReason::Changed);
    world.handle(WatchEvent::Stop);
    assert_eq!(world.poll(), WatchAction::CutShort);
    world.change();
    assert_eq!(world.poll(), WatchAction::WakeAt(None));
    world.end(RunEnd::Done(vec![failed("a")]));
    assert_eq!(world.poll(), WatchAction::Exit);
    let mut idle = World::settled();
    idle.handle(WatchEvent::Stop);
    assert_eq!(idle.poll(), WatchAction::Exit);
}
