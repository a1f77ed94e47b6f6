//! Warnings about the spelling of paths and URLs that a manifest writes, and spellings of browsers that it does not list.

use std::collections::HashSet;

use super::Lister;
use crate::manifest::diagnostic::{Diagnostic, Span};
use crate::manifest::file_url::{browser_query, browser_spellings, has_other_spellings};
use crate::manifest::node::is_invisible;
use crate::manifest::variables::NOT_REPLACED;
use crate::manifest::{secrets, spelling, url};

/// Most names that are kept; of further ones nothing is said.
const MAX_KEPT: usize = 100_000;

/// Names with characters that browsers may send as they are, in the order in which they are written.
#[derive(Default)]
pub(super) struct Written {
    names: HashSet<String>,
    /// Other spellings, and the place of the name.
    others: Vec<(Span, String)>,
}

impl Written {
    /// Takes a path or a whole URL.
    pub(super) fn take(&mut self, span: Span, name: &str) {
        let at_path = name
            .split_once("://")
            .map_or(0, |(scheme, rest)| scheme.len() + "://".len() + rest.find('/').unwrap_or(rest.len()));
        let at_query = name[at_path..].find('?').map_or(name.len(), |at| at_path + at);
        let (before, path, query) = (&name[..at_path], &name[at_path..at_query], &name[at_query..]);
        let sent = browser_query(query);
        // A query that is sent as it is written is the other spelling of one that is not.
        let has_other_query = query.contains(['[', ']', '^', '`', '{', '|', '}']) || sent != query;
        let is_known = !has_other_spellings(path) && !has_other_query;
        if is_known || self.names.len().max(self.others.len()) >= MAX_KEPT {
            return;
        }
        let mut paths: Vec<String> = browser_spellings(path).collect();
        if paths.is_empty() {
            paths.push(path.to_owned());
        }
        let others = paths.into_iter().map(|path| (span, format!("{before}{path}{sent}")));
        self.others.extend(others.filter(|(_, other)| other != name));
        self.names.insert(name.to_owned());
    }

    /// Spellings that are not written.
    pub(super) fn missing(self) -> impl Iterator<Item = (Span, String)> {
        let names = self.names;
        self.others.into_iter().filter(move |(_, spelling)| !names.contains(spelling))
    }
}

impl Lister<'_> {
    pub(super) fn warn_spelling(&mut self, span: Span, text: &str) {
        if let Some((spelled, reason)) = url::check(text).ok().and_then(|parts| url::respelled(&parts)) {
            let reason = if secrets::has_reference(text) { NOT_REPLACED } else { reason };
            self.warn(span, &spelled, reason);
        }
    }

    pub(super) fn warn_path_spelling(&mut self, span: Span, path: &str) {
        if let Some((spelled, reason)) = spelling::respelled(&format!("/{path}")) {
            let reason = if secrets::has_reference(path) { NOT_REPLACED } else { reason };
            self.warn(span, &spelled[1..], reason);
        }
    }

    /// Says of names that are written in one spelling in which other ones browsers may ask for them.
    pub(super) fn warn_of_browsers(&mut self) {
        for (span, spelling) in std::mem::take(&mut self.own.written).missing() {
            if !self.report.has_room_for_warning(self.own.file) {
                self.report.count_warning(self.own.file);
                continue;
            }
            let warning = Diagnostic::warning(self.own.file, span, "browsers may ask for it in another spelling");
            let help = format!(
                "what is written is sent; if pages link to it unescaped, list `{}` too",
                shown_whole(&spelling)
            );
            self.report.push(warning.label("sent as written").help(help));
        }
    }

    pub(super) fn warn(&mut self, span: Span, spelled: &str, reason: &str) {
        if !self.report.has_room_for_warning(self.own.file) {
            return self.report.count_warning(self.own.file);
        }
        self.report.push(
            Diagnostic::warning(self.own.file, span, format!("an unusual spelling: {reason}"))
                .label("sent as written")
                .help(format!(
                    "caches compare bytes; if yours knows the usual spelling, write `{}`",
                    shown_whole(spelled)
                )),
        );
    }
}

/// A spelling to copy: whole, control characters escaped.
fn shown_whole(text: &str) -> String {
    text.chars().map(|c| if is_invisible(c) { '\u{fffd}' } else { c }).collect()
}
