//! What has to hold for any input, one check a fuzz target. A check takes bytes and panics if it does not hold.
//!
//! The targets of `fuzz/` feed them whatever they think of, `tests/it/fuzz.rs` feeds them the kept inputs.

pub(crate) mod answer;
pub(crate) mod checksums;
pub(crate) mod file_names;
pub(crate) mod manifest;
pub(crate) mod retry_after;
pub(crate) mod url;
/// What is known of vendors apart from their adapters.
#[path = "../../tests/it/support/vendor.rs"]
pub(crate) mod vendor;

/// Between the parts of an input that holds several.
const SEPARATOR: char = '␞';
