//! The recovery file: what a run purged whose state went to another run meanwhile.

use crate::core::recorded::Recorded;
use crate::core::time::Timestamp;
use crate::engine::{Finished, export_line};
use crate::state::{LockedState, StateError};

/// Where the state belongs to another run now: keeps what this one achieved beside it (R3).
pub(super) fn write(finished: &Finished<'_>, lock: &dyn LockedState, at: Timestamp) -> Option<Result<String, String>> {
    let (StateError::Replaced { .. } | StateError::Overtaken { .. }) = finished.outcome.state_error.as_ref()? else {
        return None;
    };
    let line = |index: usize| {
        let change = finished.prepared.difference.changes.get(index);
        let row = Recorded {
            provider: finished.desired.model.provider_key(change.provider),
            target: change.target,
            owners: change.owners,
            hash: change.desired,
            left_alone: false,
            recorded_at: Some(at),
            task_id: None,
            work: None,
        };
        export_line(&row).to_string() + "\n"
    };
    let text: String = finished.accepted().map(line).collect();
    let name = format!("{}-{}", at.utc_basic(), std::process::id());
    let written = lock.write_recovery_file(&name, &text).map_err(|error| error.to_string());
    Some(written.map(|path| {
        format!("what this run purged is in `{path}`; run again: what the state does not hold is sent again")
    }))
}
