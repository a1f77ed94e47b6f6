//! Accounts and signed calls for the emulators' tests, written without the adapters so that both check each other.

use freshen::core::contract::Rate;
use freshen::core::http::{Endpoint, Request};
use freshen::core::model::{HostPattern, OperationLimits};
use freshen::core::secret::Secret;
use freshen::core::target::Scope;
use freshen::core::time::Timestamp;
use freshen::vendor::VENDORS;
use freshen::vendor::emulation::{Afterwards, Emulator, Setup};
use freshen::vendor::sign::{self, Parts, QcloudMethod};
use serde_json::{Value, json};

use super::{NOW, PROJECT};
use crate::support::cloud::keys;
use crate::support::vendor::{self, fact};

/// Documented limits for URLs: a call, a second, a day.
pub(crate) fn url_limits(kind: &str) -> (usize, u32, u64) {
    fact(kind, "limits")
}

pub(crate) fn setup(kind: &str, authority: &str, token: Option<&str>) -> Setup {
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port.parse().expect("a port"))),
        None => (authority, None),
    };
    let (id, secret) = key_pair(kind);
    let (targets_per_call, calls_per_second, targets_per_day) = url_limits(kind);
    let limits = OperationLimits {
        targets_per_call,
        calls: Rate::per_second(calls_per_second),
        bytes_per_call: None,
        hosts_per_call: None,
        targets: None,
        targets_per_day: Some(targets_per_day),
        calls_in_flight: 1,
    };
    Setup {
        kind: kind.to_owned(),
        endpoint: Endpoint {
            tls: port.is_none(),
            host: host.to_owned(),
            port,
            path_prefix: String::new(),
            address: None,
        },
        credentials: keys(kind, id, secret, token),
        options: vendor::options(VENDORS.find(kind).expect("a kind")),
        hosts: ["cdn.example.com", "*.example.net"].map(|host| HostPattern::from_checked(host.to_owned())).to_vec(),
        limits: Scope::ALL.map(|scope| (scope, limits)).into(),
        afterwards: Afterwards::default(),
    }
}

/// The keys that the vectors were made with.
fn key_pair(kind: &str) -> (&'static str, &'static str) {
    fact::<Option<_>>(kind, "keys").unwrap_or_default()
}

/// The emulator of a setup.
pub(crate) fn running(setup: Setup) -> Box<dyn Emulator> {
    VENDORS.emulator(setup).expect("an emulator of the kind")
}

pub(crate) fn cloud(kind: &str) -> Box<dyn Emulator> {
    running(setup(kind, "api.example.org", None))
}

/// A request in the making; every test changes one thing.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) kind: &'static str,
    pub(crate) targets: Vec<String>,
    pub(crate) extra: Vec<(&'static str, Value)>,
    pub(crate) at: Timestamp,
    pub(crate) nonce: u64,
    pub(crate) id: &'static str,
    pub(crate) secret: String,
    pub(crate) token: Option<&'static str>,
    pub(crate) prefix: &'static str,
}

impl Draft {
    pub(crate) fn new(kind: &'static str) -> Self {
        let (id, secret) = key_pair(kind);
        Self {
            kind,
            targets: urls(1),
            extra: Vec::new(),
            at: NOW,
            nonce: 1,
            id,
            secret: secret.to_owned(),
            token: None,
            prefix: "",
        }
    }

    pub(crate) fn build(&self) -> Request {
        match self.kind {
            "alibaba-vod" => self.alibaba(),
            "huawei-vod" => self.huawei(),
            "qcloud-cdn" => self.qcloud(),
            "tencent-cdn" | "tencent-vod" => self.tencent(),
            other => {
                panic!("{other}: add to `Draft` in {} how its calls are made and signed without the adapter", file!())
            }
        }
    }

    fn json_body(&self, list: &str) -> Vec<u8> {
        let mut body = json!({ list: self.targets });
        for (name, value) in &self.extra {
            body[*name] = value.clone();
        }
        body.to_string().into_bytes()
    }

    /// `token` is the header of session tokens, if they travel in one.
    fn request(&self, path: &str, token: Option<&str>, headers: &[(&str, &str)], body: Vec<u8>) -> Request {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let headers = std::iter::once(("Host".to_owned(), "api.example.org".to_owned())).chain(headers).collect();
        let mut request = Request {
            route: freshen::core::http::Route::Direct,
            method: "POST".into(),
            endpoint: setup(self.kind, "api.example.org", None).endpoint,
            path_and_query: format!("{}{path}", self.prefix),
            headers,
            body,
        };
        request.headers.extend(token.zip(self.token).map(|(name, token)| (name.to_owned(), token.to_owned())));
        request
    }

