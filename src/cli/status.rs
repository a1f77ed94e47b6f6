//! `freshen status`: what the state holds, from the state alone.

use anyhow::Result;

use super::args::{Format, Global, StatusArgs};
use super::exit::Exit;
use super::render::{JSON_VERSION, status as render};
use super::{session, terminal};
use crate::state::{RunLock, Store};

/// Runs the command.
pub(super) fn run(global: &Global, args: &StatusArgs) -> Result<Exit> {
    let running = RunLock::holder(&global.state);
    let Some(store) = session::open(&global.state)? else {
        match global.format {
            Format::Human => terminal::print(&format!(
                "No state at `{}`: nothing was ever recorded. `freshen plan` shows what a first run would do.\n",
                global.state.display()
            )),
            Format::Json => {
                terminal::print_json(
                    &serde_json::json!({"version": JSON_VERSION, "command": "status", "state": null, "running": running.as_ref().map(render::running_json)}),
                );
            }
        }
        return Ok(Exit::Done);
    };
    // What the run under way has not heard of yet is no doubt.
    let live_since =
        store.runs(1)?.first().filter(|run| running.is_some() && run.finished_at.is_none()).map(|run| run.started_at);
    let (unanswered, doubtful): (Vec<_>, Vec<_>) =
        store.doubtful_calls()?.into_iter().partition(|call| live_since.is_some_and(|since| call.at >= since));
    let view = render::View {
        path: global.state.display().to_string(),
        identity: store.identity()?,
        recorded: store.recorded()?,
        doubtful,
        runs: store.runs(args.runs)?,
        running,
        unanswered: unanswered.len(),
        quota: store.quota_uses()?,
    };
    match global.format {
        Format::Human => terminal::print(&render::human(&view)),
        Format::Json => terminal::print_json(&render::json(&view)),
    }
    Ok(Exit::Done)
}
