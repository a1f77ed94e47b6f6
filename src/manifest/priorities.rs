//! `priority` of a manifest or a source: which assets go first, by patterns of their names.

use std::cell::Cell;

use super::diagnostic::{Diagnostic, Diagnostics, Span};
use super::fields::{self, Fields};
use super::node::shown;
use super::shape::PRIORITY;
use crate::core::model::Priority;
use crate::core::text_patterns::TextPatterns;

/// Patterns of names; `*` stands for any text, `/` included.
#[derive(Clone, Debug, Default)]
pub(crate) struct Priorities {
    high: NamePatterns,
    low: NamePatterns,
}

#[derive(Clone, Debug, Default)]
struct NamePatterns {
    patterns: TextPatterns,
    /// Each as it is written, with its place, and whether it has matched a name.
    written: Vec<(String, Span, Cell<bool>)>,
}

impl NamePatterns {
    fn new(written: &[(&str, Span)]) -> Self {
        let texts: Vec<&str> = written.iter().map(|(text, _)| *text).collect();
        let unmatched = |(text, span): &(&str, Span)| ((*text).to_owned(), *span, Cell::new(false));
        Self { patterns: TextPatterns::new(&texts), written: written.iter().map(unmatched).collect() }
    }

    fn is_match(&self, name: &str) -> bool {
        self.patterns.matches(name).inspect(|&index| self.written[index].2.set(true)).count() > 0
    }
}

impl Priorities {
    /// Reads `priority` of a manifest or a source.
    pub(crate) fn read(file: usize, above: &Fields<'_, '_>, report: &mut Diagnostics) -> Self {
        let Some(node) = above.node("priority") else { return Self::default() };
        let Some(entries) = fields::entries(file, PRIORITY.name, node, report) else { return Self::default() };
        let fields = fields::read(file, &PRIORITY, Some(&[]), node.span, entries, report);
        let patterns = |key| NamePatterns::new(&fields.texts(key).unwrap_or_default());
        Self { high: patterns("high"), low: patterns("low") }
    }

    /// The priority of what has this name, if a pattern says one.
    pub(crate) fn of(&self, name: &str) -> Option<Priority> {
        let (is_high, is_low) = (self.high.is_match(name), self.low.is_match(name));
        is_high.then_some(Priority::High).or_else(|| is_low.then_some(Priority::Low))
    }

    /// Warns of patterns that have matched no name so far, unless an error may have kept names from them.
    pub(crate) fn warn_of_unmatched(&self, file: usize, report: &mut Diagnostics) {
        if report.has_errors() {
            return;
        }
        for (pattern, span, _) in self.high.written.iter().chain(&self.low.written).filter(|(.., seen)| !seen.get()) {
            let message = format!("`{}` in `priority` matches no asset", shown(pattern));
            let help = "patterns are held against whole names, as they are written or found; only `*` is any text";
            report.push(Diagnostic::warning(file, *span, message).help(help));
        }
    }
}
