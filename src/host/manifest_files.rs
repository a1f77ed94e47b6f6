//! Reads manifest files from the disk: each once, regular files only, in a fixed order.
//!
//! Does not look into them.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use super::input_digest::{self, Input};
use super::look::{CHANGED, Look, called, cannot_read, open};
use super::manifest_tree::Trees;
use crate::core::model::TreePath;
use crate::manifest::{MAX_FILE_BYTES, Pieces, SourceFile};

/// Largest file that is held whole, in bytes.
const HELD_BYTES: u64 = 32 * 1024;
/// Bytes that are read at once of a larger one.
const PIECE_BYTES: usize = 256 * 1024;
/// Bytes that are read at first: often no more are wanted than what stands before a list.
const FIRST_PIECE_BYTES: usize = 8 * 1024;

/// What to do where there is no folder of manifests.
const BEGIN: &str = "give the folder of the manifests as PATH, or make it: README.md shows a first manifest, and \
    `freshen scan FOLDER --base-url URL > manifests/site.yaml` lists the files of a folder";

/// Deepest folder below a PATH that is looked into.
const MAX_FOLDER_DEPTH: usize = 64;

/// A file or folder that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadProblem {
    /// The path, as it would be shown for a manifest.
    pub path: String,
    /// What is wrong and, where that helps, what to do.
    pub message: String,
}

/// Reads all manifests of `paths`: files, and below folders all `*.yaml`, `*.yml` and `*.json` in byte order of their
/// paths; the case of the extension is of no account. Hidden names below folders are left out, linked files are read.
/// Paths in the result are relative to the working directory where they can be; a file that is found twice is read once.
///
/// # Errors
/// All that could not be read. A folder without manifests is an error, never "no assets"; a linked folder is one as
/// well, since what it lists would seem to be removed.
pub fn read_manifests(paths: &[PathBuf]) -> Result<Manifests, Vec<ReadProblem>> {
    let working_directory = std::env::current_dir().unwrap_or_default();
    let mut reader = Reader {
        working_directory,
        trees: Trees::given(paths),
        seen: HashSet::new(),
        files: Vec::new(),
        larges: Vec::new(),
        problems: Vec::new(),
    };
    for path in paths {
        reader.path(path);
    }
    if reader.problems.is_empty() {
        Ok(Manifests { files: reader.files, larges: reader.larges })
    } else {
        Err(reader.problems)
    }
}

/// A path as manifests are known by: relative to the working directory where it can be; `.` for that directory itself.
pub fn normalise(path: &Path) -> String {
    let working_directory = std::env::current_dir().unwrap_or_default();
    normalised(&working_directory, path).unwrap_or_else(|| path.to_string_lossy().into_owned())
}

impl std::fmt::Display for ReadProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", crate::core::text::one_line(&self.path, 1000), self.message)
    }
}

/// The manifest files of a command.
#[derive(Debug)]
pub struct Manifests {
    /// The files, in order.
    pub files: Vec<SourceFile>,
    /// How those that are not held can be read otherwise.
    larges: Vec<Option<LargeFile>>,
}

impl Manifests {
    /// Identifies each file by its bytes. Large files are read for it, by all cores.
    ///
    /// # Errors
    /// A file that cannot be read, or is not what it was when it was found.
    pub fn digests(&self) -> Result<Vec<blake3::Hash>, ReadProblem> {
        let input = |(file, large): (_, &Option<LargeFile>)| match large {
            Some(large) => Input::Large(large.path.clone(), large.look),
            None => Input::Held(SourceFile::text(file).unwrap_or_default()),
        };
        let inputs: Vec<Input<'_>> = self.files.iter().zip(&self.larges).map(input).collect();
        input_digest::digests(&inputs)
            .map_err(|(file, message)| ReadProblem { path: self.files[file].path.clone(), message })
    }
}

