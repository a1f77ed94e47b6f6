//! Alibaba Cloud VOD: `RefreshVodObjectCaches`, signed as V3 or in the older RPC style.

use serde_json::Value;

use crate::core::contract::ErrorClass::{
    Auth, BatchTooLarge, Clock, QuotaSpent, Request as Malformed, SignAgain, TargetRefused, Throttled, Transient,
};
use crate::core::contract::{
    Account, Call, CallError, Capabilities, CredentialScheme, Credentials, Culprit, Operation, OptionShape, Options,
    Rate, Reply, Stamp,
};
use crate::core::http::{Endpoint, Request, Response};
use crate::core::provider::Provider;
use crate::core::query::{
    QueryContext, QuerySpec, QuotaFound, QuotaQuery, TaskCursor, TaskPage, TaskQuery, TaskResult, TaskState,
};
use crate::core::target::{Scope, Target};
use crate::vendor::answer::{self, Codes, VendorRefusal};
use crate::vendor::request::{self, Keys};
use crate::vendor::sign::{self, Parts};

pub(crate) static ADAPTER: AlibabaVod = AlibabaVod;

/// The adapter.
pub(crate) struct AlibabaVod;

const ACTION: &str = "RefreshVodObjectCaches";
/// The quota of directories, which the same operation purges.
const DIRECTORIES: &str = "RefreshVodObjectCaches Directory";
// No figure is published for the rate of any operation; this one is modest.
const QUOTA: QuerySpec = QuerySpec { name: "DescribeVodRefreshQuota", calls: Rate::per_second(10), kept_days: None };
const TASKS: QuerySpec = QuerySpec { name: "DescribeVodRefreshTasks", calls: Rate::per_second(10), kept_days: Some(3) };
/// Most rows of a page of tasks.
const PAGE: u32 = 50;
const VERSION: &str = "2017-03-21";
const FORM: &str = "application/x-www-form-urlencoded";
const RPC: &str = "HMAC-SHA1";

static CAPABILITIES: Capabilities = Capabilities {
    kind: "alibaba-vod",
    summary: "Alibaba Cloud ApsaraVideo VOD",
    notice: None,
    default_endpoint: Some("https://vod.{region|cn-shanghai}.aliyuncs.com"),
    credentials: CredentialScheme::Fields {
        fields: &[
            request::key_id("ALIBABA_CLOUD_ACCESS_KEY_ID"),
            request::key_secret("ALIBABA_CLOUD_ACCESS_KEY_SECRET"),
            request::session_token("ALIBABA_CLOUD_SECURITY_TOKEN"),
        ],
        instead: None,
    },
    options: &[
        request::option(
            "object_type",
            OptionShape::OneOf(&["File", "Directory", "Regex", "IgnoreParams"]),
            false,
            "how the service reads each URL; anything but `File` purges more than the one URL that is listed. The \
             vendor allows 100 directories a day, so lower `limits` with `Directory`. Default: File",
        ),
        request::option(
            "force",
            OptionShape::Bool,
            false,
            "with `Directory` and the like: refetch everything in range, not only what changed. Default: false",
        ),
        request::option(
            "signature_method",
            OptionShape::OneOf(&["ACS3-HMAC-SHA256", RPC]),
            false,
            "how calls are signed; HMAC-SHA1 is the older RPC signature. Default: ACS3-HMAC-SHA256",
        ),
        request::option(
            "region",
            OptionShape::Text,
            false,
            "region in the default endpoint; the vendor documents this operation for cn-shanghai only. Default: \
             cn-shanghai",
        ),
    ],
    operations: &[
        Operation {
            targets_per_call: 1000,
            calls: Rate::per_second(10),
            targets_per_day: Some(2000),
            calls_in_flight: 4,
            ..Operation::plain(ACTION, Scope::Url)
        },
        Operation {
            quota: DIRECTORIES,
            targets_per_call: 100,
            calls: Rate::per_second(10),
            targets_per_day: Some(100),
            calls_in_flight: 4,
            ..Operation::plain(ACTION, Scope::Directory)
        },
    ],
    max_url_bytes: Some(1024),
    quota_day_offset_minutes: 480,
    // Documented for the CDN of the same vendor: refreshes take effect within five to six minutes.
    effect_ms: 360_000,
};

