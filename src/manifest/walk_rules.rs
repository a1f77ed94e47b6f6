//! What else decides which files of a directory are published: symbolic links, and files that are there for a moment only.
//!
//! Does not look at the disk.

use std::path::Path;
use std::sync::LazyLock;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// What becomes of symbolic links below a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Links {
    /// Followed while they stay in the directory; one that leads out of it is an error.
    #[default]
    Inside,
    /// Followed wherever they lead.
    Follow,
    /// Left out.
    Skip,
}

impl Links {
    /// Words of `links`.
    pub const WORDS: &'static [&'static str] = &["follow", "skip"];

    /// What a word of [`Links::WORDS`] stands for.
    pub fn of_word(word: &str) -> Option<Self> {
        match word {
            "follow" => Some(Self::Follow),
            "skip" => Some(Self::Skip),
            _ => None,
        }
    }
}

/// How a directory is walked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WalkRules {
    /// What becomes of symbolic links.
    pub links: Links,
    /// Whether temporary files are taken.
    pub temporary: bool,
}

impl WalkRules {
    /// Whether the file at this path is left out as a temporary one.
    pub fn leaves_out(&self, path: &Path) -> bool {
        !self.temporary && path.file_name().is_some_and(|name| FILES.is_match(name))
    }

    /// Whether all files that a pattern names are left out as temporary ones.
    pub fn leaves_out_all_of(&self, pattern: &str) -> bool {
        self.leaves_out(Path::new(&pattern.replace('*', "name").replace('?', "x")))
    }

    /// Whether all that is below the folder at this path is left out.
    pub fn closes(&self, folder: &Path) -> bool {
        !self.temporary && folder.file_name().is_some_and(|name| FOLDERS.is_match(name))
    }
}

/// Names of temporary files, and which programs leave them: `*` stands for any text, `X` for a letter or a digit and `N` for a
/// number.
pub const TEMPORARY_FILES: &[(&str, &str)] = &[
    (".*.XXXXXX", "rsync, while it transfers"),
    ("*~", "backups of editors"),
    ("*.swp", "Vim"),
    ("*.swo", "Vim"),
    ("*.swn", "Vim"),
    ("*.swx", "Vim"),
    ("4913", "Vim, which tries whether it may write"),
    (".#*", "Emacs, while a file is edited"),
    ("#*#", "Emacs, unsaved"),
    (".goutputstream-*", "gedit and other programs of GNOME"),
    (".*.kate-swp", "Kate"),
    ("*___jb_tmp___", "JetBrains, while it saves"),
    ("*___jb_old___", "JetBrains, while it saves"),
    ("*.sb-XXXXXXXX-XXXXXX", "macOS, while a program saves"),
    (".~lock.*#", "LibreOffice, while a file is open"),
    ("~$*", "Microsoft Office, while a file is open"),
    ("*.part", "Firefox, curl and other downloads"),
    ("*.partial", "rclone and other downloads"),
    ("*.crdownload", "Chrome"),
    ("*.opdownload", "Opera"),
    ("*.filepart", "WinSCP"),
    ("*.aria2", "aria2"),
    (".in.*", "FTP servers, while they receive"),
    (".pureftpd-upload.*", "Pure-FTPd"),
    ("*.tmp", "programs that write beside and rename"),
    ("*.tmp.N", "Node.js and others that write beside and rename"),
    ("*.dpkg-new", "dpkg, while it unpacks"),
    ("*.dpkg-tmp", "dpkg, while it unpacks"),
    (".nfs*", "NFS, deleted while open"),
    (".fuse_hidden*", "FUSE, deleted while open"),
];

/// Names of folders in which programs keep temporary files, in the same form.
pub const TEMPORARY_FOLDERS: &[&str] = &[".~tmp~", ".rsync-partial", "*.download"];

static FILES: LazyLock<GlobSet> = LazyLock::new(|| set_of(TEMPORARY_FILES.iter().map(|(pattern, _)| *pattern)));
static FOLDERS: LazyLock<GlobSet> = LazyLock::new(|| set_of(TEMPORARY_FOLDERS.iter().copied()));

fn set_of(patterns: impl Iterator<Item = &'static str>) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let pattern = pattern.replace('X', "[0-9A-Za-z]").replace('N', "[0-9]*");
        // A pattern that is none takes nothing away; a test reads them all.
        if let Ok(glob) = GlobBuilder::new(&pattern).literal_separator(true).build() {
            set.add(glob);
        }
    }
    set.build().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_left_out(path: &str) -> bool {
        WalkRules::default().leaves_out(Path::new(path))
    }

    #[test]
    fn every_pattern_is_one() {
        assert_eq!((FILES.len(), FOLDERS.len()), (TEMPORARY_FILES.len(), TEMPORARY_FOLDERS.len()));
        for (pattern, _) in TEMPORARY_FILES {
            let name = pattern.replace('*', "name").replace('X', "Z").replace('N', "17");
            assert!(is_left_out(&name) && is_left_out(&format!("a/b/{name}")), "{name}");
            assert!(!WalkRules { temporary: true, ..WalkRules::default() }.leaves_out(Path::new(&name)), "{name}");
        }
    }

    #[test]
    fn names_that_programs_give_for_a_moment_are_temporary() {
        for name in [
            ".index.html.Ab12Cd",
            "a/.htaccess.zzzzzz",
            ".index.html.swp",
            "index.html~",
            ".#index.html",
            "4913",
            ".goutputstream-A1B2C3",
            "video.mp4.part",
            "Unconfirmed 12.crdownload",
            ".~lock.plan.odt#",
            "index.html.tmp.4711.1700000000000",
            "index.html.tmp.4711",
            "page.html.dpkg-new",
        ] {
            assert!(is_left_out(name), "{name}");
        }
        for name in [
            "index.html",
            ".htaccess",
            ".well-known/security.txt",
            ".a.min.js",
            ".x.Ab12Cd7",
            "index.Ab12Cd",
            "a.part/index.html",
            "part",
            "49130",
            "~user/index.html",
            "swp",
            "index.tmp.html",
            "sedition1",
            "#top",
        ] {
            assert!(!is_left_out(name), "{name}");
        }
    }

    #[test]
    fn patterns_that_name_only_temporary_files_are_known() {
        for pattern in ["*.part", "**/*.part", "a/x.part", "*~", "4913", "**/.*.??????"] {
            assert!(WalkRules::default().leaves_out_all_of(pattern), "{pattern}");
        }
        for pattern in ["*", "**", ".*", "**/*.html", "*.{part,html}", "a.part/*", "*part", "????"] {
            assert!(!WalkRules::default().leaves_out_all_of(pattern), "{pattern}");
        }
    }

    #[test]
    fn folders_of_temporary_files_are_closed() {
        let rules = WalkRules::default();
        assert!(rules.closes(Path::new("a/.~tmp~")) && !rules.closes(Path::new("a.part")));
        assert!(rules.closes(Path::new("a/video.mp4.download")) && !rules.closes(Path::new("download")));
        assert!(!WalkRules { temporary: true, ..rules }.closes(Path::new(".~tmp~")));
    }

    #[test]
    fn every_word_of_links_stands_for_something() {
        assert!(Links::WORDS.iter().all(|word| Links::of_word(word).is_some_and(|links| links != Links::default())));
    }
}
