//! The files of a state as commands meet them: other names of it, links, pipes and databases that are somebody else's.

mod copies;
mod names;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::support::cli::{Bench, STATE};
use crate::support::cloud::Cloud;

/// Verbs that only look at the state.
const LOOKS: [&[&str]; 4] = [&["plan"], &["status"], &["state", "export"], &["explain", "http://cdn.example.com/a.js"]];
/// Verbs that change it.
const WRITES: [&[&str]; 3] = [&["apply"], &["adopt"], &["state", "forget", "*"]];

/// A cache, and manifests that list one URL with this revision.
fn listing(revision: &str) -> (Cloud, Bench) {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    list(&bench, revision);
    (cloud, bench)
}

fn list(bench: &Bench, revision: &str) {
    bench.assets(&["http://cdn.example.com/a.js"], revision);
}

/// Names and contents of all that is below a folder; links are what they lead to, as text.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let (path, kind) = (entry.path(), entry.file_type().expect("a kind"));
        if kind.is_dir() {
            found.extend(tree(&path));
        } else if kind.is_symlink() {
            let target = std::fs::read_link(&path).expect("a link");
            found.insert(path, target.into_os_string().into_encoded_bytes());
        } else {
            let content = if kind.is_file() { std::fs::read(&path).expect("readable") } else { b"special".to_vec() };
            found.insert(path, content);
        }
    }
    found
}

fn names(bench: &Bench, folder: &str) -> Vec<String> {
    let found = std::fs::read_dir(bench.path(folder)).expect("a folder");
    let mut names: Vec<String> =
        found.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

/// C9: what another program keeps is not a state: no command changes it, its log, or anything beside it.
#[test]
fn a_database_of_somebody_else_and_its_log_stay_as_they_are() {
    let (cloud, bench) = listing("1");
    let (made, used) = (bench.path("made.db"), bench.path("used.db"));
    let foreign = rusqlite::Connection::open(&made).expect("made");
    foreign.pragma_update(None, "journal_mode", "WAL").expect("a log");
    foreign.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)").expect("written");
    std::fs::create_dir(bench.path("theirs")).expect("made");
    for suffix in ["", "-wal"] {
        let to = bench.path(&format!("theirs/app.db{suffix}"));
        std::fs::copy(format!("{}{suffix}", made.display()), to).expect("as a killed program leaves it");
    }
    drop(foreign);
    std::fs::rename(made, used).expect("renamed");
    bench.write(
        "theirs/notes.txt",
        "not a database, and longer than the head of one would be, which has a hundred bytes; so this is",
    );
    bench.write("theirs/empty", "");
    let before = tree(&bench.path("theirs"));
    for state in ["theirs/app.db", "theirs/notes.txt", "theirs/empty"] {
        for verb in LOOKS.iter().chain(&WRITES) {
            bench.run(&[*verb, &["--state", state]].concat()).exits(6).says("no state of freshen").says("another path");
        }
        bench.run(&["check", "--state", state]).exits(0);
    }
    assert_eq!(tree(&bench.path("theirs")), before);
    assert_eq!(cloud.count(), 0);
}

/// C9: a folder is no state, and no advice moves it away.
#[test]
fn a_path_of_a_folder_is_no_state() {
    let (_cloud, bench) = listing("1");
    for state in ["manifests", "manifests/", "..", "/dev/null", "new/folder/"] {
        let ran = bench.run(&["apply", "--state", state]).exits(6).says("no state of freshen").says("another path");
        assert!(!ran.stderr.contains(".lock") && !ran.stderr.contains("Move"), "{state}: {ran:?}");
    }
    assert!(!bench.path("new").exists());
}

