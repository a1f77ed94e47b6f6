//! Removals over time: a program that stays up sees a directory that is emptied slowly as many small steps, each of which a
//! guard would let through.
//!
//! Knows numbers only, and nothing of runs that another process made.

use std::collections::{BTreeMap, VecDeque};

use super::diff::Removals;
use super::time::Tick;

/// Targets that went within this time count together, in milliseconds. A copy or a deletion that goes wrong takes minutes;
/// an hour is well beyond that, and shorter than the time between releases that remove much on purpose.
pub const WINDOW_MS: u64 = 3_600_000;

/// How many recorded targets each manifest listed, within the last while.
#[derive(Debug, Default)]
pub struct RemovalWindow {
    /// By manifest.
    sizes: BTreeMap<String, Sizes>,
}

/// How many recorded targets a manifest listed.
#[derive(Debug, Default)]
struct Sizes {
    /// Numbers, each smaller than the one before, and when they were seen. The first is the largest.
    seen: VecDeque<(Tick, usize)>,
    /// The last one.
    last: usize,
    /// What it comes to once our own run has carried out its removals.
    least: usize,
    /// Another process has used the state since.
    others_ran: bool,
    /// What the last run was about to remove was refused.
    refused: bool,
}

impl Sizes {
    /// Takes in how many there are, and how many are left without those that are about to go; the most of the last while.
    fn look(&mut self, size: usize, least: usize, now: Tick) -> usize {
        if std::mem::take(&mut self.others_ran) && size < self.least {
            // Somebody else carried removals out, and allowed them.
            self.seen.clear();
        }
        while self.seen.back().is_some_and(|(_, smaller)| *smaller <= size) {
            self.seen.pop_back();
        }
        self.seen.push_back((now, size));
        (self.last, self.least, self.refused) = (size, least, false);
        self.seen.front().map_or(size, |(_, size)| *size)
    }
}

impl RemovalWindow {
    /// Takes in what a run at `now` found, and has its removals count with those of the runs before. What was listed anew
    /// meanwhile makes up for them: a site that replaces files is not one that loses them.
    pub fn add_up(&mut self, removals: &mut [Removals], now: Tick) {
        for removal in removals.iter() {
            // However long ago that was: nobody has looked since.
            let refused = self.sizes.get_mut(&removal.manifest).filter(|sizes| sizes.refused && removal.removed > 0);
            if let Some(sizes) = refused {
                sizes.seen.iter_mut().take(1).for_each(|(seen, _)| *seen = now);
            }
        }
        self.sizes.values_mut().for_each(|sizes| {
            while sizes.seen.front().is_some_and(|(seen, _)| now.since(*seen) > WINDOW_MS) {
                sizes.seen.pop_front();
            }
        });
        self.sizes.retain(|_, sizes| !sizes.seen.is_empty());
        for removal in removals {
            let size = removal.recorded - removal.let_through;
            let least = size - removal.removed;
            let most = self.sizes.entry(removal.manifest.clone()).or_default().look(size, least, now);
            if removal.removed > 0 {
                (removal.of, removal.lost) = (most, most - least);
            }
        }
    }

    /// Another process has used the state: it may have carried removals out, which do not count then. Where it did not, all
    /// that went before counts as it did.
    pub fn others_ran(&mut self) {
        self.sizes.values_mut().for_each(|sizes| sizes.others_ran = true);
    }

