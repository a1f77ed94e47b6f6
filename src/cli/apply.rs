//! `freshen apply`: the same plan as `freshen plan` shows, and then its execution.

use std::path::Path;

use anyhow::Result;

use super::args::{ApplyArgs, Format, Global};
use super::audit::Audit;
use super::exit::Exit;
use super::progress::Progress;
use super::render::{github, markdown, outcome as render};
use super::{interrupt, plan as plan_command, session, stat_caches, terminal};
use crate::ask::Asker;
use crate::core::budget::LastCalls;
use crate::core::recorded::Recorded;
use crate::core::target::Target;
use crate::core::time::Timestamp;
use crate::drive::{self, CallReport};
use crate::host::credentials::CredentialStore;
use crate::host::{Host, Timeouts};
use crate::run::{self, Desired, Finished, Prepared, Run};
use crate::state::{self, SqliteStore, StateError, Store};

/// Runs the command.
pub(super) async fn run(host: &Host, global: &Global, args: &ApplyArgs) -> Result<Exit> {
    if args.dry_run {
        plan_command::show(host, global, &args.manifests.paths, &args.selection, args.allowed()).await?;
        return Ok(Exit::Done);
    }
    if args.rehearse {
        return super::rehearsal::run(host, global, args).await;
    }
    let found = session::find(&args.manifests.paths)?;
    if let Some(desired) = unchanged(global, args, &found)? {
        let prepared = Prepared::of_unread(&desired);
        report(global, &Finished::nothing(&desired, &prepared));
        return Ok(Exit::Done);
    }
    let (desired, mut caches) = found.load(host, &global.state, global.format)?;
    let start = session::run_start(host);
    let _lock = session::lock(host, &global.state, &start, args.lock.lock_timeout).await?;
    let mut store = SqliteStore::open_to_write(&global.state)?;
    tell_unfinished(store.as_ref())?;
    if let Some(store) = &mut store {
        stat_caches::keep(store, std::mem::take(&mut caches));
    }
    let guessed = run::accounts(host, &desired.model, store.as_ref().map(|store| store as &dyn Store)).await?;
    let view = store.as_ref().map(|store| store as &dyn Store);
    let mut prepared = session::prepare(&desired, view, &args.selection, &guessed, host.clock.now().wall)?;
    admit(&desired, &prepared, store.as_mut(), args)?;
    if prepared.is_nothing() {
        note_inputs(store.as_mut(), &prepared);
        report(global, &Finished::nothing(&desired, &prepared));
        return Ok(Exit::Done);
    }
    let credentials = CredentialStore::new(host.env.clone());
    let accounts = run::real_accounts(host, &desired, &prepared.plan, &credentials, &guessed).await;
    if accounts != guessed {
        // Quota and pace are the account's, whatever its provider is called here.
        let view = store.as_ref().map(|store| store as &dyn Store);
        prepared = session::prepare(&desired, view, &args.selection, &accounts, host.clock.now().wall)?;
    }
    let mut audit = Audit::open(args.audit.as_deref())?;
    let mut store = match store {
        Some(store) => store,
        None => SqliteStore::create(&global.state, &session::lineage(host))?,
    };
    stat_caches::keep(&mut store, caches);
    let asked = host.clock.now().tick;
    if ask_quotas(host, &desired, &prepared, &credentials, args.timeout, &mut store).await? {
        prepared = session::prepare(&desired, Some(&store), &args.selection, &accounts, host.clock.now().wall)?;
    }
    let interrupted = interrupt::listen();
    let progress = Progress::of_purges(prepared.plan.targets());
    // The time for questions is part of the time that the user gave.
    let spent_ms = host.clock.now().tick.since(asked);
    let deadline_ms = args.deadline.map(|ms| ms.saturating_sub(spent_ms));
    let (desired, prepared, credentials) = (&desired, &prepared, &credentials);
    let timeouts = Timeouts::within(args.timeout);
    let (grace_ms, last_calls) = (drive::GRACE_MS, LastCalls::default());
    let run =
        Run { host, desired, prepared, start, deadline_ms, timeouts, credentials, interrupted, grace_ms, last_calls };
    let mut observe = |call: &CallReport, targets: &[Target]| {
        progress.step(call.targets);
        audit.record(&desired.model, call, targets)
    };
    let finished = run.execute(&mut store, &mut observe).await?;
    drop(progress);
    report(global, &finished);
    if let Some(aside) = write_aside(&finished, &global.state, host.clock.now().wall) {
        terminal::tell(&aside);
    }
    let unwritten = audit.finish(finished.outcome.observer_error.as_deref());
    Ok(Exit::worst(unwritten.into_iter().chain([finished.exit])))
}

/// The manifests unread, if a run over them left nothing to do. No lock is needed: what another run does now is work.
fn unchanged(global: &Global, args: &ApplyArgs, found: &session::Found<'_>) -> Result<Option<Desired>> {
    let store = if args.expect.is_none() { session::open(&global.state)? } else { None };
    found.unchanged(store.as_ref().map(|store| store as &dyn Store), &args.selection)
}

