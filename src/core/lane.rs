//! One line of calls to one endpoint: what waits, what was put back, how a refused batch is split.

use std::collections::{BTreeSet, VecDeque};

use super::call_size::call_size;
use super::changes::Changes;
use super::collapse::Directory;
use super::contract::{Culprit, Operation};
use super::event::FailureScope;
use super::model::OperationLimits;
use super::plan::PROBE_GROWTH;
use super::proof_terms::Headers;
use super::quota::Draw;
use super::target::Target;
use super::text::one_line;
use super::time::{Tick, Timestamp};

/// Retries that the batches of a lane share; an accepted call earns one back.
const RETRY_BUDGET: u32 = 12;

/// Refusals, with nothing accepted, after which nothing more is sent.
const REFUSALS: usize = 16;

/// How long released changes gather for a full batch, in milliseconds.
const GATHER_MS: u64 = 500;

/// How long intents may wait for their calls where they are persisted at once, in microseconds.
const AHEAD_US: u64 = 20_000;

/// Most intents that wait for their calls, unless more calls than that may be under way.
const MOST_AHEAD: usize = 64;

/// A batch on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Indexes into the changes, at least one.
    pub items: Vec<usize>,
    /// The one target of its calls, where they do not name the changes' own.
    pub directory: Option<Target>,
    /// Calls made for it so far.
    pub attempts: u32,
    /// Not to be sent before.
    pub not_before: Tick,
    /// The one immediate repetition with a new signature is used up.
    pub signed_again: bool,
}

impl Batch {
    /// A batch that was never sent.
    pub const fn new(items: Vec<usize>) -> Self {
        Self { items, directory: None, attempts: 0, not_before: Tick::from_ms(0), signed_again: false }
    }

    /// A batch that purges a directory in place of what is below it.
    fn of_directory(directory: &Directory) -> Self {
        let items = directory.changes.iter().map(|&index| index as usize).collect();
        Self { directory: Some(directory.target.clone()), ..Self::new(items) }
    }

    /// How much of the quota a call for it takes.
    pub const fn cost(&self) -> usize {
        if self.directory.is_some() { 1 } else { self.items.len() }
    }

    /// What went wrong, with the directory it went wrong with.
    pub fn reason(&self, problem: String) -> String {
        match &self.directory {
            Some(directory) => format!("directory {}: {problem}", one_line(&directory.text, 200)),
            None => problem,
        }
    }
}

/// Where the next batch is.
enum LanePlace {
    First,
    Again(usize),
    Planned,
}

/// Why and for how long a lane is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// For people.
    pub reason: String,
    /// When its targets may be sent again, where that is known.
    pub until: Option<Timestamp>,
    /// What directories stand for goes on URL by URL.
    pub goes_on: bool,
}

/// Targets that were refused alone, while nothing else was accepted: whether they are to blame is not known.
#[derive(Debug)]
pub struct Suspect {
    /// Indexes into the changes.
    pub items: Vec<usize>,
    /// The refusal.
    pub reason: String,
    /// What it is about, as the vendor says.
    pub culprit: Culprit,
}

