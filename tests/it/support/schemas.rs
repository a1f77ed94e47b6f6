//! Holds each JSON result that a test gets from the program to its schema in `docs/schemas`: one file a command, and one for all
//! that fail. A member that is added to a result is added there as well, in order of the alphabet.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

/// Larger results are not looked at: it would take long, and they say nothing new.
const LARGEST: usize = 1 << 20;

/// A schema, ready to be used.
pub(crate) struct Schema {
    pub(crate) text: String,
    pub(crate) root: Value,
    validator: Validator,
}

/// All of them, by the name of their file without its extension.
pub(crate) static SCHEMAS: LazyLock<BTreeMap<String, Schema>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schemas");
    let files = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let read = |path: std::path::PathBuf| {
        let text = fs::read_to_string(&path).expect("a schema");
        let root: Value = serde_json::from_str(&text).expect("JSON");
        let validator = jsonschema::validator_for(&root).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
        (name, Schema { text, root, validator })
    };
    files.map(read).collect()
});

/// The schema of a result, if it has one: that of its command, or that of all that fail.
pub(crate) fn schema_of(result: &Value) -> Option<(&'static str, &'static Schema)> {
    let name = result["command"].as_str().or_else(|| result["error"].is_string().then_some("failure"))?;
    SCHEMAS.get_key_value(name).map(|(name, schema)| (name.as_str(), schema))
}

/// Fails if `printed` is a result in JSON that is not as its schema says, or a time in it has another form than all have.
#[track_caller]
pub(crate) fn check(printed: &str) {
    if !printed.starts_with('{') || printed.len() > LARGEST {
        return;
    }
    // Lines of an export are no result; nor is what a test cut off.
    let Ok(result) = serde_json::from_str::<Value>(printed) else { return };
    if result["version"].is_null() {
        return;
    }
    check_times("", &result);
    let Some((name, schema)) = schema_of(&result) else { return };
    let faults: Vec<String> =
        schema.validator.iter_errors(&result).map(|error| format!("{}: {error}", error.instance_path)).collect();
    assert!(faults.is_empty(), "docs/schemas/{name}.json does not fit what the program prints: {faults:#?}\n{printed}");
}

/// RFC 3339 in UTC, with seconds.
pub(crate) fn is_time(text: &str) -> bool {
    let form = text.bytes().map(|byte| if byte.is_ascii_digit() { b'0' } else { byte });
    form.eq(*b"0000-00-00T00:00:00Z")
}

/// Whether a member holds a time, by its name.
fn names_time(name: &str) -> bool {
    matches!(name, "at" | "since" | "started" | "time" | "until") || name.ends_with("_at")
}

/// Fails for a member that holds a time in another form, or as a number.
#[track_caller]
pub(crate) fn check_times(name: &str, value: &Value) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| check_times(name, value)),
        Value::Array(items) => items.iter().for_each(|item| check_times(name, item)),
        Value::String(text) if names_time(name) => assert!(is_time(text), "`{name}`: {text}"),
        Value::Number(number) => {
            let is_moment = names_time(name) || name.ends_with("_ms") && name != "duration_ms";
            assert!(!is_moment, "`{name}` is a time as a number: {number}");
        }
        _ => {}
    }
}

/// All members that a schema describes, as paths such as `jobs[].quota.day`.
pub(crate) fn members(root: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk(root, root, None, "", &mut found);
    found
}

/// Those of them that are in `result`.
pub(crate) fn members_of(root: &Value, result: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk(root, root, Some(result), "", &mut found);
    found
}

fn walk(root: &Value, node: &Value, value: Option<&Value>, path: &str, found: &mut BTreeSet<String>) {
    if let Some(name) = node["$ref"].as_str() {
        let target = root.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("{name} is not there"));
        walk(root, target, value, path, found);
    }
    for way in node["anyOf"].as_array().into_iter().flatten() {
        walk(root, way, value, path, found);
    }
    for (name, member) in node["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match value.map(|value| value.get(name)) {
            Some(None) => {}
            Some(inner) => {
                found.insert(path.clone());
                walk(root, member, inner, &path, found);
            }
            None => {
                found.insert(path.clone());
                walk(root, member, None, &path, found);
            }
        }
    }
    if let Some(items) = node.get("items") {
        let path = format!("{path}[]");
        match value {
            None => walk(root, items, None, &path, found),
            Some(list) => {
                list.as_array().into_iter().flatten().for_each(|item| walk(root, items, Some(item), &path, found));
            }
        }
    }
}
