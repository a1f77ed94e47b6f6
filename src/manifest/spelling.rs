//! The canonical spelling of a path and query, to be shown beside what is written. Never sent.
//!
//! What is not escaped is escaped as browsers do (the URL standard): they let other characters stand in a query than in a path.
//! Escapes they leave as they are; those of a path have a usual spelling, and those of a query what a program makes of them.

use percent_encoding::percent_encode_byte;

/// The usual spelling of what stands after the authority of a URL, and why it differs; `None` if it does not.
pub(crate) fn respelled(path_and_query: &str) -> Option<(String, &'static str)> {
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    let mut reason = None;
    let mut spelled = without_dots(&encoded(path, &mut reason), &mut reason);
    if spelled.is_empty() {
        reason.get_or_insert("the path is missing");
        spelled.push('/');
    }
    if let Some(query) = query {
        spelled.push('?');
        spelled.push_str(&query_as_sent(query, &mut reason));
    }
    reason.map(|reason| (spelled, reason))
}

/// Escapes what browsers escape in a path, unescapes what need not be, in upper-case digits.
fn encoded(path: &str, reason: &mut Option<&'static str>) -> String {
    let bytes = path.as_bytes();
    let mut out = String::with_capacity(path.len());
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        at += 1;
        let Some(meant) = bytes.get(at..at + 2).filter(|_| byte == b'%').and_then(escaped_byte) else {
            push(&mut out, byte, may_stand_in_path(byte), reason);
            continue;
        };
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
    out
}

/// A query as browsers send it.
fn query_as_sent(query: &str, reason: &mut Option<&'static str>) -> String {
    let mut out = String::with_capacity(query.len());
    for byte in query.bytes() {
        push(&mut out, byte, byte.is_ascii_graphic() && !b"\"'<>".contains(&byte), reason);
    }
    out
}

/// Appends a byte, escaped where it may not stand.
fn push(out: &mut String, byte: u8, may_stand: bool, reason: &mut Option<&'static str>) {
    if may_stand {
        return out.push(char::from(byte));
    }
    reason.get_or_insert(if byte.is_ascii() {
        "a character should be escaped"
    } else {
        "a character outside ASCII is not escaped"
    });
    out.push_str(percent_encode_byte(byte));
}

fn escaped_byte(digits: &[u8]) -> Option<u8> {
    let half = |digit: u8| char::from(digit).to_digit(16);
    u8::try_from(half(digits[0])? * 16 + half(digits[1])?).ok()
}

/// Whether a byte never needs escaping.
pub(super) const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// A lone `%` stays as well. Whether `^` does depends on the age of the browser.
fn may_stand_in_path(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"<>?\\`{}".contains(&byte)
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
            ("/a/./b", "/a/b", "the path has `.` or `..` segments"),
            ("/a/../b/..", "/", "the path has `.` or `..` segments"),
            ("/a/%2e%2E/b", "/b", "a character is escaped that need not be"),
            ("/{}?{}", "/%7B%7D?{}", "a character should be escaped"),
            ("/a?it's", "/a?it%27s", "a character should be escaped"),
            ("/a?<\"你>", "/a?%3C%22%E4%BD%A0%3E", "a character should be escaped"),
        ] {
            assert_eq!(respelled(written), Some((spelled.to_owned(), reason)), "{written}");
            assert_eq!(respelled(spelled), None, "{spelled}");
        }
        for usual in ["/a*b/~x;y=1,2/%2F?a=b&c[]=%20/../", "/100%/%zz?%2e%2e/%41%2f%", "/a?|^`{}[]/\\%zz"] {
            assert_eq!(respelled(usual), None, "{usual}");
        }
    }

    /// U4: every printable character, and each escape, as a WHATWG parser sends it.
    #[test]
    fn queries_are_spelled_as_browsers_send_them() {
        let odd = ['é', '你', '🦀', '\u{a0}'];
        for c in (' '..='~').chain(odd).filter(|c| *c != '#') {
            for query in [format!("x{c}y"), format!("x=%{:02x}", u32::from(c)), format!("%{c}y")] {
                let sent = ::url::Url::parse(&format!("https://a.cn/?{query}")).unwrap();
                let usual =
                    respelled(&format!("/?{query}")).map_or_else(|| query.clone(), |(usual, _)| usual[2..].to_owned());
                assert_eq!(Some(usual.as_str()), sent.query(), "{query}");
            }
        }
    }

    #[test]
    fn climbing_is_seen_in_every_spelling() {
        for bad in ["..", "../a", "a/../b", "a/%2e./b", "a/%2E%2e"] {
            assert!(climbs(bad), "{bad}");
        }
        assert!(!climbs("a..b/c") && !climbs("a?x=/../") && !climbs("..."));
    }
}
