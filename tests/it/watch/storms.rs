//! Files that change back and forth while the program is killed at random: what is purged is what the files asked for whenever
//! a run read them.
//!
//! Intervals are of real time, since events of files are; what must hold does not depend on them. The audit log has each
//! call that ended; a kill leaves those in doubt that were under way.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use fastrand::Rng;

use crate::support::cli::{Bench, manifest, provider};
use crate::support::cloud::Cloud;
use crate::support::watching::Watching;

const SWITCHES: usize = 200;
/// Manifests that differ between the two sides, and assets in each.
const FILES: usize = 6;
const ASSETS: usize = 3;

/// Where each call is written down.
const AUDIT: &str = "audit.jsonl";

/// The two sides of everything.
const SIDES: [&str; 2] = ["1", "2"];

fn urls(file: usize) -> Vec<String> {
    (0..ASSETS).map(|asset| format!("http://cdn.example.com/{file}/{asset}")).collect()
}

/// The manifests of a side, and one that never changes.
fn write_side(bench: &Bench, folder: &str, side: &str, cloud: &Cloud) {
    for file in 0..FILES {
        bench.write(&format!("{folder}/{file}.yaml"), manifest(&urls(file), side));
    }
    bench.write(&format!("{folder}/same.yaml"), manifest(&urls(FILES), "same"));
    let own = provider("own", "http-purge", &cloud.url(), "");
    // Slow enough that the program is killed amid calls.
    bench.write(&format!("{folder}/own.yaml"), own.replace("calls_per_second: 1000", "calls_per_second: 100"));
}

/// A storm: the program, killed and started now and then, and what it is held to.
struct Storm<'a> {
    bench: &'a Bench,
    cloud: &'a Cloud,
    folder: &'a str,
    watching: Option<Watching>,
    /// Changes that may be seen of each asset in one switch: a file that git replaces is away for a moment.
    seen_per_switch: usize,
    switches: usize,
    kills: usize,
}

impl Storm<'_> {
    /// Switches back and forth, kills and starts.
    fn rages(&mut self, seed: u64, switch: &dyn Fn(usize)) {
        let mut rng = Rng::with_seed(seed);
        let mut side = 0;
        for _ in 0..SWITCHES {
            side = 1 - side;
            switch(side);
            self.switches += 1;
            pause(&mut rng);
            match rng.u8(..16) {
                0 => self.settles(side),
                1..=2 if self.watching.is_some() => {
                    self.watching.take().expect("running").kill();
                    self.kills += 1;
                }
                3..=9 if self.watching.is_none() => self.starts(),
                _ => {}
            }
        }
        self.settles(side);
        self.watching.take().expect("running").stop();
    }

    fn starts(&mut self) {
        self.watching = Some(Watching::start(self.bench, &["--allow-removals", "--audit", AUDIT, self.folder]));
    }

    /// Once a run has read everything after the last switch, the state is the files', and what was purged is what was asked
    /// for: S2, S3.
    fn settles(&mut self, side: usize) {
        if self.watching.is_none() {
            self.starts();
        }
        let watching = self.watching.as_mut().expect("running");
        watching.says("run begins");
        // Without being asked it gets there too, long before the next look at everything.
        while !is_at(self.bench, side) {
            watching.ends_a_run();
        }
        watching.signal("HUP");
        watching.wait("the run that was asked for", |record| {
            record["message"] == "run begins" && record["reason"] == "reload"
        });
        watching.ends_a_run();
        assert!(is_at(self.bench, side), "{:#?}", self.bench.exported());
        self.purged_what_was_asked();
    }

    /// Each target was purged once for each call that recorded it, and besides only where a kill left it in doubt; and never
    /// more often than it changed.
    fn purged_what_was_asked(&self) {
        let mut purged: BTreeMap<String, usize> = BTreeMap::new();
        self.cloud.purged().into_iter().for_each(|url| *purged.entry(url).or_default() += 1);
        let accepted = accepted(self.bench);
        for url in (0..FILES).flat_map(urls) {
            let accepted = accepted.get(&url).copied().unwrap_or_default();
            let count = purged.remove(&url).unwrap_or_default();
            // What a kill cut off has arrived, or not.
            assert!(
                (accepted..=accepted + self.kills).contains(&count),
                "{url} was purged {count} times, and that was written down {accepted} times"
            );
            let most = self.seen_per_switch * self.switches + self.kills;
            assert!(count <= most, "{url} was purged {count} times, and changed or was in doubt {most} times");
        }
        assert!(purged.is_empty(), "what never changes is never purged: {purged:?}");
    }
}

