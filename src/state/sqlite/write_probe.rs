//! What keeps a state from being written, as far as the system reports without a try.

use std::path::Path;

#[cfg(unix)]
use super::{StateError, place::beside, place::locate};

/// Less room than this on a disk is none, in bytes: a small run needs about so much.
const LEAST_BYTES: u64 = 1024 * 1024;

/// Why the state at `path`, or a first one there, could not be written now; `None` if nothing speaks against it. Writes
/// nothing, so a quota of the user, for one, is not seen.
#[cfg(unix)]
pub(super) fn write_probe(path: &Path) -> Option<String> {
    use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};

    let path = match locate(path) {
        Ok(path) => path,
        // The system says below what is in the way.
        Err(StateError::Io { .. }) => path.to_owned(),
        Err(error) => return Some(error.to_string()),
    };
    let absolute = std::path::absolute(&path).ok()?;
    // Folders that are missing are made.
    let found = absolute.ancestors().skip(1).find_map(|folder| Some((folder, std::fs::metadata(folder).ok()?)));
    let (folder, metadata) = found?;
    let shown = folder.display();
    if !metadata.is_dir() {
        return Some(format!("`{shown}` is not a folder"));
    }
    if let Ok(system) = statvfs(folder) {
        if system.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Some(format!("the file system of `{shown}` is read-only"));
        }
        // Systems without any blocks do not count them.
        let free = (system.f_blocks > 0).then(|| system.f_bavail.saturating_mul(system.f_frsize));
        let free_files = (system.f_files > 0).then_some(system.f_favail);
        if let Some(full) = full(free, free_files) {
            return Some(format!("{full} at `{shown}`"));
        }
    }
    if let Some(most) = size_limit(&path) {
        return Some(format!("files of this process may grow to {most} bytes at most (`ulimit -f`)"));
    }
    if let Err(error) = access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        return Some(format!("the folder `{shown}` may not be written to: {}", std::io::Error::from(error)));
    }
    let refused = access(&path, Access::READ_OK | Access::WRITE_OK).err().map(std::io::Error::from);
    let refused = refused.filter(|error| error.kind() != std::io::ErrorKind::NotFound)?;
    Some(format!("`{}` may not be written to: {refused}", path.display()))
}

#[cfg(not(unix))]
pub(super) fn write_probe(_: &Path) -> Option<String> {
    None
}

/// The most bytes that a file of this process may have, where that leaves no room for the state at `path` or its log.
#[cfg(unix)]
fn size_limit(path: &Path) -> Option<u64> {
    use rustix::process::{Resource, getrlimit};
    let most = getrlimit(Resource::Fsize).current?;
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len());
    let largest = size(path).max(size(&beside(path, "-wal")));
    (most < largest + LEAST_BYTES).then_some(most)
}

/// Whether there is no room, from what is free, where that is known.
#[cfg(unix)]
fn full(bytes: Option<u64>, files: Option<u64>) -> Option<String> {
    match (bytes, files) {
        (Some(bytes), _) if bytes < LEAST_BYTES => {
            Some(format!("the disk is full, {bytes} bytes are left, less than 1 MiB"))
        }
        (_, Some(0)) => Some("the disk has no room for another file".to_owned()),
        _ => None,
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// C7: little room is none; what is not counted is no obstacle.
    #[test]
    fn a_full_disk_is_an_obstacle() {
        assert!(full(Some(LEAST_BYTES - 1), Some(9)).is_some_and(|text| text.starts_with("the disk is full")));
        assert!(full(Some(LEAST_BYTES), Some(0)).is_some());
        assert_eq!((full(Some(LEAST_BYTES), Some(1)), full(None, None)), (None, None));
    }

    /// C7
    #[test]
    fn a_state_is_writable_where_it_is_or_could_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("a/b/state.db");
        assert_eq!(write_probe(&state), None, "folders are made");
        std::fs::create_dir_all(state.parent().unwrap()).unwrap();
        std::fs::write(&state, "").unwrap();
        assert_eq!(write_probe(&state), None);
        std::fs::remove_dir_all(folder.path().join("a")).unwrap();
        std::fs::write(folder.path().join("a"), "").unwrap();
        assert!(write_probe(&state).unwrap().ends_with("a` is not a folder"));
        assert!(write_probe(Path::new("/proc/self/state.db")).is_some(), "no user makes files there");
    }
}
