//! What a pass notes beside its changes, and what it mentions of earlier ones.

use anyhow::Result;

use super::{Around, PassEvent};
use crate::engine::{Finished, forget_departed};
use crate::state::Store;

/// Notes manifests that say the same as before in other words, so that the next run need not read them. Where that cannot be
/// written, the next run reads them.
pub(super) fn note_inputs(store: Option<&mut (dyn Store + 'static)>, finished: &Finished<'_>, around: &mut Around<'_>) {
    let Some(store) = store else { return };
    let noted = match (&finished.prepared.difference.inputs, store.inputs()) {
        (Some(inputs), Ok(known)) if known.as_ref() != Some(inputs) => store.note_inputs(inputs),
        (_, Ok(_)) => Ok(()),
        (_, Err(error)) => Err(error),
    };
    if let Err(error) = noted.and_then(|()| forget_departed(store, finished)) {
        around.note(&format!("the next run reads all manifests again: {error}"));
    }
}

/// Mentions a run that was stopped before its end; its lock is free again, and its purges in doubt are due.
pub(super) fn mention_unfinished(store: Option<&dyn Store>, around: &mut Around<'_>) -> Result<()> {
    let last = store.map_or(Ok(Vec::new()), |store| store.runs(1))?;
    if let Some(run) = last.first().filter(|run| run.finished_at.is_none()) {
        around.event(PassEvent::Unfinished(run.started_at));
    }
    Ok(())
}
