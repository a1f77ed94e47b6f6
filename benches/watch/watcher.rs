//! A running `freshen watch`: its log, its time and its memory.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::measure::{command, freshen, run};

const BOUND: Duration = Duration::from_mins(2);
/// What `/proc` counts time in; the same on every Linux.
const TICK: Duration = Duration::from_millis(10);
/// Fields of `/proc/PID/stat` after the name: user and system time.
const TIMES: [usize; 2] = [11, 12];

pub(crate) struct Watcher {
    child: Child,
    /// A line for each run that ended.
    ends: Receiver<()>,
    seen: u64,
}

impl Watcher {
    pub(crate) fn start(folder: &Path) -> Self {
        let mut child = freshen(folder, &["watch", "--log-format", "json", "--log-level", "debug"]);
        let mut child =
            child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("started");
        let log = BufReader::new(child.stderr.take().expect("a pipe"));
        let (sender, ends) = channel();
        std::thread::spawn(move || {
            for _ in log.lines().map_while(Result::ok).filter(|line| line.contains("\"run ended\"")) {
                // A reader that does not look any more still lets it write.
                let _ = sender.send(());
            }
        });
        Self { child, ends, seen: 0 }
    }

    pub(crate) fn ends_a_run(&mut self) {
        self.ends.recv_timeout(BOUND).expect("a run");
        self.seen += 1;
    }

    /// Processor time so far.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = self.proc("stat");
        let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
        TIMES.iter().map(|&field| TICK * fields[field].parse::<u32>().expect("a number")).sum()
    }

    /// Memory that it holds, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        1024 * line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number")
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).expect("a system with /proc")
    }

    /// Ends it; the number of runs that it made.
    pub(crate) fn stop(mut self) -> u64 {
        let mut kill = command("sh");
        kill.args(["-c", "kill -TERM \"$0\"", &self.child.id().to_string()]);
        run(kill);
        assert!(self.child.wait().expect("a child").success());
        while self.ends.recv().is_ok() {
            self.seen += 1;
        }
        self.seen
    }
}
