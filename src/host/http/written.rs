//! Requests as they are written: what the HTTP library would rewrite is refused.

use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue, USER_AGENT};
use url::{Position, Url};

use super::failure::not_connected;
use crate::core::http::{Request, TransportFailure};

/// The request for the HTTP library.
///
/// # Errors
/// What would not be sent as it is written.
pub(super) fn to_reqwest(request: Request) -> Result<reqwest::Request, TransportFailure> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::http::{Endpoint, Route, TransportFailureKind};

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
