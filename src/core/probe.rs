//! Probes: what an edge or an origin is asked, what was seen there, and whether that is the desired content.
//!
//! Sends nothing. Age of an answer and what it says of hits are shown, never believed.

use super::algorithm::Algorithm;
use super::http::{Endpoint, Route, TransportFailure};
use super::proof_terms::{Comparison, Headers};
use super::target::ContentHash;

/// Longest text that is kept of a header, in bytes: more than an `etag:` or a `rev:` of a manifest has.
pub const LONGEST_HEADER: usize = 1280;

/// Headers of an answer that are kept, in lower case, besides the one that is compared.
pub const KEPT_HEADERS: [&str; 14] = [
    "age",
    "cache-control",
    "cf-cache-status",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "etag",
    "last-modified",
    "location",
    "retry-after",
    "vary",
    "via",
    "x-cache",
];

/// Headers of an answer of which only the presence is kept, in lower case, as an empty value: they may be credentials.
pub const NOTED_HEADERS: [&str; 1] = ["set-cookie"];

/// What one server is asked about one URL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Probe {
    /// Where to connect to. Its path prefix is part of `path_and_query` already.
    pub endpoint: Endpoint,
    /// How to get there.
    pub route: Route,
    /// What is sent as `Host`.
    pub host: String,
    /// Path with query as in the request line.
    pub path_and_query: String,
    /// Sent besides; values are templates, see [`Headers`].
    pub headers: Headers,
    /// What of the answer is read.
    pub reads: Reads,
}

/// What is read of an answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reads {
    /// Status and headers: `HEAD`, and where that is not allowed the first byte of a `GET`. `header` is kept besides the usual ones.
    Head {
        /// In any case.
        header: Option<String>,
    },
    /// The body, decoded, as its digest.
    Body {
        /// Of the digest.
        algorithm: Algorithm,
        /// More decoded bytes than this are not read.
        most_bytes: u64,
        /// Regular expressions: what they match in a text is left out of the digest.
        normalize: Vec<String>,
        /// Kept besides the usual ones, in any case.
        header: Option<String>,
    },
}

/// What came of a probe.
pub type Probed = Result<Seen, TransportFailure>;

/// An answer to a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// HTTP status.
    pub status: u16,
    /// [`KEPT_HEADERS`], [`NOTED_HEADERS`] and the one that was asked for, each once, names in lower case, values cut to
    /// [`LONGEST_HEADER`].
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: SeenBody,
    /// Bytes of the body that came over the network.
    pub bytes: u64,
}

/// What is known of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeenBody {
    /// It was not asked for.
    Unread,
    /// Its digest, and how many bytes it has, decoded.
    Digest(ContentHash, u64),
    /// It has more than so many bytes.
    TooLarge(u64),
    /// It comes in a coding that is not known, or that is not what it says.
    Coded(String),
}

impl Seen {
    /// First value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether the answer differs by the request header `name`, in lower case.
    pub fn varies_by(&self, name: &str) -> bool {
        self.varies().any(|listed| listed.eq_ignore_ascii_case(name))
    }

    /// Names in `Vary`.
    pub fn varies(&self) -> impl Iterator<Item = &str> {
        self.header("vary").unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty())
    }

    /// What it is known by in messages: digest and `ETag`, else its status.
    pub fn name(&self) -> String {
        let digest = match &self.body {
            SeenBody::Digest(hash, _) => Some(hash.to_string()),
            _ => None,
        };
        let etag = self.header("etag").map(|etag| format!("ETag {etag}"));
        let names: Vec<String> = digest.into_iter().chain(etag).collect();
        if names.is_empty() { format!("HTTP {}", self.status) } else { names.join(", ") }
    }

    /// How long the server wants to be left alone, in milliseconds, where it says so in seconds.
    pub fn retry_after_ms(&self) -> Option<u64> {
        Some(self.header("retry-after")?.trim().parse::<u64>().ok()?.saturating_mul(1000))
    }
}

/// Names in the value of `Vary`, in lower case and in order.
pub fn varies_by(vary: &str) -> Vec<String> {
    let names = vary.split(',').map(|name| name.trim().to_ascii_lowercase());
    let mut names: Vec<String> = names.filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// What a server is to be seen with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expected {
    /// The content; `None`: it is gone.
    pub content: Option<ContentHash>,
    /// What was there before it went.
    pub gone: Option<ContentHash>,
    /// What is compared.
    pub compare: Comparison,
    /// By what it is compared later, elsewhere: that is noted of an answer that matches.
    pub notes: Comparison,
    /// The validator of `content` that the origin showed when it served it.
    pub validator: Option<String>,
}

