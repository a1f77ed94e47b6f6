//! The stream of events that keeps an open page up to date: what changed since the last event, a few times a second at
//! most.

use std::convert::Infallible;
use std::sync::Arc;

use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::view::PageView;
use super::{Served, after};
use crate::core::report::Report;
use crate::core::time::Tick;

/// Least time between two events, in milliseconds.
const PACE_MS: u64 = 250;
/// Something is sent at least this often, in milliseconds, so that readers that went away are noticed.
const BEAT_MS: u64 = 15_000;
/// How long a stream lasts, in milliseconds: readers come back by themselves, and those that hang make room.
pub(super) const STREAM_MS: u64 = 300_000;

struct Follow {
    served: Arc<Served>,
    report: watch::Receiver<Report>,
    shown: Option<PageView>,
    ends: Tick,
    /// Given back with the stream.
    _permit: OwnedSemaphorePermit,
}

/// Events for one reader. They are made when the reader has taken the one before, so a slow one misses states in between and
/// holds nothing up.
pub(super) fn stream(
    served: Arc<Served>,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<String, Infallible>> + Send {
    let report = served.report.clone();
    let ends = after(served.clock.as_ref(), STREAM_MS);
    let follow = Follow { served, report, shown: None, ends, _permit: permit };
    unfold(follow, |mut follow| async move {
        let event = follow.next().await?;
        Some((Ok(event), follow))
    })
}

impl Follow {
    async fn next(&mut self) -> Option<String> {
        let clock = Arc::clone(&self.served.clock);
        let beat = after(clock.as_ref(), BEAT_MS);
        let mut pace = after(clock.as_ref(), PACE_MS);
        loop {
            let mut is_beat = false;
            if self.shown.is_some() {
                tokio::select! {
                    () = clock.sleep_until(self.ends) => return None,
                    // Time alone may make a provider count as stuck.
                    () = clock.sleep_until(beat) => is_beat = true,
                    changed = self.report.changed() => changed.ok()?,
                }
                clock.sleep_until(pace).await;
                pace = after(clock.as_ref(), PACE_MS);
            }
            let report = self.report.borrow_and_update().clone();
            let view = self.served.view(&report).await;
            let news = view.since(self.shown.as_ref());
            self.shown = Some(view);
            match news {
                Some(news) => return Some(format!("retry: 2000\ndata: {news}\n\n")),
                None if is_beat => return Some(": still here\n\n".to_owned()),
                None => {}
            }
        }
    }
}
