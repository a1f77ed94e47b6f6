//! Names of files and folders: each has a URL of its own and is found by it again, in sources and in manifests that are
//! written; patterns take and leave out what they say.
//!
//! Input: a pattern to include, one to exclude, and paths of files, with `␞` between them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use freshen::core::algorithm::Algorithm;
use freshen::manifest::{
    BuildOptions, Expand, FilePatterns, FileSource, Found, FoundFile, PublishedAt, Severity, SourceFile, build,
    build_with, file_path, manifest_of, url_path,
};

use super::SEPARATOR;

const PROVIDER: &str = "providers: {own: {kind: http-purge, endpoints: ['http://127.0.0.1:6081']}}\nprovider: own\n";
const BASE: &str = "https://a.cn/x/";
/// Longest URL that a manifest can have, in bytes.
const LONGEST_URL: usize = 8192;

/// D1, D3, U1, U4
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = text.split(SEPARATOR);
    let (include, exclude) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let files: BTreeMap<String, &str> =
        parts.filter(|file| is_path(file)).map(|file| (assert_found_again(file), file)).collect();
    for file in files.values() {
        assert_taken(include, exclude, file);
    }
    if !files.is_empty() {
        assert_published(&files);
    }
}

/// What a walk through a directory finds: no control characters, every part a name.
fn is_path(file: &str) -> bool {
    !file.chars().any(char::is_control) && file.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// The path of the file's URL: it has no query, no fragment and nothing that a request line could not hold.
fn assert_found_again(file: &str) -> String {
    let path = url_path(file).into_owned();
    assert!(path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\\\"<>".contains(&byte)), "{file:?}: {path}");
    assert_eq!(file_path(&path).as_deref(), Some(file), "{path}");
    for spelling in spellings(&path) {
        assert_eq!(file_path(&spelling).as_deref(), Some(file), "{spelling}");
    }
    path
}

/// In which browsers ask for it: `[`, `]` and `|` stand unescaped in the standard's paths, `^` in those of its older form.
fn spellings(path: &str) -> BTreeSet<String> {
    let newer = path.replace("%5B", "[").replace("%5D", "]").replace("%7C", "|");
    BTreeSet::from([path.to_owned(), newer.replace("%5E", "^"), newer])
}

fn assert_taken(include: &str, exclude: &str, file: &str) {
    let path = Path::new(file);
    let nothing: &[&str] = &[];
    assert!(FilePatterns::default().takes(path), "without patterns all files are taken");
    if let Ok(included) = FilePatterns::compile(&[include], nothing)
        && let Ok(excluded) = FilePatterns::compile(nothing, &[exclude])
    {
        let both = FilePatterns::compile(&[include], &[exclude]).expect("both halves are sound");
        assert_eq!(
            both.takes(path),
            included.takes(path) && !excluded.excludes(path),
            "{include:?} {exclude:?} {file:?}"
        );
        let closed = path.ancestors().skip(1).any(|folder| folder != Path::new("") && both.closes(folder));
        assert!(!closed || both.excludes(path), "{exclude:?} closes a folder of {file:?}");
    }
}

/// A directory with these files.
struct Shelf<'f>(&'f BTreeMap<String, &'f str>);

impl Expand for Shelf<'_> {
    fn expand(&mut self, _: &FileSource, take: &mut dyn FnMut(Found<'_>)) {
        for file in self.0.values() {
            take(Found::File(FoundFile { path: file, algorithm: Algorithm::Blake3, digest: &[1; 32], line: None }));
        }
    }
}

/// Named by a source and listed in a manifest that `scan` writes, the files are published at the same URLs.
fn assert_published(files: &BTreeMap<String, &str>) {
    let published = PublishedAt::new(BASE).expect("a URL");
    let fits = files.keys().all(|path| BASE.len() + path.len() <= LONGEST_URL);
    let text = format!("{PROVIDER}base_url: {BASE}\nsources: [{{directory: d}}]\n");
    let built = build_with(&[SourceFile::whole("m.yaml", text)], BuildOptions::default(), &mut Shelf(files));
    let hash = Algorithm::Blake3.hash(&[1; 32]);
    let written = manifest_of(Some(&published), files.values().map(|file| (*file, hash.clone())));
    assert_eq!((built.model.is_some(), written.is_ok()), (fits, fits), "{:?} {written:?}", built.diagnostics);
    let (Some(model), Ok(written)) = (built.model, written) else { return };
    let all: BTreeSet<String> = files.keys().flat_map(|path| spellings(path)).collect();
    let expected: Vec<String> = all.iter().map(|path| format!("{BASE}{path}")).collect();
    let mut urls: Vec<String> = model.entries.iter().map(|entry| entry.target.text).collect();
    urls.sort();
    assert_eq!(urls, expected);
    let read = build(&[SourceFile::whole("m.yaml", format!("{PROVIDER}{written}"))]);
    let is_fine = !read.diagnostics.iter().any(|found| found.severity == Severity::Error);
    assert!(is_fine, "{written}\n{:?}", read.diagnostics);
    let urls = read.model.map(|model| model.entries.iter().map(|entry| entry.target.text).collect::<BTreeSet<_>>());
    assert_eq!(urls, Some(expected.into_iter().collect()), "{written}");
}
