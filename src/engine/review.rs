//! The plan that an `apply` would run, for those who only look at it.

use anyhow::Result;

use super::apply::ReadObserver;
use super::inputs::{Loaded, Lookup, find};
use super::pass::{OnEvent, PassEvent};
use super::{Desired, Prepared, Selection, accounts, leave_out_refused, namespace};
use crate::core::guard::Allowed;
use crate::host::Host;

/// Reads no more of the manifests than has to be read, and plans.
///
/// # Errors
/// Bad input, and a state that cannot be read.
pub async fn review(
    host: &Host,
    lookup: Lookup<'_>,
    (selection, allowed): (&Selection, Allowed),
    reader: &mut dyn ReadObserver,
    on_event: &mut OnEvent<'_>,
) -> Result<(Desired, Prepared)> {
    let found = find(lookup)?;
    let mut store = lookup.own.backend.open()?;
    let noted = found.noted(store.as_deref(), selection.is_all())?;
    if let Some(desired) = found.unchanged(noted.as_ref()) {
        let prepared = Prepared::of_unread(&desired);
        return Ok((desired, prepared));
    }
    let read = found.read_since(host, noted, &mut |seen| reader.begins(seen));
    let mut loaded = reader.ends(&found, read)?;
    loop {
        let Loaded { desired, ahead, .. } = loaded;
        store = namespace::seen_within(&desired, lookup.own.backend, store)?;
        match &store {
            Some(store) => store.compare_with(ahead),
            None => drop(ahead),
        }
        let accounts = accounts(host, &desired.model, store.as_deref()).await?;
        let now = host.clock.now().wall;
        on_event(PassEvent::Planning(true));
        let mut prepared = selection.prepare(&desired, store.as_deref(), &accounts, now)?;
        if let Some(whole) = prepared.take_if(|_| selection.except_refused) {
            prepared = leave_out_refused(&desired, whole, allowed, &mut |hold| {
                selection.prepare_without(&desired, store.as_deref(), (&accounts, now), Some(hold))
            })?;
        }
        on_event(PassEvent::Planning(false));
        if let Some(prepared) = prepared {
            return Ok((desired, prepared));
        }
        loaded = reader.read_all(host, &found, true)?;
    }
}
