//! Paths that were given, as the system tells of them.

use std::fs;
use std::path::{Path, PathBuf};

/// A path that need not lead to anything yet, from the root of the file system and with no link in its folders; and, where
/// it is a link itself, also where that leads.
pub(super) fn without_links(path: &Path) -> Vec<PathBuf> {
    let absolute = std::path::absolute(path).ok();
    let folder = absolute.as_deref().and_then(Path::parent).and_then(|folder| fs::canonicalize(folder).ok());
    let by_name = match (folder, path.file_name()) {
        (Some(folder), Some(name)) => Some(folder.join(name)),
        _ => absolute,
    };
    let target = fs::canonicalize(path).ok().filter(|target| by_name.as_ref() != Some(target));
    by_name.into_iter().chain(target).collect()
}
