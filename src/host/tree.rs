//! Directories of published files: walked on all cores, each file hashed with BLAKE3 on the way.
//!
//! Knows paths, patterns and content; does not know URLs, manifests or what is recorded. No file is ever mapped into
//! memory: one that is cut short meanwhile would end the program. Memory is a buffer a thread and a row a file; a thread
//! has one file and one folder open.

mod content;
mod digests;
mod file_stamp;
mod links;
mod mount;
mod root;
mod stat_cache;
mod table;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::FileType;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ignore::{DirEntry, WalkBuilder, WalkState};

pub use digests::{Wanted, digests};
pub use stat_cache::{StatCache, fingerprint};

use super::look::called;
use crate::core::algorithm::Algorithm;
use crate::core::target::ContentHash;
use crate::core::text::one_line;
use crate::core::time::Timestamp;
use crate::manifest::{FilePatterns, Links, Normalizer, WalkRules};
use links::{LinkedFolder, Way};
use mount::Mount;
use root::Root;
use table::{FileTable, Row};

/// What is read of a directory, and what of its texts counts.
#[derive(Clone, Debug, Default)]
pub struct TreeRules {
    /// Which files are taken.
    pub patterns: FilePatterns,
    /// What of a text is left out of its hash.
    pub normalizer: Normalizer,
    /// What becomes of links and temporary files.
    pub walk: WalkRules,
}

impl TreeRules {
    /// Whether the file with this path, relative to the directory, is taken.
    pub fn takes(&self, path: &Path) -> bool {
        self.patterns.takes(path) && !self.walk.leaves_out(path)
    }

    fn closes(&self, folder: &Path) -> bool {
        self.patterns.closes(folder) || self.walk.closes(folder)
    }

    /// Whether a link is left out, whatever it leads to.
    fn leaves_out_link(&self, path: &Path) -> bool {
        let patterns = &self.patterns;
        self.walk.links == Links::Skip || patterns.excludes(path) || self.closes(path) || self.walk.leaves_out(path)
    }
}

/// The files of a directory, all of them: a directory with anything that is not certain is an error.
#[derive(Debug, Default)]
pub struct Tree {
    table: FileTable,
    /// Files that were reached over links, by where they are: a path from the directory on or, outside of it, a whole one.
    linked: FileTable,
    /// Folders that links lead to.
    linked_folders: Vec<Way>,
    fingerprint: [u8; 32],
    files_read: usize,
    /// What may surprise, in order of path.
    pub warnings: Vec<TreeProblem>,
}

/// A file of a [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeFile<'t> {
    /// Path below the directory, with `/`; no control characters.
    pub path: &'t str,
    /// BLAKE3 of what counts of its content.
    pub digest: &'t [u8; 32],
    /// Size in bytes.
    pub size: u64,
}

/// Something below a directory, or the directory itself, that could not be read or is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TreeProblem {
    /// The path as it was given, and below it as it is on the disk; U+FFFD for what is not UTF-8.
    pub path: String,
    /// What is wrong and, where that helps, what to do.
    pub message: String,
}

impl fmt::Display for TreeProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", one_line(&self.path, 300), self.message)
    }
}

