//! The audit log: a private file to which whole lines are appended, and nothing else.
//!
//! Does not know what a line says.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Longest line that is looked at to see whose a file is.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// Whether a file holds something other than an audit log: its first line is none that `is_record` knows. A file that is empty or
/// not there may become one; of what cannot be read nothing is known.
pub fn is_of_others(path: &Path, is_record: &dyn Fn(&str) -> bool) -> bool {
    if !std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return false;
    }
    let Ok(file) = File::open(path) else { return false };
    let mut file = BufReader::new(file).take(MAX_LINE_BYTES);
    let mut line = Vec::new();
    loop {
        line.clear();
        match file.read_until(b'\n', &mut line) {
            Ok(1) if line == b"\n" => {}
            Ok(0) | Err(_) => return false,
            Ok(_) => return !std::str::from_utf8(&line).is_ok_and(is_record),
        }
    }
}

/// An open audit log. Several runs may write to the same file: each line is written under a lock.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    file: File,
}

impl AuditLog {
    /// Opens the log, or makes it, for its owner only; proves that it can be written, and ends a line that a stopped
    /// program left unfinished.
    ///
    /// # Errors
    /// What the system said; or the file is not a regular one, or holds lines of others, by `is_record`.
    pub fn open(path: &Path, is_record: &dyn Fn(&str) -> bool) -> io::Result<Self> {
        let other = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
        // Opening a pipe would wait for a reader, and a person who can lay a link into a checkout must not have another file
        // written.
        match std::fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_symlink() => return Err(other("it is a link; name the file that it leads to")),
            Ok(metadata) if !metadata.is_file() => return Err(other("it is not a regular file")),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)?;
        }
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        {
            use rustix::fs::OFlags;
            use std::os::unix::fs::OpenOptionsExt;
            let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
            options.mode(0o600).custom_flags(flags.bits().cast_signed());
        }
        let file = options.open(path)?;
        if is_of_others(path, is_record) {
            return Err(other("it holds other lines than those of an audit log"));
        }
        #[cfg(unix)]
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        let mut log = Self { path: path.into(), file };
        log.locked(Self::prove)?;
        Ok(log)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends one line, whole or not at all. `line` holds no line feed.
    ///
    /// # Errors
    /// What the system said.
    pub fn append(&mut self, line: &str) -> io::Result<()> {
        self.locked(|log| log.add(format!("{line}\n").as_bytes()))
    }

    /// Waits until everything is on disk.
    ///
    /// # Errors
    /// What the system said.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn locked<T>(&mut self, work: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        self.file.lock()?;
        let done = work(self);
        self.file.unlock()?;
        done
    }

    fn prove(&mut self) -> io::Result<()> {
        let end = self.file.seek(SeekFrom::End(0))?;
        let mut last = *b"\n";
        if end > 0 {
            self.file.seek(SeekFrom::Start(end - 1))?;
            self.file.read_exact(&mut last)?;
        }
        self.add(b"\n")?;
        self.file.sync_data()?;
        if last == *b"\n" { self.file.set_len(end) } else { Ok(()) }
    }

    /// What arrived of a line that failed is taken back.
    fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.file.metadata()?.len();
        self.file.write_all(bytes).inspect_err(|_| {
            let _ = self.file.set_len(end);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_record(line: &str) -> bool {
        line.starts_with('{')
    }

    #[test]
    fn lines_are_appended_behind_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/audit.jsonl");
        for round in 0..2 {
            let mut log = AuditLog::open(&path, &is_record).unwrap();
            log.append(&format!("{{\"round\":{round}}}")).unwrap();
            log.sync().unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"round\":0}\n{\"round\":1}\n");
    }

    #[test]
    fn a_line_that_was_cut_is_ended_before_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        std::fs::write(&path, "{\"cut").unwrap();
        AuditLog::open(&path, &is_record).unwrap().append("{}").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"cut\n{}\n");
    }

    #[test]
    fn a_file_that_is_no_audit_log_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        std::fs::write(&path, "SQLite format 3").unwrap();
        assert!(AuditLog::open(&path, &is_record).is_err() && AuditLog::open(folder.path(), &is_record).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "SQLite format 3");
    }
}