struct Reader {
    working_directory: PathBuf,
    trees: Trees,
    seen: HashSet<String>,
    files: Vec<SourceFile>,
    larges: Vec<Option<LargeFile>>,
    problems: Vec<ReadProblem>,
}

impl Reader {
    fn path(&mut self, path: &Path) {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.folder(path),
            Ok(_) => {
                let tree = self.trees.of(path);
                self.file(path, tree);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_manifest_name(path) => {
                self.fail(path, format!("cannot be read: {error}; {BEGIN}"));
            }
            Err(error) => self.fail(path, format!("cannot be read: {error}")),
        }
    }

    fn fail(&mut self, path: &Path, message: impl Into<String>) {
        let path = normalised(&self.working_directory, path).unwrap_or_else(|| path.to_string_lossy().into_owned());
        self.problems.push(ReadProblem { path, message: message.into() });
    }

    fn folder(&mut self, folder: &Path) {
        let mut found = Vec::new();
        self.walk(folder, 0, &mut found);
        if found.is_empty() && !self.problems.iter().any(|problem| Path::new(&problem.path).starts_with(folder)) {
            self.fail(folder, "no manifest found below this folder; manifests are called *.yaml, *.yml or *.json");
        }
        found.sort_unstable_by(|a: &PathBuf, b| a.as_os_str().as_encoded_bytes().cmp(b.as_os_str().as_encoded_bytes()));
        for path in found {
            let tree = self.trees.of(&path);
            self.file(&path, tree);
        }
    }

    fn walk(&mut self, folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
        if depth > MAX_FOLDER_DEPTH {
            return self.fail(folder, format!("more than {MAX_FOLDER_DEPTH} folders deep"));
        }
        let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.fail(folder, format!("cannot be read: {error}")),
        };
        for entry in entries {
            let path = entry.path();
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.walk(&path, depth + 1, found),
                // Not followed, since it may lead around in a circle, and not skipped: its assets would seem removed.
                Ok(kind) if kind.is_symlink() && path.is_dir() => {
                    self.fail(&path, "is a link to a folder; give that folder as PATH; nothing was sent");
                }
                Ok(_) if is_manifest_name(&path) => found.push(path),
                Ok(_) => {}
                Err(error) => self.fail(&path, format!("cannot be read: {error}")),
            }
        }
    }

    fn file(&mut self, path: &Path, tree: Option<TreePath>) {
        let (Some(shown), Some(tree)) = (normalised(&self.working_directory, path), tree) else {
            return self.fail(path, "its path is not UTF-8; rename it");
        };
        if !self.seen.insert(tree.absolute()) {
            return;
        }
        let read = large(path).and_then(|large| {
            let file = match &large {
                Some(large) => SourceFile::in_pieces(shown.clone(), Box::new(large.clone())),
                None => SourceFile::whole(shown.clone(), read_regular(path, MAX_FILE_BYTES as u64)?),
            };
            Ok((file, large))
        });
        match read {
            Ok((file, large)) => {
                self.files.push(file.of_tree(tree));
                self.larges.push(large);
            }
            Err(message) => self.problems.push(ReadProblem { path: shown, message }),
        }
    }
}

pub(super) fn is_manifest_name(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known)))
}

/// Reads a regular file of `most` bytes at most. Its kind is asked for first: to open a FIFO would wait for ever.
///
/// # Errors
/// What is wrong, as it follows the file's name.
pub(crate) fn read_regular(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let kind = fs::metadata(path).map_err(cannot_read)?;
    if !kind.is_file() {
        return Err(format!("is {}, not a regular file", called(kind.file_type())));
    }
    let mut file = open(path).map_err(cannot_read)?;
    let before = Look::at(&file.metadata().map_err(cannot_read)?);
    if before.bytes > most {
        return Err(format!("has {} bytes, more than {most}; split it", before.bytes));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(before.bytes + 1).unwrap_or(0));
    file.by_ref().take(most + 1).read_to_end(&mut bytes).map_err(cannot_read)?;
    let after = Look::at(&file.metadata().map_err(cannot_read)?);
    if before != after || after.bytes != bytes.len() as u64 {
        return Err(CHANGED.into());
    }
    Ok(bytes)
}

