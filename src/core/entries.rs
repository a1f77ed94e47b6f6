//! The desired entries of a run in a compact table: about a hundred bytes each, texts included.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use super::algorithm::Algorithm;
use super::arena::{Arena, Offset, PackedText};
use super::entry::{Entry, Location, Matched, Priority};
use super::merge_sorted;
use super::target::{ContentHash, Scope, Target};

/// Rows in order side by side, on average, from where lists are joined instead of sorted as one.
const WORTH_JOINING: usize = 64;

/// Desired entries, unique and in order of (provider, target). Copies share one table.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    table: Arc<Table>,
}

/// Entries as they are listed, in any order and some of them several times.
#[derive(Debug, Default)]
pub struct Draft {
    table: Table,
}

#[derive(Debug, Default)]
struct Table {
    arena: Arena,
    rows: Vec<EntryRow>,
    commons: Vec<Common>,
    known: HashMap<Common, u32>,
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
    pub place: Location,
    /// Why this provider carries it.
    pub matched: Matched,
    /// Index into the model's proof terms, if anything is asked of its origin or edges.
    pub terms: Option<usize>,
}

/// Target and hash of an entry as they are packed: one may serve several providers.
#[derive(Clone, Copy, Debug)]
pub struct Packed(Offset);

/// What an entry has for itself.
#[derive(Clone, Copy, Debug)]
struct EntryRow {
    /// Below [`OFFSET_BITS`] where the target's text is, and its hash after it; above them the column of its place.
    packed: u64,
    common: u32,
    line: u32,
}

/// Bits of the place of a packed text, which is in memory.
const OFFSET_BITS: u32 = 40;
/// The last column that is told apart, of lines without an end.
const LAST_COLUMN: u32 = (1 << (u64::BITS - OFFSET_BITS)) - 1;

impl EntryRow {
    fn new(at: Offset, common: u32, place: Location) -> Self {
        let column = u64::from(place.column.min(LAST_COLUMN));
        Self { packed: column << OFFSET_BITS | at, common, line: place.line }
    }

    const fn at(self) -> Offset {
        self.packed & ((1 << OFFSET_BITS) - 1)
    }

    fn column(self) -> u32 {
        u32::try_from(self.packed >> OFFSET_BITS).unwrap_or(LAST_COLUMN)
    }
}

/// What many entries have in common, kept once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Common {
    provider: usize,
    scope: Scope,
    priority: Priority,
    matched: Matched,
    terms: Option<usize>,
    /// The manifest where it is listed first, then the others, ascending.
    manifests: Vec<usize>,
}

/// The same target listed twice where that may be a mistake: with different hashes, or by the same place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// Listed first.
    pub first: Entry,
    /// Listed again.
    pub again: Entry,
}

impl Repeat {
    /// Whether the hashes differ.
    pub fn is_conflict(&self) -> bool {
        self.first.hash != self.again.hash
    }
}

