//! Failures of commands, and the exit codes they lead to.

use crate::host::credentials::CredentialError;
use crate::state::StateError;

pub(super) use crate::engine::Exit;

/// The code of an error that ended a command.
pub(super) fn of(error: &anyhow::Error) -> Exit {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return stop.exit;
    }
    match error.downcast_ref::<StateError>() {
        Some(error) => Exit::of_state(error),
        None if error.downcast_ref::<CredentialError>().is_some() => Exit::BadInput,
        None => Exit::Failed,
    }
}

/// An expected failure that knows its exit code; its text, if any, is for people.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Stop {
    /// The exit code.
    pub exit: Exit,
    /// What happened and what to do.
    pub message: String,
    /// Problems of manifests as `check` lists them, for JSON output.
    pub problems: Option<serde_json::Value>,
}

impl Stop {
    /// Bad usage or bad input.
    pub(super) fn bad_input(message: impl Into<String>) -> Self {
        Self { exit: Exit::BadInput, message: message.into(), problems: None }
    }
}
