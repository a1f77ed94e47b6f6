//! One run by itself, from the files of manifests to its end: `apply`, and its rehearsal.

use anyhow::Result;

use super::claim::Claim;
use super::inputs::{Extent, FoundManifests, Loaded, Lookup, ManifestsRead, OnSources, ReadOutcome, find};
use super::pass::{LOOK_UP_MS, OnEvent, Pass, PassEnd, PassEvent};
use super::{Exit, Finished, Prepared, returned_caches};

/// Shows problems of manifests that were read, and has the run go on if there is no error.
pub type OnRead<'r> = dyn FnMut(&FoundManifests<'_>, ManifestsRead) -> Result<Loaded> + 'r;

/// Reads no more of the manifests than has to be read, and makes one pass with them.
///
/// # Errors
/// As [`Pass::run`], and bad input.
pub async fn apply(
    pass: &Pass<'_>,
    lookup: Lookup<'_>,
    (on_sources, on_read): (&mut OnSources<'_>, &mut OnRead<'_>),
    on_event: &mut OnEvent<'_>,
) -> Result<Exit> {
    // A plan that was reviewed is read as a whole.
    let (opens, is_all) = (pass.options.expect.is_none(), pass.options.selection.is_all());
    let (mut extent, mut held) = (Extent::Changed, None);
    loop {
        let claim = held.take().map_or_else(|| Claim::before_reading(pass.state), Claim::Held);
        let found = find(lookup)?;
        let read = match found.read(pass.host, (extent, opens, is_all), &mut |_| Ok(()), on_sources)? {
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
        let mut loaded = on_read(&found, read)?;
        match pass.run(&mut loaded, claim, None, on_event).await? {
            PassEnd::Ended(exit) => return Ok(exit),
            PassEnd::Cut => return Ok(Exit::NotAllDone),
            PassEnd::ReadAll => extent = Extent::All,
            PassEnd::Overtaken(lock) => held = Some(lock),
        }
    }
}
