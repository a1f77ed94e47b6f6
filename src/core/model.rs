//! What manifests say, checked: providers, entries and the places they come from.
//!
//! Does not know YAML, files or vendors; the manifest layer builds it, plan and state read it.

use std::fmt;

use super::contract::{CredentialScheme, Options, Rate};
use super::endpoints::{Endpoints, has_addresses};
use super::entries::Entries;
use super::http::Endpoint;
use super::proof_terms::ProofTerms;
use super::provider::Provider;
use super::provider_key::ProviderKey;
use super::target::Scope;

pub use super::entry::{Entry, Location, Matched, Priority};

/// Everything the manifests of one run ask for.
#[derive(Default)]
pub struct Model {
    /// Configured providers, in order of name.
    pub providers: Vec<ProviderConfig>,
    /// The manifests, in the order they were read.
    pub manifests: Vec<Manifest>,
    /// Desired entries, unique and in order of (provider, target).
    pub entries: Entries,
    /// What manifests and assets ask of origins and edges, each once.
    pub proof_terms: Vec<ProofTerms>,
}

impl Model {
    /// Index of the provider called `name`.
    pub fn provider_index(&self, name: &str) -> Option<usize> {
        self.providers.iter().position(|provider| provider.name == name)
    }

    /// A provider with all that it fetches through and all that fetch through it, by index, ascending.
    pub fn layers_of(&self, provider: usize) -> Vec<usize> {
        let upstream_of = |layer: usize| self.provider_index(self.providers[layer].upstream.as_deref()?);
        let mut layers = vec![provider];
        // Each turn adds those next to one that is there; no more turns than providers are of use.
        for _ in 0..self.providers.len() {
            let next: Vec<usize> = (0..self.providers.len())
                .filter(|layer| !layers.contains(layer))
                .filter(|&layer| {
                    let is_below = upstream_of(layer).is_some_and(|upstream| layers.contains(&upstream));
                    is_below || layers.iter().any(|&known| upstream_of(known) == Some(layer))
                })
                .collect();
            if next.is_empty() {
                break;
            }
            layers.extend(next);
        }
        layers.sort_unstable();
        layers
    }

    /// What keeps the manifests apart from those of other repositories.
    pub fn namespace(&self) -> Option<&str> {
        self.manifests.first()?.namespace.as_deref()
    }

    /// By what the state knows a provider, as text.
    pub fn provider_key(&self, provider: usize) -> String {
        ProviderKey { namespace: self.namespace(), name: &self.providers[provider].name }.to_string()
    }

    /// The keys of all providers, by index.
    pub fn provider_keys(&self) -> Vec<String> {
        (0..self.providers.len()).map(|provider| self.provider_key(provider)).collect()
    }

    /// Index of the provider that the state knows by `key`.
    pub fn index_of_key(&self, key: &str) -> Option<usize> {
        let ProviderKey { namespace, name } = ProviderKey::of(key);
        self.provider_index(name).filter(|_| namespace == self.namespace())
    }
}

/// One configured account at a CDN or cache.
pub struct ProviderConfig {
    /// Name, unique in a run.
    pub name: String,
    /// The adapter.
    pub kind: &'static dyn Provider,
    /// Which URLs this provider carries.
    pub hosts: Vec<HostPattern>,
    /// Where calls go; several only for self-hosted caches.
    pub endpoints: Endpoints,
    /// How many endpoints must accept a target before it is recorded; `None`: all.
    pub require: Option<usize>,
    /// Checked options of the kind.
    pub options: Options,
    /// Limits in force: the documented ones, replaced where the manifest says so.
    pub limits: Limits,
    /// URLs that differ only in their query are one target.
    pub ignore_query: bool,
    /// Name of the provider that it fetches through: targets of both are purged there first.
    pub upstream: Option<String>,
    /// Name of its account: of that of all providers that give it.
    pub account: Option<String>,
    /// Where credentials come from.
    pub credentials: CredentialSource,
    /// Where it is configured.
    pub place: Location,
}

impl ProviderConfig {
    /// How this provider's calls are authenticated.
    pub fn scheme(&self) -> CredentialScheme {
        self.kind.capabilities().credentials
    }

