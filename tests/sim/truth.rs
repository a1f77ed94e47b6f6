//! What is true, from the vendors' log, the wire and the times of commits, and what must hold of the state.
//!
//! Knows the invariants and nothing of how the engine keeps them. Times are steps of the world: each thing that happens
//! has a number of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use freshen::core::recorded::{Recorded, Standing};
use freshen::core::target::ContentHash;

use crate::spec::Spec;
use crate::vendors::Key;

/// What must not be: the invariant's id and what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) id: &'static str,
    pub(crate) what: String,
}

/// What a target is to the manifests that runs have marked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Present {
    /// Not asked for, or done with.
    #[default]
    Absent,
    /// Listed with this hash.
    Listed(String),
    /// Purged once, or perhaps, and listed no more: to be purged a last time.
    Removing,
}

/// The truth about one target of one provider.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) present: Present,
    /// When a purge became due, unless none is.
    pub(crate) stale: Option<u64>,
    /// When the change that waits was first seen, in milliseconds.
    pub(crate) seen: Option<u64>,
    /// When it was first seen to go, in milliseconds, while no run was to purge it.
    gone: Option<u64>,
    /// Since when none is due.
    settled: u64,
    /// When it was new last, and what was done about it since.
    new_at: u64,
    touched: Touched,
    /// Purges: endpoint and when the request left.
    accepted: Vec<(usize, u64)>,
    /// Acceptances that reached a runner and are not on disk yet: endpoint, when the request left, runner.
    told: Vec<(usize, u64, u8)>,
    /// Endpoints whose acceptance is on disk, and since when.
    heard: BTreeMap<usize, u64>,
    /// Calls without an outcome on disk, by endpoint; `true`: ended for the client.
    open: BTreeMap<usize, bool>,
    /// When its last intent was committed.
    intent: u64,
    /// How its provider was configured when it was sent last.
    tried: Option<String>,
    /// The state says so, for what is asked for now.
    pub(crate) rejected: bool,
    /// With which content a guard let it through, and with which it was allowed.
    passed: Option<Content>,
    goes_on: Option<Content>,
    /// How its provider was configured when it was refused where nothing else was sent: it may be taken to be to blame.
    accused: Option<String>,
    /// The vendor refuses it for good.
    pub(crate) poison: bool,
}

/// What was done about a target since it was new last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Touched {
    #[default]
    Not,
    /// A call for it was prepared.
    Asked,
    /// A vendor carried out a call that had left since: visitors may have had it cached anew.
    Purged,
}

/// The hash that a target is listed with; `None`: it is to be removed.
#[derive(Debug, PartialEq, Eq)]
struct Content(Option<String>);

/// What a run is about to mark.
pub(crate) struct Marked<'a> {
    pub(crate) listed: &'a BTreeMap<Key, String>,
    pub(crate) before: &'a [Recorded],
    pub(crate) forced: &'a dyn Fn(Key) -> bool,
    /// New targets are adopted, removed ones forgotten.
    pub(crate) adopts: bool,
    pub(crate) forgets: bool,
    /// Only what was seen is marked: a guard refused the run.
    pub(crate) refused: bool,
    /// When it read the state.
    pub(crate) at: u64,
    /// How new the manifests were that it read.
    pub(crate) read: u64,
    /// Targets that the user left out: they are not forgotten.
    pub(crate) unselected: &'a dyn Fn(Key) -> bool,
    /// Those of them whose removals are not marked.
    pub(crate) left_out: &'a dyn Fn(Key) -> bool,
    /// Which targets the run is about; others are those of manifests that it does not read and that are there.
    pub(crate) covers: &'a dyn Fn(Key) -> bool,
}

/// All targets, and the first violation.
#[derive(Default)]
pub(crate) struct Truth {
    pub(crate) entries: BTreeMap<Key, Entry>,
    keys: HashMap<String, Key>,
    names: Vec<String>,
    /// How many of which endpoints must accept, by provider.
    require: Vec<(usize, Vec<usize>)>,
    /// How each provider is configured.
    pub(crate) configured: Vec<String>,
    /// Two runners share the state, so what one of them had prepared is judged by its intent.
    pub(crate) two_runners: bool,
    /// How new the newest manifests were by which anything was marked.
    newest: u64,
    pub(crate) violation: Option<Violation>,
}

impl Truth {
    pub(crate) fn new(names: Vec<String>, require: Vec<(usize, Vec<usize>)>) -> Self {
        let configured = vec![String::new(); names.len()];
        Self { names, require, configured, ..Self::default() }
    }