/// Whether a server serves what it is expected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// It does.
    Fresh,
    /// It serves something else: `serves other content (…)` and the like.
    Other(String),
    /// The answer says neither; why, in words.
    Inconclusive(String),
    /// No answer can ever tell; why, in words.
    Unverifiable(String),
}

impl Expected {
    /// What is to be read of an answer for the comparison; `None` where nothing tells, and why.
    ///
    /// # Errors
    /// Why no answer can tell, in words.
    pub fn reads(&self, most_bytes: u64, normalize: &[String]) -> Result<Reads, String> {
        let header = [&self.compare, &self.notes].into_iter().find_map(|compare| match compare {
            Comparison::Header(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        let Some(content) = self.content.as_ref().or(self.gone.as_ref()) else { return Ok(Reads::Head { header }) };
        if self.compare != Comparison::Body {
            return Ok(Reads::Head { header });
        }
        match Algorithm::of_hash(content) {
            Some(algorithm) => Ok(Reads::Body { algorithm, most_bytes, normalize: normalize.to_vec(), header }),
            // That it is gone can be told by the status alone.
            None if self.content.is_none() => Ok(Reads::Head { header }),
            None => Err(format!("a body cannot be compared with {content}")),
        }
    }

    /// What `probed` says.
    pub fn judge(&self, probed: &Probed) -> Sight {
        let seen = match probed {
            Ok(seen) => seen,
            Err(failure) => return Sight::Inconclusive(failure.message.clone()),
        };
        if let Some(sight) = self.judge_status(seen) {
            return sight;
        }
        match (&self.content, &self.gone) {
            (Some(content), _) => self.compare(content, seen),
            (None, Some(gone)) => match self.compare(gone, seen) {
                Sight::Fresh => Sight::Other(format!("serves the removed content ({})", seen.name())),
                Sight::Other(_) => Sight::Fresh,
                other => other,
            },
            (None, None) => Sight::Other(format!("answers HTTP {}", seen.status)),
        }
    }

    /// What the status says alone; `None`: there is content to compare.
    fn judge_status(&self, seen: &Seen) -> Option<Sight> {
        let is_gone = self.content.is_none();
        let place = || seen.header("location").map_or(String::new(), |place| format!(" to {place}"));
        Some(match seen.status {
            // A HEAD that was not allowed is repeated as a GET of the first byte.
            200 | 206 => return None,
            404 | 410 if is_gone => Sight::Fresh,
            404 | 410 => Sight::Other(format!("answers HTTP {}", seen.status)),
            304 => Sight::Inconclusive("HTTP 304, which was not asked for".into()),
            300..=399 if is_gone => Sight::Fresh,
            300..=399 => {
                Sight::Unverifiable(format!("a redirect (HTTP {}{}), which is not followed", seen.status, place()))
            }
            401 | 403 | 407 => Sight::Inconclusive(format!(
                "HTTP {}; give the headers that may read, or another place to probe",
                seen.status
            )),
            status => Sight::Inconclusive(format!("HTTP {status}")),
        })
    }

    fn compare(&self, content: &ContentHash, seen: &Seen) -> Sight {
        if let Some(names) = differs(seen) {
            return Sight::Unverifiable(names);
        }
        match &self.compare {
            Comparison::Body => match &seen.body {
                SeenBody::Digest(hash, _) if hash == content => Sight::Fresh,
                SeenBody::Digest(..) => Sight::Other(format!("serves other content ({})", seen.name())),
                SeenBody::TooLarge(most) => {
                    Sight::Unverifiable(format!("the body is larger than {most} bytes (`max_body`)"))
                }
                SeenBody::Coded(coding) => Sight::Unverifiable(format!("the body comes in the coding {coding}")),
                SeenBody::Unread => match Algorithm::of_hash(content) {
                    None => Sight::Unverifiable(format!("a body cannot be compared with {content}")),
                    Some(_) => Sight::Inconclusive(format!("HTTP {} without the body", seen.status)),
                },
            },
            Comparison::Etag => {
                let expected =
                    opaque(content, "etag:").or_else(|| opaque(content, "md5:")).or(self.validator.as_deref());
                same_text(expected.map(weak), seen.header("etag").map(weak), "ETag")
            }
            Comparison::Header(name) => {
                let expected = opaque(content, "rev:").or(self.validator.as_deref());
                let found = seen.header(&name.to_ascii_lowercase()).map(str::trim);
                same_text(expected.map(str::trim), found, name)
            }
            Comparison::Size => same_text(self.validator.as_deref(), size(seen), "size"),
        }
    }

    /// What of an answer that matches is noted, to be compared with later: what the comparison goes by.
    pub fn validator_of(&self, seen: &Seen) -> Option<String> {
        let found = match &self.notes {
            Comparison::Header(name) => seen.header(&name.to_ascii_lowercase()),
            Comparison::Body | Comparison::Etag => seen.header("etag"),
            Comparison::Size => size(seen),
        };
        found.map(str::to_owned)
    }
}

/// Why an answer is not the same for all who ask.
fn differs(seen: &Seen) -> Option<String> {
    let named =
        |name: &str| seen.varies_by(name).then(|| format!("it differs from visitor to visitor (`Vary: {name}`)"));
    named("*").or_else(|| named("cookie"))
}

fn opaque<'h>(hash: &'h ContentHash, prefix: &str) -> Option<&'h str> {
    hash.as_str().strip_prefix(prefix)
}

/// An `ETag` without what makes it weak, and without its quotes.
fn weak(etag: &str) -> &str {
    let etag = etag.trim();
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"')
}

/// Bytes of a body that was not read, as the answer counts them.
fn size(seen: &Seen) -> Option<&str> {
    let of_range = seen.header("content-range").and_then(|range| range.rsplit_once('/'));
    of_range.map(|(_, total)| total).or_else(|| seen.header("content-length"))
}

fn same_text(expected: Option<&str>, found: Option<&str>, what: &str) -> Sight {
    match (expected, found) {
        (None, _) => Sight::Unverifiable(format!("it is not known which {what} the content has")),
        (_, None) => Sight::Unverifiable(format!("the answer has no {what}")),
        (Some(expected), Some(found)) if expected == found => Sight::Fresh,
        (_, Some(found)) => Sight::Other(format!("serves {what} {found}")),
    }
}

#[cfg(test)]
mod tests {
    use super::Sight::{Fresh, Inconclusive, Other, Unverifiable};
    use super::*;
    use crate::core::http::TransportFailureKind;

