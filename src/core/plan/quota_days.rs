//! A daily quota as a plan shows it, and the changes that wait for one of its next days.

use super::QuotaKey;
use crate::core::quota::DAY_MS;
use crate::core::time::Timestamp;

/// A daily quota as a plan shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The row of the ledger that its targets count in.
    pub key: QuotaKey,
    /// Targets a day.
    pub limit: u64,
    /// Targets of this day already spent, by all that draw on it.
    pub used: u64,
    /// The same once all of the plan is sent.
    pub used_after: u64,
    /// When the next day begins.
    pub resets_at: Timestamp,
}

impl Quota {
    /// Targets that may still be purged today.
    pub const fn left(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    /// The same once all of the plan is sent.
    pub const fn left_after(&self) -> u64 {
        self.limit.saturating_sub(self.used_after)
    }

    /// When a day begins, counted from today: 1 for the next.
    pub const fn begins(&self, day: u64) -> Timestamp {
        self.resets_at.plus_ms((day.cast_signed() - 1) * DAY_MS)
    }
}

/// Changes that the quota leaves no room for today, in order, and the day that has room for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OverQuota {
    changes: Vec<usize>,
    /// Days from today, 1 for the next, each with the number of its changes.
    days: Vec<(u64, usize)>,
}

impl OverQuota {
    /// Adds a change for a day that is not before that of the last one.
    pub(super) fn push(&mut self, change: usize, day: u64) {
        self.changes.push(change);
        match self.days.last_mut() {
            Some((last, count)) if *last == day => *count += 1,
            _ => self.days.push((day, 1)),
        }
    }

    /// How many they are.
    pub const fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// All of them, as indexes into the changes.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.changes.iter().copied()
    }

    /// Days from today, 1 for the next, each with its changes.
    pub fn by_day(&self) -> impl Iterator<Item = (u64, &[usize])> {
        let mut rest = self.changes.as_slice();
        self.days.iter().map(move |&(day, count)| {
            let of_day;
            (of_day, rest) = rest.split_at(count);
            (day, of_day)
        })
    }

    /// Takes all of them.
    pub fn take(&mut self) -> Vec<usize> {
        std::mem::take(self).changes
    }
}
