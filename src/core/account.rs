//! Names of accounts: whose quotas and paces providers draw on, whatever their credentials are at the moment.
//!
//! An account that the manifest names, or whose credentials are temporary, has a name that lasts. Any other one is known by a
//! fingerprint of its key, or of where calls go.

use super::contract::CredentialScheme;
use super::model::ProviderConfig;

const NAMED: &str = "account ";
const OF_PROVIDER: &str = "provider ";
const OF_SOURCE: &str = "keys of ";

/// The account of the provider with this index as far as manifests say: by `account`, of its own or of one that has the same
/// credentials.
pub fn named(providers: &[ProviderConfig], provider: usize) -> Option<String> {
    let own = providers[provider].account.as_deref();
    let name = own.or_else(|| sharing(providers, provider).find_map(|other| providers[other].account.as_deref()))?;
    Some(format!("{NAMED}{name}"))
}

/// The account of a provider that is known by nothing but its name.
pub fn of_provider(name: &str) -> String {
    format!("{OF_PROVIDER}{name}")
}

/// The account of temporary credentials that come from this source.
pub fn of_source(source: &str) -> String {
    format!("{OF_SOURCE}{source}")
}

/// Whether an account that a provider had before goes on in the one that it has now. Of two keys nobody knows.
pub fn takes_over(now: &str, before: &str) -> bool {
    let lasts = |account: &str| [NAMED, OF_PROVIDER, OF_SOURCE].iter().any(|sort| account.starts_with(sort));
    now != before && (lasts(now) || lasts(before))
}

/// Providers, by index, that have their credentials from the same source, in order, itself included.
pub fn sharing(providers: &[ProviderConfig], provider: usize) -> impl Iterator<Item = usize> {
    let own = &providers[provider];
    let shares = move |other: &usize| {
        let other = &providers[*other];
        // Headers are each provider's own.
        let has_keys = own.scheme() != CredentialScheme::Headers;
        has_keys && (other.scheme(), &other.credentials) == (own.scheme(), &own.credentials)
    };
    (0..providers.len()).filter(shares)
}
