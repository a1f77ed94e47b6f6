//! `freshen state`: list, export, import and forget what the state holds.

use anyhow::Result;

use super::args::{Format, Global, StateVerb};
use super::render::{JSON_VERSION, count, status};
use super::terminal;
use crate::core::text_patterns::TextPatterns;
use crate::engine::{self, Exit, Forgotten};
use crate::host::Host;

/// Runs the command.
pub(super) async fn run(host: &Host, global: &Global, verb: &StateVerb) -> Result<Exit> {
    let state = &*global.backend();
    match verb {
        StateVerb::List { pattern } => list(global, pattern.as_deref())?,
        StateVerb::Export => {
            terminal::print_json_lines(engine::existing(state)?.recorded()?.iter().map(engine::export_line));
        }
        StateVerb::Import { file, lock } => {
            let imported = engine::import(host, state, file, lock.lock_timeout).await?;
            done(global, "imported", imported);
        }
        StateVerb::Forget { pattern, provider, manifest, lock } => {
            let (provider, manifest, namespace) =
                (provider.as_deref(), manifest.as_deref(), global.namespace.as_deref());
            let which = Forgotten { pattern, provider, namespace, manifest };
            done(global, "forgotten", engine::forget(host, state, &which, lock.lock_timeout).await?);
        }
    }
    Ok(Exit::Done)
}

fn list(global: &Global, pattern: Option<&str>) -> Result<()> {
    let mut rows = engine::existing(&*global.backend())?.recorded()?;
    if let Some(pattern) = pattern {
        let wanted = TextPatterns::new(&[pattern]);
        rows.retain(|row| wanted.is_match(&row.target.text));
    }
    if global.format == Format::Json {
        terminal::print_json(&serde_json::json!({
            "version": JSON_VERSION, "command": "state list",
            "targets": rows.iter().map(status::target_json).collect::<serde_json::Value>(),
        }));
    } else {
        terminal::print(&rows.iter().map(|row| status::line(row) + "\n").collect::<String>());
    }
    Ok(())
}

fn done(global: &Global, what: &str, number: usize) {
    if global.format == Format::Json {
        terminal::print_json(&serde_json::json!({"version": JSON_VERSION, "command": "state", what: number}));
    } else {
        terminal::print(&format!("{} {what}.\n", count(number, "target")));
    }
}
