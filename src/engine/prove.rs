//! Shows what edges serve after purges: makes the probes that are owed, notes what they say, and makes due again what is stale.
//!
//! Holds the lock of the state only while it writes: other runs go on meanwhile, and what they change supersedes what was seen.

mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::Result;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::watch;

pub use report::{ProofReport, ProvenTarget, SeenAt};

use super::claim::{lock, run_start};
use super::inputs::{FoundManifests, Loaded, Lookup, ManifestsRead, find};
use super::{Desired, Exit, LOOK_UP_MS, Located, OnEvent, Pass, ReadObserver, Selection, Stop, apply, probing};
use crate::core::edge::{self, EdgeTarget, KnownAddresses};
use crate::core::gate::ProbeId;
use crate::core::model::Model;
use crate::core::probe::{Probed, Sight};
use crate::core::proof::{Owed, Proof, ProofAction, Proven};
use crate::core::proof_record::{ProofRow, ProofVerdict, SettledProof};
use crate::core::proof_terms::{ProofTerms, Verify};
use crate::core::target::{ContentHash, Target};
use crate::core::text_patterns::TextPatterns;
use crate::core::time::{Now, Tick, Timestamp};
use crate::host::{BoxFuture, Host, Timeouts};
use crate::state::{Backend, Store};

/// Results that are written together, unless nothing else is to be waited for.
const WRITTEN_TOGETHER: usize = 500;
/// Most rows that are probed in one round.
const MOST_ROWS: usize = 1_000_000;
/// How long another run is waited for that holds the state, in milliseconds.
const LOCK_MS: u64 = 60_000;
/// After how long a target is probed again that stayed stale or gave no answer, in milliseconds, doubling.
const REST_MS: i64 = 600_000;
/// The longest such rest.
const LONGEST_REST_MS: i64 = 21_600_000;

/// Makes probes.
pub struct Prover<'a> {
    /// Effects.
    pub host: &'a Host,
    /// The state.
    pub state: &'a dyn Backend,
    /// Which targets are probed.
    pub selection: &'a Selection,
    /// Nothing is begun after it.
    pub deadline: Option<Tick>,
    /// How long one probe may take.
    pub timeouts: Timeouts,
    /// Turns true when nothing is to be probed any more.
    pub stop: watch::Receiver<bool>,
}

/// Which targets are probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Those that owe a probe: they were purged and not seen since.
    Owed,
    /// All whose recorded content is the desired one.
    All,
}

/// A row with all that its probes need.
struct Asked<'a> {
    row: ProofRow,
    terms: &'a ProofTerms,
    verify: &'a Verify,
    name: &'a str,
}

