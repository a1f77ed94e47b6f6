//! `sources` of manifests: directories are walked and hashed, checksum lists streamed.
//!
//! Does not know URLs or where stat caches are kept.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::manifest_files::streamed;
use super::output;
use super::own_files::are_one;
use super::paths::without_links;
use super::tree::{self, StatCache, Tree, TreeProblem, TreeRules};
use crate::core::algorithm::Algorithm;
use crate::core::text::one_line;
use crate::core::time::Timestamp;
use crate::manifest::checksums::{ChecksumProblem, ChecksumReader, Listed};
use crate::manifest::{Expand, FileSource, Found, FoundFile, Pieces, Severity, SourceKind, SourceProblem, WalkRules};

/// What a stat cache belongs to: a directory's absolute path without links, and [`StatCache::rules`].
pub type CacheKey = (String, [u8; 32]);
/// Looks up the bytes of a stat cache.
pub type FindCache<'f> = Box<dyn FnMut(&CacheKey) -> Option<Vec<u8>> + 'f>;

/// What a manifest names as a source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedSource {
    /// Its path, relative to the working directory or absolute.
    pub path: String,
    /// How all that is below it is walked; `None` for a file.
    pub walk: Option<WalkRules>,
}

/// A file that a run writes itself: where it is published, each run would purge it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnFile {
    /// The state.
    State,
    /// The audit log.
    Audit,
}

impl OwnFile {
    const fn word(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Audit => "audit log",
        }
    }

    const fn option(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Audit => "audit",
        }
    }

    const fn help(self) -> &'static str {
        match self {
            Self::State => "keep the state elsewhere with `--state`, or leave its folder out with `exclude`",
            Self::Audit => "write it elsewhere with `--audit`, or leave it out with `exclude`",
        }
    }
}

/// Reads sources, with stat caches of earlier runs.
pub struct Sources<'f> {
    started: Timestamp,
    find: FindCache<'f>,
    caches: BTreeMap<CacheKey, Cached>,
    named: BTreeSet<NamedSource>,
    /// Files of ours by their absolute paths, without links.
    own: Vec<(OwnFile, PathBuf)>,
    seen: Arc<AtomicU64>,
}

/// The cache of a directory, before this run and after it.
struct Cached {
    before: StatCache,
    after: StatCache,
    files_read: usize,
}

impl<'f> Sources<'f> {
    /// `started` is the wall time before anything was read.
    pub fn new(started: Timestamp, find: FindCache<'f>) -> Self {
        Self { started, find, caches: BTreeMap::new(), named: BTreeSet::new(), own: Vec::new(), seen: Arc::default() }
    }

    /// Refuses directories that publish this file of ours.
    #[must_use]
    pub fn apart_from(mut self, what: OwnFile, path: &Path) -> Self {
        self.own.extend(without_links(path).into_iter().map(|path| (what, path)));
        self
    }

