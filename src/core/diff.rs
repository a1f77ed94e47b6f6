//! Desired entries against recorded ones: the changes, each with its reason.
//!
//! Does not know quotas, batches or what a vendor will say.

use std::collections::{HashMap, HashSet};

use super::model::{Entry, Model, OnNew, OnRemoved, Place, Priority};
use super::recorded::{ChangeKind, KnownManifest, Recorded, Standing};
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
    pub changes: Vec<Change>,
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
    /// Entries whose recorded hash is the desired one.
    pub unchanged: usize,
    /// Recorded targets per manifest of this run, the base of the removal guard: (name, recorded, removed).
    pub removals: Vec<(String, usize, usize)>,
}

/// What the difference depends on besides model and state.
pub struct Scope<'a> {
    /// Manifests that vanished from a folder that this run covers.
    pub vanished: &'a [KnownManifest],
    /// Digest of each provider's configuration, by index.
    pub config_digests: &'a [String],
    /// Whether the user forces this target of this provider, by its index.
    pub forced: &'a dyn Fn(usize, &Target) -> bool,
    /// Wall time of the run's start.
    pub now: Timestamp,
}

/// Compares the model with what is recorded.
pub fn diff(model: &Model, recorded: &[Recorded], scope: &Scope<'_>) -> Difference {
    let mut by_key: HashMap<(&str, &Target), &Recorded> = HashMap::with_capacity(recorded.len());
    for row in recorded {
        by_key.insert((row.provider.as_str(), &row.target), row);
    }
    let covered = Covered::new(model, scope);
    let mut difference = Difference::default();
    for (index, entry) in model.entries.iter().enumerate() {
        let name = model.providers[entry.provider].name.as_str();
        let row = by_key.remove(&(name, &entry.target));
        compare(&mut difference, model, scope, &covered, (index, entry), row);
    }
    let mut missing: Vec<&Recorded> = by_key.into_values().collect();
    missing.sort_by(|a, b| (&a.provider, &a.target).cmp(&(&b.provider, &b.target)));
    for row in &missing {
        remove(&mut difference, model, scope, &covered, row);
    }
    difference.changes.sort_by(|a, b| (a.provider, &a.target).cmp(&(b.provider, &b.target)));
    difference.removals = count_removals(model, &covered, recorded, &difference);
    difference
}

/// Manifests this run speaks for, with what they say about removals.
struct Covered<'a> {
    on_removed: HashMap<&'a str, OnRemoved>,
}

impl<'a> Covered<'a> {
    fn new(model: &'a Model, scope: &Scope<'a>) -> Self {
        let vanished = scope.vanished.iter().map(|known| (known.name.as_str(), known.on_removed));
        let read = model.manifests.iter().map(|manifest| (manifest.name.as_str(), manifest.on_removed));
        Self { on_removed: vanished.chain(read).collect() }
    }

    fn contains(&self, name: &str) -> bool {
        self.on_removed.contains_key(name)
    }

    /// Owners that this run cannot speak for.
    fn others<'r>(&self, owners: &'r [String]) -> impl Iterator<Item = &'r String> {
        owners.iter().filter(|owner| !self.contains(owner))
    }
}