impl Prover<'_> {
    /// The rows that are to be probed now: those of the selection, unless their probe is put off to a later run.
    ///
    /// # Errors
    /// A state that cannot be read.
    fn rows(&self, desired: &Desired, extent: Extent) -> Result<Vec<ProofRow>> {
        let Some(store) = self.state.open()? else { return Ok(Vec::new()) };
        let rows = match extent {
            Extent::Owed => {
                let now = self.host.clock.now().wall;
                let owed = store
                    .owed_proofs(&desired.model.provider_keys(), Timestamp::from_unix_ms(i64::MAX), MOST_ROWS)?
                    .into_iter();
                // What stayed stale in an earlier run is not waited for.
                owed.filter(|row| row.verdict == ProofVerdict::Due || row.due.is_some_and(|due| due <= now)).collect()
            }
            Extent::All => recorded(&*store)?,
        };
        let only = TextPatterns::new(&self.selection.only);
        let model = &desired.model;
        let is_wanted = |row: &ProofRow| {
            let provider = model.index_of_key(&row.provider);
            provider.is_some_and(|provider| {
                self.selection.takes(&only, model, provider, &row.target) && is_current(desired, provider, row)
            })
        };
        Ok(rows.into_iter().filter(is_wanted).collect())
    }

    /// Probes rows and notes what comes of it. Returns how many targets are due again, since they are stale.
    ///
    /// # Errors
    /// A state that cannot be written.
    async fn round(
        &mut self,
        desired: &mut Desired,
        rows: Vec<ProofRow>,
        marks: bool,
        report: &mut ProofReport,
    ) -> Result<u64> {
        let located = Located::of_providers(self.host, desired, LOOK_UP_MS).await;
        desired.locate(&located);
        let desired = &*desired;
        let known = self.addresses(desired, &rows).await;
        let began = self.host.clock.now();
        let (mut asked, mut owed, mut settled) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            let Some(asked_row) = Asked::of(desired, row) else { continue };
            match asked_row.owed(desired, &known, self.host.seed, began) {
                Ok(question) => {
                    owed.push(question);
                    asked.push(asked_row);
                }
                Err(why) => settled.push(self.by_rule(&asked_row, why, report)),
            }
        }
        let model = &desired.model;
        let unprobed = (0..asked.len()).collect();
        let mut round = Round { machine: Proof::new(owed.clone()), asked, owed, unprobed, settled, marks, marked: 0 };
        self.play(model, &mut round, report).await?;
        round.report_unprobed(self.host.clock.now().wall, report);
        Ok(round.marked)
    }

    async fn play(&mut self, model: &Model, round: &mut Round<'_>, report: &mut ProofReport) -> Result<()> {
        let mut under_way: FuturesUnordered<BoxFuture<'_, (ProbeId, Probed)>> = FuturesUnordered::new();
        let (host, timeouts) = (self.host, self.timeouts);
        let mut stop = self.stop.clone();
        loop {
            let now = host.clock.now();
            let is_over = self.deadline.is_some_and(|deadline| now.tick >= deadline) || *stop.borrow();
            let wake = match round.machine.poll(now.tick) {
                _ if is_over => break,
                ProofAction::Probe(id, probe) => {
                    report.probes += 1;
                    under_way.push(Box::pin(async move { (id, probing::probe(host, &probe, timeouts).await) }));
                    continue;
                }
                ProofAction::Settled(index, proven) => {
                    round.unprobed.remove(&index);
                    let settled = round.settle(index, &proven, now.wall, report);
                    round.settled.push(settled);
                    if round.settled.len() >= WRITTEN_TOGETHER {
                        round.marked += self.write(model, &mut round.settled, report).await?;
                    }
                    continue;
                }
                ProofAction::WakeAt(wake) => wake,
                ProofAction::Done => break,
            };
            if under_way.is_empty() {
                round.marked += self.write(model, &mut round.settled, report).await?;
            }
            let until = wake.into_iter().chain(self.deadline).min();
            tokio::select! {
                biased;
                Some((id, probed)) = under_way.next(), if !under_way.is_empty() => {
                    report.bytes += probed.as_ref().map_or(0, |seen| seen.bytes);
                    round.machine.probed(id, &probed, host.clock.now().tick);
                }
                _ = stop.wait_for(|stop| *stop) => {}
                () = host.clock.sleep_until(until.unwrap_or_default()), if until.is_some() => {}
            }
        }
        drop(under_way);
        round.marked += self.write(model, &mut round.settled, report).await?;
        Ok(())
    }

    /// What no probe can tell is noted as such.
    fn by_rule(&self, asked: &Asked<'_>, why: String, report: &mut ProofReport) -> SettledProof {
        let settled = asked.settled(ProofVerdict::Unverifiable, None, self.host.clock.now().wall);
        let target = ProvenTarget::by_rule(asked.name, &settled, why);
        report.settle(target);
        settled
    }

    /// Writes results, under the lock; how many targets are due again.
    async fn write(&self, model: &Model, settled: &mut Vec<SettledProof>, report: &mut ProofReport) -> Result<u64> {
        if settled.is_empty() {
            return Ok(0);
        }
        let mut settled = std::mem::take(settled);
        let marked = settled.iter().filter(|settled| settled.mark_stale.is_some()).count() as u64;
        let locked = lock(self.host, self.state, &run_start(self.host), LOCK_MS).await?;
        let Some(mut store) = locked.open()? else { return Ok(0) };
        let now = self.host.clock.now().wall;
        let layers = other_layers(model, &settled, &*store)?;
        settled.extend(layers);
        report.superseded += store.settle_proofs(&settled, now)?;
        for (host, names) in report.take_varies() {
            store.note_vary(&host, &names, now)?;
        }
        Ok(marked)
    }

    /// Looks up the names that vantages of these rows need.
    async fn addresses(&self, desired: &Desired, rows: &[ProofRow]) -> KnownAddresses {
        let mut names = BTreeSet::new();
        for row in rows {
            let verify = terms_of(desired, row).and_then(|terms| terms.verify.as_ref());
            names.extend(verify.into_iter().flat_map(|verify| edge::names_of(verify, &row.target)));
        }
        let mut known = KnownAddresses::new();
        for name in names {
            let found = self.host.resolver.addresses(&name).await.unwrap_or_default();
            known.insert(name, found);
        }
        known
    }
}

