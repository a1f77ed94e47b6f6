//! Where the edges of a target are, and what they are to be seen with.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::http::{Endpoint, Route};
use super::model::ProviderConfig;
use super::origin;
use super::probe::Expected;
use super::proof::{EdgeVantage, Owed, Uncached};
use super::proof_terms::{Headers, ProofTerms, Vantage, Verify};
use super::target::{ContentHash, Scope, Target};
use super::time::Tick;

/// Most addresses of one name that are probed.
const MOST_ADDRESSES: usize = 16;

/// Addresses of names, as far as they are known.
pub type KnownAddresses = BTreeMap<String, Vec<IpAddr>>;

/// What is known of a target whose edges are to be probed.
#[derive(Clone)]
pub struct EdgeTarget<'a> {
    /// Which provider carries it, with the addresses of its endpoints.
    pub config: &'a ProviderConfig,
    /// The target.
    pub target: &'a Target,
    /// The content; `None`: it was removed.
    pub content: Option<ContentHash>,
    /// What was there before it was removed.
    pub gone: Option<ContentHash>,
    /// What identified the content at its origin.
    pub validator: Option<String>,
    /// Variants that are known of its host besides those that are written.
    pub variants: Option<Vec<Headers>>,
    /// Not before.
    pub due: Tick,
    /// Value of a parameter that no cache has seen.
    pub nonce: String,
}

/// Names that have to be looked up before the edges of a target can be probed.
pub fn names_of(verify: &Verify, target: &Target) -> Vec<String> {
    match &verify.vantage {
        Vantage::Usual => Vec::new(),
        Vantage::All => target.host().map(str::to_ascii_lowercase).into_iter().collect(),
        Vantage::At(places) => {
            places.iter().filter(|place| place.literal().is_none()).map(|place| place.host.clone()).collect()
        }
    }
}

/// The question to the edges of a target.
///
/// # Errors
/// Why no probe can tell, in words.
pub fn owed(terms: &ProofTerms, of: EdgeTarget<'_>, known: &KnownAddresses) -> Result<Owed, String> {
    let verify = terms.verify.as_ref().ok_or("`verify` is not asked for")?;
    let EdgeTarget { config, target, content, gone, validator, due, nonce, .. } = of;
    let url = target.path_and_query().zip(target.authority()).filter(|_| target.scope == Scope::Url);
    let (path_and_query, authority) = url.ok_or("it has no URL of its own to be read at")?;
    let compare = verify.compare.clone();
    let expected = Expected { content, gone, notes: compare.clone(), compare, validator };
    let reads = expected.reads(verify.max_body, &terms.normalize)?;
    let vantages = vantages(verify, config, target, known)?;
    let host = target.host_header().unwrap_or(authority).to_owned();
    let uncached = terms.origin.as_ref().and_then(|origin| {
        let at_origin = origin::probes(origin, terms, target, &expected).into_iter().next()?;
        Some(Uncached { nonce, at_origin, rate: origin.rate })
    });
    Ok(Owed {
        due,
        expected,
        vantages,
        host,
        path_and_query,
        headers: verify.headers.clone(),
        variants: verify.variants.clone().or(of.variants),
        reads,
        rate: verify.rate,
        uncached,
    })
}

fn vantages(
    verify: &Verify,
    config: &ProviderConfig,
    target: &Target,
    known: &KnownAddresses,
) -> Result<Vec<EdgeVantage>, String> {
    let own = of_url(target);
    let vantages: Vec<EdgeVantage> = match &verify.vantage {
        Vantage::Usual if config.has_caches() => {
            let without_path = config.endpoints.iter().filter(|endpoint| endpoint.path_prefix.is_empty());
            without_path.map(|endpoint| at_cache(endpoint, &own)).collect()
        }
        Vantage::Usual => vec![EdgeVantage { endpoint: own, route: Route::ByProxy }],
        Vantage::All => addresses(known, &own.host)?.map(|address| at_address(&own, own.port, address)).collect(),
        Vantage::At(places) => {
            let mut all = Vec::new();
            for place in places {
                let port = place.port.or(own.port);
                match place.literal() {
                    Some(address) => all.push(at_address(&own, port, address)),
                    None => all.extend(addresses(known, &place.host)?.map(|address| at_address(&own, port, address))),
                }
            }
            all
        }
    };
    if vantages.is_empty() {
        return Err("each of its endpoints has a path, so that none can be read; give `vantage`".to_owned());
    }
    Ok(vantages)
}

fn addresses<'k>(known: &'k KnownAddresses, name: &str) -> Result<impl Iterator<Item = IpAddr> + 'k, String> {
    let found = known.get(name).filter(|found| !found.is_empty());
    let found = found.ok_or_else(|| format!("the name `{name}` has no address"))?;
    Ok(found.iter().copied().take(MOST_ADDRESSES))
}

/// Where the URL of a target leads by its name.
fn of_url(target: &Target) -> Endpoint {
    let tls = target.text.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"));
    let host = target.host().unwrap_or_default().to_ascii_lowercase();
    let port = target.authority().and_then(|authority| authority.get(host.len()..)?.strip_prefix(':')?.parse().ok());
    let port = port.filter(|port| *port != if tls { 443 } else { 80 });
    Endpoint { tls, host, port, path_prefix: String::new(), address: None }
}

/// At a cache that takes purges: as it is called, but with the host of the target for TLS.
fn at_cache(endpoint: &Endpoint, own: &Endpoint) -> EdgeVantage {
    let address = endpoint.address.or_else(|| endpoint.literal());
    let endpoint = match address {
        Some(address) if endpoint.tls => {
            let port = endpoint.port.or(Some(443)).filter(|port| *port != 443);
            Endpoint { tls: true, host: own.host.clone(), port, path_prefix: String::new(), address: Some(address) }
        }
        _ => endpoint.clone(),
    };
    EdgeVantage { endpoint, route: Route::Direct }
}

fn at_address(own: &Endpoint, port: Option<u16>, address: IpAddr) -> EdgeVantage {
    let default = if own.tls { 443 } else { 80 };
    let port = port.filter(|port| *port != default);
    EdgeVantage { endpoint: Endpoint { port, address: Some(address), ..own.clone() }, route: Route::Direct }
}
