//! One pass over the state with manifests that were read: lock, compare, admit, send, record. What `apply` does once and
//! `watch` again and again.
//!
//! Does not know where its words go: whoever runs it takes them.

use std::path::Path;

use anyhow::Result;
use tokio::sync::watch;

use super::args::Selection;
use super::audit::Audit;
use super::claim::{Claim, Claimed};
use super::exit::Exit;
use super::select;
use super::session::{self, Loaded};
use super::stat_caches::{self, StatCaches};
use crate::core::budget::LastCalls;
use crate::core::diff::Removals;
use crate::core::guard::Allowed;
use crate::core::recorded::Recorded;
use crate::core::target::Target;
use crate::core::time::{Tick, Timestamp};
use crate::core::watch::Order;
use crate::engine::executor::CallReport;
use crate::engine::query::Asker;
use crate::engine::{self, Accounts, Desired, Finished, Learned, Located, Prepared, Run};
use crate::host::credentials::CredentialStore;
use crate::host::{Host, Timeouts};
use crate::state::{Backend, LockedState, RunStart, StateError, Store};

/// How long names of caches are looked up, in milliseconds: other work waits for it.
pub(super) const LOOK_UP_MS: u64 = 5_000;

/// What a pass is to do, whatever the manifests say.
pub(super) struct Pass<'a> {
    pub(super) host: &'a Host,
    pub(super) state: &'a dyn Backend,
    pub(super) selection: &'a Selection,
    pub(super) allowed: Allowed,
    /// The digest that was reviewed.
    pub(super) expect: Option<&'a str>,
    pub(super) lock_timeout_ms: u64,
    /// Nothing is started after it, from the lock on.
    pub(super) deadline: Option<Tick>,
    pub(super) timeout_ms: u64,
    pub(super) grace_ms: u64,
    pub(super) audit: Option<&'a Path>,
    pub(super) credentials: &'a CredentialStore,
    /// How long they are waited for; `None`: until each source has answered.
    pub(super) patience_ms: Option<u64>,
}

/// Who runs a pass: takes its words, and decides what is his to decide.
pub(super) trait Side {
    /// Something worth to know.
    fn note(&mut self, text: &str);

    /// Something that may be a mistake.
    fn warn(&mut self, text: &str) {
        self.note(text);
    }

    /// As a note, of something that later passes find again.
    fn note_once(&mut self, text: &str) {
        self.note(text);
    }

    /// Something that went wrong and does not end the pass.
    fn error(&mut self, text: &str);

    /// The state is open and nobody else's for now; `None` before the first run. Returns what is known of calls before.
    fn begins(&mut self, _store: Option<&dyn Store>) -> LastCalls {
        LastCalls::default()
    }

    /// Has the removals of this pass count with those of passes before it.
    fn weigh(&mut self, _removals: &mut [Removals]) {}

    /// Whether what earlier passes tried is tried again where a guard refuses the plan.
    fn retries_refused(&self) -> bool {
        false
    }

    /// A guard refuses the plan; what it saw is marked.
    fn turned_back(&mut self, _desired: &Desired, _prepared: &Prepared) {}

    /// The pass may end before it sends anything; what it saw is marked.
    fn marked(&mut self, _store: Option<&dyn Store>) {}

    /// What is not to be tried in this pass: it stays pending.
    fn order(&self) -> Option<&Order> {
        None
    }

    /// Whether a pass that would neither send nor note anything new is left out of the state's runs.
    fn skips_known(&self) -> bool {
        false
    }

    /// Whether providers are asked what is left of their quotas.
    fn asks_quotas(&mut self) -> bool {
        true
    }

    /// What turns true when nothing is to be sent any more, for who can tell before calls begin.
    fn cut(&self) -> Option<watch::Receiver<bool>> {
        None
    }

    /// Calls begin now, and no new ones once the answer turns true.
    fn sending(&mut self, desired: &Desired, prepared: &Prepared) -> watch::Receiver<bool>;

    /// A call has ended.
    fn called(&mut self, desired: &Desired, call: &CallReport);

