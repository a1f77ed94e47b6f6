//! `sources`: what a manifest asks to be read in place of a list of assets.
//!
//! Does not read it: the caller hands in what does.

use super::diagnostic::{Diagnostic, Diagnostics, Severity, Span};
use super::fields::{self, Fields};
use super::file_patterns::{FilePatterns, PatternProblem};
use super::hints;
use super::node::{Node, shown};
use super::normalizer::Normalizer;
use super::priorities::Priorities;
use super::shape::SOURCE;
use super::walk_rules::{Links, WalkRules};
use crate::core::algorithm::Algorithm;
use crate::core::model::Location;

/// A directory or a checksum list that a manifest names.
#[derive(Clone, Debug)]
pub struct FileSource {
    /// Where the manifest names it.
    pub place: Location,
    /// Its path: the manifest's folder and what is written, `.` and `..` resolved by name. Relative to the working
    /// directory like the manifest's own path, unless it is absolute.
    pub path: String,
    /// Its path as it is written.
    pub written: String,
    /// What is read of it.
    pub kind: SourceKind,
    /// What stands before the paths of its files and is left out of URLs: empty, or folders with a `/` at the end.
    pub strip_prefix: String,
}

impl FileSource {
    /// What to write in place of its path if there is nothing at it; `is_there` says what is, seen from the working directory.
    pub fn help_if_absent(&self, is_there: impl Fn(&str) -> bool) -> Option<String> {
        let with_slashes = self.written.replace('\\', "/");
        if with_slashes != self.written {
            return Some(format!("write `/` between folders, also on Windows: `{}`", shown(&with_slashes)));
        }
        let here = beside("", &self.written);
        let folder = self.path.strip_suffix(here.as_str())?.strip_suffix('/')?;
        let is_below = !here.starts_with("..") && !folder.starts_with(['/', '.']);
        let meant = "../".repeat(folder.split('/').count()) + &here;
        (is_below && is_there(&here)).then(|| {
            let (here, meant) = (shown(&here), shown(&meant));
            format!("paths are relative to the manifest's own folder: for `{here}` beside the working directory write `{meant}`")
        })
    }

    /// A file of this source, by the path at which it is published.
    pub(crate) fn published<'f>(&self, file: FoundFile<'f>) -> Result<FoundFile<'f>, SourceProblem> {
        match file.path.strip_prefix(self.strip_prefix.as_str()) {
            Some(path) if !path.is_empty() => Ok(FoundFile { path, ..file }),
            _ => Err(SourceProblem {
                severity: Severity::Error,
                message: format!("{}: a name that does not begin with the `strip_prefix`", self.name_of(&file)),
                help: Some(
                    "leave the file out, or correct `strip_prefix`: all names of the source begin with it".to_owned(),
                ),
            }),
        }
    }

    /// What messages call a file of this source: of a list they give the line, never its text.
    pub(crate) fn name_of(&self, file: &FoundFile<'_>) -> String {
        match file.line {
            Some(line) => format!("{}:{line}", shown(&self.path)),
            None => format!("file `{}`", shown(file.path)),
        }
    }
}

/// The kinds of sources.
#[derive(Clone, Debug)]
pub enum SourceKind {
    /// Files are hashed.
    Directory {
        /// Which files are taken.
        patterns: FilePatterns,
        /// What of a text is left out of its hash.
        normalizer: Normalizer,
        /// What becomes of links and temporary files.
        walk: WalkRules,
    },
    /// Names and hashes stand in a list.
    Checksums {
        /// The algorithm that the manifest declares.
        algorithm: Option<Algorithm>,
    },
}

/// What is found in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'f> {
    /// A file.
    File(FoundFile<'f>),
    /// Something that is wrong, or worth a look.
    Problem(SourceProblem),
}

