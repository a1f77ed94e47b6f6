//! Which requests are answered: methods, Host, token; and the headers that keep browsers from doing more than showing the page.
//!
//! Does not know what is answered.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::sync::watch;

use super::{Arrival, Served};

/// Largest token, in bytes.
pub const MOST_TOKEN_BYTES: usize = 4096;
/// Shortest token, in bytes: shorter ones can be guessed.
const LEAST_TOKEN_BYTES: usize = 16;

/// Sent with every answer.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
         frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// What a reader has to know. Only its digest is kept; comparing digests takes the same time wherever they differ.
pub struct Token(blake3::Hash);

impl Token {
    /// The content of a token file; a line break at its end does not count.
    ///
    /// # Errors
    /// Why it cannot be a token.
    pub fn of(content: &[u8]) -> Result<Self, &'static str> {
        let token = content.trim_ascii();
        if token.len() < LEAST_TOKEN_BYTES {
            return Err(
                "holds fewer than 16 characters: write something like the output of `openssl rand -hex 32` into it",
            );
        }
        if !token.iter().all(u8::is_ascii_graphic) {
            return Err("holds blanks, control characters or others that no header carries: use letters and digits");
        }
        Ok(Self(blake3::hash(token)))
    }

    /// Whether a request has it: as a bearer's token, or as the password of any user, which browsers ask for.
    fn is_in(&self, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (given.next(), given.next()) else { return false };
        let Some((scheme, rest)) = value.to_str().ok().and_then(|value| value.split_once(' ')) else { return false };
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return blake3::hash(rest.as_bytes()) == self.0;
        }
        let decoded = scheme.eq_ignore_ascii_case("basic").then(|| BASE64_STANDARD.decode(rest).ok()).flatten();
        let pair = decoded.as_deref().unwrap_or_default();
        let password = pair.iter().position(|&byte| byte == b':').map(|colon| &pair[colon + 1..]);
        password.is_some_and(|password| blake3::hash(password) == self.0)
    }
}

/// How much a request gets to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    /// Everything.
    ToAll,
    /// Whether the program is alive and ready, and nothing else.
    ToLittle,
}

/// Which requests are answered.
pub(super) struct AccessGuard {
    token: Option<watch::Receiver<Token>>,
    /// Names in lower case and addresses without brackets.
    hosts: Vec<String>,
}

impl AccessGuard {
    pub(super) fn new(token: Option<watch::Receiver<Token>>, hosts: Vec<String>) -> Self {
        let given = hosts.into_iter().map(|host| host.to_ascii_lowercase());
        Self { token, hosts: given.chain(["localhost".to_owned()]).collect() }
    }

    /// H2: a page of somebody else whose name was made to mean our address still sends its own name.
    fn is_meant(&self, headers: &HeaderMap, uri: &Uri, reached: IpAddr) -> bool {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        let knows = |host: &str| self.knows(host, reached);
        host.to_str().is_ok_and(knows) && uri.authority().is_none_or(|authority| knows(authority.as_str()))
    }

    fn knows(&self, host: &str, reached: IpAddr) -> bool {
        let name = without_port(host).to_ascii_lowercase();
        match name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) => address == reached.to_canonical() || self.hosts.contains(&address.to_string()),
            Err(_) => self.hosts.contains(&name),
        }
    }

    /// How much a request for `path` gets to see; `None` if nothing.
    fn admits(&self, headers: &HeaderMap, path: &str) -> Option<Admitted> {
        match &self.token {
            None => Some(Admitted::ToAll),
            Some(token) if token.borrow().is_in(headers) => Some(Admitted::ToAll),
            // Probes that look whether a service lives have no tokens, and learn no more than that.
            Some(_) if ["/healthz", "/readyz"].contains(&path) => Some(Admitted::ToLittle),
            Some(_) => None,
        }
    }
}

/// The host of a Host header; an address with colons stands in brackets there.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit()) && (name.ends_with(']') || !name.contains(':')) =>
        {
            name
        }
        _ => host,
    }
}

