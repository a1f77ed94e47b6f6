//! The state file as a file: whether it is there and ours to read, how it is made.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::Path;

use super::StateError;

/// Whether a state file is there; an empty or foreign one is damage, never a first run.
pub(super) fn is_there(path: &Path) -> Result<bool, StateError> {
    let io = |cause: std::io::Error| StateError::Io { path: path.into(), action: "read", cause: cause.to_string() };
    let damaged = |cause: &str| StateError::Damaged { path: path.into(), cause: cause.to_owned() };
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(io(error)),
    };
    if !metadata.is_file() {
        return Err(damaged("it is not a regular file"));
    }
    let mut head = [0; 16];
    let mut file = File::open(path).map_err(io)?;
    match file.read_exact(&mut head) {
        Ok(()) if &head == b"SQLite format 3\0" => Ok(true),
        Ok(()) => Err(damaged("it is not a SQLite file")),
        Err(_) if metadata.len() == 0 => Err(damaged("it is empty")),
        Err(_) => Err(damaged("it is cut short")),
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

/// An empty file that only its owner can read, whatever the umask says.
pub(super) fn private_file(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    file.sync_all()
}

pub(super) fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}
