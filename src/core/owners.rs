//! Which manifests a run may speak for: those that it reads, those that are gone from where it looks, and those that it
//! reads under another name or in another place.
//!
//! Does not know the disk: what is there is a question to the caller.

use std::collections::{HashMap, HashSet};

use super::model::Manifest;
use super::recorded::KnownManifest;

fn joined(root: &str, path: &str) -> String {
    format!("{root}/{path}")
}

/// Whether a file is there, by its absolute path.
pub type IsThere = dyn Fn(&str) -> bool + Send + Sync;

/// Where the folder of an absolute path is and what the path leads to, both without links; `None`: nothing to be seen.
pub type Follow = dyn Fn(&str) -> Option<Followed> + Send + Sync;

/// Where a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The folder that its last part is in, followed by that part.
    pub place: String,
    /// The file, by the path that a manifest there is known by.
    pub file: String,
}

/// Where a run looks for manifests.
pub struct Reach {
    /// Folders given as PATH: absolute, without links and without `/` at their end.
    pub folders: Vec<String>,
    /// The working directory, as absolute; older states know manifests by their path from there.
    pub working_directory: String,
    /// What keeps manifests of several repositories in one state apart.
    pub namespace: Option<String>,
    /// Names of manifests that the user calls vanished.
    pub vanished: Vec<String>,
    /// Whether a file is there.
    pub is_there: Box<IsThere>,
    /// Where links lead to.
    pub follow: Box<Follow>,
}

impl Default for Reach {
    /// A run that looks nowhere but at what it reads.
    fn default() -> Self {
        Self {
            folders: Vec::new(),
            working_directory: String::new(),
            namespace: None,
            vanished: Vec::new(),
            is_there: Box::new(|_| true),
            follow: Box::new(|_| None),
        }
    }
}

/// A manifest that is read from another place than before, while the file that it was read from is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedManifest {
    /// Its name.
    pub name: String,
    /// Absolute path of the file before.
    pub before: String,
}

/// A manifest that is there and not read. If one that is read is in another copy of its tree, no run reads this one any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedManifest {
    /// What is known of it.
    pub manifest: KnownManifest,
    /// Which of the trees that may be copied it is in.
    pub tree: usize,
    /// Index of the manifest that is read.
    pub read: usize,
    /// Its path, for messages.
    pub path: String,
}

/// What becomes of manifests that the state knows and that a run does not read under their name.
#[derive(Clone, Debug, Default)]
pub struct Unread {
    /// The run speaks for these: they are gone from where it looks, or it reads them under another name.
    pub spoken_for: Vec<KnownManifest>,
    /// These are not there any more, and not where this run looks.
    pub unclaimed: Vec<KnownManifest>,
    /// An older program read these, or only an import names them: nobody knows where they are.
    pub unlocated: Vec<KnownManifest>,
    /// These are there, and may be other copies of manifests that the run reads.
    pub copies: Vec<CopiedManifest>,
    /// Read from another place than before, while the file there still is.
    pub moved: Vec<MovedManifest>,
    /// What is known from now on, where that changes: of manifests that are read, and of those that went along with a tree that is
    /// read in another place.
    pub noted: Vec<KnownManifest>,
    /// Namespaces in use, if the run has none and needs one.
    pub namespaces: Vec<String>,
}

impl Unread {
    /// Whether all manifests that the state knows are read, or are no business of this run.
    pub const fn is_empty(&self) -> bool {
        let Self { spoken_for, unclaimed, unlocated, copies, moved, noted: _, namespaces } = self;
        spoken_for.is_empty()
            && unclaimed.is_empty()
            && unlocated.is_empty()
            && copies.is_empty()
            && moved.is_empty()
            && namespaces.is_empty()
    }
}

