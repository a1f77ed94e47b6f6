//! Desired entries against recorded ones: the changes, each with its reason.
//!
//! Does not know quotas, batches or what a vendor will say.

mod covered;

use std::cmp::Ordering;
use std::sync::Arc;

use covered::Covered;

use super::changes::{Change, Changes};
use super::command_line::{CommandLine, Verb};
use super::hold::{Hold, Moves, SeenRemovals};
use super::http::Endpoint;
use super::model::{Entry, Model, OnNew, Priority, ProviderConfig};
use super::owners::{CopiedManifest, MovedManifest, Unread};
use super::provider_key::ProviderKey;
use super::recorded::{ChangeKind, Inputs, KnownManifest, Progress, RecordedRow, Standing, Work};
use super::target::{ContentHash, Target};
use super::time::Timestamp;

/// What a run has to do, and what it may forget.
#[derive(Debug, Default)]
pub struct Difference {
    /// Purges that are due, in order of (provider, target); shared with the thread that commits what becomes of them.
    pub changes: Arc<Changes>,
    /// Indexes of the model's entries to record without a purge (`on_new: adopt`).
    pub adopt: Vec<usize>,
    /// Targets to drop without a purge that were purged, or may have been (`on_removed: forget`).
    pub forget: Vec<(String, Target)>,
    /// Targets that were surely never purged and whose entry went away while they waited.
    pub dropped: Vec<(String, Target)>,
    /// Targets whose set of listing manifests changed and nothing else.
    pub owners: Vec<(String, Target, Vec<String>)>,
    /// Targets of providers that no manifest configures, left alone.
    pub orphans: Vec<Orphans>,
    /// Those of them that are recorded and left alone for the first time.
    pub left_alone: Vec<(String, Target)>,
    /// Manifests that nobody speaks for, with what only they list.
    pub unclaimed: Vec<Unclaimed>,
    /// Manifests that are not read any more and that own nothing once the changes are recorded.
    pub departed: Vec<String>,
    /// Manifests that are read from another place than before, while their file there still is.
    pub moved: Vec<MovedManifest>,
    /// What is known of manifests from now on, where that changes.
    pub noted: Vec<KnownManifest>,
    /// Namespaces in use, if the run has none and needs one.
    pub namespaces: Vec<String>,
    /// A change is new, or not the one that the state knows as work.
    pub has_unseen: bool,
    /// Entries whose recorded hash is the desired one.
    pub unchanged: usize,
    /// Recorded targets per manifest of this run, the base of the removal guard.
    pub removals: Vec<Removals>,
    /// What was compared, if a later run may rely on it.
    pub inputs: Option<Inputs>,
    /// Changes that go on by themselves from now on, by index: guards let them through. Empty: none.
    pub admitted: Vec<bool>,
    /// What guards hold back: nothing of it is recorded, dropped or handed over.
    pub hold: Hold,
    /// Changes that the run is not to send, by index and in order: guards refuse them, or the user left them out. Removals among them
    /// are not kept as work.
    pub kept_back: Vec<usize>,
    /// Manifests between which targets moved.
    pub moves: Moves,
}

/// Targets of a provider that no manifest configures for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphans {
    /// Name of the provider.
    pub provider: String,
    /// Number of targets.
    pub targets: usize,
    /// Those of them that were still to be purged.
    pub pending: usize,
}

/// What only a manifest lists that nobody speaks for: no run will purge it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unclaimed {
    /// Name of the manifest.
    pub manifest: String,
    /// Absolute path that it was last read from, where it is not any more unless it may be a copy; `None` if that is not known.
    pub file: Option<String>,
    /// Path of a manifest that is read, if that may be in another copy of its tree and it is still there.
    pub copy: Option<String>,
    /// Its targets.
    pub targets: usize,
    /// Those of them that are still to be purged.
    pub pending: usize,
}

impl Unclaimed {
    /// Whether it is known that nobody will ever speak for it. A manifest of which only an older program knew where it is may be
    /// read by another run.
    pub const fn is_certain(&self) -> bool {
        self.file.is_some()
    }

