//! Where else a file may be that is not at its place: a program that runs in another folder looks in another place.

use std::path::{Path, PathBuf};

/// Most places that are looked for.
const MOST: usize = 3;

/// Files called `name`, a relative path, in the folders above the working directory, and in and above `folders`.
pub fn others(name: &Path, folders: &[PathBuf]) -> Vec<PathBuf> {
    let Ok(here) = std::env::current_dir() else { return Vec::new() };
    let mut found: Vec<PathBuf> = Vec::new();
    if name.is_absolute() {
        return found;
    }
    for folder in std::iter::once(&here).chain(folders) {
        let folder = here.join(folder);
        for place in folder.ancestors().map(|above| above.join(name)) {
            if found.len() < MOST && place.is_file() && !found.contains(&place) {
                found.push(place);
            }
        }
    }
    found
}

/// The folder that relative paths are seen from, for people.
pub fn working_directory() -> String {
    std::env::current_dir().map_or_else(|_| "unknown".to_owned(), |here| here.to_string_lossy().into_owned())
}
