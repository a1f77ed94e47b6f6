//! `freshen watch` as it runs: its log is read line by line, so that tests wait for what they can see and for nothing else.

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cli::Bench;

/// How long a test waits for what must happen, so that a broken test ends.
const BOUND: Duration = Duration::from_mins(1);

/// Sends a signal, by its name without `SIG`.
pub(crate) fn signal(process: u32, name: &str) {
    let process = process.to_string();
    let sent = std::process::Command::new("/bin/sh").args(["-c", "kill -\"$1\" \"$0\"", &process, name]).status();
    assert!(sent.expect("a shell").success());
}

/// How a program ended; `None` for a signal, also for the one that it gets if it does not end within a minute.
pub(crate) fn ended(child: &mut Child) -> Option<i32> {
    let process = child.id();
    let (has_ended, end) = channel::<()>();
    let guard = std::thread::spawn(move || {
        if end.recv_timeout(BOUND) == Err(RecvTimeoutError::Timeout) {
            signal(process, "KILL");
        }
    });
    let status = child.wait().expect("ours");
    drop(has_ended);
    guard.join().expect("no panic");
    status.code()
}

/// A running program; it is killed when the test ends.
pub(crate) struct Watching {
    child: Child,
    records: Receiver<Value>,
    /// Everything it said so far, as far as a test has waited for it.
    pub(crate) seen: Vec<Value>,
}

impl Watching {
    /// Starts it in the bench's folder with a log of everything.
    pub(crate) fn start(bench: &Bench, arguments: &[&str]) -> Self {
        let all = [&["watch", "--log-format", "json", "--log-level", "debug"], arguments].concat();
        Self::of(bench.start(&all))
    }

    /// Takes over a program that was started.
    pub(crate) fn of(mut child: Child) -> Self {
        let log = BufReader::new(child.stderr.take().expect("a pipe"));
        let (sender, records) = channel();
        std::thread::spawn(move || {
            for line in log.lines() {
                let line = line.expect("UTF-8");
                let record = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                if sender.send(record).is_err() {
                    return;
                }
            }
        });
        Self { child, records, seen: Vec::new() }
    }

    /// Waits for a record that was not waited for yet.
    #[track_caller]
    pub(crate) fn wait(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + BOUND;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(record) = self.records.recv_timeout(left) else {
                panic!("{what} did not come; so far: {:#?}", self.seen);
            };
            self.seen.push(record.clone());
            if is_it(&record) {
                return record;
            }
        }
    }

    /// Waits for a record with this text.
    #[track_caller]
    pub(crate) fn says(&mut self, text: &str) -> Value {
        self.wait(text, |record| record["message"].as_str().is_some_and(|message| message.contains(text)))
    }

    /// Waits until a run has ended that recorded this many targets.
    #[track_caller]
    pub(crate) fn records(&mut self, targets: u64) -> Value {
        self.wait(&format!("a run that records {targets}"), |record| {
            record["message"] == "run ended" && record["recorded"] == targets
        })
    }

    /// Waits until any run has ended.
    #[track_caller]
    pub(crate) fn ends_a_run(&mut self) -> Value {
        self.says("run ended")
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, by its name without `SIG`.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits for its end, as [`ended`] does.
    pub(crate) fn ended(mut self) -> Option<i32> {
        ended(&mut self.child)
    }

    /// Ends it and returns everything it said.
    #[track_caller]
    pub(crate) fn stop(mut self) -> Vec<Value> {
        self.signal("TERM");
        self.says("stopped");
        assert_eq!(self.child.wait().expect("ended").code(), Some(0));
        std::mem::take(&mut self.seen)
    }

    /// Kills it, as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
