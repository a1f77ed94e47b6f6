//! `freshen apply`: the same plan as `freshen plan` shows, and then its execution.

use std::path::Path;

use anyhow::Result;
use tokio::sync::watch;

use super::args::{ApplyArgs, Format, Global};
use super::audit::Audit;
use super::exit::Exit;
use super::progress::Progress;
use super::render::outcome as render;
use super::session::{self, Desired, Prepared};
use super::{interrupt, plan as plan_command, terminal};
use crate::core::event::ItemState;
use crate::core::guard::{self, Allowed};
use crate::core::plan::Plan;
use crate::core::recorded::Recorded;
use crate::core::target::Target;
use crate::core::time::Timestamp;
use crate::drive::{self, CallReport, Inputs, Observe, Outcome};
use crate::host::credentials::{CredentialStore, account_id};
use crate::host::{Host, Timeouts};
use crate::state::{self, RunStart, SqliteStore, StateError, Store};

/// Runs the command.
pub(super) async fn run(host: &Host, global: &Global, args: &ApplyArgs) -> Result<Exit> {
    let allowed = Allowed { purge_all: args.purge_all, removals: args.allow_removals };
    if args.dry_run {
        plan_command::show(host, global, &args.manifests.paths, &args.selection, allowed).await?;
        return Ok(Exit::Done);
    }
    if args.rehearse {
        return super::rehearsal::run(host, global, args).await;
    }
    let desired = session::load(&args.manifests.paths)?;
    let start = session::run_start(host);
    let _lock = session::lock(host, &global.state, &start, args.lock.lock_timeout).await?;
    let mut store = session::open(&global.state)?;
    tell_unfinished(store.as_ref())?;
    let accounts = session::accounts(host, &desired.model, store.as_ref().map(|store| store as &dyn Store)).await?;
    let view = store.as_ref().map(|store| store as &dyn Store);
    let prepared = session::prepare(&desired, view, &args.selection, &accounts, host.clock.now().wall)?;
    admit(&desired, &prepared, store.as_mut(), args)?;
    if is_nothing(&prepared) {
        report(global, &Finished::nothing(&desired, &prepared, false));
        return Ok(Exit::Done);
    }
    let mut audit = Audit::open(args.audit.as_deref())?;
    let mut store = match store {
        Some(store) => store,
        None => SqliteStore::create(&global.state, &session::lineage(host))?,
    };
    let interrupted = interrupt::listen();
    let mut progress = Progress::new(prepared.plan.targets(), host.clock.now().tick);
    let run = Run { host, desired: &desired, prepared: &prepared, start, args, interrupted };
    let mut observe = |call: &CallReport, targets: &[Target]| {
        progress.step(call.targets, host.clock.now().tick);
        audit.record(&desired.model, call, targets)
    };
    let finished = run.execute(&mut store, &mut observe).await?;
    progress.finish();
    report(global, &finished);
    if let Some(aside) = finished.write_aside(&global.state, host.clock.now().wall) {
        terminal::tell(&aside);
    }
    let unwritten = audit.finish(finished.outcome.observer_error.as_deref());
    Ok(Exit::worst(unwritten.into_iter().chain([finished.exit])))
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

/// Whether nothing is to be written or sent.
fn is_nothing(prepared: &Prepared) -> bool {
    is_quiet(prepared) && prepared.difference.owners.is_empty() && !prepared.manifests_changed
}

/// Whether there is nothing that a user has to know of.
fn is_quiet(prepared: &Prepared) -> bool {
    let difference = &prepared.difference;
    difference.changes.is_empty()
        && difference.adopt.is_empty()
        && difference.forget.is_empty()
        && difference.dropped.is_empty()
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
    let allowed = Allowed { purge_all: args.purge_all, removals: args.allow_removals };
    let mut reasons: Vec<String> =
        guard::check(&prepared.difference, prepared.first_run, allowed).iter().map(ToString::to_string).collect();
    if let Some(expected) = args.expect.as_ref().filter(|expected| **expected != prepared.digest) {
        reasons.push(format!(
            "the plan is not the one that was reviewed: expected digest {expected}, it is {}; look at `freshen plan` again",
            prepared.digest
        ));
    }
    if reasons.is_empty() {
        return Ok(());
    }
    if let Some(store) = store {
        store.mark_seen(&desired.model, &prepared.difference.changes)?;
    }
    Err(session::refused(reasons.join("\nerror: ")).into())
}

/// One run on a store, real or scratch.
pub(super) struct Run<'a> {
    /// Effects.
    pub host: &'a Host,
    /// The manifests.
    pub desired: &'a Desired,
    /// The plan.
    pub prepared: &'a Prepared,
    /// Who runs.
    pub start: RunStart,
    /// The command line.
    pub args: &'a ApplyArgs,
    /// Turns true when the user wants the run to end.
    pub interrupted: watch::Receiver<bool>,
}

/// A run that came to its end.
pub(super) struct Finished<'a> {
    /// The manifests.
    pub desired: &'a Desired,
    /// The plan.
    pub prepared: &'a Prepared,
    /// What came of it.
    pub outcome: Outcome,
    /// Providers without credentials, by index, with the reason.
    pub unavailable: Vec<(usize, String)>,
    /// Whether it was a rehearsal.
    pub rehearsal: bool,
    /// How it ends.
    pub exit: Exit,
}

impl<'a> Finished<'a> {
    /// A run that had nothing to do.
    pub(super) fn nothing(desired: &'a Desired, prepared: &'a Prepared, rehearsal: bool) -> Self {
        let outcome = Outcome::default();
        Self { desired, prepared, outcome, unavailable: Vec::new(), rehearsal, exit: Exit::Done }
    }