    /// The run was refused, or these manifests of it. Until that ends nothing goes out of the window where something is about to be
    /// removed, or waiting would be a way through.
    pub fn refused(&mut self, is_held: impl Fn(&str) -> bool) {
        let held = self.sizes.iter_mut().filter(|(manifest, _)| is_held(manifest));
        for (_, sizes) in held.filter(|(_, sizes)| sizes.least < sizes.last) {
            (sizes.least, sizes.refused) = (sizes.last, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: u64 = 60_000;

    /// What the guard is to look at: lost, of so many.
    fn look(
        window: &mut RemovalWindow,
        minute: u64,
        (recorded, removed, let_through): (usize, usize, usize),
    ) -> (usize, usize) {
        let mut removals = [Removals { let_through, ..Removals::new("site".into(), recorded, removed) }];
        window.add_up(&mut removals, Tick::from_ms(minute * MINUTE_MS));
        (removals[0].lost, removals[0].of)
    }

    #[test]
    fn slices_add_up() {
        let mut window = RemovalWindow::default();
        assert_eq!(look(&mut window, 0, (100, 0, 0)), (0, 100));
        assert_eq!(look(&mut window, 1, (100, 10, 0)), (10, 100));
        assert_eq!(look(&mut window, 2, (100, 10, 10)), (20, 100), "the first ten are not purged yet");
        assert_eq!(look(&mut window, 3, (80, 15, 0)), (35, 100));
        assert_eq!(look(&mut window, 4, (80, 0, 0)), (0, 80), "nothing goes, nothing is refused");
    }

    #[test]
    fn what_went_long_ago_is_forgotten() {
        let mut window = RemovalWindow::default();
        look(&mut window, 0, (100, 10, 0));
        look(&mut window, 50, (90, 10, 0));
        assert_eq!(look(&mut window, 61, (80, 10, 0)), (20, 90));
        assert_eq!(look(&mut window, 500, (70, 1, 0)), (1, 70));
    }

    #[test]
    fn what_comes_anew_makes_up_for_what_went() {
        let mut window = RemovalWindow::default();
        for deploy in 0..20 {
            assert_eq!(look(&mut window, deploy, (100, 25, 0)), (25, 100), "each replaces a quarter");
        }
    }

    /// Waiting is no way through.
    #[test]
    fn a_refusal_lasts() {
        let mut window = RemovalWindow::default();
        look(&mut window, 0, (100, 20, 0));
        for hour in 1..10 {
            assert_eq!(look(&mut window, 59 * hour, (80, 20, 0)), (40, 100));
            window.refused(|_| true);
        }
    }

    /// Nor is it where runs are further apart than the window: they are rare, the state is locked, or manifests are not valid.
    #[test]
    fn a_refusal_lasts_until_the_next_look_whenever_that_is() {
        let mut window = RemovalWindow::default();
        look(&mut window, 0, (100, 20, 0));
        for minute in [59, 500, 600, 5000] {
            assert_eq!(look(&mut window, minute, (80, 20, 0)), (40, 100), "minute {minute}");
            window.refused(|_| true);
        }
        assert_eq!(look(&mut window, 9000, (80, 0, 0)), (0, 80), "it has come back");
        assert_eq!(look(&mut window, 9061, (80, 20, 0)), (20, 80), "and what was refused is long ago");
    }

    /// W6: what was refused of a manifest that is gone is forgotten in time as well.
    #[test]
    fn a_refusal_ends_with_its_manifest() {
        let mut window = RemovalWindow::default();
        assert_eq!(look(&mut window, 0, (100, 90, 0)), (90, 100));
        window.refused(|_| true);
        window.add_up(&mut [], Tick::from_ms(61 * MINUTE_MS));
        assert!(window.sizes.is_empty());
    }

    /// C11: a command that had nothing to do with it lifts no refusal, and one that carried the removals out does.
    #[test]
    fn only_who_carries_removals_out_lifts_a_refusal() {
        let mut window = RemovalWindow::default();
        assert_eq!(look(&mut window, 0, (40, 10, 0)), (10, 40));
        window.others_ran();
        assert_eq!(look(&mut window, 1, (30, 10, 0)), (20, 40), "what our own run removed counts");
        window.refused(|_| true);
        window.others_ran();
        assert_eq!(look(&mut window, 2, (30, 10, 0)), (20, 40), "nothing was allowed");
        window.refused(|_| true);
        window.others_ran();
        assert_eq!(look(&mut window, 3, (20, 0, 0)), (0, 20));
        assert_eq!(look(&mut window, 4, (20, 5, 0)), (5, 20), "another command has allowed it");
    }

    /// W6: what is known does not grow with time, and what goes on somewhere else keeps nothing.
    #[test]
    fn manifests_that_are_gone_are_forgotten() {
        let mut window = RemovalWindow::default();
        for hour in 0..100 {
            let now = Tick::from_ms(61 * hour * MINUTE_MS);
            window.add_up(&mut [Removals::new(format!("{hour}"), 100, 0)], now);
            window.refused(|_| true);
        }
        assert_eq!(window.sizes.len(), 1);
    }
}
