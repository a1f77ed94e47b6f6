//! The apply machine: events in, actions out. It decides what is sent when, and what is recorded of it.
//!
//! No I/O, no clock: each event carries the time. A call is sent only after its intent came back as persisted,
//! so a crash leaves an intent without an outcome, never a purge that was forgotten.

mod acceptance;
mod held;
mod lead_time;
mod purge_ids;
mod trouble;
mod variants;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::budget::{LastCalls, Paces};
use super::changes::Changes;
use super::contract::ErrorClass;
use super::event::{
    Action, CallId, Ending, EndpointEnd, Event, FailureScope, ItemOutcome, ItemState, Left, ProviderStop, PurgeId,
    Record,
};
use super::http::Endpoint;
use super::lane::{Batch, Lane};
use super::model::Model;
use super::plan::{OneByOne, Plan, rank};
use super::quota::{Days, Ledger, QuotaKey};
use super::retry::{self, Jitter};
use super::states::States;
use super::target::Target;
use super::time::{Now, Tick, Timestamp};
use super::twins::Twins;
use held::Held;
use lead_time::LeadTime;
use purge_ids::PurgeIds;

/// Endpoints that accepted and refused a target.
#[derive(Clone, Copy)]
struct CallTally {
    accepted: u16,
    refused: u16,
}

struct OpenCall {
    lane: usize,
    batch: Batch,
    debit: Option<(QuotaKey, u64)>,
    prepared: Tick,
    /// When it left; `None`: it is prepared.
    sent: Option<Tick>,
    purge: PurgeId,
}

/// A view of a call for its sender.
#[derive(Clone, Copy, Debug)]
pub struct CallView<'a> {
    /// Index into the model's providers.
    pub provider: usize,
    /// Index into the provider's endpoints.
    pub endpoint: usize,
    /// What is called.
    pub operation: &'static super::contract::Operation,
    /// Indexes into the changes.
    pub items: &'a [usize],
    /// What is purged in place of their targets, if anything is.
    pub directory: Option<&'a Target>,
    /// See [`Call::headers`](super::contract::Call::headers).
    pub headers: &'a [(String, String)],
    /// See [`Call::id`](super::contract::Call::id).
    pub id: &'a str,
}

/// The machine.
pub struct Apply<'a> {
    model: &'a Model,
    changes: &'a Changes,
    tallies: Vec<CallTally>,
    /// By change and endpoint: variants of it that have yet to be accepted there, the usual one included.
    variants: HashMap<(usize, usize), usize>,
    states: States,
    lanes: Vec<Lane>,
    paces: Paces,
    ledgers: Vec<Ledger>,
    open_calls: BTreeMap<u64, OpenCall>,
    outbox: VecDeque<Record>,
    stops: Vec<ProviderStop>,
    /// Lanes of directories that the account may not purge, by answers of which nothing is noted yet.
    not_allowed: BTreeSet<usize>,
    next_call: u64,
    ids: PurgeIds,
    twins: Twins,
    jitter: Jitter,
    lead_time: LeadTime,
    held: Held,
    cancelled: bool,
    began: Option<Now>,
}

impl<'a> Apply<'a> {
    /// A machine for `plan` that keeps to `paces`; `seed` feeds the jitter of its waits.
    pub fn new(model: &'a Model, changes: &'a Changes, plan: &Plan, paces: Paces, seed: u64) -> Self {
        let mut machine = Self {
            model,
            changes,
            tallies: (0..changes.len()).map(|index| tally(model, changes, index)).collect(),
            variants: HashMap::new(),
            states: (0..changes.len()).map(|index| ItemState::from(changes.standing(index))).collect(),
            lanes: Vec::new(),
            paces,
            ledgers: plan.ledgers.clone(),
            open_calls: BTreeMap::new(),
            outbox: VecDeque::new(),
            not_allowed: BTreeSet::new(),
            stops: vec![ProviderStop::default(); model.providers.len()],
            next_call: 1,
            ids: PurgeIds::seeded(seed),
            twins: plan.twins.clone(),
            jitter: Jitter::seeded(seed),
            lead_time: LeadTime::default(),
            held: Held::default(),
            cancelled: false,
            began: None,
        };
        for job in &plan.jobs {
            machine.add_job(job);
        }
        machine.hold_downstream(plan);
        machine
    }

