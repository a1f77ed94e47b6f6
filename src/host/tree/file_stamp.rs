//! By what a file is known again that was not written to.

use std::fs::Metadata;

#[cfg(unix)]
pub(super) const fn whole_ns(seconds: i64, ns: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(ns)
}

/// By what a file that was not written to since is known. Times in nanoseconds since 1970 UTC; 0 where there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FileStamp {
    pub(super) size: u64,
    pub(super) modified_ns: i64,
    /// When content, name or rights changed; no program can set it.
    pub(super) changed_ns: i64,
    pub(super) inode: u64,
}

impl FileStamp {
    #[cfg(unix)]
    pub(super) fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self {
            size: metadata.len(),
            modified_ns: whole_ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: whole_ns(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }

    #[cfg(not(unix))]
    pub(super) fn of(metadata: &Metadata) -> Self {
        let since = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let modified_ns = since.and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or(0);
        Self { size: metadata.len(), modified_ns, ..Self::default() }
    }
}
