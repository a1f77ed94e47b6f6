//! `sources` of manifests: what is found in directories and lists, and every way in which it can be wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use freshen::core::algorithm::Algorithm;
use freshen::core::model::Location;
use freshen::core::time::Timestamp;
use freshen::host::tree::{self, StatCache, TreeRules};
use freshen::manifest::{
    BuildOptions, Built, Expand, FileSource, Found, FoundFile, Severity, SourceFile, SourceKind, SourceProblem, build,
    build_with, file_path, url_path,
};
use freshen::state::{SqliteStore, StatCacheRow, Store};
use proptest::prelude::*;

use crate::support::cli::{Bench, Ran, STATE, make_pipe};
use crate::support::cloud::{Cloud, HOSTS};

const PROVIDERS: &str = "providers:\n  a: {kind: tencent-cdn, hosts: [a.cn, b.cn]}\n  \
                         b: {kind: http-purge, endpoints: ['http://127.0.0.1:9'], hosts: [b.cn]}\n";

/// Sources without a disk: what stands at each path, and which paths were asked for.
#[derive(Default)]
struct Shelf {
    files: BTreeMap<&'static str, Vec<(String, u8)>>,
    problems: Vec<(Severity, &'static str)>,
    asked: Vec<String>,
}

impl Expand for Shelf {
    fn expand(&mut self, source: &FileSource, take: &mut dyn FnMut(Found<'_>)) {
        self.asked.push(source.path.clone());
        let is_list = matches!(source.kind, SourceKind::Checksums { .. });
        for (number, (path, digest)) in (1..).zip(self.files.get(source.path.as_str()).into_iter().flatten()) {
            let (algorithm, digest, line) = (Algorithm::Blake3, &[*digest; 32][..], is_list.then_some(number));
            take(Found::File(FoundFile { path, algorithm, digest, line }));
        }
        for (severity, message) in &self.problems {
            let message = (*message).to_owned();
            take(Found::Problem(SourceProblem { severity: *severity, message, help: None }));
        }
    }
}

fn shelf(path: &'static str, files: &[(&str, u8)]) -> Shelf {
    let files = files.iter().map(|(name, digest)| ((*name).to_owned(), *digest)).collect();
    Shelf { files: BTreeMap::from([(path, files)]), ..Shelf::default() }
}

fn built(site: &str, shelf: &mut Shelf) -> Built {
    build_with(
        &[SourceFile::whole("m/site.yaml", site), SourceFile::whole("m/providers.yaml", PROVIDERS)],
        BuildOptions::default(),
        shelf,
    )
}

/// Every entry as `provider URL hash`, the hash by its first digits, without `https://`.
fn entries(site: &str, shelf: &mut Shelf) -> Vec<String> {
    let built = built(site, shelf);
    let model = built.model.unwrap_or_else(|| panic!("{:?}", built.diagnostics));
    let shown = |entry: freshen::core::model::Entry| {
        let provider = &model.providers[entry.provider];
        assert_eq!(provider.kind.check_target(&entry.target, &provider.options), Ok(()));
        let name = &provider.name;
        let hash = entry.hash.as_str().split_at("blake3:".len()).1;
        format!("{name} {} {}", entry.target.text.trim_start_matches("https://"), &hash[..2])
    };
    model.entries.iter().map(shown).collect()
}

fn problems(site: &str, shelf: &mut Shelf) -> Vec<String> {
    let built = built(site, shelf);
    assert_eq!(built.model.is_none(), built.diagnostics.iter().any(|found| found.severity == Severity::Error));
    let place = |found: &freshen::manifest::Diagnostic| {
        found.span.map_or("-".into(), |span| format!("{}:{}", span.line, span.column))
    };
    built.diagnostics.iter().map(|found| format!("{} {}", place(found), found.message)).collect()
}

const SITE: &str = "base_url: https://a.cn/x/\nsources:\n  - directory: ../public\n";

#[test]
fn files_of_sources_are_assets_at_the_sources_place() {
    let mut public = shelf("public", &[("a.html", 1), ("a b/你.js", 2)]);
    let text = format!("{SITE}assets:\n  c.html: blake3:{}\n", "33".repeat(32));
    let found = entries(&text, &mut public);
    assert_eq!(found, ["a a.cn/x/a%20b/%E4%BD%A0.js 02", "a a.cn/x/a.html 01", "a a.cn/x/c.html 33"]);
    assert_eq!(public.asked, ["public"], "read once");
    let model = built(&text, &mut public).model.expect("valid");
    let place = Location { manifest: 0, line: 3, column: 16 };
    assert!((0..2).all(|index| model.entries.place(index) == place));
}

#[test]
fn every_base_url_and_provider_has_the_files() {
    let site =
        "base_url: [https://a.cn, https://b.cn/y]\nsources: [{checksums: L}]\nindex: index.html\nslashless: true\n";
    let found = entries(site, &mut shelf("m/L", &[("index.html", 1)]));
    assert_eq!(
        found,
        [
            "a a.cn/ 01",
            "a a.cn/index.html 01",
            "a b.cn/y 01",
            "a b.cn/y/ 01",
            "a b.cn/y/index.html 01",
            "b b.cn/y 01",
            "b b.cn/y/ 01",
            "b b.cn/y/index.html 01"
        ]
    );
}

/// Pages first where quota is short: patterns of a source, before those of the manifest.
#[test]
fn priorities_of_sources_are_those_of_their_patterns() {
    let files = [("a b/index.html", 1), ("app.js", 2), ("index.html", 3), ("x.map", 4)];
    let priorities = |own: &str, above: &str| {
        let site = format!("base_url: https://a.cn/\n{above}sources:\n- checksums: L\n{own}index: [index.html]\n");
        let built = built(&site, &mut shelf("m/L", &files));
        let model = built.model.unwrap_or_else(|| panic!("{:?}", built.diagnostics));
        let word = |entry: freshen::core::model::Entry| format!("{:?}", entry.priority);
        model.entries.iter().map(word).collect::<Vec<_>>().join(" ")
    };
    let (above, own) = ("priority: {high: ['*index.html']}\n", "  priority: {high: [app.js], low: ['*.map']}\n");
    // Both URLs of a page, in order: /, /a%20b/, /a%20b/index.html, /app.js, /index.html, /x.map.
    assert_eq!(priorities("", ""), "Normal Normal Normal Normal Normal Normal");
    assert_eq!(priorities("", above), "High High High Normal High Normal");
    assert_eq!(priorities(own, ""), "Normal Normal Normal High Normal Low");
    assert_eq!(priorities(own, above), "High High High High High Low");
}

/// Names of files hold brackets; a pattern that matches nothing is a slip.
#[test]
fn patterns_of_priorities_are_names_but_for_the_star() {
    let files = [("[slug].js", 1), ("p1.js", 2), ("p?.js", 3), ("s.js", 4)];
    let high = |patterns: &str| {
        let sources = format!("sources:\n- checksums: L\n  priority: {{high: [{patterns}]}}\n");
        let built = built(&format!("base_url: https://a.cn/\n{sources}"), &mut shelf("m/L", &files));
        let model = built.model.unwrap_or_else(|| panic!("{:?}", built.diagnostics));
        let entries = model.entries.iter().filter(|entry| entry.priority == freshen::core::model::Priority::High);
        let texts: Vec<String> = entries.map(|entry| entry.target.text.replace("https://a.cn/", "")).collect();
        (texts.join(" "), built.diagnostics.into_iter().map(|warning| warning.message).collect::<Vec<_>>())
    };
    assert_eq!(high("'[slug].js'"), ("%5Bslug%5D.js [slug].js".to_owned(), Vec::new()));
    assert_eq!(high("'p?.js'"), ("p%3F.js".to_owned(), Vec::new()));
    let unmatched = |pattern: &str| format!("`{pattern}` in `priority` matches no asset");
    assert_eq!(high("'x*', s.js, '[ps].js'"), ("s.js".to_owned(), vec![unmatched("x*"), unmatched("[ps].js")]));
    let manifest = "base_url: https://a.cn/\npriority: {high: [x], low: [s.js, y, z]}\n";
    let source = "sources: [{checksums: L, priority: {low: ['*']}}]\n";
    let assets = "assets: {x: {hash: rev:1, priority: low}, y: rev:1}\n";
    let found = problems(&format!("{manifest}{source}{assets}"), &mut shelf("m/L", &files));
    assert_eq!(found, [format!("2:38 {}", unmatched("z"))], "what is overruled is matched all the same");
    assert_eq!(problems(manifest, &mut Shelf::default()).len(), 1, "errors come alone");
}

/// The forms hold for every path of the manifest, in all ways in which assets are listed.
#[test]
fn url_forms_hold_for_assets_too() {
    let hash = format!("blake3:{}", "11".repeat(32));
    let head = "base_url: https://a.cn\nindex: [index.html]\nstrip_extension: [.html]\n";
    let forms = ["a a.cn/b/ 11", "a a.cn/b/index 11", "a a.cn/b/index.html 11"];
    for assets in [
        format!("assets:\n  b/index.html: {hash}\n"),
        format!("assets: {{b/index.html: {hash}}}\n"),
        format!("assets:\n- path: b/index.html\n  hash: {hash}\n"),
        format!("assets: [{{path: b/index.html, hash: '{hash}', size: 1}}]\n"),
    ] {
        assert_eq!(entries(&format!("{head}{assets}"), &mut Shelf::default()), forms, "{assets}");
    }
    let url = format!("{head}assets: {{https://a.cn/b/index.html: {hash}, b/index.html?q=1: {hash}}}\n");
    let found = entries(&url, &mut Shelf::default());
    assert_eq!(found, ["a a.cn/b/index.html 11", "a a.cn/b/index.html?q=1 11"], "whole URLs are what they are");
}

#[test]
fn keys_of_sources_are_checked_with_their_places() {
    let base = "base_url: https://a.cn\n";
    for (text, place, message) in [
        ("sources: []\n", "2:10", "`sources` is an empty list"),
        ("sources: {}\n", "2:10", "`sources` must be a list of maps, found a map"),
        ("sources: [x]\n", "2:11", "a source must be a map, found `x`"),
        ("sources: [{include: x}]\n", "2:11", "this source has no name"),
        ("sources: [{directory: x, checksums: y}]\n", "2:11", "this source is both a directory and a list"),
        ("sources: [{directory: x, algorithm: md5}]\n", "2:26", "`algorithm` belongs to `checksums`"),
        ("sources: [{checksums: x, links: skip}]\n", "2:26", "`links` belongs to `directory`"),
        ("sources: [{checksums: x, temporary: true}]\n", "2:26", "`temporary` belongs to `directory`"),
        ("sources: [{directory: x, links: inside}]\n", "2:33", "`links` must be one of"),
        ("sources: [{checksums: x, include: y}]\n", "2:26", "`include` belongs to `directory`"),
        ("sources: [{checksums: x, algorithm: crc32}]\n", "2:37", "`algorithm` must be one of"),
        ("sources: [{directory: x, include: [a, /b]}]\n", "2:39", "`/b` matches no file"),
        ("sources: [{directory: x, include: []}]\n", "2:35", "`include` is an empty list"),
        ("sources: [{directory: x, exclude: 'a['}]\n", "2:35", "`a[` is not a pattern"),
        ("sources: [{directory: x, normalize: ['a(']}]\n", "2:38", "`a(` is not a regular expression"),
        ("sources: [{directory: x, includes: a}]\n", "2:26", "a source has no key `includes`"),
        ("assets: {}\nindex: a/b\n", "3:8", "`a/b` is of no use in `index`"),
        ("assets: {}\nstrip_extension: [html]\n", "3:19", "`html` is of no use in `strip_extension`"),
    ] {
        let found = problems(&format!("{base}{text}"), &mut Shelf::default());
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(&format!("{place} {message}")), "{text}: {found:?}");
    }
    let found = problems("sources: [{directory: x}]\n", &mut shelf("m/x", &[("a", 1), ("b", 1)]));
    assert_eq!(found, ["1:1 `sources`, but the manifest has no `base_url`"]);
    let unread = build(&[SourceFile::whole("s.yaml", SITE), SourceFile::whole("p.yaml", PROVIDERS)]);
    assert_eq!(unread.diagnostics[0].message, "../public is not read here", "never taken for no assets");
}

/// D4, C11: whatever the reader says of a source ends the run, beside all other problems.
#[test]
fn problems_of_sources_are_told_with_all_others() {
    let mut gone = Shelf { problems: vec![(Severity::Error, "public: is empty")], ..Shelf::default() };
    let found = problems(&format!("{SITE}unknown: 1\nassets:\n  /a: rev:1\n"), &mut gone);
    let expected = ["3:16 public: is empty", "4:1 a manifest has no key `unknown`", "6:3 a path that begins with `/`"];
    assert_eq!(found, expected);
    let mut odd = shelf("public", &[("a", 1)]);
    odd.problems.push((Severity::Warning, "public/b: is a symbolic link"));
    assert_eq!(problems(SITE, &mut odd), ["3:16 public/b: is a symbolic link"]);
    let long = "x".repeat(9000);
    let mut long = shelf("public", &[(&long, 1)]);
    let found = problems(SITE, &mut long);
    assert!(found.len() == 1 && found[0].starts_with("3:16 file `xxx"), "{found:?}");
}

/// R5
#[test]
fn files_that_share_a_url_are_named() {
    let site = format!("{SITE}index: [index.html]\nslashless: true\nstrip_extension: [.html]\n");
    let same = &[("a.html", 1), ("a/index.html", 1)];
    let urls = ["a", "a.html", "a/", "a/index", "a/index.html"].map(|path| format!("a a.cn/x/{path} 01"));
    assert_eq!(entries(&site, &mut shelf("public", same)), urls, "the same content is no conflict");
    let found = problems(&site, &mut shelf("public", &[("a.html", 1), ("a/index.html", 2)]));
    let shared =
        "file `a.html` and file `a/index.html` are both published at `https://a.cn/x/a`, with different hashes";
    assert_eq!(found, [format!("3:16 {shared}")]);
    let two = format!("{SITE}  - checksums: L\n");
    let mut both = shelf("public", &[("a", 1), ("b", 1)]);
    both.files.insert("m/L", vec![("b".into(), 2), ("c".into(), 1)]);
    let conflict = built(&two, &mut both).diagnostics.pop().expect("a conflict");
    assert_eq!(conflict.message, "`https://a.cn/x/b` is listed twice for provider `a`, with different hashes");
    assert_eq!(
        (conflict.label.as_str(), conflict.related[0].2.as_str()),
        ("another hash: line 1", "first listed here: file `b`")
    );
    let listed = format!("{SITE}assets:\n  a: rev:1\n");
    assert_eq!(problems(&listed, &mut shelf("public", &[("a", 1)])).len(), 1);
}

/// A list that names a file twice may have been added to: with the same checksum it is an error as well.
#[test]
fn a_file_that_a_list_names_twice_is_an_error() {
    let site = "base_url: https://b.cn\nsources: [{checksums: SUMS}]\n";
    for (digest, which) in [(1, "the same"), (2, "another")] {
        let found = problems(site, &mut shelf("m/SUMS", &[("b", 1), ("a", 1), ("b", digest)]));
        assert_eq!(found, [format!("2:23 m/SUMS:3: the name of line 1 is listed again with {which} checksum")]);
        let also = format!("{site}assets: {{b: 'blake3:{}'}}\n", "01".repeat(32));
        let found = problems(&also, &mut shelf("m/SUMS", &[("b", 1), ("a", 1), ("b", digest)]));
        assert!(found.len() == 1 && found[0].contains("is listed again with"), "{found:?}");
    }
}

/// A model without any short cut: what each file of a tree stands for.
fn expected(files: &BTreeMap<String, u8>, index: bool, slashless: bool, strip: bool) -> BTreeMap<String, Vec<u8>> {
    let mut urls: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (file, digest) in files {
        let path = url_path(file).into_owned();
        let mut all = vec![format!("/{path}")];
        let name = path.rsplit('/').next().unwrap_or_default();
        let folder = format!("/{}", &path[..path.len() - name.len()]);
        if index && name == "i.h" {
            all.push(folder.clone());
            all.extend(slashless.then(|| folder.trim_end_matches('/').to_owned()));
        }
        let stem = name.strip_suffix(".h").filter(|stem| strip && !["", ".", ".."].contains(stem));
        all.extend(stem.map(|stem| format!("{folder}{stem}")));
        let newer = |path: &String| path.replace("%5B", "[").replace("%5D", "]").replace("%7C", "|");
        let spelled = all.iter().flat_map(|path| [path.clone(), newer(path), newer(path).replace("%5E", "^")]);
        for path in spelled.collect::<BTreeSet<_>>() {
            urls.entry(format!("b.cn/x{path}")).or_default().push(*digest);
        }
    }
    urls
}

proptest! {
    #[test]
    fn an_expansion_is_what_a_simple_model_says(
        files in prop::collection::btree_map("([a-b ü%?~@:]{1,2}/){0,2}(i\\.h|[a-b+#'\"|^*!$&;=,(){}<>\\\\\\[\\]]{1,2}(\\.h)?)", 1..3_u8, 1..9),
        index: bool, slashless: bool, strip: bool,
    ) {
        prop_assume!(files.keys().all(|file| file_path(&url_path(file)).as_deref() == Some(file.as_str())));
        let mut site = SITE.replace("a.cn", "b.cn");
        site += if index { "index: [i.h]\n" } else { "" };
        site += if slashless { "slashless: true\n" } else { "" };
        site += if strip { "strip_extension: [.h]\n" } else { "" };
        let listed: Vec<(&str, u8)> = files.iter().map(|(file, digest)| (file.as_str(), *digest)).collect();
        let expected = expected(&files, index, slashless, strip);
        let mut shelf = shelf("public", &listed);
        if expected.values().any(|digests| digests.windows(2).any(|pair| pair[0] != pair[1])) {
            let found = problems(&site, &mut shelf);
            prop_assert!(!found.is_empty() && found.iter().all(|told| told.contains("are both published at")), "{found:?}");
        } else {
            let urls = |provider: char| expected.iter().map(move |(url, all)| format!("{provider} {url} {:02x}", all[0]));
            prop_assert_eq!(entries(&site, &mut shelf), urls('a').chain(urls('b')).collect::<Vec<_>>());
        }
    }
}

fn site(sources: &str) -> String {
    format!("base_url: https://{}/\nsources:\n{sources}", HOSTS[0])
}

fn bench_of(cloud: &Cloud, sources: &str) -> Bench {
    Bench::at("http-purge", cloud).file("manifests/site.yaml", site(sources))
}

fn url(path: &str) -> String {
    format!("https://{}/{path}", HOSTS[0])
}

/// Checks that a run refuses its manifests, sends nothing and leaves the state as it is.
fn refused(bench: &Bench, cloud: &Cloud, says: &[&str]) {
    refused_when(bench, cloud, says, |verb| bench.run(&[verb]));
}

/// The same of runs that are started in another way.
fn refused_when(bench: &Bench, cloud: &Cloud, says: &[&str], run: impl Fn(&str) -> Ran) {
    let (before, sent) = (bench.recorded(), cloud.purged());
    for verb in ["check", "plan", "adopt", "apply"] {
        let ran = run(verb).exits(2);
        for text in says {
            assert!(ran.stderr.contains(text), "{verb}: `{text}` is not in\n{}", ran.stderr);
        }
    }
    assert_eq!((bench.recorded(), cloud.purged()), (before, sent));
}

fn nothing_to_do(ran: Ran) {
    ran.exits(0).says("Nothing to do");
}

/// A site's life: published, unchanged, one file changed, one removed.
#[test]
fn a_directory_is_purged_as_it_changes() {
    let cloud = Cloud::of("http-purge");
    let bench = bench_of(&cloud, "  - directory: ../public\n    exclude: [drafts/**]\n");
    for name in ["index.html", "a b.html", "js/app.js", "drafts/x"] {
        bench.write(&format!("public/{name}"), name);
    }
    bench.run(&["apply"]).exits(0);
    assert_eq!(bench.recorded().len(), 3);
    nothing_to_do(bench.run(&["apply"]));
    bench.write("public/a b.html", "other");
    bench.run(&["plan", "--exit-code"]).exits(3).says(&url("a%20b.html")).says("1 purge in");
    std::fs::remove_file(bench.path("public/js/app.js")).expect("removed");
    cloud.count();
    bench.run(&["apply"]).exits(0);
    assert_eq!((cloud.count(), bench.recorded().len()), (2, 2));
    bench.run(&["explain", &url("index.html")]).exits(0).says("manifests/site.yaml:3");
}

/// C11, D4: what vanished as a whole is a mistake, never a removal.
#[test]
fn c11_a_source_that_vanished_is_never_a_removal() {
    let cloud = Cloud::of("http-purge");
    let bench = bench_of(&cloud, "  - directory: ../public\n  - checksums: ../SUMS\n")
        .file("public/x/a", "a")
        .file("SUMS", format!("{}  b\n", "0c".repeat(16)));
    bench.run(&["apply"]).exits(0);
    assert_eq!(bench.recorded().len(), 2);
    std::fs::remove_file(bench.path("public/x/a")).expect("removed");
    std::fs::remove_file(bench.path("SUMS")).expect("removed");
    let missing = "SUMS: cannot be read: No such file or directory";
    refused(&bench, &cloud, &["public: is empty", missing, "manifests/site.yaml:3:16", "manifests/site.yaml:4:16"]);
    std::fs::remove_dir_all(bench.path("public")).expect("removed");
    bench.write("SUMS", "\n");
    refused(&bench, &cloud, &["public: does not exist", "SUMS:1: the list is empty"]);
    bench.write("SUMS", format!("{}  b\n{}  c", "0c".repeat(16), "0c".repeat(16)));
    refused(&bench, &cloud, &["SUMS:2: the last line does not end in a line feed"]);
}

/// D1–D3, through the binary: every fault of a directory is reported at once.
#[test]
fn d2_a_directory_that_is_not_certain_purges_nothing() {
    let cloud = Cloud::of("http-purge");
    let bench = bench_of(&cloud, "  - directory: ../public\n").file("public/a", "a").file("secret", "s");
    bench.run(&["apply"]).exits(0);
    bench.write("public/A", "A");
    let warned = bench.run(&["plan"]).exits(0);
    warned.says("public/A: differs from `a` in the case of letters only").says("1 purge in");
    std::os::unix::fs::symlink("../secret", bench.path("public/link")).expect("made");
    std::os::unix::fs::symlink("..", bench.path("public/loop")).expect("made");
    std::os::unix::fs::symlink(".", bench.path("public/circle")).expect("made");
    make_pipe(&bench.path("public/pipe"));
    bench.write("public/new\nline", "");
    std::fs::write(bench.path("public").join(std::ffi::OsStr::from_bytes(b"\xff")), "").expect("written");
    refused(
        &bench,
        &cloud,
        &[
            "public/link: is a symbolic link that leads out of the directory, to `",
            "public/loop: is a symbolic link that leads out of the directory, to `",
            "set `links: follow` to take what it leads to or `links: skip` to leave links out",
            "public/circle: is a symbolic link to a folder that it is in itself",
            "public/pipe: is a FIFO",
            "has the control character U+000A in its name",
            "has a name that is not UTF-8",
        ],
    );
}

/// D1: versioned documentation, where a link moves from one version to the next.
#[test]
fn a_link_that_moves_to_other_pages_purges_them() {
    use std::os::unix::fs::symlink;
    for (keys, target) in [("", "v"), ("    links: follow\n", "../v")] {
        let cloud = Cloud::of("http-purge");
        let bench = bench_of(&cloud, &format!("  - directory: ../public\n{keys}"));
        let of = |version: u32| if target == "v" { format!("public/v{version}") } else { format!("v{version}") };
        for (version, page) in [(1, "one"), (2, "two")] {
            bench.write(&format!("{}/index.html", of(version)), page);
            bench.write(&format!("{}/same.js", of(version)), "same");
        }
        bench.write("public/a", "a");
        symlink(format!("{target}1"), bench.path("public/stable")).expect("made");
        bench.run(&["adopt"]).exits(0);
        assert!(bench.recorded().iter().any(|row| row.contains(&url("stable/index.html"))));
        nothing_to_do(bench.run(&["apply"]));
        std::fs::remove_file(bench.path("public/stable")).expect("removed");
        symlink(format!("{target}2"), bench.path("public/stable")).expect("made");
        bench.run(&["apply"]).exits(0);
        let purged = cloud.purged();
        assert!(purged.len() == 1 && purged[0].ends_with("/stable/index.html"), "{keys}: {purged:?}");
        nothing_to_do(bench.run(&["apply"]));
    }
}

/// S4: the state is not published by another name either.
#[test]
fn a_state_behind_a_link_is_refused() {
    let cloud = Cloud::of("http-purge");
    let bench = bench_of(&cloud, "  - directory: ../public\n    links: follow\n").file("public/a", "a");
    bench.run(&["apply"]).exits(0);
    std::os::unix::fs::symlink("../.freshen", bench.path("public/more")).expect("made");
    bench.run(&["apply"]).exits(2).says("is in this directory and would be published");
}

/// What programs leave for a moment while they write is no page, and is one where it is asked for.
#[test]
fn temporary_files_are_taken_only_where_they_are_asked_for() {
    let cloud = Cloud::of("http-purge");
    let bench = bench_of(&cloud, "  - directory: ../public\n").file("public/a.html", "a");
    for name in [".a.html.Ab12Cd", "a.html~", "video.part"] {
        bench.write(&format!("public/{name}"), "x");
    }
    bench.run(&["apply"]).exits(0);
    assert_eq!(bench.recorded().len(), 1);
    let printed = bench.run(&["scan", "public", "--as", "checksums"]).exits(0).stdout;
    assert_eq!((printed.lines().count(), printed.contains("a.html\n")), (1, true), "{printed}");
    assert_eq!(bench.run(&["scan", "public", "--as", "checksums", "--temporary"]).exits(0).stdout.lines().count(), 4);
    let include = "  - directory: ../public\n    include: [\"*.part\", \"*.html\"]\n";
    bench.write("manifests/site.yaml", site(include));
    bench.run(&["plan"]).exits(0).says("`*.part` in `include` names temporary files").says("`temporary: true`");
    bench.run(&["scan", "public", "--include", "*.part", "--include", "*.html"]).exits(0).says("give `--temporary`");
    bench.write("manifests/site.yaml", site(&format!("{include}    temporary: true\n")));
    bench.run(&["check"]).exits(0).says("Valid");
    bench.write("manifests/site.yaml", site("  - directory: ../public\n    temporary: true\n"));
    bench.run(&["apply"]).exits(0);
    assert_eq!(bench.recorded().len(), 4);
}

/// D1, D4: a path that leads nowhere, in a circle or to the other kind of source is an error of its own.
#[test]
fn d1_paths_of_sources_that_lead_nowhere_purge_nothing() {
    let cloud = Cloud::of("http-purge");
    let bench = bench_of(&cloud, "  - directory: ../public\n").file("public/a", "a");
    bench.run(&["apply"]).exits(0);
    std::os::unix::fs::symlink("circle", bench.path("circle")).expect("made");
    std::os::unix::fs::symlink("gone", bench.path("dangling")).expect("made");
    for (source, message) in [
        ("directory: ../circle", "circle: cannot be read: Too many levels of symbolic links"),
        ("directory: ../dangling", "dangling: does not exist; a missing directory is never taken for a removal"),
        ("directory: ../public/a", "public/a: is not a directory"),
        ("checksums: ../circle", "circle: cannot be read: Too many levels of symbolic links"),
        ("checksums: ../dangling", "dangling: cannot be read: No such file or directory"),
        ("checksums: ../public", "public: is a folder, not a regular file"),
    ] {
        bench.write("manifests/site.yaml", site(&format!("  - {source}\n")));
        refused(&bench, &cloud, &[message, "manifests/site.yaml:3:16"]);
    }
}

/// D2: what may not be read is an error with the system's reason, never a removal.
#[test]
fn d2_files_and_folders_that_may_not_be_read_purge_nothing() {
    let cloud = Cloud::of("http-purge");
    let bench = bench_of(&cloud, "  - directory: ../public\n  - checksums: ../SUMS\n")
        .file("public/a", "a")
        .file("public/locked/b", "b")
        .file("SUMS", format!("{}  c\n", "0c".repeat(16)));
    bench.run(&["apply"]).exits(0);
    assert_eq!(bench.recorded().len(), 3);
    let modes = |mode: u32| {
        for name in ["public/a", "public/locked", "SUMS"] {
            std::fs::set_permissions(bench.path(name), Permissions::from_mode(mode)).expect("ours");
        }
    };
    modes(0);
    let denied = ["public/a", "public/locked", "SUMS"].map(|name| format!("{name}: cannot be read: Permission denied"));
    refused_when(&bench, &cloud, &denied.each_ref().map(String::as_str), |verb| {
        if std::fs::read(bench.path("SUMS")).is_err() {
            return bench.run(&[verb]);
        }
        // The administrator may read everything, unless these rights are taken from the run.
        let rights = "-dac_override,-dac_read_search";
        let before = ["--bounding-set", rights, "--inh-caps", rights];
        Ran::of(&bench.wrapped("setpriv", &before, &[verb]).output().expect("started"))
    });
    modes(0o700);
    nothing_to_do(bench.run(&["apply"]));
}

/// D2: a file that is written to while it is hashed has no hash; the run does not wait for its writer.
#[test]
fn d2_a_file_that_changes_while_it_is_hashed_purges_nothing() {
    let cloud = Cloud::of("http-purge");
    let bench = bench_of(&cloud, "  - directory: ../public\n").file("public/a", "a").file("public/video", "");
    bench.run(&["apply"]).exits(0);
    let mut video = std::fs::File::options().append(true).open(bench.path("public/video")).expect("there");
    // So long that the writer has its turn while it is read; a hole takes no space.
    video.set_len(512 << 20).expect("space");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                video.write_all(b"x").expect("space");
            }
        });
        let refusal = catch_unwind(AssertUnwindSafe(|| {
            refused(&bench, &cloud, &["public/video: changed while it was read, twice; run again when it is written"]);
        }));
        is_over.store(true, Ordering::Relaxed);
        refusal.unwrap_or_else(|panic| resume_unwind(panic));
    });
    bench.run(&["plan", "--exit-code"]).exits(3).says(&url("video"));
}