    fn tencent(&self) -> Request {
        let (service, action, version) = match self.kind {
            "tencent-cdn" => ("cdn", "PurgeUrlsCache", "2018-06-06"),
            _ => ("vod", "RefreshUrlCache", "2018-07-17"),
        };
        let seconds = self.at.unix_seconds();
        let timestamp = seconds.to_string();
        let headers = [
            ("Content-Type", "application/json"),
            ("X-TC-Action", action),
            ("X-TC-Version", version),
            ("X-TC-Timestamp", &timestamp),
        ];
        let mut request = self.request("/", Some("X-TC-Token"), &headers, self.json_body("Urls"));
        let secret = Secret::new(self.secret.clone());
        let signature = sign::tc3(&parts(&request), &["content-type", "host"], service, seconds, &secret).signature;
        let scope = format!("{}/{}/{service}/tc3_request", self.id, self.at.utc_date());
        let value =
            format!("TC3-HMAC-SHA256 Credential={scope}, SignedHeaders=content-type;host, Signature={signature}");
        request.headers.push(("Authorization".into(), value));
        request
    }

    fn alibaba(&self) -> Request {
        let mut form = vec![("ObjectPath".to_owned(), self.targets.join("\n"))];
        form.extend(
            self.extra.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().expect("text").to_owned())),
        );
        let body = sign::form_encode(&form).into_bytes();
        let (date, nonce, hash) = (self.at.utc_extended(), self.nonce.to_string(), sign::sha256_hex(&body));
        let headers = [
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("x-acs-action", "RefreshVodObjectCaches"),
            ("x-acs-version", "2017-03-21"),
            ("x-acs-date", &date),
            ("x-acs-signature-nonce", &nonce),
            ("x-acs-content-sha256", &hash),
        ];
        self.sign_all(self.request("/", Some("x-acs-security-token"), &headers, body))
    }

    fn huawei(&self) -> Request {
        let date = self.at.utc_basic();
        let headers = [("Content-Type", "application/json"), ("X-Sdk-Date", &date)];
        let path = format!("/v1/{PROJECT}/asset/refresh");
        self.sign_all(self.request(&path, Some("X-Security-Token"), &headers, self.json_body("urls")))
    }

    /// Signs a request of `alibaba-vod` or `huawei-vod` with all its headers, anew if it was signed.
    pub(crate) fn sign_all(&self, mut request: Request) -> Request {
        request.headers.retain(|(name, _)| name != "Authorization");
        if self.kind == "alibaba-vod" {
            return self.authorize(request, "ACS3-HMAC-SHA256 Credential", ",", |parts, names, secret| {
                sign::acs3(parts, names, secret).signature
            });
        }
        let date = self.at.utc_basic();
        self.authorize(request, "SDK-HMAC-SHA256 Access", ", ", |parts, names, secret| {
            sign::sdk_hmac(parts, names, &date, secret).signature
        })
    }

    fn authorize(
        &self,
        mut request: Request,
        start: &str,
        separator: &str,
        sign: impl Fn(&Parts, &[&str], &Secret) -> String,
    ) -> Request {
        let mut names: Vec<String> = request.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort();
        let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
        let signature = sign(&parts(&request), &borrowed, &Secret::new(self.secret.clone()));
        let names = names.join(";");
        let value = format!("{start}={}{separator}SignedHeaders={names}{separator}Signature={signature}", self.id);
        request.headers.push(("Authorization".into(), value));
        request
    }

    fn qcloud(&self) -> Request {
        let mut form = vec![
            ("Action".to_owned(), "RefreshCdnUrl".to_owned()),
            ("SecretId".to_owned(), self.id.to_owned()),
            ("Timestamp".to_owned(), self.at.unix_seconds().to_string()),
            ("Nonce".to_owned(), self.nonce.to_string()),
            ("SignatureMethod".to_owned(), "HmacSHA256".to_owned()),
        ];
        form.extend(self.token.map(|token| ("Token".to_owned(), token.to_owned())));
        form.extend(self.targets.iter().enumerate().map(|(index, url)| (format!("urls.{index}"), url.clone())));
        form.extend(
            self.extra.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().expect("text").to_owned())),
        );
        let path = format!("{}/v2/index.php", self.prefix);
        let secret = Secret::new(self.secret.clone());
        let signed = sign::qcloud("POST", "api.example.org", &path, &form, QcloudMethod::HmacSha256, &secret);
        form.push(("Signature".to_owned(), signed.signature));
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        self.request("/v2/index.php", None, &headers, sign::form_encode(&form).into_bytes())
    }
}

pub(crate) fn parts(request: &Request) -> Parts<'_> {
    let (path, query) = request.path_and_query.split_once('?').unwrap_or((&request.path_and_query, ""));
    Parts { method: &request.method, path, query, headers: &request.headers, body: &request.body }
}

pub(crate) fn urls(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("https://cdn.example.com/{index}.js")).collect()
}
