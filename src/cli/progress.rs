//! A progress bar on standard error, for runs that take longer than a second on a terminal.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use crate::core::time::Tick;

/// Runs shorter than this show none, in milliseconds.
const QUIET_MS: u64 = 1000;

/// Counts targets whose call has ended.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    start: Tick,
    done: u64,
    total: u64,
}

impl Progress {
    /// Progress of `total` targets from `start` on.
    pub(super) fn new(total: usize, start: Tick) -> Self {
        Self { bar: None, start, done: 0, total: total as u64 }
    }

    /// A call with this many targets has ended.
    pub(super) fn step(&mut self, targets: usize, now: Tick) {
        self.done += targets as u64;
        if self.bar.is_none() && now.since(self.start) >= QUIET_MS && std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(self.total);
            let template = "purging {bar:30} {pos} of {len} targets, {elapsed}";
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            self.bar = Some(bar);
        }
        if let Some(bar) = &self.bar {
            bar.set_position(self.done.min(self.total));
        }
    }

    /// Clears the bar.
    pub(super) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
