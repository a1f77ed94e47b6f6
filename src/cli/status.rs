//! `freshen status`: what the state holds, from the state alone; with `--refresh`, first what the providers say.

use std::collections::BTreeMap;

use anyhow::Result;

use super::args::{Format, Global, StatusArgs};
use super::exit::Exit;
use super::render::{JSON_VERSION, online, status as render};
use super::{manifests, terminal};
use crate::core::contract::ErrorClass;
use crate::core::diff::Unclaimed;
use crate::core::owners;
use crate::core::query::TaskState;
use crate::core::recorded::{KnownManifest, Recorded};
use crate::engine::query::Asker;
use crate::engine::{self, Results};
use crate::host::credentials::CredentialStore;
use crate::host::manifest_tree;
use crate::host::{Host, Timeouts};
use crate::state::Settled;

/// Runs the command.
pub(super) async fn run(host: &Host, global: &Global, args: &StatusArgs) -> Result<Exit> {
    let refreshed = if args.refresh { refresh(host, global, args).await? } else { None };
    let running = global.backend().holder();
    let Some(store) = global.backend().open()? else {
        if global.format == Format::Json {
            terminal::print_json(
                &serde_json::json!({"version": JSON_VERSION, "command": "status", "state": null, "refreshed": null, "running": running.as_ref().map(render::running_json)}),
            );
        } else {
            terminal::print(&format!(
                "No state at `{}`: nothing was ever recorded. `freshen plan` shows what a first run would do.\n",
                global.state.display()
            ));
        }
        return Ok(Exit::Done);
    };
    // What the run under way has not heard of yet is no doubt.
    let live = store.runs(1)?.first().filter(|run| running.is_some() && run.finished_at.is_none()).map(|run| run.id);
    let (unanswered, doubtful): (Vec<_>, Vec<_>) =
        store.doubtful_calls()?.into_iter().partition(|call| Some(call.run) == live);
    let recorded = store.recorded()?;
    let view = render::StatusView {
        now: host.clock.now().wall,
        path: global.state.display().to_string(),
        identity: store.identity()?,
        unclaimed: unclaimed(&store.manifests()?, &recorded),
        recorded,
        doubtful,
        runs: store.runs(args.runs)?,
        running,
        unanswered: unanswered.len(),
        quota: store.quota_uses()?,
        tasks: store.task_counts()?,
    };
    if global.format == Format::Json {
        let mut json = render::json(&view);
        json["refreshed"] =
            refreshed.as_ref().map(|(results, due_again)| online::results_json(results, *due_again)).into();
        terminal::print_json(&json);
    } else {
        let results = refreshed.as_ref().map(|(results, due_again)| online::results(results, *due_again));
        terminal::print(&(results.unwrap_or_default() + &render::human(&view)));
    }
    Ok(refreshed.map_or(Exit::Done, |(results, due_again)| exit_of(&results, due_again)))
}

/// Asks the providers what became of accepted purges and notes it. Only the noting needs the lock: what another run does
/// meanwhile is left alone.
async fn refresh(host: &Host, global: &Global, args: &StatusArgs) -> Result<Option<(Results, u64)>> {
    let desired = manifests::load(host, global, &args.paths, args.limits)?;
    let Some(store) = global.backend().open()? else { return Ok(None) };
    let open = store.open_tasks()?;
    drop(store);
    let credentials = CredentialStore::new(host.env.clone());
    let mut asker = Asker::new(host, &desired.model, &credentials, Timeouts::within(engine::QUERY_MS));
    let results = engine::ask_tasks(&mut asker, &desired.model, open, host.clock.now().wall).await;
    let news = |settled: &&Settled| settled.state != TaskState::Processing;
    let settled: Vec<Settled> = results.told.iter().filter(news).cloned().collect();
    if settled.is_empty() {
        return Ok(Some((results, 0)));
    }
    let start = engine::run_start(host);
    let lock = engine::lock(host, &*global.backend(), &start, args.lock.lock_timeout).await?;
    let Some(mut store) = lock.open()? else { return Ok(None) };
    let due_again = store.settle(&settled, host.clock.now().wall)?;
    Ok(Some((results, due_again)))
}

fn exit_of(results: &Results, due_again: u64) -> Exit {
    let refusals = results.errors.iter().map(|(_, error)| match error.class {
        ErrorClass::Auth => Exit::Credentials,
        _ => Exit::Failed,
    });
    Exit::worst(refusals.chain((due_again > 0).then_some(Exit::NotAllDone)))
}

/// What only manifests list that are not there any more.
fn unclaimed(known: &[KnownManifest], recorded: &[Recorded]) -> Vec<Unclaimed> {
    let absent = owners::absent(known, &manifest_tree::is_there);
    let of = |name: &String| absent.iter().find(|manifest| manifest.name == *name);
    let mut unclaimed: BTreeMap<&str, Unclaimed> = BTreeMap::new();
    for row in recorded.iter().filter(|row| row.owners.iter().all(|owner| of(owner).is_some())) {
        let Some(manifest) = row.owners.first().and_then(of) else { continue };
        let (name, file) = (manifest.name.clone(), Some(manifest.file()));
        let none = Unclaimed { manifest: name, file, targets: 0, pending: 0 };
        let found = unclaimed.entry(&manifest.name).or_insert(none);
        found.targets += 1;
        found.pending += usize::from(row.work.is_some());
    }
    unclaimed.into_values().collect()
}
