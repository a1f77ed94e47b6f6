//! Watches folders anew before they are read, and logs where that cannot be done.

use super::files::Files;
use super::{Reporter, log_line};
use crate::core::report::ReportEvent;
use crate::core::time::shown_duration;

/// Watches all folders in which something can change that the run reads.
pub(super) async fn watch_folders(files: &dyn Files, pass: u64, reporter: &Reporter) {
    match files.watch_folders().await {
        Ok(polling) => log_polling(polling, false, Some(pass), reporter),
        Err(error) => {
            let error = log_line(&error);
            tracing::error!(pass, "folders may not be watched, changes are found late: {error}; please report it");
        }
    }
}

/// Logs why folders are looked at every so often, if they are from now on; `is_asked`: the user wants it so. `pass`: of the run
/// that found it.
pub(super) fn log_polling(polling: Option<(String, u64)>, is_asked: bool, pass: Option<u64>, reporter: &Reporter) {
    let Some((why, poll_ms)) = polling else { return };
    let (every, shown) = (shown_duration(poll_ms), log_line(&why));
    if is_asked {
        tracing::info!(pass, every, "looking at files every so often: {shown}");
    } else {
        tracing::warn!(pass, every, "looking at files every so often: {shown}");
    }
    reporter.send(&[ReportEvent::Polling(&why)]);
}
