//! Changes into batches: ordered, cut at what the quota leaves, with the calls and the time they take.
//!
//! Does not know how a vendor is called, nor what it will answer.

mod charge;
mod demand;
mod quota_days;
mod quota_terms;
mod variants;

use std::collections::{BTreeSet, HashMap};

use super::budget;
use super::call_size::{call_size, is_special};
use super::changes::Changes;
use super::collapse::{Directory, collapse};
use super::contract::Operation;
use super::hold::Hold;
use super::http::Endpoint;
use super::model::{Model, OperationLimits, Priority, ProviderConfig};
use super::proof_terms::Headers;
use super::quota::{Days, Draw, Ledger};
use super::recorded::{Standing, Wait};
use super::target::{Scope, Target};
use super::time::Timestamp;
use super::twins::Twins;

pub use super::quota::QuotaKey;
pub use charge::Charge;
use demand::Demand;
pub use quota_days::{OverQuota, Quota};
pub use quota_terms::{QuotaTerms, quota_terms};
pub use variants::Variant;

/// A batch: what one call will purge, as indexes into the changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedBatch {
    /// Index into the provider's endpoints.
    pub endpoint: usize,
    /// Changes, in order.
    pub changes: Vec<usize>,
}

/// Where something failed before, the first call has one target, and each further one this many times as many until batches are
/// full: a call whose outcome is not known keeps its quota, and whole batches would spend the day's within a short outage.
pub(super) const PROBE_GROWTH: usize = 10;

/// The batches of a job. They are cut when they are asked for: a million of one target each would weigh more than all
/// that they purge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batches {
    /// Changes in order, for each endpoint.
    lists: Vec<Vec<u32>>,
    /// Most targets in one call.
    size: usize,
    /// The first calls are small, since some of the changes have failed before.
    starts_small: bool,
    /// Sizes of the calls to each endpoint, where numbers of targets alone do not say them.
    sizes: Vec<Vec<usize>>,
}

impl Batches {
    /// Batches within these limits; `lists` has the changes of each endpoint, in order.
    pub fn new(lists: Vec<Vec<u32>>, limits: &OperationLimits, starts_small: bool, changes: &Changes) -> Self {
        let mut batches = Self { lists, size: limits.targets_per_call.max(1), starts_small, sizes: Vec::new() };
        if is_special(limits) {
            let sizes = |list: &Vec<u32>| {
                let (mut left, mut most) = (list.as_slice(), batches.first_size());
                std::iter::from_fn(|| {
                    let size = call_size(left, most, limits, changes);
                    (left, most) = (&left[size..], most.saturating_mul(PROBE_GROWTH));
                    (size > 0).then_some(size)
                })
                .collect()
            };
            batches.sizes = batches.lists.iter().map(sizes).collect();
        }
        batches
    }

    /// How many calls they are.
    pub fn len(&self) -> usize {
        if !self.sizes.is_empty() {
            return self.sizes.iter().map(Vec::len).sum();
        }
        self.lists.iter().map(|list| self.calls_of(list.len())).sum()
    }

    fn calls_of(&self, mut targets: usize) -> usize {
        let (mut calls, mut most) = (0, self.first_size());
        while targets > 0 && most < self.size {
            (calls, targets, most) = (calls + 1, targets.saturating_sub(most), most * PROBE_GROWTH);
        }
        calls + targets.div_ceil(self.size)
    }

    /// Most targets of the first call to each endpoint.
    const fn first_size(&self) -> usize {
        if self.starts_small { 1 } else { self.size }
    }

    /// Whether the first calls are small.
    pub const fn starts_small(&self) -> bool {
        self.starts_small
    }

    /// Changes of all endpoints, each counted for each of them.
    fn purges(&self) -> usize {
        self.lists.iter().map(Vec::len).sum()
    }

    /// Targets, each counted once: those of the endpoint that has most.
    fn distinct(&self) -> u64 {
        self.lists.iter().map(Vec::len).max().unwrap_or(0) as u64
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lists.iter().all(Vec::is_empty)
    }

