//! Self-hosted caches that take an HTTP method of their own, usually `PURGE`, for the path to be dropped.
//!
//! Does not know which cache it is: acceptance is a status, and there are no tasks.

use url::{Position, Url};

use crate::core::contract::ErrorClass::{Auth, Config, Fatal, TargetRefused, Unknown};
use crate::core::contract::{
    Account, Call, CallError, Capabilities, CredentialScheme, Credentials, Culprit, Operation, OptionShape,
    OptionValue, Options, Rate, Reply, Stamp,
};
use crate::core::http::{Endpoint, Request, Response, Route};
use crate::core::probe::varies_by;
use crate::core::provider::Provider;
use crate::core::target::{Scope, Target};
use crate::vendor::answer::{self, error, status_code};
use crate::vendor::request;

pub(crate) static ADAPTER: HttpPurge = HttpPurge;

/// The adapter.
pub(crate) struct HttpPurge;

static CAPABILITIES: Capabilities = Capabilities {
    kind: "http-purge",
    summary: "self-hosted caches that take PURGE requests: Varnish, nginx, Squid, Traffic Server",
    notice: None,
    default_endpoint: None,
    credentials: CredentialScheme::Headers,
    options: &[
        request::option("method", OptionShape::Text, false, "HTTP method that purges. Default: PURGE"),
        request::option(
            "headers",
            OptionShape::Headers,
            false,
            "headers to send with each purge; `${NAME}` stands for an environment variable, or `{scheme}` and `{host}` for those \
             of the URL",
        ),
        request::option(
            "expect_status",
            OptionShape::IntegerList,
            false,
            "statuses that mean done, in place of 2xx, 404 and 412 (was not cached)",
        ),
        request::option(
            "proxy",
            OptionShape::Bool,
            false,
            "whether purges go by the proxy that the environment names, which https endpoints allow, and plain ones that are the \
             page's own host. Default: false",
        ),
    ],
    operations: &[Operation {
        targets_per_call: 1,
        calls: Rate::per_second(100),
        calls_in_flight: 16,
        ..Operation::plain("PURGE", Scope::Url)
    }],
    max_url_bytes: None,
    quota_day_offset_minutes: 480,
    // A cache answers once it has dropped its copy.
    effect_ms: 0,
};

/// Headers that the sender writes, or that would change where a request ends.
const RESERVED_HEADERS: [&str; 4] = ["Host", "Content-Length", "Transfer-Encoding", "Connection"];
/// Methods that a cache answers, or passes on to the origin, without purging: the answer would look like acceptance.
const OTHER_METHODS: [&str; 8] = ["GET", "HEAD", "OPTIONS", "TRACE", "CONNECT", "POST", "PUT", "PATCH"];

/// What stands for a part of the URL in a header's value.
const SCHEME: &str = "{scheme}";
const HOST: &str = "{host}";
/// Statuses of caches that did not hold what they were to drop.
const NOT_CACHED: [u16; 2] = [404, 412];

impl Provider for HttpPurge {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn has_variants(&self) -> bool {
        true
    }