impl Table {
    fn common(&mut self, common: Common) -> u32 {
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

    fn common_of(&self, row: EntryRow) -> &Common {
        &self.commons[row.common as usize]
    }

    fn order(&self, a: EntryRow, b: EntryRow) -> Ordering {
        let key = |row| {
            let common = self.common_of(row);
            (common.provider, common.scope)
        };
        key(a).cmp(&key(b)).then_with(|| self.arena.text(a.at()).cmp(&self.arena.text(b.at())))
    }

    /// Brings the rows in order, and returns whether some may be for the same target.
    fn put_in_order(&mut self) -> bool {
        let rows = std::mem::take(&mut self.rows);
        let order = |a: &EntryRow, b: &EntryRow| self.order(*a, *b);
        let ends = merge_sorted::ends(&rows, order);
        let is_worth_joining = ends.len() <= rows.len().div_ceil(WORTH_JOINING);
        let (rows, is_repeated) =
            if is_worth_joining { merge_sorted::merge(rows, ends, order) } else { (self.sorted(rows), true) };
        self.rows = rows;
        is_repeated
    }

    /// The rows in order. Most are told apart by a few bytes behind what all texts have in common, without a look at them.
    fn sorted(&self, rows: Vec<EntryRow>) -> Vec<EntryRow> {
        let Some(first) = rows.first() else { return rows };
        let first = self.arena.text(first.at());
        let shared = rows.iter().map(|row| self.arena.text(row.at()).shared_bytes(first)).min().unwrap_or_default();
        let mut kinds: Vec<_> = self.commons.iter().map(|common| (common.provider, common.scope)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let ranks = self.commons.iter().map(|common| kinds.binary_search(&(common.provider, common.scope)));
        let ranks: Vec<u64> = ranks.map(|rank| rank.unwrap_or_default() as u64).collect();
        let key = |row: &EntryRow| {
            let text = u64::from_be_bytes(self.arena.text(row.at()).bytes_at(shared));
            // Of more kinds than a byte can tell apart, none has a key.
            if kinds.len() > 256 { 0 } else { ranks[row.common as usize] << 56 | text >> 8 }
        };
        let mut keyed: Vec<(u64, EntryRow)> = rows.into_iter().map(|row| (key(&row), row)).collect();
        keyed.sort_by(|(one, a), (other, b)| {
            // Stable: the reading order decides among equals.
            one.cmp(other).then_with(|| self.order(*a, *b))
        });
        keyed.into_iter().map(|(_, row)| row).collect()
    }

    fn entry(&self, row: EntryRow) -> Entry {
        let Common { provider, scope, priority, matched, ref manifests, .. } = *self.common_of(row);
        Entry {
            provider,
            target: Target { scope, text: self.arena.text(row.at()).to_string() },
            hash: self.arena.hash(self.arena.after_text(row.at())),
            priority,
            manifests: manifests.clone(),
            place: self.place(row),
            matched,
        }
    }

    fn place(&self, row: EntryRow) -> Location {
        let common = self.common_of(row);
        Location { manifest: common.manifests[0], line: row.line, column: row.column() }
    }

    /// Takes entries for the same target together, which stand side by side.
    fn merge(&mut self, report: &mut impl FnMut(Repeat)) {
        let mut merged: Vec<EntryRow> = Vec::new();
        let mut before: Option<EntryRow> = None;
        for row in std::mem::take(&mut self.rows) {
            match merged.last_mut().filter(|first| self.order(**first, row).is_eq()) {
                None => merged.push(row),
                Some(first) => {
                    let is_same_place = before.is_some_and(|before| self.place(before) == self.place(row));
                    self.merge_into(first, row, is_same_place, report);
                }
            }
            before = Some(row);
        }
        self.rows = merged;
    }

    fn merge_into(
        &mut self,
        first: &mut EntryRow,
        again: EntryRow,
        is_same_place: bool,
        report: &mut impl FnMut(Repeat),
    ) {
        let is_same = self.arena.same_hash(self.arena.after_text(first.at()), self.arena.after_text(again.at()));
        if !is_same || is_same_place {
            report(Repeat { first: self.entry(*first), again: self.entry(again) });
        }
        if !is_same {
            return;
        }
        let (mut common, other) = (self.common_of(*first).clone(), self.common_of(again));
        common.priority = common.priority.min(other.priority);
        common.terms = common.terms.or(other.terms);
        let listed_first = common.manifests[0];
        let others = common.manifests.iter().chain(&other.manifests).copied().filter(|other| *other != listed_first);
        let mut others: Vec<usize> = others.collect();
        others.sort_unstable();
        others.dedup();
        common.manifests = [&[listed_first], others.as_slice()].concat();
        first.common = self.common(common);
    }
}

impl Draft {
    /// Packs a target's text and a hash.
    pub fn push(&mut self, text: &str, hash: &ContentHash) -> Packed {
        let at = self.table.arena.push_text(text);
        self.table.arena.push_hash(hash.as_str());
        Packed(at)
    }

    /// Packs a target's text, cut into its origin, what follows that, and the rest, with a canonical hash.
    pub fn pack_parts(&mut self, origin: &str, start: &str, rest: &str, hash: &str) -> Packed {
        let arena = &mut self.table.arena;
        let origin = arena.origin(origin);
        let at = arena.push_parts(origin, start, rest);
        arena.push_hash(hash);
        Packed(at)
    }

    /// As [`Draft::pack_parts`], with the bytes of a digest.
    pub fn pack_digest(
        &mut self,
        origin: &str,
        start: &str,
        rest: &str,
        (algorithm, digest): (Algorithm, &[u8]),
    ) -> Packed {
        let arena = &mut self.table.arena;
        let origin = arena.origin(origin);
        let at = arena.push_parts(origin, start, rest);
        arena.push_digest(algorithm, digest);
        Packed(at)
    }

    /// Lists what was packed.
    pub fn list(&mut self, packed: Packed, listing: &Listing) {
        let Listing { provider, scope, priority, place, matched, terms } = *listing;
        let table = &mut self.table;
        let is_same = |common: &Common| {
            (common.provider, common.scope, common.priority) == (provider, scope, priority)
                && (common.matched, common.terms) == (matched, terms)
                && common.manifests.as_slice() == [place.manifest]
        };
        // The usual case, without a look at the table of all.
        let common = match table.rows.last() {
            Some(last) if is_same(table.common_of(*last)) => last.common,
            _ => {
                let manifests = vec![place.manifest];
                table.common(Common { provider, scope, priority, matched, terms, manifests })
            }
        };
        table.rows.push(EntryRow::new(packed.0, common, place));
    }

    /// How many are listed.
    pub fn len(&self) -> usize {
        self.table.rows.len()
    }

    /// Whether nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.table.rows.is_empty()
    }

    /// One entry of all that list the same target at the same provider. Those with different hashes, of which the first
    /// one stays, and those that one place lists twice are given to `report`.
    pub fn finish(mut self, mut report: impl FnMut(Repeat)) -> Entries {
        let table = &mut self.table;
        if table.put_in_order() {
            table.merge(&mut report);
        }
        table.arena.shrink();
        table.rows.shrink_to_fit();
        Entries { table: Arc::new(self.table) }
    }
}

impl Entries {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.table.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.rows.is_empty()
    }

