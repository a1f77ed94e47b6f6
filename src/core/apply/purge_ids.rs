//! Ids of purges: one purge keeps its id while it is repeated, another one has another.

use std::collections::HashMap;

use super::Apply;
use crate::core::event::PurgeId;
use crate::core::lane::Batch;
use crate::core::retry::Jitter;
use crate::core::target::ContentHash;

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
        let of = &self.lanes[lane];
        let mut content = PurgeDigest::default();
        content.text(&self.model.provider_key(of.provider));
        content.text(&self.endpoint(lane).to_string());
        content.text(of.operation.name);
        content.maybe(batch.directory.as_ref().map(|directory| directory.text.as_str()));
        for &item in &batch.items {
            let target = self.changes.target(item);
            content.text(target.scope.word());
            content.text(&target.text);
            content.maybe(self.changes.desired(item).as_ref().map(ContentHash::as_str));
            content.number(self.changes.since(item).unix_ms().cast_unsigned());
        }
        content.end()
    }
}

/// A digest that is the same in each version of the program: it is kept in the state.
#[derive(Default)]
struct PurgeDigest(blake3::Hasher);

impl PurgeDigest {
    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text.as_bytes());
    }

    fn maybe(&mut self, text: Option<&str>) {
        self.number(u64::from(text.is_some()));
        self.text(text.unwrap_or_default());
    }

    fn end(self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0.finalize().as_bytes()[..8]);
        u64::from_le_bytes(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_a_purge_is_the_same_in_each_build_and_keeps_parts_apart() {
        let digest = |parts: &[Option<&str>]| {
            let mut content = PurgeDigest::default();
            for part in parts {
                content.maybe(*part);
            }
            content.end()
        };
        assert_eq!(digest(&[Some("own"), Some("https://a.example/")]), 17_146_429_768_499_229_157);
        let all = [
            &[Some("ab"), Some("c")][..],
            &[Some("a"), Some("bc")],
            &[Some("abc"), None],
            &[None, Some("abc")],
            &[Some("abc"), Some("")],
        ];
        let distinct: std::collections::BTreeSet<u64> = all.iter().map(|parts| digest(parts)).collect();
        assert_eq!(distinct.len(), all.len());
    }
}
