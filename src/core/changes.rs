//! The changes of a run in a compact table: a million of them must not be a burden.

use std::collections::HashMap;

use super::arena::{Arena, Offset};
use super::entries::Entries;
use super::model::{Location, Manifest, Model, Priority};
use super::proof_terms::ProofTerms;
use super::recorded::{ChangeKind, Progress, Standing};
use super::target::{ContentHash, Scope, Target};
use super::time::Timestamp;

/// One target whose purge is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Index into the model's providers.
    pub provider: usize,
    /// What to purge.
    pub target: Target,
    /// The hash to record once a purge is accepted; `None` for a removal.
    pub desired: Option<ContentHash>,
    /// The hash recorded now.
    pub recorded: Option<ContentHash>,
    /// Why.
    pub kind: ChangeKind,
    /// Its place in the order.
    pub priority: Priority,
    /// When it was first seen.
    pub since: Timestamp,
    /// What holds it up, from an earlier run.
    pub standing: Standing,
    /// How far it came in earlier runs.
    pub progress: Progress,
    /// It may have been purged before: an earlier run stopped without an outcome.
    pub in_doubt: bool,
    /// Endpoints that accepted a purge for `desired` already.
    pub accepted_at: Vec<String>,
    /// Manifests that list it, or listed it.
    pub owners: Vec<String>,
    /// Where it is listed; `None` for a removal.
    pub place: Option<Location>,
}

/// Stands for a hash that is not there.
const NONE: Offset = Offset::MAX;

/// Changes in order of (provider, target), each known by its index.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// What most changes are about.
    entries: Entries,
    /// All other texts and hashes.
    own: Arena,
    rows: Vec<ChangeRow>,
    commons: Vec<SharedOwners>,
    known: HashMap<SharedOwners, u32>,
}

/// What a change has for itself.
#[derive(Clone, Copy, Debug)]
struct ChangeRow {
    /// Index of an entry or, with [`OWN`], place of an own text, followed by the desired hash if there is one.
    subject: u64,
    recorded: Offset,
    common: u32,
}

/// Marks a subject that is no entry.
const OWN: u64 = 1 << 63;

/// What many changes have in common, kept once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct SharedOwners {
    provider: usize,
    scope: Scope,
    kind: ChangeKind,
    priority: Priority,
    since: Timestamp,
    in_doubt: bool,
    standing: Standing,
    progress: Progress,
    accepted_at: Vec<String>,
    owners: Vec<String>,
    /// Of changes that are no entries.
    has_desired: bool,
    place: Option<Location>,
}

impl Changes {
    /// No changes yet; those of `entries` will share their texts.
    pub fn of(entries: &Entries) -> Self {
        Self { entries: entries.clone(), ..Self::default() }
    }

    /// Adds a change of the entry at index `entry` of those that this was made for.
    pub(super) fn push_listed(&mut self, change: Change, entry: usize) {
        self.add(Change { desired: None, place: None, ..change }, Some(entry));
    }

    /// Adds a change.
    pub fn push(&mut self, change: Change) {
        self.add(change, None);
    }

    fn add(&mut self, change: Change, entry: Option<usize>) {
        let subject = entry.map_or_else(|| self.own_subject(&change), |entry| entry as u64);
        let recorded = change.recorded.as_ref().map_or(NONE, |hash| self.own.push_hash(hash.as_str()));
        let common = self.common(SharedOwners {
            provider: change.provider,
            scope: change.target.scope,
            kind: change.kind,
            priority: change.priority,
            since: change.since,
            in_doubt: change.in_doubt,
            standing: change.standing,
            progress: change.progress,
            accepted_at: change.accepted_at,
            owners: change.owners,
            has_desired: change.desired.is_some(),
            place: change.place,
        });
        self.rows.push(ChangeRow { subject, recorded, common });
    }

    fn own_subject(&mut self, change: &Change) -> u64 {
        let at = self.own.push_text(&change.target.text);
        if let Some(hash) = &change.desired {
            self.own.push_hash(hash.as_str());
        }
        at | OWN
    }

