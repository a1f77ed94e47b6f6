//! What offered commands carry of the arguments that this program was started with: every one that was given, also by a
//! variable that the reader may not have, and that the offered command takes as well.

use std::collections::BTreeMap;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory};

use super::args::Cli;
use crate::core::command_line::{Carried, CarriedOption, CommandLine, Verb};
use crate::host::nearby;

/// How results look and end, or what is tried without doing it: none of the business of a command that is offered.
const NOT_CARRIED: [&str; 9] =
    ["format", "verbose", "exit_code", "older_than", "dry_run", "rehearse", "deferred_ok", "refresh", "runs"];
/// What narrows a run down.
const SELECTS: [&str; 5] = ["only", "providers", "force", "vanished", "expect"];
/// Manifests.
const PATHS: &str = "paths";
/// Options whose value is a path.
const FILES: [&str; 3] = ["state", "audit", "listen_token_file"];

/// What was parsed, for all commands that may be offered.
pub(super) fn of(matches: &ArgMatches) -> CommandLine {
    let mut given = matches;
    while let Some((_, inner)) = given.subcommand() {
        given = inner;
    }
    let mut all = Cli::command();
    all.build();
    let carried_in = |folder: Option<&str>| {
        let carried = |verb: Verb| {
            let command = verb.words().split(' ').try_fold(&all, |command, word| command.find_subcommand(word));
            (verb, command.map(|command| carried(command, given, folder)).unwrap_or_default())
        };
        Verb::ALL.map(carried).into_iter().collect::<BTreeMap<_, _>>()
    };
    CommandLine::new(carried_in(None), carried_in(Some(&nearby::working_directory())))
}

/// `folder`: the one that paths are written from, where the command is for another one; then they are carried also if they are
/// the default.
fn carried(command: &Command, given: &ArgMatches, folder: Option<&str>) -> Carried {
    let mut carried = Carried::default();
    let is_path = |id: &str| id == PATHS || FILES.contains(&id);
    let is_carried = |argument: &&Arg| {
        let id = argument.get_id().as_str();
        is_given(argument, given) || (folder.is_some() && is_path(id) && given.try_contains_id(id).unwrap_or(false))
    };
    for argument in command.get_arguments().filter(is_carried) {
        let id = argument.get_id().as_str();
        let values = given.get_raw(id).into_iter().flatten().map(|value| value.to_string_lossy().into_owned());
        let values = values.map(|value| match folder {
            Some(folder) if is_path(id) => Path::new(folder).join(value).to_string_lossy().into_owned(),
            _ => value,
        });
        match argument.get_long() {
            Some(long) if !NOT_CARRIED.contains(&id) => {
                let (name, selects) = (format!("--{long}"), SELECTS.contains(&id));
                let option = |value| CarriedOption { name: name.clone(), value, selects };
                if argument.get_action().takes_values() {
                    carried.options.extend(values.map(|value| option(Some(value))));
                } else {
                    carried.options.push(option(None));
                }
            }
            None if id == PATHS => carried.paths.extend(values),
            _ => {}
        }
    }
    carried
}

fn is_given(argument: &Arg, given: &ArgMatches) -> bool {
    let id = argument.get_id().as_str();
    let is_known = given.try_contains_id(id).unwrap_or(false);
    is_known && matches!(given.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}