    fn also_called(&self) -> &'static [&'static str] {
        &[
            "varnish",
            "varnish cache",
            "vinyl",
            "nginx",
            "squid",
            "traffic server",
            "apache traffic server",
            "ats",
            "haproxy",
            "envoy",
        ]
    }

    fn check_options(&self, options: &Options) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if let Some(problem) = options.text("method").and_then(|method| check_method(method).err()) {
            problems.push(("method", problem));
        }
        let headers = options.headers("headers").iter();
        let check = |name: &str, value: &str| check_header(name, value).and_then(|()| check_template(name, value));
        problems.extend(headers.filter_map(|(name, value)| Some(("headers", check(name, value).err()?))));
        if options.0.get("expect_status") == Some(&OptionValue::IntegerList(Vec::new())) {
            problems.push(("expect_status", "no status at all; list those that mean done, or leave it out".into()));
        }
        if options.integers("expect_status").iter().any(|status| !(200..600).contains(status)) {
            problems.push(("expect_status", "a final HTTP status is a number from 200 to 599".into()));
        }
        problems
    }

    fn check_target(&self, target: &Target, _options: &Options) -> Result<(), String> {
        CAPABILITIES.check_target(target)?;
        if !target.text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(match Url::parse(&target.text) {
                Ok(url) => format!("a request line holds visible ASCII only; write it as {url}"),
                Err(_) => "a request line holds visible ASCII only".into(),
            });
        }
        let (scheme, authority, path) = parts(target)?;
        if authority.is_empty() || authority.contains(['@', '\\', '#']) {
            return Err("the URL needs a plain host, without user or password".into());
        }
        let (spelt, host) = (canonical(&path)?, host_header(scheme, authority));
        // A request line has a path, and `Host` no port that is the scheme's own.
        let is_whole = target.text[scheme.len() + "://".len() + authority.len()..].starts_with('/');
        if is_whole && spelt == path && host == authority {
            return Ok(());
        }
        Err(format!("this spelling cannot be sent unchanged; write it as {scheme}://{host}{spelt}"))
    }

    fn has_cache_per_address(&self, options: &Options) -> bool {
        // A proxy looks the name up for itself.
        !options.bool("proxy").unwrap_or(false)
    }

    fn encode(
        &self,
        call: &Call,
        account: &Account,
        credentials: &Credentials,
        _stamp: &Stamp,
    ) -> Result<Request, String> {
        let Credentials::Headers(extra) = credentials else {
            return Err(request::wrong_sort(account, &CAPABILITIES));
        };
        let [target] = call.targets.as_slice() else {
            return Err("http-purge sends one target in each call".into());
        };
        let (scheme, authority, path) = parts(target)?;
        let mut headers = vec![request::pair("Host", host_header(scheme, authority))];
        for (name, value) in extra {
            // A value that holds the value of a variable is taken as it is.
            let is_template =
                account.options.headers("headers").iter().any(|(own, text)| own == name && text == value.expose());
            let value =
                if is_template { filled(value.expose(), scheme, authority)? } else { value.expose().to_owned() };
            // Again, since the values of variables were not known when the options were checked.
            check_header(name, &value)?;
            headers.push(request::pair(name, value));
        }
        let of_variant =
            call.headers.iter().filter(|(name, _)| !extra.iter().any(|(own, _)| own.eq_ignore_ascii_case(name)));
        headers.extend(of_variant.cloned());
        let is_proxied = account.options.bool("proxy").unwrap_or(false);
        Ok(Request {
            route: route(&call.endpoint, headers[0].1.as_str(), is_proxied)?,
            method: account.options.text("method").unwrap_or("PURGE").to_owned(),
            endpoint: call.endpoint.clone(),
            path_and_query: request::path(&call.endpoint, &path),
            headers,
            body: Vec::new(),
        })
    }

    fn decode(&self, _call: &Call, account: &Account, response: &Response) -> Result<Reply, CallError> {
        let expected = account.options.integers("expect_status");
        let status = response.status;
        let is_done = if expected.is_empty() {
            matches!(status, 200..300) || NOT_CACHED.contains(&status)
        } else {
            expected.contains(&u64::from(status))
        };
        if is_done {
            let not_cached = NOT_CACHED.contains(&status).then_some(status);
            let varies = varies_by(response.header("vary").unwrap_or_default());
            return answer::undenied(Reply { not_cached, varies, ..Reply::default() }, None, response);
        }
        answer::refuse_redirect(response)?;
        let (class, message) = match status {
            200..300 => {
                (Unknown, "this status is not in `expect_status`; the endpoint does not purge, or the list is wrong")
            }
            403 | 405 | 501 => (
                Config,
                "the endpoint refuses to purge: it is not a purging cache, or does not allow this address or method",
            ),
            429 | 500.. => return Err(answer::without_code(response)),
            401 => (Auth, "the endpoint wants other credentials; set them in `headers`"),
            414 => (TargetRefused(Culprit::Target), "the URL is too long for the endpoint"),
            // What is wrong is the request line or a header, so other targets may fare better.
            400 | 431 => (TargetRefused(Culprit::Unclear), "the endpoint does not take this request"),
            _ => (Fatal, "the endpoint refuses the purge"),
        };
        Err(error(response, class, status_code(response), message.into()))
    }
}

/// Scheme, authority and path with query of a URL, as written.
fn parts(target: &Target) -> Result<(&str, &str, String), String> {
    let scheme = target.text.split_once("://").map(|(scheme, _)| scheme);
    match (scheme, target.authority(), target.path_and_query()) {
        (Some(scheme), Some(authority), Some(path)) => Ok((scheme, authority, path)),
        _ => Err("a URL with scheme and host is needed".into()),
    }
}

