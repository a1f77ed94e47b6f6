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

/// What a server is to be seen with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expected {
    /// The content; `None`: it is gone.
    pub content: Option<ContentHash>,
    /// What was there before it went.
    pub gone: Option<ContentHash>,
    /// What is compared.
    pub compare: Comparison,
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
        let header = match &self.compare {
            Comparison::Header(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        };
        let Some(content) = self.content.as_ref().or(self.gone.as_ref()) else { return Ok(Reads::Head { header }) };
        if self.compare != Comparison::Body {
            return Ok(Reads::Head { header });
        }
        match Algorithm::of_hash(content) {
            Some(algorithm) => Ok(Reads::Body { algorithm, most_bytes, normalize: normalize.to_vec() }),
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
                SeenBody::Unread => Sight::Unverifiable("the body was not read".into()),
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
            Comparison::Size => {
                let total =
                    seen.header("content-range").and_then(|range| range.rsplit_once('/')).map(|(_, total)| total);
                same_text(self.validator.as_deref(), total.or_else(|| seen.header("content-length")), "size")
            }
        }
    }

    /// What of an answer that matches is noted, to be compared with later: what the comparison goes by.
    pub fn validator_of(&self, seen: &Seen) -> Option<String> {
        let name = match &self.compare {
            Comparison::Header(name) => name.to_ascii_lowercase(),
            Comparison::Body | Comparison::Etag | Comparison::Size => "etag".to_owned(),
        };
        seen.header(&name).map(str::to_owned)
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

fn same_text(expected: Option<&str>, found: Option<&str>, what: &str) -> Sight {
    match (expected, found) {
        (None, _) => Sight::Unverifiable(format!("it is not known which {what} the content has")),
        (_, None) => Sight::Unverifiable(format!("the answer has no {what}")),
        (Some(expected), Some(found)) if expected == found => Sight::Fresh,
        (_, Some(found)) => Sight::Other(format!("serves {what} {found}")),
    }
}