    fn add_job(&mut self, job: &super::plan::Job) {
        let config = &self.model.providers[job.provider];
        let first_lane = self.lanes.len();
        let is_cluster = config.kind.capabilities().default_endpoint.is_none();
        let can_be_called = |endpoint: &usize| config.endpoints.problem(*endpoint).is_none();
        let counted = (0..config.endpoints.len()).find(can_be_called).unwrap_or(0);
        for (endpoint, cache) in config.endpoints.iter().enumerate() {
            let key = (job.pace_key.0.clone(), job.pace_key.1, is_cluster.then(|| cache.clone()));
            let pace = self.paces.join(&key, &job.limits);
            // A target counts once, as in the plan: at the first cache of a cluster that can be called.
            let draw = job.draw.clone().filter(|_| endpoint == counted);
            let mut lane = Lane::new((job.provider, endpoint), job.operation, job.limits, pace, draw);
            lane.day_offset_minutes = job.day_offset_minutes;
            self.lanes.push(lane);
        }
        for endpoint in 0..config.endpoints.len() {
            let lane = &mut self.lanes[first_lane + endpoint];
            let usual = job.batches.of_endpoint(endpoint).iter().copied();
            lane.extend(&usual.filter(|index| !job.for_variants.contains(index)).collect::<Vec<_>>());
            lane.extend_directories(&job.directories);
            if job.batches.starts_small() {
                lane.mistrust();
            }
            if let Some(problem) = config.endpoints.problem(endpoint) {
                self.stop(first_lane + endpoint, ErrorClass::Transient, problem);
            }
        }
        self.add_variants(job, first_lane);
        if let Some(urls) = &job.one_by_one {
            self.lanes[first_lane].one_by_one = Some(self.url_lane(job, urls));
        }
        let purged = self.twins.with(job.changes().collect());
        for index in purged {
            self.states.no_longer_deferred(index);
        }
        if let Some(quota) = &job.quota {
            for (day, changes) in job.over_quota.by_day() {
                self.leave(changes.to_vec(), Some(quota.begins(day)), spent(quota.limit));
            }
        }
    }

    /// Index of the lane that purges URLs of the provider of a job with directories. Such a provider has one endpoint.
    fn url_lane(&mut self, job: &super::plan::Job, urls: &OneByOne) -> usize {
        let is_it = |lane: &Lane| {
            lane.provider == job.provider && lane.operation.scope == urls.operation.scope && !lane.collapsed
        };
        self.lanes.iter().position(is_it).unwrap_or_else(|| {
            let key = (job.pace_key.0.clone(), urls.operation.name, None);
            let pace = self.paces.join(&key, &urls.limits);
            let mut lane = Lane::new((job.provider, 0), urls.operation, urls.limits, pace, urls.draw.clone());
            lane.day_offset_minutes = job.day_offset_minutes;
            self.lanes.push(lane);
            self.lanes.len() - 1
        })
    }

    /// Takes over purges that an earlier run began and whose outcome is not known.
    pub fn resume(&mut self, begun: impl IntoIterator<Item = PurgeId>) {
        self.ids.resume(begun);
    }

    /// Sends nothing to this provider; its targets are left for the next run.
    pub fn exclude(&mut self, provider: usize, reason: &str) {
        for lane in 0..self.lanes.len() {
            // Lanes of directories end with those of URLs.
            if self.lanes[lane].provider == provider && !self.lanes[lane].collapsed {
                self.stop(lane, ErrorClass::Config, reason);
            }
        }
    }

    /// Takes an event in. Ask [`Apply::poll`] afterwards until it answers `WakeAt` or `Done`.
    pub fn handle(&mut self, event: Event, now: Now) {
        self.begin_days(now);
        match event {
            Event::Woke => {}
            Event::Persisted(call) => self.persisted(call, now),
            Event::Ended(call, ending) => self.ended(call, ending, now),
            Event::Cancelled => self.cancelled = true,
        }
        self.clear_stopped(now);
    }

    fn persisted(&mut self, call: CallId, now: Now) {
        let Some(open) = self.open_calls.get(&call.0) else { return };
        let lane = open.lane;
        self.lead_time.took(now.tick.since(open.prepared));
        self.lanes[lane].unsent -= 1;
        self.lanes[lane].ready.push_back(call.0);
        self.take_back_of_yesterday(lane, now);
    }

