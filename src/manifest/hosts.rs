//! Host names and addresses as manifests write them: ASCII, lower case, one spelling.
//!
//! Looks nothing up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::node::shown;

/// Why a text is refused, and what to do. Neither part repeats a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostRefusal {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl HostRefusal {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Checks a host: a name, an IPv4 address with four parts, or an IPv6 address in brackets.
pub(crate) fn check_host(host: &str) -> Result<(), HostRefusal> {
    if host.is_empty() {
        return Err(HostRefusal::new("the host is missing"));
    }
    if host.starts_with('[') {
        return check_ipv6(host);
    }
    if !host.is_ascii() {
        return Err(non_ascii(host));
    }
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        let lower = host.to_ascii_lowercase();
        return Err(HostRefusal::new(format!("host `{}` has upper-case letters", shown(host)))
            .help(format!("write `{}`; caches may tell the two apart", shown(&lower))));
    }
    if let Some(bad) = host.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '-' | '_')) {
        return Err(HostRefusal::new(format!("`{}` cannot stand in a host", shown(&bad.to_string()))));
    }
    if let Some(bare) = host.strip_suffix('.') {
        return Err(
            HostRefusal::new(format!("host `{}` ends in a dot", shown(host))).help(format!("write `{}`", shown(bare)))
        );
    }
    if is_numeric(host) {
        return check_ipv4(host);
    }
    check_labels(host)
}

/// Whether a URL parser would read the host as an IPv4 address: its last part is a number.
fn is_numeric(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or(host);
    let hex = last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    hex || (!last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()))
}

fn check_ipv4(host: &str) -> Result<(), HostRefusal> {
    if host.parse::<Ipv4Addr>().is_ok_and(|address| address.to_string() == host) {
        return Ok(());
    }
    let refusal = HostRefusal::new(format!("`{}` is an odd spelling of an address", shown(host)));
    Err(match url::Host::parse(host) {
        Ok(url::Host::Ipv4(address)) => refusal.help(format!("write `{address}`")),
        _ => refusal.help("write four decimal numbers with dots"),
    })
}

/// The one spelling of an address that is written in another one.
pub(crate) fn respelled_address(host: &str) -> Option<String> {
    let address = match url::Host::parse(host).ok()? {
        url::Host::Domain(_) => return None,
        address => address.to_string(),
    };
    (address != host).then_some(address)
}

/// The one spelling is that of URL parsers, `::ffff:102:304` rather than `::ffff:1.2.3.4`.
fn check_ipv6(host: &str) -> Result<(), HostRefusal> {
    let Ok(address) = url::Host::parse(host) else {
        return Err(HostRefusal::new(format!("`{}` is not an address", shown(host))));
    };
    if address.to_string() == host {
        return Ok(());
    }
    Err(HostRefusal::new(format!("`{}` is an odd spelling of an address", shown(host)))
        .help(format!("write `{address}`")))
}

fn check_labels(host: &str) -> Result<(), HostRefusal> {
    let name = shown(host);
    if host.len() > 253 {
        return Err(HostRefusal::new(format!("the host has {} bytes, more than 253", host.len())));
    }
    for label in host.split('.') {
        if label.is_empty() {
            return Err(HostRefusal::new(format!("host `{name}` has an empty part")));
        }
        if label.len() > 63 {
            return Err(HostRefusal::new(format!("host `{name}` has a part of {} bytes, more than 63", label.len())));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(HostRefusal::new(format!("host `{name}` has a part that begins or ends with `-`")));
        }
    }
    // Only names in punycode need the tables of a parser.
    if host.split('.').any(|label| label.starts_with("xn--")) && url::Host::parse(host).is_err() {
        return Err(HostRefusal::new(format!("host `{name}` is not valid punycode"))
            .help("copy the `xn--` form from the registrar"));
    }
    Ok(())
}

fn non_ascii(host: &str) -> HostRefusal {
    let refusal = HostRefusal::new(format!("host `{}` is not written in ASCII", shown(host)));
    match url::Host::parse(host) {
        Ok(url::Host::Domain(ascii)) => refusal.help(format!("write `{}`", shown(&ascii))),
        _ => refusal.help("it is no valid host in any form"),
    }
}

/// Checks a pattern of `hosts`: a host, or `*.` and the suffix of one.
pub(crate) fn check_pattern(pattern: &str) -> Result<(), HostRefusal> {
    if pattern.contains("://") {
        return Err(
            HostRefusal::new("a host, not a URL, is wanted here").help("write only the host, without scheme and path")
        );
    }
    let host = pattern.strip_prefix("*.").unwrap_or(pattern);
    if host.contains('*') {
        return Err(HostRefusal::new(format!("`{}`: `*` stands only at the beginning, as `*.`", shown(pattern)))
            .help("write `*.example.cn`; it covers every name below example.cn"));
    }
    if host.contains(['/', ':']) && !host.starts_with('[') {
        return Err(HostRefusal::new(format!("`{}` is more than a host", shown(pattern)))
            .help("write only the host; a port or path plays no part"));
    }
    check_host(host)
}

