//! A plan as text and as JSON.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::{
    Document, JSON_VERSION, count, directories, grouped, kind_word, many, moment, per_second, shown, strong, table,
};
use crate::core::changes::Change;
use crate::core::command_line::{CommandLine, Verb};
use crate::core::diff::{Difference, Orphans, Unclaimed};
use crate::core::event::ItemState;
use crate::core::guard::Refusal;
use crate::core::hold::Hold;
use crate::core::model::ProviderConfig;
use crate::core::plan::{Charge, Job};
use crate::core::recorded::{ChangeKind, Standing};
use crate::core::target::{ContentHash, Target};
use crate::core::time::{Timestamp, shown_duration};
use crate::engine::{Desired, Prepared, REFUSED};

/// Changes that are listed one by one for people; JSON lists all.
const LISTED: usize = 100;

/// What a plan is shown with.
pub(crate) struct PlanView<'a> {
    /// The manifests.
    pub desired: &'a Desired,
    /// The plan.
    pub prepared: &'a Prepared,
    /// Guards that would refuse it.
    pub refusals: &'a [Refusal],
    /// Whether a run is under way.
    pub is_running: bool,
    /// What is said of a state that is not there, and whether another one may be meant.
    pub new_state: Option<(&'a str, bool)>,
    /// What messages offer.
    pub commands: &'a CommandLine,
}

impl PlanView<'_> {
    /// What becomes of what guards refuse.
    pub(super) const fn verdict(&self) -> &'static str {
        if self.prepared.refusals.is_empty() { "would refuse" } else { "would leave out" }
    }

    /// Whether guards refuse it as a whole.
    pub(super) const fn is_refused(&self) -> bool {
        !self.refusals.is_empty() && self.prepared.refusals.is_empty()
    }

    /// A title that says so.
    pub(super) fn titled(&self, title: &str) -> String {
        let what = if self.prepared.refusals.is_empty() { "this" } else { "a part of this" };
        format!("`apply` {} {what}: {title}", self.verdict())
    }

    /// The command that sends the rest, where guards refuse the whole for a part of it.
    pub(super) fn sends_rest(&self) -> Option<String> {
        let Difference { changes, moves, .. } = &self.prepared.difference;
        let mut hold = Hold::default();
        for refusal in self.refusals {
            refusal.hold(&mut hold, moves);
        }
        let has_rest = || (0..changes.len()).any(|index| !hold.holds(changes, index));
        (self.is_refused() && !hold.is_all() && has_rest())
            .then(|| self.commands.offer(Verb::Apply, &["--except-refused"]))
    }
}

/// The plan for people.
pub(crate) fn human(view: &PlanView<'_>) -> String {
    let Prepared { difference, plan, .. } = view.prepared;
    let mut text = String::new();
    let due = difference.changes.len();
    if due == 0 {
        let known = count(view.desired.targets(), "target");
        text.push_str(&format!("Nothing to purge: {known} desired, {} already recorded.\n", difference.unchanged));
    } else {
        let headline = strong(&headline(view.prepared));
        text.push_str(&format!("{headline}; {} unchanged\n", grouped(difference.unchanged)));
        text.extend(view.new_state.map(|(note, _)| format!("({note})\n")));
        text.push('\n');
        text.push_str(&jobs_table(view));
        text.push('\n');
        text.push_str(&directories_list(view));
        text.push_str(&changes_list(view));
    }
    text.extend(super::left_out(plan).map(|line| line + "\n"));
    text.push_str(&super::asides(difference, view.is_running, view.commands));
    if due > 0 {
        text.push_str(&format!("\nPlan digest: {}\n", view.prepared.digest));
    }
    for refusal in view.refusals {
        let refusal = refusal.with_way_on(view.commands);
        text.push_str(&format!("{} {refusal}\n", strong(&format!("apply {}:", view.verdict()))));
    }
    text.extend(view.sends_rest().map(|command| format!("what is not refused goes with {command}\n")));
    text
}