/// What looks like the address of a store that is no file is none, and no folder of that name is made.
#[test]
fn an_address_is_refused_by_its_scheme_and_makes_no_folder() {
    let (cloud, bench) = listing("1");
    let before = tree(&bench.path("."));
    for address in [
        "s3://bucket/state.db",
        "gs://bucket/state.db",
        "S3://bucket",
        "postgres://user:pass-word@host/db",
        "http://host/state.db",
        "file:///tmp/state.db",
        "file:/tmp/state.db",
        "sqlite://state.db",
        "azure+blob.v2://x",
    ] {
        let scheme = &address[..=address.find(':').expect("a scheme")];
        for verb in LOOKS.iter().chain(&WRITES) {
            let ran = bench.run(&[*verb, &["--state", address]].concat()).exits(2).says(scheme);
            assert!(!ran.stderr.contains("pass-word"), "{ran:?}");
        }
        let ran = bench.command(&["apply"]).env("FRESHEN_STATE", address).output().expect("started");
        assert_eq!(ran.status.code(), Some(2), "{address}");
    }
    bench.run(&["apply", "--state", ""]).exits(2);
    assert_eq!((tree(&bench.path(".")), cloud.count()), (before, 0));
    // What does not use a state does not mind.
    let ran = bench.command(&["schema"]).env("FRESHEN_STATE", "s3://bucket").output().expect("started");
    assert_eq!(ran.status.code(), Some(0));
}

/// What the engine would take for something else is a path like any other.
#[test]
fn names_that_mean_something_to_the_engine_are_paths() {
    for name in [":memory:", "file:x.db", "file::memory:", "file:x.db?mode=memory", "a%20b?c#d", "./s3:/x.db"] {
        let (cloud, bench) = listing("1");
        bench.run(&["adopt", "--state", name]).exits(0);
        list(&bench, "2");
        bench.run(&["apply", "--state", name]).exits(0);
        bench.run(&["apply", "--state", name]).exits(0).says("Nothing to do");
        assert_eq!(cloud.count(), 1);
        let left = names(&bench, if name.contains('/') { "s3:" } else { "." });
        let name = name.rsplit('/').next().expect("a name");
        let ours: Vec<String> = ["", ".lock", ".seal"].map(|suffix| format!("{name}{suffix}")).into();
        let left: Vec<String> = left.into_iter().filter(|found| found != "manifests").collect();
        assert_eq!(left, ours);
    }
}

/// C11: a state that was deleted on purpose is a first run, which begins with all its files anew.
#[test]
fn a_deleted_state_is_a_first_run() {
    let (_cloud, bench) = listing("1");
    bench.run(&["apply"]).exits(0);
    std::fs::remove_file(bench.path(STATE)).expect("removed");
    bench.run(&["plan"]).exits(0).says("new");
    bench.run(&["adopt"]).exits(0);
    bench.run(&["apply"]).exits(0).says("Nothing to do");
}

/// C6: a medium that forgets leaves no other time behind, so the seal holds: what a command shows or goes by is proven all the same.
#[cfg(unix)]
#[test]
fn what_a_medium_forgot_in_a_sealed_state_is_noticed_by_whoever_reads_it() {
    let url = "http://cdn.example.com/a.js";
    let (explain, only, status) = (["explain", url], ["apply", "--only", url], ["status"]);
    let readers: [(&str, &[&[&str]]); 5] = [
        ("UPDATE target SET hash = 'rev:3'", &[&explain, &only, &status]),
        ("UPDATE target SET target = 'http://cdn.example.com/b.js'", &[&explain, &only, &status]),
        ("UPDATE target SET recorded_at = recorded_at + 4096", &[&explain, &status]),
        ("UPDATE account SET fingerprint = 'another'", &[&explain, &only, &status, &["plan"], &["apply"]]),
        ("UPDATE quota SET used = used + 64", &[&explain, &only, &status, &["plan"], &["apply"]]),
    ];
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    list(&bench, "1");
    bench.run(&["apply"]).exits(0);
    bench.run(&["apply"]).exits(0);
    let state = bench.path(STATE);
    let whole = std::fs::read(&state).expect("there");
    for (forgotten, verbs) in readers {
        let changed = rusqlite::Connection::open(&state).and_then(|db| db.execute(forgotten, []));
        assert_eq!(changed.expect(forgotten), 1, "{forgotten}");
        freshen::state::seal_as_it_is(&state);
        for verb in verbs {
            bench.run(verb).exits(6).says("its rows are not as they were written");
        }
        std::fs::write(&state, &whole).expect("written");
    }
    assert_eq!(cloud.count(), 1);
}
