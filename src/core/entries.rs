//! The desired entries of a run in a compact table: about a hundred bytes each, texts included.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use super::model::{Entry, Matched, Place, Priority};
use super::pack::{At, Pack, PackedText};
use super::target::{ContentHash, Scope, Target};

/// Desired entries, unique and in order of (provider, target).
#[derive(Clone, Debug, Default)]
pub struct Entries {
    pack: Arc<Pack>,
    rows: Vec<Row>,
    owners: Owners,
}

/// Entries as they are listed, in any order and some of them several times.
#[derive(Debug, Default)]
pub struct Draft {
    pack: Pack,
    rows: Vec<Row>,
    owners: Owners,
}

/// What an entry says beside its target and hash.
#[derive(Clone, Copy, Debug)]
pub struct Listing {
    /// Index into the model's providers.
    pub provider: usize,
    /// How the target's text is meant.
    pub scope: Scope,
    /// Its place in the order of purges.
    pub priority: Priority,
    /// Where it is listed; the manifest there is its owner.
    pub place: Place,
    /// Why this provider carries it.
    pub matched: Matched,
}

/// Target and hash of an entry as they are packed: one may serve several providers.
#[derive(Clone, Copy, Debug)]
pub struct Packed(At);

#[derive(Clone, Copy, Debug)]
struct Row {
    /// The target's text, then its hash.
    at: At,
    provider: u32,
    /// Set of owners.
    owners: u32,
    manifest: u32,
    line: u32,
    column: u16,
    scope: Scope,
    priority: Priority,
    matched: Matched,
}

/// Sets of manifests that list the same target. Nearly all are of one manifest only.
#[derive(Clone, Debug, Default)]
struct Owners {
    sets: Vec<Vec<usize>>,
    known: HashMap<Vec<usize>, u32>,
    last: u32,
}

/// Two places list the same target with different hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Listed first.
    pub first: Entry,
    /// Listed again.
    pub again: Entry,
}

impl Owners {
    fn number(&mut self, set: &[usize]) -> u32 {
        if self.sets.get(self.last as usize).is_some_and(|last| last == set) {
            return self.last;
        }
        let next = u32::try_from(self.sets.len()).unwrap_or(u32::MAX);
        self.last = *self.known.entry(set.to_vec()).or_insert(next);
        if self.last == next {
            self.sets.push(set.to_vec());
        }
        self.last
    }

    fn set(&self, number: u32) -> &[usize] {
        &self.sets[number as usize]
    }
}

impl Draft {
    /// Packs a target's text and a hash.
    pub fn pack(&mut self, text: &str, hash: &ContentHash) -> Packed {
        let at = self.pack.push_text(text);
        self.pack.push_hash(hash.as_str());
        Packed(at)
    }

    /// Packs a target's text, cut into its origin, what follows that, and the rest, with a canonical hash.
    pub fn pack_parts(&mut self, origin: &str, start: &str, rest: &str, hash: &str) -> Packed {
        let origin = self.pack.origin(origin);
        let at = self.pack.push_parts(origin, start, rest);
        self.pack.push_hash(hash);
        Packed(at)
    }

    /// Lists what was packed.
    pub fn list(&mut self, packed: Packed, listing: &Listing) {
        let Listing { provider, scope, priority, place, matched } = *listing;
        let owners = self.owners.number(&[place.manifest]);
        self.rows.push(Row {
            at: packed.0,
            provider: narrow(provider),
            owners,
            manifest: narrow(place.manifest),
            line: place.line,
            column: u16::try_from(place.column).unwrap_or(u16::MAX),
            scope,
            priority,
            matched,
        });
    }

    /// How many are listed.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// One entry of all that list the same target at the same provider. With different hashes they are conflicts,
    /// each told to `report`; the first one stays.
    pub fn finish(mut self, mut report: impl FnMut(Conflict)) -> Entries {
        let Self { pack, rows, owners } = &mut self;
        if !rows.is_sorted_by(|a, b| order(pack, a, b).is_lt()) {
            // Places go up as texts are packed: the reading order decides among equals.
            rows.sort_unstable_by(|a, b| order(pack, a, b).then(a.at.cmp(&b.at)).then(a.line.cmp(&b.line)));
            merge(pack, rows, owners, &mut report);
        }
        pack.shrink();
        rows.shrink_to_fit();
        Entries { pack: Arc::new(self.pack), rows: self.rows, owners: self.owners }
    }
}

fn merge(pack: &Pack, rows: &mut Vec<Row>, owners: &mut Owners, report: &mut impl FnMut(Conflict)) {
    rows.dedup_by(|again, first| {
        if order(pack, first, again).is_ne() {
            return false;
        }
        if pack.same_hash(pack.after_text(first.at), pack.after_text(again.at)) {
            first.priority = first.priority.min(again.priority);
            let mut set = [owners.set(first.owners), owners.set(again.owners)].concat();
            set.sort_unstable();
            set.dedup();
            first.owners = owners.number(&set);
        } else {
            report(Conflict { first: entry(pack, owners, first), again: entry(pack, owners, again) });
        }
        true
    });
}

fn order(pack: &Pack, a: &Row, b: &Row) -> Ordering {
    (a.provider, a.scope).cmp(&(b.provider, b.scope)).then_with(|| pack.text(a.at).cmp(&pack.text(b.at)))
}

fn entry(pack: &Pack, owners: &Owners, row: &Row) -> Entry {
    Entry {
        provider: row.provider as usize,
        target: Target { scope: row.scope, text: pack.text(row.at).to_string() },
        hash: pack.hash(pack.after_text(row.at)),
        priority: row.priority,
        manifests: owners.set(row.owners).to_vec(),
        place: place(row),
        matched: row.matched,
    }
}