    /// How many endpoints must accept a target before it is recorded.
    pub fn required(&self) -> usize {
        self.require.unwrap_or(self.endpoints.len())
    }

    /// Whether its endpoints are caches of the user's own.
    pub fn has_caches(&self) -> bool {
        self.kind.capabilities().default_endpoint.is_none()
    }

    /// Whether each address that the name of an endpoint has is a cache of its own.
    pub fn has_cache_per_address(&self) -> bool {
        self.kind.has_cache_per_address(&self.options) && self.endpoints.names().next().is_some()
    }

    /// Endpoints, as configured, that are one cache each, or those `by_name` whose addresses are. Those of vendors are none.
    pub fn caches(&self, by_name: bool) -> impl Iterator<Item = &Endpoint> {
        let per_address = self.has_cache_per_address();
        let caches = self.endpoints.configured().iter().filter(|_| self.has_caches());
        caches.filter(move |endpoint| (per_address && has_addresses(endpoint)) == by_name)
    }

    /// Whether a target that so many endpoints refuse cannot be recorded, with any addresses that names get later.
    pub fn is_beyond(&self, refusals: usize) -> bool {
        let may_be_more = self.endpoints.problems() > 0 || self.required() > self.endpoints.len();
        !may_be_more && self.endpoints.len().saturating_sub(refusals) < self.required()
    }

    /// At which offset from UTC, in minutes, the midnight lies at which a quota day begins.
    pub fn quota_day_offset_minutes(&self) -> i32 {
        self.limits.quota_day_offset_minutes.unwrap_or(self.kind.capabilities().quota_day_offset_minutes)
    }

    /// Limits of the operation for `scope`, with the manifest's replacements; `None` if the kind has none. Numbers of URLs
    /// say nothing about directories.
    pub fn limits_of(&self, scope: Scope) -> Option<OperationLimits> {
        let operation = self.kind.capabilities().operation(scope)?;
        let own = if scope == Scope::Directory {
            Limits { calls_per_second: self.limits.calls_per_second, ..Limits::default() }
        } else {
            self.limits
        };
        let at_once = operation.targets.map_or(usize::MAX, |rate| rate.burst as usize);
        Some(OperationLimits {
            targets_per_call: own.urls_per_call.unwrap_or(usize::MAX).min(operation.targets_per_call).min(at_once),
            calls: own.calls_per_second.map_or(operation.calls, Rate::per_second),
            bytes_per_call: operation.bytes_per_call,
            hosts_per_call: operation.hosts_per_call,
            targets: operation.targets,
            targets_per_day: own.urls_per_day.or(operation.targets_per_day),
            calls_in_flight: operation.calls_in_flight,
        })
    }
}

/// Limits of one operation of one provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationLimits {
    /// Most targets in one call, at least 1.
    pub targets_per_call: usize,
    /// Most bytes of a call's targets, each as a JSON text with a comma.
    pub bytes_per_call: Option<usize>,
    /// Most hosts of a call's targets.
    pub hosts_per_call: Option<usize>,
    /// How often it may be called.
    pub calls: Rate,
    /// How many targets may be sent, where the vendor counts them besides.
    pub targets: Option<Rate>,
    /// Most targets a quota day; `None`: no limit.
    pub targets_per_day: Option<u64>,
    /// Most calls under way at once.
    pub calls_in_flight: usize,
}

/// `limits:` of a provider; absent values stay as documented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Replaces the documented targets a day.
    pub urls_per_day: Option<u64>,
    /// Replaces the documented calls a second; at least 1.
    pub calls_per_second: Option<u32>,
    /// Lowers the documented targets a call; at least 1.
    pub urls_per_call: Option<usize>,
    /// Replaces the documented beginning of the quota day: midnight at this offset from UTC, in minutes.
    pub quota_day_offset_minutes: Option<i32>,
}

/// Where a provider's credentials come from. Never the manifest itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// The vendor's usual variables, each name with this prefix (empty for none).
    Environment {
        /// Put before each variable's name.
        prefix: String,
    },
    /// A JSON file that only its owner can read.
    File(String),
    /// A program that prints JSON; asked again when what it gave has expired.
    Command(Vec<String>),
}

