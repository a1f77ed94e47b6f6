//! Manifests that a run speaks for, and those that nobody speaks for, as they are met in the state: what they own, what they
//! lose.

use std::collections::{HashMap, HashSet};

use super::{DiffContext, Removals};
use crate::core::model::{Model, OnRemoved};
use crate::core::owners::Unread;
use crate::core::recorded::{KnownManifest, Progress, RecordedRow};

/// Manifests this run speaks for, with what they say about removals and how many targets they have; and those that nobody
/// speaks for.
pub(super) struct Covered<'a> {
    index: HashMap<&'a str, usize>,
    manifests: Vec<CoveredManifest<'a>>,
    /// The one that was found last.
    last: usize,
    /// Trees with something that the copy lists as well.
    copied_trees: HashSet<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Coverage {
    Read,
    SpokenFor,
    Unclaimed,
    Unlocated,
    /// Its tree may have a copy where the manifest of this index is read.
    Copied {
        tree: usize,
        read: usize,
    },
}

impl Coverage {
    /// Whether this run speaks for the manifest.
    const fn speaks(self) -> bool {
        matches!(self, Self::Read | Self::SpokenFor)
    }
}

struct CoveredManifest<'a> {
    name: &'a str,
    coverage: Coverage,
    on_removed: OnRemoved,
    /// Whether it owns anything besides what is about to go.
    stays: bool,
    recorded: usize,
    removed: usize,
    let_through: usize,
    /// The same of all, selected or not.
    whole: (usize, usize, usize),
}

impl<'a> Covered<'a> {
    pub(super) fn new(model: &'a Model, scope: &DiffContext<'a>) -> Self {
        let covered = |name, coverage, on_removed| CoveredManifest {
            name,
            coverage,
            on_removed,
            stays: false,
            recorded: 0,
            removed: 0,
            let_through: 0,
            whole: (0, 0, 0),
        };
        let known = |known: &'a KnownManifest, coverage| covered(known.name.as_str(), coverage, known.on_removed);
        let Unread { spoken_for, unclaimed, unlocated, copies, .. } = scope.unread;
        let spoken_for = spoken_for.iter().map(|manifest| known(manifest, Coverage::SpokenFor));
        let unclaimed = unclaimed.iter().map(|manifest| known(manifest, Coverage::Unclaimed));
        let unlocated = unlocated.iter().map(|manifest| known(manifest, Coverage::Unlocated));
        let copies =
            copies.iter().map(|copy| known(&copy.manifest, Coverage::Copied { tree: copy.tree, read: copy.read }));
        let read = model.manifests.iter();
        let read = read.map(|manifest| covered(manifest.name.as_str(), Coverage::Read, manifest.on_removed));
        let manifests: Vec<_> = spoken_for.chain(unclaimed).chain(unlocated).chain(copies).chain(read).collect();
        let index = manifests.iter().enumerate().map(|(index, manifest)| (manifest.name, index)).collect();
        Self { index, manifests, last: 0, copied_trees: HashSet::new() }
    }

    pub(super) fn forgets(&self, name: &str) -> bool {
        self.index.get(name).is_some_and(|&index| self.manifests[index].on_removed == OnRemoved::Forget)
    }

    fn coverage(&self, name: &str) -> Option<Coverage> {
        self.index.get(name).map(|&index| self.manifests[index].coverage)
    }

    pub(super) fn is_unclaimed(&self, name: &str) -> bool {
        self.coverage(name) == Some(Coverage::Unclaimed)
    }