    /// What it is, and the way on.
    pub fn with_way_on(&self, commands: &CommandLine) -> String {
        let Self { manifest, file, copy, targets, pending } = self;
        let target = if *targets == 1 { "target" } else { "targets" };
        let pending = if *pending > 0 { format!(", {pending} of them pending") } else { String::new() };
        let place = match (file, copy) {
            (Some(file), None) => format!("`{file}` is not there any more, so that no run speaks for it"),
            (Some(file), Some(copy)) => format!(
                "`{file}` is still there; if `{copy}` is in a copy of its tree, no run speaks for it, else give each a `name:`"
            ),
            (None, _) => "where it is is not known; run over it once, if it is still there".to_owned(),
        };
        let purge = commands.offer_for_all(Verb::Apply, &["--vanished", manifest]);
        let drop = commands.offer(Verb::StateForget, &["*", "--manifest", manifest]);
        format!(
            "{targets} {target} of manifest `{manifest}`{pending}: {place}; to purge what only it lists, {purge}; to drop it, {drop}"
        )
    }
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
    /// The same numbers of all targets, selected or not: recorded, removed, let through.
    pub whole: (usize, usize, usize),
    /// Nothing is sent for them: the manifest says `on_removed: forget`.
    pub forgotten: bool,
}

impl Removals {
    /// Removals of one run alone.
    pub const fn new(manifest: String, recorded: usize, removed: usize) -> Self {
        let whole = (recorded, removed, 0);
        Self { manifest, recorded, removed, let_through: 0, lost: removed, of: recorded, whole, forgotten: false }
    }
}

impl Difference {
    /// Whether it says all about what a manifest lists.
    pub fn covers(&self, model: &Model, manifest: &str) -> bool {
        model.manifests.iter().any(|read| read.name == manifest)
            || self.removals.iter().any(|removals| removals.manifest == manifest)
    }

    /// Names of the manifests about which it says all, and an empty one for what is about none.
    pub fn covered(&self, model: &Model) -> Vec<String> {
        let read = model.manifests.iter().map(|manifest| manifest.name.clone());
        let others = self.removals.iter().map(|removals| removals.manifest.clone());
        read.chain(others).chain([String::new()]).collect()
    }
}

/// Whether the user forces a target of a provider, by its index.
pub type Forced<'a> = dyn Fn(usize, &Target) -> bool + 'a;

/// What the user selected: providers, by index, and targets of them.
#[derive(Clone, Copy)]
pub struct GuardedTargets<'a> {
    /// Whether anything of a provider is.
    pub provider: &'a dyn Fn(usize) -> bool,
    /// Whether a target of a provider is.
    pub target: &'a dyn Fn(usize, &Target) -> bool,
}

/// What the difference depends on besides model and state.
#[derive(Clone, Copy)]
pub struct DiffContext<'a> {
    /// What becomes of manifests that this run does not read.
    pub unread: &'a Unread,
    /// What verdicts on targets of each provider depend on, its configuration and its account, by index.
    pub grounds: &'a [String],
    /// What the user forces, if anything.
    pub forced: Option<&'a Forced<'a>>,
    /// What the user selected, if not all: guards count nothing else.
    pub selected: Option<GuardedTargets<'a>>,
    /// What guards hold back.
    pub hold: &'a Hold,
    /// Removals that were seen before and are no work.
    pub seen: &'a SeenRemovals,
    /// Wall time of the run's start.
    pub now: Timestamp,
}

impl DiffContext<'_> {
    fn is_forced(&self, provider: usize, target: impl FnOnce() -> Target) -> bool {
        self.forced.is_some_and(|forced| forced(provider, &target()))
    }
}

/// Compares the model with what is recorded, row by row: neither side is ever held twice.
pub struct Differ<'a> {
    model: &'a Model,
    /// By what the state knows providers, by index.
    keys: Vec<String>,
    scope: DiffContext<'a>,
    covered: Covered<'a>,
    /// The first entry that no row was compared with yet.
    next: usize,
    changes: Changes,
    difference: Difference,
}

impl<'a> Differ<'a> {
    /// Feed it all recorded rows in order of (provider, target), then take what it found.
    pub fn new(model: &'a Model, scope: DiffContext<'a>) -> Self {
        let Unread { moved, noted, namespaces, .. } = scope.unread.clone();
        let hold = scope.hold.clone();
        let difference = Difference { moved, noted, namespaces, hold, ..Difference::default() };
        let (covered, changes) = (Covered::new(model, &scope), Changes::of(&model.entries));
        Self { model, keys: model.provider_keys(), scope, covered, next: 0, changes, difference }
    }

