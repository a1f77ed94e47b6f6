//! Desired entries against recorded ones: the changes, each with its reason.
//!
//! Does not know quotas, batches or what a vendor will say.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::changes::Changes;
use super::model::{Entry, Model, OnNew, OnRemoved, Place, Priority};
use super::recorded::{ChangeKind, Inputs, KnownManifest, RecordedRow, Standing, Work};
use super::target::{ContentHash, Target};
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
    /// It may have been purged before: an earlier run stopped without an outcome.
    pub in_doubt: bool,
    /// Endpoints that accepted a purge for `desired` already.
    pub accepted_at: Vec<String>,
    /// Manifests that list it, or listed it.
    pub owners: Vec<String>,
    /// Where it is listed; `None` for a removal.
    pub place: Option<Place>,
}

/// What a run has to do, and what it may forget.
#[derive(Debug, Default)]
pub struct Difference {
    /// Purges that are due, in order of (provider, target).
    pub changes: Changes,
    /// Indexes of the model's entries to record without a purge (`on_new: adopt`).
    pub adopt: Vec<usize>,
    /// Recorded targets to drop without a purge (`on_removed: forget`).
    pub forget: Vec<(String, Target)>,
    /// Targets never recorded whose entry went away while they waited.
    pub dropped: Vec<(String, Target)>,
    /// Targets whose set of listing manifests changed and nothing else.
    pub owners: Vec<(String, Target, Vec<String>)>,
    /// Recorded targets of providers that no manifest configures, left alone: provider and number.
    pub orphans: Vec<(String, usize)>,
    /// Those of them that are left alone for the first time, with what to record: see [`LEFT_ALONE`].
    pub left_alone: Vec<(String, Target, ContentHash)>,
    /// A change is new, or not the one that the state knows as work.
    pub has_unseen: bool,
    /// Entries whose recorded hash is the desired one.
    pub unchanged: usize,
    /// Recorded targets per manifest of this run, the base of the removal guard.
    pub removals: Vec<Removals>,
    /// What was compared, if a later run may rely on it.
    pub inputs: Option<Inputs>,
}

/// How many of a manifest's recorded targets it no longer lists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Removals {
    /// Name of the manifest.
    pub manifest: String,
    /// Its recorded targets.
    pub recorded: usize,
    /// How many of them go with this run.
    pub removed: usize,
    /// How many of them are about to go since an earlier run, which let them through.
    pub let_through: usize,
    /// What the guard looks at: so many are lost, of so many. More than go with this run where those of earlier ones count
    /// as well.
    pub lost: usize,
    /// See `lost`.
    pub of: usize,
}

impl Removals {
    /// Removals of one run alone.
    pub const fn new(manifest: String, recorded: usize, removed: usize) -> Self {
        Self { manifest, recorded, removed, let_through: 0, lost: removed, of: recorded }
    }
}

impl Difference {
    /// What earlier runs were allowed to send, and tried: it is not for a guard any more.
    #[must_use]
    pub fn tried(&self) -> Self {
        let changes = self.changes.iter().filter(|change| change.standing.was_tried()).collect();
        // Guards want to know how many there are; what goes of them was let through.
        let removals = self.removals.iter().map(|all| Removals::new(all.manifest.clone(), all.recorded, 0)).collect();
        Self { changes, unchanged: self.unchanged, removals, ..Self::default() }
    }
}

/// Begins the recorded hash of a target that a run left alone, followed by what it was. Its URL may have been purged through
/// another provider since, and may be cached anew: should its own come back, it is due.
pub const LEFT_ALONE: &str = "rev:left-alone:";

/// Whether the user forces a target of a provider, by its index.
pub type Forced<'a> = dyn Fn(usize, &Target) -> bool + 'a;

/// What the difference depends on besides model and state.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// Manifests that vanished from a folder that this run covers.
    pub vanished: &'a [KnownManifest],
    /// Digest of each provider's configuration, by index.
    pub config_digests: &'a [String],
    /// What the user forces, if anything.
    pub forced: Option<&'a Forced<'a>>,
    /// Wall time of the run's start.
    pub now: Timestamp,
}

