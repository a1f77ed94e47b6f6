//! When origins are asked again that were not ready.

use super::RunReason;
use crate::core::time::Tick;

/// First and longest wait before origins are asked again, in milliseconds.
const ORIGIN_BASE_MS: u64 = 1_000;
const ORIGIN_CAP_MS: u64 = 30_000;

/// Origins that do not serve yet what waits for them.
#[derive(Clone, Copy, Debug)]
pub(super) struct OriginsAsked {
    /// When they are asked again.
    pub(super) at: Tick,
    /// Times in a row that nothing more was ready.
    times: u32,
    /// Targets that wait.
    targets: u64,
}

impl OriginsAsked {
    /// After a run that left so many waiting: soon, if it came closer or there is something new.
    pub(super) fn after(before: Option<Self>, targets: u64, reason: RunReason, now: Tick) -> Option<Self> {
        let is_same =
            |before: &Self| targets >= before.targets && matches!(reason, RunReason::Origin | RunReason::Retry);
        let times = before.filter(is_same).map_or(0, |before| before.times.saturating_add(1));
        let wait_ms = (ORIGIN_BASE_MS << times.min(16)).min(ORIGIN_CAP_MS);
        (targets > 0).then_some(Self { at: now.plus_ms(wait_ms), times, targets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_asked_rarer_while_nothing_comes_of_it() {
        let mut asked = OriginsAsked::after(None, 3, RunReason::Changed, Tick::from_ms(0));
        let mut waits = Vec::new();
        for targets in [3, 3, 3, 3, 3, 3, 2, 2] {
            let at = asked.expect("asked again").at;
            asked = OriginsAsked::after(asked, targets, RunReason::Origin, at);
            waits.push(asked.expect("asked again").at.since(at) / 1_000);
        }
        assert_eq!(waits, [2, 4, 8, 16, 30, 30, 1, 2]);
        assert!(OriginsAsked::after(asked, 0, RunReason::Origin, Tick::from_ms(0)).is_none());
        let changed = OriginsAsked::after(asked, 9, RunReason::Changed, Tick::from_ms(0)).expect("asked again");
        assert_eq!(changed.at, Tick::from_ms(1_000));
    }
}
