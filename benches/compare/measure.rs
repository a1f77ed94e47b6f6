//! Times, peak memory, programs. Does not know what is measured, or what for.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// After so long, what is measured does not run again.
const ENOUGH: Duration = Duration::from_secs(20);
/// What was written less than two seconds ago is not trusted to be unchanged.
const SETTLED: Duration = Duration::from_secs(3);
/// Runs of a program whose memory is looked at.
const LOOKS: usize = 3;
/// How often the memory of a program is looked at.
const LOOK_AGAIN: Duration = Duration::from_micros(300);

/// Where and how it is measured.
pub(crate) struct Setup {
    folder: PathBuf,
    scale: f64,
    runs: usize,
}

impl Setup {
    pub(crate) fn new(folder: &Path, scale: f64, runs: usize) -> Self {
        std::fs::create_dir_all(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let folder = folder.canonicalize().expect("it was made");
        eprintln!("inputs are in {}", folder.display());
        Self { folder, scale, runs }
    }

    /// So many, at the scale of this run.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "counts")]
    pub(crate) fn scaled(&self, count: usize) -> usize {
        ((count as f64 * self.scale) as usize).max(1)
    }

    /// A folder or file of this run.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn clean(&self) {
        std::fs::remove_dir_all(&self.folder).unwrap_or_else(|error| panic!("{}: {error}", self.folder.display()));
    }

    /// The shortest times of two works that run in turn, so that what else the machine does is shared.
    pub(crate) fn side_by_side(&self, mut one: impl FnMut(), mut other: impl FnMut()) -> (Duration, Duration) {
        let (mut first, mut second) = (Shortest::default(), Shortest::default());
        for _ in 0..self.runs {
            first.time(&mut one);
            second.time(&mut other);
        }
        (first.best, second.best)
    }

    /// The shortest time of a work.
    pub(crate) fn shortest(&self, work: impl FnMut()) -> Duration {
        self.side_by_side(work, || {}).0
    }
}

#[derive(Default)]
struct Shortest {
    best: Duration,
    spent: Duration,
}

impl Shortest {
    fn time(&mut self, work: &mut impl FnMut()) {
        if self.spent > ENOUGH {
            return;
        }
        let time = timed(work);
        self.best = if self.spent.is_zero() { time } else { self.best.min(time) };
        self.spent += time;
    }
}

#[expect(clippy::disallowed_methods, reason = "time is what is measured")]
pub(crate) fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Waits until nothing is on its way to the disk, and until all that was written is old enough to be trusted.
#[expect(clippy::disallowed_methods, reason = "the clocks of file systems cannot be set")]
pub(crate) fn settle() {
    run(command("sync"));
    std::thread::sleep(SETTLED);
}

/// A program, by its name.
#[expect(clippy::disallowed_methods, reason = "programs are what is compared")]
pub(crate) fn command(program: &str) -> Command {
    Command::new(program)
}

/// freshen, in a folder.
pub(crate) fn freshen(folder: &Path, arguments: &[&str]) -> Command {
    let mut freshen = command(env!("CARGO_BIN_EXE_freshen"));
    freshen.args(arguments).current_dir(folder);
    freshen
}

/// Runs a program to its end, which has to be a good one.
pub(crate) fn run(mut command: Command) {
    let ran = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output();
    let ran = ran.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(ran.status.success(), "{command:?}: {}\n{}", ran.status, String::from_utf8_lossy(&ran.stderr));
}

/// Runs a program some times, and returns the most memory that it held, in bytes; `None` where the system does not say.
pub(crate) fn peak(program: impl Fn() -> Command) -> Option<u64> {
    // A short run may end between two looks.
    (0..LOOKS).filter_map(|_| peak_of_one(program())).max()
}

#[expect(clippy::disallowed_methods, reason = "a program's memory is looked at while it runs")]
fn peak_of_one(mut command: Command) -> Option<u64> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = None;
    loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        // A program that is about to end shows none any more; it never becomes less.
        peak = peak.max(text.lines().find_map(|line| line.strip_prefix("VmHWM:")).and_then(kibibytes));
        if let Some(status) = child.try_wait().expect("a child") {
            assert!(status.success(), "{command:?}: {status}");
            return peak;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

fn kibibytes(text: &str) -> Option<u64> {
    Some(1024 * text.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?)
}

/// Whether a program is installed. Its version is shown, since what is compared depends on it.
pub(crate) fn is_there(program: &str, ask: &str) -> bool {
    let said = command(program).arg(ask).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let said = said.ok().filter(|said| said.status.success());
    if let Some(said) = &said {
        eprintln!("  {}", String::from_utf8_lossy(&said.stdout).lines().next().unwrap_or(program));
    }
    said.is_some()
}
