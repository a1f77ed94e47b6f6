//! What a directory has beside what manifests list: the difference by file.

use std::collections::BTreeMap;
use std::path::Path;

use crate::core::algorithm::Algorithm;
use crate::core::model::Model;
use crate::core::recorded::ChangeKind;
use crate::core::target::{ContentHash, Scope};
use crate::host::tree::{self, Tree, TreeProblem, TreeRules, Wanted};
use crate::manifest::{Links, PublishedAt, file_path};

/// What manifests list of one directory.
#[derive(Debug, Default)]
pub struct ListedFiles {
    /// Hashes by the paths of files.
    files: BTreeMap<String, ContentHash>,
    /// URLs below `base_url` that no file has: with a query, or with `/` at the end.
    not_files: usize,
}

/// How a directory differs from manifests.
#[derive(Debug, Default)]
pub struct FileDifference {
    /// Files that differ, in order of path.
    pub changes: Vec<(ChangeKind, String)>,
    /// Files that are as they are listed.
    pub unchanged: usize,
    /// Listed URLs that no file has, and files with a hash that nothing computes (`etag:`, `rev:`).
    pub not_compared: usize,
}

impl FileDifference {
    /// Whether there is any.
    pub fn is_different(&self) -> bool {
        !self.changes.is_empty()
    }

    /// A file that is listed.
    fn count(&mut self, path: &str, is_same: bool) {
        if is_same {
            self.unchanged += 1;
        } else {
            self.changes.push((ChangeKind::Changed, path.to_owned()));
        }
    }
}

/// The files that the manifests list below `published` and that the rules take.
pub fn listed(model: &Model, published: &PublishedAt, rules: &TreeRules) -> ListedFiles {
    let mut listed = ListedFiles::default();
    for entry in model.entries.iter().filter(|entry| entry.target.scope == Scope::Url) {
        let Some(path) = published.path_of(&entry.target.text) else { continue };
        match file_path(path) {
            Some(file) if rules.takes(Path::new(&file)) => {
                listed.files.insert(file, entry.hash.clone());
            }
            Some(_) => {}
            None => listed.not_files += 1,
        }
    }
    listed
}

/// Compares; a file whose listed hash is of another algorithm is read again for it.
///
/// # Errors
/// Files that cannot be read.
pub fn compare(
    folder: &Path,
    tree: &Tree,
    listed: ListedFiles,
    links: Links,
) -> Result<FileDifference, Vec<TreeProblem>> {
    let mut found = FileDifference { not_compared: listed.not_files, ..FileDifference::default() };
    let mut wanted = Vec::new();
    for file in tree.files() {
        let Some(hash) = listed.files.get(file.path) else {
            found.changes.push((ChangeKind::New, file.path.to_owned()));
            continue;
        };
        match Algorithm::of_hash(hash) {
            Some(Algorithm::Blake3) => found.count(file.path, *hash == file.hash()),
            Some(algorithm) => wanted.push(Wanted { path: file.path, algorithm }),
            None => found.not_compared += 1,
        }
    }
    for (wanted, hash) in wanted.iter().zip(tree::digests(folder, &wanted, links)?) {
        found.count(wanted.path, listed.files.get(wanted.path) == Some(&hash));
    }
    let removed = listed.files.into_keys().filter(|path| tree.get(path).is_none());
    found.changes.extend(removed.map(|path| (ChangeKind::Removed, path)));
    found.changes.sort_by(|(_, a), (_, b)| a.cmp(b));
    Ok(found)
}