/// What is purged again at one layer of caches is purged again at all of them, from the origin outwards: the copy may come from
/// the next one.
fn other_layers(model: &Model, settled: &[SettledProof], store: &dyn Store) -> Result<Vec<SettledProof>> {
    let mut others = BTreeMap::new();
    for stale in settled.iter().filter(|settled| settled.mark_stale.is_some()) {
        let Some(provider) = model.index_of_key(&stale.row.provider) else { continue };
        let Target { scope, text } = &stale.row.target;
        for layer in model.layers_of(provider).into_iter().filter(|layer| *layer != provider) {
            let Some(entry) = model.entries.find(layer, *scope, text) else { continue };
            let key = (model.provider_key(layer), stale.row.target.clone());
            let is_there = settled.iter().any(|one| (&one.row.provider, &one.row.target) == (&key.0, &key.1));
            if is_there || others.contains_key(&key) {
                continue;
            }
            let hash = model.entries.hash(entry);
            let known = store.proof_of(&key.0, &key.1)?.filter(|row| row.hash.as_ref() == Some(&hash));
            let row = known.unwrap_or_else(|| ProofRow::unproven(key.0.clone(), key.1.clone(), hash));
            let why = format!("purged again with `{}`", model.providers[provider].name);
            let repurges = row.repurges;
            let marked = SettledProof {
                row,
                verdict: ProofVerdict::Stale,
                by: None,
                probed_at: None,
                due: None,
                seen: None,
                repurges,
                variants: Vec::new(),
                mark_stale: Some(why),
            };
            others.insert(key, marked);
        }
    }
    Ok(others.into_values().collect())
}

/// Whether the manifests ask for what the row is about.
fn is_current(desired: &Desired, provider: usize, row: &ProofRow) -> bool {
    let entry = desired.model.entries.find(provider, row.target.scope, &row.target.text);
    match (entry, &row.hash) {
        (Some(entry), Some(hash)) => desired.model.entries.is_hash(entry, hash.as_str()),
        (None, None) => true,
        _ => false,
    }
}

/// Recorded targets whose manifests ask for proof, as rows.
fn recorded(store: &dyn Store) -> Result<Vec<ProofRow>> {
    let known: BTreeMap<_, ProofRow> =
        store.proofs()?.into_iter().map(|row| ((row.provider.clone(), row.target.clone()), row)).collect();
    let mut rows = Vec::new();
    store.scan(&mut |row| {
        let Some(hash) = row.valid_hash().filter(|_| row.work.is_none()) else { return };
        let target = Target { scope: row.scope, text: row.text.to_owned() };
        let key = (row.provider.to_owned(), target);
        let unproven = || {
            let hash = ContentHash::from_canonical(hash);
            ProofRow::unproven(key.0.clone(), key.1.clone(), hash)
        };
        rows.push(known.get(&key).cloned().unwrap_or_else(unproven));
    })?;
    Ok(rows)
}