/// Notes manifests that say the same as before in other words, so that the next run need not read them. Where that cannot be
/// written, the next run reads them.
fn note_inputs(store: Option<&mut SqliteStore>, prepared: &Prepared) {
    let (Some(store), Some(inputs)) = (store, &prepared.difference.inputs) else { return };
    let noted = match store.inputs() {
        Ok(known) if known.as_ref() == Some(inputs) => Ok(()),
        Ok(_) => store.note_inputs(inputs),
        Err(error) => Err(error),
    };
    if let Err(error) = noted {
        terminal::tell(&format!("note: the next run reads all manifests again: {error}\n"));
    }
}

/// Asks what is left of the quotas that the plan draws on; `true`: less than it was made for, so plan anew.
pub(super) async fn ask_quotas(
    host: &Host,
    desired: &Desired,
    prepared: &Prepared,
    credentials: &CredentialStore,
    timeout_ms: u64,
    store: &mut SqliteStore,
) -> Result<bool> {
    let timeouts = Timeouts::within(timeout_ms.min(session::QUESTION_MS));
    let mut asker = Asker::new(host, &desired.model, credentials, timeouts);
    let learned = run::learn_quotas(&mut asker, &desired.model, &prepared.plan, store).await?;
    for note in &learned.notes {
        terminal::tell(&format!("note: {}\n", super::render::shown(note)));
    }
    Ok(learned.changed)
}

/// Mentions a run that was stopped before its end; its lock is free again, and its purges in doubt are due.
fn tell_unfinished(store: Option<&SqliteStore>) -> Result<()> {
    let last = store.map_or(Ok(Vec::new()), |store| store.runs(1))?;
    if let Some(run) = last.first().filter(|run| run.finished_at.is_none()) {
        let began = super::render::moment(run.started_at);
        terminal::tell(&format!(
            "note: the run that began {began} was stopped before its end; this one goes on from there\n"
        ));
    }
    Ok(())
}

/// Lets guards and the reviewed digest speak. A refused run still marks what it saw, except removals.
///
/// # Errors
/// Exit 5 with the reasons.
pub(super) fn admit(
    desired: &Desired,
    prepared: &Prepared,
    store: Option<&mut SqliteStore>,
    args: &ApplyArgs,
) -> Result<()> {
    let store = store.map(|store| store as &mut dyn Store);
    let reasons = run::admit(desired, prepared, store, args.allowed(), args.expect.as_deref())?;
    if reasons.is_empty() { Ok(()) } else { Err(session::refused(&reasons).into()) }
}

/// Where the state belongs to another run now: keeps what this one achieved beside it (R3).
fn write_aside(finished: &Finished<'_>, state: &Path, at: Timestamp) -> Option<String> {
    let (StateError::Replaced { .. } | StateError::Overtaken { .. }) = finished.outcome.state_error.as_ref()? else {
        return None;
    };
    let line = |index: usize| {
        let change = finished.prepared.difference.changes.get(index);
        let row = Recorded {
            provider: finished.desired.model.providers[change.provider].name.clone(),
            target: change.target,
            owners: change.owners,
            hash: change.desired,
            recorded_at: Some(at),
            task_id: None,
            work: None,
        };
        super::render::status::target_json(&row).to_string() + "\n"
    };
    let text: String = finished.accepted().map(line).collect();
    let name = format!("{}-{}", at.utc_basic(), std::process::id());
    Some(match state::write_aside(state, &name, &text) {
        Ok(path) => format!(
            "what this run purged is in `{}`; run again: what the state does not hold is sent again\n",
            path.display()
        ),
        Err(error) => format!("error: {error}\n"),
    })
}

/// What the renderer needs.
pub(super) fn view<'a>(finished: &'a Finished<'a>, rehearsal: bool) -> render::View<'a> {
    let Finished { desired, prepared, outcome, unavailable, exit } = finished;
    render::View { desired, prepared, outcome, unavailable, rehearsal, exit: *exit }
}

/// Shows what a run did.
pub(super) fn report(global: &Global, finished: &Finished<'_>) {
    let view = view(finished, false);
    match global.format {
        Format::Json => terminal::print_json(&render::json(&view)),
        Format::Markdown => terminal::print(&markdown::outcome(&view, None)),
        Format::Github => terminal::print(&github::outcome(&view)),
        Format::Human if finished.outcome.states.is_empty() && finished.prepared.is_quiet() => {
            let known = finished.prepared.difference.unchanged;
            terminal::print(&format!(
                "Nothing to do: {} recorded, none changed.\n{}",
                super::render::count(known, "target"),
                super::render::asides(&finished.prepared.difference, false),
            ));
        }
        Format::Human => terminal::print(&render::human(&view)),
    }
    for (provider, reason) in &finished.unavailable {
        let name = &finished.desired.model.providers[*provider].name;
        terminal::tell(&format!("error: provider `{name}`: {}\n", super::render::shown(reason)));
    }
    if let Some(error) = &finished.outcome.state_error {
        terminal::tell(&format!("error: {error}\n"));
        for &index in &finished.outcome.unrecorded {
            let change = finished.prepared.difference.changes.get(index);
            let name = &finished.desired.model.providers[change.provider].name;
            let target = super::render::shown(&change.target.text);
            terminal::tell(&format!("accepted but not recorded: {name} {target}\n"));
        }
    }
}
