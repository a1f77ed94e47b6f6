//! Names of files as parts of URLs: the one rule for percent-encoding, and the spellings that browsers have beside it.
//!
//! What it writes is canonical to `spelling.rs`. Does not know hosts.
//!
//! RFC 3986 lets no `[`, `]`, `|` and `^` stand in a path. The URL standard of browsers does: its path percent-encode set has
//! the first three in no version, and `^` since the end of 2024 only. Whatever else RFC 3986 escapes, browsers escape as well
//! (`{` and `}` since 2015); a backslash, `%`, `?` and `#` mean something else to them and reach no file unescaped.

use std::borrow::Cow;

use percent_encoding::percent_encode_byte;

use super::spelling::is_unreserved;

/// The path of a URL for the path of a file, both relative.
///
/// Letters, digits and `-._~!$&'()*+,;=:@/` stay as they are; every other byte of the UTF-8 form becomes `%` and two
/// upper-case hex digits. `%` itself is one of those, also where it looks like an escape: the file `a%20b` is found at
/// `a%2520b`. So no two files share a URL, and none gets a query or a fragment.
pub fn url_path(file: &str) -> Cow<'_, str> {
    // Without an early end: nearly all names stay as they are, and this is quicker for them.
    if file.bytes().fold(true, |all, byte| all & stays(byte)) {
        return Cow::Borrowed(file);
    }
    let mut out = String::with_capacity(file.len() + 16);
    for byte in file.bytes() {
        if stays(byte) { out.push(char::from(byte)) } else { out.push_str(percent_encode_byte(byte)) }
    }
    Cow::Owned(out)
}

/// What browsers may send in place of an escape.
const SENT_BY_BROWSERS: [(&str, &str); 3] = [("%5B", "["), ("%5D", "]"), ("%7C", "|")];
/// What only browsers of the older standard send.
const SENT_BY_OLDER_BROWSERS: (&str, &str) = ("%5E", "^");

/// The other spellings of a path in which browsers ask for it where a link has the characters unescaped: by the standard as
/// it is, then by the older one. What is sent unescaped is taken for its escape.
pub(crate) fn browser_spellings(path: &str) -> impl Iterator<Item = String> + use<> {
    let spelled = has_other_spellings(path).then(|| {
        let pairs = || SENT_BY_BROWSERS.into_iter().chain([SENT_BY_OLDER_BROWSERS]);
        let strict = pairs().fold(path.to_owned(), |text, (escape, sent)| {
            text.replace(sent, escape).replace(&escape.to_ascii_lowercase(), escape)
        });
        let newer = SENT_BY_BROWSERS.into_iter().fold(strict, |text, (escape, sent)| text.replace(escape, sent));
        let older = newer.replace(SENT_BY_OLDER_BROWSERS.0, SENT_BY_OLDER_BROWSERS.1);
        let further = (older != newer).then_some(older);
        [Some(newer), further].into_iter().flatten().filter(|spelling| spelling != path).collect::<Vec<_>>()
    });
    spelled.into_iter().flatten()
}

/// What the URL standard leaves as it is in a query, and RFC 3986 escapes.
const SENT_IN_QUERIES: [(&str, &str); 7] =
    [("%5B", "["), ("%5D", "]"), ("%5E", "^"), ("%60", "`"), ("%7B", "{"), ("%7C", "|"), ("%7D", "}")];

/// A query as browsers ask for it where a link has its characters unescaped.
pub(crate) fn browser_query(query: &str) -> Cow<'_, str> {
    SENT_IN_QUERIES.into_iter().fold(Cow::Borrowed(query), |query, (escape, sent)| {
        let lower = escape.to_ascii_lowercase();
        let is_there = query.contains(escape) || query.contains(&lower);
        if is_there { query.replace(escape, sent).replace(&lower, sent).into() } else { query }
    })
}

/// Whether some character of a path, as it is or escaped, is one of those.
pub(crate) fn has_other_spellings(path: &str) -> bool {
    let is_escape = |at: usize| {
        matches!(
            path.as_bytes().get(at + 1..at + 3),
            Some([b'5', b'B' | b'b' | b'D' | b'd' | b'E' | b'e'] | [b'7', b'C' | b'c'])
        )
    };
    path.bytes()
        .enumerate()
        .any(|(at, byte)| matches!(byte, b'[' | b']' | b'|' | b'^') || byte == b'%' && is_escape(at))
}

/// The path of the file whose [`url_path`], or whose spelling by browsers, this is; `None` if it is no file's.
pub fn file_path(url_path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(url_path.len());
    let mut rest = url_path.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || char::from(rest.next()?).to_digit(16);
        bytes.push(if byte == b'%' { u8::try_from(digit()? * 16 + digit()?).ok()? } else { byte });
    }
    let file = String::from_utf8(bytes).ok()?;
    let is_file = !file.split('/').any(|part| matches!(part, "" | "." | ".."));
    let strict = self::url_path(&file);
    let is_its_own = || strict == url_path || browser_spellings(&strict).any(|spelling| spelling == url_path);
    (is_file && is_its_own()).then_some(file)
}

fn stays(byte: u8) -> bool {
    STAYS[usize::from(byte)]
}

