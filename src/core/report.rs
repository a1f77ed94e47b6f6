//! What a program that stays up reports of itself: plain data, replaced or counted up after each event of interest.
//!
//! Does not know how it is shown. Texts come from outside and are not escaped.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::command_line::CommandLine;
use super::rate::Rate;
use super::recorded::Counts;
use super::time::Timestamp;
use super::watch::RunReason;

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
    /// Commands that it offers.
    pub commands: CommandLine,
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
    /// Quotas by provider, operation and area, as the state had them at the end of the last run.
    pub quotas: BTreeMap<QuotaName, QuotaReport>,
    /// What probes have shown of the edges of providers by name, as the state had it at the end of the last run; none where nothing was
    /// asked of edges.
    pub edges: BTreeMap<String, EdgesReport>,
    /// Calls that are allowed, by provider and operation, as of the last run that had any.
    pub rates: BTreeMap<(String, &'static str), Rate>,
    /// The run that is under way.
    pub running: Option<Running>,
    /// The last runs that did or left something, newest first, at most [`RUNS`].
    pub runs: VecDeque<RunReport>,
    /// With which exit code `apply` would have ended in place of the last run.
    pub last_exit: Option<u8>,
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
    /// Targets that wait for their origin, or for the provider upstream.
    pub waiting: u64,
    /// When the oldest change that waits so was first seen.
    pub oldest_waiting: Option<Timestamp>,
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
    /// When the last one is.
    pub last_deferred_until: Option<Timestamp>,
    /// Why its targets are pending or deferred, where that is known.
    pub reason: Option<String>,
    /// When its work is tried next.
    pub next_try: Option<Timestamp>,
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
    /// `new`, `changed` or `removed`.
    pub change: &'static str,
    /// `waiting`, `pending`, `deferred` or `rejected`.
    pub standing: &'static str,
    /// When the change was first seen.
    pub since: Timestamp,
    /// When it is due, if it is deferred.
    pub until: Option<Timestamp>,
    /// Why it is left, where that is known.
    pub reason: Option<String>,
}

/// What probes have shown of the edges of a provider, in targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EdgesReport {
    /// An edge served something else.
    pub stale: u64,
    /// No answer said what edges serve, or none can.
    pub unverified: u64,
}

/// Names a quota: provider, operation and area.
pub type QuotaName = (String, String, String);

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
    pub reason: RunReason,
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
    pub reason: RunReason,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The exit code that `apply` would have ended with.
    pub exit: u8,
    /// Calls that it made.
    pub calls: u64,
    /// Where it left its targets.
    pub counts: Counts,
}

impl RunReport {
    fn did_nothing_like(&self, other: &Self) -> bool {
        let came_to = |run: &Self| (run.exit, run.calls, run.counts);
        self.calls == 0 && self.counts.recorded == 0 && came_to(self) == came_to(other)
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

/// Something that a program that stays up has to tell its readers.
#[derive(Clone, Debug)]
pub enum ReportEvent<'a> {
    /// Folders are looked at every so often from now on, for this reason.
    Polling(&'a str),
    /// Events of files that mattered since the start, and folders that are watched.
    Files {
        /// Events.
        events: u64,
        /// Folders.
        folders: usize,
    },
    /// A run begins.
    Began {
        /// Why.
        reason: RunReason,
        /// When.
        at: Timestamp,
    },
    /// The run under way reads files for longer than it should, or has read them after all.
    ReadsLong(bool),
    /// Manifests were read and are valid.
    Valid {
        /// How many there are.
        manifests: u64,
        /// How many targets they ask for.
        targets: u64,
        /// Name and kind of each provider.
        providers: &'a [(String, String)],
    },
    /// Manifests were read at this time and are not valid, for these reasons.
    Invalid(Timestamp, &'a [String]),
    /// What is left at providers, by name, and the oldest targets of it.
    Left(Vec<(String, ProviderReport)>, Arc<[TargetReport]>),
    /// Calls begin, for so many purges.
    Sending(u64),
    /// A call has ended.
    Called(&'a CallEvent<'a>),
    /// What only manifests list that no run speaks for.
    Unclaimed(&'a [String]),
    /// Quotas of all providers.
    Quotas(BTreeMap<QuotaName, QuotaReport>),
    /// What probes have shown of the edges of all providers.
    Edges(BTreeMap<String, EdgesReport>),
    /// Rates of the providers that were called.
    Rates(&'a [((String, &'static str), Rate)]),
    /// The run has ended.
    Ended(&'a EndedEvent),
    /// The program ends once the run under way has ended.
    Stopping,
}

/// A call that has ended.
#[derive(Clone, Debug)]
pub struct CallEvent<'a> {
    /// Number of the run in the state.
    pub run: i64,
    /// Name of the provider.
    pub provider: &'a str,
    /// The word for its outcome.
    pub outcome: &'static str,
    /// Targets that it was to settle.
    pub targets: usize,
    /// Its targets are recorded if it was accepted.
    pub settles: bool,
    /// The cache did not hold the target.
    pub not_cached: bool,
}

/// A run that has ended, as its readers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedEvent {
    /// The run.
    pub run: RunReport,
    /// When it ended.
    pub at: Timestamp,
    /// Why it could not be made; `None` inside: it could. `None`: it says nothing about that.
    pub trouble: Option<Option<String>>,
    /// Why guards refuse the plan; `None`: it did not ask them.
    pub refusals: Option<Vec<String>>,
    /// Nothing is left at any provider, as far as was looked.
    pub nothing_left: bool,
    /// When work at providers is tried next, and how often they failed in a row, by name.
    pub next_tries: BTreeMap<String, (Option<Timestamp>, u32)>,
    /// It is worth to be listed.
    pub is_listed: bool,
}