    /// All is done and recorded.
    fn finished(&mut self, finished: &Finished<'_>, store: Option<&dyn Store>);
}

/// What came of a pass.
pub(super) enum Ran {
    /// It came to its end, which is this.
    Ended(Exit),
    /// Nothing was done, since all manifests have to be read for it.
    NotEnough,
    /// Nothing was done, since another run wrote to the state after the manifests were read: they have to be read again, under
    /// this lock.
    Overtaken(Box<dyn LockedState>),
    /// It was cut short before anything was sent; what it saw is marked.
    Cut,
}

/// What a pass has found when it begins to send.
struct Opened<'l> {
    lock: &'l dyn LockedState,
    store: Option<Box<dyn Store>>,
    caches: StatCaches,
    guessed: Vec<String>,
    /// When its changes were looked at: whatever takes time after that, they are the same ones.
    at: Timestamp,
    last_calls: LastCalls,
    start: RunStart,
    /// A guard refuses what was not tried before.
    is_refused: bool,
}

impl Pass<'_> {
    /// Runs it to its end; the lock is held meanwhile. `claim` is from before the manifests were read.
    ///
    /// # Errors
    /// Whatever kept it from sending: the state, guards, credentials.
    pub(super) async fn run(&self, loaded: &mut Loaded, claim: Claim, side: &mut dyn Side) -> Result<Ran> {
        let Loaded { ref mut desired, ref mut caches, ref mut ahead } = *loaded;
        desired.forget_addresses();
        Audit::check(self.audit, &desired.model)?;
        // Who runs is about to change what was read, and must not be kept from tidying its log.
        let ahead = ahead.take().filter(|_| !claim.waits(self.state));
        let mut caches = std::mem::take(caches);
        let host = self.host;
        let start = session::run_start(host);
        let lock = &*match claim.take(host, self.state, &start, self.within(self.lock_timeout_ms)).await? {
            Claimed::Current(lock) => lock,
            Claimed::Overtaken(lock) => {
                drop(ahead);
                if let Err(note) = stat_caches::keep_at(&*lock, caches) {
                    side.note(&note);
                }
                return Ok(Ran::Overtaken(lock));
            }
        };
        let mut store = lock.open()?;
        let last_calls = side.begins(store.as_deref());
        if let Some(store) = &mut store {
            self.owe_returned(desired, &mut **store, side).await?;
        }
        match &store {
            Some(store) => store.compare_with(ahead),
            None => drop(ahead),
        }
        let guessed = engine::accounts(host, &desired.model, store.as_deref()).await?;
        let at = host.clock.now().wall;
        let Some(mut prepared) = self.prepare(desired, store.as_deref(), (&guessed, at))? else {
            return Ok(Ran::NotEnough);
        };
        select::unmatched(&desired.model, &prepared.difference.changes, self.selection)?
            .iter()
            .for_each(|warning| side.warn(warning));
        tell_unfinished(store.as_deref(), side)?;
        if let Some(store) = &mut store {
            keep(&mut **store, std::mem::take(&mut caches), side);
        }
        side.weigh(&mut prepared.difference.removals);
        let admitted = admit(desired, &mut prepared, store.as_deref_mut(), (self.allowed, self.expect));
        if let Err(refused) = admitted {
            side.turned_back(desired, &prepared);
            side.marked(store.as_deref());
            let opened = Opened { lock, store, caches, guessed, at, last_calls, start, is_refused: true };
            return self.retry(desired, &prepared, opened, side).await?.ok_or(refused);
        }
        if prepared.is_nothing() {
            let finished = Finished::nothing(desired, &prepared);
            note_inputs(store.as_deref_mut(), &finished, side);
            side.finished(&finished, store.as_deref());
            return Ok(Ran::Ended(finished.exit));
        }
        let opened = Opened { lock, store, caches, guessed, at, last_calls, start, is_refused: false };
        self.send(desired, prepared, opened, side).await
    }

    /// Tries again what earlier passes tried, where a guard refuses the rest. `None`: the refusal is all that there is to tell.
    async fn retry(
        &self,
        desired: &mut Desired,
        prepared: &Prepared,
        opened: Opened<'_>,
        side: &mut dyn Side,
    ) -> Result<Option<Ran>> {
        let store = opened.store.as_deref();
        let tried = prepared.tried(desired, store, &opened.guessed, opened.at)?;
        let tried = tried.filter(|tried| engine::refusals(desired, tried, self.allowed).is_empty());
        let Some(tried) = tried.filter(|_| side.retries_refused()) else { return Ok(None) };
        let ran = self.send(desired, tried, opened, side).await?;
        Ok(Some(ran).filter(|ran| matches!(ran, Ran::Cut)))
    }

    async fn send(
        &self,
        desired: &mut Desired,
        mut prepared: Prepared,
        opened: Opened<'_>,
        side: &mut dyn Side,
    ) -> Result<Ran> {
        let Opened { lock, mut store, caches, guessed, at, last_calls, start, is_refused } = opened;
        let host = self.host;
        hold_back(&mut prepared, desired, side);
        let looking = self.look_up(desired, &prepared, &guessed);
        let Some(found) = unless_cut(side.cut(), self.in_time(looking)).await else {
            return cut(desired, &prepared, store, side);
        };
        let (accounts, located) = found.unwrap_or_else(|| (Accounts::unasked(&guessed), Located::default()));
        let is_elsewhere = desired.locate(&located);
        let desired = &*desired;
        if is_elsewhere || accounts.all() != guessed {
            // Quota and pace are the account's, by any name of its provider; each address of a cache takes calls.
            let anew = self.prepare_anew(desired, store.as_deref_mut(), (accounts.all(), at, is_refused), side)?;
            let Some(anew) = anew else { return Ok(Ran::NotEnough) };
            prepared = anew;
        }
        if side.skips_known() && prepared.is_known() {
            let finished = Finished::untouched(desired, &prepared);
            side.finished(&finished, store.as_deref());
            return Ok(Ran::Ended(finished.exit));
        }
        let mut audit = Audit::open(self.audit)?;
        let mut store = match store {
            Some(store) => store,
            None => lock.create(&session::lineage(host))?,
        };
        keep(&mut *store, caches, side);
        match self.learn(desired, &prepared, &mut *store, side).await? {
            None => return cut(desired, &prepared, Some(store), side),
            Some(false) => {}
            Some(true) => {
                let anew = self.prepare_anew(desired, Some(&mut *store), (accounts.all(), at, is_refused), side)?;
                let Some(anew) = anew else { return Ok(Ran::NotEnough) };
                prepared = anew;
            }
        }
        let run = Run {
            host,
            desired,
            prepared: &prepared,
            start,
            deadline_ms: self.left_ms(),
            timeouts: Timeouts::within(self.timeout_ms),
            grace_ms: self.grace_ms,
            last_calls,
            credentials: self.credentials,
            accounts: &accounts,
            interrupted: side.sending(desired, &prepared),
        };
        let mut observe = |call: &CallReport, targets: &[Target]| {
            side.called(desired, call);
            audit.record(&desired.model, call, targets)
        };
        let finished = run.execute(&mut *store, &mut observe).await.inspect_err(|_| side.marked(Some(&*store)))?;
        side.finished(&finished, Some(&*store));
        match write_aside(&finished, lock, host.clock.now().wall) {
            Some(Ok(aside)) => side.note(&aside),
            Some(Err(error)) => side.error(&error),
            None => {}
        }
        let unwritten = audit.finish(finished.outcome.observer_error.as_deref(), &mut |text| side.error(text));
        Ok(Ran::Ended(Exit::worst(unwritten.into_iter().chain([finished.exit]))))
    }

    /// Makes due again what caches lack that were away and are back.
    async fn owe_returned(&self, desired: &Desired, store: &mut dyn Store, side: &mut dyn Side) -> Result<()> {
        let looking = engine::returned_caches(
            self.host,
            desired,
            store.caches_away(self.host.clock.now().wall)?,
            self.look_up_ms(),
        );
        let back = unless_cut(side.cut(), self.in_time(looking)).await.flatten().unwrap_or_default();
        if back.is_empty() {
            return Ok(());
        }
        let due = store.owe_caches(&back, self.host.clock.now().wall)?;
        side.marked(Some(store));
        if due > 0 {
            let caches: Vec<String> = back.iter().map(|returned| returned.away.cache.to_string()).collect();
            let targets = super::render::count(usize::try_from(due).unwrap_or(usize::MAX), "target");
            let verb = if due == 1 { "is" } else { "are" };
            let (its, caches) = (if caches.len() == 1 { "its name" } else { "their names" }, caches.join(", "));
            side.note(&format!("back at {its}: {caches}; {targets} purged meanwhile {verb} purged there again"));
        }
        Ok(())
    }

    fn look_up_ms(&self) -> u64 {
        self.timeout_ms.min(LOOK_UP_MS)
    }

    /// Looks up whose quotas the plan draws on, and where its calls go.
    async fn look_up(&self, desired: &Desired, prepared: &Prepared, guessed: &[String]) -> (Accounts, Located) {
        let (host, plan) = (self.host, &prepared.plan);
        tokio::join!(
            Accounts::look_up(host, desired, plan, self.credentials, guessed, self.patience_ms),
            Located::look_up(host, desired, plan, self.look_up_ms()),
        )
    }

    /// Asks for quotas, if that is wanted; whether that changes anything. `None`: nothing is to be sent any more.
    async fn learn(
        &self,
        desired: &Desired,
        prepared: &Prepared,
        store: &mut dyn Store,
        side: &mut dyn Side,
    ) -> Result<Option<bool>> {
        if !side.asks_quotas() {
            return Ok(Some(false));
        }
        let asking = ask_quotas(self.host, desired, prepared, self.credentials, self.timeout_ms, store);
        let Some(learned) = unless_cut(side.cut(), self.in_time(asking)).await else { return Ok(None) };
        // Without an answer in time nothing is sent either.
        let Some(learned) = learned.transpose()? else { return Ok(Some(false)) };
        learned.notes.iter().for_each(|note| side.note(note));
        Ok(Some(learned.changed))
    }

    /// How much time is left, in milliseconds, if there is a deadline.
    fn left_ms(&self) -> Option<u64> {
        self.deadline.map(|deadline| deadline.since(self.host.clock.now().tick))
    }

    /// So many milliseconds, or fewer if there is less time left.
    fn within(&self, ms: u64) -> u64 {
        self.left_ms().map_or(ms, |left| left.min(ms))
    }

    /// What `work` comes to before the deadline; `None`: it was not begun, or not ended, in time.
    async fn in_time<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let Some(deadline) = self.deadline else { return Some(work.await) };
        tokio::select! {
            biased;
            () = self.host.clock.sleep_until(deadline) => None,
            done = work => Some(done),
        }
    }

    /// Plans anew once more is known, by the order and by what a guard leaves. Guards look at it as well: another quota may
    /// leave room for more.
    fn prepare_anew(
        &self,
        desired: &Desired,
        mut store: Option<&mut (dyn Store + 'static)>,
        (accounts, at, is_refused): (&[String], Timestamp, bool),
        side: &mut dyn Side,
    ) -> Result<Option<Prepared>> {
        let mut anew = self.prepare(desired, store.as_deref(), (accounts, at))?;
        if let Some(all) = anew.as_ref().filter(|_| is_refused) {
            anew = all.tried(desired, store.as_deref(), accounts, at)?;
        }
        let Some(mut anew) = anew else { return Ok(None) };
        let admitted = admit(desired, &mut anew, store.as_deref_mut(), (self.allowed, None));
        if let Err(refused) = admitted {
            side.turned_back(desired, &anew);
            side.marked(store.as_deref());
            return Err(refused);
        }
        hold_back(&mut anew, desired, side);
        Ok(Some(anew))
    }

    fn prepare(
        &self,
        desired: &Desired,
        store: Option<&dyn Store>,
        (accounts, at): (&[String], Timestamp),
    ) -> Result<Option<Prepared>> {
        session::prepare_if_enough(desired, store, self.selection, accounts, at)
    }
}

