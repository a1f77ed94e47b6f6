//! What providers answer to queries: quotas before a run, results of purges that earlier runs saw accepted.

use std::collections::BTreeMap;

use crate::core::contract::{CallError, ErrorClass};
use crate::core::model::Model;
use crate::core::plan::{Plan, Quota, QuotaKey};
use crate::core::query::{QuotaFound, TaskResult, TaskState, quota_left, state_of};
use crate::core::quota::{DAY_MS, counts_anew_at};
use crate::core::time::Timestamp;
use crate::engine::Exit;
use crate::engine::query::Asker;
use crate::state::{OpenTask, Settled, StateError, Store};

/// Tasks that were accepted longer ago are not asked about where the vendor does not say how long it keeps them, in days.
const KEPT_DAYS: u16 = 30;

/// What the quotas that a plan draws on are, by the vendors' own count.
#[derive(Debug, Default)]
pub struct Learned {
    /// The ledger has changed: the plan may be another one.
    pub changed: bool,
    /// What a user should know, a line each.
    pub notes: Vec<String>,
}

/// Asks for the quotas that the plan draws on, once an account, and counts as much as used as the vendor does where that
/// is more than the ledger has. A provider that does not answer, or has no such query, changes nothing, nor does a count that
/// may be of another day.
///
/// # Errors
/// A state that cannot be read or written.
pub async fn learn_quotas(
    asker: &mut Asker<'_>,
    model: &Model,
    plan: &Plan,
    store: &mut dyn Store,
) -> Result<Learned, StateError> {
    let mut learned = Learned::default();
    let mut accounts: BTreeMap<(&str, &str), (Vec<QuotaFound>, Timestamp)> = BTreeMap::new();
    // Of providers that share a quota with different limits the lowest shows how much is used for sure.
    let mut limits: BTreeMap<&QuotaKey, (usize, &Quota, u64)> = BTreeMap::new();
    for job in &plan.jobs {
        let query = model.providers[job.provider].kind.quota_query();
        let (Some(query), Some(quota)) = (query, &job.quota) else { continue };
        let limit = limits.entry(&quota.key).or_insert((job.provider, quota, quota.limit));
        limit.2 = limit.2.min(quota.limit);
        let account = (quota.key.account.as_str(), query.quota_spec().name);
        if accounts.contains_key(&account) || asker.credentials(job.provider).await.is_err() {
            continue;
        }
        let answered = asker.quota(job.provider).await;
        let their_time = asker.time_of(&answered);
        let found = answered.answer.unwrap_or_else(|error| {
            let name = &model.providers[job.provider].name;
            learned.notes.push(format!(
                "provider `{name}` did not tell what is left of its quota, so our own count holds: {}",
                error.summary()
            ));
            Vec::new()
        });
        accounts.insert(account, (found, their_time));
    }
    for (key, (provider, &Quota { used: ours, resets_at, .. }, limit)) in limits {
        let config = &model.providers[provider];
        let query = config.kind.quota_query().map_or("", |query| query.quota_spec().name);
        let is_of_the_day = |at: &Timestamp| (counts_anew_at(resets_at)..resets_at).contains(at);
        let found = accounts.get(&(key.account.as_str(), query)).filter(|(_, at)| is_of_the_day(at));
        let found = found.map_or(&[][..], |(found, _)| found.as_slice());
        let Some(left) = quota_left(found, key.operation, &key.area) else { continue };
        let used = limit.saturating_sub(left);
        if used > ours {
            // Purges that count in all areas, or under another name of the account, have rows of their own.
            store.learn_quota(key, store.quota_used(key)? + (used - ours))?;
            learned.changed = true;
            learned.notes.push(format!(
                "provider `{}` has {left} left of its quota of {limit}, {} fewer than our own count: others use the account",
                config.name,
                used - ours.min(limit)
            ));
        }
    }
    Ok(learned)
}

/// What became of accepted purges.
#[derive(Debug, Default)]
pub struct Results {
    /// Targets of which the provider said where they stand.
    pub told: Vec<Settled>,
    /// Targets that nobody was asked about, or got no answer for: provider, number and reason, in order.
    pub untold: Vec<(String, usize, String)>,
    /// Questions that were refused or got no answer, by provider.
    pub errors: Vec<(String, CallError)>,
}

impl Results {
    /// Numbers of targets whose tasks are done, under way and failed, for each provider.
    pub fn by_provider(&self) -> BTreeMap<&str, [u64; 3]> {
        let mut providers: BTreeMap<&str, [u64; 3]> = BTreeMap::new();
        for settled in &self.told {
            let numbers = providers.entry(&settled.task.provider).or_default();
            numbers[match settled.state {
                TaskState::Done => 0,
                TaskState::Processing => 1,
                TaskState::Failed => 2,
            }] += 1;
        }
        providers
    }

    fn left_out(&mut self, provider: &str, number: usize, reason: impl Into<String>) {
        if number > 0 {
            self.untold.push((provider.to_owned(), number, reason.into()));
        }
    }
}

