//! `freshen check`: validates manifests and says what they ask for; with `--online`, what the providers say.

use anyhow::Result;

use super::args::{CheckArgs, Format, Global};
use super::render::{JSON_VERSION, count, github, markdown, online as render};
use super::{diagnostics, manifests, terminal};
use crate::core::model::Model;
use crate::engine::query::Asker;
use crate::engine::{self, Exit};
use crate::host::credentials::CredentialStore;
use crate::host::{Host, Timeouts};
use crate::manifest::Problem;

/// Runs the command.
pub(super) async fn run(host: &Host, global: &Global, args: &CheckArgs) -> Result<Exit> {
    let (files, built) = manifests::examine(host, global, &args.manifests)?;
    let model = built.model.as_ref();
    if global.format == Format::Human {
        manifests::show_problems(&files, &built.diagnostics, &built.hidden);
    }
    let standings = match model.filter(|_| args.online) {
        Some(model) => {
            let credentials = CredentialStore::new(host.env.clone());
            let mut asker = Asker::new(host, model, &credentials, Timeouts::within(engine::QUERY_MS));
            Some(engine::ask_standings(&mut asker, model).await)
        }
        None => None,
    };
    let problems = Problem::of(&files, &built.diagnostics);
    let online = model.zip(standings.as_deref());
    let summary = model.map(summary);
    let exits = standings.iter().flatten().map(|standing| standing.credentials.exit());
    let exit = if model.is_some() { Exit::worst(exits) } else { Exit::BadInput };
    match global.format {
        Format::Human => {
            if let Some(summary) = summary {
                terminal::print(&format!("Valid: {summary}.\n"));
            }
            if let Some((model, standings)) = online {
                terminal::print(&render::human(model, standings));
            }
        }
        Format::Json => terminal::print_json(&serde_json::json!({
            "version": JSON_VERSION,
            "command": "check",
            "valid": model.is_some(),
            "exit": exit.code(),
            "kind": exit.kind(model.is_some()),
            "manifests": files.len(),
            "providers": model.map(|model| model.providers.len()),
            "targets": model.map(|model| model.entries.len()),
            "problems": diagnostics::to_json(&problems),
            "online": online.map(|(model, standings)| render::json(model, standings)),
        })),
        Format::Markdown => {
            let online = online.map(|(model, standings)| plain(&render::human(model, standings)));
            let summary = summary.map(|summary| format!("valid: {summary}"));
            terminal::print(&markdown::checked(summary.as_deref(), &problems, online.as_deref()));
        }
        Format::Github => {
            let summary = summary.map(|summary| github::notice(&format!("valid: {summary}"))).unwrap_or_default();
            let online = online.map(|(model, standings)| github::online(model, standings));
            terminal::print(&(github::problems(&problems).0 + &summary + &online.unwrap_or_default()));
        }
    }
    Ok(exit)
}

fn summary(model: &Model) -> String {
    let numbers = [
        count(model.manifests.len(), "manifest"),
        count(model.providers.len(), "provider"),
        count(model.entries.len(), "target"),
    ];
    numbers.join(", ")
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}