/// What `work` comes to, unless nothing is to be sent any more before it has.
async fn unless_cut<T>(cut: Option<watch::Receiver<bool>>, work: impl Future<Output = T>) -> Option<T> {
    let Some(mut cut) = cut else { return Some(work.await) };
    tokio::select! {
        biased;
        Ok(_) = cut.wait_for(|cut| *cut) => None,
        done = work => Some(done),
    }
}

fn cut(desired: &Desired, prepared: &Prepared, mut store: Option<Box<dyn Store>>, side: &mut dyn Side) -> Result<Ran> {
    if let Some(store) = &mut store {
        store.mark_seen(&desired.model, &prepared.difference.changes)?;
    }
    side.marked(store.as_deref());
    Ok(Ran::Cut)
}

/// Asks what is left of the quotas that the plan draws on. If that changes anything, plan anew.
pub(super) async fn ask_quotas(
    host: &Host,
    desired: &Desired,
    prepared: &Prepared,
    credentials: &CredentialStore,
    timeout_ms: u64,
    store: &mut dyn Store,
) -> Result<Learned> {
    let timeouts = Timeouts::within(timeout_ms.min(session::QUESTION_MS));
    let mut asker = Asker::new(host, &desired.model, credentials, timeouts);
    let mut learned = engine::learn_quotas(&mut asker, &desired.model, &prepared.plan, store).await?;
    learned.notes.iter_mut().for_each(|note| *note = super::render::shown(note));
    Ok(learned)
}