/// Asks what became of accepted purges. A provider that refuses to answer is not asked on.
pub async fn ask_tasks(asker: &mut Asker<'_>, model: &Model, open: Vec<OpenTask>, now: Timestamp) -> Results {
    let mut results = Results::default();
    let mut by_provider: BTreeMap<String, Vec<OpenTask>> = BTreeMap::new();
    for task in open {
        by_provider.entry(task.provider.clone()).or_default().push(task);
    }
    for (name, tasks) in by_provider {
        let Some(provider) = model.index_of_key(&name) else {
            results.left_out(&name, tasks.len(), "not asked: no manifest configures the provider");
            continue;
        };
        let Some(query) = model.providers[provider].kind.task_query() else {
            results.left_out(&name, tasks.len(), "not asked: the vendor has no query of tasks");
            continue;
        };
        let days = query.task_spec().kept_days.unwrap_or(KEPT_DAYS);
        let oldest = now.plus_ms(-i64::from(days) * DAY_MS);
        let (tasks, old): (Vec<_>, Vec<_>) = tasks.into_iter().partition(|task| task.accepted_at >= oldest);
        results.left_out(&name, old.len(), format!("not asked: accepted more than {days} days ago"));
        ask_provider(asker, provider, &name, &tasks, &mut results).await;
    }
    results
}

async fn ask_provider(asker: &mut Asker<'_>, provider: usize, name: &str, tasks: &[OpenTask], results: &mut Results) {
    let mut answers = TaskAnswers::default();
    let (mut unknown, mut unanswered) = (0, 0);
    for batch in tasks.chunk_by(|a, b| a.task_id == b.task_id) {
        let Some(found) = answers.to(asker, provider, &batch[0].task_id).await else {
            unanswered += batch.len();
            continue;
        };
        for task in batch {
            match state_of(&task.target, &found) {
                Some(state) => results.told.push(Settled { task: task.clone(), state }),
                None => unknown += 1,
            }
        }
    }
    results.left_out(name, unanswered, "no answer");
    results.left_out(name, unknown, "the provider does not know the task");
    results.errors.extend(answers.error.map(|error| (name.to_owned(), error)));
}

/// What one provider answered so far. After an error it is not asked on.
#[derive(Default)]
struct TaskAnswers {
    by_task: BTreeMap<String, Vec<TaskResult>>,
    error: Option<CallError>,
}

impl TaskAnswers {
    /// Results of all of these tasks, comma-separated; `None` if one of them got no answer.
    async fn to(&mut self, asker: &mut Asker<'_>, provider: usize, tasks: &str) -> Option<Vec<TaskResult>> {
        let mut all = Vec::new();
        for id in tasks.split(',') {
            if !self.by_task.contains_key(id) && self.error.is_none() {
                match asker.task(provider, id).await {
                    Ok(found) => drop(self.by_task.insert(id.to_owned(), found)),
                    Err(error) => self.error = Some(error),
                }
            }
            all.extend(self.by_task.get(id)?.iter().cloned());
        }
        Some(all)
    }
}

/// What a provider's account says of itself.
#[derive(Debug)]
pub struct AccountStatus {
    /// Index into the model's providers.
    pub provider: usize,
    /// Whether it was asked: with which credentials it was, and what it said.
    pub credentials: CredentialStatus,
    /// How far the local clock is ahead of the provider's, in seconds.
    pub clock_ahead_s: Option<i64>,
    /// Its quotas, by the vendor's own count.
    pub quota: Vec<QuotaFound>,
    /// What went wrong, or why nothing was asked.
    pub problem: Option<String>,
}

/// What became of a provider's credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialStatus {
    /// There are none.
    Missing,
    /// There are some, and the vendor has no query to try them with.
    Untried,
    /// The provider took them.
    Accepted,
    /// The provider refused them.
    Refused,
    /// They were sent, and the answer says nothing about them.
    Unclear,
}

impl CredentialStatus {
    /// The word for it in output.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Untried => "not tried",
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Unclear => "unclear",
        }
    }

    /// How a command that only asks ends.
    pub const fn exit(self) -> Exit {
        match self {
            Self::Missing => Exit::BadInput,
            Self::Refused => Exit::Credentials,
            Self::Unclear => Exit::Failed,
            Self::Untried | Self::Accepted => Exit::Done,
        }
    }
}

/// Asks each provider for its quota, and by that whether credentials and clock are right.
pub async fn ask_standings(asker: &mut Asker<'_>, model: &Model) -> Vec<AccountStatus> {
    let mut standings = Vec::with_capacity(model.providers.len());
    for provider in 0..model.providers.len() {
        standings.push(ask_standing(asker, model, provider).await);
    }
    standings
}

async fn ask_standing(asker: &mut Asker<'_>, model: &Model, provider: usize) -> AccountStatus {
    let config = &model.providers[provider];
    let nothing = |credentials, problem| AccountStatus {
        provider,
        credentials,
        clock_ahead_s: None,
        quota: Vec::new(),
        problem: Some(problem),
    };
    if let Err(error) = asker.credentials(provider).await {
        return nothing(CredentialStatus::Missing, error.to_string());
    }
    if config.kind.quota_query().is_none() {
        return nothing(CredentialStatus::Untried, "not asked: the vendor has no query of quotas".into());
    }
    let answered = asker.quota(provider).await;
    let (credentials, quota, problem) = match answered.answer {
        Ok(found) => (CredentialStatus::Accepted, found, None),
        Err(error) => {
            let refused = error.class == ErrorClass::Auth;
            let credentials = if refused { CredentialStatus::Refused } else { CredentialStatus::Unclear };
            (credentials, Vec::new(), Some(error.summary()))
        }
    };
    let area = config.kind.quota_area(&config.options);
    let quota = quota.into_iter().filter(|found| area.is_empty() || found.area == area).collect();
    AccountStatus { provider, credentials, clock_ahead_s: answered.clock_ahead_s, quota, problem }
}