    /// Compares the next recorded row.
    pub fn row(&mut self, row: RecordedRow<'_>) {
        while self.next < self.model.entries.len() {
            match self.order(self.next, row) {
                Ordering::Less => self.unrecorded(self.next),
                Ordering::Equal => {
                    self.count(row, false);
                    self.recorded(self.next, row);
                    self.next += 1;
                    return;
                }
                Ordering::Greater => break,
            }
            self.next += 1;
        }
        let goes = self.unlisted(row);
        self.count(row, goes);
    }

    /// Counts a row for guards, as far as it is selected.
    fn count(&mut self, row: RecordedRow<'_>, goes: bool) {
        let Some(GuardedTargets { provider, target }) = self.scope.selected else {
            return self.covered.count(row, goes, (true, goes));
        };
        let index = self.model.index_of_key(row.provider).filter(|&index| provider(index));
        let is_selected = |index| target(index, &Target { scope: row.scope, text: row.text.to_owned() });
        self.covered.count(row, goes, (index.is_some(), goes && index.is_some_and(is_selected)));
    }

    /// All rows were compared.
    pub fn finish(mut self) -> Difference {
        for entry in self.next..self.model.entries.len() {
            self.unrecorded(entry);
        }
        self.difference.changes = self.changes.into();
        self.difference.removals = self.covered.removals();
        self.difference.departed = self.covered.departed();
        self.difference.unclaimed.retain(|one| self.covered.is_confirmed(&one.manifest));
        self.difference.unclaimed.sort_unstable_by(|a, b| a.manifest.cmp(&b.manifest));
        self.difference
    }

