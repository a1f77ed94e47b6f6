//! What is told of runs: once when something changes, not with every run.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use tokio::sync::watch;

use super::log::line;
use super::round::{Ended, Found};
use super::trouble::Trouble;
use super::wall_of;
use crate::cli::duration;
use crate::cli::exit::Exit;
use crate::core::report::{ManifestsReport, ProviderReport, Report, RunReport};
use crate::core::time::{Now, Tick, Timestamp};
use crate::core::watch::{ProviderEnd, Retry, RunEnd, Watch};
use crate::engine::Left;

/// Problems of manifests that are told one by one; the page and `freshen check` show all.
const MOST_PROBLEMS: usize = 20;
/// A refusal with other numbers, and a state that is locked once more, are told again after this time, in milliseconds.
const TOLD_AGAIN_MS: u64 = 300_000;

/// What was told last.
#[derive(Default)]
pub(super) struct Voice {
    /// What is wrong with the manifests; empty if nothing is.
    problems: Vec<String>,
    /// They were valid once since the start.
    were_valid: bool,
    warnings: Vec<String>,
    refusals: Refusals,
    trouble: Option<Trouble>,
    /// How much is deferred at each provider, and until when.
    deferred: BTreeMap<String, (u64, Timestamp)>,
    /// When it was last told that another run has the state.
    locked_told_at: Option<Tick>,
    /// Failures in a row of each provider that fails.
    failing: BTreeMap<String, u32>,
}

impl Voice {
    /// Writes into the log what is new.
    pub(super) fn tell(&mut self, ended: &Ended, pass: u64, machine: &Watch, now: Now) {
        self.manifests(ended.found.as_ref(), pass);
        if has_asked(&ended.end) {
            self.refusals(&ended.refusals, pass, now.tick);
        }
        if has_asked(&ended.end) || ended.trouble.is_some() {
            self.trouble(ended.trouble.as_ref(), pass, now.tick);
        }
        let counts = ended.came.counts;
        if ended.came.calls > 0 || counts.recorded > 0 {
            let (run, reason, calls) = (ended.came.run, ended.order.reason.word(), ended.came.calls);
            let (recorded, pending, deferred, rejected) =
                (counts.recorded, counts.pending, counts.deferred, counts.rejected);
            tracing::info!(pass, run, reason, calls, recorded, pending, deferred, rejected, "run ended");
        } else {
            tracing::debug!(pass, reason = ended.order.reason.word(), "run ended");
        }
        if let RunEnd::Done(_) | RunEnd::Blocked(Some(_)) = &ended.end {
            self.deferred(&ended.came.left, pass);
            self.providers(&ended.came.left, pass, (machine, now));
        }
    }

    fn manifests(&mut self, found: Option<&Found>, pass: u64) {
        match found {
            None => {}
            Some(Found::Invalid(problems)) => {
                let told: HashSet<&String> = self.problems.iter().collect();
                for problem in problems.iter().filter(|problem| !told.contains(problem)).take(MOST_PROBLEMS) {
                    tracing::error!(pass, "{}", line(problem));
                }
                if self.problems.is_empty() {
                    let problems = problems.len();
                    let meanwhile = if self.were_valid { "the last valid ones hold" } else { "nothing is done" };
                    tracing::error!(pass, problems, "the manifests are not valid; {meanwhile}");
                }
                self.problems.clone_from(problems);
            }
            Some(Found::Valid { manifests, targets, warnings, .. }) => {
                self.were_valid = true;
                if !std::mem::take(&mut self.problems).is_empty() {
                    tracing::info!(pass, manifests, targets, "the manifests are valid again");
                }
                if *warnings != self.warnings {
                    for warning in warnings.iter().take(MOST_PROBLEMS) {
                        tracing::warn!(pass, "{}", line(warning));
                    }
                    self.warnings.clone_from(warnings);
                }
            }
        }
    }

    fn refusals(&mut self, refusals: &[String], pass: u64, now: Tick) {
        let before = !self.refusals.told.is_empty();
        for refusal in self.refusals.news(refusals, now) {
            tracing::error!(pass, "refused: {}", line(refusal));
        }
        if before && refusals.is_empty() {
            tracing::info!(pass, "nothing is refused any more");
        }
    }

    fn trouble(&mut self, trouble: Option<&Trouble>, pass: u64, now: Tick) {
        if let Some(Trouble::Locked(_)) = trouble {
            // Two watches may share a state, and get in each other's way every few seconds.
            if self.locked_told_at.is_some_and(|at| now.since(at) < TOLD_AGAIN_MS) {
                return;
            }
            self.locked_told_at = Some(now);
        }
        match (trouble, &self.trouble) {
            (None, None) => {}
            (Some(now), Some(told)) if now.is_like(told) => {}
            (Some(Trouble::Locked(text)), _) => tracing::warn!(pass, "{}; tried again soon", line(text)),
            (Some(Trouble::Other(text)), _) => tracing::error!(pass, "{}; tried again soon", line(text)),
            (None, Some(_)) => tracing::info!(pass, "runs are made again"),
        }
        self.trouble = trouble.cloned();
    }