    const NEW: &str = "md5:900150983cd24fb0d6963f7d28e17f72";
    const OLD: &str = "md5:d41d8cd98f00b204e9800998ecf8427e";
    const MOST: u64 = 1000;

    fn hash(text: &str) -> ContentHash {
        ContentHash::from_canonical(text.to_owned())
    }

    fn listed(content: &str, compare: Comparison) -> Expected {
        Expected { content: Some(hash(content)), gone: None, notes: compare.clone(), compare, validator: None }
    }

    fn removed(gone: Option<&str>, compare: Comparison) -> Expected {
        Expected { content: None, gone: gone.map(hash), notes: compare.clone(), compare, validator: None }
    }

    fn knowing(expected: Expected, validator: &str) -> Expected {
        Expected { validator: Some(validator.to_owned()), ..expected }
    }

    fn header(name: &str) -> Comparison {
        Comparison::Header(name.to_owned())
    }

    fn answer(status: u16, headers: &[(&str, &str)], body: SeenBody) -> Seen {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Seen { status, headers, body, bytes: 0 }
    }

    fn with_body(text: &str) -> Seen {
        answer(200, &[("etag", "\"e\"")], SeenBody::Digest(hash(text), 3))
    }

    fn with_headers(headers: &[(&str, &str)]) -> Seen {
        answer(200, headers, SeenBody::Unread)
    }

    /// The kind of a sight, without its words.
    fn kind(sight: &Sight) -> &'static str {
        match sight {
            Fresh => "fresh",
            Other(_) => "other",
            Inconclusive(_) => "inconclusive",
            Unverifiable(_) => "unverifiable",
        }
    }

    #[test]
    fn what_is_read_follows_from_what_is_compared() {
        let body =
            |algorithm| Reads::Body { algorithm, most_bytes: MOST, normalize: vec!["x+".to_owned()], header: None };
        let head = |name: Option<&str>| Reads::Head { header: name.map(str::to_owned) };
        let reads = |expected: &Expected| expected.reads(MOST, &["x+".to_owned()]);
        for algorithm in Algorithm::ALL {
            let digest = algorithm.hash(&vec![7; algorithm.digest_bytes()]);
            let expected = listed(digest.as_str(), Comparison::Body);
            assert_eq!(reads(&expected), Ok(body(algorithm)));
            let gone = removed(Some(digest.as_str()), Comparison::Body);
            assert_eq!(reads(&gone), Ok(body(algorithm)), "the content that is to be gone");
        }
        assert_eq!(reads(&listed(NEW, Comparison::Etag)), Ok(head(None)));
        assert_eq!(reads(&listed(NEW, Comparison::Size)), Ok(head(None)));
        assert_eq!(reads(&listed("rev:7", header("X-Rev"))), Ok(head(Some("x-rev"))));
        assert_eq!(reads(&removed(None, Comparison::Body)), Ok(head(None)));
        assert_eq!(reads(&removed(Some("rev:7"), Comparison::Body)), Ok(head(None)), "the status alone tells");
        assert_eq!(reads(&listed("rev:7", Comparison::Body)), Err("a body cannot be compared with rev:7".to_owned()));
    }

