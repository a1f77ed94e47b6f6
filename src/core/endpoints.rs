//! Where calls of a provider go: what the manifest names, and the addresses that a run found for it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;

use super::http::{AT, Endpoint};
use super::time::Timestamp;

/// What looking a host up came to: its addresses, or why there are none.
pub type Addresses = Result<Vec<IpAddr>, String>;

/// A cache of a provider: an endpoint that is one, or an address that the name of an endpoint has, or had.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CacheAddress {
    /// By what the state knows the provider.
    pub provider: String,
    /// The endpoint as the manifest names it.
    pub endpoint: String,
    /// The name of its host.
    pub host: String,
    /// The address; `None`: the endpoint is one cache.
    pub address: Option<IpAddr>,
}

impl fmt::Display for CacheAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.endpoint)?;
        self.address.map_or(Ok(()), |address| write!(f, "{AT}{address}"))
    }
}

/// What a run found of the caches of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundCaches {
    /// By what the state knows the provider.
    pub provider: String,
    /// Its endpoints that are caches, as the manifest names them; `None`: some are enough, and none has to take all that is
    /// recorded.
    pub endpoints: Option<Vec<String>>,
    /// All caches that were found.
    pub addresses: Vec<CacheAddress>,
}

/// A cache that its name does not have any more, or whose endpoint is not configured any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwayCache {
    /// Which one.
    pub cache: CacheAddress,
    /// What was recorded since, it has not purged.
    pub since: Timestamp,
}

/// A cache that was away when something was recorded, and is there again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnedCache {
    /// Which one, and what it lacks.
    pub away: AwayCache,
    /// Endpoints beside it that are one cache each: they have purged it.
    pub others: Vec<String>,
}

/// The endpoints of a provider, in order. As a slice they are those of this run: once names were looked up, one for each address,
/// and the name itself where it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    configured: Vec<Endpoint>,
    called: Vec<Endpoint>,
    /// All that names were found to have, also those of one cache.
    found: Vec<Endpoint>,
    /// Why endpoints cannot be called, by index.
    problems: BTreeMap<usize, String>,
}

impl Endpoints {
    /// Those that the manifest names.
    pub fn configured(&self) -> &[Endpoint] {
        &self.configured
    }

    /// Names of hosts that may have several addresses. What answers at `localhost` is one machine.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.configured.iter().filter(|endpoint| has_addresses(endpoint)).map(|endpoint| endpoint.host.as_str())
    }

    /// Endpoints whose names were found to have addresses, one for each of these.
    pub fn found(&self) -> &[Endpoint] {
        &self.found
    }

    /// Those whose names were not looked up.
    pub fn unlocated(&self) -> impl Iterator<Item = &Endpoint> {
        let open = |(index, endpoint): &(usize, &Endpoint)| {
            endpoint.address.is_none() && has_addresses(endpoint) && !self.problems.contains_key(index)
        };
        self.called.iter().enumerate().filter(open).map(|(_, endpoint)| endpoint)
    }

    /// Takes in what looking up the names came to: from now on each address is an endpoint.
    pub fn locate(&mut self, found: &BTreeMap<String, Addresses>) {
        self.forget_addresses();
        self.called.clear();
        for endpoint in &self.configured {
            let addresses = match found.get(&endpoint.host).filter(|_| has_addresses(endpoint)) {
                None => vec![endpoint.clone()],
                Some(Ok(addresses)) if !addresses.is_empty() => each_of(endpoint, addresses),
                Some(none) => {
                    let why = none.as_ref().err().map_or("its name has none", String::as_str);
                    self.problems.insert(self.called.len(), format!("no address for {endpoint}: {why}"));
                    vec![endpoint.clone()]
                }
            };
            for one in addresses {
                self.found.extend(one.address.is_some().then(|| one.clone()));
                if !self.called.iter().any(|known| is_same_cache(known, &one)) {
                    self.called.push(one);
                }
            }
        }
    }

    /// Goes back to what the manifest names.
    pub fn forget_addresses(&mut self) {
        self.called.clone_from(&self.configured);
        self.found.clear();
        self.problems.clear();
    }

    /// Why the endpoint with this index cannot be called, if that is known.
    pub fn problem(&self, index: usize) -> Option<&str> {
        self.problems.get(&index).map(String::as_str)
    }

    /// How many cannot be called.
    pub fn problems(&self) -> usize {
        self.problems.len()
    }

    /// Whether `text` names one of them, or an address of a name that has none of its own here.
    pub fn are_named_by(&self, text: &str) -> bool {
        self.called.iter().any(|endpoint| endpoint.is_named_by(text))
    }
}

/// Whether its host is a name; `localhost` and names below it are this machine, by either family.
pub(super) fn has_addresses(endpoint: &Endpoint) -> bool {
    endpoint.literal().is_none() && !endpoint.is_loopback() && !endpoint.host.ends_with(".localhost")
}

fn each_of(endpoint: &Endpoint, addresses: &[IpAddr]) -> Vec<Endpoint> {
    let mut addresses: Vec<IpAddr> = addresses.iter().map(IpAddr::to_canonical).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.into_iter().map(|address| Endpoint { address: Some(address), ..endpoint.clone() }).collect()
}

