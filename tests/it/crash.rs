//! The real binary, stopped or failed by the system at one system call after the other, with a vendor that lives on.
//!
//! Covers C1, C2, C3, C4, C5, C7 and C8: whatever call is the last one, or is refused by the disk, the next run finds a
//! whole state, sends what is not recorded, records nothing that the vendor did not accept, and the one after it is quiet.

pub(crate) mod kills;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::Output;

use crate::cli_apply::urls;
use crate::support::cli::{Bench, Ran, STATE, manifest};
use crate::support::cloud::Cloud;
use crate::support::{is_installed, is_nightly};

/// Calls that change files or send, the frequent ones last, since they are begun with; those that a machine does not have are passed over.
const CHANGING: [&str; 12] = [
    "mkdir",
    "fchmod",
    "writev",
    "sendto",
    "rename",
    "fdatasync",
    "ftruncate",
    "unlink",
    "write",
    "openat",
    "fsync",
    "pwrite64",
];
/// Calls that a disk refuses.
const REFUSABLE: [&str; 8] = ["mkdir", "fchmod", "rename", "fdatasync", "ftruncate", "unlink", "fsync", "pwrite64"];
const KIND: &str = "tencent-vod";
const LIMITS: &str = "limits: {urls_per_call: 2, calls_per_second: 1000}\n";

/// Where a sweep strikes: a first run makes the state, a later one changes it, a migrating one finds it in an older format.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Run {
    First,
    Later,
    Migrating,
}

/// One run to strike, at a vendor that serves many of them.
struct Scene<'a> {
    bench: Bench,
    cloud: &'a Cloud,
    /// What the vendor had purged before.
    before: usize,
    /// Target and hash of everything that is recorded in the end.
    wanted: BTreeMap<String, String>,
    /// What must be purged on the way there.
    due: Vec<String>,
    /// Quota that was used before.
    used: usize,
}

/// A state with four targets recorded, as a file.
fn recorded_state(cloud: &Cloud) -> Vec<u8> {
    let bench = Bench::at(KIND, cloud).provider("own", KIND, &cloud.url(), LIMITS);
    bench.assets(&urls(4), "1");
    bench.run(&["apply"]).exits(0);
    bench.read(STATE).expect("a state")
}

/// What a state holds, as the first format keeps it.
fn in_format_1(state: &[u8]) -> Vec<u8> {
    const TABLES: [&str; 7] = ["meta", "manifest", "target", "call", "quota", "account", "run"];
    let folder = tempfile::tempdir().expect("a folder");
    let (new, old) = (folder.path().join("new.db"), folder.path().join("old.db"));
    std::fs::write(&new, state).expect("written");
    std::fs::write(&old, include_bytes!("golden/states/format-1.db")).expect("written");
    let raw = rusqlite::Connection::open(&old).expect("opened");
    raw.execute("ATTACH ?1 AS new", [new.to_str().expect("UTF-8")]).expect("attached");
    for table in TABLES {
        let columns = format!("SELECT group_concat('\"' || name || '\"') FROM pragma_table_info('{table}', 'main')");
        let columns: String = raw.query_row(&columns, [], |row| row.get(0)).expect("columns");
        let moved = format!("DELETE FROM main.{table}; INSERT INTO main.{table} SELECT {columns} FROM new.{table};");
        raw.execute_batch(&moved).expect("moved");
    }
    raw.close().expect("closed");
    std::fs::read(old).expect("readable")
}

impl<'a> Scene<'a> {
    fn new(run: Run, cloud: &'a Cloud, recorded: &[u8]) -> Self {
        let bench = Bench::at(KIND, cloud).provider("own", KIND, &cloud.url(), LIMITS);
        let all = urls(5);
        let (listed, due) = match run {
            Run::First => (manifest(&all[..4], "1"), all[..4].to_vec()),
            // One stays, two change, one goes, one comes.
            Run::Later | Run::Migrating => {
                let old = (run == Run::Migrating).then(|| in_format_1(recorded));
                bench.write(STATE, old.as_deref().unwrap_or(recorded));
                let changed =
                    manifest(&all[1..], "2").replacen(':', ":\n  \"https://cdn.example.com/a/00000.js\": rev:1", 1);
                (changed.replace(&format!("  \"{}\": rev:2\n", all[3]), ""), all[1..].to_vec())
            }
        };
        bench.write("manifests/site.yaml", &listed);
        let pairs = listed.lines().skip(1).map(|line| line.trim().rsplit_once(": ").expect("a pair"));
        let wanted = pairs.map(|(url, hash)| (url.trim_matches('"').to_owned(), hash.to_owned())).collect();
        let used = if run == Run::First { 0 } else { 4 };
        Self { bench, cloud, before: cloud.log().len(), wanted, due, used }
    }

