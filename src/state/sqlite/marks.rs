//! What a run notes of its changes before it sends anything.

use rusqlite::{Transaction, params};

use super::inputs;
use super::rows::{self, scope_number};
use super::write::{
    Speakers, adopt_entries, delete, has_work, leave_alone, mark_change, note_links, note_manifests, note_new_manifests,
};
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
    for (index, change) in difference.changes.iter().enumerate() {
        let is_admitted = difference.admitted.get(index).copied().unwrap_or_default();
        mark_change(transaction, model, change, is_admitted)?;
    }
    // Entries that are adopted are new to the state, and so nobody else's.
    adopt_entries(transaction, model, &difference.adopt, (&Speakers::new(model, &[]), at))?;
    for (provider, target, owners) in &difference.owners {
        transaction
            .prepare_cached("UPDATE target SET owners = ?4 WHERE provider = ?1 AND scope = ?2 AND target = ?3")?
            .execute(params![provider, scope_number(target.scope), target.text, rows::json_list(owners)])?;
    }
    leave_alone(transaction, &difference.left_alone)?;
    for (provider, target) in difference.forget.iter().chain(&difference.dropped) {
        delete(transaction, provider, target)?;
    }
    note_manifests(transaction, model, &difference.noted)?;
    inputs::replace(transaction, difference.inputs.as_ref())
}

/// Marks only what a refused run leaves behind.
pub(super) fn mark_seen(transaction: &Transaction<'_>, model: &Model, difference: &Difference) -> rusqlite::Result<()> {
    for change in difference.changes.iter() {
        // A removal may be an accident, and a purge that only this run's user asked for ends with it.
        let is_seen = match change.kind {
            ChangeKind::Removed => false,
            ChangeKind::Forced if change.desired == change.recorded => {
                has_work(transaction, &model.provider_key(change.provider), &change.target)?
            }
            ChangeKind::Forced | ChangeKind::New | ChangeKind::Changed => true,
        };
        if is_seen {
            mark_change(transaction, model, change, false)?;
        }
    }
    leave_alone(transaction, &difference.left_alone)?;
    // The owner of work must be known: what becomes of the manifest decides what becomes of that.
    note_new_manifests(transaction, model)?;
    note_links(transaction, &difference.noted)?;
    inputs::replace(transaction, None)
}
