//! Where manifests are, wherever they are read from: the root of the tree that a file belongs to, and its path below.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::Env;
use super::env::SystemEnv;
use crate::core::model::TreePath;
use crate::core::owners::Followed;

/// What marks the root of a repository or working copy.
const MARKERS: [&str; 4] = [".git", ".hg", ".jj", ".svn"];
/// The folder that manifests are in by default: what holds it is the root where nothing else marks one.
const USUAL_FOLDER: &str = "manifests";

/// Finds for files of one command where they are.
pub(super) struct Trees {
    /// The deepest folder that holds all that was given.
    common: PathBuf,
    /// Roots by folder, as they were found; many files are in one folder.
    roots: HashMap<PathBuf, PathBuf>,
}

impl Trees {
    /// For the files and folders given to a command.
    pub(super) fn given(given: &[PathBuf]) -> Self {
        let folder = |path: &PathBuf| {
            if path.is_dir() { canonical(path) } else { place_of(path).parent().map(Path::to_path_buf) }
        };
        let mut folders = given.iter().filter_map(folder);
        let first = folders.next().unwrap_or_default();
        let common = folders.fold(first, |common, other| {
            common.components().zip(other.components()).take_while(|(a, b)| a == b).map(|(part, _)| part).collect()
        });
        Self { common, roots: HashMap::new() }
    }

    /// Where a file is; `None` if that is not UTF-8.
    pub(super) fn of(&mut self, path: &Path) -> Option<TreePath> {
        let file = place_of(path);
        let found_by = without_dots(path).filter(|found_by| *found_by != file);
        Some(TreePath { link: found_by.and_then(|path| path.to_str().map(str::to_owned)), ..self.tree_path(&file)? })
    }

    fn tree_path(&mut self, file: &Path) -> Option<TreePath> {
        let folder = file.parent()?;
        if !self.roots.contains_key(folder) {
            self.roots.insert(folder.to_owned(), self.root_of(folder));
        }
        let root = &self.roots[folder];
        let parts: Option<Vec<&str>> =
            file.strip_prefix(root).ok()?.components().map(|part| part.as_os_str().to_str()).collect();
        Some(TreePath { root: without_slash(root)?, path: parts?.join("/"), link: None })
    }

    fn root_of(&self, folder: &Path) -> PathBuf {
        let is_marked = |folder: &&Path| MARKERS.iter().any(|marker| folder.join(marker).exists());
        if let Some(marked) = folder.ancestors().find(is_marked) {
            return marked.to_owned();
        }
        let is_usual = |folder: &&Path| folder.file_name().is_some_and(|name| name == USUAL_FOLDER);
        let holds_usual = folder.ancestors().find(is_usual).and_then(Path::parent);
        let common = Some(self.common.as_path()).filter(|common| folder.starts_with(common));
        holds_usual.or(common).unwrap_or(folder).to_owned()
    }
}

/// The deepest folder that holds all these files, by their absolute paths, where it is one that manifests are in by default, or is
/// in one.
pub fn usual_folder_of(files: &[String]) -> Option<String> {
    let mut folders = files.iter().filter_map(|file| Path::new(file).parent());
    let first = folders.next()?.to_owned();
    let common: PathBuf = folders.fold(first, |common, other| {
        common.components().zip(other.components()).take_while(|(a, b)| a == b).map(|(part, _)| part).collect()
    });
    let is_usual = common.components().any(|part| part.as_os_str() == USUAL_FOLDER);
    is_usual.then(|| common.to_str().map(str::to_owned)).flatten()
}

/// Absolute path of a folder without links and without `/` at its end.
pub fn absolute_folder(path: &Path) -> Option<String> {
    without_slash(&canonical(path)?)
}

/// Whether a file is at an absolute path. Only what is surely not there is gone: what cannot be looked at may be there.
pub fn is_there(path: &str) -> bool {
    match fs::symlink_metadata(path) {
        Ok(metadata) => !metadata.is_dir(),
        Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
    }
}

/// Where an absolute path leads to.
pub fn follow(path: &str) -> Option<Followed> {
    let text = |path: PathBuf| path.to_str().map(str::to_owned);
    Some(Followed { place: text(place_in_folder(Path::new(path)))?, file: text(place_of(Path::new(path)))? })
}

/// A path as absolute, links and all; what is before the last `..` in it without links, since a link there is no part of the way.
fn without_dots(path: &Path) -> Option<PathBuf> {
    let path = working_directory()?.join(path);
    let mut rest: Vec<_> = path.components().collect();
    let begin = rest.iter().rposition(|part| *part == Component::ParentDir).map_or(0, |last| last + 1);
    let named = rest.split_off(begin);
    let before: PathBuf = rest.into_iter().collect();
    Some(if begin == 0 { before } else { canonical(&before)? }.join(named.into_iter().collect::<PathBuf>()))
}

/// As the shell was led there: a link to it may be swapped later on.
fn working_directory() -> Option<PathBuf> {
    let real = std::env::current_dir().ok()?;
    let shown = SystemEnv.var("PWD").map(PathBuf::from).filter(|path| path.is_absolute());
    Some(shown.filter(|shown| canonical(shown).as_ref() == Some(&real)).unwrap_or(real))
}

fn without_slash(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    Some(text.strip_suffix('/').unwrap_or(text).to_owned())
}

fn canonical(path: &Path) -> Option<PathBuf> {
    fs::canonicalize(path).ok()
}

/// A file by the name that it has in its folder, where that is; without the folder, where that would be.
fn place_in_folder(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut folders = path.ancestors().skip(1).filter(|_| path.file_name().is_some());
    let found = folders.find_map(|folder| Some(canonical(folder)?.join(path.strip_prefix(folder).ok()?)));
    found.unwrap_or(path)
}