/// D1, D3: every line of a list that is wrong is reported with its number.
#[test]
fn d3_a_list_with_names_that_are_none_purges_nothing() {
    let cloud = Cloud::of("http-purge");
    let bench = bench_of(&cloud, "  - checksums: ../SUMS\n").file("SUMS", format!("{}  a\n", "0c".repeat(16)));
    bench.run(&["apply"]).exits(0);
    let digest = "0d".repeat(16);
    let mut list = Vec::new();
    for name in [&b"/etc/passwd"[..], b"../x", b"a//b", b"\xff", b"twice", b"twice", b"fine"] {
        list.extend_from_slice(format!("{digest}  ").as_bytes());
        list.extend_from_slice(name);
        list.push(b'\n');
    }
    list.extend_from_slice(format!("\\{digest}  new\\nline\nnonsense\n").as_bytes());
    bench.write("SUMS", list);
    let lines = [
        "SUMS:1: an absolute path",
        "SUMS:2: `..` in a path",
        "SUMS:3: an empty part in a path",
        "SUMS:4: a name that is not UTF-8",
        "SUMS:6: the name of line 5 is listed again with the same checksum",
        "SUMS:8: a control character in a name",
        "SUMS:9: no line of a checksum list",
        "manifests/site.yaml:3:16",
    ];
    refused(&bench, &cloud, &lines);
    std::fs::remove_file(bench.path("SUMS")).expect("removed");
    make_pipe(&bench.path("SUMS"));
    refused(&bench, &cloud, &["SUMS: is a FIFO, not a regular file"]);
}

