//! Writing to standard output and standard error. A reader that went away is no error of ours, and never a panic; a
//! result that could not be written for another reason is remembered, for the exit code to show.

use std::io::{self, Write};
use std::sync::OnceLock;

use serde::Serialize;

/// The first failure of standard output.
static FAILURE: OnceLock<String> = OnceLock::new();

/// What some CI systems take for a command, wherever in a line it stands (X5).
const COMMAND: &str = "##[";

/// Writes a result for people to standard output.
pub(super) fn print(text: &str) {
    print_exactly(&text.replace(COMMAND, "##\\u{5b}"));
}

/// Writes a result to standard output that programs read in a form of their own.
pub(super) fn print_exactly(text: &str) {
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
    print_json_as(|out| {
        serde_json::to_writer_pretty(&mut *out, value)?;
        out.write_all(b"\n")
    });
}

/// Writes results as JSON to standard output, each on a line.
pub(super) fn print_json_lines(values: impl Iterator<Item = impl Serialize>) {
    print_json_as(|out| {
        for value in values {
            serde_json::to_writer(&mut *out, &value)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    });
}

fn print_json_as(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
    let mut out = WithoutCommands { out: io::BufWriter::new(io::stdout().lock()), hashes: 0 };
    note_failure(write(&mut out).and_then(|()| out.flush()));
}

/// JSON without [`COMMAND`]: its bracket can only stand in a text, where an escape means the same.
struct WithoutCommands<W> {
    out: W,
    /// How many `#` were written last.
    hashes: usize,
}

impl<W: Write> Write for WithoutCommands<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        for (at, byte) in bytes.iter().enumerate() {
            if *byte == b'[' && self.hashes >= 2 {
                self.out.write_all(&bytes[written..at])?;
                self.out.write_all(b"\\u005b")?;
                written = at + 1;
            }
            self.hashes = if *byte == b'#' { self.hashes + 1 } else { 0 };
        }
        self.out.write_all(&bytes[written..])?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Writes anything else to standard error.
pub(super) fn tell(text: &str) {
    let mut out = anstream::stderr().lock();
    let _ = out.write_all(text.replace(COMMAND, "##\\u{5b}").as_bytes()).and_then(|()| out.flush());
}
