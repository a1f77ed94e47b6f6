//! Whether the times of a file show that it was written to, which depends on what it lies on.

use std::path::Path;

use super::file_stamp::FileStamp;

/// What a file lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mount {
    /// The system writes the time of each change.
    Writable,
    /// Layers, of which the lower ones may be images.
    Layered,
    /// Nobody writes here, and another image may take its place whose files have the same fixed times.
    ReadOnly,
}

impl Mount {
    /// Where a file of this path lies; for a system that does not say, as if it could be written to.
    pub(super) fn of(path: &Path) -> Self {
        #[cfg(unix)]
        {
            use rustix::fs::{StatVfsMountFlags, statvfs};
            if statvfs(path).is_ok_and(|system| system.f_flag.contains(StatVfsMountFlags::RDONLY)) {
                return Self::ReadOnly;
            }
        }
        #[cfg(target_os = "linux")]
        {
            // Of linux/magic.h; the type of the field differs between machines.
            const OVERLAY: u32 = 0x794C_7630;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the numbers have 32 bits")]
            if rustix::fs::statfs(path).is_ok_and(|system| system.f_type as u32 == OVERLAY) {
                return Self::Layered;
            }
        }
        let _ = path;
        Self::Writable
    }

    /// Whether a stamp that is the same shows that the content is. Images keep one time, for content and change alike, and
    /// mostly in whole seconds; only a system that writes tells the time of a change apart.
    pub(super) const fn shows_content(self, stamp: FileStamp) -> bool {
        const SECOND_NS: i64 = 1_000_000_000;
        let is_one_time = stamp.changed_ns == stamp.modified_ns;
        match self {
            Self::Writable => true,
            Self::Layered => !(is_one_time && stamp.changed_ns % SECOND_NS == 0),
            Self::ReadOnly => !is_one_time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D4: images with fixed times (squashfs, ISO, a store whose files are of 1970) are swapped without a trace in a stamp.
    #[test]
    fn one_time_for_content_and_change_proves_nothing_where_nobody_writes() {
        const S: i64 = 1_000_000_000;
        let stamp = |modified_ns, changed_ns| FileStamp { size: 1, modified_ns, changed_ns, inode: 7 };
        let shown = |stamp| [Mount::Writable, Mount::Layered, Mount::ReadOnly].map(|mount| mount.shows_content(stamp));
        for fixed in [0, S, 1_700_000_000 * S] {
            assert_eq!(shown(stamp(fixed, fixed)), [true, false, false]);
        }
        assert_eq!(shown(stamp(5 * S + 1, 5 * S + 1)), [true, true, false], "written by a living system, or fixed");
        assert_eq!(shown(stamp(S, 1_700_000_000 * S)), [true; 3], "a store that sets the time of the content only");
    }
}
