//! What a run did, as text and as JSON.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{Document, JSON_VERSION, count, kind_word, row, shown, standing, strong, table, without_unused};
use crate::core::command_line::CommandLine;
use crate::core::event::ItemState;
use crate::core::recorded::ChangeKind;
use crate::core::time::{Now, Timestamp};
use crate::engine::executor::{CacheAnswers, CallReport};
use crate::engine::{self, Exit, Finished, Prepared, REFUSED, warnings};
use crate::state::Counts;

/// Targets that are listed one by one for people in each group.
pub(crate) const LISTED: usize = 20;

/// Numbers of targets by where they stand; `provider` narrows it down.
fn counts(view: &Finished<'_>, provider: Option<usize>) -> Counts {
    engine::counts(&view.prepared.difference.changes, &view.outcome.states, provider)
}

/// The head of a table of providers.
const PROVIDERS_HEAD: [&str; 7] = ["PROVIDER", "KIND", "ACCEPTED", "WAITING", "PENDING", "DEFERRED", "REJECTED"];

/// Head and rows of a table of providers: those that had something to do.
pub(super) fn providers(view: &Finished<'_>) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let mut rows = Vec::new();
    for (index, config) in view.desired.model.providers.iter().enumerate() {
        let numbers = counts(view, Some(index)).numbers();
        if numbers.iter().sum::<u64>() > 0 {
            rows.push(row(&[&config.name, config.kind.capabilities().kind], &numbers));
        }
    }
    without_unused(&PROVIDERS_HEAD, rows)
}

/// What was purged, as indexes into the changes.
pub(super) fn purged(view: &Finished<'_>) -> Vec<usize> {
    let is_purged = |&(_, state): &(usize, &ItemState)| *state == ItemState::Recorded;
    view.outcome.states.iter().enumerate().filter(is_purged).map(|(index, _)| index).collect()
}