fn compare(
    difference: &mut Difference,
    model: &Model,
    scope: &Scope<'_>,
    covered: &Covered<'_>,
    (index, entry): (usize, &Entry),
    row: Option<&Recorded>,
) {
    let mut owners: Vec<String> =
        entry.manifests.iter().map(|&manifest| model.manifests[manifest].name.clone()).collect();
    owners.extend(row.into_iter().flat_map(|row| covered.others(&row.owners)).cloned());
    owners.sort();
    owners.dedup();
    let forced = (scope.forced)(entry.provider, &entry.target);
    let Some(row) = row else {
        let adopts = entry.manifests.iter().all(|&manifest| model.manifests[manifest].on_new == OnNew::Adopt);
        if adopts && !forced {
            difference.adopt.push(index);
        } else {
            let kind = if forced { ChangeKind::Forced } else { ChangeKind::New };
            difference.changes.push(fresh_change(entry, kind, owners, scope.now));
        }
        return;
    };
    if row.work.is_none() && row.hash.as_ref() == Some(&entry.hash) && !forced {
        difference.unchanged += 1;
        if row.owners != owners {
            difference.owners.push((row.provider.clone(), row.target.clone(), owners));
        }
        return;
    }
    difference.changes.push(continued_change(entry, row, owners, forced, scope));
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
fn continued_change(entry: &Entry, row: &Recorded, owners: Vec<String>, forced: bool, scope: &Scope<'_>) -> Change {
    let kind = match (&row.hash, forced) {
        (_, true) => ChangeKind::Forced,
        (None, false) => ChangeKind::New,
        (Some(_), false) => match &row.work {
            Some(work) if work.kind == ChangeKind::Forced && row.hash.as_ref() == Some(&entry.hash) => {
                ChangeKind::Forced
            }
            _ => ChangeKind::Changed,
        },
    };
    let mut change = fresh_change(entry, kind, owners, scope.now);
    change.recorded.clone_from(&row.hash);
    if let Some(work) = &row.work {
        change.since = work.since;
        change.in_doubt = work.in_doubt;
        if work.desired.as_ref() == Some(&entry.hash) {
            if !forced {
                change.accepted_at.clone_from(&work.accepted_at);
                change.standing = work.standing.clone();
            }
            reconsider(&mut change, &scope.config_digests[entry.provider]);
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

fn remove(difference: &mut Difference, model: &Model, scope: &Scope<'_>, covered: &Covered<'_>, row: &Recorded) {
    let others: Vec<String> = covered.others(&row.owners).cloned().collect();
    if others.len() == row.owners.len() {
        return;
    }
    if !others.is_empty() {
        difference.owners.push((row.provider.clone(), row.target.clone(), others));
        return;
    }
    let key = (row.provider.clone(), row.target.clone());
    let Some(hash) = &row.hash else {
        difference.dropped.push(key);
        return;
    };
    let forgets = row.owners.iter().all(|owner| covered.on_removed.get(owner.as_str()) == Some(&OnRemoved::Forget));
    // A provider that is gone, or that has become of a kind that cannot purge this, is not asked.
    let able = |index: &usize| model.providers[*index].limits_of(row.target.scope).is_some();
    let Some(provider) = model.provider_index(&row.provider).filter(able) else {
        match difference.orphans.iter_mut().find(|(name, _)| *name == row.provider) {
            _ if forgets => difference.forget.push(key),
            Some((_, count)) => *count += 1,
            None => difference.orphans.push((row.provider.clone(), 1)),
        }
        return;
    };
    if forgets {
        difference.forget.push(key);
        return;
    }
    let work = row.work.as_ref().filter(|work| work.desired.is_none());
    let mut change = Change {
        provider,
        target: row.target.clone(),
        desired: None,
        recorded: Some(hash.clone()),
        kind: ChangeKind::Removed,
        priority: row.work.as_ref().map_or(Priority::Normal, |work| work.priority),
        since: row.work.as_ref().map_or(scope.now, |work| work.since),
        standing: work.map_or(Standing::fresh(), |work| work.standing.clone()),
        in_doubt: row.work.as_ref().is_some_and(|work| work.in_doubt),
        accepted_at: work.map_or(Vec::new(), |work| work.accepted_at.clone()),
        owners: row.owners.clone(),
        place: None,
    };
    if (scope.forced)(provider, &row.target) {
        change.standing = Standing::fresh();
    }
    reconsider(&mut change, &scope.config_digests[provider]);
    difference.changes.push(change);
}

/// Removals that an earlier run let through are not counted again.
fn count_removals(
    model: &Model,
    covered: &Covered<'_>,
    recorded: &[Recorded],
    difference: &Difference,
) -> Vec<(String, usize, usize)> {
    let removed = difference.changes.iter().filter(|change| change.kind == ChangeKind::Removed);
    let gone: HashSet<(&str, &Target)> = removed
        .map(|change| (model.providers[change.provider].name.as_str(), &change.target))
        .chain(difference.forget.iter().map(|(provider, target)| (provider.as_str(), target)))
        .collect();
    let mut counts: HashMap<&str, (usize, usize)> = HashMap::new();
    for row in recorded.iter().filter(|row| row.hash.is_some()) {
        let let_through = row.work.as_ref().is_some_and(|work| work.kind == ChangeKind::Removed);
        let goes = !let_through && gone.contains(&(row.provider.as_str(), &row.target));
        for owner in row.owners.iter().filter(|owner| covered.contains(owner)) {
            let count = counts.entry(owner).or_default();
            count.0 += 1;
            count.1 += usize::from(goes);
        }
    }
    let mut removals: Vec<_> = counts.into_iter().map(|(name, (all, gone))| (name.to_owned(), all, gone)).collect();
    removals.sort();
    removals
}
