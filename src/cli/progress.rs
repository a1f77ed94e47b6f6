//! A progress bar on standard error, for runs that take longer than a second on a terminal.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use crate::core::time::Tick;

/// Runs shorter than this show none, in milliseconds.
const QUIET_MS: u64 = 1000;

/// Counts what is done.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    start: Tick,
    done: u64,
    /// `None` if it is not known beforehand.
    total: Option<u64>,
    template: &'static str,
}

impl Progress {
    /// Progress of `total` targets from `start` on.
    pub(super) fn new(total: usize, start: Tick) -> Self {
        let template = "purging {bar:30} {pos} of {len} targets, {elapsed}";
        Self { bar: None, start, done: 0, total: Some(total as u64), template }
    }

    /// Progress of files that are read, however many there are.
    pub(super) fn of_files(start: Tick) -> Self {
        Self { bar: None, start, done: 0, total: None, template: "reading {pos} files, {elapsed}" }
    }

    /// A call with this many targets has ended.
    pub(super) fn step(&mut self, targets: usize, now: Tick) {
        self.reach(self.done + targets as u64, now);
    }

    /// So many are done.
    pub(super) fn reach(&mut self, done: u64, now: Tick) {
        self.done = done;
        if self.bar.is_none() && now.since(self.start) >= QUIET_MS && std::io::stderr().is_terminal() {
            let bar = self.total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
            bar.set_style(ProgressStyle::with_template(self.template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            self.bar = Some(bar);
        }
        if let Some(bar) = &self.bar {
            bar.set_position(self.total.map_or(done, |total| done.min(total)));
        }
    }

    /// Clears the bar.
    pub(super) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
