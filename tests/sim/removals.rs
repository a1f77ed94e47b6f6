//! C11: what a manifest loses within an hour counts together, less what it lists anew. What the guard is to say of a run, by
//! the manifests and the state alone.

use freshen::core::recorded::Recorded;

/// What goes within this time counts together.
const HOUR: u64 = 3_600_000;

/// How many recorded targets were listed, since the process began.
#[derive(Default)]
pub(crate) struct Removals {
    seen: Vec<(u64, usize)>,
    /// How many recorded targets there are that are not about to go since an earlier run, and how many of them are listed.
    now: (usize, usize),
    refuses: bool,
    /// The last run was refused.
    was_refused: bool,
}

impl Removals {
    /// This is what the next run finds.
    pub(crate) fn find(&mut self, rows: &[Recorded], is_listed: impl Fn(&Recorded) -> bool) {
        let recorded = || rows.iter().filter(|row| row.hash.is_some());
        let is_going = |row: &&Recorded| row.work.as_ref().is_some_and(|work| work.desired.is_none());
        let going = recorded().filter(is_going).filter(|row| !is_listed(row)).count();
        self.now = (recorded().count() - going, recorded().filter(|row| is_listed(row)).count());
    }

    /// A run begins; `allowed`: whatever it removes.
    pub(crate) fn begins(&mut self, now: u64, allowed: bool) {
        let (size, left) = self.now;
        if self.was_refused && size > left {
            // Waiting is no way through, nor is it to look late.
            let most = self.seen.iter_mut().rev().max_by_key(|(_, size)| *size);
            if let Some((at, _)) = most {
                *at = now;
            }
        }
        self.seen.retain(|(at, _)| now - at <= HOUR);
        self.seen.push((now, size));
        let most = self.seen.iter().map(|(_, size)| *size).max().unwrap_or(size);
        let lost = most - left;
        self.refuses = !allowed && size > left && lost > 10 && lost * 100 > most * 30;
    }

    /// The run that began last ends: what is wrong with that.
    pub(crate) fn ends(&mut self, refused: bool) -> Option<&'static str> {
        self.was_refused = refused;
        match (self.refuses, refused) {
            (true, false) => Some("what was lost within an hour is removed"),
            (false, true) => Some("a guard refuses what is allowed"),
            _ => None,
        }
    }
}
