//! The effects, one seam a file: time, requests, environment, credentials read through it, manifests and directories.
//!
//! Does not know plans or vendors, and of manifests only where they are and which files they name. Everything that decides gets values from here, so a run can be rehearsed
//! by handing out other implementations of the same traits.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use secrecy::zeroize::Zeroizing;

use crate::core::endpoints::Addresses;
use crate::core::http::{Request, Response, TransportFailure};
use crate::core::probe::{Probe, Probed};
use crate::core::proof_terms::Headers;
use crate::core::time::{Now, Tick};

pub mod audit;
pub mod background;
pub mod clock;
pub mod credentials;
pub mod env;
mod hasher;
pub mod http;
mod input_digest;
pub mod interrupt;
pub mod log_queue;
mod look;
pub mod manifest_files;
pub mod manifest_tree;
pub mod nearby;
mod output;
pub mod own_files;
mod paths;
pub mod probe;
pub mod resolver;
pub mod room;
pub mod sources;
mod templates;
pub mod tree;
pub mod virtual_clock;
pub mod watcher;
pub mod worker;

/// What the methods of the seams return, so that they can be used as trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Reads both clocks and waits.
pub trait Clock: Send + Sync {
    /// Both clocks, read together.
    fn now(&self) -> Now;

    /// Returns when the monotonic clock has reached `tick`; at once if it already has.
    fn sleep_until(&self, tick: Tick) -> BoxFuture<'_, ()>;
}

/// Sends one request, once: no redirects, no retries, no cookies.
pub trait Http: Send + Sync {
    /// Sends `request` byte for byte and returns the whole answer, whatever its status.
    ///
    /// # Errors
    /// [`TransportFailure`] if no whole answer arrived; its text holds no URL, header or body.
    fn send(&self, request: Request, timeouts: Timeouts) -> BoxFuture<'_, Result<Response, TransportFailure>>;
}

/// Asks one server about one URL, once: no redirects, no retries, no cookies, no credentials of providers.
pub trait Prober: Send + Sync {
    /// Sends `probe` with `headers`, which are its own filled in, and reads what it asks for of the answer, in bounded memory.
    fn probe(&self, probe: Probe, headers: Headers, timeouts: Timeouts) -> BoxFuture<'_, Probed>;
}

/// Looks hosts up by their names.
pub trait Resolver: Send + Sync {
    /// All addresses of a host, of both families and in no order.
    ///
    /// # Errors
    /// Why there are none.
    fn addresses<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Addresses>;
}

/// Environment variables, files that hold secrets, and programs that print them.
pub trait Env: Send + Sync {
    /// A variable; `None` if it is not set. Bytes that are not UTF-8 come as U+FFFD.
    fn var(&self, name: &str) -> Option<String>;

    /// Name of this machine, for the state's own records; `unknown` if the system does not say.
    fn machine_name(&self) -> String {
        self.var("HOSTNAME").unwrap_or_else(|| "unknown".to_owned())
    }

    /// A whole regular file that only its owner can read, of at most `most_bytes`.
    ///
    /// # Errors
    /// [`PrivateFileError`], which never holds content.
    fn read_private(&self, path: &str, most_bytes: usize) -> Result<Zeroizing<Vec<u8>>, PrivateFileError>;

    /// Runs `command` (program, then arguments) without a shell and returns what it printed on standard output.
    ///
    /// # Errors
    /// [`CommandError`], which never holds output or arguments.
    fn run<'a>(
        &'a self,
        command: &'a [String],
        limits: CommandLimits,
    ) -> BoxFuture<'a, Result<Zeroizing<Vec<u8>>, CommandError>>;
}

/// Work that blocks.
pub type Job = Box<dyn FnOnce() + Send>;

/// Runs work that blocks, such as commits, where nothing else waits for it.
pub trait Worker: Send + Sync {
    /// Hands a job in; resolves once it has run. Jobs run one after the other, in order, and also if nothing waits for them.
    fn run(&self, job: Job) -> BoxFuture<'static, ()>;
}

/// How long one request may take, in milliseconds, from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the connection stands, the TLS handshake included.
    pub connect_ms: u64,
    /// Until the head of the answer is read, connecting included.
    pub first_byte_ms: u64,
    /// Until the last byte of the body.
    pub total_ms: u64,
}

impl Timeouts {
    /// As the default, for requests that may take `total_ms` as a whole.
    pub fn within(total_ms: u64) -> Self {
        let usual = Self::default();
        Self {
            connect_ms: usual.connect_ms.min(total_ms),
            first_byte_ms: usual.first_byte_ms.min(total_ms).max(total_ms / 2),
            total_ms,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect_ms: 10_000, first_byte_ms: 30_000, total_ms: 60_000 }
    }
}

/// What a program that prints credentials may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandLimits {
    /// Time until it has ended, in milliseconds.
    pub timeout_ms: u64,
    /// Most bytes on standard output.
    pub most_bytes: usize,
}

/// Why a file with secrets was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrivateFileError {
    /// The system refused; its words.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// A directory, pipe, socket or device.
    #[error("is not a regular file")]
    NotRegular,
    /// Others than its owner can open it.
    #[error("has mode {mode:04o}, so others than its owner may read or change it; run `chmod 600` on it")]
    Exposed {
        /// Permission bits.
        mode: u32,
    },
    /// The system has not read it in time.
    #[error("does not answer within {timeout_ms} ms: see whether its disk or network is there")]
    TimedOut {
        /// The limit.
        timeout_ms: u64,
    },
    /// It is larger than a file of credentials can be.
    #[error("is larger than {most_bytes} bytes")]
    TooLarge {
        /// The limit.
        most_bytes: usize,
    },
}

/// Why a program gave no credentials. Its output and standard error are never shown: they may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No program was named.
    #[error("names no program")]
    Empty,
    /// It could not be started, or its output not be read; the system's words.
    #[error("could not be run: {0}")]
    NotRun(String),
    /// It failed.
    #[error("ended with {status}; its output is not shown, since it may hold secrets, so run it by hand to see why")]
    Failed {
        /// `exit status 3`, `signal 9` and the like.
        status: String,
    },
    /// It did not end in time and was stopped.
    #[error("did not end within {timeout_ms} ms and was stopped")]
    TimedOut {
        /// The limit.
        timeout_ms: u64,
    },
    /// It printed too much and was stopped.
    #[error("printed more than {most_bytes} bytes and was stopped")]
    TooLarge {
        /// The limit.
        most_bytes: usize,
    },
}

/// The bundle of effects that a run is handed.
#[derive(Clone)]
pub struct Host {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Requests.
    pub http: Arc<dyn Http>,
    /// Questions to edges and origins.
    pub prober: Arc<dyn Prober>,
    /// Names of hosts.
    pub resolver: Arc<dyn Resolver>,
    /// Environment, private files and programs.
    pub env: Arc<dyn Env>,
    /// Work that blocks.
    pub worker: Arc<dyn Worker>,
    /// The one random number of a run; nonces and jitter derive from it.
    pub seed: u64,
}

impl Host {
    /// This machine: its clocks, network and environment, and a seed that differs from run to run.
    pub fn system() -> Self {
        let env = Arc::new(env::SystemEnv);
        Self {
            clock: Arc::new(clock::SystemClock::start()),
            http: Arc::new(http::HttpClient::new(env.as_ref())),
            prober: Arc::new(probe::HttpProber::new(env.as_ref())),
            resolver: Arc::new(resolver::SystemResolver),
            env,
            worker: Arc::new(worker::ThreadWorker::default()),
            seed: fastrand::u64(..),
        }
    }
}
