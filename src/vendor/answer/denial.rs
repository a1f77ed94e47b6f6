//! Words of failure in an answer that looks like an acceptance. No vendor documents them there, and any of them may come to send one.

use serde_json::Value;

/// Parts of names and texts that stand for failure.
const FAILURES: &[&str] = &[
    "fail",
    "error",
    "reject",
    "refus",
    "invalid",
    "illegal",
    "denied",
    "denies",
    "exception",
    "unsuccess",
    "forbidden",
    "unauthor",
    "abort",
    "cannot",
    "unable",
    "失败",
    "错误",
    "拒绝",
    "无效",
];
/// Names of what is said of the outcome, in a word or a text.
const OUTCOMES: &[&str] =
    &["status", "state", "result", "outcome", "message", "msg", "description", "desc", "reason", "detail", "warning"];

/// The name of a member that says that the call failed, in whole or in part, at any depth.
pub(super) fn in_value(value: &Value) -> Option<String> {
    match value {
        Value::Object(members) => members.iter().find_map(|(name, value)| {
            let found = denies(&name.to_lowercase(), value).then(|| name.clone());
            found.or_else(|| in_value(value))
        }),
        Value::Array(items) => items.iter().find_map(in_value),
        _ => None,
    }
}

fn denies(name: &str, value: &Value) -> bool {
    let is_code = name.ends_with("code") || matches!(name, "ret" | "errno");
    let is_success = name.contains("success") || name.contains("succeed") || matches!(name, "ok" | "accepted");
    if says_failure(name) || name.starts_with("err") && !is_code {
        return !is_nothing(value);
    }
    if is_code {
        return !(is_nothing(value) || is_good_status(value) || is_good_word(value));
    }
    if is_success {
        return is_nothing(value);
    }
    match value {
        Value::String(text) => OUTCOMES.contains(&name) && says_failure(&text.to_lowercase()),
        Value::Number(number) => {
            OUTCOMES.contains(&name) && number.as_f64().is_some_and(|number| !(0.0..300.0).contains(&number))
        }
        _ => false,
    }
}

fn says_failure(text: &str) -> bool {
    FAILURES.iter().any(|failure| text.contains(failure))
}

/// Nothing, none of them, no.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => ["", "0", "false", "no", "none", "null"].contains(&text.trim().to_lowercase().as_str()),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

/// A status of HTTP that says success.
fn is_good_status(value: &Value) -> bool {
    let number = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok());
    number.is_some_and(|number| (200..300).contains(&number))
}

fn is_good_word(value: &Value) -> bool {
    value.as_str().is_some_and(|text| ["ok", "success"].contains(&text.trim().to_lowercase().as_str()))
}
