//! `freshen scan`, and lists as the usual programs write them.

use std::io::Write;
use std::process::{Command, Stdio};

use freshen::manifest::checksums::{ChecksumReader, algorithm_of_list};

use crate::support::cli::{Bench, Ran, make_pipe};
use crate::support::cloud::{Cloud, HOSTS};

/// Names that readers of YAML, URLs and lists make something else of.
const NASTY: [&str; 14] = [
    "index.html",
    "null",
    "0123",
    "a b.js",
    "a+b~c'd.js",
    "100%.html",
    "a%20b.html",
    "what?.html",
    "x#y.html",
    "- a: b",
    "back\\slash",
    "\"quoted\"",
    "你好/é.html",
    ".well-known/x",
];

fn site(bench: Bench) -> Bench {
    NASTY.iter().fold(bench, |bench, name| bench.file(&format!("public/{name}"), *name))
}

fn base() -> String {
    format!("https://{}/x/", HOSTS[0])
}

/// D3: what is printed is a manifest, whatever the names, and means the same files.
#[test]
fn a_printed_manifest_is_read_back_and_finds_nothing_to_do_after_its_run() {
    let cloud = Cloud::of("http-purge");
    let bench = site(Bench::at("http-purge", &cloud));
    let scan = ["scan", "public", "--base-url", &base()];
    let printed = bench.run(&scan).exits(0);
    assert!(printed.stderr.is_empty(), "{printed:?}");
    bench.write("manifests/site.yaml", &printed.stdout);
    let checked = bench.run(&["check"]).exits(0);
    assert!(checked.stderr.is_empty(), "not even a warning: {checked:?}");
    let plan = bench.run(&["plan", "--format", "json"]).exits(0).json();
    let targets: Vec<&str> =
        plan["changes"].as_array().unwrap().iter().map(|change| change["target"].as_str().unwrap()).collect();
    assert_eq!(targets.len(), NASTY.len());
    for path in
        ["a%20b.js", "a+b~c'd.js", "100%25.html", "a%2520b.html", "what%3F.html", "%E4%BD%A0%E5%A5%BD/%C3%A9.html"]
    {
        assert!(targets.contains(&format!("{}{path}", base()).as_str()), "{path} in {targets:?}");
    }
    let against = [&scan[..], &["--against", "manifests", "--exit-code"]].concat();
    bench.run(&against).exits(0).says("0 new, 0 changed, 0 removed, 14 unchanged\n");
    assert_eq!(cloud.count(), 0);
}

#[test]
fn without_a_base_url_the_manifest_says_where_to_put_it() {
    let bench = Bench::new().file("public/a.html", "a");
    let hash = format!("blake3:{}", "17762fddd969a453925d65717ac3eea21320b66b54342fde15128d6caf21215f");
    let text = format!(
        "# Paths are put below a URL; write it here:\n# base_url: https://www.example.com/\nassets:\n  a.html: {hash}\n"
    );
    assert_eq!(bench.run(&["scan", "public"]).exits(0).stdout, text);
    let json = bench.run(&["scan", "public", "--base-url", "https://a.cn", "--format", "json"]).exits(0).json();
    let file = serde_json::json!({"path": "a.html", "url": "https://a.cn/a.html", "hash": hash, "size": 1});
    assert_eq!(json["files"], serde_json::json!([file]));
    bench.run(&["scan", "public", "--base-url", "a.cn"]).exits(2).says("base_url: not a whole URL");
}

/// Lists every file that differs, and nothing that the patterns leave out; hashes of any algorithm are computed.
#[test]
fn a_directory_is_compared_with_what_is_listed() {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    for name in ["blake3", "sha256", "sha1", "sha384", "sha512", "md5", "rev", "changed", "new", "drafts/x"] {
        bench.write(&format!("public/{name}"), "abc");
    }
    bench.write(
        "manifests/site.yaml",
        format!(
            "base_url: {}\nassets:\n  blake3: blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85\n  \
             sha256: sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n  \
             sha1: sha1:a9993e364706816aba3e25717850c26c9cd0d89d\n  \
             sha384: sha384-ywB1P0WjXou1oD1pmsZQBycsMqsO3tFjGotgWkP/W+2AhgcroefMI1i67KE0yCWn\n  \
             sha512: sha512-3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==\n  \
             md5: md5:900150983cd24fb0d6963f7d28e17f72\n  rev: rev:7\n  \
             changed: md5:900150983cd24fb0d6963f7d28e17f73\n  gone: rev:1\n  drafts/gone: rev:1\n  blog/: rev:1\n  \
             changed?q: rev:1\n",
            base()
        ),
    );
    bench.write("manifests/other.yaml", format!("assets: {{\"https://{}/elsewhere\": rev:1}}\n", HOSTS[0]));
    let base = base();
    let against = ["scan", "public", "--base-url", &base, "--exclude", "drafts/**", "--against", "manifests"];
    let ran = bench.run(&against).exits(0);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let summary = "1 new, 1 changed, 1 removed, 6 unchanged, 3 not compared (URLs that no file has, and opaque hashes)";
    assert_eq!(lines, ["changed  changed", "removed  gone", "new      new", summary]);
    let json = bench.run(&[&against[..], &["--exit-code", "--format", "json"]].concat()).exits(3).json();
    let change = |kind: &str, path: &str| serde_json::json!({"kind": kind, "path": path});
    let expected = [change("changed", "changed"), change("removed", "gone"), change("new", "new")];
    assert_eq!(json["changes"], serde_json::json!(expected));
    assert_eq!((json["unchanged"].as_u64(), json["not_compared"].as_u64()), (Some(6), Some(3)));
    bench.run(&["scan", "public", "--against", "manifests"]).exits(2).says("--base-url");
    assert_eq!(cloud.count(), 0);
}

