//! What takes an acceptance back that stands beside it. No vendor documents any of it, and any of them may come to send it.
//!
//! What says how it went is judged by what it may say: a good state, all that was asked for. Of what else vendors may add, words of
//! failure count, and lists of any name: what was asked for is never repeated, so they are of what was not done, or of a part.

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
/// Parts of names and of states that stand for what was not done, or in part.
const UNDONE: &[&str] = &[
    "skipped",
    "partial",
    "notfound",
    "blocked",
    "unprocessed",
    "ignored",
    "dropped",
    "cancel",
    "incomplete",
    "dryrun",
    "throttled",
    "部分",
];
/// Ends of names of states.
const STATES: &[&str] = &["status", "state", "result", "outcome"];
/// Words of states that are no failure; one of them makes a state good.
const GOOD_WORDS: &[&str] = &[
    "ok",
    "okay",
    "success",
    "succeed",
    "succeeded",
    "successful",
    "successfully",
    "done",
    "accept",
    "accepted",
    "complete",
    "completed",
    "finished",
    "submitted",
    "created",
    "pending",
    "queued",
    "queueing",
    "scheduled",
    "waiting",
    "started",
    "running",
    "process",
    "processing",
    "progress",
    "inprogress",
    "refreshing",
    "refreshed",
    "purging",
    "purged",
    "deleted",
    "removed",
    "invalidated",
    "banned",
    "cleared",
    "true",
    "yes",
    "成功",
    "处理中",
    "已提交",
];
/// Words that turn a good one round.
const NEGATIONS: [&str; 4] = ["not", "no", "non", "partially"];
/// Names of what says that something is over, which `false` denies.
const ENDS: &[&str] = &["done", "finished", "complete", "completed", "purged", "refreshed", "submitted"];
/// Names of how many targets were taken.
const COUNTS: &[&str] =
    &["count", "total", "totalcount", "num", "urlcount", "urlscount", "successcount", "succeedcount", "acceptedcount"];
/// Names of what is said in a text of any length.
const PROSE: &[&str] = &["message", "msg", "description", "desc", "reason", "detail", "warning"];

/// The name of a member that says that the call failed, in whole or in part, at any depth. `asked`: how many targets an API was
/// asked for; `None` for a cache, which may answer as it likes.
pub(super) fn in_value(value: &Value, asked: Option<usize>) -> Option<String> {
    match value {
        Value::Object(members) => members.iter().find_map(|(name, value)| {
            let found = denies(name, value, asked).then(|| name.clone());
            found.or_else(|| in_value(value, asked))
        }),
        Value::Array(items) => items.iter().find_map(|item| in_value(item, asked)),
        _ => None,
    }
}

/// A text of failure that is no value of a member: the answer as a whole, or one of a list. What has a `/` may be a URL.
pub(super) fn in_lone_text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(&**text).filter(|text| !text.contains('/') && says_failure(&text.to_lowercase())),
        Value::Array(items) => items.iter().find_map(in_lone_text),
        _ => None,
    }
}

/// Whether a text can be no id of a task: it is blank, or a word for nothing or for an outcome.
pub(super) fn is_no_id(text: &str) -> bool {
    const WORDS: [&str; 11] =
        ["null", "none", "nil", "undefined", "unknown", "false", "na", "nan", "empty", "missing", "nothing"];
    let plain = plain(text);
    let mut words = text.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase);
    plain.is_empty()
        || text.trim().parse::<i64>().is_ok_and(|number| number <= 0)
        || WORDS.contains(&&*plain)
        || GOOD_WORDS.contains(&&*plain)
        || words.any(|word| says_failure(&word) && word.chars().all(char::is_alphabetic))
}

fn denies(written: &str, value: &Value, asked: Option<usize>) -> bool {
    let name = plain(written);
    let is_code = name.ends_with("code") || matches!(&*name, "ret" | "errno");
    if says_failure(&name) || is_undone(&name) || name.starts_with("err") && !is_code {
        return !is_nothing(value);
    }
    if is_code {
        return !(is_nothing(value) || is_good_status(value) || is_good_word(value));
    }
    if let Some(asked) = asked.filter(|_| COUNTS.contains(&&*name)) {
        return number_of(value).is_some_and(|count| count < asked as u64);
    }
    let is_success = name.contains("success") || name.contains("succeed") || matches!(&*name, "ok" | "accepted");
    // Where URLs are names, what stands by them is how it went.
    let is_state = STATES.iter().any(|end| name.ends_with(end)) || written.contains('/');
    match value {
        Value::Array(items) if asked.is_some() => !items.is_empty(),
        _ if is_success => is_nothing(value),
        Value::Bool(false) => is_state || ENDS.contains(&&*name),
        Value::String(text) if is_state => !is_good_state(text),
        Value::String(text) => PROSE.contains(&&*name) && says_failure(&text.to_lowercase()),
        Value::Number(number) => {
            let is_outcome = is_state || PROSE.contains(&&*name);
            is_outcome && number.as_f64().is_some_and(|number| !(0.0..300.0).contains(&number))
        }
        _ => false,
    }
}

/// Letters and digits in lower case.
fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn is_undone(plain: &str) -> bool {
    // Elsewhere these letters are part of other words.
    UNDONE.iter().any(|word| plain.contains(word)) || plain.starts_with("bad")
}

/// Whether a state is known to be none of failure: a word, some words with a good one, or a status of HTTP.
fn is_good_state(text: &str) -> bool {
    let text = text.trim().to_lowercase();
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    if let Some(number) = words.iter().find_map(|word| word.parse::<u64>().ok()) {
        return number < 300 && !says_failure(&text);
    }
    let is_bad = says_failure(&text) || is_undone(&plain(&text)) || words.iter().any(|word| NEGATIONS.contains(word));
    text.is_empty() || words.iter().any(|word| GOOD_WORDS.contains(word)) && !is_bad
}

pub(super) fn says_failure(text: &str) -> bool {
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
    number_of(value).is_some_and(|number| (200..300).contains(&number))
}

fn number_of(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

fn is_good_word(value: &Value) -> bool {
    value.as_str().is_some_and(|text| ["ok", "success"].contains(&text.trim().to_lowercase().as_str()))
}