/// What is due, what of it goes today, and what not.
pub(super) fn headline(prepared: &Prepared) -> String {
    let Prepared { difference: Difference { changes, .. }, plan, .. } = prepared;
    let number = |kind| (0..changes.len()).filter(|&index| changes.kind(index) == kind).count();
    let kinds = ChangeKind::ALL.map(|kind| (number(kind), kind.word()));
    let kinds =
        kinds.iter().filter(|(number, _)| *number > 0).map(|(number, word)| format!("{} {word}", grouped(*number)));
    let (purges, calls) = (plan.targets(), count(plan.calls(), "call"));
    let mut text = format!("{}: {}; ", many(changes.len(), "change"), kinds.collect::<Vec<_>>().join(", "));
    text += &match purges {
        0 => "nothing is sent now".to_owned(),
        _ => format!("{} in {calls} today", many(purges, "purge")),
    };
    if let Some(last) = plan.postponed().map(|(_, begins)| begins).max() {
        text += &format!(", {} later (last on {})", grouped(plan.postponed().count()), &moment(last)[..10]);
    }
    let others = [
        (&plan.refused, REFUSED),
        (&plan.waiting, "not due yet"),
        (&plan.rejected, "refused for good"),
        (&plan.unselected, "left out"),
    ];
    for (list, what) in others.into_iter().filter(|(list, _)| !list.is_empty()) {
        text += &format!(", {} {what}", grouped(list.len()));
    }
    text
}

/// The head of a table of jobs.
pub(super) const JOBS_HEAD: [&str; 7] = ["PROVIDER", "KIND", "TARGETS", "CALLS", "QUOTA TODAY", "TIME", "DONE"];

/// A row of a table of jobs.
pub(super) fn job_row(desired: &Desired, job: &Job) -> [String; 7] {
    let config = &desired.model.providers[job.provider];
    let quota = job.quota.as_ref().map_or_else(
        || "no limit".to_owned(),
        |quota| {
            let (left, after) = (quota.left(), quota.left_after());
            let what = if job.directories.is_empty() { "" } else { " directories" };
            format!("{left} of {}{what} left, {after} after", quota.limit)
        },
    );
    [
        config.name.clone(),
        config.kind.capabilities().kind.to_owned(),
        job.targets.to_string(),
        job.calls().to_string(),
        quota,
        shown_duration(job.duration_ms),
        if job.over_quota.is_empty() { "today".into() } else { format!("in {}", count(job.days, "day")) },
    ]
}

fn jobs_table(view: &PlanView<'_>) -> String {
    let row = |job: &Job| job_row(view.desired, job).to_vec();
    let rows: Vec<Vec<String>> = view.prepared.plan.jobs.iter().map(row).collect();
    let mut text = table(&JOBS_HEAD, &rows, &[2, 3]);
    text.extend(job_notes(view.desired, &view.prepared.plan.jobs).map(|note| format!("  {note}\n")));
    text
}

/// What is to be said of jobs besides their numbers: what they cost, and which endpoints are more than one cache.
pub(super) fn job_notes<'a>(desired: &'a Desired, jobs: &'a [Job]) -> impl Iterator<Item = String> + 'a {
    jobs.iter().flat_map(|job| {
        let config = &desired.model.providers[job.provider];
        let cost = job.charge.map(|charge| format!("{}: {}", config.name, price(&charge)));
        let addresses = each_address_of(config).into_iter().map(|endpoint| {
            let (name, endpoint) = (&config.name, shown(&endpoint));
            format!("{name}: each address of {endpoint} takes each purge and counts as one endpoint; calls are counted for one")
        });
        cost.into_iter().chain(addresses)
    })
}

/// What a job costs, for people.
fn price(charge: &Charge) -> String {
    let micros = charge.micros();
    let (free, currency) = (charge.free_left().min(charge.targets), charge.cost.currency);
    let amount = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    let amount = amount.trim_end_matches('0').trim_end_matches('.');
    format!("costs {amount} {currency}; {free} of {} are free this month", count(charge.targets, "target"))
}