fn place(row: &Row) -> Place {
    Place { manifest: row.manifest as usize, line: row.line, column: u32::from(row.column) }
}

fn narrow(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

impl Entries {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The entry at `index`, unpacked.
    pub fn get(&self, index: usize) -> Entry {
        entry(&self.pack, &self.owners, &self.rows[index])
    }

    /// All entries in order, each unpacked as it comes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Entry> + '_ {
        self.rows.iter().map(|row| entry(&self.pack, &self.owners, row))
    }

    /// The entries for targets with this text, of all providers.
    pub fn of_text<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Entry> + 'a {
        let is_wanted = move |row: &&Row| self.pack.text(row.at).cmp_str(text).is_eq();
        self.rows.iter().filter(is_wanted).map(|row| entry(&self.pack, &self.owners, row))
    }

    /// Index of the provider of the entry at `index`.
    pub fn provider(&self, index: usize) -> usize {
        self.rows[index].provider as usize
    }

    /// How the target at `index` is meant.
    pub fn scope(&self, index: usize) -> Scope {
        self.rows[index].scope
    }

    /// Text of the target at `index`.
    pub fn text(&self, index: usize) -> PackedText<'_> {
        self.pack.text(self.rows[index].at)
    }

    /// Priority of the entry at `index`.
    pub fn priority(&self, index: usize) -> Priority {
        self.rows[index].priority
    }

    /// Where the entry at `index` is listed first.
    pub fn place(&self, index: usize) -> Place {
        place(&self.rows[index])
    }

    /// Indexes of the manifests that list the entry at `index`, ascending.
    pub fn manifests(&self, index: usize) -> &[usize] {
        self.owners.set(self.rows[index].owners)
    }

    /// Whether the desired hash at `index` is this one.
    pub fn is_hash(&self, index: usize, canonical: &str) -> bool {
        self.pack.is_hash(self.pack.after_text(self.rows[index].at), canonical)
    }

    /// Index of the entry of a provider for a target.
    pub fn find(&self, provider: usize, scope: Scope, text: &str) -> Option<usize> {
        let key = (provider, scope);
        let order = |row: &Row| {
            let packed = self.pack.text(row.at);
            (row.provider as usize, row.scope).cmp(&key).then_with(|| packed.cmp_str(text))
        };
        self.rows.binary_search_by(order).ok()
    }

    /// The texts and hashes, for whoever keeps places in them.
    pub(super) fn pack(&self) -> &Arc<Pack> {
        &self.pack
    }

    /// Place of text and hash of the entry at `index`.
    pub(super) fn at(&self, index: usize) -> At {
        self.rows[index].at
    }
}

impl FromIterator<Entry> for Entries {
    /// Takes entries that are unique; those listed twice are merged, the first hash stays.
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut draft = Draft::default();
        for entry in entries {
            let Entry { provider, target, hash, priority, manifests, place, matched } = entry;
            let packed = draft.pack(&target.text, &hash);
            draft.list(packed, &Listing { provider, scope: target.scope, priority, place, matched });
            if let Some(row) = draft.rows.last_mut() {
                row.owners = draft.owners.number(&manifests);
            }
        }
        draft.finish(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(provider: usize, text: &str, hash: &str, manifest: usize, line: u32) -> Entry {
        Entry {
            provider,
            target: Target::url(text),
            hash: ContentHash::from_canonical(hash),
            priority: Priority::Normal,
            manifests: vec![manifest],
            place: Place { manifest, line, column: 3 },
            matched: Matched::Host,
        }
    }

    fn draft(entries: &[Entry]) -> Draft {
        let mut draft = Draft::default();
        for Entry { provider, target, hash, priority, place, matched, .. } in entries {
            let packed = draft.pack(&target.text, hash);
            let (provider, priority, place, matched) = (*provider, *priority, *place, *matched);
            draft.list(packed, &Listing { provider, scope: target.scope, priority, place, matched });
        }
        draft
    }

    #[test]
    fn entries_come_out_in_order_as_they_went_in() {
        let listed = [entry(1, "https://a.cn/x", "rev:1", 0, 4), entry(0, "https://b.cn/y", "rev:2", 1, 2)];
        let entries = draft(&listed).finish(|conflict| panic!("{conflict:?}"));
        assert_eq!(entries.iter().collect::<Vec<_>>(), [listed[1].clone(), listed[0].clone()]);
        assert_eq!(entries.find(0, Scope::Url, "https://a.cn/x"), None);
        assert!(entries.is_hash(0, "rev:2") && entries.find(1, Scope::Url, "https://a.cn/x") == Some(1));
    }

    /// R5: the same hash is one entry of all its manifests, another one a conflict that names both places.
    #[test]
    fn what_is_listed_twice_is_merged_or_a_conflict() {
        let again = Entry { priority: Priority::High, ..entry(0, "https://a.cn/x", "rev:1", 2, 9) };
        let other = entry(0, "https://a.cn/x", "rev:2", 1, 5);
        let first = entry(0, "https://a.cn/x", "rev:1", 0, 7);
        let mut conflicts = Vec::new();
        let entries = draft(&[first.clone(), other.clone(), again]).finish(|conflict| conflicts.push(conflict));
        assert_eq!(conflicts, [Conflict { first: first.clone(), again: other }]);
        let merged = Entry { priority: Priority::High, manifests: vec![0, 2], ..first };
        assert_eq!(entries.iter().collect::<Vec<_>>(), [merged]);
    }
}