    /// All batches, endpoint by endpoint.
    pub fn iter(&self) -> impl Iterator<Item = PlannedBatch> + '_ {
        self.lists.iter().enumerate().flat_map(move |(endpoint, list)| {
            let changes = |batch: &[u32]| batch.iter().map(|&index| index as usize).collect();
            self.cut(endpoint, list).map(move |batch| PlannedBatch { endpoint, changes: changes(batch) })
        })
    }

    fn cut<'a>(&'a self, endpoint: usize, list: &'a [u32]) -> impl Iterator<Item = &'a [u32]> + use<'a> {
        let (mut left, mut most, size) = (list, self.first_size(), self.size);
        let mut sizes = self.sizes.get(endpoint).map(|sizes| sizes.iter());
        std::iter::from_fn(move || {
            let own = sizes.as_mut().map_or(Some(most), |sizes| sizes.next().copied())?;
            let (batch, rest) = left.split_at(own.min(left.len()));
            (left, most) = (rest, (most * PROBE_GROWTH).min(size));
            (!batch.is_empty()).then_some(batch)
        })
    }

    /// Keeps those changes of endpoints for which `keeps` is true.
    #[must_use]
    pub fn retain(self, keeps: &dyn Fn(usize, usize) -> bool, limits: &OperationLimits, changes: &Changes) -> Self {
        let Self { mut lists, starts_small, .. } = self;
        for (endpoint, list) in lists.iter_mut().enumerate() {
            list.retain(|&index| keeps(endpoint, index as usize));
        }
        Self::new(lists, limits, starts_small, changes)
    }

    /// Changes of an endpoint, in order.
    pub fn of_endpoint(&self, endpoint: usize) -> &[u32] {
        self.lists.get(endpoint).map_or(&[], Vec::as_slice)
    }
}

/// All work of one provider for one operation.
#[derive(Clone, Debug)]
pub struct Job {
    /// Index into the model's providers.
    pub provider: usize,
    /// What is called.
    pub operation: &'static Operation,
    /// The limits in force.
    pub limits: OperationLimits,
    /// Name of the rate budget this job shares with others of its account and operation.
    pub pace_key: (String, &'static str),
    /// Calls, in order.
    pub batches: Batches,
    /// Further calls for the same targets, as caches keep variants of them apart.
    pub variants: Vec<Variant>,
    /// Changes that get none of the usual calls, but those for variants alone: the others are fresh.
    pub for_variants: BTreeSet<u32>,
    /// Directories that are purged in place of URLs, a call each. A job that has them has no batches.
    pub directories: Vec<Directory>,
    /// How their URLs are purged one by one in the same run, should the vendor refuse directories.
    pub one_by_one: Option<OneByOne>,
    /// The quota, where there is one.
    pub quota: Option<Quota>,
    /// The ledger on which its calls count, where one is kept: also where only others on it have a limit.
    pub draw: Option<Draw>,
    /// When the account's quota days begin: midnight at this offset from UTC, in minutes.
    pub day_offset_minutes: i32,
    /// Targets the calls purge, each counted once; URLs also where a directory stands for them.
    pub targets: usize,
    /// Changes that the quota leaves no room for today.
    pub over_quota: OverQuota,
    /// What they cost, where the vendor charges for them.
    pub charge: Option<Charge>,
    /// Time from the first call to the last at the allowed rate, in milliseconds.
    pub duration_ms: u64,
    /// Quota days until all is done, 1 for today.
    pub days: u64,
}

/// How URLs are purged for which directories stand.
#[derive(Clone, Debug)]
pub struct OneByOne {
    /// What is called.
    pub operation: &'static Operation,
    /// The limits in force.
    pub limits: OperationLimits,
    /// The ledger on which its calls count, where one is kept.
    pub draw: Option<Draw>,
}

impl Job {
    /// How many calls it takes.
    pub fn calls(&self) -> usize {
        self.batches.len() + self.directories.len() + self.calls_of_variants()
    }

