//! Which addresses the endpoints of caches have in this run: each is a cache of its own. What a cache lacks that was away is due
//! again once it is back: in its name, or in the list of endpoints.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use super::Desired;
use crate::core::endpoints::{Addresses, AwayCache, CacheAddress, FoundCaches, ReturnedCache};
use crate::core::http::Endpoint;
use crate::core::model::{Model, ProviderConfig};
use crate::core::plan::Plan;
use crate::core::provider_key::ProviderKey;
use crate::core::time::Timestamp;
use crate::host::Host;
use crate::state::{StateError, Store};

/// What looking names up came to, by name.
#[derive(Debug, Default)]
pub struct Located(BTreeMap<String, Addresses>);

impl Located {
    /// Looks up, side by side, the names of caches of all providers that the plan has work for, or would have with other
    /// credentials. Those without an answer after `patience_ms` milliseconds have no address in this run.
    pub async fn look_up(host: &Host, desired: &Desired, plan: &Plan, patience_ms: u64) -> Self {
        let providers = super::accounts::needed_by(plan);
        let providers = providers.iter().map(|&provider| &desired.model.providers[provider]);
        let names =
            providers.filter(|config| config.has_cache_per_address()).flat_map(|config| config.endpoints.names());
        Self::of(host, names.collect(), patience_ms).await
    }

    /// Looks up the names of all caches that these manifests list.
    pub async fn of_providers(host: &Host, desired: &Desired, patience_ms: u64) -> Self {
        let providers = desired.model.providers.iter().filter(|config| config.has_cache_per_address());
        Self::of(host, providers.flat_map(|config| config.endpoints.names()).collect(), patience_ms).await
    }

    /// Looks up the names of caches that were `away` and that these manifests list.
    pub async fn of_away(host: &Host, desired: &Desired, away: &[AwayCache], patience_ms: u64) -> Self {
        let caches = away.iter().map(|away| &away.cache);
        let by_name = caches.filter(|cache| cache.address.is_some() && desired.has_cache(cache));
        Self::of(host, by_name.map(|cache| cache.host.as_str()).collect(), patience_ms).await
    }

    async fn of(host: &Host, names: BTreeSet<&str>, patience_ms: u64) -> Self {
        let until = host.clock.now().tick.plus_ms(patience_ms);
        let look_up = async |name: &str| {
            let found = tokio::select! {
                biased;
                found = host.resolver.addresses(name) => found,
                () = host.clock.sleep_until(until) => Err(format!("no answer within {patience_ms} ms")),
            };
            (name.to_owned(), found)
        };
        Self(join_all(names.into_iter().map(look_up)).await.into_iter().collect())
    }

    /// Whether the name of a cache that is configured has its address.
    fn has(&self, cache: &CacheAddress) -> bool {
        let Some(address) = cache.address else { return true };
        let found = self.0.get(&cache.host).and_then(|found| found.as_ref().ok());
        found.is_some_and(|found| found.iter().any(|found| found.to_canonical() == address))
    }
}

/// Those of caches that were `away` that are there again, by looking up their names.
pub async fn returned_caches(
    host: &Host,
    desired: &Desired,
    away: Vec<AwayCache>,
    patience_ms: u64,
) -> Vec<ReturnedCache> {
    let located = Located::of_away(host, desired, &away, patience_ms).await;
    desired.returned(away, &located)
}

impl Desired {
    /// Has calls go to the addresses that were found. Whether that makes a difference.
    pub fn locate(&mut self, located: &Located) -> bool {
        let mut differs = false;
        for config in self.model.providers.iter_mut().filter(|config| config.has_cache_per_address()) {
            let before = config.endpoints.clone();
            if config.endpoints.names().all(|name| located.0.contains_key(name)) {
                config.endpoints.locate(&located.0);
            }
            differs |= config.endpoints != before;
        }
        differs
    }

    /// Goes back to the endpoints as they are configured: addresses are those of one run.
    pub fn forget_addresses(&mut self) {
        self.model.providers.iter_mut().for_each(|config| config.endpoints.forget_addresses());
    }

    /// Those of caches that were `away` that these manifests list, and that are there again as far as names were looked up.
    pub fn returned(&self, away: Vec<AwayCache>, located: &Located) -> Vec<ReturnedCache> {
        let back = away.into_iter().filter(|away| self.has_cache(&away.cache) && located.has(&away.cache));
        back.map(|away| ReturnedCache { others: self.fixed_endpoints(&away.cache), away }).collect()
    }

    /// Caches that this run found, for later runs to know them. A provider of another kind may have had some before.
    pub fn found_caches(&self) -> Vec<FoundCaches> {
        (0..self.model.providers.len()).map(|provider| found_caches(&self.model, provider)).collect()
    }

    /// Notes which caches are listed, before anything comes of it: each may serve visitors from now on. What caches lack is
    /// not forgotten before a run begins where some are enough.
    ///
    /// # Errors
    /// A state that cannot be written.
    pub fn note_listed(&self, store: &mut dyn Store, now: Timestamp) -> Result<(), StateError> {
        let mut listed = self.found_caches();
        listed.retain(|found| found.endpoints.is_some());
        store.note_caches(&listed, now)
    }

    /// Whether manifests that were read configure this cache; those that were not are as they were when it was noted.
    fn has_cache(&self, cache: &CacheAddress) -> bool {
        let Some(provider) = self.model.index_of_key(&cache.provider) else {
            // An endpoint that was away is not configured in manifests that are as they were.
            let ProviderKey { namespace, name } = ProviderKey::of(&cache.provider);
            let is_ours = namespace == self.reach.namespace.as_deref();
            let is_known = || is_ours && self.providers().iter().any(|(known, _)| known == name);
            return self.model.providers.is_empty() && cache.address.is_some() && is_known();
        };
        let config = &self.model.providers[provider];
        let mut owing = config.caches(cache.address.is_some()).filter(|_| config.require.is_none());
        owing.any(|endpoint| endpoint.to_string() == cache.endpoint)
            || vendor(config).is_some_and(|kind| kind == cache.endpoint)
    }

    fn fixed_endpoints(&self, cache: &CacheAddress) -> Vec<String> {
        let provider = self.model.index_of_key(&cache.provider).map(|provider| &self.model.providers[provider]);
        let fixed = provider.into_iter().flat_map(|config| config.caches(false));
        fixed.map(Endpoint::to_string).collect()
    }
}

/// What the state knows the CDN of a vendor by: it is one cache, whichever of the vendor's endpoints is called.
fn vendor(config: &ProviderConfig) -> Option<&'static str> {
    (!config.has_caches()).then_some(config.kind.capabilities().kind)
}

fn found_caches(model: &Model, provider: usize) -> FoundCaches {
    let (config, key) = (&model.providers[provider], model.provider_key(provider));
    let cache = |found: &Endpoint| CacheAddress {
        provider: key.clone(),
        endpoint: Endpoint { address: None, ..found.clone() }.to_string(),
        host: found.host.clone(),
        address: found.address,
    };
    let vendor = vendor(config).map(str::to_owned);
    let of_vendor = vendor.clone().map(|endpoint| CacheAddress {
        provider: key.clone(),
        endpoint,
        host: String::new(),
        address: None,
    });
    let own = || config.caches(false).chain(config.caches(true)).map(Endpoint::to_string);
    FoundCaches {
        endpoints: config.require.is_none().then(|| own().chain(vendor).collect()),
        addresses: config.caches(false).chain(config.endpoints.found()).map(cache).chain(of_vendor).collect(),
        provider: key.clone(),
    }
}
