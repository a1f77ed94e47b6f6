//! `freshen apply`: the same plan as `freshen plan` shows, and then its execution.

use anyhow::Result;
use tokio::sync::watch;

use super::args::{ApplyArgs, Format, Global};
use super::claim::Claim;
use super::exit::Exit;
use super::pass::{LOOK_UP_MS, Pass, Ran, Side};
use super::progress::Progress;
use super::render::{github, markdown, outcome as render};
use super::session::{self, Found, Lookup};
use super::stat_caches::Own;
use super::{interrupt, plan as plan_command, terminal};
use crate::core::endpoints::AwayCache;
use crate::core::recorded::Inputs;
use crate::engine::executor::{self, CallReport};
use crate::engine::{self, Desired, Finished, Prepared};
use crate::host::Host;
use crate::host::credentials::CredentialStore;
use crate::state::{Backend, Store};

/// Runs the command.
pub(super) async fn run(host: &Host, global: &Global, args: &ApplyArgs) -> Result<Exit> {
    if args.dry_run {
        plan_command::show(host, global, &args.manifests, &args.selection, args.allowed.allowed()).await?;
        return Ok(Exit::Done);
    }
    if args.rehearse {
        return super::rehearsal::run(host, global, args).await;
    }
    // All that comes before the first call counts: reading, the lock, credentials, questions.
    let deadline = args.deadline.map(|ms| host.clock.now().tick.plus_ms(ms));
    let credentials = CredentialStore::new(host.env.clone());
    let state = &*global.backend();
    let pass = Pass {
        host,
        state,
        selection: &args.selection,
        allowed: args.allowed.allowed(),
        expect: args.expect.as_deref(),
        lock_timeout_ms: args.lock.lock_timeout,
        deadline,
        timeout_ms: args.timeout,
        grace_ms: executor::GRACE_MS,
        audit: args.audit.as_deref(),
        credentials: &credentials,
        patience_ms: None,
    };
    let own = Own { audit: args.audit.as_deref(), ..global.own(state) };
    let (mut reads_all, mut held) = (false, None);
    loop {
        let claim = held.take().map_or_else(|| Claim::before_reading(state), Claim::Held);
        let lookup = Lookup::selected(global, &args.manifests, &args.selection);
        let found = session::find(Lookup { audit: args.audit.as_deref(), ..lookup })?;
        let Noted { inputs, away } = noted(host, state, args, &found)?;
        if let Some(desired) = found.unchanged(inputs.as_ref()) {
            if engine::returned_caches(host, &desired, away, args.timeout.min(LOOK_UP_MS)).await.is_empty() {
                let prepared = Prepared::of_unread(&desired);
                report(global, &Finished::nothing(&desired, &prepared));
                return Ok(Exit::Done);
            }
            reads_all = true;
        }
        let mut loaded = found.desired(host, own, global.format, inputs.filter(|_| !reads_all))?;
        match pass.run(&mut loaded, claim, &mut Terminal { global, progress: None }).await? {
            Ran::Ended(exit) => return Ok(exit),
            Ran::Cut => return Ok(Exit::NotAllDone),
            Ran::NotEnough => reads_all = true,
            Ran::Overtaken(lock) => held = Some(lock),
        }
    }
}

/// A run that somebody waits for: notes and progress on standard error, the result on standard output.
struct Terminal<'a> {
    global: &'a Global,
    progress: Option<Progress>,
}

impl Side for Terminal<'_> {
    fn note(&mut self, text: &str) {
        terminal::tell(&format!("note: {text}\n"));
    }

    fn warn(&mut self, text: &str) {
        terminal::tell(&format!("warning: {text}\n"));
    }

    fn error(&mut self, text: &str) {
        terminal::tell(&format!("error: {text}\n"));
    }

    fn sending(&mut self, _: &Desired, prepared: &Prepared) -> watch::Receiver<bool> {
        self.progress = Some(Progress::of_purges(prepared.plan.purges()));
        interrupt::listen()
    }

    fn called(&mut self, _: &Desired, call: &CallReport) {
        if let Some(progress) = &self.progress {
            progress.step(call.changes);
        }
    }

    fn finished(&mut self, finished: &Finished<'_>, _: Option<&dyn Store>) {
        self.progress = None;
        report(self.global, finished);
    }
}

/// What an earlier run noted.
#[derive(Default)]
struct Noted {
    inputs: Option<Inputs>,
    /// Caches that lack something.
    away: Vec<AwayCache>,
}

/// No lock is needed: what another run does now is work, and what it has done is seen later.
fn noted(host: &Host, state: &dyn Backend, args: &ApplyArgs, found: &Found<'_>) -> Result<Noted> {
    let store = if args.expect.is_none() { state.open()? } else { None };
    let Some(store) = store else { return Ok(Noted::default()) };
    let away = store.caches_away(host.clock.now().wall)?;
    Ok(Noted { inputs: found.noted(Some(&*store), &args.selection)?, away })
}

/// What the renderer needs.
pub(super) fn view<'a>(finished: &'a Finished<'a>, rehearsal: bool) -> render::View<'a> {
    let Finished { desired, prepared, outcome, unavailable, exit } = finished;
    render::View { desired, prepared, outcome, unavailable, rehearsal, exit: *exit }
}

/// Shows what a run did.
fn report(global: &Global, finished: &Finished<'_>) {
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
    for warning in render::warnings(finished.desired, &finished.outcome) {
        terminal::tell(&format!("warning: {warning}\n"));
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
