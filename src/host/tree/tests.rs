//! Directories as they should not be, and what is not read again.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::file_stamp::FileStamp;
use super::*;

/// Long after everything that the tests write.
const LATER: Timestamp = Timestamp::from_unix_ms(i64::MAX / 2_000_000);

fn tree_of(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn rules(include: &[&str], exclude: &[&str], normalize: &[&str]) -> TreeRules {
    TreeRules {
        patterns: FilePatterns::compile(include, exclude).unwrap(),
        normalizer: Normalizer::compile(normalize).unwrap(),
        walk: WalkRules::default(),
    }
}

fn with_links(links: Links) -> TreeRules {
    TreeRules { walk: WalkRules { links, temporary: false }, ..TreeRules::default() }
}

fn scanned(folder: &Path, rules: &TreeRules, cache: &StatCache) -> Result<Tree, Vec<String>> {
    let below = |problem: &TreeProblem| problem.to_string().replace(&folder.display().to_string(), "DIR");
    scan(folder, rules, cache, &AtomicU64::new(0)).map_err(|problems| problems.iter().map(below).collect())
}

fn plain(folder: &Path) -> Result<Tree, Vec<String>> {
    scanned(folder, &TreeRules::default(), &StatCache::default())
}

fn names(tree: &Tree) -> Vec<&str> {
    tree.files().map(|file| file.path).collect()
}

#[test]
fn every_file_is_listed_in_byte_order_with_the_hash_of_its_content() {
    let folder = tree_of(&[("b/c.js", "c"), ("b-a", "x"), (".well-known/x", ""), (".gitignore", "*"), ("ä", "ä")]);
    let tree = plain(folder.path()).unwrap();
    assert_eq!(names(&tree), [".gitignore", ".well-known/x", "b-a", "b/c.js", "ä"]);
    for file in tree.files() {
        let content = fs::read(folder.path().join(file.path)).unwrap();
        assert_eq!((file.digest, file.size), (blake3::hash(&content).as_bytes(), content.len() as u64), "{file:?}");
        assert_eq!(tree.get(file.path), Some(file));
    }
    assert_eq!(tree.files_read(), 5);
    let html = scanned(folder.path(), &rules(&["**/*.js", "b*"], &["b-*"], &[]), &StatCache::default()).unwrap();
    assert_eq!(names(&html), ["b/c.js"]);
}

// D5: at and around every border between whole reads, pieces and the processor's widths.
#[test]
fn large_files_have_the_hash_of_their_content() {
    let folder = tree_of(&[]);
    let content: Vec<u8> = (0..3 * 256 * 1024 + 7_u32).map(|at| at.wrapping_mul(at).to_le_bytes()[1]).collect();
    let sizes = [1, 255, 262_143, 262_144, 262_145, 524_288, content.len()];
    for size in sizes {
        fs::write(folder.path().join(size.to_string()), &content[..size]).unwrap();
    }
    for rules in [TreeRules::default(), rules(&[], &[], &["never"])] {
        let tree = scanned(folder.path(), &rules, &StatCache::default()).unwrap();
        for size in sizes {
            let file = tree.get(&size.to_string()).unwrap();
            assert_eq!(file.digest, blake3::hash(&content[..size]).as_bytes(), "{size}");
        }
    }
}

// D4, C11
#[test]
fn a_directory_that_is_missing_or_empty_is_an_error() {
    let folder = tree_of(&[("a", "")]);
    let error = |path: &Path| plain(path).unwrap_err().join("; ");
    assert!(error(&folder.path().join("gone")).starts_with("DIR: does not exist"));
    assert!(error(&folder.path().join("a")).starts_with("DIR: is not a directory"));
    let left_out = scanned(folder.path(), &rules(&["*.html"], &[], &[]), &StatCache::default()).unwrap_err();
    assert!(left_out[0].starts_with("DIR: no file here is taken"), "{left_out:?}");
    fs::remove_file(folder.path().join("a")).unwrap();
    fs::create_dir(folder.path().join("b")).unwrap();
    assert!(error(folder.path()).starts_with("DIR: is empty"));
    symlink("b", folder.path().join("c")).unwrap();
    assert!(error(folder.path()).starts_with("DIR: no file here is taken"));
}

/// As versioned documentation has them: a folder by several names, of which one moves.
#[test]
fn links_are_followed_while_they_stay_in_the_directory() {
    let folder =
        tree_of(&[("v1/index.html", "one"), ("v2/index.html", "two"), ("v2/deep/a.js", "a"), ("skipped/b", "")]);
    let link = |to: &Path, at: &str| symlink(to, folder.path().join(at)).unwrap();
    link(Path::new("v1"), "stable");
    link(&folder.path().join("v2"), "latest");
    link(Path::new("stable"), "lts");
    link(Path::new("../v1/index.html"), "v2/old.html");
    link(Path::new("v2"), "hidden");
    let rules = rules(&[], &["skipped/**", "hidden"], &[]);
    let tree = scanned(folder.path(), &rules, &StatCache::default()).unwrap();
    assert_eq!(
        names(&tree),
        [
            "latest/deep/a.js",
            "latest/index.html",
            "latest/old.html",
            "lts/index.html",
            "stable/index.html",
            "v1/index.html",
            "v2/deep/a.js",
            "v2/index.html",
            "v2/old.html"
        ]
    );
    assert!(tree.warnings.is_empty(), "{:?}", tree.warnings);
    let of = |tree: &Tree, path: &str| *tree.get(path).unwrap().digest;
    for (path, content) in [("stable/index.html", "one"), ("latest/index.html", "two"), ("v2/old.html", "one")] {
        assert_eq!(of(&tree, path), *blake3::hash(content.as_bytes()).as_bytes(), "{path}");
    }
    let root = folder.path().canonicalize().unwrap();
    let reaches = |path: &str| tree.reaches(&root, &rules, &root.join(path));
    assert!(reaches("v1/index.html") && !reaches("skipped/b"));
    assert!(reaches("v1/later.db") && !reaches("later.db"), "what is not there yet");
    // What the cache knows of a file holds by all of its names; a link that moves is seen.
    let cache = StatCache::from_bytes(&tree.into_stat_cache(LATER).to_bytes());
    assert_eq!(scanned(folder.path(), &rules, &cache).unwrap().files_read(), 0);
    fs::remove_file(folder.path().join("stable")).unwrap();
    link(Path::new("v2"), "stable");
    let moved = scanned(folder.path(), &rules, &cache).unwrap();
    assert_eq!((moved.files_read(), of(&moved, "stable/index.html")), (0, *blake3::hash(b"two").as_bytes()));
    assert!(moved.get("lts/deep/a.js").is_some());
    // None of them.
    let skipped = scanned(folder.path(), &with_links(Links::Skip), &StatCache::default()).unwrap();
    assert_eq!(names(&skipped), ["skipped/b", "v1/index.html", "v2/deep/a.js", "v2/index.html"]);
}

/// A link may lead to what is not taken by its own path.
#[test]
fn patterns_hold_for_the_paths_over_links() {
    let folder = tree_of(&[("v1/index.html", "one"), ("v1/drafts/x", "")]);
    symlink("v1", folder.path().join("stable")).unwrap();
    let tree =
        scanned(folder.path(), &rules(&["stable/**"], &["stable/drafts/**"], &[]), &StatCache::default()).unwrap();
    assert_eq!(names(&tree), ["stable/index.html"]);
    let cache = tree.into_stat_cache(LATER);
    let all = scanned(folder.path(), &TreeRules::default(), &cache).unwrap();
    assert_eq!((all.files().len(), all.files_read()), (4, 2), "what was read by one name is known by the other");
}

// D1
#[test]
fn links_that_lead_out_are_errors_unless_they_are_asked_for() {
    let outside = tree_of(&[("secret.html", "x"), ("deep/a", "a")]);
    let folder = tree_of(&[("a.html", ""), ("skipped/b.html", "")]);
    let link = |to: &Path, at: &str| symlink(to, folder.path().join(at)).unwrap();
    link(outside.path(), "escape");
    link(&outside.path().join("secret.html"), "c.html");
    link(&outside.path().join("secret.html"), "e.txt");
    link(outside.path(), "skipped/d");
    let strict = rules(&["**/*.html"], &["skipped/**"], &[]);
    let errors = scanned(folder.path(), &strict, &StatCache::default()).unwrap_err();
    let real = outside.path().canonicalize().unwrap();
    let out = |name: &str, to: &Path| {
        format!(
            "DIR/{name}: is a symbolic link that leads out of the directory, to `{}`; set `links: follow` to take what it leads \
             to or `links: skip` to leave links out, or `exclude` it",
            to.display()
        )
    };
    assert_eq!(errors, [out("c.html", &real.join("secret.html")), out("escape", &real)]);
    let followed = scanned(folder.path(), &with_links(Links::Follow), &StatCache::default()).unwrap();
    assert_eq!(followed.files().len(), 8);
    assert_eq!(followed.get("escape/deep/a").unwrap().digest, blake3::hash(b"a").as_bytes());
    let reaches = |path: &Path| followed.reaches(folder.path(), &with_links(Links::Follow), path);
    assert!(reaches(&real.join("deep/a")) && reaches(&real.join("deep/later.db")));
    let cache = followed.into_stat_cache(LATER);
    assert_eq!(scanned(folder.path(), &with_links(Links::Follow), &cache).unwrap().files_read(), 0);
    // The directory itself may be a link, as releases are switched.
    let current = outside.path().join("current");
    symlink(folder.path().join("skipped"), &current).unwrap();
    assert_eq!(names(&scanned(&current, &with_links(Links::Skip), &StatCache::default()).unwrap()), ["b.html"]);
}

// D1
#[test]
fn links_that_never_end_or_lead_to_nothing_are_errors() {
    let end = "; mend, remove or `exclude` it, or set `links: skip`";
    for (links, path, message) in [
        (&[("circle", ".")][..], "circle", "is a symbolic link to a folder that it is in itself"),
        (&[("a/up", "..")], "a/up", "is a symbolic link to a folder that it is in itself"),
        (&[("a/x", "../b"), ("b/y", "../a")], "a/x/y", "is a symbolic link to a folder that it is in itself"),
        (&[("x", "y"), ("y", "x")], "x", "is a symbolic link that cannot be followed: Too many levels"),
        (&[("self", "self")], "self", "is a symbolic link that cannot be followed: Too many levels"),
        (&[("gone.html", "nowhere")], "gone.html", "is a symbolic link that leads to nothing"),
    ] {
        let folder = tree_of(&[("a/x.html", ""), ("b/y.html", "")]);
        for (at, to) in links {
            symlink(to, folder.path().join(at)).unwrap();
        }
        let errors = plain(folder.path()).unwrap_err();
        assert!(errors[0].starts_with(&format!("DIR/{path}: {message}")), "{errors:?}");
        assert!(errors[0].ends_with(end) || errors[0].contains("never end"), "{errors:?}");
        assert!(errors.len() <= 2, "{errors:?}");
        assert_eq!(scanned(folder.path(), &with_links(Links::Skip), &StatCache::default()).unwrap().files().len(), 2);
        let excluded: Vec<&str> = links.iter().map(|(at, _)| *at).collect();
        assert!(scanned(folder.path(), &rules(&[], &excluded, &[]), &StatCache::default()).is_ok());
    }
}

/// Folders that link each other have more paths than anybody can walk: here two to the power of forty.
#[test]
fn folders_that_multiply_over_links_are_an_error() {
    let folder = tree_of(&[("40/x", "")]);
    for level in 0..40 {
        fs::create_dir(folder.path().join(level.to_string())).unwrap();
        for twin in ["a", "b"] {
            symlink(format!("../{}", level + 1), folder.path().join(format!("{level}/{twin}"))).unwrap();
        }
    }
    let errors = plain(folder.path()).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("more than 10000 folders that are reached over symbolic links"), "{errors:?}");
}