    /// Changes that were accepted in this run, by index.
    fn accepted(&self) -> impl Iterator<Item = usize> {
        let states = self.outcome.states.iter().enumerate();
        states.filter(|(_, state)| matches!(state, ItemState::Recorded)).map(|(index, _)| index)
    }

    /// Where the state belongs to another run now: keeps what this one achieved beside it (R3).
    fn write_aside(&self, state: &Path, at: Timestamp) -> Option<String> {
        let (StateError::Replaced { .. } | StateError::Overtaken { .. }) = self.outcome.state_error.as_ref()? else {
            return None;
        };
        let line = |index: usize| {
            let change = &self.prepared.difference.changes[index];
            let row = Recorded {
                provider: self.desired.model.providers[change.provider].name.clone(),
                target: change.target.clone(),
                owners: change.owners.clone(),
                hash: change.desired.clone(),
                recorded_at: Some(at),
                task_id: None,
                work: None,
            };
            super::render::status::target_json(&row).to_string() + "\n"
        };
        let text: String = self.accepted().map(line).collect();
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
    pub(super) fn view(&self) -> render::View<'_> {
        render::View {
            desired: self.desired,
            prepared: self.prepared,
            outcome: &self.outcome,
            unavailable: &self.unavailable,
            rehearsal: self.rehearsal,
            exit: self.exit,
        }
    }
}

impl<'a> Run<'a> {
    /// Marks what is due, purges it, records what was accepted.
    pub(super) async fn execute(&self, store: &mut dyn Store, observe: &mut Observe<'_>) -> Result<Finished<'a>> {
        let Self { desired, prepared, .. } = *self;
        let model = &desired.model;
        store.mark(model, &prepared.difference, self.host.clock.now().wall)?;
        let credentials = CredentialStore::new(self.host.env.clone());
        let (plan, accounts, unavailable) = self.available(&credentials).await;
        let run = store.begin_run(&self.start, &accounts)?;
        let inputs = Inputs {
            model,
            changes: &prepared.difference.changes,
            plan: &plan,
            config_digests: &desired.config_digests,
            credentials: &credentials,
            unavailable: &unavailable,
            run,
            deadline: self.args.deadline.map(|ms| self.host.clock.now().tick.plus_ms(ms)),
            timeouts: Timeouts::within(self.args.timeout),
            interrupted: self.interrupted.clone(),
        };
        let outcome = drive::apply(self.host, store, inputs, observe).await;
        let mut finished =
            Finished { desired, prepared, outcome, unavailable, rehearsal: self.args.rehearse, exit: Exit::Done };
        finished.exit = exit_of(&finished);
        if finished.outcome.state_error.is_none() {
            let counts = render::counts(&finished.view(), None);
            let exit = i64::from(finished.exit.code());
            let end = store.finish_run(run, self.host.clock.now().wall, exit, finished.outcome.calls, counts);
            finished.outcome.state_error = end.err();
        }
        if let Some(StateError::Replaced { .. }) = finished.outcome.state_error {
            // What was committed before went to a file that nobody will read again.
            finished.outcome.unrecorded = finished.accepted().collect();
        }
        finished.exit = exit_of(&finished);
        Ok(finished)
    }

    /// Credentials of all providers that have work: the plan with their accounts, and those that have none.
    async fn available(&self, credentials: &CredentialStore) -> (Plan, Vec<(String, String)>, Vec<(usize, String)>) {
        let mut plan = self.prepared.plan.clone();
        let (mut accounts, mut unavailable) = (Vec::new(), Vec::new());
        let mut seen: Vec<usize> = plan.jobs.iter().map(|job| job.provider).collect();
        seen.dedup();
        for index in seen {
            let config = &self.desired.model.providers[index];
            let found = credentials.get(config, self.host.clock.now().wall).await;
            match (found, config.endpoints.first()) {
                (Ok(found), Some(endpoint)) => {
                    let account = account_id(&found, endpoint);
                    for job in plan.jobs.iter_mut().filter(|job| job.provider == index) {
                        job.pace_key.0.clone_from(&account);
                    }
                    accounts.push((config.name.clone(), account));
                }
                (Err(error), _) => unavailable.push((index, error.to_string())),
                (Ok(_), None) => {}
            }
        }
        (plan, accounts, unavailable)
    }
}

fn exit_of(finished: &Finished<'_>) -> Exit {
    let outcome = &finished.outcome;
    let counts = render::counts(&finished.view(), None);
    let mut all = Vec::new();
    if !finished.unavailable.is_empty() {
        all.push(Exit::BadInput);
    }
    if outcome.stops.iter().any(|stop| stop.credentials) {
        all.push(Exit::Credentials);
    }
    if outcome.panicked || outcome.observer_error.is_some() {
        all.push(Exit::Failed);
    }
    all.extend(outcome.state_error.as_ref().map(Exit::of_state));
    if counts.pending + counts.deferred + counts.rejected > 0 {
        all.push(Exit::NotAllDone);
    }
    Exit::worst(all)
}

/// Shows what a run did.
pub(super) fn report(global: &Global, finished: &Finished<'_>) {
    let view = finished.view();
    match global.format {
        Format::Json => terminal::print_json(&render::json(&view)),
        Format::Human if finished.outcome.states.is_empty() && is_quiet(finished.prepared) => {
            let known = finished.prepared.difference.unchanged;
            terminal::print(&format!(
                "Nothing to do: {} recorded, none changed.\n",
                super::render::count(known, "target")
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
            let change = &finished.prepared.difference.changes[index];
            let name = &finished.desired.model.providers[change.provider].name;
            let target = super::render::shown(&change.target.text);
            terminal::tell(&format!("accepted but not recorded: {name} {target}\n"));
        }
    }
}
