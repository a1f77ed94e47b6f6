//! What a run notes of its changes before it sends anything.

use rusqlite::{Transaction, params};

use super::rows::{self, scope_number};
use super::write::{
    Speakers, adopt_entries, delete, has_work, leave_alone, mark_change, note_links, note_manifests, note_new_manifests,
};
use super::{guards, inputs, proof};
use crate::core::changes::Change;
use crate::core::diff::Difference;
use crate::core::model::Model;
use crate::core::recorded::ChangeKind;
use crate::core::time::Timestamp;

/// Marks every change as pending, records adoptions, drops what is forgotten.
pub(super) fn mark(
    transaction: &Transaction<'_>,
    model: &Model,
    difference: &Difference,
    at: Timestamp,
) -> rusqlite::Result<()> {
    // What is due and no work is found by a comparison only.
    let mut is_noted = true;
    let is_any_proof = proof::any(transaction)?;
    for (index, change) in difference.changes.iter().enumerate() {
        let is_admitted = difference.admitted.get(index).copied().unwrap_or_default();
        let is_kept_back = difference.kept_back.binary_search(&index).is_ok();
        if !is_kept_back || is_kept(transaction, model, &change)? {
            if is_any_proof {
                proof::note_change(transaction, &model.provider_key(change.provider), &change)?;
            }
            mark_change(transaction, model, change, (is_admitted, !is_kept_back))?;
        } else {
            is_noted = false;
        }
    }
    guards::note_removals(transaction, model, difference, difference.kept_back.iter().copied())?;
    // Entries that are adopted are new to the state, and so nobody else's.
    adopt_entries(transaction, model, &difference.adopt, (&Speakers::new(model, &[]), at))?;
    proof::note_adopted(transaction, model, &difference.adopt, at)?;
    for (provider, target, owners) in &difference.owners {
        transaction
            .prepare_cached("UPDATE target SET owners = ?4 WHERE provider = ?1 AND scope = ?2 AND target = ?3")?
            .execute(params![provider, scope_number(target.scope), target.text, rows::json_list(owners)])?;
    }
    leave_alone(transaction, &difference.left_alone)?;
    for (provider, target) in difference.forget.iter().chain(&difference.dropped) {
        delete(transaction, provider, target)?;
    }
    let (held, noted): (Vec<_>, Vec<_>) =
        difference.noted.iter().cloned().partition(|known| difference.hold.has(&known.name));
    note_manifests(transaction, model, &noted)?;
    note_links(transaction, &held)?;
    inputs::replace(transaction, difference.inputs.as_ref().filter(|_| is_noted))
}

/// Whether a change that is not sent is kept as work. A removal may be an accident, and a purge that only this run's user asked for
/// ends with it.
fn is_kept(transaction: &Transaction<'_>, model: &Model, change: &Change) -> rusqlite::Result<bool> {
    match change.kind {
        ChangeKind::Removed => Ok(false),
        ChangeKind::Forced | ChangeKind::Stale if change.desired == change.recorded => {
            has_work(transaction, &model.provider_key(change.provider), &change.target)
        }
        ChangeKind::Forced | ChangeKind::Stale | ChangeKind::New | ChangeKind::Changed => Ok(true),
    }
}

/// Marks only what a refused run leaves behind.
pub(super) fn mark_seen(transaction: &Transaction<'_>, model: &Model, difference: &Difference) -> rusqlite::Result<()> {
    let is_any_proof = proof::any(transaction)?;
    for (index, change) in difference.changes.iter().enumerate() {
        if is_kept(transaction, model, &change)? {
            if is_any_proof {
                proof::note_change(transaction, &model.provider_key(change.provider), &change)?;
            }
            mark_change(transaction, model, change, (false, difference.changes.is_admitted(index)))?;
        }
    }
    leave_alone(transaction, &difference.left_alone)?;
    let is_no_work = |&index: &usize| !difference.changes.is_admitted(index);
    guards::note_removals(transaction, model, difference, (0..difference.changes.len()).filter(is_no_work))?;
    // The owner of work must be known: what becomes of the manifest decides what becomes of that.
    note_new_manifests(transaction, model)?;
    note_links(transaction, &difference.noted)?;
    inputs::replace(transaction, None)
}
