//! Huawei Cloud VOD: refresh of URLs and of whole assets. Acceptance is HTTP 202, not 200.

use serde::Serialize;
use serde_json::Value;

use crate::core::contract::ErrorClass::{
    Auth, Clock, Config, Request as Malformed, TargetRefused, Throttled, Transient,
};
use crate::core::contract::{
    Account, Call, CallError, Capabilities, CredentialField, CredentialScheme, Credentials, Culprit, ErrorClass,
    FieldSort, Operation, OptionShape, Options, Rate, Reply, Stamp,
};
use crate::core::http::{Endpoint, Request, Response, Route};
use crate::core::provider::Provider;
use crate::core::query::{QueryContext, QuerySpec, TaskCursor, TaskPage, TaskQuery, TaskResult, TaskState};
use crate::core::target::{Scope, Target};
use crate::vendor::answer::{self, Codes, VendorRefusal};
use crate::vendor::request;
use crate::vendor::sign::{self, Parts};

pub(crate) static ADAPTER: HuaweiVod = HuaweiVod;

/// The adapter.
pub(crate) struct HuaweiVod;

static CAPABILITIES: Capabilities = Capabilities {
    kind: "huawei-vod",
    summary: "Huawei Cloud VOD",
    notice: None,
    default_endpoint: Some("https://vod.{region}.myhuaweicloud.com"),
    credentials: CredentialScheme::Fields {
        fields: &[
            request::key_id("HUAWEICLOUD_SDK_AK"),
            request::key_secret("HUAWEICLOUD_SDK_SK"),
            request::session_token("HUAWEICLOUD_SDK_SECURITY_TOKEN"),
        ],
        instead: Some(&CredentialField {
            name: BEARER_TOKEN,
            variable: "HUAWEICLOUD_AUTH_TOKEN",
            sort: FieldSort::SessionToken,
        }),
    },
    options: &[
        request::option(
            "region",
            OptionShape::Text,
            false,
            "region in the default endpoint, like `cn-north-4`; needed unless an endpoint is given",
        ),
        request::option(
            "project_id",
            OptionShape::Text,
            true,
            "id of the project in that region, 32 hex digits; the console shows it under My Credentials",
        ),
    ],
    operations: &[refresh(Scope::Url), refresh(Scope::AssetId)],
    max_url_bytes: Some(10_240),
    quota_day_offset_minutes: 480,
    // ASSUMED: no figure is documented.
    effect_ms: 300_000,
};

/// A token of IAM that is sent instead of a signature.
pub(super) const BEARER_TOKEN: &str = "bearer_token";

// It is in the vendor's SDK and not on its page; no rate is published.
const RESULT: QuerySpec = QuerySpec { name: "ShowRefreshResult", calls: Rate::per_second(10), kept_days: None };

/// The limits are those of one operation; the day's 1000 count URLs and asset ids together.
const fn refresh(scope: Scope) -> Operation {
    Operation {
        targets_per_call: 10,
        calls: Rate::per_second(10),
        targets_per_day: Some(1000),
        calls_in_flight: 4,
        ..Operation::plain("RefreshAsset", scope)
    }
}

const CODES: &Codes = &[
    ("APIGW.0308", Throttled),
    // Both come with HTTP 403 and pass all the same.
    ("VOD.10051", Transient),
    ("VOD.10052", Transient),
    ("VST.10002", Transient),
    // What is sent is well formed, so an illegal parameter is a URL or id that the service dislikes.
    ("VOD.10053", TargetRefused(Culprit::Unclear)),
    ("VOD.10081", TargetRefused(Culprit::Unclear)),
    ("VST.10001", TargetRefused(Culprit::Unclear)),
    ("VOD.10060", TargetRefused(Culprit::Target)),
    ("VOD.10061", TargetRefused(Culprit::Target)),
    ("VOD.10083", TargetRefused(Culprit::Target)),
    ("VOD.10062", TargetRefused(Culprit::Target)),
    ("VOD.10054", Auth),
    ("VST.10004", Auth),
    ("VOD.10055", Auth),
    ("VOD.10056", Auth),
    ("VOD.10057", Config),
    ("VOD.10058", Malformed),
    ("VOD.10059", Malformed),
    ("APIGW.03*", Auth),
    ("APIGW.0101", Config),
    ("APIGW.0103", Config),
];

