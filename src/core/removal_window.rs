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
    /// By manifest: numbers, each smaller than the one before, and when they were seen. The first is the largest.
    sizes: BTreeMap<String, VecDeque<(Tick, usize)>>,
}

impl RemovalWindow {
    /// Takes in what a run at `now` found, and has its removals count with those of the runs before. What was listed anew
    /// meanwhile makes up for them: a site that replaces files is not one that loses them.
    pub fn add_up(&mut self, removals: &mut [Removals], now: Tick) {
        for removal in removals {
            let size = removal.recorded - removal.let_through;
            let sizes = self.sizes.entry(removal.manifest.clone()).or_default();
            while sizes.back().is_some_and(|(_, smaller)| *smaller <= size) {
                sizes.pop_back();
            }
            sizes.push_back((now, size));
            while sizes.front().is_some_and(|(seen, _)| now.since(*seen) > WINDOW_MS) {
                sizes.pop_front();
            }
            let most = sizes.front().map_or(size, |(_, size)| *size);
            if removal.removed > 0 {
                (removal.of, removal.lost) = (most, most - (size - removal.removed));
            }
        }
    }

    /// A run was refused: until that ends nothing goes out of the window, or waiting would be a way through.
    pub fn refused(&mut self, now: Tick) {
        self.sizes.values_mut().filter_map(VecDeque::front_mut).for_each(|(seen, _)| *seen = now);
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
            window.refused(Tick::from_ms(59 * hour * MINUTE_MS));
        }
    }
}