    /// Deferred work is told of when there is more of it, and when it waits for another time.
    fn deferred(&mut self, left: &[Left], pass: u64) {
        let mut deferred = BTreeMap::new();
        for Left { end, counts, deferred_because, .. } in left {
            let Some(until) = end.deferred_until else { continue };
            let (provider, number) = (&end.name, counts.deferred);
            if self.deferred.get(provider).is_none_or(|&(told, told_until)| told < number || told_until != until) {
                let reason = line(deferred_because.as_deref().unwrap_or_default());
                tracing::warn!(pass, provider, deferred = number, until = until.utc_extended(), "deferred: {reason}");
            }
            deferred.insert(provider.clone(), (number, until));
        }
        for provider in self.deferred.keys().filter(|provider| !deferred.contains_key(*provider)) {
            tracing::info!(pass, provider, "nothing is deferred any more");
        }
        self.deferred = deferred;
    }

    /// A provider is told of when its failures begin, with each further wait, and when they end.
    fn providers(&mut self, left: &[Left], pass: u64, (machine, now): (&Watch, Now)) {
        let mut failing = BTreeMap::new();
        for Left { end: ProviderEnd { name: provider, pending, .. }, reason, .. } in left {
            let Some(Retry { at, failures, endpoints }) = machine.retry_of(provider) else { continue };
            if self.failing.get(provider) != Some(&failures) {
                let again = duration::show(at.since(now.tick));
                let reason = line(reason.as_deref().unwrap_or("not all is done"));
                if endpoints {
                    tracing::warn!(pass, provider, pending, failures, again, "provider fails: {reason}");
                } else {
                    tracing::warn!(pass, provider, pending, failures, again, "some targets fail: {reason}");
                }
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

    /// In a few words, how it is.
    pub(super) fn status(&self) -> &'static str {
        match self {
            _ if !self.problems.is_empty() => "manifests are not valid",
            _ if !self.refusals.told.is_empty() => "refused by a guard",
            _ if self.trouble.is_some() => "runs cannot be made",
            _ if !self.failing.is_empty() => "a provider fails",
            _ if !self.deferred.is_empty() => "work is deferred",
            _ => "in order",
        }
    }
}

/// Whether a run came as far as to ask state and guards: what earlier ones were told may be over. Any other says nothing of it.
const fn has_asked(end: &RunEnd) -> bool {
    matches!(end, RunEnd::Done(_) | RunEnd::Blocked(_))
}

/// What is refused, as it was told and when, by what it is about.
#[derive(Default)]
struct Refusals {
    told: BTreeMap<String, (String, Tick)>,
}

impl Refusals {
    /// Takes in what is refused now; returns what of it is to be told. Of a manifest that is written to all the time only the
    /// numbers change.
    fn news<'a>(&mut self, refusals: &'a [String], now: Tick) -> Vec<&'a str> {
        let before = std::mem::take(&mut self.told);
        let mut news = Vec::new();
        for refusal in refusals {
            let subject = subject_of(refusal);
            let known = before.get(&subject);
            let known = known.filter(|(text, at)| text == refusal || now.since(*at) < TOLD_AGAIN_MS).cloned();
            if known.is_none() {
                news.push(refusal.as_str());
            }
            self.told.insert(subject, known.unwrap_or_else(|| (refusal.clone(), now)));
        }
        news
    }
}

/// What a refusal is about: its manifest, and its words without numbers.
fn subject_of(refusal: &str) -> String {
    let name_end =
        refusal.strip_prefix("manifest `").and_then(|rest| Some(refusal.len() - rest.len() + rest.find('`')?));
    let (name, words) = refusal.split_at(name_end.unwrap_or(0));
    name.chars().chain(words.chars().filter(|c| !c.is_ascii_digit())).collect()
}