impl Scope<'_> {
    fn is_forced(&self, provider: usize, target: impl FnOnce() -> Target) -> bool {
        self.forced.is_some_and(|forced| forced(provider, &target()))
    }
}

/// Compares the model with what is recorded, row by row: neither side is ever held twice.
pub struct Differ<'a> {
    model: &'a Model,
    scope: Scope<'a>,
    covered: Covered<'a>,
    /// The first entry that no row was compared with yet.
    next: usize,
    difference: Difference,
}

impl<'a> Differ<'a> {
    /// Feed it all recorded rows in order of (provider, target), then take what it found.
    pub fn new(model: &'a Model, scope: Scope<'a>) -> Self {
        let difference = Difference { changes: Changes::of(&model.entries), ..Difference::default() };
        Self { model, scope, covered: Covered::new(model, &scope), next: 0, difference }
    }

    /// Compares the next recorded row.
    pub fn row(&mut self, row: RecordedRow<'_>) {
        while self.next < self.model.entries.len() {
            match self.order(self.next, row) {
                Ordering::Less => self.unrecorded(self.next),
                Ordering::Equal => {
                    self.covered.count(row, false);
                    self.recorded(self.next, row);
                    self.next += 1;
                    return;
                }
                Ordering::Greater => break,
            }
            self.next += 1;
        }
        let goes = self.unlisted(row);
        self.covered.count(row, goes);
    }

    /// All rows were compared.
    pub fn finish(mut self) -> Difference {
        for entry in self.next..self.model.entries.len() {
            self.unrecorded(entry);
        }
        self.difference.removals = self.covered.removals();
        self.difference
    }

    fn order(&self, entry: usize, row: RecordedRow<'_>) -> Ordering {
        let entries = &self.model.entries;
        let provider = self.model.providers[entries.provider(entry)].name.as_str();
        let key = (provider, entries.scope(entry)).cmp(&(row.provider, row.scope));
        key.then_with(|| entries.text(entry).cmp_str(row.text))
    }

    fn is_forced(&self, entry: usize) -> bool {
        let entries = &self.model.entries;
        self.scope.is_forced(entries.provider(entry), || entries.get(entry).target)
    }

    /// An entry that the state does not know.
    fn unrecorded(&mut self, index: usize) {
        let entries = &self.model.entries;
        let forced = self.is_forced(index);
        let adopts = |&manifest: &usize| self.model.manifests[manifest].on_new == OnNew::Adopt;
        if entries.manifests(index).iter().all(adopts) && !forced {
            self.difference.adopt.push(index);
            return;
        }
        let entry = entries.get(index);
        let kind = if forced { ChangeKind::Forced } else { ChangeKind::New };
        let owners = self.owners(index, &[]);
        let change = fresh_change(&entry, kind, owners, self.scope.now);
        self.difference.has_unseen = true;
        self.difference.changes.push_listed(change, index);
    }

    /// An entry that the state knows.
    fn recorded(&mut self, index: usize, row: RecordedRow<'_>) {
        let entries = &self.model.entries;
        let forced = self.is_forced(index);
        if row.work.is_none() && row.hash.is_some_and(|hash| entries.is_hash(index, hash)) && !forced {
            self.difference.unchanged += 1;
            if !self.is_only_owner(index, row.owners) {
                let owners = self.owners(index, row.owners);
                if row.owners != owners {
                    let target = entries.get(index).target;
                    self.difference.owners.push((row.provider.to_owned(), target, owners));
                }
            }
            return;
        }
        let entry = entries.get(index);
        let change = continued_change(&entry, row, self.owners(index, row.owners), forced, &self.scope);
        let is_seen = |work: &Work| {
            let (known, wanted) = ((work.kind, work.priority), (change.kind, change.priority));
            work.desired == change.desired && known == wanted && row.owners == change.owners && !forced
        };
        self.difference.has_unseen |= !row.work.is_some_and(is_seen);
        self.difference.changes.push_listed(change, index);
    }

    /// The usual case, which needs no list of names.
    fn is_only_owner(&self, entry: usize, owners: &[String]) -> bool {
        match (self.model.entries.manifests(entry), owners) {
            ([manifest], [owner]) => self.model.manifests[*manifest].name == *owner,
            _ => false,
        }
    }