/// Calls to one endpoint of one provider for one operation.
#[derive(Debug)]
pub struct Lane {
    /// Index into the model's providers.
    pub provider: usize,
    /// Index into the provider's endpoints.
    pub endpoint: usize,
    /// What is called.
    pub operation: &'static Operation,
    /// Headers of the variant of its targets that it purges; empty: the usual one.
    pub headers: Headers,
    /// The limits in force.
    pub limits: OperationLimits,
    /// Index of the shared pace.
    pub pace: usize,
    /// The ledger on which its calls count, where one is kept.
    pub draw: Option<Draw>,
    /// When the account's quota days begin: midnight at this offset from UTC, in minutes.
    pub day_offset_minutes: i32,
    /// Whether its batches purge directories in place of URLs.
    pub collapsed: bool,
    /// Index of the lane that purges URLs one by one where directories are refused.
    pub one_by_one: Option<usize>,
    /// Why nothing more is sent, once that is so.
    pub stopped: Option<Stopped>,
    /// Calls whose intent is on disk, waiting for their turn.
    pub ready: VecDeque<u64>,
    /// Calls whose intent is being written.
    pub unsent: usize,
    /// Calls under way.
    pub in_flight: usize,
    /// A call has left.
    pub called: bool,
    /// An answer has come and the endpoint is not in trouble: calls may overlap.
    pub answered: bool,
    retries_left: u32,
    /// Nothing is sent before: the endpoint is in trouble, or asked for it.
    pub hold_until: Tick,
    /// Calls that failed one after another, each sent after the one before had failed.
    pub failures: u32,
    /// When the last of them was noticed.
    failed_at: Tick,
    /// The first change of the batch that the first of them was sent with, which may be to blame itself.
    failing: Option<usize>,
    /// What is to blame for them, or for the end of the lane.
    pub trouble: Option<FailureScope>,
    /// An answer asked for nothing to be sent before.
    pub not_before: Option<Tick>,
    /// Most targets of the next call, since the endpoint failed again and has not answered often enough since; `None`: as many
    /// as allowed.
    probe: Option<usize>,
    /// What was refused while nothing was accepted; `None` once something was.
    suspects: Option<Vec<Suspect>>,
    /// Changes that no batch was made of yet, and how many of them are done with.
    planned: Vec<u32>,
    taken: usize,
    /// Batches that go before those.
    first: VecDeque<Batch>,
    again: Vec<Batch>,
    /// Changes that something else has to come before, and batches of directories with such changes.
    held: BTreeSet<u32>,
    held_batches: Vec<Batch>,
    /// Until when released changes gather for a full batch.
    gathers_until: Tick,
}

impl Lane {
    /// A lane with its batches, in order.
    pub fn new(
        (provider, endpoint): (usize, usize),
        operation: &'static Operation,
        limits: OperationLimits,
        pace: usize,
        draw: Option<Draw>,
    ) -> Self {
        Self {
            provider,
            endpoint,
            operation,
            headers: Headers::new(),
            limits,
            pace,
            draw,
            day_offset_minutes: 0,
            collapsed: false,
            one_by_one: None,
            stopped: None,
            ready: VecDeque::new(),
            unsent: 0,
            in_flight: 0,
            called: false,
            answered: false,
            retries_left: RETRY_BUDGET,
            hold_until: Tick::from_ms(0),
            failures: 0,
            failed_at: Tick::from_ms(0),
            failing: None,
            trouble: None,
            not_before: None,
            probe: None,
            suspects: Some(Vec::new()),
            planned: Vec::new(),
            taken: 0,
            first: VecDeque::new(),
            again: Vec::new(),
            held: BTreeSet::new(),
            held_batches: Vec::new(),
            gathers_until: Tick::from_ms(0),
        }
    }

    /// Adds changes at the end, to be cut into batches.
    pub fn extend(&mut self, changes: &[u32]) {
        self.planned.extend_from_slice(changes);
    }

    /// Adds directories at the end, a batch each.
    pub fn extend_directories(&mut self, directories: &[Directory]) {
        self.collapsed |= !directories.is_empty();
        self.first.extend(directories.iter().map(Batch::of_directory));
    }

    /// Puts parts of a batch back to the front, in order.
    pub fn push_front(&mut self, parts: Vec<Batch>) {
        for part in parts.into_iter().rev() {
            self.first.push_front(part);
        }
    }

    /// Puts a batch back that waits for its time.
    pub fn push_again(&mut self, batch: Batch) {
        self.again.push(batch);
    }

    /// Whether no batch waits.
    pub fn is_empty(&self) -> bool {
        self.has_only_held() && self.held.is_empty() && self.held_batches.is_empty()
    }

    /// Whether no batch waits but for what has to come before.
    pub fn has_only_held(&self) -> bool {
        self.first.is_empty() && self.taken == self.planned.len() && self.again.is_empty()
    }

    /// Holds those of `items` that wait here until they are released.
    pub fn hold(&mut self, items: &BTreeSet<usize>) {
        let planned = self.planned.split_off(self.taken);
        let (held, planned): (Vec<u32>, Vec<u32>) =
            planned.into_iter().partition(|index| items.contains(&(*index as usize)));
        self.planned.extend(planned);
        self.held.extend(held);
        let is_held = |batch: &Batch| batch.items.iter().any(|item| items.contains(item));
        let (held, first): (VecDeque<Batch>, _) = std::mem::take(&mut self.first).into_iter().partition(is_held);
        self.first = first;
        self.held_batches.extend(held);
    }

