//! What is asked of origins and edges for each asset, and whether its hash can be compared so.

use super::Lister;
use crate::core::algorithm::Algorithm;
use crate::core::proof_terms::{Comparison, ProofTerms};
use crate::core::target::ContentHash;
use crate::manifest::diagnostic::{Diagnostic, Span};
use crate::manifest::fields::Fields;
use crate::manifest::file_source::{PlacedSource, SourceKind};
use crate::manifest::hosts::HostRefusal;
use crate::manifest::proof_terms::{ManifestTerms, OriginKey, origin_of_asset};

/// What a hash that is an `ETag` begins with.
const ETAG: &str = "etag:";

impl Lister<'_> {
    /// The index of the terms of an asset that has none of its own. Lists may be long, so those of most are not looked up.
    pub(super) fn terms(&mut self, hash: Option<&ContentHash>, span: Span) -> Option<usize> {
        let index = self.own.usual_terms?;
        let ManifestTerms { usual, has_match, .. } = &self.own.proof;
        let (Some(verify), Some(hash)) = (&usual.verify, hash) else { return Some(index) };
        let is_by_etag = !has_match && hash.as_str().starts_with(ETAG);
        if is_by_etag && self.own.etag_terms.is_some() {
            return self.own.etag_terms;
        }
        if !is_by_etag && incomparable(&verify.compare, hash, usual.origin.is_some()).is_none() {
            return Some(index);
        }
        let terms = self.index_of(usual.clone(), Some(hash), span);
        if is_by_etag {
            self.own.etag_terms = terms;
        }
        terms
    }

    /// The index of the terms of an asset, which may have an origin of its own.
    pub(super) fn terms_of_asset(
        &mut self,
        fields: &Fields<'_, '_>,
        hash: Option<&ContentHash>,
        span: Span,
    ) -> Option<usize> {
        let origin = match origin_of_asset(self.own.file, fields, self.report) {
            OriginKey::Absent => return self.terms(hash, span),
            OriginKey::Broken => {
                self.own.proof.idle_wait = None;
                return None;
            }
            OriginKey::Off => None,
            OriginKey::At(origin) => {
                self.own.proof.idle_wait = None;
                Some(*origin)
            }
        };
        let terms = ProofTerms { origin, ..self.own.proof.usual.clone() };
        self.index_of(terms, hash, span)
    }

    /// The terms of the files of a source.
    pub(super) fn terms_of_source(&self, placed: &PlacedSource) -> ProofTerms {
        let normalize = match &placed.source.kind {
            SourceKind::Directory { normalizer, .. } => normalizer.expressions().map(str::to_owned).collect(),
            SourceKind::Checksums { .. } => Vec::new(),
        };
        ProofTerms { normalize, ..self.own.proof.usual.clone() }
    }

    /// Whether the digests of all algorithms can be compared as the manifest asks.
    pub(super) fn compares_digests(&self) -> bool {
        let ProofTerms { origin, verify, .. } = &self.own.proof.usual;
        verify.as_ref().is_none_or(|verify| verify.compare == Comparison::Body) || origin.is_some()
    }

    /// The index of terms for a hash, which decides how it is compared where nothing is said.
    pub(super) fn index_of(&mut self, mut terms: ProofTerms, hash: Option<&ContentHash>, span: Span) -> Option<usize> {
        if let (Some(verify), Some(hash)) = (&mut terms.verify, hash) {
            if !self.own.proof.has_match && hash.as_str().starts_with(ETAG) {
                verify.compare = Comparison::Etag;
            }
            let refusal = incomparable(&verify.compare, hash, terms.origin.is_some());
            if let Some(refusal) = refusal.filter(|_| !self.own.proof.is_broken) {
                // One says it for all like it.
                if self.own.hashes_reported.insert(refusal.message.clone()) {
                    self.refuse(span, refusal);
                }
                return None;
            }
        }
        self.table.index(terms)
    }

    /// Reports `wait_for_origin` where there is no origin to wait for.
    pub(super) fn refuse_idle_wait(&mut self) {
        if let Some(span) = self.own.proof.idle_wait {
            let help = "give `origin`, the URL that caches fetch the content from, or delete it";
            self.report.push(Diagnostic::error(self.own.file, span, "wait_for_origin without origin").help(help));
        }
    }
}

/// Why a hash cannot be compared so, and what to do.
fn incomparable(compare: &Comparison, hash: &ContentHash, has_origin: bool) -> Option<HostRefusal> {
    let word = hash.as_str().split_once(':').map_or("", |(word, _)| word);
    let (is_digest, is_rev) = (Algorithm::of_hash(hash).is_some(), word == "rev");
    let refusal = |compare: &str, without: &str, help: &str| {
        let message = format!("verify.match: {compare} cannot be compared with {word}:…{without}");
        Some(HostRefusal::new(message).help(help))
    };
    let give_header = "give `match: {header: NAME}`, with a header that holds the text behind `rev:`";
    match compare {
        Comparison::Body if is_rev => refusal("body", "", give_header),
        Comparison::Body if !is_digest => refusal("body", "", "give `match: etag`, or digests"),
        Comparison::Etag if is_rev => refusal("etag", "", give_header),
        Comparison::Etag if is_digest && word != "md5" && !has_origin => {
            let help = "give `origin`, which shows the ETag of the content, or `match: body`";
            refusal("etag", " without origin", help)
        }
        Comparison::Header(_) if !is_rev && !has_origin => {
            let help = "give `origin`, which shows the header of the content, or `rev:` hashes";
            refusal("a header", " without origin", help)
        }
        Comparison::Body | Comparison::Etag | Comparison::Size | Comparison::Header(_) => None,
    }
}
