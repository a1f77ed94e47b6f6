//! The seal of a state: which state it was, and what its file looked like, when a run that knew its pages to be whole had
//! closed it. As long as nobody touched the file since, its pages need not be looked at again; and a file that is another
//! state, or an older copy of this one, is not taken for it.
//!
//! While a run writes, the seal follows: a log that loses its end, which the engine takes for a commit that was cut short,
//! is noticed by a state that has come less far than that.
//!
//! A missing or broken seal only costs time. A user that restores the times of a file that he changed deceives himself.

use std::fs::{File, Metadata, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::file::{has_log, ignore_missing};
use super::place::{beside, make_own, open_own};
use super::{Identity, StateError, location, sums};

/// Seals a state once its connection is closed: drop it after that.
pub(super) struct IntegrityStamp {
    path: PathBuf,
    /// What to seal, with the serial at which its pages were last looked through; `None`: nothing.
    due: Option<(i64, Identity)>,
    /// The seal as this run goes on in it.
    open: Option<(File, Sealed)>,
}

/// What a seal says.
#[derive(Clone)]
struct Sealed {
    /// The serial that the state has come to, its log included.
    latest: i64,
    checked_at: i64,
    /// The state when it was closed, which is all in its file.
    identity: Identity,
    looks: String,
}

impl Sealed {
    /// Of the state at `path`; `None` if there is none, or it is broken.
    fn read(path: &Path) -> Option<Self> {
        let mut text = String::new();
        let file = open_own(&beside(path, ".seal"), OpenOptions::new().read(true)).ok()?;
        file.take(4096).read_to_string(&mut text).ok()?;
        let (digest, text) = text.split_once(' ')?;
        if digest != digest_of(text) {
            return None;
        }
        let mut parts = text.splitn(5, ' ');
        let mut next = || parts.next();
        let (latest, checked_at, serial) = (next()?.parse().ok()?, next()?.parse().ok()?, next()?.parse().ok()?);
        let identity = Identity { lineage: next()?.to_owned(), serial };
        Some(Self { latest, checked_at, identity, looks: next()?.to_owned() })
    }

    /// Of one length, whatever the latest serial.
    #[cfg(unix)]
    fn text(&self) -> String {
        let Self { latest, checked_at, identity: Identity { lineage, serial }, looks } = self;
        let text = format!("{latest:020} {checked_at} {serial} {lineage} {looks}");
        format!("{} {text}", digest_of(&text))
    }
}

fn digest_of(text: &str) -> String {
    format!("{:016x}", sums::of_text(text))
}

/// The state that was used at a path last.
pub(super) struct LastUsed {
    /// When it was closed: its file alone is no older.
    pub(super) closed: Identity,
    /// When it was last written to: with its log it is no older.
    pub(super) latest: Identity,
}

/// The state that was used at `path` last. To be asked before the state is looked at, since a run that goes on in between
/// notes what it has written.
pub(super) fn last(path: &Path) -> Option<LastUsed> {
    let Sealed { latest, identity, .. } = Sealed::read(path)?;
    Some(LastUsed { latest: Identity { serial: latest.max(identity.serial), ..identity.clone() }, closed: identity })
}

/// # Errors
/// [`StateError::NotLast`] if what was found at `path` is not the state that is known to have been the last one, or an older copy
/// of it.
pub(super) fn check_is_last(path: &Path, found: &Identity, known: Option<&Identity>) -> Result<(), StateError> {
    match known {
        Some(known) if known.lineage != found.lineage || found.is_older_than(known) => {
            Err(StateError::NotLast { location: location(path), found: found.clone(), known: known.clone() })
        }
        _ => Ok(()),
    }
}

impl IntegrityStamp {
    /// Seals nothing until it is told to.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.into(), due: None, open: None }
    }

    /// The state has come to this serial, durably. Is in time for a process that is killed, and not synced: what a machine
    /// forgets that loses its power costs no more than this knowledge.
    pub(super) fn note(&mut self, written: &Identity) {
        #[cfg(unix)]
        {
            use std::os::unix::fs::FileExt;
            if self.open.is_none() {
                let old = Sealed::read(&self.path).filter(|sealed| sealed.identity.lineage == written.lineage);
                // Of a file that was never sealed no more is known than whose it is.
                let unknown = Identity { serial: 0, ..written.clone() };
                let unsealed = Sealed { latest: 0, checked_at: 0, identity: unknown, looks: "unsealed".into() };
                let sealed = old.unwrap_or(unsealed);
                self.open = make_anew(&self.path).ok().map(|file| (file, sealed));
            }
            if let Some((file, sealed)) = &mut self.open {
                sealed.latest = written.serial;
                let _ = file.write_all_at(sealed.text().as_bytes(), 0);
            }
        }
        #[cfg(not(unix))]
        let _ = written;
    }

    /// The file was written to and is this state now, by a process that knows its pages to be whole since they were looked
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

/// Makes the seal of the state at `path` hold for its file as it is now, for tests of media that forget without a trace.
#[doc(hidden)]
pub fn seal_as_it_is(path: &Path) {
    if let Some(Sealed { checked_at, identity, .. }) = Sealed::read(path) {
        let _ = write(path, checked_at, &identity);
    }
}

impl Drop for IntegrityStamp {
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
    use std::io::Write;
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
    let looks = look(&std::fs::metadata(path)?);
    let sealed = Sealed { latest: identity.serial, checked_at, identity: identity.clone(), looks };
    make_anew(path)?.write_all(sealed.text().as_bytes())
}

/// The file of a seal, made anew so that nothing is written to another name of the old one.
#[cfg(unix)]
fn make_anew(path: &Path) -> std::io::Result<File> {
    let seal = beside(path, ".seal");
    ignore_missing(std::fs::remove_file(&seal))?;
    make_own(&seal)
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
        assert_eq!(IntegrityStamp::checked_at(&path), None, "there is none yet");
        drop(IntegrityStamp::new(&path));
        assert_eq!(IntegrityStamp::checked_at(&path), None, "none is due");
        let mut seal = IntegrityStamp::new(&path);
        seal.set_due(Some((7, Identity { lineage: "lineage".into(), serial: 9 })));
        drop(seal);
        assert_eq!(IntegrityStamp::checked_at(&path), Some(7));
        std::fs::write(beside(&path, "-wal"), "log").unwrap();
        assert_eq!(IntegrityStamp::checked_at(&path), None, "the log is part of it");
        std::fs::write(beside(&path, "-wal"), "").unwrap();
        assert_eq!(IntegrityStamp::checked_at(&path), Some(7));
        std::fs::write(&path, "wh0le").unwrap();
        assert_eq!(IntegrityStamp::checked_at(&path), None);
        // Which state it was is known all the same.
        let is_last = |lineage: &str, serial| {
            let found = Identity { lineage: lineage.into(), serial };
            check_is_last(&path, &found, last(&path).as_ref().map(|last| &last.latest)).is_ok()
        };
        assert!(is_last("lineage", 9) && is_last("lineage", 10));
        assert!(!is_last("lineage", 8) && !is_last("other", 9));
        std::fs::write(beside(&path, ".seal"), "7 (1, 2)\n").unwrap();
        assert!(is_last("other", 0), "a broken seal says nothing");
    }
}
