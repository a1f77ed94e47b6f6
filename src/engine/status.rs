//! What the state holds, and what providers say of purges that they accepted.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::query::Asker;
use super::{Desired, Exit, QUERY_MS, QuotaStanding, REFUSED, Results, ask_tasks, lock, quotas, run_start};
use crate::core::contract::ErrorClass;
use crate::core::diff::Unclaimed;
use crate::core::hold::{KnownRefusal, SeenRemovals};
use crate::core::model::Priority;
use crate::core::owners;
use crate::core::proof_record::{ProofRow, ProofVerdict};
use crate::core::provider_key::ProviderKey;
use crate::core::query::TaskState;
use crate::core::recorded::{ChangeKind, KnownManifest, Progress, Recorded, Standing, Work};
use crate::core::time::Timestamp;
use crate::host::credentials::CredentialStore;
use crate::host::{Host, Timeouts, manifest_tree};
use crate::state::{
    Backend, Counts, DoubtfulCall, Holder, Identity, QuotaUse, RunRow, Settled, StateError, Store, TaskCounts,
};

/// Most manifests that a command names one by one.
const MOST_PATHS: usize = 8;

/// What the state holds.
pub struct Overview {
    /// The wall clock.
    pub now: Timestamp,
    /// Where it is.
    pub path: String,
    /// Lineage and serial.
    pub identity: Identity,
    /// All targets. Removals that are no work, since no run was to send them so far, are to be done as well.
    pub recorded: Vec<Recorded>,
    /// The manifests that it knows.
    manifests: Vec<KnownManifest>,
    /// What guards refuse.
    pub refused: Vec<KnownRefusal>,
    /// What only manifests list that are not there any more.
    pub unclaimed: Vec<Unclaimed>,
    /// Calls of stopped runs without an outcome.
    pub doubtful: Vec<DoubtfulCall>,
    /// The holder of the lock.
    pub running: Option<Holder>,
    /// Calls of the run under way without an answer yet.
    pub unanswered: usize,
    /// The last runs, newest first.
    pub runs: Vec<RunRow>,
    /// How the quotas of providers stand.
    pub quotas: Vec<QuotaStanding>,
    /// The quota ledger.
    pub quota: Vec<QuotaUse>,
    /// Results of accepted purges, where they have tasks.
    pub tasks: Vec<TaskCounts>,
    /// What was seen at edges, and what is to be seen there.
    pub proof: ProofOverview,
}

/// What a state knows of the proof of all targets.
#[derive(Debug, Default)]
pub struct ProofOverview {
    /// Those that an edge served stale when it was probed last.
    pub stale: Vec<ProofRow>,
    /// Probes that are owed, by the namespace of their providers: how many, and when the first may be made.
    pub owed: BTreeMap<Option<String>, (u64, Timestamp)>,
    counts: Vec<(String, ProofVerdict, u64)>,
}

impl ProofOverview {
    fn read(store: &dyn Store) -> Result<Self, StateError> {
        let counts = store.proof_counts()?;
        let mut proof = Self { counts, ..Self::default() };
        // Most states ask for no proof at all.
        let rows = if proof.counts.is_empty() { Vec::new() } else { store.proofs()? };
        for row in rows {
            if let Some(due) = row.due {
                let namespace = ProviderKey::of(&row.provider).namespace.map(str::to_owned);
                let (owed, next) = proof.owed.entry(namespace).or_insert((0, due));
                *owed += 1;
                *next = due.min(*next);
            }
            if row.verdict == ProofVerdict::Stale {
                proof.stale.push(row);
            }
        }
        Ok(proof)
    }

    /// Numbers of targets of a provider that are verified, stale, and neither after they were probed.
    pub fn numbers(&self, provider: &str) -> [u64; 3] {
        let of = |verdict| {
            let own = self.counts.iter().filter(|(name, one, _)| name == provider && *one == verdict);
            own.map(|(_, _, number)| number).sum::<u64>()
        };
        let neither = of(ProofVerdict::Inconclusive) + of(ProofVerdict::Unverifiable);
        [of(ProofVerdict::Verified), of(ProofVerdict::Stale), neither]
    }

