//! What happens in a round, and where it is played.

use std::time::Duration;

/// How the origin follows the manifest, or what else makes it hard to be fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The origin serves the new content before the run starts.
    Ready,
    /// It follows half a second after the run started.
    Late,
    /// It follows page by page, up to three seconds later.
    Lag,
    /// It is ready, but fetches of some old pages are in flight when they are purged, and end after that.
    Slow,
    /// Late, and each fetch of a cache takes long.
    LateAndSlow,
    /// Ready, and each page has a copy for each `Accept-Encoding`.
    Vary,
    /// Late, and each page is read under a second URL as well.
    Query,
    /// Late, and visitors also ask for parts and heads.
    Range,
    /// Late, and the pages were asked for before they were published: their 404 is cached.
    Negative,
    /// As negative, with new pages that are recorded and not purged.
    Adopted,
    /// Late, with purges that mark a page old and do not drop it.
    Soft,
    /// One of two servers behind one name is ready, the other follows half a second after the run started.
    Replicas,
}

/// Caches in front of the origin, from the edge inwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    /// What the table calls it.
    pub(super) name: &'static str,
    /// Their folders in `tests/caches`.
    pub(super) layers: &'static [&'static str],
}

const fn alone(layers: &'static [&'static str; 1]) -> Edge {
    Edge { name: layers[0], layers }
}

/// All that the check plays at.
pub(super) const EDGES: [Edge; 7] = [
    alone(&["varnish"]),
    alone(&["nginx"]),
    alone(&["squid"]),
    alone(&["trafficserver"]),
    alone(&["nginx-nolock"]),
    alone(&["varnish-nobusy"]),
    Edge { name: "nginx over varnish", layers: &["nginx", "varnish"] },
];

/// The edge of this name.
pub(super) fn edge(name: &str) -> Edge {
    EDGES.into_iter().find(|edge| edge.name == name).expect(name)
}

/// Headers of a visitor.
type Headers = &'static [(&'static str, &'static str)];

impl Mode {
    /// All, in the order of the table.
    pub(super) const ALL: [Self; 12] = [
        Self::Ready,
        Self::Late,
        Self::Lag,
        Self::Slow,
        Self::LateAndSlow,
        Self::Vary,
        Self::Query,
        Self::Range,
        Self::Negative,
        Self::Adopted,
        Self::Soft,
        Self::Replicas,
    ];

    /// Its row in the table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Late => "late",
            Self::Lag => "lag",
            Self::Slow => "slow",
            Self::LateAndSlow => "late and slow",
            Self::Vary => "vary",
            Self::Query => "query",
            Self::Range => "range",
            Self::Negative => "negative",
            Self::Adopted => "adopted",
            Self::Soft => "soft",
            Self::Replicas => "replicas",
        }
    }

    /// Whether it can be played there.
    pub(super) fn is_for(self, edge: Edge) -> bool {
        self != Self::Soft || edge.layers.iter().all(|layer| layer.starts_with("varnish"))
    }

    /// Whether nothing but a probe of the edge can make a round of it fresh at every cache.
    pub(super) fn needs_verification(self) -> bool {
        matches!(self, Self::Slow | Self::Vary | Self::Adopted)
    }

    /// When the origin follows, from the start of the run on; `None`: before it. `draw` is in 0..1, another for each page.
    pub(super) fn follows_after(self, draw: f64) -> Option<Duration> {
        match self {
            Self::Ready | Self::Slow | Self::Vary => None,
            Self::Lag => Some(Duration::from_secs(3).mul_f64(draw)),
            _ => Some(Duration::from_millis(500)),
        }
    }

    /// Whether the pages have old content: else they are not published before the round.
    pub(super) fn has_old_content(self) -> bool {
        !matches!(self, Self::Negative | Self::Adopted)
    }

    /// Most purges a page and layer: one, and those that a round has to have because of fetches in flight, or of variants.
    pub(super) fn most_purges(self) -> f64 {
        match self {
            Self::Ready | Self::Late | Self::Lag | Self::LateAndSlow => 1.02,
            Self::Vary => 6.0,
            // A soft purge does no good where the origin is asked whether what it gave is still valid.
            Self::Soft => 2.0,
            _ => 1.15,
        }
    }

    /// Headers that visitors send, who may each have a copy of their own.
    pub(super) fn visitors(self) -> &'static [Headers] {
        match self {
            Self::Vary => &[&[], &[("Accept-Encoding", "gzip")], &[("Accept-Encoding", "gzip, deflate, br, zstd")]],
            _ => &[&[]],
        }
    }

    /// Other requests that visitors make.
    pub(super) fn other_requests(self) -> &'static [(&'static str, Headers)] {
        match self {
            Self::Range => &[("HEAD", &[]), ("GET", &[("Range", "bytes=0-99")])],
            _ => &[],
        }
    }
}
