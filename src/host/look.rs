//! Whether a file is still what it was, and opening one without waiting for another program.

use std::fs::{self, File, FileType, Metadata};
use std::io;
use std::path::Path;
use std::time::SystemTime;

pub(super) const CHANGED: &str = "changed while it was read; run again when it is written";

pub(super) fn cannot_read(error: impl std::fmt::Display) -> String {
    format!("cannot be read: {error}")
}

/// What shows that a file was written to, or that another one took its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Look {
    pub(super) bytes: u64,
    modified: Option<SystemTime>,
    /// Device, number, and when anything about the file changed, times set by hand included.
    identity: (u64, u64, i64, i64),
}

impl Look {
    pub(super) fn at(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let identity = {
            use std::os::unix::fs::MetadataExt;
            (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
        };
        #[cfg(not(unix))]
        let identity = (0, 0, 0, 0);
        Self { bytes: metadata.len(), modified: metadata.modified().ok(), identity }
    }
}

/// Opens a file without waiting: a FIFO may have taken its name since it was looked at.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    }
    options.open(path)
}

/// What something that is not a regular file is called.
#[cfg(unix)]
pub(super) fn called(kind: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_dir() {
        "a folder"
    } else {
        "a device"
    }
}

#[cfg(not(unix))]
pub(super) fn called(kind: FileType) -> &'static str {
    if kind.is_dir() { "a folder" } else { "a device" }
}
