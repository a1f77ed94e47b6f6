//! The command line: arguments, one file a verb, results in `render`. How a run is made is in `src/engine`.

mod adopt;
mod apply;
pub mod args;
mod check;
mod command_line;
pub mod diagnostics;
mod explain;
mod log;
mod manifests;
mod plan;
mod progress;
mod reference;
mod rehearsal;
mod render;
mod scan;
mod state;
mod status;
mod terminal;
mod verify;
mod watch;

use std::path::Path;

use clap::{CommandFactory, FromArgMatches};

use crate::engine::{Exit, Stop, audit, exit_of};
use crate::host::credentials::CredentialError;
use crate::host::env::SystemEnv;
use crate::host::{Env, Host, interrupt, own_files};
use crate::state::StateError;
use args::{Cli, Format, Verb};

/// Reads the command line, runs the verb and returns the exit code. Results go to standard output, all else to
/// standard error.
pub async fn run(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> u8 {
    interrupt::outlive_size_limit();
    let exit = match parse(arguments) {
        Ok(cli) => run_verb(&cli).await,
        Err(error) if error.use_stderr() => {
            terminal::tell(&error.render().ansi().to_string());
            Exit::BadInput
        }
        // `--help` and `--version` come as errors.
        Err(help) => {
            terminal::print(&help.render().ansi().to_string());
            Exit::Done
        }
    };
    let unwritten = terminal::failure().map(|cause| {
        terminal::tell(&format!("error: the result could not be written to standard output: {cause}\n"));
        Exit::Failed
    });
    Exit::worst(unwritten.into_iter().chain([exit])).code()
}

/// Reads the command line. A variable that is set to nothing counts as unset: CI systems set those of which they know no value.
fn parse(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Cli, clap::Error> {
    fn without_empty(command: clap::Command) -> clap::Command {
        let is_empty =
            |name: &std::ffi::OsStr| name.to_str().and_then(|name| SystemEnv.var(name)).as_deref() == Some("");
        let without = |argument: clap::Arg| {
            if argument.get_env().is_some_and(is_empty) { argument.env(None::<&str>) } else { argument }
        };
        command.mut_args(without).mut_subcommands(without_empty)
    }
    let matches = without_empty(Cli::command()).try_get_matches_from(arguments)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    cli.global.commands = command_line::of(&matches);
    Ok(cli)
}

async fn run_verb(cli: &Cli) -> Exit {
    let Cli { global, verb, .. } = cli;
    let checked = verb.check_format(global.format).and_then(|()| verb.check_state(&global.state));
    let checked = checked.and_then(|()| verb.check_outputs(&global.state));
    let ended = match checked {
        Ok(()) => dispatch(&Host::system(), cli).await,
        Err(stop) => Err(stop.into()),
    };
    match ended {
        Ok(exit) => exit,
        Err(error) => {
            let exit = exit_of(&error);
            let message = error
                .downcast_ref::<StateError>()
                .map_or_else(|| format!("{error:#}"), |state| state.with_way_on(&global.commands));
            let problems = error.downcast_ref::<Stop>().and_then(|stop| stop.problems.as_deref());
            match cli.global.format {
                Format::Human => {}
                Format::Json => terminal::print_json(&serde_json::json!({
                    "version": render::JSON_VERSION, "exit": exit.code(), "error": message,
                    "kind": exit.kind(error.downcast_ref::<CredentialError>().is_some()),
                    "problems": problems.map(diagnostics::to_json),
                })),
                Format::Markdown => terminal::print(&render::markdown::failure(exit, &message, problems)),
                Format::Github => terminal::print(&render::github::failure(&message, problems)),
            }
            terminal::tell(&format!("error: {message}\n"));
            exit
        }
    }
}

impl Verb {
    const fn has_state(&self) -> bool {
        !matches!(self, Self::Providers(_) | Self::Schema | Self::Completions { .. } | Self::Man)
    }

    /// # Errors
    /// Bad usage where what is printed or logged would land in the state, or in a manifest: it would be lost, or do harm.
    fn check_outputs(&self, state: &Path) -> Result<(), Stop> {
        if let Some(stream) = own_files::printed_to_state(state).filter(|_| self.has_state()) {
            let state = state.display();
            return Err(Stop::bad_input(format!(
                "standard {stream} goes to a file of the state `{state}`; write it elsewhere"
            )));
        }
        let (audit, manifests) = match self {
            Self::Apply(args) => (&args.audit, &args.manifests),
            Self::Watch(args) => (&args.audit, &args.manifests),
            _ => return Ok(()),
        };
        audit.as_ref().map_or(Ok(()), |audit| audit::check_place(audit, state, &manifests.paths))
    }

    /// # Errors
    /// Bad usage for the address of a store that is no file: a path like it would make a folder that is called as the scheme.
    fn check_state(&self, state: &Path) -> Result<(), Stop> {
        let scheme = state.to_str().and_then(|text| text.split_once(":/")).map(|(scheme, _)| scheme);
        let is_scheme = |text: &&str| {
            text.starts_with(|first: char| first.is_ascii_alphabetic())
                && text.chars().all(|other| other.is_ascii_alphanumeric() || "+-.".contains(other))
        };
        // The rest of an address may hold a password.
        match scheme.filter(is_scheme).filter(|_| self.has_state()) {
            Some(scheme) => Err(Stop::bad_input(format!(
                "`--state {scheme}:…` is an address, and a state can only be a file; for a path of that name write `./{scheme}:…`"
            ))),
            None => Ok(()),
        }
    }

    /// # Errors
    /// Bad usage for a form that the command does not have.
    fn check_format(&self, format: Format) -> Result<(), Stop> {
        let is_for_reviews = matches!(self, Self::Plan(_) | Self::Apply(_) | Self::Check(_));
        if is_for_reviews || matches!(format, Format::Human | Format::Json) {
            return Ok(());
        }
        Err(Stop::bad_input(
            "this command has the formats `human` and `json`; `markdown` and `github` are for `plan`, `apply` and `check`",
        ))
    }
}

async fn dispatch(host: &Host, cli: &Cli) -> anyhow::Result<Exit> {
    let global = &cli.global;
    match &cli.verb {
        Verb::Plan(args) => plan::run(host, global, args).await,
        Verb::Apply(args) if args.dry_run => plan::run_dry(host, global, args).await,
        Verb::Apply(args) if args.rehearse => rehearsal::run(host, global, args).await,
        Verb::Apply(args) => apply::run(host, global, args).await,
        Verb::Watch(args) => watch::run(host, global, args).await,
        Verb::Verify(args) => verify::run(host, global, args).await,
        Verb::Adopt(args) => adopt::run(host, global, args).await,
        Verb::Check(args) => check::run(host, global, args).await,
        Verb::Status(args) => status::run(host, global, args).await,
        Verb::Explain(args) => explain::run(host, global, args).await,
        Verb::State(verb) => state::run(host, global, verb).await,
        Verb::Scan(args) => scan::run(host, global, args).await,
        Verb::Providers(args) => reference::providers(global, args),
        Verb::Schema => Ok(reference::schema()),
        Verb::Completions { shell } => Ok(reference::completions(*shell)),
        Verb::Man => reference::man(),
    }
}
