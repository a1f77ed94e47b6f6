//! Writing to standard output and standard error. A reader that went away is no error of ours, and never a panic; a
//! result that could not be written for another reason is remembered, for the exit code to tell.

use std::io::{self, Write};
use std::sync::OnceLock;

use serde::Serialize;

/// The first failure of standard output.
static FAILURE: OnceLock<String> = OnceLock::new();

/// Writes a result to standard output.
pub(super) fn print(text: &str) {
    let mut out = anstream::stdout().lock();
    note_failure(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

fn note_failure(written: io::Result<()>) {
    if let Err(error) = written
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        let _ = FAILURE.set(error.to_string());
    }
}

/// Why a result did not reach standard output, whole or in part; `None` as well if only its reader went away.
pub(super) fn failure() -> Option<&'static str> {
    FAILURE.get().map(String::as_str)
}

/// Writes a result as JSON to standard output, ended by a line feed; long lists go out as they are made.
pub(super) fn print_json(value: &impl Serialize) {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from);
    note_failure(written.and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()));
}

/// Writes anything else to standard error.
pub(super) fn tell(text: &str) {
    let mut out = anstream::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