    pub(crate) fn add(&mut self, key: Key, text: String, poison: bool) {
        self.keys.insert(text, key);
        self.entries.insert(key, Entry { poison, ..Entry::default() });
    }

    pub(crate) fn violate(&mut self, id: &'static str, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(Violation { id, what: what() });
        }
    }

    pub(crate) fn key_of(&self, row: &Recorded) -> Option<Key> {
        let provider = self.names.iter().position(|name| *name == row.provider)?;
        self.keys.get(&row.target.text).copied().filter(|key| key.0 == provider)
    }

    /// What a run that read these manifests wants a row to become.
    pub(crate) fn wanted(&self, listed: &BTreeMap<Key, String>, row: &Recorded) -> Option<String> {
        listed.get(&self.key_of(row)?).cloned()
    }

    /// What was refused under another configuration and is not tried under this one.
    pub(crate) fn forgotten_refusal(&self) -> Option<Key> {
        let was_tried_before =
            |key: &Key, entry: &Entry| entry.tried.as_ref().is_some_and(|tried| *tried != self.configured[key.0]);
        let waits = |entry: &Entry| entry.poison && entry.present != Present::Absent && entry.stale.is_some();
        self.entries.iter().find(|(key, entry)| waits(entry) && was_tried_before(key, entry)).map(|(key, _)| *key)
    }

    /// How a target is named.
    pub(crate) fn text(&self, key: Key) -> String {
        let found = self.keys.iter().find(|(_, known)| **known == key);
        found.map(|(text, _)| text.clone()).unwrap_or_default()
    }

    /// The target of a change.
    pub(crate) fn key(&self, text: &str) -> Option<Key> {
        self.keys.get(text).copied()
    }

    /// Whether the vendor refuses it whenever it is asked. Where nothing else is accepted beside it, nobody can know, and it stays
    /// pending.
    pub(crate) fn is_poison(&self, row: &Recorded) -> bool {
        self.key_of(row).is_some_and(|key| self.entries[&key].poison)
    }

    /// Whether no purge is due, or all that are were made.
    pub(crate) fn satisfied(&self, key: Key) -> bool {
        let entry = &self.entries[&key];
        let Some(stale) = entry.stale else { return true };
        let (require, endpoints) = &self.require[key.0];
        let since = entry.accepted.iter().filter(|(endpoint, sent)| *sent >= stale && endpoints.contains(endpoint));
        since.map(|(endpoint, _)| endpoint).collect::<BTreeSet<_>>().len() >= *require
    }

    /// Somebody configures a provider otherwise: so many of these endpoints must accept from now on. What is recorded stays so;
    /// what was refused, and what was accepted in part, may be sent once more.
    pub(crate) fn reconfigured(&mut self, provider: usize, spec: &Spec, step: u64) {
        let (require, endpoints) = (spec.require, spec.active.clone());
        self.configured[provider] = format!("{spec:?}");
        let before = std::mem::replace(&mut self.require[provider], (require, endpoints));
        for (_, entry) in self.entries.iter_mut().filter(|(key, _)| key.0 == provider) {
            if entry.stale.is_some() && before.1.iter().filter(|one| entry.heard.contains_key(*one)).count() >= before.0
            {
                entry.settle(step);
            }
            entry.heard.clear();
            entry.told.clear();
        }
    }

    /// A vendor that refuses everything refuses this, which is all that it is asked for.
    pub(crate) fn accuse(&mut self, key: Key) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.accused = Some(self.configured[key.0].clone());
        }
    }

    /// Whether it may be taken to be to blame, as its provider is configured now.
    pub(crate) fn is_accused(&self, key: Key) -> bool {
        self.entries[&key].accused.as_ref() == Some(&self.configured[key.0])
    }

    /// A request for these leaves.
    pub(crate) fn left(&mut self, wanted: &[Key], endpoint: usize) {
        let two_runners = self.two_runners;
        for key in wanted {
            let Some(entry) = self.entries.get_mut(key) else { continue };
            entry.open.insert(endpoint, false);
            entry.tried = Some(self.configured[key.0].clone());
            if entry.rejected && !two_runners {
                self.violate("S3", || format!("{key:?} was rejected and is sent again"));
            }
        }
    }

    /// The client knows how a request for these ended.
    pub(crate) fn ended(&mut self, wanted: &[Key], endpoint: usize) {
        for key in wanted {
            if let Some(open) = self.entries.get_mut(key).and_then(|entry| entry.open.get_mut(&endpoint)) {
                *open = true;
            }
        }
    }

    /// A vendor purged this, asked by a request that left at `sent`.
    pub(crate) fn purged(&mut self, text: &str, endpoint: usize, sent: u64) -> Option<Key> {
        let Some(&key) = self.keys.get(text) else {
            self.violate("S4", || format!("{text} was purged and is in no manifest"));
            return None;
        };
        let two_runners = self.two_runners;
        let entry = self.entries.get_mut(&key)?;
        let decided = if two_runners { entry.intent.min(sent) } else { sent };
        let needless = entry.is_needless(endpoint, decided);
        entry.accept(endpoint, sent);
        if needless {
            let id = if entry.present == Present::Absent { "S4" } else { "S3" };
            self.violate(id, || format!("{key:?} was purged at endpoint {endpoint} without need"));
        }
        Some(key)
    }

    /// A vendor purged everything below this, asked by a request that left at `sent`.
    pub(crate) fn purged_directory(&mut self, directory: &str, endpoint: usize, sent: u64) {
        let below: Vec<Key> =
            self.keys.iter().filter(|(text, _)| text.starts_with(directory)).map(|(_, key)| *key).collect();
        let mut needed = false;
        for key in below {
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            needed |= !entry.is_needless(endpoint, sent);
            // What lies below it and was not meant is purged by chance: no purge is promised for it once it goes.
            let (is_meant, touched) = (entry.open.contains_key(&endpoint), entry.touched);
            entry.accept(endpoint, sent);
            if !is_meant {
                entry.touched = touched;
            }
        }
        if !needed {
            self.violate("S3", || format!("{directory} was purged without need"));
        }
    }

    /// The acceptance of these reached a runner.
    pub(crate) fn told(&mut self, keys: &[Key], endpoint: usize, sent: u64, runner: u8) {
        for key in keys {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.told.push((endpoint, sent, runner));
            }
        }
    }

    /// The intent of a call for this is on disk.
    pub(crate) fn intended(&mut self, text: &str, step: u64) {
        if let Some(entry) = self.keys.get(text).and_then(|key| self.entries.get_mut(key)) {
            entry.intent = step;
            entry.touched = entry.touched.max(Touched::Asked);
        }
    }

    /// The outcome of a runner's call for this is on disk, at one of several endpoints or at the last one that it takes. Outcomes of
    /// others may wait for the next commit.
    pub(crate) fn concluded(&mut self, text: &str, accepted: Option<Accepted>, (runner, step): (u8, u64)) {
        let Some(entry) = self.keys.get(text).and_then(|key| self.entries.get_mut(key)) else { return };
        let is_it = |endpoint: usize| accepted.is_none_or(|accepted| accepted.covers(endpoint));
        entry.open.retain(|endpoint, ended| !(*ended && is_it(*endpoint)));
        if accepted.is_some() {
            entry.hear(runner, step, &is_it);
        }
    }

    /// A run came to its end by itself and could write its state: it had every chance to record what it heard.
    pub(crate) fn ran_to_its_end(&mut self, step: u64) {
        for entry in self.entries.values_mut() {
            entry.hear(0, step, &|_| true);
            entry.open.clear();
        }
    }

    /// A process died: what it had sent and not concluded is in doubt (C2).
    pub(crate) fn died(&mut self, rows: &[Recorded]) {
        let by_key: BTreeMap<Key, &Recorded> = rows.iter().filter_map(|row| Some((self.key_of(row)?, row))).collect();
        let mut lost = None;
        for (key, entry) in &mut self.entries {
            entry.told.clear();
            let sent = !std::mem::take(&mut entry.open).is_empty();
            // A row that is gone or without work is judged by S1 and S2.
            let work = by_key.get(key).and_then(|row| row.work.as_ref());
            let shown = work.is_none_or(|work| work.in_doubt);
            if sent && !shown && entry.present != Present::Absent {
                lost.get_or_insert(*key);
            }
        }
        if let Some(key) = lost {
            self.violate("C2", || format!("{key:?} was sent without an outcome and is not in doubt"));
        }
    }

    /// A guard lets these through.
    pub(crate) fn passes(&mut self, keys: &BTreeSet<Key>, listed: &BTreeMap<Key, String>) {
        for key in keys {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.passed = Some(Content(listed.get(key).cloned()));
            }
        }
    }

    /// These were allowed, and a run was made of them.
    pub(crate) fn go_on<'k>(&mut self, keys: impl Iterator<Item = &'k Key>, listed: &BTreeMap<Key, String>) {
        for key in keys {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.goes_on = Some(Content(listed.get(key).cloned()));
            }
        }
    }

    /// Whether a guard let it through with this content, and whether it was allowed with it.
    pub(crate) fn is_let_through(&self, key: Key, listed: &BTreeMap<Key, String>) -> (bool, bool) {
        let (entry, content) = (&self.entries[&key], Some(Content(listed.get(&key).cloned())));
        (entry.passed == content || entry.goes_on == content, entry.goes_on == content)
    }

    /// A run marked what it saw. What was read before a newer run came and went says nothing any more.
    pub(crate) fn marked(&mut self, mark: &Marked<'_>, step: u64) {
        if mark.read < self.newest {
            return;
        }
        self.newest = mark.read;
        let rows: BTreeMap<Key, &Recorded> =
            mark.before.iter().filter_map(|row| Some((self.key_of(row)?, row))).collect();
        for (key, entry) in self.entries.iter_mut().filter(|(key, _)| (mark.covers)(**key)) {
            let row = rows.get(key).copied();
            match mark.listed.get(key) {
                Some(hash) => entry.list(hash, row, mark, *key, step),
                None => entry.unlist(row, mark, *key, step),
            }
        }
    }

    /// S1, S2: the state against the truth.
    pub(crate) fn check(&mut self, rows: &[Recorded]) {
        let mut found = BTreeSet::new();
        let mut violation = None;
        let mut tell = |id, what: String| {
            violation.get_or_insert(Violation { id, what });
        };
        for row in rows {
            let Some(key) = self.key_of(row) else {
                tell("S4", format!("the state knows {} of {}", row.target, row.provider));
                continue;
            };
            found.insert(key);
            let entry = &self.entries[&key];
            if let Some(endpoint) = row.work.as_ref().and_then(|work| twice(&work.accepted_at)) {
                tell("S6", format!("{key:?} holds twice that {endpoint} accepted it"));
            }
            match (&entry.present, &row.work) {
                (Present::Absent, _) => tell("R7", format!("{key:?} is done with and still in the state")),
                (Present::Listed(hash), None) => {
                    if row.hash.as_ref().map(ToString::to_string).as_ref() != Some(hash) {
                        tell("S2", format!("{key:?} should become {hash}, is {:?}, and nothing is to do", row.hash));
                    } else if !self.satisfied(key) {
                        tell("S1", format!("{key:?} is recorded as {hash} and was not purged for it"));
                    }
                }
                (Present::Removing, None) => tell("S2", format!("{key:?} was removed and nothing is to do")),
                (Present::Listed(hash), Some(work)) => {
                    if work.desired.as_ref().map(ToString::to_string).as_ref() != Some(hash) {
                        tell("S2", format!("{key:?} should become {hash}, the work is for {:?}", work.desired));
                    }
                    if matches!(work.standing, Standing::Rejected { .. }) && !entry.poison && entry.accused.is_none() {
                        tell("L2", format!("{key:?} is rejected and the vendor never refused it"));
                    }
                }
                (Present::Removing, Some(work)) => {
                    if work.desired.is_some() {
                        tell("S2", format!("{key:?} was removed, the work is for {:?}", work.desired));
                    }
                }
            }
        }
        for (key, entry) in &self.entries {
            let missing = match entry.present {
                Present::Absent => false,
                Present::Listed(_) => !found.contains(key),
                Present::Removing => !found.contains(key) && !self.satisfied(*key),
            };
            if missing {
                tell("S2", format!("{key:?} is lost: {:?}", entry.present));
            }
        }
        if let Some(Violation { id, what }) = violation {
            self.violate(id, || what);
        }
    }

    /// A process starts; it learns what the state holds as rejected for what is listed now.
    pub(crate) fn starts(&mut self, rows: &[Recorded], listed: &BTreeMap<Key, String>, forced: &dyn Fn(Key) -> bool) {
        for entry in self.entries.values_mut() {
            entry.rejected = false;
            // What the last process knew and could not write is gone with it.
            entry.told.clear();
            entry.open.clear();
        }
        for row in rows {
            let (Some(key), Some(work)) = (self.key_of(row), &row.work) else { continue };
            let same = work.desired.as_ref().map(ToString::to_string).as_ref() == listed.get(&key);
            let rejected = matches!(work.standing, Standing::Rejected { .. }) && same && !forced(key);
            if let Some(entry) = self.entries.get_mut(&key) {
                let is_same = entry.tried.as_ref().is_none_or(|tried| *tried == self.configured[key.0]);
                entry.rejected = rejected && is_same;
            }
        }
    }
}

