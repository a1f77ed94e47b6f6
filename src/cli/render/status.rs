//! The state as text and as JSON: for `status`, `state list` and `state export`.

use serde_json::{Value, json};

use super::{JSON_VERSION, count, edges, left, moment, row, shown, standing, strong, table, without_unused};
use crate::core::command_line::{CommandLine, Verb};
use crate::core::event::ItemState;
use crate::core::hold::KnownRefusal;
use crate::core::provider_key::ProviderKey;
use crate::core::recorded::{Recorded, Standing};
use crate::core::target::ContentHash;
use crate::core::text::one_line;
use crate::core::time::Timestamp;
use crate::engine::{Overview, QuotaStanding};
use crate::state::{Counts, Holder, QuotaUse, RunRow, TaskCounts};

/// Longest refusal, in characters: it ends with the way on.
const LONGEST_REFUSAL: usize = 1_000;
/// Manifests that are listed of those that are held back with a refused one.
const LISTED: usize = 50;
/// The offset from UTC at which a quota day begins first, in minutes.
const EASTERNMOST_MINUTES: i32 = 14 * 60;

/// The state for people.
pub(crate) fn human(view: &Overview, commands: &CommandLine) -> String {
    let mut text = format!("{} {} (serial {})\n", strong("State"), view.path, view.identity.serial);
    if let Some(holder) = &view.running {
        let unanswered = count(view.unanswered, "call");
        text.push_str(&format!("a run is under way: {}; {unanswered} not answered yet\n", shown(&holder.to_string())));
    }
    text.push('\n');
    text.push_str(&providers(view));
    for TaskCounts { provider, done, open } in &view.tasks {
        let commands = commands.about(&view.paths(ProviderKey::of(provider).namespace));
        let asks = || format!("; {} asks", commands.offer(Verb::Status, &["--refresh"]));
        let told = if *open > 0 { asks() } else { String::new() };
        text.push_str(&format!("  {provider}: {done} told to be done, {open} accepted with no result yet{told}\n"));
    }
    text.push_str(&refused(view));
    text.push_str(&left::sections(view, commands));
    text.push_str(&edges::sections(view, commands));
    text.push_str(&left::to_do(view, line, &commands.anywhere()));
    text.push_str(&super::unclaimed(&view.unclaimed, &commands.anywhere()));
    for call in &view.doubtful {
        let targets = count(call.targets, "target");
        let at = moment(call.at);
        text.push_str(&format!(
            "In doubt: a call for {targets} to `{}` at {at} ended without an answer\n",
            call.provider
        ));
    }
    text.push_str(&runs_and_quota(view));
    text
}