/// A rebuild that changes nothing but what `normalize` names is no change.
#[test]
fn what_is_normalised_is_no_change() {
    let cloud = Cloud::of("http-purge");
    let bench = bench_of(&cloud, "  - directory: ../public\n    normalize: ['<!-- build .*? -->']\n")
        .file("public/a.html", "a<!-- build 1 -->");
    bench.run(&["apply"]).exits(0);
    bench.write("public/a.html", "a<!-- build 2 -->");
    nothing_to_do(bench.run(&["apply"]));
    bench.write("public/a.html", "b<!-- build 2 -->");
    bench.run(&["plan", "--exit-code"]).exits(3);
}

/// A list whose algorithm nothing shows is SHA-256; it can be declared.
#[test]
fn the_algorithm_of_a_list_can_be_declared() {
    let cloud = Cloud::of("http-purge");
    let list = format!("{}  a\n", "0c".repeat(32));
    let sources = "  - checksums: ../SUMS\n    algorithm: blake3\n";
    let bench = bench_of(&cloud, sources).file("SUMS", &list).file("x.b3", &list);
    bench.run(&["adopt"]).exits(0);
    assert!(bench.recorded()[0].ends_with(&format!("blake3:{}", "0c".repeat(32))));
    bench.write("manifests/site.yaml", site("  - checksums: ../x.b3\n"));
    nothing_to_do(bench.run(&["apply"]));
    bench.write("manifests/site.yaml", site("  - checksums: ../SUMS\n"));
    bench.run(&["plan"]).exits(0).says("1 purge in");
}

