//! What is logged of runs: once when something changes, not with every run.

use std::collections::{BTreeMap, HashSet};

use super::Machine;
use super::cycle::{CycleOutcome, ManifestsFound};
use super::cycle_error::CycleError;
use super::log_line;
use super::wall_of;
use crate::core::command_line::{CommandLine, Verb};
use crate::core::hold::KnownRefusal;
use crate::core::provider_key::ProviderKey;
use crate::core::recorded::Counts;
use crate::core::report::{EndedEvent, RunReport};
use crate::core::time::{Now, Tick, Timestamp, shown_duration};
use crate::core::watch::{ProviderEnd, Retry, RunEnd};
use crate::engine::{Exit, OldestLeft, Reason, Remaining};

/// Problems of manifests that are logged one by one; the page and `freshen check` show all.
const MOST_PROBLEMS: usize = 20;
/// A refusal with other numbers, and a state that is locked once more, are logged again after this time, in milliseconds.
const LOGGED_AGAIN_MS: u64 = 300_000;

/// What was logged last.
#[derive(Default)]
pub(super) struct LogTransitions {
    /// What messages offer.
    commands: CommandLine,
    /// What is wrong with the manifests; empty if nothing is.
    problems: Vec<String>,
    /// They were valid once since the start.
    were_valid: bool,
    warnings: Vec<String>,
    refusals: Refusals,
    error: Option<CycleError>,
    /// How much is deferred at each provider, until when first and until when last.
    waiting: BTreeMap<String, u64>,
    deferred: BTreeMap<String, (u64, [Timestamp; 2])>,
    /// When it was last logged that another run has the state.
    locked_logged_at: Option<Tick>,
    /// Failures in a row of each provider that fails.
    failing: BTreeMap<String, u32>,
}

impl LogTransitions {
    /// Nothing was logged; these are the commands that messages offer.
    pub(super) fn offering(commands: &CommandLine) -> Self {
        Self { commands: commands.clone(), ..Self::default() }
    }

    /// Writes into the log what is new.
    pub(super) fn log(&mut self, ended: &CycleOutcome, pass: u64, machine: &dyn Machine, now: Now) {
        self.manifests(ended.found.as_ref(), pass);
        if has_asked(&ended.end) {
            self.refusals(&ended.refusals, pass, now.tick);
        }
        if has_asked(&ended.end) || ended.error.is_some() {
            self.error(ended.error.as_ref(), pass, now.tick);
        }
        let counts = ended.counted.counts;
        // What lasts is in each record: it is logged by itself once.
        let refused = (ended.counted.refused > 0).then_some(ended.counted.refused);
        if ended.counted.calls > 0 || counts.recorded > 0 || refused.is_some() {
            let (run, reason, calls) = (ended.counted.run, ended.request.reason.word(), ended.counted.calls);
            let (recorded, pending, deferred, rejected) =
                (counts.recorded, counts.pending, counts.deferred, counts.rejected);
            tracing::info!(pass, run, reason, calls, recorded, pending, deferred, rejected, refused, "run ended");
        } else {
            tracing::debug!(pass, reason = ended.request.reason.word(), "run ended");
        }
        if let RunEnd::Done(_) | RunEnd::Blocked(Some(_)) = &ended.end {
            self.waiting(&ended.counted.left, pass);
            self.deferred(&ended.counted.left, pass);
            self.providers(&ended.counted.left, pass, (machine, now));
        }
    }

    fn manifests(&mut self, found: Option<&ManifestsFound>, pass: u64) {
        match found {
            None => {}
            Some(ManifestsFound::Invalid(problems)) => {
                let logged: HashSet<&String> = self.problems.iter().collect();
                for problem in problems.iter().filter(|problem| !logged.contains(problem)).take(MOST_PROBLEMS) {
                    tracing::error!(pass, "{}", log_line(problem));
                }
                if self.problems.is_empty() {
                    let problems = problems.len();
                    let meanwhile = if self.were_valid { "the last valid ones hold" } else { "nothing is done" };
                    tracing::error!(pass, problems, "the manifests are not valid; {meanwhile}");
                }
                self.problems.clone_from(problems);
            }
            Some(ManifestsFound::Valid { manifests, targets, warnings, .. }) => {
                self.were_valid = true;
                if !std::mem::take(&mut self.problems).is_empty() {
                    tracing::info!(pass, manifests, targets, "the manifests are valid again");
                }
                if *warnings != self.warnings {
                    for warning in warnings.iter().take(MOST_PROBLEMS) {
                        tracing::warn!(pass, "{}", log_line(warning));
                    }
                    self.warnings.clone_from(warnings);
                }
            }
        }
    }