/// Reads standard input, of `most` bytes at most.
///
/// # Errors
/// What is wrong, as it follows the words `standard input`.
pub(crate) fn read_input(most: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    match std::io::stdin().lock().take(most + 1).read_to_end(&mut bytes) {
        Err(cause) => Err(cannot_read(cause)),
        Ok(number) if number as u64 > most => Err(format!("has more than {most} bytes; split it")),
        Ok(_) => Ok(bytes),
    }
}

/// A manifest that is not held: its lines are read again whenever they are asked for, as long as it stays as it was.
#[derive(Clone, Debug)]
struct LargeFile {
    path: PathBuf,
    look: Look,
}

/// The file, if it is a regular one and too large to be held.
fn large(path: &Path) -> Result<Option<LargeFile>, String> {
    let metadata = fs::metadata(path).map_err(cannot_read)?;
    if !metadata.is_file() || metadata.len() <= HELD_BYTES || metadata.len() > MAX_FILE_BYTES as u64 {
        return Ok(None);
    }
    open(path).map_err(cannot_read)?;
    Ok(Some(LargeFile { path: path.to_owned(), look: Look::at(&metadata) }))
}

/// A regular file of any size, to be read piece by piece.
///
/// # Errors
/// What is wrong, as it follows the file's name.
pub(super) fn streamed(path: &Path) -> Result<impl Pieces + use<>, String> {
    let metadata = fs::metadata(path).map_err(cannot_read)?;
    if !metadata.is_file() {
        return Err(format!("is {}, not a regular file", called(metadata.file_type())));
    }
    Ok(LargeFile { path: path.to_owned(), look: Look::at(&metadata) })
}

impl Pieces for LargeFile {
    fn each(&self, visit: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), String> {
        let mut file = open(&self.path).map_err(cannot_read)?;
        let mut piece = vec![0; FIRST_PIECE_BYTES];
        let mut read = 0;
        loop {
            let bytes = file.read(&mut piece).map_err(cannot_read)?;
            read += bytes as u64;
            let look = Look::at(&file.metadata().map_err(cannot_read)?);
            if look != self.look || (bytes == 0 && read != look.bytes) {
                return Err(CHANGED.into());
            }
            if bytes == 0 || !visit(&piece[..bytes]) {
                return Ok(());
            }
            piece.resize(PIECE_BYTES, 0);
        }
    }
}

/// The path relative to the working directory if it lies below it, else as given; `.` and `..` resolved by name,
/// parts joined with `/`. `None` if it is not UTF-8.
fn normalised(working_directory: &Path, path: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    let mut root = "";
    let absolute = working_directory.join(path);
    let relative = without_dots(&absolute).strip_prefix(without_dots(working_directory)).map(Path::to_path_buf);
    let kept = match (&relative, path.is_absolute()) {
        (Ok(relative), _) => relative.clone(),
        (Err(_), _) => without_dots(path),
    };
    for part in kept.components() {
        match part {
            Component::Normal(name) => parts.push(name.to_str()?),
            Component::ParentDir => parts.push(".."),
            Component::RootDir => root = "/",
            Component::Prefix(prefix) => parts.push(prefix.as_os_str().to_str()?),
            Component::CurDir => {}
        }
    }
    let joined = format!("{root}{}", parts.join("/"));
    Some(if joined.is_empty() { ".".to_owned() } else { joined })
}