/// A host name, or `*.` and a suffix that stands for every name below it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPattern(String);

impl HostPattern {
    /// Takes a pattern that the manifest check found valid, in lower case.
    pub fn from_checked(pattern: String) -> Self {
        Self(pattern)
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `host` is covered, without regard to case. `*.a.cn` covers `x.a.cn` and `y.x.a.cn`, not `a.cn`.
    pub fn covers(&self, host: &str) -> bool {
        match self.0.strip_prefix('*') {
            Some(suffix) => {
                host.len() > suffix.len()
                    && host.as_bytes()[host.len() - suffix.len()..].eq_ignore_ascii_case(suffix.as_bytes())
            }
            None => self.0.eq_ignore_ascii_case(host),
        }
    }
}

/// One manifest file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Its `name:`, else its path below the root of its tree; after the namespace and `:`, if there is one.
    pub name: String,
    /// Path relative to the working directory, normalised, for messages.
    pub path: String,
    /// What keeps it apart from manifests of other repositories.
    pub namespace: Option<String>,
    /// Where it is, wherever it is read from.
    pub tree: TreePath,
    /// What to do about targets that were never recorded.
    pub on_new: OnNew,
    /// What to do about recorded targets that the manifest no longer lists.
    pub on_removed: OnRemoved,
    /// Its own limits of what one run may do.
    pub guard: Guard,
    /// When directories are purged in place of its URLs.
    pub collapse: Vec<Collapse>,
    /// Index of what it asks of origins and edges in [`Model::proof_terms`]; assets may ask for something else.
    pub terms: Option<usize>,
}

/// A file by its tree: the folder that is the root of the tree, and the path below it. Another checkout of the same tree has
/// another root and the same path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreePath {
    /// Absolute path of the root, without links and without `/` at its end; empty for `/` itself.
    pub root: String,
    /// Path below the root, with `/`.
    pub path: String,
    /// Absolute path that it was found by, if a link led from there to the file.
    pub link: Option<String>,
}

impl TreePath {
    /// The file's absolute path.
    pub fn absolute(&self) -> String {
        format!("{}/{}", self.root, self.path)
    }
}

/// `guard:` of a manifest: its own limits of what one run may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// Most purges.
    pub max_purges: Option<u64>,
    /// Most purges of recorded targets, as a share of them in percent.
    pub max_share: Option<u64>,
    /// Most recorded targets that may no longer be listed; takes the place of [`REMOVALS`](super::guard::REMOVALS) and
    /// [`REMOVALS_PERCENT`](super::guard::REMOVALS_PERCENT).
    pub max_removed: Option<Limit>,
}

/// A number, or a share of a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// So many.
    Number(u64),
    /// So many of a hundred, 0 to 100.
    Percent(u64),
}

impl Limit {
    /// Whether `part` of `whole` is more.
    pub const fn is_exceeded(self, part: usize, whole: usize) -> bool {
        match self {
            Self::Number(most) => part as u64 > most,
            Self::Percent(most) => part as u64 * 100 > whole as u64 * most,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(most) => write!(f, "{most}"),
            Self::Percent(most) => write!(f, "{most}%"),
        }
    }
}

/// `collapse:` of a manifest: when a directory is purged in place of the URLs below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collapse {
    /// Path that begins and ends with `/`, as it stands in URLs.
    pub directory: String,
    /// So many purges of URLs of this manifest below it, at one provider and origin, are still sent one by one.
    pub above: u64,
}

/// `on_new:`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnNew {
    /// Purge them.
    #[default]
    Purge,
    /// Record them without purging.
    Adopt,
}

/// `on_removed:`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRemoved {
    /// Purge them, then drop them from the state.
    #[default]
    Purge,
    /// Drop them from the state.
    Forget,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_cover_names_below_only() {
        let pattern = HostPattern::from_checked("*.img.example.cn".into());
        assert!(pattern.covers("a.img.example.cn") && pattern.covers("b.a.IMG.example.cn"));
        assert!(!pattern.covers("img.example.cn") && !pattern.covers("ximg.example.cn"));
        assert!(HostPattern::from_checked("a.cn".into()).covers("A.cn"));
    }
}