/// D1–D4: an error ends the scan, everything is reported at once, nothing is printed that could be taken for the whole.
#[test]
fn a_directory_that_is_not_certain_is_bad_input() {
    let bench = Bench::new().file("public/a", "a").file("public/new\nline", "").file("empty/x/y", "");
    std::fs::remove_file(bench.path("empty/x/y")).expect("removed");
    make_pipe(&bench.path("public/pipe"));
    let ran = bench.run(&["scan", "public"]).exits(2);
    assert_eq!(ran.stdout, "");
    let pipe = "error: public/pipe: is a FIFO, not a regular file; remove or exclude it\n";
    let name = "error: public/new\\u{a}line: has the control character U+000A in its name; rename or exclude it\n";
    assert_eq!(ran.stderr, format!("{name}{pipe}"));
    bench.run(&["scan", "gone"]).exits(2).says("error: gone: does not exist");
    bench.run(&["scan", "empty"]).exits(2).says("error: empty: is empty");
    bench.run(&["scan", "public/a"]).exits(2).says("error: public/a: is not a directory");
    bench.run(&["scan", "public", "--include", "*.html"]).exits(2).says("error: public: no file here is taken");
    bench.run(&["scan", "public", "--include", "a/"]).exits(2).says("the pattern `a/` matches no file; write `a/**`");
    let left = ["scan", "public", "--exclude", "pipe", "--exclude", "new*", "--as", "checksums"];
    std::os::unix::fs::symlink("a", bench.path("public/link")).expect("made");
    assert_eq!(bench.run(&left).exits(0).stdout.lines().count(), 2);
    std::os::unix::fs::symlink("../manifests", bench.path("public/out")).expect("made");
    bench.write("manifests/x", "");
    bench.run(&left).exits(2).says("error: public/out: is a symbolic link that leads out of the directory");
    for (how, files) in [("follow", 3), ("skip", 1)] {
        assert_eq!(bench.run(&[&left[..], &["--links", how]].concat()).exits(0).stdout.lines().count(), files);
    }
}

/// D2: the reason is reported, however long the path.
#[test]
fn a_path_that_is_too_long_for_the_system_is_an_error() {
    let half = [&"x".repeat(200); 11].map(String::as_str).join("/");
    let bench = Bench::new().file(&format!("public/{half}/a"), "").file(&format!("other/{half}/b"), "");
    std::fs::rename(bench.path("other"), bench.path(&format!("public/{half}/other"))).expect("moved");
    let ran = bench.run(&["scan", "public"]).exits(2);
    assert!(ran.stderr.contains("xxx…: cannot be read: ") && ran.stdout.is_empty(), "{ran:?}");
}

/// A program and what it prints in a folder; `None`, and a line that says so, if it is not installed.
fn printed(bench: &Bench, program: &str, arguments: &[&str], input: &str) -> Option<Ran> {
    let started = Command::new(program)
        .args(arguments)
        .current_dir(bench.path("public"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = started else {
        assert!(std::env::var_os("CI").is_none(), "{program} is missing; tests/run installs it");
        eprintln!("SKIPPED: {program} is not installed");
        return None;
    };
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("written");
    Some(Ran::of(&child.wait_with_output().expect("ended")))
}

#[test]
fn b3sum_accepts_a_printed_list() {
    let bench = site(Bench::new());
    let list = bench.run(&["scan", "public", "--as", "checksums"]).exits(0).stdout;
    assert_eq!(list.lines().count(), NASTY.len());
    let Some(ran) = printed(&bench, "b3sum", &["--check"], &list) else { return };
    assert_eq!(ran.exits(0).stdout.matches(": OK").count(), NASTY.len());
}

/// What the programs write is what the reader reads: the same names, and the digests that they themselves check.
#[test]
fn lists_of_the_usual_programs_are_read() {
    let bench = site(Bench::new());
    let mut names = NASTY.to_vec();
    names.sort_unstable();
    for (program, options, list) in [
        ("md5sum", &[][..], "MD5SUMS"),
        ("sha1sum", &["--binary"], "list"),
        ("sha256sum", &[], "list"),
        ("sha384sum", &["--tag"], "list"),
        ("sha512sum", &["--tag"], "list"),
        ("b3sum", &[], "site.b3"),
    ] {
        let dotted: Vec<String> = names.iter().map(|name| format!("./{name}")).collect();
        let arguments: Vec<&str> =
            options.iter().copied().chain(["--"]).chain(dotted.iter().map(String::as_str)).collect();
        let Some(ran) = printed(&bench, program, &arguments, "") else { continue };
        let ran = ran.exits(0);
        let (mut read, mut algorithms) = (Vec::new(), Vec::new());
        let mut reader = ChecksumReader::new(algorithm_of_list(list));
        let mut each = |line: Result<freshen::manifest::checksums::Listed<'_>, _>| {
            let listed = line.unwrap_or_else(|problem| panic!("{program}: {problem:?}"));
            read.push(listed.path.to_owned());
            algorithms.push(listed.algorithm.word());
        };
        reader.feed(ran.stdout.as_bytes(), &mut each);
        reader.finish(&mut each);
        assert_eq!(read, names, "{program}");
        let expected = if program == "b3sum" { "blake3" } else { program.trim_end_matches("sum") };
        assert!(algorithms.iter().all(|algorithm| *algorithm == expected), "{program}: {algorithms:?}");
    }
}