#[test]
fn temporary_files_are_no_pages_unless_they_are_asked_for() {
    let temporary = [".a.html.Ab12Cd", "a.html~", ".a.html.swp", "x/.#b", "x/4913", "x/video.part", ".~tmp~/c.html"];
    let folder = tree_of(&[("a.html", ""), ("x.part/b.html", "")]);
    for name in temporary {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    // As Emacs locks a file: it leads nowhere.
    symlink("me@host.1:2", folder.path().join(".#a.html")).unwrap();
    assert_eq!(names(&plain(folder.path()).unwrap()), ["a.html", "x.part/b.html"]);
    fs::remove_file(folder.path().join(".#a.html")).unwrap();
    let rules = TreeRules { walk: WalkRules { temporary: true, ..WalkRules::default() }, ..TreeRules::default() };
    let all = scanned(folder.path(), &rules, &StatCache::default()).unwrap();
    assert_eq!(all.files().len(), 2 + temporary.len());
}

// D1: what a folder becomes between the walk and the reading.
#[test]
fn no_file_is_opened_over_a_link_in_its_path() {
    let outside = tree_of(&[("x", "secret")]);
    let folder = tree_of(&[("real/x", "x")]);
    symlink(outside.path(), folder.path().join("swapped")).unwrap();
    symlink("real", folder.path().join("inner")).unwrap();
    let root = Root::open(folder.path(), Mount::of).unwrap();
    assert!(root.file("real/x").is_ok());
    for path in ["swapped/x", "inner/x", "swapped"] {
        assert!(root.file(path).is_err(), "{path}");
    }
}

// D2: an open that waits for a writer would hang here.
#[test]
#[expect(clippy::disallowed_methods, reason = "only a program can make a FIFO without unsafe code")]
fn what_is_no_regular_file_is_an_error_and_never_opened() {
    let folder = tree_of(&[("a", "")]);
    assert!(std::process::Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
    let help = "not a regular file; remove or exclude it";
    let errors = plain(folder.path()).unwrap_err();
    assert_eq!(errors, [format!("DIR/pipe: is a FIFO, {help}"), format!("DIR/socket: is a socket, {help}")]);
    // A FIFO that takes a file's place after the walk saw the file.
    let root = Root::open(folder.path(), Mount::of).unwrap();
    let late = content::digest(&root, "pipe", &Normalizer::default(), &mut Vec::new());
    assert_eq!(late.unwrap_err(), format!("is a FIFO, {help}"));
    let others = scanned(folder.path(), &rules(&[], &["pipe", "socket"], &[]), &StatCache::default()).unwrap();
    assert_eq!(names(&others), ["a"]);
}

// D2
#[test]
fn what_cannot_be_read_is_an_error_of_its_own() {
    let folder = tree_of(&[("a", ""), ("locked/b", ""), ("excluded/c", ""), ("d", "")]);
    let mode = |name: &str, mode: u32| {
        fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    for name in ["locked", "excluded", "d"] {
        mode(name, 0);
    }
    let result = scanned(folder.path(), &rules(&[], &["excluded/**"], &[]), &StatCache::default());
    // The system lets its administrator read everything.
    let is_unlimited = fs::read(folder.path().join("d")).is_ok();
    for name in ["locked", "excluded"] {
        mode(name, 0o700);
    }
    if is_unlimited {
        assert_eq!(names(&result.unwrap()), ["a", "d", "locked/b"]);
    } else {
        let errors = result.unwrap_err();
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0].starts_with("DIR/d: cannot be read: Permission denied"), "{errors:?}");
        assert!(errors[1].starts_with("DIR/locked: cannot be read: "), "{errors:?}");
    }
}

// D2
#[test]
fn a_file_that_changes_or_vanishes_while_it_is_read_is_read_once_more_and_then_an_error() {
    let folder = tree_of(&[("a", "one")]);
    let (root, path) = (Root::open(folder.path(), Mount::of).unwrap(), folder.path().join("a"));
    let attempt = |writes: usize| {
        let mut attempts = 0;
        let result = content::stable(&root, "a", |_, size| {
            attempts += 1;
            if attempts <= writes {
                fs::write(&path, "x".repeat(10 * attempts)).unwrap();
            }
            Ok((size, attempts))
        });
        result.map(|(_, attempts)| attempts)
    };
    assert_eq!(attempt(0), Ok(1));
    assert_eq!(attempt(1), Ok(2));
    assert_eq!(attempt(2), Err("changed while it was read, twice; run again when it is written".to_owned()));
    let short = content::stable(&root, "a", |_, size| Ok((size - 1, ())));
    assert!(short.unwrap_err().starts_with("changed while it was read"), "fewer bytes than it had");
    let gone = content::digest(&root, "b", &Normalizer::default(), &mut Vec::new());
    assert!(gone.unwrap_err().starts_with("vanished while the directory was read"));
}

// D3
#[test]
fn names_that_cannot_stand_in_a_manifest_are_errors() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tree_of(&[("a b%?#", ""), ("line\nfeed", ""), ("tab\t/a", "")]);
    fs::write(folder.path().join(std::ffi::OsStr::from_bytes(b"\xff")), "").unwrap();
    let errors = plain(folder.path()).unwrap_err();
    assert_eq!(
        errors,
        [
            "DIR/line\\u{a}feed: has the control character U+000A in its name; rename or exclude it",
            "DIR/tab\\u{9}/a: has the control character U+0009 in its name; rename or exclude it",
            "DIR/\u{fffd}: has a name that is not UTF-8; rename or exclude it",
        ]
    );
    let rest = scanned(folder.path(), &rules(&["a*"], &[], &[]), &StatCache::default()).unwrap();
    assert_eq!(names(&rest), ["a b%?#"]);
}

