//! `freshen apply`: the same plan as `freshen plan` shows, and then its execution.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;

use anyhow::Result;
use serde_json::Value;

use super::args::{ApplyArgs, Format, Global, WaitFor};
use super::manifests::{self, ManifestReader};
use super::progress::ProgressMeter;
use super::render::github::{self, Annotated};
use super::render::{edges, markdown, outcome as render, proof};
use super::terminal;
use crate::core::event::ItemState;
use crate::core::proof_record::ProofVerdict;
use crate::core::time::Timestamp;
use crate::engine::executor::GRACE_MS;
use crate::engine::inputs::Lookup;
use crate::engine::prove::{self, Extent, ProofReport, Prover, Repair};
use crate::engine::{self, Exit, Finished, Pass, PassEvent, PassOptions, Selection};
use crate::host::credentials::CredentialStore;
use crate::host::{Host, Timeouts, interrupt};
use crate::state::Backend;

/// Runs the command.
pub(super) async fn run(host: &Host, global: &Global, args: &ApplyArgs) -> Result<Exit> {
    let selection = args.selection.selection();
    // All that comes before the first call counts: reading, the lock, credentials, queries.
    let deadline = args.deadline.map(|ms| host.clock.now().tick.plus_ms(ms));
    let credentials = CredentialStore::new(host.env.clone());
    let state = &*global.backend();
    let pass = Pass { host, state, credentials: &credentials, options: options(global, args, &selection, deadline) };
    let lookup = lookup(global, state, args, &selection);
    let new_state = manifests::new_state(global, &args.manifests.paths);
    if let Some((note, _)) = new_state {
        terminal::tell(&format!("note: {note}\n"));
    }
    let mut reader = ManifestReader::new(global.format);
    let (verbose, annotated) = (args.ending.verbose, reader.annotated.clone());
    let holds = args.wait != WaitFor::Accepted && global.format == Format::Json;
    let mut display = RunDisplay { verbose, annotated, holds, ..RunDisplay::new(global) };
    let purged = engine::apply(&pass, lookup, &mut reader, &mut |event: PassEvent<'_>| display.takes(event)).await?;
    if args.wait == WaitFor::Accepted {
        display.owes(state, host.clock.now().wall);
        return Ok(purged);
    }
    let mut prover = Prover {
        host,
        state,
        selection: &selection,
        deadline,
        timeouts: Timeouts::within(args.timeout),
        stop: (pass.options.interrupts)(),
    };
    let mut report = ProofReport::default();
    let mut progress = |event: PassEvent<'_>| display.accompanies(event);
    let scope = (lookup, Extent::Owed);
    let again = prove::prove(&mut prover, scope, Repair::Purge(&pass), &mut progress, &mut report).await?;
    let seen = if report.is_proven(false) { Exit::Done } else { Exit::NotAllDone };
    let exit = Exit::worst([purged, again, seen]);
    display.proves(&report, exit);
    Ok(exit)
}

/// What is wanted of the run; `deadline` as a moment.
pub(super) fn options<'a>(
    global: &'a Global,
    args: &'a ApplyArgs,
    selection: &'a Selection,
    deadline: Option<crate::core::time::Tick>,
) -> PassOptions<'a> {
    PassOptions {
        selection,
        allowed: args.allowed.allowed(),
        expect: args.expect.as_deref(),
        deferred_ok: args.ending.deferred_ok,
        wait_for_origins_ms: (!args.no_origin).then_some(u64::MAX),
        lock_timeout_ms: args.lock.lock_timeout,
        deadline,
        timeout_ms: args.timeout,
        grace_ms: GRACE_MS,
        audit: args.audit.as_deref(),
        commands: &global.commands,
        patience_ms: None,
        accounts: None,
        interrupts: &|| interrupt::listen(announce_stop, Exit::Failed.code()),
        tamper: None,
    }
}

pub(super) fn announce_stop() {
    terminal::tell("stopping: calls under way may end, nothing new is sent; interrupt again to stop at once\n");
}

/// The manifests that the run is about.
pub(super) fn lookup<'a>(
    global: &'a Global,
    state: &'a dyn crate::state::Backend,
    args: &'a ApplyArgs,
    selection: &'a Selection,
) -> Lookup<'a> {
    let mut lookup = manifests::lookup(global, state, &args.manifests.paths, args.manifests.limits);
    lookup.vanished = &selection.vanished;
    lookup.own.audit = args.audit.as_deref();
    lookup
}

/// A run in a terminal or a pipeline: notes and progress on standard error, the result on standard output.
pub(super) struct RunDisplay<'a> {
    global: &'a Global,
    /// Lists all that was purged.
    verbose: bool,
    /// What was shown before in GitHub's format.
    annotated: Rc<Cell<Annotated>>,
    progress: Option<ProgressMeter>,
    /// The result for programs, while what edges serve is still to be added.
    held: Option<Value>,
    /// Whether that is so.
    holds: bool,
    /// Providers at which something was purged, by what the state knows them.
    purged_at: Vec<String>,
}

impl<'a> RunDisplay<'a> {
    /// One that shows nothing yet.
    pub(super) fn new(global: &'a Global) -> Self {
        Self {
            global,
            verbose: false,
            annotated: Rc::default(),
            progress: None,
            held: None,
            holds: false,
            purged_at: Vec::new(),
        }
    }

