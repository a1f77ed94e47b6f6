//! What is wrong with a line that is no line of an export: its field by name, and no word of its text, which may be of any file.

use serde_json::Value;

/// What a field takes; `None` for the value: the line may lack it.
pub(super) struct Field {
    name: &'static str,
    takes: &'static str,
    is_required: bool,
}

const TEXT: &str = "a text";
const TEXT_OR_NULL: &str = "a text or null";
const TEXTS: &str = "a list of texts";
const SWITCH: &str = "true or false";
const MOMENT: &str = "a whole number of milliseconds";
const NUMBER: &str = "a whole number from 0 to 4294967295";

const fn field(name: &'static str, takes: &'static str) -> Field {
    Field { name, takes, is_required: true }
}

const fn optional(name: &'static str, takes: &'static str) -> Field {
    Field { name, takes, is_required: false }
}

/// Fields of a target, and those of the work that is left for it.
pub(super) const TARGET: [&[Field]; 2] = [
    &[
        field("provider", TEXT),
        field("scope", TEXT),
        field("target", TEXT),
        field("owners", TEXTS),
        optional("hash", TEXT_OR_NULL),
        optional("left_alone", SWITCH),
        optional("recorded_at_ms", MOMENT),
        optional("task_id", TEXT_OR_NULL),
        optional("work", "an object or null"),
    ],
    &[
        field("kind", TEXT),
        optional("desired", TEXT_OR_NULL),
        field("priority", TEXT),
        field("since_ms", MOMENT),
        field("standing", TEXT),
        optional("reason", TEXT_OR_NULL),
        optional("until_ms", MOMENT),
        optional("refused_config", TEXT_OR_NULL),
        optional("progress", TEXT_OR_NULL),
        optional("waits", NUMBER),
        field("in_doubt", SWITCH),
        optional("may_have_been_purged", SWITCH),
        field("accepted_at", TEXTS),
    ],
];

/// Fields of a line of the ledger, and those of the quota in it.
pub(super) const LEDGER: [&[Field]; 2] = [
    &[field("quota", "an object")],
    &[
        field("account", TEXT),
        field("operation", TEXT),
        field("area", TEXT),
        field("day", TEXT),
        field("offset_minutes", "a whole number of minutes"),
        field("used", NUMBER),
    ],
];

/// Why a line with these fields cannot be read, of which the reader said so much.
pub(super) fn of_line(text: &str, [outer, inner]: [&[Field]; 2], error: &serde_json::Error) -> String {
    let column = error.column();
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(line)) => {
            let nested = outer.iter().find_map(|field| line.get(field.name)?.as_object());
            let lacks = |fields: &[Field], object: &serde_json::Map<String, Value>| {
                fields
                    .iter()
                    .find(|field| field.is_required && !object.contains_key(field.name))
                    .map(|field| field.name)
            };
            let has_other = |fields: &[Field], object: &serde_json::Map<String, Value>| {
                object.keys().any(|key| fields.iter().all(|field| field.name != key))
            };
            if let Some(name) = lacks(outer, &line).or_else(|| lacks(inner, nested?)) {
                return format!("`{name}` is missing");
            }
            if has_other(outer, &line) || nested.is_some_and(|nested| has_other(inner, nested)) {
                return format!("a key that no export has, or its value, at column {column}");
            }
        }
        Ok(_) => return format!("no object at column {column}"),
        Err(_) => {}
    }
    let before: String = text.chars().take(column).collect();
    let last = outer.iter().chain(inner).filter_map(|field| Some((last_key(&before, field.name)?, field)));
    match last.max_by_key(|(at, _)| *at) {
        Some((_, Field { name, takes, .. })) => {
            format!("`{name}` takes {takes}; it has something else at column {column}")
        }
        None => format!("not the values of an export at column {column}"),
    }
}

/// Where a key stands last. In a text its quotes would have a backslash before them.
fn last_key(text: &str, name: &str) -> Option<usize> {
    let key = format!("\"{name}\"");
    let is_key = |at: &usize| text[at + key.len()..].trim_start().starts_with(':');
    text.match_indices(&key).map(|(at, _)| at).filter(is_key).last()
}
