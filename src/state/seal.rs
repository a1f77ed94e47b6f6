//! The seal of a state: what its file looked like when a run that knew its pages to be whole had closed it. As long as
//! nobody touched the file since, its pages need not be looked at again.
//!
//! A missing or broken seal only costs time. Who restores the times of a file that he changed deceives himself.

use std::fs::Metadata;
use std::path::{Path, PathBuf};

use super::file::{beside, private_file};

/// Seals a state once its connection is closed: drop it after that.
pub(super) struct Seal {
    path: PathBuf,
    is_due: bool,
}

impl Seal {
    /// Seals nothing until it is told to.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.into(), is_due: false }
    }

    /// The file was written to by somebody who knows its pages to be whole.
    pub(super) fn set_due(&mut self, is_due: bool) {
        self.is_due = is_due;
    }

    /// Whether the file at `path` is as it was sealed.
    pub(super) fn is_intact(path: &Path) -> bool {
        let seal = std::fs::read_to_string(beside(path, ".seal")).ok();
        let looks = std::fs::metadata(path).ok().map(|metadata| look(&metadata));
        !has_log(path) && seal.is_some() && seal == looks
    }
}

impl Drop for Seal {
    fn drop(&mut self) {
        if self.is_due && !has_log(&self.path) {
            // Without a seal the next run looks at the pages.
            let _ = write(&self.path);
        }
    }
}

/// Whether a log beside the file holds what is not in it.
fn has_log(path: &Path) -> bool {
    std::fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0)
}

#[cfg(unix)]
fn write(path: &Path) -> std::io::Result<()> {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
    use std::os::unix::fs::MetadataExt;

    // A time that has passed: clocks of file systems stand still for milliseconds, and what is written meanwhile must not
    // look the same.
    let past = Timespec { tv_sec: std::fs::metadata(path)?.mtime() - 1, tv_nsec: 0 };
    let times = Timestamps { last_access: past, last_modification: past };
    // By name: to close another handle of the file would drop the locks of the engine's.
    utimensat(CWD, path, &times, AtFlags::empty())?;
    let look = look(&std::fs::metadata(path)?);
    let seal = beside(path, ".seal");
    if !seal.exists() {
        private_file(&seal)?;
    }
    std::fs::write(seal, look)
}

#[cfg(not(unix))]
fn write(_: &Path) -> std::io::Result<()> {
    Ok(())
}

/// What changes whenever the file does.
#[cfg(unix)]
fn look(metadata: &Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    let (modified, changed) = ((metadata.mtime(), metadata.mtime_nsec()), (metadata.ctime(), metadata.ctime_nsec()));
    format!("{} {} {} {modified:?} {changed:?}\n", metadata.dev(), metadata.ino(), metadata.len())
}

/// Nothing is known to change: no seal is ever written.
#[cfg(not(unix))]
fn look(_: &Metadata) -> String {
    String::new()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// C6: whatever is written to a sealed file, at once or later, breaks its seal.
    #[test]
    fn a_seal_holds_until_the_file_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        std::fs::write(&path, "whole").unwrap();
        assert!(!Seal::is_intact(&path), "there is none yet");
        drop(Seal::new(&path));
        assert!(!Seal::is_intact(&path), "none is due");
        let mut seal = Seal::new(&path);
        seal.set_due(true);
        drop(seal);
        assert!(Seal::is_intact(&path));
        std::fs::write(beside(&path, "-wal"), "log").unwrap();
        assert!(!Seal::is_intact(&path), "the log is part of it");
        std::fs::write(beside(&path, "-wal"), "").unwrap();
        assert!(Seal::is_intact(&path));
        std::fs::write(&path, "wh0le").unwrap();
        assert!(!Seal::is_intact(&path));
    }
}
