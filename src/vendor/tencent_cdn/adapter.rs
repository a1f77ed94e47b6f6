//! Tencent Cloud CDN, API 3.0: `PurgeUrlsCache` and, for directories, `PurgePathCache`.

use serde::Serialize;
use serde_json::Value;

use crate::core::contract::ErrorClass::{
    Auth, BatchTooLarge, Request as Malformed, TargetRefused, Throttled, Transient,
};
use crate::core::contract::{
    Account, Call, CallError, Capabilities, Credentials, Culprit, Operation, OptionShape, Options, Rate, Reply, Stamp,
};
use crate::core::http::{Request, Response};
use crate::core::provider::Provider;
use crate::core::query::{
    QueryContext, QuerySpec, QuotaFound, QuotaQuery, TaskCursor, TaskPage, TaskQuery, TaskResult, TaskState,
};
use crate::core::target::{Scope, Target};
use crate::vendor::answer::{self, Codes};
use crate::vendor::request;
use crate::vendor::tencent_api::adapter::{self as tencent_api, TencentAction};

pub(crate) static ADAPTER: TencentCdn = TencentCdn;

/// The adapter.
pub(crate) struct TencentCdn;

/// Areas with a quota of their own.
const AREAS: &[&str] = &["mainland", "overseas"];

static CAPABILITIES: Capabilities = Capabilities {
    kind: "tencent-cdn",
    summary: "Tencent Cloud CDN (API 3.0)",
    notice: None,
    default_endpoint: Some("https://cdn.tencentcloudapi.com"),
    credentials: tencent_api::CREDENTIALS,
    options: &[
        request::option(
            "area",
            OptionShape::OneOf(AREAS),
            false,
            "area in which to purge; must fit the domain. Default: where the domain is accelerated, at the cost of \
             quota in each of its areas",
        ),
        request::option(
            "url_encode",
            OptionShape::Bool,
            false,
            "let the service percent-encode Chinese characters before it purges; leave off for URLs that are encoded \
             already. Default: false",
        ),
    ],
    operations: &[
        Operation {
            targets_per_call: 1000,
            calls: Rate::per_second(20),
            targets_per_day: Some(10_000),
            calls_in_flight: 4,
            ..Operation::plain(PURGE, Scope::Url)
        },
        Operation {
            targets_per_call: 500,
            calls: Rate::per_second(20),
            targets_per_day: Some(100),
            calls_in_flight: 4,
            ..Operation::plain(PURGE_PATHS, Scope::Directory)
        },
    ],
    max_url_bytes: None,
    quota_day_offset_minutes: 480,
    // Documented: a purge takes effect in about five minutes.
    effect_ms: 300_000,
};

const PURGE: &str = "PurgeUrlsCache";
const PURGE_PATHS: &str = "PurgePathCache";
/// The other way, `flush`, has edges keep what the origin calls unchanged, by its dates: a file with other content and an
/// old date would stay stale.
const FLUSH_TYPE: &str = "delete";
const QUOTA: QuerySpec = QuerySpec { name: "DescribePurgeQuota", calls: Rate::per_second(20), kept_days: None };
const TASKS: QuerySpec = QuerySpec { name: "DescribePurgeTasks", calls: Rate::per_second(20), kept_days: None };
/// Rows of a page of tasks; as many as a call purges.
const PAGE: u32 = 1000;

const fn action(name: &'static str) -> TencentAction {
    TencentAction { service: "cdn", name, version: "2018-06-06" }
}

