//! Manifests: bytes in, a checked model and all problems of all files out.
//!
//! Does not read files, print or send anything. The YAML crate is named in `load` only; what keys there are is
//! in the tables of `shape`, which serve the check and the JSON Schema alike.

mod assets;
mod check;
pub mod checksums;
mod collapse;
mod diagnostic;
mod endpoint;
mod excerpt;
mod fields;
mod file_patterns;
mod file_source;
mod file_url;
mod guard;
mod hash;
mod head;
mod hints;
mod hosts;
mod load;
pub(crate) mod nearest;
mod node;
mod normalizer;
mod options;
mod priorities;
mod problem;
mod proof_terms;
mod providers;
mod recorded;
mod redact;
mod scan;
mod schema;
mod secrets;
mod shape;
mod source;
mod spelling;
mod url;
mod url_forms;
mod variables;
mod walk_rules;
mod write;

pub use check::{BuildOptions, Built, ListReading, MAX_TARGETS, build, build_partly, build_with};
pub use diagnostic::{Diagnostic, Hidden, ProblemKind, Severity, Span};
pub(crate) use excerpt::Excerpt;
pub use file_patterns::{FilePatterns, PatternProblem};
pub use file_source::{Expand, FileSource, Found, FoundFile, NoSources, SourceKind, SourceProblem};
pub use file_url::{file_path, url_path};
pub use load::MAX_FILE_BYTES;
pub use normalizer::Normalizer;
pub use problem::{Problem, RelatedPlace, printable};
pub use recorded::{check_names, check_namespace, check_recorded};
pub(crate) use redact::without_secrets;
pub use schema::schema;
pub use source::{Pieces, SourceFile};
pub use variables::Variables;
pub use walk_rules::{Links, TEMPORARY_FILES, TEMPORARY_FOLDERS, WalkRules};
pub use write::{PublishedAt, WriteProblem, manifest_of};

/// Number of the rules by which manifests come to entries: with other ones, what was noted of a manifest says nothing. To be
/// raised with a change of what entries some manifest comes to.
pub const RULES: u32 = 3;