impl Report {
    /// Takes in what happened.
    pub fn apply(&mut self, event: &ReportEvent<'_>) {
        match event {
            ReportEvent::Polling(why) => self.polling = Some((*why).to_owned()),
            ReportEvent::Files { events, folders } => (self.events, self.folders) = (*events, *folders),
            ReportEvent::Began { reason, at } => self.began(*reason, *at),
            ReportEvent::ReadsLong(reads_long) => {
                self.running.iter_mut().for_each(|running| running.reads_long = *reads_long);
            }
            ReportEvent::Valid { manifests, targets, providers } => self.valid((*manifests, *targets), providers),
            ReportEvent::Invalid(at, problems) => self.invalid(*at, problems),
            ReportEvent::Left(providers, targets) => self.left(providers, targets),
            ReportEvent::Sending(purges) => self.running.iter_mut().for_each(|running| running.purges = *purges),
            ReportEvent::Called(call) => self.called(call),
            ReportEvent::Unclaimed(unclaimed) => self.unclaimed = unclaimed.to_vec(),
            ReportEvent::Quotas(quotas) => self.quotas.clone_from(quotas),
            ReportEvent::Edges(edges) => self.edges.clone_from(edges),
            ReportEvent::Rates(rates) => self.rates.extend(rates.iter().cloned()),
            ReportEvent::Ended(ended) => self.ended(ended),
            ReportEvent::Stopping => self.stopping = true,
        }
    }

    fn began(&mut self, reason: RunReason, since: Timestamp) {
        *self.started.entry(reason.word()).or_default() += 1;
        let (run, reads_long) = (None, false);
        self.running = Some(Running { run, reads_long, reason, since, purges: 0, calls_done: 0, purges_done: 0 });
    }

    fn valid(&mut self, (manifests, targets): (u64, u64), providers: &[(String, String)]) {
        self.manifests = ManifestsReport::Valid { manifests, targets };
        let known = std::mem::take(&mut self.providers);
        let named = providers.iter().map(|(name, kind)| {
            let fresh = || ProviderReport { kind: kind.clone(), ..ProviderReport::default() };
            (name.clone(), known.get(name).cloned().unwrap_or_else(fresh))
        });
        self.providers = named.collect();
        let Self { providers, quotas, rates, calls, .. } = self;
        quotas.retain(|(provider, ..), _| providers.contains_key(provider));
        rates.retain(|(provider, _), _| providers.contains_key(provider));
        calls.retain(|(provider, _), _| providers.contains_key(provider));
    }

    fn invalid(&mut self, now: Timestamp, problems: &[String]) {
        let (were_valid, since) = match &self.manifests {
            ManifestsReport::Unread => (false, now),
            ManifestsReport::Valid { .. } => (true, now),
            ManifestsReport::Invalid { were_valid, since, .. } => (*were_valid, *since),
        };
        self.manifests = ManifestsReport::Invalid { were_valid, since, problems: problems.into() };
    }

    /// Waits of providers that are known go on.
    fn left(&mut self, providers: &[(String, ProviderReport)], targets: &Arc<[TargetReport]>) {
        self.targets = Arc::clone(targets);
        let known = std::mem::take(&mut self.providers);
        for (name, of_now) in providers {
            let mut of_now = of_now.clone();
            if let Some(known) = known.get(name) {
                (of_now.next_try, of_now.failures) = (known.next_try, known.failures);
            }
            self.providers.insert(name.clone(), of_now);
        }
    }

    fn called(&mut self, call: &CallEvent<'_>) {
        let CallEvent { run, provider, outcome, targets, settles, not_cached } = *call;
        let count = self.calls.entry((provider.to_owned(), outcome)).or_default();
        count.calls += 1;
        count.targets += targets as u64;
        if let Some(running) = &mut self.running {
            running.run = Some(run);
            running.calls_done += 1;
            if outcome == ACCEPTED {
                running.purges_done += targets as u64;
            }
        }
        if let Some(left) = self.providers.get_mut(provider).filter(|_| settles && outcome == ACCEPTED) {
            left.pending = left.pending.saturating_sub(targets as u64);
        }
        if not_cached {
            *self.not_cached.entry(provider.to_owned()).or_default() += targets as u64;
        }
    }