const CODES: &Codes = &[
    ("Throttling.*", Throttled),
    ("QuotaPerMinuteExceeded.*", Throttled),
    (BUSY, Transient),
    // Both pass: the domain is being configured, or off line.
    ("InvalidDomain.Configure_failed", TargetRefused(Culprit::BusyHost)),
    ("InvalidDomain.Offline", TargetRefused(Culprit::BusyHost)),
    ("InternalError", Transient),
    ("ServiceUnavailable", Transient),
    ("ServiceUnAvailable", Transient),
    ("UnknownError", Transient),
    ("PreloadQueueFull", Transient),
    ("QuotaExceeded.*", QuotaSpent),
    ("InvalidDomain.NotFound", TargetRefused(Culprit::Host)),
    ("IllegalOperation", TargetRefused(Culprit::Host)),
    ("InvalidObjectPath.Malformed", TargetRefused(Culprit::Target)),
    ("InvalidExtensiveDomain.ValueNotSupported", TargetRefused(Culprit::Unclear)),
    ("InvalidObjectPath.Size.Malformed", BatchTooLarge),
    ("MissingParameter", Malformed),
    ("InvalidParameter", Malformed),
    ("InvalidObjectType.ValueNotSupported", Malformed),
    ("InvalidTaskId.Malformed", Malformed),
    ("InvalidAction.NotFound", Malformed),
    ("InvalidVersion", Malformed),
    ("OperationDenied.*", Auth),
    ("Forbidden.*", Auth),
    ("NoPermission.*", Auth),
    ("InvalidAccessKeyId.*", Auth),
    ("SignatureDoesNotMatch.*", Auth),
    ("IncompleteSignature.*", Auth),
    ("InvalidSecurityToken.*", Auth),
    ("MissingSecurityToken.*", Auth),
    ("InvalidTimeStamp.*", Clock),
    ("SignatureNonceUsed", SignAgain),
];
/// The URLs of this minute are spent.
const PER_MINUTE: &str = "QuotaPerMinuteExceeded";
/// The domain is being configured, which takes the vendor a while.
const BUSY: &str = "ServiceBusy";
/// Wait for what lifts after a minute, where the answer names no time.
const MINUTE_MS: u64 = 60_000;

impl Provider for AlibabaVod {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn check_options(&self, options: &Options) -> Vec<(&'static str, String)> {
        request::check_region(options.text("region")).into_iter().collect()
    }

    /// Where URLs are read as anything but files they are no members of a directory.
    fn directories(&self, options: &Options) -> Option<&'static Operation> {
        let operation = CAPABILITIES.operation(Scope::Directory);
        operation.filter(|_| options.text("object_type").is_none_or(|word| word == "File"))
    }

    fn encode(
        &self,
        call: &Call,
        account: &Account,
        credentials: &Credentials,
        stamp: &Stamp,
    ) -> Result<Request, String> {
        let keys = request::keys(credentials, account, &CAPABILITIES)?;
        let params = parameters(call, &account.options)?;
        let action = AlibabaAction { name: ACTION, endpoint: &call.endpoint };
        Ok(match account.options.text("signature_method") {
            Some(RPC) => rpc(&action, &keys, stamp, params),
            _ => acs3(&action, &keys, stamp, &[], sign::form_encode(&params).into_bytes()),
        })
    }

    fn decode(&self, call: &Call, _account: &Account, response: &Response) -> Result<Reply, CallError> {
        accepted(call, response)
    }

    fn quota_query(&self) -> Option<&dyn QuotaQuery> {
        Some(self)
    }

    fn task_query(&self) -> Option<&dyn TaskQuery> {
        Some(self)
    }
}

impl QuotaQuery for AlibabaVod {
    fn quota_spec(&self) -> QuerySpec {
        QUOTA
    }

    fn encode_quota(&self, context: &QueryContext<'_>) -> Result<Request, String> {
        encode_query(&QUOTA, Vec::new(), context)
    }

    fn decode_quota(&self, account: &Account, response: &Response) -> Result<Vec<QuotaFound>, CallError> {
        decode_query(response, |body| quotas_in(body, &account.options))
    }
}

impl TaskQuery for AlibabaVod {
    fn task_spec(&self) -> QuerySpec {
        TASKS
    }