    fn refusals(&mut self, refusals: &[Reason], pass: u64, now: Tick) {
        let before = !self.refusals.logged.is_empty();
        for reason in self.refusals.news(refusals, now) {
            let Reason { text, known, target, .. } = reason;
            let since = known.as_ref().map(|known| known.since.utc_extended());
            let holds_back = known.as_ref().map(|known| log_line(&known.held_back()));
            let change = target.as_ref().map(|(_, change)| change.word());
            let (target, more) = (target.as_ref().map(|(target, _)| log_line(target)), more_than_one(reason.held()));
            let status = self.commands.offer(Verb::Status, &[]);
            let text = log_line(text);
            tracing::error!(pass, since, holds_back, target, change, more, "refused: {text}; {status} lists all");
        }
        if before && refusals.is_empty() {
            tracing::info!(pass, "nothing is refused any more");
        }
    }

    fn error(&mut self, trouble: Option<&CycleError>, pass: u64, now: Tick) {
        if let Some(CycleError::Locked(_)) = trouble {
            // Two watches may share a state, and get in each other's way every few seconds.
            if self.locked_logged_at.is_some_and(|at| now.since(at) < LOGGED_AGAIN_MS) {
                return;
            }
            self.locked_logged_at = Some(now);
        }
        match (trouble, &self.error) {
            (None, None) => {}
            (Some(now), Some(logged)) if now.is_like(logged) => {}
            (Some(CycleError::Locked(text)), _) => tracing::warn!(pass, "{}; tried again soon", log_line(text)),
            (Some(CycleError::Other(text)), _) => tracing::error!(pass, "{}; tried again soon", log_line(text)),
            (None, Some(_)) => tracing::info!(pass, "runs are made again"),
        }
        self.error = trouble.cloned();
    }

    /// What waits for an origin is logged when there is more of it, and when nothing waits any more.
    fn waiting(&mut self, left: &[Remaining], pass: u64) {
        let mut waiting = BTreeMap::new();
        for Remaining { end, waiting: oldest, .. } in left {
            let Some((OldestLeft { target, since }, reason)) = oldest else { continue };
            let (provider, number) = (&end.name, end.waiting);
            if self.waiting.get(provider).is_none_or(|logged| *logged < number) {
                let (target, since, more) = (log_line(target), since.utc_extended(), more_than_one(number));
                let reason = log_line(reason);
                tracing::info!(pass, provider, waiting = number, target, more, since, "waiting: {reason}");
            }
            waiting.insert(provider.clone(), number);
        }
        for provider in self.waiting.keys().filter(|provider| !waiting.contains_key(*provider)) {
            tracing::info!(pass, provider, "nothing waits for an origin any more");
        }
        self.waiting = waiting;
    }

    /// Deferred work is logged when there is more of it, and when it waits for another time.
    fn deferred(&mut self, left: &[Remaining], pass: u64) {
        let mut deferred = BTreeMap::new();
        for Remaining { end, counts, deferred: waits, .. } in left {
            let Some((until, waits)) = end.deferred_until.zip(waits.as_ref()) else { continue };
            let (provider, number, days) = (&end.name, counts.deferred, [until, waits.last_until]);
            if self.deferred.get(provider).is_none_or(|&(logged, known)| logged < number || known != days) {
                let until = until.utc_extended();
                let last = (days[0] != days[1]).then(|| waits.last_until.utc_extended());
                let (target, more) = (log_line(&waits.oldest.target), more_than_one(number));
                let (since, reason) = (waits.oldest.since.utc_extended(), log_line(&waits.because));
                let status = self.commands.offer(Verb::Status, &[]);
                tracing::warn!(
                    pass,
                    provider,
                    deferred = number,
                    until,
                    last,
                    target,
                    more,
                    since,
                    "deferred: {reason}; it goes by itself, {status} lists all"
                );
            }
            deferred.insert(provider.clone(), (number, days));
        }
        for provider in self.deferred.keys().filter(|provider| !deferred.contains_key(*provider)) {
            tracing::info!(pass, provider, "nothing is deferred any more");
        }
        self.deferred = deferred;
    }