    /// The one of these to be named, if no run speaks for any: one that may be a copy comes first.
    pub(super) fn voiceless<'r>(&self, owners: &'r [String]) -> Option<&'r String> {
        let is_copy = |owner: &&String| matches!(self.coverage(owner), Some(Coverage::Copied { .. }));
        let speaks = |owner: &String| self.coverage(owner).is_none_or(Coverage::speaks);
        let named = owners.iter().find(is_copy).or(owners.first());
        named.filter(|_| !owners.iter().any(speaks))
    }

    /// Whether a manifest that is to be named is gone, or its tree has a copy for all that is known.
    pub(super) fn is_confirmed(&self, name: &str) -> bool {
        match self.coverage(name) {
            Some(Coverage::Copied { tree, .. }) => self.copied_trees.contains(&tree),
            _ => true,
        }
    }

    fn is_other(&self, name: &str) -> bool {
        self.coverage(name).is_none_or(|coverage| !coverage.speaks())
    }

    /// Owners that this run cannot speak for.
    pub(super) fn others<'r>(&self, owners: &'r [String]) -> impl Iterator<Item = &'r String> {
        owners.iter().filter(|owner| self.is_other(owner))
    }

    /// These own a target after this run as well.
    pub(super) fn keep(&mut self, owners: &[String]) {
        for owner in owners {
            if let Some(&index) = self.index.get(owner.as_str()) {
                self.manifests[index].stays = true;
            }
        }
    }

    /// Those that this run cannot speak for own a target after it as well, which these manifests of the model list.
    pub(super) fn keep_others(&mut self, owners: &[String], listing: &[usize]) {
        for owner in owners {
            if let Some(&index) = self.index.get(owner.as_str()) {
                let CoveredManifest { coverage, stays, .. } = &mut self.manifests[index];
                *stays |= !coverage.speaks();
                match coverage {
                    Coverage::Copied { tree, read } if listing.contains(read) => self.copied_trees.insert(*tree),
                    _ => false,
                };
            }
        }
    }

    /// Manifests that are not read and that own nothing but what is about to go.
    pub(super) fn departed(&self) -> Vec<String> {
        let is_there = |coverage| matches!(coverage, Coverage::Read | Coverage::Copied { .. });
        let departed = self.manifests.iter().filter(|manifest| !is_there(manifest.coverage) && !manifest.stays);
        departed.map(|manifest| manifest.name.to_owned()).collect()
    }

    /// Index of a manifest; most rows are of the same one as the row before.
    fn find(&mut self, name: &str) -> Option<usize> {
        if self.manifests.get(self.last).is_none_or(|last| last.name != name) {
            self.last = *self.index.get(name)?;
        }
        Some(self.last)
    }

    /// Counts a recorded target for the removal guard: always among all, and among those of the run where its provider `counts`,
    /// as one that goes if it is selected. Removals that an earlier run let through are not counted again.
    pub(super) fn count(&mut self, row: RecordedRow<'_>, goes: bool, (counts, is_selected): (bool, bool)) {
        if row.hash.is_none() {
            return;
        }
        let let_through = row.work.is_some_and(|work| work.desired.is_none() && work.progress >= Progress::Admitted);
        for owner in row.owners {
            if let Some(index) = self.find(owner) {
                let manifest = &mut self.manifests[index];
                manifest.recorded += usize::from(counts);
                manifest.removed += usize::from(is_selected && !let_through);
                manifest.let_through += usize::from(is_selected && let_through);
                manifest.whole.0 += 1;
                manifest.whole.1 += usize::from(goes && !let_through);
                manifest.whole.2 += usize::from(goes && let_through);
            }
        }
    }

    pub(super) fn removals(&self) -> Vec<Removals> {
        let counted = self.manifests.iter().filter(|manifest| manifest.coverage.speaks());
        let counted = counted.filter(|manifest| manifest.whole.0 > 0);
        let of = |manifest: &CoveredManifest<'_>| Removals {
            let_through: manifest.let_through,
            whole: manifest.whole,
            forgotten: manifest.on_removed == OnRemoved::Forget,
            ..Removals::new(manifest.name.to_owned(), manifest.recorded, manifest.removed)
        };
        let mut removals: Vec<_> = counted.map(of).collect();
        removals.sort_unstable();
        removals
    }
}