/// Sorts manifests of earlier runs by what a run that reads `read` may say about them.
pub fn unread(known: &[KnownManifest], read: &[Manifest], reach: &Reach) -> Unread {
    let mut unread = Unread::default();
    if reach.namespace.is_none() {
        unread.namespaces = known.iter().filter_map(|manifest| manifest.namespace.clone()).collect();
        unread.namespaces.sort_unstable();
        unread.namespaces.dedup();
    }
    let mut view = OwnerView::new(known, read, reach);
    unread.moved = known.iter().filter_map(|manifest| view.moved(manifest)).collect();
    // Where they would be now is what there is to say of them.
    let placed: Vec<KnownManifest> = known.iter().map(|manifest| view.placed(manifest)).collect();
    unread.noted = view.noted(known, &placed);
    view.trees = view.copied_trees(&placed);
    for (before, manifest) in known.iter().zip(placed) {
        match view.fate(before, &manifest) {
            Fate::NotOurs => {}
            Fate::There => unread.copies.extend(view.copied(&manifest)),
            Fate::SpokenFor => unread.spoken_for.push(manifest),
            Fate::Unclaimed => unread.unclaimed.push(manifest),
            Fate::Unlocated => unread.unlocated.push(manifest),
        }
    }
    unread
}

/// What comes into the namespace of a run that was known without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newcomers {
    /// The namespace.
    pub namespace: String,
    /// Names of the manifests that the run speaks for: what they list comes in.
    pub owners: Vec<String>,
    /// Names of other repositories' manifests, which stay: what they list as well stays theirs besides.
    pub others: Vec<String>,
}

/// What comes in with a run; `unread` is what becomes of `known`.
pub fn newcomers(known: &[KnownManifest], unread: &Unread, reach: &Reach) -> Option<Newcomers> {
    let namespace = reach.namespace.clone()?;
    let Unread { spoken_for, unclaimed, unlocated, .. } = unread;
    let is_of_nobody = |name: &String| unclaimed.iter().chain(unlocated).any(|manifest| manifest.name == *name);
    let outside = known.iter().filter(|manifest| manifest.namespace.is_none()).map(|manifest| manifest.name.clone());
    let (owners, others): (Vec<String>, Vec<String>) =
        outside.partition(|name| spoken_for.iter().any(|manifest| manifest.name == *name));
    let others = others.into_iter().filter(|name| !is_of_nobody(name)).collect();
    (!owners.is_empty()).then_some(Newcomers { namespace, owners, others })
}

/// Whether a manifest that is not read is where it was: what led to it still does.
pub fn is_in_place(known: &KnownManifest, is_there: &IsThere, follow: &Follow) -> bool {
    let file = known.file();
    let leads = |way: &String| is_there(way) && follow(way).is_some_and(|followed| followed.file == file);
    known.root.is_some() && if known.links.is_empty() { leads(&file) } else { known.links.iter().any(leads) }
}

/// What the state shows of manifests that are in none of the places that it knows: not where they were read from, and in no
/// other checkout. Where none is there at all, nothing is known: these are others' files.
pub fn absent<'a>(known: &'a [KnownManifest], is_there: &IsThere) -> Vec<&'a KnownManifest> {
    let mut roots: Vec<&String> = known.iter().filter_map(|manifest| manifest.root.as_ref()).collect();
    roots.sort_unstable();
    roots.dedup();
    let files: HashSet<String> = known.iter().map(KnownManifest::file).collect();
    let located = known.iter().filter(|manifest| manifest.root.is_some());
    let (there, absent): (Vec<_>, Vec<_>) = located.partition(|manifest| {
        if !manifest.links.is_empty() {
            return manifest.links.iter().any(|link| is_there(link));
        }
        // Where another manifest is, it is not.
        let is_free = |place: &String| *place == manifest.file() || !files.contains(place);
        roots.iter().map(|root| joined(root, &manifest.path)).filter(is_free).any(|place| is_there(&place))
    });
    if there.is_empty() { Vec::new() } else { absent }
}

enum Fate {
    NotOurs,
    There,
    SpokenFor,
    Unclaimed,
    Unlocated,
}

/// A path that a manifest was found by, and the file that it leads to now.
struct FoundPath {
    path: String,
    to: String,
    is_there: bool,
}

/// The manifests that are read, by name and by file, and where trees have moved to.
struct OwnerView<'a> {
    reach: &'a Reach,
    read: &'a [Manifest],
    by_name: HashMap<&'a str, &'a Manifest>,
    by_file: HashMap<String, &'a Manifest>,
    /// Roots of trees that are read in another place now, and which.
    successors: HashMap<String, &'a str>,
    /// Trees that may have copies which are read.
    trees: Vec<CopiedTree>,
}

