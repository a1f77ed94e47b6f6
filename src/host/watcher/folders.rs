//! Which folders are watched, and which names in them matter.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use crate::host::manifest_files::is_manifest_name;
use crate::host::output;
use crate::manifest::{Links, WalkRules};

/// Links that are followed from one path, as many as the system follows.
const MOST_LINKS: usize = 40;
/// Folders deeper than this below a root are not looked into, as manifests are not.
const MOST_DEPTH: usize = 64;

/// A path whose changes matter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatchedRoot {
    /// The path, relative to the working directory or absolute.
    pub path: PathBuf,
    /// What is read of it.
    pub kind: RootKind,
}

/// What is read of a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RootKind {
    /// A manifest, or a folder with manifests: hidden folders in it are not read, linked files are.
    Manifests,
    /// A file.
    File,
    /// A folder with all that is below it.
    Tree(WalkRules),
}

/// Which names in a folder matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Interest {
    extent: WatchDepth,
    /// Whatever the extent is.
    names: BTreeSet<OsString>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum WatchDepth {
    /// No others.
    #[default]
    Names,
    /// Manifests and folders, but for hidden ones.
    Manifests,
    /// All but temporary files.
    Lasting,
    All,
}

/// What sets a folder or a file apart from another one that takes its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileIdentity(u64, u64);

impl FileIdentity {
    /// Of the files that the program itself prints to.
    pub(super) fn printed_to() -> Vec<Self> {
        output::files().map(|(_, device, inode)| Self(device, inode)).collect()
    }

    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            Some(Self(metadata.dev(), metadata.ino()))
        }
        #[cfg(not(unix))]
        {
            let _ = metadata;
            Some(Self(0, 0))
        }
    }
}

/// The folders to be watched, each without those below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Folders {
    pub(super) roots: Vec<WatchedRoot>,
    interests: BTreeMap<PathBuf, Interest>,
}

/// A path from the root of the file system, `.` left out and nothing else resolved.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

impl Folders {
    /// Works out what is to be watched, by looking at the folders as they are now.
    pub(super) fn of(roots: &[WatchedRoot]) -> Self {
        let mut folders = Self { roots: roots.to_vec(), interests: BTreeMap::new() };
        for root in roots {
            let Some(real) = folders.follow(&absolute(&root.path)) else { continue };
            if real.is_dir() && root.kind != RootKind::File {
                folders.tree(&real, root.kind, 0, &mut BTreeSet::new());
            }
        }
        folders
    }

