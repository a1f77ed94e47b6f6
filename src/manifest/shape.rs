//! Which keys manifests have: one table a map. The check, the building of the model and the JSON Schema read it.
//!
//! Does not know the meaning of values beyond their shape.

mod proof;

use super::node::{Node, Value, is_invisible};
use super::walk_rules::Links;
use crate::core::contract::OptionShape;
use crate::core::{byte_size, duration};
pub(crate) use proof::{MATCH, ORIGIN, VERIFY};
use proof::{ORIGIN_KEY, VERIFY_KEY, WAIT_FOR_ORIGIN_KEY};

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A text that is not blank and has no control characters.
    Text,
    /// One such text or a list of them, not empty.
    Texts,
    /// A list of such texts, not empty.
    TextList,
    /// `true` or `false`, without quotes.
    Bool,
    /// A whole number, at least this, without quotes.
    Integer(u64),
    /// A whole number from one to another, without quotes.
    Within(u64, u64),
    /// A list of whole numbers from 0.
    IntegerList,
    /// A share like `30%`, in whole percent.
    Percent,
    /// A whole number from 0, or a share.
    IntegerOrPercent,
    /// An offset from UTC like `+08:00`.
    UtcOffset,
    /// A duration like `5s`, from one to another, in milliseconds.
    Duration(u64, u64),
    /// A size like `64 MB`, up to this, in bytes.
    Size(u64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Names and texts.
    Headers,
    /// A list of such maps, not empty, or this word.
    HeaderMaps(&'static str),
    /// A text, or a map with the keys of a table.
    TextOr(&'static Section),
    /// `true` or `false` without quotes, or a map with the keys of a table.
    FlagOr(&'static Section),
    /// One of these words, or a map with the keys of a table.
    WordOr(&'static [&'static str], &'static Section),
    /// A map with the keys of a table.
    Section(&'static Section),
    /// Names and maps with the keys of a table.
    Named(&'static Section),
    /// `assets`: paths or URLs with hashes, or a list of maps.
    Assets,
    /// A list of maps with the keys of a table.
    List(&'static Section),
    /// One such map or a list of them.
    OneOrList(&'static Section),
}

/// A key and what it may hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KeySpec {
    /// The key.
    pub(crate) key: &'static str,
    /// What its value looks like.
    pub(crate) shape: Shape,
    /// What it means, one line.
    pub(crate) doc: &'static str,
    /// Whether the map is incomplete without it.
    pub(crate) required: bool,
    /// Set for keys of the format that this version does not support: what to do instead.
    pub(crate) later: Option<&'static str>,
}

/// A map with known keys.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Section {
    /// How messages call it.
    pub(crate) name: &'static str,
    /// What it is, one line.
    pub(crate) doc: &'static str,
    /// Its keys.
    pub(crate) keys: &'static [KeySpec],
}

const fn key(key: &'static str, shape: Shape, doc: &'static str) -> KeySpec {
    KeySpec { key, shape, doc, required: false, later: None }
}

const fn required(key: &'static str, shape: Shape, doc: &'static str) -> KeySpec {
    KeySpec { key, shape, doc, required: true, later: None }
}

const fn later(key: &'static str, instead: &'static str) -> KeySpec {
    KeySpec { key, shape: Shape::Text, doc: "Not supported yet.", required: false, later: Some(instead) }
}

/// Words of `priority`.
pub(crate) const PRIORITIES: &[&str] = &["high", "normal", "low"];

/// A manifest file.
pub(crate) static MANIFEST: Section = Section {
    name: "a manifest",
    doc: "Which assets are published, and which providers carry them.",
    keys: &[
        key("version", Shape::Integer(1), "Version of the format: 1, also when left out."),
        key("name", Shape::Text, "Name of this manifest, unique; its path below the root of its tree when left out."),
        key(
            "providers",
            Shape::Named(&PROVIDER),
            "Configured accounts at CDNs or caches, by name; names are unique over all files.",
        ),
        key(
            "base_url",
            Shape::Texts,
            "What the paths of assets are put below: one URL or several that serve the same content.",
        ),
        key(
            "provider",
            Shape::Texts,
            "Name of the provider, or names of the providers, of all assets here; wins over matching by host.",
        ),
        key("assets", Shape::Assets, "What is published: paths or URLs with their hashes, or a list of maps."),
        key(
            "sources",
            Shape::List(&SOURCE),
            "Directories and checksum lists that name further assets; their paths are put below base_url.",
        ),
        key(
            "index",
            Shape::Texts,
            "Names of files that also stand for their folder: with index.html, blog/index.html purges blog/ as well.",
        ),
        key("slashless", Shape::Bool, "Whether that folder is also purged without the slash at its end: blog."),
        key(
            "strip_extension",
            Shape::Texts,
            "Extensions that URLs may leave out: with .html, about.html purges about as well.",
        ),
        key(
            "on_new",
            Shape::OneOf(&["purge", "adopt"]),
            "What to do about assets that were never recorded: purge (default) or only record them.",
        ),
        key(
            "on_removed",
            Shape::OneOf(&["purge", "forget"]),
            "What to do about recorded assets that are no longer listed: purge (default) or forget them.",
        ),
        key("priority", Shape::Section(&PRIORITY), PRIORITY.doc),
        key("guard", Shape::Section(&GUARD), GUARD.doc),
        key("collapse", Shape::OneOrList(&COLLAPSE), COLLAPSE.doc),
        ORIGIN_KEY,
        WAIT_FOR_ORIGIN_KEY,
        VERIFY_KEY,
    ],
};

/// All maps of manifests.
pub(crate) static SECTIONS: [&Section; 12] = [
    &MANIFEST,
    &ASSET,
    &SOURCE,
    &PROVIDER,
    &GUARD,
    &PRIORITY,
    &COLLAPSE,
    &LIMITS,
    &CREDENTIALS,
    &ORIGIN,
    &VERIFY,
    &MATCH,
];

/// All keys of manifests at any place, but for options of kinds.
pub(crate) fn keys() -> impl Iterator<Item = &'static str> {
    SECTIONS.into_iter().flat_map(|section| section.keys).map(|spec| spec.key)
}

/// Whether a key at the top of a file shows it to be a manifest: files of other kinds have a `name` or a `version` as well.
pub(crate) fn is_of_manifests(key: &str) -> bool {
    const OF_ANY_FILE: [&str; 6] = ["name", "version", "provider", "index", "origin", "verify"];
    !OF_ANY_FILE.contains(&key) && MANIFEST.keys.iter().any(|spec| spec.key == key)
}

/// An asset in the list form.
pub(crate) static ASSET: Section = Section {
    name: "an asset",
    doc: "A thing that is published, with the hash of its content. Exactly one of path, url and asset_id names it.",
    keys: &[
        key("path", Shape::Text, "Path below base_url, as it stands in the URL."),
        key("url", Shape::Text, "The whole URL, byte for byte as caches know it."),
        key("asset_id", Shape::Text, "The vendor's own id of the asset."),
        required("hash", Shape::Text, HASH_DOC),
        key(
            "priority",
            Shape::OneOf(PRIORITIES),
            "Order of a plan that quota or rate cuts short; normal when left out.",
        ),
        key("provider", Shape::Texts, "Name of the provider, or names of the providers, of this asset."),
        key("size", Shape::Integer(0), "Size in bytes."),
        key("extra_urls", Shape::Texts, "Further URLs of the same content."),
        ORIGIN_KEY,
        CHECK_URL_KEY,
    ],
};

/// A value of the short form of `assets` that is a map.
pub(crate) static SHORT_ASSET: Section = Section {
    name: "an asset",
    doc: "The hash of the asset's content, and what else is to be said about it.",
    keys: &[
        required("hash", Shape::Text, HASH_DOC),
        key(
            "priority",
            Shape::OneOf(PRIORITIES),
            "Order of a plan that quota or rate cuts short; normal when left out.",
        ),
        key("provider", Shape::Texts, "Name of the provider, or names of the providers, of this asset."),
        key("size", Shape::Integer(0), "Size in bytes."),
        key("extra_urls", Shape::Texts, "Further URLs of the same content."),
        ORIGIN_KEY,
        CHECK_URL_KEY,
    ],
};

const CHECK_URL_KEY: KeySpec = later("check_url", "leave it out: what is named by an id cannot be verified");

/// An item of `sources`.
pub(crate) static SOURCE: Section = Section {
    name: "a source",
    doc: "Where names and hashes of published files come from. Exactly one of directory and checksums.",
    keys: &[
        key("directory", Shape::Text, "Folder whose files are hashed; relative to the manifest's own folder."),
        key("include", Shape::Texts, "For a directory: patterns of which files are taken; all when left out."),
        key("exclude", Shape::Texts, "For a directory: patterns of which files are left out."),
        key(
            "normalize",
            Shape::Texts,
            "For a directory: regular expressions; what they match in a text is left out of its hash.",
        ),
        key(
            "links",
            Shape::OneOf(Links::WORDS),
            "For a directory: follow symbolic links also where they leave it, or skip all; when left out, those that stay in it \
             are followed and others are errors.",
        ),
        key(
            "priority",
            Shape::Section(&PRIORITY),
            "Which files go first in a plan that quota or rate cuts short; wins over that of the manifest.",
        ),
        key(
            "temporary",
            Shape::Bool,
            "For a directory: whether temporary files of editors and transfers are taken as well.",
        ),
        key(
            "checksums",
            Shape::Text,
            "List as sha256sum, b3sum or md5sum write it; relative to the manifest's own folder.",
        ),
        key(
            "algorithm",
            Shape::OneOf(ALGORITHMS),
            "For checksums: the algorithm of the list where its lines or its name do not tell.",
        ),
        key(
            "strip_prefix",
            Shape::Text,
            "Folders that the names of files begin with and URLs do not, up to a slash: dist/.",
        ),
    ],
};

/// Words of `algorithm`.
pub(crate) const ALGORITHMS: &[&str] = &["blake3", "sha256", "sha1", "sha384", "sha512", "md5"];

const HASH_DOC: &str = "Hash of the content: `sha256:` (or blake3, sha1, sha384, sha512, md5) and hex digits, \
    the subresource-integrity form `sha256-…`, or `etag:` or `rev:` and any text.";

/// A configured provider, without the options of its kind.
pub(crate) static PROVIDER: Section = Section {
    name: "a provider",
    doc: "A configured account at a CDN or cache.",
    keys: &[
        required("kind", Shape::Text, "The kind of provider; `freshen providers` lists them."),
        key(
            "hosts",
            Shape::Texts,
            "Hosts of the URLs that this provider carries; `*.example.cn` stands for every name below example.cn.",
        ),
        key(
            "account",
            Shape::Text,
            "Name of the account, any text: providers that give the same one draw on one quota, whatever their keys are.",
        ),
        key("limits", Shape::Section(&LIMITS), "Limits of the account where they differ from the documented ones."),
        key(
            "ignore_query",
            Shape::Bool,
            "Whether the CDN ignores parameters: URLs that differ only there are one target.",
        ),
        key(
            "credentials",
            Shape::Section(&CREDENTIALS),
            "Where credentials come from; the vendor's usual environment variables when left out.",
        ),
        key("endpoint", Shape::Text, "Replaces the vendor's URL: scheme, host, port and a path prefix."),
        key(
            "endpoints",
            Shape::Texts,
            "URLs of self-hosted caches, or the URL of one; each address of each gets every purge.",
        ),
        key(
            "require",
            Shape::Integer(1),
            "How many endpoints, each address for itself, must accept a purge before it is recorded; all when left out.",
        ),
        key("allow_insecure_endpoint", Shape::Bool, "Allows plain http to other machines."),
        key(
            "upstream",
            Shape::Text,
            "Name of the provider that this one fetches through: what both carry is purged there first.",
        ),
        later("purge_again", "leave it out: `verify` of a manifest purges again what is stale"),
        later("prefetch", "leave it out: the next visitor fetches the content"),
        later("warm", "leave it out: probes of `verify` by body warm the edge"),
        later("repurge_headers", "give `headers` that purge hard: each purge sends them"),
        later("schemes", "give one endpoint for each scheme that the cache keeps apart"),
    ],
};

/// `guard` of a manifest.
pub(crate) static GUARD: Section = Section {
    name: "`guard`",
    doc: "Limits of what one run may do to the targets of this manifest; a run that would do more is refused.",
    keys: &[
        key("max_purges", Shape::Integer(0), "Most purges."),
        key("max_share", Shape::Percent, "Most of its recorded targets that may be purged, as a share like 30%."),
        key(
            "max_removed",
            Shape::IntegerOrPercent,
            "Most of its recorded targets that may be gone from it, as a number or a share like 30%.",
        ),
    ],
};

/// `priority` of a manifest or a source.
pub(crate) static PRIORITY: Section = Section {
    name: "`priority`",
    doc: "Which assets go first, and which last, in a plan that quota or rate cuts short: patterns of their paths.",
    keys: &[
        key("high", Shape::Texts, "Patterns of what goes first; `*` stands for any text."),
        key("low", Shape::Texts, "Patterns of what goes last, unless it goes first."),
    ],
};

/// `collapse` of a manifest.
pub(crate) static COLLAPSE: Section = Section {
    name: "`collapse`",
    doc: "Purges a directory, with everything below it, in place of its URLs once there are too many of them.",
    keys: &[
        required("directory", Shape::Text, "Path that URLs below it begin with, from `/` to `/`: /assets/."),
        required("above", Shape::Integer(0), "Most purges of URLs below it that are still sent one by one."),
    ],
};

/// `limits` of a provider.
pub(crate) static LIMITS: Section = Section {
    name: "`limits`",
    doc: "Limits of the account where they differ from the documented ones.",
    keys: &[
        key("urls_per_day", Shape::Integer(1), "Most targets a quota day."),
        key("calls_per_second", Shape::Integer(1), "Most calls in any second."),
        key("urls_per_call", Shape::Integer(1), "Most targets in one call; can only be lowered."),
        key(
            "quota_day",
            Shape::UtcOffset,
            "When the quota day begins: midnight at this offset from UTC, as `+08:00`; the vendor's own when left out.",
        ),
    ],
};

/// `credentials` of a provider.
pub(crate) static CREDENTIALS: Section = Section {
    name: "`credentials`",
    doc: "Where credentials come from: exactly one of these. They never stand in a manifest.",
    keys: &[
        key("env_prefix", Shape::Text, "Put before the names of the vendor's usual environment variables."),
        key("file", Shape::Text, "Path of a JSON file that only its owner can read."),
        key(
            "command",
            Shape::TextList,
            "Program and arguments; prints JSON, is asked again when the credentials expire.",
        ),
    ],
};

/// The shape of an option of a kind.
pub(crate) const fn of_option(shape: OptionShape) -> Shape {
    match shape {
        OptionShape::Text => Shape::Text,
        OptionShape::Bool => Shape::Bool,
        OptionShape::Integer => Shape::Integer(0),
        OptionShape::OneOf(words) => Shape::OneOf(words),
        OptionShape::IntegerList => Shape::IntegerList,
        OptionShape::Headers => Shape::Headers,
    }
}

impl Shape {
    /// What messages say is expected.
    pub(crate) fn expected(self) -> String {
        match self {
            Self::Text => "a text".into(),
            Self::Texts => "a text or a list of texts".into(),
            Self::TextList => "a list of texts".into(),
            Self::Bool => "`true` or `false`".into(),
            Self::Integer(0) => "a whole number".into(),
            Self::Integer(least) => format!("a whole number, at least {least}"),
            Self::Within(least, most) => format!("a whole number from {least} to {most}"),
            Self::IntegerList => "a list of whole numbers".into(),
            Self::Percent => "a share from 0% to 100%".into(),
            Self::IntegerOrPercent => "a whole number or a share from 0% to 100%".into(),
            Self::UtcOffset => "an offset from UTC like `+08:00`".into(),
            Self::Duration(least, most) => {
                format!("a duration from {} to {}", duration::written(least), duration::written(most))
            }
            Self::Size(most) => format!("a size up to {}, like `64 MB`", byte_size::written(most)),
            Self::OneOf(words) => format!("one of {}", quoted(words)),
            Self::HeaderMaps(word) => format!("`{word}` or a list of maps of header names and values"),
            Self::TextOr(_) => "a text or a map".into(),
            Self::FlagOr(_) => "`true`, `false` or a map".into(),
            Self::WordOr(words, _) => format!("one of {} or a map", quoted(words)),
            Self::Headers => "a map of header names and values".into(),
            Self::Section(_) => "a map".into(),
            Self::Named(_) => "a map of names".into(),
            Self::Assets => "a map of paths or URLs with their hashes, or a list of maps".into(),
            Self::List(_) => "a list of maps".into(),
            Self::OneOrList(_) => "a map or a list of maps".into(),
        }
    }

    /// The part of `node` that does not fit; `None` if all does. Maps with keys of their own are looked at elsewhere.
    pub(crate) fn misfit<'n, 'a>(self, node: &'n Node<'a>) -> Option<&'n Node<'a>> {
        let item = |shape: Self| match &node.value {
            Value::List(list) => list.iter().find_map(|item| shape.misfit(item)),
            _ => Some(node),
        };
        let fits = match self {
            Self::Texts | Self::TextList | Self::HeaderMaps(_) if is_empty_list(node) => false,
            Self::Texts if matches!(node.value, Value::List(_)) => return item(Self::Text),
            Self::Text | Self::Texts => text(node).is_some(),
            Self::TextList => return item(Self::Text),
            Self::Bool => boolean(node).is_some(),
            Self::Integer(least) => integer(node).is_some_and(|value| value >= least),
            Self::Within(least, most) => integer(node).is_some_and(|value| (least..=most).contains(&value)),
            Self::Duration(least, most) => duration_ms(node).is_some_and(|ms| (least..=most).contains(&ms)),
            Self::Size(most) => size(node).is_some_and(|bytes| (1..=most).contains(&bytes)),
            Self::HeaderMaps(_) if matches!(node.value, Value::List(_)) => return item(Self::Headers),
            Self::HeaderMaps(word) => text(node) == Some(word),
            Self::TextOr(_) => text(node).is_some() || matches!(node.value, Value::Map(_)),
            Self::FlagOr(_) => boolean(node).is_some() || matches!(node.value, Value::Map(_)),
            Self::WordOr(words, _) => {
                text(node).is_some_and(|found| words.contains(&found)) || matches!(node.value, Value::Map(_))
            }
            Self::IntegerList => return item(Self::Integer(0)),
            Self::Percent => percent(node).is_some(),
            Self::IntegerOrPercent => percent(node).or_else(|| integer(node)).is_some(),
            Self::UtcOffset => utc_offset_minutes(node).is_some(),
            Self::OneOf(words) => text(node).is_some_and(|found| words.contains(&found)),
            Self::Headers | Self::Section(_) | Self::Named(_) => matches!(node.value, Value::Map(_)),
            Self::Assets | Self::OneOrList(_) => matches!(node.value, Value::Map(_) | Value::List(_)),
            Self::List(_) => matches!(node.value, Value::List(_)),
        };
        (!fits).then_some(node)
    }
}

/// Words in backquotes with commas.
pub(crate) fn quoted<T: AsRef<str>>(words: &[T]) -> String {
    words.iter().map(|word| format!("`{}`", word.as_ref())).collect::<Vec<_>>().join(", ")
}

/// The text of a scalar that is neither blank nor null and has no control characters.
pub(crate) fn text<'n>(node: &'n Node<'_>) -> Option<&'n str> {
    match &node.value {
        Value::Scalar { text, .. } if !text.trim().is_empty() && !text.chars().any(is_invisible) => Some(text),
        _ => None,
    }
}

/// Whether a node is a list without items.
pub(crate) fn is_empty_list(node: &Node<'_>) -> bool {
    matches!(&node.value, Value::List(list) if list.is_empty())
}

/// The value of a plain `true` or `false`.
pub(crate) fn boolean(node: &Node<'_>) -> Option<bool> {
    match &node.value {
        Value::Scalar { text, plain: true } if text == "true" => Some(true),
        Value::Scalar { text, plain: true } if text == "false" => Some(false),
        _ => None,
    }
}

/// The value in milliseconds of a duration like `5s`.
pub(crate) fn duration_ms(node: &Node<'_>) -> Option<u64> {
    duration::parse(text(node)?).ok()
}

/// The value in bytes of a size like `64 MB`.
pub(crate) fn size(node: &Node<'_>) -> Option<u64> {
    byte_size::parse(text(node)?).ok()
}

/// The value in minutes of an offset like `+08:00`, up to 14 hours either way.
pub(crate) fn utc_offset_minutes(node: &Node<'_>) -> Option<i32> {
    let (sign, digits) = match text(node)?.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = digits.split_once(':')?;
    let number = |digits: &str| {
        let plain = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse::<i32>().ok()).flatten()
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (minutes < 60 && hours * 60 + minutes <= 14 * 60).then_some(sign * (hours * 60 + minutes))
}

/// The value of a share like `30%`, 0 to 100.
pub(crate) fn percent(node: &Node<'_>) -> Option<u64> {
    let digits = text(node)?.strip_suffix('%')?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    plain.then(|| digits.parse().ok()).flatten().filter(|value| *value <= 100)
}

/// The value of plain decimal digits without leading zeros.
pub(crate) fn integer(node: &Node<'_>) -> Option<u64> {
    match &node.value {
        Value::Scalar { text, plain: true }
            if text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0')) =>
        {
            text.parse().ok()
        }
        _ => None,
    }
}