// D3
#[test]
fn names_that_differ_in_case_only_are_told() {
    let folder = tree_of(&[("a/x", ""), ("A/X", ""), ("a/X", ""), ("É", ""), ("é", ""), ("Only", "")]);
    let tree = plain(folder.path()).unwrap();
    let told = |problem: &TreeProblem| {
        let path = Path::new(&problem.path).strip_prefix(folder.path()).unwrap();
        format!("{} {}", path.display(), problem.message)
    };
    let warnings: Vec<String> = tree.warnings.iter().map(told).collect();
    let differs = |path: &str, twin: &str| format!("{path} differs from `{twin}` in the case of letters only");
    assert_eq!(warnings, [differs("A/X", "a/x"), differs("a/X", "A/X"), differs("É", "é")]);
}

#[test]
fn an_unchanged_tree_is_not_read_again() {
    let folder = tree_of(&[("a", "1"), ("b/c", "2"), ("b/d", "3")]);
    let first = plain(folder.path()).unwrap();
    let digests = |tree: &Tree| tree.files().map(|file| (file.path.to_owned(), *file.digest)).collect::<Vec<_>>();
    let expected = digests(&first);
    let cache = StatCache::from_bytes(&first.into_stat_cache(LATER).to_bytes());
    assert_eq!(cache.len(), 3);
    let again = scanned(folder.path(), &TreeRules::default(), &cache).unwrap();
    assert_eq!((again.files_read(), digests(&again)), (0, expected));

    fs::write(folder.path().join("b/c"), "44").unwrap();
    let changed = scanned(folder.path(), &TreeRules::default(), &cache).unwrap();
    assert_eq!(changed.files_read(), 1);
    assert_eq!(changed.get("b/c").unwrap().digest, blake3::hash(b"44").as_bytes());
}

