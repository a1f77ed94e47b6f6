//! `freshen explain`: everything about one target.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};

use super::apply::RunDisplay;
use super::args::{ExplainArgs, Format, Global};
use super::render::{JSON_VERSION, edges, left, moment, shown, status, strong};
use super::{manifests, terminal};
use crate::core::command_line::{CommandLine, Verb};
use crate::core::provider_key::ProviderKey;
use crate::core::recorded::Work;
use crate::core::text::one_line;
use crate::engine::{self, Exit, ExplainedTarget, RefusedTarget, Stop};
use crate::host::{Host, nearby};

/// Longest refusal, in characters: it ends with the way on.
const LONGEST_REFUSAL: usize = 1_000;

/// Runs the command.
pub(super) async fn run(host: &Host, global: &Global, args: &ExplainArgs) -> Result<Exit> {
    let desired = match manifests::try_load(host, global, &args.manifests.paths, args.manifests.limits) {
        Ok(desired) => desired,
        Err((error, problems)) => return from_state(global, args, error, &problems),
    };
    let mut display = RunDisplay::new(global);
    let on_event = &mut |event: engine::PassEvent<'_>| display.takes(event);
    let commands = &about_given(global, args);
    let found = engine::explain(host, &*global.backend(), &desired, &args.target, on_event, commands).await?;
    show(global, &found, commands);
    Ok(Exit::Done)
}

/// Commands about the manifests that were read, for a shell in any folder.
fn about_given(global: &Global, args: &ExplainArgs) -> CommandLine {
    let here = nearby::working_directory();
    let path = |path: &PathBuf| Path::new(&here).join(path).to_string_lossy().into_owned();
    global.commands.about(&args.manifests.paths.iter().map(path).collect::<Vec<_>>())
}

/// Where manifests cannot be read, what the state knows, and why that is all.
fn from_state(global: &Global, args: &ExplainArgs, error: anyhow::Error, problems: &str) -> Result<Exit> {
    let backend = &*global.backend();
    let is_about_manifests = error.downcast_ref::<Stop>().is_some_and(|stop| stop.exit == Exit::BadInput);
    let found = if is_about_manifests {
        engine::explain_from_state(backend, &args.target, &global.commands.anywhere())
    } else {
        Ok(None)
    };
    let Ok(Some(found)) = found else {
        terminal::tell(problems);
        if let Some((note, _)) = manifests::new_state(global, &args.manifests.paths).filter(|_| is_about_manifests) {
            terminal::tell(&format!("note: {note}\n"));
        }
        return Err(error);
    };
    show(global, &found, &global.commands);
    terminal::tell(problems);
    terminal::tell(&format!("warning: this is what the state knows, since {error}\n"));
    Ok(Exit::Done)
}

fn show(global: &Global, found: &[ExplainedTarget<'_>], commands: &CommandLine) {
    if global.format == Format::Json {
        let targets: Value = found.iter().map(to_json).collect();
        terminal::print_json(&json!({"version": JSON_VERSION, "command": "explain", "targets": targets}));
    } else {
        for one in found {
            terminal::print(&human(one, commands));
        }
    }
}

fn human(found: &ExplainedTarget<'_>, commands: &CommandLine) -> String {
    let mut text = String::new();
    let kind = found.kind.map_or_else(String::new, |kind| format!(" ({kind})"));
    let _ = writeln!(text, "{} at provider {}{kind}", strong(&shown(&found.target)), found.provider);
    if let Some((path, line, why, hash)) = &found.listed {
        let _ = writeln!(text, "  listed in   {}:{line}", shown(path));
        let _ = writeln!(text, "  carried by  {}, because {why}", found.provider);
        let _ = writeln!(text, "  desired     {}", shown(hash.as_str()));
    } else if found.from_state.is_none() {
        let _ = writeln!(text, "  listed in   no manifest that was read");
    }
    for (name, file) in found.from_state.iter().flat_map(|state| &state.owners) {
        let _ = writeln!(text, "  known from  {}, last read at {}", shown(name), shown(file));
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
    let commands = &found.from_state.as_ref().map_or_else(|| commands.clone(), |state| commands.about(&state.paths));
    if work.is_some_and(Work::fails) && found.refusal.as_ref().is_none_or(|refused| !refused.is_held) {
        let key = ProviderKey::of(&found.provider);
        let _ = writeln!(text, "  again       {}", left::tried_again(&commands.offer_try_now(key)));
    }
    for endpoint in work.iter().flat_map(|work| &work.accepted_at) {
        let _ = writeln!(text, "  accepted    by {}", shown(endpoint));
    }
    for (label, what) in found.proof.iter().flat_map(|row| edges::lines(row, &found.provider, commands)) {
        let _ = writeln!(text, "  {label:<11} {what}");
    }
    if let Some(known) = found.refusal.as_ref().map(|refused| &refused.known).filter(|_| found.from_state.is_some()) {
        let (since, held_back) = (moment(known.since), known.held_back());
        let why = one_line(&known.text, LONGEST_REFUSAL);
        let _ = writeln!(text, "  refused     since {since}, holds back {held_back}: {why}");
        let _ = writeln!(text, "  apply would {}", found.next.text);
    } else if let Some(RefusedTarget { known, is_held: true }) = &found.refusal {
        let why = one_line(&known.text, LONGEST_REFUSAL);
        let _ = writeln!(text, "  apply would refuse the plan and send nothing (exit 5): {why}");
        let _ = writeln!(text, "  refused     since {}, holds back {}", moment(known.since), known.held_back());
        let _ = writeln!(text, "  once that is allowed it would {}", found.next.text);
    } else if let Some(RefusedTarget { known, .. }) = &found.refusal {
        let rest = commands.offer(Verb::Apply, &["--except-refused"]);
        let (next, subject) = (&found.next.text, shown(&known.subject));
        let _ = writeln!(text, "  with {rest} it would {next}");
        let _ = writeln!(
            text,
            "  another manifest is refused: {subject}; without `--except-refused` apply would send nothing (exit 5)"
        );
    } else if let Some(purged) = &found.purged {
        let (provider, at) = (&found.provider, moment(purged.at));
        let _ = writeln!(text, "  removed, and purged at provider {provider} on {at} by run {}", purged.run);
    } else {
        let _ = writeln!(text, "  apply would {}", found.next.text);
    }
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
        "next": found.next.text,
        "due": found.next.is_due,
        "refused": found.refusal.as_ref().map(|refused| &refused.known.text),
        "refused_since": found.refusal.as_ref().map(|refused| refused.known.since.utc_extended()),
        "goes_except_refused": found.refusal.as_ref().map(|refused| found.next.is_due && !refused.is_held),
        "proof": found.proof.as_ref().map(edges::json),
        "purged": found.purged.as_ref().map(|purged| json!({"at": purged.at.utc_extended(), "run": purged.run})),
    })
}