    /// All folders, in order.
    pub(super) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.interests.keys()
    }

    pub(super) fn is_watched(&self, path: &Path) -> bool {
        self.interests.contains_key(path)
    }

    /// This folder and all watched ones below it.
    pub(super) fn below<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a PathBuf> {
        self.interests.keys().filter(move |folder| folder.starts_with(path))
    }

    /// Whether it matters what happens to `path`, which may be gone.
    pub(super) fn cares_for(&self, path: &Path) -> bool {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return false };
        let Some(interest) = self.interests.get(folder) else { return false };
        match interest.extent {
            _ if interest.names.contains(name) => true,
            WatchDepth::Names => false,
            WatchDepth::Manifests if is_hidden(name) => false,
            WatchDepth::Manifests => is_manifest_name(path) || self.is_watched(path) || path.is_dir(),
            WatchDepth::Lasting => self.is_watched(path) || !is_temporary(path),
            WatchDepth::All => true,
        }
    }

    /// Why the system cannot report all changes in these folders; `None` where it can.
    pub(super) fn unseen(&self) -> Option<String> {
        self.paths().find_map(|path| {
            let system = remote_file_system(path)?;
            Some(format!("`{}` is on {system}, where changes made elsewhere are not told", path.display()))
        })
    }

    fn name(&mut self, folder: &Path, name: &OsStr) {
        self.interests.entry(folder.to_owned()).or_default().names.insert(name.to_owned());
    }

    /// Takes in all folders in which something decides where `path` leads: those of links on the way, and that of its end.
    /// Returns where it leads; `None` if it leads nowhere, and then the folder in which the next part would appear is in.
    fn follow(&mut self, path: &Path) -> Option<PathBuf> {
        let mut left: Vec<OsString> = Vec::new();
        push_parts(&mut left, path);
        let mut at = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = left.pop() {
            if part == ".." {
                at.pop();
                continue;
            }
            let next = at.join(&part);
            let found = std::fs::symlink_metadata(&next);
            let is_link = found.as_ref().is_ok_and(|metadata| metadata.file_type().is_symlink());
            if is_link || left.is_empty() || found.is_err() {
                self.name(&at, &part);
            }
            found.ok()?;
            if !is_link {
                at = next;
                continue;
            }
            links += 1;
            let target = std::fs::read_link(&next).ok().filter(|_| links <= MOST_LINKS)?;
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            push_parts(&mut left, &target);
        }
        Some(at)
    }

    /// Takes in a folder and what is below it, folders that links lead to included where they are read; `entered`: those that
    /// are in already.
    fn tree(&mut self, folder: &Path, kind: RootKind, depth: usize, entered: &mut BTreeSet<PathBuf>) {
        if depth > MOST_DEPTH || !entered.insert(folder.to_owned()) {
            return;
        }
        let interest = self.interests.entry(folder.to_owned()).or_default();
        interest.extent = interest.extent.max(kind.extent());
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let Ok(file_type) = entry.file_type() else { continue };
            let path = entry.path();
            if file_type.is_dir() && !kind.skips_folder(&path) {
                self.tree(&path, kind, depth + 1, entered);
            } else if file_type.is_symlink() {
                self.link(&path, kind, depth, entered);
            }
        }
    }

    /// Takes in what decides where a link leads and, where it is read, what it leads to.
    fn link(&mut self, path: &Path, kind: RootKind, depth: usize, entered: &mut BTreeSet<PathBuf>) {
        match kind {
            RootKind::Tree(rules) if rules.links == Links::Skip => {}
            RootKind::Tree(rules) => {
                let target = self.follow(path).filter(|_| rules.links == Links::Follow);
                // What stays in the folder is in it anyway.
                if let Some(target) = target.filter(|target| target.is_dir()) {
                    self.tree(&target, kind, depth + 1, entered);
                }
            }
            RootKind::Manifests if is_manifest_name(path) => drop(self.follow(path)),
            RootKind::Manifests if !kind.skips_folder(path) && path.is_dir() => {
                // An error while it is there, and no longer once it is gone.
                if let Some((folder, name)) = path.parent().zip(path.file_name()) {
                    self.name(folder, name);
                }
            }
            RootKind::Manifests | RootKind::File => {}
        }
    }
}

impl RootKind {
    const fn extent(self) -> WatchDepth {
        match self {
            Self::File => WatchDepth::Names,
            Self::Manifests => WatchDepth::Manifests,
            Self::Tree(WalkRules { temporary: false, .. }) => WatchDepth::Lasting,
            Self::Tree(_) => WatchDepth::All,
        }
    }

    /// Whether nothing below this folder is read.
    fn skips_folder(self, path: &Path) -> bool {
        match self {
            Self::Tree(rules) => rules.closes(path),
            Self::Manifests | Self::File => path.file_name().is_some_and(is_hidden),
        }
    }
}

/// Whether the file or folder at this path, which may be gone, is a temporary one.
fn is_temporary(path: &Path) -> bool {
    let rules = WalkRules::default();
    rules.closes(path) || rules.leaves_out(path) && !path.is_dir()
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// Puts the parts of a path on a stack, the first one on top.
fn push_parts(stack: &mut Vec<OsString>, path: &Path) {
    let parts = path.components().rev().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    });
    stack.extend(parts);
}

/// What a file system is called that does not report what other machines do in it.
#[cfg(target_os = "linux")]
fn remote_file_system(path: &Path) -> Option<&'static str> {
    let found = rustix::fs::statfs(path).ok()?;
    // Numbers of linux/magic.h; the type of the field differs between machines.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the numbers have 32 bits")]
    let number = found.f_type as u32;
    Some(match number {
        0x0000_6969 => "NFS",
        0xFF53_4D42 | 0xFE53_4D42 | 0x0000_517B => "SMB",
        0x0102_1997 => "9P",
        0x6573_5546 => "FUSE",
        0x00C3_6400 => "Ceph",
        0x5346_414F => "AFS",
        0x786F_4256 => "a shared folder of VirtualBox",
        _ => return None,
    })
}

#[cfg(not(target_os = "linux"))]
fn remote_file_system(_: &Path) -> Option<&'static str> {
    None
}
