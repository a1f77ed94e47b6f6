//! `freshen plan`: the plan that `apply` would run, and nothing else.

use anyhow::Result;

use super::args::{Format, Global, Manifests, PlanArgs, Selection};
use super::exit::Exit;
use super::render::{github, markdown, plan as render, shown};
use super::session::{self, Loaded, Lookup};
use super::{select, terminal};
use crate::core::guard::Allowed;
use crate::engine::{self, Prepared};
use crate::host::Host;

/// Runs the command.
pub(super) async fn run(host: &Host, global: &Global, args: &PlanArgs) -> Result<Exit> {
    let changes = show(host, global, &args.manifests, &args.selection, Allowed::default()).await?;
    Ok(if changes && args.exit_code { Exit::Changes } else { Exit::Done })
}

/// Shows the plan; tells whether there is anything to do.
pub(super) async fn show(
    host: &Host,
    global: &Global,
    manifests: &Manifests,
    selection: &Selection,
    allowed: Allowed,
) -> Result<bool> {
    let found = session::find(Lookup::selected(global, manifests, selection))?;
    let state = &*global.backend();
    let store = state.open()?;
    let noted = found.noted(store.as_deref(), selection)?;
    let (desired, prepared) = if let Some(desired) = found.unchanged(noted.as_ref()) {
        let prepared = Prepared::of_unread(&desired);
        (desired, prepared)
    } else {
        let mut loaded = found.desired(host, global.own(state), global.format, noted)?;
        loop {
            let Loaded { desired, ahead, .. } = loaded;
            match &store {
                Some(store) => store.compare_with(ahead),
                None => drop(ahead),
            }
            let view = store.as_deref();
            let accounts = engine::accounts(host, &desired.model, view).await?;
            let now = host.clock.now().wall;
            if let Some(prepared) = session::prepare_if_enough(&desired, view, selection, &accounts, now)? {
                break (desired, prepared);
            }
            loaded = found.load(host, global.own(state), global.format)?;
        }
    };
    select::unmatched(&desired.model, &prepared.difference.changes, selection)?
        .iter()
        .for_each(|warning| terminal::tell(&format!("warning: {warning}\n")));
    let refusals = engine::refusals(&desired, &prepared, allowed);
    let running = state.holder();
    if let Some(holder) = &running {
        let holder = shown(&holder.to_string());
        terminal::tell(&format!("note: a run is under way: {holder}; it may be doing already what this plan tells\n"));
    }
    let view =
        render::View { desired: &desired, prepared: &prepared, refusals: &refusals, is_running: running.is_some() };
    match global.format {
        Format::Human => terminal::print(&render::human(&view)),
        Format::Json => terminal::print_json(&render::json(&view)),
        Format::Markdown => terminal::print(&markdown::plan(&view)),
        Format::Github => terminal::print(&github::plan(&view)),
    }
    let difference = &prepared.difference;
    Ok(!(difference.changes.is_empty() && difference.adopt.is_empty() && difference.forget.is_empty()))
}
