//! Whether this process may have what every run needs. Libraries panic, hang or abort where they cannot have a thread or
//! memory, in the middle of a run; asked for before it, a shortage is an error with its cause.

use std::hint::black_box;
use std::io;
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Builder};

/// Files that a small run has open at once, with some to spare.
#[cfg(unix)]
const FILES: u64 = 32;
/// Threads of a run besides those that walk directories.
const THREADS: usize = 16;
/// Stack of each thread that is asked for, as the standard library gives it; and where memory is not limited, where their number
/// is all that matters.
const STACK_BYTES: [usize; 2] = [2 << 20, 64 << 10];
/// Memory of a small run, with much to spare, besides the program and its threads.
const BYTES: usize = 48 << 20;
/// Has the C library of Linux share this many heaps among all threads. By itself it gives one to each, of 64 MiB of addresses,
/// and a limit of them is used up by threads that hold next to nothing.
#[cfg(unix)]
const HEAPS: (&str, &str) = ("MALLOC_ARENA_MAX", "2");

/// What this process may not have.
#[derive(Debug, thiserror::Error)]
pub enum Shortage {
    /// So many files may be open.
    #[error("this process may open {0} files at once, and needs 32; raise the limit (`ulimit -n`)")]
    Files(u64),
    /// A thread cannot be started.
    #[error(
        "this process cannot start the threads that it needs: {0}; raise the limit of processes (`ulimit -u`) or of memory \
         (`ulimit -v 196608`)"
    )]
    Threads(io::Error),
    /// Memory cannot be had.
    #[error(
        "this process may not have the addresses of memory that it needs, 192 MiB; raise the limit (`ulimit -v 196608`)"
    )]
    Memory,
}

/// Begins the program anew with few heaps where its size is limited, in this process. Where that cannot be done, it goes on as
/// it is.
#[cfg_attr(unix, expect(clippy::disallowed_methods, reason = "before anything runs, and the program is this one"))]
pub fn begin_with_few_heaps() {
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;
        let (name, heaps) = HEAPS;
        if let Ok(program) = std::env::current_exe()
            && is_size_limited()
            && std::env::var_os(name).is_none()
        {
            let mut arguments = std::env::args_os();
            let called = arguments.next().unwrap_or_else(|| program.clone().into());
            // It returns only if the system refuses.
            drop(std::process::Command::new(program).arg0(called).args(arguments).env(name, heaps).exec());
        }
    }
}

/// How many connections a listener may hold at once, at most `most`: half of the files that a run does not need.
pub fn connections(most: usize) -> usize {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit};
        getrlimit(Resource::Nofile).current.map_or(most, |files| half_of_the_rest(files, most))
    }
    #[cfg(not(unix))]
    most
}

#[cfg(unix)]
fn half_of_the_rest(files: u64, most: usize) -> usize {
    usize::try_from(files.saturating_sub(FILES) / 2).unwrap_or(most).clamp(1, most)
}

/// Asks the system for all of it at once, and gives it back: memory only where the size of the process is limited.
///
/// # Errors
/// What this process may not have.
pub fn check() -> Result<(), Shortage> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit};
        if let Some(files) = getrlimit(Resource::Nofile).current.filter(|files| *files < FILES) {
            return Err(Shortage::Files(files));
        }
    }
    let is_limited = is_size_limited();
    let [limited_stack, small_stack] = STACK_BYTES;
    let stack = if is_limited { limited_stack } else { small_stack };
    let gate = Mutex::new(());
    thread::scope(|scope| {
        let closed = gate.lock();
        let started = (0..THREADS + thread::available_parallelism().map_or(1, NonZero::get)).try_for_each(|_| {
            // Each waits until all are there.
            let wait = || drop(gate.lock().unwrap_or_else(PoisonError::into_inner));
            Builder::new().stack_size(stack).spawn_scoped(scope, wait).map(drop).map_err(Shortage::Threads)
        });
        let mut memory: Vec<u8> = Vec::new();
        let bytes = if is_limited { BYTES } else { 0 };
        let reserved = memory.try_reserve_exact(bytes).map_err(|_| Shortage::Memory);
        black_box(&memory);
        drop(closed);
        started.and(reserved)
    })
}

/// Whether there is a limit of the size of this process (`ulimit -v`).
fn is_size_limited() -> bool {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit};
        getrlimit(Resource::As).current.is_some()
    }
    #[cfg(not(unix))]
    false
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// H4: readers never take the files that purges need.
    #[test]
    fn readers_get_half_of_the_files_that_a_run_does_not_need() {
        let shares = [0, FILES, FILES + 3, 80, 160, 1024, u64::MAX].map(|files| half_of_the_rest(files, 64));
        assert_eq!(shares, [1, 1, 1, 24, 64, 64, 64]);
    }
}
