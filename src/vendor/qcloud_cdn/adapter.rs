//! Tencent's legacy CDN, API v2: `RefreshCdnUrl`. Failures come with HTTP 200 and a `code` other than 0.

use serde_json::Value;

use crate::core::contract::ErrorClass::{
    Auth, BatchTooLarge, Clock, Config, Fatal, Request as Malformed, SignAgain, TargetRefused, Throttled, Transient,
    Unknown,
};
use crate::core::contract::{
    Account, Call, CallError, Capabilities, Credentials, Culprit, ErrorClass, Operation, OptionShape, Rate, Reply,
    Stamp,
};
use crate::core::http::{Endpoint, Request, Response};
use crate::core::provider::Provider;
use crate::core::query::{QueryContext, QuerySpec, TaskCursor, TaskPage, TaskQuery, TaskResult, TaskState};
use crate::core::target::Scope;
use crate::vendor::answer::{self, VendorRefusal};
use crate::vendor::request;
use crate::vendor::sign::{self, QcloudMethod};
use crate::vendor::tencent_api::adapter as tencent_api;

pub(crate) static ADAPTER: QcloudCdn = QcloudCdn;

/// The adapter.
pub(crate) struct QcloudCdn;

// 1000 calls a minute.
const LOG: QuerySpec = QuerySpec { name: "GetCdnRefreshLog", calls: Rate::per_second(16), kept_days: Some(30) };
const SHA1: &str = "HmacSHA1";
const SHA256: &str = "HmacSHA256";

static CAPABILITIES: Capabilities = Capabilities {
    kind: "qcloud-cdn",
    summary: "Tencent Cloud CDN, legacy API v2, retired by its vendor",
    notice: Some(
        "the vendor announced the end of this API for 2022-11-30; use tencent-cdn unless a gateway of your own still \
         speaks it",
    ),
    default_endpoint: Some("https://cdn.api.qcloud.com"),
    credentials: tencent_api::CREDENTIALS,
    options: &[request::option(
        "signature_method",
        OptionShape::OneOf(&[SHA256, SHA1]),
        false,
        "digest of the signature. Default: HmacSHA256",
    )],
    operations: &[Operation {
        targets_per_call: 1000,
        // 1200 a minute.
        calls: Rate::per_second(20),
        targets_per_day: Some(10_000),
        calls_in_flight: 4,
        ..Operation::plain("RefreshCdnUrl", Scope::Url)
    }],
    max_url_bytes: None,
    quota_day_offset_minutes: 480,
    // ASSUMED: as the newer API of the same network.
    effect_ms: 300_000,
};

/// Classes of the general codes; 4000 is decided by the module code.
const CODES: &[(i64, ErrorClass)] = &[
    (4100, Auth),
    (4200, Clock),
    (4300, Auth),
    (4400, Throttled),
    (4500, SignAgain),
    (4600, Config),
    (5000, TargetRefused(Culprit::Target)),
    (5100, Transient),
    (5300, Auth),
    // Partly done: which part is not said, so all of it is sent again.
    (5400, Unknown),
    (5500, Auth),
    (6000, Transient),
    (6100, Fatal),
    (6200, Transient),
];

/// Classes of the module codes behind 4000.
const MODULE_CODES: &[(i64, ErrorClass)] = &[
    (9105, TargetRefused(Culprit::Host)),
    (9110, TargetRefused(Culprit::Host)),
    (1012, TargetRefused(Culprit::Unclear)),
    (9003, TargetRefused(Culprit::Unclear)),
    (9000, Transient),
    (-9011, Transient),
    (-9014, Transient),
    (-9015, Transient),
    (-9021, Transient),
    (1001, Auth),
    (1002, Auth),
];

/// Bad parameter.
const BAD_PARAMETER: i64 = 4000;
/// Longest nonce that every implementation of the service reads.
const NONCE_RANGE: u128 = 0x7fff_ffff;

impl Provider for QcloudCdn {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn encode(
        &self,
        call: &Call,
        account: &Account,
        credentials: &Credentials,
        stamp: &Stamp,
    ) -> Result<Request, String> {
        let urls = request::texts(call).into_iter().enumerate();
        let params = urls.map(|(index, url)| (format!("urls.{index}"), url.to_owned()));
        signed((call.operation.name, &call.endpoint), account, credentials, stamp, params)
    }

