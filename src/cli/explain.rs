//! `freshen explain`: everything about one target.

use std::fmt::Write;

use anyhow::Result;
use serde_json::{Value, json};

use super::args::{ExplainArgs, Format, Global};
use super::exit::{Exit, Stop};
use super::progress::ProgressMeter;
use super::render::{JSON_VERSION, directories, moment, shown, status, strong};
use super::{manifests, terminal};
use crate::core::model::{Entry, Matched};
use crate::core::recorded::Recorded;
use crate::core::target::ContentHash;
use crate::engine::{self, Desired, Prepared, Selection};
use crate::host::Host;

/// Runs the command.
pub(super) async fn run(host: &Host, global: &Global, args: &ExplainArgs) -> Result<Exit> {
    let desired = manifests::load(host, global, &args.manifests.paths, args.manifests.limits)?;
    let store = global.backend().open()?;
    let store = store.as_deref();
    let accounts = engine::accounts(host, &desired.model, store).await?;
    let planning = ProgressMeter::of_plan();
    let prepared = Selection::default().prepare_all(&desired, store, &accounts, host.clock.now().wall)?;
    drop(planning);
    let recorded = store.map_or(Ok(Vec::new()), |store| store.recorded_of(&args.target))?;
    let found = find(&desired, &prepared, recorded, &args.target);
    if found.is_empty() {
        let message = format!(
            "`{}` is neither in these manifests nor in the state; targets are compared byte for byte, `freshen plan --format json` \
             and `freshen state list` show them",
            shown(&args.target)
        );
        return Err(Stop::bad_input(message).into());
    }
    if global.format == Format::Json {
        let targets: Value = found.iter().map(to_json).collect();
        terminal::print_json(&json!({"version": JSON_VERSION, "command": "explain", "targets": targets}));
    } else {
        for one in &found {
            terminal::print(&human(one));
        }
    }
    Ok(Exit::Done)
}

/// All that is known of the target at one provider.
struct ExplainedTarget<'a> {
    provider: String,
    kind: Option<&'static str>,
    target: &'a str,
    /// Manifest path, line, why the provider carries it, desired hash.
    listed: Option<(&'a str, u32, &'static str, ContentHash)>,
    recorded: Option<Recorded>,
    next: String,
}

fn find<'a>(
    desired: &'a Desired,
    prepared: &Prepared,
    recorded: Vec<Recorded>,
    target: &'a str,
) -> Vec<ExplainedTarget<'a>> {
    let model = &desired.model;
    let mut found: Vec<ExplainedTarget<'a>> = Vec::new();
    for entry in model.entries.of_text(target) {
        let config = &model.providers[entry.provider];
        let why = match entry.matched {
            Matched::AssetProvider => "`provider` of the asset names it",
            Matched::ManifestProvider => "`provider` of the manifest names it",
            Matched::Host => "its `hosts` cover the URL's host",
        };
        let manifest = &model.manifests[entry.place.manifest];
        found.push(ExplainedTarget {
            provider: config.name.clone(),
            kind: Some(config.kind.capabilities().kind),
            target,
            listed: Some((&manifest.path, entry.place.line, why, entry.hash)),
            recorded: None,
            next: next(desired, prepared, &config.name, target),
        });
    }
    for row in recorded {
        if let Some(known) = found.iter_mut().find(|known| known.provider == row.provider) {
            known.recorded = Some(row);
            continue;
        }
        let next = next(desired, prepared, &row.provider, target);
        let provider = row.provider.clone();
        found.push(ExplainedTarget { provider, kind: None, target, listed: None, recorded: Some(row), next });
    }
    found
}

