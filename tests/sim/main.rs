//! The real engine in simulated worlds: thousands of seeds, each with its own providers, manifests and faults.
//!
//! What is real: the pass of `src/engine` with its guards and plans, the executor, the apply machine, adapters, emulators, the
//! SQLite store. What is simulated: time, the network's and the disk's faults, when a process dies and how soon the next one begins; who edits, renames, copies
//! and takes away manifests, in which checkout and from which working directory they are read; who configures providers
//! otherwise and issues keys; vendors that refuse whatever it is, guards that refuse, plans that another one was expected of.
//!
//! Days of the watch (`day.rs`) play `src/daemon` as it ships, with files, signals, a state and a clock that the world owns
//! (`watch.rs`).
//!
//! `FRESHEN_SIM_SEEDS=1000000` plays more seeds, `FRESHEN_SIM_DAYS` more days, `FRESHEN_SIM_FIRST` begins with another one, `FRESHEN_SIM_SEED=42` plays
//! one and shows what happens.

#![expect(clippy::disallowed_methods, reason = "tests read their own environment and the time that they take")]

mod axes;
mod backend;
mod day;
mod faults;
mod files;
mod plans;
mod planted;
mod promises;
mod refusals;
mod removals;
mod seams;
mod session;
mod spec;
mod store;
mod truth;
#[path = "../it/support/vendor.rs"]
mod vendor;
mod vendors;
mod watch;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use day::{KINDS, Lived, live};
use planted::{Bug, WatchBug};
use world::{Played, play};

/// Seeds of every test run.
const SEEDS: u64 = 20_000;
/// Seeds within which each planted defect is found.
const PLANTED_SEEDS: u64 = 1_000;
/// Days of the watch, and those within which each of its planted defects is found.
const DAYS: u64 = 100;
const PLANTED_DAYS: u64 = 200;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Plays seeds on two threads until one fails; the lowest that did. `fails` plays one.
fn first_failure(seeds: std::ops::Range<u64>, fails: &(dyn Fn(u64) -> bool + Sync)) -> Option<u64> {
    let (next, lowest) = (AtomicU64::new(seeds.start), AtomicU64::new(u64::MAX));
    let worker = || loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= seeds.end || number > lowest.load(Ordering::Relaxed) {
            return;
        }
        if fails(number) {
            lowest.fetch_min(number, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(worker);
        scope.spawn(worker);
    });
    Some(lowest.into_inner()).filter(|seed| *seed < u64::MAX)
}

#[test]
fn every_seed_keeps_the_invariants() {
    if let Some(seed) = variable("FRESHEN_SIM_SEED") {
        let bug = variable("FRESHEN_SIM_BUG").map(|number| Bug::ALL[usize::try_from(number).expect("a defect")]);
        let played = play(seed, bug, true);
        println!("{}", played.trace.join("\n"));
        assert_eq!(played.violation, None, "seed {seed}");
        return;
    }
    let first = variable("FRESHEN_SIM_FIRST").unwrap_or(0);
    let seeds = variable("FRESHEN_SIM_SEEDS").unwrap_or(SEEDS);
    let totals = Mutex::new((0, 0, 0));
    let failed = first_failure(first..first + seeds, &|seed| {
        let Played { runs, kills, requests, violation, .. } = play(seed, None, false);
        let mut totals = totals.lock().expect("no panic");
        *totals = (totals.0 + runs, totals.1 + kills, totals.2 + requests);
        violation.is_some()
    });
    let (runs, kills, requests) = *totals.lock().expect("no panic");
    println!("{seeds} seeds: {runs} runs, {kills} of them killed, {requests} requests");
    if let Some(seed) = failed {
        let violation = play(seed, None, false).violation;
        panic!(
            "seed {seed}: {violation:?}\nsee it with: FRESHEN_SIM_SEED={seed} cargo test --profile sim --test sim every_seed -- --nocapture"
        );
    }
}

