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
            let (rows, quota, proofs) = (store.recorded()?, store.quota_uses()?, store.proofs()?);
            let lines = rows.iter().map(engine::export_line).chain(quota.iter().map(engine::ledger_line));
            terminal::print_json_lines(lines.chain(proofs.iter().map(engine::proof_line)));
        }
        StateVerb::Import { file, lock } => {
            let imported = engine::import(host, state, file, lock.lock_timeout).await?;
            print_imported(global, imported);
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

fn print_imported(global: &Global, Imported { targets, quota, proofs }: Imported) {
    if global.format == Format::Json {
        terminal::print_json(&json!({
            "version": JSON_VERSION, "command": "state",
            "imported": targets, "quota": quota, "proofs": proofs,
        }));
        return;
    }
    let besides = [(quota, "line of the quota ledger", "lines of the quota ledger"), (proofs, "proof", "proofs")];
    let besides = besides.into_iter().filter(|(number, ..)| *number > 0);
    let besides = besides.map(|(number, one, many)| format!("{number} {}", if number == 1 { one } else { many }));
    let besides = besides.collect::<Vec<_>>().join(" and ");
    let besides = if besides.is_empty() { besides } else { format!(", with {besides}") };
    terminal::print(&format!("{} imported{besides}.\n", count(targets, "target")));
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