    fn decode(&self, call: &Call, _account: &Account, response: &Response) -> Result<Reply, CallError> {
        let asked = Some(call.targets.len());
        let (data, request_id) = data_of(response)?;
        let is_all =
            |count: &Value| integer(count).and_then(|count| usize::try_from(count).ok()) == Some(call.targets.len());
        let all_counted = data.get("count").is_none_or(is_all);
        match answer::task_id_of(&data, &["task_id"]) {
            Some(task_id) if response.status == 200 && all_counted => {
                answer::undenied(Reply { task_ids: vec![task_id], request_id, ..Reply::default() }, asked, response)
            }
            _ => Err(CallError { request_id, ..without_code(response) }),
        }
    }

    fn task_query(&self) -> Option<&dyn TaskQuery> {
        Some(self)
    }
}

impl TaskQuery for QcloudCdn {
    fn task_spec(&self) -> QuerySpec {
        LOG
    }

    fn encode_task(&self, cursor: TaskCursor<'_>, context: &QueryContext<'_>) -> Result<Request, String> {
        let QueryContext { endpoint, account, credentials, stamp } = *context;
        signed((LOG.name, endpoint), account, credentials, stamp, [request::pair("taskId", cursor.id)])
    }

    fn decode_task(&self, _cursor: TaskCursor<'_>, response: &Response) -> Result<TaskPage, CallError> {
        let (data, request_id) = data_of(response)?;
        let results = results_in(&data).filter(|_| response.status == 200);
        let results = results.ok_or_else(|| CallError { request_id, ..without_code(response) })?;
        Ok(TaskPage { results, more: false })
    }
}

fn signed(
    (action, endpoint): (&str, &Endpoint),
    account: &Account,
    credentials: &Credentials,
    stamp: &Stamp,
    own: impl IntoIterator<Item = (String, String)>,
) -> Result<Request, String> {
    let keys = request::keys(credentials, account, &CAPABILITIES)?;
    let (method, algorithm) = match account.options.text("signature_method") {
        Some(SHA1) => (SHA1, QcloudMethod::HmacSha1),
        _ => (SHA256, QcloudMethod::HmacSha256),
    };
    let mut params = vec![
        request::pair("Action", action),
        request::pair("SecretId", keys.id.expose()),
        request::pair("Timestamp", stamp.wall.unix_seconds().to_string()),
        request::pair("Nonce", (stamp.nonce % NONCE_RANGE + 1).to_string()),
        request::pair("SignatureMethod", method),
    ];
    params.extend(keys.token.map(|token| request::pair("Token", token.expose())));
    params.extend(own);

    let (host, path) = (endpoint.authority(), request::path(endpoint, "/v2/index.php"));
    let signature = sign::qcloud("POST", &host, &path, &params, algorithm, keys.secret).signature;
    params.push(request::pair("Signature", signature));
    let headers = vec![request::pair("Host", host), request::pair("Content-Type", "application/x-www-form-urlencoded")];
    Ok(request::post(endpoint, path, headers, sign::form_encode(&params).into_bytes()))
}

/// `data` of an answer that is no refusal, with the request id.
fn data_of(response: &Response) -> Result<(Value, Option<String>), CallError> {
    answer::refuse_redirect(response)?;
    let body = answer::json_object(response);
    let code = body.as_ref().and_then(|body| integer(body.get("code")?));
    let (Some(mut body), Some(code)) = (body, code) else {
        return Err(without_code(response));
    };
    let request_id = answer::text_of(&body, &["requestId"]);
    if code != 0 {
        return Err(refusal(&body, code, request_id, response));
    }
    if answer::has_error_member(&body, &["code"]) || !agrees(&body) {
        return Err(CallError { request_id, ..without_code(response) });
    }
    Ok((body.get_mut("data").map(Value::take).unwrap_or_default(), request_id))
}

/// Whether the words beside the code say nothing else than success.
fn agrees(body: &Value) -> bool {
    ["codeDesc", "message"].iter().all(|name| match body.get(name) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => ["", "success", "ok"].iter().any(|word| text.trim().eq_ignore_ascii_case(word)),
        Some(_) => false,
    })
}

