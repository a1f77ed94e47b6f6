//! One desired entry: what is to be true at a provider, and where a manifest says so.

use super::target::{ContentHash, Target};

/// Order of a plan that quota or rate cuts short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// First.
    High,
    /// After `high`.
    #[default]
    Normal,
    /// Last.
    Low,
}

impl Priority {
    /// The manifest's word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

/// Provider, target and desired hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Index into the model's providers.
    pub provider: usize,
    /// What is purged when the hash changes.
    pub target: Target,
    /// The content that was published.
    pub hash: ContentHash,
    /// Its place in the order of purges.
    pub priority: Priority,
    /// Indexes into the model's manifests of all that list it, ascending, at least one.
    pub manifests: Vec<usize>,
    /// Where it is listed first.
    pub place: Location,
    /// Why this provider carries it.
    pub matched: Matched,
}

/// Why an entry belongs to its provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Matched {
    /// `provider:` of the asset.
    AssetProvider,
    /// `provider:` of the manifest.
    ManifestProvider,
    /// The provider's `hosts`.
    Host,
}

/// A place in a manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// Index into the model's manifests.
    pub manifest: usize,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}