/// `InternalError.*` is among the common codes.
const CODES: &Codes = &[
    // An internal error in spite of its name.
    ("InvalidParameter.CdnInterfaceError", Transient),
    ("UnauthorizedOperation.OperationTooOften", Throttled),
    ("LimitExceeded.CdnPurgeExceedBatchLimit", BatchTooLarge),
    ("LimitExceeded.CdnPurgeUrlExceedBatchLimit", BatchTooLarge),
    ("LimitExceeded.CdnPurgePathExceedBatchLimit", BatchTooLarge),
    ("LimitExceeded.CdnPushExceedBatchLimit", BatchTooLarge),
    ("ResourceNotFound.CdnHostNotExists", TargetRefused(Culprit::Host)),
    // Both pass: the domain is off line, or about to be switched.
    ("ResourceUnavailable.CdnHostIsNotOnline", TargetRefused(Culprit::BusyHost)),
    ("InvalidParameter.CdnHostInvalidStatus", TargetRefused(Culprit::BusyHost)),
    // All that it says of rights to a host, or of its owner.
    ("UnauthorizedOperation.CdnHost*", TargetRefused(Culprit::Host)),
    ("InvalidParameter.CdnUrlExceedLength", TargetRefused(Culprit::Target)),
    ("InvalidParameter.CdnPurgeWildcardNotAllowed", TargetRefused(Culprit::Target)),
    // What is sent is well formed, so a bad parameter is a URL that the service dislikes.
    ("InvalidParameter.CdnParamError", TargetRefused(Culprit::Unclear)),
    ("InvalidParameter.CdnStatInvalidDate", Malformed),
    ("ResourceNotFound.CdnUserNotExists", Auth),
];

/// Parameters, in the order in which they are sent.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CdnParameters<'a> {
    urls: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    area: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url_encode: Option<bool>,
}

/// The same of a purge of directories.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PathParameters<'a> {
    paths: Vec<&'a str>,
    flush_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    area: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url_encode: Option<bool>,
}

/// Parameters of a query about a task.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TaskParameters<'a> {
    task_id: &'a str,
    offset: u64,
    limit: u32,
}

impl Provider for TencentCdn {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn quota_area(&self, options: &Options) -> String {
        options.text("area").unwrap_or_default().to_owned()
    }

    fn quota_areas(&self) -> &'static [&'static str] {
        AREAS
    }

    fn encode(
        &self,
        call: &Call,
        account: &Account,
        credentials: &Credentials,
        stamp: &Stamp,
    ) -> Result<Request, String> {
        let keys = request::keys(credentials, account, &CAPABILITIES)?;
        let (texts, area, url_encode) =
            (request::texts(call), account.options.text("area"), account.options.bool("url_encode"));
        let body = if call.operation.scope == Scope::Directory {
            serde_json::to_vec(&PathParameters { paths: texts, flush_type: FLUSH_TYPE, area, url_encode })
        } else {
            serde_json::to_vec(&CdnParameters { urls: texts, area, url_encode })
        };
        let body = body.map_err(|error| error.to_string())?;
        Ok(tencent_api::encode(&call.endpoint, &action(call.operation.name), &keys, stamp, body))
    }

    fn decode(&self, call: &Call, _account: &Account, response: &Response) -> Result<Reply, CallError> {
        let asked = Some(call.targets.len());
        let content = tencent_api::accepted(response, CODES)?;
        let request_id = tencent_api::request_id(&content);
        match answer::task_id_of(&content, &["TaskId"]) {
            Some(task_id) => {
                answer::undenied(Reply { task_ids: vec![task_id], request_id, ..Reply::default() }, asked, response)
            }
            None => Err(CallError { request_id, ..answer::without_code(response) }),
        }
    }

    fn quota_query(&self) -> Option<&dyn QuotaQuery> {
        Some(self)
    }

    fn task_query(&self) -> Option<&dyn TaskQuery> {
        Some(self)
    }
}

impl QuotaQuery for TencentCdn {
    fn quota_spec(&self) -> QuerySpec {
        QUOTA
    }

    fn encode_quota(&self, context: &QueryContext<'_>) -> Result<Request, String> {
        encode_query(&QUOTA, b"{}".to_vec(), context)
    }

    fn decode_quota(&self, _account: &Account, response: &Response) -> Result<Vec<QuotaFound>, CallError> {
        decode_query(response, quotas_in)
    }
}

impl TaskQuery for TencentCdn {
    fn task_spec(&self) -> QuerySpec {
        TASKS
    }

    fn encode_task(&self, cursor: TaskCursor<'_>, context: &QueryContext<'_>) -> Result<Request, String> {
        let parameters = TaskParameters { task_id: cursor.id, offset: cursor.seen, limit: PAGE };
        let body = serde_json::to_vec(&parameters).map_err(|error| error.to_string())?;
        encode_query(&TASKS, body, context)
    }

    fn decode_task(&self, cursor: TaskCursor<'_>, response: &Response) -> Result<TaskPage, CallError> {
        decode_query(response, |content| tasks_in(content, cursor.seen))
    }
}

