//! Plain request and response values. Nothing here sends anything.

use std::fmt;
use std::net::IpAddr;

/// Where requests of a provider go: scheme, host, port and an optional path prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// `true` for https.
    pub tls: bool,
    /// Host name or address, IPv6 in brackets, lower case.
    pub host: String,
    /// Port if it is not the default one of the scheme.
    pub port: Option<u16>,
    /// Path that is put before every request path; empty or `/like/this`.
    pub path_prefix: String,
    /// The one of the host's addresses to connect to; `None`: any of them.
    pub address: Option<IpAddr>,
}

impl Endpoint {
    /// Value of the Host header and of what is signed: the port only if it is not the default.
    pub fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    /// Whether requests stay on this machine.
    pub fn is_loopback(&self) -> bool {
        let host = self.host.trim_matches(['[', ']']);
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// The address that the host is written as, if it is no name.
    pub fn literal(&self) -> Option<IpAddr> {
        self.host.trim_matches(['[', ']']).parse().ok()
    }

    /// Whether `text` is the text of this endpoint, or of one of its addresses.
    pub fn is_named_by(&self, text: &str) -> bool {
        let rest = text.strip_prefix(&self.to_string());
        rest.is_some_and(|rest| {
            let address = rest.strip_prefix(AT).filter(|_| self.address.is_none());
            rest.is_empty() || address.is_some_and(|address| address.parse::<IpAddr>().is_ok())
        })
    }
}

/// What stands between an endpoint and its address.
pub(super) const AT: &str = " at ";

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path_prefix)?;
        self.address.map_or(Ok(()), |address| write!(f, "{AT}{address}"))
    }
}

/// How a request may get to its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Route {
    /// By no proxy, whatever the environment names: one that puts the endpoint's name in place of `Host` would have another
    /// URL purged.
    Direct,
    /// By a proxy that the environment names, if any. Without TLS, `Host` has to be the endpoint's own authority.
    ByProxy,
}

/// One request, complete: what is here is sent byte for byte.
///
/// Headers may hold credentials and signatures, so `Debug` shows none of their values and no body.
#[derive(Clone)]
pub struct Request {
    /// `GET`, `POST`, `PURGE`, ...
    pub method: String,
    /// Where to connect to.
    pub endpoint: Endpoint,
    /// How to get there.
    pub route: Route,
    /// Path with query as in the request line, the endpoint's prefix included.
    pub path_and_query: String,
    /// Headers in order, `Host` included.
    pub headers: Vec<(String, String)>,
    /// The body that was signed; empty for none.
    pub body: Vec<u8>,
}

impl Request {
    /// First value of a header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find_header(&self.headers, name)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("endpoint", &self.endpoint.to_string())
            .field("headers", &names)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// One answer, its body whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Headers in order.
    pub headers: Vec<(String, String)>,
    /// Body after content decoding, capped by the sender.
    pub body: Vec<u8>,
}

impl Response {
    /// First value of a header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find_header(&self.headers, name)
    }
}

fn find_header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// Why no answer arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportFailure {
    /// What happened.
    pub kind: TransportFailureKind,
    /// Cause in words, without URL, headers or body.
    pub message: String,
}

/// Kinds of transport failure, sorted by what happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportFailureKind {
    /// No connection: refused, unreachable, name not found. The request did not leave; repeat later.
    NotConnected,
    /// The certificate was not accepted. Repeating is useless until it is mended.
    Tls,
    /// Time ran out, the connection broke, or the answer was cut or too large after the request may have left.
    Unknown,
}

impl TransportFailureKind {
    /// One word for records that programs read.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotConnected => "not_connected",
            Self::Tls => "tls",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_recognised() {
        let at = |host: &str| Endpoint {
            tls: false,
            host: host.into(),
            port: None,
            path_prefix: String::new(),
            address: None,
        };
        assert!(at("127.0.0.1").is_loopback() && at("127.9.9.9").is_loopback());
        assert!(at("[::1]").is_loopback() && at("localhost").is_loopback());
        assert!(!at("10.0.0.1").is_loopback() && !at("localhost.example.com").is_loopback());
    }

    #[test]
    fn debug_shows_no_header_value() {
        let endpoint =
            Endpoint { tls: true, host: "a.example".into(), port: Some(8), path_prefix: "/p".into(), address: None };
        assert_eq!(endpoint.to_string(), "https://a.example:8/p");
        let request = Request {
            method: "POST".into(),
            endpoint,
            route: Route::Direct,
            path_and_query: "/?Signature=canary".into(),
            headers: vec![("Authorization".into(), "canary".into())],
            body: b"canary".to_vec(),
        };
        assert!(!format!("{request:?}").contains("canary"));
    }
}
