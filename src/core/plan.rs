//! Changes into batches: ordered, cut at what the quota leaves, with the calls and the time they take.
//!
//! Does not know how a vendor is called, nor what it will answer.

use std::collections::HashMap;

use super::budget;
use super::changes::Changes;
use super::collapse::{Directory, collapse};
use super::contract::Operation;
use super::model::{Model, OperationLimits};
use super::recorded::Standing;
use super::target::{Scope, Target};
use super::time::Timestamp;

/// Whose quota a call draws on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuotaKey {
    /// Fingerprint of the account.
    pub account: String,
    /// Name of the quota, see [`Operation::quota`].
    pub operation: &'static str,
    /// Share of the quota, for example an area.
    pub area: String,
    /// Civil date of the quota day.
    pub day: String,
}

/// A daily quota as the ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Whose it is.
    pub key: QuotaKey,
    /// Targets a day.
    pub limit: u64,
    /// Targets of this day already spent, before this plan's job.
    pub used: u64,
    /// When the next day begins.
    pub resets_at: Timestamp,
    /// Where each day begins: midnight at this offset from UTC.
    pub day_offset_minutes: i32,
}

impl Quota {
    /// Targets that may still be purged today.
    pub const fn left(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

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
}

impl Batches {
    /// Batches of `size` targets at most; `lists` has the changes of each endpoint, in order.
    pub fn new(lists: Vec<Vec<u32>>, size: usize, starts_small: bool) -> Self {
        Self { lists, size: size.max(1), starts_small }
    }

    /// How many calls they are.
    pub fn len(&self) -> usize {
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

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lists.iter().all(Vec::is_empty)
    }

    /// All batches, endpoint by endpoint.
    pub fn iter(&self) -> impl Iterator<Item = PlannedBatch> + '_ {
        self.lists.iter().enumerate().flat_map(move |(endpoint, list)| {
            let changes = |batch: &[u32]| batch.iter().map(|&index| index as usize).collect();
            self.cut(list).map(move |batch| PlannedBatch { endpoint, changes: changes(batch) })
        })
    }

    fn cut<'a>(&self, list: &'a [u32]) -> impl Iterator<Item = &'a [u32]> + use<'a> {
        let (mut left, mut most, size) = (list, self.first_size(), self.size);
        std::iter::from_fn(move || {
            let (batch, rest) = left.split_at(most.min(left.len()));
            (left, most) = (rest, (most * PROBE_GROWTH).min(size));
            (!batch.is_empty()).then_some(batch)
        })
    }

    /// Keeps those changes of endpoints for which `keeps` is true.
    pub fn retain(&mut self, keeps: &dyn Fn(usize, usize) -> bool) {
        for (endpoint, list) in self.lists.iter_mut().enumerate() {
            list.retain(|&index| keeps(endpoint, index as usize));
        }
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
    /// Directories that are purged in place of URLs, a call each. A job that has them has no batches.
    pub directories: Vec<Directory>,
    /// The quota, where there is one.
    pub quota: Option<Quota>,
    /// Targets the calls purge, each counted once; URLs also where a directory stands for them.
    pub targets: usize,
    /// Changes that the quota leaves no room for today, in order.
    pub over_quota: Vec<usize>,
    /// Time from the first call to the last at the allowed rate, in milliseconds.
    pub duration_ms: u64,
    /// Quota days until all is done, 1 for today.
    pub days: u64,
}

impl Job {
    /// How many calls it takes.
    pub fn calls(&self) -> usize {
        self.batches.len() + self.directories.len()
    }

    /// How much of the quota it takes.
    pub fn cost(&self) -> u64 {
        if self.directories.is_empty() { self.targets as u64 } else { self.directories.len() as u64 }
    }

