//! What a provider is asked to purge, and the content hash it is purged for.

use std::fmt;

/// The kinds of target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// One exact URL.
    Url,
    /// Everything below a URL that ends in `/`; only by explicit choice.
    Directory,
    /// A vendor's own asset id.
    AssetId,
}

impl Scope {
    /// All kinds, in the order of their stored numbers.
    pub const ALL: [Self; 3] = [Self::Url, Self::Directory, Self::AssetId];

    /// The word for it in output and state.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Url => "url",
            Self::Directory => "directory",
            Self::AssetId => "asset id",
        }
    }
}

/// One thing to purge. The text is kept byte for byte as it was written: caches compare bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// How the text is meant.
    pub scope: Scope,
    /// The URL, directory URL or vendor asset id.
    pub text: String,
}

impl Target {
    /// An exact URL.
    pub fn url(text: impl Into<String>) -> Self {
        Self { scope: Scope::Url, text: text.into() }
    }

    /// Everything below a URL that ends in `/`.
    pub fn directory(text: impl Into<String>) -> Self {
        Self { scope: Scope::Directory, text: text.into() }
    }

    /// A vendor asset id.
    pub fn asset_id(text: impl Into<String>) -> Self {
        Self { scope: Scope::AssetId, text: text.into() }
    }

    /// Whether a purge of `directory` purges this URL or directory too.
    pub fn is_below(&self, directory: &Self) -> bool {
        let is_directory = directory.scope == Scope::Directory && directory.text.ends_with('/');
        is_directory && self.scope != Scope::AssetId && self.text.starts_with(&directory.text)
    }

    /// Host of a URL without its port; `None` for asset ids.
    pub fn host(&self) -> Option<&str> {
        if self.scope == Scope::AssetId {
            return None;
        }
        let authority = self.authority()?;
        Some(match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => authority,
        })
    }

    /// Host and port of a URL as written; `None` for asset ids.
    pub fn authority(&self) -> Option<&str> {
        let rest = self.text.split_once("://")?.1;
        Some(&rest[..rest.find(['/', '?']).unwrap_or(rest.len())])
    }

    /// What visitors of a URL send as `Host`: its authority without the port that is its scheme's own; `None` for asset ids.
    pub fn host_header(&self) -> Option<&str> {
        let authority = self.authority()?;
        let is_tls = self.text.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"));
        Some(authority.strip_suffix(if is_tls { ":443" } else { ":80" }).unwrap_or(authority))
    }

    /// Path and query of a URL as written, `/` if there is none; `None` for asset ids.
    pub fn path_and_query(&self) -> Option<String> {
        let rest = self.text.split_once("://")?.1;
        Some(match rest.find(['/', '?']) {
            None => "/".to_owned(),
            Some(at) if rest.as_bytes()[at] == b'?' => format!("/{}", &rest[at..]),
            Some(at) => rest[at..].to_owned(),
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A content hash in its one canonical form: `algorithm:lower-case hex`, or `etag:`/`rev:` and opaque text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(String);

impl ContentHash {
    /// Takes a text that is already canonical, as the manifest check and the state produce it.
    pub fn from_canonical(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_url_are_cut_as_written() {
        let target = Target::url("https://a.example:8443/x/%2F?q=1");
        assert_eq!(target.host(), Some("a.example"));
        assert_eq!(target.authority(), Some("a.example:8443"));
        assert_eq!(target.path_and_query().as_deref(), Some("/x/%2F?q=1"));
        let bare = Target::url("http://a.example?q");
        assert_eq!((bare.host(), bare.path_and_query().as_deref()), (Some("a.example"), Some("/?q")));
        assert_eq!(Target::asset_id("f4").host(), None);
        for (url, host) in
            [("https://a:443/", "a"), ("https://a:80/", "a:80"), ("http://a:80/", "a"), ("HTTPS://a", "a")]
        {
            assert_eq!(Target::url(url).host_header(), Some(host), "{url}");
        }
    }

    #[test]
    fn what_is_below_a_directory_begins_with_it() {
        let directory = Target::directory("https://a.example/d/");
        for (text, below) in
            [("https://a.example/d/", true), ("https://a.example/d/x?q", true), ("https://a.example/d", false)]
        {
            assert_eq!(Target::url(text).is_below(&directory), below, "{text}");
        }
        assert!(!Target::url("http://a.example/d/x").is_below(&directory), "another scheme is another cache key");
        assert!(!Target::url("https://a.example/d/x").is_below(&Target::url("https://a.example/d/")));
    }
}
