//! What a vendor counts: calls in a period, targets in a quota day, nonces already seen.
//!
//! Knows no vendor and no clock; every moment is an argument and may also run backwards.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::core::contract::Rate;
use crate::core::time::Timestamp;

const DAY_MS: i64 = 86_400_000;

/// Calls admitted within any one period.
#[derive(Debug, Default)]
pub(in crate::vendor) struct RateWindow {
    admitted: VecDeque<Timestamp>,
}

impl RateWindow {
    /// Admits a call, or says how many milliseconds (at least 1) until the next one fits. A refused call is not counted.
    pub(in crate::vendor) fn admit(&mut self, rate: Rate, now: Timestamp) -> Result<(), i64> {
        // The distance is taken both ways: after a backward jump of the clock old calls must not block for hours.
        let period_ms = i64::try_from(rate.period.as_millis()).unwrap_or(i64::MAX);
        self.admitted.retain(|at| (now.unix_ms() - at.unix_ms()).abs() < period_ms);
        // A bucket of one is the same as none.
        let most = if rate.count == 0 { 0 } else { rate.count + rate.burst - 1 };
        let surplus = (self.admitted.len() + 1).saturating_sub(most as usize);
        if surplus == 0 {
            self.admitted.push_back(now);
            return Ok(());
        }
        let blocking = self.admitted.get(surplus - 1).map_or(period_ms, |at| at.unix_ms() + period_ms - now.unix_ms());
        Err(blocking.max(1))
    }
}

/// Targets purged in the current quota day, by area.
#[derive(Debug)]
pub(in crate::vendor) struct DailyQuota {
    offset_minutes: i32,
    used: BTreeMap<String, (i64, u64)>,
}

impl DailyQuota {
    /// Days begin at midnight of a fixed offset from UTC, in minutes.
    pub(in crate::vendor) fn new(offset_minutes: i32) -> Self {
        Self { offset_minutes, used: BTreeMap::new() }
    }

    /// Targets counted in `area` on the day of `now`.
    pub(in crate::vendor) fn used(&self, area: &str, now: Timestamp) -> u64 {
        self.used.get(area).filter(|(day, _)| *day == self.day(now)).map_or(0, |(_, count)| *count)
    }

    /// Counts `targets` more in `area`.
    pub(in crate::vendor) fn take(&mut self, area: &str, targets: u64, now: Timestamp) {
        let count = self.used(area, now) + targets;
        self.used.insert(area.to_owned(), (self.day(now), count));
    }

    fn day(&self, now: Timestamp) -> i64 {
        (now.unix_ms() + i64::from(self.offset_minutes) * 60_000).div_euclid(DAY_MS)
    }
}

/// Nonces seen while a request that carries them could still be valid.
#[derive(Debug)]
pub(in crate::vendor) struct NonceMemory {
    keep_ms: i64,
    seen: BTreeSet<String>,
    order: VecDeque<(Timestamp, String)>,
}

impl NonceMemory {
    /// Remembers each nonce for `keep_ms` milliseconds.
    pub(in crate::vendor) fn new(keep_ms: i64) -> Self {
        Self { keep_ms, seen: BTreeSet::new(), order: VecDeque::new() }
    }

    /// `true` and remembered if the nonce is new.
    pub(in crate::vendor) fn is_new(&mut self, nonce: &str, now: Timestamp) -> bool {
        while let Some((at, old)) = self.order.front() {
            if now.unix_ms() - at.unix_ms() <= self.keep_ms {
                break;
            }
            self.seen.remove(old);
            self.order.pop_front();
        }
        let new = self.seen.insert(nonce.to_owned());
        if new {
            self.order.push_back((now, nonce.to_owned()));
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(1_700_000_000_000 + ms)
    }

    #[test]
    fn window_slides_and_frees_exactly_one_second_later() {
        let mut window = RateWindow::default();
        assert!(window.admit(Rate::per_second(2), at(0)).is_ok() && window.admit(Rate::per_second(2), at(400)).is_ok());
        assert_eq!(window.admit(Rate::per_second(2), at(999)), Err(1));
        assert!(window.admit(Rate::per_second(2), at(1000)).is_ok(), "the call at 0 has left the window");
        assert_eq!(window.admit(Rate::per_second(2), at(1001)), Err(399), "the calls at 400 and 1000 are still in it");
        assert!(window.admit(Rate::per_second(2), at(1400)).is_ok());
    }

    #[test]
    fn t2_backward_clock_jump_does_not_block_calls() {
        let mut window = RateWindow::default();
        assert!(window.admit(Rate::per_second(1), at(3_600_000)).is_ok());
        assert!(window.admit(Rate::per_second(1), at(0)).is_ok());
    }

    #[test]
    fn quota_renews_at_midnight_of_its_own_offset() {
        let mut quota = DailyQuota::new(480);
        let midnight = at(0).next_midnight(480);
        quota.take("mainland", 7, midnight.plus_ms(-1));
        assert_eq!(quota.used("mainland", midnight.plus_ms(-1)), 7);
        assert_eq!(quota.used("overseas", midnight.plus_ms(-1)), 0);
        assert_eq!(quota.used("mainland", midnight), 0);
    }

    #[test]
    fn nonces_are_refused_until_they_are_forgotten() {
        let mut memory = NonceMemory::new(1000);
        assert!(memory.is_new("a", at(0)));
        assert!(!memory.is_new("a", at(1000)));
        assert!(memory.is_new("b", at(1000)));
        assert!(memory.is_new("a", at(1001)));
    }
}
