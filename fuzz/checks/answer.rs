//! Any answer to any kind: never a panic, and accepted only if the vendor's documented acceptance is there.
//!
//! Input: a line with the status, lines with headers, an empty line, the body.

use freshen::core::contract::{Account, Call, CallError, Reply};
use freshen::core::http::{Endpoint, Response};
use freshen::core::provider::Provider;
use freshen::core::target::Target;
use freshen::vendor::VENDORS;
use serde_json::Value;

use super::vendor;

const LONGEST_MESSAGE: usize = 2048;
const LONGEST_SUMMARY: usize = 402;
const LONGEST_WAIT_MS: u64 = 3_600_000;
const TARGETS: usize = 2;

/// B2, X2
pub(crate) fn check(data: &[u8]) {
    let Some(response) = response(data) else { return };
    for kind in VENDORS.all() {
        let capabilities = kind.capabilities();
        let targets = (0..TARGETS).map(|number| Target::url(format!("https://a.example/{number}"))).collect();
        let endpoint =
            Endpoint { tls: true, host: "a.example".into(), port: None, path_prefix: String::new(), address: None };
        let call =
            Call { operation: &capabilities.operations[0], endpoint, targets, headers: Vec::new(), id: String::new() };
        let account = Account { provider: "p".into(), options: vendor::options(kind) };
        let name = capabilities.kind;
        match kind.decode(&call, &account, &response) {
            Ok(reply) => assert!(is_documented(kind, &response, &reply), "{name}: {response:?} is not accepted"),
            Err(error) => assert_told(name, &error),
        }
    }
}

fn response(data: &[u8]) -> Option<Response> {
    let end = data.windows(2).position(|pair| pair == b"\n\n")?;
    let mut lines = std::str::from_utf8(&data[..end]).ok()?.lines();
    let status = lines.next()?.parse().ok()?;
    let headers = lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.into(), value.into()));
    Some(Response { status, headers: headers.collect(), body: data[end + 2..].to_vec() })
}

/// What goes to terminals and records is short and holds nothing that they obey.
fn assert_told(name: &str, error: &CallError) {
    assert!(error.message.len() <= LONGEST_MESSAGE, "{name}: a message of {} bytes", error.message.len());
    assert!(error.retry_after_ms.is_none_or(|ms| ms <= LONGEST_WAIT_MS), "{name}: {error:?}");
    let summary = error.summary();
    assert!(!summary.chars().any(char::is_control) && !summary.starts_with("::"), "{name}: {summary:?}");
    assert!(summary.chars().count() <= LONGEST_SUMMARY * "\\u{10ffff}".len(), "{name}: {summary:?}");
}

/// The vendors' documents, read strictly and apart from the adapters: their own words for "accepted".
pub(crate) fn is_documented(kind: &dyn Provider, response: &Response, reply: &Reply) -> bool {
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let tencent = &body["Response"];
    let tasks = reply.task_ids.join(",");
    match kind.capabilities().kind {
        "tencent-cdn" => {
            response.status == 200
                && tencent["Error"].is_null()
                && is_id(&tencent["RequestId"], reply.request_id.as_deref())
                && is_id(&tencent["TaskId"], Some(&tasks))
        }
        "tencent-vod" => {
            response.status == 200
                && tencent["Error"].is_null()
                && is_id(&tencent["RequestId"], reply.request_id.as_deref())
                && reply.task_ids.is_empty()
        }
        "alibaba-vod" => {
            let listed = text(&body["RefreshTaskId"]).unwrap_or_default();
            response.status == 200
                && text(&body["Code"]).is_none()
                && !reply.task_ids.is_empty()
                && reply.task_ids.iter().all(|id| !id.is_empty() && listed.contains(id.as_str()))
        }
        "huawei-vod" => {
            response.status == 202 && text(&body["error_code"]).is_none() && is_id(&body["task_id"], Some(&tasks))
        }
        "qcloud-cdn" => {
            let count = body["data"].get("count").map(|count| text(count).unwrap_or_default());
            response.status == 200
                && text(&body["code"]).is_some_and(|code| code.trim().trim_start_matches(['+', '-', '0']).is_empty())
                && is_id(&body["data"]["task_id"], Some(&tasks))
                && count.is_none_or(|count| count.trim().trim_start_matches(['+', '0']) == TARGETS.to_string())
        }
        "http-purge" => (200..300).contains(&response.status) || [404, 412].contains(&response.status),
        other => {
            panic!("{other}: add the acceptance that its vendor documents to `is_documented` in fuzz/checks/answer.rs")
        }
    }
}

fn is_id(value: &Value, told: Option<&str>) -> bool {
    text(value).is_some_and(|id| !id.is_empty() && Some(id.as_str()) == told)
}

/// Vendors write ids and codes as texts or as numbers.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
