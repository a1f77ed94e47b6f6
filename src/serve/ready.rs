//! Whether the program does its work: why not, a text each.

use crate::core::provider_key::ProviderKey;
use crate::core::report::{ManifestsReport, Report};
use crate::core::text::{count, one_line};
use crate::core::time::Timestamp;

/// Most characters of a reason.
pub(super) const MOST: usize = 2_000;

/// Why not all is well; empty if all is. A provider is stuck once targets have been pending at it for more than
/// `within_ms` milliseconds.
pub(super) fn reasons(report: &Report, now: Timestamp, within_ms: u64) -> Vec<String> {
    let mut reasons = Vec::new();
    match &report.manifests {
        ManifestsReport::Unread if report.trouble.is_none() => {
            reasons.push("the manifests are not read yet".to_owned());
        }
        ManifestsReport::Unread | ManifestsReport::Valid { .. } => {}
        ManifestsReport::Invalid { since, problems, .. } => {
            let (problems_of, since) = (count(problems.len(), "problem"), since.utc_extended());
            let first = problems.first().map(|problem| one_line(problem, MOST)).unwrap_or_default();
            reasons.push(format!("the manifests are not valid since {since}, {problems_of}, the first: {first}"));
        }
    }
    reasons.extend(report.refusals.iter().map(|refusal| format!("refused by a guard {}", one_line(refusal, MOST))));
    reasons.extend(report.trouble.iter().map(|trouble| format!("runs cannot be made: {}", one_line(trouble, MOST))));
    if let Some(run) = report.running.as_ref().filter(|run| run.reads_long) {
        let since = run.since.utc_extended();
        reasons.push(format!("a run has been reading files since {since} and may never end: does a disk hang?"));
    }
    let within_ms = i64::try_from(within_ms).unwrap_or(i64::MAX);
    for (name, provider) in &report.providers {
        let Some(oldest) = provider.oldest.filter(|oldest| provider.pending > 0 && oldest.plus_ms(within_ms) < now)
        else {
            continue;
        };
        let (count, since) = (provider.pending, oldest.utc_extended());
        let again = if provider.failures > 0 {
            let try_now = report.commands.offer_try_now(ProviderKey { namespace: None, name });
            format!("; tried again by itself, or now by {try_now}")
        } else {
            String::new()
        };
        let why = provider.reason.as_deref().map(|why| format!(": {}", one_line(why, MOST))).unwrap_or_default();
        reasons.push(format!(
            "provider {} is stuck: {count} pending, the oldest since {since}{why}{again}",
            one_line(name, MOST)
        ));
    }
    if report.stopping {
        reasons.push("the program is about to end".to_owned());
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::report::ProviderReport;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_ms(seconds * 1000)
    }

    fn valid() -> Report {
        Report { manifests: ManifestsReport::Valid { manifests: 1, targets: 2 }, ..Report::default() }
    }

    /// W6: work that waits longer than allowed; work that is deferred waits as long as it has to.
    #[test]
    fn a_provider_is_stuck_after_the_given_time() {
        let mut report = valid();
        let pending = ProviderReport { pending: 3, oldest: Some(at(100)), ..ProviderReport::default() };
        report.providers.insert("own".to_owned(), pending);
        assert!(reasons(&report, at(160), 60_000).is_empty());
        assert!(reasons(&report, at(161), 60_000)[0].starts_with("provider own is stuck: 3 pending"));
        assert!(reasons(&report, at(0), 60_000).is_empty(), "a clock that was set back");
        assert!(reasons(&report, at(161), u64::MAX).is_empty());
        report.providers.get_mut("own").expect("there").pending = 0;
        assert!(reasons(&report, at(161), 60_000).is_empty());
    }

    /// W7, and X5: each reason is a line, whatever is in it.
    #[test]
    fn each_reason_is_a_line() {
        assert_eq!(reasons(&Report::default(), at(0), 1).len(), 1);
        assert!(reasons(&valid(), at(0), 1).is_empty());
        let hostile = "a\nready\n\u{1b}[31m".to_owned();
        let mut report = Report {
            manifests: ManifestsReport::Invalid {
                were_valid: true,
                since: at(0),
                problems: vec![hostile.clone(); 30].into(),
            },
            refusals: vec![hostile.clone()],
            trouble: Some(hostile.clone()),
            stopping: true,
            ..Report::default()
        };
        let stuck =
            ProviderReport { pending: 1, oldest: Some(at(0)), reason: Some(hostile), ..ProviderReport::default() };
        report.providers.insert("own".to_owned(), stuck);
        let told = reasons(&report, at(9), 1);
        assert_eq!(told.len(), 5);
        assert!(told.iter().all(|reason| !reason.chars().any(char::is_control)), "{told:?}");
        assert!(told[0].contains("30 problems, the first"));
    }
}
