//! What a program that stays up tells of itself: plain data, replaced or counted up after each event of interest.
//!
//! Does not know how it is shown. Texts come from outside and are not escaped.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::time::Timestamp;
use super::watch::Reason;

/// How many of the last runs are kept.
pub const RUNS: usize = 20;
/// The word for the outcome of a call that was accepted.
pub const ACCEPTED: &str = "accepted";
/// How many targets of each standing are listed.
pub const TARGETS: usize = 50;
/// Upper bounds of [`Durations`], in milliseconds; longer ones are counted besides.
pub const DURATION_BOUNDS_MS: [u64; 9] = [10, 50, 250, 1_000, 5_000, 30_000, 120_000, 600_000, 3_600_000];

/// How a program that stays up is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// What the manifests are.
    pub manifests: ManifestsReport,
    /// Why guards refuse what the manifests ask for; empty if they do not.
    pub refusals: Vec<String>,
    /// What only manifests list that no run speaks for, as of the last run that looked: a line each.
    pub unclaimed: Vec<String>,
    /// Why the last run could not be made: the state is locked, cannot be written and the like.
    pub trouble: Option<String>,
    /// Configured providers by name, once manifests were read.
    pub providers: BTreeMap<String, ProviderReport>,
    /// Targets that were left by the last run that looked at them, the oldest first, at most [`TARGETS`] of each standing.
    pub targets: Arc<[TargetReport]>,
    /// Quotas by provider, operation and area, as of the last run that drew on them.
    pub quotas: BTreeMap<(String, &'static str, String), QuotaReport>,
    /// Most calls a second by provider and operation, as of the last run that had any.
    pub rates: BTreeMap<(String, &'static str), u32>,
    /// The run that is under way.
    pub running: Option<Running>,
    /// The last runs that did or left something, newest first, at most [`RUNS`].
    pub runs: VecDeque<RunReport>,
    /// How long all runs took.
    pub durations: Durations,
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
    /// Targets in accepted calls that were not in the cache, by provider.
    pub not_cached: BTreeMap<String, u64>,
    /// When a run last went through and left nothing: `apply` would have ended with 0.
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
    /// Some are not valid or cannot be read.
    Invalid {
        /// Others were valid since the start: they hold meanwhile.
        were_valid: bool,
        /// Since when.
        since: Timestamp,
        /// What is wrong, a text each: file, line and column where there are, and the problem.
        problems: Arc<[String]>,
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
    /// When the oldest change that is pending was first seen.
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

/// A target with work that is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetReport {
    /// Name of the provider.
    pub provider: String,
    /// A URL, or what the provider takes in its place.
    pub target: String,
    /// `pending`, `deferred` or `rejected`.
    pub standing: &'static str,
    /// When the change was first seen.
    pub since: Timestamp,
    /// When it is due, if it is deferred.
    pub until: Option<Timestamp>,
    /// Why it is left, where that is known.
    pub reason: Option<String>,
}

/// A daily quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaReport {
    /// Targets a day.
    pub limit: u64,
    /// Targets that count as spent.
    pub used: u64,
    /// When the day after the one of `used` begins.
    pub resets_at: Timestamp,
}

impl QuotaReport {
    /// Targets that may still be purged, as far as is known at `now`.
    pub fn left(&self, now: Timestamp) -> u64 {
        if now < self.resets_at { self.limit.saturating_sub(self.used) } else { self.limit }
    }

    /// When the day after that of `now` begins: days are of one length all year, so they go on from the one that is known.
    #[must_use]
    pub const fn next_day(&self, now: Timestamp) -> Timestamp {
        const DAY_MS: i64 = 86_400_000;
        let since_midnight_ms = now.unix_ms().saturating_sub(self.resets_at.unix_ms()).rem_euclid(DAY_MS);
        now.plus_ms(DAY_MS - since_midnight_ms)
    }
}

/// How long runs took, counted by [`DURATION_BOUNDS_MS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// Runs that took longer than the bound before and no longer than this one; the last number is of those beyond all.
    pub counts: [u64; DURATION_BOUNDS_MS.len() + 1],
    /// All of them together, in milliseconds.
    pub sum_ms: u64,
}

impl Durations {
    /// A run took so many milliseconds.
    pub fn add(&mut self, ms: u64) {
        self.counts[DURATION_BOUNDS_MS.partition_point(|&bound| bound < ms)] += 1;
        self.sum_ms = self.sum_ms.saturating_add(ms);
    }
}

/// A run that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its number in the state, from its first call on.
    pub run: Option<i64>,
    /// It has been reading files for longer than it should.
    pub reads_long: bool,
    /// Why it is made.
    pub reason: Reason,
    /// When it began.
    pub since: Timestamp,
    /// Purges that have to be accepted, one for each target and endpoint; 0 until it has a plan.
    pub purges: u64,
    /// Calls that ended so far.
    pub calls_done: u64,
    /// Purges that were.
    pub purges_done: u64,
}

