//! What all emulators do with requests and answers: HTTP rules, dates, URL rules, refusals.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::core::http::{Request, Response};
use crate::core::time::Timestamp;
use crate::vendor::sign::Parts;

/// A refusal in the vendor's words, before it is put into the vendor's envelope.
#[derive(Debug)]
pub(in crate::vendor) struct ErrorAnswer {
    /// HTTP status; ignored by vendors that refuse with 200.
    pub(in crate::vendor) status: u16,
    /// The vendor's code.
    pub(in crate::vendor) code: &'static str,
    /// The vendor's message.
    pub(in crate::vendor) message: String,
    /// Wait asked for, in milliseconds.
    pub(in crate::vendor) wait_ms: Option<i64>,
}

impl ErrorAnswer {
    pub(in crate::vendor) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), wait_ms: None }
    }
}

/// Path and raw query of a request line; the query is empty if there is none.
pub(in crate::vendor) fn split_path(request: &Request) -> (&str, &str) {
    request.path_and_query.split_once('?').unwrap_or((&request.path_and_query, ""))
}

/// What is wrong with the request as an HTTP message, whatever the API; a front server refuses it with 400.
pub(in crate::vendor) fn http_defect(request: &Request) -> Option<&'static str> {
    let visible = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !visible(&request.method) || !visible(&request.path_and_query) || !request.path_and_query.starts_with('/') {
        return Some("malformed request line");
    }
    let mut names = std::collections::BTreeSet::new();
    for (name, value) in &request.headers {
        if !visible(name) || name.contains(':') || value.chars().any(|c| c.is_control() && c != '\t') {
            return Some("malformed header");
        }
        if !names.insert(name.to_ascii_lowercase()) {
            return Some("repeated header");
        }
    }
    if request.header("Host").is_none() {
        return Some("missing Host header");
    }
    let length = request.header("Content-Length").map(str::parse::<usize>);
    match length {
        Some(length) if length != Ok(request.body.len()) => Some("wrong Content-Length"),
        _ => None,
    }
}

/// An answer with the vendor's clock in its `Date` header.
pub(in crate::vendor) fn respond(status: u16, content_type: &str, body: String, now: Timestamp) -> Response {
    Response {
        status,
        headers: vec![
            ("Date".to_owned(), http_date(now)),
            ("Content-Type".to_owned(), content_type.to_owned()),
            ("Content-Length".to_owned(), body.len().to_string()),
        ],
        body: body.into_bytes(),
    }
}

/// What a front server says before the API is reached.
pub(in crate::vendor) fn plain(status: u16, text: &str, now: Timestamp) -> Response {
    respond(status, "text/plain", text.to_owned(), now)
}

/// `Tue, 14 Nov 2023 22:13:20 GMT`.
pub(in crate::vendor) fn http_date(now: Timestamp) -> String {
    let moment = jiff::Timestamp::from_second(now.unix_seconds()).unwrap_or_default();
    moment.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Reads a UTC date in exactly the form that `render` writes.
pub(in crate::vendor) fn read_date(text: &str, pattern: &str, render: fn(Timestamp) -> String) -> Option<Timestamp> {
    let moment = DateTime::strptime(pattern, text).ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
    let moment = Timestamp::from_unix_ms(moment.as_millisecond());
    (render(moment) == text).then_some(moment)
}

/// Reads Unix seconds: decimal digits and nothing else.
pub(in crate::vendor) fn read_seconds(text: &str) -> Option<Timestamp> {
    let seconds: i64 = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())??;
    Some(Timestamp::from_unix_ms(seconds.checked_mul(1000)?))
}

/// Whether two clocks differ by at most `tolerance_s` seconds.
pub(in crate::vendor) fn within(signed: Timestamp, now: Timestamp, tolerance_s: i64) -> bool {
    (now.unix_seconds() - signed.unix_seconds()).abs() <= tolerance_s
}

/// The parts of an `Authorization` header of the form `SCHEME a=..,SignedHeaders=..,Signature=..`.
pub(in crate::vendor) struct Authorization<'a> {
    pub(in crate::vendor) credential: &'a str,
    pub(in crate::vendor) signed_headers: Vec<&'a str>,
    pub(in crate::vendor) signature: &'a str,
}

