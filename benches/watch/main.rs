//! What `freshen watch` costs and how soon it purges, as a user starts it, with the bars that it has to hold.
//!
//! `cargo bench --bench watch -- --help`. Needs a system with `/proc`.

mod endpoint;
#[path = "../compare/inputs.rs"]
#[expect(dead_code, reason = "shared with the other comparisons")]
mod inputs;
#[path = "../compare/measure.rs"]
#[expect(dead_code, reason = "shared with the other comparisons")]
mod measure;
#[path = "../compare/table.rs"]
#[expect(dead_code, reason = "shared with the other comparisons")]
mod table;
mod watcher;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use endpoint::Endpoint;
use inputs::{HEAD, manifest, remove};
use measure::{Setup, freshen, run};
use table::{Amount, Row, Table};
use watcher::Watcher;

const HELP: &str = "\
cargo bench --bench watch -- [--idle SECONDS] [--help]

From a change to its purge, a storm of events, and what an idle watch costs for so many seconds (60). Fails if a bar is missed.
";

/// Files must have been left alone this long before they are read.
const DEBOUNCE: Duration = Duration::from_millis(200);
const FILES: usize = 20;
const ASSETS_A_FILE: usize = 500;
const CHANGES: usize = 50;
/// A storm: so many writes in each hundredth of a second, for so long.
const WRITES: usize = 100;
const STORM: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let idle = match words[..] {
        [] => Some(60),
        ["--idle", seconds] => seconds.parse().ok(),
        _ => None,
    };
    let Some(idle) = idle else {
        eprint!("{HELP}");
        return ExitCode::from(2);
    };
    let setup = Setup::new(&folder(), 1.0, 1);
    let mut table = Table::new(1.0);
    table.begin("one change");
    first_byte(&setup, &mut table);
    table.begin("a storm");
    storm(&setup, &mut table);
    table.begin("idle");
    idles(&setup, &mut table, Duration::from_secs(idle));
    print!("{table}");
    if table.is_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::disallowed_methods, reason = "the user names the folder")]
fn folder() -> PathBuf {
    let parent = std::env::var_os("FRESHEN_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    parent.join("freshen-bench").join("watch")
}

#[expect(clippy::disallowed_methods, reason = "time is what is measured")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "what is measured needs real time")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Writes a manifest of the site; its first asset has this revision.
fn write(folder: &Path, file: usize, revision: usize) {
    let mut text = format!("{HEAD}assets:\n");
    for asset in 0..ASSETS_A_FILE {
        let revision = if asset == 0 { revision } else { 0 };
        text += &format!("  f{file:02}/{asset:04}.html: rev:{revision}\n");
    }
    fs::write(manifest(folder, file), text).expect("written");
}

/// A folder with 10 000 assets in 20 manifests, recorded.
fn site(setup: &Setup, name: &str, endpoint: &Endpoint) -> PathBuf {
    let folder = setup.path(name);
    remove(&folder);
    fs::create_dir_all(folder.join("manifests")).expect("a folder");
    (0..FILES).for_each(|file| write(&folder, file, 0));
    fs::write(folder.join("manifests/provider.yaml"), endpoint.provider()).expect("written");
    run(freshen(&folder, &["adopt"]));
    folder
}

/// From the moment at which a manifest is closed after writing to the first byte of the purge.
fn first_byte(setup: &Setup, table: &mut Table) {
    let endpoint = Endpoint::listen();
    let folder = site(setup, "first-byte", &endpoint);
    let mut watcher = Watcher::start(&folder);
    watcher.ends_a_run();
    let mut times = Vec::new();
    for change in 1..=CHANGES {
        write(&folder, change % FILES, change);
        let closed = now();
        times.push(endpoint.next().saturating_duration_since(closed));
        watcher.ends_a_run();
        // What was closed while it was read may be looked at again.
        pause(DEBOUNCE * 2);
    }
    times.sort_unstable();
    let most = Amount::Time(DEBOUNCE + Duration::from_millis(50));
    table.add(Row::time("close to first byte, median of 50", times[CHANGES / 2]).at_most(most));
    table.add(Row::time("the same, 90th percentile", times[CHANGES * 9 / 10]));
}

/// 10 000 writes a second for ten seconds: few runs, little work, and the right end.
fn storm(setup: &Setup, table: &mut Table) {
    let endpoint = Endpoint::listen();
    let folder = site(setup, "storm", &endpoint);
    let mut watcher = Watcher::start(&folder);
    watcher.ends_a_run();
    let (spent, started) = (watcher.cpu(), now());
    let mut writes = 0_usize;
    let path = |write: usize| manifest(&folder, write % FILES);
    let texts: Vec<Vec<u8>> = (0..FILES).map(|file| fs::read(manifest(&folder, file)).expect("written")).collect();
    while started.elapsed() < STORM {
        let due = WRITES * usize::try_from(started.elapsed().as_millis() / 10).expect("small");
        while writes < due {
            // The same bytes: an event each and nothing to purge, so that only the watching is measured.
            touch(&path(writes), &texts[writes % FILES]);
            writes += 1;
        }
        pause(Duration::from_millis(1));
    }
    let took = started.elapsed();
    (0..FILES).for_each(|file| write(&folder, file, 1));
    for _ in 0..FILES {
        endpoint.next();
    }
    let spent = watcher.cpu().saturating_sub(spent);
    let runs = watcher.stop() - 1;
    run(freshen(&folder, &["plan", "--exit-code"]));
    let bar = took.as_secs() / 2 + 1;
    table.add(Row::new("writes", Amount::Count(writes as u64)));
    table.add(Row::new("runs, with the one after it", Amount::Count(runs)).at_most(Amount::Count(bar)));
    table.add(Row::new("one core's time", Amount::Share(spent.div_duration_f64(took))).at_most(Amount::Share(1.0)));
}

/// One byte of a file is written as it was: no moment at which it is not valid.
fn touch(path: &Path, text: &[u8]) {
    use std::io::Write;
    let mut file = fs::OpenOptions::new().write(true).open(path).expect("there");
    file.write_all(&text[..1]).expect("written");
}

/// Nothing happens, with a million recorded entries.
fn idles(setup: &Setup, table: &mut Table, time: Duration) {
    let folder = setup.manifests("million", 1_000_000, FILES);
    if !folder.join(".freshen/state.db").exists() {
        run(freshen(&folder, &["adopt"]));
    }
    let mut watcher = Watcher::start(&folder);
    watcher.ends_a_run();
    pause(Duration::from_secs(2));
    let spent = watcher.cpu();
    pause(time);
    let spent = watcher.cpu().saturating_sub(spent);
    let memory = watcher.memory();
    watcher.stop();
    let share = Amount::Share(spent.div_duration_f64(time));
    table.add(Row::new("one core's time", share).at_most(Amount::Share(0.001)));
    table.add(Row::new("memory", Amount::Bytes(memory)).at_most(Amount::Bytes(64_000_000)));
}