    /// The entry at `index`, unpacked.
    pub fn get(&self, index: usize) -> Entry {
        self.table.entry(self.table.rows[index])
    }

    /// All entries in order, each unpacked as it comes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Entry> + '_ {
        self.table.rows.iter().map(|row| self.table.entry(*row))
    }

    /// The entries for targets with this text, of all providers.
    pub fn of_text<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Entry> + 'a {
        let is_wanted = move |row: &&EntryRow| self.table.arena.text(row.at()).cmp_str(text).is_eq();
        self.table.rows.iter().filter(is_wanted).map(|row| self.table.entry(*row))
    }

    /// Providers and scopes of entries with the manifests that list them, each at least once.
    pub fn listings(&self) -> impl Iterator<Item = (usize, Scope, &[usize])> {
        self.table.commons.iter().map(|common| (common.provider, common.scope, common.manifests.as_slice()))
    }

    /// Index of the provider of the entry at `index`.
    pub fn provider(&self, index: usize) -> usize {
        self.common(index).provider
    }

    /// How the target at `index` is meant.
    pub fn scope(&self, index: usize) -> Scope {
        self.common(index).scope
    }

    /// Text of the target at `index`.
    pub fn text(&self, index: usize) -> PackedText<'_> {
        self.table.arena.text(self.table.rows[index].at())
    }

    /// The desired hash at `index`.
    pub fn hash(&self, index: usize) -> ContentHash {
        self.table.arena.hash(self.table.arena.after_text(self.table.rows[index].at()))
    }

    /// Index of the proof terms of the entry at `index` in the model.
    pub fn terms(&self, index: usize) -> Option<usize> {
        self.common(index).terms
    }

    /// Where the entry at `index` is listed first.
    pub fn place(&self, index: usize) -> Location {
        self.table.place(self.table.rows[index])
    }

    /// Indexes of the manifests that list the entry at `index`, the one where it is listed first before the others.
    pub fn manifests(&self, index: usize) -> &[usize] {
        &self.common(index).manifests
    }

    /// Whether the desired hash at `index` is this one.
    pub fn is_hash(&self, index: usize, canonical: &str) -> bool {
        self.table.arena.is_hash(self.table.arena.after_text(self.table.rows[index].at()), canonical)
    }

    /// Index of the entry of a provider for a target.
    pub fn find(&self, provider: usize, scope: Scope, text: &str) -> Option<usize> {
        let order = |row: &EntryRow| {
            let common = self.table.common_of(*row);
            let key = (common.provider, common.scope).cmp(&(provider, scope));
            key.then_with(|| self.table.arena.text(row.at()).cmp_str(text))
        };
        self.table.rows.binary_search_by(order).ok()
    }

    /// How many targets of a provider begin with `start`.
    pub fn count_below(&self, provider: usize, scope: Scope, start: &str) -> usize {
        let is_before = |row: &EntryRow| {
            let common = self.table.common_of(*row);
            let key = (common.provider, common.scope).cmp(&(provider, scope));
            key.then_with(|| self.table.arena.text(row.at()).cmp_str(start)).is_lt()
        };
        let first = self.table.rows.partition_point(is_before);
        let begins = |row: &&EntryRow| {
            let common = self.table.common_of(**row);
            (common.provider, common.scope) == (provider, scope) && self.table.arena.text(row.at()).starts_with(start)
        };
        self.table.rows[first..].iter().take_while(begins).count()
    }

    fn common(&self, index: usize) -> &Common {
        self.table.common_of(self.table.rows[index])
    }
}

