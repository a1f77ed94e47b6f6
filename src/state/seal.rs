//! The seal of a state: which state it was, and what its file looked like, when a run that knew its pages to be whole had
//! closed it. As long as nobody touched the file since, its pages need not be looked at again; and a file that is another
//! state, or an older copy of this one, is not taken for it.
//!
//! A missing or broken seal only costs time. Who restores the times of a file that he changed deceives himself.

use std::fs::{Metadata, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::file::{beside, has_log, ignore_missing};
use super::place::{make_own, open_own};
use super::{Identity, StateError};

/// Seals a state once its connection is closed: drop it after that.
pub(super) struct Seal {
    path: PathBuf,
    /// What to seal, with the serial at which its pages were last looked through; `None`: nothing.
    due: Option<(i64, Identity)>,
}

/// What a seal says.
struct Sealed {
    checked_at: i64,
    identity: Identity,
    looks: String,
}

impl Sealed {
    /// Of the state at `path`; `None` if there is none, or it is broken.
    fn read(path: &Path) -> Option<Self> {
        let mut text = String::new();
        let file = open_own(&beside(path, ".seal"), OpenOptions::new().read(true)).ok()?;
        file.take(4096).read_to_string(&mut text).ok()?;
        let mut parts = text.splitn(4, ' ');
        let mut next = || parts.next();
        let (checked_at, serial) = (next()?.parse().ok()?, next()?.parse().ok()?);
        let identity = Identity { lineage: next()?.to_owned(), serial };
        Some(Self { checked_at, identity, looks: next()?.to_owned() })
    }
}

/// The state that was sealed at `path` last. To be asked before the state is looked at, since a run that ends in between seals
/// what it has left.
pub(super) fn last(path: &Path) -> Option<Identity> {
    Sealed::read(path).map(|sealed| sealed.identity)
}

/// # Errors
/// [`StateError::NotLast`] if what was found at `path` is not the state that is known to have been the last one, or an older copy
/// of it.
pub(super) fn check_is_last(path: &Path, found: &Identity, known: Option<&Identity>) -> Result<(), StateError> {
    match known {
        Some(known) if known.lineage != found.lineage || found.is_older_than(known) => {
            Err(StateError::NotLast { path: path.into(), found: found.clone(), known: known.clone() })
        }
        _ => Ok(()),
    }
}

impl Seal {
    /// Seals nothing until it is told to.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.into(), due: None }
    }

    /// The file was written to and is this state now, by somebody who knows its pages to be whole since they were looked
    /// through at this serial.
    pub(super) fn set_due(&mut self, checked_at: Option<(i64, Identity)>) {
        self.due = checked_at;
    }

    /// The serial at which the pages of the file at `path` were last looked through, if the file is as it was sealed.
    pub(super) fn checked_at(path: &Path) -> Option<i64> {
        let sealed = Sealed::read(path)?;
        let looks = look(&std::fs::metadata(path).ok()?);
        (!has_log(path) && sealed.looks == looks).then_some(sealed.checked_at)
    }
}

impl Drop for Seal {
    fn drop(&mut self) {
        if let Some((checked_at, identity)) = self.due.take().filter(|_| !has_log(&self.path)) {
            // Without a seal the next run looks at the pages.
            let _ = write(&self.path, checked_at, &identity);
        }
    }
}

#[cfg(unix)]
fn write(path: &Path, checked_at: i64, identity: &Identity) -> std::io::Result<()> {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
    use std::os::unix::fs::MetadataExt;

    // A moment that has passed: clocks of file systems stand still for milliseconds, and what is written meanwhile must not
    // look the same.
    const BACK_NS: i64 = 20_000_000;
    let metadata = std::fs::metadata(path)?;
    let (seconds, ns) = (metadata.mtime(), metadata.mtime_nsec() - BACK_NS);
    let past = Timespec { tv_sec: seconds + ns.div_euclid(1_000_000_000), tv_nsec: ns.rem_euclid(1_000_000_000) };
    let times = Timestamps { last_access: past, last_modification: past };
    // By name: to close another handle of the file would drop the locks of the engine's.
    utimensat(CWD, path, &times, AtFlags::empty())?;
    let Identity { lineage, serial } = identity;
    let sealed = format!("{checked_at} {serial} {lineage} {}", look(&std::fs::metadata(path)?));
    let seal = beside(path, ".seal");
    // Made anew, so that nothing is written to another name of the old one.
    ignore_missing(std::fs::remove_file(&seal))?;
    make_own(&seal)?.write_all(sealed.as_bytes())
}

#[cfg(not(unix))]
fn write(_: &Path, _: i64, _: &Identity) -> std::io::Result<()> {
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
        assert_eq!(Seal::checked_at(&path), None, "there is none yet");
        drop(Seal::new(&path));
        assert_eq!(Seal::checked_at(&path), None, "none is due");
        let mut seal = Seal::new(&path);
        seal.set_due(Some((7, Identity { lineage: "lineage".into(), serial: 9 })));
        drop(seal);
        assert_eq!(Seal::checked_at(&path), Some(7));
        std::fs::write(beside(&path, "-wal"), "log").unwrap();
        assert_eq!(Seal::checked_at(&path), None, "the log is part of it");
        std::fs::write(beside(&path, "-wal"), "").unwrap();
        assert_eq!(Seal::checked_at(&path), Some(7));
        std::fs::write(&path, "wh0le").unwrap();
        assert_eq!(Seal::checked_at(&path), None);
        // Which state it was is known all the same.
        let is_last = |lineage: &str, serial| {
            let found = Identity { lineage: lineage.into(), serial };
            check_is_last(&path, &found, last(&path).as_ref()).is_ok()
        };
        assert!(is_last("lineage", 9) && is_last("lineage", 10));
        assert!(!is_last("lineage", 8) && !is_last("other", 9));
        std::fs::write(beside(&path, ".seal"), "7 (1, 2)\n").unwrap();
        assert!(is_last("other", 0), "a broken seal says nothing");
    }
}