fn caches(bench: &Bench) -> SqliteStore {
    SqliteStore::open_caches(&bench.path(STATE)).expect("a state")
}

fn files_below(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path());
    entries.map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

/// What was read is kept by runs that write, once for each directory and all rules; what is gone is dropped. The
/// folder was written long enough ago: younger files are always read.
#[test]
fn stat_caches_are_kept_by_runs_that_write() {
    let cloud = Cloud::of("http-purge");
    let docs = format!("{}/docs", env!("CARGO_MANIFEST_DIR"));
    let bench = bench_of(&cloud, &format!("  - directory: {docs}\n    include: [a*.md]\n  - directory: ../young\n"))
        .file("young/x", "x");
    bench.run(&["apply"]).exits(0);
    let canonical = std::fs::canonicalize(&docs).expect("there").to_str().expect("UTF-8").to_owned();
    let young = std::fs::canonicalize(bench.path("young")).expect("there").to_str().expect("UTF-8").to_owned();
    let rules = tree::fingerprint(&TreeRules::default().normalizer);
    let cached =
        |directory: &str| caches(&bench).stat_cache(directory, &rules).map(|bytes| StatCache::from_bytes(&bytes).len());
    assert_eq!((cached(&canonical), cached(&young)), (Some(1), None));
    let gone = StatCacheRow { directory: format!("{young}/gone"), rules, content: Vec::new() };
    let mut store = SqliteStore::open_to_write(&bench.path(STATE)).expect("sound").expect("there");
    store.keep_stat_caches(&[gone], &[]).expect("written");
    drop(store);
    let part = |patterns: &str| format!("  - directory: {docs}\n    {patterns}: [a*.md]\n");
    bench.write("manifests/site.yaml", site(&(part("include") + &part("exclude"))));
    bench.run(&["plan"]).exits(0);
    assert_eq!(cached(&canonical), Some(1), "who only looks writes nothing");
    bench.run(&["apply"]).exits(0);
    let files = files_below(docs.as_ref());
    assert_eq!(cached(&canonical), Some(files), "both parts");
    assert_eq!(caches(&bench).cached_directories().expect("readable"), [canonical.as_str()]);
    let serial = || caches(&bench).identity().expect("readable").serial;
    let before = serial();
    nothing_to_do(bench.run(&["apply"]));
    assert_eq!(serial(), before, "nothing is written when nothing was read");
    bench.write("manifests/site.yaml", site(&part("exclude")));
    bench.run(&["adopt"]).exits(0);
    assert_eq!(cached(&canonical), Some(files - 1));
}