/// Puts what came of a run into the report.
pub(super) fn report(sender: &watch::Sender<Report>, ended: &Ended, (started, now): (Now, Now), machine: &Watch) {
    let counts = ended.came.counts;
    let has_news = ended.came.calls > 0 || counts != crate::state::Counts::default();
    let exit = match (&ended.end, &ended.found) {
        (_, Some(Found::Invalid(_))) => Exit::BadInput,
        (RunEnd::Blocked(_), _) => Exit::Refused,
        (RunEnd::Failed, _) => ended.came.exit.filter(|exit| *exit != Exit::Done).unwrap_or(Exit::Failed),
        (RunEnd::Cut | RunEnd::Stale, _) => Exit::NotAllDone,
        (RunEnd::Done(_), _) => ended.came.exit.unwrap_or(Exit::Done),
    };
    sender.send_modify(|report| {
        report.running = None;
        if has_asked(&ended.end) || ended.trouble.is_some() {
            report.trouble = ended.trouble.as_ref().map(|trouble| trouble.text().to_owned());
        }
        if has_asked(&ended.end) {
            report.refusals.clone_from(&ended.refusals);
        }
        if matches!(ended.end, RunEnd::Done(_)) && ended.came.exit.is_none() {
            // It was enough to know that nothing is left at any of them.
            report.providers.clear();
            report.targets = Arc::default();
        }
        let duration_ms = now.tick.since(started.tick);
        report.durations.add(duration_ms);
        take_manifests(report, ended.found.as_ref(), now);
        if exit == Exit::Done {
            report.last_success = Some(now.wall);
        }
        if let RunEnd::Done(_) | RunEnd::Blocked(Some(_)) = &ended.end {
            for (name, provider) in &mut report.providers {
                let retry = machine.retry_of(name);
                provider.retry_at = retry.map(|retry| wall_of(retry.at, now));
                provider.failures = retry.map_or(0, |retry| retry.failures);
            }
        }
        // Of runs that came to nothing there may be many, and the next one is at hand.
        if has_news || exit != Exit::Done && ended.end != RunEnd::Stale {
            report.ended(RunReport {
                run: ended.came.run,
                reason: ended.order.reason,
                started_at: started.wall,
                duration_ms,
                exit: exit.code(),
                calls: ended.came.calls,
                recorded: counts.recorded,
                pending: counts.pending,
                deferred: counts.deferred,
                rejected: counts.rejected,
            });
        }
    });
}

/// Puts what the manifests were found to be into the report.
pub(super) fn take_manifests(report: &mut Report, found: Option<&Found>, now: Now) {
    match found {
        None => {}
        Some(Found::Valid { manifests, targets, providers, .. }) => {
            report.manifests = ManifestsReport::Valid { manifests: *manifests, targets: *targets };
            let known: BTreeMap<String, ProviderReport> = std::mem::take(&mut report.providers);
            let named = providers.iter().map(|(name, kind)| {
                let fresh = || ProviderReport { kind: kind.clone(), ..ProviderReport::default() };
                (name.clone(), known.get(name).cloned().unwrap_or_else(fresh))
            });
            report.providers = named.collect();
            report.quotas.retain(|(provider, ..), _| report.providers.contains_key(provider));
            report.rates.retain(|(provider, _), _| report.providers.contains_key(provider));
            report.calls.retain(|(provider, _), _| report.providers.contains_key(provider));
        }
        Some(Found::Invalid(problems)) => {
            let (were_valid, since) = match &report.manifests {
                ManifestsReport::Unread => (false, now.wall),
                ManifestsReport::Valid { .. } => (true, now.wall),
                ManifestsReport::Invalid { were_valid, since, .. } => (*were_valid, *since),
            };
            report.manifests = ManifestsReport::Invalid { were_valid, since, problems: problems.clone().into() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// W6: while a refused manifest is written to, its numbers change with each run. Each manifest and kind of refusal counts by
    /// itself.
    #[test]
    fn a_refusal_with_other_numbers_is_told_again_after_a_while() {
        let lost = |manifest: &str, number: u32| {
            format!("manifest `{manifest}`: {number} of its 101 targets; see `-m {number}`")
        };
        let mut refusals = Refusals::default();
        let mut told = |all: &[String], ms| refusals.news(all, Tick::from_ms(ms)).join(" ");
        assert_eq!(told(&[lost("a1", 31)], 0), lost("a1", 31));
        assert_eq!(told(&[lost("a1", 32)], 1), "");
        assert_eq!(told(&[lost("a1", 33), lost("a2", 33)], 2), lost("a2", 33), "another manifest");
        let purges = "manifest `a1`: 9 purges".to_owned();
        assert_eq!(told(&[lost("a1", 33), purges.clone()], 3), purges, "another kind");
        assert_eq!(told(&[lost("a1", 31)], TOLD_AGAIN_MS), "", "as it was told");
        assert_eq!(told(&[lost("a1", 34)], TOLD_AGAIN_MS), lost("a1", 34));
        assert_eq!(told(&[], TOLD_AGAIN_MS), "");
        assert_eq!(told(&[lost("a1", 34)], TOLD_AGAIN_MS + 1), lost("a1", 34), "it had ended");
    }

    /// H5: what is told of providers is of those that are configured.
    #[test]
    fn calls_of_providers_that_are_gone_are_forgotten() {
        let mut report = Report::default();
        report.called("old", "accepted", 1, true);
        report.called("new", "accepted", 1, true);
        let providers = vec![("new".to_owned(), "http-purge".to_owned())];
        let found = Found::Valid { manifests: 1, targets: 1, providers, warnings: Vec::new() };
        take_manifests(&mut report, Some(&found), Now::default());
        assert_eq!(report.calls.keys().collect::<Vec<_>>(), [&("new".to_owned(), "accepted")]);
    }
}
