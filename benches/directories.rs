//! Scans of a directory beside `b3sum`, and reading of checksum lists, as ratios of the same run.
//!
//! `cargo bench --bench directories -- DIR [LIST]`; DIR is scanned, LIST is a checksum list. Minima of several runs.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use freshen::core::time::Timestamp;
use freshen::host::tree::{self, StatCache, TreeRules};

const RUNS: usize = 5;

fn main() {
    // The harness of cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let Some(folder) = arguments.first() {
        directory(Path::new(folder));
    }
}

/// The shortest of several runs, and the last result.
#[expect(clippy::disallowed_methods, reason = "time is what is measured")]
fn shortest<T>(mut run: impl FnMut() -> T) -> (Duration, T) {
    let mut timed = || {
        let start = Instant::now();
        let result = run();
        (start.elapsed(), result)
    };
    let (mut best, mut last) = timed();
    for _ in 1..RUNS {
        let (time, result) = timed();
        (best, last) = (best.min(time), result);
    }
    (best, last)
}

fn directory(folder: &Path) {
    let rules = TreeRules::default();
    let scan = |cache: &StatCache| {
        tree::scan(folder, &rules, cache, &AtomicU64::new(0)).unwrap_or_else(|errors| panic!("{errors:?}"))
    };
    let (first, tree) = shortest(|| scan(&StatCache::default()));
    let (files, bytes) = (tree.files().len(), tree.files().map(|file| file.size).sum::<u64>());
    println!("{}: {files} files, {bytes} bytes", folder.display());
    let b3sum = b3sum(folder);
    let ratio = b3sum.map_or_else(String::new, |b3sum| {
        format!(", {:.2} of b3sum's {} ms", first.as_secs_f64() / b3sum.as_secs_f64(), b3sum.as_millis())
    });
    println!("first scan: {} ms{ratio}", first.as_millis());

    // As if it were written long ago.
    let bytes = tree.into_stat_cache(Timestamp::from_unix_ms(i64::MAX / 2_000_000)).to_bytes();
    let (again, tree) = shortest(|| scan(&StatCache::from_bytes(&bytes)));
    assert_eq!(tree.files_read(), 0, "an unchanged tree is not read again");
    println!("unchanged: {} ms, its cache of {} bytes included", again.as_millis(), bytes.len());
    let (write, _) = shortest(|| StatCache::from_bytes(&bytes).to_bytes());
    println!("cache read and written: {} ms", write.as_millis());
}

/// `b3sum` on the same files; `None` if it is not installed.
#[expect(clippy::disallowed_methods, reason = "the program to compare with")]
fn b3sum(folder: &Path) -> Option<Duration> {
    let run = || {
        let script = "find \"$0\" -type f -print0 | xargs -0 b3sum >/dev/null";
        let status = Command::new("sh").args(["-c", script]).arg(folder).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    let (time, is_there) = shortest(run);
    is_there.then_some(time)
}
