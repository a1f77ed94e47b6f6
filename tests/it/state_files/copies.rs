//! Copies of a state that come back: an older one is not taken for the present one.

use std::path::Path;

use super::{LOOKS, STATE, WRITES, list, listing, tree};
use crate::support::cli::Bench;
use crate::support::watching::Watching;

fn copy(from: &Path, to: &Path) {
    std::fs::copy(from, to).expect("copied");
}

/// Every command refuses the state, says how to go on, and changes nothing.
fn is_refused(bench: &Bench) {
    // A run that tries leaves a name in the lock file.
    let all = || {
        let mut all = tree(&bench.path("."));
        all.remove(&bench.path(".freshen/state.db.lock"));
        all
    };
    let before = all();
    for verb in LOOKS.iter().chain(&WRITES) {
        bench.run(verb).exits(6).says("is not the one that was used here last").says(&format!("remove `{STATE}.seal`"));
    }
    assert_eq!(all(), before);
}

/// S1, S10: what an older copy takes for recorded may be purged and changed since. It is refused, and both ways on work.
#[test]
fn an_older_copy_of_a_state_is_refused_until_it_is_meant() {
    for way_on in [&["apply", "--force", "*"] as &[&str], &["adopt"]] {
        let (cloud, bench) = listing("1");
        bench.run(&["apply"]).exits(0);
        copy(&bench.path(STATE), &bench.path("older.db"));
        list(&bench, "2");
        bench.run(&["apply"]).exits(0);
        copy(&bench.path(STATE), &bench.path("newer.db"));
        list(&bench, "1");
        copy(&bench.path("older.db"), &bench.path(STATE));
        is_refused(&bench);
        assert_eq!(cloud.count(), 2);
        // Put back, it is the one that it was.
        copy(&bench.path("newer.db"), &bench.path(STATE));
        bench.run(&["plan"]).exits(0).says("changed");
        copy(&bench.path("older.db"), &bench.path(STATE));
        std::fs::remove_file(bench.path(".freshen/state.db.seal")).expect("removed");
        bench.run(way_on).exits(0);
        assert_eq!(cloud.count(), usize::from(way_on[0] == "apply"));
        bench.run(&["apply"]).exits(0).says("Nothing to do");
    }
}

/// S10: neither is a state that was made elsewhere.
#[test]
fn the_state_of_another_place_is_refused() {
    let (_cloud, bench) = listing("1");
    bench.run(&["apply"]).exits(0);
    bench.run(&["adopt", "--state", "elsewhere/state.db"]).exits(0);
    copy(&bench.path("elsewhere/state.db"), &bench.path(STATE));
    is_refused(&bench);
    std::fs::remove_file(bench.path(STATE)).expect("removed");
    bench.run(&["adopt"]).exits(0);
    bench.run(&["apply"]).exits(0).says("Nothing to do");
}

/// S10: the log of a run that was killed makes no newer state of an older copy.
#[test]
fn an_older_copy_is_refused_also_where_a_newer_log_is_left() {
    let (_cloud, bench) = listing("1");
    bench.run(&["apply"]).exits(0);
    copy(&bench.path(STATE), &bench.path("older.db"));
    for revision in ["2", "3"] {
        list(&bench, revision);
        bench.run(&["apply"]).exits(0);
    }
    // As a run leaves it that is killed once it has begun.
    let db = rusqlite::Connection::open(bench.path(STATE)).expect("opened");
    db.execute_batch("UPDATE meta SET serial = serial + 1").expect("written");
    let log = std::fs::read(bench.path(".freshen/state.db-wal")).expect("a log");
    drop(db);
    copy(&bench.path("older.db"), &bench.path(STATE));
    bench.write(".freshen/state.db-wal", log);
    is_refused(&bench);
}

/// S7: files that are moved together, as a cache of a pipeline moves them, are the state that they were.
#[test]
fn a_state_that_moves_with_all_its_files_stays_what_it_was() {
    let (_cloud, bench) = listing("1");
    bench.run(&["apply"]).exits(0);
    std::fs::create_dir(bench.path("cache")).expect("made");
    for suffix in ["", ".lock", ".seal"] {
        copy(&bench.path(&format!("{STATE}{suffix}")), &bench.path(&format!("cache/state.db{suffix}")));
    }
    list(&bench, "2");
    bench.run(&["apply", "--state", "cache/state.db"]).exits(0);
    bench.run(&["apply"]).exits(0);
}

/// S10: `watch` remembers which state it left, also where all its files are replaced by those of an older copy.
#[test]
fn a_watch_notices_that_its_state_was_replaced_by_an_older_copy() {
    let (cloud, bench) = listing("1");
    bench.run(&["adopt"]).exits(0);
    let mut watching = Watching::start(&bench, &[]);
    watching.ends_a_run();
    let files = ["", ".seal"].map(|suffix| format!("{STATE}{suffix}"));
    let older = files.clone().map(|name| bench.read(&name).unwrap_or_default());
    list(&bench, "2");
    watching.records(1);
    assert_eq!(cloud.count(), 1);
    for (name, content) in files.iter().zip(&older) {
        bench.write(name, content);
    }
    list(&bench, "1");
    watching.says("is an older copy");
    assert_eq!(cloud.count(), 0);
    // Somebody goes on with it by a command, and so does the watch.
    bench.run(&["apply", "--force", "*"]).exits(0);
    list(&bench, "3");
    watching.records(1);
    watching.stop();
}
