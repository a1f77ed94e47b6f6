//! `freshen watch`: stays up, and runs what `apply` runs whenever files change, work is due or time has passed.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::sync::watch;

use super::args::{ApplyArgs, EndingArgs, Global, ListenArgs, LockArgs, SelectionArgs, WaitFor, WatchArgs};
use super::{apply, log, manifests};
use crate::core::duration;
use crate::core::report::Report;
use crate::core::watch::Watch;
use crate::daemon::listener::{self, ListenOptions};
use crate::daemon::{Daemon, Signals, Systemd, WatchOptions, WatchedFiles, WatchedPaths, log_line};
use crate::engine::{Exit, Selection, Stop};
use crate::host::Host;

/// How long a single run waits for another one to end, in milliseconds.
const LOCK_TIMEOUT_MS: u64 = 10_000;

/// Runs the command.
pub(super) async fn run(host: &Host, global: &Global, args: &WatchArgs) -> Result<Exit> {
    if args.once {
        return apply::run(host, global, &as_apply(args)).await;
    }
    check_poll(args)?;
    let _log = log::start(args.log_format, args.log_level).context("no log can be written")?;
    let mut signals = Signals::listen().context("signals cannot be listened for")?;
    let state = global.backend();
    match manifests::new_state(global, &args.manifests.paths) {
        Some((note, true)) => tracing::warn!("{}", log_line(&note)),
        Some((note, false)) => tracing::info!("{}", log_line(&note)),
        None => {}
    }
    let report = Arc::new(watch::channel(Report { commands: global.commands.anywhere(), ..Report::default() }).0);
    let turned = watch::channel(host.clock.now().tick).0;
    let listen = listen_options(&args.listen);
    let token = listener::start(host, Arc::clone(&state), &listen, &report, turned.subscribe()).await?;
    let (files, polling) = WatchedFiles::new(host, Arc::clone(&state), watched_paths(global, args), args.poll);
    let options = options(global, args);
    let daemon = Daemon {
        host,
        options: &options,
        state: &*state,
        files: &files,
        machine: Box::new(Watch::new(args.resync, host.seed)),
        report,
        turned,
        token,
        systemd: Systemd::of(host),
        polling,
    };
    Ok(daemon.run(&mut signals).await)
}

/// Its duration is optional, so that `--poll 30s` would watch a path of that name.
fn check_poll(args: &WatchArgs) -> Result<(), Stop> {
    let is_meant = |path: &str| args.poll.is_some() && duration::parse(path).is_ok() && !Path::new(path).exists();
    match args.manifests.paths.iter().filter_map(|path| path.to_str()).find(|path| is_meant(path)) {
        Some(path) => Err(Stop::bad_input(format!("there is no `{path}`; for a duration write `--poll={path}`"))),
        None => Ok(()),
    }
}

/// The same words for a single run.
fn as_apply(args: &WatchArgs) -> ApplyArgs {
    ApplyArgs {
        manifests: args.manifests.clone(),
        selection: SelectionArgs::default(),
        dry_run: false,
        rehearse: false,
        expect: None,
        no_origin: false,
        wait: WaitFor::Accepted,
        ending: EndingArgs::default(),
        deadline: None,
        timeout: args.timeout,
        audit: args.audit.clone(),
        allowed: args.allowed.clone(),
        lock: LockArgs { lock_timeout: LOCK_TIMEOUT_MS },
    }
}

fn options(global: &Global, args: &WatchArgs) -> WatchOptions<'static> {
    WatchOptions {
        selection: Selection::default(),
        allowed: args.allowed.allowed(),
        timeout_ms: args.timeout,
        grace_ms: args.grace,
        ready_within_ms: args.listen.ready_within,
        audit: args.audit.clone(),
        commands: global.commands.anywhere(),
        namespace: global.namespace.clone(),
        polls: args.poll.is_some(),
        tamper: None,
    }
}

fn listen_options(args: &ListenArgs) -> ListenOptions {
    ListenOptions {
        address: args.listen,
        token_file: args.listen_token_file.clone(),
        hosts: args.listen_host.clone(),
        ready_within_ms: args.ready_within,
    }
}

fn watched_paths(global: &Global, args: &WatchArgs) -> WatchedPaths {
    WatchedPaths {
        manifests: args.manifests.paths.clone(),
        max_targets: args.manifests.limits.max_targets,
        namespace: global.namespace.clone(),
        state_file: global.state.clone(),
        audit: args.audit.clone(),
    }
}