/// What is asked of the edges of a target: as its entry says, or a manifest that listed it.
fn terms_of<'a>(desired: &'a Desired, row: &ProofRow) -> Option<&'a ProofTerms> {
    let model = &desired.model;
    let provider = model.index_of_key(&row.provider)?;
    let terms = if let Some(entry) = model.entries.find(provider, row.target.scope, &row.target.text) {
        model.entries.terms(entry)
    } else {
        let mut listed = model.manifests.iter().filter(|manifest| row.owners.contains(&manifest.name));
        listed.find_map(|manifest| manifest.terms)
    };
    model.proof_terms.get(terms?)
}

impl<'a> Asked<'a> {
    fn of(desired: &'a Desired, row: ProofRow) -> Option<Self> {
        let terms = terms_of(desired, &row)?;
        let verify = terms.verify.as_ref()?;
        let provider = desired.model.index_of_key(&row.provider)?;
        Some(Self { name: &desired.model.providers[provider].name, row, terms, verify })
    }

    /// The question to its edges.
    fn owed(&self, desired: &Desired, known: &KnownAddresses, seed: u64, now: Now) -> Result<Owed, String> {
        let provider = desired.model.index_of_key(&self.row.provider).ok_or("its provider is gone")?;
        // Purges are waited for. What rests after a probe can be probed at any time.
        let due = self.row.due.filter(|_| self.row.verdict == ProofVerdict::Due);
        let wait_ms = due.map_or(0, |due| due.unix_ms().saturating_sub(now.wall.unix_ms()).max(0));
        let nonce = format!("{:016x}", seed ^ now.wall.unix_ms().unsigned_abs());
        edge::owed(
            self.terms,
            EdgeTarget {
                config: &desired.model.providers[provider],
                target: &self.row.target,
                content: self.row.hash.clone(),
                gone: self.row.gone.clone(),
                validator: self.row.validator.clone(),
                variants: None,
                due: now.tick.plus_ms(wait_ms.unsigned_abs()),
                nonce,
            },
            known,
        )
    }

    fn settled(&self, verdict: ProofVerdict, due: Option<Timestamp>, now: Timestamp) -> SettledProof {
        SettledProof {
            row: self.row.clone(),
            verdict,
            by: self.verify.compare.by(),
            probed_at: Some(now),
            due,
            seen: None,
            repurges: self.row.repurges,
            variants: Vec::new(),
            mark_stale: None,
        }
    }

    /// When it is probed again that stayed as it is: after as long as it has been so already.
    fn rest(&self, now: Timestamp) -> Timestamp {
        let since = self.row.accepted_at.unwrap_or(now);
        let age = now.unix_ms().saturating_sub(since.unix_ms());
        now.plus_ms(age.clamp(REST_MS, LONGEST_REST_MS))
    }
}

/// Probes of one round.
struct Round<'a> {
    machine: Proof,
    asked: Vec<Asked<'a>>,
    owed: Vec<Owed>,
    /// Those without a result yet.
    unprobed: BTreeSet<usize>,
    settled: Vec<SettledProof>,
    /// Whether what is stale is due again.
    marks: bool,
    /// Targets that are due again.
    marked: u64,
}