/// Whether each byte stays as it is.
const STAYS: [bool; 256] = {
    let mut stays = [false; 256];
    let mut byte = 0_u8;
    while byte < 0x80 {
        stays[byte as usize] =
            is_unreserved(byte) || matches!(byte, b'!' | b'$' | b'&'..=b',' | b'/' | b':' | b';' | b'=' | b'@');
        byte += 1;
    }
    stays
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{spelling, url};
    use proptest::prelude::*;

    // D3, U4
    #[test]
    fn names_are_encoded_by_one_rule() {
        for (file, path) in [
            ("a b", "a%20b"),
            ("a+b", "a+b"),
            ("~a", "~a"),
            ("it's", "it's"),
            ("a#b", "a%23b"),
            ("a?b=c", "a%3Fb=c"),
            ("100%", "100%25"),
            ("a%20b", "a%2520b"),
            ("%2e%2e/x", "%252e%252e/x"),
            ("你好.html", "%E4%BD%A0%E5%A5%BD.html"),
            ("a\\b\"<>^`{|}", "a%5Cb%22%3C%3E%5E%60%7B%7C%7D"),
            ("x[1].js", "x%5B1%5D.js"),
            ("!$&'()*+,;=:@-._~", "!$&'()*+,;=:@-._~"),
            ("d/e/f.html", "d/e/f.html"),
        ] {
            assert_eq!(url_path(file), path);
            assert_eq!(file_path(path).as_deref(), Some(file));
        }
    }

    /// Every printable ASCII character and some others: what a WHATWG parser makes of a link to the file is purged.
    #[test]
    fn what_browsers_ask_for_is_among_the_spellings() {
        let odd = ['é', '你', '🦀', '\u{a0}', '\u{2028}', 'ß', '\u{301}', '\u{ff3b}'];
        for c in (' '..='~').chain(odd).filter(|c| !"/\\%?#".contains(*c)) {
            let file = format!("x{c}y.js");
            let strict = url_path(&file).into_owned();
            let all: Vec<String> = std::iter::once(strict.clone()).chain(browser_spellings(&strict)).collect();
            let parsed = ::url::Url::parse(&format!("https://a.cn/{file}")).unwrap();
            // The parser that is used here may know the older standard or the newer one.
            for sent in [parsed.path().replace('^', "%5E"), parsed.path().to_owned()] {
                assert!(all.iter().any(|spelling| format!("/{spelling}") == sent), "{file}: {all:?}, sent {sent}");
            }
            assert_eq!(all.len(), if "[]|^".contains(c) { 2 } else { 1 }, "{file}: {all:?}");
            assert!(all.iter().all(|spelling| file_path(spelling).as_deref() == Some(file.as_str())), "{all:?}");
        }
        let of = |path: &str| browser_spellings(path).collect::<Vec<_>>();
        assert_eq!(of("%5Ba%5D%7C%5E"), ["[a]|%5E", "[a]|^"]);
        assert_eq!(of("[a]|^"), ["[a]|%5E"]);
        assert_eq!(of("%5ba%5d"), ["[a]"]);
        assert_eq!((of("%255B"), of("[a].js"), of("plain/%20")), (vec![], vec![], vec![]));
    }

    #[test]
    fn what_browsers_ask_for_in_a_query_is_known() {
        for c in ' '..='~' {
            let sent = ::url::Url::parse(&format!("https://a.cn/?x{c}y")).unwrap();
            let strict = format!("?x{}y", url_path(&c.to_string()));
            let is_left = "[]^`{|}".contains(c);
            assert_eq!(browser_query(&strict) != strict, is_left, "{c}");
            assert!(
                !is_left || sent.query().map(|query| format!("?{query}")) == Some(browser_query(&strict).into()),
                "{c}"
            );
        }
        assert_eq!(browser_query("?a%5b%5D=%7c&b=%255B%20"), "?a[]=|&b=%255B%20");
    }

    #[test]
    fn a_path_that_no_file_has_is_none() {
        for path in ["a?x=1", "a%2fb", "%41", "a%2", "a%zz", "a b", "%ff", "", "a/", "/a", "a/../b", "a//b"] {
            assert_eq!(file_path(path), None, "{path}");
        }
    }

    proptest! {
        // D3, U1, U4
        #[test]
        fn every_name_has_a_canonical_url_of_its_own(file in "[^\\x00-\\x1f\\x7f-\\x9f/]{1,12}(/[^\\x00-\\x1f\\x7f-\\x9f/]{1,12}){0,2}") {
            prop_assume!(!file.split('/').any(|part| matches!(part, "." | "..")));
            let path = url_path(&file);
            prop_assert!(url::check_path(&path).is_ok());
            prop_assert_eq!(spelling::respelled(&format!("/{path}")), None);
            let whole = format!("https://a.cn/{path}");
            let parts = url::check(&whole);
            prop_assert!(parts.is_ok_and(|parts| url::respelled(&parts).is_none()));
            let decoded = percent_encoding::percent_decode_str(&path).decode_utf8().unwrap();
            prop_assert_eq!(decoded, file.as_str());
            prop_assert_eq!(file_path(&path), Some(file));
        }
    }
}
