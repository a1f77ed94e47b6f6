//! What the state alone knows of a target, where manifests cannot be read.

use anyhow::Result;

use super::{ExplainedTarget, NextStep, RefusedTarget, meant};
use crate::core::command_line::CommandLine;
use crate::core::hold::KnownRefusal;
use crate::core::provider_key::ProviderKey;
use crate::core::recorded::{KnownManifest, Progress};
use crate::engine::status::{paths_of, show_refused};
use crate::state::Backend;

/// What a state knows of the manifests of a target.
#[derive(Clone, Debug, Default)]
pub struct FromState {
    /// Names of those that list it or listed it, and where they were read.
    pub owners: Vec<(String, String)>,
    /// Those of its provider, for a command about them; empty where that are many.
    pub paths: Vec<String>,
}

/// Explains a target as [`explain`](super::explain) does, from the state alone. `None`: there is no state.
///
/// # Errors
/// Bad input for a target that it does not know, and a state that cannot be read.
pub fn explain_from_state(
    state: &dyn Backend,
    given: &str,
    commands: &CommandLine,
) -> Result<Option<Vec<ExplainedTarget<'static>>>> {
    let Some(store) = state.open()? else { return Ok(None) };
    let (mut target, mut recorded, mut purged) =
        (given.to_owned(), store.recorded_of(given)?, store.purged_removals(given)?);
    if recorded.is_empty() && purged.is_empty() {
        target = meant(None, Some(&*store), given, commands)?;
        (recorded, purged) = (store.recorded_of(&target)?, store.purged_removals(&target)?);
    }
    let refused = store.refusals()?;
    show_refused(&mut recorded, &store.seen_removals()?, &refused);
    let manifests = store.manifests()?;
    let mut found: Vec<ExplainedTarget<'static>> = Vec::new();
    for row in recorded {
        let own = manifests.iter().filter(|one| row.owners.contains(&one.name));
        let paths = paths_of(&manifests, ProviderKey::of(&row.provider).namespace);
        let from_state = FromState { owners: own.map(place).collect(), paths };
        // What earlier runs let through is not for guards any more.
        let is_seen = row.work.as_ref().is_some_and(|work| work.progress == Progress::Seen);
        let refusal = is_seen.then(|| refusal_of(&row.owners, &refused)).flatten();
        let (provider, owners) = (row.provider.clone(), row.owners.clone());
        let proof = store.proof_of(&row.provider, &row.target)?;
        found.push(ExplainedTarget {
            from_state: Some(from_state),
            recorded: Some(row),
            refusal,
            proof,
            ..nothing(&target, provider, owners)
        });
    }
    if found.is_empty() {
        let gone = purged.into_iter();
        found = gone
            .map(|purged| {
                let unknown = nothing(&target, purged.provider.clone(), Vec::new());
                ExplainedTarget { purged: Some(purged), ..unknown }
            })
            .collect();
    }
    Ok(Some(found))
}

fn nothing(target: &str, provider: String, owners: Vec<String>) -> ExplainedTarget<'static> {
    ExplainedTarget {
        provider,
        kind: None,
        target: target.to_owned(),
        listed: None,
        recorded: None,
        owners,
        from_state: Some(FromState::default()),
        next: NextStep::unchanged("send nothing (exit 2) with the manifests here, which cannot be read"),
        refusal: None,
        purged: None,
        proof: None,
    }
}

fn place(manifest: &KnownManifest) -> (String, String) {
    (manifest.name.clone(), manifest.found_by())
}

fn refusal_of(owners: &[String], refused: &[KnownRefusal]) -> Option<RefusedTarget> {
    let known = refused.iter().find(|known| known.why_held(owners).is_some())?;
    Some(RefusedTarget { known: known.clone(), is_held: true })
}
