//! Starts a real cache from `tests/caches` in a scratch folder, before an [`Origin`], and stops it again.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::time::Duration;

use super::origin::Origin;

/// What `run.sh` ends with when the cache is not installed.
const NOT_INSTALLED: i32 = 77;
/// Starts before giving up: another process may take the free port that was found.
const STARTS: usize = 3;
/// Times to ask whether the cache answers, and the pause between them.
const POLLS: usize = 600;
const PAUSE: Duration = Duration::from_millis(50);
/// How long an answer or an end may take before the test fails.
const BOUND: Duration = Duration::from_secs(30);

/// Whoever asks a cache; as many as there are threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visitor {
    /// Where the cache listens.
    pub(crate) port: u16,
    address: &'static str,
}

/// A running cache; stopped when dropped.
pub(crate) struct Cache {
    /// Where it listens, on 127.0.0.1 unless it is one of several.
    pub(crate) port: u16,
    address: &'static str,
    /// The server behind it.
    pub(crate) origin: Origin,
    name: &'static str,
    pid: u32,
    ended: Receiver<ExitStatus>,
    /// Outlives the process.
    _folder: tempfile::TempDir,
}

/// One answer of the cache.
#[derive(Debug)]
pub(crate) struct Answer {
    /// HTTP status.
    pub(crate) status: u16,
    /// Headers in order, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// Body up to the end of the connection.
    pub(crate) body: String,
}

impl Answer {
    /// First value of a header; `name` in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Cache {
    /// Starts one of `tests/caches`, such as `varnish`, and waits until it answers. `None`, and a line on stderr,
    /// if it is not installed; where the variable `CI` is set that is a failure instead.
    pub(crate) fn start(name: &'static str) -> Option<Self> {
        let found = Self::start_at(name, &["127.0.0.1"]);
        found.map(|mut caches| caches.remove(0))
    }

