//! What may be secret in a line that is known as text alone: of a file that is no YAML, of a simple list, in a comment, in a tag.

use std::ops::Range;

use super::{SecretKind, url_parts};
use crate::manifest::secrets::names_credential;

/// Bytes before a line that are searched for the keys that it stands below.
const MOST_BEFORE: usize = 1 << 24;
/// Tags of YAML itself, without their first `!`.
const TAGS: [&str; 10] = ["!str", "!int", "!float", "!bool", "!null", "!map", "!seq", "!binary", "!timestamp", "!set"];

/// What must not be shown of a line. In a list of assets (`is_asset`) names with `/` or `.` are files.
pub(super) fn secrets(line: &str, is_asset: bool) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let key = keys(line).find(|(name, _)| {
        let is_file = is_asset && name.contains(['/', '.', '?']);
        !is_file && (names_credential(name) || is_headers(name))
    });
    let end = key.map_or(line.len(), |(_, end)| end);
    if let Some(at) = line[..end].rfind('@').filter(|_| !is_asset) {
        let begin = line[..at].find("://").map(|mark| mark + 3);
        let begin = begin.or_else(|| line[..at].find(": ").map(|mark| mark + 2));
        found.push(begin.unwrap_or_else(|| line.len() - line.trim_start().len())..at);
    }
    let is_behind = |found: &[Range<usize>], at: usize| found.last().is_none_or(|last| at >= last.end);
    let mut at = 0;
    for word in line[..end].split_inclusive([' ', '\t', '"', '\'', '`']) {
        for piece in url_parts::secrets(word, is_asset) {
            let piece = at + piece.start..at + piece.end;
            if is_behind(&found, piece.start) {
                found.push(piece);
            }
        }
        at += word.len();
    }
    if end < line.len() {
        found.push(end..line.len());
    }
    found
}

/// As [`secrets`], of a line that follows `before` in a file that is no YAML: the same holds for the values of its keys as in a
/// tree, by those that it stands below.
pub(super) fn secrets_below(before: &[u8], line: &str) -> Vec<Range<usize>> {
    let window = String::from_utf8_lossy(&before[before.len().saturating_sub(MOST_BEFORE)..]);
    let mut kind = SecretKind::Top;
    for above in lines_above(&window, line).into_iter().rev() {
        kind = keys(above).fold(kind, |kind, (name, _)| kind.of_value(name, true));
    }
    let (is_asset, mut end) = (kind == SecretKind::Assets, line.len());
    if kind.is_secret() || kind.is_of_secrets() && keys(line).next().is_none() {
        return std::iter::once(0..end).collect();
    }
    for (name, rest) in keys(line).filter(|(name, rest)| is_asset || !is_of_address(name, &line[*rest..])) {
        let around = if name == "providers" { SecretKind::Top } else { kind };
        let is_map = matches!(line[rest..].trim_start().as_bytes(), [] | [b'{' | b'&' | b'!' | b'*' | b'#', ..]);
        kind = around.of_value(name, is_map);
        if kind.is_secret() {
            end = rest;
            break;
        }
    }
    let word = |found: &&str| !is_asset && names_credential(found);
    if let Some(word) = line[..end].split(|c: char| !is_of_name(c)).find(word) {
        end = end.min(word.as_ptr() as usize - line.as_ptr() as usize + word.len());
    }
    let mut found = secrets(&line[..end], is_asset);
    found.extend((end < line.len()).then_some(end..line.len()));
    found
}

/// The lines that a line stands below, the nearest first.
fn lines_above<'t>(before: &'t str, line: &str) -> Vec<&'t str> {
    let (mut above, mut depth, mut is_next) = (Vec::new(), depth_of(line), true);
    for text in before.lines().rev().filter(|text| !matches!(text.trim_start().as_bytes(), [] | [b'#', ..])) {
        let is_above = depth_of(text) < depth;
        // A text in quotes may go on at the beginning of the next line.
        if is_above || is_next && keys(line).next().is_none() {
            above.push(text);
        }
        if is_above {
            depth = depth_of(text);
        }
        if depth == 0 {
            break;
        }
        is_next &= !is_above;
    }
    above
}

/// Whether a name with a `:` or `=` is part of an address, and no key.
fn is_of_address(name: &str, rest: &str) -> bool {
    let is_port = || name.contains('.') || name.bytes().all(|byte| byte.is_ascii_digit());
    rest.starts_with("//") || name.starts_with('/') || is_port() && !rest.starts_with([' ', '\t'])
}

