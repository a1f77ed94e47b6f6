//! The run lock: a file of its own beside the state, locked by the operating system, never renamed or deleted.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::file::{is_there, make_folder};
use super::place::{beside, has_other_names, locate, make_own, open_own};
use super::{RunStart, StateError, location};

/// The holder of a lock, as it wrote into the lock file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// Name of the machine.
    pub host: String,
    /// Process id.
    pub pid: u32,
    /// When it began, as text.
    pub started: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pid == 0 {
            return f.write_str("its holder did not leave a name");
        }
        write!(f, "freshen with pid {} on host {}, started {}", self.pid, self.host, self.started)
    }
}

/// A held lock; the system releases it when the process ends, however it ends.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
    state: PathBuf,
}

impl RunLock {
    /// Takes the lock of the state that `state` leads to, or returns its holder if another run has it. What is there and is
    /// not a state of ours gets no lock file beside it.
    ///
    /// # Errors
    /// [`StateError::Io`] if the folder or the lock file cannot be made, or the system has no locks for it;
    /// [`StateError::Misplaced`], [`StateError::Foreign`] or [`StateError::Damaged`] if there can be no state.
    pub fn try_take(state: &Path, start: &RunStart) -> Result<Result<Self, Holder>, StateError> {
        let state = locate(state)?;
        is_there(&state)?;
        let path = path_for(&state);
        let failed = |cause: std::io::Error| StateError::Io {
            location: location(&path),
            action: "locked",
            cause: cause.to_string(),
        };
        make_folder(&state).map_err(failed)?;
        let mut file = open_or_make(&path).map_err(failed)?;
        match lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Err(read_holder(&mut file))),
            Err(TryLockError::Error(cause)) => return Err(failed(cause)),
        }
        let text = format!("{}\n{}\n{}\n", start.host.replace('\n', " "), start.pid, start.at.utc_extended());
        // A lock file without a name still locks; a full disk shows when the state is written. Other names of the file may
        // be somebody else's.
        if file.metadata().is_ok_and(|found| !has_other_names(&found)) {
            let emptied = file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0)));
            let _ = emptied.and_then(|_| file.write_all(text.as_bytes()));
        }
        Ok(Ok(Self { _file: file, state }))
    }

    /// Where the state is to which this lock belongs: what is opened there is what is locked, wherever links lead by now.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The holder of the lock of a state now; `None` if there is none or the lock file cannot be looked at. Writes nothing.
    pub fn holder(state: &Path) -> Option<Holder> {
        let path = path_for(&locate(state).ok()?);
        let mut file = open_own(&path, OpenOptions::new().read(true)).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(read_holder(&mut file)),
            _ => None,
        }
    }
}

/// The lock file that belongs to a state file.
fn path_for(state: &Path) -> PathBuf {
    beside(state, ".lock")
}

fn open_or_make(path: &Path) -> std::io::Result<File> {
    let open = || open_own(path, OpenOptions::new().read(true).write(true));
    match open() {
        Err(error) if error.kind() == ErrorKind::NotFound => match make_own(path) {
            // Somebody was faster.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => open(),
            made => made,
        },
        opened => opened,
    }
}

/// Locks for itself alone. One that only looks, which takes an instant, is waited for.
fn lock(file: &File) -> Result<(), TryLockError> {
    const LOOKS: usize = 1000;
    for _ in 0..LOOKS {
        match file.try_lock() {
            // A shared lock beside it shows that no run holds it.
            Err(TryLockError::WouldBlock) => file.try_lock_shared()?,
            other => return other,
        }
        file.unlock().map_err(TryLockError::Error)?;
        std::thread::yield_now();
    }
    file.try_lock()
}

fn read_holder(file: &mut File) -> Holder {
    let mut text = String::new();
    if file.take(4096).read_to_string(&mut text).is_err() {
        return Holder::default();
    }
    let mut lines = text.lines();
    let host = lines.next().unwrap_or_default().to_owned();
    let pid = lines.next().and_then(|line| line.parse().ok()).unwrap_or(0);
    let started = lines.next().unwrap_or_default().to_owned();
    Holder { host, pid, started }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::time::Timestamp;

    fn start(pid: u32) -> RunStart {
        RunStart { at: Timestamp::from_unix_ms(1_700_000_000_000), host: "builder".into(), pid }
    }

    /// X6: folder and lock file are for their owner only, whatever the umask says.
    #[cfg(unix)]
    #[test]
    fn folder_and_lock_file_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("made/state.db");
        let _held = RunLock::try_take(&state, &start(1)).unwrap().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder.path().join("made")), mode(&path_for(&state))), (0o700, 0o600));
    }

    /// R1: to look at a lock does not take it, and keeps no run from its start.
    #[test]
    fn looking_at_a_lock_keeps_nobody_out() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state.db");
        assert_eq!(RunLock::holder(&state), None);
        assert!(!path_for(&state).exists());
        drop(RunLock::try_take(&state, &start(1)).unwrap());
        std::thread::scope(|scope| {
            let looker = scope.spawn(|| (0..2000).for_each(|_| drop(RunLock::holder(&state))));
            while !looker.is_finished() {
                assert!(RunLock::try_take(&state, &start(2)).unwrap().is_ok());
            }
        });
    }

    /// R1, R2: the second taker learns the holder; once the holder is gone the same file serves again.
    #[test]
    fn a_held_lock_names_its_holder_and_is_free_once_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state.db");
        let held = RunLock::try_take(&state, &start(41)).unwrap().unwrap();
        let holder = RunLock::try_take(&state, &start(42)).unwrap().unwrap_err();
        assert_eq!(holder, Holder { host: "builder".into(), pid: 41, started: "2023-11-14T22:13:20Z".into() });
        assert_eq!(RunLock::holder(&state), Some(holder));
        drop(held);
        assert_eq!(RunLock::holder(&state), None);
        assert!(RunLock::try_take(&state, &start(43)).unwrap().is_ok());
        assert!(path_for(&state).exists());
    }
}