    fn order(&self, entry: usize, row: RecordedRow<'_>) -> Ordering {
        let entries = &self.model.entries;
        let provider = &self.keys[entries.provider(entry)];
        let key = (provider.as_str(), entries.scope(entry)).cmp(&(row.provider, row.scope));
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
            if !self.is_held(&self.owners(index, &[])) {
                self.difference.adopt.push(index);
            }
            return;
        }
        let entry = entries.get(index);
        let kind = if forced { ChangeKind::Forced } else { ChangeKind::New };
        let owners = self.owners(index, &[]);
        let change = fresh_change(&entry, kind, owners, self.scope.now);
        self.difference.has_unseen |= !self.is_held(&change.owners);
        self.changes.push_listed(change, index);
    }

    /// An entry that the state knows.
    fn recorded(&mut self, index: usize, row: RecordedRow<'_>) {
        let entries = &self.model.entries;
        let forced = self.is_forced(index);
        if row.work.is_none() && row.valid_hash().is_some_and(|hash| entries.is_hash(index, hash)) && !forced {
            self.difference.unchanged += 1;
            if !self.is_only_owner(index, row.owners) {
                self.covered.keep_others(row.owners, entries.manifests(index));
                let owners = self.owners(index, row.owners);
                self.note_moves(row.owners, &owners);
                if row.owners != owners && !self.is_held(row.owners) && !self.is_held(&owners) {
                    let target = entries.get(index).target;
                    self.difference.owners.push((row.provider.to_owned(), target, owners));
                }
            }
            return;
        }
        self.covered.keep_others(row.owners, entries.manifests(index));
        let entry = entries.get(index);
        let config = &self.model.providers[entry.provider];
        let owners = self.owners(index, row.owners);
        self.note_moves(row.owners, &owners);
        let change = continued_change((&entry, config), row, owners, forced, &self.scope);
        let is_seen = |work: &Work| {
            let (known, wanted) = ((work.kind, work.priority), (change.kind, change.priority));
            work.desired == change.desired && known == wanted && row.owners == change.owners && !forced
        };
        self.difference.has_unseen |= !row.work.is_some_and(is_seen) && !self.is_held(&change.owners);
        self.changes.push_listed(change, index);
    }

    /// Whether guards hold back what any of these manifests lists, or listed.
    fn is_held(&self, owners: &[String]) -> bool {
        self.scope.hold.has_any(owners)
    }

    /// A target is listed by these manifests, and was by those `before`.
    fn note_moves(&mut self, before: &[String], now: &[String]) {
        for from in before.iter().filter(|name| !now.contains(name)) {
            let come = now.iter().filter(|name| !before.contains(name));
            self.difference.moves.extend(come.map(|to| (from.clone(), to.clone())));
        }
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
        owners.sort_unstable();
        owners.dedup();
        owners
    }

    /// A target that is not listed; whether it is lost to its manifests by this run.
    fn unlisted(&mut self, row: RecordedRow<'_>) -> bool {
        let others: Vec<String> = self.covered.others(row.owners).cloned().collect();
        let is_owned = !row.owners.is_empty();
        if is_owned && others.len() == row.owners.len() {
            self.unclaimed(row, &others);
            return false;
        }
        let target = Target { scope: row.scope, text: row.text.to_owned() };
        let is_held = self.is_held(row.owners);
        // A manifest that is gone holds nothing that those that speak for it have given up.
        if !others.iter().all(|owner| self.covered.is_unclaimed(owner)) {
            self.unclaimed(row, &others);
            if !is_held {
                self.difference.owners.push((row.provider.to_owned(), target, others));
            }
            return false;
        }
        let forgets = is_owned && row.owners.iter().all(|owner| self.covered.forgets(owner));
        // Caches may hold what visitors fetched since it was purged.
        let may_be_cached = row.hash.is_some() || row.work.is_some_and(|work| work.may_have_been_purged);
        if !may_be_cached {
            self.drop_target(row, target, is_held, |difference| &mut difference.dropped);
            return false;
        }
        // A provider that is gone, or that has become of a kind that cannot purge this, is not asked.
        let able = |index: &usize| self.model.providers[*index].limits_of(row.scope).is_some();
        let Some(provider) = self.model.index_of_key(row.provider).filter(able) else {
            if !forgets {
                self.covered.keep(row.owners);
                self.orphan(row);
                let is_half_done = row.work.is_some_and(|work| !work.accepted_at.is_empty());
                if row.valid_hash().is_some() || is_half_done {
                    self.difference.left_alone.push((row.provider.to_owned(), target));
                }
                return false;
            }
            let stays = is_held || (row.work.is_none() && self.is_left_out(row, &target));
            self.drop_target(row, target, stays, |difference| &mut difference.forget);
            return true;
        };
        if forgets {
            let stays = is_held || (row.work.is_none() && self.is_left_out(row, &target));
            self.drop_target(row, target, stays, |difference| &mut difference.forget);
            return true;
        }
        let mut change = removal(provider, target, row, &self.scope);
        keep_acceptances(&mut change, &self.model.providers[provider]);
        self.difference.has_unseen |= row.work.is_none_or(|work| work.desired.is_some()) && !is_held;
        self.changes.push(change);
        true
    }

    /// Whether the user selected others only.
    fn is_left_out(&self, row: RecordedRow<'_>, target: &Target) -> bool {
        let Some(selected) = &self.scope.selected else { return false };
        let index = self.model.index_of_key(row.provider);
        !index.is_some_and(|index| (selected.provider)(index) && (selected.target)(index, target))
    }

    /// A target goes without a purge, unless it stays: it is held, or left out.
    fn drop_target(
        &mut self,
        row: RecordedRow<'_>,
        target: Target,
        stays: bool,
        list: impl FnOnce(&mut Difference) -> &mut Vec<(String, Target)>,
    ) {
        if stays {
            self.covered.keep(row.owners);
        } else {
            list(&mut self.difference).push((row.provider.to_owned(), target));
        }
    }

    /// A target of owners that this run cannot speak for: no run can if all of them are gone.
    fn unclaimed(&mut self, row: RecordedRow<'_>, owners: &[String]) {
        self.covered.keep(owners);
        let Some(owner) = self.covered.voiceless(owners) else { return };
        let pending = usize::from(row.work.is_some());
        if let Some(known) = self.difference.unclaimed.iter_mut().find(|known| known.manifest == *owner) {
            known.targets += 1;
            known.pending += pending;
        } else {
            let Unread { unclaimed, copies, .. } = self.scope.unread;
            let copy = copies.iter().find(|copy| copy.manifest.name == *owner);
            let copied = copy.map(|CopiedManifest { manifest, .. }| manifest);
            let known = copied.or_else(|| unclaimed.iter().find(|manifest| manifest.name == *owner));
            let (file, copy) = (known.map(KnownManifest::found_by), copy.map(|copy| copy.path.clone()));
            self.difference.unclaimed.push(Unclaimed { manifest: owner.clone(), file, copy, targets: 1, pending });
        }
    }

    fn orphan(&mut self, row: RecordedRow<'_>) {
        let pending = usize::from(row.work.is_some());
        let provider = ProviderKey::of(row.provider).name;
        match self.difference.orphans.iter_mut().find(|known| known.provider == provider) {
            Some(known) => (known.targets, known.pending) = (known.targets + 1, known.pending + pending),
            None => self.difference.orphans.push(Orphans { provider: provider.to_owned(), targets: 1, pending }),
        }
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
        progress: Progress::Seen,
        in_doubt: false,
        accepted_at: Vec::new(),
        owners,
        place: Some(entry.place),
    }
}

