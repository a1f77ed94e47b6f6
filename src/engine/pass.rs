//! One pass over the state with manifests that were read: lock, compare, admit, send, record. `apply` makes one, `watch` one
//! after another, a rehearsal one with emulators and a scratch state.
//!
//! Options go in and events come out; this file does not know where they go.

mod notes;
mod recovery;
mod refused;

use std::path::Path;

use anyhow::Result;
use tokio::sync::watch;

use super::audit::Audit;
use super::claim::{Claim, Claimed, lineage, run_start};
use super::executor::CallReport;
use super::executor::gating::all_wait_on;
use super::inputs::Loaded;
use super::memory::PassMemory;
use super::query::Asker;
use super::selection::Selection;
use super::stat_caches::{self, StatCaches};
use super::{
    Accounts, Desired, Exit, Finished, Learned, Located, Prepared, Reason, Run, accounts, learn_quotas, namespace,
};
use crate::core::budget::LastCalls;
use crate::core::command_line::CommandLine;
use crate::core::guard::Allowed;
use crate::core::target::Target;
use crate::core::text::{count, one_line};
use crate::core::time::{Tick, Timestamp};
use crate::core::watch::RunRequest;
use crate::host::credentials::CredentialStore;
use crate::host::{Host, Timeouts};
use crate::state::{Backend, LockedState, ReadAhead, RunStart, Store};

/// How long names of caches are looked up, in milliseconds: other work waits for it.
pub const LOOK_UP_MS: u64 = 5_000;
/// How long a query to a provider may take, in milliseconds: a run can do without its answer.
pub const QUERY_MS: u64 = 10_000;
/// Longest answer of a provider that a note repeats, in characters.
const LONGEST_NOTE: usize = 300;

/// What a pass is made with; made once and borrowed.
pub struct Pass<'a> {
    /// Effects.
    pub host: &'a Host,
    /// The state.
    pub state: &'a dyn Backend,
    /// Credentials of all providers.
    pub credentials: &'a CredentialStore,
    /// What is wanted.
    pub options: PassOptions<'a>,
}

/// What is wanted of a pass, with any manifests.
pub struct PassOptions<'a> {
    /// Which targets it is about.
    pub selection: &'a Selection,
    /// What guards let through.
    pub allowed: Allowed,
    /// The digest that was reviewed.
    pub expect: Option<&'a str>,
    /// What only waits for quota counts as done.
    pub deferred_ok: bool,
    /// How long origins are waited for at most, in milliseconds; `None`: they are not asked.
    pub wait_for_origins_ms: Option<u64>,
    /// How long another run is waited for, in milliseconds.
    pub lock_timeout_ms: u64,
    /// Nothing is started after it, from the lock on.
    pub deadline: Option<Tick>,
    /// How long a call may take, in milliseconds.
    pub timeout_ms: u64,
    /// How long calls under way get to end after an interrupt, in milliseconds.
    pub grace_ms: u64,
    /// Where calls are written down.
    pub audit: Option<&'a Path>,
    /// What refusals offer.
    pub commands: &'a CommandLine,
    /// How long credentials are waited for, in milliseconds; `None`: until each source has answered.
    pub patience_ms: Option<u64>,
    /// The accounts of all providers where nothing is to be looked up, neither accounts nor names of caches: in a rehearsal.
    pub accounts: Option<&'a [String]>,
    /// Begins to listen for interrupts, once there is something to send; not asked where [`Resident::stop`] is there.
    pub interrupts: &'a dyn Fn() -> watch::Receiver<bool>,
    /// Alters a plan, for simulations that plant defects.
    #[doc(hidden)]
    pub tamper: Option<&'a dyn Fn(&mut Prepared)>,
}

