//! What is to be done: desired against recorded, put into a plan. Reads the state, writes and sends nothing.

use std::collections::{BTreeSet, HashMap};

use super::Desired;
use super::accounts::taken_over;
use crate::core::changes::Changes;
use crate::core::collapse::Directory;
use crate::core::diff::{self, Differ, Difference, Forced, GuardedTargets};
use crate::core::guard::Refusal;
use crate::core::hold::{Hold, SeenRemovals};
use crate::core::http::Endpoint;
use crate::core::owners::{self, Unread};
use crate::core::plan::{self, Job, Plan, QuotaKey, Selected};
use crate::core::proof_terms::Headers;
use crate::core::quota::DAY_MS;
use crate::core::recorded::{ChangeKind, Standing};
use crate::core::time::Timestamp;
use crate::core::watch::RunRequest;
use crate::state::{StateError, Store};

/// Desired against recorded, and what to do about it.
pub struct Prepared {
    /// Manifests are new, have moved or have another policy since the last run.
    pub manifests_changed: bool,
    /// Nothing was ever recorded.
    pub first_run: bool,
    /// The changes.
    pub difference: Difference,
    /// The batches.
    pub plan: Plan,
    /// Identifies the plan for review.
    pub digest: String,
    /// What guards refuse, and what is left out for that.
    pub refusals: Vec<Refusal>,
}

impl Prepared {
    /// What is to be done about manifests that were not read: nothing.
    pub fn of_unread(desired: &Desired) -> Self {
        let unchanged = usize::try_from(desired.targets()).unwrap_or(usize::MAX);
        let difference = Difference { unchanged, ..Difference::default() };
        let plan = Plan::default();
        let digest = digest(desired, &difference, &plan);
        Self { manifests_changed: false, first_run: false, difference, plan, digest, refusals: Vec::new() }
    }

    /// Leaves out of the plan what is not to be tried yet: it stays pending and is not sent by this run.
    pub fn hold_back(&mut self, desired: &Desired, request: &RunRequest) {
        let Self { difference, plan, .. } = self;
        let is_failed = |index: usize| difference.changes.has_failed(index);
        for job in &mut plan.jobs {
            let config = &desired.model.providers[job.provider];
            let Some(held) = request.held(&config.name, &desired.config_digests[job.provider]) else { continue };
            let rests = |endpoint: &Endpoint| held.endpoints.contains(endpoint);
            let resting: Vec<usize> = (0..config.endpoints.len()).filter(|&at| rests(&config.endpoints[at])).collect();
            plan.unselected.extend(job.leave_out(
                &resting,
                &|index| held.targets && is_failed(index),
                &difference.changes,
            ));
            if resting.len() >= config.endpoints.len() {
                plan.unselected.append(&mut job.over_quota.take());
            }
        }
        plan.jobs.retain(|job| job.calls() > 0 || !job.over_quota.is_empty());
        plan.unselected.sort_unstable();
        plan.unselected.dedup();
    }

    /// The directories that stand for changes, by their index.
    pub fn directories_by_change(&self) -> HashMap<usize, &str> {
        let directories = self.plan.jobs.iter().flat_map(|job| &job.directories);
        let of = |one: &Directory| -> Vec<usize> { one.changes.iter().map(|&index| index as usize).collect() };
        directories.flat_map(|one| of(one).into_iter().map(|index| (index, one.target.text.as_str()))).collect()
    }

    /// Whether nothing is to be sent and the state knows all that is left.
    pub fn is_known(&self) -> bool {
        let waits = self.plan.jobs.iter().all(|job| self.waits_for_quota(job));
        waits && !self.difference.has_unseen && self.is_settled()
    }

    /// Whether the state stays as it is, apart from changes.
    pub(super) fn is_settled(&self) -> bool {
        let Difference { adopt, forget, dropped, owners, left_alone, .. } = &self.difference;
        let is_recorded = adopt.is_empty() && forget.is_empty() && dropped.is_empty();
        is_recorded && owners.is_empty() && left_alone.is_empty() && !self.manifests_changed
    }

    /// Whether the quota leaves no room for any of the job's changes, as the state has it.
    fn waits_for_quota(&self, job: &Job) -> bool {
        let is_noted = |day: u64, index: usize| match self.difference.changes.standing(index) {
            Standing::Deferred { until, .. } => job.quota.as_ref().is_some_and(|quota| *until == quota.begins(day)),
            _ => false,
        };
        let mut days = job.over_quota.by_day();
        job.calls() == 0 && days.all(|(day, changes)| changes.iter().all(|&index| is_noted(day, index)))
    }

