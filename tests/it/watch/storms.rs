//! Files that change back and forth while the program is killed at random: what is purged is what the files asked for whenever
//! a run read them.
//!
//! Intervals are of real time, since events of files are; what must hold does not depend on them. What runs read, the state
//! tells: triggers in it write down what each run asked for and what it recorded, in the transactions that do so. From that the
//! purges follow one by one, except that a kill may leave some in doubt.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use fastrand::Rng;

use crate::support::cli::{Bench, STATE, manifest, provider};
use crate::support::cloud::Cloud;
use crate::support::watching::Watching;

const SWITCHES: usize = 200;
/// Manifests that differ between the two sides, and assets in each.
const FILES: usize = 6;
const ASSETS: usize = 3;

/// Writes down what becomes of each target. `asks`: a run wants it to be `wanted`; `sends`: a call is about to leave;
/// `records`: it was purged for that; `drops`: it went before anything was recorded of it.
const WITNESS: &str = "
    CREATE TABLE witness (id INTEGER PRIMARY KEY, target TEXT NOT NULL, event TEXT NOT NULL, known TEXT, wanted TEXT);
    CREATE TRIGGER asks_anew AFTER INSERT ON target WHEN new.work_kind IS NOT NULL BEGIN
        INSERT INTO witness (target, event, known, wanted) VALUES (new.target, 'asks', new.hash, new.desired);
    END;
    CREATE TRIGGER asks AFTER UPDATE ON target
    WHEN new.work_kind IS NOT NULL AND (old.work_kind IS NULL OR new.desired IS NOT old.desired) BEGIN
        INSERT INTO witness (target, event, known, wanted) VALUES (new.target, 'asks', old.hash, new.desired);
    END;
    CREATE TRIGGER sends AFTER UPDATE ON target WHEN new.call > 0 AND new.call IS NOT old.call BEGIN
        INSERT INTO witness (target, event) VALUES (new.target, 'sends');
    END;
    CREATE TRIGGER records AFTER UPDATE ON target WHEN old.work_kind IS NOT NULL AND new.work_kind IS NULL BEGIN
        INSERT INTO witness (target, event, known, wanted) VALUES (new.target, 'records', new.hash, old.desired);
    END;
    CREATE TRIGGER goes AFTER DELETE ON target WHEN old.work_kind IS NOT NULL BEGIN
        INSERT INTO witness (target, event, known, wanted)
        VALUES (old.target, CASE WHEN old.hash IS NULL THEN 'drops' ELSE 'records' END, NULL, old.desired);
    END;
";

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
        self.watching = Some(Watching::start(self.bench, &["--allow-removals", self.folder]));
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
            record["message"] == "run begins" && record["reason"] == "asked"
        });
        watching.ends_a_run();
        assert!(is_at(self.bench, side), "{:#?}", self.bench.exported());
        self.purged_what_was_asked();
    }

    /// Each target was purged exactly once for whatever it was asked to become, and besides only where a kill left it in doubt.
    fn purged_what_was_asked(&self) {
        let mut purged: BTreeMap<String, usize> = BTreeMap::new();
        self.cloud.purged().into_iter().for_each(|url| *purged.entry(url).or_default() += 1);
        let stories = stories(self.bench);
        for url in (0..FILES).flat_map(urls) {
            let Story { asked, sent, recorded, is_due, .. } = stories.get(&url).cloned().unwrap_or_default();
            let count = purged.remove(&url).unwrap_or_default();
            assert!(!is_due && asked == recorded, "{url}: {recorded} of {asked}");
            // What a kill cut off has arrived, or not.
            assert!((recorded..=sent).contains(&count), "{url} was purged {count} times, for {recorded} changes");
            assert!(sent - recorded <= self.kills, "{url} was sent {sent} times, for {recorded} changes");
            let most = self.seen_per_switch * self.switches;
            assert!(asked <= most, "{url} was asked for {asked} times, and changed {most} times");
        }
        assert!(purged.is_empty(), "what never changes is never purged: {purged:?}");
    }
}

/// What became of a target.
#[derive(Clone, Default)]
struct Story {
    /// Times that it was asked to become something, while nothing was due.
    asked: usize,
    /// Times that a call was about to leave.
    sent: usize,
    /// Times that it was recorded as what was asked for last.
    recorded: usize,
    is_due: bool,
    wanted: Option<String>,
}

impl Story {
    fn goes_on(&mut self, target: &str, event: &str, [known, wanted]: [Option<String>; 2]) {
        match event {
            "asks" => {
                assert!(self.is_due || known != wanted, "{target} was {known:?} already");
                self.asked += usize::from(!self.is_due);
                (self.is_due, self.wanted) = (true, wanted);
            }
            "records" => {
                assert!(self.is_due, "nobody asked for {target}");
                assert_eq!((&known, &wanted), (&self.wanted, &self.wanted), "{target}");
                self.recorded += 1;
                self.is_due = false;
            }
            "sends" => self.sent += 1,
            // Nobody asks for it any more, and nothing was recorded.
            _ => (self.is_due, self.asked) = (false, self.asked - 1),
        }
    }
}

/// What became of each target, as the state has written it down.
fn stories(bench: &Bench) -> BTreeMap<String, Story> {
    let mut stories: BTreeMap<String, Story> = BTreeMap::new();
    let state = rusqlite::Connection::open(bench.path(STATE)).expect("opened");
    let mut events = state.prepare("SELECT target, event, known, wanted FROM witness ORDER BY id").expect("a table");
    let mut rows = events.query([]).expect("read");
    while let Some(row) = rows.next().expect("a row") {
        let text = |column: usize| row.get::<_, String>(column).expect("text");
        let (target, hashes) = (text(0), [2, 3].map(|column| row.get(column).expect("a hash")));
        stories.entry(target.clone()).or_default().goes_on(&target, &text(1), hashes);
    }
    stories
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
    let state = rusqlite::Connection::open(bench.path(STATE)).expect("opened");
    state.execute_batch(WITNESS).expect("triggers");
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
