//! The state as one process sees it: each write is a place to die at, before it took effect or after.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use freshen::core::changes::Change;
use freshen::core::changes::Changes;
use freshen::core::diff::Difference;
use freshen::core::endpoints::{AwayCache, FoundCaches, ReturnedCache};
use freshen::core::event::{ItemOutcome, Record};
use freshen::core::hold::{KnownRefusal, SeenRemovals};
use freshen::core::model::Model;
use freshen::core::owners::{Newcomers, Unread};
use freshen::core::plan::{QuotaKey, QuotaTerms};
use freshen::core::proof_record::{ProofRow, ProofVerdict, RunProof, SettledProof};
use freshen::core::recorded::{
    ChangeKind, Inputs, KnownManifest, Progress, PurgedRemoval, Recorded, RecordedRow, Standing,
};
use freshen::core::target::Target;
use freshen::core::time::Timestamp;
use freshen::state::{
    Commit, Counts, DoubtfulCall, Identity, OpenTask, QuotaUse, RefusedRun, RunRow, RunStart, Settled, SqliteStore,
    StateError, Store, TaskCounts,
};

use crate::files::{Files, Paths};
use crate::planted::{Bug, alter, moved};
use crate::seams::Shared;
use crate::truth::{Accepted, Marked, Truth};
use crate::vendors::Key;

/// Checked after each commit only where that is cheap; a kill or the end of a run checks all others.
const OFTEN_CHECKED: usize = 12;
/// Quotas of directories.
const DIRECTORIES: [&str; 2] = ["PurgePathCache", "RefreshVodObjectCaches Directory"];

/// The store of one process.
pub(crate) struct SimStore {
    pub(crate) shared: Shared,
    /// 0, or 1 for the second of two runners.
    pub(crate) runner: u8,
    pub(crate) inner: Arc<Mutex<SqliteStore>>,
    /// Where it lies, if two runners share it.
    pub(crate) path: Option<PathBuf>,
    pub(crate) facts: Arc<Mutex<Facts>>,
    pub(crate) bug: Option<Bug>,
    pub(crate) debits: BTreeMap<u64, (QuotaKey, u64)>,
    /// A planted defect: what is put to the name of each account.
    pub(crate) ledger: String,
}

/// What a process reads and is about, for the truth to judge what it writes.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Facts {
    /// What it read in the manifests.
    pub(crate) listed: BTreeMap<Key, String>,
    pub(crate) forced: BTreeSet<Key>,
    /// The only provider that the run is to purge at.
    pub(crate) only: Option<usize>,
    pub(crate) adopts: bool,
    pub(crate) forgets: bool,
    /// Any number of removals may go.
    pub(crate) allows_removals: bool,
    /// A guard refused what was not tried before.
    pub(crate) refused: bool,
    /// What guards let through in this run.
    pub(crate) passing: BTreeSet<Key>,
    /// When this process read the state.
    pub(crate) began: u64,
    /// How new the manifests were that this process read.
    pub(crate) read: u64,
    /// What it is about.
    pub(crate) files: Option<(Files, Paths)>,
    /// The run was written down, and to its end.
    pub(crate) has_begun: bool,
    pub(crate) is_finished: bool,
}

impl Facts {
    fn covers(&self, key: Key) -> bool {
        self.files.as_ref().is_none_or(|(files, paths)| files.covers(*paths, key))
    }

    /// What goes of manifests that lose more than guards let through, whatever the user selects.
    fn lost(&self, before: &[Recorded], truth: &Truth) -> BTreeSet<Key> {
        let recorded = before.iter().filter(|row| row.hash.is_some());
        let recorded: Vec<(Key, &Recorded)> = recorded.filter_map(|row| Some((truth.key_of(row)?, row))).collect();
        let goes = |key: Key| self.covers(key) && !self.listed.contains_key(&key);
        let mut counts: BTreeMap<&String, (usize, usize)> = BTreeMap::new();
        for (key, row) in &recorded {
            let was_let_through = row.work.as_ref().is_some_and(|work| {
                work.desired.is_none() && matches!(work.progress, Progress::Admitted | Progress::Tried)
            });
            for owner in &row.owners {
                let (removed, of) = counts.entry(owner).or_default();
                *of += 1;
                *removed += usize::from(goes(*key) && !was_let_through);
            }
        }
        let is_lost = |(removed, of): &(usize, usize)| *removed > 10 && removed * 100 > of * 30;
        let is_lost = |owner| !self.forgets && !self.allows_removals && counts.get(owner).is_some_and(is_lost);
        recorded
            .into_iter()
            .filter(|(key, row)| goes(*key) && row.owners.iter().any(is_lost))
            .map(|(key, _)| key)
            .collect()
    }
}