/// Parameters: URLs or asset ids.
#[derive(Serialize)]
struct HuaweiParameters<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    urls: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asset_id_list: Option<Vec<&'a str>>,
}

impl Provider for HuaweiVod {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn check_options(&self, options: &Options) -> Vec<(&'static str, String)> {
        let mut problems: Vec<_> = request::check_region(options.text("region")).into_iter().collect();
        // A missing one is reported with the other required options.
        if options.text("project_id").is_some_and(|id| !is_project_id(id)) {
            problems.push(("project_id", "a project id has 32 hex digits; copy it from My Credentials".into()));
        }
        problems
    }

    fn encode(
        &self,
        call: &Call,
        account: &Account,
        credentials: &Credentials,
        stamp: &Stamp,
    ) -> Result<Request, String> {
        let (urls, asset_id_list) = match call.operation.scope {
            Scope::AssetId => (None, Some(request::texts(call))),
            Scope::Url | Scope::Directory => (Some(request::texts(call)), None),
        };
        let body = serde_json::to_vec(&HuaweiParameters { urls, asset_id_list }).map_err(|error| error.to_string())?;
        let headers = vec![request::pair("Content-Type", "application/json")];
        let draft = RequestDraft { method: "POST", query: String::new(), headers, body };
        signed(draft, &call.endpoint, account, credentials, stamp)
    }

    fn decode(&self, call: &Call, _account: &Account, response: &Response) -> Result<Reply, CallError> {
        let asked = Some(call.targets.len());
        let (body, request_id) = content(response)?;
        match answer::task_id_of(&body, &["task_id"]) {
            // Another 2xx is not documented, and a proxy may have made it.
            Some(task_id) if response.status == 202 => {
                answer::undenied(Reply { task_ids: vec![task_id], request_id, ..Reply::default() }, asked, response)
            }
            _ => Err(CallError { request_id, ..answer::without_code(response) }),
        }
    }

    fn task_query(&self) -> Option<&dyn TaskQuery> {
        Some(self)
    }
}

impl TaskQuery for HuaweiVod {
    fn task_spec(&self) -> QuerySpec {
        RESULT
    }

    fn encode_task(&self, cursor: TaskCursor<'_>, context: &QueryContext<'_>) -> Result<Request, String> {
        let QueryContext { endpoint, account, credentials, stamp } = *context;
        let query = sign::form_encode(&[request::pair("task_id", cursor.id)]);
        let draft = RequestDraft { method: "GET", query, headers: Vec::new(), body: Vec::new() };
        signed(draft, endpoint, account, credentials, stamp)
    }

    fn decode_task(&self, _cursor: TaskCursor<'_>, response: &Response) -> Result<TaskPage, CallError> {
        let (body, request_id) = content(response)?;
        let results = results_in(&body).filter(|_| response.status == 200);
        let results = results.ok_or_else(|| CallError { request_id, ..answer::without_code(response) })?;
        Ok(TaskPage { results, more: false })
    }
}

