//! Sends one request over HTTP/1.1 and reads one answer: byte for byte, bounded in time and size, once.
//!
//! Does not know vendors, signatures or retries. Redirects are answers like any other; nothing is followed, kept or
//! decoded. Proxies serve endpoints beyond this machine only, and only requests that may go by one.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue, USER_AGENT};
use reqwest::{Client, Method};
use url::{Position, Url};

use self::failure::{from_reqwest, not_connected, unknown};
use super::{BoxFuture, Env, Http, Timeouts};
use crate::core::http::{Request, Response, Route, TransportFailure, TransportFailureKind};

mod failure;
mod proxy;

/// Most bytes of a body that are read.
const MOST_BODY_BYTES: usize = 4 * 1024 * 1024;

/// Most clients that are kept, with their idle connections.
const MOST_CLIENTS: usize = 256;

/// How long an unused connection is kept. Below the 5 seconds after which common caches close theirs: a request on a
/// connection that is being closed would end as unknown.
const IDLE: Duration = Duration::from_secs(4);

/// Sends requests over the network. Connections are reused; certificates are checked against the system's roots.
pub struct HttpClient {
    proxies: Result<Vec<reqwest::Proxy>, String>,
    /// Made when first needed: reading the system's roots takes longer than a run that has nothing to do.
    clients: Mutex<HashMap<ClientKey, Client>>,
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

impl HttpClient {
    /// A client with the proxies that the environment names. Unusable ones are reported by the first request that
    /// would need them.
    pub fn new(env: &dyn Env) -> Self {
        // An earlier provider stays, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { proxies: proxy::from_env(env), clients: Mutex::default() }
    }

    fn client(&self, request: &Request, connect_ms: u64) -> Result<Client, TransportFailure> {
        let may_be_proxied = request.route == Route::ByProxy && !request.endpoint.is_loopback();
        let proxies = match &self.proxies {
            _ if !may_be_proxied => &[],
            Ok(proxies) => proxies.as_slice(),
            Err(problem) => return Err(not_connected(problem.clone())),
        };
        // Plain requests to a cache on this machine must work where no roots are installed.
        let roots = request.endpoint.tls || !proxies.is_empty();
        let pinned = request.endpoint.address.map(|address| (request.endpoint.host.clone(), address));
        let key = ClientKey { proxied: !proxies.is_empty(), roots, connect_ms, pinned };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        // Addresses come and go while a program stays up.
        if clients.len() >= MOST_CLIENTS {
            clients.clear();
        }
        let client = build(&key, proxies).map_err(|error| TransportFailure {
            kind: TransportFailureKind::Tls,
            message: format!("TLS cannot be set up: {}", failure::innermost(error)),
        })?;
        clients.insert(key, client.clone());
        Ok(client)
    }

    async fn exchange(&self, request: Request, timeouts: Timeouts) -> Result<Response, TransportFailure> {
        let client = self.client(&request, timeouts.connect_ms)?;
        let passes_proxies_by = request.route == Route::Direct && !request.endpoint.is_loopback() && self.has_proxies();
        let head = client.execute(to_reqwest(request)?);
        let answer = tokio::time::timeout(Duration::from_millis(timeouts.first_byte_ms), head)
            .await
            .map_err(|_| unknown(format!("no answer within {} ms", timeouts.first_byte_ms)))?
            .map_err(from_reqwest)
            .map_err(|failure| if passes_proxies_by { without_proxy(failure) } else { failure })?;
        read(answer).await
    }

    fn has_proxies(&self) -> bool {
        self.proxies.as_ref().map_or(true, |proxies| !proxies.is_empty())
    }
}

impl Http for HttpClient {
    fn send(&self, request: Request, timeouts: Timeouts) -> BoxFuture<'_, Result<Response, TransportFailure>> {
        Box::pin(async move {
            tokio::time::timeout(Duration::from_millis(timeouts.total_ms), self.exchange(request, timeouts))
                .await
                .unwrap_or_else(|_| Err(unknown(format!("no whole answer within {} ms", timeouts.total_ms))))
        })
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

/// A user with a proxy for everything wonders why it was not used.
fn without_proxy(mut failure: TransportFailure) -> TransportFailure {
    if failure.kind == TransportFailureKind::NotConnected {
        failure.message +=
            " (purges to caches pass the proxy of the environment by, see the option `proxy` of `http-purge`)";
    }
    failure
}

fn to_reqwest(request: Request) -> Result<reqwest::Request, TransportFailure> {
    let url = as_written(&request)?;
    let method = Method::from_bytes(request.method.as_bytes())
        .map_err(|_| not_connected("the method is not a token of HTTP".to_owned()))?;
    let mut built = reqwest::Request::new(method, url);
    let headers = built.headers_mut();
    for (name, value) in &request.headers {
        let bad = |what| not_connected(format!("the {what} of a header cannot be sent as written"));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("name"))?;
        let mut value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| bad("value"))?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    if !headers.contains_key(USER_AGENT) {
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("freshen/", env!("CARGO_PKG_VERSION"))));
    }
    if !request.body.is_empty() {
        *built.body_mut() = Some(request.body.into());
    }
    Ok(built)
}

