//! Keys about origins and edges: when purges wait for the content, and how it is shown to have arrived.

use super::{KeySpec, Section, Shape, key, required};

/// Longest of `wait_for_origin`, in milliseconds.
const MAX_WAIT_MS: u64 = 3_600_000;
/// Bounds of `settle`, in milliseconds.
const SETTLE_MS: (u64, u64) = (100, 600_000);
/// Bounds of `every`, in milliseconds: a minute and thirty days.
const EVERY_MS: (u64, u64) = (60_000, 30 * 24 * 3_600_000);
/// Most of `max_body`, in bytes.
const MAX_BODY_BYTES: u64 = 1_000_000_000_000;
/// Most probes a second at one place.
const MAX_RATE: u64 = 1000;
/// Most of `samples`.
const MAX_SAMPLES: u64 = 100;

/// Words of `match`.
const MATCHES: &[&str] = &["body", "etag"];

/// `origin` of a manifest or an asset.
pub(crate) const ORIGIN_KEY: KeySpec = key(
    "origin",
    Shape::TextOr(&ORIGIN),
    "Where caches fetch the content from: purges wait until it is there. A URL, or a map; an asset's wins over the manifest's, and \
     `none` switches it off.",
);

/// `wait_for_origin` of a manifest.
pub(crate) const WAIT_FOR_ORIGIN_KEY: KeySpec = key(
    "wait_for_origin",
    Shape::Duration(0, MAX_WAIT_MS),
    "How long a purge waits for its origin, up to 1h; 2m when left out, and with 0s the origin is asked once.",
);

/// `verify` of a manifest.
pub(crate) const VERIFY_KEY: KeySpec = key(
    "verify",
    Shape::FlagOr(&VERIFY),
    "Whether and how edges are probed for the new content after a purge; `true` takes all defaults.",
);

/// The long form of `origin`.
pub(crate) static ORIGIN: Section = Section {
    name: "`origin`",
    doc: "The servers that caches fetch the content from.",
    keys: &[
        required("urls", Shape::Texts, "URL of the origin, or URLs of its replicas: each must serve the content."),
        key("host", Shape::Text, "What is sent as Host; that of the target's URL when left out."),
        key(
            "headers",
            Shape::Headers,
            "Sent with each probe of the origin; `${NAME}` stands for an environment variable.",
        ),
        key(
            "samples",
            Shape::Within(1, MAX_SAMPLES),
            "Answers in a row that must agree, at each URL; 1 when left out. More where one name stands for several servers.",
        ),
        key("rate", Shape::Within(1, MAX_RATE), "Probes a second at each URL, up to 1000; 20 when left out."),
        key("allow_insecure", Shape::Bool, "Allows headers with variables over plain http to other machines."),
    ],
};

/// The long form of `verify`.
pub(crate) static VERIFY: Section = Section {
    name: "`verify`",
    doc: "How edges are shown to serve the new content.",
    keys: &[
        key(
            "match",
            Shape::WordOr(MATCHES, &MATCH),
            "What of an answer is compared: body (default; etag for `etag:` hashes), etag, or the value of a header.",
        ),
        key(
            "settle",
            Shape::Duration(SETTLE_MS.0, SETTLE_MS.1),
            "How long after the last purge an edge is probed, 100ms to 10m; 5s when left out. Longer than the longest fetch from \
             the origin, summed over layers of caches.",
        ),
        key("repurge", Shape::Within(0, 5), "How many times what is stale is purged again, up to 5; 2 when left out."),
        key(
            "variants",
            Shape::HeaderMaps("auto"),
            "Request headers of the variants that are probed, up to 8; `auto` (default) goes by Vary.",
        ),
        key(
            "vantage",
            Shape::Texts,
            "Addresses at which edges are probed; `all`: each address of the URL's host. When left out, the caches of `http-purge`, \
             else the host by its name.",
        ),
        key("headers", Shape::Headers, "Sent with each probe; `${NAME}` stands for an environment variable."),
        key("max_body", Shape::Size(MAX_BODY_BYTES), "Larger bodies are not read; 64 MB when left out, up to 1 TB."),
        key("rate", Shape::Within(1, MAX_RATE), "Probes a second at each vantage, up to 1000; 20 when left out."),
        key(
            "every",
            Shape::Duration(EVERY_MS.0, EVERY_MS.1),
            "While watching: how often edges are probed for drift, 1m to 720h; never when left out.",
        ),
        key(
            "share",
            Shape::Percent,
            "With `every`: the share of the targets that are probed then; 100% when left out.",
        ),
    ],
};

/// The long form of `match`.
pub(crate) static MATCH: Section = Section {
    name: "`match`",
    doc: "Which header of an answer is compared.",
    keys: &[required("header", Shape::Text, "Name of the header.")],
};
