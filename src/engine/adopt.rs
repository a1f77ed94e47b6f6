//! Records what manifests list as fresh, without purging.

use anyhow::Result;

use super::apply::ReadObserver;
use super::inputs::{Loaded, Lookup, find};
use super::pass::{OnEvent, PassEvent};
use super::selection::known_providers;
use super::{
    Claim, Claimed, Desired, Located, Prepared, Reason, Selection, Stop, accounts, namespace, open_or_create, refusals,
    run_start, stat_caches, unread,
};
use crate::core::changes::Changes;
use crate::core::command_line::CommandLine;
use crate::core::guard::{self, Allowed, Refusal};
use crate::core::model::Model;
use crate::core::owners::Unread;
use crate::core::recorded::{ChangeKind, KnownManifest};
use crate::core::target::Target;
use crate::core::text_patterns::TextPatterns;
use crate::core::time::Timestamp;
use crate::host::Host;
use crate::state::{LockedState, Store};

/// What was adopted.
pub struct Adopted {
    /// Targets that are recorded from now on.
    pub adopted: usize,
    /// Those that were recorded already or left out.
    pub others: usize,
    /// Those that are not listed any more.
    pub forgotten: usize,
}

/// Adopts what is selected.
///
/// # Errors
/// Bad input, a refusal, and a state that cannot be used.
pub async fn adopt(
    host: &Host,
    lookup: Lookup<'_>,
    selection: &Selection,
    lock_timeout_ms: u64,
    reader: &mut dyn ReadObserver,
    on_event: &mut OnEvent<'_>,
    commands: &CommandLine,
) -> Result<Adopted> {
    let (lock, Loaded { desired, caches, ahead }) =
        read(host, lookup, selection, lock_timeout_ms, reader, on_event).await?;
    let model = &desired.model;
    let only = TextPatterns::new(&selection.only);
    for warning in selection.unmatched(model, &Changes::default()) {
        on_event(PassEvent::Warning(&warning));
    }
    let mut store = open_or_create(host, &*lock)?;
    if let Err(note) = stat_caches::keep(&mut *store, caches) {
        on_event(PassEvent::Note(&note));
    }
    namespace::enter(&desired, &mut *store)?;
    store.compare_with(ahead);
    let unread = unread(&desired, &*store)?;
    let namespaces = unread.namespaces.clone();
    refuse((!namespaces.is_empty()).then_some(Refusal::Namespace { namespaces }), commands)?;
    refuse(elsewhere(host, &desired, &*store, &unread).await?, commands)?;
    let now = host.clock.now().wall;
    note_caches(&desired, &mut *store, now)?;
    let spoken_for = &unread.spoken_for;
    let mut is_fresh = vec![false; model.entries.len()];
    store.scan(&mut |row| {
        let provider = model.index_of_key(row.provider);
        let entry = provider.and_then(|provider| model.entries.find(provider, row.scope, row.text));
        if let (Some(entry), Some(hash), None) = (entry, row.valid_hash(), row.work) {
            is_fresh[entry] = model.entries.is_hash(entry, hash) && has_owners((model, spoken_for), entry, row.owners);
        }
    })?;
    let is_selected = |provider: usize, target: &Target| selection.takes(&only, model, provider, target);
    let is_due = |&index: &usize| {
        !is_fresh[index] && is_selected(model.entries.provider(index), &model.entries.get(index).target)
    };
    let selected: Vec<usize> = (0..model.entries.len()).filter(is_due).collect();
    store.adopt(model, &selected, &unread, now)?;
    // What was refused stays so with the account that it was refused with.
    let accounts = accounts(host, model, Some(&*store)).await?;
    on_event(PassEvent::Planning(true));
    let mut prepared = Selection::default().prepare_all(&desired, Some(&*store), &accounts, now)?;
    let gone = removed(&desired, &prepared, &is_selected);
    if !gone.is_empty() {
        store.forget(&gone)?;
        prepared = Selection::default().prepare_all(&desired, Some(&*store), &accounts, now)?;
    }
    on_event(PassEvent::Planning(false));
    // What was left out was seen all the same.
    let left = refusals::refusals(&desired, &prepared, Allowed::default());
    if prepared.is_nothing() || !left.is_empty() {
        store.mark_seen(model, &prepared.difference)?;
    } else {
        store.mark(model, &prepared.difference, now)?;
    }
    if selection.leaves_nothing_out() {
        let known = refusals::known(&desired, &prepared, &left, (&store.refusals()?, now), &commands.anywhere());
        store.note_refusals(&prepared.difference.covered(model), &known)?;
    }
    if let (true, Some(inputs)) = (prepared.is_nothing(), &prepared.difference.inputs) {
        store.note_inputs(inputs)?;
    }
    let (adopted, forgotten) = (selected.len(), gone.len());
    Ok(Adopted { adopted, others: model.entries.len() - adopted, forgotten })
}

