//! `priority` of a manifest or a source: which assets go first, by patterns of their names.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::diagnostic::{Diagnostic, Diagnostics, Span};
use super::fields::{self, Fields};
use super::node::shown;
use super::shape::PRIORITY;
use crate::core::model::Priority;

/// Patterns of names; `*` stands for any text, `/` included.
#[derive(Clone, Debug, Default)]
pub(crate) struct Priorities {
    high: GlobSet,
    low: GlobSet,
}

impl Priorities {
    /// Reads `priority` of a manifest or a source.
    pub(crate) fn read(file: usize, above: &Fields<'_, '_>, report: &mut Diagnostics) -> Self {
        let Some(node) = above.node("priority") else { return Self::default() };
        let Some(entries) = fields::entries(file, PRIORITY.name, node, report) else { return Self::default() };
        let fields = fields::read(file, &PRIORITY, Some(&[]), node.span, entries, report);
        let mut set = |key| compiled(file, &fields.texts(key).unwrap_or_default(), report);
        Self { high: set("high"), low: set("low") }
    }

    /// The priority of what has this name, if a pattern says one.
    pub(crate) fn of(&self, name: &str) -> Option<Priority> {
        if self.high.is_match(name) {
            return Some(Priority::High);
        }
        self.low.is_match(name).then_some(Priority::Low)
    }
}

fn compiled(file: usize, patterns: &[(&str, Span)], report: &mut Diagnostics) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for (pattern, span) in patterns {
        match GlobBuilder::new(pattern).literal_separator(false).backslash_escape(true).build() {
            Ok(glob) => drop(set.add(glob)),
            Err(error) => {
                let message = format!("`{}` is not a pattern: {}", shown(pattern), error.kind());
                report.push(Diagnostic::error(file, *span, message));
            }
        }
    }
    set.build().unwrap_or_else(|error| {
        let span = patterns.first().map(|(_, span)| *span).unwrap_or_default();
        report.push(Diagnostic::error(file, span, format!("these patterns are too much together: {}", error.kind())));
        GlobSet::empty()
    })
}