/// What a program that stays up gives to each of its passes. Its passes send what no guard refuses, and leave no trace where they
/// would neither send nor note anything new.
pub struct Resident<'a> {
    /// What is not to be tried in this pass: it stays pending.
    pub request: &'a RunRequest,
    /// From pass to pass.
    pub memory: &'a mut PassMemory,
    /// Turns true when nothing is to be sent any more, also before calls begin.
    pub stop: watch::Receiver<bool>,
}

/// What happens in a pass, as it happens.
pub enum PassEvent<'a> {
    /// Something worth to know.
    Note(&'a str),
    /// Something that may be a mistake.
    Warning(&'a str),
    /// Something that went wrong and does not end the pass.
    Error(&'a str),
    /// The run that began then was stopped before its end; later passes find the same.
    Unfinished(Timestamp),
    /// Whether manifests are being compared with the state: it begins, or is over.
    Planning(bool),
    /// There is a plan, without what guards refuse where the rest is to go.
    Planned(&'a Desired, &'a Prepared),
    /// Guards refuse the plan, or what it leaves out; what they saw is marked.
    Refused(&'a [Reason]),
    /// Calls begin now.
    Sending(&'a Desired, &'a Prepared),
    /// A call has ended.
    Called(&'a Desired, &'a CallReport),
    /// All is done and recorded, in this state if there is one.
    Finished(&'a Finished<'a>, Option<&'a dyn Store>),
}

/// Takes events.
pub type OnEvent<'e> = dyn FnMut(PassEvent<'_>) + 'e;

/// What a pass came to.
pub enum PassEnd {
    /// It came to its end, which is this.
    Ended(Exit),
    /// Nothing was done, since all manifests have to be read for it.
    ReadAll,
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
    /// When its changes were looked at: however long the rest takes, they are the same ones.
    at: Timestamp,
    last_calls: LastCalls,
    start: RunStart,
}

/// Where events go, and what is carried from pass to pass.
struct Around<'r> {
    on_event: &'r mut OnEvent<'r>,
    resident: Option<Resident<'r>>,
    /// Turns true when the user of a single pass wants it to end, once that is listened for.
    interrupted: Option<watch::Receiver<bool>>,
}

impl Around<'_> {
    fn event(&mut self, event: PassEvent<'_>) {
        (self.on_event)(event);
    }

    fn note(&mut self, text: &str) {
        self.event(PassEvent::Note(text));
    }

    fn memory(&mut self) -> Option<&mut PassMemory> {
        self.resident.as_mut().map(|resident| &mut *resident.memory)
    }

    /// The state is written and the pass may end.
    fn marked(&mut self, store: Option<&dyn Store>) {
        if let Some(memory) = self.memory() {
            memory.marked(store);
        }
    }

    /// What turns true when nothing is to be sent any more.
    fn stop(&self) -> Option<watch::Receiver<bool>> {
        let stop = self.resident.as_ref().map(|resident| &resident.stop);
        stop.or(self.interrupted.as_ref()).cloned()
    }

    /// What `work` comes to, unless nothing is to be sent any more before it has.
    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let Some(mut stop) = self.stop() else { return Some(work.await) };
        tokio::select! {
            biased;
            Ok(_) = stop.wait_for(|stop| *stop) => None,
            done = work => Some(done),
        }
    }

    fn hold_back(&self, prepared: &mut Prepared, desired: &Desired) {
        if let Some(resident) = &self.resident {
            prepared.hold_back(desired, resident.request);
        }
    }

    fn finished(&mut self, finished: &Finished<'_>, store: Option<&dyn Store>) {
        if let Some(memory) = self.memory() {
            if finished.outcome.calls > 0 || finished.outcome.state_error.is_some() {
                memory.called(&finished.outcome.last_calls);
            }
            memory.marked(store);
        }
        self.event(PassEvent::Finished(finished, store));
    }
}

