//! Values for the adapters' tests: calls, accounts, credentials and answers, and the vectors they are checked against.

use serde_json::Value;

use crate::core::contract::{Account, Call, CallError, Credentials, ErrorClass, OptionValue, Options, Reply, Stamp};
use crate::core::http::{Endpoint, Request, Response};
use crate::core::provider::Provider;
use crate::core::query::{QueryContext, TaskCursor, TaskResult, TaskState};
use crate::core::secret::Secret;
use crate::core::target::{Scope, Target};
use crate::core::time::Timestamp;
use crate::vendor::request::{KEY_ID, KEY_SECRET, SESSION_TOKEN};

/// An answer with these headers and this body.
pub(super) fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Response {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Response { status, headers, body: body.as_bytes().to_vec() }
}

/// An account called `p` with these options.
pub(super) fn account(options: &[(&str, OptionValue)]) -> Account {
    Account { provider: "p".into(), options: self::options(options) }
}

/// Options by key.
pub(super) fn options(options: &[(&str, OptionValue)]) -> Options {
    Options(options.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
}

/// Text of a `Text` or `OneOf` option.
pub(super) fn word(text: &str) -> OptionValue {
    OptionValue::Text(text.into())
}

/// `host`, or `host:port` by plain http.
pub(super) fn endpoint(authority: &str) -> Endpoint {
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port.parse().unwrap())),
        None => (authority, None),
    };
    Endpoint { tls: port.is_none(), host: host.into(), port, path_prefix: String::new(), address: None }
}

/// A call that purges these URLs.
pub(super) fn call(provider: &dyn Provider, authority: &str, urls: &[&str]) -> Call {
    let targets = urls.iter().copied().map(Target::url).collect();
    scoped_call(provider, authority, Scope::Url, targets)
}

/// A call that purges these targets.
pub(super) fn scoped_call(provider: &dyn Provider, authority: &str, scope: Scope, targets: Vec<Target>) -> Call {
    let operation = provider.capabilities().operation(scope).unwrap();
    Call { operation, endpoint: endpoint(authority), targets, headers: Vec::new(), id: "purge".into() }
}

/// The moment of most vectors, with this nonce.
pub(super) fn stamp(nonce: u128) -> Stamp {
    Stamp { wall: Timestamp::from_unix_ms(1_700_000_000_000), nonce }
}