    /// Manifests that list the entry, and those of `known` that this run cannot speak for.
    fn owners(&self, entry: usize, known: &[String]) -> Vec<String> {
        let listing = self.model.entries.manifests(entry).iter().map(|&index| self.model.manifests[index].name.clone());
        let mut owners: Vec<String> = listing.chain(self.covered.others(known).cloned()).collect();
        owners.sort();
        owners.dedup();
        owners
    }

    /// A recorded target that is not listed; whether it is lost to its manifests by this run.
    fn unlisted(&mut self, row: RecordedRow<'_>) -> bool {
        let others: Vec<String> = self.covered.others(row.owners).cloned().collect();
        if others.len() == row.owners.len() {
            return false;
        }
        let target = Target { scope: row.scope, text: row.text.to_owned() };
        if !others.is_empty() {
            self.difference.owners.push((row.provider.to_owned(), target, others));
            return false;
        }
        let Some(hash) = row.hash else {
            self.difference.dropped.push((row.provider.to_owned(), target));
            return false;
        };
        let forgets = row.owners.iter().all(|owner| self.covered.forgets(owner));
        // A provider that is gone, or that has become of a kind that cannot purge this, is not asked.
        let able = |index: &usize| self.model.providers[*index].limits_of(row.scope).is_some();
        let Some(provider) = self.model.provider_index(row.provider).filter(able) else {
            if !forgets {
                self.orphan(row.provider);
                if !hash.starts_with(LEFT_ALONE) {
                    let hash = ContentHash::from_canonical(format!("{LEFT_ALONE}{hash}"));
                    self.difference.left_alone.push((row.provider.to_owned(), target, hash));
                }
                return false;
            }
            self.difference.forget.push((row.provider.to_owned(), target));
            return true;
        };
        if forgets {
            self.difference.forget.push((row.provider.to_owned(), target));
            return true;
        }
        let change = removal(provider, target, ContentHash::from_canonical(hash), row, &self.scope);
        self.difference.has_unseen |= row.work.is_none_or(|work| work.desired.is_some());
        self.difference.changes.push(change);
        true
    }

    fn orphan(&mut self, provider: &str) {
        match self.difference.orphans.iter_mut().find(|(name, _)| *name == provider) {
            Some((_, count)) => *count += 1,
            None => self.difference.orphans.push((provider.to_owned(), 1)),
        }
    }
}

/// Manifests this run speaks for, with what they say about removals and how many targets they have.
struct Covered<'a> {
    index: HashMap<&'a str, usize>,
    manifests: Vec<CoveredManifest<'a>>,
    /// The one that was found last.
    last: usize,
}

struct CoveredManifest<'a> {
    name: &'a str,
    on_removed: OnRemoved,
    recorded: usize,
    removed: usize,
    let_through: usize,
}

impl<'a> Covered<'a> {
    fn new(model: &'a Model, scope: &Scope<'a>) -> Self {
        let vanished = scope.vanished.iter().map(|known| (known.name.as_str(), known.on_removed));
        let read = model.manifests.iter().map(|manifest| (manifest.name.as_str(), manifest.on_removed));
        let manifests: Vec<_> = vanished
            .chain(read)
            .map(|(name, on_removed)| CoveredManifest { name, on_removed, recorded: 0, removed: 0, let_through: 0 })
            .collect();
        let index = manifests.iter().enumerate().map(|(index, manifest)| (manifest.name, index)).collect();
        Self { index, manifests, last: 0 }
    }

    fn forgets(&self, name: &str) -> bool {
        self.index.get(name).is_some_and(|&index| self.manifests[index].on_removed == OnRemoved::Forget)
    }

