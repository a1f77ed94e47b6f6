//! `guard` of a manifest: its own limits of what one run may do.

use super::diagnostic::{Diagnostic, Diagnostics};
use super::fields::{self, Fields};
use super::node::{Node, Value};
use super::shape::{self, GUARD};
use crate::core::model::{Guard, Limit};

/// The guard of a manifest, without limits if there is none.
pub(crate) fn of(file: usize, manifest: &Fields<'_, '_>, report: &mut Diagnostics) -> Guard {
    let Some(Node { value: Value::Map(entries), span }) = manifest.node("guard") else {
        return Guard::default();
    };
    if entries.is_empty() {
        let help = "give `max_purges`, `max_share` or `max_removed`, or delete the key";
        report.push(Diagnostic::error(file, *span, "`guard` sets no limit").help(help));
    }
    let fields = fields::read(file, &GUARD, Some(&[]), *span, entries, report);
    let limit = |node| shape::percent(node).map(Limit::Percent).or_else(|| shape::integer(node).map(Limit::Number));
    Guard {
        max_purges: fields.integer("max_purges"),
        max_share: fields.node("max_share").and_then(shape::percent),
        max_removed: fields.node("max_removed").and_then(limit),
    }
}