/// The first `listed` targets that were purged.
fn purged_list(view: &Finished<'_>, listed: usize) -> String {
    let changes = &view.prepared.difference.changes;
    let purged = purged(view);
    let width = view.desired.model.providers.iter().map(|provider| provider.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for &index in purged.iter().take(listed) {
        let provider = &view.desired.model.providers[changes.provider(index)].name;
        let target = shown(&changes.target(index).text);
        text.push_str(&format!("  {} {provider:width$}  {target}\n", kind_word(changes.kind(index))));
    }
    if text.is_empty() {
        return text;
    }
    if purged.len() > listed {
        text.push_str(&format!("  … and {} more; `--verbose` lists all\n", purged.len() - listed));
    }
    format!("Purged\n{text}\n")
}

/// The summary for people, with so many of the targets that were purged.
pub(crate) fn human(view: &Finished<'_>, listed: usize, commands: &CommandLine) -> String {
    let mut text = purged_list(view, listed);
    let model = &view.desired.model;
    let (head, rows) = providers(view);
    if !rows.is_empty() {
        text.push_str(&table(&head, &rows, &(2..head.len()).collect::<Vec<_>>()));
        text.push('\n');
    }
    let left = groups_text(left_over(view));
    text.push_str(&left);
    text.extend(left_out(view).map(|line| line + "\n"));
    text.push_str(&super::asides(&view.prepared.difference, false, commands));
    for (index, reason) in stops(view) {
        // Mostly it is the very reason why targets are left: said once is enough.
        let name = &model.providers[index].name;
        if !left.contains(&format!("{name}: pending: {}\n", shown(&reason))) {
            text.push_str(&format!("provider `{name}` stopped: {}\n", shown(&reason)));
        }
    }
    if let Some(reason) = &view.outcome.cut_short {
        text.push_str(&format!("the run ended early: {reason}\n"));
    }
    text.push_str(&conclusion(view));
    text
}

/// Why calls to providers stopped, by index of the provider.
pub(super) fn stops(view: &Finished<'_>) -> Vec<(usize, String)> {
    let stopped = view.outcome.stops.iter().enumerate();
    stopped.filter_map(|(index, stop)| Some((index, stop.reason.clone()?))).collect()
}

/// What went wrong with the run as a whole, a line each.
pub(super) fn problems(view: &Finished<'_>, commands: &CommandLine) -> Vec<String> {
    let name = |index: usize| &view.desired.model.providers[index].name;
    let unavailable = view.unavailable.iter().map(|(index, reason)| format!("provider `{}`: {reason}", name(*index)));
    let stops = stops(view).into_iter().map(|(index, reason)| format!("provider `{}` stopped: {reason}", name(index)));
    let cut_short = view.outcome.cut_short.iter().map(|reason| format!("the run ended early: {reason}"));
    let state = view.outcome.state_error.iter().map(ToString::to_string);
    let refusals = view.prepared.refusals.iter();
    let refused = refusals.map(|refusal| format!("refused, and left out: {}", refusal.with_way_on(commands)));
    unavailable.chain(refused).chain(stops).chain(cut_short).chain(state).collect()
}

/// Targets that the user left out, if any.
pub(super) fn left_out(view: &Finished<'_>) -> Option<String> {
    let plan = &view.prepared.plan;
    let nothing = if plan.targets() == 0 { "; nothing that is due matches them" } else { "" };
    super::left_out(plan).map(|line| line + nothing)
}

fn conclusion(view: &Finished<'_>) -> String {
    let (headline, rest) = headline(view);
    format!("{}{rest}\n", strong(&headline))
}

/// What a run came to, and how it goes on.
pub(super) fn headline(view: &Finished<'_>) -> (String, String) {
    let counts = counts(view, None);
    let Counts { recorded, waiting, pending, deferred, rejected } = counts;
    let calls = count(view.outcome.calls, "call");
    let accepted = count(recorded, "purge");
    let headline = format!("{accepted} accepted in {calls}{}", cache_answers(view.outcome.answers.sum(None)));
    let left = counts.left();
    if left == 0 {
        let what = match view.exit {
            Exit::Done => "everything is recorded",
            Exit::NotAllDone => "all that these manifests list is recorded",
            _ => "but not all could be recorded",
        };
        return (headline, format!(", {what}."));
    }
    let hint = if left > rejected { "; the next run sends what is due" } else { "" };
    let waiting = if waiting > 0 { format!("{waiting} waiting, ") } else { String::new() };
    (headline, format!(", {left} left: {waiting}{pending} pending, {deferred} deferred, {rejected} rejected{hint}."))
}

/// What caches said of what they were to drop, where some did not hold it.
fn cache_answers(answers: CacheAnswers) -> String {
    match answers {
        CacheAnswers { not_cached: 0, .. } => String::new(),
        CacheAnswers { accepted: 1, .. } => ", it was not in the cache".to_owned(),
        CacheAnswers { accepted, not_cached } if accepted == not_cached => ", none of them was in the cache".to_owned(),
        CacheAnswers { accepted, not_cached } => format!(", {not_cached} of {accepted} answers say: not in the cache"),
    }
}

/// Targets that are left with the same reason, one after another.
pub(super) struct Group {
    /// Where and why.
    pub reason: String,
    /// The first of them.
    pub listed: Vec<String>,
    /// How many there are.
    pub targets: usize,
}

/// Targets that are left; the same reason is said once.
pub(super) fn left_over(view: &Finished<'_>) -> Vec<Group> {
    let changes = &view.prepared.difference.changes;
    let left_out: HashSet<usize> = view.prepared.plan.unselected.iter().copied().collect();
    let refused: HashSet<usize> = view.prepared.plan.refused.iter().copied().collect();
    let mut groups: Vec<Group> = Vec::new();
    for (index, state) in view.outcome.states.iter().enumerate().filter(|(index, _)| !left_out.contains(index)) {
        let provider = &view.desired.model.providers[changes.provider(index)].name;
        let until = match state {
            ItemState::Recorded => continue,
            ItemState::Rejected(_) => "; not sent again until the entry or the provider changes, or with --force",
            _ => "",
        };
        let reason = if refused.contains(&index) { REFUSED.to_owned() } else { standing(state, shown) + until };
        let reason = format!("{provider}: {reason}");
        if groups.last().is_none_or(|last| last.reason != reason) {
            groups.push(Group { reason, listed: Vec::new(), targets: 0 });
        }
        let Some(group) = groups.last_mut() else { continue };
        group.targets += 1;
        if group.listed.len() < LISTED {
            group.listed.push(shown(&changes.target(index).text));
        }
    }
    groups
}

fn groups_text(groups: Vec<Group>) -> String {
    let mut text = String::new();
    for Group { reason, listed, targets } in groups {
        text.push_str(&reason);
        text.push('\n');
        for target in &listed {
            text.push_str(&format!("    {target}\n"));
        }
        if targets > LISTED {
            text.push_str(&format!("    … and {} more\n", targets - LISTED));
        }
    }
    text
}

/// The calls of a rehearsal for people; times count from `start`.
pub(crate) fn calls(view: &Finished<'_>, reports: &[CallReport], start: Now) -> String {
    let row = |report: &CallReport| {
        let at_ms = report.sent.tick.since(start.tick);
        let result = match &report.result {
            Ok(tasks) if tasks.is_empty() => "accepted".to_owned(),
            Ok(tasks) => format!("accepted, task {}", shown(&tasks.join(","))),
            Err(reason) => shown(reason),
        };
        vec![
            format!("{}.{:03} s", at_ms / 1000, at_ms % 1000),
            view.desired.model.providers[report.provider].name.clone(),
            report.operation.to_owned(),
            report.changes.to_string(),
            result,
        ]
    };
    let mut rows: Vec<Vec<String>> = reports.iter().take(LISTED).map(row).collect();
    if reports.len() > LISTED {
        rows.push(vec![format!("… and {} more", reports.len() - LISTED)]);
    }
    table(&["AT", "PROVIDER", "OPERATION", "TARGETS", "ANSWER"], &rows, &[0, 3])
}

/// The outcome for programs.
pub(crate) fn json<'a>(view: &'a Finished<'a>, rehearsal: bool, commands: &CommandLine) -> Document<'a> {
    let model = &view.desired.model;
    let providers: Vec<Value> = view
        .desired
        .providers()
        .iter()
        .enumerate()
        .map(|(index, (name, kind))| {
            let Counts { recorded, waiting, pending, deferred, rejected } = counts(view, Some(index));
            let stop = view.outcome.stops.get(index);
            json!({
                "provider": name,
                "kind": kind,
                "accepted": recorded,
                "waiting": waiting,
                "pending": pending,
                "deferred": deferred,
                "rejected": rejected,
                "not_cached": view.outcome.answers.sum(Some(index)).not_cached,
                "stopped": stop.and_then(|stop| stop.reason.clone()),
                "directories_refused": stop.and_then(|stop| Some(stop.directories.as_ref()?.reason.clone())),
                "credentials_refused": stop.is_some_and(|stop| stop.credentials),
                "without_credentials": view.unavailable.iter().any(|(provider, _)| *provider == index),
            })
        })
        .collect();
    let Prepared { difference, .. } = view.prepared;
    let target = |index: usize| {
        let change = difference.changes.get(index);
        target_json(&model.providers[change.provider].name, &change, view.outcome.states.get(index))
    };
    let unrecorded = |&index: &usize| {
        let name = &model.providers[difference.changes.provider(index)].name;
        json!({"provider": name, "target": difference.changes.target(index).text})
    };
    let mut document = Document::from(json!({
        "version": JSON_VERSION,
        "command": "apply",
        "rehearsal": rehearsal,
        "digest": view.prepared.digest,
        "exit": view.exit.code(),
        "kind": view.exit.kind(!view.unavailable.is_empty()),
        "calls": view.outcome.calls,
        "not_cached": view.outcome.answers.sum(None).not_cached,
        "unchanged": view.prepared.difference.unchanged,
        "providers": providers,
        "adopted": view.prepared.difference.adopt.len(),
        "orphans": super::plan::orphans_json(&view.prepared.difference),
        "unclaimed": super::plan::unclaimed_json(&view.prepared.difference.unclaimed),
        "state_error": view.outcome.state_error.as_ref().map(ToString::to_string),
        "cut_short": view.outcome.cut_short,
        "refused": view.prepared.refusals.iter().map(|refusal| refusal.with_way_on(commands)).collect::<Value>(),
        "warnings": warnings(view.desired, &view.outcome),
    }));
    document.list("targets", move || (0..view.outcome.states.len()).map(target));
    document.list("forgotten", || super::plan::dropped_json(&difference.forget));
    document.list("dropped", || super::plan::dropped_json(&difference.dropped));
    document.list("accepted_but_not_recorded", move || view.outcome.unrecorded.iter().map(unrecorded));
    document
}

fn target_json(provider: &str, change: &crate::core::changes::Change, state: &ItemState) -> Value {
    let (word, until, reason) = state.parts();
    let is_removal = *state == ItemState::Recorded && change.kind == ChangeKind::Removed;
    json!({
        "provider": provider,
        "scope": change.target.scope.word(),
        "target": change.target.text,
        "kind": change.kind.word(),
        "state": if is_removal { "removed" } else { word },
        "reason": reason,
        "until": until.map(Timestamp::utc_extended),
        "in_doubt": change.in_doubt,
    })
}
