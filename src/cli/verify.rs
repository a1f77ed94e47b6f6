//! `verify`: probes edges, and shows where they serve something else than what is recorded.

use anyhow::Result;
use serde_json::json;

use super::apply::{self, RunDisplay};
use super::args::{ApplyArgs, EndingArgs, Format, Global, LockArgs, SelectionArgs, VerifyArgs, WaitFor};
use super::render::{self, proof};
use super::terminal;
use crate::engine::prove::{self, Extent, ProofReport, Prover, Repair};
use crate::engine::{Exit, Pass, PassEvent};
use crate::host::credentials::CredentialStore;
use crate::host::{Host, Timeouts, interrupt};

/// Runs the command.
pub(super) async fn run(host: &Host, global: &Global, args: &VerifyArgs) -> Result<Exit> {
    let args_of_apply = as_apply(args);
    let selection = args_of_apply.selection.selection();
    let deadline = args.deadline.map(|ms| host.clock.now().tick.plus_ms(ms));
    let credentials = CredentialStore::new(host.env.clone());
    let state = &*global.backend();
    let options = apply::options(global, &args_of_apply, &selection, deadline);
    let pass = Pass { host, state, credentials: &credentials, options };
    let lookup = apply::lookup(global, state, &args_of_apply, &selection);
    let mut prover = Prover {
        host,
        state,
        selection: &selection,
        deadline,
        timeouts: Timeouts::within(args.timeout),
        stop: interrupt::listen(apply::announce_stop, Exit::Failed.code()),
    };
    let extent = if args.due { Extent::Owed } else { Extent::All };
    let repair = match (args.repair, extent) {
        (true, _) => Repair::Purge(&pass),
        (false, Extent::Owed) => Repair::Mark,
        (false, Extent::All) => Repair::Note,
    };
    let mut display = RunDisplay::new(global);
    let mut report = ProofReport::default();
    let mut progress = |event: PassEvent<'_>| display.accompanies(event);
    let exit = prove::prove(&mut prover, (lookup, extent), repair, &mut progress, &mut report).await?;
    let is_proven = report.is_proven(args.strict);
    let exit = Exit::worst([exit, if is_proven { Exit::Done } else { Exit::NotAllDone }]);
    match global.format {
        Format::Json => terminal::print_json(&json!({
            "version": render::JSON_VERSION,
            "command": "verify",
            "exit": exit.code(),
            "kind": exit.kind(false),
            "proof": proof::json(&report),
        })),
        _ => terminal::print(&proof::human(&report)),
    }
    Ok(exit)
}

/// The same words for the runs that purge again.
fn as_apply(args: &VerifyArgs) -> ApplyArgs {
    let VerifyArgs { manifests, only, providers, timeout, deadline, allowed, lock, .. } = args;
    ApplyArgs {
        manifests: manifests.clone(),
        selection: SelectionArgs { only: only.clone(), providers: providers.clone(), ..SelectionArgs::default() },
        dry_run: false,
        rehearse: false,
        expect: None,
        no_origin: false,
        wait: WaitFor::Accepted,
        ending: EndingArgs::default(),
        deadline: *deadline,
        timeout: *timeout,
        audit: None,
        allowed: allowed.clone(),
        lock: LockArgs { lock_timeout: lock.lock_timeout },
    }
}