    /// Whether nothing is to be written or sent.
    pub fn is_nothing(&self) -> bool {
        self.difference.changes.is_empty() && self.is_settled()
    }

    /// Whether there is nothing that a user has to know of.
    pub fn is_quiet(&self) -> bool {
        let difference = &self.difference;
        difference.changes.is_empty()
            && difference.adopt.is_empty()
            && difference.forget.is_empty()
            && difference.dropped.is_empty()
    }
}

/// What the user chose.
#[derive(Clone, Copy, Default)]
pub struct Choice<'a> {
    /// Which targets are to be purged in this run, if not all that are due.
    pub selected: Option<&'a Selected<'a>>,
    /// What guards count, if not all.
    pub guarded: Option<GuardedTargets<'a>>,
    /// Which targets are to be purged although nothing changed.
    pub forced: Option<&'a Forced<'a>>,
    /// What guards hold back, if anything.
    pub hold: Option<&'a Hold>,
}

/// What becomes of manifests that the state knows and that are not read.
///
/// # Errors
/// A state that cannot be read.
pub fn unread(desired: &Desired, store: &dyn Store) -> Result<Unread, StateError> {
    Ok(owners::unread(&store.manifests()?, &desired.model.manifests, &desired.reach))
}

/// Computes the plan; `None`: for that all manifests have to be read. `store` is `None` before the first run.
///
/// # Errors
/// A state that cannot be read.
pub fn prepare(
    desired: &Desired,
    store: Option<&dyn Store>,
    choice: &Choice<'_>,
    accounts: &[String],
    now: Timestamp,
) -> Result<Option<Prepared>, StateError> {
    let model = &desired.model;
    let (known, first_run) = match store {
        Some(store) => (store.manifests()?, store.is_first_run()?),
        None => (Vec::new(), true),
    };
    let unread = owners::unread(&known, &model.manifests, &desired.reach);
    let nothing = Hold::default();
    let hold = choice.hold.unwrap_or(&nothing);
    let manifests_changed = store.is_some() && unread.noted.iter().any(|known| !hold.has(&known.name));
    let grounds = &desired.grounds(accounts);
    let seen = &store.map_or(Ok(SeenRemovals::new()), Store::seen_removals)?;
    let Choice { forced, guarded: selected, .. } = *choice;
    let scope = diff::DiffContext { unread: &unread, grounds, forced, selected, hold, seen, now };
    let mut differ = Differ::new(model, scope);
    let mut difference = match &desired.since {
        None => {
            store.map_or(Ok(()), |store| store.scan(&mut |row| differ.row(row)))?;
            differ.finish()
        }
        Some(since) => match since.compare(desired, store, differ)? {
            Some(difference) if !manifests_changed && unread.is_empty() => difference,
            _ => return Ok(None),
        },
    };
    // Targets that nobody speaks for are to be mentioned by every run.
    let is_silent = difference.orphans.is_empty() && difference.unclaimed.is_empty();
    difference.inputs = desired.inputs().cloned().filter(|_| is_silent && hold.is_nothing());
    let plan = plan_of(desired, &difference, store, choice, (accounts, now))?;
    let digest = digest(desired, &difference, &plan);
    Ok(Some(Prepared { manifests_changed, first_run, difference, plan, digest, refusals: Vec::new() }))
}

fn plan_of(
    desired: &Desired,
    difference: &Difference,
    store: Option<&dyn Store>,
    choice: &Choice<'_>,
    (accounts, now): (&[String], Timestamp),
) -> Result<Plan, StateError> {
    let quota_error = std::cell::RefCell::new(None);
    let model = &desired.model;
    let taken_over = store.map_or(Ok(BTreeSet::new()), |store| taken_over(store, model, accounts))?;
    let used_of = |key: &QuotaKey| {
        let Some(store) = store else { return Ok(0) };
        let mut used = store.quota_used(key)?;
        for (before, _) in taken_over.iter().filter(|(_, now)| *now == key.account) {
            used += store.quota_used(&QuotaKey { account: before.clone(), ..key.clone() })?;
        }
        Ok(used)
    };
    let used = |key: &QuotaKey| {
        let used = used_of(key);
        used.unwrap_or_else(|error| {
            quota_error.borrow_mut().get_or_insert(error);
            u64::MAX
        })
    };
    let plan = plan::plan(
        &desired.model,
        &difference.changes,
        &plan::Circumstances {
            accounts,
            used: &used,
            without_directories: &without_directories(desired, store, (accounts, now))?,
            selected: choice.selected,
            hold: &difference.hold,
            varies: &store.map_or(Ok(BTreeSet::new()), varying_hosts)?,
            stale: &stale_variants(desired, &difference.changes, store)?,
            now,
        },
    );
    quota_error.into_inner().map_or(Ok(plan), Err)
}