    /// Ledgers of days that are over make way for those of the new day. What the new one has no room for waits on.
    fn begin_days(&mut self, now: Now) {
        self.began.get_or_insert(now);
        let wall = self.wall(now);
        for ledger in 0..self.ledgers.len() {
            if self.ledgers[ledger].begin_day(wall) {
                (0..self.lanes.len()).for_each(|lane| self.take_back_of_yesterday(lane, now));
                self.cut_to_room(ledger);
            }
        }
    }

    /// The time by which quota days begin. What the clock is set to in mid-run does not count: the next run reads its ledgers anew.
    fn wall(&self, now: Now) -> Timestamp {
        let began = self.began.unwrap_or(now);
        began.wall.plus_ms(i64::try_from(now.tick.since(began.tick)).unwrap_or(i64::MAX))
    }

    /// Calls that midnight overtook count where the vendor counts them: they are prepared anew.
    fn take_back_of_yesterday(&mut self, lane: usize, now: Now) {
        let Some(ledger) = self.lanes[lane].draw.as_ref().map(|draw| draw.ledger) else { return };
        let is_over = |open: &OpenCall| open.debit.as_ref().is_some_and(|(key, _)| !self.ledgers[ledger].is_today(key));
        let ready = std::mem::take(&mut self.lanes[lane].ready);
        let (over, ready): (VecDeque<u64>, _) =
            ready.into_iter().partition(|call| self.open_calls.get(call).is_some_and(is_over));
        self.lanes[lane].ready = ready;
        for call in over.iter().rev() {
            let Some(open) = self.open_calls.remove(call) else { continue };
            let credit = self.give_back(lane, open.debit);
            self.not_accepted(CallId(*call), now, (&open.batch.items, None), credit, false);
            self.lanes[lane].push_front(vec![open.batch]);
        }
        if !over.is_empty() {
            self.cut_to_room(ledger);
        }
    }

    /// Leaves to the next day what a ledger has no room for any more, by rank over all lanes that draw on it.
    fn cut_to_room(&mut self, ledger: usize) {
        let draws_on = |lane: &Lane| lane.draw.clone().filter(|draw| draw.ledger == ledger && lane.stopped.is_none());
        let lanes: Vec<_> =
            self.lanes.iter().enumerate().filter_map(|(index, lane)| Some((index, draws_on(lane)?))).collect();
        let waiting: usize = lanes.iter().map(|(index, _)| self.lanes[*index].waiting().count()).sum();
        let uses = self.ledgers[ledger].uses();
        let is_enough = |limit: u64, area: &str| uses.of(area).saturating_add(waiting as u64) <= limit;
        if lanes.iter().all(|(_, draw)| draw.limit.is_none_or(|limit| is_enough(limit, &draw.area))) {
            return;
        }
        let mut ranked = Vec::with_capacity(waiting);
        for (index, draw) in &lanes {
            ranked.extend(self.lanes[*index].waiting().map(|item| (item, *index, draw)));
        }
        ranked.sort_by_key(|(item, ..)| rank(self.changes, *item));
        let mut days = Days::of(&self.ledgers[ledger]);
        let mut over: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for (item, index, draw) in ranked {
            if !days.take_today(draw) {
                over.entry(index).or_default().insert(item);
            }
        }
        let resets_at = self.ledgers[ledger].resets_at();
        for (index, items) in over {
            let lane = &mut self.lanes[index];
            // What directories stood for need not wait for them: the next run purges it URL by URL.
            let until = Some(resets_at).filter(|_| !lane.collapsed);
            let limit = lane.draw.as_ref().and_then(|draw| draw.limit).unwrap_or_default();
            let items = lane.withdraw(&items);
            self.leave(items, until, spent(limit));
        }
    }

    /// Calls that were prepared but are not wanted any more leave no doubt and no failure behind, and what came back to a stopped
    /// lane waits as the rest of it does.
    fn clear_stopped(&mut self, now: Now) {
        for index in 0..self.lanes.len() {
            let stopped = self.lanes[index].stopped.clone();
            if stopped.is_none() && !self.cancelled {
                continue;
            }
            let reason = stopped.as_ref().map(|stop| stop.reason.as_str());
            let mut left = Vec::new();
            for call in std::mem::take(&mut self.lanes[index].ready) {
                let Some(open) = self.open_calls.remove(&call) else { continue };
                let credit = self.give_back(index, open.debit);
                self.not_accepted(CallId(call), now, (&open.batch.items, reason), credit, false);
                left.extend(open.batch.items);
            }
            if let Some(stop) = stopped {
                left.extend(self.lanes[index].drain());
                self.go_on_or_leave(index, left, stop);
            }
        }
    }

