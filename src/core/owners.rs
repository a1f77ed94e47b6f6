//! Which manifests a run may speak for: those that it reads, those that are gone from where it looks, and those that it
//! reads under another name or in another place.
//!
//! Does not know the disk: what is there is a question to the caller.

use std::collections::HashMap;

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

/// What becomes of manifests that the state knows and that a run does not read under their name.
#[derive(Clone, Debug, Default)]
pub struct Unread {
    /// The run speaks for these: they are gone from where it looks, or it reads them under another name.
    pub spoken_for: Vec<KnownManifest>,
    /// These are not there any more, and not where this run looks.
    pub unclaimed: Vec<KnownManifest>,
    /// An older program read these, or only an import names them: nobody knows where they are.
    pub unlocated: Vec<KnownManifest>,
    /// Read from another place than before, while the file there still is.
    pub moved: Vec<MovedManifest>,
    /// Roots of trees that are read in another place now, and which: manifests that this run does not read went along.
    pub rerooted: Vec<(String, String)>,
    /// Namespaces in use, if the run has none and needs one.
    pub namespaces: Vec<String>,
}

impl Unread {
    /// Whether all manifests that the state knows are read, or are no business of this run.
    pub const fn is_empty(&self) -> bool {
        let Self { spoken_for, unclaimed, unlocated, moved, rerooted: _, namespaces } = self;
        spoken_for.is_empty()
            && unclaimed.is_empty()
            && unlocated.is_empty()
            && moved.is_empty()
            && namespaces.is_empty()
    }
}