/// How often a call was accepted for each target, as the audit log has it.
fn accepted(bench: &Bench) -> BTreeMap<String, usize> {
    let mut accepted = BTreeMap::new();
    let log = bench.read(AUDIT).unwrap_or_default();
    for line in String::from_utf8(log).expect("UTF-8").lines() {
        // A kill may cut a line.
        let Ok(call) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        if call["outcome"] == "accepted" {
            for target in call["targets"].as_array().into_iter().flatten() {
                *accepted.entry(target.as_str().expect("text").to_owned()).or_default() += 1;
            }
        }
    }
    accepted
}

/// Whether all assets are recorded as this side has them, and nothing is due.
fn is_at(bench: &Bench, side: usize) -> bool {
    let recorded = bench.recorded();
    let is_recorded = |url: String| recorded.contains(&format!("own {url} rev:{}", SIDES[side]));
    bench.due().is_empty() && (0..FILES).flat_map(urls).all(is_recorded)
}

/// Often shorter than the debounce, and sometimes longer.
#[expect(clippy::disallowed_methods, reason = "files and their events are real, so is the time between them")]
fn pause(rng: &mut Rng) {
    let most = [1, 20, 20, 80, 300][rng.usize(..5)];
    std::thread::sleep(Duration::from_millis(rng.u64(..most)));
}

fn storm<'a>(bench: &'a Bench, cloud: &'a Cloud, folder: &'a str, seen_per_switch: usize) -> Storm<'a> {
    bench.run(&["adopt", folder]).exits(0);
    Storm { bench, cloud, folder, watching: None, seen_per_switch, switches: 0, kills: 0 }
}

fn git(bench: &Bench, arguments: &[&str]) {
    let identity = ["-C", "manifests", "-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"];
    let ran = bench.other("git", &[&identity, arguments].concat()).output().expect("git is installed");
    assert!(ran.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// W2, W4, S2, S3, C1: git between two commits.
#[test]
fn checkouts_back_and_forth_lose_nothing() {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::new();
    write_side(&bench, "manifests", SIDES[1], &cloud);
    git(&bench, &["init", "-q"]);
    git(&bench, &["add", "."]);
    git(&bench, &["commit", "-qm", "two"]);
    git(&bench, &["tag", SIDES[1]]);
    write_side(&bench, "manifests", SIDES[0], &cloud);
    git(&bench, &["commit", "-qam", "one"]);
    git(&bench, &["tag", SIDES[0]]);
    storm(&bench, &cloud, "manifests", 2).rages(1, &|side| git(&bench, &["checkout", "-q", SIDES[side]]));
}

/// W2, W4, S2, S3, C1: as Kubernetes mounts a ConfigMap, each side in a folder that is made and removed.
#[test]
fn swaps_back_and_forth_lose_nothing() {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::new();
    let swap = |side: usize| {
        let (new, old) = (SIDES[side], SIDES[1 - side]);
        write_side(&bench, &format!("config/..{new}"), new, &cloud);
        symlink(format!("..{new}"), bench.path("config/..data_tmp")).expect("a link");
        fs::rename(bench.path("config/..data_tmp"), bench.path("config/..data")).expect("swapped");
        let _ = fs::remove_dir_all(bench.path(&format!("config/..{old}")));
    };
    swap(0);
    for entry in fs::read_dir(bench.path("config/..data")).expect("a folder") {
        let name = entry.expect("a file").file_name();
        symlink(Path::new("..data").join(&name), bench.path("config").join(&name)).expect("a link");
    }
    storm(&bench, &cloud, "config", 1).rages(2, &swap);
}