    /// Owners that this run cannot speak for.
    fn others<'r>(&self, owners: &'r [String]) -> impl Iterator<Item = &'r String> {
        owners.iter().filter(|owner| !self.index.contains_key(owner.as_str()))
    }

    /// Index of a manifest; most rows are of the same one as the row before.
    fn find(&mut self, name: &str) -> Option<usize> {
        if self.manifests.get(self.last).is_none_or(|last| last.name != name) {
            self.last = *self.index.get(name)?;
        }
        Some(self.last)
    }

    /// Counts a recorded target for the removal guard. Removals that an earlier run let through are not counted again.
    fn count(&mut self, row: RecordedRow<'_>, goes: bool) {
        if row.hash.is_none() {
            return;
        }
        let let_through = row.work.is_some_and(|work| work.kind == ChangeKind::Removed);
        for owner in row.owners {
            if let Some(index) = self.find(owner) {
                self.manifests[index].recorded += 1;
                self.manifests[index].removed += usize::from(goes && !let_through);
                self.manifests[index].let_through += usize::from(goes && let_through);
            }
        }
    }

    fn removals(&self) -> Vec<Removals> {
        let counted = self.manifests.iter().filter(|manifest| manifest.recorded > 0);
        let of = |manifest: &CoveredManifest<'_>| Removals {
            let_through: manifest.let_through,
            ..Removals::new(manifest.name.to_owned(), manifest.recorded, manifest.removed)
        };
        let mut removals: Vec<_> = counted.map(of).collect();
        removals.sort();
        removals
    }
}

fn fresh_change(entry: &Entry, kind: ChangeKind, owners: Vec<String>, now: Timestamp) -> Change {
    Change {
        provider: entry.provider,
        target: entry.target.clone(),
        desired: Some(entry.hash.clone()),
        recorded: None,
        kind,
        priority: entry.priority,
        since: now,
        standing: Standing::fresh(),
        in_doubt: false,
        accepted_at: Vec::new(),
        owners,
        place: Some(entry.place),
    }
}

/// A change of a target the state knows: once seen it stays due, also when the old hash comes back.
fn continued_change(
    entry: &Entry,
    row: RecordedRow<'_>,
    owners: Vec<String>,
    forced: bool,
    scope: &Scope<'_>,
) -> Change {
    let kind = match (row.hash, forced) {
        (_, true) => ChangeKind::Forced,
        (None, false) => ChangeKind::New,
        (Some(_), false) => match row.work {
            Some(work) if work.kind == ChangeKind::Forced && row.hash == Some(entry.hash.as_str()) => {
                ChangeKind::Forced
            }
            _ => ChangeKind::Changed,
        },
    };
    let mut change = fresh_change(entry, kind, owners, scope.now);
    change.recorded = row.hash.map(ContentHash::from_canonical);
    if let Some(work) = row.work {
        change.since = work.since;
        change.in_doubt = work.in_doubt;
        if work.desired.as_ref() == Some(&entry.hash) {
            if !forced {
                change.accepted_at.clone_from(&work.accepted_at);
                change.standing = work.standing.clone();
            }
            reconsider(&mut change, &scope.config_digests[entry.provider]);
        } else if !forced {
            change.standing = work.standing.of_other_content();
        }
    }
    change
}

/// A refusal holds only for the configuration that was refused; a deferral only until its time, which the plan checks.
fn reconsider(change: &mut Change, config_digest: &str) {
    if matches!(&change.standing, Standing::Rejected { config, .. } if config != config_digest) {
        change.standing = Standing::fresh();
    }
}

/// A recorded target that is to be purged since no manifest lists it any more.
fn removal(provider: usize, target: Target, hash: ContentHash, row: RecordedRow<'_>, scope: &Scope<'_>) -> Change {
    let work = row.work.filter(|work| work.desired.is_none());
    let mut change = Change {
        provider,
        target,
        desired: None,
        recorded: Some(hash),
        kind: ChangeKind::Removed,
        priority: row.work.map_or(Priority::Normal, |work| work.priority),
        since: row.work.map_or(scope.now, |work| work.since),
        standing: match (work, row.work) {
            (Some(work), _) => work.standing.clone(),
            (None, Some(before)) => before.standing.of_other_content(),
            (None, None) => Standing::fresh(),
        },
        in_doubt: row.work.is_some_and(|work| work.in_doubt),
        accepted_at: work.map_or(Vec::new(), |work| work.accepted_at.clone()),
        owners: row.owners.to_vec(),
        place: None,
    };
    if scope.is_forced(provider, || change.target.clone()) {
        change.standing = Standing::fresh();
    }
    reconsider(&mut change, &scope.config_digests[provider]);
    change
}