/// A cache that says something else than the file shows that it is used, by `plan` and by `apply`.
#[test]
fn an_unchanged_file_is_not_read_again() {
    let cloud = Cloud::of("http-purge");
    let bench = bench_of(&cloud, "  - directory: ../public\n").file("public/a", "a");
    bench.run(&["adopt"]).exits(0);
    nothing_to_do(bench.run(&["apply"]));
    let folder = bench.path("public");
    let tree = tree::scan(&folder, &TreeRules::default(), &StatCache::default(), &AtomicU64::new(0)).expect("sound");
    let cache = tree.into_stat_cache(Timestamp::from_unix_ms(i64::MAX / 2_000_000));
    let (rules, mut content) = (cache.rules(), cache.to_bytes());
    let digest = content.len() - 2 * 32;
    content[digest] ^= 1;
    let body = content.len() - 32;
    let checksum = *blake3::hash(&content[..body]).as_bytes();
    content[body..].copy_from_slice(&checksum);
    let directory = std::fs::canonicalize(&folder).expect("there").to_str().expect("UTF-8").to_owned();
    let keep = |content: Vec<u8>| {
        let row = StatCacheRow { directory: directory.clone(), rules, content };
        let mut store = SqliteStore::open_to_write(&bench.path(STATE)).expect("sound").expect("there");
        store.keep_stat_caches(&[row], &[]).expect("written");
    };
    keep(content.clone());
    bench.run(&["plan", "--exit-code"]).exits(3).says(&url("a"));
    content[digest] ^= 1;
    keep(content);
    bench.run(&["plan", "--exit-code"]).exits(0);
}

