//! What probes of edges came to: as text, as Markdown and as JSON.

use serde_json::{Value, json};

use super::{count, moment, row, shown, strong, table, without_unused};
use crate::core::proof_record::ProofVerdict;
use crate::core::text::one_line;
use crate::core::time::Timestamp;
use crate::engine::prove::{ProofReport, ProvenTarget, SeenAt};

/// Targets that are listed one by one for people in each group.
const LISTED: usize = 20;
/// Longest description of what was seen, in characters.
const LONGEST: usize = 600;

/// The head of a table of providers.
const HEAD: [&str; 6] = ["PROVIDER", "VERIFIED", "STALE", "INCONCLUSIVE", "UNVERIFIABLE", "DUE"];
const VERDICTS: [ProofVerdict; 5] = [
    ProofVerdict::Verified,
    ProofVerdict::Stale,
    ProofVerdict::Inconclusive,
    ProofVerdict::Unverifiable,
    ProofVerdict::Due,
];

fn providers(report: &ProofReport) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let numbers = |name: &str| VERDICTS.map(|verdict| report.count(Some(name), verdict));
    let rows = report.providers().into_iter().map(|name| row(&[name], &numbers(name))).collect();
    without_unused(&HEAD, rows)
}

/// The result for people.
pub(crate) fn human(report: &ProofReport) -> String {
    let (head, rows) = providers(report);
    let mut text = String::new();
    if !rows.is_empty() {
        text.push_str(&table(&head, &rows, &(1..head.len()).collect::<Vec<_>>()));
        text.push('\n');
    }
    for (reason, targets) in groups(report) {
        text.push_str(&format!("{reason}\n"));
        for target in targets.iter().take(LISTED) {
            text.push_str(&format!("    {target}\n"));
        }
        if targets.len() > LISTED {
            text.push_str(&format!("    … and {} more\n", targets.len() - LISTED));
        }
    }
    text + &format!("{}\n", strong(&headline(report)))
}

/// What probes came to, in one line.
pub(crate) fn headline(report: &ProofReport) -> String {
    let all = report.targets().count();
    if all == 0 {
        return "Nothing to probe now.".to_owned();
    }
    let probes = count(report.probes, "probe");
    let places: Vec<usize> = report.targets().map(|target| target.vantages).filter(|places| *places > 0).collect();
    let at = match (places.iter().min(), places.iter().max()) {
        (Some(1), Some(1)) => " at 1 place".to_owned(),
        (Some(least), Some(most)) if least == most => format!(" at {most} places each"),
        (Some(least), Some(most)) => format!(" at {least} to {most} places each"),
        _ => String::new(),
    };
    let by = by(report);
    let part = |verdict: ProofVerdict| {
        let number = report.count(None, verdict);
        (number > 0).then(|| format!(", {number} {}", verdict.word()))
    };
    let others: String = VERDICTS[1..].iter().filter_map(|verdict| part(*verdict)).collect();
    let again = if report.purged_again > 0 { format!(", {} purged again", report.purged_again) } else { String::new() };
    let superseded = match report.superseded {
        0 => String::new(),
        number => format!("; {} changed meanwhile", count(number, "target")),
    };
    let verified = report.count(None, ProofVerdict::Verified);
    format!("{verified} of {} verified{by}{at}{others}; {probes}{again}{superseded}.", count(all as u64, "target"))
}

/// By what verdicts go that are weaker than the content.
fn by(report: &ProofReport) -> String {
    let verified = report.targets().filter(|target| target.verdict == ProofVerdict::Verified);
    let mut by: Vec<&str> = verified.filter_map(|target| target.by.as_deref()).collect();
    by.sort_unstable();
    by.dedup();
    if by.is_empty() { String::new() } else { format!(" by {}", by.join(", ")) }
}

/// Targets that are not verified, by what was seen of them; the same is said once.
fn groups(report: &ProofReport) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for target in report.targets().filter(|target| target.verdict != ProofVerdict::Verified) {
        let reason = one_line(&reason(target), LONGEST);
        let text = shown(&target.target.text);
        match groups.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, targets)) => targets.push(text),
            None => groups.push((reason, vec![text])),
        }
    }
    groups
}

fn reason(target: &ProvenTarget) -> String {
    let ProvenTarget { provider, verdict, purges, why, next, is_marked, .. } = target;
    let why = why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    let purged = match (verdict, purges) {
        (ProofVerdict::Stale, 2..) => format!(" after {purges} purges"),
        _ => String::new(),
    };
    let next = match next {
        Some(next) => format!("; probed again {}", moment(*next)),
        None if *is_marked => "; the next run purges it again".to_owned(),
        None => String::new(),
    };
    format!("{provider}: {}{purged}{why}{next}", verdict.word())
}

/// The result as a part of a comment.
pub(crate) fn markdown(report: &ProofReport) -> String {
    let mut text = format!("\n### Proof\n\n{}\n", headline(report));
    let groups = groups(report);
    for (reason, targets) in groups.iter().take(LISTED) {
        text.push_str(&format!("\n- {}", super::markdown::code(reason)));
        for target in targets.iter().take(LISTED) {
            text.push_str(&format!("\n  - {}", super::markdown::code(target)));
        }
    }
    text + "\n"
}

/// The result for programs.
pub(crate) fn json(report: &ProofReport) -> Value {
    let target = |target: &ProvenTarget| {
        json!({
            "provider": target.provider,
            "target": target.target.text,
            "result": target.verdict.word(),
            "by": target.by,
            "expected": target.expected,
            "reason": target.why,
            "by_rule": target.is_by_rule,
            "due": target.next.map(Timestamp::utc_extended),
            "purges": target.purges,
            "probes": target.seen.iter().map(SeenAt::as_json).collect::<Value>(),
        })
    };
    json!({
        "probes": report.probes,
        "bytes": report.bytes,
        "purged_again": report.purged_again,
        "superseded": report.superseded,
        "targets": report.targets().map(target).collect::<Value>(),
    })
}
