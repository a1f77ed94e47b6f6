//! Problems found in manifests, each with its place, what was found and what to do.
//!
//! Does not know how they are shown.

use std::collections::BTreeMap;

use serde::Serialize;

/// Most errors that are kept a file; the rest is counted.
const MAX_ERRORS: usize = 100;
/// Most warnings that are kept a file; the rest is counted.
const MAX_WARNINGS: usize = 20;

/// A piece of a manifest's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// First byte, from 0.
    pub start: u32,
    /// Byte after the last one; equal to `start` for a point.
    pub end: u32,
    /// Line of `start`, from 1.
    pub line: u32,
    /// Column of `start` in characters, from 1.
    pub column: u32,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is planned or sent.
    Error,
    /// Worth a look; the run goes on.
    Warning,
}

/// What a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProblemKind {
    /// What stands in a manifest.
    Manifest,
    /// Credentials that are missing.
    Credentials,
    /// What a guard refuses.
    Guard,
}

impl Severity {
    /// The word for it in output.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One problem of one manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Index of the file.
    pub file: usize,
    /// Where in the file; `None` if the problem has no place.
    pub span: Option<Span>,
    /// What was found, one line.
    pub message: String,
    /// A few words beside the caret; may be empty.
    pub label: String,
    /// What to do.
    pub help: Option<String>,
    /// Other places that matter: file, place and what is there.
    pub related: Vec<(usize, Span, String)>,
    /// What it is about.
    pub kind: ProblemKind,
    /// Whether the text at its place must not be shown: the file may be no manifest, but one that holds secrets.
    pub is_concealed: bool,
}

impl Diagnostic {
    /// An error at `span`.
    pub(crate) fn error(file: usize, span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            file,
            span: Some(span),
            message: message.into(),
            label: String::new(),
            help: None,
            related: Vec::new(),
            kind: ProblemKind::Manifest,
            is_concealed: false,
        }
    }

    /// It is about credentials that the environment lacks, and not about the manifest.
    pub(crate) fn about_credentials(mut self) -> Self {
        self.kind = ProblemKind::Credentials;
        self
    }

    /// An error about a file as a whole.
    pub(crate) fn unplaced(file: usize, message: impl Into<String>) -> Self {
        Self { span: None, ..Self::error(file, Span::default(), message) }
    }

    /// A warning at `span`.
    pub(crate) fn warning(file: usize, span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(file, span, message) }
    }

    /// Adds the words beside the caret.
    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Adds what to do.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Keeps the text at its place from being shown.
    pub(crate) fn concealed(mut self) -> Self {
        self.is_concealed = true;
        self
    }

    /// Adds another place.
    pub(crate) fn related(mut self, file: usize, span: Span, label: impl Into<String>) -> Self {
        self.related.push((file, span, label.into()));
        self
    }
}

/// A piece of a manifest's text that must not be shown: it looks like a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// Index of the file.
    pub file: usize,
    /// First byte.
    pub start: u32,
    /// Byte after the last one.
    pub end: u32,
}

/// Collects problems; keeps a bounded number a file so that a broken list of a million assets stays readable.
#[derive(Default)]
pub(crate) struct Diagnostics {
    kept: Vec<Diagnostic>,
    counts: BTreeMap<(usize, Severity), usize>,
    /// First bytes of texts with values of variables, by file, and whether an error was reported of them.
    withheld: BTreeMap<(usize, u32), bool>,
}

impl Diagnostics {
    /// Takes one problem.
    pub(crate) fn push(&mut self, mut diagnostic: Diagnostic) {
        let at = diagnostic.span.map(|span| (diagnostic.file, span.start));
        if let Some(is_told) = at.and_then(|at| self.withheld.get_mut(&at)) {
            if *is_told {
                return;
            }
            *is_told = diagnostic.severity == Severity::Error;
            let what = if *is_told { "cannot stand here" } else { "has an unusual spelling" };
            diagnostic.message = format!("with the values of its variables, this text {what}");
            diagnostic.help =
                Some("correct the variables or what is written around them; values are not shown".to_owned());
        }
        let count = self.counts.entry((diagnostic.file, diagnostic.severity)).or_default();
        *count += 1;
        if *count <= most(diagnostic.severity) {
            self.kept.push(diagnostic);
        }
    }

    /// Takes the one problem that is reported of its file, in place of all that was reported of the file before.
    pub(crate) fn push_only(&mut self, diagnostic: Diagnostic) {
        self.kept.retain(|kept| kept.file != diagnostic.file);
        self.counts.retain(|(file, _), _| *file != diagnostic.file);
        self.push(diagnostic);
    }

    /// The first problem that was reported of a file.
    pub(crate) fn first_of(&self, file: usize) -> Option<&Diagnostic> {
        self.kept.iter().find(|kept| kept.file == file)
    }

    /// Whether a warning about `file` would still be kept; spares the work of wording it.
    pub(crate) fn has_room_for_warning(&self, file: usize) -> bool {
        self.counts.get(&(file, Severity::Warning)).is_none_or(|count| *count < MAX_WARNINGS)
    }

    /// Counts a warning that is not worded because there is no room for it.
    pub(crate) fn count_warning(&mut self, file: usize) {
        *self.counts.entry((file, Severity::Warning)).or_default() += 1;
    }

    /// Withholds the words of what will be reported of a text: they may repeat a variable's value. `is_told` if an error was reported
    /// of it; nothing more is, then.
    pub(crate) fn withhold(&mut self, file: usize, span: Span, is_told: bool) {
        self.withheld.insert((file, span.start), is_told);
    }

    /// Whether some problem is an error.
    pub(crate) fn has_errors(&self) -> bool {
        self.counts.keys().any(|(_, severity)| *severity == Severity::Error)
    }

    /// How many errors there are.
    pub(crate) fn errors(&self) -> usize {
        let errors = self.counts.iter().filter(|((_, severity), _)| *severity == Severity::Error);
        errors.map(|(_, count)| count).sum()
    }

    /// All problems in order of file and place, with a summary where some were left out.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        self.kept.sort_by_key(|diagnostic| (diagnostic.file, diagnostic.span, diagnostic.severity));
        for ((file, severity), count) in self.counts {
            let left_out = count.saturating_sub(most(severity));
            if left_out > 0 {
                let at = self.kept.partition_point(|diagnostic| diagnostic.file <= file);
                self.kept.insert(at, summary(file, severity, left_out));
            }
        }
        self.kept
    }
}

const fn most(severity: Severity) -> usize {
    match severity {
        Severity::Error => MAX_ERRORS,
        Severity::Warning => MAX_WARNINGS,
    }
}

fn summary(file: usize, severity: Severity, left_out: usize) -> Diagnostic {
    let plural = if left_out == 1 { "" } else { "s" };
    let message = format!("{left_out} more {}{plural} in this file not shown", severity.word());
    Diagnostic { severity, ..Diagnostic::unplaced(file, message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_problems_end_in_a_count() {
        let mut report = Diagnostics::default();
        for line in 1..=150 {
            report.push(Diagnostic::error(0, Span { line, start: line, ..Span::default() }, "bad"));
            report.push(Diagnostic::warning(1, Span { line, start: line, ..Span::default() }, "odd"));
        }
        assert!(report.has_errors() && !report.has_room_for_warning(1) && report.has_room_for_warning(0));
        let list = report.finish();
        assert_eq!(list.len(), 100 + 1 + 20 + 1);
        assert_eq!(list[100].message, "50 more errors in this file not shown");
        assert_eq!(list[121].message, "130 more warnings in this file not shown");
    }
}