/// What browsers ask for is purged whatever names the file, and a name that is written in one spelling comes with a warning.
#[test]
fn names_are_purged_as_browsers_spell_them() {
    let files = &[("[slug]-1.js", 1), ("a|b.html", 1), ("x^y", 1), ("{id}", 1)];
    let paths = ["%5Bslug%5D-1.js", "%7Bid%7D", "[slug]-1.js", "a%7Cb.html", "a|b.html", "x%5Ey", "x^y"];
    let urls = paths.map(|path| format!("a a.cn/x/{path} 01"));
    assert_eq!(entries(SITE, &mut shelf("public", files)), urls);
    let list = SITE.replace("directory: ../public", "checksums: L");
    assert_eq!(entries(&list, &mut shelf("m/L", files)), urls);
    let hash = format!("blake3:{}", "01".repeat(32));
    let keys =
        |paths: &[&str]| paths.iter().fold(String::new(), |text, path| text + &format!("  \"{path}\": {hash}\n"));
    let listed = |paths: &[&str]| format!("base_url: https://a.cn/x\nassets:\n{}", keys(paths));
    assert_eq!(entries(&listed(&paths), &mut Shelf::default()), urls, "no warning where all are listed");
    for (path, other) in [
        ("%5Bslug%5D.js", "`[slug].js`"),
        ("%5bslug].js", "`[slug].js`"),
        ("a%7Cb", "`a|b`"),
        ("x^y", "`x%5Ey`"),
        ("https://a.cn/%5E?q=^", "`https://a.cn/^?q=^`"),
    ] {
        let built = built(&listed(&[path]), &mut Shelf::default());
        let helps: Vec<&str> = built.diagnostics.iter().filter_map(|found| found.help.as_deref()).collect();
        assert!(helps.iter().any(|help| help.contains(other)), "{path}: {helps:?}");
        assert_eq!(built.model.expect("only warnings").entries.len(), 1, "{path} is sent as it is written");
    }
    for path in ["[slug].js", "a|b", "{id}"] {
        let built = built(&listed(&[path]), &mut Shelf::default());
        let told = built.diagnostics.iter().any(|found| found.message.contains("browsers"));
        assert!(!told, "{path}: {:?}", built.diagnostics);
    }
}

