//! How far ahead of its turn a call is prepared.

use crate::core::time::Tick;

/// Longest lead, in milliseconds: what is persisted and not sent is in doubt after a crash.
const MOST_MS: u64 = 1_000;

/// How long persisting an intent took of late, at most.
#[derive(Debug, Default)]
pub(super) struct LeadTime {
    ms: u64,
}

impl LeadTime {
    /// An intent took this long, in milliseconds. Longer times count at once, shorter ones by and by.
    pub(super) fn took(&mut self, ms: u64) {
        self.ms = ms.max(self.ms - self.ms.div_ceil(64)).min(MOST_MS);
    }

    pub(super) const fn ms(&self) -> u64 {
        self.ms
    }

    /// When to prepare what is due at `turn`.
    pub(super) const fn before(&self, turn: Tick) -> Tick {
        Tick::from_ms(turn.ms().saturating_sub(self.ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_disk_lengthens_it_at_once_and_a_fast_one_shortens_it_by_and_by() {
        let mut lead = LeadTime::default();
        assert_eq!(lead.before(Tick::from_ms(70)), Tick::from_ms(70));
        lead.took(50);
        assert_eq!((lead.ms(), lead.before(Tick::from_ms(70))), (50, Tick::from_ms(20)));
        lead.took(0);
        assert_eq!(lead.ms(), 49);
        (0..80).for_each(|_| lead.took(0));
        assert_eq!(lead.ms(), 0);
        lead.took(60_000);
        assert_eq!(lead.ms(), MOST_MS);
    }
}
