//! `freshen status`: what the state holds, from the state alone.

use anyhow::Result;

use super::args::{Format, Global, StatusArgs};
use super::exit::Exit;
use super::render::{JSON_VERSION, status as render};
use super::{session, terminal};
use crate::state::Store;

/// Runs the command.
pub(super) fn run(global: &Global, args: &StatusArgs) -> Result<Exit> {
    let Some(store) = session::open(&global.state)? else {
        match global.format {
            Format::Human => terminal::print(&format!(
                "No state at `{}`: nothing was ever recorded. `freshen plan` shows what a first run would do.\n",
                global.state.display()
            )),
            Format::Json => {
                terminal::print_json(&serde_json::json!({"version": JSON_VERSION, "command": "status", "state": null}));
            }
        }
        return Ok(Exit::Done);
    };
    let view = render::View {
        path: global.state.display().to_string(),
        identity: store.identity()?,
        recorded: store.recorded()?,
        doubtful: store.doubtful_calls()?,
        runs: store.runs(args.runs)?,
        quota: store.quota_uses()?,
    };
    match global.format {
        Format::Human => terminal::print(&render::human(&view)),
        Format::Json => terminal::print_json(&render::json(&view)),
    }
    Ok(Exit::Done)
}