    /// Lets a change go, in its place by `rank`. What is let go gathers for a moment: a purge a little later is nothing, a call
    /// for each target is much. `is_held`: whether a change of a directory is held all the same.
    pub fn release<R: Ord>(
        &mut self,
        item: usize,
        now: Tick,
        rank: impl Fn(usize) -> R,
        is_held: impl Fn(usize) -> bool,
    ) {
        let Ok(index) = u32::try_from(item) else { return };
        if self.held.remove(&index) {
            if self.taken == self.planned.len() && self.gathers_until <= now {
                self.gathers_until = now.plus_ms(GATHER_MS);
            }
            let waiting = &self.planned[self.taken..];
            let at = waiting.partition_point(|&other| rank(other as usize) <= rank(item));
            self.planned.insert(self.taken + at, index);
        }
        self.release_batches(is_held);
    }

    /// A change is not sent after all.
    pub fn drop_held(&mut self, item: usize, is_held: impl Fn(usize) -> bool) {
        if let Ok(index) = u32::try_from(item) {
            self.held.remove(&index);
        }
        for batch in &mut self.held_batches {
            batch.items.retain(|&other| other != item);
        }
        self.held_batches.retain(|batch| !batch.items.is_empty());
        self.release_batches(is_held);
    }

    /// A directory is sent once nothing that it stands for is held.
    fn release_batches(&mut self, is_held: impl Fn(usize) -> bool) {
        let still = |batch: &Batch| batch.items.iter().any(|&item| is_held(item));
        let (held, free): (Vec<Batch>, Vec<Batch>) =
            std::mem::take(&mut self.held_batches).into_iter().partition(still);
        self.held_batches = held;
        self.first.extend(free);
    }

    /// When planned changes may be cut into a batch: at once, unless more may be released that would fill it.
    fn cuts_at(&self) -> Tick {
        let is_full = self.planned.len() - self.taken >= self.limits.targets_per_call;
        if self.held.is_empty() || is_full { Tick::from_ms(0) } else { self.gathers_until }
    }

    /// How many calls may be under way at once: the first goes alone, later ones overlap.
    pub fn most_in_flight(&self) -> usize {
        if self.answered && self.probe.is_none() { self.limits.calls_in_flight } else { 1 }
    }

    /// Whether one more call may be prepared. Intents run ahead of their calls by a few milliseconds, or by `lead_ms` where
    /// persisting takes that long, and never by more: a crash leaves them in doubt. Where that would cost quota, those that wait
    /// count as under way.
    pub fn has_room(&self, lead_ms: u64) -> bool {
        let (most, waiting) = (self.most_in_flight(), self.unsent + self.ready.len());
        let calls_in = |us: u64| usize::try_from(us / self.limits.calls.interval_us().max(1)).unwrap_or(usize::MAX);
        let ahead = if most == 1 || self.draw.is_some() {
            calls_in(AHEAD_US).clamp(1, most).min(most.saturating_sub(self.in_flight))
        } else if lead_ms == 0 {
            calls_in(AHEAD_US).clamp(1, most)
        } else {
            calls_in(AHEAD_US.max(lead_ms * 1000)).clamp(1, most.max(MOST_AHEAD))
        };
        self.stopped.is_none() && waiting < ahead
    }

    /// The next batch whose time has come, no larger than the endpoint is trusted with.
    pub fn take_due(&mut self, now: Tick, changes: &Changes) -> Option<Batch> {
        let mut batch = self.next_due(now, changes)?;
        if let Some(most) = self.probe.filter(|most| *most < batch.cost()) {
            let rest = batch.items.split_off(most);
            self.first.push_front(Batch { items: rest, ..batch.clone() });
        }
        Some(batch)
    }

    fn next_due(&mut self, now: Tick, changes: &Changes) -> Option<Batch> {
        match self.next_place(now)? {
            LanePlace::First => self.first.pop_front(),
            LanePlace::Again(index) => Some(self.again.remove(index)),
            LanePlace::Planned => self.cut(changes),
        }
    }