    /// The credit for a call that was not carried out.
    fn give_back(&mut self, lane: usize, debit: Option<(QuotaKey, u64)>) -> Option<(QuotaKey, u64)> {
        let (key, cost) = debit?;
        let draw = self.lanes[lane].draw.as_ref();
        let known = draw.is_none_or(|draw| self.ledgers[draw.ledger].give_back(&key, cost));
        known.then_some((key, cost))
    }

    /// The next thing to do at `now`.
    pub fn poll(&mut self, now: Now) -> Action {
        self.begin_days(now);
        self.leave_downstream();
        if let Some(record) = self.outbox.pop_front() {
            return Action::Persist(record);
        }
        if let Some(call) = self.send_ready(now.tick) {
            return Action::Send(call);
        }
        if let Some(record) = self.prepare(now) {
            return Action::Persist(record);
        }
        let idle = self.cancelled || self.lanes.iter().all(|lane| lane.stopped.is_some() || lane.is_empty());
        if self.open_calls.is_empty() && idle {
            self.judge();
            return self.outbox.pop_front().map_or(Action::Done, Action::Persist);
        }
        Action::WakeAt(self.wake_at(now.tick))
    }

    fn send_ready(&mut self, now: Tick) -> Option<CallId> {
        let first = |lane: &Lane| {
            let call = self.open_calls.get(lane.ready.front()?)?;
            let may_go = self.is_due(lane, call.batch.cost(), now) && self.may_send(lane);
            may_go.then(|| rank(self.changes, call.batch.items[0]))
        };
        let index = self.first_lane(first)?;
        let lane = &mut self.lanes[index];
        let call = lane.ready.pop_front()?;
        lane.in_flight += 1;
        lane.called = true;
        if let Some(open) = self.open_calls.get_mut(&call) {
            self.paces[lane.pace].take(open.batch.cost() as u64, now);
            open.sent = Some(now);
        }
        Some(CallId(call))
    }

    /// When a call of the lane may leave that costs so much.
    fn due_at(&self, lane: &Lane, cost: usize) -> Tick {
        self.paces[lane.pace].ready_at(cost as u64).max(lane.hold_until)
    }

    fn is_due(&self, lane: &Lane, cost: usize, now: Tick) -> bool {
        self.due_at(lane, cost) <= now
    }

    /// Whether one more call may join those that `counted` counts: lanes that share a pace share the number of calls under way.
    fn account_has_room(&self, lane: &Lane, counted: impl Fn(&Lane) -> usize) -> bool {
        let sharing = self.lanes.iter().filter(|other| other.pace == lane.pace);
        !self.paces[lane.pace].is_shared() || sharing.map(counted).sum::<usize>() < lane.limits.calls_in_flight
    }

    fn may_send(&self, lane: &Lane) -> bool {
        lane.in_flight < lane.most_in_flight() && self.account_has_room(lane, |other| other.in_flight)
    }

    /// Whether one more call of the lane may be prepared. Prepared ones of a lane that is held up take no other's place.
    fn may_prepare(&self, lane: &Lane, now: Tick) -> bool {
        let prepared = |other: &Lane| if other.hold_until <= now { other.unsent + other.ready.len() } else { 0 };
        lane.has_room(self.lead_time.ms()) && self.account_has_room(lane, |other| other.in_flight + prepared(other))
    }

    /// The first change of the lane's next batch at `then`, unless a call that ranks before it takes the next turn.
    fn next_of(&self, lane: &Lane, then: Tick, now: Tick) -> Option<usize> {
        let next = lane.next_item(then)?;
        if !self.paces[lane.pace].is_shared() {
            return Some(next);
        }
        let goes_before = |open: &OpenCall| {
            let other = &self.lanes[open.lane];
            let shares_pace = other.pace == lane.pace && !std::ptr::eq(other, lane);
            let is_prepared = open.sent.is_none() && other.hold_until <= now;
            shares_pace && is_prepared && rank(self.changes, open.batch.items[0]) < rank(self.changes, next)
        };
        (!self.open_calls.values().any(goes_before)).then_some(next)
    }