/// Numbers of targets of each provider: what is recorded, what edges serve of it where that is asked for, and what is left.
fn providers(view: &Overview) -> String {
    let proof: &[&'static str] = if view.proof.is_asked_for() { &["VERIFIED", "STALE", "UNVERIFIED"] } else { &[] };
    let head = [&["PROVIDER", "RECORDED"], proof, &["WAITING", "PENDING", "DEFERRED", "REJECTED"]].concat();
    let of_provider = |(name, counts): (&str, Counts)| {
        let numbers = counts.numbers();
        let proven = &view.proof.numbers(name)[..proof.len()];
        row(&[name], &[&numbers[..1], proven, &numbers[1..]].concat())
    };
    let (head, rows) = without_unused(&head, view.by_provider().into_iter().map(of_provider).collect());
    table(&head, &rows, &(1..head.len()).collect::<Vec<_>>())
}

/// What guards refuse, with the way on.
fn refused(view: &Overview) -> String {
    if view.refused.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{}\n", strong("Refused"));
    for known in &view.refused {
        text.push_str(&format!("  {}\n", one_line(&known.text, LONGEST_REFUSAL)));
        text.push_str(&format!("    since {}, holds back {}\n", moment(known.since), shown(&known.held_back())));
        text.push_str(&held_with(known));
    }
    if view.refused.iter().all(|known| !known.manifest.is_empty()) {
        // This command does not know the manifests: a whole one would send those of the folder that it is pasted in.
        text.push_str("  what is not refused goes with `--except-refused` in place of the option that is named\n");
    }
    text
}

/// Manifests that are held back with a refused one.
fn held_with(known: &KnownRefusal) -> String {
    let names: Vec<String> = known.held_with.iter().take(LISTED).map(|name| format!("`{}`", shown(name))).collect();
    if names.is_empty() {
        return String::new();
    }
    let more = known.held_with.len() - names.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("    held back with it, since targets moved between them: {}{more}\n", names.join(", "))
}

fn runs_and_quota(view: &Overview) -> String {
    let mut text = String::new();
    if !view.runs.is_empty() {
        let newest = view.runs.first().map(|run| run.id);
        let line = |run: &RunRow| {
            let unended = if view.running.is_some() && Some(run.id) == newest { "under way" } else { "did not end" };
            let exit = run.exit.map_or_else(|| unended.to_owned(), |exit| exit.to_string());
            let numbers = [&[run.calls], run.counts.numbers().as_slice()].concat();
            let why = run.refused.as_ref().map_or_else(String::new, |refused| refused_run(run, refused));
            let mut cells = row(&[&run.id.to_string(), &moment(run.started_at), &exit], &numbers);
            cells.push(why);
            cells
        };
        let rows: Vec<Vec<String>> = view.runs.iter().map(line).collect();
        let head =
            ["RUN", "STARTED", "EXIT", "CALLS", "ACCEPTED", "WAITING", "PENDING", "DEFERRED", "REJECTED", "REFUSED"];
        let (head, rows) = without_unused(&head, rows);
        let numbers: Vec<usize> = [0].into_iter().chain(3..head.len() - 1).collect();
        text.push_str(&format!("\n{}\n{}", strong("Last runs"), table(&head, &rows, &numbers)));
    }
    text.push_str(&quotas(&view.quotas));
    // Days that have not begun anywhere are those of a clock that was ahead.
    let newest = view.now.date_at_offset(EASTERNMOST_MINUTES);
    if let Some(day) = view.quota.iter().map(|quota| &quota.day).find(|day| **day <= newest) {
        let is_shown = |quota: &QuotaUse| {
            view.quotas.iter().any(|one| one.account == quota.account && one.terms.operation == quota.operation)
        };
        let today = view.quota.iter().filter(|quota| quota.day == *day && !is_shown(quota));
        let row = |quota: &QuotaUse| {
            let area = if quota.area.is_empty() { "all" } else { &quota.area };
            let midnight = Timestamp::midnight_of(&quota.day, quota.offset_minutes);
            let ends = midnight.map_or_else(|| "-".to_owned(), |at| moment(at.next_midnight(quota.offset_minutes)));
            vec![quota.account.clone(), quota.operation.clone(), area.to_owned(), ends, quota.used.to_string()]
        };
        let rows: Vec<Vec<String>> = today.map(row).collect();
        if !rows.is_empty() {
            let head = format!("Quota used on {day}");
            let rows = table(&["ACCOUNT", "OPERATION", "AREA", "ENDS", "TARGETS"], &rows, &[4]);
            text.push_str(&format!("\n{}\n{rows}", strong(&head)));
        }
    }
    text
}

/// What was refused of a run, and how often.
fn refused_run(run: &RunRow, refused: &str) -> String {
    let last = run.finished_at.filter(|_| run.times > 1);
    let again = last.map_or_else(String::new, |last| format!(" ({} times, last {})", run.times, moment(last)));
    shown(refused) + &again
}

fn quotas(quotas: &[QuotaStanding]) -> String {
    if quotas.is_empty() {
        return String::new();
    }
    let row = |quota: &QuotaStanding| {
        let area = if quota.terms.area.is_empty() { "all" } else { &quota.terms.area };
        let numbers = [quota.terms.limit, quota.used, quota.left()];
        let mut row = row(&[&quota.terms.provider, &quota.terms.operation, area], &numbers);
        row.push(moment(quota.resets_at));
        row.push(quota.shared_with.join(", "));
        row
    };
    let rows: Vec<Vec<String>> = quotas.iter().map(row).collect();
    let head = ["PROVIDER", "OPERATION", "AREA", "LIMIT", "USED", "LEFT", "RESETS", "SHARED WITH"];
    format!("\n{}\n{}", strong("Quotas of the day"), table(&head, &rows, &[3, 4, 5]))
}

/// One target on one line.
pub(crate) fn line(row: &Recorded) -> String {
    let target = shown(&row.target.text);
    if let Some(work) = &row.work {
        return format!("{:<8}  {}  {target}  {}", work.kind.word(), row.provider, to_do(row));
    }
    let hash = row.hash.as_ref().map_or("-", ContentHash::as_str);
    format!("recorded  {}  {target}  {}", row.provider, shown(hash))
}

/// What holds a target up, and since when it is to be done; empty if nothing is to do.
pub(crate) fn to_do(row: &Recorded) -> String {
    let Some(work) = &row.work else { return String::new() };
    let why = standing(&(&work.standing).into(), shown);
    let doubt = if work.in_doubt { ", may have been purged before" } else { "" };
    format!("{why}{doubt}, since {}", moment(work.since))
}

/// What the state holds of a target, for programs.
pub(crate) fn target_json(row: &Recorded) -> Value {
    let work = row.work.as_ref().map(|work| {
        let state = ItemState::from(&work.standing);
        let (standing, until, reason) = state.parts();
        let refused_config = match &work.standing {
            Standing::Pending { .. } | Standing::Waiting { .. } => None,
            Standing::Deferred { config, .. } | Standing::Rejected { config, .. } => Some(config),
        };
        json!({
            "kind": work.kind.word(),
            "desired": work.desired.as_ref().map(ContentHash::as_str),
            "priority": work.priority.word(),
            "since": work.since.utc_extended(),
            "standing": standing,
            "reason": reason,
            "until": until.map(Timestamp::utc_extended),
            "refused_config": refused_config,
            "progress": work.progress.word(),
            "waits": Some(work.standing.host_waits()).filter(|waits| *waits > 0),
            "in_doubt": work.in_doubt,
            "may_have_been_purged": work.may_have_been_purged,
            "accepted_by": work.accepted_at,
        })
    });
    json!({
        "provider": row.provider,
        "scope": row.target.scope.word(),
        "target": row.target.text,
        "owners": row.owners,
        "hash": row.hash.as_ref().map(ContentHash::as_str),
        "left_alone": row.left_alone,
        "recorded_at": row.recorded_at.map(Timestamp::utc_extended),
        "task_id": row.task_id,
        "work": work,
    })
}

/// Who holds the lock, for programs. A run that has just begun may not have left its name yet.
pub(crate) fn running_json(holder: &Holder) -> Value {
    let Holder { host, pid, started } = holder;
    let text = |text: &str| Some(text).filter(|text| !text.is_empty()).map(str::to_owned);
    json!({"pid": (*pid > 0).then_some(pid), "host": text(host), "started": text(started)})
}

/// A refusal that lasts, for programs.
fn refusal_json(known: &KnownRefusal) -> Value {
    let held = |(provider, targets): &(String, u64)| json!({"provider": provider, "targets": targets});
    json!({
        "manifest": (!known.manifest.is_empty()).then_some(&known.manifest),
        "guard": known.subject,
        "text": known.text,
        "since": known.since.utc_extended(),
        "holds_back": known.holds_back.iter().map(held).collect::<Value>(),
        "held_with": known.held_with,
    })
}

/// The state for programs.
pub(crate) fn json(view: &Overview) -> Value {
    let providers: Value = view
        .by_provider()
        .into_iter()
        .map(|(name, Counts { recorded, waiting, pending, deferred, rejected })| {
            let [verified, stale, unverified] = view.proof.numbers(name);
            json!({"provider": name, "recorded": recorded, "waiting": waiting, "pending": pending, "deferred": deferred,
                "rejected": rejected, "verified": verified, "stale": stale, "unverified": unverified})
        })
        .collect();
    let runs: Value = view
        .runs
        .iter()
        .map(|run| {
            json!({
                "run": run.id,
                "started_at": run.started_at.utc_extended(),
                "finished_at": run.finished_at.map(Timestamp::utc_extended),
                "exit": run.exit,
                "calls": run.calls,
                "accepted": run.counts.recorded,
                "waiting": run.counts.waiting,
                "pending": run.counts.pending,
                "deferred": run.counts.deferred,
                "rejected": run.counts.rejected,
                "refused": run.refused,
                "times": run.times,
            })
        })
        .collect();
    let quota: Value = view
        .quota
        .iter()
        .map(|quota| {
            json!({"account": quota.account, "operation": quota.operation, "area": quota.area, "day": quota.day,
                "offset_minutes": quota.offset_minutes, "used": quota.used})
        })
        .collect();
    let quotas: Value = view
        .quotas
        .iter()
        .map(|quota| {
            json!({"provider": quota.terms.provider, "operation": quota.terms.operation, "area": quota.terms.area,
                "account": quota.account, "limit": quota.terms.limit, "used": quota.used, "left": quota.left(),
                "resets_at": quota.resets_at.utc_extended(), "shared_with": quota.shared_with})
        })
        .collect();
    let tasks: Value = view
        .tasks
        .iter()
        .map(|tasks| json!({"provider": tasks.provider, "accepted": tasks.open, "done": tasks.done}))
        .collect();
    json!({
        "version": JSON_VERSION,
        "command": "status",
        "state": {"path": view.path, "lineage": view.identity.lineage, "serial": view.identity.serial},
        "running": view.running.as_ref().map(running_json),
        "providers": providers,
        "refused": view.refused.iter().map(refusal_json).collect::<Value>(),
        "to_do": view.recorded.iter().filter(|row| row.work.is_some()).map(target_json).collect::<Value>(),
        "in_doubt": view.doubtful.iter().map(|call| json!({"provider": call.provider, "at": call.at.utc_extended(), "targets": call.targets})).collect::<Value>(),
        "runs": runs,
        "quotas": quotas,
        "quota": quota,
        "unclaimed": super::plan::unclaimed_json(&view.unclaimed),
        "tasks": tasks,
        "proof": edges::overview_json(view),
    })
}
