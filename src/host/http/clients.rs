//! Clients of the HTTP library, kept by what sets them apart: one host at one address, with or without proxies and roots.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::Client;

use super::failure::{self, not_connected};
use super::proxy;
use crate::core::http::{Endpoint, Route, TransportFailure, TransportFailureKind};
use crate::host::Env;

/// Most clients that are kept, with their idle connections.
const MOST_CLIENTS: usize = 256;

/// How long an unused connection is kept. Below the 5 seconds after which common caches close theirs: a request on a
/// connection that is being closed would end as unknown.
const IDLE: Duration = Duration::from_secs(4);

/// The clients that were needed so far.
pub(super) struct Clients {
    proxies: Result<Vec<reqwest::Proxy>, String>,
    /// Made when first needed: reading the system's roots takes longer than a run that has nothing to do.
    made: Mutex<HashMap<ClientKey, Client>>,
}

/// What sets clients apart.
#[derive(Clone, PartialEq, Eq, Hash)]
struct ClientKey {
    proxied: bool,
    roots: bool,
    connect_ms: u64,
    /// A host with the one of its addresses to connect to: connections to others of them are not reused.
    pinned: Option<(String, IpAddr)>,
}

impl Clients {
    /// With the proxies that the environment names.
    pub(super) fn new(env: &dyn Env) -> Self {
        // An earlier provider stays, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { proxies: proxy::from_env(env), made: Mutex::default() }
    }

    /// Whether the environment names proxies, usable or not.
    pub(super) fn has_proxies(&self) -> bool {
        self.proxies.as_ref().map_or(true, |proxies| !proxies.is_empty())
    }

    /// The client for requests to `endpoint` that go by `route`.
    ///
    /// # Errors
    /// Proxies that cannot be used, and roots that cannot be read, where they are needed.
    pub(super) fn get(&self, endpoint: &Endpoint, route: Route, connect_ms: u64) -> Result<Client, TransportFailure> {
        let may_be_proxied = route == Route::ByProxy && !endpoint.is_loopback();
        let proxies = match &self.proxies {
            _ if !may_be_proxied => &[],
            Ok(proxies) => proxies.as_slice(),
            Err(problem) => return Err(not_connected(problem.clone())),
        };
        // Plain requests to a cache on this machine must work where no roots are installed.
        let roots = endpoint.tls || !proxies.is_empty();
        let pinned = endpoint.address.map(|address| (endpoint.host.clone(), address));
        let key = ClientKey { proxied: !proxies.is_empty(), roots, connect_ms, pinned };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = made.get(&key) {
            return Ok(client.clone());
        }
        // Addresses come and go while a program stays up.
        if made.len() >= MOST_CLIENTS {
            made.clear();
        }
        let client = build(&key, proxies).map_err(|error| TransportFailure {
            kind: TransportFailureKind::Tls,
            message: format!("TLS cannot be set up: {}", failure::innermost(error)),
        })?;
        made.insert(key, client.clone());
        Ok(client)
    }
}

fn build(key: &ClientKey, proxies: &[reqwest::Proxy]) -> reqwest::Result<Client> {
    let mut builder = Client::builder()
        .no_proxy()
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .tls_version_min(reqwest::tls::Version::TLS_1_2)
        .connect_timeout(Duration::from_millis(key.connect_ms))
        .pool_idle_timeout(IDLE);
    if !key.roots {
        builder = builder.tls_certs_only([]);
    }
    if let Some((host, address)) = &key.pinned {
        // The port is that of the URL, and so are the names that TLS sends and checks.
        builder = builder.resolve(host, SocketAddr::new(*address, 0));
    }
    for proxy in proxies {
        builder = builder.proxy(proxy.clone());
    }
    builder.build()
}
