//! `freshen check`: validates manifests and says what they ask for; with `--online`, what the providers say.

use anyhow::Result;

use super::args::{CheckArgs, Format, Global};
use super::exit::Exit;
use super::render::{JSON_VERSION, count, online as render};
use super::{diagnostics, session, terminal};
use crate::ask::Asker;
use crate::host::credentials::CredentialStore;
use crate::host::{Host, Timeouts};
use crate::run::{self, Credentials, Standing};

/// Runs the command.
pub(super) async fn run(host: &Host, global: &Global, args: &CheckArgs) -> Result<Exit> {
    let (files, built, _) = session::examine(host, &global.state, &args.manifests.paths)?;
    let model = built.model.as_ref();
    if global.format == Format::Human {
        session::show_problems(&files, &built);
    }
    let standings = match model.filter(|_| args.online) {
        Some(model) => {
            let credentials = CredentialStore::new(host.env.clone());
            let mut asker = Asker::new(host, model, &credentials, Timeouts::within(session::QUESTION_MS));
            Some(run::ask_standings(&mut asker, model).await)
        }
        None => None,
    };
    if global.format == Format::Json {
        terminal::print_json(&serde_json::json!({
            "version": JSON_VERSION,
            "command": "check",
            "valid": model.is_some(),
            "manifests": files.len(),
            "providers": model.map(|model| model.providers.len()),
            "targets": model.map(|model| model.entries.len()),
            "problems": diagnostics::to_json(&files, &built.diagnostics),
            "online": model.zip(standings.as_ref()).map(|(model, standings)| render::json(model, standings)),
        }));
    }
    let Some(model) = model else { return Ok(Exit::BadInput) };
    if global.format == Format::Human {
        terminal::print(&format!(
            "Valid: {}, {}, {}.\n",
            count(model.manifests.len(), "manifest"),
            count(model.providers.len(), "provider"),
            count(model.entries.len(), "target"),
        ));
        if let Some(standings) = &standings {
            terminal::print(&render::human(model, standings));
        }
    }
    Ok(exit_of(standings.as_deref().unwrap_or_default()))
}

fn exit_of(standings: &[Standing]) -> Exit {
    Exit::worst(standings.iter().map(|standing| match standing.credentials {
        Credentials::Missing => Exit::BadInput,
        Credentials::Refused => Exit::Credentials,
        Credentials::Unclear => Exit::Failed,
        Credentials::Untried | Credentials::Accepted => Exit::Done,
    }))
}