    /// Counts the files that are done: hashed, known to be unchanged, or listed.
    pub fn seen(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.seen)
    }

    /// All sources that manifests named, those that could not be read included.
    pub fn named(&self) -> &BTreeSet<NamedSource> {
        &self.named
    }

    /// Stat caches that differ from those of earlier runs, to be kept for the next one.
    pub fn into_caches(self) -> Vec<(CacheKey, Vec<u8>)> {
        let of = |(key, Cached { before, after, files_read }): (CacheKey, Cached)| {
            if files_read == 0 && before.len() == after.len() || before.is_empty() && after.is_empty() {
                return None;
            }
            // A file that changed a moment ago is read and not kept, run by run.
            let bytes = after.to_bytes();
            (bytes != before.to_bytes()).then_some((key, bytes))
        };
        self.caches.into_iter().filter_map(of).collect()
    }

    fn directory(&mut self, source: &FileSource, rules: &TreeRules, take: &mut dyn FnMut(Found<'_>)) {
        let path = source.path.as_str();
        let key = key(path, rules);
        if let Some((what, own)) = key.as_ref().and_then(|(root, _)| self.own_below(root, rules)) {
            return take(published(path, what, own));
        }
        let before = key.as_ref().and_then(|key| Some(StatCache::from_bytes(&(self.find)(key)?))).unwrap_or_default();
        let tree = match tree::scan(Path::new(path), rules, &before, &self.seen) {
            Ok(tree) => tree,
            Err(problems) => {
                let help = if Path::new(path).exists() {
                    None
                } else {
                    source.help_if_absent(|other| Path::new(other).is_dir())
                };
                return problems.iter().for_each(|problem| take(error(problem.to_string(), help.clone())));
            }
        };
        if let Some((stream, file)) = output::written_to(|inode| tree.with_inode(inode), Path::new(path)) {
            let message = format!(
                "{}: standard {stream} goes to `{}` in this directory and would be published",
                one_line(path, 300),
                one_line(&file, 300)
            );
            return take(error(message, Some("write it elsewhere, or leave it out with `exclude`".to_owned())));
        }
        let reached = key
            .as_ref()
            .and_then(|(root, _)| self.own.iter().find(|(_, own)| tree.reaches(Path::new(root), rules, own)));
        if let Some((what, own)) = reached {
            return take(published(path, *what, own));
        }
        tree.warnings.iter().for_each(|warning| take(of_tree(Severity::Warning, warning)));
        for file in tree.files() {
            let (algorithm, digest) = (Algorithm::Blake3, file.digest.as_slice());
            take(Found::File(FoundFile { path: file.path, algorithm, digest, line: None }));
        }
        if let Some(key) = key {
            self.keep(key, before, tree);
        }
    }

    /// A file of ours that is taken below the directory `root`.
    fn own_below(&self, root: &str, rules: &TreeRules) -> Option<(OwnFile, &Path)> {
        let below = self.own.iter().filter_map(|(what, path)| Some((*what, path.strip_prefix(root).ok()?)));
        below.into_iter().find(|(_, path)| rules.takes(path))
    }

    fn keep(&mut self, key: CacheKey, before: StatCache, tree: Tree) {
        let files_read = tree.files_read();
        let after = tree.into_stat_cache(self.started);
        if let Some(cached) = self.caches.get_mut(&key) {
            cached.after.join(after);
            cached.files_read += files_read;
        } else {
            self.caches.insert(key, Cached { before, after, files_read });
        }
    }

    fn list(&mut self, source: &FileSource, declared: Option<Algorithm>, take: &mut dyn FnMut(Found<'_>)) {
        let path = source.path.as_str();
        let shown = one_line(path, 300);
        if let Some((what, _)) = self.own.iter().find(|(_, own)| are_one(own, Path::new(path))) {
            let message = format!("{shown}: the {} is this file", what.word());
            return take(error(message, Some(format!("write it elsewhere with `--{}`", what.option()))));
        }
        let file_name = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let mut reader = ChecksumReader::of_list(file_name, declared);
        let listed = Cell::new(0);
        let mut each = |line: Result<Listed<'_>, ChecksumProblem>| match line {
            Ok(Listed { path, algorithm, digest, line }) => {
                listed.set(listed.get() + 1);
                take(Found::File(FoundFile { path, algorithm, digest, line: Some(line) }));
            }
            Err(ChecksumProblem { line, message, help }) => {
                take(error(format!("{shown}:{line}: {message}"), Some(help)));
            }
        };
        let read = streamed(Path::new(path)).and_then(|file| {
            file.each(&mut |piece| {
                reader.feed(piece, &mut each);
                self.seen.fetch_add(listed.take(), Ordering::Relaxed);
                true
            })
        });
        match read {
            Ok(()) => reader.finish(&mut each),
            Err(message) => {
                let meant = if Path::new(path).exists() {
                    None
                } else {
                    source.help_if_absent(|other| Path::new(other).is_file())
                };
                let help = meant.unwrap_or_else(|| {
                    "a list that cannot be read is never taken for a removal of everything".to_owned()
                });
                take(error(format!("{shown}: {message}"), Some(help)));
            }
        }
    }
}

impl Expand for Sources<'_> {
    fn expand(&mut self, source: &FileSource, take: &mut dyn FnMut(Found<'_>)) {
        let walk = match &source.kind {
            SourceKind::Directory { walk, .. } => Some(*walk),
            SourceKind::Checksums { .. } => None,
        };
        self.named.insert(NamedSource { path: source.path.clone(), walk });
        match &source.kind {
            SourceKind::Directory { patterns, normalizer, walk } => {
                let rules = TreeRules { patterns: patterns.clone(), normalizer: normalizer.clone(), walk: *walk };
                self.directory(source, &rules, take);
            }
            SourceKind::Checksums { algorithm } => self.list(source, *algorithm, take),
        }
    }
}

