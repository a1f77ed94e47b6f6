//! Files that the program keeps for itself, and whether what a user has it write would land in one of them, or in one that it
//! reads.

use std::path::{Path, PathBuf};

use super::manifest_files::is_manifest_name;
use super::output;
use super::paths::without_links;

/// What the names of files end with that are kept beside the state and begin with its name: the engine's, ours, and both of a
/// state that is being made or was replaced.
const BESIDE_STATE: [&str; 12] = [
    "",
    "-wal",
    "-shm",
    "-journal",
    ".lock",
    ".seal",
    ".new",
    ".new-wal",
    ".new-shm",
    ".new-journal",
    ".old-wal",
    ".old-journal",
];
/// What follows the state's name in those of files that keep what a run could not record.
const ASIDE: &str = ".aside-";

/// Whether this is, by its name, a state or something that is kept beside it; both without links in their folders.
pub(super) fn is_called_as_of_state(state: &Path, path: &Path) -> bool {
    let Some((name, own)) = path.file_name().zip(state.file_name()).filter(|_| path.parent() == state.parent()) else {
        return false;
    };
    let Some(end) = name.as_encoded_bytes().strip_prefix(own.as_encoded_bytes()) else { return false };
    BESIDE_STATE.iter().any(|known| known.as_bytes() == end) || end.starts_with(ASIDE.as_bytes())
}

/// Whether what is written to `path` is written to the state, or to something that is kept beside it, by any name.
pub fn is_of_state(path: &Path, state: &Path) -> bool {
    let (paths, states) = (without_links(path), without_links(state));
    let called_so = states.iter().any(|state| paths.iter().any(|path| is_called_as_of_state(state, path)));
    called_so || identity(path).is_some_and(|file| identities(&states).any(|own| own == file))
}

/// The stream, `output` or `error`, that is written to the state, or to something that is kept beside it.
pub fn printed_to_state(state: &Path) -> Option<&'static str> {
    let states = without_links(state);
    output::files()
        .find_map(|(stream, device, inode)| identities(&states).any(|own| own == (device, inode)).then_some(stream))
}

/// Whether both paths lead to one file, be it there or not.
pub fn are_one(path: &Path, other: &Path) -> bool {
    let others = without_links(other);
    without_links(path).iter().any(|path| others.contains(path))
        || identity(path).is_some_and(|file| identity(other) == Some(file))
}

/// Whether a run over the files and folders `given` takes this path, once something is there, for a manifest.
pub fn is_read_as_manifest(path: &Path, given: &[PathBuf]) -> bool {
    let paths = without_links(path);
    let is_below = |path: &Path, folder: &Path| {
        let mut below = path.strip_prefix(folder).into_iter().flatten();
        is_manifest_name(path)
            && path.starts_with(folder)
            && !below.any(|part| part.as_encoded_bytes().starts_with(b"."))
    };
    given.iter().any(|given| match std::fs::canonicalize(given) {
        Ok(folder) if folder.is_dir() => paths.iter().any(|path| is_below(path, &folder)),
        _ => are_one(path, given),
    })
}

/// Device and number of the files of a state that are there.
fn identities(states: &[PathBuf]) -> impl Iterator<Item = (u64, u64)> {
    let name = |state: &PathBuf, end: &str| {
        let mut name = state.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    states.iter().flat_map(move |state| BESIDE_STATE.iter().filter_map(move |end| identity(&name(state, end))))
}

#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|file| (file.dev(), file.ino()))
}

#[cfg(not(unix))]
fn identity(_: &Path) -> Option<(u64, u64)> {
    None
}