/// What is known of copies of a manifest that is there.
#[derive(PartialEq, Eq)]
enum Copied {
    /// In none of the trees that may have copies.
    Unknown,
    /// There is a copy that this run does not read.
    HasOwnRun,
    /// This one is read of a tree that may be a copy.
    Maybe { tree: usize, read: usize },
}

/// A folder that may have a copy, with the index of a manifest that is read there.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct CopiedTree {
    old: String,
    new: String,
    read: usize,
}

impl<'a> OwnerView<'a> {
    fn new(known: &[KnownManifest], read: &'a [Manifest], reach: &'a Reach) -> Self {
        let by_name: HashMap<&str, &Manifest> =
            read.iter().map(|manifest| (manifest.name.as_str(), manifest)).collect();
        let by_file = read.iter().map(|manifest| (manifest.tree.absolute(), manifest)).collect();
        let is_there = |manifest: &KnownManifest| (reach.is_there)(&manifest.file());
        let mut successors: HashMap<String, &str> = HashMap::new();
        for manifest in known {
            let (Some(root), Some(now)) = (&manifest.root, by_name.get(manifest.name.as_str())) else { continue };
            // A file that left a tree which is still there has come to another one, and the tree has not.
            let of_tree = |other: &&KnownManifest| other.root.as_ref() == Some(root);
            let is_copied = || is_there(manifest) || !known.iter().filter(of_tree).any(is_there);
            let is_elsewhere = now.tree.root != *root && now.tree.path == manifest.path;
            // Once for each tree: its files are looked at for it.
            if is_elsewhere && !successors.contains_key(root) && is_copied() {
                successors.insert(root.clone(), &now.tree.root);
            }
        }
        Self { reach, read, by_name, by_file, successors, trees: Vec::new() }
    }

    fn moved(&self, known: &KnownManifest) -> Option<MovedManifest> {
        let (root, now) = (known.root.as_ref()?, self.by_name.get(known.name.as_str())?);
        let before = joined(root, &known.path);
        let is_moved = before != now.tree.absolute() && (self.reach.is_there)(&before);
        is_moved.then(|| MovedManifest { name: known.name.clone(), before })
    }

    /// Whether what a namespace keeps apart is this run's business. What was known before a namespace was given comes into it.
    fn is_ours(&self, known: &KnownManifest) -> bool {
        known.namespace.is_none() || known.namespace == self.reach.namespace
    }

    /// The same one where it would be now: a tree that is read in another place takes its files along, and links below it.
    fn placed(&self, known: &KnownManifest) -> KnownManifest {
        let mut placed = known.clone();
        if !self.is_ours(known) {
            return placed;
        }
        let root = known.root.as_ref().and_then(|root| self.successors.get(root));
        placed.root = root.map(|&root| root.to_owned()).or(placed.root);
        for link in &mut placed.links {
            let below = |(old, new): (&String, &&str)| {
                let rest = link.strip_prefix(old.as_str())?.strip_prefix('/')?;
                Some((old.len(), joined(new, rest)))
            };
            if let Some((_, moved)) = self.successors.iter().filter_map(below).max() {
                *link = moved;
            }
        }
        // What is not in the tree that is read now is not there by a link to the tree before either.
        let file = placed.file();
        if placed.root != known.root && !(self.reach.is_there)(&file) {
            placed.links.retain(|link| self.way(link).to != known.file());
        }
        placed
    }

    /// What is to be known from now on, where that changes. A manifest keeps its links under another name as well.
    fn noted(&self, known: &[KnownManifest], placed: &[KnownManifest]) -> Vec<KnownManifest> {
        let mut links: HashMap<&str, Vec<&String>> = HashMap::new();
        let mut before: HashMap<&str, &KnownManifest> = HashMap::new();
        let mut noted = Vec::new();
        for (known, placed) in known.iter().zip(placed) {
            let by_name = self.by_name.get(known.name.as_str());
            let by_file = || [known, placed].iter().find_map(|manifest| self.by_file.get(&manifest.file()));
            if let Some(read) = by_name.or_else(by_file) {
                links.entry(&read.name).or_default().extend(&placed.links);
            }
            if by_name.is_some() {
                before.insert(&known.name, known);
            } else if placed != known {
                noted.push(placed.clone());
            }
        }
        for read in self.read {
            let name = read.name.as_str();
            let mut now = KnownManifest::of(read);
            now.links = self.links(&now, links.remove(name).unwrap_or_default());
            noted.extend(Some(now).filter(|now| before.get(name) != Some(&now)));
        }
        noted
    }