/// Tags and anchors of a line but for tags of YAML itself: a secret that begins with `!` or `&` looks like one.
pub(super) fn tags(line: &str, is_covered: impl Fn(usize) -> bool) -> Vec<Range<usize>> {
    let is_begin = |at: usize| line[..at].chars().next_back().is_none_or(|c| " \t[{,:".contains(c));
    let marks = line.match_indices(['!', '&']).filter(|(at, _)| is_begin(*at) && !is_covered(*at));
    let tag = |at: usize| {
        let is_end = |(length, c): &(usize, char)| c.is_whitespace() || is_covered(at + length);
        let length = line[at..].char_indices().find(is_end).map_or(line.len() - at, |(length, _)| length);
        at..at + length
    };
    marks.map(|(at, _)| tag(at + 1)).filter(|tag| !TAGS.contains(&&line[tag.clone()])).collect()
}

fn is_headers(name: &str) -> bool {
    matches!(name, "headers" | "header" | "variants" | "repurge_headers")
}

/// How deep a line stands: what begins with `-` stands below a key of the same column, and a tab is as wide as an editor shows it,
/// which is not known: whatever is above may be meant.
fn depth_of(line: &str) -> usize {
    const TAB: usize = 1 << 16;
    let text = line.trim_start_matches([' ', '\t']);
    let blanks = &line[..line.len() - text.len()];
    let width: usize = blanks.chars().map(|c| if c == '\t' { TAB } else { 1 }).sum();
    2 * width + usize::from(text.starts_with('-'))
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '?')
}

/// Names in a line with a `:` or `=` behind them, and where that ends.
fn keys(line: &str) -> impl Iterator<Item = (&str, usize)> {
    line.match_indices([':', '=', '：', '＝']).filter_map(move |(at, separator)| {
        let name = line[..at].trim_end_matches([' ', '\t', '"', '\'']);
        let start = name
            .rfind(|c| !is_of_name(c))
            .map_or(0, |before| before + name[before..].chars().next().map_or(1, char::len_utf8));
        (start < name.len()).then_some((&name[start..], at + separator.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(line: &str, pieces: Vec<Range<usize>>) -> String {
        let mut shown = line.to_owned();
        pieces.into_iter().rev().for_each(|piece| shown.replace_range(piece, "*"));
        shown
    }

    #[test]
    fn values_of_credentials_are_hidden_in_any_line() {
        for (line, shown) in [
            ("  x-api-key: a b", "  x-api-key:*"),
            ("{a: 1, \"pwd\" : x, b: 2}", "{a: 1, \"pwd\" :*"),
            ("  hosts: u:p@x y", "  hosts: *@x y"),
            ("[https://a/x,https://u:p w@h/]", "[https://*@h/]"),
            ("a: https://x/?sig=1 b", "a: https://x/?sig=*"),
            ("base_url: [", "base_url: ["),
        ] {
            assert_eq!(masked(line, secrets(line, false)), shown);
        }
        for line in ["  npm/token@1/key.js: rev:1", "  https://a.cn/key: rev:1", "  a?v=1: rev:1"] {
            assert_eq!(masked(line, secrets(line, true)), line);
        }
    }

    #[test]
    fn what_stands_below_a_credential_is_hidden() {
        for (before, line, shown) in [
            ("pw:\n", "  a: b", "*"),
            ("pw:\n", "- a", "*"),
            ("- pw: |\n    x\n\n", "    a", "*"),
            ("pw: \"a\n", "b", "*"),
            ("providers:\n  p:\n    headers:\n      A: b\n", "      X: y", "      X:*"),
            ("headers:\n  A: >\n", "    X: y", "*"),
            ("pw: x\n", "name: b", "name: b"),
            ("providers:\n  p:\n    pw: x\n", "    kind: b", "    kind: b"),
            ("a:\n", "  name: b", "*"),
            ("providers:\n  p:\n", "    endpoint: https://a.cn:80/x, b: @c", "    endpoint: https://a.cn:80/x, b:*"),
            ("providers:\n", "  p: {kind: b, hosts: [a.cn:80], c: d}}", "  p: {kind: b, hosts: [a.cn:80], c:*"),
            ("providers:\n  p:\n", "    key_secret @b", "    key_secret*"),
            ("assets:\n  a: b\n", "  c.js: @d", "  c.js: @d"),
            (
                "",
                "{\"assets\": {\"a\": \"b\"}, \"providers\": {\"p\": {\"c\": d",
                "{\"assets\": {\"a\": \"b\"}, \"providers\": {\"p\": {\"c\":*",
            ),
        ] {
            assert_eq!(masked(line, secrets_below(before.as_bytes(), line)), shown, "{before}{line}");
        }
    }
}