/// Sorts manifests of earlier runs by what a run that reads `read` may say about them.
pub fn unread(known: Vec<KnownManifest>, read: &[Manifest], reach: &Reach) -> Unread {
    let mut unread = Unread::default();
    if reach.namespace.is_none() {
        unread.namespaces = known.iter().filter_map(|manifest| manifest.namespace.clone()).collect();
        unread.namespaces.sort_unstable();
        unread.namespaces.dedup();
    }
    let view = OwnerView::new(&known, read, reach);
    unread.moved = known.iter().filter_map(|manifest| view.moved(manifest)).collect();
    unread.rerooted = view.successors.iter().map(|(old, new)| (old.clone(), (*new).to_owned())).collect();
    unread.rerooted.sort_unstable();
    let fates: Vec<Fate> = known.iter().map(|manifest| view.fate(manifest)).collect();
    let places: Vec<Option<String>> = known.iter().map(|manifest| view.new_root(manifest)).collect();
    for ((mut manifest, fate), root) in known.into_iter().zip(fates).zip(places) {
        // Where it would be now is what there is to say of it.
        if root.is_some() {
            (manifest.root, manifest.link) = (root, None);
        }
        match fate {
            Fate::NotOurs => {}
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

/// What the state shows of manifests that are in none of the places that it knows: not where they were read from, and in no
/// other checkout. Where none is there at all, nothing is known: these are others' files.
pub fn absent<'a>(known: &'a [KnownManifest], is_there: &IsThere) -> Vec<&'a KnownManifest> {
    let mut roots: Vec<&String> = known.iter().filter_map(|manifest| manifest.root.as_ref()).collect();
    roots.sort_unstable();
    roots.dedup();
    let located = known.iter().filter(|manifest| manifest.root.is_some());
    let (there, absent): (Vec<_>, Vec<_>) = located.partition(|manifest| match &manifest.link {
        Some(link) => is_there(link),
        None => roots.iter().any(|root| is_there(&joined(root, &manifest.path))),
    });
    if there.is_empty() { Vec::new() } else { absent }
}

enum Fate {
    NotOurs,
    SpokenFor,
    Unclaimed,
    Unlocated,
}

/// The manifests that are read, by name and by file, and where trees have moved to.
struct OwnerView<'a> {
    reach: &'a Reach,
    by_name: HashMap<&'a str, &'a Manifest>,
    by_file: HashMap<String, &'a Manifest>,
    /// Roots of trees that are read in another place now, and which.
    successors: HashMap<String, &'a str>,
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
        Self { reach, by_name, by_file, successors }
    }

    fn moved(&self, known: &KnownManifest) -> Option<MovedManifest> {
        let (root, now) = (known.root.as_ref()?, self.by_name.get(known.name.as_str())?);
        let before = joined(root, &known.path);
        let is_moved = before != now.tree.absolute() && (self.reach.is_there)(&before);
        is_moved.then(|| MovedManifest { name: known.name.clone(), before })
    }

    /// The root of its tree now, if that is read in another place than before.
    fn new_root(&self, known: &KnownManifest) -> Option<String> {
        self.successors.get(known.root.as_ref()?).map(|&root| root.to_owned())
    }

    fn fate(&self, known: &KnownManifest) -> Fate {
        if self.by_name.contains_key(known.name.as_str()) {
            return Fate::NotOurs;
        }
        // What was known before a namespace was given comes into it.
        if known.namespace.is_some() && known.namespace != self.reach.namespace {
            return Fate::NotOurs;
        }
        if self.is_read(known) {
            return Fate::SpokenFor;
        }
        let places = self.places(known);
        if places.iter().any(|place| (self.reach.is_there)(place)) {
            return Fate::NotOurs;
        }
        if self.reach.vanished.contains(&known.name) {
            return Fate::SpokenFor;
        }
        if places.is_empty() {
            return Fate::Unlocated;
        }
        let is_within = |place: &String| {
            let place = (self.reach.follow)(place).map_or_else(|| place.clone(), |followed| followed.place);
            self.reach.folders.iter().any(|folder| is_below(&place, folder))
        };
        if places.iter().any(is_within) { Fate::SpokenFor } else { Fate::Unclaimed }
    }

    /// Whether its file is read under another name, also if that is only its own in a namespace, in another place.
    fn is_read(&self, known: &KnownManifest) -> bool {
        let comes_in = |namespace: &String| self.by_name.contains_key(format!("{namespace}:{}", known.name).as_str());
        if known.namespace.is_none() && self.reach.namespace.as_ref().is_some_and(comes_in) {
            return known.root.is_none() || !(self.reach.is_there)(&known.found_by()) || self.is_this_file(known);
        }
        self.is_this_file(known)
    }

    fn is_this_file(&self, known: &KnownManifest) -> bool {
        match &known.root {
            // What a link led to speaks for itself no more where that link leads to another file.
            Some(_) => {
                let found_by = known.found_by();
                let followed = (self.reach.follow)(&found_by).map(|followed| followed.file);
                [Some(known.file()), followed].into_iter().flatten().any(|file| self.by_file.contains_key(&file))
            }
            None => self.is_read_by_old_path(self.old_path(known)),
        }
    }

    /// Where the file of a manifest would be now.
    fn places(&self, known: &KnownManifest) -> Vec<String> {
        let Some(root) = &known.root else { return self.places_of_old_path(self.old_path(known)) };
        vec![self.successors.get(root).map_or_else(|| known.found_by(), |&now| joined(now, &known.path))]
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
            let ends_so = path.contains('/') && file.strip_suffix(path).is_some_and(|before| before.ends_with('/'));
            let means_other = || (self.reach.is_there)(&joined(&manifest.tree.root, path));
            *file == from_here || (ends_so && (manifest.tree.path == path || !means_other()))
        })
    }

    /// As [`OwnerView::places`], for a path that may have been taken from any working directory: as seen from this one, and below
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
            link: None,
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
        let Unread { spoken_for, unclaimed, unlocated, .. } = unread(manifests.to_vec(), read, reach);
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
        let unread = unread(manifests.to_vec(), &[read("/releases/2", "m/a.yaml")], &reach);
        assert_eq!(unread.spoken_for, [known("m/gone.yaml", Some("/releases/2"), "m/gone.yaml")]);
        assert_eq!(unread.rerooted, [("/releases/1".to_owned(), "/releases/2".to_owned())]);
        assert_eq!((unread.unclaimed.len(), unread.moved.len()), (0, 1));
    }

    #[test]
    fn what_a_link_led_to_is_spoken_for_where_the_link_leads_elsewhere_or_is_gone() {
        let linked =
            |name: &str, link: &str| KnownManifest { link: Some(link.to_owned()), ..known(name, Some("/store"), name) };
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
        let without = unread(manifests.to_vec(), &[read("/site", "m/a.yaml")], &reach(&[], &[]));
        assert_eq!(without.namespaces, ["other"]);
    }
}
