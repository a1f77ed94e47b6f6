//! Ids of purges: one purge keeps its id while it is repeated, another one has another.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::Apply;
use crate::core::event::PurgeId;
use crate::core::lane::Batch;
use crate::core::retry::Jitter;

/// Keeps ids apart from the waits that the same seed gives.
const SEED: u64 = 0x7075_7267_6569_6421;

/// Purges that were begun and not accepted, by their content.
pub(super) struct PurgeIds {
    begun: HashMap<u64, String>,
    random: Jitter,
}

impl PurgeIds {
    pub(super) fn seeded(seed: u64) -> Self {
        Self { begun: HashMap::new(), random: Jitter::seeded(seed ^ SEED) }
    }

    pub(super) fn resume(&mut self, begun: impl IntoIterator<Item = PurgeId>) {
        self.begun.extend(begun.into_iter().map(|purge| (purge.content, purge.id)));
    }

    /// The id of the purge with this content: that of the one that was begun, else a new one.
    pub(super) fn of(&mut self, content: u64) -> PurgeId {
        let Self { begun, random } = self;
        let id = begun.entry(content).or_insert_with(|| format!("{:016x}{:016x}", random.next(), random.next()));
        PurgeId { content, id: id.clone() }
    }

    /// It was accepted: the next one with this content is another.
    pub(super) fn done(&mut self, purge: &PurgeId) {
        self.begun.remove(&purge.content);
    }
}

impl Apply<'_> {
    /// Digest of what a call for the batch purges, where, for which content, and for which change to it.
    pub(super) fn content(&self, lane: usize, batch: &Batch) -> u64 {
        let mut hash = DefaultHasher::new();
        let of = &self.lanes[lane];
        let provider = &self.model.providers[of.provider].name;
        (provider, self.endpoint(lane).to_string(), of.operation.name, &batch.directory).hash(&mut hash);
        for &item in &batch.items {
            let (target, desired) = (self.changes.target(item), self.changes.desired(item));
            (target, desired, self.changes.since(item)).hash(&mut hash);
        }
        hash.finish()
    }
}
