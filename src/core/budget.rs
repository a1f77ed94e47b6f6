//! The pace of calls and of their targets: never more than documented in any period, not even at the start.

use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};

use super::contract::Rate;
use super::http::Endpoint;
use super::model::OperationLimits;
use super::time::Tick;

/// Calls are spread evenly with this much room, in percent, for the jitter of the network and of timers.
const ROOM_PERCENT: u64 = 2;
/// A call that leaves late does not move those after it, up to half of that room and to so much, in microseconds.
const LONGEST_DELAY_US: u64 = 10_000;
/// Ticks are whole milliseconds: so much is lost to rounding.
const TICK_US: u64 = 1_000;
/// How long calls are remembered, in milliseconds: longer than the widest interval between two of them.
const REMEMBERED_MS: u64 = 3_600_000;
/// A throttled provider is slowed at most this many times over.
const SLOWEST: u64 = 8;

/// What may leave now and what was saved up for it.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    interval_us: u64,
    burst: u64,
    /// Delays up to this are caught up with: without it each late timer would cost a part of the rate.
    delay_us: u64,
    /// When it was empty, or will be: since then one more was saved up each interval.
    empty_us: u64,
}

impl Bucket {
    fn new(rate: Rate, empty_at: Tick) -> Self {
        let (interval_us, burst) = (interval_us(rate), u64::from(rate.burst.max(1)));
        Self { interval_us, burst, delay_us: delay_us(rate), empty_us: empty_at.ms() * 1000 }
    }

    fn at_most(&mut self, rate: Rate) {
        self.interval_us = self.interval_us.max(interval_us(rate));
        self.burst = self.burst.min(u64::from(rate.burst.max(1)));
        self.delay_us = self.delay_us.min(delay_us(rate));
    }

    const fn ready_us(&self, count: u64) -> u64 {
        let count = if count < self.burst { count } else { self.burst };
        self.empty_us + self.interval_us * count
    }

    fn take(&mut self, count: u64, slow: u64, now_us: u64) {
        let full_since_us = now_us.saturating_sub(self.delay_us + self.interval_us * self.burst);
        self.empty_us = self.empty_us.max(full_since_us) + self.interval_us * slow * count;
    }

    fn hold(&mut self, until_us: u64) {
        self.empty_us = self.empty_us.max(until_us.saturating_sub(self.interval_us));
    }
}

/// When the next call may leave. Shared by all lanes that draw on one account and operation.
#[derive(Clone, Debug)]
pub struct Pace {
    calls: Bucket,
    targets: Option<Bucket>,
    began: Last,
    slow: u64,
    left_at: Option<Tick>,
    /// Lanes that keep to it.
    lanes: usize,
}

/// What is known of calls before: when nothing was saved up for another call, and for another target.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    calls: Tick,
    targets: Tick,
}

impl Pace {
    /// Calls of this rate in a run that starts at `start`.
    ///
    /// The first call waits its turn as if all that may leave at once had left at the start: the run before may have sent it a
    /// moment ago and died, by any wall clock. So the limit holds over restarts, and no record of calls is needed for it.
    pub fn new(calls: Rate, start: Tick) -> Self {
        Self::after(Last { calls: start, targets: start }, calls)
    }

    fn after(began: Last, calls: Rate) -> Self {
        Self { calls: Bucket::new(calls, began.calls), targets: None, began, slow: 1, left_at: None, lanes: 0 }
    }

    /// Keeps to these limits too: of several limits on one account the lowest holds. For a pace that is not used yet.
    pub fn at_most(&mut self, calls: Rate, targets: Option<Rate>) {
        self.calls.at_most(calls);
        if let Some(rate) = targets {
            let began = self.began.targets;
            self.targets.get_or_insert_with(|| Bucket::new(rate, began)).at_most(rate);
        }
    }

    /// Whether several lanes keep to it.
    pub const fn is_shared(&self) -> bool {
        self.lanes > 1
    }

