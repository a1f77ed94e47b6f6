//! URLs as manifests write them, checked before any parser could change them: parsers drop line breaks silently and
//! respell what caches compare byte by byte.
//!
//! What is accepted is sent as written. Does not know providers.

use super::hosts::{HostRefusal, check_host};
use super::node::{is_invisible, shown};
use super::variables::{NOT_REPLACED, REPLACED_IN};
use super::{secrets, spelling};

/// Longest URL in bytes, whatever the provider.
pub(crate) const MAX_URL_BYTES: usize = 8192;

/// The parts of an accepted URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UrlParts<'a> {
    pub(crate) tls: bool,
    pub(crate) host: &'a str,
    /// Port as written.
    pub(crate) port: Option<u16>,
    /// What stands after the authority: empty, or from `/` or `?` on.
    pub(crate) path_and_query: &'a str,
}

/// Checks a whole URL.
pub(crate) fn check(text: &str) -> Result<UrlParts<'_>, HostRefusal> {
    check_characters(text)?;
    let (tls, rest) = split_scheme(text)?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path_and_query) = rest.split_at(end);
    if authority.contains('@') {
        return Err(HostRefusal::new("user name or password in a URL")
            .help("write the URL without what stands before `@`; change the password if the file was shared"));
    }
    if path_and_query.contains('#') {
        return Err(HostRefusal::new("a URL with a fragment: caches never see what follows `#`")
            .help("delete the fragment, or write `%23` if the `#` belongs to a file name"));
    }
    if secrets::has_reference(authority) {
        return Err(HostRefusal::new(NOT_REPLACED).help(REPLACED_IN));
    }
    let (host, port) = split_port(authority)?;
    check_host(host)?;
    Ok(UrlParts { tls, host, port, path_and_query })
}

/// What parsers would drop or mistake: control characters, blanks at the ends, backslashes, excess length.
fn check_characters(text: &str) -> Result<(), HostRefusal> {
    if text.len() > MAX_URL_BYTES {
        return Err(HostRefusal::new(format!("a URL of {} bytes, more than {MAX_URL_BYTES}", text.len())));
    }
    if let Some(bad) = text.chars().find(|c| is_invisible(*c)) {
        return Err(HostRefusal::new(format!("control character U+{:04X} in a URL", u32::from(bad)))
            .help("delete it, or write it percent-encoded if it belongs to the URL"));
    }
    if text.trim() != text {
        return Err(HostRefusal::new("a URL with blanks at its beginning or end").help("delete the blanks"));
    }
    if text.contains('\\') {
        return Err(HostRefusal::new("a URL with a backslash")
            .help("write `/`, or `%5C` if the backslash belongs to a file name"));
    }
    Ok(())
}

fn split_scheme(text: &str) -> Result<(bool, &str), HostRefusal> {
    let whole = "write the whole URL, with `https://` or `http://`";
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(HostRefusal::new("not a whole URL").help(whole));
    };
    match scheme {
        "https" => Ok((true, rest)),
        "http" => Ok((false, rest)),
        _ if ["https", "http"].contains(&scheme.to_ascii_lowercase().as_str()) => {
            Err(HostRefusal::new("the scheme of a URL in upper case")
                .help(format!("write `{}://`", scheme.to_ascii_lowercase())))
        }
        _ if is_scheme(scheme) => {
            Err(HostRefusal::new(format!("URLs with the scheme `{}` are not purged", shown(scheme))).help(whole))
        }
        _ => Err(HostRefusal::new("not a whole URL").help(whole)),
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// Whether a key of `assets` is meant as a URL and not as a path.
pub(crate) fn looks_like_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| is_scheme(scheme.trim_start()))
}

/// Whether a path begins as only URLs do.
pub(crate) fn is_nearly_url(path: &str) -> bool {
    let scheme = path.split_once(':').map_or("", |(scheme, _)| scheme.trim_start());
    ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), HostRefusal> {
    let inside = authority.rfind(']').unwrap_or(0);
    let Some(colon) = authority[inside..].find(':').map(|at| at + inside) else { return Ok((authority, None)) };
    let (host, port) = (&authority[..colon], &authority[colon + 1..]);
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0');
    match port.parse::<u16>() {
        Ok(number) if digits => Ok((host, Some(number))),
        _ => Err(HostRefusal::new(format!("`{}` is not a port", shown(port))).help("write a number from 1 to 65535")),
    }
}

