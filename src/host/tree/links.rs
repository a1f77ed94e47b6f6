//! Symbolic links below a directory: where they lead, and whether they are followed there.
//!
//! A link is resolved once. What it leads to is walked and opened by its real path, over no link, so that a swap of the
//! link meanwhile cannot lead a run elsewhere.

use std::fs::{self, FileType};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::core::text::one_line;
use crate::manifest::Links;

/// Most folders that are reached over links: folders that link each other may have more paths than anybody can walk.
pub(super) const MOST_FOLDERS: usize = 10_000;
/// What a link that is not the same at the end has become.
pub(super) const SWAPPED: &str =
    "is a symbolic link that changed while the directory was read; run again when it is written";
pub(super) const TOO_MANY: &str = "has more than 10000 folders that are reached over symbolic links; `exclude` links, or set \
                                   `links: skip`";

/// A folder that is walked: the directory itself, or what a link leads to.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// Its path below the directory; empty for the directory itself.
    pub(super) shown: PathBuf,
    /// Where it is, without links.
    pub(super) real: PathBuf,
    /// The real folders of all links that lead here, the first one first.
    over: Vec<Arc<Path>>,
}

/// Where a link leads.
#[derive(Debug)]
pub(super) struct LinkTarget {
    /// Without links.
    pub(super) real: PathBuf,
    pub(super) kind: FileType,
}

/// A link to a folder, to be walked.
#[derive(Debug)]
pub(super) struct LinkedFolder {
    /// The link's own path.
    pub(super) link: PathBuf,
    pub(super) way: Way,
}

impl Way {
    /// The directory itself.
    pub(super) fn of_root(real: &Path) -> Self {
        Self { shown: PathBuf::new(), real: real.to_owned(), over: Vec::new() }
    }

    /// The path below the directory of what has this path below the folder.
    pub(super) fn shown(&self, below: &Path) -> PathBuf {
        self.shown.join(below)
    }

    /// The way over the link at `link` in this folder, shown as `shown`, to the folder `target`.
    ///
    /// # Errors
    /// It leads back to a folder that it is in: its paths would never end.
    pub(super) fn over(&self, link: &Path, shown: &Path, target: LinkTarget) -> Result<Self, String> {
        let folder: Arc<Path> = link.parent().unwrap_or(link).into();
        let over: Vec<Arc<Path>> = self.over.iter().cloned().chain([folder]).collect();
        if over.iter().any(|folder| folder.starts_with(&target.real)) {
            return Err(
                "is a symbolic link to a folder that it is in itself, so that paths over it never end; remove or \
                        `exclude` it, or set `links: skip`"
                    .to_owned(),
            );
        }
        Ok(Self { shown: shown.to_owned(), real: target.real, over })
    }
}

/// Where the link at `link` leads.
///
/// # Errors
/// It leads nowhere, or in circles.
pub(super) fn target(link: &Path) -> Result<LinkTarget, String> {
    let found = fs::canonicalize(link).and_then(|real| Ok(LinkTarget { kind: fs::metadata(&real)?.file_type(), real }));
    found.map_err(|error| {
        let what = match error.kind() {
            io::ErrorKind::NotFound => "leads to nothing".to_owned(),
            _ => format!("cannot be followed: {error}"),
        };
        format!("is a symbolic link that {what}; mend, remove or `exclude` it, or set `links: skip`")
    })
}

impl LinkTarget {
    /// The path by which it is opened: from the directory `root` on or, outside of it, the whole one.
    ///
    /// # Errors
    /// Links are not followed there.
    pub(super) fn opened(&self, root: &Path, links: Links) -> Result<&Path, String> {
        match self.real.strip_prefix(root) {
            Ok(below) => Ok(below),
            Err(_) if links == Links::Follow => Ok(&self.real),
            Err(_) => Err(format!(
                "is a symbolic link that leads out of the directory, to `{}`; set `links: follow` to take what it leads to or \
                 `links: skip` to leave links out, or `exclude` it",
                one_line(&self.real.to_string_lossy(), 300)
            )),
        }
    }
}
