//! The files of `sources` as assets.

use super::short_cut::{PlainHash, Said};
use super::{Asset, Bases, Lister, Name};
use crate::core::model::Priority;
use crate::core::proof_terms::ProofTerms;
use crate::manifest::diagnostic::{Diagnostic, Span};
use crate::manifest::file_source::{self, Expand, FileSource, Found, FoundFile, PlacedSource, SourceProblem};
use crate::manifest::file_url::url_path;
use crate::manifest::head::Head;
use crate::manifest::node::Value;
use crate::manifest::source::SourceFile;
use crate::manifest::url;

impl Lister<'_> {
    /// Lists the files of all sources of the manifest; returns the sources that were read.
    pub(super) fn sources(
        &mut self,
        head: &Head<'_, '_>,
        manifest: &SourceFile,
        expand: &mut dyn Expand,
    ) -> Vec<FileSource> {
        let Some(node) = head.fields.node("sources") else { return Vec::new() };
        let Value::List(items) = &node.value else { return Vec::new() };
        if items.is_empty() {
            let help = "name a directory or a checksum list; to say that there are no assets write `assets: {}`";
            self.report.push(Diagnostic::error(self.own.file, node.span, "`sources` is an empty list").help(help));
        }
        if matches!(self.own.bases, Bases::Missing) && !std::mem::replace(&mut self.own.base_reported, true) {
            let span = head.fields.key_span("sources").unwrap_or(node.span);
            let help = "give the URL that the files are published below";
            let message = "`sources`, but the manifest has no `base_url`";
            self.report.push(Diagnostic::error(self.own.file, span, message).help(help));
        }
        let sources: Vec<PlacedSource> = items
            .iter()
            .filter_map(|item| file_source::read(self.own.file, &manifest.path, item, self.report))
            .collect();
        for placed in &sources {
            self.source(placed, expand);
            placed.priorities.warn_of_unmatched(self.own.file, self.report);
        }
        sources.into_iter().map(|placed| placed.source).collect()
    }

    fn source(&mut self, placed: &PlacedSource, expand: &mut dyn Expand) {
        let short_cuts = self.short_cuts();
        let can_cut = !short_cuts.is_empty();
        let takes_names = short_cuts.iter().all(|cut| cut.takes_names);
        let (span, place) = (placed.span, placed.source.place);
        let asked = self.terms_of_source(placed);
        let terms = self.table.index(asked.clone());
        expand.expand(&placed.source, &mut |found| match found {
            Found::Problem(problem) => self.source_problem(span, problem),
            Found::File(file) => {
                let file = match placed.source.published(file) {
                    Ok(file) => file,
                    Err(problem) => return self.source_problem(span, problem),
                };
                let path = url_path(file.path);
                let usual = self.own.priority(file.path);
                let priority = placed.priorities.of(file.path).unwrap_or(usual);
                let is_plain = can_cut && (takes_names || url::is_plain_path(&path));
                if is_plain && short_cuts.iter().all(|cut| cut.fits(&path)) {
                    let targets = self.own.carriers.targets(&self.own.forms, &path, true);
                    if !self.multiplied.admits(self.own.file, targets) {
                        return;
                    }
                    let listed = (PlainHash::Bytes(file.algorithm, file.digest), Said { priority, place, terms });
                    return short_cuts.iter().for_each(|cut| cut.list(self.draft, &self.own.forms, &path, listed));
                }
                self.odd_file((placed, &asked), &file, &path, priority);
            }
        });
    }

    /// A file about which something may be to be said.
    fn odd_file(
        &mut self,
        (placed, asked): (&PlacedSource, &ProofTerms),
        file: &FoundFile<'_>,
        path: &str,
        priority: Priority,
    ) {
        if !matches!(self.own.bases, Bases::Given(_)) {
            return;
        }
        let hash = Some(file.algorithm.hash(file.digest));
        let terms = self.index_of(asked.clone(), hash.as_ref(), placed.span);
        let (file, priority) = (Some(placed.source.name_of(file)), Some(priority));
        self.list(&Asset { hash, priority, file, terms, ..Asset::new(Name::Path(path), placed.span) });
    }

    fn source_problem(&mut self, span: Span, problem: SourceProblem) {
        let SourceProblem { severity, message, help } = problem;
        let diagnostic = Diagnostic { help, ..Diagnostic::error(self.own.file, span, message) };
        self.report.push(Diagnostic { severity, ..diagnostic });
    }
}
