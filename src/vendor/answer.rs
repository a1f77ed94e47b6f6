//! What all vendors' answers have in common: the HTTP level, waits, clocks and tables of codes.
//!
//! Does not know any vendor's envelope; adapters find code and message and ask here for the rest.

mod denial;

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::core::contract::{CallError, ErrorClass, Reply, is_task_id};
use crate::core::http::Response;
use crate::core::text::one_line;
use crate::core::time::Timestamp;

/// Longest message that is kept, in bytes.
const MAX_MESSAGE_BYTES: usize = 2048;
/// Longest wait that an answer can ask for; servers have been seen to ask for years.
const MAX_WAIT_MS: u64 = 3_600_000;

/// A vendor's codes with their classes. A code that ends in `*` stands for all that begin like it, `A.*` for `A` as well: vendors
/// add members to a family of codes without a word.
pub(super) type Codes = [(&'static str, ErrorClass)];

/// A refusal in the vendor's own words.
#[derive(Default)]
pub(super) struct VendorRefusal {
    /// The vendor's code.
    pub(super) code: String,
    /// The vendor's message.
    pub(super) message: String,
    /// The vendor's request id.
    pub(super) request_id: Option<String>,
}

impl VendorRefusal {
    /// The error for it: of `class`, or, for a code that is in no table, by the status. A success with such a code is neither
    /// the documented acceptance nor a documented refusal.
    pub(super) fn error(self, class: Option<ErrorClass>, response: &Response) -> CallError {
        let class = class.unwrap_or(match response.status {
            200..300 => ErrorClass::Unknown,
            429 => ErrorClass::Throttled,
            500.. => ErrorClass::Transient,
            401 => ErrorClass::Auth,
            _ => ErrorClass::Fatal,
        });
        CallError { request_id: self.request_id, ..error(response, class, self.code, self.message) }
    }
}

/// The class of `code`: its own entry in any table, else the longest entry with `*` that fits.
pub(super) fn classify(code: &str, tables: &[&Codes]) -> Option<ErrorClass> {
    let entries = || tables.iter().flat_map(|table| table.iter());
    if let Some((_, class)) = entries().find(|(known, _)| *known == code) {
        return Some(*class);
    }
    entries()
        .filter_map(|(known, class)| known.strip_suffix('*').map(|prefix| (prefix, *class)))
        .filter(|(prefix, _)| code.starts_with(prefix) || prefix.strip_suffix('.') == Some(code))
        .max_by_key(|(prefix, _)| prefix.len())
        .map(|(_, class)| class)
}

/// The error of an answer that cannot be the vendor's whatever its body says: a redirect.
///
/// # Errors
/// Returned for 3xx only.
pub(super) fn refuse_redirect(response: &Response) -> Result<(), CallError> {
    if !(300..400).contains(&response.status) {
        return Ok(());
    }
    let message = "the endpoint redirects, and redirects are not followed: the signature would not fit and \
                   credentials could leak; set `endpoint` to where the service is";
    Err(error(response, ErrorClass::Fatal, status_code(response), message.into()))
}

/// The error of an answer without a readable code, or of a success that lacks what was promised.
pub(super) fn without_code(response: &Response) -> CallError {
    let (class, message) = match response.status {
        429 => (ErrorClass::Throttled, "too many requests"),
        502..=504 => (ErrorClass::Transient, "the service or a gateway before it is not available"),
        200..300 => {
            (ErrorClass::Unknown, "the answer is not the documented one; whether the call was carried out is not known")
        }
        500.. => (ErrorClass::Unknown, "the service failed; whether the call was carried out is not known"),
        401 | 403 => (ErrorClass::Auth, "access refused without a code of the service"),
        _ => (ErrorClass::Fatal, "refused without a code of the service"),
    };
    error(response, class, status_code(response), message.into())
}

/// An error with everything that the HTTP level gives.
pub(super) fn error(response: &Response, class: ErrorClass, code: String, mut message: String) -> CallError {
    message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
    CallError {
        class,
        code,
        message,
        request_id: None,
        retry_after_ms: retry_after_ms(response),
        server_time: server_time(response),
    }
}

/// `HTTP 503` and the like, where there is no better code.
pub(super) fn status_code(response: &Response) -> String {
    format!("HTTP {}", response.status)
}

/// The body as a JSON object; `None` for anything else, and where a key stands twice in an object: readers of JSON differ in
/// which of both counts.
pub(super) fn json_object(response: &Response) -> Option<Value> {
    let Unambiguous(value) = serde_json::from_slice(body(response)).ok()?;
    value.is_object().then_some(value)
}

/// The body without a byte order mark.
fn body(response: &Response) -> &[u8] {
    response.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&response.body)
}

/// JSON without an object that has a key twice.
struct Unambiguous(Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue).map(Self)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without a doubled key")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unambiguous(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = serde_json::Map::new();
        while let Some((key, Unambiguous(value))) = entries.next_entry()? {
            if map.insert(key, value).is_some() {
                return Err(serde::de::Error::custom("a key stands twice"));
            }
        }
        Ok(map.into())
    }
}