    fn ended(&mut self, ended: &EndedEvent) {
        self.running = None;
        if let Some(trouble) = &ended.trouble {
            self.trouble.clone_from(trouble);
        }
        if let Some(refusals) = &ended.refusals {
            self.refusals.clone_from(refusals);
        }
        if ended.nothing_left {
            for provider in self.providers.values_mut() {
                *provider = ProviderReport { kind: std::mem::take(&mut provider.kind), ..ProviderReport::default() };
            }
            self.targets = Arc::default();
        }
        self.durations.add(ended.run.duration_ms);
        self.last_exit = Some(ended.run.exit);
        if ended.run.exit == 0 {
            self.last_success = Some(ended.at);
        }
        for (name, provider) in &mut self.providers {
            (provider.next_try, provider.failures) = ended.next_tries.get(name).copied().unwrap_or_default();
        }
        if ended.is_listed {
            self.list(ended.run.clone());
        }
    }

    /// A run that did nothing, as the one before, takes its place.
    fn list(&mut self, run: RunReport) {
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

    fn ended(report: &mut Report, number: i64, calls: u64, exit: u8) {
        let run = RunReport {
            run: Some(number),
            reason: RunReason::Changed,
            started_at: Timestamp::default(),
            duration_ms: 1,
            exit,
            calls,
            counts: Counts { recorded: calls, ..Counts::default() },
        };
        let (trouble, refusals, next_tries) = (None, None, BTreeMap::new());
        let at = Timestamp::default();
        let event = EndedEvent { run, at, trouble, refusals, nothing_left: false, next_tries, is_listed: true };
        report.apply(&ReportEvent::Ended(&event));
    }

    fn called(report: &mut Report, provider: &str, targets: usize) {
        let (outcome, settles, not_cached) = ("accepted", true, false);
        let call = CallEvent { run: 1, provider, outcome, targets, settles, not_cached };
        report.apply(&ReportEvent::Called(&call));
    }

    fn valid(report: &mut Report, names: &[&str]) {
        let providers: Vec<_> = names.iter().map(|name| ((*name).to_owned(), "http-purge".to_owned())).collect();
        report.apply(&ReportEvent::Valid { manifests: 1, targets: 1, providers: &providers });
    }

    /// W6: what is kept does not grow with time.
    #[test]
    fn only_the_last_runs_are_kept() {
        let mut report = Report::default();
        for number in 1..=100 {
            ended(&mut report, number, 1, 0);
            called(&mut report, "own", 2);
        }
        assert_eq!((report.runs.len(), report.runs[0].run), (RUNS, Some(100)));
        assert_eq!(report.calls[&("own".to_owned(), "accepted")], CallCount { calls: 100, targets: 200 });
    }

    /// W6: a state that stays locked does not push out the runs that did something.
    #[test]
    fn runs_that_come_to_the_same_nothing_are_one() {
        let mut report = Report::default();
        ended(&mut report, 1, 5, 0);
        (2..=100).for_each(|number| ended(&mut report, number, 0, 6));
        (101..=200).for_each(|number| ended(&mut report, number, 0, 5));
        ended(&mut report, 201, 1, 0);
        ended(&mut report, 202, 1, 0);
        assert_eq!(report.runs.iter().map(|run| run.run).collect::<Vec<_>>(), [202, 201, 200, 100, 1].map(Some));
    }

    /// H5: what is reported of providers is of those that are configured.
    #[test]
    fn calls_of_providers_that_are_gone_are_forgotten() {
        let mut report = Report::default();
        called(&mut report, "old", 1);
        called(&mut report, "new", 1);
        valid(&mut report, &["new"]);
        assert_eq!(report.calls.keys().collect::<Vec<_>>(), [&("new".to_owned(), "accepted")]);
    }

    /// U1: where a run knows that nothing is left without a look at each provider, what was left before is over.
    #[test]
    fn nothing_left_is_nothing_at_any_provider() {
        let mut report = Report::default();
        valid(&mut report, &["own"]);
        let left =
            ProviderReport { kind: "http-purge".to_owned(), pending: 3, failures: 2, ..ProviderReport::default() };
        report.apply(&ReportEvent::Left(vec![("own".to_owned(), left)], Arc::default()));
        assert_eq!(report.providers["own"].pending, 3);
        ended(&mut report, 1, 0, 0);
        assert_eq!(report.providers["own"].pending, 3, "said nothing of it");
        let run = report.runs[0].clone();
        let (trouble, refusals, next_tries) = (None, None, BTreeMap::new());
        let at = Timestamp::default();
        let event = EndedEvent { run, at, trouble, refusals, nothing_left: true, next_tries, is_listed: false };
        report.apply(&ReportEvent::Ended(&event));
        let fresh = ProviderReport { kind: "http-purge".to_owned(), ..ProviderReport::default() };
        assert_eq!(report.providers["own"], fresh);
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