    fn common(&mut self, common: SharedOwners) -> u32 {
        match (self.rows.last(), self.known.get(&common).copied()) {
            (Some(last), _) if self.commons[last.common as usize] == common => last.common,
            (_, Some(known)) => known,
            (_, None) => {
                let number = u32::try_from(self.commons.len()).unwrap_or(u32::MAX);
                self.commons.push(common.clone());
                self.known.insert(common, number);
                number
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The change at `index`, unpacked.
    pub fn get(&self, index: usize) -> Change {
        self.unpack(&self.rows[index])
    }

    /// All changes in order, each unpacked as it comes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Change> + '_ {
        self.rows.iter().map(|row| self.unpack(row))
    }

    /// Index of the provider of the change at `index`.
    pub fn provider(&self, index: usize) -> usize {
        self.common_of(index).provider
    }

    /// How the target at `index` is meant.
    pub fn scope(&self, index: usize) -> Scope {
        self.common_of(index).scope
    }

    /// The target at `index`.
    pub fn target(&self, index: usize) -> Target {
        Target { scope: self.scope(index), text: self.text_of(&self.rows[index]) }
    }

    /// The hash to record once a purge of `index` is accepted; `None` for a removal.
    pub fn desired(&self, index: usize) -> Option<ContentHash> {
        self.desired_of(&self.rows[index])
    }

    /// The hash recorded for the target at `index`.
    pub fn recorded(&self, index: usize) -> Option<ContentHash> {
        let recorded = self.rows[index].recorded;
        (recorded != NONE).then(|| self.own.hash(recorded))
    }

    /// What is asked of the origin and the edges of the change at `index`: as its entry says, or the first of the manifests that
    /// listed it.
    pub fn terms<'m>(&self, index: usize, model: &'m Model) -> Option<&'m ProofTerms> {
        let terms = if let Some(entry) = entry_of(&self.rows[index]) {
            self.entries.terms(entry)
        } else {
            let owners = self.owners(index);
            let listed = |manifest: &&Manifest| owners.contains(&manifest.name);
            model.manifests.iter().filter(listed).find_map(|manifest| manifest.terms)
        };
        model.proof_terms.get(terms?)
    }

    /// Why the target at `index` is to be purged.
    pub fn kind(&self, index: usize) -> ChangeKind {
        self.common_of(index).kind
    }

    /// Place of the change at `index` in the order of purges.
    pub fn priority(&self, index: usize) -> Priority {
        self.common_of(index).priority
    }

    /// When the change at `index` was first seen.
    pub fn since(&self, index: usize) -> Timestamp {
        self.common_of(index).since
    }

    /// What holds the change at `index` up.
    pub fn standing(&self, index: usize) -> &Standing {
        &self.common_of(index).standing
    }

    /// Whether guards let the change at `index` through before, with its present content.
    pub fn is_admitted(&self, index: usize) -> bool {
        self.common_of(index).progress >= Progress::Admitted
    }

    /// Whether the change at `index` failed with its present content.
    pub fn has_failed(&self, index: usize) -> bool {
        let SharedOwners { progress, standing, .. } = self.common_of(index);
        *progress == Progress::Tried && standing.has_ever_failed()
    }

    /// Names of the manifests that list the target at `index`, or listed it last.
    pub fn owners(&self, index: usize) -> &[String] {
        &self.common_of(index).owners
    }

    /// Endpoints that accepted a purge of `index` already.
    pub fn accepted_at(&self, index: usize) -> &[String] {
        &self.common_of(index).accepted_at
    }

    /// Whether the target at `index` may have been purged before.
    pub fn in_doubt(&self, index: usize) -> bool {
        self.common_of(index).in_doubt
    }

