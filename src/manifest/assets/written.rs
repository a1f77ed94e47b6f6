//! Paths and URLs that a manifest writes and that browsers may spell otherwise: which spellings it does not list.

use std::collections::HashSet;

use crate::manifest::diagnostic::Span;
use crate::manifest::file_url::{browser_spellings, has_other_spellings};

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
    /// Takes a path or a whole URL. Queries play no part.
    pub(super) fn take(&mut self, span: Span, name: &str) {
        let at_path = name
            .split_once("://")
            .map_or(0, |(scheme, rest)| scheme.len() + "://".len() + rest.find('/').unwrap_or(rest.len()));
        let at_query = name[at_path..].find('?').map_or(name.len(), |at| at_path + at);
        let (before, path, query) = (&name[..at_path], &name[at_path..at_query], &name[at_query..]);
        if !has_other_spellings(path) || self.names.len().max(self.others.len()) >= MAX_KEPT {
            return;
        }
        let others = browser_spellings(path).map(|spelling| (span, format!("{before}{spelling}{query}")));
        self.others.extend(others);
        // What has no other spelling may be the other one of some name.
        if path.contains(['[', ']', '|', '^']) {
            self.names.insert(name.to_owned());
        }
    }

    /// Spellings that are not written.
    pub(super) fn missing(self) -> impl Iterator<Item = (Span, String)> {
        let names = self.names;
        self.others.into_iter().filter(move |(_, spelling)| !names.contains(spelling))
    }
}
