//! What offered commands carry of the arguments that this program was started with: every one that was given, also by a
//! variable that the reader may not have, and that the offered command takes as well.

use std::collections::BTreeMap;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory};

use super::args::Cli;
use crate::core::command_line::{Carried, CarriedOption, CommandLine, Verb};

/// How results look and end, or what is tried without doing it: none of the business of a command that is offered.
const NOT_CARRIED: [&str; 9] =
    ["format", "verbose", "exit_code", "older_than", "dry_run", "rehearse", "deferred_ok", "refresh", "runs"];
/// What narrows a run down.
const SELECTS: [&str; 5] = ["only", "providers", "force", "vanished", "expect"];
/// Manifests.
const PATHS: &str = "paths";

/// What was parsed, for all commands that may be offered.
pub(super) fn of(matches: &ArgMatches) -> CommandLine {
    let mut given = matches;
    while let Some((_, inner)) = given.subcommand() {
        given = inner;
    }
    let mut all = Cli::command();
    all.build();
    let carried = |verb: Verb| {
        let command = verb.words().split(' ').try_fold(&all, |command, word| command.find_subcommand(word));
        (verb, command.map(|command| carried(command, given)).unwrap_or_default())
    };
    CommandLine::new(Verb::ALL.map(carried).into_iter().collect::<BTreeMap<_, _>>())
}

fn carried(command: &Command, given: &ArgMatches) -> Carried {
    let mut carried = Carried::default();
    for argument in command.get_arguments().filter(|argument| is_given(argument, given)) {
        let id = argument.get_id().as_str();
        let values = given.get_raw(id).into_iter().flatten().map(|value| value.to_string_lossy().into_owned());
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