    /// A provider is logged when its failures begin, with each further wait, and when they end.
    fn providers(&mut self, left: &[Remaining], pass: u64, (machine, now): (&dyn Machine, Now)) {
        let mut failing = BTreeMap::new();
        for Remaining { end: ProviderEnd { name: provider, pending, .. }, reason, pending: oldest, .. } in left {
            let Some(Retry { at, failures, endpoints }) = machine.retry_of(provider) else { continue };
            if self.failing.get(provider) != Some(&failures) {
                let again = shown_duration(at.since(now.tick));
                let reason = log_line(reason.as_deref().unwrap_or("not all is done"));
                let what = if endpoints { "provider fails" } else { "some targets fail" };
                let target = oldest.as_ref().map(|oldest| log_line(&oldest.target));
                let since = oldest.as_ref().map(|oldest| oldest.since.utc_extended());
                let more = more_than_one(*pending);
                let (try_now, status) = (
                    self.commands.offer_try_now(ProviderKey { namespace: None, name: provider }),
                    self.commands.offer(Verb::Status, &[]),
                );
                tracing::warn!(
                    pass,
                    provider,
                    pending,
                    failures,
                    again,
                    target,
                    more,
                    since,
                    "{what}: {reason}; tried again by itself, or now by {try_now}; {status} lists all"
                );
            }
            failing.insert(provider.clone(), failures);
        }
        for provider in self.failing.keys().filter(|provider| !failing.contains_key(*provider)) {
            match self.deferred.get(provider) {
                None => tracing::info!(pass, provider, "in order again"),
                Some((deferred, _)) => tracing::info!(pass, provider, deferred, "fails no more; deferred work waits"),
            }
        }
        self.failing = failing;
    }

    /// Whether a guard refuses anything.
    pub(super) fn is_refused(&self) -> bool {
        !self.refusals.logged.is_empty()
    }

    /// Whether something of what a guard refuses is none of what the state knows to be refused.
    pub(super) fn is_refusal_over(&self, known: &[KnownRefusal]) -> bool {
        self.refusals.logged.keys().any(|subject| known.iter().all(|known| known.subject != *subject))
    }

    /// In a few words, how it is.
    pub(super) fn status(&self) -> &'static str {
        match self {
            _ if !self.problems.is_empty() => "manifests are not valid",
            _ if !self.refusals.logged.is_empty() => "refused by a guard",
            _ if self.error.is_some() => "runs cannot be made",
            _ if !self.failing.is_empty() => "a provider fails",
            _ if !self.deferred.is_empty() => "work is deferred",
            _ => "in order",
        }
    }
}

/// How many there are besides the one that is named; `None`: no other one.
const fn more_than_one(number: u64) -> Option<u64> {
    if number > 1 { Some(number - 1) } else { None }
}

/// Whether a run came as far as to ask state and guards: what earlier ones found may be over. Any other says nothing of it.
const fn has_asked(end: &RunEnd) -> bool {
    matches!(end, RunEnd::Done(_) | RunEnd::Blocked(_))
}

/// What is refused, as it was logged and when, by what it is about.
#[derive(Default)]
struct Refusals {
    logged: BTreeMap<String, (String, Tick)>,
}

impl Refusals {
    /// Takes in what is refused now; returns what of it is to be logged. Of a manifest that is written to all the time only the
    /// numbers change.
    fn news<'a>(&mut self, refusals: &'a [Reason], now: Tick) -> Vec<&'a Reason> {
        let before = std::mem::take(&mut self.logged);
        let mut news = Vec::new();
        for reason in refusals {
            let Reason { subject, text, .. } = reason;
            let known = before.get(subject);
            let known = known.filter(|(known, at)| known == text || now.since(*at) < LOGGED_AGAIN_MS).cloned();
            if known.is_none() {
                news.push(reason);
            }
            self.logged.insert(subject.clone(), known.unwrap_or_else(|| (text.clone(), now)));
        }
        news
    }
}