impl FromIterator<Entry> for Entries {
    /// Takes entries that are unique; those listed twice are merged, the first hash stays.
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut draft = Draft::default();
        for entry in entries {
            let Entry { provider, target, hash, priority, manifests, place, matched } = entry;
            let packed = draft.push(&target.text, &hash);
            draft.list(packed, &Listing { provider, scope: target.scope, priority, place, matched, terms: None });
            if let Some(row) = draft.table.rows.last().copied() {
                let common = Common { manifests, ..draft.table.common_of(row).clone() };
                let common = draft.table.common(common);
                draft.table.rows.last_mut().into_iter().for_each(|row| row.common = common);
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
            place: Location { manifest, line, column: 3 },
            matched: Matched::Host,
        }
    }

    fn draft(entries: &[Entry]) -> Draft {
        let mut draft = Draft::default();
        for Entry { provider, target, hash, priority, place, matched, .. } in entries {
            let packed = draft.push(&target.text, hash);
            let (provider, priority, place, matched) = (*provider, *priority, *place, *matched);
            draft.list(packed, &Listing { provider, scope: target.scope, priority, place, matched, terms: None });
        }
        draft
    }

    #[test]
    fn entries_come_out_in_order_as_they_went_in() {
        let listed = [entry(1, "https://a.cn/x", "rev:1", 0, 4), entry(0, "https://b.cn/y", "rev:2", 1, 2)];
        let entries = draft(&listed).finish(|repeat| panic!("{repeat:?}"));
        assert_eq!(entries.iter().collect::<Vec<_>>(), [listed[1].clone(), listed[0].clone()]);
        assert_eq!(entries.find(0, Scope::Url, "https://a.cn/x"), None);
        assert_eq!(
            ["https://b", "https://b.cn/", "https://b.cn/yy"].map(|start| entries.count_below(0, Scope::Url, start)),
            [1, 1, 0]
        );
        assert!(entries.is_hash(0, "rev:2") && entries.find(1, Scope::Url, "https://a.cn/x") == Some(1));
    }

