//! What the calls of a plan cost, where a vendor charges for targets.

use std::collections::BTreeMap;

use super::{Circumstances, Job};
use crate::core::contract::Cost;
use crate::core::quota::{Ledger, Uses};
use crate::core::time::Timestamp;

/// What a job costs, by the vendor's price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The price.
    pub cost: Cost,
    /// Targets of the month that were purged before.
    pub used: u64,
    /// Targets that the job purges.
    pub targets: u64,
}

impl Charge {
    /// Targets that are still free before the job.
    pub const fn free_left(&self) -> u64 {
        self.cost.free_a_month.saturating_sub(self.used)
    }

    /// What the job costs, in millionths of the currency.
    pub const fn micros(&self) -> u64 {
        self.targets.saturating_sub(self.free_left()).saturating_mul(self.cost.micros)
    }
}

/// Puts a price on each job; those of one ledger share what is free.
pub(super) fn charge(jobs: &mut [Job], ledgers: &[Ledger], circumstances: &Circumstances<'_>) {
    let mut used: BTreeMap<usize, u64> = BTreeMap::new();
    for job in jobs {
        let (Some(cost), Some(draw)) = (job.operation.cost, &job.draw) else { continue };
        let used = used.entry(draw.ledger).or_insert_with(|| used_this_month(&ledgers[draw.ledger], circumstances));
        let targets = job.batches.distinct() + job.directories.len() as u64;
        job.charge = Some(Charge { cost, used: *used, targets });
        *used += targets;
    }
}

/// Targets that the ledger has from the first of this month on.
fn used_this_month(ledger: &Ledger, circumstances: &Circumstances<'_>) -> u64 {
    let today = ledger.key("");
    let (month, _) = today.day.rsplit_once('-').unwrap_or((&today.day, ""));
    let days = (1..=31).map(|day| format!("{month}-{day:02}"));
    let days = days.filter(|day| *day <= today.day && Timestamp::midnight_of(day, today.offset_minutes).is_some());
    let of_day = |day| {
        let key = crate::core::quota::QuotaKey { day, ..today.clone() };
        Uses::read(&key, &[], circumstances.used).of("")
    };
    days.map(of_day).sum()
}