/// Whether an object that should be an acceptance has a member for errors besides those `expected`, with any value, or says
/// itself that it is no success.
pub(super) fn has_error_member(object: &Value, expected: &[&str]) -> bool {
    let names_error = |name: &str| name.eq_ignore_ascii_case("code") || name.to_ascii_lowercase().starts_with("error");
    let denies = |(name, value): (&String, &Value)| name.eq_ignore_ascii_case("success") && *value != Value::Bool(true);
    let mut members = object.as_object().into_iter().flatten();
    members.any(|member| denies(member) || names_error(member.0) && !expected.contains(&member.0.as_str()))
}

/// A reply that the whole answer agrees with. What no vendor documents may stand beside an acceptance and take it back: a list of
/// URLs, a code, a state. Whether the call was carried out is not known then. `asked` is how many targets an API was asked for,
/// `None` for caches, whose answers are not documented.
///
/// # Errors
/// An unknown outcome that names the member.
pub(super) fn undenied(reply: Reply, asked: Option<usize>, response: &Response) -> Result<Reply, CallError> {
    let Some(denial) = denial(body(response), asked) else { return Ok(reply) };
    let message = format!("the answer accepts the call, and {denial}");
    let error = error(response, ErrorClass::Unknown, status_code(response), message);
    Err(CallError { request_id: reply.request_id, ..error })
}

/// What takes an acceptance back: in a value of JSON or several in a row, or in what is meant to be JSON.
fn denial(body: &[u8], asked: Option<usize>) -> Option<String> {
    for read in serde_json::Deserializer::from_slice(body).into_iter::<Unambiguous>() {
        match read {
            Ok(Unambiguous(value)) => {
                if let Some(name) = denial::in_value(&value, asked) {
                    return Some(format!("denies it by its member `{}`", one_line(&name, 80)));
                }
                if let Some(text) = denial::in_lone_text(&value) {
                    return Some(format!("denies it by its text `{}`", one_line(text, 80)));
                }
            }
            Err(error) if error.is_data() => return Some("may deny it: a key stands twice in it".to_owned()),
            Err(_) => {
                let is_meant = [&b"{"[..], b"[{"].iter().any(|start| body.trim_ascii_start().starts_with(start));
                let denies = is_meant && denial::says_failure(&String::from_utf8_lossy(body).to_lowercase());
                return denies.then(|| "may deny it: it is broken JSON with a word of failure".to_owned());
            }
        }
    }
    None
}

/// The id of a task in the first of these fields that holds a text or a number.
pub(super) fn task_id_of(object: &Value, names: &[&str]) -> Option<String> {
    text_of(object, names).filter(|id| is_id(id))
}

/// Whether a text can be the id of a task, and no word in place of one.
pub(super) fn is_id(text: &str) -> bool {
    is_task_id(text) && !denial::is_no_id(text)
}

