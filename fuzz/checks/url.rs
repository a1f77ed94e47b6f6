//! URLs of a manifest: what is accepted is sent byte for byte, and a list of them stays as many as they are.
//!
//! Input: URLs with `␞` between them.

use std::fmt::Write as _;

use freshen::core::contract::{Account, Call, Stamp};
use freshen::core::http::Request;
use freshen::core::model::ProviderConfig;
use freshen::core::provider::Provider;
use freshen::core::target::{Scope, Target};
use freshen::core::time::Timestamp;
use freshen::manifest::{SourceFile, build};
use freshen::vendor::VENDORS;
use freshen::vendor::sign::form_decode;
use serde::Deserialize;
use serde_json::Value;

use super::{SEPARATOR, vendor};

/// How the URLs of a call stand in its request, as the vendor documents it.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sent {
    /// A list of texts in a JSON body.
    JsonList(&'static str),
    /// One field of a form, a line each.
    FormLines(&'static str),
    /// Fields of a form whose names begin so.
    FormFields(&'static str),
    /// In the request line, behind the host.
    RequestLine,
}

/// U1-U6
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for kind in VENDORS.all() {
        let provider = &provider(kind);
        let mut taken = Vec::new();
        let mut config = None;
        for url in text.split(SEPARATOR) {
            let Some((accepted, by)) = accepted(url, provider) else { continue };
            assert_plain(url, &accepted);
            // A target stands once in a plan.
            if !taken.contains(&accepted) {
                taken.push(accepted);
            }
            config = Some(by);
        }
        if let Some(config) = config {
            assert_sent(&config, &taken);
        }
    }
}

/// The least that configures a provider of this kind.
fn provider(kind: &dyn Provider) -> String {
    let kind = kind.capabilities().kind;
    let mut provider: Value = vendor::fact(kind, "manifest");
    provider["kind"] = kind.into();
    provider.to_string()
}

/// What a manifest that lists `url` makes of it for `provider`; `None`: an error.
fn accepted(url: &str, provider: &str) -> Option<(Target, ProviderConfig)> {
    let asset = format!("{{url: {}, hash: 'etag:1'}}", quoted(url));
    let manifest = format!("providers: {{p: {provider}}}\nprovider: p\nassets: [{asset}]\n");
    let mut model = build(&[SourceFile::whole("m.yaml", manifest)]).model?;
    assert_eq!(model.entries.len(), 1, "one asset, one entry");
    let entry = model.entries.get(0);
    Some((entry.target, model.providers.swap_remove(entry.provider)))
}

/// A text of YAML with everything but letters and digits escaped, so that the URL check sees all of it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        let _ = match c {
            _ if c.is_ascii_alphanumeric() => write!(quoted, "{c}"),
            _ => write!(quoted, "\\U{:08X}", u32::from(c)),
        };
    }
    quoted + "\""
}

/// An accepted URL is the one that was written, whole, on one line, without a user, and parsers see the same host.
fn assert_plain(written: &str, accepted: &Target) {
    assert_eq!(accepted, &Target { scope: Scope::Url, text: written.to_owned() });
    assert!(!written.chars().any(char::is_control), "{written:?}");
    assert!(!written.starts_with(char::is_whitespace) && !written.ends_with(char::is_whitespace), "{written:?}");
    let parsed = url::Url::parse(written).expect("an accepted URL is one to parsers too");
    assert!(["http", "https"].contains(&parsed.scheme()) && parsed.fragment().is_none(), "{written:?}");
    assert_eq!((parsed.username(), parsed.password()), ("", None), "{written:?}");
    assert_eq!(parsed.host_str(), accepted.host(), "{written:?}");
}

/// As many as fit into one call, sent and read again as the vendor reads them.
fn assert_sent(config: &ProviderConfig, taken: &[Target]) {
    let operation = config.kind.capabilities().operation(Scope::Url).expect("all kinds purge URLs");
    let credentials = vendor::credentials(config.kind, ("id", "secret", None));
    let account = Account { provider: config.name.clone(), options: config.options.clone() };
    let stamp = Stamp { wall: Timestamp::from_unix_ms(1_700_000_000_000), nonce: 1 };
    for targets in taken.chunks(operation.targets_per_call) {
        let call = Call {
            operation,
            endpoint: config.endpoints[0].clone(),
            targets: targets.to_vec(),
            headers: Vec::new(),
            id: String::new(),
        };
        let request = config.kind.encode(&call, &account, &credentials, &stamp).expect("checked targets can be sent");
        let lines = request.headers.iter().flat_map(|(name, value)| [name, value]).chain([&request.path_and_query]);
        assert!(lines.into_iter().all(|line| !line.chars().any(char::is_control)), "{request:?}");
        let texts: Vec<&str> = targets.iter().map(|target| target.text.as_str()).collect();
        assert_eq!(received(config, &request, texts[0]), texts, "{}", config.kind.capabilities().kind);
    }
}

/// The URLs of a request as its receiver reads them.
fn received(config: &ProviderConfig, request: &Request, first: &str) -> Vec<String> {
    let body = || std::str::from_utf8(&request.body).expect("UTF-8");
    let form = || form_decode(body()).expect("a form");
    match vendor::fact(config.kind.capabilities().kind, "urls") {
        Sent::JsonList(name) => {
            let body: Value = serde_json::from_str(body()).expect("JSON");
            let texts = body[name].as_array().expect("a list").iter();
            texts.map(|text| text.as_str().expect("a text").to_owned()).collect()
        }
        Sent::FormLines(name) => {
            let form = form();
            let (_, lines) = form.iter().find(|(field, _)| field == name).expect("the list");
            lines.split(['\n', '\r']).map(str::to_owned).collect()
        }
        Sent::FormFields(start) => {
            let urls = form().into_iter().filter(|(field, _)| field.starts_with(start));
            urls.map(|(_, url)| url).collect()
        }
        Sent::RequestLine => {
            let scheme = first.split_once("://").expect("a scheme").0;
            let host = request.header("host").expect("a host");
            assert!(request.path_and_query.bytes().all(|byte| byte.is_ascii_graphic()), "{request:?}");
            vec![format!("{scheme}://{host}{}", request.path_and_query)]
        }
    }
}