/// A key pair, its parts named so that tests can look for them where they must not be.
pub(super) fn keys(id: &str, secret: &str, token: Option<&str>) -> Credentials {
    let fields = [(KEY_ID, Some(id)), (KEY_SECRET, Some(secret)), (SESSION_TOKEN, token)];
    let given = |(name, value): (&'static str, Option<&str>)| Some((name, Secret::new(value?.into())));
    Credentials::Fields(fields.into_iter().filter_map(given).collect())
}

/// What a provider makes of an answer, with plain options and one target.
pub(super) fn decoded(provider: &dyn Provider, status: u16, body: &str) -> Result<Reply, CallError> {
    decoded_with(provider, &[], status, &[], body)
}

/// The same, with options and headers.
pub(super) fn decoded_with(
    provider: &dyn Provider,
    options: &[(&str, OptionValue)],
    status: u16,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Reply, CallError> {
    let call = call(provider, "cdn.example.com", &["https://a.example/x"]);
    provider.decode(&call, &account(options), &answer(status, headers, body))
}

/// The request of a query to `authority`.
pub(super) fn queried(
    authority: &str,
    account: &Account,
    credentials: &Credentials,
    nonce: u128,
    encode: impl FnOnce(&QueryContext<'_>) -> Result<Request, String>,
) -> Request {
    encode(&QueryContext { endpoint: &endpoint(authority), account, credentials, stamp: &stamp(nonce) }).unwrap()
}

/// The first page of a task's results.
pub(super) fn first_page(id: &str) -> TaskCursor<'_> {
    TaskCursor { id, page: 0, seen: 0 }
}

/// Each of these targets with where it stands.
pub(super) fn results(list: &[(Option<&str>, TaskState)]) -> Vec<TaskResult> {
    let result =
        |(target, state): &(Option<&str>, TaskState)| TaskResult { target: target.map(Target::url), state: *state };
    list.iter().map(result).collect()
}

/// Answers that are no vendor's answer to any query: they are unknown, and redirects are refused.
pub(super) fn assert_garbage_is_no_answer<T: std::fmt::Debug>(decode: impl Fn(&Response) -> Result<T, CallError>) {
    for body in ["", "<html>ok</html>", "null", "[]", "{}", "{\"a\":", "{\"Response\":{\"RequestId\":\"r\"}}"] {
        assert_eq!(decode(&answer(200, &[], body)).unwrap_err().class, ErrorClass::Unknown, "{body}");
    }
    assert_eq!(decode(&answer(302, &[], "{}")).unwrap_err().class, ErrorClass::Fatal);
    assert_eq!(decode(&answer(503, &[], "<html>")).unwrap_err().class, ErrorClass::Transient);
}

/// Answers that are no vendor's acceptance: whatever the provider, they are never a reply.
pub(super) fn assert_garbage_is_unknown(provider: &dyn Provider, status: u16) {
    let bodies = [
        "",
        "<html>ok</html>",
        "null",
        "[]",
        "{}",
        "\"ok\"",
        "{\"a\":",
        "\u{feff}",
        "{\"Response\":3}",
        "{\"data\":{}}",
    ];
    for body in bodies {
        let error = decoded(provider, status, body).unwrap_err();
        assert_eq!(error.class, ErrorClass::Unknown, "{body}");
    }
    let redirect = decoded(provider, 302, "{}").unwrap_err();
    assert_eq!(redirect.class, ErrorClass::Fatal);
    let broken = decoded(provider, 500, "<html>").unwrap_err();
    assert_eq!(broken.class, ErrorClass::Unknown);
    let away = decoded_with(provider, &[], 503, &[("Retry-After", "3")], "<html>").unwrap_err();
    assert_eq!((away.class, away.retry_after_ms), (ErrorClass::Transient, Some(3000)));
    let limited = decoded_with(provider, &[], 429, &[("Retry-After", "3")], "").unwrap_err();
    assert_eq!((limited.class, limited.retry_after_ms), (ErrorClass::Throttled, Some(3000)));
}

/// Acceptances in which a key stands twice, at any place and with any values: readers of JSON differ in which one counts.
fn assert_doubled_keys_spoil_acceptance(provider: &dyn Provider, status: u16, accepted: &str) {
    let ends = |open: char| accepted.match_indices(open).map(|(at, _)| at + 1);
    for at in ends('{') {
        let key = &accepted[at..at + 1 + accepted[at..].find(':').unwrap()];
        for value in ["null", "1", "{}", "\"x\""] {
            let body = format!("{}{key}{value},{}", &accepted[..at], &accepted[at..]);
            assert_eq!(decoded(provider, status, &body).unwrap_err().class, ErrorClass::Unknown, "{body}");
        }
    }
}

/// Acceptances with a member for errors, as `body` makes them: whatever it is called and holds, they are unknown.
pub(super) fn assert_errors_spoil_acceptance(provider: &dyn Provider, status: u16, body: &dyn Fn(&str) -> String) {
    assert!(decoded(provider, status, &body("\"Other\":1")).is_ok());
    assert_doubled_keys_spoil_acceptance(provider, status, &body("\"Other\":1"));
    for value in ["false", "\"false\"", "0", "null", "{}"] {
        let body = body(&format!("\"Success\":{value}"));
        assert_eq!(decoded(provider, status, &body).unwrap_err().class, ErrorClass::Unknown, "{body}");
    }
    assert!(decoded(provider, status, &body("\"success\":true")).is_ok());
    for name in ["Error", "error", "ERROR", "Code", "CODE", "error_code", "errorCode", "ErrorMessage"] {
        for value in [
            "null",
            "\"\"",
            "0",
            "false",
            "{}",
            "[]",
            "\"ok\"",
            "{\"Code\":null}",
            "{\"Code\":5}",
            "{\"Code\":\"Never.Heard\"}",
        ] {
            let body = body(&format!("\"{name}\":{value}"));
            assert_eq!(decoded(provider, status, &body).unwrap_err().class, ErrorClass::Unknown, "{body}");
        }
    }
}

/// One vector of a file.
pub(super) struct Vector(Value);

impl Vector {
    /// The vector called `id` of a file's text.
    pub(super) fn find(file: &str, id: &str) -> Self {
        let parsed: Value = serde_json::from_str(file).unwrap();
        let found = parsed["vectors"].as_array().unwrap().iter().find(|vector| vector["id"] == id);
        Self(found.unwrap_or_else(|| panic!("no vector {id}")).clone())
    }

    /// A text of what is expected.
    pub(super) fn expected(&self, key: &str) -> &str {
        self.0["expected"][key].as_str().unwrap()
    }

    /// A text of the input.
    pub(super) fn input(&self, key: &str) -> &str {
        self.0["input"][key].as_str().unwrap()
    }

    /// The URLs of a JSON operation, from the parameter called `key`.
    pub(super) fn list(&self, key: &str) -> Vec<&str> {
        self.0["input"]["params"][key].as_array().unwrap().iter().map(|url| url.as_str().unwrap()).collect()
    }

    /// The nonce of a query or form vector, as hex digits or as a number.
    pub(super) fn nonce(&self) -> u128 {
        match &self.0["input"]["nonce"] {
            Value::String(text) => u128::from_str_radix(&text.replace('-', ""), 16).unwrap(),
            number => u128::from(number.as_u64().unwrap()),
        }
    }

    /// Asserts that a request has the vector's line, body and headers, byte for byte.
    pub(super) fn assert_sent(&self, request: &Request) {
        assert_eq!(request.method, self.expected("method"));
        let query = self.expected("query");
        let line = if query.is_empty() { String::new() } else { format!("?{query}") };
        assert_eq!(request.path_and_query, format!("{}{line}", self.expected("path")));
        assert_eq!(String::from_utf8(request.body.clone()).unwrap(), self.expected("body"));
        for (name, value) in self.0["expected"]["headers"].as_object().unwrap() {
            assert_eq!(request.header(name), value.as_str(), "{name}");
        }
    }
}
