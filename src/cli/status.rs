//! `freshen status`: what the state holds, from the state alone; with `--refresh`, first what the providers say; of a URL, what
//! `explain` says.

use anyhow::Result;

use super::args::{Format, Global, StatusArgs};
use super::render::{JSON_VERSION, online, status as render};
use super::{explain, manifests, terminal};
use crate::core::command_line::Verb;
use crate::engine::{self, Exit, Overview, Refreshed, Stop};
use crate::host::Host;

/// Runs the command.
pub(super) async fn run(host: &Host, global: &Global, args: &StatusArgs) -> Result<Exit> {
    let paths = match args.explained() {
        Ok(_) if args.exit_code => {
            let message = "`--exit-code` is about all targets: leave the URL out";
            return Err(Stop::bad_input(message).into());
        }
        Ok(explained) => return explain::run(host, global, &explained).await,
        Err(paths) => paths,
    };
    let state = &*global.backend();
    let refreshed = if args.refresh {
        let desired = manifests::load(host, global, &paths, args.limits)?;
        engine::refresh(host, state, &desired, args.lock.lock_timeout).await?
    } else {
        None
    };
    let running = state.holder();
    let Some(store) = state.open()? else {
        if global.format == Format::Json {
            terminal::print_json(
                &serde_json::json!({"version": JSON_VERSION, "command": "status", "state": null, "refreshed": null, "running": running.as_ref().map(render::running_json)}),
            );
        } else {
            let (place, meant) = manifests::no_state(global, &paths);
            terminal::print(&format!(
                "No state at {place}: nothing is recorded there, so all that manifests list is to be done; {} shows it{meant}\n",
                global.commands.anywhere().offer(Verb::Plan, &[])
            ));
        }
        return Ok(if args.exit_code { Exit::NotAllDone } else { Exit::Done });
    };
    let view = Overview::read(&*store, state.location(), running, args.runs, host.clock.now().wall)?;
    if global.format == Format::Json {
        let mut json = render::json(&view);
        json["refreshed"] = refreshed.as_ref().map(online::results_json).into();
        terminal::print_json(&json);
    } else {
        let results = refreshed.as_ref().map(|refreshed| online::results(refreshed, &global.commands));
        terminal::print(&(results.unwrap_or_default() + &render::human(&view, &global.commands)));
    }
    let is_left = args.exit_code && view.is_left_since(args.older_than.unwrap_or(0));
    Ok(Exit::worst(refreshed.as_ref().map(Refreshed::exit).into_iter().chain(is_left.then_some(Exit::NotAllDone))))
}