#[test]
fn every_planted_defect_is_found() {
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        let Some(seed) = first_failure(0..PLANTED_SEEDS, &|seed| play(seed, Some(bug), false).violation.is_some())
        else {
            missed.push((bug, "nothing"));
            continue;
        };
        let violation = play(seed, Some(bug), false).violation.expect("it failed before");
        println!("{bug:?}: seed {seed}, {}: {}", violation.id, violation.what);
        if !bug.breaks().contains(&violation.id) {
            missed.push((bug, violation.id));
        }
        // What was found is the defect's doing.
        assert_eq!(play(seed, None, false).violation, None, "{bug:?}: seed {seed} without it");
    }
    assert!(missed.is_empty(), "not found within {PLANTED_SEEDS} seeds, or by another invariant: {missed:?}");
}

/// The same seed is the same world: without that, a failing seed would say nothing.
#[test]
fn a_seed_replays_byte_for_byte() {
    for seed in 0..20 {
        let (one, two) = (play(seed, None, true), play(seed, None, true));
        let differs = one.trace.iter().zip(&two.trace).find(|(one, two)| one != two);
        assert_eq!((differs, one.trace.len()), (None, two.trace.len()), "seed {seed}");
    }
}

/// T2, W1, W4, W6, L1: whatever a day brings, the watch is prompt, spares providers that fail, and converges.
#[test]
fn every_day_of_the_watch_converges() {
    if let Some(seed) = variable("FRESHEN_SIM_SEED") {
        let bug = variable("FRESHEN_SIM_BUG").map(|number| WatchBug::ALL[usize::try_from(number).expect("a defect")]);
        let lived = live(seed, bug, true);
        println!("{}", lived.trace.join("\n"));
        assert_eq!(lived.violation, None, "seed {seed}");
        return;
    }
    let first = variable("FRESHEN_SIM_FIRST").unwrap_or(0);
    let days = variable("FRESHEN_SIM_DAYS").unwrap_or(DAYS);
    let totals = Mutex::new(((0, 0, 0), BTreeMap::new()));
    let failed = first_failure(first..first + days, &|seed| {
        let Lived { runs, kills, requests, violation, seen, .. } = live(seed, None, false);
        let (totals, kinds) = &mut *totals.lock().expect("no panic");
        *totals = (totals.0 + runs, totals.1 + kills, totals.2 + requests);
        for kind in seen {
            *kinds.entry(kind).or_insert(0) += 1;
        }
        violation.is_some()
    });
    let ((runs, kills, requests), kinds) = totals.into_inner().expect("no panic");
    println!("{days} days: {runs} runs, {kills} kills, {requests} requests; days with: {kinds:#?}");
    if let Some(seed) = failed {
        let violation = live(seed, None, false).violation;
        panic!(
            "seed {seed}: {violation:?}\nsee it with: FRESHEN_SIM_SEED={seed} cargo test --profile sim --test sim every_day -- --nocapture"
        );
    }
    // What never happens proves nothing.
    let of = |kind: &str| kinds.get(kind).copied().unwrap_or(0);
    let rare: Vec<_> = KINDS.iter().filter(|(kind, percent)| of(kind) * 100 < percent * days).collect();
    assert!(days < DAYS || rare.is_empty(), "in too few of {days} days: {rare:?}");
}

#[test]
fn every_planted_defect_of_the_watch_is_found() {
    let mut missed = Vec::new();
    for bug in WatchBug::ALL {
        let is_found = |seed| live(seed, Some(bug), false).violation.is_some();
        let Some(seed) =
            Some(bug.found_on()).filter(|seed| is_found(*seed)).or_else(|| first_failure(0..PLANTED_DAYS, &is_found))
        else {
            missed.push((bug, "nothing"));
            continue;
        };
        let violation = live(seed, Some(bug), false).violation.expect("it failed before");
        println!("{bug:?}: seed {seed}, {}: {}", violation.id, violation.what);
        if !bug.breaks().contains(&violation.id) {
            missed.push((bug, violation.id));
        }
        assert_eq!(live(seed, None, false).violation, None, "{bug:?}: seed {seed} without it");
    }
    assert!(missed.is_empty(), "not found within {PLANTED_DAYS} days, or by another claim: {missed:?}");
}

#[test]
fn a_day_replays_byte_for_byte() {
    for seed in 0..5 {
        let (one, two) = (live(seed, None, true), live(seed, None, true));
        let differs = one.trace.iter().zip(&two.trace).find(|(one, two)| one != two);
        assert_eq!((differs, one.trace.len()), (None, two.trace.len()), "seed {seed}");
    }
}