impl Tree {
    /// The files, in byte order of their paths.
    pub fn files(&self) -> impl ExactSizeIterator<Item = TreeFile<'_>> + Clone {
        self.table.rows.iter().map(|row| self.shown(row))
    }

    /// The file with this path.
    pub fn get(&self, path: &str) -> Option<TreeFile<'_>> {
        self.table.get(path).map(|row| self.shown(row))
    }

    /// Paths of the files with this inode; on another file system it may be another file's.
    pub fn with_inode(&self, inode: u64) -> impl Iterator<Item = &str> {
        self.table.rows.iter().filter(move |row| row.stamp.inode == inode).map(|row| self.table.path(row))
    }

    /// Whether the file at this path without links was reached over a link below the directory `root`, or will be once it is
    /// there.
    pub fn reaches(&self, root: &Path, rules: &TreeRules, file: &Path) -> bool {
        let is_below = |way: &Way| file.strip_prefix(&way.real).is_ok_and(|below| rules.takes(&way.shown(below)));
        let is_there = |path: &str| self.linked.get(path).is_some();
        self.linked_folders.iter().any(is_below)
            || file.strip_prefix(root).unwrap_or(file).to_str().is_some_and(is_there)
    }

    /// How many files had to be read. If there were none, and as many files as the cache had, it need not be written.
    pub fn files_read(&self) -> usize {
        self.files_read
    }

    /// What spares the next scan reading, given when this one `started`.
    ///
    /// As git does, it leaves out what was written too shortly before to be told apart by its times from what may have
    /// been written since.
    pub fn into_stat_cache(self, started: Timestamp) -> StatCache {
        StatCache::new(self.table, self.linked, self.fingerprint, started)
    }

    fn shown<'t>(&'t self, row: &'t Row) -> TreeFile<'t> {
        TreeFile { path: self.table.path(row), digest: &row.digest, size: row.stamp.size }
    }

    /// Files that are one on systems that do not tell upper and lower case apart (Unicode's lower case is compared).
    fn case_warnings(&self, root: &Path) -> Vec<TreeProblem> {
        // Of two such names, one at least is not in lower case.
        let mut folded: BTreeMap<String, &str> = BTreeMap::new();
        let mut warnings = Vec::new();
        for row in &self.table.rows {
            let path = self.table.path(row);
            if !path.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii()) {
                continue;
            }
            let lower = path.to_lowercase();
            if lower == path {
                continue;
            }
            let twin = folded.get(&lower).copied().or_else(|| self.get(&lower).map(|file| file.path));
            if let Some(twin) = twin {
                let message = format!("differs from `{}` in the case of letters only", one_line(twin, 300));
                warnings.push(problem(root, Path::new(path), message));
            }
            folded.entry(lower).or_insert(path);
        }
        warnings
    }
}

impl TreeFile<'_> {
    /// The hash as manifests have it.
    pub fn hash(&self) -> ContentHash {
        Algorithm::Blake3.hash(self.digest)
    }
}

fn problem(root: &Path, path: &Path, message: impl Into<String>) -> TreeProblem {
    // The root itself without a slash behind it.
    let whole = if path.as_os_str().is_empty() { root.to_owned() } else { root.join(path) };
    TreeProblem { path: whole.to_string_lossy().into_owned(), message: message.into() }
}

/// Reads the directory at `path`. What `cache` knows is not read again; `seen` counts the files that are done.
///
/// Symbolic links are followed as the rules say; `path` itself may always be one. No file is opened but where a link led when
/// it was looked at, whatever is swapped for a link meanwhile, and nothing but regular files is read.
///
/// # Errors
/// Everything that keeps the result from being certain, in order of path: a directory that is missing, is none, is
/// empty or has no file that the rules take; files and folders that cannot be read or that change twice while they are
/// read; links that lead nowhere, to a folder that they are in or, unless the rules allow it, out of the directory; FIFOs,
/// sockets and devices; names with control characters or that are not UTF-8.
pub fn scan(path: &Path, rules: &TreeRules, cache: &StatCache, seen: &AtomicU64) -> Result<Tree, Vec<TreeProblem>> {
    scan_on(Mount::of, path, rules, cache, seen)
}

fn scan_on(
    mount_of: fn(&Path) -> Mount,
    path: &Path,
    rules: &TreeRules,
    cache: &StatCache,
    seen: &AtomicU64,
) -> Result<Tree, Vec<TreeProblem>> {
    let root = Root::open(path, mount_of).map_err(|message| vec![problem(path, Path::new(""), message)])?;
    let fingerprint = stat_cache::fingerprint(&rules.normalizer);
    let scan = Scan {
        shown: path,
        root: &root,
        rules,
        cache: Some(cache).filter(|cache| cache.fits(&fingerprint)),
        seen,
        found: Mutex::default(),
    };
    let linked_folders = scan.walk_all();
    scan.finish(fingerprint, linked_folders)
}