    /// Links to a manifest that is read. One is forgotten where this run has seen what became of it: it is gone, or it leads to
    /// another manifest that is read.
    fn links(&self, read: &KnownManifest, known: Vec<&String>) -> Vec<String> {
        let file = read.file();
        let is_other = |to: String| to != file && self.by_file.contains_key(&to);
        let is_kept = |link: &String| {
            read.links.contains(link) || ((self.reach.is_there)(link) && !self.leads_to(link).is_some_and(is_other))
        };
        let mut links: Vec<String> = Vec::new();
        for link in known.into_iter().filter(|link| is_kept(link)).chain(&read.links) {
            if !links.contains(link) {
                links.push(link.clone());
            }
        }
        links
    }

    fn leads_to(&self, link: &str) -> Option<String> {
        (self.reach.follow)(link).map(|followed| followed.file)
    }

    fn fate(&self, known: &KnownManifest, placed: &KnownManifest) -> Fate {
        if self.by_name.contains_key(known.name.as_str()) || !self.is_ours(known) {
            return Fate::NotOurs;
        }
        let (file, is_there) = (placed.file(), &self.reach.is_there);
        // A link to the file of the tree before says nothing of the tree that is read now.
        let is_of_before = |way: &FoundPath| way.to != file && way.to == known.file();
        let mut ways: Vec<FoundPath> = placed.links.iter().map(|link| self.way(link)).collect();
        ways.retain(|way| !is_of_before(way));
        if ways.is_empty() && placed.root.is_some() {
            ways.push(self.way(&file));
        }
        let is_led = ways.iter().any(|way| way.is_there && way.to == file);
        let leads_to_read = || ways.iter().any(|way| self.by_file.contains_key(&way.to));
        if self.is_read(known, placed) || (!is_led && leads_to_read()) {
            return Fate::SpokenFor;
        }
        if is_led {
            let is_given_up = self.is_vanished(known) && self.copied(placed).is_some();
            return if is_given_up { Fate::SpokenFor } else { Fate::There };
        }
        if placed.root.is_none() {
            ways = self.places_of_old_path(self.old_path(known)).iter().map(|place| self.way(place)).collect();
        } else if !is_there(&file) {
            ways.push(self.way(&file));
        }
        let is_there = ways.iter().any(|way| way.is_there);
        let is_within = |way: &FoundPath| !way.is_there && self.is_within(&way.path);
        if !(is_there && placed.root.is_none()) && ways.iter().any(is_within) {
            Fate::SpokenFor
        } else if is_there {
            // A run that reads what is there now speaks for it.
            Fate::NotOurs
        } else if self.is_vanished(known) {
            Fate::SpokenFor
        } else if ways.is_empty() {
            Fate::Unlocated
        } else {
            Fate::Unclaimed
        }
    }

    fn way(&self, path: &str) -> FoundPath {
        let to = self.leads_to(path).unwrap_or_else(|| path.to_owned());
        FoundPath { path: path.to_owned(), to, is_there: (self.reach.is_there)(path) }
    }

    fn is_vanished(&self, known: &KnownManifest) -> bool {
        self.reach.vanished.contains(&known.name)
    }

    /// Whether a path that leads nowhere is below a folder that was given.
    fn is_within(&self, path: &str) -> bool {
        let place = (self.reach.follow)(path).map_or_else(|| path.to_owned(), |followed| followed.place);
        self.reach.folders.iter().any(|folder| is_below(&place, folder))
    }

    /// Whether its file is read under another name, also if that is only its own in a namespace, in another place.
    fn is_read(&self, known: &KnownManifest, placed: &KnownManifest) -> bool {
        let comes_in = |namespace: &String| self.by_name.contains_key(format!("{namespace}:{}", known.name).as_str());
        if known.namespace.is_none() && self.reach.namespace.as_ref().is_some_and(comes_in) {
            return known.root.is_none()
                || !(self.reach.is_there)(&known.found_by())
                || self.is_this_file(known, placed);
        }
        self.is_this_file(known, placed)
    }

    fn is_this_file(&self, known: &KnownManifest, placed: &KnownManifest) -> bool {
        match &known.root {
            Some(_) => [known, placed].iter().any(|manifest| self.by_file.contains_key(&manifest.file())),
            None => self.is_read_by_old_path(self.old_path(known)),
        }
    }

