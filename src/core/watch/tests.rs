//! The machine in virtual time.

mod waiting;

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
        world.handle(WatchEvent::Reload);
        assert!(matches!(world.poll(), WatchAction::Run(_)));
        world.end(RunEnd::Done(vec![failed("own")]));
        world.pass(RETRY_CAP_MS.max(300_000));
        world.handle(WatchEvent::Changed(world.now.tick));
        world.handle(WatchEvent::Writing(writing));
        assert_eq!(world.rest(), QUIET_MS, "writing: {writing}");
        world.handle(WatchEvent::Reload);
        assert!(matches!(world.poll(), WatchAction::Run(request) if request.reason == RunReason::Reload));
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
    world.handle(WatchEvent::Reload);
    world.change();
    world.end(RunEnd::Cut);
    world.expect_run(RunReason::Reload);
    assert_eq!(world.rereads, RereadPolicy::AfterChanges, "no run waited");
}

fn left(name: &str) -> ProviderEnd {
    ProviderEnd {
        waiting: 0,
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
    world.handle(WatchEvent::Reload);
    for turn in 0..3 {
        world.expect_run(RunReason::Reload);
        world.handle(WatchEvent::Reload);
        assert_eq!(world.poll(), WatchAction::CutShort, "{turn}: at once, as long as the run before had its turn");
        world.pass(READING_MS);
        world.end(RunEnd::Cut);
        world.expect_run(RunReason::Reload);
        for _ in 0..READING_MS / 100 {
            world.handle(WatchEvent::Reload);
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
    world.handle(WatchEvent::Reload);
    world.expect_run(RunReason::Reload);
    world.handle(WatchEvent::Reload);
    assert_eq!(world.poll(), WatchAction::CutShort);
    world.end(RunEnd::Cut);
    for _ in 0..2 {
        world.expect_run(RunReason::Reload);
        world.handle(WatchEvent::Reload);
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

/// A guard that refuses is no failure of a provider: what was due is looked at again every so often, and is tried at once
/// when the guard is content.
#[test]
fn a_refusal_by_a_guard_does_not_count_as_a_failure() {
    let mut world = World::settled();
    world.machine.resync_ms = u64::MAX / 4;
    world.change();
    world.sleep_to_run(RunReason::Changed);
    world.end(RunEnd::Done(vec![failed("a")]));
    world.sleep_to_run(RunReason::Retry);
    for _ in 0..20 {
        world.end(RunEnd::Blocked(None));
        let retry = world.machine.retry_of("a").unwrap();
        assert_eq!((retry.failures, retry.at), (1, world.now.tick.plus_ms(LOOK_AGAIN_MS)), "with the next look");
        assert_eq!(world.sleep_to_run(RunReason::Retry), LOOK_AGAIN_MS);
    }
    world.end(RunEnd::Blocked(Some(vec![failed("a")])));
    assert_eq!(world.machine.retry_of("a").unwrap().failures, 2, "it was tried again, and failed");
    world.pass(RETRY_BASE_MS * 2);
    world.change();
    assert!(world.sleep_to_run(RunReason::Changed) <= QUIET_MS);
    assert_eq!(world.held, []);
}

/// W6: a command by hand may allow what was refused, and no file changes for it.
#[test]
fn what_a_guard_refuses_is_looked_at_again_though_nothing_is_left_to_do() {
    let mut world = World::settled();
    world.machine.resync_ms = u64::MAX / 4;
    world.change();
    world.sleep_to_run(RunReason::Changed);
    for _ in 0..3 {
        world.end(RunEnd::Blocked(None));
        assert_eq!(world.sleep_to_run(RunReason::Retry), LOOK_AGAIN_MS);
    }
    world.end(RunEnd::Blocked(None));
    world.handle(WatchEvent::Allowed);
    assert_eq!(world.sleep_to_run(RunReason::Retry), 0, "the state says so");
    world.end(RunEnd::Done(Vec::new()));
    world.handle(WatchEvent::Allowed);
    assert!(world.sleep_to_run(RunReason::Resync) > LOOK_AGAIN_MS);
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
