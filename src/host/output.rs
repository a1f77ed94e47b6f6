//! Whether what the program prints lands in a file that it reads.

use std::path::Path;

/// The stream, `output` or `error`, that is written to one of the files below `folder`, and the file's path below it.
/// `with_inode` finds candidates by their inode.
#[cfg(unix)]
pub(super) fn written_to<'t, F: Iterator<Item = &'t str>>(
    with_inode: impl Fn(u64) -> F,
    folder: &Path,
) -> Option<(&'static str, String)> {
    use std::os::unix::fs::MetadataExt;

    files().find_map(|(stream, device, inode)| {
        let is_it = |path: &&str| {
            // The device sets files of different file systems apart.
            std::fs::metadata(folder.join(path)).is_ok_and(|file| (file.dev(), file.ino()) == (device, inode))
        };
        let path = with_inode(inode).find(is_it)?;
        Some((stream, path.to_owned()))
    })
}

/// The streams that go to regular files, with the device and the inode of each.
#[cfg(unix)]
pub(super) fn files() -> impl Iterator<Item = (&'static str, u64, u64)> {
    use rustix::fs::{FileType, fstat};

    let streams = [("error", fstat(std::io::stderr())), ("output", fstat(std::io::stdout()))];
    streams.into_iter().filter_map(|(stream, found)| {
        let found = found.ok().filter(|found| FileType::from_raw_mode(found.st_mode).is_file())?;
        Some((stream, found.st_dev, found.st_ino))
    })
}

#[cfg(not(unix))]
pub(super) fn files() -> impl Iterator<Item = (&'static str, u64, u64)> {
    std::iter::empty()
}

#[cfg(not(unix))]
pub(super) fn written_to<'t, F: Iterator<Item = &'t str>>(
    _: impl Fn(u64) -> F,
    _: &Path,
) -> Option<(&'static str, String)> {
    None
}