impl SimStore {
    pub(crate) fn inner(&self) -> MutexGuard<'_, SqliteStore> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write<T>(
        &mut self,
        what: &'static str,
        body: impl FnOnce(&mut SqliteStore) -> Result<T, StateError>,
        then: impl FnOnce(&Self, &[Recorded]),
    ) -> Result<T, StateError> {
        self.shared.step(|| format!("about to {what}"));
        if self.shared.lock().faults.store_fails_now() {
            let mut core = self.shared.lock();
            core.disk_full_at = core.steps;
            core.saw("the disk is full");
            core.tell(|| format!("the disk is full: no {what}"));
            drop(core);
            return Err(StateError::Io {
                location: ":memory:".into(),
                action: "written",
                cause: "disk full".to_owned(),
            });
        }
        if let (Some(path), Some(Bug::NoLock)) = (&self.path, self.bug) {
            let again = SqliteStore::open(path)?.expect("it is there");
            *self.inner() = again;
        }
        let before = if what == "mark" { self.inner().recorded()? } else { Vec::new() };
        let done = body(&mut self.inner());
        match &done {
            Ok(_) => then(self, &before),
            // Without the path, which differs from one play to the next.
            Err(StateError::Overtaken { found, expected, .. }) => {
                self.shared.lock().tell(|| format!("{what} failed: overtaken, serial {found}, not {expected}"));
            }
            Err(error) => self.shared.lock().tell(|| format!("{what} failed: {error}")),
        }
        let often = self.facts().listed.len() <= OFTEN_CHECKED || what == "mark";
        if done.is_ok() && often {
            let rows = self.inner().recorded()?;
            self.shared.lock().truth.check(&rows);
        }
        self.shared.step(|| format!("{what} is done"));
        done
    }

    fn key(&self, key: &QuotaKey) -> QuotaKey {
        QuotaKey { account: format!("{}{}", key.account, self.ledger), ..key.clone() }
    }

    fn marks(&self, before: &[Recorded], refused: bool) {
        let facts = self.facts();
        let forced = |key: Key| facts.forced.contains(&key);
        let covers = |key: Key| facts.covers(key);
        // Those that the user left out are marked unless all of them may be an accident.
        let lost = facts.lost(before, &self.shared.lock().truth);
        let unselected = |key: Key| facts.only.is_some_and(|only| only != key.0);
        let left_out = |key: Key| unselected(key) && lost.contains(&key);
        let Facts { listed, adopts, forgets, began: at, read, .. } = &*facts;
        let (adopts, forgets, at, read) = (*adopts, *forgets, *at, *read);
        let (unselected, left_out, covers, forced) = (&unselected, &left_out, &covers, &forced);
        let mark = Marked { listed, before, forced, adopts, forgets, refused, at, read, unselected, left_out, covers };
        let mut core = self.shared.lock();
        let step = core.steps;
        core.truth.marked(&mark, step);
        if !refused {
            core.truth.passes(&facts.passing, listed);
        }
    }

    fn committed(&self, records: &[Record], changes: &Changes) {
        let mut core = self.shared.lock();
        let step = core.steps;
        for record in records {
            core.tell(|| format!("  on disk: {record:?}"));
            match record {
                Record::Intent { items, debit, .. } => {
                    if debit.as_ref().is_some_and(|(key, _)| DIRECTORIES.contains(&key.operation)) {
                        let keys = items.iter().filter_map(|&item| core.truth.key(&changes.target(item).text));
                        let keys: Vec<Key> = keys.collect();
                        let first = changes.target(items[0]);
                        let host = first.host().unwrap_or_default();
                        core.directories.insert(format!("https://{host}/"), keys);
                    }
                    for &item in items {
                        core.truth.intended(&changes.target(item).text, step);
                    }
                }
                Record::Outcome { items, .. } => {
                    for (item, outcome) in items {
                        let accepted = match outcome {
                            ItemOutcome::Recorded { .. } => Some(Accepted::Whole),
                            ItemOutcome::AcceptedAt(endpoint) => Some(Accepted::At(core.endpoint_at(endpoint))),
                            ItemOutcome::Rejected(_) | ItemOutcome::Later(_) => None,
                        };
                        core.truth.concluded(&changes.target(*item).text, accepted, (self.runner, step));
                    }
                }
                _ => {}
            }
        }
    }
}