    /// Numbers of changes that no run let through yet, apart from those in `left_out`, each in it once.
    pub fn tally(&self, left_out: impl Iterator<Item = usize>) -> Tallies<'_> {
        let mut of_commons = vec![Tally::default(); self.commons.len()];
        for row in &self.rows {
            let tally = &mut of_commons[row.common as usize];
            tally.purges += 1;
            tally.of_recorded += usize::from(row.recorded != NONE);
        }
        for row in left_out.map(|index| &self.rows[index]) {
            let tally = &mut of_commons[row.common as usize];
            tally.purges -= 1;
            tally.of_recorded -= usize::from(row.recorded != NONE);
        }
        let mut tallies = Tallies::default();
        for (common, counted) in self.commons.iter().zip(of_commons) {
            if common.progress >= Progress::Admitted {
                continue;
            }
            tallies.purges += counted.purges;
            for owner in &common.owners {
                tallies.of_manifests.entry(owner).or_default().add(counted);
            }
        }
        tallies
    }

    fn common_of(&self, index: usize) -> &SharedOwners {
        &self.commons[self.rows[index].common as usize]
    }

    fn unpack(&self, row: &ChangeRow) -> Change {
        let common = self.commons[row.common as usize].clone();
        Change {
            provider: common.provider,
            target: Target { scope: common.scope, text: self.text_of(row) },
            desired: self.desired_of(row),
            recorded: (row.recorded != NONE).then(|| self.own.hash(row.recorded)),
            kind: common.kind,
            priority: common.priority,
            since: common.since,
            standing: common.standing,
            progress: common.progress,
            in_doubt: common.in_doubt,
            accepted_at: common.accepted_at,
            owners: common.owners,
            place: entry_of(row).map_or(common.place, |entry| Some(self.entries.place(entry))),
        }
    }

    fn text_of(&self, row: &ChangeRow) -> String {
        match entry_of(row) {
            Some(entry) => self.entries.text(entry).to_string(),
            None => self.own.text(row.subject & !OWN).to_string(),
        }
    }

    fn desired_of(&self, row: &ChangeRow) -> Option<ContentHash> {
        match entry_of(row) {
            Some(entry) => Some(self.entries.hash(entry)),
            None => self.commons[row.common as usize]
                .has_desired
                .then(|| self.own.hash(self.own.after_text(row.subject & !OWN))),
        }
    }
}

fn entry_of(row: &ChangeRow) -> Option<usize> {
    if row.subject & OWN == 0 { usize::try_from(row.subject).ok() } else { None }
}

impl FromIterator<Change> for Changes {
    fn from_iter<I: IntoIterator<Item = Change>>(changes: I) -> Self {
        let mut table = Self::default();
        changes.into_iter().for_each(|change| table.push(change));
        table
    }
}

/// Purges of a manifest's targets that guards count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of them.
    pub purges: usize,
    /// Those of targets that have a recorded hash.
    pub of_recorded: usize,
}

impl Tally {
    pub(super) const fn add(&mut self, other: Self) {
        self.purges += other.purges;
        self.of_recorded += other.of_recorded;
    }
}

/// What guards count.
#[derive(Clone, Debug, Default)]
pub struct Tallies<'a> {
    /// All purges, each once.
    pub purges: usize,
    /// By the manifests that list the targets.
    pub of_manifests: HashMap<&'a str, Tally>,
}

impl Tallies<'_> {
    pub(super) fn of(&self, manifest: &str) -> Tally {
        self.of_manifests.get(manifest).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_out_as_they_went_in() {
        let first = Change {
            provider: 1,
            target: Target::url("https://a.cn/x"),
            desired: Some(ContentHash::from_canonical("rev:1")),
            recorded: None,
            kind: ChangeKind::New,
            priority: Priority::High,
            since: Timestamp::from_unix_ms(5),
            standing: Standing::fresh(),
            progress: Progress::Seen,
            in_doubt: true,
            accepted_at: vec!["http://127.0.0.1/".into()],
            owners: vec!["site".into()],
            place: Some(Location { manifest: 2, line: 9, column: 4 }),
        };
        let removed = Change {
            target: Target::asset_id("f4"),
            desired: None,
            recorded: Some(ContentHash::from_canonical("etag:2")),
            kind: ChangeKind::Removed,
            place: None,
            ..first.clone()
        };
        let all = [first.clone(), removed, first];
        let changes: Changes = all.iter().cloned().collect();
        assert_eq!(changes.iter().collect::<Vec<_>>(), all);
        assert_eq!((changes.get(1).target, changes.commons.len()), (changes.target(1), 2));
    }
}
