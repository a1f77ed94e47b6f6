//! Writing to standard output and standard error. A reader that went away is no error of ours, and never a panic; a
//! result that could not be written for another reason is remembered, for the exit code to tell.

use std::io::{self, Write};
use std::sync::OnceLock;

use serde_json::Value;

/// The first failure of standard output.
static FAILURE: OnceLock<String> = OnceLock::new();

/// Writes a result to standard output.
pub(super) fn print(text: &str) {
    let mut out = anstream::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush())
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        let _ = FAILURE.set(error.to_string());
    }
}

/// Why a result did not reach standard output, whole or in part; `None` as well if only its reader went away.
pub(super) fn failure() -> Option<&'static str> {
    FAILURE.get().map(String::as_str)
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