/// What all threads share.
struct Scan<'s> {
    shown: &'s Path,
    root: &'s Root,
    rules: &'s TreeRules,
    cache: Option<&'s StatCache>,
    seen: &'s AtomicU64,
    found: Mutex<TreeFound>,
}

/// What one thread, or all of them, found.
#[derive(Default)]
struct TreeFound {
    table: FileTable,
    linked: FileTable,
    /// Folders that links lead to, still to be walked.
    folders: Vec<LinkedFolder>,
    files_read: usize,
    errors: Vec<TreeProblem>,
    /// Whether there was any file, taken or not.
    any: bool,
}

impl Scan<'_> {
    /// Walks the directory, and then what links lead to, which it returns.
    fn walk_all(&self) -> Vec<Way> {
        self.walk(&Way::of_root(self.root.path()));
        let mut walked: Vec<LinkedFolder> = Vec::new();
        loop {
            let Some(folder) = self.found().folders.pop() else { break };
            if walked.len() == links::MOST_FOLDERS {
                self.found().errors.push(problem(self.shown, Path::new(""), links::TOO_MANY));
                break;
            }
            self.walk(&folder.way);
            walked.push(folder);
        }
        // What was walked is what the links lead to, or nothing is known for certain.
        for LinkedFolder { link, way } in &walked {
            if !links::target(link).is_ok_and(|target| target.real == way.real) {
                self.found().errors.push(problem(self.shown, &way.shown, links::SWAPPED));
            }
        }
        walked.into_iter().map(|folder| folder.way).collect()
    }

    fn walk(&self, way: &Way) {
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let walk = WalkBuilder::new(&way.real).standard_filters(false).threads(threads).build_parallel();
        walk.run(|| {
            let mut worker = FileHasher { scan: self, way, found: TreeFound::default(), buffer: Vec::new() };
            Box::new(move |entry| worker.visit(entry))
        });
    }

    fn found(&self) -> MutexGuard<'_, TreeFound> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(self, fingerprint: [u8; 32], linked_folders: Vec<Way>) -> Result<Tree, Vec<TreeProblem>> {
        let mut found = self.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        if found.table.rows.is_empty() && found.errors.is_empty() {
            let message = if found.any {
                "no file here is taken by `include`, `exclude`, `links` and `temporary`; correct them"
            } else {
                "is empty; an empty directory is taken for a mistake, never for a removal of everything"
            };
            found.errors.push(problem(self.shown, Path::new(""), message));
        }
        if !found.errors.is_empty() {
            found.errors.sort_unstable();
            return Err(found.errors);
        }
        found.table.sort();
        found.linked.sort();
        found.linked.drop_repeated();
        let (table, linked, files_read) = (found.table, found.linked, found.files_read);
        let mut tree = Tree { table, linked, linked_folders, fingerprint, files_read, warnings: Vec::new() };
        tree.warnings = tree.case_warnings(self.shown);
        tree.warnings.sort_unstable();
        Ok(tree)
    }
}

/// One thread of a walk.
struct FileHasher<'s> {
    scan: &'s Scan<'s>,
    way: &'s Way,
    found: TreeFound,
    buffer: Vec<u8>,
}

