//! Which addresses the endpoints of caches have in this run: each is a cache of its own.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use super::Desired;
use crate::core::endpoints::Addresses;
use crate::core::plan::Plan;
use crate::host::Host;

/// What looking names up came to, by name.
#[derive(Debug, Default)]
pub struct Located(BTreeMap<String, Addresses>);

impl Located {
    /// Looks up, side by side, the names of caches of all providers that the plan has work for, or would have with other
    /// credentials. Those without an answer after `patience_ms` milliseconds have no address in this run.
    pub async fn look_up(host: &Host, desired: &Desired, plan: &Plan, patience_ms: u64) -> Self {
        let until = host.clock.now().tick.plus_ms(patience_ms);
        let look_up = async |name: &str| {
            let found = tokio::select! {
                biased;
                found = host.resolver.addresses(name) => found,
                () = host.clock.sleep_until(until) => Err(format!("no answer within {patience_ms} ms")),
            };
            (name.to_owned(), found)
        };
        let providers = super::accounts::needed_by(plan);
        let providers = providers.iter().map(|&provider| &desired.model.providers[provider]);
        let names: BTreeSet<&str> = providers
            .filter(|config| config.has_cache_per_address())
            .flat_map(|config| config.endpoints.names())
            .collect();
        Self(join_all(names.into_iter().map(look_up)).await.into_iter().collect())
    }
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
}