/// What a list holds twice.
fn twice(list: &[String]) -> Option<&String> {
    list.iter().enumerate().find(|(place, text)| list[..*place].contains(text)).map(|(_, text)| text)
}

/// What accepted a call.
#[derive(Clone, Copy)]
pub(crate) enum Accepted {
    At(usize),
    Whole,
}

impl Accepted {
    fn covers(self, endpoint: usize) -> bool {
        match self {
            Self::At(at) => at == endpoint,
            Self::Whole => true,
        }
    }
}

impl Entry {
    /// Whether the process that decided on a purge knew that none was due.
    fn is_needless(&self, endpoint: usize, decided: u64) -> bool {
        match self.stale {
            None => decided > self.settled,
            Some(_) => self.heard.get(&endpoint).is_some_and(|heard| *heard < decided),
        }
    }

    fn accept(&mut self, endpoint: usize, sent: u64) {
        if sent >= self.new_at {
            self.touched = Touched::Purged;
        }
        self.accepted.push((endpoint, sent));
    }

    fn hear(&mut self, runner: u8, step: u64, is_it: &dyn Fn(usize) -> bool) {
        let stale = self.stale.unwrap_or(0);
        let mine = self.told.extract_if(.., |(endpoint, _, by)| *by == runner && is_it(*endpoint));
        self.heard.extend(mine.filter(|(_, sent, _)| *sent >= stale).map(|(endpoint, ..)| (endpoint, step)));
    }

