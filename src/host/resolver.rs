//! Names of hosts, as the system looks them up: by files, DNS and what else it is set up to ask.

use super::{BoxFuture, Resolver};
use crate::core::endpoints::Addresses;

/// Asks the system.
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn addresses<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Addresses> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await.map_err(|error| error.to_string())?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}
