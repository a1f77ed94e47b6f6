//! The folder below which files are opened, and by what a file is known again.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::file_stamp::FileStamp;
#[cfg(unix)]
use super::file_stamp::whole_ns;
use super::mount::Mount;

/// An open folder. What is opened through it lies below it.
pub(super) struct Root {
    /// Without links.
    path: PathBuf,
    #[cfg(unix)]
    folder: rustix::fd::OwnedFd,
    /// What is mounted where, looked up once a device.
    mount_of: fn(&Path) -> Mount,
    mounts: Mutex<BTreeMap<Device, Mount>>,
}

/// Number of a device.
type Device = (u64, u64);

impl Root {
    /// Opens the folder that `path` leads to now; a link at `path` may be swapped later on.
    ///
    /// # Errors
    /// What is wrong, as it follows the path.
    pub(super) fn open(path: &Path, mount_of: fn(&Path) -> Mount) -> Result<Self, String> {
        let cannot = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => {
                "does not exist; a missing directory is never taken for a removal of everything".to_owned()
            }
            _ => format!("cannot be read: {error}"),
        };
        let path = fs::canonicalize(path).map_err(cannot)?;
        if !fs::metadata(&path).map_err(cannot)?.is_dir() {
            return Err("is not a directory".to_owned());
        }
        #[cfg(unix)]
        let folder = {
            use rustix::fs::{Mode, OFlags};
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(&path, flags, Mode::empty()).map_err(|error| cannot(error.into()))?
        };
        Ok(Self {
            path,
            #[cfg(unix)]
            folder,
            mount_of,
            mounts: Mutex::default(),
        })
    }

    /// The folder's path, without links.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A path of a walk, from the folder on.
    pub(super) fn below<'p>(&self, whole: &'p Path) -> &'p Path {
        let texts = self.path.to_str().zip(whole.to_str());
        // By bytes, which is much faster than part by part.
        let rest = texts.and_then(|(path, whole)| whole.strip_prefix(path)?.strip_prefix('/'));
        rest.map_or_else(|| whole.strip_prefix(&self.path).unwrap_or(whole), Path::new)
    }

    /// Whether the file at `path`, a link there not followed, still has this stamp, and that proves that it has its content.
    pub(super) fn is_unchanged(&self, path: &str, known: FileStamp) -> bool {
        let Some((stamp, device)) = self.stamp(path) else { return false };
        // On what can be least trusted; most files need no look at where they lie.
        stamp == known && (Mount::ReadOnly.shows_content(stamp) || self.mount(path, device).shows_content(stamp))
    }

    fn mount(&self, path: &str, device: Device) -> Mount {
        let mut mounts = self.mounts.lock().unwrap_or_else(PoisonError::into_inner);
        *mounts.entry(device).or_insert_with(|| (self.mount_of)(&self.path.join(path)))
    }

    /// By what the file at `path` is known, a link there not followed, and on which device it is.
    fn stamp(&self, path: &str) -> Option<(FileStamp, Device)> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{AtFlags, StatxFlags, statx};
            let wanted = StatxFlags::SIZE | StatxFlags::MTIME | StatxFlags::CTIME | StatxFlags::INO;
            // From the open folder on: its own path is not walked for every file.
            if let Ok(found) = statx(&self.folder, path, AtFlags::SYMLINK_NOFOLLOW, wanted) {
                let (modified, changed) = (found.stx_mtime, found.stx_ctime);
                let stamp = FileStamp {
                    size: found.stx_size,
                    modified_ns: whole_ns(modified.tv_sec, i64::from(modified.tv_nsec)),
                    changed_ns: whole_ns(changed.tv_sec, i64::from(changed.tv_nsec)),
                    inode: found.stx_ino,
                };
                return Some((stamp, (found.stx_dev_major.into(), found.stx_dev_minor.into())));
            }
        }
        // Kernels and sandboxes that do not know the call; also what is not there.
        fs::symlink_metadata(self.path.join(path)).ok().map(|metadata| (FileStamp::of(&metadata), device_of(&metadata)))
    }

    /// Opens a file without waiting, over no link.
    pub(super) fn file(&self, path: &str) -> io::Result<File> {
        #[cfg(unix)]
        return self.file_below(path);
        #[cfg(not(unix))]
        return File::open(self.path.join(path));
    }

    #[cfg(unix)]
    fn file_below(&self, path: &str) -> io::Result<File> {
        use rustix::fs::{Mode, OFlags, openat};
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{ResolveFlags, openat2};
            use rustix::io::Errno;
            match openat2(&self.folder, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
                // Kernels before 5.6, and sandboxes that do not know the call.
                Err(Errno::NOSYS | Errno::PERM) => {}
                opened => return Ok(opened?.into()),
            }
        }
        Ok(openat(&self.folder, path, flags, Mode::empty())?.into())
    }
}

#[cfg(unix)]
fn device_of(metadata: &Metadata) -> Device {
    (0, std::os::unix::fs::MetadataExt::dev(metadata))
}

#[cfg(not(unix))]
const fn device_of(_: &Metadata) -> Device {
    (0, 0)
}