/// The first of these fields that holds a text or a number; vendors mix the two up. Empty texts count as absent.
pub(super) fn text_of(object: &Value, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| match object.get(name)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

/// The first of these fields that holds a whole number from 0, perhaps as a text.
pub(super) fn count_of(object: &Value, names: &[&str]) -> Option<u64> {
    text_of(object, names)?.trim().parse().ok()
}

/// A wait of `ms` milliseconds, cut to the longest that is honoured.
pub(super) fn capped_wait(ms: u64) -> u64 {
    ms.min(MAX_WAIT_MS)
}

fn server_time(response: &Response) -> Option<Timestamp> {
    Timestamp::from_http_date(response.header("date")?)
}

/// `Retry-After` in milliseconds. A date counts from the answer's own `Date`, since the local clock may be off; a past
/// date and anything unreadable count as absent.
fn retry_after_ms(response: &Response) -> Option<u64> {
    let text = response.header("retry-after")?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number can hold still mean a very long wait.
        let seconds: u64 = text.parse().unwrap_or(u64::MAX);
        return Some(capped_wait(seconds.saturating_mul(1000)));
    }
    let wait = Timestamp::from_http_date(text)?.unix_ms() - server_time(response)?.unix_ms();
    u64::try_from(wait).ok().filter(|ms| *ms > 0).map(capped_wait)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::testing::answer;

    // T5
    #[test]
    fn waits_are_honoured_up_to_a_cap_or_ignored() {
        let date = ("Date", "Tue, 14 Nov 2023 22:13:20 GMT");
        let wait = |text| retry_after_ms(&answer(503, &[date, ("Retry-After", text)], ""));
        assert_eq!(wait("120"), Some(120_000));
        assert_eq!(wait(" 0 "), Some(0));
        assert_eq!(wait("31536000"), Some(MAX_WAIT_MS));
        assert_eq!(wait("99999999999999999999999999"), Some(MAX_WAIT_MS));
        assert_eq!(wait("Tue, 14 Nov 2023 22:13:50 GMT"), Some(30_000));
        assert_eq!(wait("Thu, 14 Nov 2024 22:13:50 GMT"), Some(MAX_WAIT_MS));
        for text in
            ["Tue, 14 Nov 2023 22:13:19 GMT", "Tue, 14 Nov 2023 22:13:20 GMT", "", "soon", "-1", "1.5", "1e3", "+5"]
        {
            assert_eq!(wait(text), None, "{text}");
        }
        let no_date = answer(503, &[("Retry-After", "Tue, 14 Nov 2023 22:13:50 GMT")], "");
        assert_eq!(retry_after_ms(&no_date), None);
    }

    #[test]
    fn status_decides_where_there_is_no_code() {
        use ErrorClass::{Auth, Fatal, Throttled, Transient, Unknown};
        let table = [
            (200, Unknown),
            (202, Unknown),
            (204, Unknown),
            (400, Fatal),
            (401, Auth),
            (403, Auth),
            (404, Fatal),
            (429, Throttled),
            (500, Unknown),
            (501, Unknown),
            (502, Transient),
            (503, Transient),
            (504, Transient),
            (520, Unknown),
        ];
        for (status, class) in table {
            let error = without_code(&answer(status, &[("Retry-After", "7")], "<html>"));
            assert_eq!((error.class, error.retry_after_ms), (class, Some(7000)), "{status}");
            assert_eq!(error.code, format!("HTTP {status}"));
        }
        for status in [301, 302, 303, 307, 308] {
            let error = refuse_redirect(&answer(status, &[("Location", "https://canary.example")], "")).unwrap_err();
            assert_eq!(error.class, Fatal);
            assert!(!error.message.contains("canary"));
        }
        assert!(refuse_redirect(&answer(200, &[], "")).is_ok());
    }

    #[test]
    fn unknown_codes_are_fatal_unless_the_server_failed_or_says_success() {
        let class = |status| VendorRefusal::default().error(None, &answer(status, &[], "")).class;
        assert_eq!(class(200), ErrorClass::Unknown);
        assert_eq!(class(400), ErrorClass::Fatal);
        assert_eq!(class(401), ErrorClass::Auth);
        assert_eq!(class(403), ErrorClass::Fatal);
        assert_eq!(class(429), ErrorClass::Throttled);
        assert_eq!(class(500), ErrorClass::Transient);
    }

    #[test]
    fn exact_codes_win_over_prefixes_and_longer_prefixes_over_shorter() {
        let table: &Codes = &[("A.*", ErrorClass::Fatal), ("A.B.*", ErrorClass::Auth), ("A.x", ErrorClass::Clock)];
        assert_eq!(classify("A.x", &[table]), Some(ErrorClass::Clock));
        assert_eq!(classify("A.y", &[table]), Some(ErrorClass::Fatal));
        assert_eq!(classify("A.B.c", &[table]), Some(ErrorClass::Auth));
        assert_eq!(classify("A", &[table]), Some(ErrorClass::Fatal));
        assert_eq!(classify("A.B", &[table]), Some(ErrorClass::Auth));
        assert_eq!(classify("AB", &[table]), None);
        assert_eq!(classify("a.x", &[table]), None);
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let error = error(&answer(200, &[], ""), ErrorClass::Fatal, String::new(), "é".repeat(2000) + "x");
        assert_eq!(error.message.len(), 2048);
        let odd =
            super::error(&answer(200, &[], ""), ErrorClass::Fatal, String::new(), "x".to_owned() + &"é".repeat(2000));
        assert_eq!(odd.message.len(), 2047);
    }
}
