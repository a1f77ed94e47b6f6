//! The pace of calls: never more than the documented number in any second, not even at the start.

use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};

use super::http::Endpoint;
use super::time::Tick;

/// Calls are spread evenly with this much room, in percent, for the jitter of the network.
const ROOM_PERCENT: u64 = 2;
/// How long calls are remembered, in milliseconds: longer than the widest interval between two of them.
const REMEMBERED_MS: u64 = 60_000;
/// A throttled provider is slowed at most this many times over.
const SLOWEST: u64 = 8;

/// When the next call may leave. Shared by all lanes that draw on one account and operation.
#[derive(Clone, Debug)]
pub struct Pace {
    interval_us: u64,
    slow: u64,
    next_us: u64,
    left_at: Option<Tick>,
    /// Lanes that keep to it.
    lanes: usize,
}

impl Pace {
    /// At most `calls_per_second` (at least 1) in any second, in a run that starts at `start`.
    ///
    /// The first call waits its turn as if one had left at the start: the run before may have sent one a moment ago and
    /// died, whatever the wall clock says. So the limit holds over restarts, and no record of calls is needed for it.
    pub fn new(calls_per_second: u32, start: Tick) -> Self {
        let interval_us = interval_us(calls_per_second);
        Self { interval_us, slow: 1, next_us: start.ms() * 1000 + interval_us, left_at: None, lanes: 0 }
    }

    /// Keeps to this limit too: of several limits on one account the lowest holds. For a pace that is not used yet.
    pub fn at_most(&mut self, calls_per_second: u32) {
        let wider_us = interval_us(calls_per_second).saturating_sub(self.interval_us);
        self.interval_us += wider_us;
        self.next_us += wider_us;
    }

    /// Whether several lanes keep to it.
    pub const fn is_shared(&self) -> bool {
        self.lanes > 1
    }

    /// The first moment at which a call may leave.
    pub const fn ready_at(&self) -> Tick {
        Tick::from_ms(self.next_us.div_ceil(1000))
    }

    /// Takes the slot of a call that leaves at `now`, which is not before [`Pace::ready_at`].
    pub fn take(&mut self, now: Tick) {
        // Ticks are whole milliseconds: what rounding lost is given back, never more than one tick.
        let base_us = self.next_us.max((now.ms() * 1000).saturating_sub(1000));
        self.next_us = base_us + self.interval_us * self.slow;
        self.left_at = Some(now);
    }

    /// Holds all calls until `tick` and halves the pace for the rest of the run.
    pub fn slow_down(&mut self, until: Tick) {
        self.slow = (self.slow * 2).min(SLOWEST);
        self.next_us = self.next_us.max(until.ms() * 1000);
    }
}

/// What shares one pace: an account, an operation and, where each endpoint is a cache of its own, the cache.
pub type PaceKey = (String, &'static str, Option<Endpoint>);

/// When calls left last, as far as one process knows: what spares its next run the wait before the first call.
#[derive(Clone, Debug, Default)]
pub struct LastCalls {
    /// Nothing is known of calls before; `None`: nothing at all is known.
    since: Option<Tick>,
    left: BTreeMap<PaceKey, Tick>,
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

    /// The pace of calls with this key. Providers that share an account share its pace, and the strictest limit of them holds.
    pub fn join(&mut self, key: &PaceKey, calls_per_second: u32) -> usize {
        let known = self.list.iter().position(|(known, _)| known == key);
        let index = known.unwrap_or_else(|| {
            let before = self.last.left.get(key).copied().or(self.last.since).unwrap_or(self.start);
            self.list.push((key.clone(), Pace::new(calls_per_second, before)));
            self.list.len() - 1
        });
        self[index].at_most(calls_per_second);
        self[index].lanes += 1;
        index
    }

    /// When calls left last, those before this run included.
    pub fn last_calls(&self) -> LastCalls {
        let mut last = self.last.clone();
        for (key, pace) in &self.list {
            if let Some(left_at) = pace.left_at {
                let known = last.left.entry(key.clone()).or_insert(left_at);
                *known = left_at.max(*known);
            }
        }
        // Caches come and go; calls of so long ago hold no other up.
        let newest = last.left.values().copied().max().unwrap_or_default();
        last.left.retain(|_, left_at| newest.since(*left_at) <= REMEMBERED_MS);
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

/// How long `calls` calls take from the first to the last, in milliseconds.
pub fn duration_ms(calls_per_second: u32, calls: u64) -> u64 {
    interval_us(calls_per_second) * calls.saturating_sub(1) / 1000
}

fn interval_us(calls_per_second: u32) -> u64 {
    1_000_000 * (100 + ROOM_PERCENT) / 100 / u64::from(calls_per_second.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times of `count` calls of a run that starts at `start` and sends them as soon as it may.
    fn departures(calls_per_second: u32, count: usize, start: u64) -> Vec<u64> {
        let mut now = Tick::from_ms(start);
        let mut pace = Pace::new(calls_per_second, now);
        (0..count)
            .map(|_| {
                now = now.max(pace.ready_at());
                pace.take(now);
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
            let times = departures(rate, rate as usize * 20 + 1, 12_345);
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
                    let run = departures(rate, calls, now);
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
            let pace = paces.join(&key, 1);
            let at = paces[pace].ready_at().max(Tick::from_ms(start));
            paces[pace].take(at);
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
        let [first, second] = [0, 1].map(|endpoint: usize| paces.join(&keys[endpoint], 1));
        assert_eq!((paces.join(&keys[0], 1), first == second), (first, false));
        paces[second].take(Tick::from_ms(9000));
        let mut next = Paces::after(paces.last_calls(), Tick::from_ms(9100));
        let ready = [0, 1].map(|endpoint| {
            let pace = next.join(&keys[endpoint], 1);
            next[pace].ready_at().ms()
        });
        assert_eq!(ready, [1020, 10_020]);
    }

    #[test]
    fn the_lowest_of_several_limits_holds_from_the_first_call_on() {
        let mut pace = Pace::new(10, Tick::from_ms(0));
        pace.at_most(2);
        pace.at_most(5);
        assert_eq!(pace.ready_at(), Pace::new(2, Tick::from_ms(0)).ready_at());
        pace.take(Tick::from_ms(510));
        assert_eq!(pace.ready_at(), Tick::from_ms(1020));
    }

    #[test]
    fn vod_example_of_the_promise_takes_about_twenty_seconds() {
        assert!((19_800..=20_600).contains(&duration_ms(5, 100)));
        let times = departures(5, 100, 0);
        assert!((19_800..=20_600).contains(&(times[99] - times[0])), "{}", times[99]);
    }

    #[test]
    fn a_pause_is_not_saved_up_for_a_burst() {
        let mut pace = Pace::new(5, Tick::from_ms(0));
        pace.take(Tick::from_ms(60_000));
        assert!(pace.ready_at() >= Tick::from_ms(60_203));
    }

    #[test]
    fn throttling_halves_the_pace() {
        let mut pace = Pace::new(10, Tick::from_ms(0));
        pace.slow_down(Tick::from_ms(500));
        assert_eq!(pace.ready_at(), Tick::from_ms(500));
        pace.take(Tick::from_ms(500));
        assert!(pace.ready_at() >= Tick::from_ms(700));
    }
}
