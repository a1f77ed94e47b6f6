//! Links, other names and things that are no files, where a state or what belongs to it is looked for.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::{LOOKS, STATE, WRITES, list, listing, names, tree};
use crate::support::cli::{Ran, make_pipe};
use crate::support::cloud::Step;

/// What is beside a state by a name of its own.
const BESIDE: [&str; 5] = [".lock", ".seal", "-wal", "-shm", "-journal"];

/// R1: whatever name leads to a state, its lock is the same one, and so is all that is kept beside it.
#[test]
fn a_state_has_one_lock_by_all_its_names() {
    let (cloud, bench) = listing("1");
    bench.run(&["adopt"]).exits(0);
    symlink("state.db", bench.path(".freshen/link.db")).expect("a link");
    symlink(".freshen/link.db", bench.path("chain.db")).expect("a link");
    symlink(bench.path(".freshen"), bench.path("folder")).expect("a link");
    list(&bench, "2");
    cloud.script([Step::Hold]);
    let child = bench.start(&["apply", "--state", "chain.db"]);
    cloud.wait_for_hold();
    let absolute = bench.path(".freshen/link.db").display().to_string();
    for name in [STATE, ".freshen/link.db", "folder/state.db", "manifests/../folder/link.db", absolute.as_str()] {
        bench.run(&["apply", "--state", name, "--lock-timeout", "0s"]).exits(6).says(&child.id().to_string());
        bench.run(&["plan", "--state", name]).exits(0).says("a run is under way");
    }
    let second = bench.start(&["apply", "--state", ".freshen/link.db", "--lock-timeout", "30s"]);
    cloud.release();
    Ran::of(&child.wait_with_output().expect("ended")).exits(0);
    Ran::of(&second.wait_with_output().expect("ended")).exits(0).says("Nothing to do");
    assert_eq!(cloud.count(), 1);
    assert_eq!(names(&bench, ".freshen"), ["link.db", "state.db", "state.db.lock", "state.db.seal"]);
}

/// R1: a hard link has a log and a lock of its own, so only the name that was used first may be used.
#[test]
fn a_second_name_of_a_state_that_is_no_link_is_refused() {
    let (cloud, bench) = listing("1");
    bench.run(&["adopt"]).exits(0);
    std::fs::hard_link(bench.path(STATE), bench.path("second.db")).expect("a link");
    list(&bench, "2");
    let before = tree(&bench.path("."));
    for verb in LOOKS.iter().chain(&WRITES) {
        bench.run(&[*verb, &["--state", "second.db"]].concat()).exits(6).says("hard link");
    }
    assert_eq!(tree(&bench.path(".")), before);
    bench.run(&["apply"]).exits(0);
    assert_eq!(cloud.count(), 1);
}

/// C11: a link that leads nowhere, in the place of a state or of its folder, is an error of every command and no first run.
#[test]
fn a_link_that_leads_nowhere_is_no_first_run() {
    for (link, to) in [(STATE, "../mnt/state.db"), (".freshen", "mnt/gone"), (STATE, "state.db")] {
        let (cloud, bench) = listing("1");
        std::fs::create_dir_all(bench.path(link).parent().expect("a folder")).expect("made");
        symlink(to, bench.path(link)).expect("a link");
        let before = tree(&bench.path("."));
        for verb in LOOKS.iter().chain(&WRITES) {
            bench.run(verb).exits(6).says("leads nowhere").says("bring back");
        }
        assert_eq!((tree(&bench.path(".")), cloud.count()), (before, 0), "{link} to {to}");
    }
}

/// A link that leads to a state is kept, and the state is written where it is.
#[test]
fn a_link_to_a_state_stays_a_link() {
    let (_cloud, bench) = listing("1");
    bench.run(&["adopt", "--state", "mnt/state.db"]).exits(0);
    std::fs::create_dir(bench.path(".freshen")).expect("made");
    symlink("../mnt/state.db", bench.path(STATE)).expect("a link");
    list(&bench, "2");
    bench.run(&["apply"]).exits(0);
    assert_eq!(names(&bench, ".freshen"), ["state.db"]);
    assert!(bench.path(STATE).is_symlink());
    bench.run(&["apply", "--state", "mnt/state.db"]).exits(0).says("Nothing to do");
}

