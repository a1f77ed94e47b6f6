//! What was known without a namespace comes into that of the first run that speaks for it.

use super::Desired;
use crate::core::owners::{self, Newcomers};
use crate::state::{Backend, StateError, Store};

/// What may come into the namespace of these manifests.
fn newcomers(desired: &Desired, store: &dyn Store) -> Result<Option<Newcomers>, StateError> {
    let Desired { model, reach, .. } = desired;
    if reach.namespace.is_none() {
        return Ok(None);
    }
    let known = store.manifests()?;
    if known.iter().all(|manifest| manifest.namespace.is_some()) {
        return Ok(None);
    }
    let unread = owners::unread(&known, &model.manifests, reach);
    Ok(owners::newcomers(&known, &unread, reach))
}

/// Brings it in; whether there was anything.
///
/// # Errors
/// A state that cannot be read or written.
pub(super) fn enter(desired: &Desired, store: &mut dyn Store) -> Result<bool, StateError> {
    let newcomers = newcomers(desired, store)?;
    newcomers.map_or(Ok(false), |newcomers| store.enter_namespace(&desired.model, &newcomers))
}

/// The state as a run will find it once that has come in. It is left as it is.
///
/// # Errors
/// A state that cannot be read.
pub(super) fn seen_within(
    desired: &Desired,
    state: &dyn Backend,
    store: Option<Box<dyn Store>>,
) -> Result<Option<Box<dyn Store>>, StateError> {
    let Some(store) = store else { return Ok(None) };
    let Some(newcomers) = newcomers(desired, &*store)? else { return Ok(Some(store)) };
    let mut copy = state.scratch("copy")?;
    copy.enter_namespace(&desired.model, &newcomers)?;
    Ok(Some(copy))
}
