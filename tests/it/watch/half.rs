//! Files that change while a run reads them. The run is held where it opens a file, so that a test knows what it reads.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::cli::Bench;
use crate::support::cloud::Cloud;
use crate::support::is_installed;
use crate::support::reader::get;
use crate::support::watching::Watching;

const LIST: &str = "SHA256SUMS";
const TRACE: &str = "trace.log";
/// How long a test waits for what must happen, so that a broken test ends.
const BOUND: Duration = Duration::from_mins(1);

/// A watch that is stopped each time it has opened a file and not read it yet.
struct Held {
    watching: Watching,
    stops: usize,
}

impl Held {
    /// Starts it, to be held at this file, as the program names it. `None` where nothing can hold it.
    fn at(bench: &Bench, file: &str, arguments: &[&str]) -> Option<Self> {
        if !is_installed("strace", "strace") {
            return None;
        }
        // The tracer stands aside: signals go to the program itself.
        let strace = ["-D", "-f", "-e", "quiet=all", "-o", TRACE, "-P", file, "-e", "trace=openat"];
        let strace = [&strace[..], &["-e", "inject=openat:signal=SIGSTOP"]].concat();
        let watch = [&["watch", "--log-format", "json", "--log-level", "debug"], arguments].concat();
        let watching = Watching::of(bench.wrapped("strace", &strace, &watch).spawn().expect("started"));
        Some(Self { watching, stops: 0 })
    }

    /// Waits until it has opened the file once more.
    #[track_caller]
    fn opens(&mut self, bench: &Bench) {
        self.stops += 1;
        let end = Instant::now() + BOUND;
        loop {
            let trace = String::from_utf8_lossy(&bench.read(TRACE).unwrap_or_default()).into_owned();
            let last = trace.match_indices("--- SIGSTOP {").nth(self.stops - 1);
            if last.is_some_and(|(at, _)| trace[at..].contains("--- stopped by SIGSTOP")) {
                return;
            }
            assert!(Instant::now() < end, "it was not opened; {trace}; {:#?}", self.watching.seen);
            std::thread::yield_now();
        }
    }

    fn reads(&self) {
        self.watching.signal("CONT");
    }

    /// Waits until a run has thrown away what it read.
    #[track_caller]
    fn discards(&mut self, why: &str) {
        let told = self.watching.says("everything is read again");
        assert!(told["message"].as_str().is_some_and(|message| message.starts_with(why)), "{told}");
        self.watching.ends_a_run();
    }
}

/// A list of checksums of so many files, in this revision.
fn list(files: usize, revision: usize) -> String {
    let lines: Vec<String> = (0..files).map(|file| format!("{revision:064x}  {file}\n")).collect();
    lines.concat()
}

/// A cache, and such a list that is recorded.
fn listed(files: usize) -> (Cloud, Bench) {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    bench.write(LIST, list(files, 0));
    bench.write("manifests/site.yaml", "base_url: http://cdn.example.com\nsources: [{checksums: ../SHA256SUMS}]\n");
    bench.run(&["adopt"]).exits(0);
    (cloud, bench)
}

/// Lets the first run find the list, and the second one read it, now that it is watched.
fn settles(held: &mut Held, bench: &Bench) {
    held.opens(bench);
    held.reads();
    held.discards("sources were read that nobody watched");
    held.opens(bench);
    held.reads();
    held.watching.ends_a_run();
}

/// W2, D4: half of a list is valid, also where its writer begins only when a run is under way: what it lacks is no removal.
#[test]
fn half_of_a_file_that_is_written_while_a_run_reads_purges_nothing() {
    let (cloud, bench) = listed(30);
    let Some(mut held) = Held::at(&bench, LIST, &[]) else { return };
    settles(&mut held, &bench);
    bench.write(LIST, list(30, 1));
    held.opens(&bench);
    let text = list(30, 2);
    let mut file = fs::File::create(bench.path(LIST)).unwrap();
    file.write_all(&text.as_bytes()[..text.len() * 7 / 10]).unwrap();
    held.reads();
    held.discards("a file is being written");
    file.write_all(&text.as_bytes()[text.len() * 7 / 10..]).unwrap();
    drop(file);
    held.opens(&bench);
    held.reads();
    assert_eq!(held.watching.wait("a run", |record| record["message"] == "run ended")["recorded"], 30);
    assert_eq!(cloud.arrived(), 30, "each once");
    held.watching.stop();
}