/// How a purge for `host` gets to the endpoint. A proxy passes on what goes through a tunnel as it is; without TLS it writes the
/// host of the request line, which is the endpoint's, in place of `Host`, and another URL would be purged.
fn route(endpoint: &Endpoint, host: &str, is_proxied: bool) -> Result<Route, String> {
    if !is_proxied {
        return Ok(Route::Direct);
    }
    if endpoint.tls || endpoint.is_loopback() || endpoint.authority().eq_ignore_ascii_case(host) {
        return Ok(Route::ByProxy);
    }
    Err(format!(
        "`proxy: true` cannot be kept for {endpoint}: without TLS a proxy replaces the host {host} by the endpoint's own, so \
         that another URL is purged; give the endpoint as https, or drop `proxy`"
    ))
}

/// The authority without the port that is the scheme's own.
fn host_header<'a>(scheme: &str, authority: &'a str) -> &'a str {
    let default_port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    authority.strip_suffix(default_port).unwrap_or(authority)
}

/// How the sender's URL parser spells a path with query; what it would change cannot be sent as written (U4).
fn canonical(path: &str) -> Result<String, String> {
    let url = Url::parse(&format!("http://host.invalid{path}")).map_err(|error| error.to_string())?;
    Ok(url[Position::BeforePath..Position::AfterQuery].to_owned())
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn check_method(method: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if !method.starts_with(|first: char| first.is_ascii_uppercase()) || !method.bytes().all(is_plain) {
        return Err("a method is one word in upper case, like PURGE or BAN".into());
    }
    if OTHER_METHODS.contains(&method) {
        return Err(format!("{method} does not purge, and its answer would look as if it did; use PURGE or BAN"));
    }
    Ok(())
}

/// Shows names, never values: they may hold secrets.
fn check_header(name: &str, value: &str) -> Result<(), String> {
    if !is_token(name) {
        return Err(format!("`{}` is no header name", name.escape_debug()));
    }
    if RESERVED_HEADERS.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
        return Err(format!("{name} is set by freshen itself"));
    }
    if value.chars().any(|c| c.is_control() && c != '\t') {
        return Err(format!("the value of {name} holds a line break or control character"));
    }
    Ok(())
}

/// What stands in braces like a name, each with its braces; those of variables left out. Other braces are text.
fn names(value: &str) -> impl Iterator<Item = &str> {
    value.match_indices('{').filter_map(|(start, _)| {
        let length = value[start..].find('}')?;
        let (whole, is_variable) = (&value[start..=start + length], value[..start].ends_with('$'));
        let name = whole[1..length].trim();
        let is_part = |one: char| one.is_alphanumeric() || matches!(one, '_' | '-' | '.');
        let is_name = name.chars().all(is_part) && name.chars().any(char::is_alphanumeric);
        (is_name && !is_variable).then_some(whole)
    })
}

/// What a header's value may say about the URL.
fn check_template(name: &str, value: &str) -> Result<(), String> {
    if let Some(other) = names(value).find(|known| ![SCHEME, HOST].contains(known)) {
        let help = "other text in braces can be the value of a variable";
        return Err(format!("the value of {name} holds {other}; of the URL there are {SCHEME} and {HOST}, and {help}"));
    }
    if value.contains("${") && names(value).next().is_some() {
        return Err(format!("the value of {name} holds both a variable and a part of the URL; use two headers"));
    }
    Ok(())
}

