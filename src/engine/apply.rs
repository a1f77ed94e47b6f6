//! One run by itself, from the files of manifests to its end: `apply`, and its rehearsal.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::Result;

use super::claim::Claim;
use super::inputs::{Extent, FoundManifests, Loaded, Lookup, ManifestsRead, ReadOutcome, find};
use super::pass::{LOOK_UP_MS, OnEvent, Pass, PassEnd, PassEvent};
use super::{Exit, Finished, Prepared, returned_caches};
use crate::host::Host;

/// Follows the reading of manifests.
pub trait ReadObserver {
    /// Reading begins; files of sources that are done are counted in `seen`.
    fn begins(&mut self, seen: Arc<AtomicU64>);

    /// Shows problems of what was read, and has the command go on if there is no error.
    ///
    /// # Errors
    /// Bad input if there is any.
    fn ends(&mut self, found: &FoundManifests<'_>, read: ManifestsRead) -> Result<Loaded>;
}

impl dyn ReadObserver + '_ {
    /// Reads and checks all manifests that were found; `compares`: with all rows of the state, which are read meanwhile.
    ///
    /// # Errors
    /// Bad input if there is any error.
    pub fn read_all(&mut self, host: &Host, found: &FoundManifests<'_>, compares: bool) -> Result<Loaded> {
        let read = found.read_all(host, compares, &mut |seen| self.begins(seen));
        self.ends(found, read)
    }
}

/// Reads no more of the manifests than has to be read, and makes one pass with them.
///
/// # Errors
/// As [`Pass::run`], and bad input.
pub async fn apply(
    pass: &Pass<'_>,
    lookup: Lookup<'_>,
    reader: &mut dyn ReadObserver,
    on_event: &mut OnEvent<'_>,
) -> Result<Exit> {
    // A plan that was reviewed is read as a whole.
    let (opens, is_all) = (pass.options.expect.is_none(), pass.options.selection.is_all());
    let (mut extent, mut held) = (Extent::Changed, None);
    loop {
        let claim = held.take().map_or_else(|| Claim::before_reading(pass.state), Claim::Held);
        let found = find(lookup)?;
        let read =
            match found.read(pass.host, (extent, opens, is_all), &mut |_| Ok(()), &mut |seen| reader.begins(seen))? {
                ReadOutcome::Read(read) => read,
                ReadOutcome::Unchanged(desired, away) => {
                    let patience_ms = pass.options.timeout_ms.min(LOOK_UP_MS);
                    if !returned_caches(pass.host, &desired, away, patience_ms).await.is_empty() {
                        extent = Extent::All;
                        held = claim.held();
                        continue;
                    }
                    let prepared = Prepared::of_unread(&desired);
                    on_event(PassEvent::Finished(&Finished::nothing(&desired, &prepared), None));
                    return Ok(Exit::Done);
                }
            };
        let mut loaded = reader.ends(&found, read)?;
        match pass.run(&mut loaded, claim, None, on_event).await? {
            PassEnd::Ended(exit) => return Ok(exit),
            PassEnd::Cut => return Ok(Exit::NotAllDone),
            PassEnd::ReadAll => extent = Extent::All,
            PassEnd::Overtaken(lock) => held = Some(lock),
        }
    }
}
