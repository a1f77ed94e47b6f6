//! `freshen adopt`: records the manifests' hashes as fresh without purging.

use anyhow::Result;

use super::args::{AdoptArgs, Format, Global};
use super::exit::Exit;
use super::progress::ProgressMeter;
use super::render::{JSON_VERSION, count};
use super::{manifests, terminal};
use crate::core::changes::Changes;
use crate::core::guard::{self, Refusal};
use crate::core::model::Model;
use crate::core::owners::Unread;
use crate::core::recorded::KnownManifest;
use crate::engine::inputs::{Loaded, find};
use crate::engine::selection::{known_providers, patterns};
use crate::engine::stat_caches;
use crate::engine::{self, Claim, Claimed, Desired, Reason, Selection, Stop};
use crate::host::Host;
use crate::state::{LockedState, Store};

/// Runs the command.
pub(super) async fn run(host: &Host, global: &Global, args: &AdoptArgs) -> Result<Exit> {
    let (lock, Loaded { desired, caches, ahead }) = read(host, global, args).await?;
    let model = &desired.model;
    let only = patterns(&args.only)?;
    let selection = Selection { only: args.only.clone(), providers: args.providers.clone(), ..Selection::default() };
    selection
        .unmatched(model, &Changes::default())?
        .iter()
        .for_each(|warning| terminal::tell(&format!("warning: {warning}\n")));
    let mut store = engine::open_or_create(host, &*lock)?;
    if let Err(note) = stat_caches::keep(&mut *store, caches) {
        terminal::tell(&format!("note: {note}\n"));
    }
    store.compare_with(ahead);
    let unread = engine::unread(&desired, &*store)?;
    let namespaces = unread.namespaces.clone();
    refuse((!namespaces.is_empty()).then_some(Refusal::Namespace { namespaces }))?;
    refuse_elsewhere(host, &desired, &*store, &unread).await?;
    let spoken_for = &unread.spoken_for;
    let mut is_fresh = vec![false; model.entries.len()];
    store.scan(&mut |row| {
        let provider = model.provider_index(row.provider);
        let entry = provider.and_then(|provider| model.entries.find(provider, row.scope, row.text));
        if let (Some(entry), Some(hash), None) = (entry, row.valid_hash(), row.work) {
            is_fresh[entry] = model.entries.is_hash(entry, hash) && has_owners((model, spoken_for), entry, row.owners);
        }
    })?;
    let is_selected = |index: usize| {
        let name = &model.providers[model.entries.provider(index)].name;
        (args.only.is_empty() || only.is_match(&model.entries.get(index).target.text))
            && (args.providers.is_empty() || args.providers.contains(name))
    };
    let selected: Vec<usize> =
        (0..model.entries.len()).filter(|&index| !is_fresh[index] && is_selected(index)).collect();
    let now = host.clock.now().wall;
    store.adopt(model, &selected, &unread, now)?;
    // What was refused stays so with the account that it was refused with.
    let accounts = engine::accounts(host, model, Some(&*store)).await?;
    let planning = ProgressMeter::of_plan();
    let prepared = Selection::default().prepare_all(&desired, Some(&*store), &accounts, now)?;
    drop(planning);
    if let (true, Some(inputs)) = (prepared.is_nothing(), &prepared.difference.inputs) {
        store.note_inputs(inputs)?;
    } else {
        // What was left out was seen all the same.
        store.mark_seen(model, &prepared.difference.changes)?;
    }
    let (adopted, known) = (selected.len(), model.entries.len() - selected.len());
    if global.format == Format::Json {
        terminal::print_json(&serde_json::json!({
            "version": JSON_VERSION, "command": "adopt", "adopted": adopted, "others": known,
        }));
    } else {
        terminal::print(&format!(
            "Recorded {} as fresh without purging; {known} were recorded already or left out.\n",
            count(adopted, "target")
        ));
    }
    Ok(Exit::Done)
}

/// What is adopted takes over what is known of manifests of the same names: the next `apply` would purge what others listed.
///
/// # Errors
/// Exit 5, as `apply` ends with, for manifests that are read in another place and list nothing of what was known of them.
async fn refuse_elsewhere(host: &Host, desired: &Desired, store: &dyn Store, unread: &Unread) -> Result<()> {
    if unread.moved.is_empty() {
        return Ok(());
    }
    let accounts = engine::accounts(host, &desired.model, Some(store)).await?;
    let now = host.clock.now().wall;
    let prepared = Selection::default().prepare_all(desired, Some(store), &accounts, now)?;
    refuse(guard::elsewhere(&desired.model, &prepared.difference))
}

/// # Errors
/// Exit 5 if there is a refusal.
fn refuse(refusal: Option<Refusal>) -> Result<()> {
    let Some(refusal) = refusal else { return Ok(()) };
    let reason = Reason { manifest: None, subject: refusal.subject(), text: refusal.to_string() };
    Err(Stop::refused(vec![reason]).into())
}

/// The manifests as they are while the state is locked, or were when nobody wrote to it since.
async fn read(host: &Host, global: &Global, args: &AdoptArgs) -> Result<(Box<dyn LockedState>, Loaded)> {
    let start = engine::run_start(host);
    let state = &*global.backend();
    let mut claim = Claim::before_reading(state);
    loop {
        let found = find(manifests::lookup(global, state, &args.manifests.paths, args.manifests.limits))?;
        let mut loaded = manifests::load_all(host, &found, global.format, true)?;
        known_providers(&loaded.desired.model, &args.providers)?;
        patterns(&args.only)?;
        if claim.waits(state) {
            // Who runs is about to change what was read ahead.
            loaded.ahead = None;
        }
        match claim.take(host, state, &start, args.lock.lock_timeout).await? {
            Claimed::Current(lock) => return Ok((lock, loaded)),
            Claimed::Overtaken(lock) => {
                drop(loaded.ahead);
                if let Err(note) = stat_caches::keep_at(&*lock, loaded.caches) {
                    terminal::tell(&format!("note: {note}\n"));
                }
                claim = Claim::Held(lock);
            }
        }
    }
}

/// Whether the recorded owners of an entry are those that list it, as far as these manifests go.
fn has_owners((model, spoken_for): (&Model, &[KnownManifest]), entry: usize, owners: &[String]) -> bool {
    let listing = model.entries.manifests(entry);
    let is_listing = |owner: &String| listing.iter().any(|&manifest| model.manifests[manifest].name == *owner);
    let is_read = |owner: &String| model.manifests.iter().any(|manifest| manifest.name == *owner);
    let is_ours = |owner: &String| is_read(owner) || spoken_for.iter().any(|manifest| manifest.name == *owner);
    let found = owners.iter().filter(|owner| is_listing(owner)).count();
    found == listing.len() && (found == owners.len() || owners.iter().all(|owner| is_listing(owner) || !is_ours(owner)))
}
