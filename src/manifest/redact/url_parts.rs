//! Parts of a URL that may be secrets, in any text that may be one: in quotes, with other parts wrong, without a scheme.

use std::ops::Range;

use crate::manifest::secrets::names_credential;

/// What must not be shown of a text, in order. URLs of assets are public: of these a query is hidden only where its name suggests a
/// credential, and a name before an `@` only if a password follows it.
pub(super) fn secrets(text: &str, is_asset: bool) -> Vec<Range<usize>> {
    let is_quote = |c: char| matches!(c, '"' | '\'');
    let end = text.trim_end_matches(is_quote).len();
    let first = text.len() - text.trim_start_matches(is_quote).len();
    let start = [":\\/\\/", "://"].iter().find_map(|mark| Some(text.find(mark)? + mark.len()));
    let start = start.unwrap_or_else(|| first + if text[first..].starts_with("//") { 2 } else { 0 });
    let mut found = Vec::new();
    let Some(rest) = text.get(start..end) else { return found };
    let user = user_info(rest, is_asset);
    if user > 0 {
        found.push(start..start + user);
    }
    if let Some(mark) = rest[user..].find(['?', '#']).map(|at| start + user + at) {
        // A `?` of a pattern is no query.
        let has_values = text[mark..end].contains(['=', '#']) || start > first;
        query(text, mark + 1..end, is_asset || !has_values, &mut found);
    }
    found
}

/// The length of the user name and password that a URL behind its scheme begins with.
fn user_info(rest: &str, is_asset: bool) -> usize {
    let authority = &rest[..rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len())];
    match (authority.rfind('@'), rest.rfind('@')) {
        (Some(at), _) if !is_asset || authority[..at].contains(':') => at,
        // An `@` that was escaped once too often.
        (None, _) if authority.contains("%40") && (!is_asset || authority.contains(':')) => authority.len(),
        // A password may hold what would end the authority.
        (None, Some(at)) if authority.contains(':') => at,
        _ => 0,
    }
}

fn query(text: &str, query: Range<usize>, is_asset: bool, found: &mut Vec<Range<usize>>) {
    let mut at = query.start;
    for pair in text[query].split_inclusive(['&', ';', '?', '#']) {
        let value = match pair.find('=') {
            Some(equals) if !is_asset || names_credential(&pair[..equals]) => Some(equals + 1),
            None if !is_asset => Some(0),
            _ => None,
        };
        let end = pair.trim_end_matches(['&', ';', '?', '#']).len();
        found.extend(value.filter(|value| *value < end).map(|value| at + value..at + end));
        at += pair.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str, is_asset: bool) -> String {
        let mut shown = text.to_owned();
        secrets(text, is_asset).into_iter().rev().for_each(|piece| shown.replace_range(piece, "*"));
        shown
    }

    #[test]
    fn users_and_queries_are_hidden_and_nothing_else() {
        for (text, of_setting, of_asset) in [
            ("https://u:p@a.cn/x", "https://*@a.cn/x", "https://*@a.cn/x"),
            ("\"https:\\/\\/u:p@a.cn\"", "\"https:\\/\\/*@a.cn\"", "\"https:\\/\\/*@a.cn\""),
            ("https://u:p/w?#@a.cn/", "https://*@a.cn/", "https://*@a.cn/"),
            ("//u:p@a.cn", "//*@a.cn", "//*@a.cn"),
            ("http://u:p%40a.cn:80/x", "http://*/x", "http://*/x"),
            ("https://a.cn/%40s:x", "https://a.cn/%40s:x", "https://a.cn/%40s:x"),
            ("u:p@a.cn", "*@a.cn", "*@a.cn"),
            ("token@a.cn", "*@a.cn", "token@a.cn"),
            ("npm/@scope/a@1.2/b.js", "npm/@scope/a@1.2/b.js", "npm/@scope/a@1.2/b.js"),
            ("https://a.cn/@s/b", "https://a.cn/@s/b", "https://a.cn/@s/b"),
            ("https://a.cn/?sig=x&v=1", "https://a.cn/?sig=*&v=*", "https://a.cn/?sig=*&v=1"),
            ("'https://a.cn?x'", "'https://a.cn?*'", "'https://a.cn?x'"),
            ("https://a.cn/#x", "https://a.cn/#*", "https://a.cn/#x"),
            ("a?.js", "a?.js", "a?.js"),
            ("", "", ""),
            ("'", "'", "'"),
        ] {
            assert_eq!(
                (masked(text, false), masked(text, true)),
                (of_setting.to_owned(), of_asset.to_owned()),
                "{text}"
            );
        }
    }
}