    fn due(&mut self, row: Option<&Recorded>, (at, step): (u64, u64)) {
        self.stale = Some(step);
        self.accused = None;
        (self.passed, self.goes_on) = (None, None);
        // What waits already keeps its place.
        self.seen = self.seen.filter(|_| row.is_some_and(|row| row.work.is_some())).or(Some(at));
        self.accepted.clear();
        self.told.clear();
        self.heard.clear();
    }

    fn settle(&mut self, step: u64) {
        self.gone = None;
        self.stale = None;
        self.seen = None;
        self.settled = step;
    }

    fn list(&mut self, hash: &str, row: Option<&Recorded>, mark: &Marked<'_>, key: Key, step: u64) {
        let recorded = row.and_then(|row| row.hash.as_ref()).map(ContentHash::as_str);
        // What only a refused run's user asked for ends with that run.
        let forced = (mark.forced)(key) && !(mark.refused && recorded == Some(hash));
        let listed = Present::Listed(hash.to_owned());
        self.gone = None;
        let is_new = row.is_none();
        if is_new {
            (self.new_at, self.touched) = (step, Touched::Not);
        }
        if is_new && mark.adopts && !forced {
            // A refused run adopts nothing.
            if !mark.refused {
                self.present = listed;
                self.settle(step);
            }
            return;
        }
        let fresh = recorded == Some(hash) && row.is_some_and(|row| row.work.is_none());
        if fresh && !forced {
            self.settle(step);
        } else if self.present != listed || forced || is_new {
            let let_through = (self.passed.take(), self.goes_on.take());
            let is_same = self.present == listed && mark.refused;
            self.due(row, (mark.at, step));
            if is_same {
                (self.passed, self.goes_on) = let_through;
            }
        }
        self.present = listed;
    }

