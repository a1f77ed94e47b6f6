//! What one provider wants to purge with one operation, and the days that it gets.

use super::OverQuota;
use crate::core::contract::Operation;
use crate::core::model::OperationLimits;
use crate::core::quota::{Days, Draw};

/// What one provider wants to purge with one operation.
pub(super) struct Demand {
    pub(super) provider: usize,
    pub(super) operation: &'static Operation,
    pub(super) limits: OperationLimits,
    pub(super) draw: Option<Draw>,
    /// Changes that have no day yet, by rank, from the one that is next.
    pub(super) indexes: Vec<u32>,
    pub(super) next: usize,
    pub(super) today: Vec<u32>,
    pub(super) over_quota: OverQuota,
    /// The first day that may have room, and the last that is needed.
    pub(super) from: usize,
    pub(super) last_day: usize,
}

impl Demand {
    pub(super) const fn is_empty(&self) -> bool {
        self.today.is_empty() && self.over_quota.is_empty()
    }

    pub(super) fn draws_on(&self, ledger: usize) -> bool {
        self.draw.as_ref().is_some_and(|draw| draw.ledger == ledger)
    }

    /// Gives the next change its day.
    pub(super) fn take(&mut self, days: &mut Days, costs: bool) {
        let Some(index) = self.indexes.get(self.next).copied() else { return };
        self.next += 1;
        let day = match &self.draw {
            // There is no day with room for it; the next one may have another limit.
            Some(Draw { limit: Some(0), .. }) if costs => 1,
            Some(draw) if costs => {
                self.from = days.take(draw, self.from);
                self.from
            }
            _ => 0,
        };
        self.last_day = self.last_day.max(day);
        if day == 0 {
            self.today.push(index);
        } else {
            self.over_quota.push(index as usize, day as u64);
        }
    }
}