    /// Trees that may have copies which are read. A manifest there and one that is read have the same path below what their trees
    /// share, and the roots differ, as those of a checkout and of an export do. Names that were given tell two apart.
    fn copied_trees(&self, known: &[KnownManifest]) -> Vec<CopiedTree> {
        let is_unread = |known: &&KnownManifest| {
            let is_read = self.by_name.contains_key(known.name.as_str()) || self.by_file.contains_key(&known.file());
            known.root.is_some() && self.is_ours(known) && !is_read
        };
        let mut trees: Vec<CopiedTree> = Vec::new();
        for known in known.iter().filter(is_unread) {
            for (read, manifest) in self.read.iter().enumerate() {
                let ends = common_ends(known, manifest);
                trees.extend(ends.into_iter().map(|(old, new)| CopiedTree { old, new, read }));
            }
        }
        trees.sort_unstable();
        trees.dedup_by(|one, other| (&one.old, &one.new) == (&other.old, &other.new));
        trees
    }

    /// A manifest that is there, if its tree may have a copy where it is read, or is not there at all.
    fn copied(&self, known: &KnownManifest) -> Option<CopiedManifest> {
        let found = match self.copied_ways(&known.links) {
            Copied::Unknown => self.copied_ways(&[known.file()]),
            found => found,
        };
        let Copied::Maybe { tree, read } = found else { return None };
        let path = self.read[read].path.clone();
        Some(CopiedManifest { manifest: known.clone(), tree, read, path })
    }

    fn copied_ways(&self, ways: &[String]) -> Copied {
        let mut found = Copied::Unknown;
        for (tree, CopiedTree { old, new, read }) in self.trees.iter().enumerate() {
            let rests = ways.iter().filter_map(|way| way.strip_prefix(old.as_str())?.strip_prefix('/'));
            for place in rests.map(|rest| joined(new, rest)) {
                let copy = self.by_file.get(&self.way(&place).to);
                if copy.is_none() && (self.reach.is_there)(&place) {
                    return Copied::HasOwnRun;
                }
                let copy = copy.and_then(|copy| self.read.iter().position(|read| read.name == copy.name));
                if found == Copied::Unknown {
                    found = Copied::Maybe { tree, read: copy.unwrap_or(*read) };
                }
            }
        }
        found
    }

    /// The path of a manifest of which only its name may be known, with the namespace before it.
    fn old_path<'k>(&self, known: &'k KnownManifest) -> &'k str {
        let namespace = self.reach.namespace.as_deref().unwrap_or_default();
        let bare = known.path.strip_prefix(namespace).and_then(|rest| rest.strip_prefix(':'));
        bare.filter(|_| !namespace.is_empty()).unwrap_or(&known.path)
    }

    /// Whether an older state's path, which may have been taken from any working directory, leads to a file that is read. If a
    /// file of that path is at the root of the tree, the path means that one.
    fn is_read_by_old_path(&self, path: &str) -> bool {
        let from_here = from(&self.reach.working_directory, path);
        self.by_file.iter().any(|(file, manifest)| {
            let ends_so = path.contains('/') && is_at(file, path);
            let means_other = || (self.reach.is_there)(&joined(&manifest.tree.root, path));
            *file == from_here || (ends_so && (manifest.tree.path == path || !means_other()))
        })
    }

    /// Where a file would be now whose path may have been taken from any working directory: as seen from this one, and below
    /// each folder that its first parts name.
    fn places_of_old_path(&self, path: &str) -> Vec<String> {
        if path.starts_with('/') {
            return vec![path.to_owned()];
        }
        let from_here = from(&self.reach.working_directory, path);
        let mut places = Vec::new();
        for folder in &self.reach.folders {
            let ends = path.char_indices().filter(|(_, char)| *char == '/').map(|(end, _)| end);
            let below = ends.filter_map(|end| {
                let above = folder.strip_suffix(&path[..end]).filter(|above| above.ends_with('/'))?;
                Some(format!("{above}{path}"))
            });
            places.extend(below);
        }
        let is_within = self.reach.folders.iter().any(|folder| is_below(&from_here, folder));
        if is_within && !places.contains(&from_here) {
            places.push(from_here);
        }
        places
    }
}