    /// The lane whose turn it is: those that share an account share its quota and its pace.
    fn first_lane<R: Ord>(&self, turn: impl Fn(&Lane) -> Option<R>) -> Option<usize> {
        let turns = self.lanes.iter().enumerate().filter_map(|(index, lane)| Some((turn(lane)?, index)));
        turns.min().map(|(_, index)| index)
    }

    /// Prepares the next call whose time has come and returns its intent.
    fn prepare(&mut self, now: Now) -> Option<Record> {
        if self.cancelled {
            return None;
        }
        let first = |lane: &Lane| {
            let by_then = now.tick.plus_ms(self.lead_time.ms());
            let may_go = self.is_due(lane, lane.next_cost(now.tick), by_then) && self.may_prepare(lane, now.tick);
            let next = may_go.then(|| self.next_of(lane, now.tick, now.tick)).flatten()?;
            Some(rank(self.changes, next))
        };
        let index = self.first_lane(first)?;
        let lane = &mut self.lanes[index];
        let batch = lane.take_due(now.tick, self.changes)?;
        lane.unsent += 1;
        let (operation, cost) = (lane.operation.name, batch.cost() as u64);
        let debit = lane.draw.as_ref().map(|draw| (self.ledgers[draw.ledger].debit(&draw.area, cost), cost));
        let call = CallId(self.next_call);
        self.next_call += 1;
        let items = self.twins.with(batch.items.clone());
        let purge = self.ids.of(self.content(index, &batch));
        let prepared = now.tick;
        let open = OpenCall { lane: index, batch, debit: debit.clone(), prepared, sent: None, purge: purge.clone() };
        self.open_calls.insert(call.0, open);
        Some(Record::Intent { call, operation, items, debit, purge })
    }

    fn wake_at(&self, now: Tick) -> Option<Tick> {
        self.lanes
            .iter()
            .filter_map(|lane| {
                if let Some(call) = lane.ready.front() {
                    let cost = self.open_calls.get(call).map_or(1, |open| open.batch.cost());
                    // Else it goes once another call has ended.
                    return self.may_send(lane).then(|| self.due_at(lane, cost));
                }
                if self.cancelled || !self.may_prepare(lane, now) {
                    return None;
                }
                let due = lane.due_at()?;
                let pace = self.lead_time.before(self.due_at(lane, lane.next_cost(due.max(now))));
                self.next_of(lane, due.max(now), now).map(|_| due.max(pace))
            })
            .min()
    }

    fn ended(&mut self, call: CallId, ending: Ending, now: Now) {
        let Some(open) = self.open_calls.remove(&call.0) else { return };
        let ledger = open.debit.as_ref().and(self.lanes[open.lane].draw.as_ref()).map(|draw| draw.ledger);
        let counted = ledger.map(|ledger| (ledger, self.ledgers[ledger].uses()));
        let is_accepted = matches!(&ending, Ending::Accepted(reply) if reply.refused.is_empty());
        self.lanes[open.lane].in_flight -= 1;
        match ending {
            Ending::Accepted(reply) => self.accepted(call, open, &reply, now),
            Ending::Renewed(error) if open.batch.attempts + 1 < retry::ATTEMPTS => {
                self.renewed(call, open, &error, now);
            }
            Ending::Renewed(error) | Ending::Refused(error) => self.refused(call, open, &error, now),
            Ending::Failed(failure) => self.failed(call, open, &failure, now),
        }
        // A call that may have been carried out keeps its quota, and what it held needs more.
        let kept = counted.filter(|(ledger, uses)| !is_accepted && self.ledgers[*ledger].uses() == *uses);
        if let Some((ledger, _)) = kept {
            self.cut_to_room(ledger);
        }
    }

    fn endpoint(&self, lane: usize) -> &Endpoint {
        let lane = &self.lanes[lane];
        &self.model.providers[lane.provider].endpoints[lane.endpoint]
    }