    /// Runs until `fault` strikes at the `nth` call of this name in one of the threads.
    fn strike(&self, call: &str, nth: usize, fault: &str) -> Output {
        let and_later = if fault.ends_with("ENOSPC") { "+" } else { "" };
        let inject = format!("inject=?{call}:{fault}:when={nth}{and_later}");
        let traced = ["-f", "--seccomp-bpf", "-qqq", "-o", "/dev/null", "-e", &inject, "--"];
        self.bench.wrapped("strace", &traced, &["apply"]).output().expect("started")
    }

    /// How often each target was purged here.
    fn purges(&self) -> BTreeMap<String, usize> {
        let mut purges = BTreeMap::new();
        for purged in &self.cloud.log()[self.before..] {
            *purges.entry(purged.target.text.clone()).or_default() += 1;
        }
        purges
    }

    /// S1, S2, S3, S5, S7, S9, L1: what must hold after the strike. `again`: how often a target may be sent.
    fn converges(&self, again: usize, context: &str) {
        let ran = self.bench.run(&["apply"]);
        assert_eq!(ran.status, 0, "{context}: {ran:?}");
        let purges = self.purges();
        assert_eq!(purges.keys().cloned().collect::<Vec<_>>(), self.due, "{context}");
        assert!(purges.values().all(|times| *times <= again), "{context}: {purges:?}");
        let state = rusqlite::Connection::open(self.bench.path(STATE)).expect("a state");
        let mut rows = state.prepare("SELECT target, hash FROM target WHERE work_kind IS NULL").expect("a table");
        let recorded: BTreeMap<String, String> =
            rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).and_then(Iterator::collect).expect("rows");
        assert_eq!(recorded, self.wanted, "{context}");
        let used: u32 = state.query_row("SELECT sum(used) FROM quota", [], |row| row.get(0)).expect("a ledger");
        assert!(used as usize >= self.used + purges.values().sum::<usize>(), "{context}: {used} counted, {purges:?}");
        drop(rows);
        drop(state);
        self.bench.run(&["apply"]).exits(0).says("Nothing to do");
        assert_eq!(self.purges(), purges, "{context}: the run after is quiet");
        let files = std::fs::read_dir(self.bench.path(".freshen")).expect("a folder").flatten();
        let mut names: Vec<_> = files.map(|file| file.file_name().into_string().expect("UTF-8")).collect();
        // Whether the last run could seal the state is of no account.
        names.retain(|name| name != "state.db.seal");
        names.sort();
        assert_eq!(names, ["state.db", "state.db.lock"], "{context}: nothing half-made stays behind");
    }

    /// What was accepted and is not recorded was reported; nothing else is recorded.
    fn tells_the_truth(&self, ran: &Ran, run: Run, context: &str) {
        let known = if self.bench.path(STATE).exists() { self.bench.recorded() } else { Vec::new() };
        let purges = self.purges();
        for url in &self.due {
            let now = self.wanted.get(url).map(|hash| format!("own {url} {hash}"));
            let is_recorded = match now {
                Some(row) => known.contains(&row),
                // A removal is done when the target is gone.
                None => {
                    run == Run::Later
                        && !known.iter().any(|row| row.starts_with(&format!("own {url} ")))
                        && ran.status == 0
                }
            };
            let is_told = ran.stderr.contains(&format!("accepted but not recorded: own {url}\n"));
            let is_purged = purges.contains_key(url);
            assert!(is_purged || !is_recorded, "{context}: {url} is recorded and was never accepted: {ran:?}");
            if self.wanted.contains_key(url) {
                assert!(
                    !is_purged || is_recorded || is_told,
                    "{context}: {url} was accepted, not recorded, not told: {ran:?}"
                );
            }
        }
    }
}

/// How far the points are from each other that are struck.
fn step() -> usize {
    if is_nightly() { 1 } else { 5 }
}

/// Strikes with SIGKILL at each call of this name, or a part of them; how many times.
fn killed_at_each(run: Run, call: &str, cloud: &Cloud, recorded: &[u8]) -> usize {
    let mut struck = 0;
    // Threads share some work, so one run may get by where the next does not.
    let mut unharmed = 0;
    for nth in (1..).step_by(step()) {
        let scene = Scene::new(run, cloud, recorded);
        let output = scene.strike(call, nth, "signal=KILL");
        match (output.status.signal(), output.status.code()) {
            (Some(9), _) | (_, Some(137)) => {
                struck += 1;
                scene.converges(2, &format!("{run:?} run killed at {call} {nth}"));
            }
            (_, Some(0)) if unharmed == 1 => break,
            (_, Some(0)) => unharmed += 1,
            _ => panic!("{call} {nth}: {output:?}"),
        }
    }
    struck
}

/// Lets each call of this name fail; how many were tried. Of many alike, each sort of fault meets others.
fn refused_at_each(run: Run, call: &str, fault: &str, cloud: &Cloud, recorded: &[u8]) -> usize {
    let most = calls_of(run, call, cloud, recorded);
    let step = if most > 40 { 4 } else { 1 } * step();
    let first = if fault.ends_with("EIO") { 1 } else { step.min(2) };
    let tried = (first..=most).step_by(step);
    for nth in tried.clone() {
        let context = format!("{run:?} run, {fault} at {call} {nth} of {most}");
        let scene = Scene::new(run, cloud, recorded);
        let ran = Ran::of(&scene.strike(call, nth, fault));
        assert!([0, 1, 6].contains(&ran.status), "{context}: {ran:?}");
        assert!(ran.status == 0 || !ran.stderr.is_empty(), "{context}: {ran:?}");
        scene.tells_the_truth(&ran, run, &context);
        scene.converges(2, &context);
    }
    tried.count()
}

