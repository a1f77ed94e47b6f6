//! Sorts errors of the HTTP library by what happens next, and says their cause without naming URL, header or body.

use std::error::Error;
use std::io;

use crate::core::http::{TransportFailure, TransportFailureKind};

/// Longest cause shown, in characters.
const MOST_CHARS: usize = 160;

/// The request did not leave.
pub(in crate::host) fn not_connected(message: String) -> TransportFailure {
    TransportFailure { kind: TransportFailureKind::NotConnected, message }
}

/// The request may have left.
pub(in crate::host) fn unknown(message: String) -> TransportFailure {
    TransportFailure { kind: TransportFailureKind::Unknown, message }
}

/// The kind and cause of an error of the library.
pub(super) fn from_reqwest(error: reqwest::Error) -> TransportFailure {
    // TLS alerts that arrive later may follow a request that was read, so only connecting can fail as TLS.
    let kind = if error.is_builder() {
        TransportFailureKind::NotConnected
    } else if !error.is_connect() {
        TransportFailureKind::Unknown
    } else if chain(&error).any(is_tls) {
        TransportFailureKind::Tls
    } else {
        TransportFailureKind::NotConnected
    };
    let message = if kind == TransportFailureKind::NotConnected && error.is_timeout() {
        "no connection in time".to_owned()
    } else {
        innermost(error)
    };
    TransportFailure { kind, message }
}

/// Text of the last cause, on one line and cut.
pub(super) fn innermost(error: reqwest::Error) -> String {
    let error = error.without_url();
    let text = chain(&error).last().map(ToString::to_string).unwrap_or_default();
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST_CHARS).collect()
}

/// An error and its causes, outermost first.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error))
}

/// I/O errors hide the error that they wrap and name its cause instead.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    wrapped.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source())
}

fn is_tls(error: &(dyn Error + 'static)) -> bool {
    error.is::<rustls::Error>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_error_is_found_inside_io_errors() {
        let tls = rustls::Error::General("bad".into());
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls));
        assert!(chain(&wrapped).any(is_tls));
        assert!(!chain(&io::Error::from(io::ErrorKind::InvalidData)).any(is_tls));
    }
}