/// As [`place_in_folder`]; but a link is a way to the file that it leads to. One to a hidden folder beside it is how mounted
/// configuration is swapped: the name in front stays.
fn place_of(path: &Path) -> PathBuf {
    let found = place_in_folder(path);
    let is_swapped = |target: &PathBuf| {
        let below = found.parent().and_then(|folder| target.strip_prefix(folder).ok());
        below.is_some_and(|below| below.as_os_str().as_encoded_bytes().starts_with(b".") && below.iter().count() > 1)
    };
    canonical(path).filter(|target| !is_swapped(target)).unwrap_or(found)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder without links with these files.
    fn folder_with(files: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for file in files {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), "assets: {}\n").unwrap();
        }
        (folder, root)
    }

    fn path_of(given: &Path) -> String {
        let mut trees = Trees::given(&[given.to_owned()]);
        trees.of(given).unwrap().path
    }

    #[test]
    fn a_file_has_one_path_whatever_leads_to_it() {
        let (_folder, root) =
            folder_with(&["1/manifests/eu/site.yaml", "2/manifests/eu/site.yaml", "2/manifests/x.yaml"]);
        symlink("2", root.join("current")).unwrap();
        symlink("current/manifests/eu/site.yaml", root.join("link.yaml")).unwrap();
        for given in [
            "1/manifests/eu/site.yaml",
            "2/manifests/../manifests/eu/site.yaml",
            "current/manifests/eu/site.yaml",
            "link.yaml",
        ] {
            assert_eq!(path_of(&root.join(given)), "manifests/eu/site.yaml", "{given}");
        }
        let mut trees = Trees::given(&[root.join("current/manifests")]);
        let found = trees.of(&root.join("current/manifests/eu/site.yaml")).unwrap();
        assert_eq!(
            (found.path.as_str(), found.root.as_str()),
            ("manifests/eu/site.yaml", root.join("2").to_str().unwrap())
        );
    }

    #[test]
    fn a_link_that_leads_to_a_file_is_known() {
        let (_folder, root) = folder_with(&["1/site.yaml", "2/site.yaml"]);
        symlink("1", root.join("current")).unwrap();
        symlink("current/site.yaml", root.join("link.yaml")).unwrap();
        for (given, link) in [
            ("1/site.yaml", None),
            ("2/../1/site.yaml", None),
            ("current/../2/site.yaml", None),
            ("current/site.yaml", Some("current/site.yaml")),
            ("2/../current/./site.yaml", Some("current/site.yaml")),
            ("link.yaml", Some("link.yaml")),
        ] {
            let given = root.join(given);
            let found = Trees::given(std::slice::from_ref(&given)).of(&given).unwrap().link;
            assert_eq!(found, link.map(|link| root.join(link).to_str().unwrap().to_owned()), "{}", given.display());
        }
        let followed = follow(root.join("current/site.yaml").to_str().unwrap()).unwrap();
        assert_eq!(
            (followed.place.as_str(), &followed.place),
            (root.join("1/site.yaml").to_str().unwrap(), &followed.file)
        );
    }

    #[test]
    fn a_repository_is_the_tree_of_its_files() {
        let (_folder, root) = folder_with(&["a/sites/manifests/x.yaml", "a/conf/y.yaml", "b/conf/y.yaml"]);
        fs::create_dir(root.join("a/.git")).unwrap();
        fs::write(root.join("b/.git"), "gitdir: elsewhere\n").unwrap();
        assert_eq!(path_of(&root.join("a/sites/manifests/x.yaml")), "sites/manifests/x.yaml");
        assert_eq!(
            (path_of(&root.join("a/conf/y.yaml")), path_of(&root.join("b/conf/y.yaml"))),
            ("conf/y.yaml".into(), "conf/y.yaml".into())
        );
    }

    #[test]
    fn without_any_mark_paths_are_taken_from_what_holds_all_that_was_given() {
        let (_folder, root) = folder_with(&["etc/eu/site.yaml", "etc/us/site.yaml"]);
        let given = [root.join("etc/eu"), root.join("etc/us")];
        let mut trees = Trees::given(&given);
        let paths = ["eu", "us"].map(|name| trees.of(&root.join("etc").join(name).join("site.yaml")).unwrap().path);
        assert_eq!(paths, ["eu/site.yaml", "us/site.yaml"]);
        assert_eq!(path_of(&root.join("etc/eu/site.yaml")), "site.yaml");
    }

    #[test]
    fn files_that_are_swapped_behind_a_link_keep_their_path() {
        let (_folder, root) = folder_with(&["mount/..1/site.yaml"]);
        symlink("..1", root.join("mount/..data")).unwrap();
        symlink("..data/site.yaml", root.join("mount/site.yaml")).unwrap();
        let mut trees = Trees::given(&[root.join("mount")]);
        let tree = trees.of(&root.join("mount/site.yaml")).unwrap();
        assert_eq!((tree.path.as_str(), tree.root.as_str()), ("site.yaml", root.join("mount").to_str().unwrap()));
    }

    #[test]
    fn only_what_is_surely_not_there_is_gone() {
        let (_folder, root) = folder_with(&["a.yaml"]);
        symlink("nowhere", root.join("dangling.yaml")).unwrap();
        let there = |name: &str| is_there(root.join(name).to_str().unwrap());
        assert!(there("a.yaml") && there("dangling.yaml"));
        assert!(!there("b.yaml") && !there("a.yaml/b.yaml") && !there(""));
    }
}