/// A planted defect: what is listed no more is dropped.
fn without_removals(model: &Model, difference: &Difference) -> Difference {
    let (gone, rest): (Vec<_>, Vec<_>) =
        difference.changes.iter().partition(|change| change.kind == ChangeKind::Removed);
    let key = |change: Change| (model.providers[change.provider].name.clone(), change.target);
    let forget = difference.forget.iter().cloned().chain(gone.into_iter().map(key)).collect();
    Difference {
        changes: Arc::new(rest.into_iter().collect()),
        adopt: difference.adopt.clone(),
        forget,
        dropped: difference.dropped.clone(),
        owners: difference.owners.clone(),
        noted: difference.noted.clone(),
        ..Difference::default()
    }
}

impl Store for SimStore {
    fn is_first_run(&self) -> Result<bool, StateError> {
        self.inner().is_first_run()
    }

    fn recorded(&self) -> Result<Vec<Recorded>, StateError> {
        let mut rows = self.inner().recorded()?;
        for row in &mut rows {
            let returned = self.bug == Some(Bug::ReturnForgotten) && {
                let facts = self.facts();
                let wanted = self.shared.lock().truth.wanted(&facts.listed, row);
                wanted.is_some() && wanted == row.hash.as_ref().map(ToString::to_string)
            };
            match (self.bug, &mut row.work) {
                (Some(Bug::RejectedAgain), Some(work)) if matches!(work.standing, Standing::Rejected { .. }) => {
                    work.standing = Standing::fresh();
                }
                (Some(Bug::PartsForgotten), Some(work)) => work.accepted_at.clear(),
                _ if returned => row.work = None,
                _ => {}
            }
        }
        Ok(rows)
    }

    fn recorded_of(&self, _: &str) -> Result<Vec<Recorded>, StateError> {
        unreachable!("no run asks for one target")
    }