/// Why calls must not go to this host: link-local, metadata and other addresses that are no purge endpoint.
pub(crate) fn refused_endpoint_host(host: &str) -> Option<&'static str> {
    const METADATA_NAMES: &[&str] = &[
        "metadata",
        "metadata.google.internal",
        "metadata.tencentyun.com",
        "instance-data",
        "instance-data.ec2.internal",
    ];
    if METADATA_NAMES.contains(&host) {
        return Some("is a metadata service");
    }
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>().ok()?;
    match address {
        IpAddr::V4(v4) => refused_ipv4(v4),
        IpAddr::V6(v6) => refused_ipv6(v6),
    }
}

fn refused_ipv4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [169, 254, ..] => Some("is a link-local address, where metadata services live"),
        [100, 100, 100, 200] => Some("is a metadata service"),
        [0, ..] | [255, 255, 255, 255] => Some("is no address of a server"),
        _ if address.is_multicast() => Some("is no address of a server"),
        _ => None,
    }
}

fn refused_ipv6(address: Ipv6Addr) -> Option<&'static str> {
    let parts = address.segments();
    match parts {
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254] => Some("is a metadata service"),
        _ if parts[0] & 0xffc0 == 0xfe80 => Some("is a link-local address"),
        _ if address.is_unspecified() || address.is_multicast() => Some("is no address of a server"),
        // Forms that hold an IPv4 address: mapped, and translated by 64:ff9b::/96.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            refused_ipv4(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // U4, U5, U6
    #[test]
    fn hosts_have_one_spelling() {
        for good in
            ["a", "static.example.cn", "xn--fsqu00a.xn--0zwm56d", "127.0.0.1", "[::1]", "a_b.cn", "1a.cn", "localhost"]
        {
            assert_eq!(check_host(good), Ok(()), "{good}");
        }
        for (bad, message, help) in [
            ("", "the host is missing", ""),
            ("Static.cn", "host `Static.cn` has upper-case letters", "static.cn"),
            ("a.cn.", "host `a.cn.` ends in a dot", "write `a.cn`"),
            ("例子.测试", "host `例子.测试` is not written in ASCII", "write `xn--fsqu00a.xn--0zwm56d`"),
            ("pаypal.cn", "host `pаypal.cn` is not written in ASCII", "write `xn--"),
            ("xn--a-ecp.ru-.xn--a", "host `xn--a-ecp.ru-.xn--a` has a part that begins or ends with `-`", ""),
            ("xn--99999999999.cn", "host `xn--99999999999.cn` is not valid punycode", "xn--"),
            ("127.1", "`127.1` is an odd spelling of an address", "write `127.0.0.1`"),
            ("0x7f000001", "`0x7f000001` is an odd spelling of an address", "write `127.0.0.1`"),
            ("2130706433", "`2130706433` is an odd spelling of an address", "write `127.0.0.1`"),
            ("0177.0.0.1", "`0177.0.0.1` is an odd spelling of an address", "write `127.0.0.1`"),
            ("256.1.1.1", "`256.1.1.1` is an odd spelling of an address", "four decimal numbers"),
            ("[0:0:0:0:0:0:0:1]", "`[0:0:0:0:0:0:0:1]` is an odd spelling of an address", "[::1]"),
            ("[::ffff:1.2.3.4]", "`[::ffff:1.2.3.4]` is an odd spelling of an address", "[::ffff:102:304]"),
            ("[::1", "`[::1` is not an address", ""),
            ("a..b", "host `a..b` has an empty part", ""),
            ("a b", "` ` cannot stand in a host", ""),
            ("a%2e", "`%` cannot stand in a host", ""),
        ] {
            let refusal = check_host(bad).unwrap_err();
            assert_eq!(refusal.message, message);
            assert!(refusal.help.as_deref().unwrap_or_default().contains(help), "{refusal:?}");
        }
        assert!(check_host(&"a".repeat(64)).is_err() && check_host(&"a.".repeat(127)).is_err());
    }

    #[test]
    fn patterns_are_hosts_or_suffixes() {
        assert!(check_pattern("*.img.example.cn").is_ok() && check_pattern("a.cn").is_ok());
        for bad in ["*", "*.", "a.*.cn", "*a.cn", "https://a.cn", "a.cn/x", "a.cn:80", "*.A.cn", "*.127.1"] {
            assert!(check_pattern(bad).is_err(), "{bad}");
        }
    }

    // U6
    #[test]
    fn metadata_and_link_local_addresses_are_no_endpoints() {
        for bad in [
            "169.254.169.254",
            "169.254.0.23",
            "100.100.100.200",
            "[fe80::1]",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "[fd00:ec2::254]",
            "0.0.0.0",
            "[::]",
            "metadata.google.internal",
            "metadata.tencentyun.com",
        ] {
            assert!(refused_endpoint_host(bad).is_some(), "{bad}");
        }
        for good in ["127.0.0.1", "10.0.0.1", "[::1]", "cdn.tencentcloudapi.com", "[fd00::1]"] {
            assert_eq!(refused_endpoint_host(good), None, "{good}");
        }
    }
}
