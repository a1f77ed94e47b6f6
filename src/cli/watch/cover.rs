//! Watches folders anew before they are read, on a thread of its own: there may be many, on slow disks, and signals are to be
//! heard meanwhile.

use std::sync::Arc;

use tokio::sync::watch;

use super::log::line;
use super::round::Round;
use crate::cli::duration;
use crate::core::report::Report;
use crate::host::watcher::{Root, Watcher};

/// Watches all folders in which something about these roots can change. What a run reads after it and that changes is seen.
pub(super) async fn cover(watcher: Arc<Watcher>, roots: Vec<Root>, round: &Round<'_>) {
    let poll_ms = watcher.poll_ms();
    match tokio::task::spawn_blocking(move || watcher.cover(&roots)).await {
        Ok(polling) => tell_polling(polling, (poll_ms, false), Some(round.pass), &round.report),
        Err(error) => {
            let error = line(&error.to_string());
            tracing::error!(
                pass = round.pass,
                "folders may not be watched, changes are found late: {error}; please report it"
            );
        }
    }
}

/// Tells why folders are looked at every so often, if they are from now on; `is_asked`: the user wants it so. `pass`: of the run
/// that found it.
pub(super) fn tell_polling(
    why: Option<String>,
    (poll_ms, is_asked): (u64, bool),
    pass: Option<u64>,
    report: &watch::Sender<Report>,
) {
    if let Some(why) = why {
        let (every, shown) = (duration::show(poll_ms), line(&why));
        if is_asked {
            tracing::info!(pass, every, "looking at files every so often: {shown}");
        } else {
            tracing::warn!(pass, every, "looking at files every so often: {shown}");
        }
        report.send_modify(|report| report.polling = Some(why));
    }
}
