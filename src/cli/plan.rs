//! `freshen plan`: the plan that `apply` would run, and nothing else.

use anyhow::Result;

use super::args::{Format, Global, ManifestArgs, PlanArgs, SelectionArgs};
use super::exit::Exit;
use super::manifests::{self, Bar};
use super::progress::ProgressMeter;
use super::render::{github, markdown, plan as render, shown};
use super::terminal;
use crate::core::guard::Allowed;
use crate::engine::inputs::{Loaded, find};
use crate::engine::{self, Prepared};
use crate::host::Host;

/// Runs the command.
pub(super) async fn run(host: &Host, global: &Global, args: &PlanArgs) -> Result<Exit> {
    let changes = show(host, global, &args.manifests, &args.selection, Allowed::default()).await?;
    Ok(if changes && args.exit_code { Exit::Changes } else { Exit::Done })
}

/// Shows the plan; returns whether there is anything to do.
pub(super) async fn show(
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
    let found = find(lookup)?;
    let store = state.open()?;
    let noted = found.noted(store.as_deref(), selection.is_all())?;
    let (desired, prepared) = if let Some(desired) = found.unchanged(noted.as_ref()) {
        let prepared = Prepared::of_unread(&desired);
        (desired, prepared)
    } else {
        let mut bar = Bar::default();
        let read = found.read_since(host, noted, &mut |seen| bar.shows(seen));
        bar.end();
        let mut loaded = manifests::valid(&found, read, global.format)?;
        loop {
            let Loaded { desired, ahead, .. } = loaded;
            match &store {
                Some(store) => store.compare_with(ahead),
                None => drop(ahead),
            }
            let accounts = engine::accounts(host, &desired.model, store.as_deref()).await?;
            let now = host.clock.now().wall;
            let planning = ProgressMeter::of_plan();
            let prepared = selection.prepare(&desired, store.as_deref(), &accounts, now)?;
            drop(planning);
            if let Some(prepared) = prepared {
                break (desired, prepared);
            }
            loaded = manifests::load_all(host, &found, global.format, true)?;
        }
    };
    selection
        .unmatched(&desired.model, &prepared.difference.changes)?
        .iter()
        .for_each(|warning| terminal::tell(&format!("warning: {warning}\n")));
    let refusals = engine::refusals(&desired, &prepared, allowed);
    let running = state.holder();
    if let Some(holder) = &running {
        let holder = shown(&holder.to_string());
        terminal::tell(&format!("note: a run is under way: {holder}; it may be doing already what this plan tells\n"));
    }
    let view =
        render::PlanView { desired: &desired, prepared: &prepared, refusals: &refusals, is_running: running.is_some() };
    match global.format {
        Format::Human => terminal::print(&render::human(&view)),
        Format::Json => terminal::print_json(&render::json(&view)),
        Format::Markdown => terminal::print(&markdown::plan(&view)),
        Format::Github => terminal::print(&github::plan(&view)),
    }
    let difference = &prepared.difference;
    Ok(!(difference.changes.is_empty() && difference.adopt.is_empty() && difference.forget.is_empty()))
}