    /// As [`Cache::start`], for one of its own at each address, all at one port. Only Varnish can.
    pub(crate) fn start_at(name: &'static str, addresses: &[&'static str]) -> Option<Vec<Self>> {
        Self::start_before(name, addresses, || {
            let origin = Origin::start();
            let server = origin.port;
            (origin, server)
        })
    }

    /// As [`Cache::start`], before another cache in place of the origin.
    pub(crate) fn start_over(name: &'static str, shield: &Self) -> Option<Self> {
        let found = Self::start_before(name, &["127.0.0.1"], || (shield.origin.clone(), shield.port));
        found.map(|mut caches| caches.remove(0))
    }

    /// One at each address; `before` gives the origin of each, and the port of the server that it asks.
    fn start_before(
        name: &'static str,
        addresses: &[&'static str],
        before: impl Fn() -> (Origin, u16),
    ) -> Option<Vec<Self>> {
        for _ in 0..STARTS {
            let port = free_port();
            let start = |address: &&'static str| {
                let (origin, server) = before();
                Self::try_start(name, (address, port), origin, server)
            };
            let started: Result<Vec<Self>, ExitStatus> = addresses.iter().map(start).collect();
            match started {
                Ok(caches) => return Some(caches),
                Err(ended) if ended.code() == Some(NOT_INSTALLED) => {
                    assert!(std::env::var_os("CI").is_none(), "{name} is not installed, and CI runs every test");
                    // Not captured by the test harness, so that nobody takes a skip for a pass.
                    let _ = writeln!(io::stderr(), "SKIPPED: {name} is not installed (tests/run installs it)");
                    return None;
                }
                Err(_) => {}
            }
        }
        panic!("{name} did not start {STARTS} times; its output is above")
    }

    fn try_start(
        name: &'static str,
        (address, port): (&'static str, u16),
        origin: Origin,
        server: u16,
    ) -> Result<Self, ExitStatus> {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let log = folder.path().join("output.log");
        let output = File::create(&log).expect("a log");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/caches").join(name).join("run.sh");
        let mut child = Command::new("sh")
            .arg(script)
            .env("CACHE_ADDRESS", address)
            .env("CACHE_PORT", port.to_string())
            .env("ORIGIN_PORT", server.to_string())
            .env("RUN_DIR", folder.path())
            .stdout(output.try_clone().expect("a log"))
            .stderr(output)
            .spawn()
            .expect("sh is installed");
        let pid = child.id();
        let (end, ended) = channel();
        std::thread::spawn(move || end.send(child.wait().expect("a child is waited for once")));
        let cache = Self { port, address, origin, name, pid, ended, _folder: folder };
        match cache.wait_until_ready() {
            Ok(()) => Ok(cache),
            Err(status) => {
                if status.code() != Some(NOT_INSTALLED) {
                    eprintln!("{name} ended with {status}: {}", std::fs::read_to_string(log).unwrap_or_default());
                }
                Err(status)
            }
        }
    }

    /// Waits for the first answer, or for the end of the process.
    fn wait_until_ready(&self) -> Result<(), ExitStatus> {
        for _ in 0..POLLS {
            let answer = self.exchange("GET", "ready.example.test", "/nothing");
            if answer.is_ok_and(|answer| answer.status == 404) {
                return Ok(());
            }
            if let Ok(status) = self.ended.recv_timeout(PAUSE) {
                return Err(status);
            }
        }
        panic!("{} runs but does not answer", self.name)
    }

    /// What a visitor of `host` gets.
    pub(crate) fn get(&self, host: &str, path: &str) -> Answer {
        self.exchange("GET", host, path).expect("an answer")
    }

    /// Asks until an answer comes from the cache, and returns it. Some caches answer before they have stored what they
    /// fetched, so a second request may reach the origin too; whatever it took counts as one fetch.
    #[track_caller]
    pub(crate) fn warm(&self, host: &str, path: &str) -> Answer {
        self.warm_as(host, path, &[])
    }

    /// As [`Cache::warm`], for visitors that send these headers.
    #[track_caller]
    pub(crate) fn warm_as(&self, host: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        for _ in 0..100 {
            let before = self.origin.fetches(path);
            let answer = self.visitor().ask("GET", host, path, headers).expect("an answer");
            if self.origin.fetches(path) == before {
                self.origin.count_once(path);
                return answer;
            }
        }
        panic!("{path} is not cached");
    }

    /// What a purge from this machine is answered with.
    pub(crate) fn purge(&self, host: &str, path: &str) -> Answer {
        self.exchange("PURGE", host, path).expect("an answer")
    }

    /// Somebody who asks it.
    pub(crate) fn visitor(&self) -> Visitor {
        Visitor { port: self.port, address: self.address }
    }

    fn exchange(&self, method: &str, host: &str, path: &str) -> io::Result<Answer> {
        self.visitor().ask(method, host, path, &[])
    }
}

impl Visitor {
    /// One request on a connection of its own.
    pub(crate) fn ask(self, method: &str, host: &str, path: &str, headers: &[(&str, &str)]) -> io::Result<Answer> {
        let mut stream = TcpStream::connect((self.address, self.port))?;
        stream.set_read_timeout(Some(BOUND))?;
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all((request + "\r\n").as_bytes())?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        parse(&String::from_utf8_lossy(&bytes)).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

impl Drop for Cache {
    /// SIGTERM to this very process: after SIGKILL the workers of some caches live on.
    fn drop(&mut self) {
        // An ended process was waited for, so its number may belong to somebody else by now.
        if self.ended.try_recv() != Err(TryRecvError::Empty) {
            return;
        }
        // `kill` of the shell itself: the program of that name is not everywhere.
        let asked = Command::new("sh").args(["-c", "kill -TERM \"$0\"", &self.pid.to_string()]).status();
        let ended = self.ended.recv_timeout(BOUND);
        if !asked.is_ok_and(|status| status.success()) || ended == Err(RecvTimeoutError::Timeout) {
            eprintln!("{} (process {}) could not be stopped", self.name, self.pid);
        }
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    listener.local_addr().expect("bound").port()
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    Some(Answer { status, headers: lines.filter_map(header).collect(), body: body.to_owned() })
}