    /// The first moment at which a call with this number of targets may leave.
    pub fn ready_at(&self, targets: u64) -> Tick {
        let of_targets = self.targets.map_or(0, |bucket| bucket.ready_us(targets));
        Tick::from_ms(self.calls.ready_us(1).max(of_targets).div_ceil(1000))
    }

    /// Takes the slot of a call with this number of targets that leaves at `now`, which is not before [`Pace::ready_at`].
    pub fn take(&mut self, targets: u64, now: Tick) {
        self.calls.take(1, self.slow, now.ms() * 1000);
        if let Some(bucket) = &mut self.targets {
            bucket.take(targets, self.slow, now.ms() * 1000);
        }
        self.left_at = Some(now);
    }

    /// Holds all calls until `tick` and halves the pace for the rest of the run.
    pub fn slow_down(&mut self, until: Tick) {
        self.slow = (self.slow * 2).min(SLOWEST);
        self.calls.hold(until.ms() * 1000);
    }

    /// What the next run has to know of it; `None`: nothing has left.
    fn last(&self) -> Option<Last> {
        // A run that was slowed down does not slow down the next one.
        let left_at = self.left_at?;
        let empty_at = |bucket: Bucket| left_at.min(Tick::from_ms((bucket.empty_us + 1000).div_ceil(1000)));
        Some(Last { calls: empty_at(self.calls), targets: self.targets.map_or(left_at, empty_at) })
    }
}