/// A run that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunReport {
    /// Its number in the state, if it came so far that it has one.
    pub run: Option<i64>,
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

impl RunReport {
    fn did_nothing_like(&self, other: &Self) -> bool {
        let came_to = |run: &Self| (run.exit, run.calls, run.recorded, run.pending, run.deferred, run.rejected);
        self.calls == 0 && self.recorded == 0 && came_to(self) == came_to(other)
    }
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
    /// A call has ended. `settles`: its targets are recorded if it was accepted.
    pub fn called(&mut self, provider: &str, outcome: &'static str, targets: usize, settles: bool) {
        let count = self.calls.entry((provider.to_owned(), outcome)).or_default();
        count.calls += 1;
        count.targets += targets as u64;
        if let Some(running) = &mut self.running {
            running.calls_done += 1;
            if outcome == ACCEPTED {
                running.purges_done += targets as u64;
            }
        }
        if let Some(left) = self.providers.get_mut(provider).filter(|_| settles && outcome == ACCEPTED) {
            left.pending = left.pending.saturating_sub(targets as u64);
        }
    }

    /// An accepted call found nothing to drop.
    pub fn not_cached(&mut self, provider: &str, targets: usize) {
        *self.not_cached.entry(provider.to_owned()).or_default() += targets as u64;
    }

    /// A run has ended that did or left something. One that did nothing, as the one before, takes its place.
    pub fn ended(&mut self, run: RunReport) {
        if self.runs.front().is_some_and(|before| before.did_nothing_like(&run)) {
            self.runs.pop_front();
        }
        self.runs.truncate(RUNS - 1);
        self.runs.push_front(run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: i64, calls: u64, exit: u8) -> RunReport {
        RunReport {
            run: Some(number),
            reason: Reason::Changed,
            started_at: Timestamp::default(),
            duration_ms: 1,
            exit,
            calls,
            recorded: calls,
            pending: 0,
            deferred: 0,
            rejected: 0,
        }
    }

    /// W6: what is kept does not grow with time.
    #[test]
    fn only_the_last_runs_are_kept() {
        let mut report = Report::default();
        for number in 1..=100 {
            report.ended(run(number, 1, 0));
            report.called("own", "accepted", 2, true);
        }
        assert_eq!((report.runs.len(), report.runs[0].run), (RUNS, Some(100)));
        assert_eq!(report.calls[&("own".to_owned(), "accepted")], CallCount { calls: 100, targets: 200 });
    }

    /// W6: a state that stays locked does not push out the runs that did something.
    #[test]
    fn runs_that_come_to_the_same_nothing_are_one() {
        let mut report = Report::default();
        report.ended(run(1, 5, 0));
        (2..=100).for_each(|number| report.ended(run(number, 0, 6)));
        (101..=200).for_each(|number| report.ended(run(number, 0, 5)));
        report.ended(run(201, 1, 0));
        report.ended(run(202, 1, 0));
        assert_eq!(report.runs.iter().map(|run| run.run).collect::<Vec<_>>(), [202, 201, 200, 100, 1].map(Some));
    }

    #[test]
    fn durations_are_counted_up_to_and_with_their_bound() {
        let mut durations = Durations::default();
        for ms in [0, 10, 11, 3_600_000, 3_600_001] {
            durations.add(ms);
        }
        assert_eq!(durations.counts, [2, 1, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(durations.sum_ms, 7_200_022);
    }

    #[test]
    fn a_quota_is_whole_again_on_its_next_day() {
        let at = Timestamp::from_unix_ms;
        let quota = QuotaReport { limit: 10, used: 12, resets_at: at(5) };
        assert_eq!([at(4), at(5)].map(|now| quota.left(now)), [0, 10]);
    }

    /// T2: where nothing has drawn on a quota for days, or the clock was set back, the next day is still one to come.
    #[test]
    fn the_next_day_of_a_quota_is_ahead() {
        const DAY_MS: i64 = 86_400_000;
        let at = Timestamp::from_unix_ms;
        let quota = QuotaReport { limit: 10, used: 0, resets_at: at(5) };
        let next = |now| quota.next_day(at(now)).unix_ms();
        assert_eq!([4, 5, DAY_MS + 4, DAY_MS + 5].map(next), [5, DAY_MS + 5, DAY_MS + 5, 2 * DAY_MS + 5]);
        assert_eq!([-DAY_MS, 30 * DAY_MS].map(next), [5 - DAY_MS, 30 * DAY_MS + 5]);
        assert!(next(i64::MAX) > 0 && next(i64::MIN) < 0);
    }
}
