//! Changes that wait for their purge (W4, L2): each is made in time, unless faults that were put there stand in its way.
//!
//! What the program believes of a provider is no excuse.

use std::collections::BTreeMap;

use crate::vendors::Key;

/// A change is read, and the run before it has ended, within this time, whatever goes wrong at others: debounce, patience, grace,
/// and a program that knows credentials.
const READ: u64 = 60_000;
/// It is purged within this time for each target that there is: the slowest vendor, one call after the other.
const PURGED: u64 = 4_000;
/// What is tried again waits for the run under way, in which another provider may ask for waits.
const RUN: u64 = 540_000;

/// What was promised.
pub(crate) struct Promises {
    /// How long the purge of a change may take.
    prompt: u64,
    of: BTreeMap<Key, Promise>,
    /// When something that concerns all went wrong last.
    trouble: u64,
}

/// A target that changed and waits.
#[derive(Clone, Copy)]
pub(crate) struct Promise {
    /// A purge after this is what it waits for.
    pub(crate) since: u64,
    /// When it could be known.
    known: u64,
}

impl Promises {
    /// Nothing yet, in a world of so many targets.
    pub(crate) const fn among(targets: usize) -> Self {
        Self { prompt: READ + PURGED * targets as u64, of: BTreeMap::new(), trouble: 0 }
    }

    /// A target changes, and its files show it.
    pub(crate) fn make(&mut self, key: Key, now: u64) {
        let promise = self.of.entry(key).or_insert(Promise { since: now, known: now });
        promise.known = promise.known.min(now);
    }

    /// A target changes, and this is found at `known`.
    pub(crate) fn make_later(&mut self, key: Key, now: u64, known: u64) {
        let promise = self.of.entry(key).or_insert(Promise { since: now, known });
        promise.known = promise.known.max(known);
    }

    pub(crate) fn targets(&self) -> Vec<Key> {
        self.of.keys().copied().collect()
    }

    /// What this target waits for is done.
    pub(crate) fn fulfil(&mut self, key: Key) {
        self.of.remove(&key);
    }

    /// Something that concerns all goes wrong now.
    pub(crate) fn excuse(&mut self, now: u64) {
        self.trouble = now;
    }

    /// When this must have come true; `rests`: until when each provider may be left in peace.
    fn due(&self, key: Key, promise: Promise, rests: &BTreeMap<usize, u64>) -> u64 {
        let tried_again = rests.get(&key.0).map_or(0, |rest| rest + RUN);
        promise.known.max(tried_again).max(self.trouble) + self.prompt
    }

    /// When the first of it must have come true.
    pub(crate) fn next(&self, rests: &BTreeMap<usize, u64>) -> u64 {
        self.of.iter().map(|(key, promise)| self.due(*key, *promise, rests)).min().unwrap_or(u64::MAX)
    }

    /// What must have come true by now; it is kept no longer.
    pub(crate) fn take(&mut self, now: u64, rests: &BTreeMap<usize, u64>) -> Vec<(Key, Promise)> {
        let promises = self.of.iter().map(|(key, promise)| (*key, *promise));
        let due: Vec<_> = promises.filter(|(key, promise)| self.due(*key, *promise, rests) <= now).collect();
        for (key, _) in &due {
            self.fulfil(*key);
        }
        due
    }
}