impl Round<'_> {
    /// What was not probed in time still owes its probe, and says so.
    fn report_unprobed(&self, now: Timestamp, report: &mut ProofReport) {
        for asked in self.unprobed.iter().map(|index| &self.asked[*index]) {
            let due = asked.settled(ProofVerdict::Due, asked.row.due, now);
            report.settle(ProvenTarget::unprobed(asked.name, &due));
        }
    }

    /// What becomes of a target whose probes have ended.
    fn settle(&self, index: usize, proven: &Proven, now: Timestamp, report: &mut ProofReport) -> SettledProof {
        let asked = &self.asked[index];
        let mut settled = match &proven.worst().sight {
            Sight::Fresh => asked.settled(ProofVerdict::Verified, None, now),
            Sight::Unverifiable(_) => asked.settled(ProofVerdict::Unverifiable, None, now),
            Sight::Inconclusive(_) => asked.settled(ProofVerdict::Inconclusive, Some(asked.rest(now)), now),
            Sight::Other(what) if self.marks && asked.row.repurges < asked.verify.repurge => {
                let mark_stale = Some(format!("{} {what}", self.owed[index].vantages[proven.worst().vantage].endpoint));
                let variants = proven.stale_variants();
                SettledProof { variants, mark_stale, ..asked.settled(ProofVerdict::Stale, None, now) }
            }
            Sight::Other(_) => asked.settled(ProofVerdict::Stale, Some(asked.rest(now)), now),
        };
        let target = ProvenTarget::of(asked.name, &settled, (&self.owed[index], proven));
        settled.seen = target.worst_as_json();
        report.vary(&self.owed[index].host, proven.varies());
        report.settle(target);
        settled
    }
}

/// Probes what is due at once, with manifests that were read, and makes due again what is stale. Returns how many targets are.
///
/// # Errors
/// A state that cannot be used.
pub async fn prove_due(prover: &mut Prover<'_>, desired: &mut Desired, report: &mut ProofReport) -> Result<u64> {
    let now = prover.host.clock.now().wall;
    let mut rows = prover.rows(desired, Extent::Owed)?;
    rows.retain(|row| row.due.is_some_and(|due| due <= now));
    if rows.is_empty() { Ok(0) } else { prover.round(desired, rows, true, report).await }
}

/// What is done about targets that are stale.
pub enum Repair<'p> {
    /// They are only noted.
    Note,
    /// They are due again: the next run purges them.
    Mark,
    /// They are purged again at once, and probed again, by such runs.
    Purge(&'p Pass<'p>),
}

/// Probes until nothing more is to be seen for now, as far as `repair` goes. Returns which exit code wins.
///
/// # Errors
/// As those of runs, manifests that are not valid, and a state that cannot be used.
pub async fn prove(
    prover: &mut Prover<'_>,
    (lookup, extent): (Lookup<'_>, Extent),
    repair: Repair<'_>,
    on_event: &mut OnEvent<'_>,
    report: &mut ProofReport,
) -> Result<Exit> {
    let mut exits = Vec::new();
    let mut extent = extent;
    loop {
        let reader: &mut dyn ReadObserver = &mut SilentReader;
        let mut desired = reader.read_all(prover.host, &find(lookup)?, false)?.desired;
        let rows = prover.rows(&desired, extent)?;
        if rows.is_empty() {
            break;
        }
        let marks = !matches!(repair, Repair::Note);
        let marked = prover.round(&mut desired, rows, marks, report).await?;
        let Repair::Purge(pass) = repair else { break };
        if marked == 0 {
            break;
        }
        report.purged_again += marked;
        // From here on only what was purged again is of interest.
        extent = Extent::Owed;
        exits.push(apply(pass, lookup, reader, on_event).await?);
    }
    Ok(Exit::worst(exits))
}

/// Reads manifests once more: what there is to say of them was said before.
struct SilentReader;

impl ReadObserver for SilentReader {
    fn begins(&mut self, _seen: Arc<AtomicU64>) {}

    fn ends(&mut self, found: &FoundManifests<'_>, read: ManifestsRead) -> Result<Loaded> {
        let problems = found.problems(&read);
        read.loaded.ok_or_else(|| {
            let stop = Stop::bad_input("the manifests are not valid any more");
            Stop { problems: Some(problems), ..stop }.into()
        })
    }
}