fn encode_query(spec: &QuerySpec, body: Vec<u8>, context: &QueryContext<'_>) -> Result<Request, String> {
    let keys = request::keys(context.credentials, context.account, &CAPABILITIES)?;
    Ok(tencent_api::encode(context.endpoint, &action(spec.name), &keys, context.stamp, body))
}

fn decode_query<T>(response: &Response, read: impl FnOnce(&Value) -> Option<T>) -> Result<T, CallError> {
    let content = tencent_api::accepted(response, CODES)?;
    let request_id = tencent_api::request_id(&content);
    read(&content).ok_or_else(|| CallError { request_id, ..answer::without_code(response) })
}

fn quotas_in(content: &Value) -> Option<Vec<QuotaFound>> {
    let quota = |operation: &'static str, row: &Value| {
        Some(QuotaFound {
            operation,
            area: answer::text_of(row, &["Area"])?,
            limit: answer::count_of(row, &["Total"])?,
            left: answer::count_of(row, &["Available"])?,
        })
    };
    let of = |rows: &Value, operation| -> Option<Vec<QuotaFound>> {
        rows.as_array()?.iter().map(|row| quota(operation, row)).collect()
    };
    let mut quotas = of(content.get("UrlPurge")?, PURGE)?;
    if let Some(rows) = content.get("PathPurge") {
        quotas.extend(of(rows, PURGE_PATHS)?);
    }
    Some(quotas)
}

