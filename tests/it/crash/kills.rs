//! A large run killed at random moments, again and again: it comes to its end, and only what was under way is repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Child;

use crate::cli_apply::urls;
use crate::support::cli::{Bench, STATE};
use crate::support::cloud::Cloud;
use crate::support::is_nightly;

const TARGETS: usize = 5000;
/// Each night, and in each run of the tests.
const KILLS: [usize; 2] = [200, 60];
const PER_CALL: usize = 50;
/// Calls that the kind has under way at most.
const IN_FLIGHT: usize = 4;
const LIMITS: &str = "limits: {urls_per_call: 50, calls_per_second: 200, urls_per_day: 1000000}\n";
const SEED: u64 = 0x5eed;

/// Lets a run go until so many requests have arrived and a random while longer, and kills it; whether it was still there.
fn kill_somewhere(mut child: Child, cloud: &Cloud, random: &mut fastrand::Rng) -> bool {
    let until = cloud.arrived() + random.usize(0..=1);
    let mut ended = false;
    while !ended && !cloud.has_soon(until) {
        ended = child.try_wait().expect("a child").is_some();
    }
    (0..random.u32(0..2_000_000)).for_each(|_| std::hint::spin_loop());
    child.kill().expect("killed");
    let status = child.wait().expect("ended");
    assert!(status.code().is_none_or(|code| code == 0), "{status:?}");
    status.code().is_none()
}

/// Targets under way when the run ended, as a copy of the state shows; calls that were shown before are left out.
pub(crate) fn in_flight(bench: &Bench, told: &mut BTreeSet<(i64, i64)>) -> Vec<String> {
    let copy = tempfile::tempdir().expect("a folder");
    for suffix in ["", "-wal"] {
        let from = bench.path(&format!("{STATE}{suffix}"));
        if from.exists() {
            std::fs::copy(from, copy.path().join(format!("state.db{suffix}"))).expect("copied");
        }
    }
    if !copy.path().join("state.db").exists() {
        return Vec::new();
    }
    let state = rusqlite::Connection::open(copy.path().join("state.db")).expect("a state");
    let mut rows = state
        .prepare("SELECT run, number, target.target FROM target JOIN call ON target.call = call.id")
        .expect("tables");
    let rows = rows.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?))).expect("rows");
    let rows: Vec<((i64, i64), String)> = rows.map(|row| row.expect("a row")).collect();
    let fresh: Vec<_> = rows.into_iter().filter(|(call, _)| !told.contains(call)).collect();
    told.extend(fresh.iter().map(|(call, _)| *call));
    fresh.into_iter().map(|(_, target)| target).collect()
}

/// C1, C2, C3, S2, S3, L1
#[test]
fn c3_kills_lose_nothing_and_repeat_only_what_was_under_way() {
    let wanted = KILLS[usize::from(!is_nightly())];
    let mut random = fastrand::Rng::with_seed(SEED);
    let cloud = Cloud::with("tencent-cdn", |setup| {
        setup.limits.values_mut().for_each(|limits| limits.targets_per_day = None);
    });
    let bench = Bench::at("tencent-cdn", &cloud).provider("own", "tencent-cdn", &cloud.url(), LIMITS);
    let all = urls(TARGETS);
    let (mut kills, mut rounds, mut hits) = (0, 0, 0);
    let mut told = BTreeSet::new();
    // How often each target may be sent: once a round, and once more for each kill that met it under way.
    let mut allowed: BTreeMap<String, usize> = BTreeMap::new();
    while kills < wanted {
        rounds += 1;
        bench.assets(&all, &rounds.to_string());
        while kills < wanted && kill_somewhere(bench.start(&["apply", "--purge-all"]), &cloud, &mut random) {
            kills += 1;
            let met = in_flight(&bench, &mut told);
            assert!(met.len() <= IN_FLIGHT * PER_CALL, "{} targets under way", met.len());
            hits += usize::from(!met.is_empty());
            for target in met {
                *allowed.entry(target).or_default() += 1;
            }
        }
        bench.run(&["apply", "--purge-all"]).exits(0);
    }
    let mut sent: BTreeMap<String, usize> = BTreeMap::new();
    for purged in cloud.log() {
        *sent.entry(purged.target.text).or_default() += 1;
    }
    assert_eq!(sent.len(), TARGETS);
    for (target, times) in &sent {
        let most = rounds + allowed.get(target).copied().unwrap_or_default();
        assert!((rounds..=most).contains(times), "{target} was sent {times} times in {rounds} rounds, {most} at most");
    }
    let recorded = bench.recorded();
    assert!(recorded.len() == TARGETS && recorded.iter().all(|row| row.ends_with(&format!(" rev:{rounds}"))));
    eprintln!("{kills} kills in {rounds} rounds, {hits} met calls under way, {} sent", sent.values().sum::<usize>());
    assert!(hits > wanted / 4, "only {hits} kills met a call under way");
    bench.run(&["apply"]).exits(0).says("Nothing to do");
}