    /// Y1: places on one line cost no more than those on lines of their own.
    #[test]
    fn columns_are_told_apart_and_have_the_rest_in_common() {
        let at = |column| {
            let text = format!("https://a.cn/{column:010}");
            Entry { place: Location { manifest: 0, line: 1, column }, ..entry(0, &text, "rev:1", 0, 1) }
        };
        let listed = [1, 900, LAST_COLUMN].map(at);
        let entries = draft(&listed).finish(|repeat| panic!("{repeat:?}"));
        assert_eq!(entries.iter().collect::<Vec<_>>(), listed);
        assert_eq!((entries.table.commons.len(), size_of::<EntryRow>()), (1, 16));
        let further = draft(&[at(u32::MAX)]).finish(drop);
        assert_eq!(further.place(0).column, LAST_COLUMN);
    }

    /// R5: the same hash is one entry of all its manifests, another one a conflict that names both places.
    #[test]
    fn what_is_listed_twice_is_merged_or_a_conflict() {
        let again = Entry { priority: Priority::High, ..entry(0, "https://a.cn/x", "rev:1", 2, 9) };
        let other = entry(0, "https://a.cn/x", "rev:2", 1, 5);
        let first = entry(0, "https://a.cn/x", "rev:1", 0, 7);
        let mut repeats = Vec::new();
        let entries = draft(&[first.clone(), other.clone(), again]).finish(|repeat| repeats.push(repeat));
        assert_eq!(repeats, [Repeat { first: first.clone(), again: other }]);
        assert!(repeats[0].is_conflict());
        let merged = Entry { priority: Priority::High, manifests: vec![0, 2], ..first };
        assert_eq!(entries.iter().collect::<Vec<_>>(), [merged]);
    }

    /// R5: lists that are long and in order are joined in another way than short ones.
    #[test]
    fn what_two_long_lists_have_in_common_is_merged() {
        let list = |manifest, numbers: std::ops::Range<usize>| {
            numbers.map(move |number| entry(0, &format!("https://a.cn/{number:04}"), "rev:1", manifest, 1))
        };
        let listed: Vec<Entry> = list(0, 0..300).chain(list(1, 299..500)).collect();
        let entries = draft(&listed).finish(|repeat| panic!("{repeat:?}"));
        assert_eq!(entries.len(), 500);
        let manifests: Vec<_> = (298..=300).map(|at| entries.manifests(at).to_vec()).collect();
        assert_eq!(manifests, [vec![0], vec![0, 1], vec![1]]);
    }

    /// A source lists all its files at one place: only its reader knows whether a name is there twice.
    #[test]
    fn what_one_place_lists_twice_is_told_with_the_same_hash_too() {
        let [first, again] =
            [(0, 7), (1, 9)].map(|(manifest, line)| entry(0, "https://a.cn/x", "rev:1", manifest, line));
        let mut repeats = Vec::new();
        draft(&[first.clone(), again.clone(), again.clone()]).finish(|repeat| repeats.push(repeat));
        assert_eq!(repeats.len(), 1);
        assert!(!repeats[0].is_conflict() && repeats[0].again == again);
    }

    proptest::proptest! {
        #[test]
        fn many_entries_are_in_order(listed in proptest::collection::vec((0..300_usize, "(https?://[ab]{1,2})?[/?a-c]{0,11}"), 0..40)) {
            let listed: Vec<Entry> = listed.iter().map(|(provider, text)| entry(*provider, text, "rev:1", 0, 1)).collect();
            let key = |entry: &Entry| (entry.provider, entry.target.clone());
            let expected: std::collections::BTreeSet<_> = listed.iter().map(key).collect();
            let entries = draft(&listed).finish(drop);
            proptest::prop_assert!(entries.iter().map(|entry| key(&entry)).eq(expected));
        }
    }

    /// More kinds of entries than the keys of the sort can tell apart.
    #[test]
    fn many_providers_are_in_order() {
        let listed: Vec<Entry> = (0..600).map(|at| entry(at * 7 % 300, ["b", "a"][at % 2], "rev:1", 0, 1)).collect();
        let entries = draft(&listed).finish(drop);
        let keys: Vec<_> = entries.iter().map(|entry| (entry.provider, entry.target.text)).collect();
        assert!(keys.is_sorted() && keys.len() >= 300, "{}", keys.len());
    }
}