/// The state is that of the whole task, not of each URL.
fn results_in(data: &Value) -> Option<Vec<TaskResult>> {
    let result = |row: &Value| {
        let state = match row.get("status").and_then(integer)? {
            1 => TaskState::Done,
            0 => TaskState::Processing,
            ..0 => TaskState::Failed,
            _ => return None,
        };
        Some(TaskResult { target: None, state })
    };
    let rows = data.get("logs")?.as_array()?;
    let mut results: Vec<TaskResult> = rows.iter().map(result).collect::<Option<_>>()?;
    // The query has no pages: what became of rows that are left out is not known.
    if data
        .get("total")
        .and_then(integer)
        .is_some_and(|total| usize::try_from(total).is_ok_and(|total| total > rows.len()))
    {
        results.push(TaskResult { target: None, state: TaskState::Processing });
    }
    Some(results)
}

/// HTTP 501 is how the service says that a request is too large.
fn without_code(response: &Response) -> CallError {
    let error = answer::without_code(response);
    if response.status == 501 { CallError { class: BatchTooLarge, ..error } } else { error }
}

fn refusal(body: &Value, code: i64, request_id: Option<String>, response: &Response) -> CallError {
    let message = answer::text_of(body, &["message"]).unwrap_or_default();
    let symbol = answer::text_of(body, &["codeDesc"]);
    let module = module_in(&message).or_else(|| symbol.as_ref()?.trim().parse().ok());
    let class = match (code, module) {
        (BAD_PARAMETER, module) => Some(module.and_then(|module| find(MODULE_CODES, module)).unwrap_or(Malformed)),
        // Further codes of credentials and rights are numbered behind the general one.
        (code, _) => {
            let family = || find(CODES, code / 100 * 100).filter(|class| *class == Auth);
            find(CODES, code).or_else(family)
        }
    };
    // Refusals are documented with HTTP 200; another success is no answer of the service.
    let class = class.filter(|_| !matches!(response.status, 201..300));
    let code = match (module.map(|module| module.to_string()), symbol) {
        (Some(detail), _) | (None, Some(detail)) => format!("{code} ({detail})"),
        (None, None) => code.to_string(),
    };
    VendorRefusal { code, message, request_id }.error(class, response)
}

/// The module code that a message begins with, as in `(9110)...`.
fn module_in(message: &str) -> Option<i64> {
    message.trim_start().strip_prefix('(')?.split_once(')')?.0.trim().parse().ok()
}

fn find(table: &[(i64, ErrorClass)], code: i64) -> Option<ErrorClass> {
    table.iter().find(|(known, _)| *known == code).map(|(_, class)| *class)
}

