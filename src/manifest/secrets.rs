//! What looks like a secret in a manifest: refused, and never repeated or shown.

use super::diagnostic::{Report, Span};
use super::load::{Node, Value};

/// Parts of key names that stand for secrets, without `-` and `_`.
const KEY_PARTS: &[&str] = &[
    "secret",
    "password",
    "passwd",
    "passphrase",
    "token",
    "accesskey",
    "apikey",
    "privatekey",
    "credential",
    "signature",
];
/// Parts of header names that stand for secrets, without `-` and `_`.
const HEADER_PARTS: &[&str] = &[
    "authorization",
    "authentication",
    "cookie",
    "secret",
    "password",
    "passwd",
    "token",
    "apikey",
    "accesskey",
    "credential",
];

/// Whether a key names a secret: `secret_id`, `AccessKeySecret`, `password`, `x-token`.
pub(crate) fn is_secret_key(key: &str) -> bool {
    holds_any(key, KEY_PARTS)
}

/// Whether a header carries credentials, so that its value must come from the environment.
pub(crate) fn is_secret_header(name: &str) -> bool {
    holds_any(name, HEADER_PARTS)
        || name.split(['-', '_']).any(|word| ["auth", "key"].iter().any(|secret| word.eq_ignore_ascii_case(secret)))
}

fn holds_any(name: &str, parts: &[&str]) -> bool {
    let plain: String = name.chars().filter(|c| !matches!(c, '-' | '_')).collect::<String>().to_ascii_lowercase();
    parts.iter().any(|part| plain.contains(part))
}

/// Keeps all texts of `node` from being shown.
pub(crate) fn hide_node(file: usize, node: &Node<'_>, report: &mut Report) {
    match &node.value {
        Value::Null => {}
        Value::Scalar { .. } => report.hide(file, node.span),
        Value::List(list) => list.iter().for_each(|item| hide_node(file, item, report)),
        Value::Map(entries) => entries.iter().for_each(|(_, value)| hide_node(file, value, report)),
    }
}

/// Keeps the value on the line of byte `at` from being shown if its key or form looks like a secret's. For files that
/// do not parse, where nothing but the text is known.
pub(crate) fn hide_line(file: usize, source: &str, at: usize, report: &mut Report) {
    let at = at.min(source.len());
    let start = source[..at].rfind(['\n', '\r']).map_or(0, |newline| newline + 1);
    let end = source[start..].find(['\n', '\r']).map_or(source.len(), |length| start + length);
    let line = &source[start..end];
    let value = match line.find(':') {
        Some(colon) if is_secret_key(&line[..colon]) || is_secret_header(&line[..colon]) => colon + 1,
        // A line of several keys, or the rest of a value: hide it whole when in doubt.
        _ if is_secret_key(line) || is_secret_header(line) || line.contains('@') => 0,
        _ => return,
    };
    let small = |byte: usize| u32::try_from(byte).unwrap_or(u32::MAX);
    report.hide(file, Span { start: small(start + value), end: small(end), ..Span::default() });
}

/// A problem of `${NAME}` references in a text, if there is one.
pub(crate) fn reference_problem(text: &str) -> Option<&'static str> {
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let Some(length) = rest[at + 2..].find('}') else { return Some("`${` without its `}`") };
        let name = &rest[at + 2..at + 2 + length];
        let is_name = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !name.as_bytes()[0].is_ascii_digit();
        if !is_name {
            return Some("`${…}` holds something else than the name of a variable");
        }
        rest = &rest[at + 2 + length + 1..];
    }
    None
}

/// Whether the text holds a `${NAME}` reference.
pub(crate) fn has_reference(text: &str) -> bool {
    text.contains("${")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known() {
        for key in ["secret_key", "SecretId", "access-key", "password", "x_token", "api_key"] {
            assert!(is_secret_key(key), "{key}");
        }
        assert!(!is_secret_key("hosts") && !is_secret_key("keyword"));
        for name in ["Authorization", "proxy-authorization", "Cookie", "X-Auth", "X-Purge-Key", "X-My-Token"] {
            assert!(is_secret_header(name), "{name}");
        }
        assert!(!is_secret_header("X-Author") && !is_secret_header("Accept"));
    }

    // Y6
    #[test]
    fn references_are_names_in_braces() {
        for good in ["", "a", "$", "Bearer ${TOKEN}", "${A}${_b1}", "cost $5"] {
            assert_eq!(reference_problem(good), None, "{good}");
        }
        for bad in ["${", "${}", "${A", "${A-B}", "${1A}", "${A:-x}", "${${A}}"] {
            assert!(reference_problem(bad).is_some(), "{bad}");
        }
    }
}