/// Whether a name is the path, perhaps in a namespace.
fn is_named_by(name: &str, path: &str) -> bool {
    name.strip_suffix(path).is_some_and(|before| before.is_empty() || before.ends_with(':'))
}

/// Whether a file has this path below some folder.
fn is_at(file: &str, path: &str) -> bool {
    file.strip_suffix(path).is_some_and(|before| before.ends_with('/'))
}

/// What is before the end that a known manifest and one that is read have in common, if they may be copies: of their files, and
/// of links to them that have the same name in folders of the same name.
fn common_ends(known: &KnownManifest, read: &Manifest) -> Vec<(String, String)> {
    let (file, path) = (read.tree.absolute(), read.tree.path.as_str());
    let is_unnamed = is_named_by(&known.name, &known.path) || is_named_by(&read.name, path);
    if !is_unnamed || known.root.as_ref() == Some(&read.tree.root) {
        return Vec::new();
    }
    let is_copied = is_at(&known.file(), path) || is_at(&file, &known.path);
    let files = is_copied.then(|| before_common_end(&known.file(), &file).0);
    let links = known.links.iter().flat_map(|known| read.tree.link.iter().map(move |link| (known, link)));
    let links = links.map(|(known, link)| before_common_end(known, link));
    links.filter(|(_, parts)| *parts > 1).map(|(before, _)| before).chain(files).collect()
}

/// What is before the last parts that two paths have in common, and how many those are.
fn before_common_end(one: &str, other: &str) -> ((String, String), usize) {
    let (mut before, mut parts) = ((one, other), 0);
    while let (Some((one, end)), Some((other, other_end))) = (before.0.rsplit_once('/'), before.1.rsplit_once('/')) {
        if end != other_end {
            break;
        }
        (before, parts) = ((one, other), parts + 1);
    }
    ((before.0.to_owned(), before.1.to_owned()), parts)
}

/// Whether a path is below a folder, part by part.
fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// A path as seen from a folder, with `..` resolved by name.
fn from(folder: &str, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let (mut folder, mut path) = (folder, path);
    while let Some(rest) = path.strip_prefix("../") {
        folder = folder.rsplit_once('/').map_or("", |(above, _)| above);
        path = rest;
    }
    joined(folder, path)
}

#[cfg(test)]
mod tests {
    use super::super::model::TreePath;
    use super::*;
    use crate::core::model::OnRemoved;

    fn known(name: &str, root: Option<&str>, path: &str) -> KnownManifest {
        KnownManifest {
            name: name.into(),
            namespace: None,
            root: root.map(str::to_owned),
            path: path.into(),
            links: Vec::new(),
            on_removed: OnRemoved::Purge,
        }
    }

    fn read(root: &str, path: &str) -> Manifest {
        let tree = TreePath { root: root.into(), path: path.into(), link: None };
        Manifest { name: path.into(), path: path.into(), tree, ..Manifest::default() }
    }

    fn reach(folders: &[&str], there: &[&str]) -> Reach {
        let there: Vec<String> = there.iter().map(|&file| file.to_owned()).collect();
        Reach {
            folders: folders.iter().map(|&folder| folder.to_owned()).collect(),
            working_directory: "/site".into(),
            is_there: Box::new(move |file| there.iter().any(|known| known == file)),
            ..Reach::default()
        }
    }

    /// Names of what is spoken for, unclaimed and unlocated.
    fn sorted(manifests: &[KnownManifest], read: &[Manifest], reach: &Reach) -> [Vec<String>; 3] {
        let Unread { spoken_for, unclaimed, unlocated, .. } = unread(manifests, read, reach);
        [spoken_for, unclaimed, unlocated].map(|list| list.into_iter().map(|manifest| manifest.name).collect())
    }

    #[test]
    fn only_what_is_not_there_has_vanished_and_only_below_folders_that_were_given() {
        let of = |path: &str| known(path, Some("/site"), path);
        let manifests = [of("m/there.yaml"), of("m/gone.yaml"), of("mm/beside.yaml"), of("n/there.yaml")];
        let reach = reach(&["/site/m"], &["/site/m/there.yaml", "/site/n/there.yaml"]);
        let [spoken_for, unclaimed, unlocated] = sorted(&manifests, &[read("/site", "m/read.yaml")], &reach);
        assert_eq!((spoken_for, unclaimed), (vec!["m/gone.yaml".to_owned()], vec!["mm/beside.yaml".to_owned()]));
        assert!(unlocated.is_empty());
    }