#[test]
fn folders_before_all_names_are_stripped() {
    let list = "base_url: https://a.cn/x/\nsources:\n  - {checksums: L, strip_prefix: dist/}\nindex: i.h\n";
    let found = entries(list, &mut shelf("m/L", &[("dist/app.zip", 1), ("dist/i.h", 2), ("dist/dist/a", 3)]));
    assert_eq!(found, ["a a.cn/x/ 02", "a a.cn/x/app.zip 01", "a a.cn/x/dist/a 03", "a a.cn/x/i.h 02"]);
    let other = "a name that does not begin with the `strip_prefix`";
    let found = problems(list, &mut shelf("m/L", &[("dist/a", 1), ("secret", 1), ("dist2/a", 1)]));
    assert_eq!(found, [format!("3:17 m/L:2: {other}"), format!("3:17 m/L:3: {other}")]);
    let directory = SITE.replace("../public\n", "../public\n    strip_prefix: dist/b/\n");
    assert_eq!(entries(&directory, &mut shelf("public", &[("dist/b/c", 1)])), ["a a.cn/x/c 01"]);
    let found = problems(&directory, &mut shelf("public", &[("dist/b/c", 1), ("dist/c", 1)]));
    assert_eq!(found, [format!("3:16 file `dist/c`: {other}")]);
    for prefix in ["dist", "/dist/", "./dist/", "../dist/", "a//b/", "/", "a/../"] {
        let text = list.replace("dist/}", &format!("{prefix}}}"));
        let found = problems(&text, &mut shelf("m/L", &[("dist/a", 1)]));
        assert!(found.len() == 1 && found[0].contains("is of no use in `strip_prefix`"), "{prefix}: {found:?}");
    }
    let twice = problems(list, &mut shelf("m/L", &[("dist/a", 1), ("dist/a", 2)]));
    assert_eq!(twice, ["3:17 m/L:2: the name of line 1 is listed again with another checksum"]);
}