/// Lets guards and the reviewed digest speak. A refused run still marks what it saw, except removals.
///
/// # Errors
/// Exit 5 with the reasons.
pub(super) fn admit(
    desired: &Desired,
    prepared: &mut Prepared,
    store: Option<&mut (dyn Store + 'static)>,
    (allowed, expect): (Allowed, Option<&str>),
) -> Result<()> {
    let reasons = engine::admit(desired, prepared, store, allowed, expect)?;
    if reasons.is_empty() { Ok(()) } else { Err(session::refused(&reasons).into()) }
}

fn hold_back(prepared: &mut Prepared, desired: &Desired, side: &dyn Side) {
    if let Some(order) = side.order() {
        prepared.hold_back(desired, order);
    }
}

fn keep(store: &mut dyn Store, caches: StatCaches, side: &mut dyn Side) {
    if let Err(note) = stat_caches::keep(store, caches) {
        side.note(&note);
    }
}

/// Notes manifests that say the same as before in other words, so that the next run need not read them. Where that cannot be
/// written, the next run reads them.
fn note_inputs(store: Option<&mut (dyn Store + 'static)>, finished: &Finished<'_>, side: &mut dyn Side) {
    let Some(store) = store else { return };
    let noted = match (&finished.prepared.difference.inputs, store.inputs()) {
        (Some(inputs), Ok(known)) if known.as_ref() != Some(inputs) => store.note_inputs(inputs),
        (_, Ok(_)) => Ok(()),
        (_, Err(error)) => Err(error),
    };
    if let Err(error) = noted.and_then(|()| engine::forget_departed(store, finished)) {
        side.note(&format!("the next run reads all manifests again: {error}"));
    }
}

/// Mentions a run that was stopped before its end; its lock is free again, and its purges in doubt are due.
fn tell_unfinished(store: Option<&dyn Store>, side: &mut dyn Side) -> Result<()> {
    let last = store.map_or(Ok(Vec::new()), |store| store.runs(1))?;
    if let Some(run) = last.first().filter(|run| run.finished_at.is_none()) {
        let began = super::render::moment(run.started_at);
        side.note_once(&format!("the run that began {began} was stopped before its end; this one goes on from there"));
    }
    Ok(())
}

/// Where the state belongs to another run now: keeps what this one achieved beside it (R3).
fn write_aside(finished: &Finished<'_>, lock: &dyn LockedState, at: Timestamp) -> Option<Result<String, String>> {
    let (StateError::Replaced { .. } | StateError::Overtaken { .. }) = finished.outcome.state_error.as_ref()? else {
        return None;
    };
    let line = |index: usize| {
        let change = finished.prepared.difference.changes.get(index);
        let row = Recorded {
            provider: finished.desired.model.providers[change.provider].name.clone(),
            target: change.target,
            owners: change.owners,
            hash: change.desired,
            recorded_at: Some(at),
            task_id: None,
            work: None,
        };
        super::render::status::target_json(&row).to_string() + "\n"
    };
    let text: String = finished.accepted().map(line).collect();
    let name = format!("{}-{}", at.utc_basic(), std::process::id());
    let written = lock.write_recovery_file(&name, &text).map_err(|error| error.to_string());
    Some(written.map(|path| {
        format!("what this run purged is in `{path}`; run again: what the state does not hold is sent again")
    }))
}