    #[test]
    fn what_is_read_under_another_name_is_spoken_for() {
        let manifests = [known("before", Some("/site"), "m/a.yaml"), known("m/b.yaml", Some("/site"), "m/b.yaml")];
        let now = [Manifest { name: "after".into(), ..read("/site", "m/a.yaml") }, read("/site", "m/b.yaml")];
        let [spoken_for, unclaimed, _] = sorted(&manifests, &now, &reach(&[], &["/site/m/a.yaml", "/site/m/b.yaml"]));
        assert_eq!((spoken_for, unclaimed.len()), (vec!["before".to_owned()], 0));
    }

    #[test]
    fn a_tree_that_is_read_in_another_place_takes_its_manifests_along() {
        let of = |path: &str| known(path, Some("/releases/1"), path);
        let manifests = [of("m/a.yaml"), of("m/gone.yaml"), of("other/b.yaml")];
        let there =
            ["/releases/1/m/a.yaml", "/releases/1/m/gone.yaml", "/releases/2/m/a.yaml", "/releases/2/other/b.yaml"];
        let reach = reach(&["/releases/2/m"], &there);
        let unread = unread(&manifests, &[read("/releases/2", "m/a.yaml")], &reach);
        assert_eq!(unread.spoken_for, [known("m/gone.yaml", Some("/releases/2"), "m/gone.yaml")]);
        let mut noted = manifests.map(|known| KnownManifest { root: Some("/releases/2".into()), ..known });
        noted.rotate_left(1);
        assert_eq!(unread.noted, noted, "what went along, then what is read");
        assert_eq!((unread.unclaimed.len(), unread.moved.len()), (0, 1));
    }

    #[test]
    fn what_a_link_led_to_is_spoken_for_where_the_link_leads_elsewhere_or_is_gone() {
        let linked = |name: &str, link: &str| KnownManifest {
            links: vec![link.to_owned()],
            ..known(name, Some("/store"), name)
        };
        let manifests = [
            linked("1", "/on/site.yaml"),
            linked("gone", "/on/gone.yaml"),
            linked("there", "/on/there.yaml"),
            linked("beside", "/off/gone.yaml"),
        ];
        let there =
            ["/store/1", "/store/2", "/store/gone", "/store/there", "/store/beside", "/on/site.yaml", "/on/there.yaml"];
        let follow = |path: &str| {
            let file = if path == "/on/site.yaml" { "/store/2" } else { path };
            Some(Followed { place: path.to_owned(), file: file.to_owned() })
        };
        let reach = Reach { follow: Box::new(follow), ..reach(&["/on"], &there) };
        let [spoken_for, unclaimed, _] = sorted(&manifests, &[read("/store", "2")], &reach);
        assert_eq!((spoken_for, unclaimed), (vec!["1".to_owned(), "gone".to_owned()], vec!["beside".to_owned()]));
        let absent = absent(&manifests, &*reach.is_there);
        assert_eq!(absent.iter().map(|known| known.name.as_str()).collect::<Vec<_>>(), ["gone", "beside"]);
    }