/// The value for a URL. What is filled in cannot end the header, whatever the URL is.
fn filled(value: &str, scheme: &str, authority: &str) -> Result<String, String> {
    let (scheme, host) = (scheme.to_ascii_lowercase(), host_header(scheme, authority));
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if !["http", "https"].contains(&scheme.as_str()) || !host.bytes().all(is_plain) {
        return Err("scheme or host of this URL cannot stand in a header".into());
    }
    Ok(value.replace(SCHEME, &scheme).replace(HOST, host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::contract::ErrorClass::{self, Throttled, Transient};
    use crate::core::secret::Secret;
    use crate::vendor::testing::{account, call, decoded, decoded_with, keys, options, stamp, word};

    fn sent(url: &str, options: &[(&str, OptionValue)], headers: &[(&str, &str)]) -> Result<Request, String> {
        let mut call = call(&ADAPTER, "127.0.0.1:6081", &[url]);
        call.endpoint.path_prefix = "/purge".into();
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), Secret::new((*value).into()))).collect();
        ADAPTER.encode(&call, &account(options), &Credentials::Headers(headers), &stamp(0))
    }

    #[test]
    fn request_line_carries_path_and_query_byte_for_byte() {
        let request = sent("https://www.example.cn:8443/a%2Fb?x=1&y=%20", &[], &[("X-Key", "k")]).unwrap();
        assert_eq!((request.method.as_str(), request.path_and_query.as_str()), ("PURGE", "/purge/a%2Fb?x=1&y=%20"));
        assert_eq!(
            request.headers,
            [("Host".to_owned(), "www.example.cn:8443".to_owned()), ("X-Key".to_owned(), "k".to_owned()),]
        );
        assert!(request.body.is_empty());
        let other = sent("http://www.example.cn", &[("method", word("BAN"))], &[]).unwrap();
        assert_eq!((other.method.as_str(), other.path_and_query.as_str()), ("BAN", "/purge/"));
    }

    #[test]
    fn default_port_is_left_out_of_host() {
        let host = |url| sent(url, &[], &[]).unwrap().header("host").map(str::to_owned);
        assert_eq!(host("https://a.example:443/").as_deref(), Some("a.example"));
        assert_eq!(host("http://a.example:80/").as_deref(), Some("a.example"));
        assert_eq!(host("http://a.example:443/").as_deref(), Some("a.example:443"));
    }

    /// Caches that are keyed by a forwarded scheme or host hear of it.
    #[test]
    fn headers_hold_scheme_and_host_of_the_url() {
        let headers = [("X-Forwarded-Proto", "{scheme}"), ("X-Key", "{scheme}://{host}/"), ("X-Env", "a {host}")];
        let given = headers[..2].iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let options = [("headers", OptionValue::Headers(given))];
        let of = |url: &str| {
            let request = sent(url, &options, &headers).unwrap();
            headers.map(|(name, _)| request.header(name).unwrap().to_owned())
        };
        // What a variable holds is not looked into.
        assert_eq!(of("https://www.example.cn/a"), ["https", "https://www.example.cn/", "a {host}"]);
        assert_eq!(of("HTTP://www.example.cn:8080/a"), ["http", "http://www.example.cn:8080/", "a {host}"]);
        for url in ["http://a\r\nX: y/", "http://a b/", "http://a,b/", "http://a\"b/"] {
            assert!(sent(url, &options, &headers).is_err(), "{url:?}");
        }
        let check = |value: &str| {
            let headers = OptionValue::Headers(vec![("X-Key".into(), value.into())]);
            ADAPTER.check_options(&crate::vendor::testing::options(&[("headers", headers)])).len()
        };
        for fine in ["{scheme}", "{host}{host}", "${KEY}", "{}", "{\"a\": 1}", "${key}", "a}{b"] {
            assert_eq!(check(fine), 0, "{fine}");
        }
        for fine in ["{\"host\":1}", "{a: b}", "{", "}", "{host", "{-}", "{,}", "{a,b}"] {
            assert_eq!(check(fine), 0, "{fine}");
        }
        for wrong in ["{schema}", "${KEY} {host}", "{scheme}{port}", "${KEY} {Host}"] {
            assert_eq!(check(wrong), 1, "{wrong}");
        }
        for wrong in
            ["{Scheme}", "{HOST}", "{ scheme }", "{url_host}", "{x-host}", "{request.host}", "{1}", "{{Host}}", "a{é}"]
        {
            assert_eq!(check(wrong), 1, "{wrong}");
        }
    }

    // U8, X1
    #[test]
    fn variables_cannot_smuggle_headers() {
        let error = sent("http://a.example/", &[], &[("X-Key", "canary\r\nX: y")]).unwrap_err();
        assert!(error.contains("X-Key") && !error.contains("canary"), "{error}");
        let call = call(&ADAPTER, "127.0.0.1:1", &["http://a.example/"]);
        assert!(ADAPTER.encode(&call, &account(&[]), &keys("id", "canary", None), &stamp(0)).is_err());
    }

    /// U2: a proxy that does not get the page's own host would have another page purged.
    #[test]
    fn a_purge_goes_by_a_proxy_only_where_that_is_asked_for_and_keeps_its_host() {
        let route = |endpoint: &str, url: &str, proxy: Option<bool>| {
            let mut call = call(&ADAPTER, "127.0.0.1:6081", &[url]);
            let (scheme, host) = endpoint.split_once("://").unwrap();
            call.endpoint = Endpoint {
                tls: scheme == "https",
                host: host.into(),
                port: None,
                path_prefix: String::new(),
                address: None,
            };
            let given: Vec<_> = proxy.into_iter().map(|proxy| ("proxy", OptionValue::Bool(proxy))).collect();
            let sent = ADAPTER.encode(&call, &account(&given), &Credentials::Headers(Vec::new()), &stamp(0));
            sent.map(|request| request.route)
        };
        let page = "https://www.example.cn/a";
        for endpoint in ["http://cache.example", "https://cache.example", "http://www.example.cn", "http://127.0.0.1"] {
            assert_eq!(route(endpoint, page, None), Ok(Route::Direct), "{endpoint}");
            assert_eq!(route(endpoint, page, Some(false)), Ok(Route::Direct), "{endpoint}");
        }
        for endpoint in ["https://cache.example", "http://www.example.cn", "http://127.0.0.1"] {
            assert_eq!(route(endpoint, page, Some(true)), Ok(Route::ByProxy), "{endpoint}");
        }
        let refused = route("http://cache.example", page, Some(true)).unwrap_err();
        assert!(refused.contains("http://cache.example") && refused.contains("www.example.cn"), "{refused}");
        assert!(route("http://www.example.cn", "https://www.example.cn:8443/a", Some(true)).is_err(), "another port");
    }

    #[test]
    fn more_than_one_target_is_not_sent() {
        let call = call(&ADAPTER, "127.0.0.1:1", &["http://a.example/1", "http://a.example/2"]);
        assert!(ADAPTER.encode(&call, &account(&[]), &Credentials::Headers(Vec::new()), &stamp(0)).is_err());
    }

    // U4
    #[test]
    fn spelling_that_would_be_changed_is_refused_with_the_canonical_one() {
        let check = |text: &str| ADAPTER.check_target(&Target::url(text), &Options::default());
        for text in [
            "http://a.example/",
            "http://a.example:443/",
            "https://a.example:8443/",
            "http://a.example/?",
            "http://a.example/a%2Fb;c=1?q=a|b&r=[1]",
            "http://A.example/%7Ex",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
        for (text, canonical) in [
            ("http://a.example", "http://a.example/"),
            ("http://a.example?x", "http://a.example/?x"),
            ("http://a.example:80/a", "http://a.example/a"),
            ("https://a.example:443?x", "https://a.example/?x"),
            ("http://a.example/a/../b", "http://a.example/b"),
            ("http://a.example/./a", "http://a.example/a"),
            ("http://a.example/x/%2e%2E/a", "http://a.example/a"),
            ("http://a.example/?q='x'", "http://a.example/?q=%27x%27"),
            ("http://a.example/ä", "http://a.example/%C3%A4"),
            ("http://a.example/a\\b", "http://a.example/a/b"),
            ("http://a.example/a\"b", "http://a.example/a%22b"),
            ("http://a.example/a#b", "http://a.example/a"),
        ] {
            let problem = check(text).unwrap_err();
            assert!(problem.ends_with(&format!(" {canonical}")), "{text}: {problem}");
        }
        for text in ["http://a.example/a b", "http://a.example/a\tb", "http://u:p@a.example/", "a.example", "http:///x"]
        {
            assert!(check(text).is_err(), "{text}");
        }
    }

    // U8
    #[test]
    fn options_are_checked() {
        let method = |text| ADAPTER.check_options(&options(&[("method", word(text))])).len();
        assert_eq!((method("PURGE"), method("BAN"), method("X-PURGE"), method("DELETE")), (0, 0, 0, 0));
        for text in
            ["GET", "POST", "HEAD", "purge", "PUR GE", "", "PURGE\r\n", "-PURGE", "_", "1BAN", "BAN!", "PURGE*", "B.AN"]
        {
            assert_eq!(method(text), 1, "{text:?}");
        }
        let header = |name: &str, value: &str| {
            let headers = OptionValue::Headers(vec![(name.into(), value.into())]);
            ADAPTER.check_options(&options(&[("headers", headers)])).len()
        };
        assert_eq!((header("X-Key", "${KEY}"), header("Authorization", "Basic x")), (0, 0));
        for (name, value) in [("host", "x"), ("Content-Length", "0"), ("transfer-encoding", "x"), ("CONNECTION", "x")] {
            assert_eq!(header(name, value), 1, "{name}");
        }
        for (name, value) in [("X Key", "x"), ("", "x"), ("X:", "x"), ("X", "a\rb"), ("X", "a\nb"), ("X", "a\0b")] {
            assert_eq!(header(name, value), 1, "{name:?} {value:?}");
        }
        let statuses = |list: &[u64]| {
            ADAPTER.check_options(&options(&[("expect_status", OptionValue::IntegerList(list.to_vec()))])).len()
        };
        assert_eq!((statuses(&[200, 204]), statuses(&[99]), statuses(&[200, 600]), statuses(&[])), (0, 1, 1, 1));
        assert!(ADAPTER.check_options(&options(&[])).is_empty());
    }

    #[test]
    fn statuses_have_their_classes() {
        for status in [200, 201, 202, 204] {
            assert_eq!(decoded(&ADAPTER, status, "<html>"), Ok(Reply::default()), "{status}");
        }
        for status in [404, 412] {
            let reply = Reply { not_cached: Some(status), ..Reply::default() };
            assert_eq!(decoded(&ADAPTER, status, "<html>"), Ok(reply), "{status}");
        }
        let expected: &[(ErrorClass, &[u16])] = &[
            (Config, &[403, 405, 501]),
            (Fatal, &[301, 302, 304, 307, 308, 410]),
            (Auth, &[401]),
            (TargetRefused(Culprit::Target), &[414]),
            (TargetRefused(Culprit::Unclear), &[400, 431]),
            (Throttled, &[429]),
            (Transient, &[502, 503, 504]),
            (Unknown, &[500, 505, 520]),
        ];
        for (class, statuses) in expected {
            for status in *statuses {
                let error = decoded_with(&ADAPTER, &[], *status, &[("Retry-After", "2")], "").unwrap_err();
                assert_eq!((error.class, error.retry_after_ms), (*class, Some(2000)), "{status}");
            }
        }
    }

    #[test]
    fn expected_statuses_replace_the_usual_ones() {
        let decode = |status| {
            let list = OptionValue::IntegerList(vec![204, 301]);
            decoded_with(&ADAPTER, &[("expect_status", list)], status, &[], "").map_err(|error| error.class)
        };
        assert_eq!((decode(204), decode(301)), (Ok(Reply::default()), Ok(Reply::default())));
        assert_eq!((decode(200), decode(404), decode(412)), (Err(Unknown), Err(Fatal), Err(Fatal)));
        assert_eq!((decode(405), decode(503), decode(302)), (Err(Config), Err(Transient), Err(Fatal)));
    }

    /// S1: a purge that failed, in any form of JSON that a cache may give.
    #[test]
    fn an_answer_in_json_that_denies_the_purge_is_unknown() {
        let decode = |body: &str| {
            let call = call(&ADAPTER, "127.0.0.1:1", &["https://a.cn/x"]);
            ADAPTER.decode(&call, &account(&[]), &crate::vendor::testing::answer(200, &[], body))
        };
        for body in [
            r#"[{"node":"a","status":"ok"},{"node":"b","status":"failed"}]"#,
            r#"[{"error":"purge denied"}]"#,
            r#"["ok", "purge denied"]"#,
            r#""purge denied""#,
            r#"{"status":"ok","status":"failed"}"#,
            r#"{"status":"failed","status":"ok"}"#,
            "\u{feff}{\"error\":\"denied\"}",
            "{\"status\":\"ok\"}\n{\"status\":\"failed\"}\n",
            r#"{"status":"failed",}"#,
            r#"[{"status": failed}]"#,
            &format!("{}{{\"error\":1}}{}", r#"{"a":"#.repeat(200), "}".repeat(200)),
        ] {
            let error = decode(body).expect_err(body);
            assert!(error.class == Unknown && error.message.contains("deny it") | error.message.contains("denies it"));
        }
        for body in [
            "",
            "200 Purged",
            "[info] 0 errors",
            "<h1>Error 200 Purged</h1>",
            "\u{feff}{\"status\":\"ok\"}",
            r#"["https://a.cn/error.html"]"#,
            r#"[{"node":"a","purged":1}]"#,
            "{\"status\":\"ok\"}\n{\"status\":\"ok\"}\n",
        ] {
            assert!(decode(body).is_ok(), "{body}");
        }
    }
}