    /// R13
    #[test]
    fn the_status_decides_what_is_compared() {
        let judged = |expected: &Expected, status, body: SeenBody| {
            kind(&expected.judge(&Ok(answer(status, &[("location", "/login")], body))))
        };
        let (here, gone) = (listed(NEW, Comparison::Body), removed(Some(OLD), Comparison::Body));
        for (status, of_listed, of_removed) in [
            (404, "other", "fresh"),
            (410, "other", "fresh"),
            (301, "unverifiable", "fresh"),
            (302, "unverifiable", "fresh"),
            (307, "unverifiable", "fresh"),
            (308, "unverifiable", "fresh"),
            (304, "inconclusive", "inconclusive"),
            (204, "inconclusive", "inconclusive"),
            (206, "inconclusive", "inconclusive"),
            (400, "inconclusive", "inconclusive"),
            (401, "inconclusive", "inconclusive"),
            (403, "inconclusive", "inconclusive"),
            (407, "inconclusive", "inconclusive"),
            (408, "inconclusive", "inconclusive"),
            (425, "inconclusive", "inconclusive"),
            (429, "inconclusive", "inconclusive"),
            (500, "inconclusive", "inconclusive"),
            (503, "inconclusive", "inconclusive"),
        ] {
            assert_eq!(judged(&here, status, SeenBody::Unread), of_listed, "{status}");
            assert_eq!(judged(&gone, status, SeenBody::Unread), of_removed, "{status}");
        }
        let digest = |text: &str| SeenBody::Digest(hash(text), 3);
        assert_eq!((judged(&here, 200, digest(NEW)), judged(&here, 200, digest(OLD))), ("fresh", "other"));
        assert_eq!((judged(&gone, 200, digest(NEW)), judged(&gone, 200, digest(OLD))), ("fresh", "other"));
        assert_eq!(judged(&removed(None, Comparison::Body), 200, SeenBody::Unread), "other", "any content");
        assert_eq!(judged(&removed(Some("rev:7"), Comparison::Body), 200, SeenBody::Unread), "unverifiable");
    }

    #[test]
    fn what_is_said_names_what_was_seen() {
        let here = listed(NEW, Comparison::Body);
        let says = |seen: Seen| here.judge(&Ok(seen));
        assert_eq!(says(with_body(OLD)), Other(format!("serves other content ({OLD}, ETag \"e\")")));
        let redirect = "a redirect (HTTP 302 to /login), which is not followed";
        assert_eq!(says(answer(302, &[("location", "/login")], SeenBody::Unread)), Unverifiable(redirect.to_owned()));
        let login = "HTTP 403; give the headers that may read, or another place to probe";
        assert_eq!(says(answer(403, &[], SeenBody::Unread)), Inconclusive(login.to_owned()));
        let large = "the body is larger than 9 bytes (`max_body`)";
        assert_eq!(says(answer(200, &[], SeenBody::TooLarge(9))), Unverifiable(large.to_owned()));
        let coded = "the body comes in the coding gzip, br";
        assert_eq!(says(answer(200, &[], SeenBody::Coded("gzip, br".into()))), Unverifiable(coded.to_owned()));
        let gone = removed(Some(OLD), Comparison::Body);
        assert_eq!(gone.judge(&Ok(with_body(OLD))), Other(format!("serves the removed content ({OLD}, ETag \"e\")")));
        assert_eq!(
            kind(&gone.judge(&Ok(answer(200, &[], SeenBody::TooLarge(9))))),
            "unverifiable",
            "it may be the removed content"
        );
        let failure = TransportFailure { kind: TransportFailureKind::NotConnected, message: "refused".into() };
        assert_eq!(here.judge(&Err(failure)), Inconclusive("refused".to_owned()));
    }