/// A person that can lay a link, or a second name, into a checkout has no other file written, and none made.
#[test]
fn nothing_is_written_through_a_link_beside_the_state() {
    for suffix in BESIDE {
        for lay in ["link", "dangling", "pipe", "hard"] {
            let (cloud, bench) = listing("1");
            let bench = bench.file("precious", "precious");
            bench.run(&["adopt"]).exits(0);
            let path = bench.path(&format!("{STATE}{suffix}"));
            let _ = std::fs::remove_file(&path);
            match lay {
                "link" => symlink("../precious", &path).expect("a link"),
                "dangling" => symlink("../made", &path).expect("a link"),
                "pipe" => make_pipe(&path),
                _ => std::fs::hard_link(bench.path("precious"), &path).expect("a link"),
            }
            list(&bench, "2");
            // The lock and the seal may have other names: those are not written.
            let refused = lay != "hard" || suffix.starts_with('-');
            for verb in LOOKS.iter().chain(&WRITES) {
                let ran = bench.run(verb);
                assert!(ran.status == if refused { 6 } else { 0 }, "{verb:?} with {suffix} as {lay}: {ran:?}");
            }
            assert_eq!(cloud.count(), usize::from(!refused), "{suffix} as {lay}");
            assert_eq!(bench.read("precious").as_deref(), Some(b"precious".as_slice()), "{suffix} as {lay}");
            assert!(!bench.path("made").exists(), "{suffix} as {lay}");
        }
    }
}

/// The same for what a new state is made of, and before there is one.
#[test]
fn a_new_state_is_made_through_no_link() {
    for suffix in [".lock", ".seal", "-wal", "-journal", ".new", ".new-journal", ".old-wal"] {
        let (_cloud, bench) = listing("1");
        let bench = bench.file("precious", "precious").file(".freshen/x", "");
        symlink("../precious", bench.path(&format!("{STATE}{suffix}"))).expect("a link");
        bench.run(&["adopt"]);
        assert_eq!(bench.read("precious").as_deref(), Some(b"precious".as_slice()), "{suffix}");
    }
}

/// X6: an audit log is the file that is named, and no link's.
#[test]
fn an_audit_log_is_written_through_no_link() {
    let (cloud, bench) = listing("1");
    let bench = bench.file("precious.jsonl", "{}\n");
    symlink("precious.jsonl", bench.path("audit.jsonl")).expect("a link");
    symlink("made.jsonl", bench.path("dangling.jsonl")).expect("a link");
    for name in ["audit.jsonl", "dangling.jsonl"] {
        bench.run(&["apply", "--purge-all", "--audit", name]).exits(1).says("it is a link").says("nothing was sent");
    }
    assert_eq!(bench.read("precious.jsonl").as_deref(), Some(b"{}\n".as_slice()));
    assert!(!bench.path("made.jsonl").exists());
    assert_eq!(cloud.count(), 0);
}

/// X6: lock, seal, state and audit log are for their owner alone, whatever the umask says.
#[test]
fn all_files_of_a_state_are_private_under_any_umask() {
    for umask in ["000", "777"] {
        let (_cloud, bench) = listing("1");
        std::fs::create_dir(bench.path(".freshen")).expect("made");
        let line = format!("umask {umask}; exec \"$0\" apply --audit audit.jsonl");
        let program = env!("CARGO_BIN_EXE_freshen");
        let ran = bench.other("/bin/sh", &["-c", &line, program]).output().expect("a shell");
        Ran::of(&ran).exits(0);
        for name in [STATE, ".freshen/state.db.lock", ".freshen/state.db.seal", "audit.jsonl"] {
            let mode = std::fs::metadata(bench.path(name)).expect(name).permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name} under {umask}");
        }
    }
}