fn tasks_in(content: &Value, seen: u64) -> Option<TaskPage> {
    let result = |row: &Value| {
        let state = match row.get("Status")?.as_str()? {
            "done" => TaskState::Done,
            "process" => TaskState::Processing,
            "fail" => TaskState::Failed,
            _ => return None,
        };
        let scope = if answer::text_of(row, &["PurgeType"]).is_some_and(|sort| sort == "path") {
            Scope::Directory
        } else {
            Scope::Url
        };
        Some(TaskResult { target: answer::text_of(row, &["Url"]).map(|text| Target { scope, text }), state })
    };
    let results: Vec<TaskResult> = content.get("PurgeLogs")?.as_array()?.iter().map(result).collect::<Option<_>>()?;
    let more = !results.is_empty() && answer::count_of(content, &["TotalCount"])? > seen + results.len() as u64;
    Some(TaskPage { results, more })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::contract::ErrorClass::{self, Clock, Fatal, QuotaSpent};
    use crate::core::contract::OptionValue;
    use crate::vendor::testing::{
        Vector, account, assert_errors_spoil_acceptance, assert_garbage_is_unknown, call, decoded, keys, options,
        stamp, word,
    };
    use crate::vendor::testing::{answer, assert_garbage_is_no_answer, first_page, queried, results, scoped_call};

    const VECTORS: &str = include_str!("../../../tests/it/golden/vectors/tencent-cdn.json");

    fn encoded(id: &str, options: &[(&str, OptionValue)]) -> (Vector, Request) {
        let vector = Vector::find(VECTORS, id);
        let call = call(&ADAPTER, vector.input("host"), &vector.list("Urls"));
        let keys = keys("AKIDEXAMPLE", "SECRETKEYEXAMPLE", None);
        let request = ADAPTER.encode(&call, &account(options), &keys, &stamp(0)).unwrap();
        (vector, request)
    }

    #[test]
    fn requests_are_those_of_the_vectors() {
        let with_area = [("area", word("mainland")), ("url_encode", OptionValue::Bool(true))];
        let cases: [(&str, &[(&str, OptionValue)]); 6] = [
            ("tencent-cdn/one-url", &[]),
            ("tencent-cdn/area-and-urlencode", &with_area),
            ("tencent-cdn/three-urls-overseas", &[("area", word("overseas"))]),
            ("tencent-cdn/query-strings", &[]),
            ("tencent-cdn/punctuation", &[]),
            ("tencent-cdn/localhost-host-with-port", &[]),
        ];
        for (id, options) in cases {
            let (vector, request) = encoded(id, options);
            vector.assert_sent(&request);
        }
    }

    /// U9: as the vector, but for what `FlushType` says: everything below is fetched anew, whatever its date.
    #[test]
    fn directories_are_purged_with_everything_below_them() {
        let vector = Vector::find(VECTORS, "tencent-cdn/purge-path-cache");
        let paths = vector.list("Paths").into_iter().map(Target::directory).collect();
        let call = scoped_call(&ADAPTER, vector.input("host"), Scope::Directory, paths);
        let keys = keys("AKIDEXAMPLE", "SECRETKEYEXAMPLE", None);
        let request = ADAPTER.encode(&call, &account(&[]), &keys, &stamp(0)).unwrap();
        let body = vector.expected("body").replace("\"FlushType\":\"flush\"", "\"FlushType\":\"delete\"");
        assert_eq!(String::from_utf8(request.body.clone()).unwrap(), body);
        assert_eq!(request.header("X-TC-Action"), Some("PurgePathCache"));
        // The same body as the vector has its signature.
        let own = request.header("Authorization").unwrap().to_owned();
        assert_ne!(own, vector.expected("authorization"));
        let flushed = tencent_api::encode(
            &call.endpoint,
            &action(PURGE_PATHS),
            &request::keys(&keys, &account(&[]), &CAPABILITIES).unwrap(),
            &stamp(0),
            vector.expected("body").into(),
        );
        vector.assert_sent(&flushed);
        let options = [("area", word("overseas")), ("url_encode", OptionValue::Bool(false))];
        let request = ADAPTER.encode(&call, &account(&options), &keys, &stamp(0)).unwrap();
        let body =
            r#"{"Paths":["https://cdn.example.com/dir/"],"FlushType":"delete","Area":"overseas","UrlEncode":false}"#;
        assert_eq!(String::from_utf8(request.body).unwrap(), body);
    }

    #[test]
    fn session_token_is_sent_and_leaves_the_signature_as_it_is() {
        let call = call(&ADAPTER, "cdn.tencentcloudapi.com", &["https://a.example/"]);
        let encode = |token| ADAPTER.encode(&call, &account(&[]), &keys("id", "secret", token), &stamp(0)).unwrap();
        let (with, without) = (encode(Some("session")), encode(None));
        assert_eq!(with.header("x-tc-token"), Some("session"));
        assert_eq!(without.header("x-tc-token"), None);
        assert_eq!(with.header("authorization"), without.header("authorization"));
    }

    #[test]
    fn path_prefix_is_sent_and_signed() {
        let mut call = call(&ADAPTER, "127.0.0.1:1", &["https://a.example/"]);
        let encode = |call: &Call| ADAPTER.encode(call, &account(&[]), &keys("id", "s", None), &stamp(0)).unwrap();
        let plain = encode(&call);
        call.endpoint.path_prefix = "/gateway".into();
        let below = encode(&call);
        assert_eq!(below.path_and_query, "/gateway/");
        assert_ne!(plain.header("authorization"), below.header("authorization"));
    }

    // X1
    #[test]
    fn wrong_credentials_are_named_and_not_shown() {
        let call = call(&ADAPTER, "cdn.tencentcloudapi.com", &["https://a.example/"]);
        let bearer = Credentials::Fields(vec![("bearer_token", crate::core::secret::Secret::new("canary".into()))]);
        for credentials in [bearer, keys("canary\n", "canary", None), keys("id", "s", Some("canary x"))] {
            let error = ADAPTER.encode(&call, &account(&[]), &credentials, &stamp(0)).unwrap_err();
            assert!(!error.contains("canary"), "{error}");
        }
        let none = Credentials::Headers(Vec::new());
        let error = ADAPTER.encode(&call, &account(&[]), &none, &stamp(0)).unwrap_err();
        assert!(error.contains("TENCENTCLOUD_SECRET_ID"), "{error}");
    }

    #[test]
    fn targets_go_out_as_they_are_written_unless_they_could_come_apart() {
        let check = |text: &str| ADAPTER.check_target(&Target::url(text), &Options::default());
        // U9: `*` is a plain character; the service refuses the URL by name where it takes it for a wildcard.
        for text in ["https://a.example/x?q=1", "https://a.example/*.js", "https://a.example/a b"] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
        // U1
        for text in ["https://a.example/a\nb", "https://a.example/a\u{2028}b", ""] {
            assert!(check(text).is_err(), "{text}");
        }
        assert!(ADAPTER.check_target(&Target::asset_id("f4"), &Options::default()).is_err());
    }

    #[test]
    fn quota_is_kept_by_area() {
        assert_eq!(ADAPTER.quota_area(&options(&[("area", word("overseas"))])), "overseas");
        assert_eq!(ADAPTER.quota_area(&Options::default()), "");
        assert_eq!(ADAPTER.quota_areas(), ["mainland", "overseas"]);
    }

    #[test]
    fn acceptance_needs_task_and_request_id() {
        let reply = decoded(&ADAPTER, 200, r#"{"Response":{"TaskId":"t1","RequestId":"r1"}}"#).unwrap();
        assert_eq!(reply, Reply { task_ids: vec!["t1".into()], request_id: Some("r1".into()), ..Reply::default() });
        assert_garbage_is_unknown(&ADAPTER, 200);
        for body in [
            r#"{"Response":{"RequestId":"r1"}}"#,
            r#"{"Response":{"TaskId":"","RequestId":"r1"}}"#,
            r#"{"Response":{"TaskId":"t1"}}"#,
            r#"{"TaskId":"t1","RequestId":"r1"}"#,
        ] {
            assert_eq!(decoded(&ADAPTER, 200, body).unwrap_err().class, ErrorClass::Unknown, "{body}");
        }
        let error = decoded(&ADAPTER, 503, r#"{"Response":{"TaskId":"t1","RequestId":"r1"}}"#).unwrap_err();
        assert_eq!(error.class, Transient);
    }

    #[test]
    fn a_success_that_speaks_of_an_error_is_unknown() {
        let inside = |member: &str| format!(r#"{{"Response":{{{member},"TaskId":"t","RequestId":"r"}}}}"#);
        assert_errors_spoil_acceptance(&ADAPTER, 200, &inside);
        let beside = |member: &str| format!(r#"{{{member},"Response":{{"TaskId":"t","RequestId":"r"}}}}"#);
        assert_errors_spoil_acceptance(&ADAPTER, 200, &beside);
        // A documented code that comes with another success than the documented one.
        let refused = inside(r#""Error":{"Code":"ResourceNotFound.CdnHostNotExists","Message":"m"}"#);
        for status in [201, 202, 204] {
            assert_eq!(decoded(&ADAPTER, status, &refused).unwrap_err().class, ErrorClass::Unknown, "{status}");
        }
    }

    #[test]
    fn every_listed_code_has_its_class() {
        let internal = ["CamSystemError", "CdnConfigError", "CdnDbError", "CdnQueryParamError", "CdnQuerySystemError"]
            .into_iter()
            .chain(["CdnSystemError", "Error", "ProxyServer", "RouteError", "UnknownError", "Anything"]);
        let expected: &[(ErrorClass, &[&str])] = &[
            (Throttled, &["RequestLimitExceeded", "RequestLimitExceeded.UinLimitExceeded"]),
            (Throttled, &["RequestLimitExceeded.GlobalRegionUinLimitExceeded", "RequestLimitExceeded.IPLimitExceeded"]),
            (Throttled, &["UnauthorizedOperation.OperationTooOften"]),
            (Transient, &["InternalError", "ServiceUnavailable", "FailedOperation"]),
            (Transient, &["InvalidParameter.CdnInterfaceError"]),
            (Clock, &["AuthFailure.SignatureExpire"]),
            (Auth, &["AuthFailure.SignatureFailure", "AuthFailure.InvalidAuthorization"]),
            (Auth, &["AuthFailure.SecretIdNotFound", "AuthFailure.InvalidSecretId", "AuthFailure.TokenFailure"]),
            (Auth, &["AuthFailure.MFAFailure", "AuthFailure.UnauthorizedOperation", "UnauthorizedOperation"]),
            (Auth, &["ResourceNotFound.CdnUserNotExists", "UnauthorizedOperation.CdnCamUnauthorized"]),
            (Auth, &["UnauthorizedOperation.CdnUserAuthFail", "UnauthorizedOperation.CdnUserAuthWait"]),
            (Auth, &["UnauthorizedOperation.CdnUserIsSuspended", "UnauthorizedOperation.CdnUserIsIsolated"]),
            (Auth, &["UnauthorizedOperation.OpNoAuth", "UnauthorizedOperation.EcdnMigratedCdn"]),
            (Auth, &["UnauthorizedOperation.CdnProjectUnauthorized", "UnauthorizedOperation.CdnTagUnauthorized"]),
            (Auth, &["AuthFailure", "AuthFailure.Anything", "UnauthorizedOperation.Anything"]),
            (Fatal, &["OperationDenied", "OperationDenied.Anything"]),
            (QuotaSpent, &["LimitExceeded.Anything"]),
            (Throttled, &["RequestLimitExceeded.Anything"]),
            (Malformed, &["UnsupportedOperation.Anything"]),
            (TargetRefused(Culprit::Host), &["UnauthorizedOperation.CdnHostIsUsedByOther"]),
            (ErrorClass::Unknown, &["AuthFailures", "OperationDeniedByNobody"]),
            (Malformed, &["MissingParameter", "InvalidParameter", "InvalidParameterValue", "UnknownParameter"]),
            (Malformed, &["InvalidAction", "NoSuchVersion", "NoSuchProduct", "UnsupportedOperation"]),
            (Malformed, &["InvalidRequest", "InvalidParameter.CdnStatInvalidDate"]),
            (BatchTooLarge, &["RequestSizeLimitExceeded", "LimitExceeded.CdnPurgeExceedBatchLimit"]),
            (BatchTooLarge, &["LimitExceeded.CdnPurgeUrlExceedBatchLimit", "LimitExceeded.CdnPushExceedBatchLimit"]),
            (BatchTooLarge, &["LimitExceeded.CdnPurgePathExceedBatchLimit"]),
            (QuotaSpent, &["LimitExceeded", "LimitExceeded.CdnPurgeExceedDayLimit"]),
            (QuotaSpent, &["LimitExceeded.CdnPurgeUrlExceedDayLimit", "LimitExceeded.CdnPurgePathExceedDayLimit"]),
            (QuotaSpent, &["LimitExceeded.CdnPushExceedDayLimit"]),
            (Fatal, &["ActionOffline", "IpInBlacklist", "IpNotInWhitelist", "OperationDenied.ProductUpgraded"]),
            (Fatal, &["OperationDenied.ProductUpdating", "OperationDenied.UserMigrating"]),
            (ErrorClass::Unknown, &["Never.Heard"]),
            (
                TargetRefused(Culprit::BusyHost),
                &["ResourceUnavailable.CdnHostIsNotOnline", "InvalidParameter.CdnHostInvalidStatus"],
            ),
            (TargetRefused(Culprit::Host), &["ResourceNotFound.CdnHostNotExists"]),
            (TargetRefused(Culprit::Host), &["UnauthorizedOperation.CdnHostUnauthorized"]),
            (
                TargetRefused(Culprit::Target),
                &["InvalidParameter.CdnUrlExceedLength", "InvalidParameter.CdnPurgeWildcardNotAllowed"],
            ),
            (TargetRefused(Culprit::Unclear), &["InvalidParameter.CdnParamError"]),
        ];
        let listed = expected.iter().flat_map(|(class, codes)| codes.iter().map(|code| (*class, (*code).to_owned())));
        for (class, code) in listed.chain(internal.map(|detail| (Transient, format!("InternalError.{detail}")))) {
            // HTTP 200 with an error in the body, as the service does it.
            let body =
                format!(r#"{{"Response":{{"Error":{{"Code":"{code}","Message":"m"}},"TaskId":"t","RequestId":"r"}}}}"#);
            let error = decoded(&ADAPTER, 200, &body).unwrap_err();
            assert_eq!((error.class, error.code.as_str()), (class, code.as_str()));
            assert_eq!((error.message.as_str(), error.request_id.as_deref()), ("m", Some("r")));
        }
    }

    #[test]
    fn unknown_code_of_a_failing_server_is_transient() {
        let body = r#"{"Response":{"Error":{"Code":"Never.Heard","Message":"m"},"RequestId":"r"}}"#;
        assert_eq!(decoded(&ADAPTER, 500, body).unwrap_err().class, Transient);
    }

    #[test]
    fn queries_are_those_of_the_vectors() {
        let id = "1533045796-i60rfmzm";
        let own = keys("AKIDEXAMPLE", "SECRETKEYEXAMPLE", None);
        let encode = |cursor, context: &QueryContext<'_>| ADAPTER.encode_task(cursor, context);
        let tasks = Vector::find(VECTORS, "tencent-cdn/describe-purge-tasks");
        let host = tasks.input("host");
        tasks.assert_sent(&queried(host, &account(&[]), &own, 0, |context| encode(first_page(id), context)));
        let quota = Vector::find(VECTORS, "tencent-cdn/describe-purge-quota");
        quota.assert_sent(&queried(host, &account(&[]), &own, 0, |context| ADAPTER.encode_quota(context)));
        let third = TaskCursor { id, page: 2, seen: 2000 };
        let request = queried(host, &account(&[]), &own, 0, |context| encode(third, context));
        assert_eq!(request.body, format!(r#"{{"TaskId":"{id}","Offset":2000,"Limit":1000}}"#).into_bytes());
    }

    // T4
    #[test]
    fn quota_is_read_by_area() {
        let row = |area, left| format!(r#"{{"Area":"{area}","Batch":1000,"Total":10000,"Available":{left}}}"#);
        let (inside, outside) = (row("mainland", "9876"), row("overseas", "\"3\""));
        let folders = r#"{"Area":"overseas","Batch":20,"Total":100,"Available":99}"#;
        let body =
            format!(r#"{{"Response":{{"UrlPurge":[{inside},{outside}],"PathPurge":[{folders}],"RequestId":"r"}}}}"#);
        let found = |area: &str, left| QuotaFound { operation: PURGE, area: area.into(), limit: 10_000, left };
        let of_folders = QuotaFound { operation: PURGE_PATHS, area: "overseas".into(), limit: 100, left: 99 };
        let quotas = vec![found("mainland", 9876), found("overseas", 3), of_folders];
        let decoded = |body: &str| ADAPTER.decode_quota(&account(&[]), &answer(200, &[], body));
        assert_eq!(decoded(&body), Ok(quotas));
        let lacks = body.replace("Available", "Left");
        assert_eq!(decoded(&lacks).unwrap_err().class, ErrorClass::Unknown);
    }

    // R13
    #[test]
    fn results_of_tasks_are_read_page_by_page() {
        let rows = r#"[{"Url":"https://a/1","Status":"done"},{"Url":"https://a/2","Status":"process"},
            {"Url":"https://a/3","Status":"fail"}]"#;
        let body = |total| format!(r#"{{"Response":{{"PurgeLogs":{rows},"TotalCount":{total},"RequestId":"r"}}}}"#);
        let results = results(&[
            (Some("https://a/1"), TaskState::Done),
            (Some("https://a/2"), TaskState::Processing),
            (Some("https://a/3"), TaskState::Failed),
        ]);
        for (page, seen, total, more) in [(0, 0, 3, false), (0, 0, 4, true), (1, 3, 6, false), (1, 1000, 1004, true)] {
            let cursor = TaskCursor { id: "t", page, seen };
            let page = TaskPage { results: results.clone(), more };
            assert_eq!(ADAPTER.decode_task(cursor, &answer(200, &[], &body(total))), Ok(page));
        }
        let path = body(3).replace(r#""Status":"done""#, r#""PurgeType":"path","Status":"done""#);
        let page = ADAPTER.decode_task(first_page("t"), &answer(200, &[], &path)).unwrap();
        assert_eq!(page.results[0].target, Some(Target::directory("https://a/1")));
        let odd = body(3).replace("process", "later");
        let odd = ADAPTER.decode_task(first_page("t"), &answer(200, &[], &odd));
        assert_eq!(odd.unwrap_err().class, ErrorClass::Unknown);
        assert_garbage_is_no_answer(|response| ADAPTER.decode_task(first_page("t"), response));
        assert_garbage_is_no_answer(|response| ADAPTER.decode_quota(&account(&[]), response));
    }

    #[test]
    fn refused_queries_have_the_classes_of_refused_purges() {
        let body = r#"{"Response":{"Error":{"Code":"AuthFailure.SecretIdNotFound","Message":"m"},"RequestId":"r"}}"#;
        let refused = ADAPTER.decode_quota(&account(&[]), &answer(200, &[], body));
        assert_eq!(refused.unwrap_err().class, Auth);
    }
}
