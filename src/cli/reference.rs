//! Commands that print what the program knows about itself: kinds, schema, completions, man page.

use anyhow::Result;
use clap::CommandFactory;

use super::args::{Cli, Format, Global, ProvidersArgs};
use super::render::providers as render;
use super::terminal;
use crate::engine::{Exit, Stop};
use crate::manifest;
use crate::vendor::VENDORS;

/// `freshen providers [KIND]`.
pub(super) fn providers(global: &Global, args: &ProvidersArgs) -> Result<Exit> {
    let kinds = match &args.kind {
        None => VENDORS.all().collect(),
        Some(kind) => {
            let known = || VENDORS.names().join(", ");
            let unknown = || Stop::bad_input(format!("there is no kind `{kind}`; kinds are: {}", known()));
            vec![VENDORS.find(kind).ok_or_else(unknown)?]
        }
    };
    match (global.format, &args.kind) {
        (Format::Json, _) => terminal::print_json(&render::json(&kinds)),
        (_, None) => terminal::print(&render::list(&kinds)),
        (_, Some(_)) => kinds.iter().for_each(|kind| terminal::print(&render::one(*kind))),
    }
    Ok(Exit::Done)
}

/// `freshen schema`.
pub(super) fn schema() -> Exit {
    terminal::print_json(&manifest::schema(VENDORS));
    Exit::Done
}

/// `freshen completions SHELL`.
pub(super) fn completions(shell: clap_complete::Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "freshen", &mut script);
    terminal::print_exactly(&String::from_utf8_lossy(&script));
    Exit::Done
}

/// `freshen man`.
pub(super) fn man() -> Result<Exit> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    for verb in Cli::command().get_subcommands().filter(|verb| verb.get_name() != "help") {
        let title = format!("freshen-{}", verb.get_name());
        clap_mangen::Man::new(verb.clone().display_name(&title)).title(title).render(&mut page)?;
    }
    terminal::print_exactly(&String::from_utf8_lossy(&page));
    Ok(Exit::Done)
}