/// Notes which caches are listed, and makes due what those lack that are back: what is not adopted stays due there. Names are not
/// looked up; the next run does.
fn note_caches(desired: &Desired, store: &mut dyn Store, now: Timestamp) -> Result<()> {
    let back = desired.returned(store.caches_away(now)?, &Located::default());
    if !back.is_empty() {
        store.owe_caches(&back, now)?;
    }
    Ok(desired.note_listed(store, now)?)
}

/// What manifests that are read list no more, as far as it is selected: it is fresh as well, and no purge is due for it. What
/// went with its manifest is left to a run, and so is what no manifest owns.
fn removed(
    desired: &Desired,
    prepared: &Prepared,
    is_selected: &dyn Fn(usize, &Target) -> bool,
) -> Vec<(String, Target)> {
    let changes = &prepared.difference.changes;
    let is_read = |owner: &String| desired.model.manifests.iter().any(|manifest| manifest.name == *owner);
    let is_gone = |&index: &usize| {
        changes.kind(index) == ChangeKind::Removed
            && !changes.owners(index).is_empty()
            && changes.owners(index).iter().all(is_read)
            && is_selected(changes.provider(index), &changes.target(index))
    };
    let key = |index| desired.model.provider_key(changes.provider(index));
    (0..changes.len()).filter(is_gone).map(|index| (key(index), changes.target(index))).collect()
}

/// What is adopted takes over what is known of manifests of the same names: the next `apply` would purge what others listed.
/// So it is refused, as `apply` refuses it, for those that are read in another place and list nothing of what was known of them.
///
/// # Errors
/// A state that cannot be read.
async fn elsewhere(host: &Host, desired: &Desired, store: &dyn Store, unread: &Unread) -> Result<Option<Refusal>> {
    if unread.moved.is_empty() {
        return Ok(None);
    }
    let accounts = accounts(host, &desired.model, Some(store)).await?;
    let now = host.clock.now().wall;
    let prepared = Selection::default().prepare_all(desired, Some(store), &accounts, now)?;
    Ok(guard::elsewhere(&desired.model, &prepared.difference))
}

/// # Errors
/// Exit 5 if there is a refusal.
fn refuse(refusal: Option<Refusal>, commands: &CommandLine) -> Result<()> {
    let Some(refusal) = refusal else { return Ok(()) };
    let reason = Reason::of_command(&refusal, commands);
    Err(Stop::refused(vec![reason]).into())
}

/// The manifests as they are while the state is locked, or were when no run wrote to it since.
async fn read(
    host: &Host,
    lookup: Lookup<'_>,
    selection: &Selection,
    lock_timeout_ms: u64,
    reader: &mut dyn ReadObserver,
    on_event: &mut OnEvent<'_>,
) -> Result<(Box<dyn LockedState>, Loaded)> {
    let start = run_start(host);
    let state = lookup.own.backend;
    let mut claim = Claim::before_reading(state);
    loop {
        let found = find(lookup)?;
        let mut loaded = reader.read_all(host, &found, true)?;
        known_providers(&loaded.desired.model, &selection.providers)?;
        if claim.waits(state) {
            // Who runs is about to change what was read ahead.
            loaded.ahead = None;
        }
        match claim.take(host, state, &start, lock_timeout_ms).await? {
            Claimed::Current(lock) => return Ok((lock, loaded)),
            Claimed::Overtaken(lock) => {
                drop(loaded.ahead);
                if let Err(note) = stat_caches::keep_at(&*lock, loaded.caches) {
                    on_event(PassEvent::Note(&note));
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
