//! The kinds of providers as text and as JSON.

use serde_json::{Value, json};

use super::{JSON_VERSION, per_second, strong, table};
use crate::core::contract::{CredentialField, CredentialScheme};
use crate::core::provider::Provider;

/// All kinds in one table.
pub(crate) fn list(kinds: &[&dyn Provider]) -> String {
    let mut rows = Vec::new();
    for kind in kinds {
        let capabilities = kind.capabilities();
        for (position, operation) in capabilities.operations.iter().enumerate() {
            rows.push(vec![
                if position == 0 { capabilities.kind.to_owned() } else { String::new() },
                operation.name.to_owned(),
                operation.scope.word().to_owned(),
                operation.targets_per_call.to_string(),
                operation.calls.to_string(),
                operation.targets_per_day.map_or_else(|| "no limit".to_owned(), |most| most.to_string()),
            ]);
        }
    }
    let head = ["KIND", "OPERATION", "PURGES", "A CALL", "CALLS", "A DAY"];
    format!("{}\n`freshen providers KIND` tells all about one.\n", table(&head, &rows, &[3, 4, 5]))
}

/// One kind in full.
pub(crate) fn one(kind: &dyn Provider) -> String {
    let capabilities = kind.capabilities();
    let mut text = format!("{}: {}\n", strong(capabilities.kind), capabilities.summary);
    if let Some(notice) = capabilities.notice {
        text.push_str(&format!("Note: {notice}\n"));
    }
    text.push_str(&format!("\nEndpoint: {}\n", capabilities.default_endpoint.unwrap_or("must be given (`endpoints`)")));
    match capabilities.credentials {
        CredentialScheme::Headers => text.push_str("Credentials: none; configured headers may hold secrets\n"),
        CredentialScheme::Fields { fields, instead } => {
            let optional = |field: &CredentialField| if field.is_required() { "" } else { " (temporary keys)" };
            let fields: Vec<String> =
                fields.iter().map(|field| format!("{}{}", field.variable, optional(field))).collect();
            let or = instead.map_or_else(String::new, |field| format!(", or {}", field.variable));
            text.push_str(&format!("Credentials: {}{or}\n", fields.join(", ")));
            let names: Vec<&str> = capabilities.credentials.fields().map(|field| field.name).collect();
            text.push_str(&format!("  in a file or from a program: {}\n", names.join(", ")));
        }
    }
    let [quota, tasks] = query_names(kind);
    let told = [(quota, "quota left"), (tasks, "results of accepted purges")];
    let told: Vec<String> = told.iter().filter_map(|(name, what)| Some(format!("{what} ({})", (*name)?))).collect();
    let told = if told.is_empty() { "nothing".to_owned() } else { told.join(", ") };
    text.push_str(&format!("Tells when asked: {told}\n"));
    if !capabilities.options.is_empty() {
        text.push_str("\nOptions:\n");
    }
    for option in capabilities.options {
        let required = if option.required { ", required" } else { "" };
        text.push_str(&format!("  {} ({}{required})\n      {}\n", option.key, option.shape.words(), option.doc));
    }
    text
}

/// The vendor's names of its queries of quotas and of tasks.
fn query_names(kind: &dyn Provider) -> [Option<&'static str>; 2] {
    [kind.quota_query().map(|query| query.quota_spec().name), kind.task_query().map(|query| query.task_spec().name)]
}

/// The kinds for programs.
pub(crate) fn json(kinds: &[&dyn Provider]) -> Value {
    let kind = |provider: &&dyn Provider| {
        let capabilities = provider.capabilities();
        let [quota, tasks] = query_names(*provider);
        let operations: Value = capabilities
            .operations
            .iter()
            .map(|operation| {
                json!({
                    "operation": operation.name,
                    "scope": operation.scope.word(),
                    "targets_per_call": operation.targets_per_call,
                    "calls_per_second": per_second(operation.calls),
                    "calls_at_once": operation.calls.burst,
                    "targets_per_second": operation.targets.map(per_second),
                    "targets_per_day": operation.targets_per_day,
                })
            })
            .collect();
        let options: Value = capabilities
            .options
            .iter()
            .map(|option| json!({"key": option.key, "shape": option.shape.words(), "required": option.required, "doc": option.doc}))
            .collect();
        let credentials: Value = capabilities
            .credentials
            .fields()
            .map(|field| json!({"field": field.name, "variable": field.variable, "required": field.is_required()}))
            .collect();
        json!({
            "kind": capabilities.kind,
            "summary": capabilities.summary,
            "notice": capabilities.notice,
            "endpoint": capabilities.default_endpoint,
            "credentials": credentials,
            "operations": operations,
            "queries": {"quota": quota, "tasks": tasks},
            "options": options,
        })
    };
    json!({"version": JSON_VERSION, "command": "providers", "kinds": kinds.iter().map(kind).collect::<Value>()})
}