/// A change of a target the state knows: once seen it stays due, also when the old hash comes back.
fn continued_change(
    (entry, config): (&Entry, &ProviderConfig),
    row: RecordedRow<'_>,
    owners: Vec<String>,
    forced: bool,
    scope: &DiffContext<'_>,
) -> Change {
    let kind = match (row.hash, forced) {
        (_, true) => ChangeKind::Forced,
        (None, false) => ChangeKind::New,
        (Some(_), false) => match row.work {
            Some(work) if work.kind.is_of_recorded() && row.valid_hash() == Some(entry.hash.as_str()) => work.kind,
            _ => ChangeKind::Changed,
        },
    };
    let mut change = fresh_change(entry, kind, owners, scope.now);
    change.recorded = row.hash.map(ContentHash::from_canonical);
    if let Some(work) = row.work {
        // A clock that was ahead has no say: the change would be sent last for as long.
        change.since = work.since.min(scope.now);
        change.in_doubt = work.in_doubt;
        if work.desired.as_ref() == Some(&entry.hash) {
            change.progress = work.progress;
            if !forced {
                change.accepted_at.clone_from(&work.accepted_at);
                change.standing = work.standing.clone().under(&scope.grounds[entry.provider]);
            }
            keep_acceptances(&mut change, config);
        } else if !forced {
            change.standing = work.standing.of_other_content();
        }
    }
    change
}

/// Keeps acceptances of endpoints that are still there, and of addresses of names that were not looked up. With enough of them
/// it would be recorded: that it is not means that endpoints, addresses or `require` changed since, and it is sent to all of
/// them once more.
fn keep_acceptances(change: &mut Change, config: &ProviderConfig) {
    if change.accepted_at.is_empty() {
        return;
    }
    change.accepted_at.retain(|text| config.endpoints.are_named_by(text));
    let accepts = |endpoint: &&Endpoint| change.accepted_at.contains(&endpoint.to_string());
    if config.endpoints.iter().filter(accepts).count() >= config.required() {
        change.accepted_at.clear();
    }
}

/// A target that is to be purged since no manifest lists it any more.
fn removal(provider: usize, target: Target, row: RecordedRow<'_>, scope: &DiffContext<'_>) -> Change {
    let work = row.work.filter(|work| work.desired.is_none());
    let seen = |target: &Target| scope.seen.get(&(row.provider.to_owned(), target.clone())).copied();
    let seen = if scope.seen.is_empty() { None } else { seen(&target) };
    let since = row.work.map(|work| work.since).or(seen).unwrap_or(scope.now);
    let mut change = Change {
        provider,
        target,
        desired: None,
        recorded: row.hash.map(ContentHash::from_canonical),
        kind: ChangeKind::Removed,
        priority: row.work.map_or(Priority::Normal, |work| work.priority),
        since: since.min(scope.now),
        standing: match (work, row.work) {
            (Some(work), _) => work.standing.clone().under(&scope.grounds[provider]),
            (None, Some(before)) => before.standing.of_other_content(),
            (None, None) => Standing::fresh(),
        },
        progress: work.map_or(Progress::Seen, |work| work.progress),
        in_doubt: row.work.is_some_and(|work| work.in_doubt),
        accepted_at: work.map_or(Vec::new(), |work| work.accepted_at.clone()),
        owners: row.owners.to_vec(),
        place: None,
    };
    if scope.is_forced(provider, || change.target.clone()) {
        change.standing = Standing::fresh();
    }
    change
}
