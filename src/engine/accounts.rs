//! Whose quotas and paces providers draw on: a guess for plans that are only shown, and what their credentials say for runs.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use super::Desired;
use crate::core::account;
use crate::core::model::{CredentialSource, Model};
use crate::core::plan::{Plan, QuotaTerms, quota_terms};
use crate::host::Host;
use crate::host::credentials::{CredentialStore, account_of, lasting_account};
use crate::state::{StateError, Store};

/// The account of each provider as far as it is known without asking anybody: from the manifest or from variables, else from the
/// last run.
///
/// # Errors
/// A state that cannot be read.
pub async fn accounts(host: &Host, model: &Model, store: Option<&dyn Store>) -> Result<Vec<String>, StateError> {
    let credentials = CredentialStore::new(host.env.clone());
    let mut accounts = Vec::with_capacity(model.providers.len());
    for (index, provider) in model.providers.iter().enumerate() {
        if let Some(named) = account::named(&model.providers, index) {
            accounts.push(named);
            continue;
        }
        let from_variables = match provider.credentials {
            CredentialSource::Environment { .. } => credentials.get(provider, host.clock.now().wall).await.ok(),
            CredentialSource::File(_) | CredentialSource::Command(_) => None,
        };
        let account = match from_variables {
            Some(found) => Some(account_of(&model.providers, index, &found)),
            None => store.map_or(Ok(None), |store| store.account_of(&model.provider_key(index)))?,
        };
        accounts.push(account.unwrap_or_else(|| lasting_account(provider)));
    }
    Ok(accounts)
}

/// Accounts that go on in those of this run, each with the one that it goes on in: what was spent there counts here.
pub(super) fn taken_over(
    store: &dyn Store,
    model: &Model,
    accounts: &[String],
) -> Result<BTreeSet<(String, String)>, StateError> {
    let mut taken_over = BTreeSet::new();
    for (provider, now) in accounts.iter().enumerate() {
        // What others use goes on where it is.
        let goes_on = |before: &String| account::takes_over(now, before) && !accounts.contains(before);
        let before = store.account_of(&model.provider_key(provider))?.filter(goes_on);
        taken_over.extend(before.map(|before| (before, now.clone())));
    }
    Ok(taken_over)
}

/// Providers that a plan has work for, or would have with other credentials, by index and in order.
pub(super) fn needed_by(plan: &Plan) -> Vec<usize> {
    let mut providers: Vec<usize> = plan.jobs.iter().map(|job| job.provider).collect();
    providers.extend(&plan.not_due_at);
    providers.sort_unstable();
    providers.dedup();
    providers
}

/// The accounts that a run found. Nothing is sent to a provider whose account it did not find: its quota would be debited to
/// a guess.
pub struct Accounts {
    /// By index of the provider, guessed where none was found.
    all: Vec<String>,
    /// By index of the providers that were asked for: why there are no credentials, if there are none.
    asked: BTreeMap<usize, Option<String>>,
}

impl Accounts {
    /// Looks up those of all providers that the plan has work for, or would have with other credentials, side by side; `guessed`
    /// are those of the rest, unless they have the same credentials. Files are read and programs run, so this is not for plans
    /// that are only shown. What has not answered after `patience_ms` milliseconds is left to the next run.
    pub async fn look_up(
        host: &Host,
        desired: &Desired,
        plan: &Plan,
        credentials: &CredentialStore,
        guessed: &[String],
        patience_ms: Option<u64>,
    ) -> Self {
        let (now, model) = (host.clock.now(), &desired.model);
        let look_up = async |provider: &usize| {
            let config = &model.providers[*provider];
            let answer = credentials.get(config, now.wall);
            let Some(ms) = patience_ms else { return answer.await };
            tokio::select! {
                biased;
                found = answer => found,
                () = host.clock.sleep_until(now.tick.plus_ms(ms)) => Err(credentials.give_up(config, ms)),
            }
        };
        let providers = needed_by(plan);
        let answers = join_all(providers.iter().map(look_up)).await;
        let mut accounts = Self { all: guessed.to_vec(), asked: BTreeMap::new() };
        for (&provider, found) in providers.iter().zip(answers) {
            if let Ok(found) = &found {
                let is_asked = |other: &usize| providers.binary_search(other).is_ok();
                let others = account::sharing(&model.providers, provider).filter(|other| !is_asked(other));
                for one in others.chain([provider]) {
                    accounts.all[one] = account_of(&model.providers, one, found);
                }
            }
            accounts.asked.insert(provider, found.err().map(|error| error.to_string()));
        }
        accounts
    }

    /// Those of all providers, by index, that are known for sure.
    pub fn known(accounts: &[String], plan: &Plan) -> Self {
        let asked = needed_by(plan).into_iter().map(|provider| (provider, None)).collect();
        Self { all: accounts.to_vec(), asked }
    }

    /// None was looked up in time, so nothing is to be sent; `guessed` are those of all providers.
    pub fn unasked(guessed: &[String]) -> Self {
        Self { all: guessed.to_vec(), asked: BTreeMap::new() }
    }

    /// The accounts of all providers, by index.
    pub fn all(&self) -> &[String] {
        &self.all
    }

    /// Those that were found, by what the state knows their providers by.
    pub(super) fn found(&self, model: &Model) -> Vec<(String, String)> {
        let found = self.asked.iter().filter(|(_, problem)| problem.is_none());
        found.map(|(&provider, _)| (model.provider_key(provider), self.all[provider].clone())).collect()
    }

    /// What the providers may purge a day whose accounts were found, by what the state knows them by.
    pub(super) fn quota_terms(&self, model: &Model) -> Vec<(String, Vec<QuotaTerms>)> {
        let found = self.asked.iter().filter(|(_, problem)| problem.is_none());
        found.map(|(&provider, _)| (model.provider_key(provider), quota_terms(model, &self.all, provider))).collect()
    }

    /// Providers that the plan has work for and whose account was not found, by index, with the reason.
    pub(super) fn unavailable(&self, plan: &Plan) -> Vec<(usize, String)> {
        let mut unavailable: Vec<(usize, String)> = Vec::new();
        for job in &plan.jobs {
            let reason = match self.asked.get(&job.provider) {
                Some(None) => continue,
                Some(Some(reason)) => reason.clone(),
                None => "its credentials were not looked up; the next run does".to_owned(),
            };
            unavailable.push((job.provider, reason));
        }
        unavailable.dedup();
        unavailable
    }
}