/// What shares one pace: an account, an operation and, where each endpoint is a cache of its own, the cache.
pub type PaceKey = (String, &'static str, Option<Endpoint>);

/// When calls left last, as far as one process knows: what spares its next run the wait before the first call.
#[derive(Clone, Debug, Default)]
pub struct LastCalls {
    /// Nothing is known of calls before; `None`: nothing at all is known.
    since: Option<Tick>,
    left: BTreeMap<PaceKey, Last>,
}

impl LastCalls {
    /// Nobody else has sent anything since `tick`; what happened before is not known.
    pub const fn since(tick: Tick) -> Self {
        Self { since: Some(tick), left: BTreeMap::new() }
    }
}

/// The paces of a run.
#[derive(Debug, Default)]
pub struct Paces {
    last: LastCalls,
    start: Tick,
    list: Vec<(PaceKey, Pace)>,
}

impl Paces {
    /// Paces of a run that starts at `start` and knows of no calls before it.
    pub fn at_start(start: Tick) -> Self {
        Self::after(LastCalls::default(), start)
    }

    /// Paces of a run that starts at `start` and knows when calls left before it.
    pub const fn after(last: LastCalls, start: Tick) -> Self {
        Self { last, start, list: Vec::new() }
    }

    /// The pace of calls with this key. Providers that share an account share its pace, and the strictest limits of them hold.
    pub fn join(&mut self, key: &PaceKey, limits: &OperationLimits) -> usize {
        let known = self.list.iter().position(|(known, _)| known == key);
        let index = known.unwrap_or_else(|| {
            let unknown = self.last.since.unwrap_or(self.start);
            let last = self.last.left.get(key).copied();
            let pace = Pace::after(last.unwrap_or(Last { calls: unknown, targets: unknown }), limits.calls);
            self.list.push((key.clone(), pace));
            self.list.len() - 1
        });
        self[index].at_most(limits.calls, limits.targets);
        self[index].lanes += 1;
        index
    }

    /// When calls left last, those before this run included.
    pub fn last_calls(&self) -> LastCalls {
        let mut last = self.last.clone();
        last.left.extend(self.list.iter().filter_map(|(key, pace)| Some((key.clone(), pace.last()?))));
        // Caches come and go; calls of so long ago hold no other up.
        let newest = last.left.values().map(|last| last.calls).max().unwrap_or_default();
        last.left.retain(|_, left| newest.since(left.calls) <= REMEMBERED_MS);
        last
    }
}

impl Index<usize> for Paces {
    type Output = Pace;

    fn index(&self, index: usize) -> &Pace {
        &self.list[index].1
    }
}

impl IndexMut<usize> for Paces {
    fn index_mut(&mut self, index: usize) -> &mut Pace {
        &mut self.list[index].1
    }
}

/// How long `calls` calls with `targets` targets in all take from the first to the last, in milliseconds.
pub fn duration_ms(limits: &OperationLimits, calls: usize, targets: usize) -> u64 {
    let of =
        |rate: Rate, count: usize| interval_us(rate) * count.saturating_sub(rate.burst.max(1) as usize) as u64 / 1000;
    of(limits.calls, calls).max(limits.targets.map_or(0, |rate| of(rate, targets)))
}

fn delay_us(rate: Rate) -> u64 {
    let period_us = u64::try_from(rate.period.as_micros()).unwrap_or(u64::MAX);
    (period_us / 200).saturating_mul(ROOM_PERCENT).clamp(TICK_US, LONGEST_DELAY_US)
}

fn interval_us(rate: Rate) -> u64 {
    rate.interval_us() * (100 + ROOM_PERCENT) / 100
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn limits(calls: Rate, targets: Option<Rate>) -> OperationLimits {
        OperationLimits {
            targets_per_call: 1,
            bytes_per_call: None,
            hosts_per_call: None,
            calls,
            targets,
            targets_per_day: None,
            calls_in_flight: 1,
        }
    }

    fn rate(count: u32, seconds: u64, burst: u32) -> Rate {
        Rate { count, period: Duration::from_secs(seconds), burst }
    }

    /// Times of `count` calls of a run that starts at `start` and sends them as soon as it may.
    fn departures(rate: Rate, count: usize, start: u64) -> Vec<u64> {
        let mut now = Tick::from_ms(start);
        let mut pace = Pace::new(rate, now);
        (0..count)
            .map(|_| {
                now = now.max(pace.ready_at(1));
                pace.take(1, now);
                now.ms()
            })
            .collect()
    }

    fn assert_no_second_holds_more(rate: u32, times: &[u64]) {
        for (at, window) in times.windows(rate as usize + 1).enumerate() {
            assert!(window[rate as usize] - window[0] >= 1000, "rate {rate}, call {at}: {window:?}");
        }
    }

    /// S5: no window of a second holds more calls than documented, and at least 97 % of them are used.
    #[test]
    fn no_second_holds_too_many_calls_and_the_rate_is_used() {
        for rate in [1, 5, 10, 20, 100, 1000] {
            let times = departures(Rate::per_second(rate), rate as usize * 20 + 1, 12_345);
            assert_no_second_holds_more(rate, &times);
            let total = times[times.len() - 1] - times[0];
            assert!(total <= 20_620, "rate {rate}: {total} ms for 20 seconds' worth of calls");
        }
    }

    /// S5: also where each run begins in the very millisecond in which the one before it was killed. T2: the wall clock
    /// plays no part, and the wait is never longer than what lies between two calls.
    #[test]
    fn no_second_holds_too_many_calls_over_restarts() {
        for rate in [1, 2, 5, 10, 20, 100] {
            for calls in [1, 2, 3, 7] {
                let (mut times, mut now) = (Vec::new(), 77);
                while times.len() < rate as usize * 5 {
                    let run = departures(Rate::per_second(rate), calls, now);
                    assert!(run[0] - now <= 1020, "rate {rate}: {} ms before the first call", run[0] - now);
                    now = run[calls - 1];
                    times.extend(run);
                }
                assert_no_second_holds_more(rate, &times);
            }
        }
    }

    /// S5: a process that stays up knows when its last call left: after a pause the next one leaves at once, and right after
    /// it no sooner than the pace allows. What others sent before it looked is not known, so that is waited for.
    #[test]
    fn a_process_that_remembers_its_calls_waits_only_where_it_must() {
        let key = ("account".to_owned(), "purge", None);
        let first_call = |last: &LastCalls, start| {
            let mut paces = Paces::after(last.clone(), Tick::from_ms(start));
            let pace = paces.join(&key, &limits(Rate::per_second(1), None));
            let at = paces[pace].ready_at(1).max(Tick::from_ms(start));
            paces[pace].take(1, at);
            (at.ms(), paces.last_calls())
        };
        assert_eq!(first_call(&LastCalls::default(), 5000).0, 6020, "nothing is known");
        let (at, last) = first_call(&LastCalls::since(Tick::from_ms(4500)), 5000);
        assert_eq!(at, 5520, "half a second is known");
        assert_eq!(first_call(&last, 5600).0, 6540, "a moment later");
        assert_eq!(first_call(&last, 60_000).0, 60_000, "after a pause");
    }

    /// Caches of a cluster are called side by side, and each keeps to its pace over runs.
    #[test]
    fn each_endpoint_remembers_its_own_calls() {
        let cache = |host: &str| Endpoint {
            tls: false,
            host: host.into(),
            port: None,
            path_prefix: String::new(),
            address: None,
        };
        let keys = ["a", "b"].map(|host| ("account".to_owned(), "purge", Some(cache(host))));
        let mut paces = Paces::after(LastCalls::since(Tick::from_ms(0)), Tick::from_ms(9000));
        let [first, second] =
            [0, 1].map(|endpoint: usize| paces.join(&keys[endpoint], &limits(Rate::per_second(1), None)));
        assert_eq!((paces.join(&keys[0], &limits(Rate::per_second(1), None)), first == second), (first, false));
        paces[second].take(1, Tick::from_ms(9000));
        let mut next = Paces::after(paces.last_calls(), Tick::from_ms(9100));
        let ready = [0, 1].map(|endpoint| {
            let pace = next.join(&keys[endpoint], &limits(Rate::per_second(1), None));
            next[pace].ready_at(1).ms()
        });
        assert_eq!(ready, [1020, 10_011]);
    }

    #[test]
    fn the_lowest_of_several_limits_holds_from_the_first_call_on() {
        let mut pace = Pace::new(Rate::per_second(10), Tick::from_ms(0));
        pace.at_most(Rate::per_second(2), None);
        pace.at_most(Rate::per_second(5), None);
        assert_eq!(pace.ready_at(1), Pace::new(Rate::per_second(2), Tick::from_ms(0)).ready_at(1));
        pace.take(1, Tick::from_ms(510));
        assert_eq!(pace.ready_at(1), Tick::from_ms(1020));
    }

    #[test]
    fn vod_example_of_the_promise_takes_about_twenty_seconds() {
        assert!((19_800..=20_600).contains(&duration_ms(&limits(Rate::per_second(5), None), 100, 100)));
        let times = departures(Rate::per_second(5), 100, 0);
        assert!((19_800..=20_600).contains(&(times[99] - times[0])), "{}", times[99]);
    }

    #[test]
    fn a_pause_is_not_saved_up_for_a_burst() {
        for (rate, next) in [(Rate::per_second(5), 60_194), (rate(5, 60, 1), 72_230), (rate(1, 3600, 1), 3_731_990)] {
            let mut pace = Pace::new(rate, Tick::from_ms(0));
            pace.take(1, Tick::from_ms(60_000).max(pace.ready_at(1)));
            assert!(pace.ready_at(1) >= Tick::from_ms(next), "{rate}: {:?}", pace.ready_at(1));
        }
    }

    /// S5: timers that fire late, by milliseconds that differ, cost nothing of the rate, and no second holds more for it.
    #[test]
    fn late_timers_neither_lose_calls_nor_crowd_them() {
        let mut dice = fastrand::Rng::with_seed(7);
        for rate in [1, 5, 20, 100, 500, 2000] {
            let mut now = Tick::from_ms(0);
            let mut pace = Pace::new(Rate::per_second(rate), now);
            let times: Vec<u64> = (0..rate * 20)
                .map(|_| {
                    if pace.ready_at(1) > now {
                        now = pace.ready_at(1).plus_ms(dice.u64(0..=4));
                    }
                    pace.take(1, now);
                    now.ms()
                })
                .collect();
            assert_no_second_holds_more(rate, &times);
            let total = times[times.len() - 1] - times[0];
            assert!(total <= 20_620, "rate {rate}: {total} ms for 20 seconds' worth of calls");
        }
    }

    #[test]
    fn throttling_halves_the_pace() {
        let mut pace = Pace::new(Rate::per_second(10), Tick::from_ms(0));
        pace.slow_down(Tick::from_ms(500));
        assert_eq!(pace.ready_at(1), Tick::from_ms(500));
        pace.take(1, Tick::from_ms(500));
        assert!(pace.ready_at(1) >= Tick::from_ms(700));
    }

    /// S5: a token bucket as vendors document it: what was saved up leaves at once, the rest keeps to the rate, and a run that
    /// knows nothing of calls before it has nothing saved up.
    #[test]
    fn a_burst_leaves_at_once_after_a_pause_only() {
        let five_a_minute = rate(5, 60, 25);
        let times = departures(five_a_minute, 10, 0);
        assert_eq!((times[0], times[9]), (12_240, 122_400), "nothing is saved up at the start");
        let mut pace = Pace::new(five_a_minute, Tick::from_ms(0));
        let (mut at_once, mut now) = (0, Tick::from_ms(3_600_000));
        while pace.ready_at(1) <= now {
            pace.take(1, now);
            at_once += 1;
        }
        assert_eq!(at_once, 25);
        now = pace.ready_at(1);
        assert!((12_000..=12_240).contains(&now.since(Tick::from_ms(3_600_000))), "{now:?}");
    }

    /// S5: what was saved up is known to the next run of the process, and no more than that.
    #[test]
    fn the_next_run_goes_on_with_what_is_saved_up() {
        let (key, bunny) = (("account".to_owned(), "purge", None), limits(rate(5, 1, 120), None));
        let burst = |last: LastCalls, at: Tick| {
            let mut paces = Paces::after(last, at);
            let pace = paces.join(&key, &bunny);
            let mut count = 0;
            while paces[pace].ready_at(1) <= at {
                paces[pace].take(1, at);
                count += 1;
            }
            (count, paces.last_calls())
        };
        let (first, last) = burst(LastCalls::since(Tick::from_ms(0)), Tick::from_ms(100_000));
        let (second, last) = burst(last, Tick::from_ms(100_001));
        assert_eq!((first, second), (120, 0));
        assert_eq!(burst(last, Tick::from_ms(110_200)).0, 50, "2 % slower than 5 a second");
    }

    /// S5: targets have a rate of their own, with any number in a call.
    #[test]
    fn targets_keep_to_their_rate_beside_the_calls() {
        let of_targets = rate(200, 1, 40);
        let mut paces = Paces::at_start(Tick::from_ms(0));
        let index = paces.join(&("a".to_owned(), "purge", None), &limits(Rate::per_second(50), Some(of_targets)));
        let pace = &mut paces[index];
        let (mut now, mut sent) = (Tick::from_ms(0), 0);
        for targets in [40, 1, 20, 40, 40, 5, 40, 40].into_iter().cycle().take(80) {
            now = now.max(pace.ready_at(targets));
            pace.take(targets, now);
            sent += targets;
            assert!(sent <= 200 * now.ms() / 1000, "{sent} targets after {} ms", now.ms());
        }
        assert!(sent * 1000 / now.ms() >= 190, "the rate is used");
        let allowed = limits(Rate::per_second(50), Some(of_targets));
        assert_eq!((duration_ms(&allowed, 100, 100), duration_ms(&allowed, 100, 4000)), (2019, 20_196));
    }

    #[test]
    fn rates_are_shown_as_vendors_put_them() {
        assert_eq!(
            [rate(20, 1, 1), rate(5, 60, 25), rate(100_000, 3600, 1)].map(|rate| rate.to_string()),
            ["20/s", "5/min, 25 at once", "100000/h"]
        );
    }
}