    /// Leaves out endpoints, by index, and `changes` that fail, unless a directory stands for others besides. Returns what it
    /// does not settle any more.
    pub fn leave_out(&mut self, endpoints: &[usize], fails: &dyn Fn(usize) -> bool, changes: &Changes) -> Vec<usize> {
        let all = self.distinct_changes();
        let keeps = |endpoint, index| !endpoints.contains(&endpoint) && !fails(index);
        self.batches = std::mem::take(&mut self.batches).retain(&keeps, &self.limits, changes);
        // A provider that takes directories has one endpoint.
        self.directories
            .retain(|directory| endpoints.is_empty() && !directory.changes.iter().all(|&index| fails(index as usize)));
        let kept = self.distinct_changes();
        self.batches.starts_small &= kept.iter().any(|&index| changes.standing(index).has_ever_failed());
        self.targets = kept.len();
        all.into_iter().filter(|index| kept.binary_search(index).is_err()).collect()
    }

    fn distinct_changes(&self) -> Vec<usize> {
        let mut changes: Vec<usize> = self.changes().collect();
        changes.sort_unstable();
        changes.dedup();
        changes
    }

    /// Changes that its calls settle, in no order and some of them several times.
    pub fn changes(&self) -> impl Iterator<Item = usize> + '_ {
        let of_directories =
            self.directories.iter().flat_map(|directory| directory.changes.iter().map(|&index| index as usize));
        self.batches.iter().flat_map(|batch| batch.changes).chain(of_directories)
    }
}

/// What a run will do.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Jobs, in order of provider and scope.
    pub jobs: Vec<Job>,
    /// Changes whose time has not come yet.
    pub waiting: Vec<usize>,
    /// Changes that were refused for good.
    pub rejected: Vec<usize>,
    /// Providers of both, by index and in order: other credentials may make it due.
    pub not_due_at: Vec<usize>,
    /// Changes that the user left out with `--only` or `--provider`.
    pub unselected: Vec<usize>,
    /// Changes that are held back, since a guard refuses them.
    pub refused: Vec<usize>,
    /// Directories for which no quota is left today, or that the vendor refused lately: the jobs purge what they would stand for
    /// URL by URL.
    pub one_by_one: Vec<Directory>,
    /// Providers, by index, that refused directories lately.
    pub without_directories: Vec<usize>,
    /// Ledgers that the jobs draw on, by their index.
    pub ledgers: Vec<Ledger>,
    /// Changes that travel with others and stand in no job.
    pub twins: Twins,
}

impl Plan {
    /// Calls of all jobs.
    pub fn calls(&self) -> usize {
        self.jobs.iter().map(Job::calls).sum()
    }

    /// What has to be accepted until all is done: each target at each endpoint that it is sent to.
    pub fn purges(&self) -> usize {
        // Kinds that purge directories have one endpoint.
        let in_directories = |job: &Job| job.directories.iter().map(|directory| directory.changes.len()).sum::<usize>();
        self.jobs.iter().map(|job| job.batches.purges() + in_directories(job) + job.calls_of_variants()).sum()
    }

    /// Changes that wait for another quota day, with the moment at which that day begins.
    pub fn postponed(&self) -> impl Iterator<Item = (usize, Timestamp)> {
        let quotas = self.jobs.iter().filter_map(|job| Some((job, job.quota.as_ref()?)));
        let days =
            quotas.flat_map(|(job, quota)| job.over_quota.by_day().map(|(day, changes)| (quota.begins(day), changes)));
        days.flat_map(|(begins, changes)| changes.iter().map(move |&index| (index, begins)))
    }

    /// Targets of all jobs.
    pub fn targets(&self) -> usize {
        self.jobs.iter().map(|job| job.targets).sum()
    }
}

/// Whether the user selected a target of a provider, by its index.
pub type Selected<'a> = dyn Fn(usize, &Target) -> bool + 'a;

/// What the plan depends on besides model and changes.
pub struct Circumstances<'a> {
    /// Each provider's account, by index.
    pub accounts: &'a [String],
    /// Targets already spent of a quota.
    pub used: &'a dyn Fn(&QuotaKey) -> u64,
    /// Providers, by index, that refused directories lately and are not asked for them yet.
    pub without_directories: &'a [usize],
    /// What the user selected, if not all: a target of a provider, by its index.
    pub selected: Option<&'a Selected<'a>>,
    /// What guards hold back.
    pub hold: &'a Hold,
    /// Hosts whose answers were seen to vary by `Accept-Encoding`, in lower case, with a port that is not the scheme's own.
    pub varies: &'a BTreeSet<String>,
    /// By change: headers of the variants that were seen to be stale; it is purged again for these.
    pub stale: &'a HashMap<usize, Vec<Headers>>,
    /// Wall time of the run's start.
    pub now: Timestamp,
}

