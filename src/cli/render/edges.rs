//! What the state knows of edges: what was seen there last, and which probes are owed.

use serde_json::{Value, json};

use super::{count, moment, shown, strong};
use crate::core::command_line::{CommandLine, Verb};
use crate::core::proof_record::{ProofRow, ProofVerdict};
use crate::core::provider_key::ProviderKey;
use crate::core::time::Timestamp;
use crate::engine::Overview;

/// Stale targets that are listed one by one for people.
const LISTED: usize = 20;

/// What is stale, with what was seen, and which probes are owed.
pub(super) fn sections(view: &Overview, commands: &CommandLine) -> String {
    let mut text = String::new();
    if !view.proof.stale.is_empty() {
        text += &format!("\n{}\n", strong("Stale"));
    }
    for row in view.proof.stale.iter().take(LISTED) {
        let ProofRow { provider, target, probed_at, due, .. } = row;
        let seen = seen(row).map_or_else(String::new, |seen| format!(": {seen}"));
        let probed = probed_at.map_or_else(|| "not probed".to_owned(), |at| format!("probed {}", moment(at)));
        let next = match due {
            Some(due) => format!("probed again {}", at(*due, view.now)),
            None => "the next run purges it again".to_owned(),
        };
        text += &format!("  {provider}: {}{seen}{}\n    {probed}; {next}\n", shown(&target.text), purges(row));
    }
    if view.proof.stale.len() > LISTED {
        text += &format!("  … and {} more\n", count(view.proof.stale.len() - LISTED, "target"));
    }
    for (namespace, (number, next)) in &view.proof.owed {
        let namespace = namespace.as_deref();
        let offered = commands.about(&view.paths(namespace)).offer_probes(namespace);
        let makes = if *number == 1 { "makes it" } else { "makes them" };
        text += &format!("\nOwed: {}, next {}; {offered} {makes}\n", count(*number, "probe"), at(*next, view.now));
    }
    text
}

/// Which probes the purges of a run owe.
pub(crate) fn owed(number: u64, next: Timestamp, now: Timestamp, commands: &CommandLine) -> String {
    let (are, them) = if number == 1 { ("is", "it") } else { ("are", "them") };
    let probes = count(number, "probe");
    let (due, apply) = (commands.offer(Verb::Verify, &["--due"]), commands.offer(Verb::Apply, &["--wait", "verified"]));
    format!("Not probed yet: {probes} {are} due from {}; {due}, or the next {apply}, makes {them}.\n", at(next, now))
}

/// A moment that is mostly near: its time alone on the same day.
pub(crate) fn at(moment: Timestamp, now: Timestamp) -> String {
    let text = moment.utc_second();
    if moment.utc_date() == now.utc_date() { text[11..].to_owned() } else { text }
}

/// `, after 3 purges`
fn purges(row: &ProofRow) -> String {
    match times_purged(row) {
        0 | 1 => String::new(),
        times => format!(", after {times} purges"),
    }
}

const fn times_purged(row: &ProofRow) -> u32 {
    row.repurges + row.accepted_at.is_some() as u32
}

/// What an edge served: `http://203.0.113.7 serves sha256:9c56… (200, Age 412, X-Cache HIT)`.
fn seen(row: &ProofRow) -> Option<String> {
    let seen: Value = serde_json::from_str(row.seen.as_deref()?).ok()?;
    let text = |name: &str| seen[name].as_str();
    let variant = text("variant").filter(|variant| *variant != "identity");
    let variant = variant.map_or_else(String::new, |variant| format!(" ({variant})"));
    let Some(status) = seen["status"].as_u64() else {
        return Some(format!("{}{variant} gave no answer", shown(text("vantage")?)));
    };
    let etag = || text("etag").map(|etag| format!("ETag {etag}"));
    let content = text("hash").map(str::to_owned).or_else(etag).unwrap_or_else(|| format!("status {status}"));
    let named = |label: &str, name: &str| text(name).map(|value| format!(", {label} {value}"));
    let further: String = [named("Age", "age"), named("X-Cache", "x_cache")].into_iter().flatten().collect();
    Some(shown(&format!("{}{variant} serves {content} ({status}{further})", text("vantage")?)))
}

/// What is known of a target's proof, with its label before each line.
pub(crate) fn lines(row: &ProofRow, provider: &str, commands: &CommandLine) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if let Some(ready) = row.ready_at {
        lines.push(("ready", format!("{}: its origin served the content", ready.utc_second())));
    }
    if let Some(accepted) = row.accepted_at {
        lines.push(("accepted", format!("{}{}", accepted.utc_second(), purges(row))));
    }
    let by = row.by.as_ref().map_or_else(String::new, |by| format!(" by {}", shown(by)));
    if let Some(probed) = row.probed_at {
        lines.push((row.verdict.word(), format!("{}{by}", probed.utc_second())));
    }
    if let Some(seen) = seen(row) {
        lines.push(("last seen", seen));
    }
    if let Some(due) = row.due {
        let offered = commands.offer_probes(ProviderKey::of(provider).namespace);
        lines.push(("next probe", format!("due from {}; {offered} makes it", due.utc_second())));
    } else if row.verdict == ProofVerdict::Stale {
        lines.push(("next probe", "once the next run has purged it again".to_owned()));
    }
    lines
}

/// The same for programs.
pub(crate) fn json(row: &ProofRow) -> Value {
    let time = |at: Option<Timestamp>| at.map(Timestamp::utc_extended);
    let seen: Option<Value> = row.seen.as_deref().and_then(|seen| serde_json::from_str(seen).ok());
    json!({
        "provider": row.provider,
        "target": row.target.text,
        "result": row.verdict.word(),
        "by": row.by,
        "expected": row.hash.as_ref().map(ToString::to_string),
        "ready_at": time(row.ready_at),
        "accepted_at": time(row.accepted_at),
        "probed_at": time(row.probed_at),
        "due": time(row.due),
        "purges": times_purged(row),
        "seen": seen,
    })
}

/// What is stale and owed at all, for programs.
pub(super) fn overview_json(view: &Overview) -> Value {
    let owed = view.proof.owed.values();
    json!({
        "owed": owed.clone().map(|(number, _)| number).sum::<u64>(),
        "next_at": owed.map(|(_, next)| *next).min().map(Timestamp::utc_extended),
        "stale": view.proof.stale.iter().map(json).collect::<Value>(),
    })
}