/// A file and its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundFile<'f> {
    /// Its path below the directory, or as the list has it; relative, with `/`, without control characters.
    pub path: &'f str,
    /// What the digest was made with.
    pub algorithm: Algorithm,
    /// The digest; its length is the algorithm's.
    pub digest: &'f [u8],
    /// Line of a list, from 1.
    pub line: Option<u64>,
}

/// What is wrong with a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceProblem {
    /// After an error nothing of the source counts.
    pub severity: Severity,
    /// What was found, with the path and line where it was.
    pub message: String,
    /// What to do, where the message does not say it.
    pub help: Option<String>,
}

/// Reads sources.
pub trait Expand {
    /// Shows `take` all files of a source. A source that is not certain, or that holds no file, has an error
    /// among its problems. It may be asked for the same one again, where the names of files are needed for a message.
    fn expand(&mut self, source: &FileSource, take: &mut dyn FnMut(Found<'_>));
}

/// Reads no source: each is an error.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSources;

impl Expand for NoSources {
    fn expand(&mut self, source: &FileSource, take: &mut dyn FnMut(Found<'_>)) {
        let message = format!("{} is not read here", shown(&source.path));
        take(Found::Problem(SourceProblem { severity: Severity::Error, message, help: None }));
    }
}

/// A source and where its path stands.
pub(crate) struct PlacedSource {
    pub(crate) source: FileSource,
    pub(crate) priorities: Priorities,
    pub(crate) span: Span,
}

/// Reads an item of `sources` of the manifest at `manifest`; `None` if anything is wrong, which is reported.
pub(crate) fn read(file: usize, manifest: &str, node: &Node<'_>, report: &mut Diagnostics) -> Option<PlacedSource> {
    let entries = fields::entries_or(file, "a source", node, Some(hints::SOURCE_FORMS), report)?;
    let errors = report.errors();
    let fields = fields::read(file, &SOURCE, Some(&[]), node.span, entries, report);
    let (of_directory, of_list): (&[&str], &[&str]) =
        (&["include", "exclude", "normalize", "links", "temporary"], &["algorithm"]);
    let placed = match (fields.has("directory"), fields.has("checksums")) {
        (true, false) => {
            misplaced(file, &fields, of_list, "checksums", report);
            let kind = directory(file, &fields, report);
            fields.text("directory").zip(kind)
        }
        (false, true) => {
            misplaced(file, &fields, of_directory, "directory", report);
            fields.text("checksums").map(|text| (text, SourceKind::Checksums { algorithm: algorithm(&fields) }))
        }
        (both, _) => {
            let found = if both { "this source is both a directory and a list" } else { "this source has no name" };
            let help = "give exactly one of `directory` and `checksums`";
            report.push(Diagnostic::error(file, node.span, found).help(help));
            None
        }
    };
    let strip_prefix = strip_prefix(file, &fields, report);
    let priorities = Priorities::read(file, &fields, report);
    let ((path, span), kind) = placed.filter(|_| report.errors() == errors)?;
    let place = Location { manifest: file, line: span.line, column: span.column };
    let source = FileSource { place, path: beside(manifest, path), written: path.to_owned(), kind, strip_prefix };
    Some(PlacedSource { source, priorities, span })
}

/// Refuses keys that belong to the other kind of source.
fn misplaced(file: usize, fields: &Fields<'_, '_>, keys: &[&str], other: &str, report: &mut Diagnostics) {
    for key in keys {
        if let Some(span) = fields.key_span(key) {
            report.push(Diagnostic::error(file, span, format!("`{key}` belongs to `{other}`")).help("delete it"));
        }
    }
}

fn directory(file: usize, fields: &Fields<'_, '_>, report: &mut Diagnostics) -> Option<SourceKind> {
    let [include, exclude, normalize] =
        ["include", "exclude", "normalize"].map(|key| fields.texts(key).unwrap_or_default());
    let texts = |list: &[(&'_ str, Span)]| list.iter().map(|(text, _)| (*text).to_owned()).collect::<Vec<_>>();
    let mut refuse = |list: &[(&str, Span)], problem: &PatternProblem| {
        let span = list.get(problem.index).map(|(_, span)| *span).unwrap_or_default();
        report.push(Diagnostic::error(file, span, problem.to_string()));
    };
    let nothing: &[String] = &[];
    let (included, excluded) = (texts(&include), texts(&exclude));
    let halves =
        [(&include, FilePatterns::compile(&included, nothing)), (&exclude, FilePatterns::compile(nothing, &excluded))];
    for (list, half) in halves {
        let _ = half.inspect_err(|problem| refuse(list, problem));
    }
    let normalizer = Normalizer::compile(&texts(&normalize)).inspect_err(|problem| refuse(&normalize, problem)).ok()?;
    let patterns = FilePatterns::compile(&included, &excluded).ok()?;
    let links = fields.text("links").and_then(|(word, _)| Links::of_word(word)).unwrap_or_default();
    let walk = WalkRules { links, temporary: fields.flag("temporary") };
    for (pattern, span) in include.iter().filter(|(pattern, _)| walk.leaves_out_all_of(pattern)) {
        let message = format!("`{}` in `include` names temporary files, which are left out", shown(pattern));
        let help = "give `temporary: true` to take them, or delete the pattern";
        report.push(Diagnostic::warning(file, *span, message).help(help));
    }
    Some(SourceKind::Directory { patterns, normalizer, walk })
}

fn strip_prefix(file: usize, fields: &Fields<'_, '_>, report: &mut Diagnostics) -> String {
    let Some((prefix, span)) = fields.text("strip_prefix") else { return String::new() };
    let folders = prefix.strip_suffix('/').unwrap_or_default();
    if folders.split('/').any(|part| matches!(part, "" | "." | "..")) {
        let help = "write the folders that names begin with, up to a slash: `dist/`";
        report.push(
            Diagnostic::error(file, span, format!("`{}` is of no use in `strip_prefix`", shown(prefix))).help(help),
        );
    }
    prefix.to_owned()
}

fn algorithm(fields: &Fields<'_, '_>) -> Option<Algorithm> {
    let (word, _) = fields.text("algorithm")?;
    Algorithm::ALL.into_iter().find(|algorithm| algorithm.word() == word)
}

/// A path that is written in the manifest at `manifest`, as seen from where that manifest's path is.
fn beside(manifest: &str, path: &str) -> String {
    let folder = manifest.rsplit_once('/').map_or("", |(folder, _)| folder);
    let is_absolute = path.starts_with('/');
    let whole = if is_absolute { path.to_owned() } else { format!("{folder}/{path}") };
    let root = if is_absolute || manifest.starts_with('/') { "/" } else { "" };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match (part, parts.last()) {
            ("" | ".", _) => {}
            ("..", Some(&last)) if last != ".." => drop(parts.pop()),
            ("..", None) if !root.is_empty() => {}
            _ => parts.push(part),
        }
    }
    let joined = root.to_owned() + &parts.join("/");
    if joined.is_empty() { ".".to_owned() } else { joined }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_the_manifests_folder() {
        for (manifest, path, found) in [
            ("manifests/site.yaml", "../public", "public"),
            ("manifests/site.yaml", "./SHA256SUMS", "manifests/SHA256SUMS"),
            ("manifests/site.yaml", "..", "."),
            ("manifests/site.yaml", "../../x//y/", "../x/y"),
            ("site.yaml", "public", "public"),
            ("site.yaml", "/srv/./www", "/srv/www"),
            ("../m/site.yaml", "../public", "../public"),
            ("/srv/m/site.yaml", "../../../public", "/public"),
        ] {
            assert_eq!(beside(manifest, path), found, "{manifest} {path}");
        }
    }

    #[test]
    fn every_algorithm_can_be_declared() {
        assert_eq!(Algorithm::ALL.map(Algorithm::word).as_slice(), crate::manifest::shape::ALGORITHMS);
    }
}
