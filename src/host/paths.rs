//! Paths that were given, as the system gives them.

use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// A path that need not lead to anything yet, from the root of the file system and with no link in its folders; and, where
/// it is a link itself, also where that leads.
pub(super) fn without_links(path: &Path) -> Vec<PathBuf> {
    let absolute = std::path::absolute(path).ok();
    let by_name = absolute.as_deref().map(|path| match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => folder_of(folder).join(name),
        _ => path.to_owned(),
    });
    let target = fs::canonicalize(path).ok().filter(|target| by_name.as_ref() != Some(target));
    by_name.into_iter().chain(target).collect()
}

/// A folder without links, as it is or would be made: what is not there yet holds none.
fn folder_of(folder: &Path) -> PathBuf {
    let mut missing: Vec<&OsStr> = Vec::new();
    let mut found = folder;
    loop {
        if let Ok(mut whole) = fs::canonicalize(found) {
            for part in missing.into_iter().rev() {
                if part == ".." {
                    whole.pop();
                } else {
                    whole.push(part);
                }
            }
            return whole;
        }
        let (Some(above), Some(last)) = (found.parent(), found.components().next_back().map(Component::as_os_str))
        else {
            return folder.to_owned();
        };
        missing.push(last);
        found = above;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_are_not_there_are_where_they_would_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let whole = fs::canonicalize(folder.path()).unwrap();
        for (given, expected) in
            [("a", "a"), ("x/a", "x/a"), ("x/../a", "a"), ("./x/y/../../a", "a"), ("x/../../a", "../a")]
        {
            let expected = if let Some(outside) = expected.strip_prefix("../") {
                whole.parent().unwrap().join(outside)
            } else {
                whole.join(expected)
            };
            assert_eq!(without_links(&folder.path().join(given)), [expected], "{given}");
        }
    }
}
