//! The account behind an emulated API: what it owns, what it may still do, what it has done.
//!
//! Knows no vendor's wire format or codes.

use std::collections::BTreeMap;

use super::limits::{DailyQuota, RateWindow};
use super::{Purged, Setup};
use crate::core::contract::Rate;
use crate::core::model::OperationLimits;
use crate::core::query::TaskState;
use crate::core::secret::Secret;
use crate::core::target::{Scope, Target};
use crate::core::time::Timestamp;
use crate::vendor::request::{KEY_ID, KEY_SECRET, SESSION_TOKEN};

/// A key pair as signatures are checked with.
#[derive(Clone, Copy)]
pub(in crate::vendor) struct Keys<'a> {
    pub(in crate::vendor) id: &'a str,
    pub(in crate::vendor) secret: &'a Secret,
    pub(in crate::vendor) token: Option<&'a str>,
}

/// Settings and counters of one account.
pub(in crate::vendor) struct Account {
    pub(in crate::vendor) setup: Setup,
    rates: BTreeMap<&'static str, RateWindow>,
    quota: DailyQuota,
    log: Vec<Purged>,
    requests: u64,
    tasks: u64,
}

/// What one accepted call purges.
pub(in crate::vendor) struct Purge<'a> {
    /// Area as named in the call; empty if none was.
    pub(in crate::vendor) area: &'a str,
    /// Shares of the quota that the call draws on.
    pub(in crate::vendor) shares: &'a [&'a str],
    /// Targets with the task that each belongs to.
    pub(in crate::vendor) targets: Vec<(Target, Option<String>)>,
}

impl Account {
    /// The vendor's quota days begin at midnight of this offset from UTC.
    pub(in crate::vendor) fn new(setup: Setup, quota_day_offset_minutes: i32) -> Self {
        let quota = DailyQuota::new(quota_day_offset_minutes);
        Self { setup, rates: BTreeMap::new(), quota, log: Vec::new(), requests: 0, tasks: 0 }
    }

    /// The key pair; `None` if the account was set up with other credentials.
    pub(in crate::vendor) fn keys(&self) -> Option<Keys<'_>> {
        let field = |name| self.setup.credentials.field(name);
        let (id, secret) = (field(KEY_ID)?.expose(), field(KEY_SECRET)?);
        Some(Keys { id, secret, token: field(SESSION_TOKEN).map(Secret::expose) })
    }

    /// Limits for `scope`; `None` if the account cannot purge such targets.
    pub(in crate::vendor) fn limits(&self, scope: Scope) -> Option<OperationLimits> {
        self.setup.limits.get(&scope).copied()
    }

    /// Whether the account owns the target's host. Asset ids all exist.
    pub(in crate::vendor) fn owns(&self, target: &Target) -> bool {
        match target.host() {
            Some(host) => self.setup.hosts.iter().any(|pattern| pattern.covers(host)),
            None => target.scope == Scope::AssetId,
        }
    }

    /// Counts a call of `operation`, or says how many milliseconds until the next one fits.
    pub(in crate::vendor) fn admit(&mut self, operation: &'static str, rate: Rate, now: Timestamp) -> Result<(), i64> {
        self.rates.entry(operation).or_default().admit(rate, now)
    }

    /// Whether each of `shares` has room for `count` more targets today.
    pub(in crate::vendor) fn has_quota(
        &self,
        most: Option<u64>,
        shares: &[&str],
        count: usize,
        now: Timestamp,
    ) -> bool {
        most.is_none_or(|most| shares.iter().all(|share| self.used(share, now) + count as u64 <= most))
    }

    fn used(&self, share: &str, now: Timestamp) -> u64 {
        self.quota.used(share, now) + self.setup.afterwards.others
    }

    /// Targets a day for `scope`, and how many are left of them in `share`; an account without a limit has a vast one.
    pub(in crate::vendor) fn quota(&self, scope: Scope, share: &str, now: Timestamp) -> (u64, u64) {
        let most = self.limits(scope).map_or(0, |limits| limits.targets_per_day.unwrap_or(1_000_000_000));
        (most, most.saturating_sub(self.used(share, now)))
    }

    /// Counts a query like a call of a purge operation; the vendors' figures for both are much the same.
    pub(in crate::vendor) fn admit_query(&mut self, operation: &'static str, now: Timestamp) -> Result<(), i64> {
        let rates = self.setup.limits.values().map(|limits| limits.calls);
        let rate = rates.reduce(Rate::at_most).unwrap_or(Rate::per_second(0));
        self.admit(operation, rate, now)
    }

    /// What became of the targets of a task, in the order of the calls; of a target that it holds twice, the last.
    pub(in crate::vendor) fn results(&self, task_id: &str, now: Timestamp) -> Vec<(&Purged, TaskState)> {
        let of_task = || self.log.iter().enumerate().filter(|(_, purged)| purged.task_id.as_deref() == Some(task_id));
        let last: BTreeMap<&Target, usize> = of_task().map(|(index, purged)| (&purged.target, index)).collect();
        let newest = of_task().filter(|(index, purged)| last[&purged.target] == *index);
        newest.map(|(index, purged)| (purged, self.state_of(index, now))).collect()
    }

    fn state_of(&self, index: usize, now: Timestamp) -> TaskState {
        let purged = &self.log[index];
        if now < purged.at.plus_ms(self.setup.afterwards.takes_ms) {
            return TaskState::Processing;
        }
        let first = self.log[..index].iter().all(|before| before.target != purged.target);
        let fails = first && self.setup.afterwards.failing.contains(&purged.target.text);
        if fails { TaskState::Failed } else { TaskState::Done }
    }

    /// Spends quota and logs the purge.
    pub(in crate::vendor) fn purge(&mut self, purge: Purge<'_>, now: Timestamp) {
        for share in purge.shares {
            self.quota.take(share, purge.targets.len() as u64, now);
        }
        let entry = |(target, task_id)| Purged { at: now, area: purge.area.to_owned(), target, task_id };
        self.log.extend(purge.targets.into_iter().map(entry));
    }

    pub(in crate::vendor) fn log(&self) -> &[Purged] {
        &self.log
    }

    /// Number of the next answer, from 1.
    pub(in crate::vendor) fn next_request(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    /// Number of the next task, from 1.
    pub(in crate::vendor) fn next_task(&mut self) -> u64 {
        self.tasks += 1;
        self.tasks
    }
}