/// The end of a run, for the readers of the report.
pub(super) fn ended(
    ended: &CycleOutcome,
    (started, now): (Now, Now),
    (machine, providers): (&dyn Machine, &[String]),
) -> EndedEvent {
    let counts = ended.counted.counts;
    let has_news = ended.counted.calls > 0 || counts != Counts::default();
    let exit = match (&ended.end, &ended.found) {
        (_, Some(ManifestsFound::Invalid(_))) => Exit::BadInput,
        (RunEnd::Blocked(_), _) => Exit::Refused,
        (RunEnd::Failed, _) => ended.counted.exit.filter(|exit| *exit != Exit::Done).unwrap_or(Exit::Failed),
        (RunEnd::Cut | RunEnd::Stale, _) => Exit::NotAllDone,
        (RunEnd::Done(_), _) => ended.counted.exit.unwrap_or(Exit::Done),
    };
    let error = ended.error.as_ref().map(|error| error.text().to_owned());
    let next_try = |name: &String| {
        let failures = machine.retry_of(name).map_or(0, |retry| retry.failures);
        (name.clone(), (machine.next_try(name, now).map(|at| wall_of(at, now)), failures))
    };
    EndedEvent {
        run: RunReport {
            run: ended.counted.run,
            reason: ended.request.reason,
            started_at: started.wall,
            duration_ms: now.tick.since(started.tick),
            exit: exit.code(),
            calls: ended.counted.calls,
            counts,
        },
        at: now.wall,
        trouble: (has_asked(&ended.end) || error.is_some()).then_some(error),
        refusals: has_asked(&ended.end).then(|| ended.refusals.iter().map(Reason::told).collect()),
        // It was enough to know that nothing is left at any of them.
        nothing_left: matches!(ended.end, RunEnd::Done(_)) && ended.counted.exit.is_none(),
        next_tries: providers.iter().map(next_try).collect(),
        // Of runs that came to nothing there may be many, and the next one is at hand.
        is_listed: has_news || exit != Exit::Done && ended.end != RunEnd::Stale,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// W6: while a refused manifest is written to, its numbers change with each run. Each manifest and kind of refusal counts by
    /// itself.
    #[test]
    fn a_refusal_with_other_numbers_is_logged_again_after_a_while() {
        let reason =
            |subject: String, text: String| Reason { manifest: None, subject, text, known: None, target: None };
        let lost = |manifest: &str, number: u32| {
            reason(format!("removals of {manifest}"), format!("{manifest}: {number} of its 101 targets"))
        };
        let mut refusals = Refusals::default();
        let mut logged = |all: &[Reason], ms| {
            let news = refusals.news(all, Tick::from_ms(ms)).into_iter();
            news.map(|reason| reason.text.as_str()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(logged(&[lost("a1", 31)], 0), "a1: 31 of its 101 targets");
        assert_eq!(logged(&[lost("a1", 32)], 1), "");
        let two = [lost("a1", 33), lost("a2", 33)];
        assert_eq!(logged(&two, 2), "a2: 33 of its 101 targets", "another manifest");
        let purges = reason("purges of a1".to_owned(), "a1: 9 purges".to_owned());
        assert_eq!(logged(&[lost("a1", 33), purges], 3), "a1: 9 purges", "another rule");
        assert_eq!(logged(&[lost("a1", 31)], LOGGED_AGAIN_MS), "", "as it was logged");
        assert_eq!(logged(&[lost("a1", 34)], LOGGED_AGAIN_MS), "a1: 34 of its 101 targets");
        assert_eq!(logged(&[], LOGGED_AGAIN_MS), "");
        assert_eq!(logged(&[lost("a1", 34)], LOGGED_AGAIN_MS + 1), "a1: 34 of its 101 targets", "it had ended");
    }
}