/// The canonical spelling of an accepted URL and why it differs from the written one; `None` if it does not.
pub(crate) fn respelled(parts: &UrlParts<'_>) -> Option<(String, &'static str)> {
    let default = if parts.tls { 443 } else { 80 };
    let has_default_port = parts.port == Some(default);
    let path = spelling::respelled(parts.path_and_query);
    let reason = match (&path, has_default_port) {
        (None, false) => return None,
        (_, true) => "the port is the scheme's own",
        (Some((_, reason)), false) => reason,
    };
    let port = parts.port.filter(|port| *port != default).map(|port| format!(":{port}")).unwrap_or_default();
    let scheme = if parts.tls { "https" } else { "http" };
    let path = path.map_or_else(|| parts.path_and_query.to_owned(), |(path, _)| path);
    Some((format!("{scheme}://{}{port}{path}", parts.host), reason))
}

/// What is put before the paths of assets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BaseUrl {
    /// As written, without one `/` at the end.
    stem: String,
}

impl BaseUrl {
    /// Checks a `base_url`.
    pub(crate) fn check(text: &str) -> Result<Self, HostRefusal> {
        let parts = check(text)?;
        if parts.path_and_query.contains('?') {
            return Err(HostRefusal::new("`base_url` with a query").help("write it up to its last `/`"));
        }
        Ok(Self { stem: text.strip_suffix('/').unwrap_or(text).to_owned() })
    }

    /// The URL of an asset: `base_url`, exactly one `/`, the path byte for byte.
    pub(crate) fn join(&self, path: &str) -> String {
        format!("{}/{path}", self.stem)
    }

    /// The base without a slash at its end; `None` where that is the same request as with one.
    pub(crate) fn bare(&self) -> Option<&str> {
        let has_path = self.stem.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
        has_path.then_some(self.stem.as_str())
    }
}

/// Bytes of plain paths.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0_u8;
    while byte < 0x80 {
        plain[byte as usize] = byte == b'/' || spelling::is_unreserved(byte);
        byte += 1;
    }
    plain
};

/// Whether nothing is to be said about a path below `base_url`, but for its length: letters, digits and `-._~`, cut by
/// single slashes, no part of it dots alone.
pub(crate) fn is_plain_path(path: &str) -> bool {
    // The part before the last slash may be empty only at the very end; one of dots alone means another folder.
    let parts = path.strip_suffix('/').unwrap_or(path).as_bytes().split(|&byte| byte == b'/');
    let is_plain = |part: &[u8]| part.iter().any(|&byte| byte != b'.');
    path.bytes().all(|byte| PLAIN[usize::from(byte)]) && parts.into_iter().all(is_plain)
}

