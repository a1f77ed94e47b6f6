//! What a program that stays up tells of itself: plain data, replaced or counted up after each event of interest.
//!
//! Does not know how it is shown. Texts come from outside and are not escaped.

use std::collections::{BTreeMap, VecDeque};

use super::time::Timestamp;
use super::watch::Reason;

/// How many of the last runs are kept.
pub const RUNS: usize = 20;

/// How a program that stays up is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// What the manifests are.
    pub manifests: ManifestsReport,
    /// Why guards refuse what the manifests ask for; empty if they do not.
    pub refusals: Vec<String>,
    /// Why the last run could not be made: the state is locked, cannot be written and the like.
    pub trouble: Option<String>,
    /// Configured providers by name, once manifests were read.
    pub providers: BTreeMap<String, ProviderReport>,
    /// The run that is under way.
    pub running: Option<Running>,
    /// The last runs that did or left something, newest first, at most [`RUNS`].
    pub runs: VecDeque<RunReport>,
    /// Why folders are looked at every so often in place of events.
    pub polling: Option<String>,
    /// Folders that are watched.
    pub folders: usize,
    /// Events of files that mattered.
    pub events: u64,
    /// Runs by their reason.
    pub started: BTreeMap<&'static str, u64>,
    /// Calls by provider and the word of their outcome, `accepted` among them.
    pub calls: BTreeMap<(String, &'static str), CallCount>,
    /// When a run last went through with nothing left pending.
    pub last_success: Option<Timestamp>,
    /// The program ends once the run that is under way has ended.
    pub stopping: bool,
}

/// What the manifests are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ManifestsReport {
    /// Not read yet.
    #[default]
    Unread,
    /// All are valid.
    Valid {
        /// How many there are.
        manifests: u64,
        /// How many targets they ask for, at all providers together.
        targets: u64,
    },
    /// Some are not valid or cannot be read; the last valid ones hold.
    Invalid {
        /// Since when.
        since: Timestamp,
        /// What is wrong, a text each: file, line and column where there are, and the problem.
        problems: Vec<String>,
    },
}

/// Work left at a provider, as of the last run that looked at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderReport {
    /// Its kind.
    pub kind: String,
    /// Targets that are pending.
    pub pending: u64,
    /// Targets that are deferred.
    pub deferred: u64,
    /// Targets that were refused for good.
    pub rejected: u64,
    /// When the oldest change that is pending or deferred was first seen.
    pub oldest: Option<Timestamp>,
    /// When the first deferred target is due.
    pub deferred_until: Option<Timestamp>,
    /// Why its targets are pending or deferred, where that is known.
    pub reason: Option<String>,
    /// When it is asked again after failures.
    pub retry_at: Option<Timestamp>,
    /// Runs in a row that failed at it.
    pub failures: u32,
}

/// A run that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its number in this process, from 1.
    pub run: u64,
    /// Why it is made.
    pub reason: Reason,
    /// When it began.
    pub since: Timestamp,
    /// Targets that it is to purge; 0 until it has a plan.
    pub targets: u64,
    /// Calls that ended so far.
    pub calls_done: u64,
    /// Targets in them.
    pub targets_done: u64,
}

/// A run that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunReport {
    /// Its number in this process, from 1.
    pub run: u64,
    /// Why it was made.
    pub reason: Reason,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The exit code that `apply` would have ended with.
    pub exit: u8,
    /// Calls that it made.
    pub calls: u64,
    /// Targets recorded, and left pending, deferred and rejected.
    pub recorded: u64,
    /// See `recorded`.
    pub pending: u64,
    /// See `recorded`.
    pub deferred: u64,
    /// See `recorded`.
    pub rejected: u64,
}

/// Calls with one outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCount {
    /// How many.
    pub calls: u64,
    /// Targets in them.
    pub targets: u64,
}

impl Report {
    /// A call has ended.
    pub fn called(&mut self, provider: &str, outcome: &'static str, targets: usize) {
        let count = self.calls.entry((provider.to_owned(), outcome)).or_default();
        count.calls += 1;
        count.targets += targets as u64;
        if let Some(running) = &mut self.running {
            running.calls_done += 1;
            running.targets_done += targets as u64;
        }
    }

    /// A run has ended that did or left something.
    pub fn ended(&mut self, run: RunReport) {
        self.runs.truncate(RUNS - 1);
        self.runs.push_front(run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// W6: what is kept does not grow with time.
    #[test]
    fn only_the_last_runs_are_kept() {
        let mut report = Report::default();
        for run in 1..=100 {
            let at = Timestamp::default();
            let (reason, duration_ms, exit) = (Reason::Changed, 1, 0);
            let (calls, recorded, pending, deferred, rejected) = (1, 1, 0, 0, 0);
            let ended = RunReport {
                run,
                reason,
                started_at: at,
                duration_ms,
                exit,
                calls,
                recorded,
                pending,
                deferred,
                rejected,
            };
            report.ended(ended);
            report.called("own", "accepted", 2);
        }
        assert_eq!((report.runs.len(), report.runs[0].run), (RUNS, 100));
        assert_eq!(report.calls[&("own".to_owned(), "accepted")], CallCount { calls: 100, targets: 200 });
    }
}