/// Lets a request through, or says why not.
pub(super) async fn check(State(served): State<Arc<Served>>, mut request: Request, next: Next) -> Response {
    let guard = &served.guard;
    let reached = request.extensions().get::<Arrival>().map(|arrival| arrival.at.ip());
    let is_meant = reached.is_some_and(|reached| guard.is_meant(request.headers(), request.uri(), reached));
    let admitted = guard.admits(request.headers(), request.uri().path());
    let mut response = if !is_meant {
        let text = "this name is not known here; start the watch with --listen-host for it\n";
        (StatusCode::MISDIRECTED_REQUEST, text).into_response()
    } else if ![Method::GET, Method::HEAD].contains(request.method()) {
        (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")], "there is nothing to do here\n")
            .into_response()
    } else if let Some(admitted) = admitted {
        request.extensions_mut().insert(admitted);
        next.run(request).await
    } else {
        let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"freshen: any name, the token as password\"")];
        (StatusCode::UNAUTHORIZED, ask, "send the token\n").into_response()
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(HeaderName, &str)]) -> HeaderMap {
        let pairs = list.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).expect("a value")));
        pairs.collect()
    }

    /// H2
    #[test]
    fn only_listed_names_and_the_reached_address_are_ours() {
        let guard = AccessGuard::new(None, ["Watch.Example", "::1", "10.0.0.9"].map(str::to_owned).to_vec());
        let knows = |host: &str, reached: &str| guard.knows(host, reached.parse().expect("an address"));
        for host in
            ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:9464", "watch.example:80", "[::1]:1", "10.0.0.9"]
        {
            assert!(knows(host, "127.0.0.1"), "{host}");
        }
        assert!(knows("[::1]:9464", "::1") && knows("[::1]", "::1") && knows("10.0.0.7:1", "::ffff:10.0.0.7"));
        for host in
            ["", ":80", "evil.example", "localhost.evil.example", "127.0.0.2", "127.0.0.1.evil.example", "::1:9464"]
        {
            assert!(!knows(host, "127.0.0.1"), "{host}");
        }
    }

    /// H2: two names, or another one in the request's line, are no way around.
    #[test]
    fn every_name_of_a_request_has_to_be_ours() {
        let guard = AccessGuard::new(None, Vec::new());
        let meant = |hosts: &[&str], uri: &str| {
            let mut map = HeaderMap::new();
            for host in hosts {
                map.append(header::HOST, HeaderValue::from_str(host).expect("a value"));
            }
            guard.is_meant(&map, &uri.parse().expect("a URI"), "127.0.0.1".parse().expect("an address"))
        };
        assert!(meant(&["localhost"], "/") && meant(&["localhost"], "http://localhost/"));
        assert!(!meant(&[], "/") && !meant(&["localhost", "localhost"], "/"));
        assert!(!meant(&["localhost"], "http://evil.example/") && !meant(&["evil.example"], "http://localhost/"));
    }

    /// H1
    #[test]
    fn the_token_is_taken_as_bearer_or_password() {
        let token = Token::of(b"0123456789abcdef\n").expect("a token");
        let basic = |pair: &str| format!("Basic {}", BASE64_STANDARD.encode(pair));
        for good in [
            "Bearer 0123456789abcdef",
            "bearer  0123456789abcdef",
            &basic("x:0123456789abcdef"),
            &basic(":0123456789abcdef"),
        ] {
            assert!(token.is_in(&headers(&[(header::AUTHORIZATION, good)])), "{good}");
        }
        let bad = [
            "",
            "Bearer",
            "Bearer ",
            "Bearer 0123456789abcdeF",
            "0123456789abcdef",
            "Digest 0123456789abcdef",
            "Basic 0123456789abcdef",
            &basic("0123456789abcdef"),
            &basic("0123456789abcdef:"),
        ];
        for bad in bad {
            assert!(!token.is_in(&headers(&[(header::AUTHORIZATION, bad)])), "{bad}");
        }
        let twice = headers(&[(header::AUTHORIZATION, "Bearer x")]);
        assert!(!token.is_in(&twice) && !token.is_in(&HeaderMap::new()));
    }

    #[test]
    fn what_can_be_guessed_or_not_be_sent_is_no_token() {
        for bad in [&b""[..], b"\n", b"0123456789abcde\n", b"0123456789abcdef 0", b"0123456789abcdef\n0", &[200; 20]] {
            assert!(Token::of(bad).is_err(), "{bad:?}");
        }
    }
}