/// Checks a path below `base_url`.
pub(crate) fn check_path(path: &str) -> Result<(), HostRefusal> {
    check_characters(path)?;
    if let Some(bare) = path.strip_prefix('/') {
        return Err(HostRefusal::new("a path that begins with `/`").help(format!(
            "write `{}`, it is put below `base_url`; or write the whole URL",
            shown(bare.trim_start_matches('/'))
        )));
    }
    if spelling::climbs(path) {
        return Err(HostRefusal::new("a path with `..`").help("write the path as it stands in the URL"));
    }
    if path.contains('#') {
        return Err(HostRefusal::new("a path with a fragment: caches never see what follows `#`")
            .help("delete the fragment, or write `%23` if the `#` belongs to a file name"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // U3, U5, U6
    #[test]
    fn what_is_no_plain_web_url_is_refused() {
        for (bad, message) in [
            ("", "not a whole URL"),
            ("/a", "not a whole URL"),
            ("//a.cn/x", "not a whole URL"),
            ("a.cn/x", "not a whole URL"),
            ("https:/a.cn", "not a whole URL"),
            ("ftp://a.cn/", "URLs with the scheme `ftp` are not purged"),
            ("HTTPS://a.cn/", "the scheme of a URL in upper case"),
            ("https://", "the host is missing"),
            ("https:///x", "the host is missing"),
            ("https://:80/x", "the host is missing"),
            ("https://a.cn:0/", "`0` is not a port"),
            ("https://a.cn:/", "`` is not a port"),
            ("https://a.cn:080/", "`080` is not a port"),
            ("https://a.cn:65536/", "`65536` is not a port"),
            ("https://a.cn:+1/", "`+1` is not a port"),
            ("https://u@a.cn/", "user name or password in a URL"),
            ("https://a.cn/#x", "a URL with a fragment: caches never see what follows `#`"),
            ("https://a.cn#x", "a URL with a fragment: caches never see what follows `#`"),
            ("https://a.cn\\x", "a URL with a backslash"),
            (" https://a.cn/", "a URL with blanks at its beginning or end"),
            ("https://a.cn/\u{a0}", "a URL with blanks at its beginning or end"),
            ("https://a.cn/\u{202e}x", "control character U+202E in a URL"),
            ("https://127.1/", "`127.1` is an odd spelling of an address"),
        ] {
            assert_eq!(check(bad).unwrap_err().message, message, "{bad:?}");
        }
        assert!(check(&format!("https://a.cn/{}", "x".repeat(8192))).is_err());
    }

    // U3
    #[test]
    fn a_password_is_not_repeated() {
        let refusal = check("https://user:canary@a.cn/x").unwrap_err();
        assert!(!format!("{refusal:?}").contains("canary"));
    }

    // U4, U9
    #[test]
    fn accepted_urls_are_cut_as_written_and_respelled_on_request() {
        let parts = check("https://a.cn:8443/x/*?q=1").unwrap();
        assert_eq!((parts.host, parts.port, parts.path_and_query), ("a.cn", Some(8443), "/x/*?q=1"));
        assert_eq!(respelled(&parts), None);
        let odd = respelled(&check("http://[::1]:80/a b").unwrap()).unwrap();
        assert_eq!(odd, ("http://[::1]/a%20b".to_owned(), "the port is the scheme's own"));
        assert_eq!(respelled(&check("https://a.cn").unwrap()).unwrap().0, "https://a.cn/");
    }

    #[test]
    fn paths_are_put_below_the_base_byte_for_byte() {
        for base in ["https://a.cn/b", "https://a.cn/b/"] {
            assert_eq!(BaseUrl::check(base).unwrap().join("x%2F/y?z"), "https://a.cn/b/x%2F/y?z");
        }
        assert!(BaseUrl::check("https://a.cn/?q").is_err());
        for bad in ["/x", "//a.cn/x", "../x", "a/%2e%2e/x", "a#b", "a\\b", " a", "a\n"] {
            assert!(check_path(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        // U1: at any place, before any parser.
        #[test]
        fn control_characters_are_refused_anywhere(before in "(https://a\\.cn/)?[a-z]{0,9}", bad in "[\\x00-\\x1f\\x7f-\\u{9f}]", after in "[a-z]{0,9}") {
            let text = [before, bad, after].concat();
            prop_assert!(check(&text).is_err());
            prop_assert!(check_path(&text).is_err());
        }

        #[test]
        fn accepted_urls_are_one_line_and_mean_the_same_to_a_parser(text in "https?://[a-z0-9.\\[\\]:@-]{1,12}[/?#%\\\\ \\t\\n a-zé.]{0,12}|\\PC{0,30}") {
            if let Ok(parts) = check(&text) {
                prop_assert!(!text.contains(['\n', '\r', '\t', '\0']));
                let parsed = url::Url::parse(&text).expect("accepted");
                prop_assert_eq!(parsed.host_str(), Some(parts.host));
                prop_assert_eq!(parsed.username(), "");
                prop_assert_eq!(parsed.port(), parts.port.filter(|port| *port != if parts.tls { 443 } else { 80 }));
            }
        }
    }
}