/// Variants that were seen to be stale, by change.
fn stale_variants(
    desired: &Desired,
    changes: &Changes,
    store: Option<&dyn Store>,
) -> Result<HashMap<usize, Vec<Headers>>, StateError> {
    let mut stale = HashMap::new();
    let Some(store) = store else { return Ok(stale) };
    for index in (0..changes.len()).filter(|&index| changes.kind(index) == ChangeKind::Stale) {
        let provider = desired.model.provider_key(changes.provider(index));
        let row = store.proof_of(&provider, &changes.target(index))?;
        stale.extend(row.map(|row| (index, row.variants)));
    }
    Ok(stale)
}

/// Hosts whose answers were seen to vary by what visitors accept.
fn varying_hosts(store: &dyn Store) -> Result<BTreeSet<String>, StateError> {
    let by_coding = |names: &[String]| names.iter().any(|name| name.eq_ignore_ascii_case("accept-encoding"));
    let hosts = store.varies()?.into_iter().filter(|(_, names)| by_coding(names));
    Ok(hosts.map(|(host, _)| host.to_ascii_lowercase()).collect())
}

/// Providers, by index, that refused directories lately, with the configuration and the account that they have now.
fn without_directories(
    desired: &Desired,
    store: Option<&dyn Store>,
    (accounts, now): (&[String], Timestamp),
) -> Result<Vec<usize>, StateError> {
    let Some(store) = store.filter(|_| desired.model.manifests.iter().any(|one| !one.collapse.is_empty())) else {
        return Ok(Vec::new());
    };
    let mut refusing = Vec::new();
    for (index, ground) in desired.grounds(accounts).iter().enumerate() {
        let refused = store.directories_refused(&desired.model.provider_key(index))?;
        // A clock that was ahead has no say for longer than a day.
        let holds = |until: Timestamp| until > now && until <= now.plus_ms(DAY_MS);
        if refused.is_some_and(|(config, until)| config == *ground && holds(until)) {
            refusing.push(index);
        }
    }
    Ok(refusing)
}

/// Identifies what a plan does, whatever the hour and the quota.
fn digest(desired: &Desired, difference: &Difference, plan: &Plan) -> String {
    let Desired { model, config_digests, .. } = desired;
    let mut hash = blake3::Hasher::new();
    let mut line = |parts: &[&str]| {
        for part in parts {
            hash.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
    };
    let mut planned: Vec<usize> = plan.jobs.iter().flat_map(|job| job.over_quota.iter()).collect();
    planned.extend(plan.jobs.iter().flat_map(Job::changes));
    planned.extend(&plan.waiting);
    planned.sort_unstable();
    planned.dedup();
    for index in planned {
        let change = difference.changes.get(index);
        let hash = change.desired.as_ref().map_or("", |hash| hash.as_str());
        let (provider, config) = (&model.providers[change.provider].name, &config_digests[change.provider]);
        let (scope, kind) = (change.target.scope.word(), change.kind.word());
        line(&["purge", provider, config, scope, &change.target.text, hash, kind]);
    }
    // Those for which the quota of today leaves no room count as well.
    let mut directories: Vec<&Directory> =
        plan.jobs.iter().flat_map(|job| &job.directories).chain(&plan.one_by_one).collect();
    directories.sort_unstable_by_key(|directory| (directory.provider, &directory.target));
    for directory in directories {
        line(&["collapse", &model.providers[directory.provider].name, &directory.target.text]);
    }
    for &index in &difference.adopt {
        let entry = model.entries.get(index);
        line(&["adopt", &model.providers[entry.provider].name, &entry.target.text, entry.hash.as_str()]);
    }
    for (provider, target) in difference.forget.iter().chain(&difference.dropped) {
        line(&["drop", provider, &target.text]);
    }
    hash.finalize().to_hex()[..32].to_owned()
}
