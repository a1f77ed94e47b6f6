//! The log of a program that stays up: one record one line, on standard error.
//!
//! What comes from outside is escaped by whoever writes a record, with [`line`].

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::cli::args::{LogFormat, LogLevel};
use crate::core::text::one_line;

/// Most characters of a text in a record.
const MOST: usize = 1000;

/// Begins to log. To be called once.
pub(super) fn start(format: LogFormat, level: LogLevel) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    // Other crates may log what must not be shown.
    let ours = Targets::new().with_target("freshen", level);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    // A reader that went away is no reason to panic.
    let layer = layer.log_internal_errors(false);
    // Whoever has set a subscriber already, as tests of the library may, keeps it.
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
}

/// A text from outside on one line, nothing in it that a terminal or a CI system would obey.
pub(super) fn line(text: &str) -> String {
    one_line(text.trim(), MOST)
}