/// Reads an `Authorization` header in the vendor's exact form; `separator` stands between its parts.
pub(in crate::vendor) fn read_authorization<'a>(
    value: &'a str,
    scheme: &str,
    credential_key: &str,
    separator: &str,
) -> Option<Authorization<'a>> {
    let parts = value.strip_prefix(scheme)?.strip_prefix(' ')?;
    let (credential, rest) = parts.split_once(separator)?;
    let (signed_headers, signature) = rest.split_once(separator)?;
    let credential = credential.strip_prefix(credential_key)?.strip_prefix('=')?;
    let signature = signature.strip_prefix("Signature=")?;
    let signed_headers: Vec<&str> = signed_headers.strip_prefix("SignedHeaders=")?.split(';').collect();
    let lower = signed_headers.iter().all(|name| !name.is_empty() && *name == name.to_ascii_lowercase());
    let sorted = signed_headers.windows(2).all(|pair| pair[0] < pair[1]);
    (lower && sorted).then_some(Authorization { credential, signed_headers, signature })
}

/// Whether every signed header was received.
pub(in crate::vendor) fn all_present(request: &Request, names: &[&str]) -> bool {
    names.iter().all(|name| request.header(name).is_some())
}

/// Media type without parameters; `None` if there are parameters other than `charset=utf-8`.
pub(in crate::vendor) fn media_type(request: &Request) -> Option<&str> {
    let value = request.header("Content-Type")?;
    match value.split_once(';') {
        None => Some(value),
        Some((media, charset)) => charset.trim().eq_ignore_ascii_case("charset=utf-8").then_some(media.trim_end()),
    }
}

/// Whether a text is an absolute http or https URL that a vendor takes: a host, no user, no line breaks, no fragment. No
/// reference speaks of blanks, so they pass.
pub(in crate::vendor) fn is_web_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else {
        return false;
    };
    let authority = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
    let clean = |c: char| !c.is_control() && (c == ' ' || !c.is_whitespace()) && c != '#';
    !authority.is_empty() && !authority.contains('@') && text.chars().all(clean)
}

/// The parts of a request as they were received, for signing them again.
pub(in crate::vendor) fn parts_of(request: &Request) -> Parts<'_> {
    let (path, query) = split_path(request);
    Parts { method: &request.method, path, query, headers: &request.headers, body: &request.body }
}

/// The strings of a JSON array that holds nothing else.
pub(in crate::vendor) fn strings(value: &serde_json::Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_in_one_form_only() {
        let read = |text| read_date(text, "%Y%m%dT%H%M%SZ", Timestamp::utc_basic);
        assert_eq!(read("20231114T221320Z"), Some(Timestamp::from_unix_ms(1_700_000_000_000)));
        for wrong in ["2023-11-14T22:13:20Z", "20231114T221320", "20231314T221320Z", "20231114T221320z", ""] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(http_date(Timestamp::from_unix_ms(1_700_000_000_999)), "Tue, 14 Nov 2023 22:13:20 GMT");
        assert_eq!(read_seconds("1700000000"), Some(Timestamp::from_unix_ms(1_700_000_000_000)));
        assert!(read_seconds("+1").is_none() && read_seconds("").is_none());
    }

    #[test]
    fn authorization_is_read_in_the_exact_form_only() {
        let read = |value: &'static str| read_authorization(value, "S", "Access", ", ").map(|a| a.signed_headers.len());
        assert_eq!(read("S Access=a, SignedHeaders=host;x-date, Signature=00"), Some(2));
        assert_eq!(read("S Access=a,SignedHeaders=host,Signature=00"), None);
        assert_eq!(read("S Access=a, SignedHeaders=x-date;host, Signature=00"), None, "not sorted");
        assert_eq!(read("S Access=a, SignedHeaders=Host, Signature=00"), None, "not lower case");
        assert_eq!(read("S Credential=a, SignedHeaders=host, Signature=00"), None);
    }

    #[test]
    fn u1_u3_urls_with_line_breaks_users_or_fragments_are_refused() {
        assert!(is_web_url("https://a.example/x?y=%20*"));
        for wrong in [
            "ftp://a.example/",
            "a.example/",
            "http:///x",
            "http://u@a.example/",
            "http://a.example/\nx",
            "http://a.example/#f",
        ] {
            assert!(!is_web_url(wrong), "{wrong}");
        }
    }
}