    /// Whether visitors may have it cached: it is to be purged once it goes. A call that was not carried out may be taken for one
    /// that was; where none was prepared, nothing may be.
    fn may_be_cached(&self, row: &Recorded) -> bool {
        let is_said_so = || row.work.as_ref().is_some_and(|work| work.may_have_been_purged);
        match self.touched {
            Touched::Purged => true,
            Touched::Asked => row.hash.is_some() || is_said_so(),
            Touched::Not => row.hash.is_some(),
        }
    }

    fn unlist(&mut self, row: Option<&Recorded>, mark: &Marked<'_>, key: Key, step: u64) {
        if self.present == Present::Absent {
            return;
        }
        match row {
            Some(row) if self.may_be_cached(row) && !mark.forgets => {
                if self.present != Present::Removing {
                    let since = *self.gone.get_or_insert(mark.at);
                    if mark.refused || (mark.left_out)(key) {
                        return;
                    }
                    self.present = Present::Removing;
                    self.due(Some(row), (since, step));
                }
            }
            _ if mark.refused => {}
            Some(row) if row.work.is_none() && self.may_be_cached(row) && (mark.unselected)(key) => {}
            // Gone already, never purged, or to be forgotten.
            _ => {
                self.present = Present::Absent;
                self.settle(step);
            }
        }
    }
}