    /// Whether anything was asked of edges.
    pub const fn is_asked_for(&self) -> bool {
        !self.counts.is_empty()
    }
}

impl Overview {
    /// Reads a state that another run may hold; `runs`: so many of the last ones.
    ///
    /// # Errors
    /// A state that cannot be read.
    pub fn read(
        store: &dyn Store,
        path: String,
        running: Option<Holder>,
        runs: usize,
        now: Timestamp,
    ) -> Result<Self, StateError> {
        // What the run under way has not heard of yet is no doubt.
        let newest = store.runs(1)?;
        let live = newest.first().filter(|run| running.is_some() && run.finished_at.is_none()).map(|run| run.id);
        let (unanswered, doubtful): (Vec<_>, Vec<_>) =
            store.doubtful_calls()?.into_iter().partition(|call| Some(call.run) == live);
        let mut recorded = store.recorded()?;
        let refused = store.refusals()?;
        show_refused(&mut recorded, &store.seen_removals()?, &refused);
        let mut quotas = quotas(store, now)?;
        hide_left_behind(&mut quotas, &recorded);
        let manifests = store.manifests()?;
        Ok(Self {
            now,
            path,
            identity: store.identity()?,
            unclaimed: unclaimed(&manifests, &recorded),
            recorded,
            manifests,
            refused,
            doubtful,
            runs: store.runs(runs)?,
            running,
            unanswered: unanswered.len(),
            quotas,
            quota: store.quota_uses()?,
            tasks: store.task_counts()?,
            proof: ProofOverview::read(store)?,
        })
    }

    /// Where the manifests of a namespace are, for a command about them; empty where that are many.
    pub fn paths(&self, namespace: Option<&str>) -> Vec<String> {
        paths_of(&self.manifests, namespace)
    }

    /// Whether work is left that was first seen so many milliseconds ago, or earlier.
    pub fn is_left_since(&self, ms: u64) -> bool {
        let latest = self.now.plus_ms(i64::try_from(ms).map_or(i64::MIN, |ms| -ms));
        self.recorded.iter().filter_map(|row| row.work.as_ref()).any(|work| work.since <= latest)
    }

    /// Numbers of targets by where they stand, for each provider. One with an older recorded hash and work that is left counts as both.
    pub fn by_provider(&self) -> BTreeMap<&str, Counts> {
        let probed = self.proof.counts.iter().map(|(provider, ..)| (provider.as_str(), Counts::default()));
        let mut providers: BTreeMap<&str, Counts> = probed.collect();
        for row in &self.recorded {
            let counts = providers.entry(&row.provider).or_default();
            counts.recorded += u64::from(row.hash.is_some());
            let Some(work) = &row.work else { continue };
            *match work.standing {
                Standing::Pending { .. } => &mut counts.pending,
                Standing::Waiting { .. } => &mut counts.waiting,
                Standing::Deferred { .. } => &mut counts.deferred,
                Standing::Rejected { .. } => &mut counts.rejected,
            } += 1;
        }
        providers
    }
}

/// Where the manifests of a namespace are, for a command about them: the folder that holds them, if it is or is in the usual one,
/// else each of them; empty where that are many.
pub(super) fn paths_of(manifests: &[KnownManifest], namespace: Option<&str>) -> Vec<String> {
    let own = manifests.iter().filter(|one| one.namespace.as_deref() == namespace && one.root.is_some());
    let files: Vec<String> = own.map(KnownManifest::found_by).filter(|file| manifest_tree::is_there(file)).collect();
    match manifest_tree::usual_folder_of(&files) {
        Some(folder) => vec![folder],
        None if files.len() > MOST_PATHS => Vec::new(),
        None => files,
    }
}

/// Hides quotas of providers that the state holds nothing of any more, and that nothing of today was used of.
fn hide_left_behind(quotas: &mut Vec<QuotaStanding>, recorded: &[Recorded]) {
    let known: BTreeSet<&str> = recorded.iter().map(|row| row.provider.as_str()).collect();
    quotas.retain(|quota| quota.used > 0 || known.contains(quota.terms.provider.as_str()));
    let shown: BTreeSet<String> = quotas.iter().map(|quota| quota.terms.provider.clone()).collect();
    for quota in quotas {
        quota.shared_with.retain(|provider| shown.contains(provider));
    }
}

