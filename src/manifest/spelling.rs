//! The canonical spelling of a path and query, to be shown beside what is written. Never sent.

use percent_encoding::percent_encode_byte;

/// The usual spelling of what stands after the authority of a URL, and why it differs; `None` if it does not.
pub(crate) fn respelled(path_and_query: &str) -> Option<(String, &'static str)> {
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    let mut reason = None;
    let mut spelled = without_dots(&encoded(path, may_stand_in_path, &mut reason), &mut reason);
    if spelled.is_empty() {
        reason.get_or_insert("the path is missing");
        spelled.push('/');
    }
    if let Some(query) = query {
        spelled.push('?');
        spelled.push_str(&encoded(query, may_stand, &mut reason));
    }
    reason.map(|reason| (spelled, reason))
}

/// Escapes what must be escaped, unescapes what need not be, in upper-case digits.
fn encoded(text: &str, may_stand: fn(u8) -> bool, reason: &mut Option<&'static str>) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        at += 1;
        match (byte, bytes.get(at..at + 2).and_then(escaped_byte)) {
            (b'%', Some(meant)) => {
                at += 2;
                if is_unreserved(meant) {
                    reason.get_or_insert("a character is escaped that need not be");
                    out.push(char::from(meant));
                    continue;
                }
                if bytes[at - 2..at].iter().any(u8::is_ascii_lowercase) {
                    reason.get_or_insert("an escape has lower-case digits");
                }
                out.push_str(percent_encode_byte(meant));
            }
            (b'%', None) => {
                reason.get_or_insert("`%` without two hex digits after it");
                out.push_str(percent_encode_byte(byte));
            }
            _ if may_stand(byte) => out.push(char::from(byte)),
            _ => {
                let why = if byte.is_ascii() {
                    "a character should be escaped"
                } else {
                    "a character outside ASCII is not escaped"
                };
                reason.get_or_insert(why);
                out.push_str(percent_encode_byte(byte));
            }
        }
    }
    out
}

fn escaped_byte(digits: &[u8]) -> Option<u8> {
    let half = |digit: u8| char::from(digit).to_digit(16);
    u8::try_from(half(digits[0])? * 16 + half(digits[1])?).ok()
}

/// Whether a byte never needs escaping.
pub(super) const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn may_stand(byte: u8) -> bool {
    is_unreserved(byte) || b"!$&'()*+,;=:@/?[]".contains(&byte)
}

/// Browsers send some characters as they are, and what they have for them is told apart from this.
fn may_stand_in_path(byte: u8) -> bool {
    may_stand(byte) || matches!(byte, b'|' | b'^')
}

/// Resolves `.` and `..` segments.
fn without_dots(path: &str, reason: &mut Option<&'static str>) -> String {
    if !has_dot_segments(path) {
        return path.to_owned();
    }
    reason.get_or_insert("the path has `.` or `..` segments");
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (index, segment) in segments.iter().enumerate() {
        let last = index + 1 == segments.len();
        match *segment {
            "." | ".." => {
                if *segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

fn has_dot_segments(path: &str) -> bool {
    path.split('/').any(|segment| segment == "." || segment == "..")
}

/// Whether a path has a `..` segment in any spelling, so that it leaves the folder it is written below.
pub(crate) fn climbs(path: &str) -> bool {
    let plain = path.split('?').next().unwrap_or(path).replace("%2e", ".").replace("%2E", ".");
    plain.split('/').any(|segment| segment == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    // U4
    #[test]
    fn odd_spellings_are_named_and_respelled() {
        for (written, spelled, reason) in [
            ("", "/", "the path is missing"),
            ("?q", "/?q", "the path is missing"),
            ("/a b", "/a%20b", "a character should be escaped"),
            ("/%66oo", "/foo", "a character is escaped that need not be"),
            ("/%e4%bd%a0", "/%E4%BD%A0", "an escape has lower-case digits"),
            ("/你", "/%E4%BD%A0", "a character outside ASCII is not escaped"),
            ("/100%", "/100%25", "`%` without two hex digits after it"),
            ("/a/./b", "/a/b", "the path has `.` or `..` segments"),
            ("/a/../b/..", "/", "the path has `.` or `..` segments"),
            ("/a/%2e%2E/b", "/b", "a character is escaped that need not be"),
            ("/a?x=%2f{}", "/a?x=%2F%7B%7D", "an escape has lower-case digits"),
        ] {
            assert_eq!(respelled(written), Some((spelled.to_owned(), reason)), "{written}");
            assert_eq!(respelled(spelled), None, "{spelled}");
        }
        assert_eq!(respelled("/a*b/~x;y=1,2/%2F?a=b&c[]=%20/../"), None);
    }

    #[test]
    fn climbing_is_seen_in_every_spelling() {
        for bad in ["..", "../a", "a/../b", "a/%2e./b", "a/%2E%2e"] {
            assert!(climbs(bad), "{bad}");
        }
        assert!(!climbs("a..b/c") && !climbs("a?x=/../") && !climbs("..."));
    }
}