    /// A call under way is not waited for any more: its items stay in doubt. What is to be written down, if anything is.
    pub fn give_up(&mut self, call: CallId, reason: &str) -> Option<Record> {
        let items = self.open_calls.get(&call.0)?.batch.items.clone();
        self.left(items, Left::Pending(reason.to_owned()))
    }

    /// Writes down that a call ended without an acceptance, and for which reason its items are still to be purged.
    fn not_accepted(
        &mut self,
        call: CallId,
        now: Now,
        (items, reason): (&[usize], Option<&str>),
        credit: Option<(QuotaKey, u64)>,
        may_have_purged: bool,
    ) {
        let items = self.later(items, reason);
        self.outbox.push_back(Record::Outcome {
            call,
            at: now.wall,
            items,
            may_have_purged,
            left_out: Vec::new(),
            credit,
        });
    }

    fn later(&mut self, items: &[usize], reason: Option<&str>) -> Vec<(usize, ItemOutcome)> {
        let items = self.twins.with(items.to_vec());
        items.into_iter().map(|index| (index, self.later_one(index, reason))).collect()
    }

    /// What one endpoint has yet to do does not take back what another one settled.
    fn later_one(&mut self, index: usize, reason: Option<&str>) -> ItemOutcome {
        match self.states.get(index) {
            ItemState::Rejected(refusal) => return ItemOutcome::Rejected(refusal.clone()),
            ItemState::Recorded => {}
            _ => self.states.set(index, &ItemState::Pending(reason.map(str::to_owned))),
        }
        ItemOutcome::Later(reason.map(str::to_owned))
    }

    /// The call `id`, while it is prepared or under way.
    pub fn call(&self, id: CallId) -> Option<CallView<'_>> {
        let open = self.open_calls.get(&id.0)?;
        let lane = &self.lanes[open.lane];
        let (provider, endpoint, operation) = (lane.provider, lane.endpoint, lane.operation);
        let Batch { items, directory, .. } = &open.batch;
        let id = &open.purge.id;
        let headers = &lane.headers;
        Some(CallView { provider, endpoint, operation, items, directory: directory.as_ref(), headers, id })
    }

    /// Calls under way or prepared.
    pub fn calls_open(&self) -> usize {
        self.open_calls.len()
    }

    /// When calls left last, for the next run of this process.
    pub fn last_calls(&self) -> LastCalls {
        self.paces.last_calls()
    }

    /// Where each change stands, by index.
    pub fn states(&self) -> &States {
        &self.states
    }

    /// The same, when nothing more is to come.
    pub fn into_states(self) -> States {
        self.states
    }

    /// How the endpoints of each provider fared that were to be called, by index and in order, once nothing more is to come.
    pub fn endpoints(&self) -> Vec<Vec<EndpointEnd>> {
        let mut ends: Vec<BTreeMap<usize, EndpointEnd>> = vec![BTreeMap::new(); self.stops.len()];
        for lane in self.lanes.iter().filter(|lane| lane.called || lane.trouble.is_some()) {
            let endpoint = self.model.providers[lane.provider].endpoints[lane.endpoint].clone();
            let fresh = EndpointEnd { endpoint, accepted: false, trouble: None, not_before: None };
            let end = ends[lane.provider].entry(lane.endpoint).or_insert(fresh);
            end.accepted |= lane.has_accepted();
            // Calls that are still under way have been given up.
            let given_up = (lane.in_flight > 0).then_some(FailureScope::Target);
            end.trouble = end.trouble.max(lane.trouble).max(given_up);
            end.not_before = end.not_before.max(lane.not_before);
        }
        ends.into_iter().map(|ends| ends.into_values().collect()).collect()
    }

    /// Why providers stopped, by index.
    pub fn stops(&self) -> &[ProviderStop] {
        &self.stops
    }
}

fn spent(limit: u64) -> String {
    format!("the day's quota of {limit} is spent")
}

/// What an earlier run came to.
fn tally(model: &Model, changes: &Changes, index: usize) -> CallTally {
    let config = &model.providers[changes.provider(index)];
    let has_accepted = |endpoint: &&Endpoint| changes.accepted_at(index).contains(&endpoint.to_string());
    let accepted = match changes.accepted_at(index) {
        [] => 0,
        _ => config.endpoints.iter().filter(has_accepted).count(),
    };
    CallTally { accepted: u16::try_from(accepted).unwrap_or(u16::MAX), refused: 0 }
}