    /// What the next batch may cost whose time has come.
    pub fn next_cost(&self, now: Tick) -> usize {
        let cost = match self.next_place(now) {
            Some(LanePlace::First) => self.first.front().map_or(1, Batch::cost),
            Some(LanePlace::Again(index)) => self.again[index].cost(),
            Some(LanePlace::Planned) => (self.planned.len() - self.taken).min(self.limits.targets_per_call),
            None => 1,
        };
        cost.min(self.probe.unwrap_or(usize::MAX))
    }

    /// The first change of the next batch whose time has come.
    pub fn next_item(&self, now: Tick) -> Option<usize> {
        match self.next_place(now)? {
            LanePlace::First => self.first.front()?.items.first().copied(),
            LanePlace::Again(index) => self.again[index].items.first().copied(),
            LanePlace::Planned => self.planned.get(self.taken).map(|&index| index as usize),
        }
    }

    /// Batches put back come first; where one fails that may be to blame itself, others do, which may fare better.
    fn next_place(&self, now: Tick) -> Option<LanePlace> {
        let is_cut = self.taken < self.planned.len() && self.cuts_at() <= now;
        let planned = is_cut.then_some(LanePlace::Planned);
        let other = if self.first.is_empty() { planned } else { Some(LanePlace::First) };
        if self.failing.is_some() && other.is_some() {
            return other;
        }
        let due = self.again.iter().enumerate().filter(|(_, batch)| batch.not_before <= now);
        due.min_by_key(|(_, batch)| batch.not_before).map(|(index, _)| LanePlace::Again(index)).or(other)
    }

    /// The next planned batch.
    fn cut(&mut self, changes: &Changes) -> Option<Batch> {
        let left = &self.planned[self.taken..];
        let size = call_size(left, self.probe.unwrap_or(usize::MAX), &self.limits, changes);
        let items: Vec<usize> = left[..size].iter().map(|&index| index as usize).collect();
        self.taken += items.len();
        (!items.is_empty()).then(|| Batch::new(items))
    }

    /// When the next batch is due, without regard to the pace.
    pub fn due_at(&self) -> Option<Tick> {
        if !self.first.is_empty() {
            return Some(Tick::from_ms(0));
        }
        let planned = (self.taken < self.planned.len()).then(|| self.cuts_at());
        self.again.iter().map(|batch| batch.not_before).chain(planned).min()
    }

    /// Takes one retry from the shared budget; `false`: it is spent.
    pub fn spend_retry(&mut self) -> bool {
        let some_left = self.retries_left > 0;
        self.retries_left = self.retries_left.saturating_sub(1);
        some_left
    }

    /// A call was accepted: it earns a retry back. Returns what was refused before: the endpoint takes others, so that is to
    /// blame.
    pub fn accepted(&mut self) -> Vec<Suspect> {
        self.retries_left = (self.retries_left + 1).min(RETRY_BUDGET);
        self.suspects.take().unwrap_or_default()
    }

    /// A target or a host was refused alone, while nothing was accepted.
    pub fn suspect(&mut self, suspect: Suspect) {
        self.suspects.get_or_insert_default().push(suspect);
    }

    /// So many were refused, and nothing accepted, that the cause is another.
    pub fn refuses_all(&self) -> bool {
        self.suspects.as_ref().is_some_and(|suspects| suspects.len() >= REFUSALS)
    }

