//! `freshen state`: list, export, import and forget what the state holds.

use anyhow::Result;
use serde_json::json;

use super::args::{Format, Global, StateVerb};
use super::render::{JSON_VERSION, count, status};
use super::terminal;
use crate::core::text_patterns::TextPatterns;
use crate::engine::{self, Exit, Forgotten, Imported};
use crate::host::Host;

/// Runs the command.
pub(super) async fn run(host: &Host, global: &Global, verb: &StateVerb) -> Result<Exit> {
    let state = &*global.backend();
    match verb {
        StateVerb::List { pattern } => list(global, pattern.as_deref())?,
        StateVerb::Export => {
            let store = engine::existing(state)?;
            let (rows, quota) = (store.recorded()?, store.quota_uses()?);
            let lines = rows.iter().map(engine::export_line).chain(quota.iter().map(engine::ledger_line));
            terminal::print_json_lines(lines);
        }
        StateVerb::Import { file, lock } => {
            let imported = engine::import(host, state, file, lock.lock_timeout).await?;
            let Imported { targets, quota } = imported;
            if global.format == Format::Json {
                let json = json!({"version": JSON_VERSION, "command": "state", "imported": targets, "quota": quota});
                terminal::print_json(&json);
            } else {
                let ledger = count(quota, "line");
                let ledger = if quota > 0 { format!(", with {ledger} of the quota ledger") } else { String::new() };
                terminal::print(&format!("{} imported{ledger}.\n", count(targets, "target")));
            }
        }
        StateVerb::Forget { pattern, provider, manifest, lock } => {
            let (provider, manifest, namespace) =
                (provider.as_deref(), manifest.as_deref(), global.namespace.as_deref());
            let which = Forgotten { pattern, provider, namespace, manifest };
            let forgotten = engine::forget(host, state, &which, lock.lock_timeout).await?;
            if global.format == Format::Json {
                let json = json!({"version": JSON_VERSION, "command": "state", "forgotten": forgotten});
                terminal::print_json(&json);
            } else {
                terminal::print(&format!("{} forgotten.\n", count(forgotten, "target")));
            }
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
        terminal::print_json(&json!({
            "version": JSON_VERSION, "command": "state list",
            "targets": rows.iter().map(status::target_json).collect::<serde_json::Value>(),
        }));
    } else {
        terminal::print(&rows.iter().map(|row| status::line(row) + "\n").collect::<String>());
    }
    Ok(())
}