/// Endpoints of which each address will be called, as many as their names come to.
fn each_address_of(config: &ProviderConfig) -> Vec<String> {
    let open = config.endpoints.unlocated().filter(|_| config.has_cache_per_address());
    open.map(ToString::to_string).collect()
}

/// Ended by an empty line, if there are any.
fn directories_list(view: &PlanView<'_>) -> String {
    let mut text = String::new();
    for line in directories::lines(&view.desired.model, &view.prepared.plan) {
        text.push_str(&format!("  {line}\n"));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn changes_list(view: &PlanView<'_>) -> String {
    let changes = &view.prepared.difference.changes;
    let width = view.desired.model.providers.iter().map(|provider| provider.name.len()).max().unwrap_or(0);
    let hints = ChangeHints::of(view.prepared);
    let mut text = String::new();
    // Those are a line of their own, with their number.
    let is_selected = |(index, _): &(usize, Change)| !hints.unselected.contains(index);
    for (index, change) in changes.iter().enumerate().filter(is_selected).take(LISTED) {
        let provider = &view.desired.model.providers[change.provider].name;
        let hint = hints.of_change(index, &change).map_or(String::new(), |hint| format!("  ({hint})"));
        let target = shown(&change.target.text);
        text.push_str(&format!("  {} {provider:width$}  {target}{hint}\n", kind_word(change.kind)));
    }
    let selected = changes.len() - hints.unselected.len();
    if selected > LISTED {
        text.push_str(&format!("  … and {} more; `--format json` lists all\n", selected - LISTED));
    }
    text
}

/// What a plan says of single changes.
pub(super) struct ChangeHints {
    over_quota: HashMap<usize, Timestamp>,
    unselected: HashSet<usize>,
    refused: HashSet<usize>,
    /// The others that an earlier run deferred are sent: the limit was raised, or their time has come.
    waiting: HashSet<usize>,
}

impl ChangeHints {
    /// Of this plan.
    pub(super) fn of(prepared: &Prepared) -> Self {
        let plan = &prepared.plan;
        Self {
            over_quota: plan.postponed().collect(),
            unselected: plan.unselected.iter().copied().collect(),
            refused: plan.refused.iter().copied().collect(),
            waiting: plan.waiting.iter().copied().collect(),
        }
    }

    /// Why the change at `index` is not simply purged, if it is not.
    pub(super) fn of_change(&self, index: usize, change: &Change) -> Option<String> {
        let day = self.over_quota.get(&index);
        match &change.standing {
            _ if self.unselected.contains(&index) => Some("left out".into()),
            _ if self.refused.contains(&index) => Some(REFUSED.into()),
            _ if day.is_some() => day.map(|day| format!("deferred until {}: over today's quota", moment(*day))),
            Standing::Deferred { until, .. } => {
                self.waiting.contains(&index).then(|| format!("deferred until {}", moment(*until)))
            }
            Standing::Waiting { reason } => Some(format!("waiting: {}", shown(reason))),
            Standing::Rejected { reason, .. } => Some(format!("rejected: {}", shown(reason))),
            Standing::Pending { reason } => reason.as_ref().map(|reason| format!("pending: {}", shown(reason))),
        }
    }
}

/// The plan for programs.
pub(crate) fn json<'a>(view: &'a PlanView<'a>) -> Document<'a> {
    let Prepared { difference, plan, first_run, digest, .. } = view.prepared;
    let model = &view.desired.model;
    let entry = |index: &usize| {
        let entry = model.entries.get(*index);
        json!({"provider": model.providers[entry.provider].name, "target": entry.target.text, "hash": entry.hash.as_str()})
    };
    let mut document = Document::from(json!({
        "version": JSON_VERSION,
        "command": "plan",
        "digest": digest,
        "first_run": first_run,
        "manifests": view.desired.manifests(),
        "entries": view.desired.targets(),
        "unchanged": difference.unchanged,
        "calls": plan.calls(),
        "jobs": plan.jobs.iter().map(|job| job_json(view, job)).collect::<Value>(),
        "one_by_one": plan.one_by_one.iter().map(|one| directories::json(model, one)).collect::<Value>(),
        "orphans": orphans_json(difference),
        "unclaimed": unclaimed_json(&difference.unclaimed),
        "refused": view.refusals.iter().map(|refusal| refusal.with_way_on(view.commands)).collect::<Value>(),
    }));
    document.list("changes", || changes_json(view));
    document.list("adopt", move || difference.adopt.iter().map(entry));
    document.list("forget", || dropped_json(&difference.forget));
    document.list("dropped", || dropped_json(&difference.dropped));
    document
}

/// Targets that are dropped from the state without a purge.
pub(super) fn dropped_json(list: &[(String, Target)]) -> impl Iterator<Item = Value> {
    list.iter().map(|(provider, target)| json!({"provider": provider, "target": target.text}))
}

/// Targets of providers that no manifest configures.
pub(super) fn orphans_json(difference: &Difference) -> Value {
    let list = difference.orphans.iter();
    list.map(
        |Orphans { provider, targets, pending }| json!({"provider": provider, "targets": targets, "pending": pending}),
    )
    .collect()
}

/// Manifests that nobody speaks for.
pub(super) fn unclaimed_json(unclaimed: &[Unclaimed]) -> Value {
    let one = |one: &Unclaimed| json!({"manifest": one.manifest, "file": one.file, "targets": one.targets, "pending": one.pending});
    unclaimed.iter().map(one).collect()
}

fn job_json(view: &PlanView<'_>, job: &Job) -> Value {
    let config = &view.desired.model.providers[job.provider];
    let quota = job.quota.as_ref().map(|quota| {
        json!({
            "limit": quota.limit,
            "used": quota.used,
            "left": quota.left(),
            "left_after": quota.left_after(),
            "area": quota.key.area,
            "day": quota.key.day,
            "resets_at": quota.resets_at.utc_extended(),
        })
    });
    json!({
        "provider": config.name,
        "kind": config.kind.capabilities().kind,
        "operation": job.operation.name,
        "endpoints": config.endpoints.iter().map(ToString::to_string).collect::<Value>(),
        "each_address_of": each_address_of(config),
        "targets": job.targets,
        "calls": job.calls(),
        "directories": job.directories.iter().map(|one| directories::json(&view.desired.model, one)).collect::<Value>(),
        "calls_per_second": per_second(job.limits.calls),
        "targets_per_second": job.limits.targets.map(per_second),
        "targets_per_call": job.limits.targets_per_call,
        "quota": quota,
        "cost": job.charge.map(|charge| {
            json!({"currency": charge.cost.currency, "micros": charge.micros(), "free_left": charge.free_left()})
        }),
        "over_quota": job.over_quota.len(),
        "duration_ms": job.duration_ms,
        "days": job.days,
    })
}

fn changes_json<'a>(view: &'a PlanView<'a>) -> impl Iterator<Item = Value> + 'a {
    let model = &view.desired.model;
    let hints = ChangeHints::of(view.prepared);
    let directories = view.prepared.directories_by_change();
    view.prepared.difference.changes.iter().enumerate().map(move |(index, change)| {
        let state = ItemState::from(&change.standing);
        let (standing, until, reason) = state.parts();
        let until = hints.over_quota.get(&index).copied().or(until);
        json!({
            "provider": model.providers[change.provider].name,
            "scope": change.target.scope.word(),
            "target": change.target.text,
            "kind": change.kind.word(),
            "desired": change.desired.as_ref().map(ContentHash::as_str),
            "recorded": change.recorded.as_ref().map(ContentHash::as_str),
            "priority": change.priority.word(),
            "since": change.since.utc_extended(),
            "standing": standing,
            "reason": reason,
            "until": until.map(Timestamp::utc_extended),
            "in_doubt": change.in_doubt,
            "manifest": change.place.map(|place| model.manifests[place.manifest].path.clone()),
            "line": change.place.map(|place| place.line),
            "selected": !hints.unselected.contains(&index),
            "refused": hints.refused.contains(&index),
            "over_quota": hints.over_quota.contains_key(&index),
            "directory": directories.get(&index),
        })
    })
}
