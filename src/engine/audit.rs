//! `apply --audit`: one line of JSON a call, as an account of what was purged.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::executor::CallReport;
use super::{Exit, Stop};
use crate::core::http::Endpoint;
use crate::core::model::{CredentialSource, Model};
use crate::core::target::Target;
use crate::core::text::is_unsafe;
use crate::host::audit::{self, AuditLog};
use crate::host::own_files;

/// Version of the lines; the same rules as for `--format json`.
const VERSION: u32 = 1;

/// The audit log of a run; without a file it takes everything and keeps nothing.
pub(super) struct Audit {
    log: Option<AuditLog>,
    /// Lines that could not be written.
    lost: Vec<String>,
}

impl Audit {
    /// # Errors
    /// Bad input for a file that holds credentials of the model, or lines of others: it is no log.
    pub(super) fn check(path: Option<&Path>, model: &Model) -> Result<(), Stop> {
        let holds_keys = |path: &&Path| {
            model.providers.iter().any(|provider| match &provider.credentials {
                CredentialSource::File(file) => own_files::are_one(path, Path::new(file)),
                _ => false,
            })
        };
        match path {
            Some(path) if holds_keys(&path) => Err(misplaced(path, "is a file of credentials")),
            Some(path) if audit::is_of_others(path, &is_record) => {
                Err(misplaced(path, "holds other lines than those of an audit log"))
            }
            _ => Ok(()),
        }
    }

    /// Opens the log and proves that it can be written.
    ///
    /// # Errors
    /// Names file and cause; nothing was sent.
    pub(super) fn open(path: Option<&Path>) -> Result<Self> {
        let open = |path: &Path| {
            let failed = || format!("audit log `{}` cannot be written; nothing was sent", path.display());
            AuditLog::open(path, &is_record).with_context(failed)
        };
        Ok(Self { log: path.map(open).transpose()?, lost: Vec::new() })
    }

    /// Writes a call down.
    ///
    /// # Errors
    /// What the system said; the line is kept for [`Audit::finish`].
    pub(super) fn record(&mut self, model: &Model, call: &CallReport, targets: &[Target]) -> std::io::Result<()> {
        let Some(log) = &mut self.log else { return Ok(()) };
        let line = line(&model.providers[call.provider].name, call, targets);
        log.append(&line).inspect_err(|_| self.lost.push(line))
    }

    /// Makes the log durable and gives `error` what is missing in it; the exit code, if anything is.
    pub(super) fn finish(&self, failure: Option<&str>, error: &mut dyn FnMut(&str)) -> Option<Exit> {
        let log = self.log.as_ref()?;
        let path = log.path().display();
        let problem = match (failure, log.sync()) {
            (Some(cause), _) => format!("cannot be written: {cause}; sending was stopped"),
            (None, Err(cause)) => format!("may lose its last lines: {cause}"),
            (None, Ok(())) => return None,
        };
        let lost = self.lost.iter().map(|line| format!("\nnot in the audit log: {line}"));
        error(&format!("audit log `{path}` {problem}{}", lost.collect::<String>()));
        Some(Exit::Failed)
    }
}

/// # Errors
/// Bad input for an audit log among the files of the state, or where it would be read as a manifest.
pub fn check_place(audit: &Path, state: &Path, manifests: &[PathBuf]) -> Result<(), Stop> {
    if own_files::is_of_state(audit, state) {
        return Err(misplaced(audit, "is a file of the state"));
    }
    if own_files::is_read_as_manifest(audit, manifests) {
        return Err(misplaced(audit, "would be read as a manifest"));
    }
    Ok(())
}

/// The error of an audit log in the place of another file.
pub(super) fn misplaced(path: &Path, what: &str) -> Stop {
    Stop::bad_input(format!("audit log `{}` {what}; write it elsewhere; nothing was sent", path.display()))
}

/// How a line begins: JSON has its keys in order of name.
const BEGINNING: &str = "{\"address\":";
/// Keys that each line has had since the first version.
const KEYS: [&str; 5] = ["version", "time", "run", "provider", "outcome"];

/// Whether a line is one of an audit log; a program that was stopped may have left a part of it.
fn is_record(line: &str) -> bool {
    let has_keys = |value: &Value| KEYS.iter().all(|key| value.get(key).is_some());
    line.starts_with(BEGINNING) || serde_json::from_str(line).is_ok_and(|value| has_keys(&value))
}

fn line(provider: &str, call: &CallReport, targets: &[Target]) -> String {
    let (tasks, message) = match &call.result {
        Ok(tasks) => (tasks.as_slice(), None),
        Err(message) => (&[][..], Some(message)),
    };
    let refused: Vec<_> = call
        .refused
        .iter()
        .filter_map(|(target, message)| Some(json!({"target": targets.get(*target)?.text, "message": message})))
        .collect();
    let texts: Vec<&str> = targets.iter().map(|target| target.text.as_str()).collect();
    let value = json!({
        "version": VERSION,
        "time": call.sent.wall.utc_extended(),
        "duration_ms": call.ended.tick.since(call.sent.tick),
        "run": call.run,
        "provider": provider,
        "operation": call.operation,
        "endpoint": Endpoint { address: None, ..call.endpoint.clone() }.to_string(),
        "address": call.endpoint.address.map(|address| address.to_string()),
        "count": targets.len(),
        "stands_for": call.changes,
        "targets": texts,
        "outcome": call.outcome,
        "code": call.code,
        "not_cached": call.not_cached,
        "message": message,
        "request_id": call.request_id,
        "task_ids": tasks,
        "refused": refused,
    });
    escaped(&value.to_string())
}

/// JSON leaves some characters as they are that end a line, or drive a terminal, elsewhere.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if is_unsafe(character) {
            let _ = write!(text, "\\u{:04x}", u32::from(character));
        } else {
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::escaped;

    /// X5
    #[test]
    fn nothing_in_a_line_ends_it_and_nothing_is_lost() {
        let value = serde_json::json!({"a": "x\ny\u{85}\u{2028}\u{202e}\u{7f}ä"});
        let line = escaped(&value.to_string());
        assert!(line.chars().all(|character| !crate::core::text::is_unsafe(character)), "{line}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), value);
    }
}
