//! Where a state is: the file itself, whatever name leads to it, and the files of ours beside it.
//!
//! A link is followed to the state and never to anything beside it: a person who can lay a link into a checkout must not have
//! another file written.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::{StateError, location};

/// What stands beside a state while it is used, and is opened by its name.
const BESIDE: [&str; 5] = ["-wal", "-shm", "-journal", ".lock", ".seal"];

/// The path of the state that `path` leads to, without a link in its last part: its folder holds all the rest, so what
/// uses the same state has the same lock. A state that is not there yet is where `path` says.
///
/// # Errors
/// [`StateError::Foreign`] for the path of a folder, [`StateError::Misplaced`] for a link that leads nowhere, for a second name whose lock is another one, and where something
/// else than a file of ours has a name that belongs to one.
pub(super) fn locate(path: &Path) -> Result<PathBuf, StateError> {
    let misplaced = |cause: String| StateError::Misplaced { location: location(path), cause };
    let ends_in_separator = path.to_str().is_some_and(|text| text.ends_with(std::path::is_separator));
    if path.file_name().is_none() || ends_in_separator {
        return Err(StateError::Foreign { location: location(path), cause: "its path is that of a folder".to_owned() });
    }
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => return follow(path),
        Ok(found) => Some(found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(cause) => {
            return Err(StateError::Io { location: location(path), action: "read", cause: cause.to_string() });
        }
    };
    if let Some(folder) = path.ancestors().skip(1).find(|folder| folder.is_symlink() && !folder.exists()) {
        let cause = format!("`{}` is a link that leads nowhere; bring back what it leads to", folder.display());
        return Err(misplaced(cause));
    }
    for suffix in BESIDE {
        let other = beside(path, suffix);
        let Ok(found) = std::fs::symlink_metadata(&other) else { continue };
        // The engine writes to its own whatever other names they have; the lock is left alone then, the seal made anew.
        if !found.is_file() || (has_other_names(&found) && suffix.starts_with('-')) {
            let cause = format!("`{}` is a link, or nothing that belongs there; remove it", other.display());
            return Err(misplaced(cause));
        }
    }
    // Each name of a file has a log and a lock of its own, so only one of them may be used: the one that was.
    if found.is_some_and(|found| found.is_file() && has_other_names(&found)) && !beside(path, ".lock").exists() {
        let cause = "it has another name as well (a hard link), which may be in use; use that one, or remove it";
        return Err(misplaced(cause.to_owned()));
    }
    Ok(path.to_owned())
}

fn follow(link: &Path) -> Result<PathBuf, StateError> {
    match std::fs::canonicalize(link) {
        Ok(target) => locate(&target),
        Err(cause) => {
            let target = std::fs::read_link(link).unwrap_or_default();
            let cause = format!(
                "it is a link to `{}`, which leads nowhere ({cause}); bring back the state that it leads to, or remove the \
                 link to begin anew",
                target.display()
            );
            Err(StateError::Misplaced { location: location(link), cause })
        }
    }
}

/// Opens a file of ours that is there: never through a link, nothing but a regular file, and without waiting, as a pipe
/// would have it.
pub(super) fn open_own(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        std::os::unix::fs::OpenOptionsExt::custom_flags(options, flags.bits().cast_signed());
    }
    let file = options.open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
}

/// A new file of ours that only its owner can read, whatever the umask says.
pub(super) fn make_own(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(file)
}

/// Whether what is written to the file is written to other names as well.
pub(super) fn has_other_names(found: &Metadata) -> bool {
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::nlink(found) > 1;
    #[cfg(not(unix))]
    {
        let _ = found;
        false
    }
}
/// The file whose name is that of the state with `suffix` added.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// A path that the engine takes as it is: `file:` and `:memory:` at its beginning have a meaning of their own there.
pub(super) fn literal(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| Path::new(".").join(path))
}
