//! Writing to standard output and standard error. A reader that went away is no error of ours, and never a panic.

use std::io::Write;

use serde_json::Value;

/// Writes a result to standard output.
pub(super) fn print(text: &str) {
    let mut out = anstream::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes a result as JSON to standard output, ended by a line feed.
pub(super) fn print_json(value: &Value) {
    print(&format!("{value:#}\n"));
}

/// Writes anything else to standard error.
pub(super) fn tell(text: &str) {
    let mut out = anstream::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