/// Puts the changes into batches.
pub fn plan(model: &Model, changes: &Changes, circumstances: &Circumstances<'_>) -> Plan {
    let without_directories = circumstances.without_directories.to_vec();
    let mut plan = Plan { without_directories, ..Plan::default() };
    let mut due: HashMap<(usize, Scope), Vec<u32>> = HashMap::new();
    for index in 0..changes.len() {
        let provider = changes.provider(index);
        let standing = changes.standing(index);
        // Where a ledger is kept it decides, so that a raised quota takes effect at once.
        let waits = |wait| wait != Wait::Quota || !has_ledger(model, changes, index);
        match standing {
            _ if circumstances.selected.is_some_and(|selected| !selected(provider, &changes.target(index))) => {
                plan.unselected.push(index);
            }
            Standing::Rejected { .. } => plan.rejected.push(index),
            _ if standing.waits_at(circumstances.now).is_some_and(waits) => plan.waiting.push(index),
            _ if circumstances.hold.holds(changes, index) => plan.refused.push(index),
            _ => {
                due.entry((provider, changes.scope(index))).or_default().push(u32::try_from(index).unwrap_or(u32::MAX));
            }
        }
    }
    plan.not_due_at = plan.waiting.iter().chain(&plan.rejected).map(|&index| changes.provider(index)).collect();
    plan.not_due_at.sort_unstable();
    plan.not_due_at.dedup();
    let mut keys: Vec<_> = due.keys().copied().collect();
    keys.sort_unstable();
    let mut room = Room { model, circumstances, ledgers: Vec::new(), days: Vec::new() };
    let mut demands: Vec<Demand> = Vec::new();
    let mut in_place: Vec<Job> = Vec::new();
    for (provider, scope) in keys {
        let mut indexes = due.remove(&(provider, scope)).unwrap_or_default();
        if scope == Scope::Url {
            let mut directories = collapse(model, changes, provider, &mut indexes);
            in_place.extend(room.directory_job(provider, &mut directories));
            indexes.extend(directories.iter().flat_map(|directory| &directory.changes));
            plan.one_by_one.extend(directories);
        }
        indexes.sort_by_key(|&index| rank(changes, index as usize));
        plan.twins.take_out(&model.providers[provider], changes, &mut indexes);
        demands.extend(room.demand(provider, scope, indexes));
    }
    room.allot(&mut demands, changes);
    plan.jobs =
        demands.into_iter().filter(|demand| !demand.is_empty()).map(|demand| room.job(demand, changes)).collect();
    for job in &mut plan.jobs {
        (job.variants, job.for_variants) = variants::of_job(model, changes, job, circumstances);
        if !job.variants.is_empty() {
            let per_endpoint = job.calls().div_ceil(model.providers[job.provider].endpoints.len().max(1));
            job.duration_ms = budget::duration_ms(&job.limits, per_endpoint, per_endpoint);
        }
    }
    plan.jobs.extend(in_place);
    // Those of one provider stay together, directories after what they are no part of.
    plan.jobs.sort_by_key(|job| (job.provider, job.operation.scope == Scope::AssetId));
    room.finish(&mut plan);
    plan
}

/// Where a change stands among all that draw on one quota: high priority first, within one priority the oldest change, then by
/// target, which is the order of indexes.
pub fn rank(changes: &Changes, index: usize) -> (Priority, Timestamp, usize) {
    (changes.priority(index), changes.since(index), index)
}

fn has_ledger(model: &Model, changes: &Changes, index: usize) -> bool {
    model.providers[changes.provider(index)]
        .limits_of(changes.scope(index))
        .is_some_and(|limits| limits.targets_per_day.is_some())
}

/// The ledgers and the room on them.
struct Room<'a> {
    model: &'a Model,
    circumstances: &'a Circumstances<'a>,
    ledgers: Vec<Ledger>,
    days: Vec<Days>,
}