/// W2: files that are renamed while a run reads may not belong together.
#[test]
fn files_that_are_replaced_while_a_run_reads_are_read_again() {
    let (cloud, bench) = listed(2);
    let Some(mut held) = Held::at(&bench, LIST, &[]) else { return };
    settles(&mut held, &bench);
    bench.write(LIST, list(2, 1));
    held.opens(&bench);
    bench.write("manifests/more.yaml", "assets: {\"http://cdn.example.com/more\": rev:1}\n");
    held.reads();
    held.discards("files changed while they were read");
    held.opens(&bench);
    held.reads();
    assert_eq!(held.watching.wait("a run", |record| record["message"] == "run ended")["recorded"], 3);
    assert_eq!(cloud.arrived(), 3);
    held.watching.stop();
}

/// W4: changing files with each look at them does not keep what changed from being purged.
#[test]
fn files_that_change_with_each_look_are_purged_all_the_same() {
    let (cloud, bench) = listed(2);
    let Some(mut held) = Held::at(&bench, LIST, &[]) else { return };
    settles(&mut held, &bench);
    bench.write(LIST, list(2, 1));
    let begun = Instant::now();
    while cloud.arrived() == 0 {
        assert!(begun.elapsed() < BOUND, "{} runs came to nothing", held.stops);
        held.opens(&bench);
        bench.write(
            "manifests/other.yaml",
            format!("assets: {{\"http://cdn.example.com/other\": rev:{}}}\n", held.stops),
        );
        held.reads();
        held.watching.ends_a_run();
    }
    drop(held);
    assert!(cloud.purged().contains(&"http://cdn.example.com/1".to_owned()));
}

/// W7: a run that came to nothing is neither a success nor one of the last runs that somebody would look at.
#[test]
fn a_run_that_came_to_nothing_is_no_success() {
    let (_cloud, bench) = listed(2);
    let Some(mut held) = Held::at(&bench, LIST, &["--listen", "127.0.0.1:0"]) else { return };
    let told = held.watching.says("listening at")["message"].as_str().unwrap().to_owned();
    let at = told.rsplit_once("http://").unwrap().1.parse().unwrap();
    held.opens(&bench);
    let mut file = fs::File::create(bench.path("manifests/more.yaml")).unwrap();
    file.write_all(b"assets: {}").unwrap();
    held.reads();
    held.discards("a file is being written");
    let metrics = get(at, "/metrics").body;
    assert!(!metrics.contains("last_success") && metrics.contains("freshen_manifests_valid 0"), "{metrics}");
    let page = get(at, "/").body;
    assert!(page.contains("<p id=\"runs-empty\">None yet."), "{page}");
    assert!(get(at, "/readyz").body.contains("not read yet"));
}

/// H4: what was hashed for a run that came to nothing is not hashed again, also before anything was ever recorded.
#[test]
fn what_a_run_has_hashed_is_kept_when_files_change_meanwhile() {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    // Of a file that changed a moment ago nothing is kept.
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
    let sources = format!("base_url: http://cdn.example.com\nsources: [{{directory: {}}}]\n", old.display());
    bench.write("manifests/site.yaml", sources);
    let mut watching = Watching::start(&bench, &[]);
    watching.says("sources were read that nobody watched");
    watching.ends_a_run();
    assert!(bench.recorded().is_empty());
    let caches = freshen::state::SqliteStore::open_caches(&bench.path(".freshen/state.db")).expect("a state");
    let directories = freshen::state::Store::cached_directories(&caches).expect("readable");
    assert_eq!(directories, [old.canonicalize().unwrap().to_str().unwrap()]);
    let run = watching.wait("a run", |record| record["message"] == "run ended");
    assert_eq!(run["recorded"].as_u64(), Some(cloud.arrived() as u64));
    watching.stop();
}