impl FileHasher<'_> {
    fn visit(&mut self, entry: Result<DirEntry, ignore::Error>) -> WalkState {
        match entry {
            Ok(entry) if entry.depth() == 0 => WalkState::Continue,
            Ok(entry) => self.entry(&entry),
            Err(error) => {
                self.fail_walk(error);
                WalkState::Continue
            }
        }
    }

    fn entry(&mut self, entry: &DirEntry) -> WalkState {
        let Some(kind) = entry.file_type() else { return WalkState::Continue };
        let rules = self.scan.rules;
        let real = self.scan.root.below(entry.path());
        let path = self.shown(entry.path());
        if kind.is_dir() {
            return if rules.closes(&path) { WalkState::Skip } else { WalkState::Continue };
        }
        self.found.any = true;
        if kind.is_symlink() {
            if !rules.leaves_out_link(&path) {
                self.link(&path, entry.path()).unwrap_or_else(|message| self.fail(&path, message));
            }
        } else if rules.takes(&path) {
            self.taken(&path, real, kind).unwrap_or_else(|message| self.fail(&path, message));
        }
        WalkState::Continue
    }

    /// The path below the directory.
    fn shown<'p>(&self, whole: &'p Path) -> Cow<'p, Path> {
        if self.way.shown.as_os_str().is_empty() {
            return Cow::Borrowed(self.scan.root.below(whole));
        }
        Cow::Owned(self.way.shown(whole.strip_prefix(&self.way.real).unwrap_or(whole)))
    }

    /// Reads what a link leads to, or leaves a folder for later.
    fn link(&mut self, path: &Path, link: &Path) -> Result<(), String> {
        let target = links::target(link)?;
        let is_folder = target.kind.is_dir();
        if !is_folder && !self.scan.rules.takes(path) {
            return Ok(());
        }
        let opened = target.opened(self.scan.root.path(), self.scan.rules.walk.links)?;
        if !is_folder {
            return self.taken(path, opened, target.kind);
        }
        let way = self.way.over(link, path, target)?;
        self.found.folders.push(LinkedFolder { link: link.to_owned(), way });
        Ok(())
    }

    /// A file that the rules take, and where it is.
    fn taken(&mut self, path: &Path, real: &Path, kind: FileType) -> Result<(), String> {
        let name = checked_name(path)?;
        if !kind.is_file() {
            return Err(not_regular(called(kind)));
        }
        let real = real.to_str().ok_or("leads to a path that is not UTF-8; rename or exclude it")?;
        let known = self.scan.cache.and_then(|cache| cache.get(real));
        let known = known.filter(|row| self.scan.root.is_unchanged(real, row.stamp));
        let content = if let Some(row) = known {
            Ok((row.stamp, row.digest))
        } else {
            self.found.files_read += 1;
            content::digest(self.scan.root, real, &self.scan.rules.normalizer, &mut self.buffer)
        };
        self.scan.seen.fetch_add(1, Ordering::Relaxed);
        let (stamp, digest) = content?;
        let is_linked = name != real;
        self.found.table.push(name, stamp, digest, is_linked);
        if is_linked {
            self.found.linked.push(real, stamp, digest, false);
        }
        Ok(())
    }

    fn fail(&mut self, path: &Path, message: impl Into<String>) {
        self.found.errors.push(problem(self.scan.shown, path, message));
    }

    /// A folder that cannot be read.
    fn fail_walk(&mut self, error: ignore::Error) {
        let mut error = error;
        let mut path = None;
        loop {
            error = match error {
                ignore::Error::WithPath { path: at, err } => {
                    path = Some(at);
                    *err
                }
                ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => *err,
                other => {
                    let path = path.unwrap_or_default();
                    return self.fail(&self.shown(&path), format!("cannot be read: {other}"));
                }
            };
        }
    }
}

impl Drop for FileHasher<'_> {
    fn drop(&mut self) {
        // Each thread sorts its own part; the whole is then a merge.
        self.found.table.sort();
        self.found.linked.sort();
        let mut all = self.scan.found();
        all.table.append(std::mem::take(&mut self.found.table));
        all.linked.append(std::mem::take(&mut self.found.linked));
        all.folders.append(&mut self.found.folders);
        all.files_read += self.found.files_read;
        all.errors.append(&mut self.found.errors);
        all.any |= self.found.any;
    }
}

fn not_regular(what: &str) -> String {
    format!("is {what}, not a regular file; remove or exclude it")
}

/// The path as text that can stand in a manifest.
fn checked_name(path: &Path) -> Result<&str, String> {
    let name = path.to_str().ok_or("has a name that is not UTF-8; rename or exclude it")?;
    match name.chars().find(|c| c.is_control()) {
        Some(bad) => {
            Err(format!("has the control character U+{:04X} in its name; rename or exclude it", u32::from(bad)))
        }
        None => Ok(name),
    }
}

#[cfg(test)]
mod tests;