    #[test]
    fn what_differs_from_visitor_to_visitor_cannot_be_verified() {
        let judged = |vary: &str| {
            let seen = answer(200, &[("vary", vary)], SeenBody::Digest(hash(NEW), 3));
            kind(&listed(NEW, Comparison::Body).judge(&Ok(seen)))
        };
        for vary in ["*", "Cookie", "accept-encoding,COOKIE", "Origin, * "] {
            assert_eq!(judged(vary), "unverifiable", "{vary}");
        }
        for vary in ["", "Accept-Encoding", "X-Cookie, Cookies", "Origin"] {
            assert_eq!(judged(vary), "fresh", "{vary}");
        }
        let seen = answer(200, &[("vary", " Accept-Encoding ,, Origin")], SeenBody::Unread);
        assert_eq!(seen.varies().collect::<Vec<_>>(), ["Accept-Encoding", "Origin"]);
        assert!(seen.varies_by("accept-encoding") && !seen.varies_by("accept"));
    }

    #[test]
    fn etags_are_compared_weakly() {
        let hex = "900150983cd24fb0d6963f7d28e17f72";
        let cases = [
            (listed("etag:v1", Comparison::Etag), "v1"),
            (listed("etag:W/\"v1\"", Comparison::Etag), "v1"),
            (listed(NEW, Comparison::Etag), hex),
            (knowing(listed(NEW, Comparison::Etag), "\"v1\""), hex),
            (knowing(listed("sha256:00", Comparison::Etag), "W/\"v1\""), "v1"),
        ];
        for (expected, tag) in cases {
            let judged = |etag: String| expected.judge(&Ok(with_headers(&[("etag", &etag)])));
            for same in [format!("\"{tag}\""), format!("W/\"{tag}\""), tag.to_owned(), format!(" \"{tag}\" ")] {
                assert_eq!(judged(same.clone()), Fresh, "{expected:?} {same}");
            }
            for other in [format!("\"{tag}-gzip\""), format!("w/\"{tag}\""), "\"\"".to_owned()] {
                assert_eq!(kind(&judged(other.clone())), "other", "{expected:?} {other}");
            }
        }
        let says = |expected: Expected, headers: &[(&str, &str)]| expected.judge(&Ok(with_headers(headers)));
        let without = Unverifiable("the answer has no ETag".to_owned());
        assert_eq!(says(listed("etag:v1", Comparison::Etag), &[]), without);
        let unknown = Unverifiable("it is not known which ETag the content has".to_owned());
        assert_eq!(says(listed("sha256:00", Comparison::Etag), &[("etag", "\"v1\"")]), unknown);
        assert_eq!(says(removed(Some("etag:v1"), Comparison::Etag), &[("etag", "\"v2\"")]), Fresh);
        assert_eq!(kind(&says(removed(Some("etag:v1"), Comparison::Etag), &[("etag", "\"v1\"")])), "other");
    }

    #[test]
    fn headers_are_compared_exactly_and_sizes_by_their_numbers() {
        let says = |expected: &Expected, headers: &[(&str, &str)]| expected.judge(&Ok(with_headers(headers)));
        let revision = listed("rev:r7", header("X-Rev"));
        assert_eq!(says(&revision, &[("x-rev", " r7 ")]), Fresh);
        assert_eq!(says(&revision, &[("x-rev", "R7")]), Other("serves X-Rev R7".to_owned()));
        assert_eq!(says(&revision, &[("etag", "r7")]), Unverifiable("the answer has no X-Rev".to_owned()));
        let learnt = knowing(listed(NEW, header("X-Rev")), "r7");
        assert_eq!((says(&learnt, &[("x-rev", "r7")]), kind(&says(&learnt, &[("x-rev", "r6")]))), (Fresh, "other"));

        let size = knowing(listed(NEW, Comparison::Size), "70");
        assert_eq!(says(&size, &[("content-length", "70")]), Fresh);
        let range = [("content-length", "1"), ("content-range", "bytes 0-0/70")];
        assert_eq!(says(&size, &range), Fresh, "of a GET of the first byte");
        assert_eq!(says(&size, &[("content-length", "71")]), Other("serves size 71".to_owned()));
        assert_eq!(kind(&says(&size, &[])), "unverifiable");
    }

    #[test]
    fn what_is_noted_of_an_answer_is_what_is_compared_later() {
        let seen = with_headers(&[("etag", "W/\"v1\""), ("x-rev", "r7"), ("content-length", "70")]);
        for (compare, noted) in [
            (Comparison::Body, "W/\"v1\""),
            (Comparison::Etag, "W/\"v1\""),
            (header("X-Rev"), "r7"),
            (Comparison::Size, "70"),
        ] {
            let expected = listed("sha256:00", compare);
            assert_eq!(expected.validator_of(&seen).as_deref(), Some(noted));
            assert_eq!(expected.validator_of(&with_headers(&[])), None);
            if expected.compare != Comparison::Body {
                assert_eq!(knowing(expected, noted).judge(&Ok(seen.clone())), Fresh);
            }
        }
    }
}
