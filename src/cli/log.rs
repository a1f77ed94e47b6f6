//! The log of a program that stays up: one record one line, on standard error.
//!
//! What comes from outside is escaped where a record is written, with `daemon::log_line`. A thread of its own writes to the reader:
//! a terminal may be halted and a collector of logs may hang, and nothing else has to wait for that.

use std::io::IsTerminal;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;

use super::args::{LogFormat, LogLevel};
use crate::host::log_queue::Queue;

/// Most bytes of records that wait to be written: as many as name each target of all calls under way at some providers.
const MOST_WAITING: usize = 4 * 1024 * 1024;
/// How long the end of the program waits for records that are not written yet.
const LONGEST_DRAIN: Duration = Duration::from_secs(1);

static QUEUE: Queue = Queue::new(MOST_WAITING);

/// A log that was begun; dropping it waits, for a while, until it is written.
pub(super) struct Log;

impl Drop for Log {
    fn drop(&mut self) {
        QUEUE.drain(LONGEST_DRAIN);
    }
}

/// Begins to log. To be called once.
///
/// # Errors
/// There is no thread to write it.
pub(super) fn start(format: LogFormat, level: LogLevel) -> std::io::Result<Log> {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    // Other crates may log what must not be shown.
    let ours = Targets::new().with_target("freshen", level);
    let layer = tracing_subscriber::fmt::layer().with_writer(|| &QUEUE).with_target(false);
    // They would be written directly, which waits for the reader.
    let layer = layer.log_internal_errors(false);
    // A subscriber that was set before, as by tests of the library, stays.
    let _ = match format {
        LogFormat::Human => {
            let coloured = std::io::stderr().is_terminal()
                && anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
            let layer = layer.with_ansi(coloured).with_filter(ours);
            tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))
        }
        LogFormat::Json => {
            let layer = layer.json().flatten_event(true).with_current_span(false).with_span_list(false);
            tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer.with_filter(ours)))
        }
    };
    // Of any level: whatever is wanted may be among them.
    let tell = |missing| tracing::error!(missing, "records are missing here: the reader of the log did not keep up");
    std::thread::Builder::new().name("log".to_owned()).spawn(move || QUEUE.write_to(std::io::stderr(), tell))?;
    // For the same reason.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!("internal error at {place}; please report it");
    }));
    Ok(Log)
}
