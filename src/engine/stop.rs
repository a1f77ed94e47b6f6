//! Expected failures, each with its exit code and with causes that stay apart until they are printed.

use super::Exit;
use crate::core::command_line::{CommandLine, Verb};
use crate::core::guard::Refusal;
use crate::core::hold::KnownRefusal;
use crate::core::recorded::ChangeKind;
use crate::host::credentials::CredentialError;
use crate::manifest::{Problem, ProblemKind, Severity};
use crate::state::StateError;

/// Why a plan is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Path of the manifest it is about, if it is about one.
    pub manifest: Option<String>,
    /// The same as long as it is the same manifest and the same rule, with any numbers.
    pub subject: String,
    /// What is wrong, and the way on.
    pub text: String,
    /// Since when, and what it holds back, if it is a guard's.
    pub known: Option<KnownRefusal>,
    /// The oldest target that it holds back, of removals the oldest that is removed, and its change.
    pub target: Option<(String, ChangeKind)>,
}

impl Reason {
    /// A refusal of a guard; `manifest` is the path of the one it is about, `target` the oldest one that it holds back.
    pub(super) fn of(known: &KnownRefusal, manifest: Option<String>, target: Option<(String, ChangeKind)>) -> Self {
        let (subject, text) = (known.subject.clone(), known.text.clone());
        Self { manifest, subject, text, known: Some(known.clone()), target }
    }

    /// A refusal of a command that is no run.
    pub(super) fn of_command(refusal: &Refusal, commands: &CommandLine) -> Self {
        Self {
            manifest: None,
            subject: refusal.subject(),
            text: refusal.with_way_on(commands),
            known: None,
            target: None,
        }
    }

    /// The plan has another digest than the one that was reviewed.
    pub(super) fn of_digest(expected: &str, digest: &str, commands: &CommandLine) -> Self {
        let look = commands.offer(Verb::Plan, &[]);
        let text = format!(
            "the plan is not the one that was reviewed: expected digest {expected}, it is {digest}; look at {look} again"
        );
        Self { manifest: None, subject: "digest".to_owned(), text, known: None, target: None }
    }

    /// How many targets it holds back.
    pub fn held(&self) -> u64 {
        self.known.iter().flat_map(|known| &known.holds_back).map(|(_, number)| number).sum()
    }

    /// All that is known of it, for people.
    pub fn told(&self) -> String {
        self.known.as_ref().map_or_else(|| self.text.clone(), ToString::to_string)
    }
}

/// An expected failure that knows its exit code.
#[derive(Debug, thiserror::Error)]
#[error("{}", .messages.join("\nerror: "))]
pub struct Stop {
    /// The exit code.
    pub exit: Exit,
    /// What happened and what to do, an error each.
    pub messages: Vec<String>,
    /// Problems of manifests, or refusals in their form; `None` where it is about something else.
    pub problems: Option<Vec<Problem>>,
    /// Why guards refuse the plan.
    pub reasons: Vec<Reason>,
}

impl Stop {
    /// Bad usage or bad input.
    pub fn bad_input(message: impl Into<String>) -> Self {
        Self::of(Exit::BadInput, message)
    }

    /// Any failure with one message.
    pub fn of(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, messages: vec![message.into()], problems: None, reasons: Vec::new() }
    }

    /// A refusal by guards.
    pub fn refused(reasons: Vec<Reason>) -> Self {
        let problem = |reason: &Reason| Problem {
            severity: Severity::Error,
            kind: ProblemKind::Guard,
            file: reason.manifest.clone().unwrap_or_default(),
            line: None,
            column: None,
            message: reason.text.clone(),
            help: None,
            related: Vec::new(),
        };
        let messages = reasons.iter().map(|reason| reason.text.clone()).collect();
        let problems = Some(reasons.iter().map(problem).collect());
        Self { exit: Exit::Refused, messages, problems, reasons }
    }
}

/// The code of an error that ended a command.
pub fn exit_of(error: &anyhow::Error) -> Exit {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return stop.exit;
    }
    match error.downcast_ref::<StateError>() {
        Some(error) => Exit::of_state(error),
        None if error.downcast_ref::<CredentialError>().is_some() => Exit::BadInput,
        None => Exit::Failed,
    }
}
