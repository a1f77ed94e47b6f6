//! `freshen plan`: the plan that `apply` would run, and nothing else.

use anyhow::Result;

use super::apply::RunDisplay;
use super::args::{ApplyArgs, Format, Global, ManifestArgs, PlanArgs, SelectionArgs};
use super::manifests::{self, ManifestReader};
use super::render::{github, markdown, plan as render, shown};
use super::terminal;
use crate::core::guard::Allowed;
use crate::engine::{self, Exit};
use crate::host::Host;

/// Runs the command.
pub(super) async fn run(host: &Host, global: &Global, args: &PlanArgs) -> Result<Exit> {
    let changes = show(host, global, &args.manifests, &args.selection, Allowed::default()).await?;
    Ok(if changes && args.exit_code { Exit::Changes } else { Exit::Done })
}

/// `apply --dry-run`.
pub(super) async fn run_dry(host: &Host, global: &Global, args: &ApplyArgs) -> Result<Exit> {
    show(host, global, &args.manifests, &args.selection, args.allowed.allowed()).await?;
    Ok(Exit::Done)
}

/// Shows the plan; returns whether there is anything to do.
async fn show(
    host: &Host,
    global: &Global,
    manifests: &ManifestArgs,
    selection: &SelectionArgs,
    allowed: Allowed,
) -> Result<bool> {
    let state = &*global.backend();
    let selection = &selection.selection();
    let mut lookup = manifests::lookup(global, state, &manifests.paths, manifests.limits);
    lookup.vanished = &selection.vanished;
    let (mut reader, mut display) = (ManifestReader::new(global.format), RunDisplay::new(global));
    let on_event = &mut |event: engine::PassEvent<'_>| display.takes(event);
    let (desired, prepared) = engine::review(host, lookup, (selection, allowed), &mut reader, on_event).await?;
    selection
        .unmatched(&desired.model, &prepared.difference.changes)
        .iter()
        .for_each(|warning| terminal::tell(&format!("warning: {warning}\n")));
    let refusals = engine::refusals(&desired, &prepared, allowed);
    let running = state.holder();
    if let Some(holder) = &running {
        let holder = shown(&holder.to_string());
        terminal::tell(&format!("note: a run is under way: {holder}; it may be doing already what this plan tells\n"));
    }
    let new_state = manifests::new_state(global, &manifests.paths);
    let view = render::PlanView {
        desired: &desired,
        prepared: &prepared,
        refusals: &refusals,
        is_running: running.is_some(),
        new_state: new_state.as_ref().map(|(note, is_doubtful)| (note.as_str(), *is_doubtful)),
        commands: &global.commands,
    };
    match global.format {
        Format::Human => terminal::print(&render::human(&view)),
        Format::Json => terminal::print_json(&render::json(&view)),
        Format::Markdown => terminal::print(&markdown::plan(&view)),
        Format::Github => terminal::print(&github::plan(&view, reader.annotated.get())),
    }
    let difference = &prepared.difference;
    Ok(!(difference.changes.is_empty() && difference.adopt.is_empty() && difference.forget.is_empty()))
}