// D4: an image of fixed times that takes the place of another one shows nothing of it in its stamps.
#[test]
fn files_of_a_read_only_mount_are_read_unless_their_times_differ() {
    let folder = tree_of(&[("a", "1"), ("b", "2"), ("kept", "3")]);
    let path = folder.path().join("kept");
    fs::File::options().write(true).open(path).unwrap().set_modified(UNIX_EPOCH).unwrap();
    for name in ["a", "b"] {
        let metadata = fs::metadata(folder.path().join(name)).unwrap();
        assert_eq!(FileStamp::of(&metadata).modified_ns, FileStamp::of(&metadata).changed_ns, "as images have it");
    }
    let cache = plain(folder.path()).unwrap().into_stat_cache(LATER);
    let read = |mount_of: fn(&Path) -> Mount| {
        let seen = AtomicU64::new(0);
        scan_on(mount_of, folder.path(), &TreeRules::default(), &cache, &seen).unwrap().files_read()
    };
    assert_eq!((read(|_| Mount::ReadOnly), read(|_| Mount::Layered), read(|_| Mount::Writable)), (2, 0, 0));
}

// Tools set times back; the time of the last change and the inode cannot be set.
#[test]
fn a_file_with_the_size_and_time_of_the_old_one_is_read() {
    let folder = tree_of(&[("a", "1"), ("b", "1")]);
    let cache = plain(folder.path()).unwrap().into_stat_cache(LATER);
    for name in ["a", "b"] {
        let path = folder.path().join(name);
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        let new = folder.path().join("new");
        fs::write(&new, "2").unwrap();
        fs::File::options().write(true).open(&new).unwrap().set_modified(modified).unwrap();
        fs::rename(&new, &path).unwrap();
    }
    let tree = scanned(folder.path(), &TreeRules::default(), &cache).unwrap();
    assert!(tree.files().all(|file| file.digest == blake3::hash(b"2").as_bytes()));
}

