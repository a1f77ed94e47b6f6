//! Runs over large manifests, as a user would start them, as ratios against baselines of the same run.
//!
//! `cargo bench --bench manifests [-- ASSETS]`: a million assets unless told otherwise. Times are the shortest of several
//! runs, so with everything in the system's cache.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use freshen::manifest::{SourceFile, build};

const RUNS: usize = 5;
const FILES: usize = 100;

const PROVIDER: &str =
    "providers:\n  own: {kind: http-purge, hosts: [www.example.com], endpoints: [\"http://127.0.0.1:9\"]}\n";

fn main() {
    // The harness of cargo adds `--bench`.
    let assets = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let folder = tempfile::tempdir().expect("a folder");
    let one = folder.path().join("one");
    write(&one, assets, 1);
    let start = shortest(|| run(&one, &["--version"]));
    println!("start: {}", shown(start));

    run(&one, &["adopt"]);
    let digest = shortest(|| digest(&one));
    println!("{assets} assets in one file; BLAKE3 of the same bytes on all cores: {}", shown(digest));
    let nothing = shortest(|| run(&one, &["plan"]));
    told("nothing changed, to the plan", nothing, digest, "the digest");

    change(&one, 0);
    let changed = shortest(|| run(&one, &["plan"]));
    let yaml = shortest_of(1, || yaml(&one));
    told("one asset changed, to the plan", changed, yaml, "reading it as YAML");
    println!("reading it as YAML: {}", shown(yaml));

    let many = folder.path().join("many");
    write(&many, assets, FILES);
    run(&many, &["adopt"]);
    let nothing = shortest(|| run(&many, &["plan"]));
    println!("the same in {FILES} files, nothing changed: {}", shown(nothing));
    change(&many, FILES / 2);
    told("one asset of one file changed", shortest(|| run(&many, &["plan"])), nothing, "nothing changed");
}

/// Writes a manifest of so many assets, in order of their paths, in so many files.
fn write(folder: &Path, assets: usize, files: usize) {
    let manifests = folder.join("manifests");
    std::fs::create_dir_all(&manifests).expect("made");
    std::fs::write(manifests.join("provider.yaml"), PROVIDER).expect("written");
    for file in 0..files {
        let mut text = String::from("version: 1\nbase_url: https://www.example.com/\nassets:\n");
        for number in (file * assets / files)..((file + 1) * assets / files) {
            let digest = blake3::hash(&number.to_le_bytes()).to_hex();
            let _ = writeln!(text, "  static/js/{:04}/chunk-{number:08}.html: blake3:{digest}", number / 1000);
        }
        std::fs::write(manifests.join(format!("site-{file:03}.yaml")), text).expect("written");
    }
}

/// Gives one asset of a file another hash.
fn change(folder: &Path, file: usize) {
    let path = folder.join(format!("manifests/site-{file:03}.yaml"));
    let mut text = std::fs::read(&path).expect("read");
    let digit = text.len() / 2 + text[text.len() / 2..].iter().position(|&byte| byte == b'\n').expect("a line") - 1;
    text[digit] = if text[digit] == b'0' { b'1' } else { b'0' };
    std::fs::write(path, text).expect("written");
}

#[expect(clippy::disallowed_methods, reason = "the program is what is measured")]
fn run(folder: &Path, arguments: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_freshen"));
    let status = command.args(arguments).current_dir(folder).stdout(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()), "{arguments:?}");
}

/// The bytes of all manifests, hashed by as many threads as there are cores.
fn digest(folder: &Path) {
    let file = std::fs::read(folder.join("manifests/site-000.yaml")).expect("read");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for part in file.chunks(file.len().div_ceil(cores)) {
            scope.spawn(move || std::hint::black_box(blake3::hash(part)));
        }
    });
}

/// The same list in a form that is left to the YAML crate, read and checked.
fn yaml(folder: &Path) {
    let text = std::fs::read_to_string(folder.join("manifests/site-000.yaml")).expect("read");
    let text = text.replacen("assets:\n", "assets: \n", 1);
    let files = [("provider.yaml", PROVIDER.to_owned()), ("site.yaml", text)];
    let built = build(&files.map(|(path, text)| SourceFile::whole(path, text)));
    assert!(built.model.is_some());
}

fn shortest(what: impl FnMut()) -> Duration {
    shortest_of(RUNS, what)
}

#[expect(clippy::disallowed_methods, reason = "time is what is measured")]
fn shortest_of(runs: usize, mut what: impl FnMut()) -> Duration {
    let times = (0..runs).map(|_| {
        let start = Instant::now();
        what();
        start.elapsed()
    });
    times.min().unwrap_or_default()
}

fn shown(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn told(what: &str, time: Duration, baseline: Duration, of: &str) {
    println!("{what}: {}, {:.2} of {of}", shown(time), time.as_secs_f64() / baseline.as_secs_f64());
}