    fn encode_task(&self, cursor: TaskCursor<'_>, context: &QueryContext<'_>) -> Result<Request, String> {
        // In order of name, as the signature has them.
        let number = (cursor.page > 0).then(|| request::pair("PageNumber", (cursor.page + 1).to_string()));
        let rest = [request::pair("PageSize", PAGE.to_string()), request::pair("TaskId", cursor.id)];
        encode_query(&TASKS, number.into_iter().chain(rest).collect(), context)
    }

    fn decode_task(&self, cursor: TaskCursor<'_>, response: &Response) -> Result<TaskPage, CallError> {
        decode_query(response, |body| tasks_in(body, cursor.seen))
    }
}

fn encode_query(
    spec: &QuerySpec,
    params: Vec<(String, String)>,
    context: &QueryContext<'_>,
) -> Result<Request, String> {
    let QueryContext { endpoint, account, credentials, stamp } = *context;
    let keys = request::keys(credentials, account, &CAPABILITIES)?;
    let action = AlibabaAction { name: spec.name, endpoint };
    Ok(match account.options.text("signature_method") {
        Some(RPC) => rpc(&action, &keys, stamp, params),
        _ => acs3(&action, &keys, stamp, &params, Vec::new()),
    })
}

fn decode_query<T>(response: &Response, read: impl FnOnce(&Value) -> Option<T>) -> Result<T, CallError> {
    let (body, request_id) = content(response)?;
    let answer = read(&body).filter(|_| response.status == 200);
    answer.ok_or_else(|| CallError { request_id, ..answer::without_code(response) })
}

/// What is called, and where.
struct AlibabaAction<'a> {
    name: &'static str,
    endpoint: &'a Endpoint,
}

/// The quotas that calls with these options draw on. What patterns draw on is not documented.
fn quotas_in(body: &Value, options: &Options) -> Option<Vec<QuotaFound>> {
    let urls = (ACTION, ["UrlQuota", "UrlRemain"]);
    let directories = ["DirQuota", "DirRemain"];
    let quotas = match options.text("object_type") {
        None | Some("File") => vec![urls, (DIRECTORIES, directories)],
        Some("Directory") => vec![(ACTION, directories)],
        Some(_) => Vec::new(),
    };
    let found = quotas.into_iter().filter_map(|(operation, names)| {
        let [limit, left] = names.map(|name| answer::count_of(body, &[name]));
        let found = || Some(QuotaFound { operation, area: String::new(), limit: limit?, left: left? });
        // What is said of directories is of use, and not needed.
        Some(found()).filter(|found| found.is_some() || operation == ACTION)
    });
    found.collect()
}

fn tasks_in(body: &Value, seen: u64) -> Option<TaskPage> {
    let result = |row: &Value| {
        let state = match row.get("Status")?.as_str()? {
            "Complete" => TaskState::Done,
            "Refreshing" | "Pending" => TaskState::Processing,
            "Failed" => TaskState::Failed,
            _ => return None,
        };
        let sort = answer::text_of(row, &["ObjectType"]);
        let scope = match sort {
            Some(sort) if sort.eq_ignore_ascii_case("directory") => Scope::Directory,
            _ => Scope::Url,
        };
        Some(TaskResult { target: answer::text_of(row, &["ObjectPath"]).map(|text| Target { scope, text }), state })
    };
    let rows = body.get("Tasks")?.get("Task")?.as_array()?;
    let results: Vec<TaskResult> = rows.iter().map(result).collect::<Option<_>>()?;
    let more = !results.is_empty() && answer::count_of(body, &["TotalCount"])? > seen + results.len() as u64;
    Some(TaskPage { results, more })
}

/// The wait that a refusal asks for, in the vendor's own header or by what it is.
fn with_wait(mut error: CallError, response: &Response) -> CallError {
    let asked = response.header("x-acs-retry-after").and_then(|text| text.trim().parse().ok());
    match asked {
        Some(ms) if ms > 0 => error.retry_after_ms = Some(answer::capped_wait(ms)),
        _ if error.code.starts_with(PER_MINUTE) || error.code == BUSY => {
            error.retry_after_ms = error.retry_after_ms.or(Some(MINUTE_MS));
        }
        _ => {}
    }
    error
}