    #[test]
    fn links_are_known_until_it_is_seen_what_became_of_them() {
        let links = ["/on/here", "/on/unread", "/on/other", "/on/gone"];
        let before = KnownManifest { links: links.map(str::to_owned).to_vec(), ..known("1", Some("/store"), "1") };
        let follow = |path: &str| {
            let file = match path {
                "/on/here" | "/on/new" => "/store/1",
                "/on/unread" => "/store/3",
                "/on/other" => "/store/2",
                _ => path,
            };
            Some(Followed { place: path.to_owned(), file: file.to_owned() })
        };
        let there = ["/store/1", "/store/2", "/store/3", "/on/here", "/on/unread", "/on/other", "/on/new"];
        let reach = Reach { follow: Box::new(follow), ..reach(&[], &there) };
        let mut renamed = read("/store", "1");
        (renamed.name, renamed.tree.link) = ("new".into(), Some("/on/new".into()));
        for now in [read("/store", "1"), renamed] {
            let own = now.tree.link.clone();
            let noted = unread(std::slice::from_ref(&before), &[now, read("/store", "2")], &reach).noted;
            let expected = ["/on/here", "/on/unread"].map(str::to_owned).into_iter().chain(own);
            assert_eq!(noted[0].links, expected.collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_may_have_a_copy_is_known_with_its_tree() {
        let manifests = [known("conf/0", Some("/r1"), "conf/0"), known("conf/eu/m", Some("/r1"), "conf/eu/m")];
        let reads = |name: &str| [Manifest { name: name.into(), ..read("/r2/conf", "0") }];
        let copies = |manifests: &[KnownManifest], name: &str, there: &[&str]| -> Vec<String> {
            let unread = unread(manifests, &reads(name), &reach(&["/r2/conf"], there));
            assert!(unread.spoken_for.is_empty() && unread.unclaimed.is_empty());
            unread.copies.into_iter().map(|copy| copy.manifest.name).collect()
        };
        let there = ["/r1/conf/0", "/r1/conf/eu/m", "/r2/conf/0", "/r2/conf/eu/m"];
        assert_eq!(copies(&manifests, "0", &there[..3]), ["conf/0", "conf/eu/m"]);
        assert_eq!(copies(&manifests, "0", &there), ["conf/0"], "the other has a run of its own");
        let named = [known("a", Some("/r1"), "conf/0")];
        assert_eq!(copies(&named, "0", &there).len() + copies(&manifests, "b", &there[..3]).len(), 3);
        assert!(copies(&named, "b", &there).is_empty(), "names tell two apart");
    }

    #[test]
    fn a_path_of_an_older_state_may_be_seen_from_anywhere() {
        let now = [read("/srv/site", "m/a.yaml")];
        let reach = reach(&["/srv/site/m"], &["/srv/site/m/a.yaml", "/srv/site/top.yaml"]);
        for path in ["srv/site/m/a.yaml", "site/m/a.yaml", "m/a.yaml", "/srv/site/m/a.yaml", "../srv/site/m/a.yaml"] {
            let [spoken_for, ..] = sorted(&[known("before", None, path)], &now, &reach);
            assert_eq!(spoken_for, ["before"], "{path}");
        }
        for path in ["srv/site/m/gone.yaml", "m/gone.yaml"] {
            let [spoken_for, ..] = sorted(&[known("before", None, path)], &now, &reach);
            assert_eq!(spoken_for, ["before"], "{path}");
        }
        for path in ["other/gone.yaml", "named"] {
            let [spoken_for, unclaimed, unlocated] = sorted(&[known("before", None, path)], &now, &reach);
            assert_eq!((spoken_for.len() + unclaimed.len(), unlocated.len()), (0, 1), "{path}");
        }
    }

    /// A file at the root of the tree has the first right to its name.
    #[test]
    fn a_short_path_of_an_older_state_means_the_file_at_the_root() {
        let now = [read("/srv/site", "m/top.yaml")];
        let reach = reach(&["/srv/site/m"], &["/srv/site/m/top.yaml", "/srv/site/top.yaml"]);
        let [spoken_for, ..] = sorted(&[known("top.yaml", None, "top.yaml")], &now, &reach);
        assert!(spoken_for.is_empty());
    }

    #[test]
    fn namespaces_are_taken_over_and_otherwise_left_alone() {
        let other =
            KnownManifest { namespace: Some("other".into()), ..known("other:m/x.yaml", Some("/x"), "m/x.yaml") };
        let manifests =
            [known("m/a.yaml", Some("/site"), "m/a.yaml"), known("m/b.yaml", Some("/y"), "m/b.yaml"), other];
        let now =
            [Manifest { name: "web:m/a.yaml".into(), namespace: Some("web".into()), ..read("/site", "m/a.yaml") }];
        let within = Reach { namespace: Some("web".into()), ..reach(&["/site/m"], &[]) };
        let [spoken_for, unclaimed, unlocated] = sorted(&manifests, &now, &within);
        assert_eq!((spoken_for, unclaimed), (vec!["m/a.yaml".to_owned()], vec!["m/b.yaml".to_owned()]));
        assert!(unlocated.is_empty());
        let without = unread(&manifests, &[read("/site", "m/a.yaml")], &reach(&[], &[]));
        assert_eq!(without.namespaces, ["other"]);
    }
}
