//! Problems of manifests with the names of their files, for all that shows or logs them.

use std::fmt;

use serde::Serialize;

use super::node::is_invisible;
use super::{Diagnostic, ProblemKind, Severity, SourceFile, Span};
use crate::core::text::without_ci_commands;

/// One problem of one manifest, its texts on one line each and safe to print.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub kind: ProblemKind,
    /// Path of the file.
    pub file: String,
    /// From 1; `None` where the problem has no place.
    pub line: Option<u32>,
    /// In characters, from 1.
    pub column: Option<u32>,
    /// What was found.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// Other places that matter.
    pub related: Vec<RelatedPlace>,
}

/// Another place that a problem is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RelatedPlace {
    /// Path of the file.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// What is there.
    pub message: String,
}

impl Problem {
    /// The problems of `files`, in their order.
    pub fn of(files: &[SourceFile], diagnostics: &[Diagnostic]) -> Vec<Self> {
        let path = |file: usize| files.get(file).map(|file| printable(&file.path)).unwrap_or_default();
        let related = |(file, span, label): &(usize, Span, String)| RelatedPlace {
            file: path(*file),
            line: span.line,
            column: span.column,
            message: printable(label),
        };
        let problem = |found: &Diagnostic| Self {
            severity: found.severity,
            kind: found.kind,
            file: path(found.file),
            line: found.span.map(|span| span.line),
            column: found.span.map(|span| span.column),
            message: printable(&found.message),
            help: found.help.as_deref().map(printable),
            related: found.related.iter().map(related).collect(),
        };
        diagnostics.iter().map(problem).collect()
    }
}

/// `file:line:column: message (help)`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, " ({help})"))
    }
}

/// A text on one line, without anything that a terminal or a CI system would obey.
pub fn printable(text: &str) -> String {
    without_ci_commands(&text.chars().map(printable_char).collect::<String>())
}

/// The character, or what stands for one that a terminal would obey.
pub(super) fn printable_char(c: char) -> char {
    match c {
        '\t' => ' ',
        _ if is_invisible(c) => char::REPLACEMENT_CHARACTER,
        _ => c,
    }
}