/// The operation's own parameters.
///
/// # Errors
/// U2: if the list would not come apart into the targets it was made of.
fn parameters(call: &Call, options: &Options) -> Result<Vec<(String, String)>, String> {
    let list = request::texts(call).join("\n");
    if list.split(['\n', '\r']).count() != call.targets.len() || list.split('\n').any(str::is_empty) {
        return Err("a target holds a line break, which would turn it into two".into());
    }
    let mut params = vec![request::pair("ObjectPath", list)];
    if call.operation.scope == Scope::Directory {
        // Without force only what the origin's dates call changed is fetched anew: the rest might stay stale.
        params.extend([request::pair("ObjectType", "Directory"), request::pair("Force", "true")]);
        return Ok(params);
    }
    params.extend(options.text("object_type").map(|word| request::pair("ObjectType", word)));
    params.extend(options.bool("force").map(|force| request::pair("Force", force.to_string())));
    Ok(params)
}

fn acs3(
    action: &AlibabaAction<'_>,
    keys: &Keys<'_>,
    stamp: &Stamp,
    query: &[(String, String)],
    body: Vec<u8>,
) -> Request {
    let path = request::path(action.endpoint, "/");
    let mut headers = vec![request::pair("host", action.endpoint.authority())];
    if !body.is_empty() {
        headers.push(request::pair("content-type", FORM));
    }
    headers.extend([
        request::pair("x-acs-action", action.name),
        request::pair("x-acs-version", VERSION),
        request::pair("x-acs-date", stamp.wall.utc_extended()),
        request::pair("x-acs-signature-nonce", nonce(stamp)),
        request::pair("x-acs-content-sha256", sign::sha256_hex(&body)),
    ]);
    if let Some(token) = keys.token {
        headers.push(request::pair("x-acs-security-token", token.expose()));
    }
    let mut names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let query = sign::form_encode(query);
    let parts = Parts { method: "POST", path: &path, query: &query, headers: &headers, body: &body };
    let signature = sign::acs3(&parts, &names, keys.secret).signature;
    let authorization = format!(
        "ACS3-HMAC-SHA256 Credential={},SignedHeaders={},Signature={signature}",
        keys.id.expose(),
        names.join(";")
    );
    headers.push(request::pair("Authorization", authorization));
    let line = if query.is_empty() { path } else { format!("{path}?{query}") };
    request::post(action.endpoint, line, headers, body)
}

fn rpc(action: &AlibabaAction<'_>, keys: &Keys<'_>, stamp: &Stamp, mut params: Vec<(String, String)>) -> Request {
    params.extend([
        request::pair("Action", action.name),
        request::pair("Version", VERSION),
        request::pair("Format", "JSON"),
        request::pair("AccessKeyId", keys.id.expose()),
        request::pair("SignatureMethod", RPC),
        request::pair("SignatureVersion", "1.0"),
        request::pair("SignatureNonce", nonce(stamp)),
        request::pair("Timestamp", stamp.wall.utc_extended()),
    ]);
    if let Some(token) = keys.token {
        params.push(request::pair("SecurityToken", token.expose()));
    }
    let signature = sign::acs_rpc("POST", &params, keys.secret).signature;
    params.push(request::pair("Signature", signature));
    let headers = vec![request::pair("Host", action.endpoint.authority()), request::pair("Content-Type", FORM)];
    let body = sign::form_encode(&params).into_bytes();
    request::post(action.endpoint, request::path(action.endpoint, "/"), headers, body)
}

fn nonce(stamp: &Stamp) -> String {
    format!("{:032x}", stamp.nonce)
}

/// The fields of an answer that is no refusal, with the request id.
fn content(response: &Response) -> Result<(Value, Option<String>), CallError> {
    answer::refuse_redirect(response)?;
    let Some(body) = answer::json_object(response) else {
        return Err(with_wait(answer::without_code(response), response));
    };
    let request_id = answer::text_of(&body, &["RequestId"]);
    let is_success = (200..300).contains(&response.status);
    if let Some(code) = answer::text_of(&body, &["Code"]) {
        // Refusals are documented with HTTP 4xx and 5xx; a success with a code is no answer of the service.
        let class = answer::classify(&code, &[CODES]).filter(|_| !is_success);
        let message = answer::text_of(&body, &["Message"]).unwrap_or_default();
        return Err(with_wait(VendorRefusal { code, message, request_id }.error(class, response), response));
    }
    if is_success && answer::has_error_member(&body, &[]) {
        return Err(CallError { request_id, ..answer::without_code(response) });
    }
    Ok((body, request_id))
}