/// `None` for a directory that cannot be read, or whose path is not UTF-8.
fn key(path: &str, rules: &TreeRules) -> Option<CacheKey> {
    let whole = fs::canonicalize(path).ok()?;
    Some((whole.to_str()?.to_owned(), tree::fingerprint(&rules.normalizer)))
}

fn of_tree(severity: Severity, problem: &TreeProblem) -> Found<'static> {
    Found::Problem(SourceProblem { severity, message: problem.to_string(), help: None })
}

/// A file of ours is in the directory at `path`.
fn published(path: &str, what: OwnFile, own: &Path) -> Found<'static> {
    let (word, own) = (what.word(), one_line(&own.to_string_lossy(), 300));
    let message = format!("{}: the {word} `{own}` is in this directory and would be published", one_line(path, 300));
    error(message, Some(what.help().to_owned()))
}

fn error(message: String, help: Option<String>) -> Found<'static> {
    Found::Problem(SourceProblem { severity: Severity::Error, message, help })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{FilePatterns, Normalizer};

    fn source(path: &Path, kind: SourceKind) -> FileSource {
        FileSource {
            place: crate::core::model::Location::default(),
            path: path.to_str().unwrap().to_owned(),
            written: path.to_str().unwrap().to_owned(),
            kind,
            strip_prefix: String::new(),
        }
    }

    fn directory(path: &Path, include: &[&str]) -> FileSource {
        let patterns = FilePatterns::compile(include, &[]).unwrap();
        source(path, SourceKind::Directory { patterns, normalizer: Normalizer::default(), walk: WalkRules::default() })
    }

    /// Paths of files, and messages of problems.
    fn found(sources: &mut Sources<'_>, source: &FileSource) -> Vec<String> {
        let mut all = Vec::new();
        sources.expand(source, &mut |found| {
            all.push(match found {
                Found::File(file) => file.path.to_owned(),
                Found::Problem(problem) => problem.message,
            });
        });
        all
    }

    /// As if all files were written long ago.
    fn sources<'f>(find: impl FnMut(&CacheKey) -> Option<Vec<u8>> + 'f) -> Sources<'f> {
        Sources::new(Timestamp::from_unix_ms(i64::MAX / 2_000_000), Box::new(find))
    }

    #[test]
    fn caches_of_parts_of_a_directory_are_one() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.js", "b.html"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let parts = [directory(folder.path(), &["*.js"]), directory(folder.path(), &["*.html"])];
        let mut first = sources(|_| None);
        assert_eq!(parts.each_ref().map(|part| found(&mut first, part)), [["a.js"], ["b.html"]]);
        let mut caches = first.into_caches();
        let (key, bytes) = caches.pop().unwrap();
        assert_eq!((caches.len(), StatCache::from_bytes(&bytes).len()), (0, 2));
        let mut again = sources(|asked| (*asked == key).then(|| bytes.clone()));
        let _ = parts.each_ref().map(|part| found(&mut again, part));
        assert_eq!(again.into_caches(), [], "nothing was read, so nothing is to be kept");
        fs::remove_file(folder.path().join("a.js")).unwrap();
        let mut after = sources(|_| Some(bytes.clone()));
        found(&mut after, &parts[1]);
        assert_eq!(StatCache::from_bytes(&after.into_caches()[0].1).len(), 1, "what is gone is forgotten");
    }

    /// Y5, D2
    #[test]
    fn a_list_that_changes_while_it_is_read_is_an_error() {
        let list = tempfile::NamedTempFile::new().unwrap();
        let line = format!("{}  a\n", "0c".repeat(16));
        fs::write(list.path(), &line).unwrap();
        let source = source(list.path(), SourceKind::Checksums { algorithm: None });
        let mut sources = sources(|_| None);
        assert_eq!(found(&mut sources, &source), ["a"]);
        let mut messages = Vec::new();
        sources.expand(&source, &mut |found| match found {
            Found::File(_) => fs::write(list.path(), line.repeat(2)).unwrap(),
            Found::Problem(problem) => messages.push(problem.message),
        });
        assert!(
            messages.len() == 1 && messages[0].ends_with(": changed while it was read; run again when it is written")
        );
    }
}