#[test]
fn a_file_that_changed_shortly_before_the_scan_is_not_trusted() {
    let folder = tree_of(&[("a", "1")]);
    let file = fs::metadata(folder.path().join("a")).unwrap().modified().unwrap();
    let written = i64::try_from(file.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let known = |after_ms: i64| {
        let started = Timestamp::from_unix_ms(written + after_ms);
        plain(folder.path()).unwrap().into_stat_cache(started).len()
    };
    assert_eq!([-1000, 0, 1999, 2002].map(known), [0, 0, 0, 1]);
    // A time in the future may come again.
    let future = UNIX_EPOCH + Duration::from_hours(1_000_000);
    fs::File::options().write(true).open(folder.path().join("a")).unwrap().set_modified(future).unwrap();
    assert_eq!(known(60_000), 0);
}

#[test]
fn other_expressions_make_the_cache_void_and_patterns_do_not() {
    let folder = tree_of(&[("a", "build 1"), ("b", "x")]);
    let with = |normalize: &[&str]| rules(&[], &[], normalize);
    let expressions = ["build [0-9]", "xyz"];
    let first = scanned(folder.path(), &with(&expressions), &StatCache::default()).unwrap();
    assert_eq!(first.get("a").unwrap().digest, blake3::hash(b"").as_bytes());
    assert_eq!(first.get("b").unwrap().digest, blake3::hash(b"x").as_bytes());
    let cache = first.into_stat_cache(LATER);
    let read = |rules: &TreeRules| scanned(folder.path(), rules, &cache).unwrap().files_read();
    assert_eq!(read(&with(&expressions)), 0);
    assert_eq!(read(&rules(&["a"], &["c"], &expressions)), 0);
    for other in [&[][..], &["build [0-9]"], &["build [0-9]x", "yz"]] {
        assert_eq!(read(&with(other)), 2, "{other:?}");
    }
}

#[test]
fn garbage_is_an_empty_cache() {
    let folder = tree_of(&[("a", "1"), ("b", "2")]);
    let bytes = plain(folder.path()).unwrap().into_stat_cache(LATER).to_bytes();
    assert_eq!(StatCache::from_bytes(&bytes).to_bytes(), bytes);
    for cut in 0..bytes.len() {
        assert!(StatCache::from_bytes(&bytes[..cut]).is_empty(), "{cut}");
        let mut flipped = bytes.clone();
        flipped[cut] ^= 1;
        assert!(StatCache::from_bytes(&flipped).is_empty(), "{cut}");
        // Even with a checksum that is right.
        let body = &flipped[..cut.min(bytes.len() - 32)];
        StatCache::from_bytes(&[body, blake3::hash(body).as_bytes()].concat());
    }
}

#[test]
fn digests_of_other_algorithms_are_those_of_the_usual_programs() {
    let folder = tree_of(&[("abc", "abc"), ("b", "b")]);
    let wanted = |path, algorithm| Wanted { path, algorithm };
    symlink("abc", folder.path().join("link")).unwrap();
    symlink("/proc/version", folder.path().join("out")).unwrap();
    let of = |paths: &[&'static str]| {
        let wanted: Vec<Wanted<'_>> = paths.iter().map(|path| wanted(path, Algorithm::Md5)).collect();
        digests(folder.path(), &wanted, Links::Inside)
    };
    assert_eq!(of(&["abc"]), of(&["link"]));
    assert!(of(&["out"]).unwrap_err()[0].message.contains("leads out of the directory"));
    let hashes =
        digests(folder.path(), &Algorithm::ALL.map(|algorithm| wanted("abc", algorithm)), Links::Inside).unwrap();
    let begins = [
        "blake3:6437b3ac38465133",
        "sha256:ba7816bf8f01cfea",
        "sha1:a9993e364706816a",
        "sha384:cb00753f45a35e8b",
        "sha512:ddaf35a193617aba",
        "md5:900150983cd24fb0",
    ];
    for (hash, begin) in hashes.iter().zip(begins) {
        assert!(hash.as_str().starts_with(begin), "{hash}");
    }
    let errors = of(&["abc", "gone"]).unwrap_err();
    assert!(errors[0].path.ends_with("gone") && errors.len() == 1, "{errors:?}");
}