fn accepted(call: &Call, response: &Response) -> Result<Reply, CallError> {
    let (body, request_id) = content(response)?;
    let task_ids: Vec<String> = answer::text_of(&body, &["RefreshTaskId"])
        .iter()
        .flat_map(|list| list.split(','))
        .map(|id| id.trim().to_owned())
        .filter(|id| !id.is_empty())
        .collect();
    if response.status != 200 || task_ids.is_empty() || !task_ids.iter().all(|id| answer::is_id(id)) {
        return Err(with_wait(CallError { request_id, ..answer::without_code(response) }, response));
    }
    answer::undenied(Reply { task_ids, request_id, ..Reply::default() }, Some(call.targets.len()), response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::contract::ErrorClass::{self, Fatal, Unknown};
    use crate::core::contract::OptionValue;
    use crate::vendor::testing::{
        Vector, account, assert_errors_spoil_acceptance, assert_garbage_is_unknown, call, decoded, decoded_with, keys,
        options, stamp, word,
    };
    use crate::vendor::testing::{answer, assert_garbage_is_no_answer, first_page, queried, results, scoped_call};

    const VECTORS: &str = include_str!("../../../tests/it/golden/vectors/alibaba-vod.json");
    const HOST: &str = "vod.cn-shanghai.aliyuncs.com";
    const ACCEPTED: &str = r#"{"RefreshTaskId":"1, 2,3","RequestId":"r"}"#;

    #[test]
    fn v3_requests_are_those_of_the_vectors() {
        let cases: [(&str, &[(&str, OptionValue)]); 2] =
            [("alibaba-vod/one-url-form", &[]), ("alibaba-vod/three-urls-form", &[("object_type", word("File"))])];
        for (id, options) in cases {
            let vector = Vector::find(VECTORS, id);
            let form = sign::form_decode(vector.expected("body")).unwrap();
            let call = call(&ADAPTER, vector.input("host"), &form[0].1.split('\n').collect::<Vec<_>>());
            let keys = keys("LTAIEXAMPLE", "ALISECRETEXAMPLE", None);
            let request = ADAPTER.encode(&call, &account(options), &keys, &stamp(vector.nonce())).unwrap();
            vector.assert_sent(&request);
        }
    }

    /// The vector's parameters are in its query and its nonce has hyphens, so its signature is recomputed from both.
    #[test]
    fn rpc_requests_carry_the_parameters_of_the_vector() {
        let vector = Vector::find(VECTORS, "alibaba-vod/rpc-one-url");
        let call = call(&ADAPTER, HOST, &["http://cdn.example.com/static/app.js"]);
        let account = account(&[("signature_method", word(RPC))]);
        let keys = keys("LTAIEXAMPLE", "ALISECRETEXAMPLE", None);
        let request = ADAPTER.encode(&call, &account, &keys, &stamp(vector.nonce())).unwrap();
        assert_eq!(request.header("content-type"), Some(FORM));
        let mut sent = sign::form_decode(std::str::from_utf8(&request.body).unwrap()).unwrap();
        let signature = sent.pop().unwrap();
        let secret = crate::core::secret::Secret::new("ALISECRETEXAMPLE".into());
        assert_eq!(signature, ("Signature".into(), sign::acs_rpc("POST", &sent, &secret).signature));

        for (name, value) in &mut sent {
            if name == "SignatureNonce" {
                *value = vector.input("nonce").to_owned();
            }
        }
        assert_eq!(sign::acs_rpc("POST", &sent, &secret).signature, vector.expected("signature"));
    }

    #[test]
    fn session_tokens_are_sent_and_signed_in_both_styles() {
        let call = call(&ADAPTER, HOST, &["http://a.example/"]);
        let encode = |method: &str, token| {
            let account = account(&[("signature_method", word(method))]);
            ADAPTER.encode(&call, &account, &keys("id", "secret", token), &stamp(1)).unwrap()
        };
        let v3 = encode("ACS3-HMAC-SHA256", Some("session"));
        assert_eq!(v3.header("x-acs-security-token"), Some("session"));
        assert!(v3.header("authorization").unwrap().contains(";x-acs-security-token;"));
        let body = |token| String::from_utf8(encode(RPC, token).body).unwrap();
        assert!(body(Some("session")).contains("&SecurityToken=session&Signature="));
        assert_ne!(body(Some("session")).rsplit_once('=').unwrap().1, body(None).rsplit_once('=').unwrap().1);
    }

    /// U9
    #[test]
    fn directories_are_purged_with_everything_below_them() {
        let directory = vec![Target::directory("http://a.example/d/")];
        let call = scoped_call(&ADAPTER, HOST, Scope::Directory, directory);
        let account = account(&[("force", OptionValue::Bool(false)), ("object_type", word("File"))]);
        let request = ADAPTER.encode(&call, &account, &keys("id", "secret", None), &stamp(1)).unwrap();
        assert_eq!(request.body, b"ObjectPath=http%3A%2F%2Fa.example%2Fd%2F&ObjectType=Directory&Force=true");
        assert!(ADAPTER.directories(&account.options).is_some());
        assert!(ADAPTER.directories(&options(&[("object_type", word("Regex"))])).is_none());
    }

    #[test]
    fn options_become_parameters() {
        let call = call(&ADAPTER, HOST, &["http://a.example/d/"]);
        let account = account(&[("object_type", word("Directory")), ("force", OptionValue::Bool(true))]);
        let request = ADAPTER.encode(&call, &account, &keys("id", "secret", None), &stamp(1)).unwrap();
        let body = "ObjectPath=http%3A%2F%2Fa.example%2Fd%2F&ObjectType=Directory&Force=true";
        assert_eq!(request.body, body.as_bytes());
    }

    // U2
    #[test]
    fn list_that_would_come_apart_differently_is_not_sent() {
        for text in ["http://a.example/\nhttp://b.example/", "http://a.example/\r", "http://a.example/\n", ""] {
            let call = call(&ADAPTER, HOST, &["http://a.example/1", text]);
            assert!(ADAPTER.encode(&call, &account(&[]), &keys("id", "s", None), &stamp(1)).is_err(), "{text:?}");
            assert!(ADAPTER.check_target(&Target::url(text), &Options::default()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn long_urls_and_odd_regions_are_refused() {
        let check = |length: usize| {
            let url = format!("http://a.example/{}", "x".repeat(length - 17));
            ADAPTER.check_target(&Target::url(url), &Options::default())
        };
        assert!(check(1024).is_ok() && check(1025).is_err());
        let region = |text| ADAPTER.check_options(&options(&[("region", word(text))]));
        assert!(region("cn-shanghai").is_empty());
        assert_eq!(region("evil.example/").len(), 1);
        assert!(ADAPTER.check_options(&Options::default()).is_empty());
        let default = CAPABILITIES.endpoint_for(&Options::default());
        assert_eq!(default, Some(Ok(format!("https://{HOST}"))));
    }

    #[test]
    fn acceptance_lists_all_tasks() {
        let reply = decoded(&ADAPTER, 200, ACCEPTED).unwrap();
        assert_eq!(
            reply,
            Reply {
                task_ids: vec!["1".into(), "2".into(), "3".into()],
                request_id: Some("r".into()),
                ..Reply::default()
            }
        );
        let number = decoded(&ADAPTER, 200, r#"{"RefreshTaskId":704222904,"RequestId":"r"}"#).unwrap();
        assert_eq!(number.task_ids, ["704222904"]);
        assert_garbage_is_unknown(&ADAPTER, 200);
        for body in [r#"{"RequestId":"r"}"#, r#"{"RefreshTaskId":" , ","RequestId":"r"}"#] {
            assert_eq!(decoded(&ADAPTER, 200, body).unwrap_err().class, Unknown);
        }
        assert_eq!(decoded(&ADAPTER, 202, ACCEPTED).unwrap_err().class, Unknown);
        assert_eq!(decoded(&ADAPTER, 500, ACCEPTED).unwrap_err().class, Unknown);
    }

    #[test]
    fn a_success_that_speaks_of_an_error_is_unknown() {
        let body = |member: &str| format!(r#"{{{member},"RefreshTaskId":"1","RequestId":"r"}}"#);
        assert_errors_spoil_acceptance(&ADAPTER, 200, &body);
        for status in [200, 202] {
            let refused = body(r#""Code":"InvalidDomain.NotFound""#);
            assert_eq!(decoded(&ADAPTER, status, &refused).unwrap_err().class, Unknown, "{status}");
        }
    }

    #[test]
    fn every_listed_code_has_its_class() {
        let expected: &[(u16, ErrorClass, &[&str])] = &[
            (503, Throttled, &["Throttling", "Throttling.User", "Throttling.Api"]),
            (400, Throttled, &["Throttling.User", "QuotaPerMinuteExceeded.Refresh"]),
            (403, Transient, &["ServiceBusy", "PreloadQueueFull"]),
            (500, TargetRefused(Culprit::BusyHost), &["InvalidDomain.Configure_failed"]),
            (404, TargetRefused(Culprit::BusyHost), &["InvalidDomain.Offline"]),
            (500, Transient, &["InternalError", "UnknownError", "Never.Heard"]),
            (503, Transient, &["ServiceUnavailable", "ServiceUnAvailable"]),
            (400, QuotaSpent, &["QuotaExceeded.Refresh"]),
            (404, TargetRefused(Culprit::Host), &["InvalidDomain.NotFound"]),
            (403, TargetRefused(Culprit::Host), &["IllegalOperation"]),
            (400, TargetRefused(Culprit::Target), &["InvalidObjectPath.Malformed"]),
            (400, TargetRefused(Culprit::Unclear), &["InvalidExtensiveDomain.ValueNotSupported"]),
            (400, BatchTooLarge, &["InvalidObjectPath.Size.Malformed"]),
            (400, Malformed, &["MissingParameter", "InvalidParameter", "InvalidObjectType.ValueNotSupported"]),
            (404, Malformed, &["InvalidTaskId.Malformed", "InvalidAction.NotFound", "InvalidVersion"]),
            (
                403,
                Auth,
                &["OperationDenied", "OperationDenied.Suspended", "Forbidden", "Forbidden.RAM", "NoPermission"],
            ),
            (404, Auth, &["InvalidAccessKeyId.NotFound", "InvalidAccessKeyId.Inactive"]),
            (400, Auth, &["SignatureDoesNotMatch", "IncompleteSignature", "MissingSecurityToken"]),
            (400, Auth, &["InvalidSecurityToken.Expired", "InvalidSecurityToken.Malformed"]),
            (400, Clock, &["InvalidTimeStamp.Expired", "InvalidTimeStamp.Format"]),
            (400, SignAgain, &["SignatureNonceUsed"]),
            (403, Auth, &["OperationDenied.Anything", "NoPermission.Anything", "InvalidAccessKeyId"]),
            (400, Auth, &["SignatureDoesNotMatch.Anything", "InvalidSecurityToken", "MissingSecurityToken.Anything"]),
            (400, QuotaSpent, &["QuotaExceeded", "QuotaExceeded.Anything"]),
            (400, Throttled, &["QuotaPerMinuteExceeded"]),
            (401, Auth, &["Never.Heard"]),
            (400, Fatal, &["Never.Heard"]),
            (200, Unknown, &["Never.Heard", "InvalidDomain.NotFound", "SignatureDoesNotMatch"]),
        ];
        for (status, class, codes) in expected {
            for code in *codes {
                let body = format!(r#"{{"Code":"{code}","Message":"m","RequestId":"r","RefreshTaskId":"1"}}"#);
                let error = decoded(&ADAPTER, *status, &body).unwrap_err();
                assert_eq!((error.class, error.code.as_str()), (*class, *code));
                assert_eq!((error.message.as_str(), error.request_id.as_deref()), ("m", Some("r")));
            }
        }
    }

    // T5
    #[test]
    fn waits_come_from_the_vendors_header_in_milliseconds() {
        let wait = |code: &str, headers: &[(&str, &str)]| {
            let body = format!(r#"{{"Code":"{code}","RequestId":"r"}}"#);
            decoded_with(&ADAPTER, &[], 400, headers, &body).unwrap_err().retry_after_ms
        };
        assert_eq!(wait("Throttling", &[("x-acs-retry-after", "1500"), ("Retry-After", "9")]), Some(1500));
        assert_eq!(wait("Throttling", &[("x-acs-retry-after", "0"), ("Retry-After", "9")]), Some(9000));
        assert_eq!(wait("Throttling", &[("x-acs-retry-after", "999999999999")]), Some(3_600_000));
        assert_eq!(wait("Throttling", &[("x-acs-retry-after", "soon")]), None);
        assert_eq!(wait("QuotaPerMinuteExceeded.Refresh", &[]), Some(60_000));
        assert_eq!(wait("ServiceBusy", &[]), Some(60_000));
        assert_eq!(wait("ServiceBusy", &[("x-acs-retry-after", "1500")]), Some(1500));
    }

    #[test]
    fn queries_are_those_of_the_vectors() {
        let encode = |cursor, context: &QueryContext<'_>| ADAPTER.encode_task(cursor, context);
        let (own, plain) = (keys("LTAIEXAMPLE", "ALISECRETEXAMPLE", None), account(&[]));
        let sent = |vector: &Vector, encode: &dyn Fn(&QueryContext<'_>) -> Result<Request, String>| {
            vector.assert_sent(&queried(vector.input("host"), &plain, &own, vector.nonce(), encode));
        };
        sent(&Vector::find(VECTORS, "alibaba-vod/describe-refresh-tasks"), &|context| {
            encode(first_page("704222904"), context)
        });
        sent(&Vector::find(VECTORS, "alibaba-vod/describe-refresh-quota"), &|context| ADAPTER.encode_quota(context));
        let third = TaskCursor { id: "7", page: 2, seen: 100 };
        let ask = |method| {
            let account = account(&[("signature_method", word(method))]);
            queried(HOST, &account, &keys("id", "secret", None), 1, |context| encode(third, context))
        };
        assert_eq!(ask("ACS3-HMAC-SHA256").path_and_query, "/?PageNumber=3&PageSize=50&TaskId=7");
        let form = String::from_utf8(ask(RPC).body).unwrap();
        assert!(form.starts_with("PageNumber=3&PageSize=50&TaskId=7&Action=DescribeVodRefreshTasks&"), "{form}");
    }

    // T4
    #[test]
    fn quota_is_that_of_what_the_account_purges() {
        let body = r#"{"UrlQuota":"2000","UrlRemain":"1996","DirQuota":"100","DirRemain":"99","RequestId":"r"}"#;
        let quota = |operation, limit, left| QuotaFound { operation, area: String::new(), limit, left };
        let both = Ok(vec![quota(ACTION, 2000, 1996), quota(DIRECTORIES, 100, 99)]);
        let decoded = |options: &[(&str, OptionValue)], status, body| {
            ADAPTER.decode_quota(&account(options), &answer(status, &[], body))
        };
        let of = |sort| decoded(&[("object_type", word(sort))], 200, body);
        assert_eq!(decoded(&[], 200, body), both);
        assert_eq!((of("File"), of("Directory")), (both, Ok(vec![quota(ACTION, 100, 99)])));
        assert_eq!(of("Regex"), Ok(Vec::new()));
        let error = r#"{"Code":"Forbidden.RAM","Message":"m","RequestId":"r"}"#;
        assert_eq!(decoded(&[], 403, error).unwrap_err().class, Auth);
    }

    // R13
    #[test]
    fn results_of_tasks_are_read_page_by_page() {
        let row = |path, status| format!(r#"{{"TaskId":"7","ObjectPath":"{path}","Status":"{status}"}}"#);
        let rows = [row("a", "Complete"), row("b", "Refreshing"), row("c", "Pending"), row("d", "Failed")].join(",");
        let body = |total| format!(r#"{{"Tasks":{{"Task":[{rows}]}},"TotalCount":{total},"RequestId":"r"}}"#);
        let (done, open, failed) = (TaskState::Done, TaskState::Processing, TaskState::Failed);
        let results = results(&[(Some("a"), done), (Some("b"), open), (Some("c"), open), (Some("d"), failed)]);
        for (seen, total, more) in [(0, "4", false), (0, "5", true), (46, "51", true), (46, "\"50\"", false)] {
            let page = TaskPage { results: results.clone(), more };
            let cursor = TaskCursor { id: "7", page: 1, seen };
            assert_eq!(ADAPTER.decode_task(cursor, &answer(200, &[], &body(total))), Ok(page));
        }
        let empty = body("5").replace(&rows, "");
        let found = ADAPTER.decode_task(first_page("7"), &answer(200, &[], &empty));
        assert_eq!(found, Ok(TaskPage::default()), "a page without rows is the last one");
        let path = body("4").replace(r#""Status":"Complete""#, r#""ObjectType":"directory","Status":"Complete""#);
        let page = ADAPTER.decode_task(first_page("7"), &answer(200, &[], &path)).unwrap();
        assert_eq!(page.results[0].target, Some(Target::directory("a")));
        assert_garbage_is_no_answer(|response| ADAPTER.decode_task(first_page("7"), response));
        assert_garbage_is_no_answer(|response| ADAPTER.decode_quota(&account(&[]), response));
    }
}
