//! `freshen check`: validates manifests and says what they ask for.

use anyhow::Result;

use super::args::{Format, Global, Manifests};
use super::exit::Exit;
use super::render::{JSON_VERSION, count};
use super::{diagnostics, session, terminal};

/// Runs the command.
pub(super) fn run(global: &Global, args: &Manifests) -> Result<Exit> {
    let (files, built) = session::examine(&args.paths)?;
    let model = built.model.as_ref();
    match (global.format, model) {
        (Format::Json, _) => terminal::print_json(&serde_json::json!({
            "version": JSON_VERSION,
            "command": "check",
            "valid": model.is_some(),
            "manifests": files.len(),
            "providers": model.map(|model| model.providers.len()),
            "targets": model.map(|model| model.entries.len()),
            "problems": diagnostics::to_json(&files, &built.diagnostics),
        })),
        (Format::Human, _) => session::show_problems(&files, &built),
    }
    let Some(model) = model else { return Ok(Exit::BadInput) };
    if global.format == Format::Human {
        terminal::print(&format!(
            "Valid: {}, {}, {}.\n",
            count(model.manifests.len(), "manifest"),
            count(model.providers.len(), "provider"),
            count(model.entries.len(), "target"),
        ));
    }
    Ok(Exit::Done)
}
