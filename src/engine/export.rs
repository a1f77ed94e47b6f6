//! One row of the state as `state export` writes it: for output, for recovery files and for `state import`.

use serde_json::{Value, json};

use crate::core::recorded::{Recorded, Standing};
use crate::core::target::ContentHash;
use crate::core::time::Timestamp;

/// One target as a JSON object; `state import` reads the same.
pub fn target_json(row: &Recorded) -> Value {
    let work = row.work.as_ref().map(|work| {
        let (reason, until, config) = match &work.standing {
            Standing::Pending { reason } => (reason.clone(), None, None),
            Standing::Deferred { until, reason, config, .. } => {
                (Some(reason.clone()), Some(until.unix_ms()), Some(config.clone()))
            }
            Standing::Rejected { reason, config } => (Some(reason.clone()), None, Some(config.clone())),
        };
        let waits = work.standing.host_waits();
        json!({
            "kind": work.kind.word(),
            "desired": work.desired.as_ref().map(ContentHash::as_str),
            "priority": work.priority.word(),
            "since_ms": work.since.unix_ms(),
            "standing": work.standing.word(),
            "reason": reason,
            "until_ms": until,
            "refused_config": config,
            "progress": work.progress.word(),
            "waits": (waits > 0).then_some(waits),
            "in_doubt": work.in_doubt,
            "may_have_been_purged": work.may_have_been_purged,
            "accepted_at": work.accepted_at,
        })
    });
    json!({
        "provider": row.provider,
        "scope": row.target.scope.word(),
        "target": row.target.text,
        "owners": row.owners,
        "hash": row.hash.as_ref().map(ContentHash::as_str),
        "left_alone": row.left_alone,
        "recorded_at_ms": row.recorded_at.map(Timestamp::unix_ms),
        "task_id": row.task_id,
        "work": work,
    })
}
