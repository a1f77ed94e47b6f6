//! `freshen adopt`: records the manifests' hashes as fresh without purging.

use anyhow::Result;

use super::args::{AdoptArgs, Format, Global};
use super::exit::Exit;
use super::render::{JSON_VERSION, count};
use super::{select, session, terminal};
use crate::host::Host;
use crate::state::Store;

/// Runs the command.
pub(super) async fn run(host: &Host, global: &Global, args: &AdoptArgs) -> Result<Exit> {
    let desired = session::load(&args.manifests.paths)?;
    let model = &desired.model;
    select::known_providers(model, &args.providers)?;
    let only = select::patterns(&args.only)?;
    let start = session::run_start(host);
    let _lock = session::lock(host, &global.state, &start, args.lock.lock_timeout).await?;
    let mut store = session::open_or_create(host, &global.state)?;
    let fresh: std::collections::HashSet<_> = store
        .recorded()?
        .into_iter()
        .filter(|row| row.work.is_none())
        .filter_map(|row| Some((row.provider, row.target, row.hash?)))
        .collect();
    let selected: Vec<usize> = (0..model.entries.len())
        .filter(|&index| {
            let entry = &model.entries[index];
            let name = &model.providers[entry.provider].name;
            (args.only.is_empty() || only.is_match(&entry.target.text))
                && (args.providers.is_empty() || args.providers.contains(name))
                && !fresh.contains(&(name.clone(), entry.target.clone(), entry.hash.clone()))
        })
        .collect();
    store.adopt(model, &selected, host.clock.now().wall)?;
    let (adopted, known) = (selected.len(), model.entries.len() - selected.len());
    match global.format {
        Format::Human => terminal::print(&format!(
            "Recorded {} as fresh without purging; {known} were recorded already or left out.\n",
            count(adopted, "target")
        )),
        Format::Json => terminal::print_json(&serde_json::json!({
            "version": JSON_VERSION, "command": "adopt", "adopted": adopted, "others": known,
        })),
    }
    Ok(Exit::Done)
}