/// What differs from request to request before it is signed.
struct RequestDraft {
    method: &'static str,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

fn signed(
    draft: RequestDraft,
    endpoint: &Endpoint,
    account: &Account,
    credentials: &Credentials,
    stamp: &Stamp,
) -> Result<Request, String> {
    let RequestDraft { method, query, headers: own, body } = draft;
    let project_id = account.options.text("project_id").filter(|id| is_project_id(id));
    let project_id = project_id.ok_or("`project_id` is needed: 32 hex digits, as My Credentials shows it")?;
    let path = request::path(endpoint, &format!("/v1/{project_id}/asset/refresh"));
    let mut headers = vec![request::pair("Host", endpoint.authority())];
    headers.extend(own);
    if let Some(token) = credentials.field(BEARER_TOKEN) {
        request::check_sendable(token, "IAM token")?;
        headers.push(request::pair("X-Auth-Token", token.expose()));
    } else {
        let keys = request::keys(credentials, account, &CAPABILITIES)?;
        let date = stamp.wall.utc_basic();
        headers.push(request::pair("X-Sdk-Date", date.as_str()));
        // The SDK sends it, and projects below a region's project need it.
        headers.push(request::pair("X-Project-Id", project_id));
        headers.extend(keys.token.map(|token| request::pair("X-Security-Token", token.expose())));
        let parts = Parts { method, path: &path, query: &query, headers: &headers, body: &body };
        let authorization = authorization(&parts, &date, &keys);
        headers.push(request::pair("Authorization", authorization));
    }
    let path_and_query = if query.is_empty() { path } else { format!("{path}?{query}") };
    let (method, endpoint) = (method.into(), endpoint.clone());
    Ok(Request { method, endpoint, route: Route::ByProxy, path_and_query, headers, body })
}

/// The fields of an answer that is no refusal, with the request id.
fn content(response: &Response) -> Result<(Value, Option<String>), CallError> {
    answer::refuse_redirect(response)?;
    let header_id = response.header("x-request-id").map(str::to_owned);
    let Some(body) = answer::json_object(response) else {
        return Err(CallError { request_id: header_id, ..answer::without_code(response) });
    };
    let request_id = header_id.or_else(|| answer::text_of(&body, &["request_id"]));
    let is_success = (200..300).contains(&response.status);
    if let Some(code) = answer::text_of(&body, &["error_code", "code", "errorCode"]) {
        let message = answer::text_of(&body, &["error_msg", "message", "errorMsg"]).unwrap_or_default();
        // Refusals are documented with HTTP 4xx and 5xx; a success with a code is no answer of the service.
        let class = class_of(&code, response.status, &message).filter(|_| !is_success);
        return Err(VendorRefusal { code, message, request_id }.error(class, response));
    }
    if is_success && answer::has_error_member(&body, &[]) {
        return Err(CallError { request_id, ..answer::without_code(response) });
    }
    Ok((body, request_id))
}

fn results_in(body: &Value) -> Option<Vec<TaskResult>> {
    let result = |row: &Value| {
        let state = match row.get("status")?.as_str()? {
            "SUCCEED" => TaskState::Done,
            "PROCESSING" => TaskState::Processing,
            "FAILED" => TaskState::Failed,
            _ => return None,
        };
        Some(TaskResult { target: answer::text_of(row, &["url"]).map(Target::url), state })
    };
    body.get("refresh_results")?.as_array()?.iter().map(result).collect()
}

fn is_project_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// All headers so far are signed: none of them is one that a proxy changes.
fn authorization(parts: &Parts<'_>, date: &str, keys: &request::Keys<'_>) -> String {
    let mut names: Vec<String> = parts.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort_unstable();
    let signed: Vec<&str> = names.iter().map(String::as_str).collect();
    let signature = sign::sdk_hmac(parts, &signed, date, keys.secret).signature;
    let (id, names) = (keys.id.expose(), names.join(";"));
    format!("SDK-HMAC-SHA256 Access={id}, SignedHeaders={names}, Signature={signature}")
}

/// Two gateway codes mean different things, told apart by status and by message.
fn class_of(code: &str, status: u16, message: &str) -> Option<ErrorClass> {
    match (code, status) {
        ("APIGW.0201", 502 | 504) => Some(Transient),
        ("APIGW.0201", 400 | 413 | 414 | 494) => Some(Malformed),
        ("APIGW.0301", _) => Some(if speaks_of_time(message) { Clock } else { Auth }),
        _ => answer::classify(code, &[CODES]),
    }
}

/// Whether a refused signature is about its date. There is no code for it, only the message. An expired token is not
/// a matter of the clock.
fn speaks_of_time(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    let mut words = message.split(|c: char| !c.is_ascii_alphanumeric());
    let is_about_time = |word: &str| matches!(word, "date" | "timestamp") || word.starts_with("expir");
    words.clone().any(is_about_time) && !words.any(|word| word == "token")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::contract::ErrorClass::{Fatal, Unknown};
    use crate::core::contract::OptionValue;
    use crate::core::secret::Secret;
    use crate::vendor::testing::{
        Vector, account, assert_errors_spoil_acceptance, assert_garbage_is_unknown, call, decoded, decoded_with, keys,
        options, scoped_call, stamp, word,
    };
    use crate::vendor::testing::{answer, assert_garbage_is_no_answer, first_page, queried, results};

    const VECTORS: &str = include_str!("../../../tests/it/golden/vectors/huawei-vod.json");
    const PROJECT: &str = "0123456789abcdef0123456789abcdef";
    const HOST: &str = "vod.cn-north-4.myhuaweicloud.com";

    fn project() -> Account {
        account(&[("project_id", word(PROJECT))])
    }

    #[test]
    fn requests_are_those_of_the_vectors() {
        let sent = |vector: &Vector, targets: Vec<Target>, scope: Scope| {
            let call = scoped_call(&ADAPTER, vector.input("host"), scope, targets);
            let keys = keys("HWAKEXAMPLE", "HWSKEXAMPLE", None);
            ADAPTER.encode(&call, &project(), &keys, &stamp(0)).unwrap()
        };
        let urls = |vector: &Vector| vector.list("urls").into_iter().map(Target::url).collect();
        let three = Vector::find(VECTORS, "huawei-vod/three-urls");
        three.assert_sent(&sent(&three, urls(&three), Scope::Url));
        // The others leave `X-Project-Id` out, so only their bodies can be the same.
        for id in ["one-url", "query-strings", "localhost-host-with-port"] {
            let vector = Vector::find(VECTORS, &format!("huawei-vod/{id}"));
            assert_eq!(sent(&vector, urls(&vector), Scope::Url).body, vector.expected("body").as_bytes(), "{id}");
        }
        let vector = Vector::find(VECTORS, "huawei-vod/asset-ids");
        let ids = vector.list("asset_id_list").into_iter().map(Target::asset_id).collect();
        assert_eq!(sent(&vector, ids, Scope::AssetId).body, vector.expected("body").as_bytes());
    }

    #[test]
    fn session_token_is_sent_and_signed() {
        let call = call(&ADAPTER, HOST, &["http://a.example/"]);
        let request = ADAPTER.encode(&call, &project(), &keys("id", "secret", Some("session")), &stamp(0)).unwrap();
        assert_eq!(request.header("x-security-token"), Some("session"));
        let names = "SignedHeaders=content-type;host;x-project-id;x-sdk-date;x-security-token,";
        assert!(request.header("authorization").unwrap().contains(names));
    }

    #[test]
    fn iam_token_replaces_the_signature() {
        let call = call(&ADAPTER, HOST, &["http://a.example/"]);
        let bearer = Credentials::Fields(vec![(BEARER_TOKEN, Secret::new("iam".into()))]);
        let request = ADAPTER.encode(&call, &project(), &bearer, &stamp(0)).unwrap();
        assert_eq!(request.header("x-auth-token"), Some("iam"));
        assert_eq!((request.header("authorization"), request.header("x-sdk-date")), (None, None));
    }

    // X1
    #[test]
    fn wrong_credentials_are_named_and_not_shown() {
        let call = call(&ADAPTER, HOST, &["http://a.example/"]);
        let headers = Credentials::Headers(vec![("X-Key".into(), Secret::new("canary".into()))]);
        let bearer = Credentials::Fields(vec![(BEARER_TOKEN, Secret::new("canary\r\nX: y".into()))]);
        for credentials in [headers, bearer] {
            let error = ADAPTER.encode(&call, &project(), &credentials, &stamp(0)).unwrap_err();
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn options_are_checked() {
        let problems =
            |id, region| ADAPTER.check_options(&options(&[("project_id", word(id)), ("region", word(region))]));
        assert!(problems(PROJECT, "cn-north-4").is_empty());
        assert_eq!(problems("../other", "a.evil.example/").len(), 2);
        assert_eq!(problems(&PROJECT[1..], "cn-north-4").len(), 1);
        let bad = account(&[("project_id", OptionValue::Text("../other".into()))]);
        let call = call(&ADAPTER, HOST, &["http://a.example/"]);
        assert!(ADAPTER.encode(&call, &bad, &keys("id", "s", None), &stamp(0)).is_err());
        assert_eq!(CAPABILITIES.endpoint_for(&Options::default()), Some(Err("region")));
    }

    #[test]
    fn only_urls_have_a_length_limit() {
        let url = |length: usize| Target::url(format!("http://a.example/{}", "x".repeat(length - 17)));
        let check = |target: Target| ADAPTER.check_target(&target, &Options::default());
        assert!(check(url(10_240)).is_ok() && check(url(10_241)).is_err());
        assert!(check(Target::asset_id("f488337c31c8e4622f1590735b134c65")).is_ok());
        assert!(check(Target::asset_id("f4 88")).is_err());
    }

    #[test]
    fn only_202_with_a_task_is_acceptance() {
        let headers = [("X-Request-Id", "r")];
        let reply = decoded_with(&ADAPTER, &[], 202, &headers, r#"{"task_id":"t"}"#).unwrap();
        assert_eq!(reply, Reply { task_ids: vec!["t".into()], request_id: Some("r".into()), ..Reply::default() });
        assert_garbage_is_unknown(&ADAPTER, 202);
        for status in [200, 201, 204] {
            assert_eq!(decoded(&ADAPTER, status, r#"{"task_id":"t"}"#).unwrap_err().class, Unknown);
        }
    }

    #[test]
    fn a_success_that_speaks_of_an_error_is_unknown() {
        let body = |member: &str| format!(r#"{{{member},"task_id":"t"}}"#);
        assert_errors_spoil_acceptance(&ADAPTER, 202, &body);
        for status in [200, 202] {
            let refused = body(r#""error_code":"VOD.10062""#);
            assert_eq!(decoded(&ADAPTER, status, &refused).unwrap_err().class, Unknown, "{status}");
        }
    }

    #[test]
    fn every_listed_code_has_its_class() {
        let (per_target, unclear) = (TargetRefused(Culprit::Target), TargetRefused(Culprit::Unclear));
        let expected: &[(u16, ErrorClass, &[&str])] = &[
            (429, Throttled, &["APIGW.0308", "Never.Heard"]),
            (403, Transient, &["VOD.10051", "VOD.10052"]),
            (400, Transient, &["VST.10002"]),
            (502, Transient, &["APIGW.0201"]),
            (504, Transient, &["APIGW.0201", "Never.Heard"]),
            (400, Malformed, &["APIGW.0201"]),
            (413, Malformed, &["APIGW.0201"]),
            (414, Malformed, &["APIGW.0201"]),
            (494, Malformed, &["APIGW.0201"]),
            (400, unclear, &["VOD.10053", "VOD.10081", "VST.10001"]),
            (400, per_target, &["VOD.10083", "VOD.10062"]),
            (403, per_target, &["VOD.10060", "VOD.10061", "VOD.10062"]),
            (403, Auth, &["VOD.10054", "VOD.10055", "VOD.10056", "APIGW.0302", "APIGW.0303"]),
            (400, Auth, &["VST.10004"]),
            (403, Config, &["VOD.10057"]),
            (403, Malformed, &["VOD.10058", "VOD.10059"]),
            (401, Auth, &["APIGW.0301", "APIGW.0305", "APIGW.0306"]),
            (403, Auth, &["APIGW.0304", "APIGW.0307"]),
            (404, Config, &["APIGW.0101", "APIGW.0103"]),
            (400, Fatal, &["Never.Heard"]),
            (401, Auth, &["Never.Heard"]),
            (500, Transient, &["Never.Heard"]),
        ];
        for (status, class, codes) in expected {
            for code in *codes {
                for (name, message) in [("error_code", "error_msg"), ("code", "message"), ("errorCode", "errorMsg")] {
                    let body = format!(r#"{{"{name}":"{code}","{message}":"m","request_id":"r"}}"#);
                    let error = decoded(&ADAPTER, *status, &body).unwrap_err();
                    assert_eq!((error.class, error.code.as_str()), (*class, *code), "{status}");
                    assert_eq!((error.message.as_str(), error.request_id.as_deref()), ("m", Some("r")));
                }
            }
        }
    }

    // T1
    #[test]
    fn refused_signature_is_the_clock_only_if_the_message_says_so() {
        let class = |message: &str| {
            let body = format!(r#"{{"error_code":"APIGW.0301","error_msg":"{message}"}}"#);
            let error =
                decoded_with(&ADAPTER, &[], 401, &[("Date", "Tue, 14 Nov 2023 22:13:20 GMT")], &body).unwrap_err();
            assert_eq!(error.server_time.map(crate::core::time::Timestamp::unix_seconds), Some(1_700_000_000));
            error.class
        };
        assert_eq!(class("Incorrect IAM authentication information: x-sdk-date is invalid"), Clock);
        assert_eq!(class("The request is expired"), Clock);
        assert_eq!(class("signature expires, check the timestamp"), Clock);
        assert_eq!(class("Incorrect IAM authentication information: validate signature fail, update it"), Auth);
        assert_eq!(class("the token is expired"), Auth);
    }

    #[test]
    fn queries_are_those_of_the_vector() {
        let vector = Vector::find(VECTORS, "huawei-vod/show-refresh-result");
        let keys = keys("HWAKEXAMPLE", "HWSKEXAMPLE", None);
        let cursor = first_page("5199337c31c8e4622f1590735b13a263");
        let request =
            queried(vector.input("host"), &project(), &keys, 0, |context| ADAPTER.encode_task(cursor, context));
        let (path, text) = request.path_and_query.split_once('?').unwrap();
        assert_eq!((request.method.as_str(), path, text), ("GET", vector.expected("path"), vector.expected("query")));
        // The vector leaves `X-Project-Id` out: without it the signature is the same.
        let parts = Parts { method: "GET", path, query: text, headers: &request.headers, body: &request.body };
        let date = request.header("x-sdk-date").unwrap();
        let secret = Secret::new("HWSKEXAMPLE".into());
        let signed = sign::sdk_hmac(&parts, &["host", "x-sdk-date"], date, &secret);
        assert_eq!(signed.signature, vector.expected("signature"));
    }

    // R13
    #[test]
    fn results_of_tasks_are_read() {
        let row = |url, status| format!(r#"{{"url":"{url}","status":"{status}"}}"#);
        let rows = [row("a", "SUCCEED"), row("b", "PROCESSING"), row("c", "FAILED")].join(",");
        let body = format!(r#"{{"refresh_results":[{rows}]}}"#);
        let (done, open, failed) = (TaskState::Done, TaskState::Processing, TaskState::Failed);
        let results = results(&[(Some("a"), done), (Some("b"), open), (Some("c"), failed)]);
        let decoded = |body: &str| ADAPTER.decode_task(first_page("t"), &answer(200, &[], body));
        assert_eq!(decoded(&body), Ok(TaskPage { results, more: false }));
        let lower = body.replace("SUCCEED", "succeed");
        assert_eq!(decoded(&lower).unwrap_err().class, Unknown);
        assert_garbage_is_no_answer(|response| ADAPTER.decode_task(first_page("t"), response));
    }
}