impl Pass<'_> {
    /// Runs it to its end; the lock is held meanwhile. `claim` is from before the manifests were read.
    ///
    /// # Errors
    /// What kept it from sending: the state, guards, credentials.
    pub async fn run(
        &self,
        loaded: &mut Loaded,
        claim: Claim,
        resident: Option<Resident<'_>>,
        on_event: &mut OnEvent<'_>,
    ) -> Result<PassEnd> {
        let mut forward = |event: PassEvent<'_>| on_event(event);
        let mut around = Around { on_event: &mut forward, resident, interrupted: None };
        let around = &mut around;
        let Loaded { ref mut desired, ref mut caches, ref mut ahead } = *loaded;
        desired.forget_addresses();
        Audit::check(self.options.audit, &desired.model)?;
        // The run under way is about to change what was read, and must not be kept from tidying its log.
        let ahead = ahead.take().filter(|_| !claim.waits(self.state));
        let mut caches = std::mem::take(caches);
        let host = self.host;
        let start = run_start(host);
        let lock_timeout_ms = self.within(self.options.lock_timeout_ms);
        let lock = &*match claim.take(host, self.state, &start, lock_timeout_ms).await? {
            Claimed::Current(lock) => lock,
            Claimed::Overtaken(lock) => {
                drop(ahead);
                if let Err(note) = stat_caches::keep_at(&*lock, caches) {
                    around.note(&note);
                }
                return Ok(PassEnd::Overtaken(lock));
            }
        };
        let (mut store, last_calls) = self.open(lock, desired, ahead, around).await?;
        let guessed = match self.options.accounts {
            Some(known) => known.to_vec(),
            None => accounts(host, &desired.model, store.as_deref()).await?,
        };
        let at = host.clock.now().wall;
        let Some(mut prepared) = self.prepare(desired, store.as_deref(), (&guessed, at), around)? else {
            return Ok(PassEnd::ReadAll);
        };
        self.options
            .selection
            .unmatched(&desired.model, &prepared.difference.changes)
            .iter()
            .for_each(|warning| around.event(PassEvent::Warning(warning)));
        notes::mention_unfinished(store.as_deref(), around)?;
        if let Some(store) = &mut store {
            keep(&mut **store, std::mem::take(&mut caches), around);
        }
        if let Some(memory) = around.memory() {
            memory.weigh(&mut prepared.difference.removals, host.clock.now().tick);
        }
        self.tamper(&mut prepared);
        let without = self.without_refused(desired, prepared, store.as_deref(), (&guessed, at), around)?;
        let Some(mut prepared) = without else { return Ok(PassEnd::ReadAll) };
        around.event(PassEvent::Planned(desired, &prepared));
        let mut opened = Opened { lock, store, caches, guessed, at, last_calls, start };
        self.admit(desired, &mut prepared, &mut opened, self.options.expect, around)?;
        if prepared.is_nothing() && prepared.refusals.is_empty() {
            let (finished, store) = (Finished::nothing(desired, &prepared), &mut opened.store);
            notes::note_inputs(store.as_deref_mut(), &finished, around);
            around.finished(&finished, store.as_deref());
            return Ok(PassEnd::Ended(finished.exit));
        }
        self.send(desired, prepared, opened, around).await
    }

    /// Opens the state, makes due what caches lack that are back, and notes those that are listed. Also returns what is known of
    /// calls before.
    async fn open(
        &self,
        lock: &dyn LockedState,
        desired: &Desired,
        ahead: Option<ReadAhead>,
        around: &mut Around<'_>,
    ) -> Result<(Option<Box<dyn Store>>, LastCalls)> {
        let mut store = lock.open()?;
        let now = self.host.clock.now().tick;
        let last_calls = around.memory().map_or_else(LastCalls::default, |memory| memory.begins(store.as_deref(), now));
        if let Some(store) = &mut store {
            if namespace::enter(desired, &mut **store)? {
                around.marked(Some(&**store));
            }
            self.owe_returned(desired, &mut **store, around).await?;
            desired.note_listed(&mut **store, self.host.clock.now().wall)?;
            around.marked(Some(&**store));
            store.compare_with(ahead);
        }
        Ok((store, last_calls))
    }

    async fn send(
        &self,
        desired: &mut Desired,
        mut prepared: Prepared,
        mut opened: Opened<'_>,
        around: &mut Around<'_>,
    ) -> Result<PassEnd> {
        around.hold_back(&mut prepared, desired);
        if around.resident.is_none() {
            around.interrupted = Some((self.options.interrupts)());
        }
        if self.all_wait(desired, &prepared, around).await {
            return Ok(untouched(&Finished::untouched(desired, &prepared), &opened, around));
        }
        let looking = self.look_up(desired, &prepared, &opened.guessed);
        let Some(found) = around.unless_stopped(self.in_time(looking)).await else {
            return cut(desired, &prepared, opened, around);
        };
        let (accounts, located) = found.unwrap_or_else(|| (Accounts::unasked(&opened.guessed), Located::default()));
        let is_elsewhere = desired.locate(&located);
        let desired = &*desired;
        if is_elsewhere || accounts.all() != opened.guessed {
            // Quota and pace are the account's, by any name of its provider; each address of a cache takes calls.
            let anew = self.prepare_anew(desired, &prepared, &mut opened, accounts.all(), around)?;
            let Some(anew) = anew else { return Ok(PassEnd::ReadAll) };
            prepared = anew;
        }
        if (around.resident.is_some() || !prepared.refusals.is_empty()) && prepared.is_known() {
            let finished = Finished::untouched(desired, &prepared);
            self.list(&finished, &mut opened)?;
            return Ok(untouched(&finished, &opened, around));
        }
        let audit = Audit::open(self.options.audit)?;
        let mut store = match opened.store.take() {
            Some(store) => store,
            None => opened.lock.create(&lineage(self.host))?,
        };
        keep(&mut *store, std::mem::take(&mut opened.caches), around);
        let learned = self.learn(desired, &prepared, &mut *store, around).await?;
        opened.store = Some(store);
        match learned {
            None => return cut(desired, &prepared, opened, around),
            Some(false) => {}
            Some(true) => {
                let anew = self.prepare_anew(desired, &prepared, &mut opened, accounts.all(), around)?;
                let Some(anew) = anew else { return Ok(PassEnd::ReadAll) };
                prepared = anew;
            }
        }
        let Opened { lock, store, last_calls, start, .. } = opened;
        let Some(store) = store else { return Ok(PassEnd::Cut) };
        let run = Run {
            host: self.host,
            desired,
            prepared: &prepared,
            start,
            deadline_ms: None,
            timeouts: Timeouts::within(self.options.timeout_ms),
            grace_ms: self.options.grace_ms,
            last_calls,
            deferred_ok: self.options.deferred_ok,
            wait_for_origins_ms: self.options.wait_for_origins_ms,
            credentials: self.credentials,
            accounts: &accounts,
            interrupted: around.stop().unwrap_or_else(|| watch::channel(false).1),
        };
        self.execute(run, (lock, store), audit, around).await
    }

    /// Makes the calls of a run and writes down what came of them.
    async fn execute(
        &self,
        mut run: Run<'_>,
        (lock, store): (&dyn LockedState, Box<dyn Store>),
        mut audit: Audit,
        around: &mut Around<'_>,
    ) -> Result<PassEnd> {
        let desired = run.desired;
        around.event(PassEvent::Sending(desired, run.prepared));
        run.deadline_ms = self.left_ms();
        let mut observe = |call: &CallReport, targets: &[Target]| {
            around.event(PassEvent::Called(desired, call));
            audit.record(&desired.model, call, targets)
        };
        let (mut store, finished) = run.execute(store, &mut observe).await;
        let mut finished = finished.inspect_err(|_| around.marked(Some(&*store)))?;
        let refused = finished.refused_run(&run.start, self.host.clock.now().wall);
        if let (Some(refused), None) = (refused, &finished.outcome.state_error) {
            finished.outcome.state_error = store.note_refused_run(&refused).err();
        }
        around.finished(&finished, Some(&*store));
        match recovery::write(&finished, lock, self.host.clock.now().wall) {
            Some(Ok(written)) => around.note(&written),
            Some(Err(error)) => around.event(PassEvent::Error(&error)),
            None => {}
        }
        let failure = finished.outcome.observer_error.as_deref();
        let unwritten = audit.finish(failure, &mut |text| around.event(PassEvent::Error(text)));
        Ok(PassEnd::Ended(Exit::worst(unwritten.into_iter().chain([finished.exit]))))
    }

    /// Whether a program that stays up finds all as it left it: origins that are not ready. It asks often, and leaves no trace.
    async fn all_wait(&self, desired: &Desired, prepared: &Prepared, around: &Around<'_>) -> bool {
        let is_resident = around.resident.is_some() && self.options.wait_for_origins_ms.is_some();
        if !is_resident || prepared.difference.has_unseen || !prepared.is_settled() || !prepared.refusals.is_empty() {
            return false;
        }
        let asked = (&desired.model, prepared);
        let asking = all_wait_on(self.host, asked, Timeouts::within(self.options.timeout_ms));
        around.unless_stopped(asking).await.unwrap_or(false)
    }

    fn tamper(&self, prepared: &mut Prepared) {
        if let Some(tamper) = self.options.tamper {
            tamper(prepared);
        }
    }

    /// Makes due again what caches lack that were away and are back.
    async fn owe_returned(&self, desired: &Desired, store: &mut dyn Store, around: &mut Around<'_>) -> Result<()> {
        let away = store.caches_away(self.host.clock.now().wall)?;
        let looking = Located::of_away(self.host, desired, &away, self.look_up_ms());
        // Endpoints that are one cache each are back without it.
        let located = around.unless_stopped(self.in_time(looking)).await.flatten().unwrap_or_default();
        let back = desired.returned(away, &located);
        let due = if back.is_empty() { 0 } else { store.owe_caches(&back, self.host.clock.now().wall)? };
        if due > 0 {
            let caches: Vec<String> = back.iter().map(|returned| returned.away.cache.to_string()).collect();
            let targets = count(due, "target");
            let verb = if due == 1 { "is" } else { "are" };
            let caches = caches.join(", ");
            around.note(&format!("in use again: {caches}; {targets} purged meanwhile {verb} purged there again"));
        }
        Ok(())
    }

    fn look_up_ms(&self) -> u64 {
        self.options.timeout_ms.min(LOOK_UP_MS)
    }

    /// Looks up whose quotas the plan draws on, and where its calls go.
    async fn look_up(&self, desired: &Desired, prepared: &Prepared, guessed: &[String]) -> (Accounts, Located) {
        let (host, plan) = (self.host, &prepared.plan);
        if let Some(known) = self.options.accounts {
            return (Accounts::known(known, plan), Located::default());
        }
        tokio::join!(
            Accounts::look_up(host, desired, plan, self.credentials, guessed, self.options.patience_ms),
            Located::look_up(host, desired, plan, self.look_up_ms()),
        )
    }

    /// Asks for quotas, if that is wanted; whether that changes anything. `None`: nothing is to be sent any more.
    async fn learn(
        &self,
        desired: &Desired,
        prepared: &Prepared,
        store: &mut dyn Store,
        around: &mut Around<'_>,
    ) -> Result<Option<bool>> {
        let now = self.host.clock.now().tick;
        if !around.memory().is_none_or(|memory| memory.asks_quotas(now)) {
            return Ok(Some(false));
        }
        let asking = self.query_quotas(desired, prepared, store);
        let Some(learned) = around.unless_stopped(self.in_time(asking)).await else { return Ok(None) };
        // Without an answer in time nothing is sent either.
        let Some(learned) = learned.transpose()? else { return Ok(Some(false)) };
        learned.notes.iter().for_each(|note| around.note(&one_line(note, LONGEST_NOTE)));
        Ok(Some(learned.changed))
    }

    /// Asks what is left of the quotas that the plan draws on. If that changes anything, plan anew.
    async fn query_quotas(&self, desired: &Desired, prepared: &Prepared, store: &mut dyn Store) -> Result<Learned> {
        let timeouts = Timeouts::within(self.options.timeout_ms.min(QUERY_MS));
        let mut asker = Asker::new(self.host, &desired.model, self.credentials, timeouts);
        Ok(learn_quotas(&mut asker, &desired.model, &prepared.plan, store).await?)
    }

    /// How much time is left, in milliseconds, if there is a deadline.
    fn left_ms(&self) -> Option<u64> {
        self.options.deadline.map(|deadline| deadline.since(self.host.clock.now().tick))
    }

    fn within(&self, ms: u64) -> u64 {
        self.left_ms().map_or(ms, |left| left.min(ms))
    }

    /// What `work` comes to before the deadline; `None`: it was not begun, or not ended, in time.
    async fn in_time<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        // Waiting moves the time of a rehearsal: nothing but its calls counts there.
        let deadline = self.options.deadline.filter(|_| self.options.accounts.is_none());
        let Some(deadline) = deadline else { return Some(work.await) };
        tokio::select! {
            biased;
            () = self.host.clock.sleep_until(deadline) => None,
            done = work => Some(done),
        }
    }

    /// Plans anew once more is known. Guards look at it as well: another quota may leave room for more.
    fn prepare_anew(
        &self,
        desired: &Desired,
        before: &Prepared,
        opened: &mut Opened<'_>,
        accounts: &[String],
        around: &mut Around<'_>,
    ) -> Result<Option<Prepared>> {
        let Some(mut anew) = self.prepare(desired, opened.store.as_deref(), (accounts, opened.at), around)? else {
            return Ok(None);
        };
        // What was lost in earlier passes counts on.
        anew.difference.removals.clone_from(&before.difference.removals);
        self.tamper(&mut anew);
        let Some(mut anew) =
            self.without_refused(desired, anew, opened.store.as_deref(), (accounts, opened.at), around)?
        else {
            return Ok(None);
        };
        self.admit(desired, &mut anew, opened, None, around)?;
        around.hold_back(&mut anew, desired);
        Ok(Some(anew))
    }

    fn prepare(
        &self,
        desired: &Desired,
        store: Option<&dyn Store>,
        (accounts, at): (&[String], Timestamp),
        around: &mut Around<'_>,
    ) -> Result<Option<Prepared>> {
        around.event(PassEvent::Planning(true));
        let prepared = self.options.selection.prepare(desired, store, accounts, at);
        around.event(PassEvent::Planning(false));
        prepared
    }
}

/// Nothing was sent or noted.
fn untouched(finished: &Finished<'_>, opened: &Opened<'_>, around: &mut Around<'_>) -> PassEnd {
    around.finished(finished, opened.store.as_deref());
    PassEnd::Ended(finished.exit)
}

/// Nothing is to be sent any more: what guards let through is marked all the same.
fn cut(desired: &Desired, prepared: &Prepared, mut opened: Opened<'_>, around: &mut Around<'_>) -> Result<PassEnd> {
    if let Some(store) = &mut opened.store {
        store.mark(&desired.model, &prepared.difference, opened.at)?;
    }
    around.marked(opened.store.as_deref());
    if around.resident.is_some() {
        return Ok(PassEnd::Cut);
    }
    let finished = Finished::interrupted(desired, prepared);
    around.finished(&finished, opened.store.as_deref());
    Ok(PassEnd::Ended(finished.exit))
}

fn keep(store: &mut dyn Store, caches: StatCaches, around: &mut Around<'_>) {
    if let Err(note) = stat_caches::keep(store, caches) {
        around.note(&note);
    }
}