    /// Leaves out endpoints, by index, and `changes` that fail, unless a directory stands for others besides. Returns what it
    /// does not settle any more.
    pub fn leave_out(&mut self, endpoints: &[usize], fails: &dyn Fn(usize) -> bool, changes: &Changes) -> Vec<usize> {
        let all = self.distinct_changes();
        self.batches.retain(&|endpoint, index| !endpoints.contains(&endpoint) && !fails(index));
        // Whoever takes directories has one endpoint.
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
    /// Changes that the user left out with `--only` or `--provider`.
    pub unselected: Vec<usize>,
    /// Directories for which no quota is left today: the jobs purge what they would stand for URL by URL.
    pub one_by_one: Vec<Directory>,
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
        self.jobs.iter().map(|job| job.batches.purges() + in_directories(job)).sum()
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
    /// Fingerprint of each provider's account, by index.
    pub accounts: &'a [String],
    /// Targets already spent of a quota.
    pub used: &'a dyn Fn(&QuotaKey) -> u64,
    /// What the user selected, if not all: a target of a provider, by its index.
    pub selected: Option<&'a Selected<'a>>,
    /// Wall time of the run's start.
    pub now: Timestamp,
}

/// Puts the changes into batches.
pub fn plan(model: &Model, changes: &Changes, circumstances: &Circumstances<'_>) -> Plan {
    let mut plan = Plan::default();
    let mut due: HashMap<(usize, Scope), Vec<u32>> = HashMap::new();
    for index in 0..changes.len() {
        let provider = changes.provider(index);
        match changes.standing(index) {
            _ if circumstances.selected.is_some_and(|selected| !selected(provider, &changes.target(index))) => {
                plan.unselected.push(index);
            }
            Standing::Rejected { .. } => plan.rejected.push(index),
            // Where a ledger is kept it decides, so that a raised quota takes effect at once.
            Standing::Deferred { until, .. } if *until > circumstances.now && !has_ledger(model, changes, index) => {
                plan.waiting.push(index);
            }
            _ => {
                due.entry((provider, changes.scope(index))).or_default().push(u32::try_from(index).unwrap_or(u32::MAX));
            }
        }
    }
    let mut keys: Vec<_> = due.keys().copied().collect();
    keys.sort_unstable();
    let mut spent: HashMap<QuotaKey, u64> = HashMap::new();
    for key in keys {
        let mut indexes = due.remove(&key).unwrap_or_default();
        let mut in_place = None;
        if let (provider, Scope::Url) = key {
            let mut directories = collapse(model, changes, provider, &mut indexes);
            in_place = directory_job(model, circumstances, provider, &mut directories, &mut spent);
            indexes.extend(directories.iter().flat_map(|directory| &directory.changes));
            plan.one_by_one.extend(directories);
        }
        // High priority first, within one priority the oldest change, then by target, which is the order of indexes.
        indexes.sort_by_key(|&index| (changes.priority(index as usize), changes.since(index as usize), index));
        if !indexes.is_empty() {
            plan.jobs.extend(job(model, changes, circumstances, key, indexes, &mut spent));
        }
        plan.jobs.extend(in_place);
    }
    plan
}

/// The job that purges directories in place of URLs. Those for which there is no quota, with the fewest changes, are left in
/// `directories`.
fn directory_job(
    model: &Model,
    circumstances: &Circumstances<'_>,
    provider: usize,
    directories: &mut Vec<Directory>,
    spent: &mut HashMap<QuotaKey, u64>,
) -> Option<Job> {
    if directories.is_empty() {
        return None;
    }
    let config = &model.providers[provider];
    let operation = config.kind.directories(&config.options)?;
    let limits = config.limits_of(operation.scope)?;
    let quota = quota_of(model, circumstances, provider, operation, limits, spent);
    let room = quota.as_ref().map_or(usize::MAX, |quota| usize::try_from(quota.left()).unwrap_or(usize::MAX));
    directories.sort_by(|a, b| b.changes.len().cmp(&a.changes.len()).then_with(|| a.target.cmp(&b.target)));
    let purged: Vec<Directory> = directories.drain(..room.min(directories.len())).collect();
    if purged.is_empty() {
        return None;
    }
    if let Some(quota) = &quota {
        *spent.entry(quota.key.clone()).or_default() += purged.len() as u64;
    }
    Some(Job {
        provider,
        operation,
        limits,
        pace_key: (circumstances.accounts[provider].clone(), operation.name),
        batches: Batches::default(),
        targets: purged.iter().map(|directory| directory.changes.len()).sum(),
        duration_ms: budget::duration_ms(limits.calls_per_second, purged.len() as u64),
        directories: purged,
        quota,
        over_quota: Vec::new(),
        days: 1,
    })
}

fn has_ledger(model: &Model, changes: &Changes, index: usize) -> bool {
    model.providers[changes.provider(index)]
        .limits_of(changes.scope(index))
        .is_some_and(|limits| limits.targets_per_day.is_some())
}

fn job(
    model: &Model,
    changes: &Changes,
    circumstances: &Circumstances<'_>,
    (provider, scope): (usize, Scope),
    mut indexes: Vec<u32>,
    spent: &mut HashMap<QuotaKey, u64>,
) -> Option<Job> {
    let config = &model.providers[provider];
    let operation = config.kind.capabilities().operation(scope)?;
    let limits = config.limits_of(scope)?;
    let account = &circumstances.accounts[provider];
    let quota = quota_of(model, circumstances, provider, operation, limits, spent);
    let room = quota.as_ref().map_or(usize::MAX, |quota| usize::try_from(quota.left()).unwrap_or(usize::MAX));
    let over_quota: Vec<usize> = indexes.drain(room.min(indexes.len())..).map(|index| index as usize).collect();
    let addresses: Vec<String> = config.endpoints.iter().map(ToString::to_string).collect();
    let still_open = |address: &String, index: u32| {
        let accepted_at = changes.accepted_at(index as usize);
        // With enough acceptances it would be recorded; that it is not means that the endpoints were changed: start anew.
        let enough = addresses.iter().filter(|address| accepted_at.contains(address)).count() >= config.require;
        enough || !accepted_at.contains(address)
    };
    let open = |address: &String| indexes.iter().copied().filter(|&index| still_open(address, index)).collect();
    // A provider that is out is not trusted more for other content: each deployment would cost whole batches of its quota.
    let starts_small = indexes.iter().any(|&index| changes.standing(index as usize).has_ever_failed());
    let batches = Batches::new(addresses.iter().map(open).collect(), limits.targets_per_call, starts_small);
    if let Some(quota) = &quota {
        *spent.entry(quota.key.clone()).or_default() += indexes.len() as u64;
    }
    let days = quota.as_ref().map_or(1, |quota| 1 + (over_quota.len() as u64).div_ceil(quota.limit.max(1)));
    let per_endpoint = batches.len().div_ceil(config.endpoints.len().max(1));
    Some(Job {
        provider,
        operation,
        limits,
        pace_key: (account.clone(), operation.name),
        targets: indexes.len(),
        duration_ms: budget::duration_ms(limits.calls_per_second, per_endpoint as u64),
        batches,
        directories: Vec::new(),
        quota,
        over_quota,
        days,
    })
}

fn quota_of(
    model: &Model,
    circumstances: &Circumstances<'_>,
    provider: usize,
    operation: &'static Operation,
    limits: OperationLimits,
    spent: &HashMap<QuotaKey, u64>,
) -> Option<Quota> {
    let config = &model.providers[provider];
    let limit = limits.targets_per_day?;
    let offset = day_offset_minutes(model, circumstances.accounts, provider);
    let key = QuotaKey {
        account: circumstances.accounts[provider].clone(),
        operation: operation.quota,
        area: config.kind.quota_area(&config.options),
        day: circumstances.now.date_at_offset(offset),
    };
    let used = (circumstances.used)(&key).saturating_add(spent.get(&key).copied().unwrap_or(0));
    let resets_at = circumstances.now.next_midnight(offset);
    Some(Quota { key, limit, used, resets_at, day_offset_minutes: offset })
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
