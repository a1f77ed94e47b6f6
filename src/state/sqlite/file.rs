//! The state file as a file: whether it is there and ours to read, how it is made.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::place::{beside, locate, make_own, open_own};
use super::schema::APPLICATION_ID;
use super::{StateError, location};

/// What sets a file apart from another one that takes its name: device and number. `None` if there is no file, or the
/// system has no such numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId(Option<(u64, u64)>);

impl FileId {
    /// Of the file that has this name now.
    pub(super) fn of(path: &Path) -> Self {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            Self(std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino())))
        }
        #[cfg(not(unix))]
        {
            let _ = path;
            Self(None)
        }
    }
}

/// Writes `text` to a new private file beside the state, durably; its name begins with that of the state and ends with
/// `name`.
///
/// # Errors
/// [`StateError::Io`] if it cannot be written, or is there already.
pub(super) fn write_recovery_file(state: &Path, name: &str, text: &str) -> Result<PathBuf, StateError> {
    let path = beside(&locate(state)?, &format!(".aside-{name}"));
    let io = |cause: std::io::Error| StateError::Io {
        location: location(&path),
        action: "written",
        cause: cause.to_string(),
    };
    let mut file = make_own(&path).map_err(io)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| sync_folder(&path)).map_err(io)?;
    Ok(path)
}

/// Whether a log beside the state holds what is not in it yet.
pub(super) fn has_log(state: &Path) -> bool {
    std::fs::metadata(beside(state, "-wal")).is_ok_and(|log| log.len() > 0)
}

/// The head of a SQLite file, and where in it is whose file it is.
const HEAD_BYTES: usize = 100;
const APPLICATION_AT: usize = 68;
/// What is wrong with a database of somebody else.
pub(super) const NOT_OURS: &str = "it is a SQLite file, but not a state of freshen";

/// What is wrong with something that is there and shows nothing of a state: it is damaged where the lock or the seal of a state
/// is beside it, and else the file of another program.
pub(super) fn no_state(path: &Path, cause: &str) -> StateError {
    let (location, cause) = (location(path), cause.to_owned());
    if path.is_file() && [".lock", ".seal"].iter().any(|suffix| beside(path, suffix).is_file()) {
        StateError::Damaged { location, cause }
    } else {
        StateError::Foreign { location, cause }
    }
}

/// Whether a state file is there; an empty or foreign one is never a first run.
pub(super) fn is_there(path: &Path) -> Result<bool, StateError> {
    let io =
        |cause: std::io::Error| StateError::Io { location: location(path), action: "read", cause: cause.to_string() };
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(io(error)),
    };
    if !metadata.is_file() {
        return Err(no_state(path, "it is not a regular file"));
    }
    let mut head = Vec::with_capacity(HEAD_BYTES);
    let file = open_own(path, OpenOptions::new().read(true)).map_err(io)?;
    file.take(HEAD_BYTES as u64).read_to_end(&mut head).map_err(io)?;
    let cause = match head.as_slice() {
        [] => "it is empty",
        head if !head.starts_with(b"SQLite format 3\0") => "it is not a SQLite file",
        head if head.len() < HEAD_BYTES => "it is cut short",
        // Before the engine opens it, which takes in the log of whatever it is.
        head if head[APPLICATION_AT..APPLICATION_AT + 4] != APPLICATION_ID.to_be_bytes() => NOT_OURS,
        // With a log beside it the last page may be half-written: the log holds it whole.
        head if metadata.len() % page_bytes(head) != 0 && !beside(path, "-wal").exists() => {
            return Err(StateError::Damaged { location: location(path), cause: "it is cut short".to_owned() });
        }
        _ => return Ok(true),
    };
    Err(no_state(path, cause))
}

/// Size of a page as the head of a SQLite file gives it; 1 stands for 64 KiB.
fn page_bytes(head: &[u8]) -> u64 {
    match u16::from_be_bytes([head[16], head[17]]) {
        0 | 1 => 65_536,
        bytes => u64::from(bytes),
    }
}

/// Puts the log of a state that is gone out of the way: SQLite would play it into whatever takes the state's name.
pub(super) fn set_old_log_aside(path: &Path) -> std::io::Result<()> {
    for suffix in ["-wal", "-journal"] {
        ignore_missing(std::fs::rename(beside(path, suffix), beside(path, &format!(".old{suffix}"))))?;
    }
    ignore_missing(std::fs::remove_file(beside(path, "-shm")))
}

/// Removes a database that nobody has open, with all that the engine leaves beside it.
pub(super) fn remove_database(path: &Path) -> std::io::Result<()> {
    for suffix in ["-wal", "-journal", "-shm", ""] {
        ignore_missing(std::fs::remove_file(beside(path, suffix)))?;
    }
    Ok(())
}

pub(super) fn ignore_missing(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn make_folder(path: &Path) -> std::io::Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

pub(super) fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}
