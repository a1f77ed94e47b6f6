//! Where else a file may be that is not at its place: a program that runs in another folder looks in another place.

use std::path::{Path, PathBuf};

/// Most places that are looked for.
const MOST: usize = 3;
/// Most files of a folder that are looked at.
const MOST_SEEN: usize = 1_000;

/// Files that may be meant by `name`, which is not there: those of its kind beside it, and those called `name`, if that is a
/// relative path, or `usual` in the folders above the working directory, and in and above `folders`.
pub fn others(name: &Path, usual: &Path, folders: &[PathBuf]) -> Vec<PathBuf> {
    let Ok(here) = std::env::current_dir() else { return Vec::new() };
    let mut found: Vec<PathBuf> = Vec::new();
    let mut take = |place: PathBuf| {
        if found.len() < MOST && place.is_file() && !found.contains(&place) {
            found.push(place);
        }
    };
    beside(&here.join(name)).into_iter().for_each(&mut take);
    for folder in std::iter::once(&here).chain(folders) {
        let folder = here.join(folder);
        for above in folder.ancestors() {
            for name in [name, usual].into_iter().filter(|name| name.is_relative()) {
                take(above.join(name));
            }
        }
    }
    found
}

/// What is beside a file that is not there and ends as its name does, in order.
fn beside(file: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(end)) = (file.parent(), file.extension()) else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.take(MOST_SEEN).filter_map(|entry| Some(entry.ok()?.path()));
    let mut found: Vec<PathBuf> = paths.filter(|path| path.extension() == Some(end) && path.is_file()).collect();
    found.sort();
    found
}

/// The folder that relative paths are seen from, for people.
pub fn working_directory() -> String {
    std::env::current_dir().map_or_else(|_| "unknown".to_owned(), |here| here.to_string_lossy().into_owned())
}