/// Whether two names lead to one cache, whose answer must not count twice. With TLS the name may tell caches apart.
fn is_same_cache(one: &Endpoint, other: &Endpoint) -> bool {
    let address = |endpoint: &Endpoint| endpoint.address.or_else(|| endpoint.literal());
    let is_one_place = (one.port, &one.path_prefix) == (other.port, &other.path_prefix);
    !one.tls && !other.tls && is_one_place && address(one).is_some() && address(one) == address(other)
}

impl From<Vec<Endpoint>> for Endpoints {
    fn from(configured: Vec<Endpoint>) -> Self {
        Self { called: configured.clone(), configured, ..Self::default() }
    }
}

impl FromIterator<Endpoint> for Endpoints {
    fn from_iter<I: IntoIterator<Item = Endpoint>>(endpoints: I) -> Self {
        endpoints.into_iter().collect::<Vec<_>>().into()
    }
}

impl Deref for Endpoints {
    type Target = [Endpoint];

    fn deref(&self) -> &[Endpoint] {
        &self.called
    }
}

impl<'a> IntoIterator for &'a Endpoints {
    type Item = &'a Endpoint;
    type IntoIter = std::slice::Iter<'a, Endpoint>;

    fn into_iter(self) -> Self::IntoIter {
        self.called.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tls: bool, host: &str, port: u16) -> Endpoint {
        Endpoint { tls, host: host.into(), port: Some(port), path_prefix: String::new(), address: None }
    }

    fn texts(configured: &[Endpoint], found: &[(&str, Result<&[&str], &str>)]) -> (Vec<String>, Endpoints) {
        let parsed = |list: &[&str]| list.iter().map(|text| text.parse().expect("an address")).collect();
        let found = found.iter().map(|(name, found)| ((*name).to_owned(), found.map(parsed).map_err(str::to_owned)));
        let mut endpoints = Endpoints::from(configured.to_vec());
        endpoints.locate(&found.collect());
        (endpoints.iter().map(ToString::to_string).collect(), endpoints)
    }

    #[test]
    fn each_address_is_an_endpoint_once_and_in_order() {
        let addresses = ["10.0.0.9", "fd00::1", "10.0.0.7", "::ffff:10.0.0.9"];
        let (texts, endpoints) = texts(&[at(false, "caches", 81)], &[("caches", Ok(&addresses))]);
        let expected = ["10.0.0.7", "10.0.0.9", "fd00::1"].map(|address| format!("http://caches:81 at {address}"));
        assert_eq!((texts.as_slice(), endpoints.problems(), endpoints.unlocated().count()), (&expected[..], 0, 0));
        assert_eq!(endpoints.configured(), [at(false, "caches", 81)]);
    }

    #[test]
    fn this_machine_and_addresses_are_one_cache_each() {
        let hosts = ["localhost", "a.localhost", "127.0.0.1", "10.0.0.1", "[fd00::1]"];
        let configured = hosts.map(|host| at(false, host, 81));
        assert_eq!(Endpoints::from(configured.to_vec()).names().count(), 0);
        let (texts, endpoints) = texts(&configured, &[("localhost", Ok(&["127.0.0.1", "::1"]))]);
        assert_eq!((texts, endpoints.problems()), (hosts.map(|host| format!("http://{host}:81")).to_vec(), 0));
    }

    #[test]
    fn a_name_without_an_address_is_a_problem_of_its_endpoint_and_no_cache_fewer() {
        let configured = ["a", "b", "c"].map(|host| at(false, host, 81));
        let (_, endpoints) = texts(&configured, &[("a", Err("why")), ("b", Ok(&["10.0.0.1"])), ("c", Ok(&[]))]);
        assert_eq!((endpoints.len(), endpoints.problems()), (3, 2));
        assert_eq!(endpoints.problem(0), Some("no address for http://a:81: why"));
        assert_eq!(endpoints.problem(1), None);
        assert_eq!(endpoints.problem(2), Some("no address for http://c:81: its name has none"));
    }

    /// An answer of one cache never counts for two.
    #[test]
    fn names_of_one_address_are_one_cache_unless_tls_tells_them_apart() {
        let one: &[&str] = &["10.0.0.1"];
        let found = [("a", Ok(one)), ("b", Ok(one))];
        let count = |configured: &[Endpoint]| texts(configured, &found).0.len();
        assert_eq!(count(&[at(false, "a", 81), at(false, "b", 81), at(false, "10.0.0.1", 81)]), 1);
        assert_eq!(count(&[at(false, "a", 81), at(false, "b", 82), at(true, "a", 81), at(true, "b", 81)]), 4);
    }

    #[test]
    fn a_text_names_an_endpoint_or_an_address_of_one_that_has_none_of_its_own() {
        let (_, mut endpoints) = texts(&[at(false, "caches", 81)], &[("caches", Ok(&["10.0.0.1"]))]);
        let named = [
            "http://caches:81",
            "http://caches:81 at 10.0.0.1",
            "http://caches:81 at 10.0.0.2",
            "http://caches:81 at x",
        ];
        assert_eq!(named.map(|text| endpoints.are_named_by(text)), [false, true, false, false]);
        endpoints.forget_addresses();
        assert_eq!(named.map(|text| endpoints.are_named_by(text)), [true, true, true, false]);
    }
}