/// How often an unharmed run makes this call.
fn calls_of(run: Run, call: &str, cloud: &Cloud, recorded: &[u8]) -> usize {
    let scene = Scene::new(run, cloud, recorded);
    let log = scene.bench.path("trace");
    let trace = format!("trace=?{call}");
    let traced = ["-f", "--seccomp-bpf", "-qqq", "-o", log.to_str().expect("UTF-8"), "-e", &trace, "--"];
    Ran::of(&scene.bench.wrapped("strace", &traced, &["apply"]).output().expect("started")).exits(0);
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().filter(|line| line.contains(&format!(" {call}("))).count()
}

/// Does the work for each call, several at a time, each with a vendor of its own: most of the time disks are waited for.
fn side_by_side(calls: &[&str], work: impl Fn(&str, &Cloud, &[u8]) -> usize + Sync) -> BTreeMap<String, usize> {
    let queue = std::sync::Mutex::new(calls.to_vec());
    let counts = std::sync::Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let cloud = Cloud::of(KIND);
                let recorded = recorded_state(&cloud);
                loop {
                    let Some(call) = queue.lock().expect("whole").pop() else { return };
                    let count = work(call, &cloud, &recorded);
                    counts.lock().expect("whole").insert(call.to_owned(), count);
                }
            });
        }
    });
    counts.into_inner().expect("whole")
}

fn swept(what: &str, counts: &BTreeMap<String, usize>, least: usize) {
    let total: usize = counts.values().sum();
    eprintln!("{what}: {total} points: {counts:?}");
    assert!(total >= least / step(), "{what}: only {counts:?}");
}

/// C1, C2, C3, C4, C5
#[test]
fn c4_a_first_run_killed_at_any_system_call_leaves_a_whole_state_or_none() {
    if is_installed("strace", "strace") {
        let counts = side_by_side(&CHANGING, |call, cloud, state| killed_at_each(Run::First, call, cloud, state));
        swept("first run, killed", &counts, 150);
    }
}

/// C1, C2, C3, C4, C5
#[test]
fn c4_a_later_run_killed_at_any_system_call_loses_nothing() {
    if is_installed("strace", "strace") {
        let counts = side_by_side(&CHANGING, |call, cloud, state| killed_at_each(Run::Later, call, cloud, state));
        swept("later run, killed", &counts, 80);
    }
}

/// C4: the format of a state changes whole or not at all.
#[test]
fn c4_a_run_that_migrates_its_state_killed_at_any_system_call_loses_nothing() {
    if is_installed("strace", "strace") {
        let counts = side_by_side(&CHANGING, |call, cloud, state| killed_at_each(Run::Migrating, call, cloud, state));
        swept("migrating run, killed", &counts, 90);
    }
}

/// C8: a write or a sync that reports an error counts as not made.
#[test]
fn c8_an_error_of_the_disk_at_any_write_or_sync_records_nothing_falsely() {
    if is_installed("strace", "strace") {
        for run in [Run::First, Run::Later] {
            let counts =
                side_by_side(&REFUSABLE, |call, cloud, state| refused_at_each(run, call, "error=EIO", cloud, state));
            swept(&format!("{run:?} run, EIO"), &counts, 25);
        }
    }
}

/// C7: a disk that is full from some moment on.
#[test]
fn c7_a_disk_that_is_full_from_any_moment_on_records_nothing_falsely() {
    if is_installed("strace", "strace") {
        for run in [Run::First, Run::Later] {
            let counts =
                side_by_side(&REFUSABLE, |call, cloud, state| refused_at_each(run, call, "error=ENOSPC", cloud, state));
            swept(&format!("{run:?} run, ENOSPC"), &counts, 25);
        }
    }
}

/// C7: the run's own record is committed before the first request, so a full disk costs no quota.
#[test]
fn c7_a_disk_that_is_full_from_the_start_is_found_before_anything_is_sent() {
    if is_installed("strace", "strace") {
        let cloud = Cloud::of(KIND);
        let recorded = recorded_state(&cloud);
        for (run, call) in [(Run::First, "pwrite64"), (Run::Later, "pwrite64"), (Run::Later, "fsync")] {
            let scene = Scene::new(run, &cloud, &recorded);
            let ran = Ran::of(&scene.strike(call, 1, "error=ENOSPC"));
            assert_eq!(ran.status, 1, "{ran:?}");
            assert!(ran.stderr.contains("state.db") && scene.purges().is_empty(), "{run:?} {call}: {ran:?}");
            scene.converges(1, &format!("{run:?} run, full at {call}"));
        }
    }
}
