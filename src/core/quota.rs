//! What is left of a daily quota during a run.
//!
//! Knows neither calls nor providers; the state keeps the ledger that it starts from.

use super::plan::{Quota, QuotaKey};
use super::time::Timestamp;

/// A quota that one or several lanes draw on.
#[derive(Clone, Debug)]
pub struct QuotaLeft {
    key: QuotaKey,
    limit: u64,
    left: u64,
    resets_at: Timestamp,
    offset_minutes: i32,
    /// The vendor said that nothing is left, whatever was counted here.
    said_spent: bool,
}

impl QuotaLeft {
    /// What the plan left.
    pub fn new(quota: &Quota) -> Self {
        Self {
            key: quota.key.clone(),
            limit: quota.limit,
            left: quota.left(),
            resets_at: quota.resets_at,
            offset_minutes: quota.day_offset_minutes,
            said_spent: false,
        }
    }

    /// Whose quota it is, with the day.
    pub const fn key(&self) -> &QuotaKey {
        &self.key
    }

    /// Targets a day.
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// When the next day begins.
    pub const fn resets_at(&self) -> Timestamp {
        self.resets_at
    }

    /// Takes up to `most` targets and returns how many there were, 0 if the day's quota is spent. A new day starts anew.
    pub fn take(&mut self, most: usize, now: Timestamp) -> usize {
        if now >= self.resets_at {
            self.key.day = now.date_at_offset(self.offset_minutes);
            self.resets_at = now.next_midnight(self.offset_minutes);
            self.left = self.limit;
            self.said_spent = false;
        }
        let taken = most.min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= taken as u64;
        taken
    }

    /// Takes `cost` targets back; `false`: the vendor's own count stands against it.
    pub fn give_back(&mut self, key: &QuotaKey, cost: u64) -> bool {
        if *key != self.key {
            return true;
        }
        if self.said_spent {
            return false;
        }
        self.left += cost;
        true
    }

    /// The vendor says that the day's quota is spent.
    pub const fn spend_all(&mut self) {
        self.left = 0;
        self.said_spent = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(limit: u64, used: u64) -> QuotaLeft {
        let now = Timestamp::from_unix_ms(1_700_000_000_000);
        let key =
            QuotaKey { account: "a".into(), operation: "purge", area: String::new(), day: now.date_at_offset(480) };
        QuotaLeft::new(&Quota { key, limit, used, resets_at: now.next_midnight(480), day_offset_minutes: 480 })
    }

    /// T3, T4
    #[test]
    fn what_the_vendor_calls_spent_stays_spent_until_its_next_day() {
        let mut quota = left(100, 40);
        let (key, midnight) = (quota.key().clone(), quota.resets_at());
        assert_eq!((quota.take(50, midnight.plus_ms(-1)), quota.take(50, midnight.plus_ms(-1))), (50, 10));
        assert!(quota.give_back(&key, 20));
        assert_eq!(quota.take(50, midnight.plus_ms(-1)), 20);
        quota.spend_all();
        assert!(!quota.give_back(&key, 20));
        assert_eq!(quota.take(50, midnight.plus_ms(-1)), 0);
        assert_eq!(quota.take(500, midnight), 100);
        assert!(quota.give_back(&key, 20), "the old day's ledger takes it, the new day has no more");
        assert_eq!(quota.take(500, midnight), 0);
    }
}