/// Resolves `.` and `..` by name; `..` at the beginning stays.
fn without_dots(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::Normal(_))) => {
                out.pop();
            }
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::RootDir)) => {}
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        folder
    }

    fn names(folder: &Path, files: &[SourceFile]) -> Vec<String> {
        let stem = format!("{}/", folder.display());
        files.iter().map(|file| file.path.strip_prefix(&stem).unwrap_or(&file.path).to_owned()).collect()
    }

    #[test]
    fn folders_are_read_in_order_and_each_file_once() {
        let folder = folder_with(&["b.YAML", "a/z.Yml", "a.JSON", "note.txt", ".git/x.yaml", ".h.yaml", "a/.y.yaml"]);
        let again = folder.path().join("a/../b.YAML");
        let files = read_manifests(&[folder.path().to_owned(), again]).unwrap();
        assert_eq!(names(folder.path(), &files.files), ["a.JSON", "a/z.Yml", "b.YAML"]);
        assert_eq!(files.files[1].text(), Ok(b"a/z.Yml".as_slice()));
    }

    // Y5
    #[test]
    fn missing_and_empty_paths_are_errors_together() {
        let folder = folder_with(&["note.txt"]);
        let missing = folder.path().join("missing.yaml");
        let problems = read_manifests(&[folder.path().to_owned(), missing]).unwrap_err();
        assert_eq!(problems.len(), 2);
        assert!(problems[0].message.starts_with("no manifest found below"), "{problems:?}");
        assert!(problems[1].message.starts_with("cannot be read"), "{problems:?}");
        let problems = read_manifests(&[folder.path().join("manifests")]).unwrap_err();
        assert!(problems[0].message.contains("`freshen scan FOLDER --base-url URL > manifests/site.yaml`"));
    }

    // Y5: a reader that opens the FIFO would hang here.
    #[cfg(unix)]
    #[test]
    #[expect(clippy::disallowed_methods, reason = "only a program can make a FIFO without unsafe code")]
    fn a_fifo_is_refused_without_waiting() {
        let folder = folder_with(&["a.yaml"]);
        let fifo = folder.path().join("pipe.yaml");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        for path in [folder.path(), &fifo, Path::new("/dev/null")] {
            let problems = read_manifests(&[path.to_owned()]).unwrap_err();
            assert!(problems[0].message.contains("not a regular file"), "{problems:?}");
        }
    }

    // As ConfigMaps are mounted: files are links into a hidden folder, itself a link.
    #[cfg(unix)]
    #[test]
    fn linked_files_are_read_and_linked_folders_are_an_error() {
        use std::os::unix::fs::symlink;
        let folder = folder_with(&["..2026/site.yaml"]);
        symlink("..2026", folder.path().join("..data")).unwrap();
        symlink("..data/site.yaml", folder.path().join("site.yaml")).unwrap();
        let files = read_manifests(&[folder.path().to_owned()]).unwrap();
        assert_eq!(names(folder.path(), &files.files), ["site.yaml"]);
        symlink("gone", folder.path().join("dangling.yaml")).unwrap();
        assert_eq!(read_manifests(&[folder.path().to_owned()]).unwrap_err().len(), 1);
        symlink(".", folder.path().join("circle")).unwrap();
        let problems = read_manifests(&[folder.path().to_owned()]).unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems.iter().any(|problem| problem.path.ends_with("circle")
            && problem.message.starts_with("is a link to a folder; give that folder as PATH")));
    }

    #[test]
    fn paths_are_told_from_the_working_directory() {
        let at = Path::new("/srv/site");
        for (given, told) in [
            ("manifests/a.yaml", "manifests/a.yaml"),
            ("./manifests//x/../a.yaml", "manifests/a.yaml"),
            ("/srv/site/m/a.yaml", "m/a.yaml"),
            ("../other/a.yaml", "../other/a.yaml"),
            ("../site/a.yaml", "a.yaml"),
            ("/etc/a.yaml", "/etc/a.yaml"),
            (".", "."),
        ] {
            assert_eq!(normalised(at, Path::new(given)).as_deref(), Some(told), "{given}");
        }
    }

    // Y5
    #[test]
    fn a_file_that_grows_shows() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let before = Look::at(&file.as_file().metadata().unwrap());
        fs::write(file.path(), "more").unwrap();
        assert_ne!(before, Look::at(&file.as_file().metadata().unwrap()));
    }
}