    fn scan(&self, visit: &mut dyn FnMut(RecordedRow<'_>)) -> Result<(), StateError> {
        self.recorded()?.iter().for_each(|row| visit(row.row()));
        Ok(())
    }

    fn look_up(&self, _: &Model, _: &mut dyn FnMut(RecordedRow<'_>)) -> Result<(), StateError> {
        unreachable!("no run here knows manifests again")
    }

    fn inputs(&self) -> Result<Option<Inputs>, StateError> {
        self.inner().inputs()
    }

    fn has_work(&self) -> Result<bool, StateError> {
        self.inner().has_work()
    }

    fn note_inputs(&mut self, _: &Inputs) -> Result<(), StateError> {
        unreachable!("no run here knows manifests again")
    }

    fn enter_namespace(&mut self, _: &Model, _: &Newcomers) -> Result<bool, StateError> {
        unreachable!("no run here has a namespace")
    }

    fn manifests(&self) -> Result<Vec<KnownManifest>, StateError> {
        self.inner().manifests()
    }

    fn quota_used(&self, key: &QuotaKey) -> Result<u64, StateError> {
        self.inner().quota_used(&self.key(key))
    }

    fn quota_uses(&self) -> Result<Vec<QuotaUse>, StateError> {
        self.inner().quota_uses()
    }

    fn quota_terms(&self) -> Result<Vec<(QuotaTerms, String)>, StateError> {
        self.inner().quota_terms()
    }

    fn account_of(&self, provider: &str) -> Result<Option<String>, StateError> {
        self.inner().account_of(provider)
    }

    fn directories_refused(&self, provider: &str) -> Result<Option<(String, Timestamp)>, StateError> {
        self.inner().directories_refused(provider)
    }

    fn caches_away(&self, now: Timestamp) -> Result<Vec<AwayCache>, StateError> {
        self.inner().caches_away(now)
    }

    fn note_caches(&mut self, found: &[FoundCaches], at: Timestamp) -> Result<(), StateError> {
        self.write("note caches", |store| store.note_caches(found, at), |_, _| ())
    }

    fn owe_caches(&mut self, back: &[ReturnedCache], at: Timestamp) -> Result<u64, StateError> {
        self.write("owe caches", |store| store.owe_caches(back, at), |_, _| ())
    }

    fn doubtful_calls(&self) -> Result<Vec<DoubtfulCall>, StateError> {
        self.inner().doubtful_calls()
    }

    fn runs(&self, most: usize) -> Result<Vec<RunRow>, StateError> {
        self.inner().runs(most)
    }

    fn refusals(&self) -> Result<Vec<KnownRefusal>, StateError> {
        self.inner().refusals()
    }

    fn seen_removals(&self) -> Result<SeenRemovals, StateError> {
        self.inner().seen_removals()
    }

    fn purged_removals(&self, text: &str) -> Result<Vec<PurgedRemoval>, StateError> {
        self.inner().purged_removals(text)
    }

    fn purged_targets(&self) -> Result<Vec<String>, StateError> {
        self.inner().purged_targets()
    }

    fn identity(&self) -> Result<Identity, StateError> {
        self.inner().identity()
    }

    fn open_tasks(&self) -> Result<Vec<OpenTask>, StateError> {
        self.inner().open_tasks()
    }

    fn task_counts(&self) -> Result<Vec<TaskCounts>, StateError> {
        self.inner().task_counts()
    }

    fn owed_proofs(&self, providers: &[String], until: Timestamp, limit: usize) -> Result<Vec<ProofRow>, StateError> {
        self.inner().owed_proofs(providers, until, limit)
    }

    fn next_proof_due(&self, providers: &[String]) -> Result<Option<Timestamp>, StateError> {
        self.inner().next_proof_due(providers)
    }

    fn proofs(&self) -> Result<Vec<ProofRow>, StateError> {
        self.inner().proofs()
    }

    fn proof_of(&self, provider: &str, target: &Target) -> Result<Option<ProofRow>, StateError> {
        self.inner().proof_of(provider, target)
    }

    fn proof_counts(&self) -> Result<Vec<(String, ProofVerdict, u64)>, StateError> {
        self.inner().proof_counts()
    }

    fn varies(&self) -> Result<Vec<(String, Vec<String>)>, StateError> {
        self.inner().varies()
    }

    fn settle_proofs(&mut self, settled: &[SettledProof], at: Timestamp) -> Result<u64, StateError> {
        self.write("settle proofs", |store| store.settle_proofs(settled, at), |_, _| ())
    }

    fn note_proof(&mut self, run: i64, proof: RunProof) -> Result<(), StateError> {
        self.write("note proof", |store| store.note_proof(run, proof), |_, _| ())
    }

    fn note_vary(&mut self, host: &str, names: &[String], at: Timestamp) -> Result<(), StateError> {
        self.write("note vary", |store| store.note_vary(host, names, at), |_, _| ())
    }

    fn mark(&mut self, model: &Model, difference: &Difference, at: Timestamp) -> Result<(), StateError> {
        let altered = (self.bug == Some(Bug::RemovalForgotten)).then(|| without_removals(model, difference));
        let difference = altered.as_ref().unwrap_or(difference);
        self.write(
            "mark",
            |store| store.mark(model, difference, at),
            |this, before| {
                let refused = this.facts().refused;
                this.marks(before, refused);
            },
        )
    }

    fn mark_seen(&mut self, model: &Model, difference: &Difference) -> Result<(), StateError> {
        let forgets = self.bug == Some(Bug::ManifestsForgotten);
        self.facts().refused = true;
        let body = |store: &mut SqliteStore| {
            let known = store.manifests()?;
            store.mark_seen(model, difference)?;
            let is_new = |name: &&String| !known.iter().any(|manifest| manifest.name == **name);
            let names = store.manifests()?.into_iter().map(|manifest| manifest.name).collect::<Vec<_>>();
            let new: Vec<String> = names.iter().filter(is_new).filter(|_| forgets).cloned().collect();
            store.forget_manifests(&new)
        };
        self.write("mark", body, |this, before| this.marks(before, true))
    }

    fn note_refusals(&mut self, covers: &[String], refused: &[KnownRefusal]) -> Result<(), StateError> {
        // Most runs have nothing to write.
        let before = self.inner().refusals()?;
        if before.is_empty() && refused.is_empty() {
            return Ok(());
        }
        self.write("note refusals", |store| store.note_refusals(covers, refused), |_, _| ())
    }

    fn forget_seen_removals(&mut self, keys: &[(String, Target)]) -> Result<(), StateError> {
        self.write("forget removals", |store| store.forget_seen_removals(keys), |_, _| ())
    }

    fn note_refused_run(&mut self, refused: &RefusedRun<'_>) -> Result<(), StateError> {
        self.write("list a refused run", |store| store.note_refused_run(refused), |_, _| ())
    }

    fn adopt(&mut self, _: &Model, _: &[usize], _: &Unread, _: Timestamp) -> Result<(), StateError> {
        unreachable!("no run adopts by command")
    }

    fn forget_manifests(&mut self, names: &[String]) -> Result<(), StateError> {
        self.write("forget", |store| store.forget_manifests(names), |_, _| {})
    }

    fn begin_run(
        &mut self,
        start: &RunStart,
        accounts: &[(String, String)],
        in_use: &[String],
    ) -> Result<i64, StateError> {
        self.write("begin", |store| store.begin_run(start, accounts, in_use), |this, _| this.facts().has_begun = true)
    }

    fn note_quota_terms(&mut self, of_providers: &[(String, Vec<QuotaTerms>)]) -> Result<(), StateError> {
        self.write("quotas", |store| store.note_quota_terms(of_providers), |_, _| {})
    }

    fn commit(&mut self, run: i64, batch: &Commit<'_>) -> Result<(), StateError> {
        let records = match self.bug {
            Some(bug) => alter(bug, batch.records, &mut self.debits),
            None => batch.records.to_vec(),
        };
        let records = if self.ledger.is_empty() { records } else { moved(&records, &|key| self.key(key)) };
        let altered = Commit { records: &records, ..*batch };
        let changes = batch.changes;
        self.write("commit", |store| store.commit(run, &altered), |this, _| this.committed(&records, changes))
    }

    fn finish_run(&mut self, run: i64, at: Timestamp, exit: i64, calls: u64, counts: Counts) -> Result<(), StateError> {
        self.write(
            "finish",
            |store| store.finish_run(run, at, exit, calls, counts),
            |this, _| this.facts().is_finished = true,
        )
    }

    fn settle(&mut self, _: &[Settled], _: Timestamp) -> Result<u64, StateError> {
        unreachable!("no run asks about tasks")
    }

    fn learn_quota(&mut self, _: &QuotaKey, _: u64) -> Result<(), StateError> {
        unreachable!("the command asks for quotas before a run")
    }

    fn forget(&mut self, _: &[(String, Target)]) -> Result<usize, StateError> {
        unreachable!("no run forgets by command")
    }

    fn raise_quota(&mut self, _: &[freshen::state::QuotaUse]) -> Result<(), StateError> {
        unreachable!("no run imports")
    }

    fn import(&mut self, _: &[Recorded]) -> Result<(), StateError> {
        unreachable!("no run imports")
    }

    fn import_proofs(&mut self, _: &[ProofRow]) -> Result<(), StateError> {
        unreachable!("no run imports")
    }
}