/// What an apply would do now.
fn next(desired: &Desired, prepared: &Prepared, provider: &str, target: &str) -> String {
    let model = &desired.model;
    let difference = &prepared.difference;
    let is_here = |index: usize, target: &str| {
        difference.changes.target(index).text == target
            && model.providers[difference.changes.provider(index)].name == provider
    };
    let Some(index) = (0..difference.changes.len()).find(|&index| is_here(index, target)) else {
        let listed = |entry: &Entry| entry.target.text == target && model.providers[entry.provider].name == provider;
        let is_adopted = difference.adopt.iter().any(|&index| listed(&model.entries.get(index)));
        let mut gone = difference.forget.iter().chain(&difference.dropped);
        let is_dropped = gone.any(|(name, gone)| name == provider && gone.text == target);
        return match (is_adopted, is_dropped) {
            (true, _) => "record it without a purge (on_new: adopt)".into(),
            (_, true) => "drop it from the state without a purge".into(),
            _ if model.entries.of_text(target).any(|entry| listed(&entry)) => {
                "do nothing: the recorded hash is the desired one".into()
            }
            _ => "do nothing: no manifest here speaks for it".into(),
        };
    };
    let kind = difference.changes.kind(index).word();
    let plan = &prepared.plan;
    if plan.rejected.contains(&index) {
        return "do nothing: it was refused for good; change the entry or the provider, or use `--force`".into();
    }
    if plan.waiting.contains(&index) || plan.jobs.iter().any(|job| job.over_quota.contains(&index)) {
        return "wait: it is deferred".into();
    }
    match directories::by_change(plan).get(&index) {
        Some(directory) => format!("purge it ({kind}) with its directory {}", shown(directory)),
        None => format!("purge it ({kind})"),
    }
}

fn human(found: &ExplainedTarget<'_>) -> String {
    let mut text = String::new();
    let kind = found.kind.map_or_else(String::new, |kind| format!(" ({kind})"));
    let _ = writeln!(text, "{} at provider {}{kind}", strong(&shown(found.target)), found.provider);
    if let Some((path, line, why, hash)) = &found.listed {
        let _ = writeln!(text, "  listed in   {}:{line}", shown(path));
        let _ = writeln!(text, "  carried by  {}, because {why}", found.provider);
        let _ = writeln!(text, "  desired     {}", shown(hash.as_str()));
    } else {
        let _ = writeln!(text, "  listed in   no manifest that was read");
    }
    let work = found.recorded.as_ref().and_then(|row| row.work.as_ref());
    let recorded = match found.recorded.as_ref().and_then(|row| row.hash.as_ref()) {
        Some(hash) => hash.as_str(),
        None if work.is_some_and(|work| work.may_have_been_purged) => "nothing, but it may have been purged",
        None => "nothing",
    };
    let _ = writeln!(text, "  recorded    {}", shown(recorded));
    if let Some(at) = found.recorded.as_ref().and_then(|row| row.recorded_at) {
        let task = found.recorded.as_ref().and_then(|row| row.task_id.as_deref());
        let task = task.map_or_else(String::new, |task| format!(", task {}", shown(task)));
        let _ = writeln!(text, "  since       {}{task}", moment(at));
    }
    if let Some(row) = found.recorded.as_ref().filter(|row| row.work.is_some()) {
        let _ = writeln!(text, "  to do       {}", status::to_do(row));
    }
    for endpoint in work.iter().flat_map(|work| &work.accepted_at) {
        let _ = writeln!(text, "  accepted    by {}", shown(endpoint));
    }
    let _ = writeln!(text, "  apply would {}", found.next);
    text
}

fn to_json(found: &ExplainedTarget<'_>) -> Value {
    json!({
        "provider": found.provider,
        "kind": found.kind,
        "target": found.target,
        "manifest": found.listed.as_ref().map(|listed| listed.0),
        "line": found.listed.as_ref().map(|listed| listed.1),
        "why": found.listed.as_ref().map(|listed| listed.2),
        "desired": found.listed.as_ref().map(|listed| listed.3.as_str()),
        "state": found.recorded.as_ref().map(status::target_json),
        "next": found.next,
    })
}