/// Has removals that are no work look as what they are to people: pending. What no run was allowed to send says so, where a
/// guard refuses a manifest that lists it or listed it, or one that such a manifest is held back with.
pub(super) fn show_refused(recorded: &mut [Recorded], seen: &SeenRemovals, refused: &[KnownRefusal]) {
    if seen.is_empty() && refused.is_empty() {
        return;
    }
    for row in recorded.iter_mut().filter(|row| row.work.is_none()) {
        let Some(since) = seen.get(&(row.provider.clone(), row.target.clone())) else { continue };
        row.work = Some(Work {
            desired: None,
            kind: ChangeKind::Removed,
            priority: Priority::Normal,
            since: *since,
            standing: Standing::fresh(),
            progress: Progress::Seen,
            in_doubt: false,
            may_have_been_purged: false,
            accepted_at: Vec::new(),
        });
    }
    for row in recorded {
        let Some(work) = row.work.as_mut().filter(|work| work.progress == Progress::Seen) else { continue };
        if let Standing::Pending { reason: reason @ None } = &mut work.standing {
            let why: Vec<String> = refused.iter().filter_map(|known| known.why_held(&row.owners)).collect();
            *reason = why.iter().find(|why| *why == REFUSED).or(why.first()).cloned();
        }
    }
}

/// What only manifests list that are not there any more.
fn unclaimed(known: &[KnownManifest], recorded: &[Recorded]) -> Vec<Unclaimed> {
    let absent = owners::absent(known, &manifest_tree::is_there);
    let of = |name: &String| absent.iter().find(|manifest| manifest.name == *name);
    let mut unclaimed: BTreeMap<&str, Unclaimed> = BTreeMap::new();
    for row in recorded.iter().filter(|row| row.owners.iter().all(|owner| of(owner).is_some())) {
        let Some(manifest) = row.owners.first().and_then(of) else { continue };
        let (name, file) = (manifest.name.clone(), Some(manifest.found_by()));
        let none = Unclaimed { manifest: name, file, copy: None, targets: 0, pending: 0 };
        let found = unclaimed.entry(&manifest.name).or_insert(none);
        found.targets += 1;
        found.pending += usize::from(row.work.is_some());
    }
    unclaimed.into_values().collect()
}

/// What providers said of accepted purges, and what came of it.
pub struct Refreshed {
    /// Their answers.
    pub results: Results,
    /// Failed purges that are pending now.
    pub due_again: u64,
}

impl Refreshed {
    /// How a command that only asks ends.
    pub fn exit(&self) -> Exit {
        let refusals = self.results.errors.iter().map(|(_, error)| match error.class {
            ErrorClass::Auth => Exit::Credentials,
            _ => Exit::Failed,
        });
        Exit::worst(refusals.chain((self.due_again > 0).then_some(Exit::NotAllDone)))
    }
}

/// Asks the providers what became of accepted purges and notes it. Only the noting needs the lock: what another run does
/// meanwhile is left alone. `None`: there is no state.
///
/// # Errors
/// A state that cannot be used.
pub async fn refresh(
    host: &Host,
    state: &dyn Backend,
    desired: &Desired,
    lock_timeout_ms: u64,
) -> Result<Option<Refreshed>, StateError> {
    let Some(store) = state.open()? else { return Ok(None) };
    let open = store.open_tasks()?;
    drop(store);
    let credentials = CredentialStore::new(host.env.clone());
    let mut asker = Asker::new(host, &desired.model, &credentials, Timeouts::within(QUERY_MS));
    let results = ask_tasks(&mut asker, &desired.model, open, host.clock.now().wall).await;
    let news = |settled: &&Settled| settled.state != TaskState::Processing;
    let settled: Vec<Settled> = results.told.iter().filter(news).cloned().collect();
    if settled.is_empty() {
        return Ok(Some(Refreshed { results, due_again: 0 }));
    }
    let lock = lock(host, state, &run_start(host), lock_timeout_ms).await?;
    let Some(mut store) = lock.open()? else { return Ok(None) };
    let due_again = store.settle(&settled, host.clock.now().wall)?;
    Ok(Some(Refreshed { results, due_again }))
}
