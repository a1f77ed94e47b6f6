//! What may be secret in a line that is known as text alone: of a file that is no YAML, of a simple list, in a comment.

use std::ops::Range;

use super::url_parts;
use crate::manifest::secrets::names_credential;

/// Bytes before a line that are searched for the keys that it stands below.
const MOST_BEFORE: usize = 65536;

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

/// As [`secrets`], of a line that follows `before` in a file that is no YAML: what stands below a credential's key is one.
pub(super) fn secrets_below(before: &[u8], line: &str) -> Vec<Range<usize>> {
    let all = 0..line.len();
    let window = String::from_utf8_lossy(&before[before.len().saturating_sub(MOST_BEFORE)..]).into_owned();
    let mut depth = depth_of(line);
    let mut is_next = true;
    for above in window.lines().rev().filter(|above| !matches!(above.trim_start().as_bytes(), [] | [b'#', ..])) {
        let is_above = depth_of(above) < depth;
        // A text in quotes may go on at the beginning of the next line.
        let goes_on = is_next && keys(line).next().is_none();
        if (is_above || goes_on) && keys(above).any(|(name, _)| names_credential(name)) {
            return vec![all];
        }
        if (is_above || goes_on) && keys(above).any(|(name, _)| is_headers(name)) {
            return match keys(line).next().filter(|_| is_next) {
                Some((_, end)) => std::iter::once(end..line.len()).collect(),
                None => vec![all],
            };
        }
        if is_above {
            depth = depth_of(above);
        }
        if depth == 0 {
            break;
        }
        is_next &= !is_above;
    }
    secrets(line, false)
}

fn is_headers(name: &str) -> bool {
    matches!(name, "headers" | "header")
}

/// How deep a line stands: what begins with `-` stands below a key of the same column.
fn depth_of(line: &str) -> usize {
    let text = line.trim_start_matches([' ', '\t']);
    2 * (line.len() - text.len()) + usize::from(text.starts_with('-'))
}

/// Names in a line with a `:` or `=` behind them, and where that ends.
fn keys(line: &str) -> impl Iterator<Item = (&str, usize)> {
    let is_of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '?');
    line.match_indices([':', '=']).filter_map(move |(at, _)| {
        let name = line[..at].trim_end_matches([' ', '\t', '"', '\'']);
        let start = name
            .rfind(|c| !is_of_name(c))
            .map_or(0, |before| before + name[before..].chars().next().map_or(1, char::len_utf8));
        (start < name.len()).then_some((&name[start..], at + 1))
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
            ("pw: x\n", "a: b", "a: b"),
            ("p:\n  pw: x\n", "  a: b", "  a: b"),
        ] {
            assert_eq!(masked(line, secrets_below(before.as_bytes(), line)), shown, "{before}{line}");
        }
    }
}