    /// Shows an event.
    pub(super) fn takes(&mut self, event: PassEvent<'_>) {
        // A bar ends before anything is printed.
        match &event {
            PassEvent::Called(..) => {}
            _ => self.progress = None,
        }
        match event {
            PassEvent::Planning(begins) => self.progress = begins.then(ProgressMeter::of_plan),
            PassEvent::Sending(_, prepared) => self.progress = Some(ProgressMeter::of_purges(prepared.plan.purges())),
            PassEvent::Called(_, call) => {
                if let Some(progress) = &self.progress {
                    progress.step(call.changes);
                }
            }
            PassEvent::Finished(finished, _) => {
                self.purged_at = purged_at(finished);
                report(self, finished);
            }
            event => announce(&event),
        }
    }
}

impl RunDisplay<'_> {
    /// Shows an event of a run whose result is a part of another one's.
    pub(super) fn accompanies(&mut self, event: PassEvent<'_>) {
        match event {
            PassEvent::Finished(..) => self.progress = None,
            event => self.takes(event),
        }
    }

    /// Says which probes the purges owe, behind the result of a run that makes none.
    fn owes(&self, state: &dyn Backend, now: Timestamp) {
        let is_told = self.global.format == Format::Human && !self.purged_at.is_empty();
        // The state has been used until now: where it cannot be read any more, the run has said so.
        let Ok(Some(store)) = (if is_told { state.open() } else { Ok(None) }) else { return };
        let Ok(Some(next)) = store.next_proof_due(&self.purged_at) else { return };
        let Ok(owed) = store.proof_counts() else { return };
        let due =
            owed.iter().filter(|(name, verdict, _)| *verdict == ProofVerdict::Due && self.purged_at.contains(name));
        let number: u64 = due.map(|(.., number)| number).sum();
        if number > 0 {
            terminal::print(&edges::owed(number, next, now, &self.global.commands));
        }
    }

    /// Shows what edges serve, behind the result of the run before.
    fn proves(&mut self, report: &ProofReport, exit: Exit) {
        self.progress = None;
        match (self.global.format, self.held.take()) {
            (Format::Json, Some(mut held)) => {
                held["exit"] = exit.code().into();
                held["kind"] = exit.kind(held["kind"] == "credentials_missing").into();
                held["proof"] = proof::json(report);
                terminal::print_json(&held);
            }
            (Format::Json, None) => {}
            (Format::Markdown, _) => terminal::print(&proof::markdown(report)),
            (Format::Github, _) => terminal::print(&github::proof(report)),
            (Format::Human, _) => terminal::print(&format!("\n{}", proof::human(report))),
        }
    }
}

/// Providers at which a run purged something, by what the state knows them.
fn purged_at(finished: &Finished<'_>) -> Vec<String> {
    let model = &finished.desired.model;
    let changes = &finished.prepared.difference.changes;
    let states = finished.outcome.states.iter().enumerate();
    let providers =
        states.filter(|(_, state)| **state == ItemState::Recorded).map(|(index, _)| changes.provider(index));
    providers.collect::<BTreeSet<_>>().into_iter().map(|provider| model.provider_key(provider)).collect()
}

/// Notes, warnings and errors of a run, on standard error.
pub(super) fn announce(event: &PassEvent<'_>) {
    match event {
        PassEvent::Note(text) => terminal::tell(&format!("note: {text}\n")),
        PassEvent::Warning(text) => terminal::tell(&format!("warning: {text}\n")),
        PassEvent::Error(text) => terminal::tell(&format!("error: {text}\n")),
        PassEvent::Unfinished(began) => {
            terminal::tell(&format!("note: {}\n", super::render::unfinished(*began)));
        }
        _ => {}
    }
}

/// Shows what a run did.
fn report(display: &mut RunDisplay<'_>, finished: &Finished<'_>) {
    let commands = &display.global.commands;
    match display.global.format {
        Format::Json if display.holds => {
            display.held = serde_json::to_value(render::json(finished, false, commands)).ok();
        }
        Format::Json => terminal::print_json(&render::json(finished, false, commands)),
        Format::Markdown => terminal::print(&markdown::outcome(finished, None, commands)),
        Format::Github => terminal::print(&github::outcome(finished, false, display.annotated.get(), commands)),
        Format::Human if finished.outcome.states.is_empty() && finished.prepared.is_quiet() => {
            let known = finished.prepared.difference.unchanged;
            terminal::print(&format!(
                "Nothing to do: {} recorded, none changed.\n{}",
                super::render::count(known, "target"),
                super::render::asides(&finished.prepared.difference, false, commands),
            ));
        }
        Format::Human => {
            let listed = if display.verbose { usize::MAX } else { render::LISTED };
            terminal::print(&render::human(finished, listed, commands));
        }
    }
    for warning in engine::warnings(finished.desired, &finished.outcome) {
        terminal::tell(&format!("warning: {warning}\n"));
    }
    for refusal in &finished.prepared.refusals {
        terminal::tell(&format!("error: refused, and left out: {}\n", refusal.with_way_on(commands)));
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
