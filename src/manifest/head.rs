//! What of a manifest its lists are checked with: the keys at its top.

use super::diagnostic::Span;
use super::fields::Fields;
use super::scan;
use crate::core::model::Manifest;

/// The keys of one manifest.
pub(crate) struct Head<'n, 'a> {
    /// Index of the file, and of the manifest if there is a model.
    pub(crate) file: usize,
    pub(crate) fields: Fields<'n, 'a>,
    pub(super) manifest: Manifest,
    /// Where its name stands.
    pub(super) name_span: Span,
}

/// How the list of assets of a file is read.
pub(crate) enum List {
    /// With all of the file.
    Yaml,
    /// Line by line, behind this head.
    Lines(scan::ListHead),
    /// Not at all; the head is.
    PassedOver(scan::ListHead),
}