/// A number, or a number in quotes.
fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::testing::{
        Vector, account, assert_errors_spoil_acceptance, assert_garbage_is_unknown, call, decoded, keys, stamp, word,
    };
    use crate::vendor::testing::{answer, assert_garbage_is_no_answer, first_page, queried, results};

    const VECTORS: &str = include_str!("../../../tests/it/golden/vectors/qcloud-cdn.json");
    const HOST: &str = "cdn.api.qcloud.com";

    #[test]
    fn requests_are_those_of_the_vectors() {
        let cases = [
            ("one-url", SHA1),
            ("three-urls-sha256", SHA256),
            ("query-strings", SHA256),
            ("localhost-host-with-port", SHA1),
        ];
        for (id, method) in cases {
            let vector = Vector::find(VECTORS, &format!("qcloud-cdn/{id}"));
            let call = call(&ADAPTER, vector.input("host"), &vector.list("urls"));
            let account = account(&[("signature_method", word(method))]);
            let keys = keys("AKIDEXAMPLE", "SECRETKEYEXAMPLE", None);
            vector.assert_sent(&ADAPTER.encode(&call, &account, &keys, &stamp(vector.nonce() - 1)).unwrap());
        }
    }

    #[test]
    fn session_token_is_sent_and_signed() {
        let call = call(&ADAPTER, HOST, &["http://a.example/"]);
        let body = |token| {
            let request = ADAPTER.encode(&call, &account(&[]), &keys("id", "secret", token), &stamp(1)).unwrap();
            String::from_utf8(request.body).unwrap()
        };
        assert!(body(Some("session")).contains("&Token=session&"));
        assert!(body(None).contains("&SignatureMethod=HmacSHA256&"));
        assert_ne!(body(Some("session")).rsplit_once('=').unwrap().1, body(None).rsplit_once('=').unwrap().1);
    }

    #[test]
    fn nonces_are_positive_integers() {
        let call = call(&ADAPTER, HOST, &["http://a.example/"]);
        for nonce in [0, NONCE_RANGE - 1, NONCE_RANGE, u128::MAX] {
            let request = ADAPTER.encode(&call, &account(&[]), &keys("id", "s", None), &stamp(nonce)).unwrap();
            let form = sign::form_decode(std::str::from_utf8(&request.body).unwrap()).unwrap();
            let sent: u32 = form.iter().find(|(name, _)| name == "Nonce").unwrap().1.parse().unwrap();
            assert!((1..=0x7fff_ffff).contains(&sent), "{nonce}");
        }
    }

    #[test]
    fn acceptance_needs_code_0_and_a_task_for_all_targets() {
        let reply =
            decoded(&ADAPTER, 200, r#"{"code":0,"message":"","codeDesc":"Success","data":{"count":1,"task_id":"t"}}"#);
        assert_eq!(reply.unwrap(), Reply { task_ids: vec!["t".into()], request_id: None, ..Reply::default() });
        let lenient = decoded(&ADAPTER, 200, r#"{"code":"0","data":{"count":"1","task_id":17}}"#).unwrap();
        assert_eq!(lenient.task_ids, ["17"]);
        assert_garbage_is_unknown(&ADAPTER, 200);
        for body in [
            r#"{"code":0}"#,
            r#"{"code":0,"data":[]}"#,
            r#"{"code":0,"data":{"count":1}}"#,
            r#"{"code":0,"data":{"count":0,"task_id":"t"}}"#,
            r#"{"code":0,"data":{"count":"{","task_id":"t"}}"#,
            r#"{"code":0,"data":{"count":null,"task_id":"t"}}"#,
            r#"{"data":{"count":1,"task_id":"t"}}"#,
            r#"{"code":0,"codeDesc":"Failure","data":{"count":1,"task_id":"t"}}"#,
            r#"{"code":0,"codeDesc":"Success","message":"no right to purge","data":{"count":1,"task_id":"t"}}"#,
            r#"{"code":0,"codeDesc":4000,"data":{"count":1,"task_id":"t"}}"#,
            r#"{"code":0,"message":{"error":1},"data":{"count":1,"task_id":"t"}}"#,
            r#"{"code":0,"message":"(9110)","data":{"count":1,"task_id":"t"}}"#,
        ] {
            assert_eq!(decoded(&ADAPTER, 200, body).unwrap_err().class, Unknown, "{body}");
        }
    }

    #[test]
    fn a_success_that_speaks_of_an_error_is_unknown() {
        let body = |member: &str| format!(r#"{{"code":0,{member},"data":{{"count":1,"task_id":"t"}}}}"#);
        assert_errors_spoil_acceptance(&ADAPTER, 200, &body);
        for code in ["null", "true", "{}", "[0]", "\"ok\"", "0.5", "\"\"", "7777", "\"7777\"", "-1"] {
            let body = format!(r#"{{"code":{code},"data":{{"count":1,"task_id":"t"}}}}"#);
            assert_eq!(decoded(&ADAPTER, 200, &body).unwrap_err().class, Unknown, "{code}");
        }
        assert_eq!(decoded(&ADAPTER, 202, r#"{"code":4100,"message":"m"}"#).unwrap_err().class, Unknown);
    }

    #[test]
    fn every_general_code_has_its_class() {
        let expected = [
            (4000, Malformed),
            (4100, Auth),
            (4200, Clock),
            (4300, Auth),
            (4400, Throttled),
            (4500, SignAgain),
            (4600, Config),
            (5000, TargetRefused(Culprit::Target)),
            (5100, Transient),
            (5300, Auth),
            (5400, Unknown),
            (5500, Auth),
            (6000, Transient),
            (6100, Fatal),
            (6200, Transient),
            (4104, Auth),
            (4301, Auth),
            (5001, Unknown),
            (7777, Unknown),
        ];
        for (code, class) in expected {
            for written in [code.to_string(), format!("\"{code}\"")] {
                let body = format!(r#"{{"code":{written},"message":"m","codeDesc":"InvalidParameter"}}"#);
                let error = decoded(&ADAPTER, 200, &body).unwrap_err();
                assert_eq!((error.class, error.message.as_str()), (class, "m"), "{code}");
                assert_eq!(error.code, format!("{code} (InvalidParameter)"));
            }
        }
    }

    #[test]
    fn module_codes_come_from_message_then_from_code_desc() {
        let (host, unclear) = (TargetRefused(Culprit::Host), TargetRefused(Culprit::Unclear));
        let expected = [
            (9105, host),
            (9110, host),
            (1012, unclear),
            (9003, unclear),
            (9000, Transient),
            (-9011, Transient),
            (-9014, Transient),
            (-9015, Transient),
            (-9021, Transient),
            (1001, Auth),
            (1002, Auth),
            (8888, Malformed),
        ];
        for (module, class) in expected {
            let bodies = [
                format!(r#"{{"code":4000,"message":"({module})no such thing","codeDesc":"1001"}}"#),
                format!(r#"{{"code":4000,"message":"no such thing","codeDesc":"{module}"}}"#),
                format!(r#"{{"code":4000,"message":"","codeDesc":{module}}}"#),
            ];
            for body in bodies {
                let error = decoded(&ADAPTER, 200, &body).unwrap_err();
                assert_eq!((error.class, error.code), (class, format!("4000 ({module})")), "{body}");
            }
        }
    }

    #[test]
    fn http_501_splits_the_batch() {
        assert_eq!(decoded(&ADAPTER, 501, "<html>").unwrap_err().class, BatchTooLarge);
    }

    #[test]
    fn configuring_it_warns() {
        assert!(CAPABILITIES.notice.unwrap().contains("2022-11-30"));
    }

    /// The vector asks by GET; what is signed differs in the method alone.
    #[test]
    fn queries_are_those_of_the_vector() {
        let vector = Vector::find(VECTORS, "qcloud-cdn/get-refresh-log");
        let cursor = first_page("1480069888795584532");
        let account = account(&[("signature_method", word(SHA1))]);
        let keys = keys("AKIDEXAMPLE", "SECRETKEYEXAMPLE", None);
        // The nonce is counted from 1.
        let (host, nonce) = (vector.input("host"), vector.nonce() - 1);
        let request = queried(host, &account, &keys, nonce, |context| ADAPTER.encode_task(cursor, context));
        let mut sent = sign::form_decode(std::str::from_utf8(&request.body).unwrap()).unwrap();
        sent.retain(|(name, _)| name != "Signature");
        let mut expected = sign::form_decode(vector.expected("query")).unwrap();
        expected.retain(|(name, _)| name != "Signature");
        assert_eq!(sent, expected);
        let secret = crate::core::secret::Secret::new("SECRETKEYEXAMPLE".into());
        let signed = sign::qcloud("GET", HOST, "/v2/index.php", &sent, QcloudMethod::HmacSha1, &secret);
        assert_eq!(signed.signature, vector.expected("signature"));
    }

    // R13
    #[test]
    fn results_of_tasks_are_those_of_the_whole_task() {
        for (status, state) in [("1", TaskState::Done), ("0", TaskState::Processing), ("\"-2\"", TaskState::Failed)] {
            let body =
                format!(r#"{{"code":0,"message":"","data":{{"total":1,"logs":[{{"id":1,"status":{status}}}]}}}}"#);
            let page = TaskPage { results: results(&[(None, state)]), more: false };
            assert_eq!(ADAPTER.decode_task(first_page("1"), &answer(200, &[], &body)), Ok(page));
        }
        let odd = r#"{"code":0,"message":"","data":{"logs":[{"status":2}]}}"#;
        let odd = ADAPTER.decode_task(first_page("1"), &answer(200, &[], odd));
        assert_eq!(odd.unwrap_err().class, Unknown);
        assert_garbage_is_no_answer(|response| ADAPTER.decode_task(first_page("1"), response));
    }
}