    /// What was refused, once it is judged.
    pub fn take_suspects(&mut self) -> Vec<Suspect> {
        self.suspects.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The endpoint has failed again, or a run before this one left targets that had failed.
    pub const fn mistrust(&mut self) {
        self.probe = Some(1);
    }

    /// A call was answered, whatever the answer: the endpoint is not in trouble, and calls may overlap.
    pub fn reached(&mut self) {
        self.probe = self.probe.map(|most| most * PROBE_GROWTH).filter(|most| *most < self.limits.targets_per_call);
        self.answered = true;
        self.failures = 0;
        self.failing = None;
        self.trouble = None;
    }

    /// Whether a call was accepted.
    pub const fn has_accepted(&self) -> bool {
        self.suspects.is_none()
    }

    /// A call for `batch` that left at `sent` failed; calls that were under way together fail as one. Returns how many have
    /// failed in a row. From the second on calls go one at a time again. A call that was `throttled` says nothing of its batch.
    pub fn failed(&mut self, batch: &Batch, throttled: bool, sent: Tick, now: Tick) -> u32 {
        let item = batch.items.first().copied();
        if throttled {
            self.failing = None;
        } else if self.failures == 0 {
            self.failing = item;
        }
        let blame = if self.failing == item { FailureScope::Target } else { FailureScope::Endpoint };
        self.trouble = self.trouble.max(Some(blame));
        if self.failures == 0 || sent >= self.failed_at {
            self.failures += 1;
            self.failed_at = now;
        }
        if self.failures > 1 {
            self.answered = false;
        }
        self.failures
    }

    /// What waits, a change for each target that a quota counts.
    pub fn waiting(&self) -> impl Iterator<Item = usize> + '_ {
        let of_batch = |batch: &Batch| batch.items[..batch.cost()].to_vec();
        let planned = self.planned[self.taken..].iter().map(|&index| index as usize);
        let held = self.held.iter().map(|&index| index as usize);
        self.first.iter().chain(&self.again).chain(&self.held_batches).flat_map(of_batch).chain(planned).chain(held)
    }

    /// Takes out those of [`Lane::waiting`] that are among `items`; returns the changes that they stood for.
    pub fn withdraw(&mut self, items: &BTreeSet<usize>) -> Vec<usize> {
        let mut withdrawn = Vec::new();
        let mut keep = |batch: &mut Batch| {
            let is_whole = batch.directory.is_some() && items.contains(&batch.items[0]);
            let (out, kept) =
                batch.items.iter().partition(|&item| is_whole || (batch.directory.is_none() && items.contains(item)));
            let out: Vec<usize> = out;
            withdrawn.extend(out);
            batch.items = kept;
            !batch.items.is_empty()
        };
        self.first.retain_mut(&mut keep);
        self.again.retain_mut(&mut keep);
        self.held_batches.retain_mut(&mut keep);
        let is_out = |index: &u32| items.contains(&(*index as usize));
        let held: Vec<u32> = self.held.iter().copied().filter(is_out).collect();
        self.held.retain(|index| !is_out(index));
        withdrawn.extend(held.into_iter().map(|index| index as usize));
        let mut planned = self.planned.split_off(self.taken);
        planned.retain(|&index| {
            let stays = !items.contains(&(index as usize));
            if !stays {
                withdrawn.push(index as usize);
            }
            stays
        });
        self.planned.append(&mut planned);
        withdrawn
    }

    /// Empties the lane; returns the items that wait.
    pub fn drain(&mut self) -> Vec<usize> {
        let mut items: Vec<usize> = self.first.drain(..).flat_map(|batch| batch.items).collect();
        items.extend(self.planned.drain(self.taken..).map(|index| index as usize));
        items.extend(self.again.drain(..).flat_map(|batch| batch.items));
        items.extend(std::mem::take(&mut self.held).into_iter().map(|index| index as usize));
        items.extend(self.held_batches.drain(..).flat_map(|batch| batch.items));
        self.taken = self.planned.len();
        items
    }
}

/// Parts of a refused batch, smaller than the batch; `None` if the culprit stands alone.
///
/// A refusal that speaks of a host is the same for all targets of that host, so such a batch is cut between hosts.
pub fn split(batch: &Batch, culprit: Culprit, changes: &Changes) -> Option<[Batch; 2]> {
    if batch.cost() < 2 {
        return None;
    }
    let mut items = batch.items.clone();
    let at = match culprit {
        Culprit::Target | Culprit::Unclear => items.len() / 2,
        Culprit::Host | Culprit::BusyHost => {
            items.sort_by_cached_key(|&item| (host(changes, item), item));
            let hosts: Vec<&[usize]> = items.chunk_by(|&a, &b| host(changes, a) == host(changes, b)).collect();
            if hosts.len() < 2 {
                return None;
            }
            hosts[..hosts.len() / 2].iter().map(|group| group.len()).sum()
        }
    };
    let rest = items.split_off(at);
    Some([Batch::new(items), Batch::new(rest)])
}

fn host(changes: &Changes, index: usize) -> Option<String> {
    changes.target(index).host().map(str::to_ascii_lowercase)
}