/// The URL of a request, if parsing changes neither host nor path: caches and signatures compare bytes.
fn as_written(request: &Request) -> Result<Url, TransportFailure> {
    let endpoint = &request.endpoint;
    let scheme = if endpoint.tls { "https" } else { "http" };
    let text = format!("{scheme}://{}{}", endpoint.authority(), request.path_and_query);
    let changed = |what: &str| not_connected(format!("the {what} cannot be sent as written"));
    let url = Url::parse(&text).map_err(|_| changed("URL"))?;
    if &url[Position::BeforePath..Position::AfterQuery] != request.path_and_query.as_str() {
        return Err(changed("path"));
    }
    if url[Position::BeforeHost..Position::AfterHost] != endpoint.host {
        return Err(changed("host"));
    }
    Ok(url)
}

async fn read(mut answer: reqwest::Response) -> Result<Response, TransportFailure> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let status = answer.status().as_u16();
    let headers = answer.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(from_reqwest)? {
        if body.len() + chunk.len() > MOST_BODY_BYTES {
            return Err(unknown("answer larger than 4 MiB".to_owned()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Response { status, headers, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::http::Endpoint;

    fn request(host: &str, path: &str) -> Request {
        Request {
            method: "PURGE".into(),
            endpoint: Endpoint {
                tls: false,
                host: host.into(),
                port: Some(8080),
                path_prefix: String::new(),
                address: None,
            },
            route: Route::Direct,
            path_and_query: path.into(),
            headers: vec![("Host".into(), "a.example".into())],
            body: Vec::new(),
        }
    }

    // U4: what would be rewritten is refused, never rewritten.
    #[test]
    fn path_that_parsing_would_change_is_refused() {
        for path in
            ["/a/../b", "/./a", "/%2e%2e/a", "/a b", "/ä", "/a\\b", "/a\tb", "/a\nb", "/a#b", "/?q='x'", "a", ""]
        {
            let failure = as_written(&request("127.0.0.1", path)).expect_err(path);
            assert_eq!(failure.kind, TransportFailureKind::NotConnected, "{path}");
            assert!(failure.message.contains("as written"), "{path}");
        }
        for path in ["/", "/a%2Fb/+~*%20?q=1&r=%E4%BD%A0", "//a", "/a?", "/%66", "/a;b=(c)!$&',:@|"] {
            assert!(as_written(&request("127.0.0.1", path)).is_ok(), "{path}");
        }
    }

    // U6: a spelling that the parser reads as another address would slip past the loopback check.
    #[test]
    fn host_that_parsing_would_change_is_refused() {
        for host in ["127.1", "0x7f000001", "A.example", "a@b.example", "a.example/x", "ä.example", ""] {
            let failure = as_written(&request(host, "/")).expect_err(host);
            assert!(failure.message.ends_with("cannot be sent as written"), "{host}");
        }
        assert!(as_written(&request("[::1]", "/")).is_ok());
    }

    // X1, U8: the refusal does not repeat what was refused.
    #[test]
    fn header_with_a_line_break_is_refused_without_its_value() {
        let mut request = request("127.0.0.1", "/");
        request.headers.push(("X-Token".into(), "canary\r\nX-Other: 1".into()));
        let failure = to_reqwest(request).expect_err("refused");
        assert_eq!(failure.message, "the value of a header cannot be sent as written");
    }

    #[test]
    fn user_agent_of_the_request_wins() {
        let plain = to_reqwest(request("127.0.0.1", "/")).expect("valid");
        assert_eq!(plain.headers()[USER_AGENT], concat!("freshen/", env!("CARGO_PKG_VERSION")));
        let mut named = request("127.0.0.1", "/");
        named.headers.push(("user-agent".into(), "probe".into()));
        let named = to_reqwest(named).expect("valid");
        assert_eq!(named.headers().get_all(USER_AGENT).iter().collect::<Vec<_>>(), ["probe"]);
    }
}
