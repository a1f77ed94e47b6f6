//! Progress bars on standard error, for work that takes longer than a second on a terminal.

use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

/// Shorter work shows none.
const QUIET: Duration = Duration::from_secs(1);
/// How often a bar is drawn.
const REDRAW: Duration = Duration::from_millis(100);

/// Shows how far some work is, until it is dropped. A thread of its own draws: the work may be busy or waiting.
pub(super) struct ProgressMeter {
    done: Arc<AtomicU64>,
    /// `None` where nobody looks. Dropping the sender ends the thread.
    drawer: Option<(Sender<()>, JoinHandle<()>)>,
}

impl ProgressMeter {
    /// The meter of `total` purges.
    pub(super) fn of_purges(total: usize) -> Self {
        let template = "purging {bar:30} {pos} of {len} purges, {elapsed}";
        Self::start(template, Some(total as u64), Arc::default())
    }

    /// The meter of files that are read, however many there are; the reader counts in `seen`.
    pub(super) fn of_files(seen: Arc<AtomicU64>) -> Self {
        Self::start("{spinner} reading {pos} files, {elapsed}", None, seen)
    }

    /// Manifests are read and checked, and so are their sources; their reader counts files in `seen`.
    pub(super) fn of_manifests(seen: Arc<AtomicU64>) -> Self {
        Self::start("{spinner} reading manifests{files}, {elapsed}", None, seen)
    }

    /// What manifests say is compared with what is recorded.
    pub(super) fn of_plan() -> Self {
        Self::start("{spinner} planning, {elapsed}", None, Arc::default())
    }

    fn start(template: &'static str, total: Option<u64>, done: Arc<AtomicU64>) -> Self {
        let drawer = std::io::stderr().is_terminal().then(|| {
            let (sender, ended) = channel();
            let counted = Arc::clone(&done);
            (sender, std::thread::spawn(move || draw(template, total, &counted, &ended)))
        });
        Self { done, drawer }
    }

    /// So many more are done.
    pub(super) fn step(&self, more: usize) {
        self.done.fetch_add(more as u64, Ordering::Relaxed);
    }
}

impl Drop for ProgressMeter {
    /// Clears the bar, so that what is printed next stands alone.
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.drawer.take() {
            drop(sender);
            let _ = thread.join();
        }
    }
}

/// How many files of sources are read, once there are any.
fn files_of_sources(state: &ProgressState, out: &mut dyn Write) {
    if state.pos() > 0 {
        let _ = write!(out, " and {} of their sources", super::render::count(state.pos(), "file"));
    }
}

/// Draws until the other end of `ended` is gone.
fn draw(template: &'static str, total: Option<u64>, done: &AtomicU64, ended: &Receiver<()>) {
    if ended.recv_timeout(QUIET) != Err(RecvTimeoutError::Timeout) {
        return;
    }
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new).with_elapsed(QUIET);
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.with_key("files", files_of_sources));
    loop {
        let done = done.load(Ordering::Relaxed);
        bar.set_position(total.map_or(done, |total| done.min(total)));
        bar.tick();
        if ended.recv_timeout(REDRAW) != Err(RecvTimeoutError::Timeout) {
            return bar.finish_and_clear();
        }
    }
}
