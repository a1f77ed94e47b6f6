//! Scans of a directory beside `b3sum`, and reading of checksum lists, as ratios of the same run.
//!
//! `cargo bench --bench inventories -- PATH…`: a folder is scanned, a file is read as a checksum list. Minima of several
//! runs, so with everything in the system's cache.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use freshen::core::time::Timestamp;
use freshen::host::tree::{self, StatCache, TreeRules};
use freshen::manifest::checksums::ChecksumReader;

const RUNS: usize = 5;

fn main() {
    // The harness of cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    for path in arguments.iter().map(Path::new) {
        if path.is_dir() { directory(path) } else { list(path) }
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

/// Reads a list on one core, in pieces as they come from a file, and adds up what it says.
#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn list(path: &Path) {
    const PIECE_BYTES: usize = 256 * 1024;
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{error}"));
    let (time, (lines, names)) = shortest(|| {
        let (mut lines, mut names) = (0_u64, 0);
        let mut reader = ChecksumReader::new(None);
        let mut each = |line: Result<freshen::manifest::checksums::Listed<'_>, _>| {
            let listed = line.unwrap_or_else(|problem| panic!("{problem:?}"));
            lines += 1;
            names += listed.path.len() + usize::from(listed.digest[0]);
        };
        for piece in bytes.chunks(PIECE_BYTES) {
            reader.feed(piece, &mut each);
        }
        reader.finish(&mut each);
        (lines, names)
    });
    assert!(names > 0, "names are read");
    let (hash, _) = shortest(|| std::hint::black_box(blake3::hash(&bytes)));
    let rate = bytes.len() as f64 / time.as_secs_f64() / 1e6;
    println!(
        "{}: {lines} lines, {} bytes in {} ms: {rate:.0} MB/s, {:.1} of BLAKE3 on one core",
        path.display(),
        bytes.len(),
        time.as_millis(),
        time.as_secs_f64() / hash.as_secs_f64(),
    );
}