impl Room<'_> {
    fn demand(&mut self, provider: usize, scope: Scope, indexes: Vec<u32>) -> Option<Demand> {
        let config = &self.model.providers[provider];
        let operation = config.kind.capabilities().operation(scope)?;
        let limits = config.limits_of(scope)?;
        let draw = self.draw(provider, operation, limits);
        let (today, over_quota) = (Vec::new(), OverQuota::default());
        Some(Demand { provider, operation, limits, draw, indexes, next: 0, today, over_quota, from: 0, last_day: 0 })
    }

    /// A provider that calls `operation` draws on a ledger if anybody of the account has a limit for it.
    fn draw(&mut self, provider: usize, operation: &Operation, limits: OperationLimits) -> Option<Draw> {
        let accounts = self.circumstances.accounts;
        let config = &self.model.providers[provider];
        let is_limited = |other: &ProviderConfig| {
            let mut operations = other.kind.capabilities().operations.iter();
            operations.any(|one| {
                let limits = other.limits_of(one.scope);
                let counts = one.cost.is_some() || limits.is_some_and(|limits| limits.targets_per_day.is_some());
                one.quota == operation.quota && counts
            })
        };
        let mut others = self.model.providers.iter().zip(accounts);
        if !others.any(|(other, account)| *account == accounts[provider] && is_limited(other)) {
            return None;
        }
        let known = self.ledgers.iter().position(|known| known.is_of(&accounts[provider], operation.quota));
        let ledger = known.unwrap_or_else(|| {
            let at = (self.circumstances.now, day_offset_minutes(self.model, accounts, provider));
            let whose = (accounts[provider].as_str(), operation.quota, operation.quota_days);
            let ledger = Ledger::read(whose, config.kind.quota_areas(), at, self.circumstances.used);
            self.days.push(Days::of(&ledger));
            self.ledgers.push(ledger);
            self.ledgers.len() - 1
        });
        Some(Draw { ledger, area: config.kind.quota_area(&config.options), limit: limits.targets_per_day })
    }

    /// Gives each change its day, in order of rank over all that draw on one ledger.
    fn allot(&mut self, demands: &mut [Demand], changes: &Changes) {
        for demand in demands.iter_mut().filter(|demand| demand.draw.is_none()) {
            demand.today = std::mem::take(&mut demand.indexes);
        }
        for ledger in 0..self.ledgers.len() {
            let mut sharing: Vec<&mut Demand> = demands.iter_mut().filter(|demand| demand.draws_on(ledger)).collect();
            let head = |demand: &Demand| demand.indexes.get(demand.next).map(|&index| rank(changes, index as usize));
            let mut heads: Vec<_> = sharing.iter().map(|demand| head(demand)).collect();
            while let Some((first, next)) =
                heads.iter().enumerate().filter_map(|(at, head)| Some((at, (*head)?))).min_by_key(|(_, head)| *head)
            {
                let demand = &mut *sharing[first];
                let costs = is_open(&self.model.providers[demand.provider], 0, changes, next.2);
                demand.take(&mut self.days[ledger], costs);
                heads[first] = head(demand);
            }
        }
    }

    fn job(&self, demand: Demand, changes: &Changes) -> Job {
        let Demand { provider, operation, limits, draw, mut today, over_quota, last_day, .. } = demand;
        // What was sent and failed goes last within its priority: targets that a vendor refuses must not keep others from it.
        today.sort_by_key(|&index| (changes.priority(index as usize), changes.has_failed(index as usize)));
        let config = &self.model.providers[provider];
        let open = |endpoint| {
            today.iter().copied().filter(|&index| is_open(config, endpoint, changes, index as usize)).collect()
        };
        // A provider that is out is not trusted more for other content: each deployment would cost whole batches of its quota.
        let starts_small = today.iter().any(|&index| changes.standing(index as usize).has_ever_failed());
        let batches = Batches::new((0..config.endpoints.len()).map(open).collect(), &limits, starts_small, changes);
        let per_endpoint = batches.len().div_ceil(config.endpoints.len().max(1));
        Job {
            targets: today.len(),
            duration_ms: budget::duration_ms(&limits, per_endpoint, today.len()),
            batches,
            over_quota,
            days: 1 + last_day as u64,
            ..self.empty_job(provider, operation, limits, draw)
        }
    }

    /// The job that purges directories in place of URLs. Those for which there is no quota, with the fewest changes, are left in
    /// `directories`.
    fn directory_job(&mut self, provider: usize, directories: &mut Vec<Directory>) -> Option<Job> {
        let config = &self.model.providers[provider];
        let is_refused = self.circumstances.without_directories.contains(&provider);
        let operation = config.kind.directories(&config.options).filter(|_| !directories.is_empty() && !is_refused)?;
        let limits = config.limits_of(operation.scope)?;
        let draw = self.draw(provider, operation, limits);
        directories.sort_by(|a, b| b.changes.len().cmp(&a.changes.len()).then_with(|| a.target.cmp(&b.target)));
        let mut fits = |_: &Directory| draw.as_ref().is_none_or(|draw| self.days[draw.ledger].take_today(draw));
        let room = directories.iter().take_while(|one| fits(one)).count();
        let purged: Vec<Directory> = directories.drain(..room).collect();
        if purged.is_empty() {
            return None;
        }
        let urls = config.kind.capabilities().operation(Scope::Url).zip(config.limits_of(Scope::Url));
        let one_by_one = urls.map(|(operation, limits)| {
            let draw = self.draw(provider, operation, limits);
            OneByOne { operation, limits, draw }
        });
        Some(Job {
            targets: purged.iter().map(|directory| directory.changes.len()).sum(),
            duration_ms: budget::duration_ms(&limits, purged.len(), purged.len()),
            directories: purged,
            one_by_one,
            ..self.empty_job(provider, operation, limits, draw)
        })
    }

    fn empty_job(
        &self,
        provider: usize,
        operation: &'static Operation,
        limits: OperationLimits,
        draw: Option<Draw>,
    ) -> Job {
        Job {
            provider,
            operation,
            limits,
            pace_key: (self.circumstances.accounts[provider].clone(), operation.name),
            batches: Batches::default(),
            variants: Vec::new(),
            for_variants: BTreeSet::new(),
            directories: Vec::new(),
            one_by_one: None,
            quota: draw.as_ref().and_then(|draw| self.quota(draw)),
            draw,
            day_offset_minutes: day_offset_minutes(self.model, self.circumstances.accounts, provider),
            targets: 0,
            over_quota: OverQuota::default(),
            charge: None,
            duration_ms: 0,
            days: 1,
        }
    }

    fn quota(&self, draw: &Draw) -> Option<Quota> {
        let ledger = &self.ledgers[draw.ledger];
        let (limit, used) = (draw.limit?, ledger.uses().of(&draw.area));
        Some(Quota { key: ledger.key(&draw.area), limit, used, used_after: used, resets_at: ledger.resets_at() })
    }

    /// What is known only once every job is there.
    fn finish(self, plan: &mut Plan) {
        charge::charge(&mut plan.jobs, &self.ledgers, self.circumstances);
        for job in &mut plan.jobs {
            if let (Some(quota), Some(draw)) = (&mut job.quota, &job.draw) {
                quota.used_after = self.days[draw.ledger].today().of(&draw.area);
            }
        }
        plan.ledgers = self.ledgers;
    }
}

/// Whether an endpoint of the provider has still to accept a change.
fn is_open(config: &ProviderConfig, endpoint: usize, changes: &Changes, index: usize) -> bool {
    let accepted_at = changes.accepted_at(index);
    let has_accepted = |endpoint: &Endpoint| accepted_at.contains(&endpoint.to_string());
    accepted_at.is_empty() || !config.endpoints.get(endpoint).is_some_and(has_accepted)
}

/// When the quota day of an account begins: providers that share it draw on one quota, so the first one's word counts.
fn day_offset_minutes(model: &Model, accounts: &[String], provider: usize) -> i32 {
    let kind = model.providers[provider].kind.capabilities().kind;
    let shares = |other: &usize| {
        accounts[*other] == accounts[provider] && model.providers[*other].kind.capabilities().kind == kind
    };
    let first = (0..provider).find(shares).unwrap_or(provider);
    model.providers[first].quota_day_offset_minutes()
}
