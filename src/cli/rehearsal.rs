//! `freshen apply --rehearse`: the real run against emulators, on a scratch copy of the state, in virtual time.

use anyhow::Result;

use super::apply;
use super::args::{ApplyArgs, Format, Global};
use super::manifests::ManifestReader;
use super::progress::ProgressMeter;
use super::render::{github, markdown, outcome as render, plan as plan_render, strong};
use super::terminal;
use crate::core::time::Now;
use crate::engine::executor::CallReport;
use crate::engine::inputs::find;
use crate::engine::rehearsal::Rehearsal;
use crate::engine::{
    self, Desired, Exit, Finished, Pass, PassEnd, PassEvent, PassOptions, Prepared, ReadObserver, Selection,
};
use crate::host::Host;
use crate::host::credentials::CredentialStore;
use crate::state::Store;
use crate::vendor::VENDORS;

/// Runs the command.
pub(super) async fn run(host: &Host, global: &Global, args: &ApplyArgs) -> Result<Exit> {
    let selection = &args.selection.selection();
    let state = &*global.backend();
    let found = find(apply::lookup(global, state, args, selection))?;
    // The copy is compared row by row.
    let mut reader = ManifestReader::new(global.format);
    let mut loaded = (&mut reader as &mut dyn ReadObserver).read_all(host, &found, false)?;
    let Rehearsal { host, accounts, claim } = Rehearsal::new(host, state, &mut loaded.desired, VENDORS).await?;
    let credentials = CredentialStore::new(host.env.clone());
    let begun = host.clock.now();
    let deadline = args.deadline.map(|ms| begun.tick.plus_ms(ms));
    let options = apply::options(global, args, selection, deadline);
    let options = PassOptions { audit: None, accounts: Some(&accounts), wait_for_origins_ms: None, ..options };
    let pass = Pass { host: &host, state, credentials: &credentials, options };
    let mut shown = Shown {
        global,
        args,
        annotated: reader.annotated.get(),
        accounts: &accounts,
        begun,
        clock: &host,
        calls: Vec::new(),
        planning: None,
        failure: None,
    };
    let end = pass.run(&mut loaded, claim, None, &mut |event| shown.takes(event)).await?;
    match (shown.failure, end) {
        (Some(error), _) => Err(error),
        (None, PassEnd::Ended(exit)) => Ok(exit),
        (None, _) => Ok(Exit::NotAllDone),
    }
}

/// Shows what is rehearsed.
struct Shown<'a> {
    global: &'a Global,
    args: &'a ApplyArgs,
    /// What was shown before in GitHub's format.
    annotated: github::Annotated,
    accounts: &'a [String],
    begun: Now,
    clock: &'a Host,
    calls: Vec<CallReport>,
    planning: Option<ProgressMeter>,
    /// Why the second run could not be planned.
    failure: Option<anyhow::Error>,
}

impl Shown<'_> {
    fn takes(&mut self, event: PassEvent<'_>) {
        match event {
            PassEvent::Planned(desired, prepared) if self.global.format == Format::Human => {
                self.show_plan(desired, prepared);
            }
            PassEvent::Planning(begins) => self.planning = begins.then(ProgressMeter::of_plan),
            // The run that is under way, perhaps: a copy of a state has no lock that tells.
            PassEvent::Unfinished(_) => {}
            PassEvent::Called(_, call) => self.calls.push(call.clone()),
            PassEvent::Finished(finished, store) => {
                self.failure = self.show_outcome(finished, store).err();
            }
            event => apply::announce(&event),
        }
    }

    fn show_plan(&self, desired: &Desired, prepared: &Prepared) {
        let refusals = engine::refusals(desired, prepared, self.args.allowed.allowed());
        terminal::print(&format!(
            "{}\n\n",
            strong("Rehearsal: nothing leaves this machine, the state stays as it is.")
        ));
        let commands = &self.global.commands;
        let view = plan_render::PlanView {
            desired,
            prepared,
            refusals: &refusals,
            is_running: false,
            new_state: None,
            commands,
        };
        terminal::print(&plan_render::human(&view));
    }

    fn show_outcome(&self, finished: &Finished<'_>, store: Option<&dyn Store>) -> Result<()> {
        let left = self.second_run_changes(finished.desired, store)?;
        match self.global.format {
            Format::Human => {
                terminal::print(&format!("\n{}\n", strong("Calls made, to emulators of the providers")));
                terminal::print(&render::calls(finished, &self.calls, self.begun));
                terminal::print("\n");
                terminal::print(&render::human(finished, 0, &self.global.commands));
                terminal::print(&format!("{} {}.\n", strong("A second run would find:"), verdict(left)));
            }
            Format::Markdown => {
                terminal::print(&markdown::outcome(finished, Some(&verdict(left)), &self.global.commands));
            }
            Format::Github => {
                terminal::print(&github::outcome(finished, true, self.annotated, &self.global.commands));
            }
            Format::Json => {
                let mut json = render::json(finished, true, &self.global.commands);
                json.set("second_run_changes", left);
                terminal::print_json(&json);
            }
        }
        Ok(())
    }

    fn second_run_changes(&self, desired: &Desired, store: Option<&dyn Store>) -> Result<usize> {
        let now = self.clock.clock.now().wall;
        let again = Selection::default().prepare_all(desired, store, self.accounts, now)?;
        Ok(again.difference.changes.len())
    }
}

fn verdict(left: usize) -> String {
    if left == 0 { "nothing to do".to_owned() } else { format!("{left} still to do") }
}
