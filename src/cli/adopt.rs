//! `freshen adopt`: records the manifests' hashes as fresh without purging, and forgets what they list no more.

use anyhow::Result;

use super::apply::RunDisplay;
use super::args::{AdoptArgs, Format, Global};
use super::manifests::{self, ManifestReader};
use super::render::{JSON_VERSION, count};
use super::terminal;
use crate::engine::{self, Adopted, Exit, Selection};
use crate::host::Host;

/// Runs the command.
pub(super) async fn run(host: &Host, global: &Global, args: &AdoptArgs) -> Result<Exit> {
    let state = &*global.backend();
    let lookup = manifests::lookup(global, state, &args.manifests.paths, args.manifests.limits);
    let selection = Selection { only: args.only.clone(), providers: args.providers.clone(), ..Selection::default() };
    let (mut reader, mut display) = (ManifestReader::new(global.format), RunDisplay::new(global));
    let on_event = &mut |event: engine::PassEvent<'_>| display.takes(event);
    let lock_timeout_ms = args.lock.lock_timeout;
    let Adopted { adopted, others, forgotten } =
        engine::adopt(host, lookup, &selection, lock_timeout_ms, &mut reader, on_event, &global.commands).await?;
    if global.format == Format::Json {
        terminal::print_json(&serde_json::json!({
            "version": JSON_VERSION, "command": "adopt", "adopted": adopted, "others": others, "forgotten": forgotten,
        }));
        return Ok(Exit::Done);
    }
    let (adopted, gone) = (count(adopted, "target"), count(forgotten, "target"));
    let gone = if forgotten > 0 { format!("; {gone} no longer listed: forgotten") } else { String::new() };
    terminal::print(&format!(
        "Recorded {adopted} as fresh without purging; {others} were recorded already or left out{gone}.\n"
    ));
    Ok(Exit::Done)
}
