//! What manifests ask of origins and edges: where the content comes from, and how it is shown to have arrived.

use super::http::Endpoint;

/// Names and values of headers. Values are templates: `${NAME}` stands for an environment variable, filled in as a probe leaves.
pub type Headers = Vec<(String, String)>;

/// `origin`, `wait_for_origin` and `verify` of a manifest or an asset.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProofTerms {
    /// Where caches fetch the content from; `None`: purges wait for nothing.
    pub origin: Option<Origin>,
    /// How long a target waits for its origin, from its first probe on, in milliseconds, up to an hour; 0: it is asked once.
    pub wait_for_origin_ms: u64,
    /// How edges are shown to serve the content; `None`: not at all.
    pub verify: Option<Verify>,
    /// Regular expressions of a source; what they match in a text is left out of its hash.
    pub normalize: Vec<String>,
}

/// [`ProofTerms::wait_for_origin_ms`] where nothing else is asked for.
pub const WAIT_FOR_ORIGIN_MS: u64 = 120_000;

/// `origin`: the servers that caches fetch from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Each of them has to serve the content. Path and query of a target follow the prefix.
    pub urls: Vec<Endpoint>,
    /// What is sent as `Host`; `None`: the host of the target.
    pub host: Option<String>,
    /// Sent with each probe.
    pub headers: Headers,
    /// Answers in a row that have to agree, at each URL, at least 1.
    pub samples: u32,
    /// Probes a second at each URL, 1 to 1000.
    pub rate: u32,
}

impl Origin {
    /// Servers of which nothing else is said.
    pub const fn new(urls: Vec<Endpoint>) -> Self {
        Self { urls, host: None, headers: Headers::new(), samples: 1, rate: RATE }
    }
}

/// Probes a second at one place where nothing else is asked for.
const RATE: u32 = 20;

/// `verify`: how edges are shown to serve the content.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Verify {
    /// What is compared.
    pub compare: Comparison,
    /// How long after the last acceptance an edge is probed, in milliseconds: longer than the longest fetch from the origin.
    pub settle_ms: u64,
    /// How many times what is stale is purged again, 0 to 5.
    pub repurge: u32,
    /// Headers of the variants that are probed; `None`: as `Vary` of an answer says.
    pub variants: Option<Vec<Headers>>,
    /// Where edges are probed.
    pub vantage: Vantage,
    /// Sent with each probe.
    pub headers: Headers,
    /// Larger bodies are not read, in bytes.
    pub max_body: u64,
    /// Probes a second at each vantage, 1 to 1000.
    pub rate: u32,
    /// How often a watch probes for drift, in milliseconds; `None`: not.
    pub every_ms: Option<u64>,
    /// Which share of the targets it probes then, in percent.
    pub share: u64,
}

impl Default for Verify {
    fn default() -> Self {
        Self {
            compare: Comparison::Body,
            settle_ms: 5_000,
            repurge: 2,
            variants: None,
            vantage: Vantage::Usual,
            headers: Headers::new(),
            max_body: 64_000_000,
            rate: RATE,
            every_ms: None,
            share: 100,
        }
    }
}

/// `match` of `verify`: what of an answer is compared with the desired content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Comparison {
    /// The digest of the body.
    Body,
    /// `ETag`.
    Etag,
    /// The number of bytes.
    Size,
    /// A header of that name.
    Header(String),
}

impl Comparison {
    /// What a verdict goes by that is weaker than the content itself: `etag`, `header X-Rev`, `size`.
    pub fn by(&self) -> Option<String> {
        match self {
            Self::Body => None,
            Self::Etag => Some("etag".to_owned()),
            Self::Size => Some("size".to_owned()),
            Self::Header(name) => Some(format!("header {name}")),
        }
    }
}

/// `vantage` of `verify`: where edges are probed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Vantage {
    /// Endpoints of the provider that have no path, where they are caches of the user's own; else the host by its name.
    Usual,
    /// Each address that the host's name has, at most 16.
    All,
    /// These: host or address, and a port, in the form of an endpoint; the scheme is that of the target.
    At(Vec<Endpoint>),
}
