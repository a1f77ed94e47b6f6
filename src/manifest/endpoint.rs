//! Endpoints and origins: where calls and probes go. They come from configuration only, never from the URLs of assets.

use super::hosts::{HostRefusal, refused_endpoint_host};
use super::node::shown;
use super::variables::NOT_REPLACED;
use super::{secrets, spelling, url};
use crate::core::http::Endpoint;

/// Reads an endpoint. Plain http goes to this machine only, unless `allow_insecure`.
pub(crate) fn parse(text: &str, allow_insecure: bool) -> Result<Endpoint, HostRefusal> {
    let endpoint = read(text, "endpoint", "write the endpoint of the provider")?;
    if !endpoint.tls && !endpoint.is_loopback() && !allow_insecure {
        return Err(HostRefusal::new(format!("plain http to `{}`, another machine", endpoint.host)).help(
            "write https, or add `allow_insecure_endpoint: true` if everyone on the way may read and change the calls",
        ));
    }
    Ok(endpoint)
}

/// Reads the URL of an origin. Plain http is fine, as caches speak it as well.
pub(crate) fn origin(text: &str) -> Result<Endpoint, HostRefusal> {
    read(text, "origin", "write the URL of a server that caches fetch from")
}

/// Reads what messages call `noun`; `refused` says what to write in place of a host that is none.
fn read(text: &str, noun: &str, refused: &str) -> Result<Endpoint, HostRefusal> {
    if secrets::has_reference(text) {
        return Err(HostRefusal::new(NOT_REPLACED).help(format!("write the {noun} out")));
    }
    let parts = url::check(text)?;
    let path_prefix = parts.path_and_query.strip_suffix('/').unwrap_or(parts.path_and_query);
    if path_prefix.contains('?') {
        return Err(
            HostRefusal::new(format!("an {noun} with a query")).help("write scheme, host, port and, if needed, a path")
        );
    }
    if let Some((spelled, reason)) = spelling::respelled(path_prefix).filter(|_| !path_prefix.is_empty()) {
        return Err(HostRefusal::new(format!("an {noun}'s path in an odd spelling: {reason}"))
            .help(format!("write `{}`", shown(&spelled))));
    }
    if let Some(reason) = refused_endpoint_host(parts.host) {
        return Err(HostRefusal::new(format!("`{}` {reason}", parts.host)).help(refused));
    }
    let default = if parts.tls { 443 } else { 80 };
    Ok(Endpoint {
        tls: parts.tls,
        host: parts.host.to_owned(),
        port: parts.port.filter(|port| *port != default),
        path_prefix: path_prefix.to_owned(),
        address: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_cut_into_scheme_host_port_and_prefix() {
        for (text, shown, prefix) in [
            ("https://cdn.tencentcloudapi.com", "https://cdn.tencentcloudapi.com", ""),
            ("https://a.cn:443/", "https://a.cn", ""),
            ("http://127.0.0.1:6081", "http://127.0.0.1:6081", ""),
            ("http://[::1]:8080/p/q/", "http://[::1]:8080/p/q", "/p/q"),
        ] {
            let endpoint = parse(text, false).unwrap();
            assert_eq!((endpoint.to_string().as_str(), endpoint.path_prefix.as_str()), (shown, prefix));
        }
    }

    // U6, R22, Y6
    #[test]
    fn endpoints_that_leak_or_mislead_are_refused() {
        for bad in [
            "http://10.0.0.1:6081",
            "http://cache.example.cn",
            "https://169.254.169.254/",
            "http://127.1:6081",
            "http://0x7f000001/",
            "https://u:p@a.cn/",
            "https://a.cn/?x",
            "https://a.cn/#x",
            "https://a.cn/a b",
            "https://a.cn/../b",
            "https://${HOST}/",
            "ftp://a.cn",
            "a.cn",
            "https://2852039166/",
        ] {
            assert!(parse(bad, false).is_err(), "{bad}");
        }
        assert!(parse("http://10.0.0.1:6081", true).is_ok() && parse("http://169.254.1.1", true).is_err());
    }
}
